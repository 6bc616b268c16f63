"""Columns of numbers, dates and text as numbers, for the examination only."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from skprune.cli.columns import (
    MISSING,
    Levels,
    as_numbers,
    as_seconds,
    kind_of,
    levels_of,
)
from skprune.cli.cycles import phases
from skprune.cli.dates import may_be_days, read_dates
from skprune.cli.files import InputError, Source
from skprune.cli.ids import are_codes, are_whole, is_name, run_through
from skprune.cli.numbers import read_numbers

#: Levels of a text column that get a column of their own; the rarer ones share one.
MAX_LEVELS = 50
#: A text column with more distinct values than this share of its rows names rows ...
ID_SHARE = 0.5
#: ... if it has more than this many.
ID_VALUES = 20
#: Encoded tables with fewer entries are dense: faster, and 400 MB at most.
DENSE_ENTRIES = 50_000_000
_ROW_NUMBERS = "numbers the rows"


@dataclass(frozen=True)
class Understood:
    """A column, as it is examined.

    Attributes
    ----------
    kind : str
        "numeric", "date" or "text"; "" for a column that is left out.
    what : str
        What was understood of it, or why it is left out.
    block : csr_matrix or None
    doubt : str or None
        What may have been misunderstood.
    """

    kind: str
    what: str
    block: Any = None
    doubt: str | None = None


def encode_table(
    source: Source, leave_out: int, drop: Collection[str] = ()
) -> tuple[Any, list[str]]:
    """All columns but the target as numbers, for the examination.

    Warns of what may have been misunderstood.

    Parameters
    ----------
    source : Source
    leave_out : int
        Position of the target.
    drop : collection of str
        Columns that the user leaves out.

    Returns
    -------
    X : ndarray or csr_matrix of shape (n_rows, n_encoded)
    notes : list of str
        What was understood of every column.

    Raises
    ------
    InputError
        If no column says anything.
    """
    columns: list[tuple[str, Understood]] = []
    for at, (name, column) in enumerate(zip(source.names, source.columns, strict=True)):
        if at == leave_out:
            continue
        if name in drop:
            found = Understood("", "as asked")
        elif name in source.index:
            found = Understood("", _ROW_NUMBERS)
        else:
            found = _understand(name, column)
        shown = repr(name) if "," in name else name or "the column without a name"
        columns.append((shown, found))
    blocks = [found.block for _, found in columns if found.kind]
    if not blocks:
        why = "; ".join(_describe(columns)) or "the target is the only one"
        raise InputError(f"no column can be examined: {why}.")
    X = sp.hstack(blocks, format="csr")
    if X.shape[0] * X.shape[1] <= DENSE_ENTRIES:
        X = X.toarray()
    for name, found in columns:
        if found.doubt:
            warnings.warn(f"column {name}: {found.doubt}", stacklevel=2)
    return X, _describe(columns)


def _describe(columns: Sequence[tuple[str, Understood]]) -> list[str]:
    """The columns by what was understood of them, one line for those that are alike."""
    alike: dict[tuple[str, str], list[str]] = {}
    for name, found in columns:
        alike.setdefault((found.kind, found.what), []).append(name)
    counts = []
    for kind in ("numeric", "date", "text"):
        blocks = [found.block for _, found in columns if found.kind == kind]
        if blocks:
            counts.append(f"{len(blocks)} {kind}")
            if kind == "text":
                counts[-1] += f" (as {sum(block.shape[1] for block in blocks)} levels)"
    lines = [f"columns examined: {', '.join(counts)}"] if counts else []
    lines += [f"  {what}: {', '.join(names)}" for (kind, what), names in alike.items() if kind]
    lines += [
        f"left out: {', '.join(names)} ({what})"
        for (kind, what), names in alike.items()
        if not kind
    ]
    return lines


def _understand(name: str, column: Any) -> Understood:
    kind = kind_of(column.type)
    if kind == "other":
        return Understood("", f"type {column.type} cannot be examined")
    if kind == "time":
        return _dated(as_seconds(column))
    if kind == "number":
        return _numbers(name, as_numbers(column), lambda: levels_of(column))
    levels = levels_of(column)
    if all(value.strip() in MISSING for value in levels.values):
        return Understood("", "empty")
    numbers = read_numbers(levels)
    if numbers and numbers.holds and not may_be_days(numbers.values):
        readings = [numbers]
    else:
        readings = [reading for reading in (read_dates(levels), numbers) if reading]
    doubt = next((reading.doubt for reading in readings if reading.doubt), None)
    for reading in readings:
        if not reading.holds:
            continue
        if reading.kind == "dates":
            found = _dated(reading.values, reading.how)
        elif are_codes(levels, reading.values):
            return _one_hot(levels, "numbers padded with zeros")
        else:
            found = _numbers(name, reading.values, lambda: levels, reading.how)
        return replace(found, doubt=doubt)
    return replace(_one_hot(levels), doubt=doubt)


def _numbers(
    name: str,
    values: NDArray[np.float64],
    levels: Callable[[], Levels],
    how: Sequence[str] = (),
) -> Understood:
    """Numbers that measure something; those that name rows or other things are no quantities."""
    if are_whole(values):
        if run_through(name, values):
            return Understood("", _ROW_NUMBERS)
        if is_name(name, values):
            return _one_hot(levels(), "ids")
    return _scaled("numeric", values, how)


def _dated(seconds: NDArray[np.float64], how: Sequence[str] = ()) -> Understood:
    """Points in time, or durations: the trend, and cycles that do not run along with it."""
    trend = _scaled("date", seconds, how)
    if trend.block is None:
        return trend
    columns, names = phases(seconds)
    if not names:
        return trend
    block = sp.hstack([trend.block, sp.csr_matrix(columns)], format="csr")
    return replace(trend, what=f"{trend.what}, with {', '.join(names)}", block=block)


def _scaled(kind: str, values: NDArray[np.float64], how: Sequence[str] = ()) -> Understood:
    """Centred and scaled numbers, so that they may stay sparse, with gaps at the median."""
    known = np.isfinite(values)
    if not known.any():
        return Understood("", "empty")
    missing = [f"{np.sum(~known):,} missing"] * (not known.all())
    values = np.where(known, values, np.median(values[known]))
    values = values / (np.abs(values).max() or 1.0)  # so that no square overflows
    centred = values - values.mean()
    scale = float(np.sqrt(np.mean(centred**2)))
    if not scale > 1e-12:
        return Understood("", "constant")
    what = {"numeric": "numbers", "date": "dates"}[kind]
    block = sp.csr_matrix((centred / scale)[:, None])
    return Understood(kind, ", ".join([what, *how, *missing]), block)


def _one_hot(levels: Levels, what: str = "text") -> Understood:
    """One column a level; a missing value is a level, rare levels share one."""
    n, n_present, n_levels = len(levels.codes), int(levels.counts.sum()), len(levels.values)
    if n_levels == n_present or n_levels > max(ID_VALUES, ID_SHARE * n_present):
        return Understood("", f"nearly unique {what}")
    counts = np.append(levels.counts, n - n_present)
    if np.count_nonzero(counts) == 1:
        return Understood("", "constant")
    frequent = np.argsort(-counts, kind="stable")[:MAX_LEVELS]
    frequent = frequent[counts[frequent] >= min(10, max(1, n // 100))]
    position = np.full(len(counts), len(frequent))
    position[frequent] = np.arange(len(frequent))
    places = position[levels.codes]  # -1, nothing, is the last one
    width = int(places.max()) + 1
    if width == 1:
        return Understood("", "rare values only")
    block = sp.csr_matrix((np.ones(n), (np.arange(n), places)), shape=(n, width))
    return Understood("text", f"{what}, {width} levels", block)
