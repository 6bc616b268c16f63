"""What holds of every curvature that is registered, of heads and of layers alike."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import pytest
import torch
from cases.heads import dense_features, make_problem, reference_hessian, reference_loss
from cases.networks import study_case, true_gauss_newton, true_gradients
from sklearn.datasets import load_iris
from torch import nn

from skprune import InfluencePruner, LinearProxy, TorchProxy
from skprune.curvature import CURVATURES, Curvature, HeadGradients, build_curvature
from skprune.data.arrays import ArraySource

DAMPING = 0.3
HEADS = [("softmax", "total", False), ("sigmoid", "weight", True), ("squared", "count", False)]
CASES = [
    *(("head", name, case) for name in CURVATURES["head"] for case in HEADS),
    *(("layers", name, case) for name in CURVATURES["layers"] for case in ("mlp", "tied")),
    *(("layers", name, "text") for name in ("kfac", "ekfac", "diagonal")),  # cheap ones
]
ROOTED = [c for c in CASES if CURVATURES[c[0]][c[1]].whiten is not Curvature.whiten]
STOCHASTIC = ("layers", "lissa")
pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


class Head:
    """A head somewhere, with what autograd says of it in float64."""

    def __init__(self, loss, convention, sparse):
        self.problem = make_problem(loss, convention=convention, sparse=sparse, n=24, d=4)
        rng = np.random.default_rng(3)
        self.theta = torch.from_numpy(0.7 * rng.normal(size=self.problem.theta_shape))
        self.gradients = HeadGradients(self.problem, self.problem.features.forward(self.theta))

    def rows(self):
        """g_i, (n, p)."""
        pairs = zip(dense_features(self.problem), self.problem.targets, strict=True)
        name, found = type(self.problem.loss).__name__, []
        for phi, y in pairs:
            theta = self.theta.clone().requires_grad_()
            loss = reference_loss(name, phi @ theta, y)
            found.append(torch.autograd.grad(loss, theta)[0].reshape(-1))
        return torch.stack(found)

    def hessian(self, kept):
        """Of the mean over the rows where the mask is True, with the penalty."""
        part = self.problem.subset(torch.nonzero(kept)[:, 0])
        return reference_hessian(part, self.theta) / part.total


class Layers:
    """A network, with what autograd says of it in float64."""

    def __init__(self, problem, gradients):
        self.problem, self.gradients = problem, gradients

    def rows(self):
        """g_i, (n, p)."""
        return true_gradients(self.problem)

    def hessian(self, kept):
        """The Gauss-Newton matrix of the mean over these rows, with the penalty."""
        problem, rows = self.problem, self.problem.rows.original[kept.numpy()]
        part = problem.on(ArraySource(rows), problem.targets[kept], problem.weights[kept])
        return true_gauss_newton(part) + problem.penalty * torch.eye(problem.dim)


@contextmanager
def studied(kind, case):
    if kind == "head":
        yield Head(*case)
    else:
        with study_case(case) as found:
            yield Layers(*found)


def inverse(curvature):
    """H^-1 as a matrix."""
    return curvature.solve(torch.eye(curvature.dim, dtype=torch.float64))


@pytest.mark.parametrize(("kind", "name", "case"), ROOTED)
def test_root_solve_rows_and_norms_are_of_one_matrix(kind, name, case):
    with studied(kind, case) as study:
        curvature = build_curvature(name, study.gradients, DAMPING)
        assert curvature.selector() is curvature
        eye = torch.eye(curvature.dim, dtype=torch.float64)
        solve, W = inverse(curvature), curvature.whiten(eye)  # rows: L^-1 e_j
        torch.testing.assert_close(W @ W.T, solve)
        torch.testing.assert_close(solve, solve.T)
        assert float(torch.linalg.eigvalsh(solve)[0]) > 0
        torch.testing.assert_close(curvature.unwhiten(eye), W.T)
        torch.testing.assert_close(curvature.whiten(eye[1]), W[1])
        torch.testing.assert_close(curvature.solve(eye[1]), solve[1])
        torch.testing.assert_close(curvature.unwhiten(eye[1]), W[:, 1])
        rows = study.rows()
        for positions, factors in study.gradients.each():
            own = rows[positions]
            torch.testing.assert_close(curvature.whiten_rows(factors), own @ W)
            norms = ((own @ solve) * own).sum(1)
            torch.testing.assert_close(curvature.squared_norms(factors), norms)
        some = torch.tensor([7, 2, 2])
        white = [curvature.whiten_rows(factors) for factors in study.gradients.of(some)]
        torch.testing.assert_close(torch.cat(white), rows[some] @ W)


@pytest.mark.parametrize(("kind", "name", "case"), [c for c in CASES if c[:2] != STOCHASTIC])
def test_damping_is_a_multiple_of_the_identity(kind, name, case):
    with studied(kind, case) as study:
        curvature = build_curvature(name, study.gradients, DAMPING)
        curvature.tolerance = 1e-12
        before, more = inverse(curvature), curvature.damped(DAMPING + 0.4)
        H, damped = torch.linalg.inv(before), torch.linalg.inv(inverse(more))
        torch.testing.assert_close(damped, H + 0.4 * torch.eye(len(H)), rtol=1e-6, atol=1e-6)
        torch.testing.assert_close(inverse(curvature), before, rtol=1e-9, atol=1e-9)
        assert more.ridge - curvature.ridge == pytest.approx(0.4)
        fresh = build_curvature(name, study.gradients, DAMPING + 0.4)
        fresh.tolerance = 1e-12
        torch.testing.assert_close(inverse(fresh), inverse(more), rtol=1e-6, atol=1e-6)
        for wrong in (-1.0, float("nan"), float("inf")):
            with pytest.raises(ValueError, match="damping must be a finite number"):
                curvature.damped(wrong)


@pytest.mark.parametrize(("kind", "name", "case"), CASES)
def test_exact_ones_are_the_hessian_of_the_mean_and_others_have_its_diagonal(kind, name, case):
    """Diagonals agree for all that is found in coordinates; traces for EK-FAC's basis as well."""
    with studied(kind, case) as study:
        curvature = build_curvature(name, study.gradients, DAMPING)
        curvature.tolerance = 1e-12
        if (kind, name) == STOCHASTIC or name == "hessian":  # see test_network_curvature.py
            return
        found = torch.linalg.inv(inverse(curvature))
        truth = study.hessian(torch.ones(len(study.problem), dtype=torch.bool))
        truth += DAMPING * torch.eye(len(truth))
        if name in ("dense", "cg", "lowrank"):  # of a rank that all eigenvalues fit in
            torch.testing.assert_close(found, truth, rtol=1e-6, atol=1e-6)
        elif name == "diagonal":
            torch.testing.assert_close(found, torch.diag(truth.diagonal()))
        elif name == "ekfac":
            torch.testing.assert_close(found.trace(), truth.trace())
        assert float((found - truth).norm()) < 0.7 * float(truth.norm())


