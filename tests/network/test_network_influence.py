"""The influence operator of a network against vectors that are written out."""

from __future__ import annotations

import pytest
import torch
from cases.networks import DEVICES, N, make_data, make_module, study, study_case, true_gradients

from skprune.curvature import build_curvature
from skprune.influence.ensemble import CurvatureEnsemble, Member
from skprune.influence.gradients import NetworkInfluence, network_influence
from skprune.influence.operator import DenseInfluence
from skprune.influence.stacked import StackedInfluence


def vectors_of(curvature, problem):
    """s_i by their definition, (n, p)."""
    A = problem.weights[:, None] * (true_gradients(problem) + problem.penalty * problem.theta)
    centred = A - problem.weights[:, None] * A.sum(0) / problem.total
    return curvature.whiten(centred) / problem.total**0.5


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("stored", [0, 10**9])
@pytest.mark.parametrize("name", ["dense", "ekfac", "lowrank", "diagonal"])
@pytest.mark.parametrize("case", ["mlp", "text"])
def test_operator_multiplies_the_vectors(case, name, stored, device):
    with study_case(case, device=device) as (problem, gradients):
        curvature = build_curvature(name, gradients, 0.05)
        S = vectors_of(curvature, problem)
        operator = network_influence(curvature, stored)
        assert isinstance(operator, DenseInfluence if stored else NetworkInfluence)
        assert (operator.n_rows, operator.dim) == (N, problem.dim)
        indices = torch.tensor([6, 2, 9], device=S.device)
        generator = torch.Generator().manual_seed(0)
        d = torch.randn(operator.dim, dtype=torch.float64, generator=generator).to(S)
        c = torch.rand(N, dtype=torch.float64, generator=generator).to(S)
        torch.testing.assert_close(operator.scores(d), S @ d)
        torch.testing.assert_close(operator.sum(indices), S[indices].sum(0))
        torch.testing.assert_close(operator.weighted_sum(c), c @ S)
        torch.testing.assert_close(operator.rows(indices), S[indices])
        torch.testing.assert_close(operator.squared_norms(), S.square().sum(1))
        # Whatever the network, removing everything or nothing makes no sum.
        every = torch.arange(N, device=S.device)
        assert float(operator.sum(every).norm()) < 1e-10
        assert float(operator.offset.norm()) == 0.0


def test_squared_sums_are_newton_decrements():
    with study_case("mlp") as (problem, gradients):
        curvature = build_curvature("dense", gradients, 0.05)
        operator = network_influence(curvature)
        removed = torch.tensor([0, 3, 4])
        g = true_gradients(problem)
        mean = problem.weights @ g / problem.total
        pull = problem.weights[removed] @ (g[removed] - mean)
        expected = pull @ curvature.solve(pull) / problem.total
        assert float(operator.sum(removed).square().sum()) == pytest.approx(float(expected))


def test_sums_over_a_few_rows_run_these_alone():
    module = make_module("mlp")
    X, targets = make_data("mlp")
    with study(module, X, targets) as (problem, gradients):
        gradients._too_large = True  # nothing is held, every product runs the network
        curvature = build_curvature("dense", gradients, 0.05)
        S = vectors_of(curvature, problem)
        operator = network_influence(curvature, 0)
        seen = []
        module.register_forward_pre_hook(lambda module, args: seen.append(len(args[0])))
        few = torch.tensor([8, 3, 3])
        torch.testing.assert_close(operator.sum(few), S[few].sum(0))
        assert sum(seen) == 2  # each once
        weights = torch.tensor([2.0, 0.5, 3.0])
        torch.testing.assert_close(operator.sum(few, weights), weights.to(S) @ S[few])


def test_float32_rows_keep_their_precision_in_sums():
    X, targets = make_data("mlp")
    with study(make_module("mlp").float(), X, targets) as (problem, gradients):
        operator = network_influence(build_curvature("ekfac", gradients, 0.05), 0)
        total = operator.sum(torch.arange(N))
        assert total.dtype == torch.float64
        assert float(total.norm()) < 1e-4 * operator.typical_norm()
        assert operator.scores(total).dtype == problem.theta.dtype


def test_an_ensemble_is_the_mean_of_its_members():
    X, targets = make_data("mlp")
    with study_case("mlp") as (_, first), study(make_module("mlp"), X, targets) as (p, second):
        p.theta += 0.3 * torch.randn(p.dim, dtype=torch.float64, generator=torch.manual_seed(0))
        second._cache = None
        curvatures = [build_curvature("ekfac", g, 0.05) for g in (first, second)]
        held_out = [c.problem.on(c.problem.rows, c.problem.targets) for c in curvatures]
        members = [Member(c, c, h) for c, h in zip(curvatures, held_out, strict=True)]
        ensemble = CurvatureEnsemble(members)
        operator = ensemble.influence()
        assert isinstance(operator, StackedInfluence)
        single = [network_influence(c) for c in curvatures]
        rows = torch.tensor([1, 5])
        S = torch.cat([o.rows(torch.arange(N)) for o in single], dim=1) / 2**0.5
        torch.testing.assert_close(operator.rows(rows), S[rows])
        torch.testing.assert_close(operator.sum(rows), S[rows].sum(0))
        torch.testing.assert_close(operator.squared_norms(), S.square().sum(1))
        d = torch.ones(operator.dim, dtype=torch.float64)
        torch.testing.assert_close(operator.scores(d), S @ d)
        c = torch.linspace(0, 1, N, dtype=torch.float64)
        torch.testing.assert_close(operator.weighted_sum(c), c @ S)
        removed = torch.zeros(2, N, dtype=torch.bool)
        removed[0, :2], removed[1, 4:6] = True, True
        found = ensemble.predict_removal(removed).losses
        alone = [m.predict_removal(removed).losses for m in members]
        torch.testing.assert_close(found, (alone[0] + alone[1]) / 2)
        scores = [m.row_scores() for m in members]
        torch.testing.assert_close(ensemble.row_scores(), (scores[0] + scores[1]) / 2)
        assert isinstance(CurvatureEnsemble(members[:1]).influence(), DenseInfluence)
    with pytest.raises(ValueError, match="at least one member"):
        StackedInfluence([])
