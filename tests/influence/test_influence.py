"""Influence against the explicit n x p matrix, and predictions against actual retraining."""

from __future__ import annotations

import resource
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from cases.heads import make_problem, reference_hessian, reference_objective, reference_rows
from scipy.stats import chi2, spearmanr
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skprune import InfluencePruner, LinearProxy
from skprune.curvature import CURVATURES, HeadGradients, build_curvature
from skprune.curvature.head import DiagonalHead
from skprune.evaluation.held_out import HeldOut
from skprune.heads.features import DenseFeatures, SparseFeatures
from skprune.heads.problem import HeadProblem, Penalty
from skprune.influence.gradients import HeadInfluence
from skprune.influence.leave_out import leave_one_out, removal_steps
from skprune.influence.operator import DenseInfluence, RestrictedInfluence, SparseInfluence
from skprune.influence.stacked import StackedInfluence
from skprune.influence.tilt import PRICE
from skprune.influence.weighted import WeightedInfluence
from skprune.losses.cross_entropy import CrossEntropy
from skprune.losses.squared import SquaredError
from skprune.proxies.head import cold_fit

EXACT = {"solver": "newton-cholesky", "tol": 1e-9, "max_iter": 1000}


# The operator


CASES = [
    (loss, convention, sparse, name)
    for loss in ("softmax", "sigmoid", "squared")
    for convention in ("total", "weight", "count")
    for sparse in (False, True)
    for name in CURVATURES["head"]
]


@pytest.mark.parametrize(("loss", "convention", "sparse", "name"), CASES)
def test_operator_is_the_whitened_matrix_of_gradients(loss, convention, sparse, name, rng):
    problem = make_problem(loss, convention=convention, sparse=sparse)
    # Not the optimum, where the sum of all vectors would be zero whatever the offset.
    theta = torch.from_numpy(rng.normal(size=problem.theta_shape))
    outputs = problem.features.forward(theta)
    curvature = build_curvature(name, HeadGradients(problem, outputs))
    operator = HeadInfluence(problem, theta, outputs, curvature)
    gradients = reference_rows(problem, theta)
    S = curvature.whiten(gradients) / problem.total**0.5
    direction = torch.from_numpy(rng.normal(size=operator.dim))
    some = torch.tensor([3, 59, 0, 17, 4])
    close = {"rtol": 1e-8, "atol": 1e-8 * float(S.abs().max())}

    assert (operator.n_rows, operator.dim) == S.shape
    torch.testing.assert_close(operator.rows(some), S[some], **close)
    torch.testing.assert_close(operator.scores(direction), S @ direction, **close)
    torch.testing.assert_close(operator.sum(some), S[some].sum(0), **close)
    torch.testing.assert_close(operator.sum(some, direction[:5]), direction[:5] @ S[some], **close)
    torch.testing.assert_close(operator.squared_norms(), S.square().sum(1), rtol=1e-7, atol=1e-12)
    U = torch.from_numpy(rng.normal(size=operator.dim))
    torch.testing.assert_close(operator.scores_along(U), gradients @ U, rtol=1e-9, atol=1e-9)
    # All rows and the offset are the gradient of the whole objective.
    leaf = theta.clone().requires_grad_()
    whole = torch.autograd.grad(reference_objective(problem, leaf), leaf)[0]
    total = operator.sum(torch.arange(60)) + operator.offset
    expected = curvature.whiten(whole.reshape(-1)) / problem.total**0.5
    torch.testing.assert_close(total, expected, **close)
    assert (float(operator.offset.norm()) > 0) == (convention == "total")


@pytest.mark.parametrize("convention", ["total", "weight"])
def test_squared_norm_of_a_sum_is_the_newton_decrement(convention, rng):
    problem = make_problem("sigmoid", convention=convention)
    fit, _ = cold_fit(problem)
    operator = HeadInfluence(
        problem,
        fit.theta,
        fit.outputs,
        build_curvature("dense", HeadGradients(problem, fit.outputs)),
    )
    kept = torch.from_numpy(np.sort(rng.choice(60, 40, replace=False)))
    gradient = problem.subset(kept).gradient(fit.theta, fit.outputs[kept]).reshape(-1)
    truth = gradient @ torch.linalg.solve(reference_hessian(problem, fit.theta), gradient)
    found = (operator.sum(kept) + operator.offset).square().sum()
    torch.testing.assert_close(found, truth, rtol=1e-7, atol=0)


