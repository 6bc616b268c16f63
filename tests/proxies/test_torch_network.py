"""layers="all" or some of them: networks of others go through, and objectives are torch's own."""

from __future__ import annotations

import copy
import pickle
import warnings
from contextlib import nullcontext

import numpy as np
import pytest
import torch
from cases.modules import (
    DEVICES,
    ImageNet,
    TextNet,
    Tied,
    assert_untouched,
    blobs,
    images,
    mlp,
    sentences,
    state_of,
    train,
    trained_mlp,
)
from cases.pruners import head_pruner, make_pruner
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skprune import InfluencePruner, PruningWarning, Retrain, TorchProxy
from skprune.data import table as tables
from skprune.data.table import Split
from skprune.losses.read import read_loss
from skprune.network import jacobian, layers, trace
from skprune.network.module import TorchModel, find_link
from skprune.network.reading import read_rows
from skprune.network.torch_model import Network
from skprune.proxies.layers import FittedLayers, TrainedNetworks
from skprune.utils.progress import Progress

pytestmark = pytest.mark.filterwarnings("ignore:.*nested tensor.*:UserWarning")


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


def prune(model, X, y=None, **options):
    return make_pruner(model=model, **{"keep": 0.4, "layers": "all", **options}).fit(X, y)


def own_loss(outputs, targets):
    """A loss of the caller's own."""
    return nn.functional.cross_entropy(outputs, targets, reduction="none")


# --- modules of others ---------------------------------------------------------------------------


@pytest.mark.parametrize("curvature", ["auto", "ekfac", "diagonal", "cg"])
def test_a_trained_module_is_untouched(curvature, device):
    X, y = blobs()
    net = trained_mlp(X, y).train()
    net(torch.from_numpy(X)).square().sum().backward()
    before = state_of(net)
    pruner = prune(net, X.astype(np.float64), y, curvature=curvature, device=device)
    assert_untouched(net, before)
    assert len(pruner.sample_indices_) == 48
    assert pruner.gap_.level == "predicted"
    assert np.isfinite(pruner.scores_).all()
    effect = pruner.group_influence([0, 5, 9])
    assert_untouched(net, before)
    assert effect.newton.parameters.shape == (6 * 8 + 8 + 8 * 3 + 3,)


def test_a_convolutional_network_and_a_transformer(device):
    X, y = images()
    net = ImageNet()
    train(net, torch.from_numpy(X).float(), torch.from_numpy(y), nn.CrossEntropyLoss())
    before = state_of(net)
    pruner = prune(net, X, y, device=device, curvature="ekfac")
    assert_untouched(net, before)
    assert len(pruner.sample_indices_) == 36
    X, y = sentences()
    net = TextNet()
    tensors = {k: torch.from_numpy(v) for k, v in X.items()}
    train(net, tensors, torch.from_numpy(y), nn.CrossEntropyLoss())
    before = state_of(net)
    pruner = prune(net, X, y, device=device, curvature="ekfac")
    assert_untouched(net, before)
    assert len(pruner.sample_indices_) == 32


def test_tied_weights_own_hooks_and_a_frozen_backbone():
    X, y = blobs(n_classes=6)
    net = Tied()
    train(net, torch.from_numpy(X), torch.from_numpy(y), nn.CrossEntropyLoss())
    net.down.register_forward_hook(lambda m, a, out: 2.0 * out)
    net.down.bias.requires_grad_(False)
    before = state_of(net)
    pruner = prune(net, X, y)
    assert_untouched(net, before)
    # One shared weight and one bias are what is trained.
    assert "42 parameters" in str(pruner.report_)


def test_the_module_is_put_back_after_an_error():
    X, y = blobs()
    net = trained_mlp(X, y).train()
    calls = []

    def fail(module, args, output):
        calls.append(1)
        if len(calls) > 6:
            raise KeyError("a bug of the user's")

    net[1].register_forward_hook(fail)
    before = state_of(net)
    with pytest.raises(KeyError, match="a bug"):
        prune(net, X, y)
    assert_untouched(net, before)


