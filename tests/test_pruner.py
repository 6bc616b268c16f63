"""What InfluencePruner promises, end to end, checked by scikit-learn's own refits."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from cases.pruners import head_pruner
from sklearn.base import clone
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_blobs,
    make_regression,
)
from sklearn.decomposition import PCA
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LinearRegression, LogisticRegression, Ridge, SGDClassifier
from sklearn.metrics import accuracy_score, log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

from skprune import InfluencePruner, LinearProxy, PrunedClassifier, PruningWarning
from skprune.data.table import hold_out
from skprune.heads.reading import read_table
from skprune.proxies.head import FITS, fit_curvature

EXACT = {"solver": "newton-cholesky", "tol": 1e-9, "max_iter": 1000}
TABLES = {
    "breast_cancer": load_breast_cancer,
    "wine": load_wine,
    "digits": load_digits,
    "diabetes": load_diabetes,
}


def quiet(pruner, *args, **kwargs):
    """Fit; a budget that cannot be met is allowed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        return pruner.fit(*args, **kwargs)


def assert_consistent(pruner, n):
    """What holds of every fitted pruner."""
    rows = pruner.sample_indices_
    assert rows.dtype == np.int64
    assert np.all(np.diff(rows) > 0)
    assert 0 <= rows[0] <= rows[-1] < n
    np.testing.assert_array_equal(np.flatnonzero(pruner.keep_mask_), rows)
    assert pruner.keep_mask_.shape == pruner.scores_.shape == (n,)
    assert np.all(np.isfinite(pruner.scores_))
    assert np.isfinite(pruner.gap_)
    assert (pruner.report_.n_rows, pruner.report_.n_kept) == (n, len(rows))
    path = pruner.path_
    assert len({len(column) for column in path.values()}) == 1
    assert np.all(np.diff(path["n_kept"]) <= 0)
    gaps = path["refit_gap"] if pruner.verify else path["predicted_gap"]
    within = gaps + path["standard_error"] <= pruner.max_gap
    np.testing.assert_array_equal(path["allowed"], within)
    return path


def same(one, other):
    np.testing.assert_array_equal(one.sample_indices_, other.sample_indices_)
    np.testing.assert_array_equal(one.scores_, other.scores_)
    assert one.gap_ == other.gap_
    assert one.gap_.standard_error == other.gap_.standard_error


def three_way(name, seed=0):
    """Rows to fit, rows to measure on."""
    X, y = TABLES[name](return_X_y=True)
    stratify = None if name == "diabetes" else y
    X, X_val, y, y_val = train_test_split(X, y, random_state=seed, stratify=stratify, test_size=0.4)
    return X, y, X_val, y_val


# The two budgets


@pytest.mark.parametrize("name", list(TABLES))
@pytest.mark.parametrize("max_gap", [0.02, 0.1])
def test_budget_with_own_held_out_rows(name, max_gap):
    X, y, X_val, y_val = three_way(name)
    pruner = quiet(head_pruner(max_gap, random_state=0), X, y, X_val=X_val, y_val=y_val)
    path = assert_consistent(pruner, len(y))
    assert pruner.gap_.n_rows == len(y_val)
    # Of the sizes that were tried, the smallest allowed one is what is kept.
    assert path["allowed"].any()
    chosen = np.flatnonzero(path["allowed"])[-1]
    assert len(pruner.sample_indices_) == path["n_kept"][chosen]
    assert pruner.gap_ == path["refit_gap"][chosen]
    assert pruner.gap_ + pruner.gap_.standard_error <= max_gap
    # And a few rows less were tried, and refused.
    refused = path["n_kept"][~path["allowed"]]
    smallest = max(1, len(np.unique(y)) if name != "diabetes" else 1)
    below = refused[refused < path["n_kept"][chosen]]
    assert len(pruner.sample_indices_) <= max(1.06 * below.max(initial=0) + 1, smallest)
    assert pruner.report_.met
    assert "within" in pruner.report_.status


