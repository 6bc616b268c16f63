"""The most rows removed at a given norm: sizes from the bound upwards, then down again.

The relaxation bounds the number of rows from below and its weights, rounded, are where the
first search starts. Sizes above the bound grow in doubling steps until one is reached. From
there rows are taken out of the subset found, many at once and then fewer, with exchanges after
each step: which sizes can be reached is not monotone, and a size that one search has missed
says little of the sizes below it.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skprune.data.strata import Rows
from skprune.subset.bound import rounding
from skprune.subset.monitor import Monitor
from skprune.subset.perturb import perturb
from skprune.subset.problem import Problem
from skprune.subset.start import largest_subset, starting_subset
from skprune.subset.state import Selection
from skprune.subset.swap import swap

#: Kicks of a search that did not reach the norm: at most so many, and so many numbers a kick's
#: products may read in all.
KICKS, KICK_NUMBERS = 20, 2**28


def fewest_rows(
    problem: Problem,
    max_norm: float,
    bound: int,
    weights: NDArray[np.float64],
    monitor: Monitor,
) -> Selection | None:
    """The smallest subset found with a norm of at most ``max_norm``; None if there is none.

    Parameters
    ----------
    problem : Problem
        Its ``prior`` and ``start``, if given, say where searches start, in place of ``weights``.
    max_norm : float
        Up to rounding.
    bound : int
        No subset of fewer rows is feasible.
    weights : ndarray of shape (n,)
        The relaxation's weights: rows of larger weight come first.
    monitor : Monitor
        A time limit is used up unless the bound is reached.
    """
    n, operator, groups, minima = len(problem), problem.operator, problem.groups, problem.minima
    kicks = min(KICKS, KICK_NUMBERS // (n * operator.dim))
    allowed = max_norm + rounding(operator, np.arange(n))

    def attempt(start: Rows) -> Selection | None:
        rng = problem.rng
        found = swap(operator, start, groups, minima, target=max_norm, monitor=monitor, rng=rng)
        if found.norm > allowed:
            found = perturb(
                operator,
                found,
                groups,
                minima,
                target=allowed,
                monitor=monitor,
                rng=rng,
                kicks=kicks,
            )
        return found if found.norm <= allowed else None

    def fresh(size: int) -> Rows:
        if problem.prior is None and problem.start is None:
            return largest_subset(weights, size, groups, minima)
        return starting_subset(size, groups, minima, problem.rng, problem.prior, problem.start)

    best, size, step = attempt(fresh(bound)), bound, 1
    while best is None:
        if size == n:
            return None
        size, step = (n if monitor.reason else min(n, size + step)), 2 * step
        best = attempt(fresh(size))
    step = max(1, step // 4)
    while len(best.indices) > bound and not monitor.reason:
        size = max(bound, len(best.indices) - step)
        found = attempt(_shortened(problem, best.indices, size)) or attempt(fresh(size))
        best = found or best
        if found is None and step == 1 and monitor.time_limit is None:
            break
        step = step if found else max(1, step // 2)
    return best


def _shortened(problem: Problem, rows: Rows, size: int) -> Rows:
    """The subset without the rows that its norm needs least."""
    operator = problem.operator
    gains = 2 * operator.scores(operator.residual(rows)) - operator.squared_norms()
    scores = np.full(len(problem), -np.inf)
    scores[rows] = -gains.double().cpu().numpy()[rows]
    return largest_subset(scores, size, problem.groups, problem.minima)
