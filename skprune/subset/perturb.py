"""Iterated local search: kicks away from the best subset, and the same search from there.

A kick exchanges some rows at random; ``swap`` goes on from the result, and the better of both
subsets stays. The size of the kick is drawn anew each time, since no size is right everywhere:
small kicks fine-tune, large ones leave a valley of long rows that can only go together.
"""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import count, islice

import numpy as np

from skprune.data.strata import Rows
from skprune.influence.operator import InfluenceOperator
from skprune.subset.monitor import Monitor
from skprune.subset.state import Selection
from skprune.subset.swap import swap

#: Share of the kept rows that a kick exchanges, drawn between these on a log scale.
KICK = (0.01, 0.3)


def perturb(
    operator: InfluenceOperator,
    best: Selection,
    groups: Rows,
    minima: Rows,
    *,
    target: float,
    monitor: Monitor,
    rng: np.random.Generator,
    kicks: int | None = None,
) -> Selection:
    """Kick and search until the target, the time limit or the number of kicks is reached.

    Parameters
    ----------
    best : Selection
        Where to start from.
    kicks : int, optional
        Their number; without it only the time limit ends the search.
    operator, groups, minima, target, monitor, rng
        As in ``swap``.

    Returns
    -------
    Selection
        Not worse than ``best``.
    """
    n, m = operator.n_rows, len(best.indices)
    if m in (0, n):
        return best
    for _ in islice(count(), kicks):
        if best.norm <= target or monitor.stop(best.norm):
            break
        start = _kicked(best.indices, n, rng)
        if np.any(np.bincount(groups[start], minlength=len(minima)) < minima):
            continue
        found = swap(operator, start, groups, minima, target=target, monitor=monitor, rng=rng)
        if found.norm < best.norm:
            best = replace(found, start_norm=best.start_norm)
    return replace(best, n_iter=monitor.iterations)


def _kicked(kept: Rows, n: int, rng: np.random.Generator) -> Rows:
    """A copy of the subset with some rows exchanged at random."""
    mask = np.zeros(n, dtype=bool)
    mask[kept] = True
    outside = np.flatnonzero(~mask)
    share = math.exp(rng.uniform(*np.log(KICK)))
    number = min(len(outside), max(2, round(share * len(kept))), len(kept))
    mask[rng.choice(kept, number, replace=False)] = False
    mask[rng.choice(outside, number, replace=False)] = True
    return np.flatnonzero(mask)