def test_precisions_agree():
    X, y = blobs()
    net = trained_mlp(X, y)
    double = prune(copy.deepcopy(net).double(), X, y, weight_decay=0.01)
    single = prune(net, X, y, weight_decay=0.01)
    scale = np.abs(double.scores_).max()
    np.testing.assert_allclose(single.scores_, double.scores_, atol=1e-3 * scale)
    assert (single.keep_mask_ == double.keep_mask_).mean() > 0.95


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    X, y = blobs()
    net = trained_mlp(X, y, dtype=dtype)
    before = state_of(net)
    half = prune(net, X, y, weight_decay=0.01)
    assert_untouched(net, before)
    single = prune(net.float(), X, y, weight_decay=0.01)
    assert np.corrcoef(half.scores_, single.scores_)[0, 1] > 0.98


def test_skorch_nets_fitted_and_not():
    skorch = pytest.importorskip("skorch")
    X, y = blobs()
    net = skorch.NeuralNetClassifier(
        mlp(6, 3, nn.Softmax(dim=1)), max_epochs=5, lr=0.1, verbose=0, train_split=None
    )
    pruner = prune(clone(net), X.astype(np.float64), y)
    assert len(pruner.sample_indices_) == 48
    net.fit(X, y)
    before = state_of(net.module_)
    prune(net, X, y)
    assert_untouched(net.module_, before)


# --- objectives ----------------------------------------------------------------------------------

CLASSES = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)
LOSSES = {
    "cross-entropy": (nn.CrossEntropyLoss(), 3, (), "classes"),
    "weights and smoothing": (
        nn.CrossEntropyLoss(weight=CLASSES, label_smoothing=0.2),
        3,
        (),
        "classes",
    ),
    "after softmax": (nn.CrossEntropyLoss(), 3, (nn.Softmax(dim=1),), "classes"),
    "nll": (nn.NLLLoss(weight=CLASSES), 3, (nn.LogSoftmax(dim=1),), "classes"),
    "labels": (nn.BCEWithLogitsLoss(weight=CLASSES, pos_weight=2 * CLASSES), 3, (), "labels"),
    "probabilities": (nn.BCELoss(), 3, (nn.Sigmoid(),), "labels"),
    "squares": (nn.MSELoss(), 3, (), "numbers"),
    "squares after a sigmoid": (nn.MSELoss(), 3, (nn.Sigmoid(),), "numbers"),
}


def targets_of(kind, y):
    rng = np.random.default_rng(5)
    return {
        "classes": y,
        "labels": (rng.random((len(y), 3)) < 0.4).astype(np.float64),
        "numbers": rng.normal(size=(len(y), 3)) + y[:, None],
    }[kind]


@pytest.mark.parametrize("name", LOSSES)
def test_the_objective_is_torchs_own(name):
    """Value per row, and the gradient with the penalty, for losses that torch averages."""
    loss, outputs, after, kind = LOSSES[name]
    X, y = blobs(n=40)
    net, decay = mlp(6, outputs, *after, dtype=torch.float64).eval(), 0.05
    table = read_rows(X, targets_of(kind, y), None, loss)
    model, network = TorchModel(net, "cpu"), Network(net, loss, decay)
    with model.frozen():
        networks = TrainedNetworks(network, [model], "all", "dense", None, None)
        fitted = FittedLayers(networks, table, Split(table, table, table, None), 256, Progress())
        problem = fitted.ensemble.members[0].problem
        shares = problem.loss.shares(table.y, problem.n_outputs).double()
        values, unit = problem.losses(), 1.0 / float(shares.mean())
        gradient = problem.gradients() / problem.total + problem.penalty * problem.theta
    t = torch.from_numpy(np.asarray(table.y))
    mean = loss(net(torch.from_numpy(X).double()), t)
    torch.testing.assert_close(unit * values.mean(), mean.detach())
    penalised = mean + 0.5 * decay * sum(p.square().sum() for p in net.parameters())
    expected = torch.autograd.grad(penalised, list(net.parameters()))
    torch.testing.assert_close(unit * gradient, torch.cat([g.reshape(-1) for g in expected]))


def test_an_own_loss_is_the_built_in_one():
    X, y = blobs()
    net = trained_mlp(X, y, dtype=torch.float64)
    own = prune(net, X, y, loss=own_loss, weight_decay=0.01)
    known = prune(net, X, y, loss=nn.CrossEntropyLoss(), weight_decay=0.01)
    np.testing.assert_allclose(own.scores_, known.scores_, rtol=1e-6, atol=1e-10)
    np.testing.assert_array_equal(own.keep_mask_, known.keep_mask_)
    by_name = prune(net, X, y, loss=own_loss, layers=["3"])
    assert "27 parameters" in str(by_name.report_)


