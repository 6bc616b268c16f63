"""Lower bounds from the dual of the convex relaxation: certificates, whatever the solver did.

Rows become weights 0 <= w <= 1 with the same total and the same minima per group; r(w) =
offset + S'w. For every direction v, whether optimal or not,

    least norm, m rows:    |r(w)| >= <u, offset> + min_w <S u, w>,           u = v / |v|,
    fewest rows, |r| <= e: sum w  >= <v, offset> - e |v| + min_w <1 + S v, w>,

and both minima are sums of smallest numbers. Frank-Wolfe supplies the directions of the first;
the second is concave in v and maximised by L-BFGS after entropic smoothing of the inner minimum
(Nesterov, 2005). What is returned is always the plain bound, less an allowance for rounding.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import expit, xlogy

from skprune.data.strata import Rows
from skprune.influence.operator import InfluenceOperator
from skprune.subset.monitor import Monitor
from skprune.subset.start import largest_subset

Vector = NDArray[np.float64]

#: Frank-Wolfe steps for a bound; each is two products with all rows.
STEPS = 200
#: A bound this close to the relaxation's value is good enough.
CLOSE = 0.01
#: Length of a dual vector, in units of a row, at which infeasible problems show.
FAR = 1e6
#: Share of a time limit that the bound may take after the search has used it up, and before.
OVERTIME, FIRST_SHARE = 0.1, 0.5
#: Smoothing of the inner minimum, in units of a row's gain of 1, from coarse to fine.
SMOOTHING = (0.3, 0.1, 0.03, 0.01, 0.003, 0.001)


def least_norm_bound(
    operator: InfluenceOperator,
    size: int,
    groups: Rows,
    minima: Rows,
    monitor: Monitor,
    found: float,
) -> tuple[float, bool]:
    """A lower bound on |offset + sum of ``size`` rows' vectors|, and whether it is final.

    ``found`` is the norm to be judged: the work ends once no useful bound on it can come out,
    because fractional rows nearly cancel. The bound is not final if time ran out; for it a
    search that used up its time gets a tenth more.
    """
    n = operator.n_rows
    counts = np.bincount(groups, minlength=len(minima))
    # As even as the minima allow: the minima, and of all other rows the same share.
    free = int((counts - minima).sum())
    share = (size - int(minima.sum())) / free if free else 0.0
    weights = (minima + share * (counts - minima)) / np.maximum(counts, 1)
    residual = operator.offset + operator.weighted_sum(_tensor(weights[groups], operator))
    best = 0.0
    for step_number in range(STEPS):
        norm = float(residual.norm())
        if norm <= CLOSE * found or best >= (1 - CLOSE) * norm:
            break
        if step_number > 0 and monitor.over(1 + OVERTIME):
            return best, False
        u = residual / norm
        scores = _numpy(operator.scores(u))
        corner = largest_subset(-scores, size, groups, minima)
        along = float(u @ operator.offset)
        bound = along + float(scores[corner].sum())
        allowance = _product_rounding(operator, corner, 1.0) + 1e-12 * abs(along)
        best = max(best, bound - allowance)
        step = operator.residual(corner) - residual
        length = float(step @ step)
        share = min(1.0, -float(residual @ step) / length) if length > 0 else 0.0
        if share <= 0 or n == size:
            break
        residual = residual + share * step
    return best, True


def fewest_rows_bound(
    operator: InfluenceOperator,
    max_norm: float,
    fewest: int,
    groups: Rows,
    minima: Rows,
    monitor: Monitor,
) -> tuple[int, Vector]:
    """A lower bound on the rows of a subset of norm ``max_norm``, and the relaxed weights (n,).

    ``fewest`` is the least number of rows that may be kept. A bound of more than n says that no
    subset has that norm. Half of a time limit may go into the bound.
    """
    n, offset = operator.n_rows, _numpy(operator.offset)
    unit = operator.typical_norm() or 1.0

    def scores(v: Vector) -> Vector:
        return 1.0 + _numpy(operator.scores(_tensor(v, operator)))

    def plain(v: Vector) -> float:
        x = scores(v)
        w = _smallest(x, fewest, groups, minima)
        constant = float(v @ offset) - max_norm * float(np.linalg.norm(v))
        allowance = _product_rounding(operator, np.flatnonzero(w), float(np.linalg.norm(v)))
        return constant + float(x @ w) - allowance - 1e-9 * len(x)

    def smooth(z: Vector, mu: float) -> tuple[float, Vector]:
        v = z / unit
        x = scores(v)
        w = _soft_smallest(x, mu, fewest, groups, minima)
        norm = float(np.linalg.norm(v))
        value = float(v @ offset) - max_norm * norm + float(x @ w)
        value += mu * float((xlogy(w, w) + xlogy(1 - w, 1 - w)).sum())
        slope = offset + _numpy(operator.weighted_sum(_tensor(w, operator)))
        slope = slope - (max_norm / norm) * v if norm > 0 else slope
        return -value, -slope / unit

    w = _smallest(np.ones(operator.n_rows), fewest, groups, minima)
    start = _soft_smallest(np.ones(operator.n_rows), SMOOTHING[0], fewest, groups, minima)
    slope = offset + _numpy(operator.weighted_sum(_tensor(start, operator)))
    bound, tolerance = float(w.sum()), 1e-9 * unit
    if np.linalg.norm(slope) <= max(max_norm, tolerance) and math.isclose(start.sum(), fewest):
        return math.ceil(bound), start
    z = 0.1 * _direction(slope)
    weights = start

    def watch(z: Vector) -> None:
        if monitor.stop(math.nan) or monitor.over(FIRST_SHARE):
            raise StopIteration

    for mu in SMOOTHING:
        # Where no subset has that norm the dual has no maximum, and far out it exceeds n.
        bound = max(bound, plain(FAR / unit * _direction(z)))
        if bound > n or monitor.over(FIRST_SHARE):
            break
        found = minimize(
            smooth,
            z,
            args=(mu,),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 300},
            callback=watch,
        )
        z = found.x
        value = plain(z / unit)
        if value > bound or mu == SMOOTHING[0]:
            weights = _soft_smallest(scores(z / unit), mu, fewest, groups, minima)
        bound = max(bound, value)
    return min(n + 1, math.ceil(bound - 1e-6)), weights


def _direction(v: Vector) -> Vector:
    """V / |v|; zeros stay zeros."""
    return np.asarray(v / (float(np.linalg.norm(v)) or 1.0))


def _smallest(x: Vector, fewest: int, groups: Rows, minima: Rows) -> Vector:
    """The 0/1 weights of least <x, w>: all negative x, the minima, and at least ``fewest``."""
    size = max(fewest, int((x < 0).sum()))
    w = np.zeros(len(x))
    while True:
        chosen = largest_subset(-x, size, groups, minima)
        # The minima may have displaced negative numbers.
        w[:] = 0.0
        w[chosen] = 1.0
        displaced = int(((x < 0) & (w == 0)).sum())
        if displaced == 0:
            return w
        size += displaced


def _soft_smallest(x: Vector, mu: float, fewest: int, groups: Rows, minima: Rows) -> Vector:
    """Weights of least <x, w> + mu * (negative entropy) under the same constraints."""
    shift = np.zeros(len(minima))
    for g in np.flatnonzero(minima > 0):
        shift[g] = _threshold(x[groups == g], mu, np.zeros(1), int(minima[g]))
    own = shift[groups]
    total = _threshold(x, mu, own, fewest)
    return np.asarray(expit((np.maximum(own, total) - x) / mu))


def _threshold(x: Vector, mu: float, own: Vector, total: int) -> float:
    """The least t >= 0 with sum expit((max(own, t) - x) / mu) >= total."""

    def missing(t: float) -> float:
        return total - float(expit((np.maximum(own, t) - x) / mu).sum())

    if missing(0.0) <= 0:
        return 0.0
    low, high = 0.0, float(x.max()) + 40 * mu
    for _ in range(60):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if missing(middle) > 0 else (low, middle)
    return high


def rounding(operator: InfluenceOperator, rows: Rows) -> float:
    """What rounding may add to the norm of offset + sum of the rows, summed in float64."""
    size = float(operator.offset.norm()) + _lengths(operator, rows)
    return float(np.finfo(np.float64).eps) * math.sqrt(operator.dim) * size


def _product_rounding(operator: InfluenceOperator, rows: Rows, length: float) -> float:
    """What rounding may add to a sum of <v, s_i> over the rows, |v| = ``length``."""
    eps = torch.finfo(operator.squared_norms().dtype).eps * math.sqrt(operator.dim)
    return eps * length * _lengths(operator, rows)


def _lengths(operator: InfluenceOperator, rows: Rows) -> float:
    return float(np.sqrt(_numpy(operator.squared_norms())[rows]).sum())


def _numpy(t: torch.Tensor) -> Vector:
    return np.asarray(t.detach().cpu().numpy(), dtype=np.float64)


def _tensor(v: Vector, operator: InfluenceOperator) -> torch.Tensor:
    return torch.from_numpy(v).to(operator.offset)
