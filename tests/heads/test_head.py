"""The head's optimum against scikit-learn's own and scipy's, and the solver under it."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.optimize
import scipy.sparse as sp
import sklearn
import torch
from cases.heads import make_problem, reference_hessian, reference_objective
from sklearn.base import is_classifier
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris, load_wine
from sklearn.linear_model import (
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.fixes import parse_version

from skprune.heads.encoding import HeadEncoder
from skprune.heads.linear_spec import read_model
from skprune.heads.problem import fit_head, newton_step, solve_hessian
from skprune.proxies.head import cold_fit

EXACT = {"solver": "newton-cholesky", "tol": 1e-9, "max_iter": 1000}


def fit_as_skprune(model, X, y, sample_weight=None):
    """The head of ``model`` fitted by the package: (coef (K, d), intercept (K,), HeadFit)."""
    task = "regression" if np.asarray(y).dtype.kind == "f" else "classification"
    spec = read_model(model, task)
    weights = np.ones(len(y)) if sample_weight is None else sample_weight
    classes = None if spec.task == "regression" else np.unique(y)
    encoder = HeadEncoder(spec, classes).fit(X, y, weights)
    problem = encoder.problem(X, y, weights)
    fit, _ = cold_fit(problem)
    theta = fit.theta.numpy() * encoder.target_scale
    if spec.fit_intercept:
        return theta[:-1].T, theta[-1], fit
    return theta.T, np.zeros(theta.shape[1]), fit


def assert_same_model(model, X, y, sample_weight=None, *, rtol=1e-6):
    coef, intercept, fit = fit_as_skprune(model, X, y, sample_weight)
    assert fit.converged
    assert fit.gradient_norm <= 1e-9
    model.fit(X, y, sample_weight=sample_weight)
    expected = np.atleast_2d(model.coef_)
    level = rtol * np.abs(expected).max()
    np.testing.assert_allclose(coef, expected, rtol=0, atol=level)
    np.testing.assert_allclose(intercept, np.atleast_1d(model.intercept_), rtol=rtol, atol=level)


def classification(n_classes, rng):
    if n_classes == 2:
        X, y = load_breast_cancer(return_X_y=True)
        X = X[:, :8]
    else:
        X, y = load_wine(return_X_y=True)
    return scale(X), y, rng.uniform(0.1, 3.0, len(y))


WEIGHTINGS = ["none", "sample_weight", "dict", "balanced", "balanced and sample_weight"]


def weighting(name, n_classes, w):
    class_weight = None
    if name.startswith("balanced"):
        class_weight = "balanced"
    elif name == "dict":
        class_weight = {c: 0.5 + c for c in range(n_classes)}
    return class_weight, w if name.endswith("sample_weight") else None


@pytest.mark.parametrize("weights", WEIGHTINGS)
@pytest.mark.parametrize("n_classes", [2, 3])
@pytest.mark.parametrize("C", [0.01, 30.0])
def test_logistic_regression(C, n_classes, weights, rng):
    X, y, w = classification(n_classes, rng)
    class_weight, w = weighting(weights, n_classes, w)
    assert_same_model(LogisticRegression(C=C, class_weight=class_weight, **EXACT), X, y, w)


def test_logistic_regression_without_intercept_or_penalty(rng):
    X, y, w = classification(3, rng)
    assert_same_model(LogisticRegression(fit_intercept=False, **EXACT), X, y, w)
    X, y = load_iris(return_X_y=True)
    overlapping = y > 0  # versicolor and virginica are not separable by two columns
    model = LogisticRegression(C=np.inf, **EXACT)
    assert_same_model(model, X[overlapping, :2], y[overlapping])


def test_unpenalised_softmax_does_not_drift_along_the_common_shift(rng):
    # All classes shifted by the same theta is the same model; rounding must not wander there.
    X = rng.normal(size=(200, 3))
    y = (X @ rng.normal(size=(3, 4)) + 2 * rng.gumbel(size=(200, 4))).argmax(1)
    coef, intercept, fit = fit_as_skprune(LogisticRegression(C=np.inf), X, y)
    assert fit.converged
    assert np.abs(coef.sum(0)).max() < 1e-10
    assert abs(intercept.sum()) < 1e-10
    model = LogisticRegression(C=np.inf, **EXACT).fit(X, y)
    np.testing.assert_allclose(coef, model.coef_ - model.coef_.mean(0), atol=1e-6)


@pytest.mark.parametrize("scaling", [1.0, 5.0])
def test_liblinear_penalises_its_intercept(scaling, rng):
    X, y, w = classification(2, rng)
    model = LogisticRegression(
        C=0.05, solver="liblinear", tol=1e-10, max_iter=10_000, intercept_scaling=scaling
    )
    assert_same_model(model, X + 0.5, y, w, rtol=1e-5)


@pytest.mark.parametrize("alpha", [np.float32(0.5), np.int64(2), 30])
def test_ridge(alpha, rng):
    X, y = load_diabetes(return_X_y=True)
    w = rng.uniform(0.1, 3.0, len(y))
    assert_same_model(Ridge(alpha=alpha, solver="cholesky"), X, y)
    assert_same_model(Ridge(alpha=alpha, solver="cholesky"), X, y, w)
    assert_same_model(Ridge(alpha=alpha, fit_intercept=False, solver="cholesky"), X, y, w)


def test_linear_regression(rng):
    X, y = load_diabetes(return_X_y=True)
    assert_same_model(LinearRegression(), X, y, rng.uniform(0.1, 3.0, len(y)))
    assert_same_model(LinearRegression(fit_intercept=False), X, y)


@pytest.mark.parametrize("weights", WEIGHTINGS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_ridge_classifier(n_classes, weights, rng):
    X, y, w = classification(n_classes, rng)
    class_weight, w = weighting(weights, n_classes, w)
    model = RidgeClassifier(alpha=3.0, class_weight=class_weight, solver="cholesky")
    assert_same_model(model, X, y, w)


def sgd_objective(flat, X, target, weight, alpha, squared=False):
    """The objective in SGD's documentation: 1/n sum_i w_i L(y_i, f(x_i)) + alpha / 2 |w|^2."""
    coef, intercept = flat[:-1], flat[-1]
    f = X @ coef + intercept
    if squared:
        loss, slope = 0.5 * (f - target) ** 2, f - target
    else:
        sign = 2.0 * target - 1.0
        loss, slope = np.logaddexp(0, -sign * f), -sign / (1 + np.exp(sign * f))
    slope = slope * weight / len(X)
    gradient = np.append(X.T @ slope + alpha * coef, slope.sum())
    return float(weight @ loss) / len(X) + alpha / 2 * coef @ coef, gradient


