"""Exact balance leaves scikit-learn's own coefficients where they were, in either convention.

Two kinds of table in which a set T of rows can go at no cost:

- every row twice, one copy of each kept: under a penalty per row the objective is halved;
- sets of rows at one point x whose weighted gradients add up to nothing at the optimum (weights
  in proportion to the predicted probabilities, residuals of either sign): under a total penalty
  the optimum does not feel them.

Each is exact in one convention only, so that reading the wrong one off a model shows.
"""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import torch
from sklearn.base import clone, is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, scale

from skprune import InfluencePruner
from skprune.curvature import HeadGradients, build_curvature
from skprune.heads.encoding import HeadEncoder
from skprune.heads.linear_spec import read_model
from skprune.influence.gradients import HeadInfluence
from skprune.proxies.head import fit_curvature

TIGHT = {"solver": "newton-cholesky", "tol": 1e-10, "max_iter": 1000}
SQUARES = PolynomialFeatures(2, include_bias=False)

TOTAL = {
    "logistic": (LogisticRegression(C=0.3, **TIGHT), 2),
    "logistic, three classes": (LogisticRegression(C=0.3, **TIGHT), 3),
    "logistic, no intercept": (LogisticRegression(C=0.3, fit_intercept=False, **TIGHT), 3),
    "logistic, class weights": (
        LogisticRegression(C=0.3, class_weight={0: 0.5, 1: 2.0}, **TIGHT),
        2,
    ),
    "liblinear": (LogisticRegression(C=0.3, solver="liblinear", tol=1e-12, max_iter=20_000), 2),
    "pipeline": (make_pipeline(SQUARES, LogisticRegression(C=0.3, **TIGHT)), 3),
    "ridge classifier": (RidgeClassifier(alpha=40.0, solver="cholesky"), 2),
    "ridge classifier, three classes": (RidgeClassifier(alpha=40.0, solver="cholesky"), 3),
    "ridge": (Ridge(alpha=20.0, solver="cholesky"), 0),
    "ridge, no intercept": (Ridge(alpha=20.0, solver="cholesky", fit_intercept=False), 0),
    "linear regression": (LinearRegression(), 0),
}

PER_ROW = {
    "sgd": (SGDClassifier(loss="log_loss", alpha=0.05), 2),
    "sgd, three classes": (SGDClassifier(loss="log_loss", alpha=0.05), 3),
    "sgd regressor": (SGDRegressor(alpha=0.5), 0),
    "softmax head": ("softmax", 3),
    "sigmoid head": (None, 2),
    "ridge head": ("ridge", 0),
}


def table(n_classes, rng):
    """Rows, targets and weights, with enough noise that nothing is separable."""
    if n_classes == 0:
        X, y = load_diabetes(return_X_y=True)
        y = scale(y)
    else:
        X, y = (load_breast_cancer if n_classes == 2 else load_wine)(return_X_y=True)
    X = scale(X)[:, :4]
    return X, y, rng.uniform(0.5, 1.5, len(y))


def answers(model, X):
    """Probabilities of a classifier trained by log loss, outputs of all others."""
    if hasattr(model, "predict_proba"):
        return model.predict_proba(X)
    if not is_classifier(model):
        return model.predict(X)[:, None]
    margin = model.decision_function(X)
    return (1 + (np.column_stack([-margin, margin]) if margin.ndim == 1 else margin)) / 2


def coefficients(model):
    last = model[-1] if hasattr(model, "steps") else model
    return np.append(np.ravel(last.coef_), np.ravel(last.intercept_))


def refit(model, X, y, w):
    name = "logisticregression__sample_weight" if hasattr(model, "steps") else "sample_weight"
    return coefficients(clone(model).fit(X, y, **{name: w}))


def with_balanced_sets(model, n_classes, rng):
    """A table and the mask of the rows that are not in its 60 balanced sets."""
    X, y, w = table(n_classes, rng)
    name = "logisticregression__sample_weight" if hasattr(model, "steps") else "sample_weight"
    fitted = clone(model).fit(X, y, **{name: w})
    points = 0.25 * rng.normal(size=(60, X.shape[1]))
    share = answers(fitted, points)
    if n_classes == 0:
        noise = rng.normal(size=60) * y.std()
        more_X, more_w = np.vstack([points, points]), np.ones(120)
        more_y = np.concatenate([share[:, 0] + noise, share[:, 0] - noise])
    else:
        assert share.min() > 0
        more_X = np.repeat(points, n_classes, axis=0)
        more_y = np.tile(np.arange(n_classes), 60)
        more_w = 5 * share.reshape(-1)
        class_weight = getattr(model, "class_weight", None) or {}
        more_w = more_w / np.array([class_weight.get(c, 1.0) for c in more_y])
    kept = np.arange(len(y) + len(more_y)) < len(y)
    order = rng.permutation(len(kept))
    full = np.vstack([X, more_X]), np.append(y, more_y), np.append(w, more_w)
    return *(a[order] for a in full), kept[order]


