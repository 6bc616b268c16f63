"""Rows by every strategy of the field, and by ours, from one evidence of a data set and seed."""

from __future__ import annotations

import hashlib
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.base import clone

from benchmarks.harness import forget
from skprune import PruningWarning
from skprune.baselines import STRATEGIES
from skprune.baselines.base import Strategy
from skprune.baselines.evidence import Evidence, read_evidence
from skprune.utils.seeds import set_random_states


@dataclass(frozen=True)
class Chosen:
    """Kept rows, their weights if they need them, and the seconds of choosing, evidence apart."""

    rows: np.ndarray
    weights: np.ndarray | None
    seconds: float

    @property
    def digest(self) -> str:
        """A checksum of the rows."""
        return hashlib.sha256(self.rows.astype(np.int64).tobytes()).hexdigest()[:16]


class Chooser:
    """Chooses rows of one data set; what strategies know of the rows is found once for all.

    ``pruners`` are those by name that are no strategies, or strategies with options of their own;
    ``inputs`` are what some of them see of the rows instead of ``X``.
    """

    def __init__(
        self,
        X: np.ndarray,
        y: np.ndarray,
        seed: int,
        pruners: Mapping[str, Any],
        model: Any = None,
        dynamics: Any = None,
        inputs: Mapping[str, np.ndarray] | None = None,
    ) -> None:
        self.X, self.y, self.seed, self.pruners = X, y, seed, pruners
        self.inputs = inputs or {}
        self.evidence: Evidence = read_evidence(
            Strategy(), X, y, model=model, seed=seed, dynamics=dynamics
        )

    def __call__(self, name: str, shares: Sequence[float]) -> Iterator[tuple[float, Chosen]]:
        """The chosen rows for every share, from the largest down."""
        ranking = None
        for share in sorted(shares, reverse=True):
            given = self.pruners.get(name)
            pruner = STRATEGIES[name]() if given is None else clone(given)
            pruner.set_params(keep=share)
            set_random_states(pruner, self.seed)
            start, known = time.perf_counter(), sum(self.evidence.seconds.values())
            if isinstance(pruner, Strategy):
                pruner.fit_evidence(self.evidence, ranking)
                ranking = vars(pruner).get("ranking_")
            else:
                forget()
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", PruningWarning)
                    pruner.fit(self.inputs.get(name, self.X), self.y)
            found = sum(self.evidence.seconds.values()) - known
            seconds = time.perf_counter() - start - found
            yield share, Chosen(pruner.sample_indices_, pruner.sample_weight_, seconds)
