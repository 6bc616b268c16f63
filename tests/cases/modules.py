"""Networks as somebody else would write them, small and trained for a moment, and their rows."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import torch
from torch import nn

DEVICES = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]


def blobs(n=120, d=6, n_classes=3, seed=0):
    """Rows X (n, d) float32 of overlapping classes, and their class numbers y."""
    rng = np.random.default_rng([seed, n, d])
    y = np.arange(n) % n_classes
    X = 1.2 * rng.normal(size=(n_classes, d))[y] + rng.normal(size=(n, d))
    return X.astype(np.float32), y


def train(module, inputs, y, loss, steps=60, lr=0.02, weight_decay=0.0):
    """Adam on all rows at once; ``inputs`` is a tensor, or a dict of them."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        optimizer = torch.optim.Adam(
            [p for p in module.parameters() if p.requires_grad], lr, weight_decay=weight_decay
        )
        for _ in range(steps):
            optimizer.zero_grad()
            out = module(**inputs) if isinstance(inputs, dict) else module(inputs)
            loss(out if isinstance(out, torch.Tensor) else out.logits, y).backward()
            optimizer.step()
    module.zero_grad()
    return module


def mlp(d=6, outputs=3, *after, seed=0, dtype=None):
    """Two layers with dropout between them; ``after`` is what the module ends in."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = nn.Sequential(
            nn.Linear(d, 8), nn.ReLU(), nn.Dropout(0.2), nn.Linear(8, outputs), *after
        )
    return net if dtype is None else net.to(dtype)


def trained_mlp(X, y, *, dtype=None, **options):
    """``mlp`` trained by cross-entropy."""
    net = mlp(X.shape[1], int(y.max()) + 1, **options)
    train(net, torch.from_numpy(X), torch.from_numpy(y), nn.CrossEntropyLoss())
    return net if dtype is None else net.to(dtype)


class ImageNet(nn.Module):
    """Convolution, batch normalisation, dropout, adaptive pooling, linear: a small torchvision."""

    def __init__(self, n_classes=3):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(inplace=True)
        )
        self.avgpool = nn.AdaptiveAvgPool2d((2, 2))
        self.classifier = nn.Sequential(nn.Dropout(), nn.Linear(16, n_classes))

    def forward(self, x):
        return self.classifier(torch.flatten(self.avgpool(self.features(x)), 1))


def images(n=90, n_classes=3, seed=0):
    """Pictures (n, 1, 6, 6) uint8, a class to each bright corner."""
    rng = np.random.default_rng([seed, n])
    y = np.arange(n) % n_classes
    X = rng.integers(0, 120, size=(n, 1, 6, 6))
    for c, (r, s) in enumerate([(0, 0), (0, 3), (3, 0)][:n_classes]):
        X[y == c, 0, r : r + 3, s : s + 3] += 60
    return X.astype(np.uint8), y


class TextNet(nn.Module):
    """Embeddings, one encoder layer, a masked mean, and an object with ``logits``."""

    def __init__(self, n_classes=2, vocabulary=20, width=8):
        super().__init__()
        self.embeddings = nn.Embedding(vocabulary, width, padding_idx=0)
        self.encoder = nn.TransformerEncoderLayer(width, 2, 16, batch_first=True)
        self.classifier = nn.Linear(width, n_classes)

    def forward(self, input_ids, attention_mask):
        assert not input_ids.is_floating_point()
        assert not attention_mask.is_floating_point()
        hidden = self.encoder(self.embeddings(input_ids), src_key_padding_mask=attention_mask == 0)
        mask = attention_mask[..., None].to(hidden.dtype)
        pooled = (hidden * mask).sum(1) / mask.sum(1)
        return SimpleNamespace(logits=self.classifier(pooled), loss=None)


def sentences(n=80, seed=0):
    """Token ids (n, 7) with padding, their mask, and which of two words is in the sentence."""
    rng = np.random.default_rng([seed, n])
    y = np.arange(n) % 2
    ids = rng.integers(3, 20, size=(n, 7))
    ids[np.arange(n), rng.integers(0, 4, n)] = 1 + y
    mask = (np.arange(7) < rng.integers(4, 8, n)[:, None]).astype(np.int64)
    return {"input_ids": ids * mask, "attention_mask": mask}, y


class Tied(nn.Module):
    """A head that is the transpose of the first layer."""

    def __init__(self, d=6):
        super().__init__()
        self.down = nn.Linear(d, d)
        self.up = nn.Linear(d, d)
        self.up.weight = self.down.weight

    def forward(self, x):
        return self.up(torch.tanh(self.down(x)))


def state_of(module):
    """All that must be as before: numbers, modes, hooks, gradients, devices, identities."""
    return {
        "state": {k: v.clone() for k, v in module.state_dict().items()},
        "modes": [m.training for m in module.modules()],
        "hooks": [
            (list(m._forward_hooks), list(m._forward_pre_hooks), list(m._backward_hooks))
            for m in module.modules()
        ],
        "parameters": [
            (id(p), p.requires_grad, id(p.grad), p.device, p.dtype) for p in module.parameters()
        ],
        "buffers": [(id(b), b.device) for b in module.buffers()],
        "grads": [None if p.grad is None else p.grad.clone() for p in module.parameters()],
        "attributes": [sorted(vars(m)) for m in module.modules()],
    }


def assert_untouched(module, before):
    """Nothing of ``state_of`` has changed."""
    after = state_of(module)
    for key in ("modes", "hooks", "parameters", "buffers", "attributes"):
        assert after[key] == before[key], key
    assert after["state"].keys() == before["state"].keys()
    for name, value in before["state"].items():
        assert torch.equal(value.nan_to_num(7.0), after["state"][name].nan_to_num(7.0)), name
    for old, new in zip(before["grads"], after["grads"], strict=True):
        assert (old is None) == (new is None)
        assert old is None or torch.equal(old, new)


class Scaled:
    """A callable with a state."""

    def __init__(self, scale):
        self.scale = scale

    def __call__(self, x):
        return (self.scale * x).tanh()
