"""The encodings of one column, which are fitted to its values and applied to others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from skprune.data.encode.column import Column
from skprune.data.encode.cycles import Phase, find_phases
from skprune.data.encode.levels import Levels, Parse
from skprune.data.encode.numbers import plain_numbers

#: Levels of a column that get a column of their own; the rarer ones share one.
MAX_LEVELS = 50
#: A column of text with more distinct values than this share of its rows names rows ...
ID_SHARE = 0.5
#: ... if it has more than this many.
ID_VALUES = 20


@dataclass(frozen=True)
class LeftOut:
    """A column that is not encoded.

    Attributes
    ----------
    what : str
        The reason.
    diagnostic : str or None
        What may have been misunderstood; the other parts have it as well.
    """

    what: str
    kind: ClassVar[str] = ""
    width: ClassVar[int] = 0
    diagnostic: str | None = None


@dataclass(frozen=True)
class Scaled:
    """Centred and scaled numbers or points in time, with missing values at the median.

    Attributes
    ----------
    kind : str
        "number" or "date".
    what : str
        How the column was understood.
    parse : callable
        Reads its texts.
    middle, unit, mean, scale : float
        A missing value is replaced by ``middle``; values are divided by ``unit`` first, which keeps
        squares from overflowing.
    phases : tuple of Phase
        The cycles that are encoded beside the trend.
    indicator : bool
        Whether a further column marks missing values.
    diagnostic : str or None
        What may have been misunderstood.
    """

    kind: str
    what: str
    parse: Parse
    middle: float
    unit: float
    mean: float
    scale: float
    phases: tuple[Phase, ...]
    indicator: bool
    diagnostic: str | None = None

    @property
    def width(self) -> int:
        """Number of columns made."""
        return 1 + len(self.phases) + int(self.indicator)

    def transform(self, column: Column) -> Any:
        """The columns of these values, shape (n, width)."""
        values = column.numbers(self.parse)
        known = np.isfinite(values)
        centred = np.where(known, values, self.middle) / self.unit - self.mean
        columns = [centred / self.scale, *(phase.of(values) for phase in self.phases)]
        return sp.csr_matrix(np.column_stack([*columns, *[~known] * self.indicator]))


@dataclass(frozen=True)
class OneHot:
    """One column for every level; missing values are a level, and rare or new levels share one.

    Attributes
    ----------
    what : str
        How the column was understood.
    levels : tuple of str or None
        Those with a column of their own, the most frequent first.
    has_rest : bool
        Whether there are rarer levels, which share a column.
    """

    name: str
    levels: tuple[str | None, ...]
    has_rest: bool
    diagnostic: str | None = None
    kind: ClassVar[str] = "category"

    @property
    def width(self) -> int:
        """Number of columns made."""
        return len(self.levels) + int(self.has_rest)

    @property
    def what(self) -> str:
        """How the column was understood."""
        return f"{self.name}, {self.width} levels"

    def at_most(self, count: int) -> OneHot:
        """The same part, with at most ``count`` levels that have a column of their own."""
        cut = len(self.levels) > count
        return replace(self, levels=self.levels[:count], has_rest=self.has_rest or cut)

    def transform(self, column: Column) -> Any:
        """The columns of these values, shape (n, width)."""
        found = column.levels()
        place = {level: i for i, level in enumerate(self.levels)}
        each = [place.get(value, len(place)) for value in (*found.values, None)]
        places = np.array(each)[found.codes]  # -1, nothing, is the last one
        rows = np.flatnonzero(places < self.width)
        entries = (np.ones(len(rows)), (rows, places[rows]))
        return sp.csr_matrix(entries, shape=(len(places), self.width))


Part = LeftOut | Scaled | OneHot


def scaled(
    kind: str,
    values: NDArray[np.float64],
    how: Sequence[str] = (),
    parse: Parse = plain_numbers,
) -> Part:
    """The part of a column of numbers, or of points in time with their cycles."""
    known = np.isfinite(values)
    if not known.any():
        return LeftOut("empty")
    n_missing = int(np.sum(~known))
    middle = float(np.median(values[known]))
    filled = np.where(known, values, middle)
    unit = float(np.abs(filled).max()) or 1.0
    filled = filled / unit
    mean = float(filled.mean())
    scale = float(np.sqrt(np.mean((filled - mean) ** 2)))
    indicator = n_missing >= _fewest(len(values))
    if not scale > 1e-12:
        if not indicator:
            return LeftOut("constant")
        scale = 1.0
    phases = find_phases(values) if kind == "date" else ()
    names = list(dict.fromkeys(phase.name for phase in phases))
    what = ", ".join(
        [
            f"{kind}s",
            *how,
            *[f"{n_missing:,} missing"] * (n_missing > 0),
            *[f"with {', '.join(names)}"] * bool(names),
        ]
    )
    return Scaled(kind, what, parse, middle, unit, mean, scale, phases, indicator)


def one_hot(levels: Levels, name: str) -> Part:
    """The part of a column of levels, which is left out if nearly every row has its own."""
    n, n_present, n_levels = len(levels.codes), int(levels.counts.sum()), len(levels.values)
    if not n_levels:
        return LeftOut("empty")
    if n_levels == n_present or n_levels > max(ID_VALUES, ID_SHARE * n_present):
        return LeftOut(f"nearly unique {name}")
    counts = np.append(levels.counts, n - n_present)
    if np.count_nonzero(counts) == 1:
        return LeftOut("constant")
    frequent = np.argsort(-counts, kind="stable")[:MAX_LEVELS]
    frequent = frequent[counts[frequent] >= _fewest(n)]
    own = tuple([*levels.values, None][i] for i in frequent)
    part = OneHot(name, own, has_rest=bool(counts.sum() > counts[frequent].sum()))
    return LeftOut("rare values only") if part.width == 1 else part


def _fewest(n: int) -> int:
    """How many of n rows a level must have for a column of its own: few fix no coefficient."""
    return min(10, max(1, n // 100))
