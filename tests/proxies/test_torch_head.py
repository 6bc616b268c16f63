"""layers="head" of a torch model: the module comes back as it was, and the head is the optimum."""

from __future__ import annotations

import copy
import pickle
import warnings

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
from cases.pruners import make_pruner
from cases.rows import WithTargets
from sklearn.base import clone
from sklearn.datasets import make_regression
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skprune import InfluencePruner, PrunedClassifier, PrunedRegressor, TorchProxy
from skprune.baselines import HighestLoss
from skprune.network.encoding import FEATURES, NetworkEncoder
from skprune.network.module import TorchModel
from skprune.network.reading import read_rows
from skprune.network.torch_model import Network
from skprune.utils.exceptions import PruningWarning

pytestmark = pytest.mark.filterwarnings("ignore:.*nested tensor.*:UserWarning")


@pytest.fixture(params=DEVICES)
def device(request):
    return request.param


def prune(model, X, y=None, **options):
    return make_pruner(model=model, **{"keep": 0.4, **options}).fit(X, y)


# --- modules of others ---------------------------------------------------------------------------


def test_a_trained_module_in_train_mode_is_untouched(device):
    X, y = blobs()
    net = trained_mlp(X, y)
    net.train()
    net(torch.from_numpy(X)).square().sum().backward()  # the caller is accumulating gradients
    before = state_of(net)
    pruner = prune(net, X.astype(np.float64), y, device=device)
    assert_untouched(net, before)
    assert len(pruner.sample_indices_) == 48
    assert pruner.gap_.level == "refit"
    assert np.isfinite(pruner.scores_).all()


def test_a_convolutional_network_with_batch_norm(device):
    X, y = images()
    net = ImageNet()
    train(net, torch.from_numpy(X).float(), torch.from_numpy(y), nn.CrossEntropyLoss())
    before = state_of(net)
    pruner = prune(net, X, y, device=device)
    assert_untouched(net, before)
    as_floats = prune(net, X.astype(np.float32), y, device=device)
    np.testing.assert_array_equal(pruner.sample_indices_, as_floats.sample_indices_)


def test_a_transformer_with_named_inputs_and_an_object_with_logits(device):
    X, y = sentences()
    net = TextNet()
    tensors = {k: torch.from_numpy(v) for k, v in X.items()}
    train(net, tensors, torch.from_numpy(y), nn.CrossEntropyLoss())
    before = state_of(net)
    pruner = prune(net, X, y, device=device)
    assert_untouched(net, before)
    assert pruner.take(X["input_ids"]).shape == (32, 7)


def test_masks_stay_masks_in_a_module_without_embeddings():
    class Masked(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 2)

        def forward(self, x, mask):
            assert mask.dtype == torch.bool
            return self.fc(x.masked_fill(~mask[..., None], 0.0).sum(1))

    rng = np.random.default_rng(0)
    y = np.arange(40) % 2
    X = {"x": rng.normal(size=(40, 4, 3)) + y[:, None, None], "mask": rng.random((40, 4)) < 0.8}
    assert len(prune(Masked(), X, y).sample_indices_) == 16


@pytest.mark.parametrize("kind", [np.int64, np.int8, bool])
def test_whole_numbers_are_numbers_to_a_module_without_embeddings(kind):
    X, y = blobs()
    X = (2 * X).astype(kind)
    net = trained_mlp(X.astype(np.float32), y)
    np.testing.assert_array_equal(
        prune(net, X, y).keep_mask_, prune(net, X.astype(np.float32), y).keep_mask_
    )


def test_tied_weights_hooks_frozen_parts_and_keyword_calls():
    X, y = blobs(n_classes=6)
    net = Tied()
    train(net, torch.from_numpy(X), torch.from_numpy(y), nn.CrossEntropyLoss())
    seen = []
    net.down.register_forward_hook(lambda m, a, out: seen.append(len(out)) or 2.0 * out)
    net.down.bias.requires_grad_(False)
    forward = net.up.forward
    net.forward = lambda x: net.up(input=torch.tanh(net.down(x)))
    before = state_of(net)
    prune(net, X, y)
    assert_untouched(net, before)
    assert net.up.weight is net.down.weight
    assert seen
    assert net.up.forward == forward


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision(dtype):
    X, y = blobs()
    net = trained_mlp(X, y, dtype=dtype)
    before = state_of(net)
    half = prune(net, X, y)
    assert_untouched(net, before)
    single = prune(net.float(), X, y)
    # The features differ by the precision of the network alone.
    assert np.corrcoef(half.scores_, single.scores_)[0, 1] > 0.98