def test_own_losses_that_do_not_reduce_per_row():
    X, y = blobs()
    with pytest.raises(ValueError, match='reduction="none"'):
        prune(mlp(), X, y, loss=lambda output, target: own_loss(output, target).mean())
    net, numbers = mlp(6, 1), y.astype(np.float64)

    def squares(outputs, targets):
        return (outputs - targets) ** 2

    with pytest.raises(ValueError, match=r"shape \(n, 1\)"):
        prune(net, X, numbers, loss=squares)
    options = {"weight_decay": 0.01, "random_state": 0}
    own = prune(net, X, numbers[:, None], loss=squares, **options)
    known = prune(net, X, numbers, loss=nn.MSELoss(), **options)
    unit = np.var(numbers)
    np.testing.assert_allclose(own.scores_, unit * known.scores_, rtol=1e-3, atol=1e-7)


def test_squared_errors_are_shares_of_the_variance():
    X, y = blobs()
    targets = targets_of("numbers", y)
    net = mlp(6, 3, dtype=torch.float64)
    scaled = copy.deepcopy(net)
    with torch.no_grad():
        scaled[3].weight.mul_(100.0)
        scaled[3].bias.mul_(100.0)
    last = {"layers": ["3"], "loss": nn.MSELoss(), "random_state": 0}
    a, b = prune(net, X, targets, **last), prune(scaled, X, 100.0 * targets, **last)
    assert float(a.gap_) == pytest.approx(float(b.gap_), rel=1e-5)
    np.testing.assert_allclose(a.scores_, b.scores_, rtol=1e-4, atol=1e-9)


class Pooled(nn.Module):
    """Probabilities that no linear layer makes."""

    def __init__(self, last):
        super().__init__()
        self.conv, self.last = nn.Conv2d(1, 3, 3), last

    def forward(self, x):
        return self.last(self.conv(x).mean((2, 3)))


@pytest.mark.parametrize(
    ("last", "link"),
    [
        (nn.Softmax(dim=1), "softmax"),
        (nn.Sigmoid(), "sigmoid"),
        (nn.LogSoftmax(dim=1), "identity"),
        (nn.Identity(), "identity"),
    ],
)
def test_probabilities_are_seen_in_the_outputs(last, link):
    X, y = images()
    torch.manual_seed(0)
    model = TorchModel(Pooled(last), "cpu")
    with model.frozen():
        # Not of the pixels themselves, of which one class may get all the probability.
        assert find_link(model, torch.from_numpy(X[:8]) / 255) == link
    if link == "softmax":  # what skorch's classifier is given
        loss = read_loss(nn.NLLLoss(), link, y, 3)
        out = model.module(torch.from_numpy(X).float() / 255)
        torch.testing.assert_close(
            loss.value(loss.logits(out), torch.from_numpy(y)), -out.log()[np.arange(len(y)), y]
        )


