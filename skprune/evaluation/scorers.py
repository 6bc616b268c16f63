"""Scoring a head with scikit-learn's scorers, without predicting twice."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer
from torch import Tensor

from skprune.data.containers import take_rows
from skprune.data.matrix import MatrixRows

#: Score of the head's outputs on some of the held-out rows: (Z, rows) -> float, more is better.
Scorer = Callable[[Tensor, NDArray[np.int64]], float]


class _Reader(Protocol):
    """Who says what outputs (n, K) mean; ``classes`` is None for numbers."""

    classes: NDArray[Any] | None

    def predict(self, Z: Tensor) -> NDArray[Any]: ...

    def predict_proba(self, Z: Tensor) -> NDArray[np.float64]: ...


class _Answers(BaseEstimator):
    """An estimator whose outputs on the rows it will be asked about are known already."""

    def __init__(self, reader: _Reader, Z: Tensor) -> None:
        self.reader, self.Z = reader, Z
        self.n_features_in_ = Z.shape[1]

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> NDArray[Any]:
        return self.reader.predict(self.Z)


class _RegressionAnswers(RegressorMixin, _Answers):
    pass


class _ClassificationAnswers(ClassifierMixin, _Answers):
    def __init__(self, reader: _Reader, Z: Tensor) -> None:
        super().__init__(reader, Z)
        self.classes_ = reader.classes

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        outputs: NDArray[np.float64] = self.Z.cpu().numpy()
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        return self.reader.predict_proba(self.Z)


def make_scorer(scoring: str | Callable[..., float], reader: _Reader, X: Any, y: Any) -> Scorer:
    """The scorer ``scoring`` on held-out rows X, y as a function of a model's outputs.

    Raises
    ------
    ValueError
        If the name is not one of scikit-learn's; the scorer raises it for a model or targets that
        it is not made for.
    """
    score = scoring if callable(scoring) else get_scorer(scoring)
    kind = _RegressionAnswers if reader.classes is None else _ClassificationAnswers

    def scorer(Z: Tensor, rows: NDArray[np.int64]) -> float:
        taken = take_rows(X, rows)
        inputs = np.asarray(taken) if isinstance(taken, MatrixRows) else taken
        try:
            return float(score(kind(reader, Z), inputs, y[rows]))
        except (AttributeError, TypeError, ValueError) as error:
            task = "regression" if reader.classes is None else "classification"
            raise ValueError(
                f"scoring={scoring!r} cannot score this {task} ({error}). Name a scorer that fits "
                'these targets ("f1_macro" for labels other than 0 and 1), or pass a callable '
                "scorer(estimator, X, y)."
            ) from error

    return scorer