def test_double_and_single_precision_are_close():
    X, y = blobs()
    net = trained_mlp(X, y)
    single, double = prune(net, X, y), prune(copy.deepcopy(net).double(), X, y)
    scale = np.abs(double.scores_).max()
    np.testing.assert_allclose(single.scores_, double.scores_, atol=1e-5 * scale)
    np.testing.assert_array_equal(single.sample_indices_, double.sample_indices_)


def test_the_module_is_put_back_after_an_error():
    X, y = images()
    net = ImageNet().train()
    calls = []

    def fail(module, args):
        calls.append(1)
        if len(calls) > 3:  # once a few rows have gone through
            raise KeyError("a bug of the user's")

    net.classifier.register_forward_pre_hook(fail)
    before = state_of(net)
    with pytest.raises(KeyError, match="a bug"):
        prune(net, X, y, batch_size=8)
    assert_untouched(net, before)


def test_a_buffer_that_forward_replaces_is_put_back():
    class Counting(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(6, 3)
            self.register_buffer("seen", torch.zeros(()))

        def forward(self, x):
            self.seen = self.seen + len(x)
            return self.fc(x)

    X, y = blobs()
    net = Counting()
    before = state_of(net)
    prune(net, X, y)
    assert_untouched(net, before)


def test_random_states_are_not_touched():
    X, y = blobs()
    net = trained_mlp(X, y)
    torch_state, numpy_state = torch.get_rng_state(), np.random.get_state()  # noqa: NPY002
    prune(net, DataLoader(TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), shuffle=True))
    assert torch.equal(torch_state, torch.get_rng_state())
    assert np.array_equal(numpy_state[1], np.random.get_state()[1])  # noqa: NPY002


# --- skorch --------------------------------------------------------------------------------------


class Quickstart(nn.Module):
    """The classifier of skorch's quickstart."""

    def __init__(self, num_units=8):
        super().__init__()
        self.dense0 = nn.Linear(6, num_units)
        self.dropout = nn.Dropout(0.5)
        self.dense1 = nn.Linear(num_units, num_units)
        self.output = nn.Linear(num_units, 3)
        self.softmax = nn.Softmax(dim=-1)

    def forward(self, X):
        X = self.dropout(torch.relu(self.dense0(X)))
        return self.softmax(self.output(torch.relu(self.dense1(X))))


class OneOutput(nn.Module):
    """Outputs of shape (b,) for binary classes, (b, 1) for regression."""

    def __init__(self, flat=True):
        super().__init__()
        self.fc = nn.Linear(6, 8)
        self.out = nn.Linear(8, 1)
        self.flat = flat

    def forward(self, X):
        Z = self.out(torch.tanh(self.fc(X)))
        return Z.squeeze(-1) if self.flat else Z


def quickstart(**options):
    skorch = pytest.importorskip("skorch")
    return skorch.NeuralNetClassifier(
        Quickstart, **{"max_epochs": 5, "lr": 0.1, "verbose": 0, "train_split": None, **options}
    )


def test_skorch_classifier_fitted_and_not():
    X, y = blobs()
    net = quickstart()
    torch.manual_seed(0)
    net.fit(X, y)
    before = state_of(net.module_)
    fitted = prune(net, X.astype(np.float64), y)
    assert_untouched(net.module_, before)
    assert "softmax" in str(fitted.report_)
    fresh = clone(net)
    pruner = prune(fresh, X.astype(np.float64), y)
    assert not getattr(fresh, "initialized_", False)
    np.testing.assert_array_equal(pruner.keep_mask_, prune(clone(net), X, y).keep_mask_)


def test_skorch_regressor_and_binary_classifier():
    skorch = pytest.importorskip("skorch")
    X, y = make_regression(100, 6, noise=5.0, random_state=0)
    X, y = X.astype(np.float32), (y / y.std()).astype(np.float32)[:, None]
    net = skorch.NeuralNetRegressor(
        OneOutput, module__flat=False, max_epochs=20, verbose=0, optimizer__weight_decay=0.01
    )
    pruner = prune(net, X, y, scoring="r2")
    assert pruner.gap_.scoring == "r2"
    assert not hasattr(pruner, "classes_")
    net = skorch.NeuralNetBinaryClassifier(OneOutput, max_epochs=20, verbose=0)
    labels = (y[:, 0] > 0).astype(np.int64)
    for given in (labels, labels.astype(np.float32)):
        pruner = prune(net, X, given, scoring="roc_auc")
        np.testing.assert_array_equal(pruner.classes_, [0, 1])


def test_skorch_net_trained_on_a_dataset():
    X, y = blobs()
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    subset = InfluencePruner(model=quickstart(), keep=0.5).fit_transform(dataset)
    assert len(subset) == 60