def test_metric_of_kept_rows():
    problem = make_problem("softmax", convention="weight")
    fit, _ = cold_fit(problem)
    kept = torch.arange(0, 60, 2)
    operator = HeadInfluence(
        problem,
        fit.theta,
        fit.outputs,
        build_curvature("dense", HeadGradients(problem, fit.outputs)),
    )
    moved = operator.in_metric_of(kept)
    own = build_curvature("dense", HeadGradients(problem.subset(kept), fit.outputs[kept]))
    rows = reference_rows(problem, fit.theta)[[5, 8]]
    expected = own.whiten(rows) / problem.total**0.5
    torch.testing.assert_close(
        moved.rows(torch.tensor([5, 8])).square().sum(1),
        expected.square().sum(1),
        rtol=1e-5,
        atol=0,
    )
    assert moved.n_rows == 60  # all rows may still be chosen


@pytest.mark.parametrize("name", list(CURVATURES["head"]))
def test_few_rows_buy_of_a_total_penalty_what_it_is_worth(name, rng):
    problem = make_problem("softmax", strength=50.0)
    theta = torch.from_numpy(rng.normal(size=problem.theta_shape))
    outputs = problem.features.forward(theta)
    curvature = build_curvature(name, HeadGradients(problem, outputs))
    operator = HeadInfluence(problem, theta, outputs, curvature)
    chosen = operator.for_size(6)
    # B = L^-1 diag(alpha P^2) L^-T column by column, and the price in its eigenvectors.
    ridge = (50.0 / problem.total * problem.penalty.mask.square()).expand_as(theta).reshape(-1)
    columns = torch.eye(operator.dim, dtype=torch.float64)
    B = curvature.whiten(ridge * curvature.unwhiten(columns))
    shares, vectors = np.linalg.eigh(((B + B.T) / 2).numpy())
    ratio = 10 * shares / np.maximum(1 - shares, 1e-15)
    bought = vectors @ ((vectors.T @ operator.offset.numpy()) / (1 + PRICE * ratio**2))
    np.testing.assert_allclose(chosen.offset, bought, rtol=1e-6, atol=1e-8)
    # What stays and what the rows share out add up to the whole pull.
    everything = torch.arange(60)
    whole = operator.offset + operator.sum(everything)
    np.testing.assert_allclose(chosen.offset + chosen.sum(everything), whole, atol=1e-8)
    in_kept = chosen.in_metric_of(torch.arange(40))
    whole = operator.in_metric_of(torch.arange(40))
    np.testing.assert_allclose(
        in_kept.offset + in_kept.sum(everything), whole.offset + whole.sum(everything), atol=1e-8
    )
    # Where the data say enough of every direction, and where rows share the penalty out already.
    theta = theta - theta.mean(1, keepdim=True)  # of a common shift the data say nothing
    for strength, convention in ((0.0, "total"), (0.01, "total"), (50.0, "weight")):
        problem = make_problem("softmax", strength=strength, convention=convention)
        curvature = build_curvature(name, HeadGradients(problem, outputs))
        operator = HeadInfluence(problem, theta, outputs, curvature)
        assert operator.for_size(30) is operator


def dates(rng, n):
    """Flights of a year by month, day, weekday, hour, minute and seconds since 1970, and months."""
    day, hour, minute = rng.integers(0, 365, n), rng.integers(5, 24, n), 5 * rng.integers(0, 12, n)
    first = np.cumsum([0, 31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30])
    month = np.searchsorted(first, day, side="right") - 1
    seconds = 1356998400.0 + 60 * (1440 * day + 60 * hour + minute)
    X = np.c_[month, day - first[month], day % 7, hour, minute, seconds]
    Z = 0.09 * (hour - 14) + 0.7 * rng.normal(size=365)[day] + 0.6 * np.sin(1.3 * month)
    return X, rng.random(n) < 1 / (1 + np.exp(1.2 - Z)), month


@pytest.mark.parametrize("keep", [0.03, 0.1])
def test_dates_beside_seconds_do_not_bend_the_labels(keep):
    rng = np.random.default_rng(1)
    X, y, month = dates(rng, 10000)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    kept = InfluencePruner(keep=keep, model=model, random_state=0).fit(X, y).sample_indices_
    counts = np.bincount(month[kept], minlength=12)
    late, share = np.bincount(month[kept], y[kept]), np.bincount(month, y) / np.bincount(month)
    # As far off as random rows would be; with all of the penalty bought it was 160 and 240.
    off = np.sum((late - counts * share) ** 2 / (counts * share * (1 - share)))
    assert off < chi2(12).isf(1e-3)


