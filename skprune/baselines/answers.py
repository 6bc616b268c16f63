"""What the methods of a strategy give, checked before any row is kept by it."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.data.strata import Rows


def checked_order(order: Any, n: int, least: int, method: str) -> Rows:
    """An order of rows that a method of a strategy gave.

    Parameters
    ----------
    order : array-like
        Positions of rows, best first.
    n : int
        Number of rows that the method was given.
    least : int
        Number of rows that it had to put in order.
    method : str
        Its name, for the message.

    Raises
    ------
    ValueError
        If that is no order of so many rows, but scores for example.
    """
    found = np.asarray(order)
    fault = _fault_of_order(found, n, least)
    if fault:
        many = "all" if least == n else f"at least {least}"
        raise ValueError(
            f"{method} gave {_kind(order)}: {fault}. It must give positions among the {n} rows, "
            f"best first: {many} of the whole numbers from 0 to {n - 1}, each once. If these are "
            "scores of which the highest should be kept, return np.argsort(-scores)."
        )
    return found.astype(np.int64, copy=False)


def checked_numbers(values: Any, n: int, method: str) -> NDArray[np.float64]:
    """One number for each of n rows, such as scores or weights, that a method gave.

    Raises
    ------
    ValueError
        If they are more or fewer, no numbers, or NaN.
    """
    found, fault = np.asarray(values), ""
    if found.shape != (n,):
        fault = f"the shape is not ({n},)"
    elif found.dtype.kind not in "biuf":
        fault = f"entry 0 is {found[0]!r}"
    elif len(unknown := np.flatnonzero(np.isnan(found))):
        fault = f"entry {unknown[0]} is NaN"
    if fault:
        raise ValueError(
            f"{method} gave {_kind(values)}: {fault}. It must give one number for each of the {n} "
            "rows, in their order, and none of them NaN."
        )
    return found.astype(np.float64, copy=False)


def _fault_of_order(found: NDArray[Any], n: int, least: int) -> str:
    if found.ndim != 1:
        return "it must have one axis"
    if len(found) and found.dtype.kind not in "iu":
        return f"entry 0 is {found[0]}, which is no position"
    outside = np.flatnonzero((found < 0) | (found >= n))
    if len(outside):
        return f"entry {outside[0]} is {found[outside[0]]}"
    rows, times = np.unique(found, return_counts=True)
    if len(rows) < len(found):
        return f"row {rows[times.argmax()]} comes {times.max()} times"
    return f"there are only {len(found)}" if len(found) < least else ""


def _kind(given: Any) -> str:
    array = np.asarray(given)
    return f"{type(given).__name__} of shape {array.shape} and dtype {array.dtype}"
