"""A list of trained networks: every effect is the mean of what its members say alone."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from cases.modules import DEVICES, assert_untouched, blobs, mlp, state_of, train, trained_mlp
from cases.pruners import make_pruner
from sklearn.base import clone
from torch import nn

from skprune import InfluencePruner, TorchProxy
from skprune.influence.operator import DenseInfluence
from skprune.subset import select_rows

X, Y = blobs()
X_VAL, Y_VAL = blobs(n=50, seed=1)
REMOVED = np.arange(0, 120, 7)


def prune(model, *, held_out=True, **options):
    rows = {"X_val": X_VAL, "y_val": Y_VAL} if held_out else {}
    given = {"keep": 0.4, "layers": "all", "weight_decay": 0.01, "random_state": 0, **options}
    return make_pruner(model=model, **given).fit(X, Y, **rows)


def nets(n=3, dtype=torch.float64):
    return [trained_mlp(X, Y, seed=seed, dtype=dtype) for seed in range(n)]


def losses(net, step=None):
    """Cross-entropy of every held-out row at outputs that are linear in a step, by torch alone."""
    net, names = copy.deepcopy(net).eval(), [name for name, _ in net.named_parameters()]
    theta = tuple(p.detach() for p in net.parameters())

    def outputs(*parameters):
        given = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(net, given, torch.from_numpy(X_VAL).double())

    Z = outputs(*theta)
    if step is not None:
        parts = torch.from_numpy(step).split([p.numel() for p in theta])
        tangents = tuple(part.view_as(p) for part, p in zip(parts, theta, strict=True))
        Z = Z + torch.func.jvp(outputs, theta, tangents)[1]
    return nn.functional.cross_entropy(Z, torch.from_numpy(Y_VAL), reduction="none").detach()


# --- means over members --------------------------------------------------------------------------


@pytest.mark.parametrize("curvature", ["dense", "ekfac", "cg"])
@pytest.mark.parametrize("held_out", [True, False])
def test_scores_are_means(curvature, held_out):
    """Rows that are held out of the fitted ones are scored without themselves: a mean as well."""
    members = nets()
    together = prune(members, curvature=curvature, held_out=held_out)
    alone = [prune(net, curvature=curvature, held_out=held_out).scores_ for net in members]
    scale = np.abs(alone).max()
    np.testing.assert_allclose(together.scores_, np.mean(alone, axis=0), atol=1e-10 * scale)


@pytest.mark.parametrize("curvature", ["dense", "cg"])
def test_effects_of_groups_are_means(curvature):
    members = nets()
    found = prune(members, curvature=curvature).group_influence(REMOVED)
    alone = [prune(net, curvature=curvature).group_influence(REMOVED) for net in members]
    for method in ("influence", "newton"):
        change, changes = getattr(found, method), [getattr(a, method) for a in alone]
        assert change.loss == pytest.approx(np.mean([c.loss for c in changes]))
        mean = np.mean([c.predictions for c in changes], axis=0)
        np.testing.assert_allclose(change.predictions, mean)
        np.testing.assert_allclose(
            change.parameters, np.concatenate([c.parameters for c in changes])
        )


def test_the_gap_is_the_mean_change_of_every_held_out_row():
    members = nets()
    pruner = prune(members)
    gone = np.flatnonzero(~pruner.keep_mask_)
    changes = []
    for net in members:
        step = prune(net).group_influence(gone).newton.parameters
        changes.append(losses(net, step) - losses(net))
    mean = torch.stack(changes).mean(0).numpy()
    assert float(pruner.gap_) == pytest.approx(mean.mean())
    assert pruner.gap_.standard_error == pytest.approx(mean.std(ddof=1) / len(mean) ** 0.5)


def test_rows_are_chosen_for_all_members():
    """By the members' vectors side by side; no member's own choice balances as well for all."""
    members, last = nets(), {"layers": ["3"]}
    alone, together = [prune(net, **last) for net in members], prune(members, **last)
    vectors = []
    for single in alone:
        with single._proxy.networks.frozen():
            vectors.append(single._proxy.ensemble.influence().rows(torch.arange(len(Y))))
    joined = torch.cat(vectors, dim=1) / len(members) ** 0.5
    rng = np.random.default_rng([0, 48])
    chosen = select_rows(
        DenseInfluence(joined),
        48,
        solver="swap",
        groups=Y,
        minima=np.full(3, 16),  # classes keep their shares
        rng=rng,
        thorough=False,
    )
    np.testing.assert_array_equal(together.sample_indices_, chosen.indices)
    length, *others = (float(joined[p.sample_indices_].sum(0).norm()) for p in (together, *alone))
    assert length < min(others)


def test_the_start_prefers_what_is_hard_for_all():
    members, hardness = nets(), []
    for net in members:
        probabilities = copy.deepcopy(net).eval()(torch.from_numpy(X).double()).softmax(1)
        hardness.append((probabilities - torch.eye(3)[Y]).norm(dim=1).detach().numpy())
    named, given = (
        prune(members, sampling="el2n"),
        prune(members, sampling=np.mean(hardness, axis=0)),
    )
    np.testing.assert_array_equal(named.keep_mask_, given.keep_mask_)


@pytest.mark.parametrize("kind", [list, tuple])
def test_one_member_is_that_member(kind):
    (net,) = nets(1, torch.float32)
    for held_out in (True, False):
        one, alone = prune(kind([net]), held_out=held_out), prune(net, held_out=held_out)
        np.testing.assert_array_equal(one.scores_, alone.scores_)
        np.testing.assert_array_equal(one.sample_indices_, alone.sample_indices_)
        assert (one.gap_, one.gap_.standard_error) == (alone.gap_, alone.gap_.standard_error)
        effects = [p.group_influence(REMOVED).newton for p in (one, alone)]
        np.testing.assert_array_equal(effects[0].parameters, effects[1].parameters)
        assert (one.report_.model, one.report_.notes) == (alone.report_.model, alone.report_.notes)
    head, alone = prune(kind([net]), layers="head"), prune(net, layers="head")
    np.testing.assert_array_equal(head.scores_, alone.scores_)


def test_members_of_other_architectures():
    double = {"dtype": torch.float64}
    deep, flat = trained_mlp(X, Y, **double), nn.Sequential(nn.Linear(6, 3)).double()
    train(flat, torch.from_numpy(X).double(), torch.from_numpy(Y), nn.CrossEntropyLoss())
    pruner = prune([deep, flat])
    assert "2 networks" in str(pruner.report_)
    assert "83 parameters" in pruner.report_.model
    assert "21 parameters" in pruner.report_.model
    assert pruner.group_influence([1]).newton.parameters.shape == (83 + 21,)
    named = prune([deep, flat], layers=["0.weight"])
    alone = [prune(net, layers=["0.weight"]).scores_ for net in (deep, flat)]
    np.testing.assert_allclose(named.scores_, np.mean(alone, axis=0), atol=1e-12)


# --- what is handed in ---------------------------------------------------------------------------


@pytest.mark.parametrize("device", DEVICES)
def test_every_member_comes_back_as_it_was(device):
    members = nets(3, torch.float32)
    members[0].train()
    members[0](torch.from_numpy(X)).square().sum().backward()
    members[1].eval()[3].bias.requires_grad_(False)
    members[2][0].register_forward_hook(lambda module, args, output: output + 0.1)
    members.append(members[0])  # a network may count twice
    before = [state_of(net) for net in members]
    pruner = prune(members, device=device)
    pruner.group_influence([0, 5])
    with pytest.raises(FloatingPointError, match="not finite"):
        InfluencePruner(model=TorchProxy(members, layers="all"), keep=9).fit(
            np.full_like(X, np.nan), Y
        )
    for net, state in zip(members, before, strict=True):
        assert_untouched(net, state)
    assert len(pruner.sample_indices_) == 48


def test_clones_parameters_and_pickles():
    members = nets()
    pruner = prune(members)
    assert pruner.get_params()["model__net"] is members
    copied = clone(pruner)
    assert len(copied.model.net) == 3
    assert copied.model.net[0] is not members[0]
    copied.fit(X, Y, X_val=X_VAL, y_val=Y_VAL)
    np.testing.assert_array_equal(copied.scores_, pruner.scores_)
    loaded = pickle.loads(pickle.dumps(pruner))
    np.testing.assert_array_equal(loaded.keep_mask_, pruner.keep_mask_)
    assert "Sequential" in repr(pruner)


def trainer(dataset, seed):
    inputs, targets = dataset[:]
    return train(mlp(seed=seed), inputs.float(), targets, nn.CrossEntropyLoss(), steps=15)


def test_another_model_is_the_judge():
    pruner = prune(nets(2), verify=trainer, n_seeds=2)
    assert pruner.gap_.level == "retrained"
    with pytest.raises(TypeError, match=r"trained nn\.Module, and nothing says how"):
        prune(nets(2), verify="retrain")


def test_the_cost_counts_the_members():
    members = nets()
    one, three = (
        InfluencePruner(model=TorchProxy(model, layers="all"), keep=0.4).estimate_cost(X, Y)
        for model in (members[0], members)
    )
    assert three.bytes == 3 * one.bytes
    assert three.steps.keys() == one.steps.keys()
    with pytest.raises(ValueError, match="model holds 3"):
        InfluencePruner(model=members).estimate_cost(X, Y)


@pytest.mark.parametrize(
    ("model", "error", "message"),
    [
        ([], ValueError, "empty list"),
        ([mlp(), "softmax"], TypeError, r"model\[1\] is of type str"),
        ([trainer], TypeError, r"model\[0\] is of type function"),
        ([mlp(), nn.Linear], TypeError, r"model\[1\] is of type type"),
        ([mlp(), mlp(6, 4)], ValueError, "number of outputs.*got 3, 4"),
        ([mlp(), mlp(dtype=torch.float64)], ValueError, "precision.*float32, torch.float64"),
        ([mlp(), nn.ReLU()], ValueError, "ReLU has no parameters"),
    ],
)
def test_lists_that_are_no_ensemble(model, error, message):
    with pytest.raises(error, match=message):
        prune(model)


def test_skorch_nets_go_in_by_their_modules():
    skorch = pytest.importorskip("skorch")
    net = skorch.NeuralNetClassifier(mlp(), max_epochs=1, verbose=0, train_split=None)
    with pytest.raises(TypeError, match="give its module_"):
        prune([net, net])


def test_the_head_of_several_is_refused():
    with pytest.raises(ValueError, match="model holds 2; give one of them"):
        prune(nets(2), layers="head")
    with pytest.raises(ValueError, match="Fix the size"):
        prune(nets(2), keep=None)
