"""Read the target column as whole numbers, numbers or labels."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.cli.columns import as_numbers, as_text, kind_of, typed
from skprune.cli.files import InputError, Source
from skprune.cli.printing import did_you_mean
from skprune.data.encode.ids import are_codes
from skprune.data.encode.levels import MISSING, Levels
from skprune.data.encode.numbers import read_numbers
from skprune.data.encode.parts import ID_SHARE, ID_VALUES


def find_column(source: Source, option: str, name: str) -> int:
    """Position of the only column called ``name``."""
    places = [i for i, column in enumerate(source.names) if column == name]
    if len(places) == 1:
        return places[0]
    if places:
        raise InputError(f"{option} {name}: {len(places)} columns have that name.")
    columns = ", ".join(source.names[:20]) + (", ..." if len(source.names) > 20 else "")
    guess = did_you_mean(name, source.names)
    raise InputError(f"{option} {name} is no column of the table{guess} (columns: {columns})")


def read_target(source: Source, at: int, task: str) -> NDArray[Any]:
    """The target: whole numbers, numbers, or labels as text.

    Raises
    ------
    InputError
        If rows have no target, or the target does not fit the ``task``.
    """
    import pyarrow.types as types

    name, column = source.names[at], source.columns[at]
    kind = kind_of(column.type)
    if kind == "other":
        raise InputError(f"--target {name} is of type {column.type}, which is no target.")
    numbers = None
    if kind == "number":
        numbers = as_numbers(column)
        _refuse_absent(name, int(np.isnan(numbers).sum()), len(numbers))
    elif kind == "text" and (task == "regression" or not source.typed):
        numbers = _read_numbers(name, column, task)
    if task == "regression" and numbers is None:
        raise InputError(f"--target {name} is not all numbers, as --task regression needs.")
    if numbers is not None and (task == "regression" or not types.is_boolean(column.type)):
        if not np.isfinite(numbers).all():
            raise InputError(f"--target {name} has infinite values.")
        if task != "regression" and types.is_integer(typed(column).type):
            return np.asarray(typed(column).to_numpy())
        if task != "classification":
            return numbers

    text = as_text(column)
    nothing = () if source.typed else MISSING
    absent = sum(value is None or value in nothing for value in text)
    _refuse_absent(name, absent, len(text))
    n_labels = len(set(text))
    if n_labels > ID_VALUES and n_labels > ID_SHARE * len(text):
        raise InputError(
            f"--target {name} has {n_labels:,} different values in {len(text):,} rows: these "
            "are no classes."
        )
    return np.array(text, dtype=object)


def _read_numbers(name: str, column: Any, task: str) -> NDArray[np.float64] | None:
    """Text as numbers; None if it holds labels."""
    levels = Levels.of(as_text(column))
    reading = read_numbers(levels)
    if reading is None or not reading.holds or (task == "classification" and reading.n_others):
        return None
    if task != "regression" and are_codes(levels, reading.values):
        return None
    _refuse_absent(name, reading.n_missing, len(reading.values))
    if reading.n_others:
        raise InputError(
            f"--target {name}: {reading.n_read:,} rows hold numbers and {reading.n_others:,} "
            f"do not ({reading.shown}); drop these rows first"
            + (", or give --task classification." if task == "auto" else ".")
        )
    return reading.values


def _refuse_absent(name: str, absent: int, n: int) -> None:
    if absent:
        raise InputError(
            f"--target {name}: {absent:,} of {n:,} rows have no value there; drop these rows first."
        )
