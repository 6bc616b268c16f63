"""Logits of the network that scored the rows, for the rows that are kept."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases.modules import ImageNet, blobs, images, mlp, train, trained_mlp
from cases.pruners import make_pruner
from sklearn.linear_model import LogisticRegression
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skprune import InfluencePruner, PrunedClassifier, PruningSampler, TorchProxy
from skprune.torch import Indexed

X, Y = blobs()
LAYERS = pytest.mark.parametrize("layers", ["head", "all"])


def pruner(net, **options):
    given = {"keep": 0.3, "targets": "teacher", "random_state": 0, **options}
    return make_pruner(model=net, **given)


def said(net, rows):
    with torch.no_grad():
        return net.eval()(torch.from_numpy(rows)).numpy()


@LAYERS
@pytest.mark.parametrize("end", [[], [nn.Softmax(1)], [nn.LogSoftmax(1)]])
def test_they_are_what_the_network_says_of_the_kept_rows(layers, end):
    net = trained_mlp(X, Y)
    plain = make_pruner(keep=0.3, model=nn.Sequential(net, *end), layers=layers, random_state=0)
    taught = pruner(nn.Sequential(net, *end), layers=layers).fit(X, Y)
    assert plain.fit(X, Y).teacher_logits_ is None
    np.testing.assert_array_equal(taught.sample_indices_, plain.sample_indices_)
    assert float(taught.gap_) == float(plain.gap_)  # of labels
    found, expected = taught.teacher_logits_, said(net, X[taught.sample_indices_])
    assert found.dtype == np.float16
    if end and layers == "all":  # a softmax undone is known but for a constant
        found, expected = (z - z.mean(1, keepdims=True) for z in (found, expected))
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-3)
    assert taught.teacher_targets_ is None
    assert "has seen what it was trained on" in dict(taught.report_.notes)["teacher logits"]


@LAYERS
def test_they_go_with_the_subset_of_a_dataset(layers):
    pictures, y = images()
    pictures = pictures.astype(np.float32) / 255
    data = TensorDataset(torch.from_numpy(pictures), torch.from_numpy(y))
    net = train(ImageNet(), *data.tensors, nn.CrossEntropyLoss())
    found = pruner(net, layers=layers).fit(data)
    for indices, (inputs, _) in DataLoader(Indexed(found.subset_), 7, shuffle=True):
        expected = said(net, inputs.numpy())
        np.testing.assert_allclose(found.teacher_logits_[indices], expected, rtol=2e-3, atol=2e-3)


def test_several_networks_say_the_mean():
    nets = [trained_mlp(X, Y, seed=seed) for seed in range(3)]
    found = pruner(nets, layers="all").fit(X, Y)
    mean = np.mean([said(net, X[found.sample_indices_]) for net in nets], axis=0)
    np.testing.assert_allclose(found.teacher_logits_, mean, rtol=2e-3, atol=2e-3)


def test_a_network_that_is_trained_here_says_its_own():
    trained = []

    def make(dataset, seed):
        trained.append(train(mlp(seed=seed), *dataset.tensors, nn.CrossEntropyLoss()))
        return trained[-1]

    found = pruner(make).fit(X, Y)
    (net,) = trained
    expected = said(net, X[found.sample_indices_])
    np.testing.assert_allclose(found.teacher_logits_, expected, rtol=2e-3, atol=2e-3)


def test_rows_without_weight_have_them_where_nothing_is_pruned():
    weights = np.ones(len(Y))
    weights[:5] = 0
    net = trained_mlp(X, Y)
    with pytest.warns(match="cannot be pruned"):
        found = pruner(net, keep=None, min_per_class=len(Y)).fit(X, Y, sample_weight=weights)
    np.testing.assert_allclose(found.teacher_logits_, said(net, X), rtol=2e-3, atol=2e-3)


def test_logits_beyond_half_precision_stay_finite():
    net = trained_mlp(X, Y)
    with torch.no_grad():
        net[-1].weight *= 1e6
    found = pruner(net).fit(X, Y).teacher_logits_
    assert np.abs(found).max() == np.finfo(np.float16).max


def test_auto_takes_them_where_they_can_be_had():
    asked, auto = (pruner(trained_mlp(X, Y), targets=t).fit(X, Y) for t in ("teacher", "auto"))
    np.testing.assert_array_equal(auto.teacher_logits_, asked.teacher_logits_)
    numbers = InfluencePruner(keep=0.5, model=TorchProxy(mlp(6, 1)), targets="auto").fit(X, X[:, 0])
    assert numbers.teacher_logits_ is None
    behind = PrunedClassifier(LogisticRegression(), pruner(trained_mlp(X, Y), targets="auto"))
    assert behind.fit(X, Y).pruner_.teacher_logits_ is None


@pytest.mark.parametrize(
    "fit",
    [
        lambda p: PrunedClassifier(LogisticRegression(), p).fit(X, Y),
        lambda p: PrunedClassifier(NeuralNetClassifier(mlp, verbose=0), p).fit(X, Y),
        lambda p: PruningSampler(p).fit(X, Y),
    ],
)
def test_what_trains_on_labels_refuses_them(fit):
    with pytest.raises(ValueError, match="knows labels alone"):
        fit(pruner(trained_mlp(X, Y)))


@pytest.mark.parametrize("y", [X[:, 0], np.eye(3, dtype=np.float32)[Y] + np.eye(3)[0]])
def test_numbers_have_no_logits(y):
    net = mlp(6, 1 if y.ndim == 1 else 3)
    with pytest.raises(ValueError, match="predicts numbers or several labels"):
        InfluencePruner(keep=0.5, model=TorchProxy(net), targets="teacher").fit(X, y)
