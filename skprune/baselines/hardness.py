"""What strategies share that begin with a score of how hard a row is, and then see to the rest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import StrOptions

from skprune.baselines.base import ScoreStrategy, Strategy
from skprune.baselines.difficulty import EL2N, GraNd, HighestLoss
from skprune.baselines.training import AUM, Forgetting

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence

#: Scores of how hard a row is.
HARDNESS: dict[str, type[ScoreStrategy]] = {
    "aum": AUM,
    "el2n": EL2N,
    "forgetting": Forgetting,
    "grand": GraNd,
    "loss": HighestLoss,
}


class HardnessStrategy(Strategy):
    """A strategy that is given a score of how hard rows are.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    difficulty : {"aum", "el2n", "forgetting", "grand", "loss"}, default="aum"
        The score, as the strategy of that name has it.
    dynamics : TrainingDynamics, default=None
        Of your own training, for "aum", "el2n" and "forgetting"; see there.
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
        """The score of every row between 0 and 1, the hardest last; sets ``scores_``."""
        strategy = HARDNESS[self.difficulty]()
        if "dynamics" in strategy.get_params():
            strategy.set_params(dynamics=self.dynamics)
        score = np.asarray(strategy.score_rows(evidence), dtype=np.float64)
        score = -score if strategy.keeps_lowest else score
        score = score - score.min()
        self.scores_ = score / (score.max() or 1.0)
        return self.scores_