@pytest.mark.parametrize("n_jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
def test_grid_search_over_keep_with_a_skorch_net(n_jobs):
    X, y = blobs()
    pruned = PrunedClassifier(quickstart(), InfluencePruner(model=trained_mlp(X, y)))
    search = GridSearchCV(pruned, {"pruner__keep": [0.3, 0.6]}, cv=2, n_jobs=n_jobs).fit(X, y)
    assert len(search.best_estimator_.sample_indices_) in (36, 72)
    assert search.predict(X).shape == y.shape


def test_a_skorch_net_is_examined_itself():
    X, y = blobs()
    net = quickstart()
    pruned = PrunedClassifier(net, InfluencePruner(keep=0.4)).fit(X, y)
    np.testing.assert_array_equal(pruned.sample_indices_, prune(net, X, y).sample_indices_)
    assert not getattr(net, "initialized_", False)
    assert pruned.predict(X).shape == y.shape
    assert PrunedClassifier(net, HighestLoss(0.4)).fit(X, y).pruner_.model == "softmax"
    skorch = pytest.importorskip("skorch")
    net = skorch.NeuralNetRegressor(OneOutput, module__flat=False, max_epochs=2, verbose=0)
    regressor = PrunedRegressor(net, InfluencePruner(keep=0.4)).fit(X, X[:, :1])
    assert "OneOutput" in repr(regressor.pruner_.model)


# --- losses --------------------------------------------------------------------------------------


def head_of(net, X, y, loss, weight_decay, weights=None):
    """The head's problem, its fit from zeros by the package, and the encoder."""
    from skprune.curvature import HeadGradients, build_curvature
    from skprune.heads.problem import fit_head

    table = read_rows(X, y, weights, loss)
    encoder = NetworkEncoder(Network(net, loss, weight_decay), "cpu", "auto", 0)
    encoder.fit(table.X, table.y, table.weights)
    problem = encoder.problem(table.X, table.y, table.weights)
    start = problem.zeros()
    Z = problem.features.forward(start)
    curvature = build_curvature("dense", HeadGradients(problem, Z))
    return encoder, problem, fit_head(problem, curvature.solve)


def lbfgs(features, layer, objective):
    """Minimise a function of the layer's outputs and (weight, bias) with torch's own L-BFGS."""
    theta = [torch.zeros_like(layer.weight), torch.zeros_like(layer.bias)]
    theta = [t.requires_grad_() for t in theta]
    optimizer = torch.optim.LBFGS(
        theta,
        max_iter=2000,
        tolerance_grad=1e-12,
        tolerance_change=0,
        line_search_fn="strong_wolfe",
    )

    def closure():
        optimizer.zero_grad()
        value = objective(nn.functional.linear(features, *theta))
        value = value + 0.5 * DECAY * sum(t.square().sum() for t in theta)
        value.backward()
        return value

    optimizer.step(closure)
    return torch.cat([theta[0].detach().T, theta[1].detach()[None]]), float(closure().detach())


DECAY = 0.02
CLASSES = torch.tensor([0.5, 2.0, 1.5], dtype=torch.float64)
LOSSES = {
    "cross-entropy": (nn.CrossEntropyLoss(), 3, (), "classes"),
    "smoothed": (nn.CrossEntropyLoss(label_smoothing=0.2), 3, (), "classes"),
    "class weights": (nn.CrossEntropyLoss(weight=CLASSES), 3, (), "classes"),
    "both": (nn.CrossEntropyLoss(weight=CLASSES, label_smoothing=0.2), 3, (), "classes"),
    "nll": (nn.NLLLoss(weight=CLASSES), 3, (nn.LogSoftmax(dim=1),), "classes"),
    "binary": (nn.BCEWithLogitsLoss(), 1, (), "binary"),
    "pos_weight": (nn.BCEWithLogitsLoss(pos_weight=3 * CLASSES[:1]), 1, (), "binary"),
    "soft pos_weight": (nn.BCEWithLogitsLoss(pos_weight=3 * CLASSES[:1]), 1, (), "shares"),
    "weight": (nn.BCEWithLogitsLoss(weight=CLASSES[1:2]), 1, (), "binary"),
    "sigmoid": (nn.BCELoss(), 1, (nn.Sigmoid(),), "binary"),
    "labels": (nn.BCEWithLogitsLoss(), 3, (), "labels"),
    "squared": (nn.MSELoss(), 1, (), "number"),
    "squares": (nn.MSELoss(), 2, (), "numbers"),
}


def targets_of(kind, X, y):
    rng = np.random.default_rng(5)
    noise = rng.normal(size=(len(y), 2))
    return {
        "classes": y,
        "binary": (y > 0).astype(np.float64),
        "shares": rng.random(len(y)),
        "labels": (noise @ rng.normal(size=(2, 3)) > 0).astype(np.float64),
        "number": 40.0 * y + noise[:, 0],
        "numbers": np.stack([y, 1000.0 + 9.0 * y], axis=1) + noise,
    }[kind]


@pytest.mark.parametrize("name", LOSSES)
def test_the_head_is_the_optimum_of_the_users_own_objective(name):
    loss, outputs, after, kind = LOSSES[name]
    X, y = blobs(n=80)
    net = mlp(6, outputs, *after, dtype=torch.float64).eval()
    y = targets_of(kind, X, y)
    encoder, problem, fit = head_of(net, X, y, loss, DECAY)
    layer, last = net[3], nn.Sequential(*net[4:])
    features = net[:3](torch.from_numpy(X).double()).detach()
    t = torch.from_numpy(np.asarray(y))
    t = t if kind == "classes" else t.reshape(len(t), -1)
    theta, value = lbfgs(features, layer, lambda Z: loss(last(Z), t))
    scale = float(theta.abs().max())
    torch.testing.assert_close(encoder.target_scale * fit.theta, theta, rtol=0, atol=1e-6 * scale)
    # In the unit that gaps are reported in, the mean loss is torch's own.
    Z = problem.features.forward(fit.theta)
    held = problem.weights @ problem.loss.value(Z, problem.targets) / problem.weights.sum()
    plain = float(loss(last(features @ theta[:-1] + theta[-1]), t))
    if kind in ("number", "numbers"):
        plain /= float(np.asarray(y).reshape(len(y), -1).var(axis=0).mean())
    elif kind == "shares" or loss.__class__ is nn.CrossEntropyLoss:
        # The head's losses leave out the entropy of soft targets' factors; differences agree.
        Z0 = torch.zeros_like(Z)
        base = problem.weights @ problem.loss.value(Z0, problem.targets) / problem.weights.sum()
        held, plain = held - base, plain - float(loss(last(torch.zeros_like(Z)), t))
    assert float(held) * encoder.loss_unit(problem) == pytest.approx(plain, rel=1e-6)
    assert value >= 0


def test_row_weights_enter_as_repeated_rows():
    X, y = blobs(n=40)
    net = mlp(dtype=torch.float64)
    weights = np.random.default_rng(0).integers(1, 4, len(y))
    rows = np.repeat(np.arange(len(y)), weights)
    loss = nn.CrossEntropyLoss(weight=CLASSES)
    once = head_of(net, X, y, loss, DECAY, weights)[2]
    repeated = head_of(net, X[rows], y[rows], loss, DECAY)[2]
    torch.testing.assert_close(once.theta, repeated.theta, rtol=0, atol=1e-8)


def test_a_polished_head_gets_no_further_and_says_how_far_it_was():
    X, y = blobs()
    net = trained_mlp(X, y, dtype=torch.float64)
    _, _, fit = head_of(net, X, y, nn.CrossEntropyLoss(), DECAY)
    with torch.no_grad():
        net[3].weight.copy_(fit.theta[:-1].T)
        net[3].bias.copy_(fit.theta[-1])
    notes = dict(
        head_of(net, X, y, nn.CrossEntropyLoss(), DECAY)[0].notes(
            *head_of(net, X, y, nn.CrossEntropyLoss(), DECAY)[1:]
        )
    )
    assert "moved by 0%" in notes["layer"]


@pytest.mark.parametrize(
    ("loss", "after", "y", "message"),
    [
        (nn.MSELoss(), (nn.Sigmoid(),), "numbers", "sigmoid"),
        (nn.CrossEntropyLoss(), (nn.Softmax(dim=1),), "classes", "softmax"),
        (nn.NLLLoss(), (), "classes", "NLLLoss does not go"),
        (nn.BCELoss(), (), "labels", "sigmoid"),
        (nn.BCEWithLogitsLoss(pos_weight=CLASSES), (), "labels", "name the layer"),
        (lambda output, target: output.sum(1), (), "classes", "name the layer"),
        (nn.HuberLoss, (), "classes", "loss must be"),
        (None, (), "one-hot", "exactly one 1"),
        (nn.CrossEntropyLoss(), (), "one-hot", "argmax"),
        (nn.CrossEntropyLoss(ignore_index=1), (), "classes", "ignore_index=1"),
        (nn.CrossEntropyLoss(), (), "shares", "class numbers"),
        (nn.CrossEntropyLoss(), (), "labels", "one class number"),
        (nn.MSELoss(), (), "number", "1 column"),
        (nn.BCEWithLogitsLoss(), (), "numbers3", "from 0 to 1"),
        (None, (nn.Sigmoid(),), "classes", "loss="),
    ],
)
def test_losses_that_do_not_go_with_module_or_targets(loss, after, y, message):
    X, codes = blobs()
    if y == "numbers3":
        targets = np.stack([codes] * 3, axis=1) * 1.5
    elif y == "one-hot":
        targets = np.eye(3, dtype=np.float32)[codes]
    elif y == "numbers":
        targets = np.stack([codes] * 3, axis=1) / 2.0
    else:
        targets = targets_of(y, X, codes)
    with pytest.raises((ValueError, TypeError), match=message):
        prune(mlp(6, 3, *after), X, targets, loss=loss)


@pytest.mark.parametrize("loss", [nn.CrossEntropyLoss, nn.functional.cross_entropy])
def test_classes_and_functions_stand_for_the_module(loss):
    X, y = blobs()
    net = trained_mlp(X, y)
    expected = prune(net, X, y, loss=nn.CrossEntropyLoss())
    np.testing.assert_array_equal(prune(net, X, y, loss=loss).scores_, expected.scores_)


def test_scores_and_gap_have_the_unit_of_torchs_own_loss():
    X, y = blobs()
    net, loss = mlp(dtype=torch.float64), nn.CrossEntropyLoss(weight=CLASSES)
    X_val, y_val = blobs(seed=1)
    pruner = InfluencePruner(model=TorchProxy(net, loss=loss, weight_decay=DECAY), keep=0.5)
    pruner.fit(X, y, X_val=X_val, y_val=y_val)
    features = net.eval()[:3](torch.from_numpy(X).double()).detach()
    held = net[:3](torch.from_numpy(X_val).double()).detach()

    def held_loss(rows):
        t = torch.from_numpy(y[rows])
        theta, _ = lbfgs(features[rows], net[3], lambda Z: loss(Z, t))
        return float(loss(held @ theta[:-1] + theta[-1], torch.from_numpy(y_val)))

    everything = held_loss(np.arange(len(y)))
    assert float(pruner.gap_) == pytest.approx(
        held_loss(pruner.sample_indices_) - everything, abs=2e-6
    )
    rows = np.argsort(-np.abs(pruner.scores_))[:3]
    for row in rows:
        left = held_loss(np.delete(np.arange(len(y)), row)) - everything
        assert pruner.scores_[row] == pytest.approx(left, rel=0.1)


# --- data ----------------------------------------------------------------------------------------


def test_all_containers_keep_the_same_rows(tmp_path):
    X, y = blobs()
    net = trained_mlp(X, y)
    expected = prune(net, X, y)
    dataset = TensorDataset(torch.from_numpy(X), torch.from_numpy(y))
    own = WithTargets(X, y)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    given = [
        (torch.from_numpy(X), torch.from_numpy(y)),
        (dataset, None),
        (own, None),
        (DataLoader(dataset, batch_size=16, shuffle=True), None),
        (DataLoader(own, batch_size=16, shuffle=True, num_workers=1), None),
        (mapped, y[:, None]),
        (X.tolist(), y.tolist()),
        (X, y.astype(np.int32)),
        ((X,), y),
    ]
    for rows, targets in given:
        pruner = prune(net, rows, targets, batch_size=32)
        np.testing.assert_array_equal(pruner.sample_indices_, expected.sample_indices_)
    subset = prune(net, own).subset_
    assert subset.classes == ["a", "b", "c"]
    assert subset.targets == y[expected.sample_indices_].tolist()
    assert torch.equal(subset[0][0], own[expected.sample_indices_[0]][0])
    with pytest.raises(AttributeError, match="fit\\(dataset\\)"):
        _ = expected.subset_


def test_hugging_face_dataset_is_selected():
    datasets = pytest.importorskip("datasets")
    X, y = sentences()
    net = TextNet()
    table = datasets.Dataset.from_dict({**{k: v.tolist() for k, v in X.items()}, "label": y})
    pruner = InfluencePruner(model=net, keep=0.5)
    kept = pruner.fit_transform(table)
    assert isinstance(kept, datasets.Dataset)
    assert kept["label"] == y[pruner.sample_indices_].tolist()
    np.testing.assert_array_equal(pruner.keep_mask_, prune(net, X, y, keep=0.5).keep_mask_)


def test_validation_rows_as_a_dataset():
    X, y = blobs()
    X_val, y_val = blobs(seed=1)
    net = trained_mlp(X, y)
    arrays = InfluencePruner(model=net, keep=0.5).fit(X, y, X_val=X_val, y_val=y_val)
    held = TensorDataset(torch.from_numpy(X_val), torch.from_numpy(y_val))
    dataset = InfluencePruner(model=net, keep=0.5).fit(X, y, X_val=held)
    assert float(arrays.gap_) == float(dataset.gap_)
    np.testing.assert_array_equal(arrays.scores_, dataset.scores_)


def test_rows_without_weight_are_not_kept_and_change_nothing():
    X, y = blobs()
    net = trained_mlp(X, y)
    weights = np.ones(len(y))
    weights[::5] = 0
    pruner = InfluencePruner(model=net, keep=30).fit(X, y, sample_weight=weights)
    assert not pruner.keep_mask_[::5].any()
    assert not pruner.scores_[::5].any()
    counted = np.flatnonzero(weights)
    alone = InfluencePruner(model=net, keep=30).fit(X[counted], y[counted])
    np.testing.assert_array_equal(counted[alone.sample_indices_], pruner.sample_indices_)


def test_labels_in_words_and_missing_classes():
    X, y = blobs()
    net = trained_mlp(X, y)
    words = np.array(["ant", "bee", "cat"])[y]
    named = prune(net, X, words, scoring="accuracy")
    numbers = prune(net, X, y, scoring="accuracy")
    np.testing.assert_array_equal(named.sample_indices_, numbers.sample_indices_)
    assert named.classes_.tolist() == ["ant", "bee", "cat"]
    X_val, y_val = blobs(seed=1)
    held = InfluencePruner(model=net, keep=0.4).fit(
        X, words, X_val=X_val, y_val=np.array(["ant", "bee", "cat"])[y_val]
    )
    assert np.isfinite(float(held.gap_))
    some = y != 1
    with warnings.catch_warnings():
        warnings.simplefilter("error", PruningWarning)  # the bias of class 1 has an optimum
        pruner = prune(net, X[some], y[some], scoring="accuracy")
    assert pruner.classes_.tolist() == [0, 2]
    with pytest.raises(ValueError, match="from 0 to 5"):
        prune(net, X, np.where(y == 2, 5, y))
    with pytest.raises(ValueError, match="labels that y lacks"):
        InfluencePruner(model=net, keep=0.4).fit(X, words, X_val=X, y_val=["dog"] * len(X))


def test_words_reach_a_callable_as_numbers():
    X, y = blobs()

    def make(dataset, seed):
        assert dataset.tensors[-1].dtype == torch.int64
        return mlp()

    prune(make, X, np.array(["ant", "bee", "cat"])[y])


def test_double_precision_reaches_a_callable_as_torchs_own():
    X, y = blobs()

    def make(dataset, seed):
        assert {t.dtype for t in dataset.tensors} == {torch.float32}
        return mlp(6, 1)

    prune(make, X.astype(np.float64), y + 0.5)


def test_regression_on_whole_numbers():
    X, y = blobs(n=100)
    y = np.random.default_rng(0).integers(0, 1000, 100)
    net = mlp(6, 1)
    for loss in (nn.MSELoss(), None):
        pruner = prune(net, X, y, loss=loss)
        assert not hasattr(pruner, "classes_")
        assert pruner.gap_.scoring == "loss"
    np.testing.assert_array_equal(prune(net, X, y[:, None]).keep_mask_, pruner.keep_mask_)


def test_scores_of_several_labels():
    X, y = blobs()
    labels = targets_of("labels", X, y)
    net = mlp(6, 3)
    for scoring in ("f1_micro", "roc_auc"):
        assert np.isfinite(float(prune(net, X, labels, scoring=scoring).gap_))


# --- what must not matter ------------------------------------------------------------------------


def test_batch_size_and_repetition_do_not_matter():
    X, y = images()
    net = ImageNet()
    train(net, torch.from_numpy(X).float(), torch.from_numpy(y), nn.CrossEntropyLoss())
    runs = []
    for size in ("auto", 1, 7, 1000, "auto"):
        FEATURES.clear()
        runs.append(prune(net, X, y, batch_size=size))
    for run in runs[1:]:
        np.testing.assert_array_equal(run.sample_indices_, runs[0].sample_indices_)
        np.testing.assert_allclose(
            run.scores_, runs[0].scores_, rtol=1e-4, atol=1e-6 * np.abs(run.scores_).max()
        )
    np.testing.assert_array_equal(runs[-1].scores_, runs[0].scores_)


class Greedy(nn.Module):
    """Has no memory for more than so many rows."""

    def __init__(self, net, most, words):
        super().__init__()
        self.net, self.most, self.words = net, most, words

    def forward(self, x):
        if len(x) > self.most:
            if self.words is None:
                raise torch.cuda.OutOfMemoryError("CUDA out of memory.")
            raise RuntimeError(self.words)
        return self.net(x)


@pytest.mark.parametrize(
    "words", [None, "[enforce fail] DefaultCPUAllocator: can't allocate memory: you tried", "boom"]
)
def test_batches_are_halved_where_memory_runs_out(words):
    X, y = blobs()
    net = trained_mlp(X, y)
    if words == "boom":
        with pytest.raises(RuntimeError, match="boom"):
            prune(Greedy(net, 9, words), X, y)
        return
    pruner = prune(Greedy(net, 9, words), X, y)
    np.testing.assert_array_equal(pruner.sample_indices_, prune(net, X, y).sample_indices_)


def test_equal_numbers_in_another_network_are_another_network():
    X, y = blobs()
    net = trained_mlp(X, y)
    first = prune(net, X, y)
    other = copy.deepcopy(net)
    other[1] = nn.Tanh()
    FEATURES.clear()
    alone = prune(other, X, y)
    FEATURES.clear()
    prune(net, X, y)
    np.testing.assert_array_equal(prune(other, X, y).scores_, alone.scores_)
    assert not np.array_equal(first.scores_, alone.scores_)
    hooked = copy.deepcopy(net)
    hooked[1].register_forward_hook(lambda m, a, out: out + 1.0)
    assert not np.array_equal(prune(hooked, X, y).scores_, first.scores_)


def test_features_on_disk_are_those_of_this_network(tmp_path):
    X, y = blobs()
    net = trained_mlp(X, y)
    first = prune(net, X, y, cache_dir=tmp_path)
    again = prune(net, X, y, cache_dir=tmp_path)
    np.testing.assert_array_equal(first.scores_, again.scores_)
    files = sorted(tmp_path.rglob("*"))
    with torch.no_grad():
        net[0].weight[0, 0] += 1.0
    prune(net, X, y, cache_dir=tmp_path)
    assert len(sorted(tmp_path.rglob("*"))) > len(files)
    with pytest.raises(ValueError, match="cache_dir"):
        prune(net, WithTargets(X, y), cache_dir=tmp_path)


class Centred(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(x - x.mean(0))


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 3)

    def forward(self, x):
        return self.fc(nn.functional.dropout(x, 0.3))


@pytest.mark.parametrize("network", [Centred, Dropping])
@pytest.mark.parametrize("layers", ["head", "all"])
def test_outputs_that_are_not_a_rows_own_are_refused(network, layers):
    X, y = blobs()
    with pytest.raises(ValueError, match="depend on the other rows"):
        prune(network(), X, y, layers=layers)


def test_a_folder_that_cannot_be_is_refused_before_a_network_is_trained(tmp_path):
    X, y = blobs()

    def train(dataset, seed):
        raise AssertionError("trained for nothing")

    taken = tmp_path / "taken"
    taken.write_text("a file")
    for folder in (taken, taken / "below"):
        with pytest.raises(ValueError, match="is no folder"):
            prune(train, X, y, cache_dir=folder)


# --- parameters, retraining, persistence ---------------------------------------------------------


def trainer(dataset, seed):
    """A callable that trains a small network on a dataset."""
    X, y = dataset[:]
    net = mlp(seed=seed)
    return train(net, X.float(), y, nn.CrossEntropyLoss(), steps=15)


def test_a_callable_that_trains():
    X, y = blobs()
    pruner = prune(trainer, X, y, random_state=0)
    assert pruner.gap_.level == "refit"
    np.testing.assert_array_equal(
        pruner.keep_mask_, prune(trainer, X, y, random_state=0).keep_mask_
    )
    with pytest.raises(TypeError, match="returned a dict"):
        prune(lambda dataset, seed: {}, X, y)


def test_a_callable_gets_named_inputs_by_name():
    X, y = sentences()

    def make(dataset, seed):
        inputs, target = dataset[0]
        assert set(inputs) == {"input_ids", "attention_mask"}
        assert target.ndim == 0
        return TextNet()

    prune(make, X, y)


def test_retraining_a_callable_and_a_skorch_net():
    X, y = blobs()
    net = trained_mlp(X, y)
    pruner = prune(net, X, y, verify=trainer, n_seeds=2)
    assert pruner.gap_.level == "retrained"
    pruner = prune(quickstart(), X, y, verify="retrain", n_seeds=2)
    assert pruner.gap_.level == "retrained"
    assert prune(net, X, y, verify=None).gap_.level == "predicted"
    with pytest.raises(TypeError, match="cannot be retrained"):
        prune(net, X, y, verify="retrain")


def test_group_influence_is_close_to_refitting():
    X, y = blobs()
    net = trained_mlp(X, y)
    pruner = prune(net, X, y)
    removed = np.arange(0, 30, 3)
    effect = pruner.group_influence(removed)
    assert effect.newton.loss == pytest.approx(effect.influence.loss, rel=1.0)
    assert effect.newton.parameters.size == 9 * 3


def test_pickling_cloning_and_printing():
    X, y = blobs()
    net = trained_mlp(X, y)
    pruner = prune(net, X, y, loss=nn.CrossEntropyLoss(), layers="head", batch_size=16)
    loaded = pickle.loads(pickle.dumps(pruner))
    np.testing.assert_array_equal(loaded.sample_indices_, pruner.sample_indices_)
    assert loaded.transform(X).shape == (48, 6)
    with pytest.raises(ValueError, match="not pickled"):
        loaded.group_influence([0])
    copied = clone(pruner)
    assert copied.model is not net
    np.testing.assert_array_equal(copied.fit(X, y).keep_mask_, pruner.keep_mask_)
    assert "batch_size=16" in repr(pruner)
    assert pruner.set_params(keep=0.2).get_params()["keep"] == 0.2


def test_budgets_are_found():
    X, y = blobs(n=300)
    net = trained_mlp(X, y)
    pruner = InfluencePruner(0.05, model=net).fit(X, y)
    assert float(pruner.gap_) + pruner.gap_.standard_error <= 0.05
    assert len(pruner.sample_indices_) < 300


def test_the_features_of_a_head_are_counted_for_its_device(monkeypatch):
    X, y = blobs()
    counts = []

    def choose(device, numbers_held):
        counts.append(numbers_held)
        return torch.device("cpu")

    monkeypatch.setattr("skprune.proxies.head.choose_device", choose)
    for model in (trained_mlp(X, y), make_pipeline(PolynomialFeatures(), LogisticRegression())):
        InfluencePruner(keep=0.4, model=model).fit(X, y, X_val=X, y_val=y)
    assert counts == [120 * 9, 120 * 29]  # eight features or 28, and the intercept


# --- messages ------------------------------------------------------------------------------------


class NoHead(nn.Module):
    """Ends in a convolution and a pooling."""

    def __init__(self):
        super().__init__()
        self.conv = nn.Conv2d(1, 3, 3)

    def forward(self, x):
        return self.conv(x).mean((2, 3))


def test_messages():
    X, y = blobs()
    net = trained_mlp(X, y)
    with pytest.raises(ValueError, match="no head to work with"):
        prune(NoHead(), images()[0], images()[1])
    with pytest.raises(ValueError, match="never initialised"):
        prune(nn.Sequential(nn.LazyLinear(3)), X, y)
    with pytest.raises(ValueError, match="no parameters"):
        prune(nn.Identity(), X, y)
    with pytest.raises(ValueError, match="at least 2 classes"):
        prune(net, X, np.zeros(len(y), dtype=int))
    with pytest.raises(ValueError, match="no rows"):
        prune(net, X[:0], y[:0])
    with pytest.raises(ValueError, match="no targets"):
        prune(net, X)
    with pytest.raises(ValueError, match="NaN or infinity"):
        prune(mlp(6, 1), X, np.where(y == 1, np.nan, y), loss=nn.MSELoss())
    with pytest.raises(ValueError, match="zero"):
        InfluencePruner(model=net, keep=0.5).fit(X, y, sample_weight=np.zeros(len(y)))
    with pytest.raises(ValueError, match="device='gpu' is not known"):
        prune(net, X, y, device="gpu")
    with pytest.raises(TypeError, match="model"):
        prune(Quickstart, X, y)


@pytest.mark.parametrize("row", [0, 77])
def test_a_row_that_is_not_finite_is_named(row):
    X, y = blobs()
    net = trained_mlp(X, y)
    X[row, 2] = np.nan
    before = state_of(net)
    with pytest.raises(ValueError, match=f"first in row {row};"):
        prune(net, X, y)
    assert_untouched(net, before)


def test_weights_that_are_not_finite_are_named():
    X, y = blobs()
    net = trained_mlp(X, y)
    for layer in (net[0], net[3]):
        broken = copy.deepcopy(net)
        name = "0.weight" if layer is net[0] else "3.weight"
        with torch.no_grad():
            broken.get_parameter(name)[0, 0] = float("nan")
        with pytest.raises(FloatingPointError, match=f"'{name}'"):
            prune(broken, X, y)


def test_gradients_are_put_back_before_the_module_moves_home(monkeypatch):
    """As on an accelerator: ``to`` takes the gradients that a module has with it."""
    X, y = blobs()
    net = trained_mlp(X, y)
    net(torch.from_numpy(X)).sum().backward()
    model, moved = TorchModel(net, "cpu"), []
    model.device = torch.device("meta")
    monkeypatch.setattr(
        net, "to", lambda device: moved.append([p.grad for p in net.parameters()]) or net
    )
    before = [p.grad for p in net.parameters()]
    with model.frozen():
        pass
    assert moved == [[None] * 4, [None] * 4]
    assert all(p.grad is g for p, g in zip(net.parameters(), before, strict=True))


def test_no_warnings_of_torch_reach_the_user():
    X, y = blobs()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        prune(trained_mlp(X, y), X, y)


def test_class_numbers_as_floats_and_the_callers_own_grad_mode():
    X, y = blobs()
    net = trained_mlp(X, y)
    expected = prune(net, X, y, random_state=0)
    with torch.no_grad():
        pruner = prune(net, X, y.astype(np.float64), random_state=0)
        prune(net, X, y, layers="all")
    np.testing.assert_array_equal(pruner.keep_mask_, expected.keep_mask_)
    with torch.inference_mode():
        made_there = mlp()
    prune(made_there, X, y, device="cpu")  # torch itself runs it on no other
