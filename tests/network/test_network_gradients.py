"""Per-row gradients and products of networks, against autograd on the module row by row."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases.networks import (
    DEVICES,
    NETWORKS,
    N,
    Recurrent,
    make_data,
    make_module,
    rows_of,
    study,
    study_case,
    true_gauss_newton,
    true_gradients,
)
from torch import nn

from skprune.losses.cross_entropy import CrossEntropy
from skprune.network.parameters import choose_parameters

NAMES = list(NETWORKS)


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize("name", NAMES)
def test_products_with_all_rows(name, cached, device):
    with study_case(name, device=device) as (problem, gradients):
        if not cached:
            gradients._too_large = True
        truth = true_gradients(problem)
        generator = torch.Generator().manual_seed(3)
        U = torch.randn(2, problem.dim, generator=generator).to(truth)
        c = torch.randn(2, N, generator=generator).to(truth)
        indices = torch.tensor([7, 1, 1, 4], device=truth.device)
        torch.testing.assert_close(gradients.scores(U), U @ truth.T)
        torch.testing.assert_close(gradients.scores(U[0]), truth @ U[0])
        torch.testing.assert_close(gradients.weighted_sum(c), c @ truth)
        torch.testing.assert_close(gradients.weighted_sum(c[0]), c[0] @ truth)
        weights = problem.weights[indices]
        torch.testing.assert_close(gradients.sum(indices), weights @ truth[indices])
        torch.testing.assert_close(rows_of(gradients, indices), truth[indices])
        assert (gradients.cached() is None) is not cached


@pytest.mark.parametrize("name", NAMES)
def test_gauss_newton_products(name):
    with study_case(name) as (problem, _):
        M = true_gauss_newton(problem)
        identity = torch.eye(problem.dim, dtype=M.dtype)
        torch.testing.assert_close(problem.gauss_newton(identity) / problem.total, M)
        # Another set of rows for every vector, as groups that are removed have.
        keep = torch.ones(2, N, dtype=M.dtype)
        keep[0, :4], keep[1, 6:] = 0.0, 0.0
        V = torch.randn(2, problem.dim, dtype=M.dtype, generator=torch.Generator().manual_seed(0))
        together = problem.gauss_newton(V, keep)
        for v, k, found in zip(V, keep, together, strict=True):
            torch.testing.assert_close(found, problem.gauss_newton(v[None], k)[0])


@pytest.mark.parametrize("name", ["mlp", "conv", "text"])
def test_hessian_products(name):
    with study_case(name) as (problem, _):
        V = torch.randn(2, problem.dim, dtype=torch.float64, generator=torch.manual_seed(0))

        def objective(theta):
            return sum(
                batch.weights
                @ problem.loss.value(problem.outputs(batch.inputs, theta), batch.targets)
                for batch in problem.batches()
            )

        for v, found in zip(V, problem.hessian(V), strict=True):
            truth = torch.autograd.functional.hvp(objective, problem.theta, v)[1]
            torch.testing.assert_close(found, truth)


@pytest.mark.parametrize("name", NAMES)
def test_batch_size_makes_no_difference(name):
    with study_case(name, batch_size=3) as (problem, gradients):
        rows = rows_of(gradients, torch.arange(N))
        M = problem.gauss_newton(rows)
    with study_case(name, batch_size=N) as (problem, gradients):
        torch.testing.assert_close(rows_of(gradients, torch.arange(N)), rows)
        torch.testing.assert_close(problem.gauss_newton(rows), M)


@pytest.mark.parametrize("name", NAMES)
def test_the_module_is_left_alone(name):
    module = make_module(name).train()
    first = next(iter(module.parameters()))
    first.requires_grad_(False)
    before = {k: v.clone() for k, v in module.state_dict().items()}
    switches = torch.backends.mha.get_fastpath_enabled(), torch.backends.cuda.flash_sdp_enabled()
    X, targets = make_data(name)
    given = X.copy()
    with study(module, X, targets) as (problem, gradients):
        gradients.scores(problem.theta)
        assert problem.dim == sum(p.numel() for p in module.parameters()) - first.numel()
        assert all(not m._forward_hooks for m in module.modules())
    assert all(torch.equal(v, before[k]) for k, v in module.state_dict().items())
    assert all(m.training for m in module.modules())
    assert [p.requires_grad for p in module.parameters()][:2] == [False, True]
    assert all(p.grad is None for p in module.parameters())
    assert np.array_equal(X, given)
    assert switches == (
        torch.backends.mha.get_fastpath_enabled(),
        torch.backends.cuda.flash_sdp_enabled(),
    )


def test_every_parameter_is_listed_with_its_treatment():
    with study_case("text") as (problem, gradients):
        how = {t.parameter: t.how for t in gradients.treatments}
        assert list(how) == list(problem.slices)
        assert how["embed.weight"] == how["q.bias"] == how["out.weight"] == "factored"
        assert how["norm.weight"] == "row by row"
        assert how["place"].startswith("by automatic differentiation")
        assert how["layer.self_attn.in_proj_weight"].startswith("by automatic differentiation")
    with study_case("tied") as (_, gradients):
        how = {t.parameter: t.how for t in gradients.treatments}
        assert how["a.weight"].startswith("by automatic")  # its other use has no hook of its own
        assert how["twice.weight"] == "factored"
    # Its rows lie along the second dimension: noticed, not trusted.
    X, targets = make_data("recurrent")
    with study(Recurrent().double(), X, targets) as (_, gradients):
        how = {t.parameter: t.how for t in gradients.treatments}
        assert how["fc.weight"].startswith("by automatic")
        assert how["head.weight"] == "factored"


def test_layers_are_chosen_by_name_or_module():
    module = make_module("conv")
    names = list(choose_parameters(module, ["0", module[7]]))
    assert names == ["0.weight", "0.bias", "7.weight", "7.bias"]
    assert list(choose_parameters(module, ["7.bias"])) == ["7.bias"]
    X, targets = make_data("conv")
    with study(module, X, targets, layers=["3", "7.bias", "1"]) as (problem, gradients):
        torch.testing.assert_close(rows_of(gradients, torch.arange(N)), true_gradients(problem))
    with pytest.raises(ValueError, match="no layer named 'head'"):
        choose_parameters(module, ["head"])
    with pytest.raises(ValueError, match="has no parameters"):
        choose_parameters(module, [module[2]])
    with pytest.raises(ValueError, match="not part of the model"):
        choose_parameters(module, [nn.Linear(2, 2)])


def test_rows_that_influence_each_other_are_refused():
    class Centred(nn.Module):
        def __init__(self):
            super().__init__()
            self.shift = nn.Parameter(torch.ones(4))
            self.out = nn.Linear(4, 3)

        def forward(self, x):
            h = self.shift * x
            return self.out(torch.tanh(h - h.mean(0)))

    X, targets = make_data("mlp")
    with (
        pytest.raises(ValueError, match="depend on the other rows of its batch"),
        study(Centred().double(), X, targets),
    ):
        pass


def test_numbers_that_are_not_finite_are_blamed_on_their_source():
    X, targets = make_data("mlp")
    module = make_module("mlp")
    with torch.no_grad():
        module[2].bias[1] = float("nan")
    with pytest.raises(FloatingPointError, match=r"'2\.bias'"), study(module, X, targets):
        pass
    module = make_module("mlp").float()
    X = X.astype(np.float32)
    with study(module, X, targets, weighted=False) as (problem, _):
        problem.theta.mul_(1e30)
        X[3] = 1e30
        with pytest.raises(FloatingPointError, match=r"row 3 is not finite: layer '0'"):
            problem.on(type(problem.rows)(X), targets).losses()


def test_a_link_in_the_module_is_undone():
    X, targets = make_data("mlp")
    plain = make_module("mlp")
    linked = nn.Sequential(*plain, nn.Softmax(dim=1))
    with study(plain, X, targets) as (problem, gradients):
        rows = rows_of(gradients, torch.arange(N))
        M = problem.gauss_newton(rows)
    with study(linked, X, targets, loss=CrossEntropy("softmax")) as (problem, g):
        torch.testing.assert_close(rows_of(g, torch.arange(N)), rows)
        torch.testing.assert_close(problem.gauss_newton(rows), M)