def sgd_optimum(*args, **options):
    size = args[0].shape[1] + 1
    result = scipy.optimize.minimize(
        sgd_objective,
        np.zeros(size),
        args=(*args, *options.values()),
        jac=True,
        method="BFGS",
        options={"gtol": 1e-9, "maxiter": 5000},
    )
    assert np.abs(sgd_objective(result.x, *args, **options)[1]).max() < 1e-7
    return result.x


@pytest.mark.parametrize("weights", WEIGHTINGS)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_sgd_classifier_is_one_versus_rest_with_a_penalty_per_row(n_classes, weights, rng):
    X, y, w = classification(n_classes, rng)
    class_weight, w = weighting(weights, n_classes, w)
    model = SGDClassifier(loss="log_loss", alpha=0.02, class_weight=class_weight)
    if class_weight is not None and n_classes > 2:
        # scikit-learn weighs the positives of every output alone.
        with pytest.raises(ValueError, match="class_weight of a one-versus-rest"):
            fit_as_skprune(model, X, y, w)
        return
    coef, intercept, fit = fit_as_skprune(model, X, y, w)
    assert fit.converged
    row_weight = np.ones(len(y)) if w is None else w
    if class_weight is not None:  # SGD balances by counts, whatever the sample weights
        per_class = compute_class_weight(class_weight, classes=np.unique(y), y=y)
        row_weight = row_weight * per_class[y]
    positives = [1] if n_classes == 2 else range(3)
    for k, positive in enumerate(positives):
        truth = sgd_optimum(X, (y == positive).astype(float), row_weight, 0.02)
        np.testing.assert_allclose(coef[k], truth[:-1], atol=1e-5)
        np.testing.assert_allclose(intercept[k], truth[-1], atol=1e-5)


@pytest.mark.slow
def test_sgd_itself_ends_near_that_optimum(rng):
    # The optimum of the total-penalty reading (alpha instead of n alpha) is far away.
    X, y, w = classification(2, rng)
    model = SGDClassifier(
        loss="log_loss", alpha=0.02, max_iter=3000, tol=None, average=True, random_state=0
    )
    coef, intercept, _ = fit_as_skprune(model, X, y, w)
    model.fit(X, y, sample_weight=w)
    size = np.abs(coef).max()
    np.testing.assert_allclose(model.coef_, coef, atol=0.02 * size)
    np.testing.assert_allclose(model.intercept_, intercept, atol=0.02 * size)
    total, _, _ = fit_as_skprune(LogisticRegression(C=1 / 0.02), X, y, w)
    assert np.abs(model.coef_ - total).max() > 0.3 * size


