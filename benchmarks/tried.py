"""What was tried for networks beside the published strategies: ways to choose rows of our own."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone

from skprune import InfluencePruner, PruningWarning
from skprune.baselines.base import Strategy
from skprune.baselines.evidence import Evidence
from skprune.data.strata import Rows
from skprune.subset.inclusion import draw, inclusion_chances

#: Odds of the rows that the start does not have.
ELSEWHERE = 1e-3


class DrawnByLoss(Strategy):
    """Rows drawn with chances in proportion to 1/2 + 1/2 of their loss over the mean loss.

    The loss is that of the middle of training. ``weighted`` rows count for the inverse of their
    chance (Horvitz and Thompson, 1952).
    """

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        weighted: bool = False,
        dynamics: Any = None,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.weighted = weighted
        self.dynamics = dynamics

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        """Draw the rows, anew for every size."""
        dynamics = self.dynamics
        probability = dynamics.probability[dynamics.n_epochs // 2].astype(np.float64)
        losses = -np.log(np.maximum(probability, 1e-4))
        minima = evidence.table.minima(self.min_per_class)
        self.chances_ = inclusion_chances(size, evidence.codes, minima, losses)
        return draw(self.chances_, evidence.codes, rng)

    def weigh(self, evidence: Evidence, rows: Rows) -> NDArray[np.float64] | None:
        """The inverse of the chances, if wanted."""
        return 1 / self.chances_[rows] if self.weighted else None


class BalancedFrom(Strategy):
    """The balanced rows that are found from those that another strategy chose."""

    def __init__(
        self,
        start: Strategy | None = None,
        keep: float | int = 0.5,
        *,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.start = start

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        """Let the strategy choose as many rows, and exchange some of them for balance."""
        start = clone(self.start).set_params(keep=size, random_state=self.random_state)
        chosen = start.fit_evidence(evidence).keep_mask_
        pruner = InfluencePruner(
            keep=size,
            model=self.model,
            sampling=np.where(chosen, 1.0, ELSEWHERE),
            min_per_class=self.min_per_class,
            random_state=self.random_state,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PruningWarning)
            return pruner.fit(evidence.features, evidence.table.y).sample_indices_