def test_a_few_logits_that_look_like_probabilities_are_none():
    class Flat(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv = nn.Conv2d(1, 3, 3)

        def forward(self, x):
            return self.conv(x).mean((2, 3), keepdim=True).squeeze(-1).squeeze(-1)

    model = TorchModel(Flat(), "cpu")
    with torch.no_grad():
        model.module.conv.weight.zero_()
        model.module.conv.bias.fill_(0.4)
    with model.frozen():
        assert find_link(model, torch.rand(8, 1, 6, 6)) == "identity"


# --- layers --------------------------------------------------------------------------------------


def test_layers_by_name_by_module_and_unknown_ones():
    X, y = blobs()
    net = trained_mlp(X, y)
    by_name = prune(net, X, y, layers=["0", "3.bias"])
    by_module = prune(net, X, y, layers=[net[0], net[3]])
    assert "59 parameters" in str(by_name.report_)
    assert "83 parameters" in str(by_module.report_)
    np.testing.assert_array_equal(prune(net, X, y).scores_, by_module.scores_)
    with pytest.raises(ValueError, match="no layer named 'fc'; it has '0'"):
        prune(net, X, y, layers=["fc"])
    with pytest.raises(ValueError, match="not part of the model"):
        prune(net, X, y, layers=[nn.Linear(2, 2)])
    with pytest.raises(ValueError, match="names no layer"):
        prune(net, X, y, layers=[])
    with pytest.raises(ValueError, match="has no parameters"):
        prune(net, X, y, layers=["1"])
    with pytest.raises(ValueError, match="layers"):
        prune(net, X, y, layers="3")


# --- data and what must not matter ---------------------------------------------------------------


def test_containers_batches_and_workers_do_not_matter():
    X, y = images()
    net = ImageNet()
    train(net, torch.from_numpy(X).float(), torch.from_numpy(y), nn.CrossEntropyLoss())
    dataset = TensorDataset(torch.from_numpy(X).float(), torch.from_numpy(y))
    options = {"curvature": "ekfac", "weight_decay": 0.01}
    base = prune(net, X, y, **options)
    loader = DataLoader(dataset, batch_size=16, shuffle=True, num_workers=1)
    for rows, targets, size in [(X, y, 7), (X, y, 1000), (dataset, None, 32), (loader, None, 50)]:
        other = prune(net, rows, targets, batch_size=size, **options)
        np.testing.assert_array_equal(other.sample_indices_, base.sample_indices_)
        np.testing.assert_allclose(
            other.scores_, base.scores_, rtol=0, atol=1e-4 * np.abs(base.scores_).max()
        )
    again = prune(net, X, y, **options)
    np.testing.assert_array_equal(again.scores_, base.scores_)
    assert len(prune(net, dataset, **options).subset_) == 36


def test_rows_without_weight_and_labels_in_words():
    X, y = blobs()
    net = trained_mlp(X, y)
    weights = np.ones(len(y))
    weights[::5] = 0
    words = np.array(["ant", "bee", "cat"])[y]
    pruner = InfluencePruner(model=TorchProxy(net, layers="all", weight_decay=0.01), keep=30)
    pruner.fit(X, words, sample_weight=weights)
    assert not pruner.keep_mask_[::5].any()
    counted = np.flatnonzero(weights)
    alone = clone(pruner).fit(X[counted], y[counted])
    np.testing.assert_array_equal(counted[alone.sample_indices_], pruner.sample_indices_)


def test_held_out_rows_of_the_user():
    X, y = blobs()
    X_val, y_val = blobs(seed=1)
    net = trained_mlp(X, y)
    held = TensorDataset(torch.from_numpy(X_val), torch.from_numpy(y_val))
    options = {"model": net, "keep": 0.5, "layers": "all", "weight_decay": 0.01}
    arrays = make_pruner(**options).fit(X, y, X_val=X_val, y_val=y_val)
    dataset = make_pruner(**options).fit(X, y, X_val=held)
    np.testing.assert_array_equal(arrays.scores_, dataset.scores_)
    with pytest.raises(ValueError, match="rows of shape"):
        make_pruner(**options).fit(X, y, X_val=X_val, y_val=np.eye(3)[y_val])


class Greedy(nn.Module):
    """Has no memory for more than so many rows."""

    def __init__(self, net, most):
        super().__init__()
        self.net, self.most = net, most

    def forward(self, x):
        if len(x) > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return self.net(x)


def test_batches_are_halved_where_memory_runs_out():
    X, y = blobs()
    net = trained_mlp(X, y)
    greedy = Greedy(net, 20)
    before = state_of(greedy)
    pruner = prune(greedy, X, y, weight_decay=0.01)
    assert_untouched(greedy, before)
    whole = prune(net, X, y, weight_decay=0.01)
    np.testing.assert_array_equal(pruner.sample_indices_, whole.sample_indices_)
    assert np.isfinite(pruner.group_influence([1, 2]).newton.loss)
    with pytest.raises(MemoryError, match="One row alone"):
        prune(Greedy(net, 0), X, y)


@pytest.mark.parametrize("batch_size", [1, 2])
def test_batches_smaller_than_what_is_checked(batch_size):
    X, y = blobs(n=40)
    net = trained_mlp(X, y).double()
    options = {"curvature": "ekfac", "weight_decay": 0.01, "random_state": 0}
    found = prune(net, X, y, batch_size=batch_size, **options)
    np.testing.assert_allclose(found.scores_, prune(net, X, y, **options).scores_, rtol=1e-8)


def test_nll_of_logits_is_refused():
    X, y = blobs(n=40)
    with pytest.raises(ValueError, match="is for log-probabilities"):
        prune(trained_mlp(X, y), X, y, loss=nn.NLLLoss())


def test_a_training_that_diverges_is_no_result():
    X, y = blobs(n=60)
    calls = []

    def train(dataset, seed):
        calls.append(seed)
        net = trained_mlp(X, y)
        if len(calls) > 1:
            nn.init.constant_(net[-1].weight, float("nan"))
        return net

    found = InfluencePruner(model=train, keep=0.5, verify=Retrain(n_seeds=1)).fit(X, y)
    assert np.isnan(found.gap_)
    assert "a training diverged" in found.report_.status


class Scaled(nn.Module):
    """A parameter that belongs to no layer with a factored form."""

    def __init__(self, net):
        super().__init__()
        self.net, self.scale = net, nn.Parameter(torch.ones(6))

    def forward(self, x):
        return self.net(x * self.scale)


@pytest.mark.parametrize("where", ["factored form", "vectorised map", "forward mode"])
def test_memory_that_runs_out_is_not_taken_for_something_else(where, monkeypatch):
    """Each place tries a form and goes on with a slower one where it fails."""
    X, y = blobs()
    net = Scaled(trained_mlp(X, y))
    options = {"curvature": "cg", "random_state": 0}
    expected = prune(net, X, y, batch_size=15, **options)
    owner, name = {
        "factored form": (trace.Layer, "inputs"),
        "vectorised map": (layers, "vmap"),
        "forward mode": (jacobian, "jvp"),
    }[where]
    original, calls = getattr(owner, name), []

    def fail_once(*args, **kwargs):
        calls.append(1)
        if len(calls) == 1:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
        return original(*args, **kwargs)

    monkeypatch.setattr(owner, name, fail_once)
    found = prune(net, X, y, batch_size=30, **options)
    assert len(calls) > 1
    np.testing.assert_array_equal(found.scores_, expected.scores_)


# --- the predictions -----------------------------------------------------------------------------


@pytest.mark.parametrize("curvature", ["cg", "lissa"])
def test_held_out_rows_are_not_paid_for_fitting_themselves(curvature, monkeypatch):
    """By curvatures without a root they are scored on most of the others, by "dense" on all."""
    X, y = blobs(n=300)
    net = trained_mlp(X, y).double()
    split, seen = tables.hold_out, []

    def hold_out(*args):
        seen.append(split(*args))
        return seen[-1]

    monkeypatch.setattr(tables, "hold_out", hold_out)
    options = {"weight_decay": 0.01, "random_state": 0}
    expected = prune(net, X, y, curvature="dense", **options).scores_
    found = prune(net, X, y, curvature=curvature, **options).scores_
    for rows in seen[0]:
        assert np.corrcoef(found[rows], expected[rows])[0, 1] > 0.97
        assert np.std(found[rows]) == pytest.approx(np.std(expected[rows]), rel=0.15)


def test_scores_predict_what_leaving_a_row_out_does():
    """A network of one linear layer at its optimum is the head that is refitted elsewhere."""
    X, y = blobs(n=90)
    X_val, y_val = blobs(n=60, seed=1)
    # A penalty that is large enough for the curvatures to be damped no further.
    net, decay = nn.Sequential(nn.Linear(6, 3)).double(), 0.6

    def fit(rows):
        model = copy.deepcopy(net)
        with torch.no_grad():
            for p in model.parameters():
                p.zero_()
        parameters, t = list(model.parameters()), torch.from_numpy(y[rows])
        inputs = torch.from_numpy(X[rows]).double()
        optimizer = torch.optim.LBFGS(
            parameters,
            max_iter=500,
            tolerance_grad=1e-11,
            tolerance_change=0,
            line_search_fn="strong_wolfe",
        )

        def closure():
            optimizer.zero_grad()
            value = nn.functional.cross_entropy(model(inputs), t)
            value = value + 0.5 * decay * sum(p.square().sum() for p in parameters)
            value.backward()
            return value

        optimizer.step(closure)
        held = model(torch.from_numpy(X_val).double())
        return model, float(nn.functional.cross_entropy(held, torch.from_numpy(y_val)).detach())

    model, loss = fit(np.arange(90))
    pruner = InfluencePruner(
        model=TorchProxy(model, layers="all", curvature="cg", weight_decay=decay), keep=0.5
    ).fit(X, y, X_val=X_val, y_val=y_val)
    assert float(str(pruner.report_).split("gradient norm ")[1].split()[0]) < 1e-8
    for row in np.argsort(-np.abs(pruner.scores_))[:3]:
        change = fit(np.delete(np.arange(90), row))[1] - loss
        assert pruner.scores_[row] == pytest.approx(change, rel=0.1)
    kept = fit(pruner.sample_indices_)[1] - loss
    assert float(pruner.gap_) == pytest.approx(kept, rel=0.1, abs=1e-4)
    removed = np.arange(0, 90, 9)
    effect = pruner.group_influence(removed)
    actual = fit(np.setdiff1d(np.arange(90), removed))[1] - loss
    assert effect.newton.loss == pytest.approx(actual, rel=0.1, abs=1e-5)


# --- budgets, retraining, persistence, messages --------------------------------------------------


def trainer(dataset, seed):
    """A callable that trains a small network on a dataset."""
    X, y = dataset[:]
    net = mlp(seed=seed)
    return train(net, X.float(), y, nn.CrossEntropyLoss(), steps=15)


def test_a_callable_is_trained_once_and_retrained_if_asked():
    X, y = blobs()
    pruner = prune(trainer, X, y)
    assert pruner.gap_.level == "predicted"
    pruner = prune(trainer, X, y, verify="retrain", n_seeds=2)
    assert pruner.gap_.level == "retrained"
    with pytest.raises(TypeError, match="returned a int"):
        prune(lambda dataset, seed: 3, X, y)
    with pytest.raises(TypeError, match=r"train\(dataset, seed\)"):
        prune(lambda dataset: trainer(dataset, 0), X, y)


def test_steps_as_large_as_the_layers_are_warned_of_once_where_the_user_is():
    X, y = blobs()
    with torch.random.fork_rng():
        torch.manual_seed(0)
        net = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3))
    with torch.no_grad():
        for p in net.parameters():
            p.mul_(0.01)
    with pytest.warns(PruningWarning, match="not to be believed") as caught:
        pruner = prune(net, X, y, curvature="dense", keep=0.1)
    doubts = [w for w in caught if "not to be believed" in str(w.message)]
    assert len(doubts) == 1
    assert doubts[0].filename == __file__
    assert "\n  diagnostic  " in str(pruner.report_)
    with pytest.warns(PruningWarning, match="not to be believed") as caught:
        pruner.group_influence(np.arange(90))
    assert caught[-1].filename == __file__