def twice(n_classes, rng):
    """Every row twice, and the mask of one copy of each."""
    X, y, w = table(n_classes, rng)
    order = rng.permutation(2 * len(y))
    first = np.arange(2 * len(y)) < len(y)
    full = np.vstack([X, X]), np.append(y, y), np.append(w, w)
    return *(a[order] for a in full), first[order]


def imbalance(model, X, y, w, kept):
    """|sum of the kept rows' vectors| over that of as many rows drawn at random."""
    task = "regression" if y.dtype.kind == "f" else "classification"
    spec = read_model(model, task)
    classes = None if task == "regression" else np.unique(y)
    encoder = HeadEncoder(spec, classes).fit(X, y, w)
    problem = encoder.problem(X, y, w)
    examination = fit_curvature(problem, "dense")
    operator = HeadInfluence(
        problem,
        examination.fit.theta,
        examination.fit.outputs,
        build_curvature("dense", HeadGradients(problem, examination.fit.outputs)),
    )
    rows = np.flatnonzero(kept)
    drawn = np.random.default_rng(0).choice(len(y), len(rows), replace=False)
    own, random = (
        float((operator.sum(torch.from_numpy(r)) + operator.offset).norm()) for r in (rows, drawn)
    )
    return own / random


def change(before, after):
    return np.abs(after - before).max() / np.abs(before).max()


@pytest.mark.parametrize("name", list(TOTAL))
def test_removing_balanced_sets_moves_no_total_penalty_optimum(name, rng):
    model, n_classes = TOTAL[name]
    X, y, w, kept = with_balanced_sets(model, n_classes, rng)
    before, after = refit(model, X, y, w), refit(model, X[kept], y[kept], w[kept])
    assert change(before, after) < (1e-5 if name == "liblinear" else 1e-7)
    assert imbalance(model, X, y, w, kept) < 1e-6
    # One row less of the sets, and it does move.
    less = kept.copy()
    less[np.flatnonzero(~kept)[0]] = True
    assert change(before, refit(model, X[less], y[less], w[less])) > 1e-4


@pytest.mark.parametrize("name", list(TOTAL))
def test_every_row_twice_is_not_balanced_under_a_total_penalty(name, rng):
    model, n_classes = TOTAL[name]
    X, y, w, kept = twice(n_classes, rng)
    before, after = refit(model, X, y, w), refit(model, X[kept], y[kept], w[kept])
    if name == "linear regression":  # no penalty, no difference
        assert change(before, after) < 1e-9
        assert imbalance(model, X, y, w, kept) < 1e-6
    else:
        assert change(before, after) > 1e-2
        assert imbalance(model, X, y, w, kept) > 1e-2


def per_row_optimum(model, X, y, w):
    """What a model with a penalty per row converges to, by scikit-learn's exact solvers or scipy.

    A mean loss with ``alpha`` is a total penalty of alpha times the number (SGD) or the weight
    (the package's heads) of the rows.
    """
    own_head = model is None or isinstance(model, str)
    X = scale(X) if own_head else X
    strength = 1e-3 * w.sum() if own_head else model.alpha * len(y)
    if y.dtype.kind == "f":
        return refit(Ridge(alpha=strength, solver="cholesky"), X, y, w)
    binary = LogisticRegression(C=1 / strength, **TIGHT)
    if own_head or len(np.unique(y)) == 2:
        return refit(binary, X, y, w)
    return np.concatenate([refit(binary, X, y == c, w) for c in np.unique(y)])


@pytest.mark.parametrize("name", list(PER_ROW))
def test_one_copy_of_every_row_moves_no_per_row_penalty_optimum(name, rng):
    model, n_classes = PER_ROW[name]
    X, y, w, kept = twice(n_classes, rng)
    before = per_row_optimum(model, X, y, w)
    after = per_row_optimum(model, X[kept], y[kept], w[kept])
    assert change(before, after) < 1e-6
    assert imbalance(model, X, y, w, kept) < 1e-6


