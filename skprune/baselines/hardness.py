"""The base class of strategies that start from a difficulty score."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from skprune.baselines.base import ScoreStrategy, Strategy
from skprune.baselines.difficulty import EL2N, GraNd, HighestLoss
from skprune.baselines.training import AUM, Forgetting
from skprune.utils.sklearn_private import StrOptions

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence

#: Strategies whose scores measure difficulty.
HARDNESS: dict[str, type[ScoreStrategy]] = {
    "aum": AUM,
    "el2n": EL2N,
    "forgetting": Forgetting,
    "grand": GraNd,
    "loss": HighestLoss,
}


class HardnessStrategy(Strategy):
    """Base class of strategies that combine a difficulty score with something else.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    difficulty : {"aum", "el2n", "forgetting", "grand", "loss"}, default="aum"
        The strategy whose score is used.
    dynamics : TrainingDynamics or list of them, default=None
        Dynamics of your own training, or of several, for "aum", "el2n" and "forgetting".
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Strategy._parameter_constraints,
        "difficulty": [StrOptions(set(HARDNESS))],
        "dynamics": "no_validation",
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        difficulty: str = "aum",
        dynamics: Any = None,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.difficulty = difficulty
        self.dynamics = dynamics

    def hardness(self, evidence: Evidence) -> NDArray[np.float64]:
        """Difficulty of every row, scaled to 0 (easiest) .. 1 (hardest); sets ``scores_``."""
        strategy = HARDNESS[self.difficulty]()
        if "dynamics" in strategy.get_params():
            strategy.set_params(dynamics=self.dynamics)
        score = strategy.mean_score(evidence)
        score = -score if strategy.keeps_lowest else score
        score = score - score.min()
        self.scores_ = score / (score.max() or 1.0)
        return self.scores_
