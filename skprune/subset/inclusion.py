"""Chances of being kept, one a row, and a draw that has them exactly."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skprune.data.strata import Rows

#: Share of a row's chance that every row has alike: what bounds the weights, by the inverse of it
#: times n / m.
UNIFORM = 0.5


def inclusion_chances(
    size: int,
    groups: Rows,
    minima: Rows,
    residuals: NDArray[np.float64] | None = None,
    weights: NDArray[np.float64] | None = None,
) -> NDArray[np.float64]:
    """Chances in proportion to ``UNIFORM`` and the residual, at most 1, that sum to ``size``.

    The chances within a group sum to its minimum at least.

    Parameters
    ----------
    size : int
    groups : ndarray of shape (n,)
        Group (class) of every row, coded 0 .. n_groups - 1.
    minima : ndarray of shape (n_groups,)
    residuals : ndarray of shape (n,), optional
        How far a model that has not seen the row is from it; without, chances are equal.
    weights : ndarray of shape (n,), optional
        A row of twice the weight has twice the chance.

    Returns
    -------
    ndarray of shape (n,)
    """
    w = np.ones(len(groups)) if weights is None else weights
    sizes = np.ones(len(groups))
    if residuals is not None and (mean := np.average(residuals, weights=w)) > 0.0:
        sizes = UNIFORM + (1.0 - UNIFORM) * residuals / mean
    if residuals is not None:
        sizes = sizes * w
    raised = np.zeros(len(minima), dtype=bool)
    while True:
        chances = np.empty(len(groups))
        rest = ~raised[groups]
        chances[rest] = capped(sizes[rest], size - int(minima[raised].sum()))
        for group in np.flatnonzero(raised):
            own = groups == group
            chances[own] = capped(sizes[own], int(minima[group]))
        # A group that was raised has its minimum, whatever the sum is rounded to.
        short = ~raised & (np.bincount(groups, chances, len(minima)) < minima - 1e-9)
        if not short.any():
            return chances
        raised |= short


def capped(sizes: NDArray[np.float64], total: int) -> NDArray[np.float64]:
    """Numbers in proportion to ``sizes``, at most 1, that sum to ``total``.

    What is left for sizes of 0 is shared out alike.
    """
    chances = np.ones(len(sizes))
    order = np.argsort(-sizes, kind="stable")
    ranked = sizes[order]
    left = np.cumsum(ranked[::-1])[::-1]
    # The first k are 1, where k is the least for which no other exceeds 1.
    within = np.flatnonzero(ranked * (total - np.arange(len(ranked))) <= left)
    if len(within):
        k = int(within[0])
        shares = ranked[k:] / left[k] if left[k] > 0.0 else 1.0 / (len(ranked) - k)
        chances[order[k:]] = (total - k) * shares
    return chances


def draw(chances: NDArray[np.float64], groups: Rows, rng: np.random.Generator) -> Rows:
    """Rows drawn with the given chances, whose sum is a whole number m; m of them, sorted.

    A systematic draw of the rows in random order, group by group: the chance of every row is
    exact, and the number of rows of every group its expectation, rounded up or down.
    """
    order = rng.permutation(len(groups))
    order = order[np.argsort(groups[order], kind="stable")]
    reached = np.cumsum(chances[order])
    # Rounding must not decide what a row of chance 1 or a group's minimum comes to.
    passed = np.floor(np.round(reached, 9) + rng.random())
    return np.sort(order[np.diff(passed, prepend=0.0) > 0.0])