@pytest.mark.parametrize(("kind", "name", "case"), [c for c in CASES if c[:2] != STOCHASTIC])
def test_restricted_to_kept_rows(kind, name, case):
    """Solved with the rows' own matrix, or, where that is dear, with that of all rows."""
    with studied(kind, case) as study:
        curvature = build_curvature(name, study.gradients, 3.0 if name == "hessian" else DAMPING)
        n, generator = len(study.problem), torch.Generator().manual_seed(0)
        kept = torch.rand(20, n, generator=generator) < torch.linspace(0.3, 1, 20)[:, None]
        # Gradients, so that there is nothing of them where a loss feels nothing.
        V = study.gradients.weighted_sum(torch.randn(20, n, generator=generator))
        found = curvature.restricted(kept, 1e-10)(V)
        if not (curvature.convex or curvature.by_rows):
            torch.testing.assert_close(found, curvature.solve(V))
            return
        eye = torch.eye(curvature.dim, dtype=torch.float64)
        every = study.hessian(torch.ones(n, dtype=torch.bool))
        for v, k, x in zip(V, kept, found, strict=True):
            H = study.hessian(k) + curvature.damping * eye
            if name == "hessian":  # that of all rows, corrected by two Gauss-Newton matrices
                H += torch.linalg.inv(inverse(curvature)) - every - curvature.damping * eye
            torch.testing.assert_close(x, torch.linalg.solve(H, v), rtol=1e-6, atol=1e-7)
        exact = curvature.restricted(None, 1e-10)(V)
        if curvature.convex:
            truth = torch.linalg.solve(every + curvature.damping * eye, V.T).T
            torch.testing.assert_close(exact, truth, rtol=1e-6, atol=1e-7)
        elif name != "cg":
            torch.testing.assert_close(exact, curvature.solve(V))


@pytest.mark.parametrize("kind", CURVATURES)
def test_a_head_stands_for_other_rows_and_all_are_known_by_name(kind):
    with studied(kind, HEADS[0] if kind == "head" else "mlp") as study:
        with pytest.raises(ValueError, match=r"must be one of .*'dense'.*; got 'fisher'"):
            build_curvature("fisher", study.gradients)
        assert all(name == c.name for name, c in CURVATURES[kind].items())
        curvature = build_curvature("ekfac", study.gradients)
        alone = curvature.on(None)  # without its rows, as in a cache
        V = study.gradients.weighted_sum(study.problem.weights)
        torch.testing.assert_close(alone.solve(V), curvature.solve(V))
        assert alone.gradients is None
        assert alone.on(study.gradients).problem is study.problem


def test_without_a_root_rows_are_selected_by_another():
    with study_case("mlp") as (_, gradients):
        for name in ("cg", "lissa"):
            curvature = build_curvature(name, gradients, DAMPING)
            assert curvature.selector().name == "ekfac"
            for method in (curvature.whiten, curvature.unwhiten):
                with pytest.raises(NotImplementedError, match=f"'{name}' has no root"):
                    method(torch.ones(curvature.dim))


class Toy(Curvature):
    """A multiple of the identity: what a new curvature takes to write."""

    name = "toy"

    def _fit(self):
        norms = [sum(f.rows().square().sum() for f in fs) for _, fs in self.gradients.each()]
        self.mean_eigenvalue = float(sum(norms)) / len(self.problem) / self.dim

    def whiten(self, V):
        return V / (self.mean_eigenvalue + self.ridge) ** 0.5

    unwhiten = whiten


@pytest.mark.parametrize("kind", CURVATURES)
def test_a_new_curvature_is_a_class_and_a_line_in_the_registry(kind, monkeypatch):
    X, y = load_iris(return_X_y=True)
    model = LinearProxy(curvature="toy")
    if kind == "layers":
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 3))
        model, X = TorchProxy(net, layers="all", curvature="toy"), torch.from_numpy(X).float()
    pruner = InfluencePruner(keep=0.4, model=model, random_state=0)
    with pytest.raises(ValueError, match=r"curvature='toy' is not one of .*; use 'auto', 'dense'"):
        pruner.fit(X, y)
    with pytest.raises(ValueError, match="curvature='toy' is not one of"):
        pruner.estimate_cost(X, y)
    monkeypatch.setitem(CURVATURES[kind], "toy", Toy)
    pruner.fit(X, y)
    assert len(pruner.sample_indices_) == 60
    assert "toy curvature" in str(pruner.report_)
    assert np.isfinite(pruner.group_influence([0, 1]).newton.loss)
