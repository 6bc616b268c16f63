"""The number of rows that ``keep`` asks for."""

from __future__ import annotations

import numbers
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.utils.exceptions import warn_user
from skprune.utils.sklearn_private import Interval

#: What ``keep`` may be: a share of the rows or their number.
KEEP_CONSTRAINTS: list[Any] = [
    Interval(numbers.Integral, 1, None, closed="left"),
    Interval(numbers.Real, 0, 1, closed="right"),
]


#: A whole number up to the first may be meant as a percentage, if it is below this share of rows.
PERCENT, SMALL_SHARE = 100, 0.01


def resolve_size(keep: float | int, n: int, minima: NDArray[np.int64]) -> int:
    """The number of rows to keep of n, where ``keep`` is a share or a number.

    A warning is issued if a number of rows looks like a percentage.

    Raises
    ------
    ValueError
        If that is more rows than there are, or fewer than the classes' ``minima`` need.
    """
    whole = isinstance(keep, numbers.Integral)
    size = int(keep) if whole else max(1, round(keep * n))
    if size > n:
        raise ValueError(f"keep={keep} is more than the {n} rows of X.")
    if size < minima.sum():
        raise ValueError(
            f"keep={keep!r} is {size} row(s), but the minimum of every class (min_per_class) adds "
            f"up to {int(minima.sum())} for {len(minima)} classes; keep more or lower it. (1.0 is "
            "all rows, 1 is one row.)"
        )
    if whole and size <= PERCENT and size < SMALL_SHARE * n:
        warn_user(
            f"keep={size} is a number of rows, {size} of {n}. Was {size} % meant? That is "
            f"keep={size / 100}. (If {size} rows are meant, keep={size / n:.3g} says so without a "
            "warning.)"
        )
    return size