def test_dense_influence(rng):
    vectors = torch.from_numpy(rng.normal(size=(9, 3)))
    operator = DenseInfluence(vectors)
    direction, some = torch.from_numpy(rng.normal(size=3)), torch.tensor([1, 7])
    torch.testing.assert_close(operator.scores(direction), vectors @ direction)
    torch.testing.assert_close(operator.sum(some), vectors[1] + vectors[7])
    torch.testing.assert_close(operator.rows(some), vectors[[1, 7]])
    torch.testing.assert_close(operator.squared_norms(), vectors.square().sum(1))
    assert float(operator.offset.abs().max()) == 0.0
    assert float(DenseInfluence(vectors, direction).offset[1]) == float(direction[1])


def test_products_of_a_few_rows(rng):
    """Of weighted, stacked, sparse and restricted vectors, by the matrix of all of them."""
    dense = rng.normal(size=(9, 3))
    leaves = rng.random((9, 5)).astype(np.float32)  # whose products float32 does not hold
    weights = rng.uniform(1.0, 3.0, 9)
    parts = [DenseInfluence(torch.from_numpy(dense)), SparseInfluence(sp.csr_array(leaves))]
    operator = WeightedInfluence(StackedInfluence(parts, [0.5, 2.0]), torch.from_numpy(weights))
    vectors = weights[:, None] * np.c_[0.5 * dense, 2.0 * leaves]
    direction, some = rng.normal(size=8), np.array([6, 1, 7])
    restricted = RestrictedInfluence(operator, torch.arange(9).flip(0))
    for whole, rows in [(operator, some), (restricted, 8 - some)]:
        found = whole.products(torch.from_numpy(rows), torch.from_numpy(direction))
        np.testing.assert_allclose(found[0], vectors[some] @ vectors[some].T)
        np.testing.assert_allclose(found[1], vectors[some] @ direction)


def test_scores_and_sums_of_what_would_be_40_gigabytes(rng, monkeypatch):
    n, D, K, each = 500_000, 1000, 10, 4
    columns = rng.integers(0, D - 1, size=(n, each))
    matrix = sp.csr_matrix(
        (rng.normal(size=n * each), columns.reshape(-1), np.arange(0, n * each + 1, each)), (n, D)
    )
    matrix.sum_duplicates()
    codes = torch.from_numpy(rng.integers(0, K, n))
    targets = torch.zeros(n, K, dtype=torch.float64)
    targets[torch.arange(n), codes] = 1.0
    weights = torch.ones(n, dtype=torch.float64)
    penalty = Penalty(1e-3, torch.ones(D, 1, dtype=torch.float64), weights)
    problem = HeadProblem(SparseFeatures(matrix), targets, weights, CrossEntropy(), penalty)
    theta = torch.from_numpy(rng.normal(size=(D, K)))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    outputs = problem.features.forward(theta)
    curvature = build_curvature("diagonal", HeadGradients(problem, outputs))
    operator = HeadInfluence(problem, theta, outputs, curvature)

    def refuse(*args):
        raise AssertionError("rows were made for a score or a sum")

    monkeypatch.setattr(DiagonalHead, "whiten_rows", refuse)
    direction = torch.from_numpy(rng.normal(size=D * K))
    scores, total = operator.scores(direction), operator.sum(torch.arange(0, n, 2))
    monkeypatch.undo()
    some = torch.tensor([0, 1, n - 1])
    torch.testing.assert_close(scores[some], operator.rows(some) @ direction, rtol=1e-9, atol=1e-12)
    odd = operator.sum(torch.arange(1, n, 2))
    torch.testing.assert_close(scores.sum(), (total + odd) @ direction, rtol=1e-8, atol=1e-6)
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 2**20
    assert grown < 2.0  # of 37 GiB


