"""The ways to choose rows that people compare with, behind one interface: a family a file."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skprune.baselines.base import ScoreStrategy, Strategy
from skprune.baselines.difficulty import EL2N, GraNd, HighestLoss, SingleInfluence
from skprune.baselines.published import DatasetPruning
from skprune.baselines.random import Random, StratifiedRandom
from skprune.baselines.training import AUM, TDDS, DynUnc, Forgetting

if TYPE_CHECKING:
    from skprune.baselines.comparison import compare
    from skprune.baselines.dynamics import TrainingDynamics
    from skprune.baselines.evidence import Evidence

#: Every strategy by its name; ``compare`` takes names.
STRATEGIES: dict[str, type[Strategy]] = {
    "random": Random,
    "stratified random": StratifiedRandom,
    "highest loss": HighestLoss,
    "el2n": EL2N,
    "grand": GraNd,
    "single influence": SingleInfluence,
    "dataset pruning": DatasetPruning,
    "forgetting": Forgetting,
    "aum": AUM,
    "dyn-unc": DynUnc,
    "tdds": TDDS,
}

_LATE = {
    "compare": "skprune.baselines.comparison",
    "Evidence": "skprune.baselines.evidence",
    "TrainingDynamics": "skprune.baselines.dynamics",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:  # what is trained takes torch, which takes seconds to import
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AUM",
    "EL2N",
    "STRATEGIES",
    "TDDS",
    "DatasetPruning",
    "DynUnc",
    "Evidence",
    "Forgetting",
    "GraNd",
    "HighestLoss",
    "Random",
    "ScoreStrategy",
    "SingleInfluence",
    "Strategy",
    "StratifiedRandom",
    "TrainingDynamics",
    "compare",
]
