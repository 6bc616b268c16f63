"""One protocol a stage: what is written inside a test works through ``InfluencePruner``."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.datasets import load_breast_cancer
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprune import InfluencePruner, LinearProxy, PruningCurveDisplay, TorchProxy
from skprune.data import sources
from skprune.data.source import RowSource, spans
from skprune.evaluation.base import Evaluator
from skprune.influence.operator import DenseInfluence
from skprune.proxies.base import FittedProxy, Proxy
from skprune.proxies.verify import Verify
from skprune.results.gap import Gap

X, y = load_breast_cancer(return_X_y=True)
X = StandardScaler().fit_transform(X)


class Columns(Proxy):
    """Chooses rows whose columns have the mean of all rows."""

    def fit(self, reading, split, scoring, seed, progress):
        return FittedColumns(split.train)


class FittedColumns(FittedProxy):
    def __init__(self, table):
        self.table = table
        rows = torch.from_numpy(np.asarray(table.X))
        self.influence = DenseInfluence(rows - rows.mean(0))

    def on(self, table):
        return FittedColumns(table)

    def describe(self):
        return "means of columns"


class Bag:
    """Rows that neither ``len`` nor an index knows of."""

    def __init__(self, rows):
        self.rows = rows


class BagSource(RowSource):
    """Rows of a bag."""

    def __init__(self, X, y=None, takes=None):
        super().__init__(X, len(X.rows), y)

    @classmethod
    def reads(cls, X, y):
        return isinstance(X, Bag)

    def fingerprint(self):
        return None

    def take(self, indices):
        return Bag([self.original.rows[i] for i in self._check_indices(indices)])

    def _batches(self, size, indices):
        for _, where in spans(len(self), size, indices):
            yield torch.stack([self.original.rows[i] for i in where]), where


class Neighbours(Verify):
    """Measures the error of the nearest neighbour, and nothing else."""

    def evaluator(self, task, seen=None):
        return NearestError(task.train, task.held_out)


class NearestError(Evaluator):
    level = "nearest"

    def __init__(self, train, held_out):
        self.train, self.held_out = train, held_out
        self.full = self.wrong(np.arange(len(train.y)))

    def wrong(self, rows):
        nearest = KNeighborsClassifier(1).fit(self.train.X[rows], self.train.y[rows])
        return nearest.predict(self.held_out.X) != self.held_out.y

    def gap(self, kept, limit=None):
        d = self.wrong(kept.indices).astype(float) - self.full
        return Gap(d.mean(), d.std() / len(d) ** 0.5, self.level, "error", len(d))


def test_a_proxy_costs_one_class():
    model = make_pipeline(StandardScaler(), LogisticRegression())
    pruner = InfluencePruner(keep=0.2, model=Columns(), verify=model, random_state=0).fit(X, y)
    assert len(pruner.sample_indices_) == 114
    assert pruner.gap_.level == "retrained"
    assert "means of columns" in str(pruner.report_)
    away = np.linalg.norm(X[pruner.sample_indices_].mean(0))
    random = np.random.default_rng(0).choice(len(X), (200, 114))
    assert away < min(np.linalg.norm(X[rows].mean(0)) for rows in random) / 5
    assert isinstance(clone(pruner).model, Columns)
    with pytest.raises(ValueError, match="does not predict what removing rows does"):
        pruner.group_influence([0])
    with pytest.raises(ValueError, match="measures no gap itself; give verify="):
        InfluencePruner(keep=0.2, model=Columns()).fit(X, y)


@pytest.mark.parametrize("options", [{"keep": 0.3}, {"max_gap": 0.05}])
def test_a_level_costs_two_classes(options):
    pruner = InfluencePruner(verify=Neighbours(), random_state=0, **options).fit(X, y)
    assert pruner.gap_.level == "nearest"
    assert np.isfinite(pruner.path_["nearest_gap"]).all()
    assert np.isfinite(pruner.path_["refit_gap"]).all()
    assert set(pruner.report_.gaps) == {"predicted", "refit", "nearest"}
    assert "gap, nearest" in str(pruner.report_)
    assert "random, nearest" in str(pruner.report_)
    assert "Nearest gap" in PruningCurveDisplay.from_estimator(pruner).ax_.get_ylabel()
    if "max_gap" in options:
        assert pruner.report_.trial.within(0.05)
        assert len(pruner.sample_indices_) < len(X)


@pytest.mark.parametrize("options", [{"keep": 0.3}, {"max_gap": 0.1}])
@pytest.mark.parametrize("model", [LogisticRegression(max_iter=5000), LinearProxy(), None])
def test_a_level_of_ones_own_is_given_rows_that_are_held_out(model, options):
    given = []

    class Seen(Neighbours):
        def evaluator(self, task, seen=None):
            given.append((task.train.X, task.held_out.X))
            return super().evaluator(task, seen)

    InfluencePruner(model=model, verify=Seen(), random_state=0, **options).fit(X, y)
    assert given
    for train, held_out in given:
        rows = np.vstack([train, held_out])
        assert len(np.unique(rows, axis=0)) == len(rows)


@pytest.mark.parametrize("layers", ["head", "all"])
def test_a_data_source_costs_one_class(monkeypatch, layers):
    monkeypatch.setattr(sources, "SOURCES", [BagSource, *sources.SOURCES])
    torch.manual_seed(0)
    rows = torch.from_numpy(X[:200]).float()
    net = torch.nn.Sequential(torch.nn.Linear(30, 4), torch.nn.Tanh(), torch.nn.Linear(4, 2))
    pruner = InfluencePruner(
        keep=0.3, model=TorchProxy(net, layers=layers, weight_decay=0.1), random_state=0
    )
    bag, kept_y = pruner.fit_transform(Bag(list(rows)), y[:200])
    assert isinstance(bag, Bag)
    kept = pruner.sample_indices_
    assert torch.equal(torch.stack(bag.rows), rows[kept])
    np.testing.assert_array_equal(kept_y, y[kept])
    np.testing.assert_array_equal(kept, clone(pruner).fit(rows, y[:200]).sample_indices_)
    with pytest.raises(ValueError, match="y has 200 entries for 199 rows of the Bag"):
        pruner.fit(Bag(list(rows[1:])), y[:200])