def test_what_cannot_be_known_without_training_is_refused():
    X, y = blobs()
    net = trained_mlp(X, y)
    with pytest.raises(ValueError, match="Fix the size"):
        prune(net, X, y, keep=None)
    with pytest.raises(ValueError, match="verify='refit'"):
        prune(net, X, y, verify="refit")
    with pytest.raises(ValueError, match="scoring='accuracy'"):
        prune(net, X, y, scoring="accuracy")
    with pytest.raises(TypeError, match="cannot be retrained"):
        prune(net, X, y, verify="retrain")


def test_pickling_cloning_and_priors():
    X, y = blobs()
    net = trained_mlp(X, y)
    pruner = prune(net, X, y, sampling="el2n", loss=own_loss)
    loaded = pickle.loads(pickle.dumps(pruner))
    np.testing.assert_array_equal(loaded.keep_mask_, pruner.keep_mask_)
    np.testing.assert_array_equal(clone(pruner).fit(X, y).keep_mask_, pruner.keep_mask_)
    assert len(prune(net, X, y, sampling="loss").sample_indices_) == 48


def test_numbers_that_are_not_finite_are_blamed():
    X, y = blobs()
    net = trained_mlp(X, y)
    broken = X.copy()
    broken[77, 2] = np.nan
    before = state_of(net)
    with pytest.raises(FloatingPointError, match="row 77 is not finite"):
        prune(net, broken, y)
    assert_untouched(net, before)
    with torch.no_grad():
        net[3].weight[0, 0] = float("inf")
    with pytest.raises(FloatingPointError, match=r"'3\.weight'"):
        prune(net, X, y)


