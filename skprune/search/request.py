"""What a search is asked, and what it answers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skprune.data.teaching import Teaching
from skprune.results.gap import Gap
from skprune.results.report import PruningReport
from skprune.subset import Rows

if TYPE_CHECKING:
    from skprune.proxies.base import FittedProxy
    from skprune.proxies.sampling import Sampling


@dataclass(frozen=True)
class Budget:
    """How much may be lost, or how many rows may be kept.

    Attributes
    ----------
    max_gap : float
    keep : float, int or None
        As the user gave it.
    size : int or None
        ``keep`` as a number of the rows that have a weight.
    """

    max_gap: float
    keep: float | int | None
    size: int | None

    def train_size(self, n: int, n_train: int, smallest: int) -> int | None:
        """As large a share of the training rows, if the size is fixed."""
        if self.size is None:
            return None
        if n == n_train:
            return self.size
        return min(n_train, max(smallest, round(self.size / n * n_train)))


@dataclass(frozen=True)
class Choice:
    """How rows are chosen, whatever their gap is measured by.

    Attributes
    ----------
    solver : str
    sampling : Sampling
        Initial sampling weights.
    min_per_class : int
    seed : int
        Every size has its own seed, which follows from it.
    """

    solver: str
    sampling: Sampling
    min_per_class: int
    seed: int

    @property
    def is_default(self) -> bool:
        """Whether solver and initial weights are left to the package."""
        return self.solver == "swap" and self.sampling.is_uniform


@dataclass(frozen=True)
class Outcome:
    """What was found.

    Attributes
    ----------
    kept : ndarray of int64
        Rows, numbered as the caller's.
    weights : ndarray or None
        What every kept row counts for.
    targets : Teaching or None
        What every kept row carries in place of its label.
    scores : ndarray of shape (n,)
    gap : Gap
    path : dict of ndarray
    report : PruningReport
    proxy : FittedProxy
        On all rows; too large to be pickled with the pruner.
    logits : ndarray of shape (n_kept, n_outputs), float16, or None
        Those of the network for every kept row.
    """

    kept: Rows
    weights: NDArray[np.float64] | None
    targets: Teaching | None
    scores: NDArray[np.float64]
    gap: Gap
    path: dict[str, NDArray[Any]]
    report: PruningReport
    proxy: FittedProxy
    logits: NDArray[np.float16] | None = None
