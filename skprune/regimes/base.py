"""What every regime is asked, and what it answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from skprune.gap import Gap
from skprune.prior import Prior
from skprune.reading import Table
from skprune.removal import GroupInfluence
from skprune.report import ClassCount, PruningReport
from skprune.subset import Rows


@dataclass(frozen=True)
class Settings:
    """The parameters of a pruner, checked; names and meanings are those of ``InfluencePruner``.

    ``fixed`` is ``keep`` as a number of rows, ``prior`` is of the rows at hand, ``seed`` follows
    from ``random_state``, and ``begin`` is when ``fit`` began, by ``time.perf_counter``.
    """

    max_gap: float
    keep: float | int | None
    fixed: int | None
    scoring: str | Callable[..., float]
    curvature: str
    solver: str
    prior: Prior
    verify: Any
    min_per_class: int
    validation_fraction: float
    seed: int
    verbose: int
    begin: float


class Study(Protocol):
    """What ``fit`` knows of the rows: too large to be pickled with the pruner."""

    def remove(self, removed: NDArray[np.bool_]) -> GroupInfluence:
        """Predicted effect of removing the rows where the mask is True."""


@dataclass(frozen=True)
class Outcome:
    """What a regime found.

    Attributes
    ----------
    kept : ndarray of int64
        Positions in the table.
    pruned : bool
        False if the budget could not be met; then all rows are kept.
    scores : ndarray of shape (n,)
    gap : Gap
    path : dict of ndarray
    report : PruningReport
    study : Study
    """

    kept: Rows
    pruned: bool
    scores: NDArray[np.float64]
    gap: Gap
    path: dict[str, NDArray[Any]]
    report: PruningReport
    study: Study


def class_counts(table: Table, kept: Rows) -> tuple[ClassCount, ...]:
    """Rows of every class before and after; nothing for numbers."""
    if table.classes is None:
        return ()
    before = np.bincount(table.codes, minlength=len(table.classes))
    after = np.bincount(table.codes[kept], minlength=len(before))
    return tuple(
        ClassCount(label, int(b), int(a))
        for label, b, a in zip(table.classes, before, after, strict=True)
    )
