"""Whole models retrained on some rows: compared with loops of plain fits, and known curves."""

from __future__ import annotations

import math
import random

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from cases.retraining import Rows, digits, states, unchanged
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from torch.utils.data import Subset, TensorDataset

from skprune.data.sources import as_source
from skprune.evaluation.retrained import (
    Data,
    make_retraining,
    make_trainer,
)
from skprune.network.encoding import SourceRows
from skprune.utils.seeds import child_seeds

# Trainers


class Recorder(ClassifierMixin, BaseEstimator):
    """Remembers what it was fitted on, and draws from every global generator."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        self.seen_ = (X, y, sample_weight)
        self.draws_ = (random.random(), np.random.random(), float(torch.rand(())))  # noqa: NPY002
        self.classes_ = np.unique(y)
        return self


def test_an_estimator_is_fitted_on_the_users_own_containers():
    X, y = digits(20)
    rows = np.array([3, 5, 11])
    frame = pd.DataFrame(X, index=[f"r{i}" for i in range(20)]).assign(kind=list("ab") * 10)
    labels, weights = pd.Series(y, index=frame.index), np.arange(20.0)
    fitted = make_trainer(Recorder(), Data(frame, labels, weights)).fit(rows, 0)
    seen, target, weight = fitted.seen_
    pd.testing.assert_frame_equal(seen, frame.iloc[rows])
    pd.testing.assert_series_equal(target, labels.iloc[rows])
    np.testing.assert_array_equal(weight, [3.0, 5.0, 11.0])
    sparse = make_trainer(Recorder(), Data(sp.csr_matrix(X), list(y))).fit(rows, 0).seen_
    assert sp.issparse(sparse[0])
    assert sparse[1] == list(y[rows])
    assert sparse[2] is None


def test_trainings_depend_on_the_seed_alone_and_leave_the_global_states():
    X, y = digits(30)
    trainer = make_trainer(Recorder(), Data(X, y))
    before = states()
    one, same, other = (trainer.fit(np.arange(9), s) for s in (4, 4, 5))
    unchanged(before)
    assert one.draws_ == same.draws_
    assert all(a != b for a, b in zip(one.draws_, other.draws_, strict=True))
    assert one.random_state == same.random_state != other.random_state

    class Failing(Recorder):
        def fit(self, X, y):
            torch.rand(3)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        make_trainer(Failing(), Data(X, y)).fit(np.arange(9), 0)
    unchanged(before)


def test_every_nested_random_state_is_set():
    X, y = digits(60)
    model = make_pipeline(
        StandardScaler(),
        BaggingClassifier(DecisionTreeClassifier(random_state=0), 2, random_state=0),
    )
    fitted = [make_trainer(model, Data(X, y)).fit(np.arange(60), s) for s in (1, 1, 2)]
    found = [
        (f[-1].random_state, f[-1].estimator.random_state, f[-1].predict_proba(X)) for f in fitted
    ]
    assert found[0][:2] == found[1][:2]
    assert len({*found[0][:2], *found[2][:2], 0}) == 5
    np.testing.assert_array_equal(found[0][2], found[1][2])
    assert not np.array_equal(found[0][2], found[2][2])
    assert model[-1].random_state == 0
    assert not hasattr(model[-1], "classes_")
    assert child_seeds(7, 5)[:3] == child_seeds(7, 3)
    assert all(0 <= s < 2**31 for s in child_seeds(2**40, 50))


def test_weights_go_where_they_are_taken():
    X, y = digits(120)
    weights = np.random.default_rng(0).uniform(0.1, 3.0, 120)
    rows = np.arange(0, 120, 2)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    fitted = make_trainer(pipeline, Data(X, y, weights)).fit(rows, 0)
    expected = clone(pipeline).fit(
        X[rows], y[rows], logisticregression__sample_weight=weights[rows]
    )
    np.testing.assert_allclose(fitted[-1].coef_, expected[-1].coef_)
    assert make_trainer(pipeline, Data(X, y, weights)).weight_name is not None
    neighbours = make_trainer(KNeighborsClassifier(), Data(X, y, weights))
    assert neighbours.weight_name is None
    neighbours.fit(rows, 0)  # takes none, and gets none


def test_a_callable_gets_the_users_dataset_cut_to_the_rows():
    X, y = digits(50)
    seen = []

    def train(dataset, seed):
        seen.append((dataset, seed))
        return nn.Linear(64, 10)

    rows = np.array([2, 30, 41])
    dataset = Rows(X, y)
    make_trainer(train, Data(dataset)).fit(rows, 11)
    make_trainer(train, Data(X, y)).fit(rows, 12)
    # Of a source, positions count within the rows that were held.
    inside = SourceRows(as_source(dataset), np.arange(5, 50))
    make_trainer(train, Data(inside)).fit(rows, 13)
    assert [s for _, s in seen] == [11, 12, 13]
    assert isinstance(seen[0][0], Subset)
    assert isinstance(seen[1][0], TensorDataset)
    for (given, _), shift in zip(seen, (0, 0, 5), strict=True):
        assert len(given) == 3
        for k, i in enumerate(rows + shift):
            np.testing.assert_array_equal(given[k][0], X[i])
            assert int(given[k][1]) == y[i]


def test_models_that_cannot_be_trained():
    X, y = digits(20)
    for model, words in (
        (nn.Linear(64, 10), r"trained nn\.Module.*skorch net.*callable train\(dataset, seed\)"),
        (LogisticRegression, "Cannot retrain"),
        ("softmax", "Cannot retrain 'softmax'"),
    ):
        with pytest.raises(TypeError, match=words):
            make_trainer(model, Data(X, y))
    with pytest.raises(TypeError, match="cannot be trained on a dataset"):
        make_trainer(LogisticRegression(), Data(Rows(X, y)))
    with pytest.raises(TypeError, match="returned a int"):
        make_trainer(lambda dataset, seed: 3, Data(X, y)).fit(np.arange(5), 0)


# Measures, and gaps against loops of plain fits


def by_hand(model, X, y, rows, train, test, score, n_seeds):
    """Differences of scores over seeds, from plain fits."""
    differences = []
    for seed in child_seeds(5, n_seeds):
        scores = []
        for part in (train, train[rows]):
            fitted = clone(model)
            if "random_state" in fitted.get_params():
                fitted.set_params(random_state=child_seeds(seed, 1)[0])
            fitted.fit(X[part], y[part])
            scores.append(score(fitted, X[test], y[test]))
        differences.append(scores[0] - scores[1])
    return np.array(differences)


SCORES = {
    "loss": lambda m, X, y: -log_loss(y, m.predict_proba(X), labels=m.classes_),
    "accuracy": lambda m, X, y: accuracy_score(y, m.predict(X)),
    "roc_auc": lambda m, X, y: roc_auc_score(y, m.predict_proba(X)[:, 1]),
}


@pytest.mark.parametrize("scoring", ["loss", "accuracy", "roc_auc"])
@pytest.mark.parametrize(
    "model",
    [LogisticRegression(max_iter=500), RandomForestClassifier(15, min_samples_leaf=5)],
    ids=["logistic", "forest"],
)
def test_gap_of_a_classifier_is_that_of_plain_fits(model, scoring):
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(y))
    train, test = order[:300], order[300:]
    rows = np.sort(rng.choice(300, 60, replace=False))
    held_out = Data(X[test], y[test])
    retraining = make_retraining(
        model, Data(X[train], y[train]), held_out, scoring=scoring, n_seeds=3, seed=5
    )
    before = states()
    trial = retraining.trial(rows)
    unchanged(before)
    gap = trial.gap
    expected = by_hand(model, X, y, rows, train, test, SCORES[scoring], 3)
    assert float(gap) == pytest.approx(expected.mean(), abs=1e-12)
    assert (gap.level, gap.scoring, gap.n_rows) == ("retrained", scoring, len(test))
    seeds = 1 if isinstance(model, LogisticRegression) else 3
    assert gap.n_seeds == seeds
    assert retraining.deterministic == (seeds == 1)
    # All rows are trained on once a seed, and twice to see that the seed has no say.
    assert retraining.n_trainings == max(2, seeds) + seeds
    # The trial holds its trainings, whatever the machine does beside them.
    assert trial.seconds >= sum(t.seconds for t in retraining.trainings if t.n_rows == 60)
    again = retraining.trial(rows)
    assert float(again.gap) == float(gap)
    assert retraining.n_trainings == max(2, seeds) + 2 * seeds
    assert [t.n_rows for t in retraining.trainings].count(300) == max(2, seeds)
    assert retraining.seconds_per_training() > 0
    assert math.isnan(retraining.seconds_per_training(17))


def test_loss_of_regressors_is_a_share_of_the_variance():
    X, y = load_diabetes(return_X_y=True)
    rows = np.arange(0, 300, 6)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    retraining = make_retraining(
        Ridge(alpha=0.1),
        Data(X[:300], y[:300], weights[:300]),
        Data(X[300:], y[300:], weights[300:]),
        n_seeds=1,
    )
    full = Ridge(alpha=0.1).fit(X[:300], y[:300], weights[:300])
    pruned = Ridge(alpha=0.1).fit(X[rows], y[rows], weights[rows])
    errors = [
        mean_squared_error(y[300:], m.predict(X[300:]), sample_weight=weights[300:])
        for m in (full, pruned)
    ]
    variance = np.cov(y[:300], aweights=weights[:300], ddof=0)
    gap = retraining.trial(rows).gap
    assert float(gap) == pytest.approx((errors[1] - errors[0]) / variance, rel=1e-9)
    assert retraining.n_trainings == 2
    # Several targets: the share of their variances together.
    Y = np.stack([y, -2 * y + 7], axis=1)
    several = make_retraining(Ridge(alpha=0.1), Data(X[:300], Y[:300]), Data(X[300:], Y[300:]))
    one = make_retraining(Ridge(alpha=0.1), Data(X[:300], y[:300]), Data(X[300:], y[300:]))
    assert float(several.trial(rows).gap) == pytest.approx(float(one.trial(rows).gap), rel=1e-9)


def test_a_label_that_the_kept_rows_lack_costs_as_much_as_in_log_loss():
    X, y = digits(300)
    rows = np.flatnonzero(y[:200] != 9)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    retraining = make_retraining(model, Data(X[:200], y[:200]), Data(X[200:], y[200:]))
    fitted = clone(model).fit(X[rows], y[rows])
    P = fitted.predict_proba(X[200:])
    P = np.hstack([P, np.zeros_like(P[:, :1])])
    full = clone(model).fit(X[:200], y[:200])
    expected = log_loss(y[200:], P, labels=np.arange(10)) - log_loss(
        y[200:], full.predict_proba(X[200:])
    )
    assert float(retraining.trial(rows).gap) == pytest.approx(expected, rel=1e-6)


def test_the_loss_of_a_classifier_without_probabilities_is_its_error_rate():
    X, y = digits(200)
    retraining = make_retraining(LinearSVC(), Data(X[:100], y[:100]), Data(X[100:], y[100:]))
    gap = retraining.trial(np.arange(40)).gap
    full, few = (LinearSVC().fit(X[:m], y[:m]).score(X[100:], y[100:]) for m in (100, 40))
    assert float(gap) == pytest.approx(full - few, abs=0.03)  # its solver has a seed
    assert gap.scoring == "error rate"
    learned = retraining.learned()
    common = np.bincount(y[:100]).argmax()
    assert learned.score - float(learned.gap) == pytest.approx(-np.mean(y[100:] != common))


def test_scorers_need_what_they_score():
    X, y = digits(40)
    with pytest.raises(ValueError, match="cannot score LinearSVC"):
        make_retraining(LinearSVC(), Data(X, y), Data(X, y), scoring="roc_auc_ovr").trial(
            np.arange(30)
        )
    gap = make_retraining(LinearSVC(), Data(X, y), Data(X, y), scoring="accuracy").trial(
        np.arange(30)
    )
    assert math.isfinite(gap.gap)


def test_predictions_are_made_once_for_all_parts_of_the_jackknife():
    X, y = load_breast_cancer(return_X_y=True)
    calls = []

    class Counting(DecisionTreeClassifier):
        def predict(self, X, check_input=True):
            calls.append(len(X))
            return super().predict(X, check_input)

    def scorer(estimator, X, y):
        assert len(estimator.predict(X[:7])) == 7  # other rows are computed as ever
        return accuracy_score(y, estimator.predict(X))

    held_out = Data(X[300:], y[300:])
    for scoring, per_model in (("accuracy", [269]), (scorer, [7, 269] + 20 * [7])):
        calls.clear()
        model = Counting(max_depth=2, random_state=0)
        retraining = make_retraining(
            model, Data(X[:300], y[:300]), held_out, scoring=scoring, n_seeds=1
        )
        gap = retraining.trial(np.arange(100)).gap
        assert calls == 2 * per_model
        assert 0 < gap.standard_error < 0.1


def test_jackknife_of_few_rows_is_their_plain_standard_error():
    X, y = digits(300)
    X[200:] += np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
    model = LogisticRegression()
    models = [clone(model).fit(X[:m], y[:m]) for m in (200, 40)]
    # With at most 20 rows every group is one of them.
    for stop in (217, 220):
        held_out = Data(X[200:stop], y[200:stop])
        retraining = make_retraining(
            model, Data(X[:200], y[:200]), held_out, scoring="accuracy", n_seeds=1
        )
        gap = retraining.trial(np.arange(40)).gap
        right = [(m.predict(X[200:stop]) == y[200:stop]).astype(float) for m in models]
        difference = right[0] - right[1]
        assert difference.std() > 0
        assert float(gap) == pytest.approx(difference.mean())
        plain = difference.std(ddof=1) / np.sqrt(stop - 200)
        assert gap.standard_error == pytest.approx(plain)
        assert gap.freedom == stop - 201
    one = Data(X[200:201], y[200:201])
    gap = make_retraining(model, Data(X[:200], y[:200]), one).trial(np.arange(40)).gap
    assert gap.standard_error == math.inf
    assert not gap.within(1e9)
