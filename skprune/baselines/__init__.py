"""Published ways to choose rows behind one interface, one family per file."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skprune.baselines.base import GroupStrategy, ScoreStrategy, Strategy
from skprune.baselines.blocks import RandomBlock
from skprune.baselines.ccs import CCS
from skprune.baselines.centres import ClassCentre, Prototypes, SemDeDup
from skprune.baselines.coverage import CRAIG, FacilityLocation, GraphCut, KCenter
from skprune.baselines.d2 import D2
from skprune.baselines.difficulty import EL2N, GraNd, HighestLoss, SingleInfluence
from skprune.baselines.dual import DUAL
from skprune.baselines.gradients import Glister, GradMatch
from skprune.baselines.herding import GMMatching, Herding
from skprune.baselines.infomax import InfoMax
from skprune.baselines.published import DatasetPruning
from skprune.baselines.random import Random, StratifiedRandom
from skprune.baselines.training import AUM, TDDS, DynUnc, Forgetting
from skprune.baselines.twinning import Twinning
from skprune.baselines.uncertainty import CAL, DeepFool, Entropy, LeastConfidence, Margin

if TYPE_CHECKING:
    from skprune.baselines.comparison import compare
    from skprune.baselines.dynamics import TrainingDynamics
    from skprune.baselines.evidence import Evidence
    from skprune.baselines.record import RecordDynamics

#: Strategies by name, as ``compare`` takes them.
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
    "dual": DUAL,
    "least confidence": LeastConfidence,
    "entropy": Entropy,
    "margin": Margin,
    "deepfool": DeepFool,
    "cal": CAL,
    "herding": Herding,
    "gm matching": GMMatching,
    "class centre": ClassCentre,
    "prototypes": Prototypes,
    "semdedup": SemDeDup,
    "k-center": KCenter,
    "facility location": FacilityLocation,
    "graph cut": GraphCut,
    "craig": CRAIG,
    "gradmatch": GradMatch,
    "glister": Glister,
    "ccs": CCS,
    "d2": D2,
    "infomax": InfoMax,
    "twinning": Twinning,
    "random block": RandomBlock,
}

_LATE = {
    "compare": "skprune.baselines.comparison",
    "Evidence": "skprune.baselines.evidence",
    "RecordDynamics": "skprune.baselines.record",
    "TrainingDynamics": "skprune.baselines.dynamics",
}


def __getattr__(name: str) -> Any:
    if name in _LATE:  # these import torch, which takes seconds
        return getattr(import_module(_LATE[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


__all__ = [
    "AUM",
    "CAL",
    "CCS",
    "CRAIG",
    "D2",
    "DUAL",
    "EL2N",
    "STRATEGIES",
    "TDDS",
    "ClassCentre",
    "DatasetPruning",
    "DeepFool",
    "DynUnc",
    "Entropy",
    "Evidence",
    "FacilityLocation",
    "Forgetting",
    "GMMatching",
    "Glister",
    "GraNd",
    "GradMatch",
    "GraphCut",
    "GroupStrategy",
    "Herding",
    "HighestLoss",
    "InfoMax",
    "KCenter",
    "LeastConfidence",
    "Margin",
    "Prototypes",
    "Random",
    "RandomBlock",
    "RecordDynamics",
    "ScoreStrategy",
    "SemDeDup",
    "SingleInfluence",
    "Strategy",
    "StratifiedRandom",
    "TrainingDynamics",
    "Twinning",
    "compare",
]
