"""skprune: the smallest subset of the training rows with a constrained generalisation gap."""

from skprune.baselines import RandomPruner, ScorePruner
from skprune.compose import PrunedClassifier, PrunedRegressor, PruningSampler
from skprune.datasets import PrunedSubset
from skprune.display import PruningCurveDisplay
from skprune.exceptions import PruningWarning
from skprune.pruner import InfluencePruner
from skprune.version import __version__

__all__ = [
    "InfluencePruner",
    "PrunedClassifier",
    "PrunedRegressor",
    "PrunedSubset",
    "PruningCurveDisplay",
    "PruningSampler",
    "PruningWarning",
    "RandomPruner",
    "ScorePruner",
    "__version__",
]