@pytest.mark.parametrize("name", list(TABLES))
def test_budget_without_held_out_rows(name):
    X, y = TABLES[name](return_X_y=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pruner = head_pruner(0.1, random_state=0)
        X_kept, y_kept = pruner.fit_transform(X, y)
    path = assert_consistent(pruner, len(y))
    assert len(y_kept) < len(y)
    np.testing.assert_array_equal(X_kept, X[pruner.sample_indices_])
    np.testing.assert_array_equal(y_kept, y[pruner.sample_indices_])
    # The size was chosen on held-out rows, and the rows that are kept are measured on all.
    assert abs(pruner.report_.trial.n_rows - 0.2 * len(y)) <= 1
    assert (pruner.gap_.n_rows, pruner.gap_.held_out) == (len(y), False)
    assert pruner.gap_ + pruner.gap_.standard_error <= 0.1
    # The share of the trial is kept of all rows.
    chosen = np.flatnonzero(path["refit_gap"] == pruner.report_.trial)[-1]
    assert path["allowed"][chosen]
    assert len(y_kept) == pytest.approx(path["share"][chosen] * len(y), abs=1)


def test_a_larger_budget_keeps_fewer_rows():
    X, y, X_val, y_val = three_way("digits")
    sizes = [
        len(quiet(head_pruner(g, random_state=0), X, y, None, X_val, y_val).sample_indices_)
        for g in (0.01, 0.05, 0.2, 0.6)
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[-1] < 0.5 * sizes[0]


@pytest.mark.parametrize("verify", ["refit", None])
def test_a_budget_that_cannot_be_met_keeps_all_rows_and_says_so(verify):
    X, y, X_val, y_val = three_way("digits")
    X, y = X[:150], y[:150]  # fewer rows than parameters: every one of them counts
    pruner = head_pruner(1e-7, verify=verify, random_state=0)
    with pytest.warns(PruningWarning, match="all rows are kept") as record:
        pruner.fit(X, y, X_val=X_val, y_val=y_val)
    assert record[0].filename == __file__  # the caller's line, not one of ours
    assert_consistent(pruner, len(y))
    assert len(pruner.transform(X)) == len(X)
    assert pruner.keep_mask_.all()
    assert (pruner.gap_, pruner.gap_.standard_error) == (0.0, 0.0)
    assert not pruner.path_["allowed"].any()
    assert len(pruner.path_["n_kept"]) > 1
    assert not pruner.report_.met
    assert "cannot be pruned within max_gap=1e-07" in pruner.report_.status
    assert "too large with its error" in pruner.report_.status


@pytest.mark.parametrize("keep", [0.3, 57, 1.0])
@pytest.mark.parametrize("name", list(TABLES))
def test_fixed_size(name, keep):
    X, y = TABLES[name](return_X_y=True)
    pruner = head_pruner(keep=keep, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        pruner.fit(X, y)
    path = assert_consistent(pruner, len(y))
    size = keep if isinstance(keep, int) else round(keep * len(y))
    assert len(pruner.sample_indices_) == size
    assert len(path["n_kept"]) == 1
    assert pruner.gap_.level == "refit"
    if keep == 1.0:
        assert pruner.gap_ == pytest.approx(0.0, abs=1e-6)
    assert pruner.report_.met
    assert f"keep={keep!r}" in pruner.report_.status


@pytest.mark.parametrize("keep", [0.6, 0.3])
def test_fixed_size_is_far_better_than_random(keep):
    gaps = []
    for seed in range(4):
        X, y, X_val, y_val = three_way("digits", seed)
        pruner = head_pruner(keep=keep, random_state=0)
        pruner.fit(X, y, X_val=X_val, y_val=y_val)
        gaps.append([pruner.gap_, pruner.report_.random])
    own, random = np.mean(gaps, 0)
    assert own < 0.5 * random


# The gap, by scikit-learn's own refits


def test_gap_of_logistic_regression_is_the_one_of_its_own_refit():
    for name, C in (("breast_cancer", 1.0), ("wine", 0.1), ("digits", 0.01)):
        X, y, X_val, y_val = three_way(name)
        centre, spread = X.mean(0), X.std(0) + 1e-12
        X, X_val = (X - centre) / spread, (X_val - centre) / spread
        pruner = InfluencePruner(keep=0.3, model=LogisticRegression(C=C), random_state=0)
        X_kept, y_kept = pruner.fit_transform(X, y, X_val=X_val, y_val=y_val)
        P = [
            LogisticRegression(C=C, **EXACT).fit(*rows).predict_proba(X_val)
            for rows in ((X, y), (X_kept, y_kept))
        ]
        truth = log_loss(y_val, P[1]) - log_loss(y_val, P[0])
        assert pruner.gap_ == pytest.approx(truth, abs=2e-5)
        codes = y_val[:, None] == np.unique(y)
        differences = np.log(P[0][codes]) - np.log(P[1][codes])
        error = differences.std(ddof=1) / np.sqrt(len(y_val))
        assert pruner.gap_.standard_error == pytest.approx(error, rel=1e-2)
        # The Newton step is a prediction of it, and no more.
        predicted = pruner.report_.gaps["predicted"]
        assert predicted != pruner.gap_
        assert predicted == pytest.approx(truth, abs=0.5 * abs(truth) + 0.01)


@pytest.mark.parametrize("model", [Ridge(alpha=3.0), LinearRegression()])
def test_gap_of_ridge_is_the_one_of_its_own_refit(model, rng):
    X, y, X_val, y_val = three_way("diabetes")
    w = rng.uniform(0.5, 1.5, len(y))
    pruner = InfluencePruner(keep=0.2, model=model, random_state=0)
    pruner.fit(X, y, sample_weight=w, X_val=X_val, y_val=y_val)
    rows = pruner.sample_indices_
    full = clone(model).fit(X, y, sample_weight=w)
    small = clone(model).fit(X[rows], y[rows], sample_weight=w[rows])
    variance = np.cov(y, aweights=w, ddof=0)
    squares = [(m.predict(X_val) - y_val) ** 2 / variance for m in (full, small)]
    differences = squares[1] - squares[0]
    assert pruner.gap_ == pytest.approx(differences.mean(), abs=1e-5)
    error = differences.std(ddof=1) / np.sqrt(len(y_val))
    assert pruner.gap_.standard_error == pytest.approx(error, rel=1e-3)
    # For squared error the Newton step is the refit.
    assert pruner.report_.gaps["predicted"] == pytest.approx(pruner.gap_, abs=1e-3)


def test_gap_of_accuracy_is_the_one_of_its_own_refit():
    X, y, X_val, y_val = three_way("wine")
    X, X_val = X[:, :3], X_val[:, :3]
    model = make_pipeline(StandardScaler().fit(X), LogisticRegression(C=1.0))
    pruner = InfluencePruner(keep=0.2, model=model, scoring="accuracy", random_state=0)
    pruner.fit(X, y, X_val=X_val, y_val=y_val)
    assert pruner.gap_.scoring == "accuracy"
    score = []
    for rows in (np.arange(len(y)), pruner.sample_indices_):
        fitted = clone(model).fit(X[rows], y[rows])
        score.append(accuracy_score(y_val, fitted.predict(X_val)))
    assert pruner.gap_ == pytest.approx(score[0] - score[1], abs=1e-12)


@pytest.mark.parametrize(
    ("name", "scoring"),
    [
        ("breast_cancer", "roc_auc"),
        ("digits", "neg_log_loss"),
        ("diabetes", "r2"),
        ("wine", lambda estimator, X, y: estimator.score(X, y)),
    ],
)
def test_scorers_end_to_end(name, scoring):
    X, y, X_val, y_val = three_way(name)
    pruner = head_pruner(0.05, scoring=scoring, random_state=0)
    quiet(pruner, X, y, X_val=X_val, y_val=y_val)
    assert_consistent(pruner, len(y))
    assert pruner.gap_.scoring == (scoring if isinstance(scoring, str) else "callable")
    assert len(pruner.sample_indices_) < len(y)
    assert pruner.gap_ + pruner.gap_.standard_error <= 0.05


def test_verify_none_only_predicts():
    X, y, X_val, y_val = three_way("digits")
    pruner = head_pruner(0.1, verify=None, random_state=0)
    pruner.fit(X, y, X_val=X_val, y_val=y_val)
    path = assert_consistent(pruner, len(y))
    assert pruner.gap_.level == "predicted"
    assert pruner.gap_ == path["predicted_gap"][path["allowed"]][-1]
    assert np.isnan(path["refit_gap"]).all()
    assert list(pruner.report_.gaps) == ["predicted"]
    assert "predicted" in pruner.report_.status
    assert "refit gap" not in pruner.report_.status


# Weights, groups, classes


def test_rows_without_weight_are_without_effect(rng):
    X, y, X_val, y_val = three_way("wine")
    X, X_val = scale(X), scale(X_val)
    w = (rng.random(len(y)) < 0.6).astype(float)
    model = LogisticRegression(C=0.5)
    whole = InfluencePruner(keep=0.5, model=model, random_state=0)
    whole.fit(X, y, sample_weight=w, X_val=X_val, y_val=y_val)
    part = InfluencePruner(keep=0.5, model=model, random_state=0)
    part.fit(X[w > 0], y[w > 0], X_val=X_val, y_val=y_val)
    np.testing.assert_array_equal(whole.scores_[w == 0], 0.0)
    np.testing.assert_allclose(whole.scores_[w > 0], part.scores_, rtol=1e-5, atol=1e-9)
    one = whole.group_influence(np.flatnonzero(w == 0))
    assert np.abs(one.newton.parameters).max() < 1e-7
    budget = quiet(InfluencePruner(0.05, model=model), X, y, w, X_val, y_val)
    assert_consistent(budget, len(y))


def test_whole_weights_are_repetitions(rng):
    X, y, X_val, y_val = three_way("breast_cancer")
    X, X_val = scale(X)[:, :5], scale(X_val)[:, :5]
    w = rng.integers(0, 4, len(y))
    repeated = np.repeat(np.arange(len(y)), w)
    for model in (LogisticRegression(C=0.5), Ridge(alpha=2.0)):
        if isinstance(model, Ridge):
            y, y_val = y + X[:, 0], y_val + X_val[:, 0]
        a = InfluencePruner(keep=0.5, model=model, random_state=0)
        b = clone(a)
        a.fit(X, y, sample_weight=w, X_val=X_val, y_val=y_val)
        b.fit(X[repeated], y[repeated], X_val=X_val, y_val=y_val)
        for row in range(12):
            one = a.group_influence([row])
            many = b.group_influence(np.flatnonzero(repeated == row))
            for how in ("influence", "newton"):
                x, z = getattr(one, how), getattr(many, how)
                np.testing.assert_allclose(x.parameters, z.parameters, rtol=1e-3, atol=1e-7)
                assert x.loss == pytest.approx(z.loss, rel=1e-3, abs=1e-8)


def test_a_minimum_per_class_is_nothing_to_numbers():
    X, y = load_diabetes(return_X_y=True)
    pruner = InfluencePruner(keep=3, min_per_class=5, model="ridge").fit(X, y)
    assert len(pruner.sample_indices_) == 3


def test_rows_without_weight_are_never_kept(rng):
    X, y, X_val, y_val = three_way("breast_cancer")
    w = np.zeros(len(y))
    w[rng.choice(len(y), 60, replace=False)] = 1.0
    for verify in ("refit", None):
        pruner = head_pruner(keep=9, verify=verify, random_state=0)
        pruner.fit(X, y, sample_weight=w, X_val=X_val, y_val=y_val)
        assert len(pruner.sample_indices_) == 9
        assert w[pruner.sample_indices_].all()
    pruner.fit(X, y, sample_weight=w)
    assert w[pruner.sample_indices_].all()
    with pytest.raises(ValueError, match="all rows that have a weight"):
        pruner.group_influence(w > 0)
    # A row without weight has no say in the standardisation either.
    X[np.flatnonzero(w == 0)[0]] = 1e4
    again = clone(pruner).fit(X, y, sample_weight=w)
    np.testing.assert_array_equal(again.sample_indices_, pruner.sample_indices_)


def test_head_that_the_kept_rows_leave_open_is_not_taken_for_the_full_one(rng):
    X, y = make_regression(300, 5, noise=5, random_state=0)
    pruner = InfluencePruner(0.05, model=LinearRegression(), random_state=0).fit(X, y)
    rows = pruner.sample_indices_
    assert len(rows) >= 6
    assert LinearRegression().fit(X[rows], y[rows]).score(X, y) > 0.9
    one = InfluencePruner(keep=1, model=LinearRegression(), random_state=0).fit(X, y)
    assert one.gap_ > 0.1


def test_texts_and_nested_pipelines():
    words = ["good film", "bad film"]
    texts = [f"{words[i % 2]} number{i % 7}" for i in range(200)]
    model = make_pipeline(TfidfVectorizer(), LogisticRegression())
    kept, labels = InfluencePruner(keep=0.2, model=model).fit_transform(texts, np.arange(200) % 2)
    assert len(kept) == len(labels) == 40
    X, y = load_wine(return_X_y=True)
    flat = make_pipeline(StandardScaler(), PCA(2), LogisticRegression())
    nested = make_pipeline(StandardScaler(), make_pipeline(PCA(2), LogisticRegression()))
    a, b = (InfluencePruner(keep=0.5, model=m, random_state=0).fit(X, y) for m in (flat, nested))
    np.testing.assert_array_equal(a.sample_indices_, b.sample_indices_)
    assert "3 x 3 parameters" in b.report_.model


def test_weights_say_which_rows_count(rng):
    X, y = load_wine(return_X_y=True)
    w = np.ones(len(y))
    plain = head_pruner(keep=0.5, random_state=0).fit(X, y)
    same(plain, head_pruner(keep=0.5, random_state=0).fit(X, y, sample_weight=w))
    w[: len(y) // 2] = 0.1
    other = head_pruner(keep=0.5, random_state=0).fit(X, y, sample_weight=w)
    assert not np.array_equal(plain.sample_indices_, other.sample_indices_)


def test_groups_are_held_out_together(rng):
    X, y = load_wine(return_X_y=True)
    groups = rng.integers(0, 25, len(y))
    table, _ = read_table(head_pruner(), X, y, None, None)
    for seed in range(10):
        inner, outer = hold_out(table, 0.2, groups, seed)
        assert not np.intersect1d(inner, outer).size
        assert len(inner) + len(outer) == len(y)
        assert not np.intersect1d(groups[inner], groups[outer]).size
        assert len(np.unique(y[inner])) == 3
    pruner = quiet(head_pruner(0.1, random_state=0), X, y, groups=groups)
    assert_consistent(pruner, len(y))
    plain = quiet(head_pruner(0.1, random_state=0), X, y)
    assert pruner.gap_ != plain.gap_


def test_held_out_rows_are_stratified(rng):
    X, y = rng.normal(size=(200, 2)), np.repeat([0, 1, 2, 3], [150, 40, 9, 1])
    table, _ = read_table(head_pruner(), X, y, None, None)
    for seed in range(10):
        inner, outer = hold_out(table, 0.2, None, seed)
        assert np.bincount(y[outer], minlength=4).tolist() == [30, 8, 2, 0]
        np.testing.assert_array_equal(np.sort(np.append(inner, outer)), np.arange(200))


@pytest.mark.parametrize("min_per_class", [0, 1, 5])
@pytest.mark.parametrize("solver", ["swap", "relax"])
def test_no_class_is_lost(min_per_class, solver, rng):
    y = np.repeat(["common", "rare", "rarest"], [400, 20, 3])
    X = rng.normal(size=(423, 3)) + (y == "rare")[:, None] + 2 * (y == "rarest")[:, None]
    for keep in (0.5, 0.05):
        pruner = head_pruner(keep=keep, min_per_class=min_per_class, solver=solver, random_state=0)
        _, y_kept = pruner.fit_transform(X, y)
        assert len(y_kept) == round(keep * 423)
        for label, rows in zip(*np.unique(y, return_counts=True), strict=True):
            assert np.sum(y_kept == label) >= min(rows, min_per_class)
    assert [c.rows for c in pruner.report_.classes] == [400, 20, 3]
    assert sum(c.kept for c in pruner.report_.classes) == len(y_kept)
    budget = quiet(head_pruner(0.5, min_per_class=min_per_class, random_state=0), X, y)
    _, counts = np.unique(y[budget.sample_indices_], return_counts=True)
    assert min_per_class == 0 or len(counts) == 3


def test_fewest_rows_are_still_searched_for(rng):
    # keep = classes x min_per_class: every class is at its minimum, and the best are chosen.
    X, y, X_val, y_val = three_way("digits")
    pruner = head_pruner(keep=50, min_per_class=5, random_state=0)
    pruner.fit(X, y, X_val=X_val, y_val=y_val)
    assert np.bincount(y[pruner.sample_indices_]).tolist() == [5] * 10
    assert pruner.gap_ < 0.9 * pruner.report_.random


def test_priors(rng):
    X, y, X_val, y_val = three_way("digits")
    kept = {}
    for name, prior in (
        ("none", "uniform"),
        ("loss", "loss"),
        ("el2n", "el2n"),
        ("given", rng.random(len(y))),
    ):
        pruner = head_pruner(keep=0.5, sampling=prior, random_state=0)
        pruner.fit(X, y, X_val=X_val, y_val=y_val)
        assert len(pruner.sample_indices_) == round(0.5 * len(y))
        kept[name] = pruner.sample_indices_
    full = LogisticRegression(C=1.0).fit(scale(X), y)
    hard = -np.log(full.predict_proba(scale(X))[np.arange(len(y)), y])
    assert hard[kept["loss"]].mean() > 1.2 * hard[kept["none"]].mean()
    assert hard[kept["el2n"]].mean() > 1.2 * hard[kept["none"]].mean()


# Awkward tables


def awkward(rng):
    X, y = load_iris(return_X_y=True)
    wide = rng.normal(size=(40, 200))
    far = np.repeat([0, 1], 50)[:, None] * 40 + rng.normal(size=(100, 2))
    return {
        "duplicates": (np.repeat(X, 3, axis=0), np.repeat(y, 3)),
        "all rows alike in a class": (np.repeat(np.eye(3), 30, axis=0), np.repeat([0, 1, 2], 30)),
        "constant columns": (np.hstack([X, np.ones((150, 2)), np.full((150, 1), 0.1)]), y),
        "all columns constant": (np.ones((60, 2)), np.arange(60) % 2),
        "fewer rows than columns": (wide, np.arange(40) % 2),
        "separable": (far, np.repeat([0, 1], 50)),
        "columns of very different size": (X * [1e-8, 1.0, 1e8, 1e3], y),
        "collinear": (np.hstack([X, X, X[:, :2] + X[:, 2:]]), y),
        "string labels": (X, np.array(["a", "b", "c"])[y]),
        "boolean labels": (X, y == 1),
        "float16": (X.astype(np.float16), y),
        "sparse": (sp.csr_matrix(X), y),
        "blocks": (X.reshape(150, 2, 2), y),
        "constant target": (X, np.full(150, 0.1)),
        "target far from zero": (X, 1e6 + X[:, 0] + rng.normal(size=150)),
        "exact linear target": (X, X @ [1.0, -2.0, 3.0, 0.5]),
        "few rows": (X[::10], y[::10]),
    }


AWKWARD = list(awkward(np.random.default_rng(0)))


@pytest.mark.parametrize("budget", [{"keep": 0.5}, {"max_gap": 0.1}, {"keep": 0.5, "verify": None}])
@pytest.mark.parametrize("name", AWKWARD)
def test_awkward_tables(name, budget, rng):
    X, y = awkward(rng)[name]
    pruner = head_pruner(random_state=0, **budget)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.simplefilter("ignore", PruningWarning)
        X_kept, y_kept = pruner.fit_transform(X, y)
    n = len(y)
    assert_consistent(pruner, n)
    assert X_kept.shape[0] == len(y_kept) == len(pruner.sample_indices_)
    if "keep" in budget:
        assert len(y_kept) == round(0.5 * n)
        assert pruner.report_.met
    assert str(pruner.report_)
    influence = pruner.group_influence(pruner.sample_indices_[:2])
    assert np.isfinite(influence.newton.loss)


@pytest.mark.parametrize(
    "model",
    [LogisticRegression(C=np.inf), SGDClassifier(loss="log_loss", penalty=None)],
    ids=["softmax", "sigmoid"],
)
def test_unpenalised_separable_classes_warn(model, rng):
    X, y = awkward(rng)["separable"]
    with pytest.warns(PruningWarning, match="did not reach its optimum"):
        pruner = InfluencePruner(keep=0.5, model=model, random_state=0).fit(X, y)
    assert_consistent(pruner, len(y))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        InfluencePruner(keep=0.5, model=LogisticRegression(), random_state=0).fit(X, y)


@pytest.mark.filterwarnings("ignore::skprune.utils.exceptions.PruningWarning")
@pytest.mark.parametrize("C", [1e6, np.inf])
def test_hessians_that_are_mostly_rounding_are_damped(C):
    # Far from the boundary all curvature is below the rounding of the largest entry.
    X, y = make_blobs(400, 5, centers=3, cluster_std=0.5, random_state=0)
    pruner = InfluencePruner(model=LogisticRegression(C=C), max_gap=0.01, random_state=0)
    X_kept, y_kept = pruner.fit_transform(X, y)
    assert_consistent(pruner, len(y))
    assert len(X_kept) < 50
    assert LogisticRegression(C=C).fit(X_kept, y_kept).score(X, y) == 1.0


def test_many_duplicates_are_what_goes_first(rng):
    # Under a penalty per row one copy of every row is as good as ten.
    X, y = load_iris(return_X_y=True)
    X_val, y_val = X[::3] + 0.1 * rng.normal(size=(50, 4)), y[::3]
    X, y = np.repeat(X, 10, axis=0), np.repeat(y, 10)
    pruner = head_pruner(keep=0.1, random_state=0).fit(X, y, X_val=X_val, y_val=y_val)
    assert abs(pruner.gap_) < 0.2 * abs(pruner.report_.random)
    assert abs(pruner.gap_) < 0.01


def test_whole_numbers_as_regression_targets(rng):
    X = rng.normal(size=(300, 4))
    y = np.round(3 * X[:, 0] + rng.normal(size=300)).astype(int)
    for model in ("ridge", Ridge(alpha=1.0), make_pipeline(StandardScaler(), LinearRegression())):
        pruner = quiet(InfluencePruner(0.02, model=model, random_state=0), X, y)
        assert_consistent(pruner, 300)
        assert not hasattr(pruner, "classes_")
        assert pruner.report_.classes == ()
        assert len(pruner.sample_indices_) < 200
    as_numbers = quiet(InfluencePruner(0.02, model="ridge", random_state=0), X, y.astype(float))
    again = quiet(InfluencePruner(0.02, model="ridge", random_state=0), X, y)
    assert len(as_numbers.sample_indices_) == len(again.sample_indices_)


def test_classes_of_an_earlier_fit_are_forgotten():
    X, y = load_iris(return_X_y=True)
    pruner = head_pruner(keep=0.5, random_state=0).fit(X, y)
    assert pruner.classes_.tolist() == [0, 1, 2]
    pruner.fit(X, X[:, 0] + 0.01 * y)
    assert not hasattr(pruner, "classes_")


# The same result


@pytest.mark.parametrize("budget", [{"max_gap": 0.05}, {"keep": 0.4}])
@pytest.mark.parametrize("solver", ["auto", "anneal", "relax"])
def test_same_seed_same_rows(solver, budget):
    if (solver, *budget) == ("anneal", "max_gap"):
        budget = {"max_gap": 0.5}  # fewer sizes to try: annealing is slow
    X, y = load_wine(return_X_y=True)
    one, other = (
        quiet(head_pruner(solver=solver, random_state=3, **budget), X, y) for _ in range(2)
    )
    same(one, other)


def test_seeds():
    X, y, X_val, y_val = three_way("digits")

    def fit(seed):
        pruner = head_pruner(keep=0.3, random_state=seed)
        return pruner.fit(X, y, X_val=X_val, y_val=y_val)

    state = np.random.get_state()[1].copy()  # noqa: NPY002 - it must stay as it is
    same(fit(None), fit(None))
    same(fit(np.random.RandomState(4)), fit(np.random.RandomState(4)))
    assert not np.array_equal(fit(0).sample_indices_, fit(1).sample_indices_)
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


@pytest.mark.parametrize("name", ["breast_cancer", "wine"])
def test_threads_make_no_difference(name):
    X, y, X_val, y_val = three_way(name)
    before = torch.get_num_threads()
    pruners = []
    for jobs in (None, 1, 2):
        FITS.clear()
        pruner = head_pruner(keep=0.3, n_jobs=jobs, random_state=0)
        pruners.append(pruner.fit(X, y, X_val=X_val, y_val=y_val))
    assert torch.get_num_threads() == before
    for other in pruners[1:]:
        np.testing.assert_array_equal(pruners[0].sample_indices_, other.sample_indices_)
        np.testing.assert_allclose(pruners[0].scores_, other.scores_, rtol=1e-6, atol=1e-12)


def test_a_cached_fit_is_the_first_one_again(monkeypatch):
    X, y = load_wine(return_X_y=True)
    FITS.clear()
    made = []
    monkeypatch.setattr(
        "skprune.proxies.head.fit_curvature", lambda *args: made.append(1) or fit_curvature(*args)
    )
    first = quiet(head_pruner(0.05, random_state=0), X, y)
    again = quiet(head_pruner(0.05, random_state=0), X, y)
    assert len(made) == 1
    same(first, again)
    # Another budget needs no new fit; other rows, models or weights do.
    quiet(head_pruner(keep=0.5, random_state=0), X, y)
    assert len(made) == 1
    others = [
        (head_pruner(keep=0.5, random_state=1), {}),
        (InfluencePruner(keep=0.5, random_state=0, model=LinearProxy(curvature="diagonal")), {}),
        (InfluencePruner(keep=0.5, random_state=0, model=LogisticRegression()), {}),
        (InfluencePruner(keep=0.5, random_state=0, model=LogisticRegression(C=2.0)), {}),
        (head_pruner(keep=0.5, random_state=0), {"sample_weight": np.linspace(1, 2, len(y))}),
    ]
    for count, (pruner, params) in enumerate(others, start=2):
        quiet(pruner, X, y, **params)
        assert len(made) == count
    FITS.clear()
    same(first, quiet(head_pruner(0.05, random_state=0), X, y))


def test_pickled_pruner_still_transforms():
    X, y = load_wine(return_X_y=True)
    pruner = head_pruner(keep=0.5, random_state=0).fit(X, y)
    again = pickle.loads(pickle.dumps(pruner))
    np.testing.assert_array_equal(again.transform(X), pruner.transform(X))
    same(pruner, again)
    assert len(pickle.dumps(pruner)) < 50_000  # the training rows are not in it
    with pytest.raises(ValueError, match="fit it again"):
        again.group_influence([0])
    assert np.isfinite(pruner.group_influence([0]).newton.loss)


def test_fitting_again_forgets_the_first_table():
    X, y = load_wine(return_X_y=True)
    pruner = head_pruner(keep=0.5, random_state=0).fit(X, y)
    iris = load_iris(return_X_y=True)
    pruner.fit(*iris)
    same(pruner, head_pruner(keep=0.5, random_state=0).fit(*iris))
    assert pruner.n_features_in_ == 4


@pytest.mark.parametrize("curvature", ["dense", "ekfac", "diagonal"])
def test_every_curvature_beats_random(curvature):
    X, y, X_val, y_val = three_way("digits")
    ours, random = [], []
    for seed in range(4):
        pruner = InfluencePruner(
            keep=0.4, random_state=seed, model=LinearProxy(curvature=curvature)
        )
        pruner.fit(X, y, X_val=X_val, y_val=y_val)
        ours.append(float(pruner.gap_))
        random.append(float(pruner.report_.random))
    assert curvature in pruner.report_.model
    assert np.mean(ours) < 0.6 * np.mean(random)


def test_regularised_column_units_do_not_matter_to_the_package_head(rng):
    # model=None standardises; the unit of a column must not change what is kept.
    X, y = load_wine(return_X_y=True)
    units = 10.0 ** rng.integers(-6, 7, X.shape[1])
    one = head_pruner(keep=0.4, random_state=0).fit(X, y)
    other = head_pruner(keep=0.4, random_state=0).fit(X * units + 3 * units, y)
    np.testing.assert_array_equal(one.sample_indices_, other.sample_indices_)


def test_regression_does_not_depend_on_the_unit_of_the_target():
    X, y = load_diabetes(return_X_y=True)
    one, other = (head_pruner(keep=0.3, random_state=0).fit(X, y * 2.0**k) for k in (0, 20))
    np.testing.assert_array_equal(one.sample_indices_, other.sample_indices_)
    assert one.gap_ == pytest.approx(other.gap_, rel=1e-6)
    np.testing.assert_allclose(one.scores_, other.scores_, rtol=1e-5, atol=1e-12)


@pytest.mark.parametrize("way", ["fit", "fit_transform", "pipeline", "pruned classifier"])
def test_warnings_are_at_the_users_line(way, rng):
    X, y = awkward(rng)["separable"]
    pruner = InfluencePruner(keep=0.5, model=LogisticRegression(C=np.inf), random_state=0)
    ways = {
        "fit": lambda: pruner.fit(X, y),
        "fit_transform": lambda: pruner.fit_transform(X, y),
        "pipeline": lambda: make_pipeline(StandardScaler(), pruner).fit_transform(X, y),
        "pruned classifier": lambda: PrunedClassifier(LogisticRegression(), pruner).fit(X, y),
    }
    with pytest.warns(PruningWarning, match="did not reach its optimum") as caught:
        ways[way]()
    assert {w.filename for w in caught if w.category is PruningWarning} == {__file__}


def test_autocast_around_fit_is_not_that_of_the_head():
    X, y = load_wine(return_X_y=True)
    plain = head_pruner(keep=0.3, random_state=0).fit(X, y)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        around = head_pruner(keep=0.3, random_state=0).fit(X, y)
    np.testing.assert_array_equal(around.sample_indices_, plain.sample_indices_)
    np.testing.assert_array_equal(around.scores_, plain.scores_)
