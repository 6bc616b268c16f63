"""Samplers in the loops of skorch, Lightning and Hugging Face's Trainer."""

from __future__ import annotations

from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from skorch import NeuralNetClassifier
from skorch.callbacks import Callback
from skorch.dataset import ValidSplit
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import skprune.torch.lightning_sampling as lightning_sampling
from skprune.torch import BalancedSampler, LightningSampling, SkorchSampling, TrainerSampling

RNG = np.random.default_rng(0)
X = RNG.normal(size=(50, 4)).astype(np.float32)
Y = (X[:, 0] + 0.5 * RNG.normal(size=50) > 0).astype(np.int64)
HALF = partial(BalancedSampler, keep=0.5)


class Losses(Callback):
    """Remembers the losses of every training batch."""

    def on_train_begin(self, net, **kwargs):
        self.found = []

    def on_batch_end(self, net, loss, training, **kwargs):
        if training:
            self.found.append(float(loss.detach()))


def skorch_net(**options):
    torch.manual_seed(0)
    options = {"train_split": None, "lr": 0.5, "max_epochs": 3} | options
    callbacks = [("sampling", SkorchSampling(HALF)), ("losses", Losses())]
    return NeuralNetClassifier(
        nn.Linear(4, 2), criterion=nn.CrossEntropyLoss, batch_size=10, verbose=0,
        callbacks=callbacks, **options,
    )  # fmt: skip


def by_hand(epochs=3):
    """The training that all frameworks are to do: its network, and the losses of its batches."""
    torch.manual_seed(0)
    net = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.5)
    sampler, found = HALF(50), []
    for _ in range(epochs):
        for rows in torch.tensor(list(sampler)).split(10):
            losses = nn.functional.cross_entropy(
                net(torch.from_numpy(X)[rows]), torch.from_numpy(Y)[rows], reduction="none"
            )
            loss = sampler.weigh(losses, rows)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            found.append(float(loss.detach()))
    return net, found


def test_skorch_trains_on_the_weighted_losses_of_the_sampler():
    net = skorch_net().fit(X, Y)
    expected, losses = by_hand()
    assert_allclose(net.module_.weight.detach(), expected.weight.detach(), rtol=1e-5)
    assert_allclose(dict(net.callbacks_)["losses"].found, losses, rtol=1e-5)
    assert net.iterator_train is DataLoader
    assert net.criterion_.reduction == "mean"
    assert dict(net.callbacks_)["sampling"].sampler_.passes == 75
    net.partial_fit(X, Y)
    assert dict(net.callbacks_)["sampling"].sampler_.epoch == 6


def test_skorch_validates_on_the_plain_loss_of_all_held_out_rows():
    net = skorch_net(train_split=ValidSplit(5, stratified=False), max_epochs=1).fit(X, Y)
    held_out, _ = next(iter(net.get_iterator(net.get_split_datasets(X, Y)[1])))
    assert len(held_out) == 10
    outputs = net.module_(torch.from_numpy(X[:10])).detach()
    plain = nn.functional.cross_entropy(outputs, torch.from_numpy(Y[:10]))
    assert net.history[-1]["valid_loss"] == pytest.approx(float(plain), rel=1e-5)


def test_skorch_after_an_error():
    net = skorch_net().initialize()
    with pytest.raises(RuntimeError, match="multi-target"):
        net.partial_fit(X, Y[:, None, None])
    net.fit(X, Y)
    assert net.iterator_train is DataLoader


def test_a_loss_module_without_reduction_is_refused():
    class Own(nn.Module):
        def forward(self, outputs, targets):
            return outputs.mean()

    net = skorch_net().set_params(criterion=Own)
    with pytest.raises(ValueError, match="Own has no attribute `reduction`"):
        net.fit(X, Y)


