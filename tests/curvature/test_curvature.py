"""The curvatures of heads against the Hessian that autograd computes; see also the contract."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from cases.heads import dense_features, make_problem, reference_hessian

from skprune.curvature import CURVATURES, HeadGradients, build_curvature, choose_curvature
from skprune.curvature.head import RELATIVE_DAMPING, DenseHead, damp, hessian_matrix
from skprune.heads.features import DenseFeatures, Features
from skprune.heads.problem import HeadProblem, Penalty
from skprune.proxies.head import cold_fit

KINDS = [("softmax", 4), ("sigmoid", 1), ("sigmoid", 3), ("squared", 1), ("squared", 3)]
CASES = [
    (loss, K, convention, sparse)
    for loss, K in KINDS
    for convention, sparse in (("total", False), ("weight", True), ("count", False))
]


@pytest.fixture(params=CASES, ids=lambda c: "-".join(map(str, c)))
def problem(request):
    loss, K, convention, sparse = request.param
    return make_problem(loss, outputs=K, convention=convention, sparse=sparse)


def somewhere(problem, scale=0.7):
    """A point that is no optimum, and its outputs."""
    rng = np.random.default_rng(3)
    theta = torch.from_numpy(rng.normal(size=problem.theta_shape) * scale)
    return theta, problem.features.forward(theta)


def matrix(curvature, problem):
    """The Hessian of the sum over rows, W H for H = L L', from its whitening alone."""
    L = torch.linalg.inv(curvature.whiten(torch.eye(problem.dim, dtype=torch.float64)).T)
    return problem.total * L @ L.T


def relative(A, B):
    return float((A - B).norm() / B.norm())


def test_dense_is_the_hessian(problem):
    theta, Z = somewhere(problem)
    truth = reference_hessian(problem, theta)
    found = problem.total * hessian_matrix(HeadGradients(problem, Z))
    torch.testing.assert_close(found, truth, rtol=1e-10, atol=1e-10)
    assert (
        relative(matrix(build_curvature("dense", HeadGradients(problem, Z)), problem), truth) < 1e-8
    )


def test_the_intercept_is_not_penalised(problem):
    # All that a stronger penalty adds to H is on the diagonal, and nothing on the ones' rows.
    _, Z = somewhere(problem)
    stronger = replace(problem, penalty=replace(problem.penalty, strength=0.0))
    added = problem.penalty.total() * torch.ones(problem.theta_shape)
    added[-1] = 0.0
    for name in ("dense", "diagonal"):
        one, other = (
            matrix(build_curvature(name, HeadGradients(p, Z)), p) for p in (problem, stronger)
        )
        torch.testing.assert_close(
            one - other, torch.diag(added.reshape(-1).double()), atol=1e-6, rtol=0
        )


def test_ekfac_is_exact_for_one_output_and_for_squared_error(problem):
    theta, Z = somewhere(problem)
    name = type(problem.loss).__name__
    error = relative(
        matrix(build_curvature("ekfac", HeadGradients(problem, Z)), problem),
        reference_hessian(problem, theta),
    )
    if problem.theta_shape[1] == 1 or name == "SquaredError":
        assert error < 1e-8
    else:
        assert 1e-3 < error < 0.5  # an approximation, or this test compares nothing


def test_ekfac_of_a_softmax_at_zero_is_exact_without_penalty():
    # There h_i is the same for all rows, so that the Hessian is one Kronecker product.
    problem = make_problem("softmax", strength=0.0)
    theta = problem.zeros()
    curvature = build_curvature("ekfac", HeadGradients(problem, problem.features.forward(theta)))
    assert relative(matrix(curvature, problem), reference_hessian(problem, theta)) < 1e-8


def test_ekfac_has_the_best_diagonal_in_its_basis(problem):
    theta, Z = somewhere(problem)
    truth = reference_hessian(problem, theta)
    found = matrix(build_curvature("ekfac", HeadGradients(problem, Z)), problem)
    # An orthonormal basis and the exact diagonal in it keep the trace, and the error is
    # orthogonal to what was found (George et al., 2018).
    assert float(found.trace()) == pytest.approx(float(truth.trace()), rel=1e-8)
    assert abs(float(((truth - found) * found).sum())) < 1e-7 * float(truth.square().sum())