def test_sgd_regressor(rng):
    X, y = load_diabetes(return_X_y=True)
    X, w = scale(X), rng.uniform(0.1, 3.0, len(y))
    coef, intercept, _ = fit_as_skprune(SGDRegressor(alpha=0.1), X, y, w)
    truth = sgd_optimum(X, y / 100, w, 0.1, squared=True) * 100
    np.testing.assert_allclose(coef[0], truth[:-1], atol=1e-4)
    np.testing.assert_allclose(intercept[0], truth[-1], atol=1e-4)


def test_pipeline_is_examined_in_its_own_features(rng):
    X, y = load_wine(return_X_y=True)
    w = rng.uniform(0.1, 3.0, len(y))
    coef, intercept, _ = fit_as_skprune(
        make_pipeline(StandardScaler(), LogisticRegression(C=0.1)), X, y, w
    )
    model = LogisticRegression(C=0.1, **EXACT).fit(scale(X), y, sample_weight=w)
    np.testing.assert_allclose(coef, model.coef_, atol=1e-7)
    np.testing.assert_allclose(intercept, model.intercept_, atol=1e-7)


CASES = [
    (loss, convention, sparse)
    for loss in ("softmax", "sigmoid", "squared")
    for convention in ("total", "weight", "count")
    for sparse in (False, True)
]


@pytest.mark.parametrize(("loss", "convention", "sparse"), CASES)
def test_value_gradient_hessian_and_subset_against_autograd(loss, convention, sparse, rng):
    problem = make_problem(loss, convention=convention, sparse=sparse)
    kept = problem.subset(torch.from_numpy(np.sort(rng.choice(60, 25, replace=False))))
    for given in (problem, kept):
        theta = torch.from_numpy(rng.normal(size=given.theta_shape)).requires_grad_()
        truth = reference_objective(given, theta)
        gradient = torch.autograd.grad(truth, theta)[0]
        theta = theta.detach()
        Z = given.features.forward(theta)
        assert given.value(theta, Z) == pytest.approx(float(truth.detach()), rel=1e-12)
        torch.testing.assert_close(given.gradient(theta, Z), gradient, rtol=1e-10, atol=1e-10)
        V = torch.from_numpy(rng.normal(size=given.theta_shape))
        HV = (reference_hessian(given, theta) @ V.reshape(-1)).reshape(V.shape)
        torch.testing.assert_close(given.hessian(Z)(V), HV, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize(("loss", "convention", "sparse"), CASES)
def test_reported_gradient_norm_is_that_of_the_objective(loss, convention, sparse):
    problem = make_problem(loss, convention=convention, sparse=sparse)
    fit, _ = cold_fit(problem)
    theta = fit.theta.clone().requires_grad_()
    gradient = torch.autograd.grad(reference_objective(problem, theta), theta)[0]
    norm = float(gradient.norm()) / float(problem.weights.sum())
    assert fit.converged
    assert norm <= 1.1e-9
    assert fit.gradient_norm == pytest.approx(norm, abs=1e-13)
    torch.testing.assert_close(fit.outputs, problem.features.forward(fit.theta))


@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "squared"])
def test_sparse_equals_dense(loss):
    one, other = (cold_fit(make_problem(loss, sparse=sparse))[0] for sparse in (False, True))
    torch.testing.assert_close(one.theta, other.theta, rtol=1e-9, atol=1e-9)


def test_a_fit_that_is_stopped_early_says_so():
    problem = make_problem("softmax")
    short = fit_head(problem, lambda V: V, max_iter=1)
    assert not short.converged
    assert short.n_iter == 1
    assert short.gradient_norm > 1e-9


def test_start_does_not_change_the_optimum_and_a_warm_start_is_short(rng):
    problem = make_problem("softmax", n=200)
    cold, _ = cold_fit(problem)
    far = torch.from_numpy(rng.normal(size=problem.theta_shape) * 20)
    far = far - far.mean(1, keepdim=True)
    again = fit_head(problem, lambda V: V, start=far)
    assert again.converged
    torch.testing.assert_close(again.theta, cold.theta, atol=1e-6, rtol=0)
    warm = fit_head(problem, lambda V: V, start=cold.theta)
    assert warm.n_iter == 0