def test_squared_norms_are_taken_in_chunks(monkeypatch):
    problem = make_problem("softmax", n=500)
    fit, _ = cold_fit(problem)
    curvature = build_curvature("dense", HeadGradients(problem, fit.outputs))
    operator = HeadInfluence(problem, fit.theta, fit.outputs, curvature)
    whole = operator.squared_norms()
    sizes = []
    original = type(curvature).whiten_rows

    def spy(self, factors):
        sizes.append(len(factors[0]) * self.dim)
        return original(self, factors)

    monkeypatch.setattr(type(curvature), "whiten_rows", spy)
    monkeypatch.setattr("skprune.utils.chunks.CHUNK_NUMBERS", 1000)
    again = HeadInfluence(problem, fit.theta, fit.outputs, curvature)
    torch.testing.assert_close(again.squared_norms(), whole)
    assert max(sizes) <= 1000
    assert sum(sizes) == 500 * operator.dim


# Leave one out


# Held-out rows come from another part of the space than the fitted ones. Where both are alike,
# the held-out slope nearly vanishes and what remains of it is of second order in the change.


def split(X, y, n, rng):
    rows = np.argsort(X[:, 0] + 0.5 * X[:, 0].std() * rng.normal(size=len(y)))
    return X[rows[:n]], y[rows[:n]], X[rows[n:]], y[rows[n:]]


def binary(rng):
    X, y = load_breast_cancer(return_X_y=True)
    return split(scale(X)[:, [1, 4, 8]], y, 400, rng)


def multiclass(rng):
    X, y = load_digits(return_X_y=True)
    some = np.isin(y, [1, 2, 7])
    codes = np.unique(y[some], return_inverse=True)[1]
    return split(scale(X[some][:, [20, 28, 36]]), codes, 400, rng)


def numbers(rng):
    X, y = load_diabetes(return_X_y=True)
    return split(scale(X)[:, [2, 3, 8]], y, 350, rng)


def scored(model, data, **fit_params):
    X, y, X_val, y_val = data
    pruner = InfluencePruner(keep=0.5, model=model, random_state=0)
    return pruner.fit(X, y, X_val=X_val, y_val=y_val, **fit_params)


def assert_agree(scores, actual, *, spearman=0.99, slope=0.1):
    """Rank, size and sign of predicted against actual changes."""
    assert spearmanr(scores, actual).statistic >= spearman
    assert np.polyfit(scores, actual, 1)[0] == pytest.approx(1.0, abs=slope)
    clear = np.abs(actual) > 0.1 * np.abs(actual).std()
    assert clear.sum() > 20
    assert np.mean(np.sign(scores[clear]) == np.sign(actual[clear])) >= 0.99


def leave_out_logistic(data, strength, weights):
    """Change of held-out log loss for every row left out, by refitting; lam(n rows) given."""
    X, y, X_val, y_val = data
    n = len(y)

    def loss(rows):
        model = LogisticRegression(C=1 / strength(rows), **EXACT)
        model.fit(X[rows], y[rows], sample_weight=weights[rows])
        return log_loss(y_val, model.predict_proba(X_val))

    everything = np.arange(n)
    full = loss(everything)
    return np.array([loss(np.delete(everything, i)) - full for i in range(n)])


@pytest.mark.parametrize("make", [binary, multiclass])
@pytest.mark.parametrize("weighted", [False, True])
def test_scores_against_leaving_rows_out_total_penalty(make, weighted, rng):
    data = make(rng)
    w = rng.uniform(0.3, 2.0, len(data[1])) if weighted else np.ones(len(data[1]))
    pruner = scored(LogisticRegression(C=0.5), data, sample_weight=w)
    assert_agree(pruner.scores_, leave_out_logistic(data, lambda rows: 2.0, w))


def test_scores_against_leaving_rows_out_penalty_per_row(rng):
    data = binary(rng)
    n = len(data[1])
    w = rng.uniform(0.3, 2.0, n)
    pruner = scored(SGDClassifier(loss="log_loss", alpha=0.1), data, sample_weight=w)
    actual = leave_out_logistic(data, lambda rows: 0.1 * len(rows), w)
    assert_agree(pruner.scores_, actual)
    # Read as a total penalty of the same size, the removed row would not take its share along.
    other = scored(LogisticRegression(C=1 / (0.1 * n)), data, sample_weight=w)
    right, wrong = (np.abs(p.scores_ - actual).mean() for p in (pruner, other))
    assert right < 0.5 * wrong


def test_leverages_are_those_of_least_squares_whatever_the_penalty(rng):
    X, y, X_val, y_val = numbers(rng)
    for model in (SGDRegressor(alpha=0.01), Ridge(alpha=3.5)):
        pruner = scored(model, (X, y, X_val, y_val))
        operator = pruner._proxy.influence
        Phi = np.hstack([X, np.ones((350, 1))])
        H = Phi.T @ Phi + 3.5 * np.diag([1.0] * 3 + [0.0])
        expected = (Phi.T * np.linalg.solve(H, Phi.T)).sum(0)
        np.testing.assert_allclose(operator.leverages().numpy(), expected, rtol=1e-5)


