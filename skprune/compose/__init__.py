"""Pruners inside larger estimators: before an estimator, and in imbalanced-learn's Pipeline.

scikit-learn's Pipeline gives the full ``y`` to every step, so only its last step can drop rows.
``PrunedClassifier`` and ``PrunedRegressor`` prune in their own ``fit`` and can be used wherever an
estimator can; ``PruningSampler`` is a step for imbalanced-learn's Pipeline.
"""

from skprune.compose.estimators import PrunedClassifier, PrunedRegressor
from skprune.compose.sampler import PruningSampler

__all__ = ["PrunedClassifier", "PrunedRegressor", "PruningSampler"]