@pytest.mark.parametrize(
    "model",
    [LogisticRegression(C=np.inf), SGDClassifier(loss="log_loss", penalty=None)],
    ids=["softmax", "sigmoid"],
)
@pytest.mark.parametrize("n_classes", [2, 3])
def test_unpenalised_separable_classes_are_reported(model, n_classes, rng):
    # The minimum is at infinity: the gradient does get small, but that is no optimum.
    centres = 10 * np.array([[1, 0], [-1, 1], [-1, -1]])[:n_classes]
    y = np.repeat(np.arange(n_classes), 30)
    X = centres[y] + rng.normal(size=(len(y), 2))
    _, _, fit = fit_as_skprune(model, X, y)
    assert not fit.converged
    assert bool(torch.isfinite(fit.theta).all())
    penalised = LogisticRegression(C=10.0, **EXACT)
    assert_same_model(penalised, X, y)


def test_quasi_separable_classes_are_reported(rng):
    # Only one of three classes can be split off; the other two overlap.
    y = np.repeat([0, 1, 2], 40)
    X = rng.normal(size=(120, 2)) + np.array([[0, 0], [0.5, 0], [20, 20]])[y]
    _, _, fit = fit_as_skprune(LogisticRegression(C=np.inf), X, y)
    assert not fit.converged
    assert float(fit.theta.abs().max()) < 1e3


def test_fewer_rows_than_columns(rng):
    X, y = rng.normal(size=(15, 40)), rng.permutation(np.repeat([0, 1, 2], 5))
    assert_same_model(LogisticRegression(C=1.0, **EXACT), X, y)
    target = rng.normal(size=15)
    assert_same_model(Ridge(alpha=0.1, solver="cholesky"), X, target)
    coef, intercept, fit = fit_as_skprune(LinearRegression(), X, target)
    assert fit.converged  # one of many optima: it interpolates
    np.testing.assert_allclose(X @ coef[0] + intercept, target, atol=1e-7)


def test_collinear_columns(rng):
    X = rng.normal(size=(80, 3))
    X = np.hstack([X, X[:, :1], X @ rng.normal(size=(3, 1)), np.ones((80, 1))])
    y = (X[:, 0] + rng.normal(size=80) > 0).astype(int)
    assert_same_model(LogisticRegression(C=1.0, **EXACT), X, y)
    target = X[:, 1] + rng.normal(size=80)
    assert_same_model(Ridge(alpha=1e-3, solver="svd"), X, target)
    coef, intercept, fit = fit_as_skprune(LinearRegression(), X, target)
    assert fit.converged
    predicted = LinearRegression().fit(X, target).predict(X)
    np.testing.assert_allclose(X @ coef[0] + intercept, predicted, atol=1e-7)


def test_zero_weight_rows_do_not_count_and_integer_weights_repeat(rng):
    X, y, _ = classification(3, rng)
    w = rng.integers(0, 4, len(y))
    repeated = np.repeat(np.arange(len(y)), w)
    for model in (LogisticRegression(C=0.3), RidgeClassifier(alpha=2.0)):
        coef, intercept, _ = fit_as_skprune(model, X, y, w.astype(float))
        again, offset, _ = fit_as_skprune(model, X[repeated], y[repeated])
        np.testing.assert_allclose(coef, again, atol=1e-8)
        np.testing.assert_allclose(intercept, offset, atol=1e-8)


def test_package_head_penalises_each_unit_of_weight(rng):
    # model=None: mean loss + 1e-3 / 2 |theta|^2 on standardised columns.
    X, y = load_wine(return_X_y=True)
    coef, intercept, _ = fit_as_skprune(None, X, y)
    model = LogisticRegression(C=1 / (1e-3 * len(y)), **EXACT).fit(scale(X), y)
    np.testing.assert_allclose(coef, model.coef_, atol=1e-6)
    np.testing.assert_allclose(intercept, model.intercept_, atol=1e-6)


@pytest.mark.parametrize("value", [0.1, 1 / 3, 1e9, 0.0])
def test_constant_target_keeps_its_unit(value):
    # The standard deviation of a constant is rounding error, not a unit.
    y = np.full(57, value)
    X = np.arange(57.0)[:, None]
    encoder = HeadEncoder(read_model(None, "regression"), None).fit(X, y)
    problem = encoder.problem(X, y, np.ones(57))
    assert encoder.target_scale == 1.0
    assert encoder.loss_unit(problem) == 2.0


def test_units_of_the_reported_loss(rng):
    X, y = load_diabetes(return_X_y=True)
    encoder = HeadEncoder(read_model(Ridge(), "regression"), None).fit(X, y)
    problem = encoder.problem(X, y, np.ones(len(y)))
    fit, _ = cold_fit(problem)
    mean = encoder.loss_unit(problem) * problem.loss.value(fit.outputs, problem.targets).mean()
    assert float(mean) == pytest.approx(1 - Ridge().fit(X, y).score(X, y), rel=1e-9)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "squared"])
