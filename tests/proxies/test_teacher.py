"""Teacher targets: rows that carry the out-of-fold predictions of a pilot in place of labels."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.kernel_ridge import KernelRidge
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.tree import DecisionTreeClassifier

import skprune.proxies.driver as driver
import skprune.proxies.known as known
from skprune import (
    InfluencePruner,
    PrunedClassifier,
    PrunedRegressor,
    PrunedSearchCV,
    PruningSampler,
    Retrain,
)
from skprune.data.teaching import LEAST, Teaching
from skprune.evaluation.retrained import Data, make_retraining, make_trainer
from skprune.utils.cache import ContentCache

pytestmark = pytest.mark.filterwarnings("ignore::skprune.PruningWarning")
LABELS = np.array(["no", "yes"])
TREE = DecisionTreeClassifier(max_depth=3, random_state=0)


def chances(X):
    """Of the label "yes", in the population."""
    return 1 / (1 + np.exp(-1.5 * np.sin(X[:, 0]) - 0.5 * X[:, 1] * X[:, 2]))


def draw(n, seed):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 3))
    return X, LABELS[(rng.random(n) < chances(X)).astype(int)]


def pruner(model=None, keep=0.2, **options):
    return InfluencePruner(
        keep=keep, model=model, verify=Retrain(n_seeds=1), random_state=0, **options
    )


def unfolded_by_hand(values, weights):
    rows = [(i, k, p) for i, row in enumerate(values) for k, p in enumerate(row) if p >= LEAST]
    i, k, p = map(np.array, zip(*rows, strict=True))
    return i, k, p / np.bincount(i, p)[i] * weights[i]


class TestUnfolding:
    values = np.array([[0.2, 0.8, 0.0], [0.0005, 0.9995, 0.0], [1 / 3, 1 / 3, 1 / 3]])

    def test_a_row_a_label_whose_weight_is_shared_out(self):
        weights = np.array([1.0, 2.0, 3.0])
        rows, y, shares = Teaching(self.values, np.array(list("abc"))).unfolded(weights)
        assert "".join(y) == "abbabc"
        assert_array_equal(rows, [0, 0, 1, 2, 2, 2])
        assert_allclose(shares, [0.2, 0.8, 2.0, 1.0, 1.0, 1.0])
        alike = Teaching(self.values, np.array(list("abc"))).unfolded()[2]
        assert_allclose(np.bincount(rows, alike), 1.0)

    def test_of_very_many_classes_the_likeliest_stay(self):
        values = np.full((2, 5000), 1 / 5000)
        rows, y, shares = Teaching(values, np.arange(5000)).unfolded()
        assert len(rows) == len(y) == 10_000
        assert shares.sum() == pytest.approx(2.0)

    def test_numbers_stand_in_place_of_y(self):
        numbers, weights = np.array([0.5, -2.0]), np.array([1.0, 3.0])
        for given in (None, weights):
            rows, y, shares = Teaching(numbers).unfolded(given)
            assert rows.tolist() == [0, 1]
            assert y is numbers
            assert shares is given


class TestTraining:
    X, y = draw(300, 1)
    own = np.linspace(0.5, 2.0, 300)
    rows = np.arange(0, 300, 3)

    def test_weights_multiply_and_labels_are_not_read(self):
        p = chances(self.X)[self.rows]
        values, factors = np.column_stack([1 - p, p]), np.linspace(1.0, 4.0, 100)
        i, k, w = unfolded_by_hand(values, factors * self.own[self.rows])
        expected = LogisticRegression().fit(self.X[self.rows][i], LABELS[k], w)
        for y in (self.y, np.roll(self.y, 7)):
            trainer = make_trainer(LogisticRegression(), Data(self.X, y, self.own))
            fitted = trainer.fit(self.rows, 0, factors, Teaching(values, LABELS))
            assert_allclose(fitted.coef_, expected.coef_, rtol=1e-5)

    def test_of_numbers(self):
        trainer = make_trainer(Ridge(), Data(self.X, chances(self.X), self.own))
        values = np.sin(self.X[self.rows, 0])
        fitted = trainer.fit(self.rows, 0, None, Teaching(values))
        expected = Ridge().fit(self.X[self.rows], values, self.own[self.rows])
        assert_allclose(fitted.coef_, expected.coef_)

    def test_gaps_are_of_true_labels(self):
        X, y = draw(500, 2)
        retraining = make_retraining(TREE, Data(self.X, self.y), Data(X, y), n_seeds=1)
        p = chances(self.X)[self.rows]
        values = np.column_stack([1 - p, p])
        i, k, w = unfolded_by_hand(values, np.ones(100))
        tree = clone(TREE).set_params(random_state=retraining._seeds[0])
        after = tree.fit(self.X[self.rows][i], LABELS[k], w).predict_proba(X)
        before = tree.fit(self.X, self.y).predict_proba(X)
        gap = retraining.trial(self.rows, None, Teaching(values, LABELS)).gap
        assert float(gap) == pytest.approx(log_loss(y, after) - log_loss(y, before), abs=1e-9)

    def test_what_knows_no_weights_has_no_labels_to_share(self):
        trainer = make_trainer(KNeighborsClassifier(), Data(self.X, self.y))
        with pytest.raises(TypeError, match="takes no sample_weight"):
            trainer.fit(self.rows, 0, None, Teaching(np.full((100, 2), 0.5), LABELS))


def test_auto_takes_a_teacher_where_labels_are_noisy():
    """The loss in the population, whose best one is far from 0: few labels say little."""
    X, _ = draw(5000, 100)
    p = chances(X)
    for seed in range(3):
        rows, y = draw(1500, seed)
        model = HistGradientBoostingClassifier(max_iter=50, min_samples_leaf=5, random_state=0)
        fitted = {
            targets: PrunedClassifier(model, pruner(keep=0.05, targets=targets)).fit(rows, y)
            for targets in (None, "auto")
        }
        said = {targets: np.log(m.predict_proba(X)).T for targets, m in fitted.items()}
        losses = {targets: -np.mean((1 - p) * q[0] + p * q[1]) for targets, q in said.items()}
        assert losses["auto"] < losses[None] - 0.05
        taught = fitted["auto"].pruner_
        line = dict(taught.report_.notes)["teacher targets"]
        assert line.startswith("taken: ")
        assert line.endswith(" 60 rows; the pilot that they are from has seen all rows")
        assert_array_equal(taught.take(y), y[taught.sample_indices_])  # rows keep their labels


@pytest.mark.parametrize(("max_gap", "taken"), [(0.05, True), (1e-6, False)])
def test_a_budget_is_held_with_a_teacher_or_else_with_labels(max_gap, taken):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(9000, 3))
    y = 2 * X[:, 0] + np.sin(X[:, 0]) > 1.2 * rng.logistic(size=9000)
    X_val, y_val = X[1000:], y[1000:]  # enough of them that no gap is below zero by luck
    X, y = X[:1000], y[:1000]
    model = HistGradientBoostingClassifier(max_iter=20, min_samples_leaf=5, random_state=0)
    p = pruner(model, keep=None, max_gap=max_gap, targets="auto").fit(
        X, y, X_val=X_val, y_val=y_val
    )
    line = dict(p.report_.notes)["teacher targets"]
    if taken or line.startswith("taken: "):  # by luck a gap may be below zero
        assert line.startswith("taken: ")
        assert len(p.teacher_targets_) == len(p.sample_indices_) < 1000 / 3
        assert p.report_.trial.within(max_gap)  # in the search
        assert p.gap_ - p.gap_.standard_error <= max_gap  # and not contradicted by other rows
    else:  # no size is allowed, and with labels none either
        assert line.startswith("not taken, as no size below 33% is allowed: ")
        assert p.teacher_targets_ is None
        assert p.keep_mask_.all()


def test_auto_declines_where_the_model_is_better_than_the_pilot():
    """A clean linear target: trees approximate it, and the model has it exactly."""
    X = np.random.default_rng(0).normal(size=(800, 3))
    y = X @ [1.0, 2.0, 3.0]
    fitted = {
        targets: PrunedRegressor(KernelRidge(alpha=1e-6), pruner(targets=targets)).fit(X, y)
        for targets in (None, "auto", "teacher")
    }
    plain, auto, forced = (fitted[targets].pruner_ for targets in fitted)
    assert auto.teacher_targets_ is None
    assert dict(auto.report_.notes)["teacher targets"].startswith("not taken: ")
    assert float(auto.gap_) == float(plain.gap_) == pytest.approx(0.0, abs=1e-6)
    assert float(forced.gap_) > 1e-4
    assert_allclose(fitted["auto"].predict(X), y, atol=1e-4)


class TestPrunedEstimators:
    @pytest.mark.parametrize("weights", [True, False])
    def test_of_classes(self, weights):
        X, y = draw(600, 3)
        own = np.random.default_rng(4).uniform(0.5, 2.0, 600)
        pruned = PrunedClassifier(TREE, pruner(targets="teacher", weights=weights))
        pruned.fit(X, y, sample_weight=own)
        p = pruned.pruner_
        assert p.teacher_targets_.shape == (120, 2)
        assert_allclose(p.teacher_targets_.sum(axis=1), 1.0)
        stands_for = own[p.sample_indices_] if p.sample_weight_ is None else p.sample_weight_
        i, k, w = unfolded_by_hand(p.teacher_targets_, stands_for)
        expected = clone(TREE).fit(X[p.sample_indices_][i], LABELS[k], w)
        assert_array_equal(pruned.predict_proba(X), expected.predict_proba(X))

    def test_of_numbers(self):
        X, _ = draw(600, 3)
        y = 10 + np.sin(X[:, 0])
        model = HistGradientBoostingRegressor(max_iter=20, random_state=0)
        pruned = PrunedRegressor(model, pruner(targets="teacher")).fit(X, y)
        p = pruned.pruner_
        expected = clone(model).fit(X[p.sample_indices_], p.teacher_targets_, p.sample_weight_)
        assert_array_equal(pruned.predict(X), expected.predict(X))
        assert np.corrcoef(p.teacher_targets_, y[p.sample_indices_])[0, 1] > 0.9

    def test_a_model_without_weights_learns_numbers(self):
        X, _ = draw(300, 3)
        model = KNeighborsRegressor()
        pruned = PrunedRegressor(model, pruner(targets="teacher")).fit(X, X[:, 0])
        p = pruned.pruner_
        expected = clone(model).fit(X[p.sample_indices_], p.teacher_targets_)
        assert_array_equal(pruned.predict(X), expected.predict(X))

    def test_what_belongs_to_rows_goes_with_them(self):
        class Weighed(DecisionTreeClassifier):
            def fit(self, X, y, sample_weight=None, marks=None):
                assert_array_equal(marks, X[:, 0])
                return super().fit(X, y, sample_weight)

        X, y = draw(300, 3)

        class Judged(Retrain):
            @property
            def trained(self):
                return TREE

        chooser = InfluencePruner(keep=0.2, verify=Judged(), targets="teacher", random_state=0)
        PrunedClassifier(Weighed(max_depth=2), chooser).fit(X, y, marks=X[:, 0])

    def test_no_label_is_lost(self):
        X, y = draw(600, 3)
        y = y.astype(object)
        y[:6] = "rare"  # of six rows anywhere, the pilot learns nothing
        pruned = PrunedClassifier(TREE, pruner(targets="teacher")).fit(X, y)
        assert pruned.classes_.tolist() == ["no", "rare", "yes"]

    def test_numbers_stay_where_the_target_lives(self):
        rng = np.random.default_rng(0)
        X = rng.normal(size=(800, 3))
        y = rng.poisson(np.exp(X[:, 0] - 2)).astype(float)
        model = HistGradientBoostingRegressor(loss="poisson", max_iter=20, random_state=0)
        pruned = PrunedRegressor(model, pruner(targets="teacher")).fit(X, y)
        assert pruned.pruner_.teacher_targets_.min() == 0.0

    def test_a_grid_clones_and_searches_it(self):
        X, y = draw(400, 3)
        grid = GridSearchCV(
            PrunedClassifier(TREE, pruner()), {"pruner__targets": [None, "teacher", "auto"]}, cv=2
        ).fit(X, y)
        assert clone(grid.best_estimator_).pruner.targets == grid.best_params_["pruner__targets"]
        assert np.isfinite(grid.cv_results_["mean_test_score"]).all()

    def test_labels_stay_where_others_train(self):
        X, y = draw(400, 3)
        search = GridSearchCV(TREE, {"max_depth": [1, 3]}, cv=2)
        found = PrunedSearchCV(search, pruner(targets="teacher")).fit(X, y)
        assert all(p.teacher_targets_ is not None for p in found.pruners_)  # candidates learn them
        assert PruningSampler(pruner(TREE, targets="auto")).fit(X, y).pruner_.gap_ is not None
        with pytest.raises(ValueError, match="gets true labels alone"):
            PruningSampler(pruner(TREE, targets="teacher")).fit(X, y)


@pytest.mark.parametrize("grouped", [False, True])
def test_no_row_teaches_itself(grouped):
    """Labels of pure noise: whoever knows more of a label than its share has seen it."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(500, 3)), LABELS[rng.integers(2, size=500)]
    groups = None
    if grouped:  # near-copies that share the label
        X, y, groups = np.repeat(X, 4, axis=0), np.repeat(y, 4), np.repeat(np.arange(500), 4)
        X += 1e-6 * rng.normal(size=X.shape)
    p = pruner(TREE, targets="teacher", keep=0.9).fit(X, y, groups=groups)
    own = p.teacher_targets_[np.arange(len(p.sample_indices_)), (p.take(y) == "yes").astype(int)]
    assert own.mean() < 0.55


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"model": LogisticRegression()}, "not linear.*give the boosting"),
        ({"model": "softmax"}, "not linear"),
        ({"model": None}, "none is: give model="),
        ({"model": TREE, "verify": "auto"}, "without keep=.*verify='retrain'"),
        ({"model": TREE, "verify": None}, "none is"),
        ({"model": KNeighborsClassifier()}, "KNeighborsClassifier takes no sample_weight"),
    ],
)
def test_where_nothing_can_be_taught(options, message):
    X, y = draw(200, 3)
    given = {"keep": 0.5, "verify": "auto", "random_state": 0, **options}
    if options.get("model") is not TREE and "verify" not in options:
        given["verify"] = "auto" if options["model"] in (None, "softmax") else "retrain"
    with pytest.raises(ValueError, match=f"targets='teacher'.*{message}"):
        InfluencePruner(targets="teacher", **given).fit(X, y)
    assert InfluencePruner(targets="auto", **given).fit(X, y).teacher_targets_ is None


def test_an_estimator_without_weights_behind_a_model_with_them():
    X, y = draw(200, 3)
    with pytest.raises(ValueError, match="use PrunedClassifier or PrunedRegressor with"):
        PrunedClassifier(KNeighborsClassifier(), pruner(TREE, targets="teacher")).fit(X, y)
    auto = PrunedClassifier(KNeighborsClassifier(), pruner(TREE, targets="auto")).fit(X, y)
    assert auto.pruner_.teacher_targets_ is None


def test_searches_with_other_targets_are_others(monkeypatch):
    made, real = [], driver.tell
    monkeypatch.setattr(driver, "tell", lambda *args: made.append(1) or real(*args))
    monkeypatch.setattr(known, "OUTCOMES", ContentCache(2**25))
    X, y = draw(300, 3)
    for times in (1, 2):
        for n, targets in enumerate([None, "auto", "teacher"], 1):
            fitted = pruner(TREE, targets=targets).fit(X, y)
            assert len(made) == (n if times == 1 else 3)
    fitted.teacher_targets_[:] = 0.0  # the user's own
    assert pruner(TREE, targets="teacher").fit(X, y).teacher_targets_.any()
