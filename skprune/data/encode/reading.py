"""Columns of text that were read as numbers or dates, and whether that can be believed."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skprune.data.encode.levels import MISSING, Levels, Parse


@dataclass(frozen=True)
class Reading:
    """Text as numbers or points in time.

    Attributes
    ----------
    kind : str
        "numbers" or "dates".
    parse : callable
        Reads other texts in the same way.
    values : ndarray of float, shape (n_rows,)
        NaN where a value is missing or is not of this kind.
    how : tuple of str
        The notation, if it is not the plainest one.
    n_read : int
        Number of rows that were read.
    n_missing : int
        Number of rows that are empty or hold a sign for "missing".
    others : tuple of str
        The different values that are not of this kind, the most frequent first.
    n_others : int
        Number of rows that hold them.
    holds : bool
        Whether the column is of this kind. If only a few values are not, they are taken for slips
        or remarks; if many are not, the column is taken to hold names, some of them numbers.
    """

    kind: str
    parse: Parse
    values: NDArray[np.float64]
    how: tuple[str, ...]
    n_read: int
    n_missing: int
    others: tuple[str, ...]
    n_others: int
    holds: bool

    @property
    def diagnostic(self) -> str | None:
        """A line for a column most of whose values, but not all, are of this kind; else None."""
        if not self.n_others or self.n_read <= self.n_others:
            return None
        taken = "these are taken as missing" if self.holds else "all are taken as text"
        return (
            f"{self.n_read:,} values are {self.kind} and {self.n_others:,} are not ({self.shown}); "
            f"{taken}"
        )

    @property
    def shown(self) -> str:
        """The first three of the other values, for a message."""
        more = [f"and {len(self.others) - 3} more"] * (len(self.others) > 3)
        return ", ".join([*map(repr, self.others[:3]), *more])


def reading_of(
    kind: str,
    levels: Levels,
    parse: Parse,
    how: list[str],
    marks: frozenset[str] = frozenset(),
) -> Reading:
    """Read levels, and judge whether the column is of this kind.

    Parameters
    ----------
    kind : str
    levels : Levels
    parse : callable
        Reads every level; NaN where it cannot.
    how : list of str
    marks : frozenset of str
        More signs for "no value", in small letters.
    """
    each = parse(levels.values)
    read = ~np.isnan(each)
    unread = {i: levels.values[i].strip() for i in np.flatnonzero(~read)}
    others = [i for i, v in unread.items() if not (v in MISSING or v.lower() in marks)]
    places = sorted(others, key=lambda i: -levels.counts[i])
    n_read, n_others = int(levels.counts[read].sum()), int(levels.counts[places].sum())
    few = 10 * len(places) <= read.sum() or 100 * n_others <= n_read
    return Reading(
        kind,
        parse,
        levels.spread(each),
        tuple(how),
        n_read,
        len(levels.codes) - n_read - n_others,
        tuple(levels.values[i] for i in places),
        n_others,
        bool(few and n_read > n_others),
    )