@pytest.mark.parametrize("name", [name for name in PER_ROW if name.startswith("sgd")])
def test_sets_without_gradient_are_not_balanced_under_a_penalty_per_row(name, rng):
    model, n_classes = PER_ROW[name]
    alpha = model.alpha
    n = {0: 442 + 120, 2: 569 + 120, 3: 178 + 180}[n_classes]
    twin = (
        Ridge(alpha=alpha * n) if n_classes == 0 else LogisticRegression(C=1 / (alpha * n), **TIGHT)
    )
    X, y, w, kept = with_balanced_sets(twin, n_classes, rng)
    assert len(y) == n
    assert imbalance(twin, X, y, w, kept) < 1e-6
    if n_classes < 3:  # beyond two classes the twin is one versus rest
        before = per_row_optimum(model, X, y, w)
        assert change(before, per_row_optimum(model, X[kept], y[kept], w[kept])) > 1e-2
    assert imbalance(model, X, y, w, kept) > 1e-2


@pytest.mark.parametrize(
    ("model", "n_classes", "by_weight"),
    [
        ("softmax", 3, True),
        ("ridge", 0, True),
        (SGDClassifier(loss="log_loss", alpha=0.05), 2, False),
        (SGDRegressor(alpha=0.5), 0, False),
    ],
)
def test_a_row_s_share_of_the_penalty_is_its_weight_or_one(model, n_classes, by_weight, rng):
    # Copies of weight 1.5 w and 0.5 w. Keeping the heavy ones keeps 3/4 of the loss; the
    # penalty follows where shares are weights, and is halved where each row has one share.
    X, y, w, heavy = twice(n_classes, rng)
    w = w * np.where(heavy, 1.5, 0.5)
    before = per_row_optimum(model, X, y, w)
    after = per_row_optimum(model, X[heavy], y[heavy], w[heavy])
    if by_weight:
        assert change(before, after) < 1e-6
        assert imbalance(model, X, y, w, heavy) < 1e-6
    else:
        assert change(before, after) > 1e-2
        assert imbalance(model, X, y, w, heavy) > 1e-2


def test_sgd_optimum_is_what_its_documentation_says(rng):
    # The truth above, once more from the formula: 1/n sum w L + alpha / 2 |coef|^2.
    X, y, w = table(2, rng)
    model = SGDClassifier(loss="log_loss", alpha=0.05)

    def objective(theta):
        margin = (2 * y - 1) * (X @ theta[:-1] + theta[-1])
        return np.mean(w * np.logaddexp(0, -margin)) + 0.025 * theta[:-1] @ theta[:-1]

    found = scipy.optimize.minimize(objective, np.zeros(5), tol=1e-12).x
    np.testing.assert_allclose(found, per_row_optimum(model, X, y, w), atol=1e-5)


@pytest.mark.parametrize("name", list(TOTAL))
def test_pruner_recognises_exact_balance_under_a_total_penalty(name, rng):
    model, n_classes = TOTAL[name]
    X, y, w, kept = with_balanced_sets(model, n_classes, rng)
    pruner = InfluencePruner(keep=int(kept.sum()), model=model, sampling=kept.astype(float))
    X_kept, y_kept = pruner.fit_transform(X, y, sample_weight=w, X_val=X[:50], y_val=y[:50])
    np.testing.assert_array_equal(pruner.keep_mask_, kept)
    assert abs(pruner.gap_) < 1e-8
    after = refit(model, X_kept, y_kept, pruner.take(w))
    assert change(refit(model, X, y, w), after) < 1e-5


@pytest.mark.parametrize("name", list(PER_ROW))
def test_pruner_recognises_exact_balance_under_a_penalty_per_row(name, rng):
    model, n_classes = PER_ROW[name]
    X, y, w, kept = twice(n_classes, rng)
    # SGD itself makes fewer steps on fewer rows; the optimum is that of the head.
    pruner = InfluencePruner(keep=0.5, model=model, sampling=kept.astype(float), verify="refit")
    X_kept, y_kept = pruner.fit_transform(X, y, sample_weight=w, X_val=X[:50], y_val=y[:50])
    np.testing.assert_array_equal(pruner.keep_mask_, kept)
    assert abs(pruner.gap_) < 1e-6
    after = per_row_optimum(model, X_kept, y_kept, pruner.take(w))
    assert change(per_row_optimum(model, X, y, w), after) < 1e-6


def test_pruner_with_the_other_convention_sees_no_balance(rng):
    X, y, w, kept = twice(2, rng)
    for model in (LogisticRegression(C=1 / (0.05 * len(y))), "softmax"):
        pruner = InfluencePruner(keep=0.5, model=model, sampling=kept.astype(float))
        pruner.fit(X, y, sample_weight=w, X_val=X[:50], y_val=y[:50])
        assert np.array_equal(pruner.keep_mask_, kept) == (model == "softmax")
