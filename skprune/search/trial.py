"""One size that was tried, with what was measured of it at every level."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.results.gap import Gap
from skprune.subset import Selection

#: Levels that always have a column in ``path_``.
LEVELS = ("predicted", "refit", "retrained")


@dataclass(frozen=True)
class Trial:
    """A subset of one size.

    Attributes
    ----------
    selection : Selection
    gaps : dict of str to Gap
        One a level, cheap to dear.
    held_by : tuple of str
        Levels that the budget holds for.
    random : Gap or None
        That of a stratified random subset of this size, at the dearest level.
    seconds : float
        Selection and measurement, without the random rows.
    """

    selection: Selection
    gaps: dict[str, Gap]
    held_by: tuple[str, ...]
    random: Gap | None
    seconds: float

    @property
    def size(self) -> int:
        """Rows kept."""
        return len(self.selection.indices)

    @property
    def gap(self) -> Gap:
        """The largest gap, with its standard error, of those that the budget holds for."""
        gaps = [self.gaps[level] for level in self.held_by if level in self.gaps]
        if not gaps:
            return next(reversed(self.gaps.values()))
        # A NaN is the worst of all: a training diverged.
        return max(gaps, key=lambda gap: (math.isnan(gap), float(gap) + gap.standard_error))


def path_table(
    trials: Iterable[Trial], best: Trial | None, random: Gap | None, n_train: int, max_gap: float
) -> dict[str, NDArray[Any]]:
    """The trials as columns, largest size first; ``random`` is the baseline of ``best``."""
    order = sorted(trials, key=lambda t: -t.size)
    randoms = [random if t is best else t.random for t in order]

    def column(gaps: Iterable[Gap | None]) -> NDArray[np.float64]:
        return np.array([math.nan if gap is None else gap for gap in gaps], dtype=np.float64)

    levels = dict.fromkeys([*LEVELS, *(level for t in order for level in t.gaps)])
    return {
        "n_kept": np.array([t.size for t in order], dtype=np.int64),
        "share": np.array([t.size / n_train for t in order]),
        **{f"{level}_gap": column(t.gaps.get(level) for t in order) for level in levels},
        "standard_error": np.array([t.gap.standard_error for t in order]),
        "random_gap": column(randoms),
        "allowed": np.array([t.gap.within(max_gap) for t in order]),
        "seconds": np.array([t.seconds for t in order]),
    }
