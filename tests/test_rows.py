"""Every pruner tells of all rows: which were removed, and what is known of each."""

from __future__ import annotations

import pickle

import numpy as np
import pandas as pd
import pytest
import torch
from cases.pruners import head_pruner
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.exceptions import NotFittedError
from torch import nn
from torch.utils.data import TensorDataset

from skprune import InfluencePruner
from skprune.baselines import EL2N, StratifiedRandom

PRUNERS = [head_pruner(keep=0.4), EL2N(0.4, random_state=0), StratifiedRandom(0.4, random_state=0)]


@pytest.fixture(scope="module")
def frames():
    X, y = load_iris(return_X_y=True, as_frame=True)
    X.index = y.index = pd.Index([f"flower {i}" for i in range(len(y))])
    return X, y


@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda p: type(p).__name__)
def test_rows_and_the_removed_ones(pruner, frames):
    X, y = frames
    pruner = clone(pruner).fit(X, y)
    removed, rows = pruner.removed_indices_, pruner.rows_
    both = np.concatenate([pruner.sample_indices_, removed])
    assert sorted(both) == list(range(len(y)))
    assert removed.dtype == np.int64
    assert np.all(np.diff(removed) > 0)
    assert rows.index.equals(X.index)
    assert rows["target"].equals(y)
    assert rows.index[rows["kept"]].tolist() == pruner.take(X).index.tolist()
    assert rows["weight"].tolist() == rows["kept"].astype(float).tolist()
    assert rows["position"].tolist() == list(range(len(y)))
    assert ("score" in rows) == hasattr(pruner, "scores_")


@pytest.mark.parametrize(
    "kind",
    [
        list,
        torch.tensor,
        lambda y: y[:, None],
        lambda y: pd.DataFrame({"y": y}),
        lambda y: pd.Series(y, index=range(len(y), 0, -1)),
        lambda y: pd.Series(y).astype("category"),
    ],
    ids=["list", "tensor", "column", "frame", "other labels", "categories"],
)
def test_targets_of_any_kind_stay_with_their_rows(frames, kind):
    X, y = frames
    rows = StratifiedRandom(0.4, random_state=0).fit(X, kind(y.to_numpy())).rows_
    assert rows.index.equals(X.index)
    assert rows["target"].tolist() == y.tolist()


def test_weights_are_those_in_training(frames):
    X, y = (part.to_numpy() for part in frames)
    given = np.linspace(0.5, 2.0, len(y))
    rows = head_pruner(keep=0.4).fit(X, y, sample_weight=given).rows_
    assert rows["weight"].tolist() == np.where(rows["kept"], given, 0.0).tolist()
    weighted = InfluencePruner(keep=0.4, weights=True, random_state=0).fit(X, y, given)
    assert weighted.take(weighted.rows_)["weight"].tolist() == weighted.sample_weight_.tolist()


def test_targets_of_a_dataset_and_several_outputs(frames):
    X, y = (torch.tensor(part.to_numpy()) for part in frames)
    net = nn.Linear(4, 3)
    pruner = InfluencePruner(keep=0.5, model=net, random_state=0)
    fitted = pruner.fit(TensorDataset(X.float(), y))
    assert fitted.rows_["target"].tolist() == y.tolist()
    fitted.fit(X.float(), X.float()[:, :3] - 1)
    assert [name for name in fitted.rows_ if "target" in name] == [f"target_{k}" for k in range(3)]


def test_a_pickled_pruner_knows_what_it_found(frames):
    fitted = head_pruner(keep=0.4).fit(*frames)
    size = len(pickle.dumps(fitted))
    rows = fitted.rows_
    assert len(pickle.dumps(fitted)) == size
    found = pickle.loads(pickle.dumps(fitted)).rows_
    pd.testing.assert_frame_equal(found, rows.drop(columns="target").reset_index(drop=True))


@pytest.mark.parametrize("name", ["rows_", "removed_indices_"])
@pytest.mark.parametrize("pruner", PRUNERS, ids=lambda p: type(p).__name__)
def test_before_fit(pruner, name):
    with pytest.raises(NotFittedError):
        getattr(pruner, name)
