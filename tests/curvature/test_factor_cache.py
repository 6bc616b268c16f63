"""Factors of curvatures kept by content: the same result, found once, and never for other rows."""

from __future__ import annotations

import copy
import pickle
import shutil
import threading

import numpy as np
import pytest
import torch
from cases.modules import Scaled, blobs, trained_mlp
from cases.pruners import make_pruner
from cases.rows import WithTargets
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from torch import nn

import skprune.curvature.factor_cache as kept
from skprune import InfluencePruner, PrunedClassifier, TorchProxy
from skprune.curvature import CURVATURES, Curvature, FactorCache
from skprune.utils.cache import ContentCache
from skprune.utils.exceptions import PruningWarning


@pytest.fixture(autouse=True)
def forgetful(monkeypatch):
    """Nothing is known from other tests."""
    monkeypatch.setattr(kept, "FACTORS", ContentCache(2**30))


@pytest.fixture
def finds(monkeypatch):
    """Names of the curvatures that find something anew."""
    found = []
    real = Curvature._known

    def known(self, find, about=""):
        def counted():
            found.append(self.name)
            return find()

        return real(self, counted, about)

    monkeypatch.setattr(Curvature, "_known", known)
    return found


def prune(net, X, y, **options):
    return make_pruner(
        **{"model": net, "keep": 0.4, "layers": "all", "random_state": 0, **options}
    ).fit(X, y)


def same(a, b):
    np.testing.assert_array_equal(a.sample_indices_, b.sample_indices_)
    np.testing.assert_array_equal(a.scores_, b.scores_)
    assert float(a.gap_) == float(b.gap_)
    return True


@pytest.mark.parametrize("curvature", sorted(CURVATURES["layers"]))
@pytest.mark.parametrize("on_disk", [False, True])
def test_what_is_known_is_not_found_again(curvature, on_disk, finds, tmp_path, monkeypatch):
    X, y = blobs(n=60)
    net, where = trained_mlp(X, y), tmp_path if on_disk else None
    first = prune(net, X, y, curvature=curvature, cache_dir=where)
    n_found = len(finds)
    assert n_found > 0
    if on_disk:  # as in another process
        monkeypatch.setattr(kept, "FACTORS", ContentCache(2**30))
    assert same(first, prune(net, X, y, curvature=curvature, cache_dir=where))
    prune(net, X, y, curvature=curvature, cache_dir=where, keep=0.2)
    assert len(finds) == n_found
    if on_disk:
        assert not list(tmp_path.rglob("*.tmp"))
        monkeypatch.setattr(FactorCache, "get", lambda self, problem, about, fit: fit())
        assert same(first, prune(net, X, y, curvature=curvature))


def test_other_rows_networks_losses_and_layers_are_found_anew(finds):
    X, y = blobs(n=60)
    net = trained_mlp(X, y)
    changed = copy.deepcopy(net)
    with torch.no_grad():
        changed[0].weight[0, 0] += 1e-3
    cases = [
        (net, X, y, {}),
        (changed, X, y, {}),
        (net, X + 1e-3, y, {}),
        (net, X, (y + 1) % 3, {}),
        (net, X, y, {"loss": nn.CrossEntropyLoss(label_smoothing=0.1)}),
        (net, X, y, {"loss": nn.CrossEntropyLoss(weight=torch.tensor([1.0, 2.0, 1.0]))}),
        (net, X, y, {"layers": ["3"]}),
        (net, X, y, {"weight_decay": 0.01}),
        (net, X, y, {"random_state": 1}),  # other rows are held out
        (net, X, y, {"curvature": "ekfac"}),
    ]
    for model, rows, targets, options in cases:
        finds.clear()
        prune(model, rows, targets, **options)
        assert len(finds) == 2 - ("random_state" in options), options
    finds.clear()
    weights = np.linspace(0.5, 1.5, len(y))
    InfluencePruner(model=TorchProxy(net, layers="all"), keep=0.4, random_state=0).fit(
        X, y, weights
    )
    assert len(finds) == 2


def test_a_killed_fit_goes_on_where_it_stopped(finds, tmp_path, monkeypatch):
    X, y = blobs(n=60)
    net = trained_mlp(X, y)
    expected = prune(net, X, y, curvature="ekfac")
    real, calls = kept._name, []

    def killed(state):
        calls.append(1)
        if len(calls) == 2:  # while the second one is written
            raise KeyboardInterrupt
        return real(state)

    monkeypatch.setattr(kept, "_name", killed)
    with pytest.raises(KeyboardInterrupt):
        prune(net, X, y, curvature="ekfac", cache_dir=tmp_path)
    finds.clear()
    assert same(expected, prune(net, X, y, curvature="ekfac", cache_dir=tmp_path))
    assert finds == ["ekfac"]