@pytest.mark.parametrize("weighted", [False, True])
def test_scores_of_ridge_against_leaving_rows_out(weighted, rng):
    data = X, y, X_val, y_val = numbers(rng)
    w = rng.uniform(0.3, 2.0, 350) if weighted else np.ones(350)
    variance = np.cov(y, aweights=w, ddof=0)
    pruner = scored(Ridge(alpha=5.0), data, sample_weight=w)

    def loss(rows):
        model = Ridge(alpha=5.0).fit(X[rows], y[rows], sample_weight=w[rows])
        return np.mean((model.predict(X_val) - y_val) ** 2) / variance

    everything = np.arange(350)
    full = loss(everything)
    actual = np.array([loss(np.delete(everything, i)) - full for i in everything])
    assert_agree(pruner.scores_, actual)
    # For squared error the step is known in closed form: d_i = H^-1 a_i / (1 - h_i).
    Phi = np.hstack([X, np.ones((350, 1))])
    H = (Phi * w[:, None]).T @ Phi + 5.0 * np.diag([1.0] * 3 + [0.0])
    theta = np.linalg.solve(H, Phi.T @ (w * y))
    Phi_val = np.hstack([X_val, np.ones((len(y_val), 1))])
    gradient = 2 / variance * Phi_val.T @ (Phi_val @ theta - y_val) / len(y_val)
    steps = np.linalg.solve(H, Phi.T * w * (Phi @ theta - y))
    steps /= 1 - w * (Phi.T * np.linalg.solve(H, Phi.T)).sum(0)
    closed = gradient @ steps + (steps * (H @ steps)).sum(0) / (variance * w.sum())
    np.testing.assert_allclose(pruner.scores_, closed, rtol=1e-5, atol=1e-9)


def test_held_out_rows_are_scored_on_the_others(rng):
    # A row that is in the fit and in the held-out rows would be paid for fitting itself.
    X, y = load_diabetes(return_X_y=True)
    X = np.hstack([scale(X), np.ones((len(y), 1))])
    y = (y - y.mean()) / y.std()
    n, outer = len(y), torch.from_numpy(rng.permutation(len(y))[:60])
    inner = np.setdiff1d(np.arange(n), outer.numpy())
    mask = torch.ones(11, 1, dtype=torch.float64)
    mask[-1] = 0.0
    problem = HeadProblem(
        DenseFeatures(torch.from_numpy(X)),
        torch.from_numpy(y)[:, None],
        torch.ones(n, dtype=torch.float64),
        SquaredError(),
        Penalty(1.0, mask, None),
    )
    trial = problem.subset(torch.from_numpy(inner))
    at, _ = cold_fit(trial)
    fit, _ = cold_fit(problem)
    curvature = build_curvature("dense", HeadGradients(trial, at.outputs))
    operator = HeadInfluence(problem, fit.theta, fit.outputs, curvature)
    held_out = HeldOut(problem.subset(outer), 2.0, "loss", None)
    scores = leave_one_out(problem, operator, held_out, at.theta, outer)
    plain = leave_one_out(problem, operator, held_out, at.theta, None)

    def loss(rows, on):
        theta, _ = cold_fit(problem.subset(torch.from_numpy(rows)))
        return np.mean((X[on] @ theta.theta.numpy()[:, 0] - y[on]) ** 2)

    # What a held-out row does to the others: leave it out of the trial's rows and itself.
    truth = []
    for row in outer.tolist():
        others = np.setdiff1d(outer.numpy(), row)
        truth.append(loss(inner, others) - loss(np.append(inner, row), others))
    found = scores[outer].numpy()
    assert spearmanr(found, truth).statistic > 0.97
    assert np.polyfit(found, truth, 1)[0] == pytest.approx(1.0, abs=0.25)
    errors = [np.abs(s - truth).mean() for s in (found, plain[outer].numpy())]
    assert errors[0] < 0.2 * errors[1]  # what the correction takes out
    untouched = torch.from_numpy(inner)
    assert spearmanr(scores[untouched], plain[untouched]).statistic > 0.999


# Groups of rows


