"""Where a subset solver starts: inclusion by a prior over rows, with a minimum per group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skprune.data.strata import Rows, stratified_quotas

#: Kept rows of a cell of about equal difficulty, and the most cells of a group. 600 of 6,000 images
#: teach a network from scratch less if exchanges may change how hard they are: 79.2 % of
#: Fashion-MNIST and 44.6 % of CIFAR-10 (four seeds), within cells 80.6 and 47.2, at random 81.5
#: and 47.3.
CELL_ROWS, MOST_CELLS = 4, 16


def stratified_minima(groups: Rows, minima: Rows, size: int) -> Rows:
    """Minima that keep every group at its share of a subset of ``size`` rows, rounded down.

    Plain ``minima`` where they and the shares do not fit into the subset together.
    """
    counts = np.bincount(groups, minlength=len(minima))
    raised = np.maximum(minima, counts * size // len(groups))
    return raised if raised.sum() <= size else minima


def difficulty_cells(
    groups: Rows, minima: Rows, difficulty: NDArray[np.float64]
) -> tuple[Rows, Rows]:
    """Divide every group into cells of about equal difficulty, and its minimum among them.

    Parameters
    ----------
    groups, minima
        As in ``starting_subset``.
    difficulty : ndarray of shape (n,)

    Returns
    -------
    cells : ndarray of shape (n,)
        The cell of every row, coded 0 .. n_cells - 1.
    least : ndarray of shape (n_cells,)
        Their minima, in proportion. Those of a group sum to its own.
    """
    counts = np.bincount(groups, minlength=len(minima))
    parts = np.clip(minima // CELL_ROWS, 1, MOST_CELLS)
    rank = rank_in_group(np.argsort(difficulty, kind="stable"), groups)
    first = np.cumsum(parts) - parts
    cells = first[groups] + rank * parts[groups] // counts[groups]
    least = np.zeros(parts.sum(), dtype=np.int64)
    for group in np.flatnonzero(minima):
        own = cells[groups == group] - first[group]
        part = slice(first[group], first[group] + parts[group])
        least[part] = stratified_quotas(own, least[part], int(minima[group]))
    return cells, least


def largest_subset(scores: NDArray[np.float64], size: int, groups: Rows, minima: Rows) -> Rows:
    """The ``size`` rows of largest score, after each group's minimum; ties by row number."""
    order = np.argsort(-scores, kind="stable")
    chosen = rank_in_group(order, groups) < minima[groups]
    rest = order[~chosen[order]][: size - int(chosen.sum())]
    chosen[rest] = True
    return np.flatnonzero(chosen)


def rank_in_group(order: Rows, groups: Rows) -> Rows:
    """Position of every row among the rows of its group, in the given order, shape (n,)."""
    counts = np.bincount(groups)
    in_group = order[np.argsort(groups[order], kind="stable")]
    rank = np.empty(len(groups), dtype=np.int64)
    rank[in_group] = np.arange(len(groups)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rank


def starting_subset(
    size: int,
    groups: Rows,
    minima: Rows,
    rng: np.random.Generator,
    prior: NDArray[np.float64] | None = None,
    start: Rows | None = None,
) -> Rows:
    """``size`` rows to start from.

    Without a prior, rows are drawn uniformly within each group, groups in proportion. With a
    prior, rows are drawn without replacement with inclusion odds proportional to it
    (exponential keys of Efraimidis and Spirakis, 2006), after each group's minimum.

    Parameters
    ----------
    size : int
    groups : ndarray of shape (n,)
        Group (class) of every row, coded 0 .. n_groups - 1.
    minima : ndarray of shape (n_groups,)
    rng : numpy.random.Generator
    prior : ndarray of shape (n,), optional
        Non-negative odds of being kept.
    start : ndarray, optional
        Rows of an earlier subset: they come before all others.

    Returns
    -------
    ndarray of shape (size,), sorted
    """
    keys = draws = rng.exponential(size=len(groups))
    if prior is not None:
        # A row of prior 0 comes after all others, in random order among its like.
        with np.errstate(divide="ignore", over="ignore", invalid="ignore"):
            keys = draws / prior
    preferred = np.zeros(len(groups), dtype=bool)
    if start is not None:
        preferred[start] = True
    order = np.lexsort((draws, keys, ~preferred))
    quotas = minima if prior is not None else stratified_quotas(groups, minima, size)
    chosen = rank_in_group(order, groups) < quotas[groups]
    rest = order[~chosen[order]][: size - int(chosen.sum())]
    chosen[rest] = True
    return np.flatnonzero(chosen)
