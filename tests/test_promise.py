"""The gap is that of the rows that are handed out, and of what the user trains on them."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from cases.pruners import head_pruner
from scipy.stats import spearmanr
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_diabetes, load_digits, load_iris, make_classification
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.metrics import average_precision_score, log_loss, make_scorer, roc_auc_score
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

from skprune import (
    InfluencePruner,
    LinearProxy,
    PrunedClassifier,
    PrunedRegressor,
    PruningWarning,
    Retrain,
)
from skprune.baselines import StratifiedRandom
from skprune.data.table import hold_out
from skprune.heads.reading import read_table

EXACT = {"solver": "newton-cholesky", "tol": 1e-9, "max_iter": 1000}


def chance(X):
    """Of the second class; 20 % of the labels are turned."""
    w = np.random.default_rng(X.shape[1]).normal(size=X.shape[1])
    return 0.2 + 0.6 / (1 + np.exp(-2 * X @ w / np.linalg.norm(w)))


def population(n, seed, p=5):
    rng = np.random.default_rng([n, p, seed])
    X = rng.normal(size=(n, p))
    return X, (rng.random(n) < chance(X)).astype(int)


def losses(model, X, y):
    return -np.log(model.predict_proba(X)[np.arange(len(y)), y])


def paired(model, X, y, kept, losses):
    """Mean difference of the losses on all rows, and its standard error, by the model's own fit."""
    full, pruned = clone(model).fit(X, y), clone(model).fit(X[kept], y[kept])
    difference = losses(pruned, X, y) - losses(full, X, y)
    w = row_weights(model, y)
    mean = np.average(difference, weights=w)
    return mean, (w * (difference - mean)).std(ddof=1) / np.sqrt(len(y))


def row_weights(model, y):
    """How much a row counts in the loss that the model is trained with; the mean is 1."""
    if getattr(model, "class_weight", None):
        return len(y) / 2 / np.bincount(y)[y]
    return np.ones(len(y))


def unseen(model, X, y, kept):
    """What the rows do not show: the growth of the model, times tr(H^-1 J) / n, all dense."""
    full, pruned = clone(model).fit(X, y), clone(model).fit(X[kept], y[kept])
    last = full[-1] if hasattr(full, "steps") else full
    rows = full[:-1].transform(X) if hasattr(full, "steps") else X
    classes = isinstance(last, (LogisticRegression, SGDClassifier))
    z, other = (
        m.decision_function(X) if classes else m.predict(X) / y.std() for m in (full, pruned)
    )
    w = row_weights(last, y)
    best, best_z = last, z
    if isinstance(last, SGDClassifier):  # its steps end near the optimum
        best = LogisticRegression(C=1 / (last.alpha * len(y)), **EXACT).fit(rows, y)
        best_z = best.decision_function(rows)
    mean, target = (1 / (1 + np.exp(-best_z)), y) if classes else (z, y / y.std())
    v = w * (mean * (1 - mean) if classes else 1)
    # A penalty per row is a share of every gradient; a total one is part of H alone.
    per_row = getattr(last, "alpha", 0) if isinstance(last, SGDClassifier) else 0
    total = 1 / last.C if hasattr(last, "C") else getattr(last, "alpha", 0.0)
    total = per_row * len(y) if per_row else total
    Phi = np.hstack([rows, np.ones((len(y), 1))])
    pull = per_row * np.append(np.ravel(best.coef_), 0.0)
    P = np.diag([1.0] * rows.shape[1] + [0.0])
    H = (Phi.T * v) @ Phi + total * P
    A = (w * (mean - target))[:, None] * Phi + pull
    overfit = np.trace(np.linalg.solve(H, A.T @ A)) / w.sum()
    centre = z - w @ z / w.sum()
    growth = (v * centre * (other - z - w @ (other - z) / w.sum())).sum() / (v * centre**2).sum()
    return growth * overfit * (1 if classes else 2)


