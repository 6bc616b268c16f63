"""The oracle for small problems: enumeration by halves, then mixed-integer programming.

Up to ``ENUMERABLE`` rows both halves of the rows are enumerated and matched by nearest
neighbours (meet in the middle): proven optimal. Beyond, HiGHS solves outer approximations,

    min t  s.t.  <u_k, r(z)> <= t,   z binary,

with a cut u = r / |r| for every solution that lies below its own norm. Its dual bound is a
bound on the norm, so that a result stopped by time still says how good it is. The integer
program is practical to about 60 rows in few dimensions: it is an oracle, not a workhorse.

Cost: 2^(n/2) (n + log) numbers for the enumeration; exponential in n for the other.
"""

from __future__ import annotations

import math
from collections import defaultdict

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import Bounds, LinearConstraint, milp
from scipy.spatial import cKDTree

from skprune.data.strata import Rows
from skprune.influence.operator import InfluenceOperator
from skprune.subset.bound import rounding
from skprune.subset.monitor import Monitor
from skprune.subset.state import Selection

#: Rows up to which halves are enumerated, if there are not more pairs of counts per group.
ENUMERABLE, MAX_MATCHES = 26, 20_000
#: Relative distance of norm and bound that counts as proven.
PROVEN = 1e-6

Vector = NDArray[np.float64]


def enumerable(groups: Rows, minima: Rows) -> bool:
    """Whether the problem is small enough to be solved by enumeration, in a second or so."""
    if len(groups) > ENUMERABLE:
        return False
    counts = [np.bincount(groups[part], minlength=len(minima)) for part in _split(len(groups))]
    return math.prod(int(c) + 1 for c in np.concatenate(counts)) <= MAX_MATCHES


def exact(
    operator: InfluenceOperator,
    start: Rows,
    groups: Rows,
    minima: Rows,
    *,
    monitor: Monitor | None = None,
) -> Selection:
    """The best subset of ``len(start)`` rows, with a bound.

    Parameters
    ----------
    operator, start, groups, minima, monitor
        As in ``swap``; ``start`` is returned if nothing better is found in time.

    Returns
    -------
    Selection
        ``bound`` is the norm itself, less what rounding may have added, if it is optimal.
    """
    monitor = monitor or Monitor()
    every = torch.arange(operator.n_rows, device=operator.offset.device)
    S = operator.rows(every).double().cpu().numpy()
    offset = operator.offset.double().cpu().numpy()
    size, n = len(start), len(S)
    start_norm = float(operator.residual(start).norm())
    found, bound = start, 0.0
    if size in (0, n):
        bound = math.inf
    elif enumerable(groups, minima):
        halves = [_sums(S[part], groups[part], len(minima)) for part in _split(n)]
        match = _match(halves, offset, size, n, minima, monitor)
        if match is not None:
            found, bound = match, math.inf
    else:
        found, bound = _outer_approximation(S, offset, start, groups, minima, monitor)
    found = np.sort(found)
    norm = float(operator.residual(found).norm())
    bound = min(bound, max(0.0, norm - rounding(operator, found)))
    return Selection(found, norm, start_norm, monitor.iterations, bound)


def _split(n: int) -> tuple[Rows, Rows]:
    return np.arange(n // 2), np.arange(n // 2, n)


_Half = dict[tuple[int, ...], tuple[NDArray[np.int64], Vector]]


def _sums(S: Vector, groups: Rows, n_groups: int) -> _Half:
    """All subsets of a few rows by their counts per group: bit codes and sums."""
    codes = np.arange(2 ** len(S))
    bits = (codes[:, None] >> np.arange(len(S))) & 1
    counts = bits @ np.eye(n_groups, dtype=np.int64)[groups]
    by_count: defaultdict[tuple[int, ...], list[int]] = defaultdict(list)
    for code, count in enumerate(map(tuple, counts.tolist())):
        by_count[count].append(code)
    return {c: (np.array(k), bits[k].astype(np.float64) @ S) for c, k in by_count.items()}


def _match(
    halves: list[_Half], offset: Vector, size: int, n: int, minima: Rows, monitor: Monitor
) -> Rows | None:
    """The two subsets, one of each half, whose sums cancel best; None if it was stopped."""
    first, second = halves
    best, codes = math.inf, (0, 0)
    trees = {count: cKDTree(sums) for count, (_, sums) in second.items()}
    for count, (left, sums) in first.items():
        for other, (right, _) in second.items():
            total = np.add(count, other)
            if total.sum() != size or np.any(total < minima):
                continue
            if monitor.stop(best):
                return None
            distances, nearest = trees[other].query(-(offset + sums))
            i = int(np.argmin(distances))
            if distances[i] < best:
                best, codes = float(distances[i]), (int(left[i]), int(right[nearest[i]]))
    low, high = _split(n)
    return np.concatenate(
        [
            part[(code >> np.arange(len(part))) & 1 == 1]
            for part, code in zip((low, high), codes, strict=True)
        ]
    )


def _outer_approximation(
    S: Vector, offset: Vector, start: Rows, groups: Rows, minima: Rows, monitor: Monitor
) -> tuple[Rows, float]:
    n, d = S.shape
    unit = float(np.sqrt((S**2).sum(1).mean())) or 1.0
    S, offset = S / unit, offset / unit
    rows, best = start, float(np.linalg.norm(offset + S[start].sum(0)))
    bound = 0.0
    counts = np.zeros((len(minima), n + 1))
    counts[groups, np.arange(n)] = 1.0
    size = np.append(np.ones(n), 0.0)[None]
    constraints = [
        LinearConstraint(size, len(start), len(start)),
        LinearConstraint(counts, minima, np.inf),
    ]
    cuts = np.vstack([np.eye(d), -np.eye(d)])
    while not monitor.stop(best * unit):
        # <u, offset + S'z> <= t for every cut u.
        rows_of_cuts = np.column_stack([cuts @ S.T, -np.ones(len(cuts))])
        options = {"mip_rel_gap": PROVEN / 10}
        if math.isfinite(monitor.remaining):
            options["time_limit"] = max(0.1, monitor.remaining)
        found = milp(
            np.append(np.zeros(n), 1.0),
            integrality=np.append(np.ones(n), 0.0),
            bounds=Bounds(0.0, np.append(np.ones(n), np.inf)),
            constraints=[*constraints, LinearConstraint(rows_of_cuts, -np.inf, -(cuts @ offset))],
            options=options,
        )
        if found.mip_dual_bound is not None:
            # HiGHS respects constraints up to 1e-6.
            bound = max(bound, float(found.mip_dual_bound) - 2e-6)
        if found.x is None:
            break
        chosen = np.flatnonzero(found.x[:n] > 0.5)
        residual = offset + S[chosen].sum(0)
        norm = float(np.linalg.norm(residual))
        if norm < best:
            rows, best = chosen, norm
        if best - bound <= PROVEN * best + 4e-6 or norm <= found.fun + 1e-7:
            break
        cuts = np.vstack([cuts, residual / norm])
    return rows, unit * bound
