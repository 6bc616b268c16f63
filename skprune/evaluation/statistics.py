"""Standard errors over held-out rows, of weighted means and of other scores."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from skprune.data.strata import Rows

Floats = NDArray[np.float64]

#: Groups of the delete-a-group jackknife for scores that are no means over rows.
JACKKNIFE_GROUPS = 20


def variance_of_mean(
    values: Floats, weights: Floats, units: Rows | None = None
) -> tuple[float, int]:
    """Linearised variance of a weighted mean, and its degrees of freedom.

    For equal weights it is s^2 / n. It is infinite if one row has all the weight.

    Parameters
    ----------
    values, weights : ndarray of shape (n,)
    units : ndarray of shape (n,), int64, optional
        0, 1, 2 ..., equal for copies of a row, which count once.
    """
    shares = weights / weights.sum()
    units = np.arange(len(values)) if units is None else units
    counted = np.bincount(units, shares)
    largest = float(counted @ counted)  # 1 / n for equal weights
    if largest > 1 - 1e-6:
        return math.inf, 0
    deviations = shares * (values - shares @ values)
    spread = float(np.sum(np.bincount(units, deviations) ** 2))
    return spread / (1 - largest), max(1, round(1 / largest) - 1)


def without_each_group(score: Callable[[Rows], float], units: Rows) -> Floats:
    """The scores without one group of rows each, shape (k,); NaN where there is no score.

    Parameters
    ----------
    score : callable
        ``score(rows)`` is the score of some rows, by position, or raises a ValueError.
    units : ndarray of shape (n,), int64
        0, 1, 2 ..., equal for copies of a row, which are left out together.
    """
    rows, groups = np.arange(len(units)), min(JACKKNIFE_GROUPS, int(units.max()) + 1)
    parts = np.full(groups, math.nan)
    for g in range(groups):
        rest = rows[units % groups != g]
        try:
            parts[g] = score(rest) if len(rest) else math.nan
        except ValueError:  # such as a class that has no row left
            continue
    return parts


def jackknife_variance(parts: Floats) -> tuple[float, int]:
    """Variance of a score from the parts of ``without_each_group``, and its degrees of freedom."""
    parts = parts[np.isfinite(parts)]
    k = len(parts)
    if k < 2:
        return math.inf, 0
    return float(np.sum((parts - parts.mean()) ** 2)) * (k - 1) / k, k - 1
