"""The methods people compare with, one file a family."""

from skprune.baselines.random import RandomPruner
from skprune.baselines.score import ScorePruner

__all__ = ["RandomPruner", "ScorePruner"]
