"""What the text of a column was read as, and whether that can be believed."""

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
        What reads other texts in the same way.
    values : ndarray of float, shape (n_rows,)
        NaN where nothing stands, or something else.
    how : tuple of str
        The notation, if it is not the plainest.
    n_read : int
        Rows that were read.
    n_missing : int
        Rows in which nothing stands, or a sign for it.
    others : tuple of str
        The different values that are something else, the most frequent first.
    n_others : int
        Rows that hold them.
    holds : bool
        Whether the column is of this kind: the other values are few, so that they are slips or
        remarks and not the names among which numbers are names as well.
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
    def doubt(self) -> str | None:
        """The line for a column that is of this kind for the most part but not throughout."""
        if not self.n_others or self.n_read <= self.n_others:
            return None
        taken = "these are taken as missing" if self.holds else "all are taken as text"
        return (
            f"{self.n_read:,} values are {self.kind} and {self.n_others:,} are not ({self.shown}); "
            f"{taken}"
        )

    @property
    def shown(self) -> str:
        """Some of the other values."""
        more = [f"and {len(self.others) - 3} more"] * (len(self.others) > 3)
        return ", ".join([*map(repr, self.others[:3]), *more])


def reading_of(
    kind: str,
    levels: Levels,
    parse: Parse,
    how: list[str],
    marks: frozenset[str] = frozenset(),
) -> Reading:
    """Judge a reading.

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
