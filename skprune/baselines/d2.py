"""D2 pruning: difficulty and diversity by message passing on a graph of neighbours."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from skprune.baselines.hardness import HardnessStrategy
from skprune.data.strata import Rows
from skprune.utils.sklearn_private import Interval

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


class D2(HardnessStrategy):
    """Keep rows in difficult regions, but few of the same region (Maharana et al., 2024).

    On a graph of nearest neighbours, every row first receives the difficulty of its neighbours
    times exp(-g d^2). Then the row of highest score is kept repeatedly, and its score times
    exp(-r d^2) is subtracted from its neighbours.

    Parameters
    ----------
    keep, difficulty, dynamics, model, min_per_class, random_state
        As in ``HardnessStrategy``.
    n_neighbors : int, default=10
    forward, reverse : float, default=1.0
        The parameters g and r.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **HardnessStrategy._parameter_constraints,
        "n_neighbors": [Interval(numbers.Integral, 1, None, closed="left")],
        "forward": [Interval(numbers.Real, 0, None, closed="left")],
        "reverse": [Interval(numbers.Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        n_neighbors: int = 10,
        forward: float = 1.0,
        reverse: float = 1.0,
        difficulty: str = "aum",
        dynamics: Any = None,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            keep,
            difficulty=difficulty,
            dynamics=dynamics,
            model=model,
            min_per_class=min_per_class,
            random_state=random_state,
        )
        self.n_neighbors = n_neighbors
        self.forward = forward
        self.reverse = reverse

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        distances, near = evidence.neighbours(self.n_neighbors)
        score = self.hardness(evidence)
        score = score + (np.exp(-self.forward * distances**2) * score[near]).sum(1)
        taken_from = np.exp(-self.reverse * distances**2)
        order = np.empty(size, dtype=np.int64)
        for k in range(size):
            order[k] = best = int(score.argmax())
            score[near[best]] -= taken_from[best] * score[best]
            score[best] = -np.inf
        self.ranking_ = order
        return order
