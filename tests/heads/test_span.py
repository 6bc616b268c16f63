"""Tables that are wider than long: the span of the rows against the problem in all columns."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from cases.heads import (
    dense_features,
    make_problem,
    reference_hessian,
    reference_objective,
    reference_rows,
)
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression, Ridge, SGDRegressor

from skprune import InfluencePruner, LinearProxy
from skprune.baselines import HighestLoss
from skprune.curvature import HeadGradients, build_curvature
from skprune.evaluation.held_out import HeldOut
from skprune.heads.features import HELD_NUMBERS
from skprune.heads.span import MOST_ROWS, Span, spanned_width
from skprune.influence.gradients import HeadInfluence
from skprune.proxies.head import cold_fit

ROWS, COLUMNS = 15, 40
#: The penalty of the last column, that of ones: an intercept, one that is penalised, a feature.
LAST = [0.0, 0.1, 1.0]
CASES = [
    (loss, convention, last, sparse)
    for loss in ("softmax", "sigmoid", "squared")
    for convention in ("total", "weight", "count")
    for last in LAST
    for sparse in (False, True)
]


def wide_problem(loss, convention="total", last=0.0, sparse=False, n=ROWS, spread=1.0):
    """A problem with more columns than rows; penalties of the columns differ by ``spread``."""
    problem = make_problem(loss, convention=convention, n=n, d=COLUMNS, sparse=sparse)
    mask = torch.linspace(1.0, spread, COLUMNS + 1, dtype=torch.float64)[:, None]
    mask[-1] = last
    return replace(problem, penalty=replace(problem.penalty, mask=mask))


def operator_of(problem, theta, curvature):
    return HeadInfluence(problem, theta, problem.features.forward(theta), curvature)


@pytest.mark.parametrize(("loss", "convention", "last", "sparse"), CASES)
def test_the_span_holds_the_optimum_and_all_influence(loss, convention, last, sparse):
    # Ten rows are fitted, five more are to be fitted later, five others are only measured.
    everything = wide_problem(loss, convention, last, sparse, n=ROWS + 5, spread=3.0)
    rows, fitted, measured = torch.arange(ROWS), torch.arange(10), torch.arange(ROWS, ROWS + 5)
    span = Span(everything.subset(rows))
    small = span.of(everything)
    assert small.theta_shape[0] == ROWS + (last == 0)

    fit = cold_fit(small.subset(fitted))[0]
    theta = small.coefficients(fit.theta)
    free = theta.clone().requires_grad_()
    objective = reference_objective(everything.subset(fitted), free)
    assert float(torch.autograd.grad(objective, free)[0].norm()) < 1e-7
    torch.testing.assert_close(small.coordinates(theta), fit.theta)
    torch.testing.assert_close(
        small.features.forward(fit.theta), dense_features(everything) @ theta
    )

    curvature = build_curvature("dense", HeadGradients(small.subset(fitted), fit.outputs))
    operator = operator_of(small.subset(rows), fit.theta, curvature)
    A, H = (
        reference_rows(everything.subset(rows), theta),
        reference_hessian(everything.subset(fitted), theta),
    )
    steps = torch.linalg.lstsq(H, A.T, driver="gelsd").solution  # H is singular for a softmax
    vectors, truth = operator.rows(rows), A @ steps
    truth *= float(everything.weights[fitted].sum() / everything.weights[rows].sum())  # H is a mean
    assert_allclose(vectors @ vectors.T, truth, atol=1e-7 * float(truth.abs().max()))
    # What rows of the span do to others, which have a part outside.
    gradients = (
        HeldOut(problem.subset(measured), 1.0, "loss", None).gradient(at)
        for problem, at in ((small, fit.theta), (everything, theta))
    )
    found, truth = curvature.solve(next(gradients).reshape(-1)), next(gradients).reshape(-1) @ steps
    found /= float(everything.weights[fitted].sum())
    assert_allclose(operator.scores_along(found), truth, atol=1e-7 * float(truth.abs().max()))


@pytest.mark.parametrize("last", [0.0, 1.0])
def test_the_kronecker_eigenbasis_is_the_same_one(last):
    problem = wide_problem("softmax", last=last)
    small = Span(problem).of(problem)
    theta = cold_fit(small)[0].theta
    grams = []
    for given, at in ((small, theta), (problem, small.coefficients(theta))):
        curvature = build_curvature("ekfac", HeadGradients(given, given.features.forward(at)))
        vectors = operator_of(given, at, curvature).rows(torch.arange(ROWS))
        grams.append(vectors @ vectors.T)
    torch.testing.assert_close(*grams)


MODELS = [
    LogisticRegression(C=0.5),
    LogisticRegression(C=0.5, solver="liblinear", intercept_scaling=3.0),
    Ridge(5.0),
    Ridge(5.0, fit_intercept=False),
    SGDRegressor(alpha=0.1),
]


@pytest.mark.parametrize("model", MODELS, ids=str)
@pytest.mark.parametrize("convert", [np.asarray, sp.csr_matrix, np.float32])
def test_a_wide_table_is_pruned_like_its_rotated_rows(model, convert, rng):
    # R' of X' = Q R has the inner products of X in as many columns as rows.
    X = convert(rng.normal(size=(60, 150)))
    dense = np.asarray(X.todense() if sp.issparse(X) else X, dtype=np.float64)
    y = dense[:, :5].sum(1) + rng.normal(size=60)
    y = (y > 0).astype(int) if isinstance(model, LogisticRegression) else y
    wide, square = (
        InfluencePruner(
            keep=0.5, model=LinearProxy(model, curvature="dense"), verify="refit", random_state=0
        ).fit(rows, y)
        for rows in (X, np.linalg.qr(dense.T)[1].T)
    )
    np.testing.assert_array_equal(wide.sample_indices_, square.sample_indices_)
    assert_allclose(wide.scores_, square.scores_, atol=1e-5 * np.abs(square.scores_).max())
    assert_allclose(wide.gap_, square.gap_, atol=1e-6)
    assert "151 x 1" in wide.report_.model or not getattr(model, "fit_intercept", True)
    changes = [pruner.group_influence(range(10)).newton for pruner in (wide, square)]
    assert_allclose(changes[0].loss, changes[1].loss, rtol=1e-4, atol=1e-10)


@pytest.mark.parametrize("fit_intercept", [True, False])
def test_parameters_of_a_group_are_of_the_columns(fit_intercept, rng):
    X, gone = rng.normal(size=(50, 120)) + 0.5, np.arange(8)
    y = X[:, 0] + rng.normal(size=50)
    model = Ridge(3.0, fit_intercept=fit_intercept)
    validation = {"X_val": rng.normal(size=(30, 120)), "y_val": rng.normal(size=30)}
    pruner = InfluencePruner(keep=0.5, model=model).fit(X, y, **validation)
    found = pruner.group_influence(gone).newton.parameters[:, 0]

    def coefficients(rows):
        fitted = clone(model).fit(X[rows], y[rows])
        return np.append(fitted.coef_, [fitted.intercept_] * fit_intercept)

    truth = coefficients(np.arange(8, 50)) - coefficients(np.arange(50))
    assert_allclose(found, truth, atol=1e-4 * np.abs(truth).max())


def test_a_head_of_a_network_on_fewer_rows_than_features(rng):
    net = torch.nn.Sequential(torch.nn.Linear(4, 90), torch.nn.Tanh(), torch.nn.Linear(90, 3))
    X, y = rng.normal(size=(40, 4)).astype(np.float32), rng.integers(0, 3, 40)
    pruner = InfluencePruner(keep=0.5, model=net).fit(X, y, X_val=X[:9], y_val=y[:9])
    assert "91 x 3" in pruner.report_.model
    assert pruner.group_influence([0, 1]).newton.parameters.shape == (91, 3)
    with torch.no_grad():
        loss = float(torch.nn.functional.cross_entropy(net(torch.from_numpy(X)), torch.tensor(y)))
    assert f"{loss:.4f} as given" in str(pruner.report_)


@pytest.mark.parametrize(
    ("n", "D", "width"),
    [
        (200, 2000, 200),
        (200, 200, 200),
        (2000, 200, 200),
        (MOST_ROWS + 1, 2 * MOST_ROWS, 2 * MOST_ROWS),
        (MOST_ROWS, HELD_NUMBERS, HELD_NUMBERS),
    ],
)
def test_the_span_is_taken_where_it_pays(n, D, width):
    assert spanned_width(n, D) == width


def test_hardness_of_rows_of_a_wide_table(rng):
    X, y = rng.normal(size=(40, 90)), rng.integers(0, 2, 40)
    pruner = HighestLoss(keep=0.5, model=LogisticRegression(C=0.1)).fit(X, y)
    p = LogisticRegression(C=0.1, tol=1e-9).fit(X, y).predict_proba(X)[np.arange(40), y]
    assert_allclose(pruner.scores_, -np.log(p), rtol=1e-4)


@pytest.mark.parametrize(("curvature", "features"), [("auto", 61), ("ekfac", 61), ("diagonal", 91)])
def test_a_pruner_works_in_the_span(curvature, features, rng):
    X, y = rng.normal(size=(60, 90)), rng.integers(0, 2, 60)
    pruner = InfluencePruner(keep=0.5, model=LinearProxy(curvature=curvature)).fit(X, y)
    assert pruner._proxy.problem.theta_shape == (features, 1)
    assert "91 x 1 parameters" in pruner.report_.model
