"""Every strategy keeps its share, repeats itself, and takes what pruners take."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from cases.modules import blobs, trained_mlp
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, make_classification
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from torch.utils.data import TensorDataset

from skprune import TorchProxy
from skprune.baselines import (
    CCS,
    DUAL,
    EL2N,
    STRATEGIES,
    Entropy,
    Evidence,
    GroupStrategy,
    KCenter,
    Prototypes,
    Random,
    ScoreStrategy,
    Strategy,
    compare,
    dynamics,
)

X, y = make_classification(240, 8, n_informative=5, n_classes=3, random_state=0)

#: Those that look at features or at the loss, and so take numbers for targets.
OF_NUMBERS = {
    "class centre", "craig", "dataset pruning", "el2n", "facility location", "glister",
    "gm matching", "gradmatch", "grand", "graph cut", "herding", "highest loss", "k-center",
    "prototypes", "random", "random block", "semdedup", "single influence", "stratified random",
    "twinning", "infomax",
}  # fmt: skip


@pytest.fixture(autouse=True)
def short_trainings(monkeypatch):
    monkeypatch.setattr(dynamics, "EPOCHS", 11)


@pytest.fixture(scope="module", params=sorted(STRATEGIES))
def name(request):
    return request.param


def fit(name, *rows, **options):
    return STRATEGIES[name](**{"keep": 0.25, "random_state": 0, **options}).fit(*rows)


def test_a_strategy_keeps_its_share_and_equal_seeds_keep_equal_rows(name):
    first, second = fit(name, X, y), fit(name, X, y)
    assert len(first.sample_indices_) == 60
    assert_array_equal(first.sample_indices_, second.sample_indices_)
    if first.sample_weight_ is not None:
        assert (first.sample_weight_ >= 0).all()
        assert_array_equal(first.sample_weight_, second.sample_weight_)
    assert len(fit(name, X, y, keep=1.0).sample_indices_) == 240
    assert len(fit(name, X, y, keep=3, min_per_class=1).sample_indices_) == 3
    assert set(y[fit(name, X, y, keep=3, min_per_class=1).sample_indices_]) == {0, 1, 2}


def test_sizes_of_one_ranking_are_nested(name):
    large = fit(name, X, y, keep=0.5)
    if not hasattr(large, "ranking_"):
        pytest.skip("the choice depends on the size")
    assert len(np.unique(large.ranking_)) == len(large.ranking_) >= 120
    small = fit(name, X, y, keep=0.25)
    assert set(small.sample_indices_) <= set(large.sample_indices_)
    assert_array_equal(small.ranking_[:60], large.ranking_[:60])


def test_arrays_frames_and_sparse_rows_are_alike(name):
    whole = X.round(2)
    rows = fit(name, whole, y, model=LogisticRegression()).sample_indices_
    frame = pd.DataFrame(whole)
    options = {"model": LogisticRegression()}
    assert_array_equal(fit(name, frame, pd.Series(y), **options).sample_indices_, rows)
    if name not in ("semdedup", "prototypes"):  # whose k-means rounds sparse rows otherwise
        sparse = sp.csr_matrix(whole)
        assert len(np.setdiff1d(fit(name, sparse, y, **options).sample_indices_, rows)) <= 6


def test_a_network_gives_features_and_predictions(name):
    rows, targets = blobs(n=90)
    net = trained_mlp(rows, targets)
    first = fit(name, rows, targets, model=net)
    dataset = TensorDataset(torch.from_numpy(rows), torch.from_numpy(targets))
    second = fit(name, dataset, None, model=TorchProxy(net))
    assert len(first.sample_indices_) == 22
    assert_array_equal(first.sample_indices_, second.sample_indices_)
    assert len(second.take(dataset)) == 22


def test_numbers_as_targets(name):
    rows, targets = load_diabetes(return_X_y=True)
    if name in OF_NUMBERS:
        assert len(fit(name, rows[:200], targets[:200]).sample_indices_) == 50
    else:
        with pytest.raises(ValueError, match="probabilities of classes, and y holds numbers"):
            fit(name, rows[:200], targets[:200])


def test_labels_are_needed_or_make_no_difference(name):
    """To choose what to label, no labels are known."""
    if STRATEGIES[name].needs_labels:
        with pytest.raises(ValueError, match="requires y"):
            fit(name, X)
        return
    pruner = STRATEGIES[name](0.25, random_state=0)
    assert_array_equal(pruner.fit_transform(X), X[pruner.sample_indices_])
    numbers = np.random.default_rng(0).normal(size=len(X))
    assert_array_equal(pruner.sample_indices_, fit(name, X, numbers).sample_indices_)
    assert list(pruner.rows_.columns[:1]) == ["position"]
    assert "target" not in pruner.rows_.columns


def test_rows_without_weight_are_kept_last(name):
    weights = np.repeat([1.0, 0.0], 120)
    pruner = STRATEGIES[name](keep=0.5, random_state=0).fit(X, y, weights)
    assert_array_equal(pruner.sample_indices_, np.arange(120))


@pytest.mark.parametrize(
    ("kind", "model", "rows", "words"),
    [
        (Entropy, RidgeClassifier(), (X, y), "a head of squared errors, such as RidgeClassifier"),
        (EL2N, None, (TensorDataset(torch.from_numpy(X), torch.from_numpy(y)), None), "dataset"),
        (EL2N, None, (X, np.zeros(240)), "needs at least 2 classes"),
        (CCS, KMeans(), (X, y), "model must be None"),
    ],
)
def test_what_is_refused(kind, model, rows, words):
    with pytest.raises((ValueError, TypeError), match=words):
        kind(model=model).fit(*rows)


class Corner(Strategy):
    """Keeps the rows of smallest first feature."""

    def rank(self, evidence, rng):
        return np.argsort(evidence.features[:, 0])


class Alternate(Strategy):
    """Keeps every second, third, ... row."""

    def choose(self, evidence, size, rng):
        return np.linspace(0, len(evidence) - 1, size).astype(int)


def test_a_strategy_costs_one_method_and_a_line_in_the_registry(monkeypatch):
    corner = Corner(keep=0.1, min_per_class=0).fit(X, y)
    assert_array_equal(np.sort(X[:, 0].argsort()[:24]), corner.sample_indices_)
    kept = Alternate(keep=2 / 240, min_per_class=0).fit(X, y).sample_indices_
    assert_array_equal(kept, [0, 239])
    monkeypatch.setitem(STRATEGIES, "corner", Corner)
    strategies = {"corner": "corner", "alternate": Alternate()}
    found = compare(X, y, strategies, [0.2, 0.4], estimator=LogisticRegression(), seeds=1)
    assert {"corner", "alternate"} <= {cell["strategy"] for cell in found.cells}
    assert isinstance(clone(corner).set_params(keep=3), Corner)
    with pytest.raises(NotImplementedError, match="writes neither rank nor choose"):
        Strategy().fit(X, y)


def own(base, **methods):
    return type("Own", (base,), {name: staticmethod(what) for name, what in methods.items()})(0.2)


def of_group(what):
    return own(GroupStrategy, order=lambda evidence, rows, most, rng: what(rows, most))


@pytest.mark.parametrize(
    ("strategy", "words"),
    [
        (own(Strategy, rank=lambda e, r: e.features[:, 0]), r"\(240,\) and dtype float64: entry 0"),
        (own(Strategy, rank=lambda e, r: np.arange(240) % 7 - 1), "rank gave .* entry 0 is -1"),
        (own(Strategy, rank=lambda e, r: np.arange(240) + 1), "entry 239 is 240"),
        (own(Strategy, rank=lambda e, r: np.zeros(10, int)), "row 0 comes 10 times"),
        (own(Strategy, rank=lambda e, r: np.arange(99)), "only 99.* all of the whole numbers"),
        (own(Strategy, rank=lambda e, r: e.codes > 0), "entry 0 is False, which is no position"),
        (own(Strategy, rank=lambda e, r: None), "NoneType of shape .* one axis"),
        (own(Strategy, choose=lambda e, size, r: range(size - 1)), "choose gave .* at least 48"),
        (own(Strategy, choose=lambda e, size, r: np.arange(size) // 2), "comes 2 times"),
        (own(ScoreStrategy, score_rows=lambda e: np.ones(7)), r"score_rows gave .* not \(240,\)"),
        (own(ScoreStrategy, score_rows=lambda e: np.where(e.codes, 1, np.nan)), "entry 0 is NaN"),
        (own(ScoreStrategy, score_rows=lambda e: ["high"] * 240), "entry 0 is .*high"),
        (of_group(lambda rows, most: rows[-most:]), "order gave .* positions among the 8. rows"),
        (of_group(lambda rows, most: np.zeros(most, int)), "order gave .* row 0 comes"),
        (of_group(lambda rows, most: [0]), "order gave .* only 1"),
        (own(Strategy, rank=lambda e, r: range(240), weigh=lambda e, rows: [1]), "weigh .* 48"),
    ],
)  # fmt: skip
def test_what_a_strategy_of_ones_own_may_not_return(strategy, words):
    with pytest.raises(ValueError, match=words) as raised:
        strategy.fit(X, np.sort(y))
    assert str(raised.value).startswith("Own.")


def test_a_ranking_that_is_given_is_checked_too():
    from skprune.baselines.evidence import read_evidence

    with pytest.raises(ValueError, match=r"Corner.ranking_ gave .* at least 120"):
        Corner(keep=0.5).fit_evidence(read_evidence(Corner(), X, y), np.arange(100))


def test_strategies_share_one_evidence():
    calls = []

    class Counting(Evidence):
        def difficulty(self, name):
            calls.append(self.head[1])
            return super().difficulty(name)

    from skprune.baselines.evidence import read_evidence

    found = read_evidence(EL2N(), X, y)
    evidence = Counting(found.table, found.encoder)
    for name in ("el2n", "highest loss", "grand"):
        shared = STRATEGIES[name](0.25, random_state=0).fit_evidence(evidence)
        assert_array_equal(shared.sample_indices_, fit(name, X, y).sample_indices_)
    assert len(set(map(id, calls))) == 1
    assert evidence.seconds["head"] > 0


def test_what_is_not_read_is_not_known():
    class Blind(Random):
        def rank(self, evidence, rng):
            return evidence.features

    with pytest.raises(ValueError, match="looks_at_rows = True"):
        Blind().fit(X, y)


def test_features_without_labels_come_as_lists_too_and_not_beside_a_model():
    X = np.random.default_rng(0).normal(size=(40, 3))
    kept = KCenter(0.2, random_state=0).fit(X).sample_indices_
    np.testing.assert_array_equal(
        KCenter(0.2, random_state=0).fit(X.tolist()).sample_indices_, kept
    )
    with pytest.raises(ValueError, match="leave model=None and give the features as X"):
        KCenter(0.2, model=LogisticRegression()).fit(X)


@pytest.mark.parametrize("kind", [DUAL, Prototypes])
def test_scores_of_one_network_twice_are_its_own(kind):
    X, y = blobs()
    net = trained_mlp(X, y)
    one, two = (kind(0.3, model=m, random_state=0).fit(X, y) for m in (net, [net, net]))
    np.testing.assert_allclose(one.scores_, two.scores_)
