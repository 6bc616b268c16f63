"""Convert columns of pyarrow to text and to numbers."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.data.encode.levels import MISSING, is_padded
from skprune.data.encode.numbers import is_plain

_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")


def typed(column: Any) -> Any:
    """A column of text as numbers if all of it is plain numbers; else the column unchanged.

    Numbers that are padded with zeros (007) are names and stay text.
    """
    import pyarrow as pa

    if kind_of(column.type) != "text":
        return column
    text = [None if value in MISSING else value for value in as_text(column)]
    present = [value for value in text if value is not None]
    if not present or any(is_padded(value) or not is_plain(value) for value in present):
        return column
    read: type[int] | type[float] = float
    if all(_WHOLE.fullmatch(value) for value in present):
        read = int
    numbers = [None if value is None else read(value) for value in text]
    return pa.chunked_array([pa.array(numbers, pa.int64() if read is int else pa.float64())])


def kind_of(dtype: Any) -> str:
    """The kind of the values: "number", "time", "text" or "other"."""
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


def as_text(column: Any) -> list[str | None]:
    """The column as text, with None for missing values."""
    values = column.to_pylist()
    if kind_of(column.type) == "text":
        return list(values)
    return [None if value is None else str(value) for value in values]


def as_numbers(column: Any) -> NDArray[np.float64]:
    """The column as numbers, with NaN for missing values."""
    import pyarrow as pa
    import pyarrow.types as types

    if types.is_dictionary(column.type):  # as pandas' categories are
        column = column.cast(column.type.value_type)
    if types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)