@pytest.mark.parametrize("damage", ["cut off", "changed", "text", "another zip", "a pickle"])
def test_damaged_files_are_found_anew(damage, finds, tmp_path):
    X, y = blobs(n=60)
    net = trained_mlp(X, y)
    expected = prune(net, X, y, curvature="kfac", cache_dir=tmp_path)
    for path in tmp_path.rglob("*.pt"):
        whole = path.read_bytes()
        if damage == "changed":
            state = torch.load(path, weights_only=True)
            state["eigenvalues"][0][0] += 1.0
            torch.save(state, path)
        elif damage == "another zip":
            with path.open("wb") as file:
                np.savez(file, a=np.zeros(3))
        elif damage == "a pickle":
            path.write_bytes(pickle.dumps({"eigenvalues": Scaled(1.0)}))
        else:
            path.write_bytes(whole[: len(whole) // 2] if damage == "cut off" else b"no factors")
    finds.clear()
    assert same(expected, prune(net, X, y, curvature="kfac", cache_dir=tmp_path))
    assert finds == ["kfac", "kfac"]


@pytest.mark.parametrize("why", ["full", "link"])
def test_a_folder_that_takes_no_files_costs_a_warning(why, finds, tmp_path, monkeypatch):
    X, y = blobs(n=60)
    net, cache = trained_mlp(X, y), tmp_path / "cache"
    expected = prune(net, X, y, curvature="kfac", cache_dir=cache)
    if why == "full":
        shutil.rmtree(cache)

        def full(state, file):
            file.write(b"some of it")
            raise RuntimeError("unexpected pos 704 vs 598")

        monkeypatch.setattr(torch, "save", full)
    else:
        for folder in list(cache.iterdir()):
            folder.rename(tmp_path / folder.name)
            folder.symlink_to(tmp_path / folder.name)
    finds.clear()
    with pytest.warns(PruningWarning, match=r"cannot be written.*(unexpected pos|is a link)"):
        assert same(expected, prune(net, X, y, curvature="kfac", cache_dir=cache))
    assert finds == ["kfac", "kfac"]
    assert not [path for path in cache.rglob("*") if path.is_file()]


def test_rows_and_losses_that_do_not_tell_their_content(finds, tmp_path):
    X, y = blobs(n=60)
    net = trained_mlp(X, y)

    def own(output, target):
        return nn.functional.cross_entropy(output, target, reduction="none")

    for rows, targets, options in ((WithTargets(X, y), None, {}), (X, y, {"loss": own})):
        with pytest.raises(ValueError, match="cache_dir"):
            prune(net, rows, targets, cache_dir=tmp_path, **options)
        finds.clear()
        assert same(prune(net, rows, targets, **options), prune(net, rows, targets, **options))
        assert len(finds) == 4


def test_a_search_over_budgets_examines_each_fold_once(finds):
    X, y = blobs(n=90)
    pruner = InfluencePruner(model=TorchProxy(trained_mlp(X, y), layers="all"), random_state=0)
    search = GridSearchCV(
        PrunedClassifier(LogisticRegression(), pruner), {"pruner__keep": [0.2, 0.4, 0.6]}, cv=2
    )
    search.fit(X, y)
    assert len(finds) == 2 * (2 + 1)  # two curvatures a fold, and two of all rows


class Acting(nn.Module):
    """A network whose activation is an attribute that is no module."""

    def __init__(self, act):
        super().__init__()
        with torch.random.fork_rng():
            torch.manual_seed(0)
            self.a, self.b = nn.Linear(6, 8), nn.Linear(8, 3)
        self.act = act

    def forward(self, x):
        return self.b(self.act(self.a(x)))


@pytest.mark.parametrize("layers", ["head", "all"])
def test_networks_that_do_not_tell_are_not_kept(layers, finds, tmp_path):
    X, y = blobs(n=60)
    net = Acting(torch.relu)
    net.lock = threading.Lock()  # nothing says what it holds
    with pytest.raises(ValueError, match=r"cache_dir.*Acting\.lock is of type _thread\.lock"):
        prune(net, X, y, layers=layers, cache_dir=tmp_path)
    first = prune(net, X, y, layers=layers)
    net.act = torch.tanh
    assert not np.array_equal(first.scores_, prune(net, X, y, layers=layers).scores_)


def test_a_last_activation_that_is_undone_or_not(finds):
    X, y = blobs(n=60)
    net = nn.Sequential(*trained_mlp(X, y), nn.Softmax(dim=1))
    for loss in (nn.CrossEntropyLoss(), None):
        finds.clear()
        prune(net, X, y, loss=loss)
        assert len(finds) == 2
