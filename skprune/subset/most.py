"""The most rows removed at a given norm: sizes from the bound upwards, each by ``swap``.

The relaxation bounds the number of rows from below and its weights, rounded, are where the
first search starts. Sizes above the bound grow in doubling steps until one is reached, then
the step back is bisected, so that a few searches suffice even if the bound is loose.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skprune.influence import InfluenceOperator
from skprune.subset.monitor import Monitor
from skprune.subset.start import Rows, largest_subset
from skprune.subset.state import Selection
from skprune.subset.swap import swap

#: Kicks of a search that did not reach the norm: at most so many, and so many numbers a kick's
#: products may read in all.
KICKS, KICK_NUMBERS = 20, 2**28


def fewest_rows(
    operator: InfluenceOperator,
    max_norm: float,
    bound: int,
    weights: NDArray[np.float64],
    groups: Rows,
    minima: Rows,
    monitor: Monitor,
) -> Selection | None:
    """The smallest subset found with a norm of at most ``max_norm``; None if there is none.

    Parameters
    ----------
    operator : InfluenceOperator
    max_norm : float
    bound : int
        No subset of fewer rows is feasible.
    weights : ndarray of shape (n,)
        The relaxation's weights: rows of larger weight come first.
    groups, minima, monitor
        As in ``swap``.
    """
    n = operator.n_rows

    kicks = min(KICKS, KICK_NUMBERS // (n * operator.dim))

    def attempt(size: int) -> Selection | None:
        start = largest_subset(weights, size, groups, minima)
        found = swap(
            operator,
            start,
            groups,
            minima,
            target=max_norm,
            monitor=monitor,
            rng=np.random.default_rng(size),
            kicks=kicks,
        )
        return found if found.norm <= max_norm else None

    low, step = bound - 1, 1  # the largest size that is known, or taken, to be out of reach
    best = None
    while best is None:
        size = min(n, low + step)
        best = attempt(size)
        if best is None:
            if size == n:
                return None
            low, step = size, (n if monitor.reason else 2 * step)
    while len(best.indices) - low > 1 and not monitor.reason:
        found = attempt((len(best.indices) + low) // 2)
        if found is None:
            low = (len(best.indices) + low) // 2
        else:
            best = found
    return best
