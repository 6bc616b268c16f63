"""The different values of a column of text."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

#: Reads one number from every text; NaN where it cannot.
Parse = Callable[[Sequence[str]], NDArray[np.float64]]

#: What stands for "no value" in text, whatever its column holds.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "<NA>")
_PADDED = re.compile(r"\s*[-+]?0\d+\s*")


@dataclass(frozen=True)
class Levels:
    """The different values of a column of text.

    Attributes
    ----------
    values : list of str
        The different values, in the order in which they first occur.
    counts : ndarray of int
        Number of rows with each value.
    codes : ndarray of int, shape (n_rows,)
        Position in ``values`` of every row; -1 where the value is missing.
    """

    values: list[str]
    counts: NDArray[np.int64]
    codes: NDArray[np.int64]

    @classmethod
    def of(cls, text: Iterable[str | None]) -> Levels:
        """The levels of text, None where there is none."""
        index: dict[str, int] = {}
        codes = np.fromiter(
            (-1 if v is None else index.setdefault(v, len(index)) for v in text), dtype=np.int64
        )
        return cls(list(index), np.bincount(codes[codes >= 0], minlength=len(index)), codes)

    def spread(self, each: NDArray[np.float64]) -> NDArray[np.float64]:
        """Numbers of the rows from numbers of the values; NaN where the value is missing."""
        return np.append(each, np.nan)[self.codes]


def is_padded(value: str) -> bool:
    """Whether a whole number is filled up with zeros (007), as names are and quantities are not."""
    return _PADDED.fullmatch(value) is not None
