"""Encode all columns of a table as numbers, for the command line and for heads on frames."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import scipy.sparse as sp

from skprune.data.encode.column import Column
from skprune.data.encode.dates import may_be_days, read_dates
from skprune.data.encode.ids import are_codes, are_whole, is_name, run_through
from skprune.data.encode.levels import MISSING
from skprune.data.encode.numbers import read_numbers
from skprune.data.encode.parts import MAX_LEVELS, LeftOut, OneHot, Part, one_hot, scaled
from skprune.data.encode.reading import Reading

#: Encoded tables with fewer entries are dense: faster, and 400 MB at most.
DENSE_ENTRIES = 50_000_000
#: Columns that all levels may become together; where they are more, the frequent ones of every
#: column have one of their own.
LEVEL_COLUMNS = 500
ROW_NUMBERS = "numbers the rows"
_MANY = {"number": "numbers", "category": "categories", "date": "dates"}


class TableEncoder:
    """Turns the columns of a table into numbers.

    Numbers are centred and scaled; missing values get the median, and a column of their own that
    marks them. Points in time become a trend, and the cycles that add something to it. Text that
    holds numbers or dates is read as such; other text becomes one column for every level, with
    rare levels pooled. Columns that number the rows and columns that are constant are left out.
    The encoder learns nothing from a target.

    Attributes
    ----------
    parts : list of (str, Part)
        The name of every column, and how it is encoded.
    """

    parts: list[tuple[str, Part]]

    def fit(
        self, columns: Sequence[tuple[str, Column]], left_out: Mapping[str, str] | None = None
    ) -> TableEncoder:
        """Learn what the columns are.

        Parameters
        ----------
        columns : list of (str, Column)
        left_out : mapping, optional
            Names of columns to leave out, each with the reason.
        """
        given = left_out or {}
        self.parts = [
            (name, LeftOut(given[name]) if name in given else _understand(name, column))
            for name, column in columns
        ]
        widths = [part.width for _, part in self.parts if isinstance(part, OneHot)]
        count = MAX_LEVELS
        while count > 2 and sum(min(width, count + 1) for width in widths) > LEVEL_COLUMNS:
            count -= 1
        self.parts = [
            (name, part.at_most(count) if isinstance(part, OneHot) else part)
            for name, part in self.parts
        ]
        return self

    @property
    def width(self) -> int:
        """Number of columns made."""
        return sum(part.width for _, part in self.parts)

    def transform(self, columns: Sequence[tuple[str, Column]]) -> Any:
        """Columns of the fitted kinds as numbers.

        Returns
        -------
        ndarray or csr_matrix of shape (n_rows, width)

        Raises
        ------
        ValueError
            If no column can be encoded.
        """
        if not self.width:
            why = "; ".join(self.describe()) or "the target is the only one"
            raise ValueError(f"no column can be encoded: {why}.")
        blocks = [
            part.transform(column)
            for (_, part), (_, column) in zip(self.parts, columns, strict=True)
            if not isinstance(part, LeftOut)
        ]
        X = sp.hstack(blocks, format="csr")
        return X.toarray() if X.shape[0] * X.shape[1] <= DENSE_ENTRIES else X

    @property
    def summary(self) -> str:
        """How many columns of what kind became how many columns of numbers."""
        counts = []
        for kind, many in _MANY.items():
            parts = [part for _, part in self.parts if part.kind == kind]
            if parts:
                counts.append(f"{len(parts)} {kind if len(parts) == 1 else many}")
            if parts and kind == "category":
                counts[-1] += f" ({sum(part.width for part in parts)} levels)"
        return f"{', '.join(counts)} -> {self.width}"

    @property
    def diagnostics(self) -> list[str]:
        """One line for every column that may have been misunderstood."""
        noted = ((name, part.diagnostic) for name, part in self.parts)
        return [f"column {_shown(name)}: {said}" for name, said in noted if said]

    @property
    def left_out(self) -> list[str]:
        """Names of the columns that are not encoded."""
        return [_shown(name) for name, part in self.parts if isinstance(part, LeftOut)]

    def describe(self) -> list[str]:
        """How the columns were understood, one line for those that are alike."""
        alike: dict[tuple[str, str], list[str]] = {}
        for name, part in self.parts:
            alike.setdefault((part.kind, part.what), []).append(_shown(name))
        lines = [f"columns encoded: {self.summary}"] if self.width else []
        lines += [f"  {what}: {', '.join(names)}" for (kind, what), names in alike.items() if kind]
        lines += [
            f"left out: {', '.join(names)} ({what})"
            for (kind, what), names in alike.items()
            if not kind
        ]
        return lines


def _shown(name: str) -> str:
    return repr(name) if "," in name else name or "the column without a name"


def _understand(name: str, column: Column) -> Part:
    if column.kind == "":
        return LeftOut(f"type {column.dtype} cannot be encoded")
    if column.kind == "times":
        return scaled("date", column.values)
    if column.kind == "numbers":
        return _numbers(name, column)
    levels = column.levels()
    if column.kind == "categories":
        return one_hot(levels, "categories")
    if all(value.strip() in MISSING for value in levels.values):
        return LeftOut("empty")
    numbers = read_numbers(levels)
    readings: list[Reading | None] = [read_dates(levels), numbers]
    if numbers and numbers.holds and not may_be_days(numbers.values):
        readings = [numbers]
    found = [reading for reading in readings if reading]
    diagnostic = next((reading.diagnostic for reading in found if reading.diagnostic), None)
    reading = next((reading for reading in found if reading.holds), None)
    return replace(_text(name, column, reading), diagnostic=diagnostic)


def _text(name: str, column: Column, reading: Reading | None) -> Part:
    if reading is None:
        return one_hot(column.levels(), "text")
    if reading.kind == "dates":
        return scaled("date", reading.values, reading.how, reading.parse)
    if are_codes(column.levels(), reading.values):
        return one_hot(column.levels(), "numbers padded with zeros")
    return _numbers(name, column, reading)


def _numbers(name: str, column: Column, reading: Reading | None = None) -> Part:
    """Encode numbers as quantities, unless they are names (ids) of rows or of other things."""
    values = column.values if reading is None else reading.values
    if are_whole(values):
        if run_through(name, values):
            return LeftOut(ROW_NUMBERS)
        if is_name(name, values):
            return one_hot(column.levels(), "ids")
    if reading is None:
        return scaled("number", values)
    return scaled("number", values, reading.how, reading.parse)
