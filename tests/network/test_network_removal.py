"""Predicted removal against closed forms, and against networks that are trained again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases.networks import N, make_data, study, study_case, true_gradients
from scipy.stats import spearmanr
from sklearn.datasets import load_digits
from torch import nn

from skprune.curvature import build_curvature
from skprune.data.arrays import ArraySource
from skprune.influence.ensemble import Member
from skprune.influence.gradients import NetworkInfluence
from skprune.influence.leave_out import removal_steps
from skprune.losses.squared import SquaredError


def steps_of(curvature, removed, method="newton"):
    return removal_steps(NetworkInfluence(curvature), removed, method)


def mean_loss(removal, held):
    return removal.losses @ held.weights / held.weights.sum()


def groups(n, n_groups, share, seed=0):
    rng = np.random.default_rng(seed)
    removed = torch.zeros(n_groups, n, dtype=torch.bool)
    for mask in removed:
        mask[torch.from_numpy(rng.choice(n, int(share * n), replace=False))] = True
    return removed


@pytest.mark.parametrize("bias", [True, False])
def test_newton_step_on_least_squares_is_the_refit(bias):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(30, 4)), torch.from_numpy(rng.normal(size=(30, 2)))
    penalty, w = 0.1, torch.from_numpy(np.random.default_rng(2).uniform(0.2, 2.0, 30))
    inputs = torch.from_numpy(np.hstack([X, np.ones((30, 1))]) if bias else X)

    def fit(weights):  # mean over rows of squared errors, halved sums over outputs by 1 / K
        A = (weights[:, None] * inputs).T @ inputs / weights.sum()
        A += penalty * torch.eye(len(A), dtype=A.dtype)
        return torch.linalg.solve(A, (weights[:, None] * inputs).T @ y / weights.sum())

    module = nn.Linear(4, 2, bias=bias).double()
    theta = fit(w)
    with torch.no_grad():
        module.weight.copy_(theta[:4].T)
        if bias:
            module.bias.copy_(theta[4])
    removed = groups(30, 3, 0.4)
    loss = SquaredError(scale=1.0)  # torch's, of two outputs
    with study(module, X, y, loss=loss, penalty=penalty) as (problem, gradients):
        assert float((problem.gradients() / problem.total + penalty * problem.theta).norm()) < 1e-12
        cg = build_curvature("cg", gradients, 0.0)
        cg.tolerance = 1e-10
        steps = steps_of(cg, removed, "newton")
        first = steps_of(build_curvature("dense", gradients, 0.0), removed, "influence")
        held = problem.on(ArraySource(X[:7]), y[:7])
        predicted = mean_loss(Member(cg, cg, held).predict_removal(removed), held)
        for mask, step, one, change in zip(removed, steps, first, predicted, strict=True):
            truth = fit(w * ~mask)
            moved = problem.split(problem.theta + step)["weight"]
            torch.testing.assert_close(moved, truth[:4].T)
            assert float((one - step).norm()) > 0.05 * float(step.norm())  # first order falls short
            after = ((inputs[:7] @ truth - y[:7]) ** 2).mean()
            before = ((inputs[:7] @ theta - y[:7]) ** 2).mean()
            assert float(change) == pytest.approx(float(after - before), rel=1e-6)


@pytest.mark.parametrize("name", ["dense", "hessian", "ekfac", "lowrank", "cg"])
def test_steps_follow_their_definition(name):
    removed = groups(N, 3, 0.3)
    with study_case("conv") as (problem, gradients):
        # The difference of two Gauss-Newton matrices is indefinite: see the next test.
        curvature = build_curvature(name, gradients, 2.0 if name == "hessian" else 0.05)
        curvature.tolerance = 1e-10
        w, g = problem.weights, true_gradients(problem)
        pull = (removed * w) @ (g - w @ g / problem.total)
        influence = steps_of(curvature, removed, "influence")
        torch.testing.assert_close(influence, curvature.solve(pull / problem.total))
        newton = steps_of(curvature, removed, "newton")
        kept = (~removed * w).sum(1, keepdim=True)
        if name not in ("cg", "dense", "hessian"):
            torch.testing.assert_close(newton, curvature.solve(pull / kept))
        else:
            for one, p, m, k in zip(newton, pull, removed, kept, strict=True):
                identity = torch.eye(problem.dim, dtype=torch.float64)
                M = problem.gauss_newton(identity, w * ~m) / k
                if name == "hessian":
                    M += curvature._found["M"] - problem.gauss_newton(identity) / problem.total
                truth = torch.linalg.solve(M + curvature.ridge * identity, p / k)
                torch.testing.assert_close(one, truth, rtol=1e-5, atol=1e-7)


def test_a_correction_that_outweighs_the_hessian_is_left_out():
    removed = groups(N, 3, 0.3)
    with study_case("conv") as (problem, gradients):
        curvature = build_curvature("hessian", gradients, 0.05)
        kept = (~removed * problem.weights).to(problem.theta)
        V = torch.randn(3, problem.dim, dtype=torch.float64, generator=torch.manual_seed(0))
        found = curvature.restricted(~removed)(V)
        identity = torch.eye(problem.dim, dtype=torch.float64)
        whole = curvature._found["M"] + curvature.ridge * identity
        n_left_out = 0
        for one, v, w in zip(found, V, kept, strict=True):
            change = problem.gauss_newton(identity, w / w.sum() - problem.weights / problem.total)
            definite = float(torch.linalg.eigvalsh(whole + change)[0]) > 0
            truth = torch.linalg.solve(whole + definite * change, v)
            assert float((one - truth).norm() / truth.norm()) < 0.1
            n_left_out += not definite
        assert n_left_out > 0


def test_scores_are_first_order_predictions_for_single_rows():
    X, targets = make_data("mlp", 8, seed=5)
    with study_case("mlp") as (problem, gradients):
        curvature = build_curvature("ekfac", gradients, 0.05)
        held = problem.on(ArraySource(X), targets)
        member = Member(curvature, curvature, held)
        single = torch.eye(N, dtype=torch.bool)
        predicted, steps = member.predict_removal(single), steps_of(curvature, single)
        linear = held.scores(steps) @ held.weights / held.total
        torch.testing.assert_close(member.row_scores(), linear)
        assert predicted.losses.shape == (N, 8)
        torch.testing.assert_close(predicted.lengths, steps.norm(dim=1) / problem.theta.norm())
        assert problem.length == pytest.approx(float(problem.theta.norm()))
        # The loss at linearised outputs, by Jacobians that autograd makes.
        outputs = torch.cat([held.outputs(b.inputs) for b in held.batches()])
        J = torch.func.jacrev(
            lambda t: torch.cat([held.outputs(b.inputs, t) for b in held.batches()])
        )(held.theta)
        after = held.loss.value(outputs + J @ steps[3], held.targets)
        torch.testing.assert_close(predicted.losses[3], after - held.losses())


def test_nothing_removed_changes_nothing_and_everything_is_refused():
    with study_case("mlp") as (_, gradients):
        curvature = build_curvature("ekfac", gradients, 0.05)
        none = torch.zeros(1, N, dtype=torch.bool)
        assert float(steps_of(curvature, none).norm()) == 0.0
        with pytest.raises(ValueError, match="holds all rows"):
            steps_of(curvature, ~none)
        with pytest.raises(ValueError, match="'second'"):
            steps_of(curvature, none, "second")


def train(module, X, y, weights, penalty, steps):
    """Full-batch L-BFGS from where the module stands."""
    optimizer = torch.optim.LBFGS(
        module.parameters(),
        max_iter=steps,
        history_size=20,
        line_search_fn="strong_wolfe",
        tolerance_grad=1e-6,
        tolerance_change=0.0,
    )

    def objective():
        optimizer.zero_grad()
        losses = nn.functional.cross_entropy(module(X), y, reduction="none")
        squares = sum(p.square().sum() for p in module.parameters())
        value = weights @ losses / weights.sum() + 0.5 * penalty * squares
        value.backward()
        return value

    optimizer.step(objective)
    return module


@pytest.fixture(scope="module")
def digits():
    """An MLP on digits at its optimum, and the changes that training again makes."""
    return retrained(hidden=16, n=500, per_share=8, shares=(0.05, 0.2, 0.4), steps=100)


def retrained(hidden, n, per_share, shares, steps, penalty=1e-2):
    X, y = load_digits(return_X_y=True)
    X = torch.from_numpy(X / 16.0).double()
    order = np.random.default_rng(0).permutation(len(X))
    X, y = X[order], torch.from_numpy(y[order])
    X, y, X_val, y_val = X[:n], y[:n], X[n : n + 100], y[n : n + 100]
    torch.manual_seed(0)
    head = nn.Linear(hidden or 64, 10)
    layers = [nn.Linear(64, hidden), nn.Tanh(), head] if hidden else [head]
    module = nn.Sequential(*layers).double()
    every = torch.ones(n, dtype=torch.float64)
    train(module, X, y, every, penalty, 10 * steps)
    start = {k: v.clone() for k, v in module.state_dict().items()}

    def loss():
        with torch.no_grad():
            return nn.functional.cross_entropy(module(X_val), y_val, reduction="none")

    before = loss()
    removed = torch.cat([groups(n, per_share, s, seed) for seed, s in enumerate(shares)])
    actual = []
    for mask in removed:
        module.load_state_dict(start)
        train(module, X, y, every * ~mask, penalty, steps)
        actual.append(loss() - before)
    module.load_state_dict(start)
    module.zero_grad()
    return module, (X, y), (X_val, y_val), removed, torch.stack(actual), penalty


def fidelity(studied, name, method, **options):
    """Rank correlation over groups, mean over held-out rows; correlation and slope of the mean."""
    module, (X, y), (X_val, y_val), removed, actual, penalty = studied
    options = {"penalty": penalty, "batch_size": 256, "weighted": False} | options
    with study(module, X.numpy(), y, **options) as (problem, gradients):
        held = problem.on(ArraySource(X_val.numpy()), y_val)
        curvature = build_curvature(name, gradients)
        found = Member(curvature, curvature, held).predict_removal(removed, method)
        mean = mean_loss(found, held)
    lds = np.mean([spearmanr(p, a)[0] for p, a in zip(found.losses.T, actual.T, strict=True)])
    predicted, true = mean.numpy(), actual.mean(1).numpy()
    return lds, spearmanr(predicted, true)[0], np.polyfit(predicted, true, 1)[0]


@pytest.mark.parametrize("name", ["cg", "dense", "hessian"])
def test_kept_rows_predict_training_again(digits, name):
    lds, rho, slope = fidelity(digits, name, "newton")
    assert lds > 0.8
    assert rho > 0.8
    assert 0.7 < slope < 1.2
    # The sum of single influences ranks nearly as well and is too small.
    _, _, summed = fidelity(digits, name, "influence")
    assert summed > 1.2 * slope


@pytest.fixture(scope="module")
def linear():
    """A linear network on digits, and the changes that training again makes."""
    return retrained(hidden=0, n=300, per_share=6, shares=(0.05, 0.3), steps=100)


@pytest.mark.parametrize("name", ["dense", "cg", "hessian"])
def test_a_linear_network_is_predicted_without_damping(linear, name):
    lds, rho, slope = fidelity(linear, name, "newton")
    assert lds > 0.97
    assert rho > 0.9
    assert 0.9 < slope < 1.1
    module, (X, y), *_ = linear
    with study(module, X.numpy(), y, penalty=1e-2, weighted=False) as (problem, gradients):
        assert problem.is_linear
        assert build_curvature(name, gradients).damping == 0.0
        problem.penalty = 0.0  # nothing else makes the matrix definite
        assert build_curvature(name, gradients).damping > 0.0


def test_layers_of_a_network_are_linear_or_not(digits):
    module, (X, y), *_ = digits
    linear = {"0": False, "2": True, "2.bias": True}
    for layer, expected in linear.items():
        with study(module, X.numpy(), y, layers=[layer]) as (problem, _):
            assert problem.is_linear == expected
            length = sum(p.square().sum() for p in module[int(layer[0])].parameters())
            assert problem.length == pytest.approx(float(length.detach()) ** 0.5)


FLOORS = {"dense": 0.8, "cg": 0.8, "lowrank": 0.8, "ekfac": 0.7, "kfac": 0.7, "diagonal": 0.2}


@pytest.mark.parametrize("name", FLOORS)
def test_every_curvature_ranks_groups(digits, name):
    lds, _, _ = fidelity(digits, name, "newton")
    assert lds > FLOORS[name]


@pytest.mark.slow
def test_groups_of_a_wider_network():
    studied = retrained(64, 1000, 8, (0.05, 0.2, 0.4), 150, penalty=1e-3)
    lds, rho, slope = fidelity(studied, "cg", "newton")
    assert lds > 0.65
    assert rho > 0.8
    assert 0.6 < slope < 1.4