def random_groups(rng, n, share, count=20):
    return [rng.choice(n, round(share * n), replace=False) for _ in range(count)]


def predictions_of(pruner, groups, level):
    return [getattr(pruner.group_influence(g), level) for g in groups]


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("make", [binary, multiclass])
def test_newton_step_against_retraining(make, weighted, rng):
    data = X, y, X_val, y_val = make(rng)
    n = len(y)
    w = rng.uniform(0.3, 2.0, n) if weighted else np.ones(n)
    pruner = scored(LogisticRegression(C=0.5), data, sample_weight=w)
    full = LogisticRegression(C=0.5, **EXACT).fit(X, y, sample_weight=w)
    before = full.predict_proba(X_val)
    for share, closeness, better in ((0.05, 0.1, 1.0), (0.2, 0.1, 0.6), (0.4, 0.1, 0.5)):
        groups = random_groups(rng, n, share)
        truth, moved = [], []
        for removed in groups:
            kept = np.delete(np.arange(n), removed)
            model = LogisticRegression(C=0.5, **EXACT).fit(X[kept], y[kept], sample_weight=w[kept])
            after = model.predict_proba(X_val)
            truth.append(log_loss(y_val, after) - log_loss(y_val, before))
            moved.append((model, after - before))
        newton = predictions_of(pruner, groups, "newton")
        influence = predictions_of(pruner, groups, "influence")
        loss = np.array([change.loss for change in newton])
        first_order = np.array([change.loss for change in influence])
        truth = np.array(truth)
        assert np.corrcoef(loss, truth)[0, 1] >= 0.99
        assert np.polyfit(loss, truth, 1)[0] == pytest.approx(1.0, abs=closeness)
        assert np.abs(loss - truth).mean() < better * np.abs(first_order - truth).mean()
        errors, shift_errors = [], []
        for change, rough, (model, shifts) in zip(newton, influence, moved, strict=True):
            step = np.vstack([(model.coef_ - full.coef_).T, model.intercept_ - full.intercept_])
            assert change.parameters.shape == step.shape
            errors.append([np.linalg.norm(c.parameters - step) for c in (change, rough)])
            assert errors[-1][0] < 0.3 * np.linalg.norm(step)
            means = shifts.mean(0)[1:] if len(full.classes_) == 2 else shifts.mean(0)
            assert change.predictions.shape == means.shape
            shift_errors.append([np.abs(change.predictions - means).max(), np.abs(shifts).mean()])
        by_newton, by_influence = np.mean(errors, 0)
        assert by_newton < by_influence
        shift_error, shift = np.mean(shift_errors, 0)
        assert shift_error < 0.1 * shift


def test_influence_of_a_group_is_the_sum_over_its_rows(rng):
    pruner = scored(LogisticRegression(C=0.5), multiclass(rng))
    rows = [3, 50, 77, 101]
    together = pruner.group_influence(rows).influence.parameters
    single = sum(pruner.group_influence([row]).influence.parameters for row in rows)
    np.testing.assert_allclose(together, single, rtol=1e-5, atol=1e-9)
    # Newton's step is not: the kept rows curve less than all rows do.
    newton = pruner.group_influence(rows).newton.parameters
    singles = sum(pruner.group_influence([row]).newton.parameters for row in rows)
    assert np.abs(newton - singles).max() > 1e-4 * np.abs(newton).max()
    # The score of a row is what Newton's step without it does to the held-out loss.
    steps = [pruner.group_influence([row]).newton.loss for row in range(100)]
    assert_agree(pruner.scores_[:100], np.array(steps), slope=0.05)


@pytest.mark.parametrize("share", [0.05, 0.2, 0.4])
def test_newton_step_is_exact_for_ridge_and_in_units_of_the_target(share, rng):
    data = X, y, X_val, y_val = numbers(rng)
    w = rng.uniform(0.3, 2.0, 350)
    for model in (Ridge(alpha=7.0), LinearRegression()):
        pruner = scored(model, data, sample_weight=w)
        full = model.fit(X, y, sample_weight=w)
        before, coef, intercept = full.predict(X_val), full.coef_, full.intercept_
        for removed in random_groups(rng, 350, share, 5):
            kept = np.delete(np.arange(350), removed)
            model.fit(X[kept], y[kept], sample_weight=w[kept])
            after = model.predict(X_val)
            step = np.append(model.coef_ - coef, model.intercept_ - intercept)
            mse = [np.mean((z - y_val) ** 2) for z in (before, after)]
            found = pruner.group_influence(removed)
            level = 1e-3 * np.abs(step).max()
            np.testing.assert_allclose(found.newton.parameters[:, 0], step, atol=level)
            np.testing.assert_allclose(
                found.newton.predictions, [(after - before).mean()], atol=level
            )
            variance = np.cov(y, aweights=w, ddof=0)
            assert found.newton.loss == pytest.approx((mse[1] - mse[0]) / variance, abs=1e-4)
            # The influence function ends short of it, and the more so the larger the set.
            ratio = found.influence.parameters[:, 0] @ step / (step @ step)
            assert 0.3 < ratio < 1 - 0.5 * share