@pytest.mark.parametrize("budget", [{"keep": 0.1}, {"max_gap": 0.02}])
@pytest.mark.parametrize(
    ("model", "level"),
    [
        (LogisticRegression(**EXACT), "refit"),
        (LogisticRegression(class_weight="balanced", **EXACT), "retrained"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "retrained"),
        (make_pipeline(PCA(3), LogisticRegression()), "retrained"),
        (SGDClassifier(loss="log_loss", random_state=0, shuffle=False), "retrained"),
    ],
)
def test_gap_is_that_of_the_kept_rows_by_the_models_own_fit(model, level, budget):
    X, y = population(1500, 0)
    pruner = InfluencePruner(model=model, random_state=0, **budget).fit(X, y)
    assert pruner.gap_.level == level
    assert (pruner.gap_.n_rows, pruner.gap_.held_out) == (len(y), False)
    assert len(pruner.sample_indices_) < len(y)
    value, error = paired(model, X, y, pruner.sample_indices_, losses)
    rest = unseen(model, X, y, pruner.sample_indices_)
    # The head is at its optimum, and its features are those of the trial's encoder.
    assert pruner.gap_ == pytest.approx(value + rest, abs=2e-5 + 0.15 * abs(rest))
    assert pruner.gap_.standard_error == pytest.approx(error, rel=2e-2, abs=1e-6)


@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(class_weight="balanced", **EXACT),
        make_pipeline(StandardScaler(), LogisticRegression(class_weight="balanced", **EXACT)),
        RandomForestClassifier(30, class_weight="balanced", min_samples_leaf=20, random_state=0),
    ],
)
def test_classes_count_in_the_gap_as_they_do_in_training(model):
    X, y = make_classification(4000, 5, weights=[0.93], flip_y=0, random_state=0)
    pruner = InfluencePruner(0.1, model=model, verify=Retrain(n_seeds=1), random_state=0).fit(X, y)
    learned = pruner.report_.learned
    assert learned.score - learned.gap == pytest.approx(-np.log(2), abs=1e-3)  # a constant
    assert learned.gap > 0.1
    assert 2 < len(pruner.sample_indices_) < len(y)


@pytest.mark.parametrize("model", [Ridge(), LinearRegression(), make_pipeline(PCA(4), Ridge())])
def test_gap_of_regressions_is_that_of_the_kept_rows(model):
    X, y = load_diabetes(return_X_y=True)
    pruner = InfluencePruner(keep=0.3, model=model, random_state=0).fit(X, y)

    def squares(fitted, X, y):
        return (fitted.predict(X) - y) ** 2 / y.var()

    value, error = paired(model, X, y, pruner.sample_indices_, squares)
    rest = unseen(model, X, y, pruner.sample_indices_)
    assert pruner.gap_ == pytest.approx(value + rest, abs=1e-5 + 0.1 * abs(rest))
    assert pruner.gap_.standard_error == pytest.approx(error, rel=2e-2)


@pytest.mark.parametrize("scale", [1.0, 1000.0])
def test_a_model_that_stops_before_its_optimum_is_trained_itself(scale):
    X, y = population(1500, 6)
    X = X * [scale, 1, 1, 1, 1] + [0, 0, 0, 0, scale - 1]
    model = LogisticRegression(max_iter=15)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged
        pruner = InfluencePruner(keep=0.1, model=model, random_state=0).fit(X, y)
        value, error = paired(model, X, y, pruner.sample_indices_, losses)
    assert pruner.gap_.level == ("refit" if scale == 1 else "retrained")
    assert pruner.gap_ == pytest.approx(value, abs=0.2 * error)


def test_gap_of_a_ridge_classifier_in_a_pipeline():
    X, y = load_digits(return_X_y=True)
    X, y = X[:600], y[:600]
    model = make_pipeline(StandardScaler(), RidgeClassifier())
    pruner = InfluencePruner(keep=0.5, model=model, random_state=0).fit(X, y)
    codes = 2.0 * np.eye(10)[y] - 1

    def squares(fitted, X, y):
        return np.square(fitted.decision_function(X) - codes).sum(1) / codes.var(0).sum()

    value, _ = paired(model, X, y, pruner.sample_indices_, squares)
    assert pruner.gap_ == pytest.approx(value, rel=0.05)  # and what the rows do not show
    learned = pruner.report_.learned
    assert learned.score - learned.gap == pytest.approx(-1.0, abs=0.01)  # in units of Var(y)


