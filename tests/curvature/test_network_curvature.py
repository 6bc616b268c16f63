"""Curvatures of networks against dense float64 matrices, and against curvlinops."""

from __future__ import annotations

from functools import partial
from itertools import product

import numpy as np
import pytest
import torch
from cases.networks import DEVICES, N, make_data, make_module, study, study_case, true_gauss_newton
from torch import nn

from skprune.curvature import CURVATURES, CurvatureError, build_curvature, choose_curvature
from skprune.curvature.layers import columns
from skprune.curvature.layers.cg import forward_flops
from skprune.curvature.layers.lissa import LiSSACurvature
from skprune.curvature.layers.lowrank import LowRankCurvature
from skprune.losses.squared import SquaredError
from skprune.network.factors import Block
from skprune.utils import krylov

DAMPING = 0.05
NAMES = list(CURVATURES["layers"])
CASES = ["mlp", "conv", "text", "tied"]
#: Seconds each, for code that the other networks run through as well.
SLOW_PAIRS = [("hessian", "conv"), ("hessian", "text"), ("lissa", "conv")]


def matrix_of(curvature, M):
    """H^-1 of a curvature as a matrix."""
    return curvature.solve(torch.eye(len(M), dtype=M.dtype, device=M.device))


class LastStep(nn.Module):
    """The last step of a sequence."""

    def forward(self, x):
        return x[:, -1]


def inverse(M, ridge):
    return torch.linalg.inv(M + ridge * torch.eye(len(M), dtype=M.dtype, device=M.device))