def test_rows_may_be_given_as_mask_and_removing_harmful_rows_lowers_the_loss(rng):
    X, y = load_breast_cancer(return_X_y=True)
    X, rows = scale(X)[:, [1, 4, 8]], rng.permutation(len(y))
    (X, X_val), (y, y_val) = np.split(X[rows], [400]), np.split(y[rows], [400])
    flipped = rng.choice(400, 10, replace=False)
    y[flipped] = 1 - y[flipped]
    pruner = scored(LogisticRegression(C=0.5), (X, y, X_val, y_val))
    mask = np.isin(np.arange(len(y)), flipped)
    by_mask, by_rows = pruner.group_influence(mask), pruner.group_influence(flipped)
    assert by_mask.newton.loss == by_rows.newton.loss
    assert by_rows.newton.loss < 0  # wrong labels: the model is better without them
    assert pruner.scores_[flipped].mean() < 0 < np.delete(pruner.scores_, flipped).mean()
    nothing = pruner.group_influence([])
    assert nothing.newton.loss == pytest.approx(0.0, abs=1e-9)
    with pytest.raises(ValueError, match="all rows"):
        pruner.group_influence(np.ones(len(y), dtype=bool))


@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "squared"])
@pytest.mark.parametrize("convention", ["total", "weight", "count"])
def test_newton_steps_side_by_side_against_dense_solves(loss, convention, rng):
    # More sets than one block, of very different size, one of them empty of removals.
    problem = make_problem(loss, convention=convention, sparse=convention == "count")
    fit, _ = cold_fit(problem)
    curvature = build_curvature("dense", HeadGradients(problem, fit.outputs))
    kept = torch.ones(19, 60, dtype=torch.bool)
    for g in range(1, 19):
        kept[g, torch.from_numpy(rng.choice(60, 2 * g, replace=False))] = False
    operator = HeadInfluence(problem, fit.theta, fit.outputs, curvature)
    steps = removal_steps(operator, ~kept, tolerance=1e-10)
    assert steps.shape == (19, problem.dim)
    assert float(steps[0].norm()) < 1e-7
    for g in range(1, 19):
        part = problem.subset(torch.nonzero(kept[g]).reshape(-1))
        leaf = fit.theta.clone().requires_grad_()
        gradient = torch.autograd.grad(reference_objective(part, leaf), leaf)[0].reshape(-1)
        inverse = torch.linalg.pinv(reference_hessian(part, fit.theta), rtol=1e-12)
        torch.testing.assert_close(
            steps[g].reshape(-1), -(inverse @ gradient), rtol=1e-5, atol=1e-7
        )


@pytest.mark.parametrize("curvature", list(CURVATURES["head"]))
def test_answers_do_not_depend_on_the_curvature(curvature, rng):
    # Scores and group predictions are solved with the exact Hessian; the curvature only helps.
    data = multiclass(rng)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exact = scored(LogisticRegression(C=0.5), data)
        pruner = InfluencePruner(
            keep=0.5,
            model=LinearProxy(LogisticRegression(C=0.5), curvature=curvature),
            random_state=0,
        ).fit(data[0], data[1], X_val=data[2], y_val=data[3])
    # Only the small second-order part of a score takes the curvature as it is.
    assert spearmanr(pruner.scores_, exact.scores_).statistic > 0.998
    assert np.polyfit(pruner.scores_, exact.scores_, 1)[0] == pytest.approx(1.0, abs=0.05)
    rows = rng.choice(400, 60, replace=False)
    one, other = (p.group_influence(rows) for p in (pruner, exact))
    np.testing.assert_allclose(one.newton.parameters, other.newton.parameters, atol=1e-3)
    assert one.newton.loss == pytest.approx(other.newton.loss, abs=1e-4)