@pytest.mark.parametrize("convention", ["total", "count"])
def test_newton_step_against_a_dense_solve(loss, convention, rng):
    problem = make_problem(loss, convention=convention)
    theta = torch.from_numpy(rng.normal(size=problem.theta_shape))
    if loss == "softmax":
        theta = theta - theta.mean(1, keepdim=True)
    leaf = theta.clone().requires_grad_()
    gradient = torch.autograd.grad(reference_objective(problem, leaf), leaf)[0].reshape(-1)
    truth = -(torch.linalg.pinv(reference_hessian(problem, theta), rtol=1e-12) @ gradient)
    step = newton_step(problem, theta, lambda V: V, rtol=1e-10)
    torch.testing.assert_close(step.reshape(-1), truth, rtol=1e-6, atol=1e-8)
    rough = newton_step(problem, theta, lambda V: V)  # what predicted gaps use
    assert float((rough.reshape(-1) - truth).norm() / truth.norm()) < 0.02


def test_solve_hessian_has_no_common_shift(rng):
    problem = make_problem("softmax", strength=0.0)
    Z = torch.zeros(len(problem), 4, dtype=torch.float64)
    rhs = torch.from_numpy(rng.normal(size=problem.theta_shape))
    rhs = rhs - rhs.mean(1, keepdim=True) + 1e-15  # a gradient, with its rounding error

    # A damped inverse blows up what no loss feels, as the curvatures do.
    def damped(V):
        return V + 1e12 * V.reshape(-1, 4).mean(1, keepdim=True).expand(-1, 4).reshape(V.shape)

    x = solve_hessian(problem, Z, rhs, damped, rtol=1e-10)
    assert float(x.sum(1).abs().max()) < 1e-9
    torch.testing.assert_close(problem.hessian(Z)(x), rhs, rtol=1e-8, atol=1e-8)


def mixed_penalty():
    if parse_version(sklearn.__version__) < parse_version("1.8"):
        return LogisticRegression(penalty="elasticnet", l1_ratio=0.5, solver="saga")
    return LogisticRegression(l1_ratio=0.5, solver="saga")


@pytest.mark.parametrize(
    "model",
    [
        Ridge(positive=True, alpha=1.0),
        SGDClassifier(loss="log_loss", penalty="l1"),
        SGDClassifier(loss="log_loss", penalty="elasticnet"),
        SGDClassifier(loss="hinge"),
        mixed_penalty(),
        LogisticRegressionCV(),
        DecisionTreeClassifier(),
        make_pipeline(StandardScaler(), Lasso()),
    ],
)
def test_another_head_stands_in_for_models_without_a_smooth_one(model):
    spec = read_model(model, "classification")
    assert not spec.own
    assert not spec.exact
    assert spec.task == ("classification" if is_classifier(model) else "regression")


@pytest.mark.parametrize(
    ("model", "exact"),
    [
        (LogisticRegression(C=0.3), True),
        (RidgeClassifier(class_weight={0: 2.0, 1: 1.0}), True),
        (LogisticRegression(class_weight="balanced"), False),  # counted on the rows at hand
        (RidgeClassifier(class_weight="balanced"), False),
        (SGDRegressor(), False),  # as many steps as there are rows
        (make_pipeline(StandardScaler(), LogisticRegression()), False),
    ],
)
def test_heads_that_are_all_of_fit(model, exact):
    spec = read_model(model, "classification")
    assert spec.own
    assert spec.exact is exact


def test_sparse_rows_are_densified_in_chunks_only(rng, monkeypatch):
    X = sp.random(2000, 50, 0.1, format="csr", random_state=0)
    y = rng.integers(0, 3, 2000)
    dense = fit_as_skprune(LogisticRegression(C=2.0), X.toarray(), y)
    monkeypatch.setattr("skprune.utils.chunks.CHUNK_NUMBERS", 5_000)
    made = []
    for kind in (sp.csr_matrix, sp.csc_matrix):
        original = kind.toarray

        def spy(self, *args, original=original, **kwargs):
            made.append(self.shape[0] * self.shape[1])
            return original(self, *args, **kwargs)

        monkeypatch.setattr(kind, "toarray", spy)
    sparse = fit_as_skprune(LogisticRegression(C=2.0), X, y)
    np.testing.assert_allclose(sparse[0], dense[0], atol=1e-8)
    assert 0 < max(made) <= 5_000  # of 2000 x 51 numbers
