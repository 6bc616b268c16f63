"""What the text of a column says: numbers, dates, or words."""

from __future__ import annotations

import re
import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray

#: What stands for "no value" in the text of a csv file, where a number or a date is expected.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "<NA>")
_DATE = re.compile(r"\s*\d{1,4}([-/.])\d{1,2}\1\d{1,4}")
_ISO_DATE = re.compile(r"\s*\d{4}-\d{2}-\d{2}")
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_PADDED = re.compile(r"[-+]?0\d")


def typed(column: Any) -> Any:
    """Text that is numbers throughout as numbers, other columns as they are.

    Numbers that are padded with zeros (007) are names and stay text.
    """
    import pyarrow as pa

    if kind_of(column.type) != "text":
        return column
    numbers = parse_numbers(column)
    if numbers is None or np.isnan(numbers).all():
        return column
    text = [None if value in MISSING else value for value in as_text(column)]
    present = [value for value in text if value is not None]
    if any(_PADDED.match(value) for value in present):
        return column
    if all(_WHOLE.fullmatch(value) for value in present):
        whole = [None if value is None else int(value) for value in text]
        return pa.chunked_array([pa.array(whole, pa.int64())])
    return pa.chunked_array([pa.array(numbers, pa.float64(), from_pandas=True)])


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
    """Points in time and durations on a scale of numbers, in the unit of the column."""
    import pyarrow as pa
    import pyarrow.types as types

    column = plain_column(column)
    if types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if types.is_time32(column.type):
        column = column.cast(pa.int32())
    return as_numbers(column.cast(pa.int64()))


def parse_numbers(column: Any) -> NDArray[np.float64] | None:
    """Text as numbers, NaN where nothing stands; None unless all the rest are numbers."""
    import pandas as pd

    text = pd.Series(np.asarray(as_text(column), dtype=object))
    missing = text.isin(MISSING).to_numpy()
    values = np.array(pd.to_numeric(text.mask(missing), errors="coerce"), dtype=np.float64)
    return values if np.array_equal(np.isnan(values), missing) else None


def parse_dates(column: Any) -> NDArray[np.float64] | None:
    """Text as points in time; None unless all that is there looks like one and is one."""
    import pandas as pd

    text = [None if value in MISSING else value for value in as_text(column)]
    present = [value for value in text if value is not None]
    if not present or not all(_DATE.match(value) for value in present):
        return None
    iso = _ISO_DATE.match(present[0]) is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a format that must be guessed
        try:
            dates = pd.to_datetime(
                pd.Series(text, dtype=object),
                format="ISO8601" if iso else None,
                errors="coerce",
                utc=True,
            )
        except (ValueError, OverflowError):
            return None
    since = (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    seconds: NDArray[np.float64] = np.asarray(since, dtype=np.float64)
    return seconds if np.isnan(seconds).sum() == len(text) - len(present) else None
