"""The columns of a table as pyarrow holds them: text, numbers, points in time."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What stands for "no value" in the text of a csv file, whatever its column holds.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "<NA>")
_PLAIN = re.compile(r"\s*[-+]?(?:(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|inf(?:inity)?)\s*", re.I)
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_PADDED = re.compile(r"\s*[-+]?0\d+\s*")


@dataclass(frozen=True)
class Levels:
    """The different values of a column of text.

    Attributes
    ----------
    values : list of str
        Each once, in the order in which they come.
    counts : ndarray of int
        Rows of each.
    codes : ndarray of int, shape (n_rows,)
        Position in ``values``; -1 where there is nothing.
    """

    values: list[str]
    counts: NDArray[np.int64]
    codes: NDArray[np.int64]

    def spread(self, each: NDArray[np.float64]) -> NDArray[np.float64]:
        """One number a row from one a value, NaN where there is nothing."""
        return np.append(each, np.nan)[self.codes]


def levels_of(column: Any) -> Levels:
    """The different values of a column, as text."""
    import pandas as pd

    codes, values = pd.factorize(np.asarray(as_text(column), dtype=object))
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    return Levels(list(values), counts, codes)


def is_padded(value: str) -> bool:
    """Whether a whole number is filled up with zeros (007), as names are and quantities are not."""
    return _PADDED.fullmatch(value) is not None


def typed(column: Any) -> Any:
    """Text that is plain numbers throughout as numbers, other columns as they are.

    Numbers that are padded with zeros (007) are names and stay text.
    """
    import pyarrow as pa

    if kind_of(column.type) != "text":
        return column
    text = [None if value in MISSING else value for value in as_text(column)]
    present = [value for value in text if value is not None]
    if not present or any(is_padded(value) or not _PLAIN.fullmatch(value) for value in present):
        return column
    read: type[int] | type[float] = float
    if all(_WHOLE.fullmatch(value) for value in present):
        read = int
    numbers = [None if value is None else read(value) for value in text]
    return pa.chunked_array([pa.array(numbers, pa.int64() if read is int else pa.float64())])


def kind_of(dtype: Any) -> str:
    """What the values are: "number", "time", "text" or "other"."""
    import pyarrow.types as types

    if types.is_dictionary(dtype):
        return kind_of(dtype.value_type)
    if types.is_integer(dtype) or types.is_floating(dtype) or types.is_decimal(dtype):
        return "number"
    if types.is_boolean(dtype) or types.is_null(dtype):
        return "number"
    if types.is_temporal(dtype) and not types.is_interval(dtype):
        return "time"
    view = getattr(types, "is_string_view", lambda _: False)
    return (
        "text" if types.is_string(dtype) or types.is_large_string(dtype) or view(dtype) else "other"
    )


def plain_column(column: Any) -> Any:
    """The column without dictionary encoding (as pandas' categories have)."""
    import pyarrow.types as types

    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def as_text(column: Any) -> list[str | None]:
    """The column as text, None where there is none."""
    values = column.to_pylist()
    if kind_of(column.type) == "text":
        return list(values)
    return [None if value is None else str(value) for value in values]


def as_numbers(column: Any) -> NDArray[np.float64]:
    """Numbers, NaN where there is none."""
    import pyarrow as pa
    import pyarrow.types as types

    column = plain_column(column)
    if types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def as_seconds(column: Any) -> NDArray[np.float64]:
    """Points in time and durations in seconds, NaN where there is none."""
    import pyarrow as pa
    import pyarrow.types as types

    column = plain_column(column)
    if types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    per_second = {"s": 1, "ms": 10**3, "us": 10**6, "ns": 10**9}[column.type.unit]
    whole = column.cast(pa.int32() if types.is_time32(column.type) else pa.int64())
    return as_numbers(whole) / per_second