def test_losses_that_are_not_those_of_rows_are_refused():
    class Tokens(nn.CrossEntropyLoss):
        def forward(self, outputs, targets):
            return super().forward(outputs.repeat(2, 1), targets.repeat(2))

    net = skorch_net().set_params(criterion=Tokens)
    with pytest.raises(ValueError, match=r"shape \(20,\) for a batch of 10 rows"):
        net.fit({"input": X}, Y)


@pytest.fixture
def lightning(monkeypatch):
    """What the loop of Lightning does, as far as callbacks see it."""
    monkeypatch.setattr(lightning_sampling, "Callback", type("Callback", (), {}))

    def fit(module, loader, callback, epochs=3):
        optimizer = torch.optim.SGD(module.net.parameters(), lr=0.5)
        found = []
        callback.on_train_start(None, module)
        for epoch in range(epochs):
            loader.sampler.set_epoch(epoch)
            callback.on_train_epoch_start(None, module)
            for k, (inputs, targets) in enumerate(loader):
                callback.on_train_batch_start(None, module, (inputs, targets), k)
                loss = module.criterion(module.net(inputs), targets)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                callback.on_train_batch_end(None, module, None, (inputs, targets), k)
                found.append(float(loss.detach()))
        callback.on_train_end(None, module)
        return found

    return fit


def test_lightning(lightning):
    data = TensorDataset(torch.from_numpy(X), torch.from_numpy(Y))
    sampler = HALF(data)
    torch.manual_seed(0)
    module = SimpleNamespace(net=nn.Linear(4, 2), criterion=nn.CrossEntropyLoss())
    callback = LightningSampling(sampler)
    losses = lightning(module, DataLoader(data, 10, sampler=sampler), callback)
    assert_allclose(losses, by_hand()[1], rtol=1e-5)
    assert module.criterion(torch.zeros(3, 2), torch.zeros(3, dtype=int)).ndim == 0
    again = LightningSampling(HALF(data))
    again.load_state_dict(callback.state_dict())
    assert list(again.sampler) == list(sampler)
    with pytest.raises(ValueError, match="criterion is 3, and not a loss"):
        callback.on_train_start(None, SimpleNamespace(criterion=3))


def test_lightning_is_named_where_it_is_missing(monkeypatch):
    monkeypatch.setattr(lightning_sampling, "Callback", object)
    with pytest.raises(ImportError, match="pip install lightning"):
        LightningSampling(HALF(50))


class Trainer:
    """What Hugging Face's Trainer does, as far as the mixin sees it."""

    def __init__(self, model, train_dataset):
        self.model, self.train_dataset, self._signature_columns = model, train_dataset, None

    def _set_signature_columns_if_needed(self):
        if self._signature_columns is None:
            self._signature_columns = ["inputs", "labels"]

    def compute_loss(self, model, inputs, return_outputs=False, num_items_in_batch=None):
        return "evaluated"

    def train(self, epochs=3):
        optimizer = torch.optim.SGD(self.model.net.parameters(), lr=0.5)
        loader = DataLoader(self.train_dataset, 10, sampler=self._get_train_sampler())
        found = []
        for _ in range(epochs):
            for batch in loader:
                self._set_signature_columns_if_needed()
                batch = {k: v for k, v in batch.items() if k in self._signature_columns}
                loss = self.compute_loss(self.model, batch, num_items_in_batch=10)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
                found.append(float(loss.detach()))
        return found


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Linear(4, 2)

    def forward(self, inputs, labels=None):
        return {"logits": self.net(inputs)}


def test_trainer():
    class SampledTrainer(TrainerSampling, Trainer):
        pass

    rows = [{"inputs": x, "labels": y} for x, y in zip(X, Y, strict=True)]
    trainer = SampledTrainer(Model(), train_dataset=rows, sampler=HALF)
    assert_allclose(trainer.train(), by_hand()[1], rtol=1e-5)
    assert trainer.compute_loss(trainer.model, {"inputs": 0}) == "evaluated"
    assert trainer.sampler.passes == 75