def test_a_scorer_of_a_pipeline():
    X, y = population(1000, 1)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    pruner = InfluencePruner(keep=0.05, model=model, scoring="roc_auc", random_state=0).fit(X, y)
    kept = pruner.sample_indices_
    scores = [
        roc_auc_score(y, clone(model).fit(X[rows], y[rows]).predict_proba(X)[:, 1])
        for rows in (np.arange(len(y)), kept)
    ]
    assert pruner.gap_ == pytest.approx(scores[0] - scores[1], abs=1e-12)


def test_the_number_of_rows_that_was_asked_for_is_kept_where_a_head_needs_more(rng):
    X, y = rng.normal(size=(60, 9)), rng.normal(size=60)
    pruner = InfluencePruner(keep=5, model=LinearRegression()).fit(X[:40], y[:40], None, X, y)
    assert len(pruner.sample_indices_) == 5


@pytest.mark.parametrize("keep", [0.9, 1.0])
def test_whole_groups_beside_a_model_that_is_not_linear(keep):
    X, y = population(200, 4)
    pruner = head_pruner(keep=keep, verify=Retrain(DecisionTreeClassifier(), n_seeds=1))
    pruner.fit(X, y, groups=np.arange(200) // 50)
    assert len(pruner.sample_indices_) == 200 * keep


def test_a_class_keeps_its_minimum_beside_a_model_that_is_not_linear():
    X, y = population(300, 5)
    y[:5] = 2
    verify = Retrain(DecisionTreeClassifier(max_depth=3), n_seeds=1)
    pruner = head_pruner(keep=60, verify=verify, min_per_class=5, random_state=0)
    assert np.bincount(y[pruner.fit(X, y).sample_indices_])[2] == 5


class Recorder(ClassifierMixin, BaseEstimator):
    """A tree that remembers what its clones were trained on, and asked about."""

    trained, asked = [], []

    def fit(self, X, y):
        self.tree_ = DecisionTreeClassifier(max_depth=2, min_samples_leaf=20, random_state=0)
        self.classes_ = self.tree_.fit(X, y).classes_
        self.trained.append(X)
        return self

    def predict_proba(self, X):
        self.asked.append(X)
        return self.tree_.predict_proba(X)


@pytest.mark.parametrize("brought", [False, True])
def test_what_is_reported_is_measured_on_rows_without_a_part_in_the_search(brought):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(2600, 5))
    y = ((X[:, 0] > 0) ^ (rng.random(2600) < 0.2)).astype(int)
    number = {row.tobytes(): i for i, row in enumerate(X)}
    X_val, y_val = (X[2000:], y[2000:]) if brought else (None, None)
    Recorder.trained, Recorder.asked = [], []
    # A budget of sizes beyond the cliff below which no leaf of 20 rows is left.
    pruner = InfluencePruner(0.015, model=Recorder(), random_state=0)
    gap = pruner.fit(X[:2000], y[:2000], X_val=X_val, y_val=y_val).gap_
    trained, asked = (
        [np.array([number[row.tobytes()] for row in rows]) for rows in known]
        for known in (Recorder.trained, Recorder.asked)
    )
    searched, last = np.sort(asked[0]), np.sort(asked[-1])
    assert len(searched) == len(last) == gap.n_rows == (300 if brought else 400)
    assert len(np.intersect1d(searched, last)) == 0
    assert np.all(np.concatenate([searched, last]) >= 2000) == brought
    # All rows but these, as large a share of them as is handed out, and random ones.
    full = [rows for rows in trained if len(rows) == (2000 if brought else 1600)][-1]
    share = len(pruner.sample_indices_) / 2000
    as_large = [rows for rows in trained if abs(len(rows) - share * len(full)) <= 1]
    if not brought:  # the rows that are handed out are trained on as well
        as_large = [rows for rows in as_large if not np.isin(rows, pruner.sample_indices_).all()]
    pruned = as_large[-1 if pruner.report_.random is None else -2]
    assert len(np.intersect1d(full, last)) == 0
    assert np.isin(pruned, full).all()
    assert not pruner.report_.random_is_kept
    tree = DecisionTreeClassifier(max_depth=2, min_samples_leaf=20, random_state=0)
    loss = [losses(tree.fit(X[rows], y[rows]), X[last], y[last]) for rows in (full, pruned)]
    assert gap == pytest.approx(np.mean(loss[1] - loss[0]), abs=1e-9)
    # Its standard error has what trainings vary by in it, if they do, beside the rows.
    by_rows = np.std(loss[1] - loss[0], ddof=1) / np.sqrt(len(last))
    assert by_rows - 1e-9 <= gap.standard_error < 4 * by_rows
    assert brought or by_rows < gap.standard_error