@pytest.mark.parametrize("layers", ["head", "all"])
def test_validation_rows_that_the_module_does_not_take(layers):
    X, y = blobs()
    net = trained_mlp(X, y)
    before = state_of(net)
    with pytest.raises(ValueError, match=r"fails on rows like these, float32 \(1, 5\)") as caught:
        InfluencePruner(keep=0.4, model=TorchProxy(net, layers=layers)).fit(
            X, y, X_val=X[:, :5], y_val=y
        )
    assert isinstance(caught.value.__cause__, RuntimeError)
    assert_untouched(net, before)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_traced_module_refuses_rows_without_telling_what_it_takes():
    X, y = blobs()
    traced = torch.jit.trace(trained_mlp(X, y).eval(), torch.zeros(1, 6))
    with pytest.raises(ValueError, match=r"(?s)fails on rows like these.*was trained on\.$"):
        prune(traced, X[:, :5], y)


@pytest.mark.parametrize("words", ["DefaultCPUAllocator: can't allocate memory", "boom"])
def test_a_lack_of_memory_is_not_laid_on_the_rows(words):
    class Failing(nn.Linear):
        def forward(self, x):
            raise RuntimeError(words)

    model = TorchModel(Failing(6, 3))
    with pytest.raises(RuntimeError if "memory" in words else ValueError, match=words):
        model.check(torch.zeros(2, 6))


