"""The scorers of scikit-learn that are means over rows, as the losses of single rows.

Only such a loss, if it has a bound, can be certified. Where it has none it is cut off at a number
that the fitted rows tell, before any other row is seen.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import xlogy

from skprune.data.containers import plain

Floats = NDArray[np.float64]
#: A cross-entropy counts at most as much as if the chance of the right class were this part of the
#: share of the rarest class.
LEAST_CHANCE = 0.1
#: A squared error counts at most as much as one of so many standard deviations of the target, and
#: any other loss of numbers as much as the square of this times the mean loss of a constant.
DEVIATIONS = 2.0


def largest_entropy(y: NDArray[Any]) -> float:
    """Where the cross-entropy is cut off."""
    rarest = np.unique(y, return_counts=True)[1].min() / len(y)
    return -math.log(LEAST_CHANCE * rarest)


@dataclass(frozen=True)
class RowLoss:
    """A loss of rows.

    Attributes
    ----------
    method : str
        What the estimator is asked for.
    of : callable
        ``of(y, answers)``, shape (n,). With chances (n, C), y is a table (n, C) of zeros and ones.
    largest : callable, optional
        Of the targets of the fitted rows, which gives the largest value that counts.
    """

    method: str
    of: Callable[[Any, Any], Any]
    largest: Callable[[NDArray[Any]], float] | None = None


def _brier(Y: Floats, P: Floats) -> Floats:
    """The squared error of the chances; of two classes that of one."""
    return np.square(Y - P).sum(1) / (2 if Y.shape[1] == 2 else 1)


def _entropy(Y: Floats, P: Floats) -> Floats:
    return -np.log(np.clip((Y * P).sum(1), np.finfo(np.float64).eps, 1.0))


ROW_LOSSES = {
    "accuracy": RowLoss("predict", lambda y, p: (y != p).astype(np.float64), lambda y: 1.0),
    "neg_brier_score": RowLoss(
        "predict_proba", _brier, lambda y: 1.0 if len(np.unique(y)) == 2 else 2.0
    ),
    "neg_log_loss": RowLoss("predict_proba", _entropy, largest_entropy),
    "neg_mean_absolute_error": RowLoss(
        "predict", lambda y, p: np.abs(y - p), lambda y: DEVIATIONS * float(y.std())
    ),
    "neg_mean_squared_error": RowLoss("predict", lambda y, p: np.square(y - p)),
    "neg_mean_squared_log_error": RowLoss(
        "predict", lambda y, p: np.square(np.log1p(y) - np.log1p(p))
    ),
    "neg_mean_absolute_percentage_error": RowLoss(
        "predict", lambda y, p: np.abs(y - p) / np.maximum(np.abs(y), np.finfo(np.float64).eps)
    ),
    "neg_mean_poisson_deviance": RowLoss("predict", lambda y, p: 2 * (xlogy(y, y / p) - y + p)),
    "neg_mean_gamma_deviance": RowLoss("predict", lambda y, p: 2 * (np.log(p / y) + y / p - 1)),
}


class RowScorer:
    """A scorer that remembers the losses of the rows that it was asked about last.

    Parameters
    ----------
    scoring : str
        Of ``ROW_LOSSES``.
    y : array-like of shape (n,)
        The targets of the rows that models are fitted on.

    Attributes
    ----------
    largest : float
        No loss of a row counts for more.
    values : ndarray of shape (n,)
    """

    def __init__(self, scoring: str, y: Any) -> None:
        self.scoring, self.loss = scoring, ROW_LOSSES[scoring]
        y = np.asarray(plain(y))
        self.classes = np.unique(y) if self.loss.method == "predict_proba" else None
        if self.loss.largest is not None:
            self.largest = self.loss.largest(y)
        else:
            self.largest = DEVIATIONS**2 * float(np.mean(self.loss.of(y, y.mean())))
        self.values: Floats = np.zeros(0)

    def __call__(self, estimator: Any, X: Any, y: Any) -> float:
        """The score, by which a scorer is known."""
        y, answers = np.asarray(plain(y)), getattr(estimator, self.loss.method)(X)
        if self.classes is not None:
            chances = np.zeros((len(y), len(self.classes)))
            chances[:, np.searchsorted(self.classes, estimator.classes_)] = answers
            y, answers = (y[:, None] == self.classes).astype(np.float64), chances
        self.values = self.loss.of(y, np.asarray(answers))
        return -float(self.values.mean())


def row_scorer(scoring: Any, y: Any) -> RowScorer | None:
    """The scorer of single rows; None for a score that is not known to be a mean over rows."""
    known = isinstance(scoring, str) and scoring in ROW_LOSSES
    return RowScorer(scoring, y) if known else None