def blocks_of(problem):
    """The slices of each module's parameters."""
    found = {}
    for name, where in problem.slices.items():
        found.setdefault(name.rpartition(".")[0], []).append(where)
    return {n: slice(s[0].start, s[-1].stop) for n, s in found.items()}


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("case", CASES)
def test_dense_and_cg_are_the_gauss_newton_matrix(case, device):
    with study_case(case, device=device) as (problem, gradients):
        M = true_gauss_newton(problem)
        truth = inverse(M, problem.penalty + DAMPING)
        dense = build_curvature("dense", gradients, DAMPING)
        torch.testing.assert_close(matrix_of(dense, M), truth)
        assert dense.mean_eigenvalue == pytest.approx(float(M.trace()) / len(M))
        cg = build_curvature("cg", gradients, DAMPING)
        cg.tolerance = 1e-10
        V = torch.randn(3, len(M), generator=torch.Generator().manual_seed(0)).to(M)
        torch.testing.assert_close(cg.solve(V), V @ truth, rtol=1e-6, atol=1e-7)
        torch.testing.assert_close(cg.solve(V[0]), truth @ V[0], rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize(
    "case", ["mlp", "tied", *(pytest.param(c, marks=pytest.mark.slow) for c in ("conv", "text"))]
)
def test_hessian_with_negative_eigenvalues_made_positive(case):
    with study_case(case) as (problem, gradients):
        identity = torch.eye(problem.dim, dtype=torch.float64)
        H = problem.hessian(identity) / problem.total
        values, vectors = torch.linalg.eigh((H + H.T) / 2)
        assert values[0] < 0
        bent = (values + problem.penalty).abs().clamp_min(0.2 * problem.penalty)
        expected = (vectors / (bent + DAMPING)) @ vectors.T
        curvature = build_curvature("hessian", gradients, DAMPING)
        torch.testing.assert_close(matrix_of(curvature, H), expected)


@pytest.mark.parametrize("case", CASES)
def test_diagonal_and_blocks_without_factors_are_exact(case):
    with study_case(case) as (problem, gradients):
        M = true_gauss_newton(problem)
        diagonal = build_curvature("diagonal", gradients, DAMPING)
        ones = torch.ones(problem.dim, dtype=M.dtype)
        expected = 1.0 / (M.diagonal() + problem.penalty + DAMPING)
        torch.testing.assert_close(diagonal.solve(ones), expected)
        kfac = build_curvature("kfac", gradients, DAMPING)
        found = kfac.solve(ones)
        plain = [t.parameter for t in kfac.treatments if t.how == "exact diagonal"]
        factored = {t.parameter for t in gradients.treatments if t.how == "factored"}
        assert factored | set(plain) == set(problem.slices)
        assert (factored & set(plain)) == ({"embed.weight"} if case == "text" else set())
        for name in plain:
            where = problem.slices[name]
            torch.testing.assert_close(found[where], expected[where])


@pytest.mark.parametrize("case", CASES)
def test_ekfac_has_the_diagonal_of_the_gauss_newton_matrix_in_its_basis(case):
    with study_case(case) as (problem, gradients):
        M = true_gauss_newton(problem)
        kfac = build_curvature("kfac", gradients, DAMPING)
        ekfac = build_curvature("ekfac", gradients, DAMPING)
        found = 0
        for block, basis, values in zip(
            gradients.blocks, ekfac._bases, ekfac._eigenvalues, strict=True
        ):
            if basis is None:
                continue
            found += 1
            index = torch.cat([torch.arange(s.start, s.stop) for s in block.slices])
            inverse_block = ekfac.solve(torch.eye(problem.dim, dtype=M.dtype))[index][:, index]
            # Its own inverse is diagonal in the basis, with the quadratic forms of M.
            U = basis.back(torch.eye(block.size, dtype=M.dtype))
            wide = torch.zeros(block.size, problem.dim, dtype=M.dtype)
            block.put(wide, U)
            torch.testing.assert_close((wide @ M * wide).sum(1), values)
            expected = wide.T @ (wide / (values + ekfac.ridge)[:, None])
            torch.testing.assert_close(inverse_block, expected[index][:, index])
        assert found

        # Of all diagonals in the basis it is the nearest, so nearer than K-FAC's.
        def error(curvature):
            H = torch.linalg.inv(matrix_of(curvature, M))
            H -= curvature.ridge * torch.eye(problem.dim, dtype=M.dtype)
            return sum(float((H - M)[s, s].norm()) ** 2 for s in blocks_of(problem).values())

        assert error(ekfac) <= error(kfac) * (1 + 1e-9)
        assert ekfac.mean_eigenvalue == pytest.approx(float(M.trace()) / problem.dim)


@pytest.mark.parametrize(
    ("loss", "outputs", "names"),
    [(SquaredError(), 3, ["kfac", "ekfac"]), (SquaredError(), 1, ["kfac", "ekfac"])],
)
@pytest.mark.parametrize("bias", [True, False])
def test_kronecker_products_are_exact_for_linear_models_of_squared_error(
    loss, outputs, names, bias
):
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(12, 4)), torch.from_numpy(rng.normal(size=(12, outputs)))
    with study(nn.Linear(4, outputs, bias=bias).double(), X, y, loss=loss) as (problem, gradients):
        M = true_gauss_newton(problem)
        for name in names:
            curvature = build_curvature(name, gradients, DAMPING)
            torch.testing.assert_close(matrix_of(curvature, M), inverse(M, DAMPING + 0.01))


def test_convolution_that_covers_its_input_is_a_linear_layer():
    X, targets = make_data("conv1d")
    flat = nn.Sequential(nn.Flatten(), nn.Linear(24, 2)).double()
    conv = nn.Sequential(nn.Conv1d(3, 2, 8), nn.Flatten()).double()
    with torch.no_grad():
        conv[0].weight.copy_(flat[1].weight.reshape(2, 3, 8))
        conv[0].bias.copy_(flat[1].bias)
    for name in ("kfac", "ekfac"):
        with study(flat, X, targets) as (problem, gradients):
            V = torch.randn(2, problem.dim, dtype=torch.float64, generator=torch.manual_seed(0))
            expected = build_curvature(name, gradients, DAMPING).solve(V)
        with study(conv, X, targets) as (_, gradients):
            found = build_curvature(name, gradients, DAMPING).solve(V)
        torch.testing.assert_close(found, expected)


