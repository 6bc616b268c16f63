"""A search that was made before is not made again, and nothing else is taken for it."""

from __future__ import annotations

import os

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from cases.modules import trained_mlp
from cases.pruners import head_pruner, make_pruner
from cases.rows import WithTargets
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler
from sklearn.tree import DecisionTreeClassifier
from torch import nn

import skprune.proxies.driver as driver
import skprune.proxies.known as known
from skprune import InfluencePruner, PrunedClassifier, TorchProxy
from skprune.utils.cache import ContentCache, memory

rng = np.random.default_rng(0)
X = rng.normal(size=(150, 4))
y = (X[:, 0] + rng.normal(size=150) > 0).astype(int)


def train(dataset, seed):
    inputs, targets = dataset.tensors
    return trained_mlp(inputs.float().numpy(), targets.numpy(), seed=seed)


@pytest.fixture
def searches(monkeypatch):
    """One entry for every search that is made."""
    made, real = [], driver.find

    def counted(*args):
        made.append(args)
        return real(*args)

    monkeypatch.setattr(driver, "find", counted)
    monkeypatch.setattr(known, "OUTCOMES", ContentCache(2**20))
    return made


@pytest.mark.parametrize(
    ("options", "searched"),
    [
        ({"model": "softmax"}, 3),
        ({"model": "softmax", "verify": DecisionTreeClassifier(max_depth=3), "n_seeds": 1}, 3),
        ({"model": trained_mlp(X.astype("f4"), y)}, 3),
        ({"model": trained_mlp(X.astype("f4"), y), "verify": DecisionTreeClassifier()}, 3),
        ({"model": train, "verify": None}, 3),
        ({}, 9),  # the estimator examines the rows
    ],
)
@pytest.mark.filterwarnings("ignore::skprune.utils.exceptions.PruningWarning")
def test_a_grid_over_the_estimator_searches_once_a_fold(options, searched, searches):
    pruner = InfluencePruner(keep=0.5, random_state=0)
    if options:
        pruner = make_pruner(keep=0.5, random_state=0, **options)
    grid = GridSearchCV(
        PrunedClassifier(LogisticRegression(), pruner),
        {"estimator__C": [0.1, 1.0, 10.0, 100.0]},
        cv=2,
    ).fit(X, y)
    assert len(searches) == searched
    scores = grid.cv_results_["mean_test_score"]
    known.OUTCOMES.max_bytes = 0
    known.OUTCOMES.clear()
    np.testing.assert_array_equal(scores, grid.fit(X, y).cv_results_["mean_test_score"])


@pytest.mark.parametrize(
    "options", [{"verify": DecisionTreeClassifier()}, {"model": trained_mlp(X.astype("f4"), y)}]
)
@pytest.mark.filterwarnings("ignore::skprune.PruningWarning")
def test_what_is_shown_makes_no_other_search(options, searches):
    for verbose in (0, 1, "auto"):
        pruner = make_pruner(keep=0.5, random_state=0, verbose=verbose, **options)
        pruner.fit(X.astype("f4"), y)
    assert len(searches) == 1


def scorer(estimator, X, y):
    return float(np.mean(estimator.predict(X) == y))


CHANGES = [
    {"max_gap": 0.02},
    {"keep": 0.6},
    {"model": LogisticRegression(C=2.0)},
    {"model": make_pipeline(FunctionTransformer(np.tanh), LogisticRegression())},
    {"scoring": "accuracy"},
    {"scoring": scorer},
    {"curvature": "diagonal"},
    {"solver": "balance"},
    {"sampling": "loss"},
    {"sampling": np.arange(150.0)},
    {"verify": None},
    {"min_per_class": 2},
    {"validation_fraction": 0.3},
    {"random_state": 1},
    {"X": X + 1e-9},
    {"X": sp.csr_matrix(X)},
    {"X": pd.DataFrame(X), "model": make_pipeline(StandardScaler(), LogisticRegression())},
    {"y": 1 - y},
    {"y": np.array(["a", "b"], object)[y]},
    {"sample_weight": np.linspace(0.5, 1.0, 150)},
    {"X_val": X[:9], "y_val": y[:9]},
    {"groups": np.arange(150) // 2},
]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: next(iter(change)))
@pytest.mark.filterwarnings("ignore::skprune.utils.exceptions.PruningWarning")
def test_whatever_determines_a_search_makes_another(change, searches):
    def fit(X=X, y=y, sample_weight=None, X_val=None, y_val=None, groups=None, **options):
        pruner = make_pruner(**{"keep": 0.5, "random_state": 0, **options})
        return pruner.fit(X, y, sample_weight, X_val, y_val, groups)

    found = [fit(), fit(), fit(n_jobs=1)][0]
    assert len(searches) == 1
    changed = [fit(**change) for _ in range(2)]
    assert len(searches) == 2
    assert fit().scores_.tolist() == found.scores_.tolist()
    np.testing.assert_array_equal(changed[0].sample_indices_, changed[1].sample_indices_)


def test_what_was_found_belongs_to_its_pruner(searches):
    first, second = (head_pruner(keep=0.5, random_state=0) for _ in range(2))
    scores, sizes = first.fit(X, y).scores_.copy(), first.path_["n_kept"].copy()
    first.scores_[:], first.path_["n_kept"][:] = 0.0, 0
    second.fit(X, y)
    assert len(searches) == 1
    np.testing.assert_array_equal(second.scores_, scores)
    np.testing.assert_array_equal(second.path_["n_kept"], sizes)
    removed = first.group_influence([0]), second.group_influence([0])
    assert removed[0].newton.loss == removed[1].newton.loss
    assert second.report_.selection_seconds < first.report_.selection_seconds


def test_a_model_of_unknown_content_is_searched_again(searches):
    handle = open(__file__)  # noqa: SIM115 - what a user's function may hold
    reads = FunctionTransformer(lambda X: X if handle else -X)
    pruner = InfluencePruner(keep=0.5, model=make_pipeline(reads, LogisticRegression()))
    assert pruner.fit(X, y).scores_.tolist() == pruner.fit(X, y).scores_.tolist()
    assert len(searches) == 2
    handle.close()


@pytest.mark.parametrize("rows", [WithTargets, None])
def test_networks(rows, searches, monkeypatch):
    """Other results are another search, and so are rows that are computed."""
    net = trained_mlp(X.astype("f4"), y)
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x * float(os.environ["SLOPE"]))
    pruner = InfluencePruner(keep=0.5, model=net, random_state=0)
    for slope in ("1", "1", "2"):
        monkeypatch.setenv("SLOPE", slope)
        pruner.fit(*((rows(X.astype("f4"), y),) if rows else (X, y)))
    assert len(searches) == (3 if rows else 2)


def test_what_is_wanted_on_disk_is_written_whatever_is_known(searches, tmp_path):
    pruner = InfluencePruner(keep=0.5, model=TorchProxy(trained_mlp(X.astype("f4"), y)))
    pruner.set_params(random_state=0).fit(X, y)
    pruner.set_params(model__cache_dir=tmp_path).fit(X, y)
    assert len(searches) == 2
    assert list(tmp_path.rglob("rows-*.npy"))


def test_memory_counts_what_is_held_once():
    class Held:
        def __init__(self, part):
            self.part, self.again = part, [part, {"a": part}]

    assert memory(Held(np.zeros(10))) == 80
    assert memory((np.zeros(3), Held(sp.eye(4, format="csr")))) == 24 + 4 * (8 + 4) + 5 * 4
