"""Rows, networks and known curves that the tests of retraining share."""

from __future__ import annotations

import random

import numpy as np
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import Dataset

from skprune.evaluation.retrained import Retraining, Trainer
from skprune.evaluation.retrained.measures import LossMeasure


def digits(n=600):
    X, y = load_digits(return_X_y=True)
    return (X[:n] / 16).astype(np.float32), y[:n].astype(np.int64)


def states():
    return random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002


def unchanged(before):
    now = states()
    assert before[0] == now[0]
    np.testing.assert_array_equal(before[1], now[1])
    assert torch.equal(before[2], now[2])


class Net(nn.Module):
    def __init__(self, inputs=64, hidden=16, outputs=10, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, outputs),
        )

    def forward(self, X):
        return self.layers(X)


class Rows(Dataset):
    """A dataset of somebody else."""

    def __init__(self, X, y):
        self.X, self.targets = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return torch.from_numpy(self.X[i]), int(self.targets[i])


class Curve(Trainer):
    """Losses of known mean and spread: rows, seeds, and rows and seeds together."""

    def __init__(self, n, gap, *, seeds=0.0, both=0.0, rows=0.02, held_out=400, draw=0):
        self.n, self.gap = n, gap
        self.seeds, self.both, self.held_out, self.draw = seeds, both, held_out, draw
        self.rows = rows * np.random.default_rng(draw).normal(size=held_out)

    def __len__(self):
        return self.n

    def _fit(self, rows, seed):
        m = len(rows)
        rng = np.random.default_rng([seed, m, self.draw])
        own = 0.0 if m == self.n else self.gap(m) + self.rows
        noise = self.seeds * rng.normal() + self.both * rng.normal(size=self.held_out)
        return 1.0 + own + noise

    def retraining(self, **options):
        measure = LossMeasure(lambda losses: losses, np.ones(self.held_out))
        return Retraining(self, measure, seed=self.draw, **options)