def test_diagonal_is_the_diagonal(problem):
    theta, Z = somewhere(problem)
    truth = reference_hessian(problem, theta)
    found = matrix(build_curvature("diagonal", HeadGradients(problem, Z)), problem)
    torch.testing.assert_close(found, torch.diag(truth.diagonal()), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_ekfac_is_nearer_than_the_diagonal_for_a_softmax(seed):
    problem = make_problem("softmax", n=300, d=8, convention="weight", strength=1.0, seed=seed)
    fit, _ = cold_fit(problem)
    truth = reference_hessian(problem, fit.theta)
    rng = np.random.default_rng(seed)
    rows = torch.from_numpy(rng.choice(300, 30, replace=False))
    E = problem.loss.residual(fit.outputs, problem.targets)[rows]
    gradient = dense_features(problem)[rows].T @ E
    exact = (torch.linalg.pinv(truth, rtol=1e-11) @ gradient.reshape(-1)).reshape(gradient.shape)
    errors, solved = {}, {}
    for name in ("ekfac", "diagonal"):
        curvature = build_curvature(name, HeadGradients(problem, fit.outputs))
        errors[name] = relative(matrix(curvature, problem), truth)
        solved[name] = relative(
            problem.loss.project(curvature.solve(gradient.reshape(-1)).view_as(exact)),
            exact * problem.total,
        )
    assert errors["ekfac"] < errors["diagonal"]
    assert solved["ekfac"] < solved["diagonal"]


@pytest.mark.parametrize("name", list(CURVATURES["head"]))
@pytest.mark.parametrize("loss", ["softmax", "squared"])
def test_weights_are_repetitions(name, loss):
    problem = make_problem(loss, convention="weight", outputs=3)
    counts = torch.arange(60) % 3  # zero, one and two times
    rows = torch.repeat_interleave(torch.arange(60), counts)
    weights = counts.double()
    weighted = replace(problem, weights=weights, penalty=replace(problem.penalty, shares=weights))
    ones = replace(problem, weights=torch.ones(60).double())
    ones = replace(ones, penalty=replace(problem.penalty, shares=ones.weights))
    repeated = ones.subset(rows)
    one, other = (
        matrix(build_curvature(name, HeadGradients(p, somewhere(p)[1])), p)
        for p in (weighted, repeated)
    )
    torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("name", list(CURVATURES["head"]))
@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "squared"])
def test_singular_hessians_are_damped(name, loss, rng):
    # n < p, a column twice, a column of zeros, no penalty.
    problem = make_problem(loss, n=8, d=12, strength=0.0, weighted=False)
    X = dense_features(problem).clone()
    X[:, 1] = X[:, 0]
    X[:, 2] = 0.0
    problem = replace(problem, features=DenseFeatures(X))
    theta, Z = somewhere(problem, 0.1)
    curvature = build_curvature(name, HeadGradients(problem, Z))
    solve = curvature.solve(torch.eye(problem.dim, dtype=torch.float64))
    assert bool(torch.isfinite(solve).all())
    assert float(solve.diagonal().min()) > 0
    if name == "dense" or (loss, name) == ("squared", "ekfac"):
        # A gradient of the problem lies where H is not singular: there, damping changes little.
        V = problem.features.adjoint(torch.from_numpy(rng.normal(size=Z.shape)))
        V = problem.loss.project(V)
        truth = reference_hessian(problem, theta) / problem.total
        back = truth @ curvature.solve(V.reshape(-1))
        torch.testing.assert_close(back.reshape(V.shape), V, rtol=1e-4, atol=1e-4)


def test_damping():
    eigenvalues = torch.tensor([4.0, 1e-3, 1e-12, 0.0, -1e-17], dtype=torch.float64)
    floor = 4.0 * RELATIVE_DAMPING
    expected = torch.tensor([4.0, 1e-3, floor, floor, floor], dtype=torch.float64)
    torch.testing.assert_close(damp(eigenvalues), expected, rtol=1e-12, atol=0)
    assert float(damp(torch.zeros(3, dtype=torch.float64)).min()) > 0


@pytest.mark.parametrize("name", list(CURVATURES["head"]))
def test_a_hessian_of_zeros_can_be_solved_with(name):
    # No penalty, and every row so far on its side that nothing curves.
    problem = make_problem("sigmoid", strength=0.0)
    curvature = build_curvature(name, HeadGradients(problem, 1e4 * torch.ones(60, 1).double()))
    assert bool(torch.isfinite(curvature.solve(torch.ones(problem.dim).double())).all())


@pytest.mark.parametrize("unit", [1e-7, 1e7])
def test_dense_does_not_depend_on_the_units_of_the_columns(unit, rng):
    problem = make_problem("sigmoid", strength=0.0)
    _, Z = somewhere(problem)
    scales = torch.ones(6, dtype=torch.float64)
    scales[1] = unit
    scaled = replace(problem, features=DenseFeatures(dense_features(problem) * scales))
    gradient = torch.from_numpy(rng.normal(size=problem.theta_shape))
    one = (
        build_curvature("dense", HeadGradients(problem, Z))
        .whiten(gradient.reshape(-1))
        .square()
        .sum()
    )
    other = (
        build_curvature("dense", HeadGradients(scaled, Z))
        .whiten((gradient * scales[:, None]).reshape(-1))
        .square()
        .sum()
    )
    torch.testing.assert_close(one, other, rtol=1e-9, atol=0)


class _Shape(Features):
    """Features of which only the shape is known."""

    def __init__(self, n, D):
        self.shape = (n, D)

    def _refuse(self, *args):
        raise AssertionError("choosing a curvature needs no product")

    forward = adjoint = take = rows = gram = to = content = _refuse
    adjoint_squared = forward_squared = _refuse


@pytest.mark.parametrize(
    ("n", "D", "K", "expected"),
    [
        (1000, 30, 3, "dense"),
        (1000, 4096, 1, "dense"),
        (1000, 4097, 1, "diagonal"),
        (50_000, 513, 10, "ekfac"),
        (10_000_000, 300, 1, "ekfac"),  # few parameters, too many rows
        (1000, 2000, 3, "ekfac"),
        (1000, 100_000, 2, "diagonal"),
    ],
)
def test_auto_is_the_most_exact_that_is_affordable(n, D, K, expected):
    targets = torch.zeros(1, K)
    base = make_problem("softmax")
    penalty = Penalty(1.0, torch.ones(D, 1), None)
    problem = HeadProblem(_Shape(n, D), targets, torch.zeros(1), base.loss, penalty)
    assert choose_curvature(problem) == expected


def test_rounding_errors_beside_a_vanishing_diagonal_are_damped_away():
    H = torch.tensor([[1.0, 1e-9], [1e-9, 1e-20]], dtype=torch.float64)  # det < 0
    root = DenseHead._root(None, H.clone())
    damped = root @ root.T
    assert torch.linalg.eigvalsh(damped).min() > 0
    torch.testing.assert_close(damped, H, rtol=0, atol=1e-6)