def test_lissa_approaches_the_exact_solution():
    with study_case("mlp", batch_size=N) as (problem, gradients):
        v = problem.gradients()
        truth = inverse(true_gauss_newton(problem), 0.01 + 0.5) @ v
        lissa = build_curvature("lissa", gradients, 0.5)
        error = (lissa.solve(v) - truth).norm() / truth.norm()
        assert error < 0.2
        # Smaller steps average over more random batches.
        lissa.scale, lissa.depth = 8 * lissa.scale, 8 * lissa.depth
        assert (lissa.solve(v) - truth).norm() / truth.norm() < 0.5 * error


def test_lissa_raises_its_scale_when_it_diverges():
    with study_case("mlp", batch_size=N) as (problem, gradients):
        lissa = build_curvature("lissa", gradients, 0.2)
        scale = lissa.scale
        lissa.scale = scale / 16.0  # below half the largest eigenvalue: the recursion grows
        v = problem.gradients()
        truth = inverse(true_gauss_newton(problem), 0.01 + 0.2) @ v
        assert (lissa.solve(v) - truth).norm() < 0.5 * truth.norm()
        assert lissa.scale > scale / 16.0
        lissa.scale = 1e-12
        with pytest.raises(CurvatureError, match="diverges"):
            LiSSACurvature.solve(lissa, v)


def test_low_rank_finds_the_leading_eigenvectors_and_damps_the_rest():
    with study_case("conv") as (problem, gradients):
        M = true_gauss_newton(problem)
        full = LowRankCurvature(gradients, DAMPING)
        torch.testing.assert_close(matrix_of(full, M), inverse(M, full.ridge), rtol=1e-6, atol=1e-6)
        few = LowRankCurvature(gradients, DAMPING, rank=12)
        truth = torch.linalg.eigvalsh(M).flip(0)
        torch.testing.assert_close(few._l.flip(0)[:2], truth[:2], rtol=1e-3, atol=0.0)
        # Along what was not found it is a positive multiple of the identity, not infinite.
        v = torch.randn(problem.dim, dtype=M.dtype, generator=torch.manual_seed(0))
        v -= few._U.T @ (few._U @ v)
        torch.testing.assert_close(few.solve(v), v / (few._floor + few.ridge))
        assert 0.0 < few._floor < few._l.min()


@pytest.mark.parametrize("name", sorted({*NAMES} - {"lissa"}))  # its batches are its own
def test_batch_size_makes_no_difference(name):
    found = []
    for batch_size in (3, N):
        case = "mlp" if name == "hessian" else "conv"
        with study_case(case, batch_size=batch_size) as (problem, gradients):
            curvature = build_curvature(name, gradients, DAMPING)
            found.append(curvature.solve(problem.gradients()))
    # Two stopped solves agree to their tolerance.
    tolerance = {"rtol": 0.05, "atol": 0.05} if name == "cg" else {"rtol": 1e-6, "atol": 1e-7}
    torch.testing.assert_close(*found, **tolerance)


@pytest.mark.parametrize(
    ("name", "case"), [p for p in product(NAMES, ["mlp", "conv"]) if p not in SLOW_PAIRS]
)
def test_float32_is_enough(name, case):
    X, targets = make_data(case)
    solved = []
    for dtype in (torch.float64, torch.float32):
        with study(make_module(case).to(dtype), X, targets) as (problem, gradients):
            curvature = build_curvature(name, gradients, DAMPING)
            if name == "cg":
                curvature.tolerance = 1e-6
            solved.append(curvature.solve(problem.gradients()).double())
    torch.testing.assert_close(solved[1], solved[0], rtol=1e-2, atol=2e-3)


def test_default_damping_follows_the_spectrum():
    X, targets = make_data("mlp")
    with study(make_module("mlp"), X, targets, penalty=0.0) as (_, gradients):
        curvature = build_curvature("ekfac", gradients)
        assert curvature.ridge == pytest.approx(curvature.mean_eigenvalue)
        assert curvature.damped(0.0).ridge > 0.0


