"""Datasets that several tests look at, and what their rows must be."""

from __future__ import annotations

from collections import namedtuple

import numpy as np
import torch
from numpy.testing import assert_array_equal
from torch.utils.data import (
    Dataset,
    IterableDataset,
)

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
N = 11
X = np.arange(4.0 * N, dtype=np.float32).reshape(N, 4)
Y = np.arange(N) % 3
ORDER = np.array([7, 2, 2, 10, 0])
Pair = namedtuple("Pair", "ids mask")


class Images(Dataset):
    """A dataset as torchvision makes them: stored targets, classes, a transform of the targets."""

    classes = ("ankle boot", "bag", "coat")

    def __init__(self, targets=Y, target_transform=None):
        self.data, self.targets = torch.from_numpy(X), targets
        self.target_transform = target_transform
        self.class_to_idx = {name: k for k, name in enumerate(self.classes)}
        self.seen = []

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        assert type(index) is int  # what a loader hands out
        self.seen.append(index)
        target = int(self.targets[index])
        if self.target_transform is not None:
            target = self.target_transform(target)
        return self.data[index], target


class Items(Dataset):
    """A dataset of the given items, and nothing else."""

    def __init__(self, items):
        self.items = list(items)

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


class Batched(Items):
    """A dataset that fetches several items at once."""

    fetched = 0

    def __getitems__(self, indices):
        type(self).fetched += 1
        return [self.items[i] for i in indices]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(X)


def gather(source, size=4, indices=None):
    """All batches put together: inputs and positions."""
    batches = list(source.batches(size, indices))
    inputs = [batch for batch, _ in batches]
    if isinstance(inputs[0], dict):
        joined = {k: torch.cat([b[k] for b in inputs]) for k in inputs[0]}
    elif isinstance(inputs[0], tuple):
        joined = tuple(map(torch.cat, zip(*inputs, strict=True)))
    else:
        joined = torch.cat(inputs)
    return joined, np.concatenate([positions for _, positions in batches])


def check_rows(source, expected=X):
    """Every row, in order and in any other order, in batches of any size."""
    assert len(source) == len(expected)
    for size in (1, 4, 100):
        inputs, positions = gather(source, size)
        assert_array_equal(inputs, expected)
        assert_array_equal(positions, np.arange(len(expected)))
        inputs, positions = gather(source, size, ORDER)
        assert_array_equal(inputs, expected[ORDER])
        assert_array_equal(positions, ORDER)


class WithTargets(Dataset):
    """A dataset as torchvision's: ``targets``, ``classes``, items made on demand."""

    def __init__(self, X, y):
        self.X, self.targets, self.classes = X, y.tolist(), ["a", "b", "c"]

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return torch.from_numpy(self.X[i]), self.targets[i]
