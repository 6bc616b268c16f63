"""Fits in several threads of a process find what each finds alone, and leave all as it was."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from cases.modules import blobs, mlp, trained_mlp
from cases.pruners import make_pruner
from cases.retraining import states, unchanged
from torch import nn

import skprune.curvature.factor_cache as kept
import skprune.network.encoding as encoding
from skprune.utils.cache import ContentCache

X, y = blobs(n=90)


@pytest.fixture(autouse=True)
def apart(monkeypatch):
    """Nothing is known from other fits, and threads take turns as often as they can."""
    for module, name in ((kept, "FACTORS"), (encoding, "FEATURES")):
        monkeypatch.setattr(module, name, ContentCache(0))
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


def in_threads(fits):
    """The results of ``fits``, one after the other, which must be those of all at once."""
    alone = [fit() for fit in fits]
    with ThreadPoolExecutor(len(fits)) as pool:
        together = [f.result() for f in [pool.submit(fit) for fit in fits]]
    for a, b in zip(alone, together, strict=True):
        np.testing.assert_array_equal(a.sample_indices_, b.sample_indices_)
        np.testing.assert_array_equal(a.scores_, b.scores_)
        assert float(a.gap_) == float(b.gap_)


def fit(model, **options):
    return lambda: make_pruner(keep=0.4, model=model, random_state=0, **options).fit(X, y)


@pytest.mark.filterwarnings("ignore:The predicted step")
@pytest.mark.parametrize("options", [{"layers": "all", "curvature": "kfac"}, {"layers": "all"}, {}])
@pytest.mark.parametrize("shared", ["nothing", "layers", "module"])
def test_networks(shared, options):
    nets = [trained_mlp(X, y, seed=seed) for seed in range(3)]
    if shared == "layers":
        nets = [nn.Sequential(nets[0][:3], net[3]) for net in nets]
    elif shared == "module":
        nets = nets[:1] * 3
    for net in nets:
        net.train()
        net[0].requires_grad_(shared != "module")
    before = [[p.requires_grad for p in net.parameters()] for net in nets]
    flags = torch.backends.cuda.flash_sdp_enabled(), torch.backends.mha.get_fastpath_enabled()
    in_threads([fit(net, **options) for net in nets])
    assert before == [[p.requires_grad for p in net.parameters()] for net in nets]
    assert all(m.training for net in nets for m in net.modules())
    assert flags == (
        torch.backends.cuda.flash_sdp_enabled(),
        torch.backends.mha.get_fastpath_enabled(),
    )


def train(dataset, seed):
    """Draws from torch's global generator only, as most trainings do."""
    net = mlp(X.shape[1])
    for layer in net:
        if isinstance(layer, nn.Linear):
            layer.reset_parameters()
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for inputs, targets in torch.utils.data.DataLoader(dataset, 16, shuffle=True):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(inputs), targets).backward()
        optimizer.step()
    return net


def test_trainings():
    before = states()
    in_threads([fit(None, verify=train, n_seeds=2), fit(train), fit(None, verify=train)])
    unchanged(before)
