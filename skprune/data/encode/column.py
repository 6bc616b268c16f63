"""Read a column of any frame as a numpy array of numbers, points in time or text."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.data.containers import is_categories, is_missing, is_number
from skprune.data.encode.levels import Levels, Parse

_NUMBERS = (bool, np.bool_, int, float, Decimal, np.integer, np.floating)
_TIMES = (date, time, timedelta, np.datetime64, np.timedelta64)


@dataclass(frozen=True)
class Column:
    """The values of a column.

    Attributes
    ----------
    kind : str
        "numbers", "times", "text" or "categories"; "" for a type that cannot be encoded.
    values : ndarray of shape (n,)
        float64, NaN where unknown, of times in seconds; str, None where unknown, of text and
        categories.
    dtype : str
        The type in the words of the frame.
    """

    kind: str
    values: NDArray[Any]
    dtype: str = ""

    def levels(self) -> Levels:
        """The different values, as text."""
        if self.values.dtype == object:
            return Levels.of(self.values)
        return Levels.of(None if v != v else f"{v:.17g}" for v in self.values.tolist())

    def numbers(self, parse: Parse) -> NDArray[np.float64]:
        """The values as numbers, of text by ``parse``; NaN where unknown."""
        if self.values.dtype != object:
            return self.values
        levels = self.levels()
        return levels.spread(parse(levels.values))


def frame_columns(frame: Any) -> list[tuple[str, Column]]:
    """The columns of a frame of pandas or polars, with their names."""
    if hasattr(frame, "iloc"):  # names may repeat
        columns = [frame.iloc[:, j] for j in range(frame.shape[1])]
    else:
        columns = frame.get_columns()
    return [
        (str(name), read_column(column))
        for name, column in zip(frame.columns, columns, strict=True)
    ]


def read_column(series: Any) -> Column:
    """A Series of pandas or polars as a ``Column``, by its dtype, or by the objects in it."""
    dtype = series.dtype
    of_pandas = hasattr(series, "iloc")
    if is_categories(dtype):
        return Column("categories", _text(_objects(series)), str(dtype))
    if is_number(dtype):
        if of_pandas:
            values = series.to_numpy(dtype=np.float64, na_value=np.nan)
        else:
            values = series.cast(float).to_numpy()
        return Column("numbers", values, str(dtype))
    if of_pandas and str(dtype).startswith("period"):
        series = series.dt.to_timestamp()
    kind = getattr(series.dtype, "kind", "O")
    # Of arrow's times older versions of pandas make no array of numpy's.
    if of_pandas and kind in "mM" and not hasattr(dtype, "pyarrow_dtype"):
        unit = "datetime64[us]" if kind == "M" else "timedelta64[us]"
        return Column("times", _seconds(series.to_numpy(dtype=unit)), str(dtype))
    if not of_pandas and dtype.is_temporal() and str(dtype) != "Time":
        return Column("times", _seconds(series.to_numpy()), str(dtype))
    return _by_values(_objects(series), str(dtype))


def _objects(series: Any) -> NDArray[Any]:
    """The values one by one, None where there is none."""
    values = series.to_list()
    known = (v if isinstance(v, str) or not is_missing(v) else None for v in values)
    return np.fromiter(known, dtype=object, count=len(values))


def _by_values(objects: NDArray[Any], dtype: str) -> Column:
    """A column whose type says nothing, by what its objects are; words beside numbers are text."""
    types = {type(v) for v in objects if v is not None}

    def are(kinds: tuple[type, ...]) -> bool:
        return bool(types) and all(issubclass(t, kinds) for t in types)

    if are(_NUMBERS):
        return Column("numbers", _each(float, objects), dtype)
    if are(_TIMES):
        return Column("times", _each(_second, objects), dtype)
    if not types or are((str, *_NUMBERS, *_TIMES)):
        return Column("text", _text(objects), dtype)
    kinds = " or ".join(sorted(t.__name__ for t in types))
    return Column("", objects, kinds if dtype.lower() == "object" else dtype)


def _text(objects: Iterable[Any]) -> NDArray[Any]:
    return np.array([None if v is None else str(v) for v in objects], dtype=object)


def _each(read: Callable[[Any], float], objects: NDArray[Any]) -> NDArray[np.float64]:
    return np.array([np.nan if v is None else read(v) for v in objects], dtype=np.float64)


def _seconds(times: NDArray[Any]) -> NDArray[np.float64]:
    """Times and spans of time of numpy's in seconds."""
    micro = times.astype(f"{times.dtype.kind}8[us]")
    return np.where(np.isnat(micro), np.nan, micro.astype(np.int64) / 1e6)


def _second(value: Any) -> float:
    """A point or span of time of Python's in seconds, since 1970 or since midnight."""
    if isinstance(value, (np.datetime64, np.timedelta64)):
        return float(_seconds(np.array([value]))[0])
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, time):
        value = datetime.combine(date(1970, 1, 1), value)
    elif not isinstance(value, datetime):
        value = datetime.combine(value, time())
    return (value if value.tzinfo else value.replace(tzinfo=timezone.utc)).timestamp()