def test_a_large_penalty_needs_no_damping():
    X, targets = make_data("mlp")
    with study(make_module("mlp"), X, targets, penalty=3.0) as (_, gradients):
        curvature = build_curvature("ekfac", gradients)
        assert curvature.damping == 0.0
        assert curvature.ridge == 3.0


def test_indefinite_matrices_are_refused_with_advice():
    with study_case("mlp") as (problem, gradients):
        curvature = build_curvature("dense", gradients, DAMPING)
        M = curvature._found["M"]
        curvature._found = {"M": M - torch.eye(problem.dim, dtype=torch.float64)}
        with pytest.raises(CurvatureError, match="larger damping"):
            curvature.damped(0.1)
        M[3, 3] = float("nan")
        curvature._found = {"M": M}
        with pytest.raises(CurvatureError, match=r"'0\.weight' is not finite"):
            curvature.damped(0.1)


def test_a_system_that_is_not_solved_is_no_answer(monkeypatch):
    solve = partial(krylov.conjugate_gradients, max_iter=1)
    monkeypatch.setattr("skprune.curvature.base.conjugate_gradients", solve)
    with study_case("mlp", penalty=0.0) as (problem, gradients):
        cg = build_curvature("cg", gradients, 1e-9)
        v = torch.randn(problem.dim, dtype=torch.float64, generator=torch.manual_seed(0))
        with pytest.raises(CurvatureError, match="larger damping"):
            cg.solve(v)


def test_choice_by_size(monkeypatch):
    with study_case("mlp") as (problem, _):
        assert choose_curvature(problem) == "dense"
        monkeypatch.setattr("skprune.curvature.layers.dense.DENSE_PARAMETERS", 1)
        assert choose_curvature(problem) == "cg"
        monkeypatch.setattr("skprune.curvature.layers.cg.CG_COST", 1e3)
        assert choose_curvature(problem) == "ekfac"


def test_cost_of_conjugate_gradients_is_counted_or_not_trusted(monkeypatch):
    monkeypatch.setattr("skprune.curvature.layers.dense.DENSE_PARAMETERS", 1)
    steps = nn.Sequential(nn.Linear(6, 6), LastStep())
    with study(steps, np.zeros((4, 5, 6), "f"), torch.arange(4)) as (problem, _):
        assert forward_flops(problem) == 2 * 5 * 6 * 6  # one row of five steps
        assert choose_curvature(problem) == "cg"
    table = nn.Sequential(nn.Embedding(99, 6), LastStep())  # nothing is multiplied
    with study(table, np.zeros((4, 5), "i8"), torch.arange(4)) as (problem, _):
        assert choose_curvature(problem) == "ekfac"


def test_many_outputs_are_sampled():
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(400, 3)), torch.from_numpy(rng.integers(0, 70, 400))
    with study(nn.Linear(3, 70).double(), X, y, batch_size=400) as (problem, gradients):
        diagonal = build_curvature("diagonal", gradients, DAMPING)
        h = torch.softmax(problem.outputs(torch.from_numpy(X)), 1)
        expected = (problem.weights[:, None] * h * (1 - h)).sum(0) / problem.total
        torch.testing.assert_close(
            diagonal._eigenvalues[0].reshape(70, 4)[:, 3], expected, rtol=0.2, atol=0.0
        )


@pytest.mark.parametrize("name", ["kfac", "ekfac", "diagonal"])
def test_columns_of_many_rows_are_sampled(name, monkeypatch):
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(2000, 4)), torch.from_numpy(rng.integers(0, 5, 2000))
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.LayerNorm(6), nn.Linear(6, 5)).double()
    with study(net, X, y, batch_size=300) as (problem, gradients):
        V = torch.randn(8, problem.dim, dtype=torch.float64)
        exact = build_curvature(name, gradients, 1e-2).solve(V)
        monkeypatch.setattr(columns, "COLUMNS", 2 * len(y))
        sampled = build_curvature(name, gradients, 1e-2).solve(V)
    assert columns.random_columns(len(y), problem.n_outputs) == 2
    error = (sampled - exact).norm(dim=1) / exact.norm(dim=1)
    assert 1e-4 < float(error.max()) < 0.15


