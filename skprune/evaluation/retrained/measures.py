"""Score trained models on held-out rows, in parts from which a standard error follows."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import is_regressor
from sklearn.dummy import DummyClassifier, DummyRegressor
from sklearn.linear_model import RidgeClassifier
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from skprune.data.containers import n_rows, plain, take_rows
from skprune.evaluation.held_out import growth, of_a_constant
from skprune.evaluation.retrained.trainers import Data
from skprune.evaluation.scorers import Scorer, fitted_scorer
from skprune.evaluation.statistics import (
    jackknife_variance,
    variance_of_mean,
    without_each_group,
)
from skprune.heads.encoding import UNKNOWN_CATEGORIES
from skprune.losses.base import HeadLoss
from skprune.losses.squared import SquaredError
from skprune.subset import Rows
from skprune.utils.exceptions import advised

Floats = NDArray[np.float64]
#: From a fitted object to the loss of every row.
Losses = Callable[[Any], Floats]
#: The loss of a classifier that has no probabilities.
ERROR_RATE = "error rate"
NO_PROBABILITIES = (
    'scoring="loss" is the cross-entropy of predict_proba, but {} has no predict_proba. Name a '
    'scorer (scoring="accuracy"), or wrap the estimator in CalibratedClassifierCV.'
)


@dataclass(frozen=True)
class Score:
    """The score of one model; more is better.

    Attributes
    ----------
    value : float
    parts : ndarray of shape (k,), float64
        For the loss, minus the loss of every row. For a scorer, the scores without one group of
        rows each; NaN where there is no score.
    outputs : Tensor of shape (n, K) or None
        Outputs of the model on the rows, if the gap needs them.
    """

    value: float
    parts: Floats
    outputs: Tensor | None = None


@dataclass(frozen=True)
class Seen:
    """The correction of a loss on the rows that a linear model is fitted on: see ``growth``.

    Attributes
    ----------
    loss : HeadLoss
        The loss of the linear model.
    overfit : float
        Its overfit in the reported unit.
    """

    loss: HeadLoss
    overfit: float

    def outputs(self, fitted: Any, X: Any) -> Tensor:
        """Outputs (n, K) of the fitted model, as its head has them."""
        return torch.from_numpy(_outputs(fitted, X))


class Measure(ABC):
    """A score on held-out rows.

    Attributes
    ----------
    scoring : str
    n_rows : int
        Number of rows that models are scored on.
    held_out : bool
        Whether no model is trained on them.
    constant : Score or None
        Score of a constant prediction; None if unknown, as before the first ``score`` of a network.
    """

    scoring: str
    n_rows: int
    held_out: bool = True
    constant: Score | None = None

    @abstractmethod
    def score(self, fitted: Any) -> Score:
        """The score of a fitted model."""

    def correction(self, full: Score, pruned: Score) -> float:
        """A correction of a gap that is measured on the rows that the models were fitted on."""
        return 0.0

    @abstractmethod
    def row_variance(self, parts: Floats) -> tuple[float, int]:
        """Variance of a score (or a difference) over held-out rows, and its degrees of freedom.

        It is infinite if there are too few parts to estimate it.
        """


class LossMeasure(Measure):
    """Minus the weighted mean loss.

    Parameters
    ----------
    losses : callable
        ``losses(fitted)`` is the loss of every held-out row, shape (n,).
    weights : ndarray of shape (n,)
    units : ndarray of shape (n,), optional
        Equal for copies of a row, which the variance counts once.
    constant_losses : callable, optional
        ``constant_losses(fitted)`` are the losses of a constant prediction, or None if unknown; for
        models that must be fitted before these are known.
    """

    scoring = "loss"

    def __init__(
        self,
        losses: Losses,
        weights: Floats,
        units: Rows | None = None,
        constant_losses: Callable[[Any], Floats | None] | None = None,
    ) -> None:
        self.losses, self.constant_losses = losses, constant_losses
        self.weights = weights / weights.sum()
        self.n_rows = len(weights)
        self.units = np.arange(self.n_rows) if units is None else units
        self.seen: Seen | None = None
        self.X: Any = None

    def score(self, fitted: Any) -> Score:
        """Minus the mean loss."""
        parts = -self.row_losses(fitted)
        if self.constant_losses is not None:
            constant, self.constant_losses = self.constant_losses(fitted), None
            if constant is not None:
                self.constant = Score(-float(self.weights @ constant), -constant)
        outputs = None if self.seen is None else self.seen.outputs(fitted, self.X)
        return Score(float(self.weights @ parts), parts, outputs)

    def row_losses(self, fitted: Any) -> Floats:
        """The loss of every row."""
        with advised(*UNKNOWN_CATEGORIES):
            return np.asarray(self.losses(fitted), dtype=np.float64)

    def correction(self, full: Score, pruned: Score) -> float:
        """The ``growth`` of a linear model on the kept rows, times its overfit."""
        before, after = full.outputs, pruned.outputs
        if self.seen is None or before is None or after is None or before.shape != after.shape:
            return 0.0
        weights = torch.from_numpy(self.weights)
        return self.seen.overfit * growth(self.seen.loss, before, after, weights)

    def row_variance(self, parts: Floats) -> tuple[float, int]:
        """The linearised variance of a weighted mean."""
        return variance_of_mean(parts, self.weights, self.units)


class ScorerMeasure(Measure):
    """Any score of a set of rows, with the parts of a delete-a-group jackknife.

    Parameters
    ----------
    scorer : callable
        ``scorer(fitted)`` gives a function from row positions to the score on these rows.
    n : int
        Number of held-out rows.
    scoring : str or callable
    units : ndarray of shape (n,), optional
        0, 1, 2 ..., equal for copies of a row, which are left out together.
    """

    def __init__(
        self,
        scorer: Scorer,
        n: int,
        scoring: str | Callable[..., float],
        units: Rows | None = None,
    ) -> None:
        self.scorer, self.n_rows = scorer, n
        self.scoring = scoring if isinstance(scoring, str) else "callable"
        self.units = np.arange(n) if units is None else units

    def score(self, fitted: Any) -> Score:
        """The score on all held-out rows, and without each group of them."""
        on = self.scorer(fitted)
        return Score(on(np.arange(self.n_rows)), without_each_group(on, self.units))

    def row_variance(self, parts: Floats) -> tuple[float, int]:
        """The variance by the jackknife."""
        return jackknife_variance(parts)


def estimator_measure(
    estimator: Any,
    scoring: str | Callable[..., float],
    held_out: Data,
    train: Data,
    seen: Seen | None = None,
) -> Measure:
    """The measure of fitted scikit-learn estimators.

    Parameters
    ----------
    estimator : estimator
        The estimator, not fitted, which shows which methods its clones will have.
    scoring : str or callable
        "loss" is cross-entropy in nats, or the squared error in units of the (weighted) variance of
        ``train.y``. Probabilities are clipped at the rounding error of their precision, as in
        scikit-learn's ``log_loss``. For a classifier without probabilities, such as a support
        vector machine, it is the error rate. Rows have the weights that the estimator's
        ``class_weight`` gives them in training.
    held_out, train : Data
    seen : Seen, optional
        The correction for a linear model, if the two are the same.

    Raises
    ------
    ValueError
        If the estimator does not offer what ``scoring`` needs.
    """
    is_held_out = held_out is not train
    if scoring == "loss":
        held_out, train = (_class_weighted(data, estimator, train) for data in (held_out, train))
        weights = row_weights(held_out, n_rows(held_out.y))
        losses = _row_losses(estimator, held_out, train)
        measure: Measure = LossMeasure(losses, weights, held_out.units)
        if _gives_labels_only(estimator):
            measure.scoring = ERROR_RATE
    else:
        scorer = fitted_scorer(scoring, lambda rows: take_rows(held_out.X, rows), held_out.y)
        measure = ScorerMeasure(scorer, n_rows(held_out.y), scoring, held_out.units)
    measure.held_out = is_held_out
    measure.constant = _constant_score(measure, estimator, train)
    if isinstance(measure, LossMeasure):
        measure.seen, measure.X = seen, held_out.X
    return measure


def _row_losses(estimator: Any, held_out: Data, train: Data) -> Losses:
    """The loss of every held-out row."""
    y, y_train = (np.asarray(plain(data.y)) for data in (held_out, train))
    if is_regressor(estimator):
        return _squared_errors(held_out, y, train, y_train)
    if _may_give_probabilities(estimator):
        return _entropies(held_out, y)
    if isinstance(last_step(estimator), RidgeClassifier):
        # It fits codes of the classes by least squares, so its loss is the squared error.
        codes = LabelBinarizer(neg_label=-1).fit(y_train).transform
        return _squared_errors(held_out, codes(y), train, codes(y_train))
    return _errors(held_out, y)


def _gives_labels_only(estimator: Any) -> bool:
    """Whether the only loss of a classifier is its error rate."""
    told = is_regressor(estimator) or isinstance(last_step(estimator), RidgeClassifier)
    return not told and not _may_give_probabilities(estimator)


def _may_give_probabilities(estimator: Any) -> bool:
    """Whether it has ``predict_proba``, or may have it once its inner estimators are fitted."""
    last = last_step(estimator)
    made_of_others = any(hasattr(value, "fit") for value in last.get_params().values())
    later = made_of_others and hasattr(type(last), "predict_proba")
    return later or hasattr(estimator, "predict_proba")


def _squared_errors(held_out: Data, y: Floats, train: Data, y_train: Floats) -> Losses:
    """Squared errors of every row, of what the model predicts or of its decision values."""
    loss, K = SquaredError(), y.size // len(y)
    targets, weights = loss.encode(y, K), torch.from_numpy(row_weights(train, len(y_train)))
    unit = loss.unit(loss.encode(y_train, K), weights)

    def errors(fitted: Any) -> Floats:
        Z = torch.from_numpy(_outputs(fitted, held_out.X))
        return unit * loss.value(Z, targets).numpy()

    return errors


def _outputs(fitted: Any, X: Any) -> Floats:
    """Predictions of a regressor, or decision values of a linear classifier, shape (n, K)."""
    ask = fitted.predict if is_regressor(fitted) else fitted.decision_function
    return np.asarray(ask(X), dtype=np.float64).reshape(n_rows(X), -1)


def _errors(held_out: Data, y: NDArray[Any]) -> Losses:
    """Whether the predicted label of every row is wrong."""
    return lambda fitted: (np.asarray(fitted.predict(held_out.X)) != y).astype(np.float64)


def _entropies(held_out: Data, y: NDArray[Any]) -> Losses:
    """Cross-entropy of every row."""

    def entropies(fitted: Any) -> Floats:
        if not hasattr(fitted, "predict_proba"):
            raise ValueError(NO_PROBABILITIES.format(type(fitted).__name__))
        P = np.asarray(fitted.predict_proba(held_out.X))
        classes = np.asarray(fitted.classes_)
        columns = np.searchsorted(classes, y).clip(max=len(classes) - 1)
        chosen = np.where(classes[columns] == y, P[np.arange(len(y)), columns], 0.0)
        least = np.finfo(P.dtype).eps
        return -np.log(np.clip(chosen.astype(np.float64), least, 1.0))

    return entropies


def _constant_score(measure: Measure, estimator: Any, train: Data) -> Score | None:
    """Score of the shares of the classes, or of the mean of the target; None if there is none."""
    y = np.asarray(plain(train.y))
    dummy = DummyRegressor() if is_regressor(estimator) else DummyClassifier(strategy="prior")
    weights = row_weights(train, len(y))
    dummy.fit(np.zeros((len(y), 1)), y, sample_weight=weights)
    if isinstance(last_step(estimator), RidgeClassifier):
        codes = LabelBinarizer(neg_label=-1).fit_transform(y)
        mean = np.average(codes, axis=0, weights=weights)
        dummy.decision_function = lambda X: np.tile(mean, (n_rows(X), 1))
    if isinstance(measure, LossMeasure):
        return measure.score(dummy)
    score = of_a_constant(lambda: measure.score(dummy))
    return None if score is None or math.isnan(score.value) else score


def last_step(estimator: Any) -> Any:
    """The last estimator of a Pipeline, or the estimator itself."""
    while isinstance(estimator, Pipeline):
        estimator = estimator.steps[-1][1]
    return estimator


def name_of(model: Any) -> str:
    """What a model is called in reports; a Pipeline by its last step."""
    model = last_step(model)
    return getattr(model, "__name__", None) or type(model).__name__


def _class_weighted(data: Data, estimator: Any, train: Data) -> Data:
    """The rows with the weights that they have in the estimator's training loss.

    Without these, a constant would seem better than any model with ``class_weight="balanced"``.
    """
    given = getattr(last_step(estimator), "class_weight", None)
    if not isinstance(given, (str, dict)):
        return data
    y, labels = np.asarray(plain(train.y)), np.asarray(plain(data.y))
    classes = np.unique(y)
    # "balanced_subsample" of forests is "balanced" on every tree's own rows.
    scheme = given if isinstance(given, dict) else "balanced"
    factors = compute_class_weight(scheme, classes=classes, y=y)
    weights = row_weights(data, len(labels)) * factors[np.searchsorted(classes, labels)]
    return replace(data, weights=weights)


def row_weights(data: Data, n: int) -> Floats:
    """Weights of the rows, ones by default; the largest is 1, so that no sum overflows."""
    if data.weights is None:
        return np.ones(n)
    given = np.asarray(data.weights, dtype=np.float64)
    return given / given.max()
