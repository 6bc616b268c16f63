"""scikit-learn's scorers on many parts of the held-out rows, for which models predict only once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.metrics import get_scorer
from torch import Tensor

from skprune.data.containers import n_rows, take_rows
from skprune.data.matrix import MatrixRows
from skprune.heads.encoding import UNKNOWN_CATEGORIES
from skprune.subset import Rows
from skprune.utils.exceptions import advised

#: From a model to its score on some of the held-out rows, by position; more is better.
Scorer = Callable[[Any], Callable[[Rows], float]]
#: Methods of an estimator that a scorer may call.
METHODS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


class Reader(Protocol):
    """Turns outputs (n, K) into predictions; ``classes`` is None for numbers."""

    classes: NDArray[Any] | None

    def predict(self, Z: Tensor) -> NDArray[Any]: ...

    def predict_proba(self, Z: Tensor) -> NDArray[np.float64]: ...


def fitted_scorer(
    scoring: str | Callable[..., float], take: Callable[[Rows], Any], y: Any
) -> Scorer:
    """A scikit-learn scorer of fitted estimators, each of which predicts all rows once.

    Parameters
    ----------
    scoring : str or callable
    take : callable
        ``take(rows)`` are held-out rows by position, as the estimators take them.
    y : array-like of shape (n,)
        Targets of the held-out rows.

    Raises
    ------
    ValueError
        If the name is not one of scikit-learn's scorers. The result raises it for estimators or
        targets that it cannot score.
    """
    score = scoring if callable(scoring) else get_scorer(scoring)
    n = n_rows(y)
    all_rows = take(np.arange(n))

    def scorer(fitted: Any) -> Callable[[Rows], float]:
        answers = _Answers(fitted, all_rows)

        def on(rows: Rows) -> float:
            X = all_rows if len(rows) == n else take(rows)
            try:
                with answers.about(X, rows), advised(*UNKNOWN_CATEGORIES):
                    return float(score(fitted, X, take_rows(y, rows)))
            except (AttributeError, TypeError, ValueError) as error:
                scored = fitted.task if isinstance(fitted, _Outputs) else type(fitted).__name__
                raise ValueError(
                    f"scoring={scoring!r} cannot score {scored} ({error}). Name a scorer that fits "
                    'these targets ("f1_macro" for labels other than 0 and 1), or pass a callable '
                    "scorer(estimator, X, y)."
                ) from error

        return on

    return scorer


def make_scorer(scoring: str | Callable[..., float], reader: Reader, X: Any, y: Any) -> Scorer:
    """A scorer of outputs (n, K) on the held-out rows X, y, which ``reader`` interprets."""
    kind = _RegressionOutputs if reader.classes is None else _ClassificationOutputs

    def take(rows: Rows) -> Any:
        taken = take_rows(X, rows)
        return np.asarray(taken) if isinstance(taken, MatrixRows) else taken

    scorer = fitted_scorer(scoring, take, y)
    return lambda Z: scorer(kind(reader, Z))


class _Outputs(BaseEstimator):
    """A fitted estimator of which only the outputs on the held-out rows are known."""

    task: str

    def __init__(self, reader: Reader, Z: Tensor) -> None:
        self.reader, self.Z = reader, Z
        self.n_features_in_ = Z.shape[1]

    def __sklearn_is_fitted__(self) -> bool:
        return True

    def predict(self, X: Any) -> NDArray[Any]:
        return self.reader.predict(self._of(X))

    def _of(self, X: Any) -> Tensor:
        if n_rows(X) != len(self.Z):
            raise ValueError("it answers for all rows that the scorer is given, and no others")
        return self.Z


class _RegressionOutputs(RegressorMixin, _Outputs):
    task = "this regression"


class _ClassificationOutputs(ClassifierMixin, _Outputs):
    task = "this classification"

    def __init__(self, reader: Reader, Z: Tensor) -> None:
        super().__init__(reader, Z)
        self.classes_ = np.asarray(reader.classes)

    def decision_function(self, X: Any) -> NDArray[np.float64]:
        outputs: NDArray[np.float64] = self._of(X).cpu().numpy()
        if outputs.shape[1] == 2 and len(self.classes_) == 2:  # a network may have one for each
            return outputs[:, 1] - outputs[:, 0]
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs

    def predict_proba(self, X: Any) -> NDArray[np.float64]:
        return self.reader.predict_proba(self._of(X))


class _Answers:
    """Lets a fitted object predict all rows once, however many parts of them are scored.

    The object was made for this and is not used elsewhere. Its methods are replaced by ones that
    return stored predictions for the rows that are scored, and compute as before for others.
    """

    def __init__(self, fitted: Any, all_rows: Any) -> None:
        self.fitted, self.all_rows = fitted, all_rows
        self.X: Any = None
        self.rows: Rows | None = None
        for name in METHODS:
            if hasattr(fitted, name):
                setattr(fitted, name, self._remember(getattr(fitted, name)))

    @contextmanager
    def about(self, X: Any, rows: Rows) -> Iterator[None]:
        """Set the rows that are scored, as an object and by position."""
        self.X, self.rows = X, rows
        try:
            yield
        finally:
            self.X = None

    def _are_scored(self, X: Any) -> bool:
        # A callable scorer may pass its rows on in another container.
        in_another = isinstance(self.fitted, _Outputs) and self.X is not None
        return X is self.X or (in_another and n_rows(X) == n_rows(self.X))

    def _remember(self, ask: Callable[..., Any]) -> Callable[..., Any]:
        known: list[Any] = []

        @wraps(ask)  # scikit-learn goes by the names of methods
        def answer(X: Any, *args: Any, **params: Any) -> Any:
            if args or params or not self._are_scored(X):
                return ask(X, *args, **params)
            if not known:
                known.append(ask(self.all_rows))
            if not isinstance(known[0], np.ndarray):
                return ask(X)
            return known[0][self.rows]

        return answer
