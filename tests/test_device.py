"""Every step on every device present, and on one that only pretends: the same numbers as here."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from cases.device import DEVICE, PretendedDevice
from cases.pruners import make_pruner

from skprune import InfluencePruner, LinearProxy
from skprune.curvature import CURVATURES, HeadGradients, build_curvature
from skprune.evaluation.held_out import HeldOut
from skprune.heads import features
from skprune.heads.encoding import HeadEncoder
from skprune.heads.linear_spec import read_model
from skprune.heads.problem import fit_head
from skprune.influence.gradients import HeadInfluence
from skprune.influence.leave_out import group_influence, leave_one_out
from skprune.influence.operator import DenseInfluence, SparseInfluence
from skprune.subset import SOLVERS, select_rows, solve_subset
from skprune.subset.balanced import Balance, balanced_rows

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


@pytest.fixture
def table(rng):
    """90 rows of 3 classes, float32."""
    X = rng.normal(size=(90, 4)).astype(np.float32)
    return X, (X @ rng.normal(size=(4, 3)) + rng.gumbel(size=(90, 3))).argmax(1)


def study(X, y, device, name):
    """All that is computed of a head on ``device``, as CPU tensors and arrays."""
    spec = read_model(None, "classification")
    encoder = HeadEncoder(spec, np.unique(y)).fit(X, y, np.ones(len(y)))
    w = np.linspace(0.5, 1.5, len(y))
    problem = encoder.problem(X, y, w, device=device)
    outer = np.arange(0, len(y), 3)
    rows = X[outer]
    validation = encoder.problem(rows, y[outer], w[outer], device=device)
    held_out = HeldOut(validation, encoder.loss_unit(problem), "loss", None)
    at_zero = build_curvature(
        "diagonal", HeadGradients(problem, problem.features.forward(problem.zeros()))
    )
    fit = fit_head(problem, at_zero.solve)
    curvature = build_curvature(name, HeadGradients(problem, fit.outputs))
    operator = HeadInfluence(problem, fit.theta, fit.outputs, curvature)
    groups = y.astype(np.int64)
    selection = select_rows(
        operator,
        len(y) // 3,
        solver="swap",
        groups=groups,
        minima=np.ones(3, dtype=np.int64),
        rng=np.random.default_rng(0),
        prior=None,
        start=None,
        thorough=True,
    )
    kept = torch.from_numpy(selection.indices)
    refit = fit_head(problem.subset(kept), curvature.solve, start=fit.theta)
    mask = torch.zeros(len(y), dtype=torch.bool)
    mask[kept] = True
    removal = group_influence(problem, fit.theta, curvature, held_out, ~mask)
    at = torch.from_numpy(outer)
    tensors = [
        fit.theta,
        operator.squared_norms(),
        operator.leverages(),
        operator.in_metric_of(kept).squared_norms(),
        leave_one_out(problem, operator, held_out, fit.theta, at),
        refit.theta,
    ]
    assert all(t.device.type == torch.device(device).type for t in tensors)
    gap = held_out.gap(fit.theta, refit.theta, "refit")
    arrays = [selection.indices, removal.newton.parameters, removal.newton.predictions, gap]
    arrays += [encoder.predict(fit.outputs), encoder.predict_proba(fit.outputs)]
    return [t.cpu().numpy() for t in tensors] + arrays


@pytest.mark.parametrize("sparse", [False, True])
@pytest.mark.parametrize("name", sorted(CURVATURES["head"]))
def test_nothing_is_on_the_wrong_device(name, sparse, table, monkeypatch):
    monkeypatch.setattr(features, "HELD_NUMBERS", 0)
    monkeypatch.setattr(features, "DEVICE_BLOCK_BYTES", 800)
    X, y = table
    X = sp.csr_matrix(X.astype(np.float64)) if sparse else X
    expected = study(X, y, "cpu", name)
    with PretendedDevice():
        found = study(X, y, DEVICE, name)
    # Rows are float32 there, of about 1, and summed in another order.
    rounding = np.finfo(np.float32).eps
    for other in (found, *(study(X, y, device, name) for device in DEVICES[1:])):
        for a, b in zip(other, expected, strict=True):
            np.testing.assert_allclose(a, b, rtol=2e-5, atol=rounding)


def test_devices_without_float64_are_refused():
    with pytest.raises(ValueError, match="no float64"):
        InfluencePruner(model=LinearProxy(device="mps")).fit(np.eye(8), np.arange(8) % 2)


def test_a_mistake_would_be_found():
    with PretendedDevice():
        there, here = torch.ones(3).to(DEVICE), torch.ones(3)
        for mistake in (
            lambda: there + here,
            lambda: here[torch.arange(2).to(DEVICE)],
            lambda: torch.mm(here[None], there[:, None]),
            there.numpy,
        ):
            with pytest.raises(RuntimeError):
                mistake()
        assert float((there + there).cpu().sum()) == 6.0


@pytest.mark.parametrize("solver", sorted(SOLVERS))
def test_solvers(solver, rng):
    S = torch.from_numpy(rng.normal(size=(12 if solver == "exact" else 60, 3)))
    given = {"size": 6, "solver": solver, "groups": np.arange(len(S)) % 3, "min_per_group": 1}
    expected = solve_subset(S, random_state=0, **given)
    with PretendedDevice():
        found = solve_subset(S.to(DEVICE), random_state=0, **given)
    np.testing.assert_array_equal(found.indices, expected.indices)
    for device in DEVICES[1:]:
        assert solve_subset(S.to(device), random_state=0, **given).norm <= 2 * expected.norm


def test_parts_on_two_devices_are_balanced_together(rng):
    dense = torch.from_numpy(rng.normal(size=(60, 3)))
    leaves = SparseInfluence(sp.csr_array(rng.random((60, 5)) < 0.3, dtype=np.float32))

    def choose(vectors):
        return balanced_rows(
            Balance([leaves, DenseInfluence(vectors)], [1.0, 1.0], np.linspace(0.1, 2.0, 60)),
            20,
            groups=np.arange(60) % 3,
            minima=np.full(3, 2),
            rng=np.random.default_rng(0),
        )

    expected = choose(dense)
    with PretendedDevice():
        found = choose(dense.to(DEVICE))
    np.testing.assert_array_equal(found.indices, expected.indices)
    np.testing.assert_allclose(found.weights, expected.weights)
    for device in DEVICES[1:]:
        assert choose(dense.to(device)).norm <= 2 * expected.norm


@pytest.mark.parametrize(
    "params",
    [{"keep": 0.3}, {"max_gap": 0.1}, {"keep": 0.3, "scoring": "accuracy", "sampling": "el2n"}],
    ids=str,
)
def test_the_pruner_after_the_same_rows_were_examined_here(params, table):
    X, y = table
    here = make_pruner(random_state=0, **params, device="cpu").fit(X, y)
    with PretendedDevice():
        there = make_pruner(random_state=0, **params, device=DEVICE).fit(X, y)
        newton = there.group_influence([1, 2, 3]).newton
    np.testing.assert_array_equal(there.sample_indices_, here.sample_indices_)
    np.testing.assert_allclose(there.scores_, here.scores_, rtol=1e-9)
    np.testing.assert_allclose(newton.loss, here.group_influence([1, 2, 3]).newton.loss, rtol=1e-6)
    for device in DEVICES[1:]:
        found = make_pruner(random_state=0, **params, device=device).fit(X, y)
        np.testing.assert_allclose(found.scores_, here.scores_, rtol=1e-4, atol=1e-9)