@pytest.mark.parametrize("keep", [60, 200])
def test_too_few_rows_for_a_linear_model_are_random_ones(keep):
    # 650 parameters: nothing can be balanced with 60 rows.
    X, y = load_digits(return_X_y=True)
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.3, random_state=0, stratify=y)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=500))
    pruner = InfluencePruner(keep=keep, model=model, random_state=0).fit(X, y)
    assert pruner.report_.random_is_kept == (keep == 60)
    assert ("random rows do as well" in pruner.report_.status) == (keep == 60)
    model.fit(*pruner.transform(X, y))
    lost = losses(model, X_test, y_test).mean()
    draws = []
    for seed in range(5):
        rows = StratifiedRandom(keep, random_state=seed).fit(X, y).sample_indices_
        draws.append(losses(clone(model).fit(X[rows], y[rows]), X_test, y_test).mean())
    assert lost < np.mean(draws) + np.std(draws)


def test_random_rows_that_are_not_handed_out_are_shown_as_they_were_measured():
    X, y = make_classification(1500, 20, n_informative=10, n_classes=3, flip_y=0.2, random_state=3)
    shown = []
    for seed in (3, 4, 5):
        for model in (LogisticRegression(), None, RandomForestClassifier(5, random_state=0)):
            pruner = InfluencePruner(keep=20, model=model, random_state=seed).fit(X, y)
            report = pruner.report_
            shown.append((report.random.n_draws, report.random_is_kept))
            if not isinstance(model, LogisticRegression):  # not chosen for the head that measures
                assert not report.random_is_kept
    assert all((draws == 1) == kept for draws, kept in shown)


def retrained_apart(model, X, y, kept):
    """The kept rows that are not held out, and their gap beside all that are not, on those."""
    table, _ = read_table(head_pruner(), X, y, None, None)
    inner, outer = hold_out(table, 0.2, None, 0)
    seen = np.intersect1d(inner, kept)
    full, pruned = (clone(model).fit(X[rows], y[rows]) for rows in (inner, seen))
    # No prediction counts as more certain than a float64 is exact, as in scikit-learn's log_loss.
    most = -np.log(np.finfo(float).eps)
    lost = [np.minimum(losses(m, X[outer], y[outer]), most).mean() for m in (pruned, full)]
    return seen, lost[0] - lost[1]


@pytest.mark.parametrize("seed", range(3))
def test_one_fit_without_an_optimum_is_enough_to_doubt_what_all_rows_say(seed):
    about = {"class_sep": 2, "flip_y": 0, "n_clusters_per_class": 1, "n_informative": 4}
    X, y = make_classification(600, 20, random_state=seed, **about)
    model = LogisticRegression(C=np.inf, max_iter=5000)
    pruner = InfluencePruner(keep=0.3, model=model, verify="retrain", random_state=0).fit(X, y)
    doubts = any("did not reach its optimum" in d for d in pruner.report_.diagnostics)
    assert doubts == pruner.gap_.held_out


