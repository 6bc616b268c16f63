"""What every regime is asked, and what it answers."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.evaluation.retrained import Retraining, Seen
from skprune.influence.leave_out import GroupInfluence
from skprune.results.gap import Gap
from skprune.results.report import PruningReport
from skprune.subset import Rows
from skprune.utils.progress import Progress

if TYPE_CHECKING:
    from skprune.proxies.sampling import Prior


@dataclass(frozen=True)
class Settings:
    """The parameters of a pruner, checked; names and meanings are those of ``InfluencePruner``.

    ``fixed`` is ``keep`` as a number of rows, ``prior`` is of the rows at hand, ``seed`` follows
    from ``random_state``, ``progress`` from ``verbose``, and ``begin`` is when ``fit`` began, by
    ``time.perf_counter``.
    ``inner`` are the rows that are examined, ``outer`` those that are held out of the table for
    it, None if the user brings others. ``retraining`` trains on the former and measures on the
    latter, and is ``retrained`` in words; None if nothing is retrained. ``confirm`` makes one that
    trains on all rows and measures on them, for linear models, of which that tells the gap.
    """

    max_gap: float
    keep: float | int | None
    fixed: int | None
    scoring: str | Callable[..., float]
    curvature: str
    solver: str
    prior: Prior
    refit: bool
    retraining: Retraining | None
    confirm: Callable[[Seen], Retraining] | None
    min_per_class: int
    retrained: str
    inner: Rows
    outer: Rows | None
    seed: int
    device: str | torch.device
    batch_size: int | str
    cache_dir: str | os.PathLike[str] | None
    progress: Progress
    begin: float

    def trial_size(self, n: int, smallest: int) -> int | None:
        """Rows to keep in the trial if their number among all ``n`` is fixed."""
        if self.fixed is None:
            return None
        if self.keeps_trial:
            return self.fixed
        n_train = len(self.inner)
        return min(n_train, max(smallest, round(self.fixed / n * n_train)))

    @property
    def keeps_trial(self) -> bool:
        """Whether the rows that the trial chose are handed out, and not as large a share of all."""
        return self.outer is None

    @property
    def level(self) -> str:
        """How gaps are measured."""
        if self.retraining is not None:
            return "retrained"
        return "refit" if self.refit else "predicted"


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
    scores : ndarray of shape (n,)
    gap : Gap
    path : dict of ndarray
    report : PruningReport
    study : Study
    """

    kept: Rows
    scores: NDArray[np.float64]
    gap: Gap
    path: dict[str, NDArray[Any]]
    report: PruningReport
    study: Study
