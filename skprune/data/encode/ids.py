"""Recognise columns of ids, which name the rows and describe nothing about them."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

from skprune.data.encode.levels import Levels, is_padded

#: Words of a column's name that say "id", wherever they stand in it.
_IDS = {"id", "ids", "uuid", "guid"}
#: Words that say so at the end of it, if hardly two values are alike.
_NUMBERS = {"idx", "index", "key", "no", "nr", "num", "number", "row", "rownames", "serial", "code"}
#: An unnamed column of a csv file, as pandas calls it.
_UNNAMED = re.compile(r"unnamed: ?\d+(\.\d+)?", re.I)
#: Words of names under which numbers that run through are points in time.
_TIMES = {"year", "yr", "month", "week", "day", "date", "time", "timestamp", "hour", "minute", "t"}
#: Years, where nothing but the values tells.
_YEARS = 1800, 2100
#: Fewer different values than this prove nothing.
_FEWEST = 20


def are_whole(values: NDArray[np.float64]) -> bool:
    """Whether all known values are whole numbers."""
    known = values[np.isfinite(values)]
    return len(known) > 0 and bool(np.all(known == np.round(known)))


def are_codes(levels: Levels, values: NDArray[np.float64]) -> bool:
    """Whether whole numbers are names, by the zeros in front of some of them (007)."""
    return are_whole(values) and any(map(is_padded, levels.values))


def run_through(name: str, values: NDArray[np.float64]) -> bool:
    """Whether whole numbers count the rows, in whatever order.

    Such numbers are hardly ever equal, and they fill more than two thirds of the range between
    the smallest and the largest. If quantities were measured in such a range, a quarter would be
    equal; prices in cents that all differ are spread over a wider range. Years and other points in
    time may count up as well, and they are no ids.
    """
    known = np.unique(values[np.isfinite(values)])
    if len(known) < _FEWEST or not _are_unlike(values) or _TIMES.intersection(_words(name)):
        return False
    if _YEARS[0] <= known[0] and known[-1] <= _YEARS[1]:
        return False
    return bool(3 * len(known) > 2 * (known[-1] - known[0] + 1))


def is_name(name: str, values: NDArray[np.float64]) -> bool:
    """Whether whole numbers are names, by what their column is called."""
    words = _words(name)
    if _IDS.intersection(words) or _UNNAMED.fullmatch(name.strip()):
        return True
    if not words or not _are_unlike(values):
        return False
    return (
        words[-1] in _NUMBERS or words[0] == "row" or (len(name) > 4 and words[-1].endswith("id"))
    )


def _are_unlike(values: NDArray[np.float64]) -> bool:
    """Whether hardly two are alike; a few rows may be in the table twice."""
    known = values[np.isfinite(values)]
    return len(np.unique(known)) >= 0.95 * len(known)


def _words(name: str) -> list[str]:
    """The words of a name, in small letters: customer_id, customerID and "Customer Id" have two."""
    return [word.lower() for word in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+", name)]