def test_a_linear_model_without_an_optimum_is_measured_on_held_out_rows():
    X, y = load_digits(n_class=4, return_X_y=True)  # separable
    model = LogisticRegression(C=np.inf, max_iter=1000)
    with pytest.warns(PruningWarning, match="did not reach its optimum"):
        pruner = InfluencePruner(keep=0.5, model=model, random_state=0).fit(X / 16, y)
    _, truth = retrained_apart(model, X / 16, y, pruner.sample_indices_)
    assert (pruner.gap_.level, pruner.gap_.held_out) == ("retrained", True)
    assert pruner.gap_ == pytest.approx(truth, abs=1e-9)


@pytest.mark.parametrize("budget", [{"keep": 0.4}, {"keep": 0.95}, {"keep": 1.0}])
def test_models_that_fit_rows_by_themselves_are_measured_on_rows_they_have_not_seen(budget):
    rng = np.random.default_rng(2)
    X = rng.normal(size=(2000, 5))
    y = ((X[:, 0] > 0) ^ (rng.random(2000) < 0.1)).astype(int)
    tree = DecisionTreeClassifier(max_depth=2, min_samples_leaf=20, random_state=0)
    pruner = head_pruner(verify=tree, random_state=0, **budget).fit(X, y)
    assert pruner.gap_.level == "retrained"
    assert (pruner.gap_.held_out, pruner.gap_.n_rows) == (True, 400)
    kept = pruner.sample_indices_
    if "keep" in budget:
        assert len(kept) == round(budget["keep"] * len(y))
    seen, truth = retrained_apart(tree, X, y, kept)
    assert len(seen) < len(kept)
    assert pruner.gap_ == pytest.approx(truth, abs=1e-9)


