"""Which models take weights of rows, which benefit from them, and which take teacher targets."""

from __future__ import annotations

from typing import Any

from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
)
from sklearn.pipeline import Pipeline
from sklearn.svm import SVC, NuSVC

from skprune.heads.linear_spec import sampler_in, weight_name

#: Classifiers that take weights but lose less without them (benchmarks/transfer.py, 10 % kept;
#: figures are gaps divided by those of random rows). Support vector classifiers multiply their C by
#: the weights and fit single hard rows: 2.8 and 4.2 on adult and bank with weights, .8 and 1.0
#: without. Forests: .80, .79 and .92 on adult, magic and letter with weights, .65, .72 and .82
#: without. As regressors both kinds gain by weights, as do boosting, linear models and networks.
BETTER_WITHOUT = (SVC, NuSVC, RandomForestClassifier, ExtraTreesClassifier)

#: Estimators that take weights but are trained several times as slowly with them: these bin columns
#: with weights percentile by percentile. Of 10,000 x 20, 1.2 instead of .4 seconds; of 66,000, 3.9
#: instead of .9 (scikit-learn 1.9).
SLOWER_WITH = (HistGradientBoostingClassifier, HistGradientBoostingRegressor)


def wants_weights(estimator: Any) -> bool:
    """Whether an estimator takes weights of rows and is likely to benefit from them.

    This is a guess by the kind of the model, for cases where weights are not compared by a trial.
    """
    return weight_name(estimator) is not None and not _is_one_of(BETTER_WITHOUT, estimator)


def is_slower_with_weights(estimator: Any) -> bool:
    """Whether weights cost an estimator so much time that they spoil a search on fewer rows."""
    return _is_one_of(SLOWER_WITH, estimator)


def takes_teaching(estimator: Any, *, classes: bool) -> bool:
    """Whether an estimator can be trained on a teacher's targets.

    For classification a row is repeated with several labels, each with a weight. A sampler in a
    Pipeline makes new rows, for which there are no teacher targets.
    """
    weighted = not classes or weight_name(estimator) is not None
    return hasattr(estimator, "fit") and weighted and not sampler_in(estimator)


def _is_one_of(kinds: tuple[type, ...], estimator: Any) -> bool:
    if isinstance(estimator, Pipeline):
        return _is_one_of(kinds, estimator.steps[-1][1])
    inner = getattr(estimator, "estimator", None)  # of a calibration, a bagging ...
    return isinstance(estimator, kinds) or (inner is not None and _is_one_of(kinds, inner))