@pytest.mark.parametrize(
    ("n", "n_outputs", "expected"),
    [(3000, 10, 0), (4000, 10, 9), (50_000, 10, 1), (50_000, 1, 0), (100, 1000, 16), (100, 64, 0)],
)
def test_number_of_random_columns(n, n_outputs, expected):
    assert columns.random_columns(n, n_outputs) == expected


def test_a_layer_that_is_too_wide_is_left_to_the_diagonal(monkeypatch):
    monkeypatch.setattr("skprune.curvature.layers.kfac.WIDEST", 5)
    with study_case("mlp") as (problem, gradients):
        M = true_gauss_newton(problem)
        curvature = build_curvature("ekfac", gradients, DAMPING)
        how = {t.parameter: t.how for t in curvature.treatments}
        assert how == {"0.weight": "EK-FAC", "0.bias": "EK-FAC"} | dict.fromkeys(
            ["2.weight", "2.bias"], "exact diagonal"
        )
        ones = torch.ones(problem.dim, dtype=M.dtype)
        where = slice(problem.slices["2.weight"].start, problem.slices["2.bias"].stop)
        torch.testing.assert_close(
            curvature.solve(ones)[where], 1 / (M.diagonal()[where] + curvature.ridge)
        )


def test_blocks_take_and_put_are_inverse():
    block = Block("layer", (slice(5, 17), slice(2, 5)), (1, 3, 5), has_bias=True)
    V = torch.randn(2, 20)
    out = torch.zeros(2, 20)
    block.put(out, block.take(V))
    assert torch.equal(out[:, 2:17], V[:, 2:17])
    matrix = block.take(V).reshape(2, 3, 5)
    assert torch.equal(matrix[:, :, 4], V[:, 2:5])
    assert torch.equal(matrix[:, :, :4].reshape(2, 12), V[:, 5:17])


# Agreement with curvlinops, where it covers the network -----------------------------------------


@pytest.fixture
def plain():
    """An unweighted problem of an MLP, and its data as curvlinops takes them."""
    X, targets = make_data("mlp")
    module = make_module("mlp")
    data = [(torch.from_numpy(X[i : i + 4]), targets[i : i + 4]) for i in range(0, N, 4)]
    with study(module, X, targets, weighted=False) as (problem, gradients):
        yield module, data, problem, gradients


def dense_of(operator, dim):
    return operator @ torch.eye(dim, dtype=torch.float64)


def test_agreement_with_curvlinops_products(plain):
    curvlinops = pytest.importorskip("curvlinops")
    module, data, problem, _ = plain
    parameters = list(module.parameters())
    identity = torch.eye(problem.dim, dtype=torch.float64)
    ggn = curvlinops.GGNLinearOperator(module, nn.CrossEntropyLoss(), parameters, data)
    torch.testing.assert_close(problem.gauss_newton(identity) / N, dense_of(ggn, problem.dim))
    hessian = curvlinops.HessianLinearOperator(module, nn.CrossEntropyLoss(), parameters, data)
    torch.testing.assert_close(problem.hessian(identity) / N, dense_of(hessian, problem.dim))


@pytest.mark.parametrize("name", ["kfac", "ekfac"])
def test_agreement_with_curvlinops_kronecker_factors(plain, name):
    curvlinops = pytest.importorskip("curvlinops")
    module, data, problem, gradients = plain
    kind = {"kfac": curvlinops.KFACLinearOperator, "ekfac": curvlinops.EKFACLinearOperator}[name]
    operator = kind(
        module,
        nn.CrossEntropyLoss(),
        list(module.parameters()),
        data,
        fisher_type=curvlinops.FisherType.TYPE2,
        separate_weight_and_bias=False,
    )
    expected = inverse(dense_of(operator, problem.dim), DAMPING + problem.penalty)
    curvature = build_curvature(name, gradients, DAMPING)
    torch.testing.assert_close(matrix_of(curvature, expected), expected)