@pytest.mark.parametrize("layers", ["head", "all"])
def test_rows_that_the_module_does_not_take_are_refused_in_words(layers):
    X, y = blobs()
    net = trained_mlp(X, y)
    with pytest.raises(ValueError, match=r"Sequential fails on rows like these, float32 \(\d, 5\)"):
        prune(net, X[:, :5], y, layers=layers)
    with pytest.raises(ValueError, match="Sequential fails on rows like these"):
        InfluencePruner(model=TorchProxy(net, layers=layers)).estimate_cost(X[:, :5], y)
    text, y = sentences()
    with pytest.raises(ValueError, match=r"'ids'.*forward\(input_ids, attention_mask\)"):
        prune(TextNet(), {"ids": text["input_ids"]}, y, layers=layers)


def test_classes_and_layers_of_no_network_are_refused():
    X, y = blobs()
    with pytest.raises(TypeError, match=r"class ImageNet; pass an instance"):
        InfluencePruner(model=ImageNet).fit(X, y)
    for model in (None, "softmax", LogisticRegression(), ImageNet):
        with pytest.raises(ValueError, match="TorchProxy takes a trained"):
            InfluencePruner(keep=0.4, model=TorchProxy(model, layers="all")).fit(X, y)
        with pytest.raises(ValueError, match="TorchProxy takes a trained"):
            InfluencePruner(model=TorchProxy(model, layers="all")).estimate_cost(X, y)


def test_a_step_that_leaves_the_network_behind_warns():
    X, y = blobs()
    net = trained_mlp(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error", PruningWarning)
        prune(net, X, y, keep=0.9)
    with torch.no_grad():  # any step is long beside parameters of nearly nothing
        for parameter in net[3].parameters():
            parameter *= 1e-3
    with pytest.warns(PruningWarning, match="not to be believed"):
        prune(net, X, y, keep=0.1, layers=["3"])


class Recurrent(nn.Module):
    """An LSTM, which torch has no batching rule for."""

    def __init__(self):
        super().__init__()
        self.rnn, self.head = nn.LSTM(2, 4, batch_first=True), nn.Linear(4, 3)

    def forward(self, x):
        return self.head(self.rnn(x.reshape(-1, 3, 2))[0].mean(1))


def test_advice_on_vectorised_maps_does_not_reach_the_user():
    X, y = blobs(40)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)  # of a network that nobody trained
        warnings.filterwarnings("error", "There is a performance drop")
        prune(Recurrent(), X, y, curvature="cg")


@pytest.mark.skipif(torch.get_num_threads() == 1, reason="torch has one thread")
def test_networks_with_work_to_do_have_all_threads():
    X, y = blobs(400)
    seen = []

    class Wide(nn.Sequential):
        def forward(self, x):
            seen.append(torch.get_num_threads())
            return super().forward(x)

    prune(Wide(nn.Linear(6, 1000), nn.Linear(1000, 3)), X, y, layers="head")
    assert max(seen) == torch.get_num_threads()
    seen.clear()
    prune(Wide(nn.Linear(6, 3)), X, y, layers="head")
    assert set(seen) == {1}


