"""Which models take weights of rows, which are better off with them, and which take a teacher."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, NuSVC

from skprune.heads.linear_spec import sampler_in, weight_name

#: Models that take weights and lose less on rows that need none (benchmarks/transfer.py, 10 % kept,
#: as a share of what random rows lose). Support vector classifiers multiply their C by the weights
#: and fit single hard rows: 2.8 and 4.2 on adult and bank, unweighted .8 and 1.0. Forests of
#: classes: .80, .79 and .92 on adult, magic and letter, unweighted .65, .72 and .82. Of numbers
#: both kinds gain by weights, as do boosting, linear models and networks.
BETTER_WITHOUT = (SVC, NuSVC, RandomForestClassifier, ExtraTreesClassifier)


def wants_weights(estimator: Any) -> bool:
    """Whether an estimator takes weights of rows and is likely to be better for them.

    A guess by the kind of the model: where both can be tried, the trial decides.
    """
    return weight_name(estimator) is not None and not _is_better_without(estimator)


def takes_teaching(estimator: Any, *, classes: bool) -> bool:
    """Whether an estimator can be trained on a teacher's targets.

    Of classes these are rows of several labels with weights; a sampler in a Pipeline makes rows of
    its own, which no teacher has seen.
    """
    weighted = not classes or weight_name(estimator) is not None
    return hasattr(estimator, "fit") and weighted and not sampler_in(estimator)


def _is_better_without(estimator: Any) -> bool:
    if isinstance(estimator, Pipeline):
        return _is_better_without(estimator.steps[-1][1])
    inner = getattr(estimator, "estimator", None)  # of a calibration, a bagging ...
    return isinstance(estimator, BETTER_WITHOUT) or (
        inner is not None and _is_better_without(inner)
    )
