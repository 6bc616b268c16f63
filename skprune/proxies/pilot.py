"""The pilot: out-of-fold predictions of all rows by gradient boosting."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from skprune.data.strata import Rows

#: Number of folds. Each row is predicted by a boosting of the other folds, so three cost two fits.
FOLDS = 3
#: Rounds of a boosting, and a bound on its trees, of which a round has one for each class.
ROUNDS, MOST_TREES = 80, 400
#: Fewest rounds of a boosting; one of few rounds takes longer steps.
FEWEST_ROUNDS, STEPS, LONGEST_STEP = 10, 8.0, 0.3
#: Penalty on the leaves. Without any, boosting diverges on rare classes: fars, with 8 of them, 3.41
#: nats instead of .49, and letter in steps of .3, 10 nats instead of .33.
PENALTY = 1.0


@dataclass(frozen=True)
class Pilot:
    """Out-of-fold predictions of some rows, and predictions of others.

    Attributes
    ----------
    predictions : ndarray of shape (n, n_classes) or (n,)
        Probabilities, or numbers.
    residuals : ndarray of shape (n,)
        |e_y - p| / sqrt 2 for a row of class y, from 0 to 1; |y - f| for numbers.
    predict : callable
        ``predict(X)`` is the mean prediction of the boostings of all folds, for new rows.
    """

    predictions: NDArray[np.float64]
    residuals: NDArray[np.float64]
    predict: Callable[[NDArray[np.floating]], NDArray[np.float64]]

    def of(self, X: NDArray[np.floating], y: NDArray[Any], places: Rows) -> Pilot:
        """The pilot of other rows.

        Parameters
        ----------
        X : ndarray of shape (m, d)
        y : ndarray of shape (m,)
        places : ndarray of shape (m,)
            Their positions among the rows of the pilot; -1 for new rows.
        """
        new, predictions = places < 0, self.predictions[places]
        if new.any():
            predictions[new] = self.predict(X[new])
        return Pilot(predictions, _residuals(predictions, y), self.predict)


def fit_pilot(
    X: NDArray[np.floating],
    y: NDArray[Any],
    n_classes: int | None,
    *,
    seed: int,
    weights: NDArray[np.float64] | None = None,
    units: Rows | None = None,
) -> Pilot:
    """Predict every row by a gradient boosting of the other folds.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Numbers, NaN where they are missing.
    y : ndarray of shape (n,)
        Codes 0 .. n_classes - 1, or numbers if ``n_classes`` is None.
    n_classes : int or None
    seed : int
    weights : ndarray of shape (n,), optional
    units : ndarray of shape (n,), optional
        Equal for rows that must be in the same fold: copies, or rows of one group.

    Returns
    -------
    Pilot
    """
    n = len(y)
    rng = np.random.default_rng(seed)
    w = np.ones(n) if weights is None else weights
    # Boosting bins weighted columns ten times as slowly, so equal weights are left out.
    weighted = bool(np.ptp(w) > 0)
    folds = _folds(np.arange(n) if units is None else units, y, n_classes, rng)
    mean, unit, target = 0.0, 1.0, y
    if n_classes is None:
        mean = float(np.average(y, weights=w))
        unit = float(np.sqrt(np.average((y - mean) ** 2, weights=w))) or 1.0
        y = (y - mean) / unit

    def nothing(n: int) -> NDArray[np.float64]:
        return np.zeros(n) if n_classes is None else np.full((n, n_classes), 1.0 / n_classes)

    predictions = nothing(n)
    boostings = []
    for fold in range(FOLDS):
        new, seen = folds == fold, folds != fold
        if new.any() and seen.any():
            given = w[seen] if weighted else None
            boosting = _boost(X[seen], y[seen], given, n_classes, int(rng.integers(2**31)))
            predictions[new] = boosting(X[new])
            boostings.append(boosting)

    def predict(X: NDArray[np.floating]) -> NDArray[np.float64]:
        said = [boosting(X) for boosting in boostings] or [nothing(len(X))]
        return mean + unit * np.mean(said, axis=0)

    predictions = mean + unit * predictions
    return Pilot(predictions, _residuals(predictions, target), predict)


def _residuals(predictions: NDArray[np.float64], y: NDArray[Any]) -> NDArray[np.float64]:
    if predictions.ndim == 1:
        return np.abs(y - predictions)
    apart = predictions.copy()
    apart[np.arange(len(y)), y.astype(np.int64)] -= 1.0
    return np.linalg.norm(apart, axis=1) / np.sqrt(2.0)


def _folds(units: Rows, y: NDArray[Any], n_classes: int | None, rng: np.random.Generator) -> Rows:
    """Fold of every row; units of each class are assigned in turn, in random order."""
    _, first, unit = np.unique(units, return_index=True, return_inverse=True)
    order = rng.permutation(len(first))
    if n_classes is not None:
        order = order[np.argsort(y[first[order]], kind="stable")]
    fold = np.empty(len(first), dtype=np.int64)
    fold[order] = np.arange(len(first)) % FOLDS
    return fold[unit]


def _boost(
    X: NDArray[np.floating],
    y: NDArray[Any],
    w: NDArray[np.float64] | None,
    n_classes: int | None,
    seed: int,
) -> Callable[[NDArray[np.floating]], NDArray[np.float64]]:
    """The predictions of a boosting of these rows, as a function of other rows."""
    if n_classes is None:
        numbers = HistGradientBoostingRegressor(
            max_iter=ROUNDS, l2_regularization=PENALTY, early_stopping=False, random_state=seed
        )
        return numbers.fit(X, y, w).predict
    # A class that is not among these rows gets probability 0.
    present = np.unique(y).astype(np.int64)
    boosting: HistGradientBoostingClassifier | None = None
    if len(present) > 1:
        trees = 1 if len(present) == 2 else len(present)
        rounds = int(np.clip(MOST_TREES // trees, FEWEST_ROUNDS, ROUNDS))
        boosting = HistGradientBoostingClassifier(
            learning_rate=min(LONGEST_STEP, STEPS / rounds),
            max_iter=rounds,
            l2_regularization=PENALTY,
            early_stopping=False,
            random_state=seed,
        ).fit(X, y, w)

    def predict(X: NDArray[np.floating]) -> NDArray[np.float64]:
        chances = np.zeros((len(X), n_classes))
        chances[:, present] = 1.0 if boosting is None else boosting.predict_proba(X)
        return chances

    return predict