@pytest.mark.parametrize("layers", ["head", "all"])
def test_classes_keep_their_shares_without_a_prior(layers):
    X, y = blobs(150)
    y = np.where(y == 2, 0, y)  # two thirds and one third
    pruner = prune(trained_mlp(X, y), X, y, keep=0.3, layers=layers)
    assert np.bincount(y[pruner.sample_indices_]).tolist() == [30, 15]
    prior = np.where(y == 1, 1.0, 1e-9)
    pruner = prune(trained_mlp(X, y), X, y, keep=0.3, layers=layers, sampling=prior)
    assert np.bincount(y[pruner.sample_indices_])[1] > 15


@pytest.mark.parametrize("seed", range(3))
def test_easy_and_hard_rows_keep_their_shares(seed):
    """A network that is trained on the rows learns more than its last layer from them."""
    X, y = blobs(1200)
    wrong = np.random.default_rng(seed).random(len(y)) < 0.25
    y = np.where(wrong, (y + 1) % 3, y)
    kept = prune(trained_mlp(X, y), X, y, keep=0.2, layers="head").sample_indices_
    for c in range(3):
        expected = 0.2 * np.sum(wrong & (y == c))
        assert np.sum(wrong[kept] & (y[kept] == c)) == pytest.approx(expected, abs=3)


@pytest.mark.parametrize("sampling", ["uniform", "loss"])
def test_random_rows_that_do_better_are_kept_unless_others_were_asked_for(sampling):
    X, y = blobs(300)
    pruned = []

    def spoilt_on_the_chosen(dataset, seed):
        inputs, labels = dataset[:]
        net = trained_mlp(inputs.numpy(), labels.numpy())
        if len(labels) < 240:
            pruned.append(labels)
            if len(pruned) <= 2:  # the rows chosen in the trial and among all, before random ones
                train(net, inputs, 2 - labels, nn.CrossEntropyLoss(), steps=200)
        return net

    options = {"layers": "head", "keep": 0.3, "verify": "retrain", "n_seeds": 2}
    kept = sampling == "uniform"
    said = r"loses less \([+-]0\.\d{4}\) .* take StratifiedRandom"
    with nullcontext() if kept else pytest.warns(PruningWarning, match=said):
        pruner = prune(spoilt_on_the_chosen, X, y, sampling=sampling, **options)
    assert pruner.report_.random_is_kept == kept
    assert pruner.report_.beaten_by_random != kept
    assert len(pruned) == 3  # in the trial, among all, and random ones, which are trained on once


def test_datasets_held_out_rows_and_class_weights_are_checked_in_words():
    X, y = blobs()
    net, rows = trained_mlp(X, y), TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    for given in (rows, DataLoader(rows)):
        with pytest.raises(ValueError, match="pass a network as model"):
            head_pruner(keep=0.4).fit(given)
    with pytest.raises(ValueError, match="X_val is given without y_val"):
        prune(net, X, y, layers="head").fit(X, y, X_val=X)
    with pytest.raises(ValueError, match="weights of 2 classes, and the module has 3 outputs"):
        prune(net, X, y, loss=nn.CrossEntropyLoss(weight=torch.ones(2)))
    with pytest.raises(ValueError, match="copies modules"):
        clone(InfluencePruner(keep=0.4, model=TorchProxy(net, layers=[net[3]]))).fit(X, y)


def test_an_estimate_counts_passes_and_products(monkeypatch):
    X, y = blobs(300, 20)
    monkeypatch.setattr("skprune.cost.probe.seconds_per_row", lambda run, rows: 1e-3)
    pruner = InfluencePruner(model=TorchProxy(trained_mlp(X, y), layers="all"), keep=0.4)
    steps = {}
    for curvature in ("auto", "dense", "ekfac", "cg", "lowrank"):
        steps[curvature] = pruner.set_params(model__curvature=curvature).estimate_cost(X, y).steps
    assert steps["ekfac"]["predict"] == pytest.approx(0.3 * 20, rel=0.02)
    assert steps["cg"]["predict"] == pytest.approx(0.3 * (20 + 3 * 60), rel=0.02)
    assert steps["ekfac"]["proxy"] == pytest.approx(2 * 0.3 * (3 + 1))  # three outputs
    assert steps["lowrank"]["proxy"] == pytest.approx(2 * 0.3 * (3 + 1 + 200))
    assert steps["auto"]["predict"] == steps["dense"]["predict"]