def test_a_size_on_which_the_model_cannot_be_fitted_is_refused():
    X, y = population(1500, 3)
    model = make_pipeline(PCA(5), LogisticRegression())
    pruner = InfluencePruner(0.3, model=model, random_state=0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        pruner.fit(X, y)
    assert len(pruner.sample_indices_) >= 5
    clone(model).fit(X[pruner.sample_indices_], y[pruner.sample_indices_])
    # If the size is fixed, it is kept, and the report says what the model said.
    with pytest.warns(PruningWarning, match="n_components=5 must be between"):
        fixed = InfluencePruner(keep=3, model=model, random_state=0).fit(X, y)
    assert len(fixed.sample_indices_) == 3
    assert fixed.gap_ == np.inf
    assert "cannot be trained on these rows" in fixed.report_.status


def test_other_models_are_judged_by_their_own_training():
    """The head alone would keep a few rows of an exclusive or, and a tree be lost on them."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(3000, 4))
    y = ((X[:, 0] > 0) ^ (X[:, 1] > 0) ^ (rng.random(3000) < 0.1)).astype(int)
    T = rng.normal(size=(20_000, 4))
    t = ((T[:, 0] > 0) ^ (T[:, 1] > 0) ^ (rng.random(20_000) < 0.1)).astype(int)
    forest = RandomForestClassifier(20, min_samples_leaf=10, random_state=0)
    pruned = PrunedClassifier(forest, InfluencePruner(0.03, random_state=0)).fit(X, y)
    full = clone(forest).fit(X, y)
    gap = log_loss(t, pruned.predict_proba(T)) - log_loss(t, full.predict_proba(T))
    pruner = pruned.pruner_
    assert pruner.gap_.level == "retrained"
    assert gap < 0.03 + 2 * pruner.gap_.standard_error
    assert pruned.score(T, t) > 0.8


def test_a_regressor_that_is_not_linear():
    X, y = load_diabetes(return_X_y=True)
    tree = DecisionTreeRegressor(max_depth=2, random_state=0)
    pruner = PrunedRegressor(tree, InfluencePruner(0.2, random_state=0)).fit(X, y).pruner_
    assert pruner.gap_.level == "retrained"
    # For a fixed size nothing is decided by a gap, and trainings may be dear.
    fixed = PrunedRegressor(tree, InfluencePruner(keep=0.5, random_state=0)).fit(X, y).pruner_
    assert fixed.gap_.level == "refit"


# A budget that is more than the model has learned


def rare(n, seed, rate=0.002):
    rng = np.random.default_rng(seed)
    y = (rng.random(n) < rate).astype(int)
    X = rng.normal(size=(n, 6))
    X[y == 1, :2] += 1.5
    return X, y


def with_outlier():
    X, y = population(1000, 4)
    X[17] = 1e4
    return X, y


def tiny_r2():
    rng = np.random.default_rng(5)
    X = rng.normal(size=(4000, 3))
    return X, 0.06 * X[:, 0] + rng.normal(size=4000)


def one_target():
    rng = np.random.default_rng(6)
    X = rng.normal(size=(2000, 3))
    y = X[:, 0] + 0.1 * rng.normal(size=2000)
    y[3] = 1e3
    return X, y


def noise():
    rng = np.random.default_rng(7)
    return rng.normal(size=(1000, 5)), rng.integers(0, 2, 1000)


@pytest.mark.parametrize(
    ("table", "words"),
    [
        (lambda: rare(6000, 0), "more than all that the model"),
        (with_outlier, "constant prediction"),
        (tiny_r2, "constant prediction"),
        (one_target, "constant prediction"),
        (noise, "no better than a constant prediction"),
    ],
)
@pytest.mark.parametrize("verify", ["auto", "pipeline"])
def test_a_budget_beyond_what_was_learned_keeps_all_rows(table, words, verify):
    X, y = table()
    model = LinearProxy()
    if verify == "pipeline":
        last = Ridge() if y.dtype.kind == "f" else LogisticRegression()
        model = make_pipeline(StandardScaler(), last)
    with pytest.warns(PruningWarning, match=words):
        pruner = InfluencePruner(0.01, model=model, random_state=0).fit(X, y)
    assert pruner.keep_mask_.all()
    assert not pruner.report_.met


def test_the_named_budget_means_something():
    (X, y), (T, t) = rare(20_000, 1), rare(100_000, 2)
    model = LogisticRegression()
    with pytest.warns(PruningWarning, match="would mean something") as said:
        InfluencePruner(0.01, model=model, random_state=0).fit(X, y)
    budget = float(str(said[0].message).split("max_gap=")[-1].split(",")[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        kept = InfluencePruner(budget, model=model, random_state=0).fit(X, y).sample_indices_
    precision = [
        average_precision_score(t, model.fit(X[rows], y[rows]).predict_proba(T)[:, 1])
        for rows in (np.arange(len(y)), kept)
    ]
    assert precision[1] > 0.7 * precision[0]


def correlation(y, predicted):
    return spearmanr(y, predicted).statistic


def only_of_different_numbers(y, predicted):
    if np.ptp(predicted) == 0:
        raise ValueError("all predictions are equal")
    return correlation(y, predicted)


@pytest.mark.parametrize("metric", [correlation, only_of_different_numbers])
@pytest.mark.parametrize("model", [Ridge(), make_pipeline(StandardScaler(), Ridge())])
def test_a_score_that_a_constant_has_not_is_searched_without_one(model, metric):
    X, y = load_diabetes(return_X_y=True)
    pruner = InfluencePruner(max_gap=0.05, model=model, scoring=make_scorer(metric))
    with warnings.catch_warnings():
        warnings.simplefilter("error", RuntimeWarning)  # scipy's, of the constant
        pruner.fit(X, y)
    assert pruner.report_.learned is None
    assert len(pruner.sample_indices_) < len(y)


def test_scores_of_all_rows_and_of_a_constant_stand_in_the_report():
    X, y = population(1000, 8)
    model = LogisticRegression(**EXACT)
    pruner = InfluencePruner(0.01, model=model, random_state=0).fit(X, y, X_val=X, y_val=y)
    learned = pruner.report_.learned
    full, share = log_loss(y, clone(model).fit(X, y).predict_proba(X)), y.mean()
    constant = -(share * np.log(share) + (1 - share) * np.log(1 - share))
    assert learned.score == pytest.approx(-full, abs=1e-6)
    assert learned.gap == pytest.approx(constant - full, abs=1e-6)
    assert f"{constant:.4g} by a constant" in str(pruner.report_)


def test_a_budget_that_is_most_of_what_was_learned_is_remarked_on():
    X, y = population(3000, 9)
    with pytest.warns(PruningWarning, match=r"of all that the model has learned"):
        pruner = head_pruner(0.04, random_state=0).fit(X, y)
    assert pruner.report_.met


def test_why_fewer_rows_were_refused_stands_in_the_report():
    X, y = load_digits(return_X_y=True)
    pruner = head_pruner(0.05, random_state=0).fit(X, y)
    path, report = pruner.path_, pruner.report_
    chosen = path["n_kept"][path["refit_gap"] == report.trial][0]
    refused = path["n_kept"][path["n_kept"] < chosen].max()
    assert report.refused.startswith(f"{refused:,} of those that are not held out: a")
    assert dict(report.lines())["fewer rows"] == report.refused


@pytest.mark.parametrize(("load", "said"), [(load_iris, " within classes"), (load_diabetes, "")])
def test_numbers_are_sampled_without_classes(load, said):
    pruner = InfluencePruner(keep=0.5, random_state=0).fit(*load(return_X_y=True))
    assert dict(pruner.report_.lines())["sampling"] == f"uniform{said}"


@pytest.mark.slow
@pytest.mark.parametrize("n", [300, 3000])
@pytest.mark.parametrize(
    "model",
    [
        LogisticRegression(),
        make_pipeline(StandardScaler(), LogisticRegression()),
        make_pipeline(PCA(4), LogisticRegression()),
    ],
)
def test_promises_on_draws_of_a_known_population(n, model):
    T = population(50_000, 1000)[0]
    P = chance(T)
    excess, errors, budget = [], [], []

    def expected(fitted):
        logs = -np.log(fitted.predict_proba(T))
        return np.mean((1 - P) * logs[:, 0] + P * logs[:, 1])

    for seed in range(16):
        X, y = population(n, seed)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PruningWarning)
            pruner = InfluencePruner(0.01, model=model, random_state=seed).fit(X, y)
        kept = pruner.sample_indices_
        full, pruned = clone(model).fit(X, y), clone(model).fit(X[kept], y[kept])
        truth = expected(pruned) - expected(full)
        budget.append(truth <= 0.01 + 2 * pruner.gap_.standard_error)
        excess.append(truth - pruner.gap_)
        errors.append(pruner.gap_.standard_error)
    assert np.mean(budget) >= 0.9
    # Unbiased: the mean over the draws is within what it may be off by.
    assert abs(np.mean(excess)) <= 0.2 * np.mean(errors) + 2 * np.std(excess) / np.sqrt(16)


@pytest.mark.parametrize("numbers", [False, True])
def test_a_tenth_of_the_rows_for_any_model_serves_a_linear_one(numbers):
    """Rows that go out without weights are balanced, whatever shares classes have to keep."""
    X, y = population(6000, 0)
    X_new, y_new = population(20_000, 1)
    model, loss = LogisticRegression(), losses
    if numbers:
        y, y_new = X[:, 0] - X[:, 1] + 2.0 * y, X_new[:, 0] - X_new[:, 1] + 2.0 * y_new
        model, loss = Ridge(), lambda model, X, y: (model.predict(X) - y) ** 2
    whole = loss(clone(model).fit(X, y), X_new, y_new).mean()

    def lost(kept):
        return loss(clone(model).fit(X[kept], y[kept]), X_new, y_new).mean() - whole

    ours = InfluencePruner(keep=0.1, random_state=0).fit(X, y).sample_indices_
    drawn = [StratifiedRandom(0.1, random_state=s).fit(X, y).sample_indices_ for s in range(10)]
    assert lost(ours) < 0.1 * np.mean([lost(kept) for kept in drawn])
