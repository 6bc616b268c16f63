"""PrunedSearchCV beside the search it wraps: what it trains on, scores on, finds and says."""

from __future__ import annotations

import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from sklearn import config_context
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.cluster import KMeans
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import FitFailedWarning, NotFittedError, UnsetMetadataPassedError
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - makes two searches there
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, make_scorer
from sklearn.model_selection import (
    GridSearchCV,
    GroupKFold,
    HalvingGridSearchCV,
    HalvingRandomSearchCV,
    KFold,
    RandomizedSearchCV,
    StratifiedKFold,
    cross_val_score,
    cross_validate,
)
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier
from sklearn.utils import get_tags

from skprune import InfluencePruner, PrunedSearchCV, PruningWarning
from skprune.baselines import StratifiedRandom
from skprune.results.cv_results import best, counted, seconds_on_all_rows, trust

pytestmark = pytest.mark.filterwarnings("ignore::skprune.PruningWarning")

GRID = {"C": [0.001, 0.01, 0.1, 1.0, 10.0]}
FOLDS = StratifiedKFold(3)


@pytest.fixture(scope="module")
def cancer():
    """The number of each row stands in its last column, too small to be learned from."""
    X, y = load_breast_cancer(return_X_y=True)
    return np.column_stack([StandardScaler().fit_transform(X), np.arange(len(y)) * 1e-9]), y


def ids(X):
    return np.rint(np.asarray(X)[:, -1] * 1e9).astype(int)


class Spy(LogisticRegression):
    """Notes which rows it is trained on and asked about, and their weights."""

    log = None

    def fit(self, X, y, sample_weight=None):
        Spy.log.append(("fit", self.C, ids(X), sample_weight))
        return super().fit(X, y, sample_weight)

    def predict(self, X):
        Spy.log.append(("predict", self.C, ids(X), None))
        return super().predict(X)


class TeachingPruner(StratifiedRandom):
    """Has teacher targets, and weights of the kept rows or none."""

    weighs = True

    def fit(self, X, y, sample_weight=None):
        super().fit(X, y)
        kept, self.classes_ = self.sample_indices_, np.unique(y)
        own = 1.0 if sample_weight is None else np.asarray(sample_weight)[kept]
        self.sample_weight_ = (1.0 + kept % 3) * own if self.weighs else None
        self.teacher_targets_ = 0.5 * np.asarray(y, dtype=float)[kept] + 1
        if len(self.classes_) == 2:
            right = np.where(kept % 2, 0.75, 1.0)[:, None]
            own = np.eye(2)[np.asarray(y)[kept]]
            self.teacher_targets_ = own * right + (1 - own) * (1 - right)
        return self


class UnweighingPruner(TeachingPruner):
    weighs = False


class CountingPruner(StratifiedRandom):
    """Notes the rows that it chooses from, and what else it is given."""

    log = None

    def fit(self, X, y, sample_weight=None, groups=None):
        CountingPruner.log.append((ids(X), sample_weight, groups))
        return super().fit(X, y)


class WeighingPruner(StratifiedRandom):
    """Weights that differ by row and, as they go by the position in the fold, by fold."""

    def fit(self, X, y):
        super().fit(X, y)
        self.sample_weight_ = 1 + self.sample_indices_ % 5
        return self


@pytest.fixture(autouse=True)
def logs():
    Spy.log, CountingPruner.log = [], []


def grid_of(estimator=None, grid=GRID, **params):
    return GridSearchCV(estimator or LogisticRegression(), grid, **{"cv": FOLDS, **params})


def tenth(**params):
    return StratifiedRandom(**{"keep": 0.3, "random_state": 0, **params})


SEARCHES = {
    "grid": grid_of(return_train_score=True),
    "random": RandomizedSearchCV(LogisticRegression(), GRID, n_iter=3, cv=FOLDS, random_state=0),
    "halving grid": HalvingGridSearchCV(LogisticRegression(), GRID, cv=FOLDS, random_state=0),
    "halving random": HalvingRandomSearchCV(LogisticRegression(), GRID, cv=FOLDS, random_state=0),
    "halving another resource": HalvingGridSearchCV(
        LogisticRegression(), GRID, cv=FOLDS, resource="max_iter", max_resources=90
    ),
}


class TestAsTheSearch:
    @pytest.mark.filterwarnings("ignore:.*failed to converge", "ignore:The total space")
    @pytest.mark.parametrize("search", SEARCHES.values(), ids=SEARCHES)
    def test_all_rows_kept_are_the_search_itself(self, search, cancer):
        ours = PrunedSearchCV(search, StratifiedRandom(1.0)).fit(*cancer)
        plain = clone(search).fit(*cancer)
        assert ours.best_params_ == plain.best_params_
        assert ours.n_splits_ == plain.n_splits_
        assert ours.multimetric_ == plain.multimetric_
        for name, column in plain.cv_results_.items():
            if "time" not in name:
                np.testing.assert_array_equal(ours.cv_results_[name], column)
        np.testing.assert_allclose(
            ours.predict_proba(cancer[0]), plain.predict_proba(cancer[0]), atol=1e-9
        )
        if isinstance(search, (GridSearchCV, RandomizedSearchCV)):
            assert ours.best_index_ == plain.best_index_
            assert ours.best_score_ == plain.best_score_
            assert ours.score(*cancer) == plain.score(*cancer)

    def test_what_the_user_gave_is_untouched(self, cancer):
        search, pruner = grid_of(), tenth()
        before = repr(search), repr(pruner)
        ours = PrunedSearchCV(search, pruner).fit(*cancer)
        assert (repr(search), repr(pruner)) == before
        assert not hasattr(search, "cv_results_")
        assert not hasattr(pruner, "sample_indices_")
        assert ours.get_params()["search__param_grid"] == GRID
        ours.set_params(search__param_grid={"C": [7.0]}, finalists=1)
        assert clone(ours).fit(*cancer).best_params_ == {"C": 7.0}

    def test_methods_are_those_of_the_search(self, cancer):
        svc = PrunedSearchCV(grid_of(SVC()), tenth())
        assert hasattr(svc, "decision_function")
        assert not hasattr(svc, "predict_proba")
        with pytest.raises(NotFittedError):
            svc.predict(cancer[0])
        fitted = svc.fit(*cancer)
        assert fitted.decision_function(cancer[0]).shape == (569,)
        assert fitted.n_features_in_ == 31
        assert list(fitted.classes_) == [0, 1]
        copy = pickle.loads(pickle.dumps(fitted))
        np.testing.assert_array_equal(copy.predict(cancer[0]), fitted.predict(cancer[0]))
        assert str(copy.report_) == str(fitted.report_)

    def test_kind_is_that_of_the_estimator(self):
        assert is_classifier(PrunedSearchCV(grid_of()))
        assert is_regressor(PrunedSearchCV(GridSearchCV(Ridge(), {})))
        kernel = PrunedSearchCV(grid_of(SVC(kernel="precomputed")), tenth())
        assert get_tags(kernel).input_tags.pairwise

    def test_without_a_pruner_five_rows_a_class_are_kept_at_least(self):
        X, y = np.random.default_rng(0).normal(size=(60, 2)), np.repeat(["a", "b", "c", "d"], 15)
        search = GridSearchCV(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 3]}, cv=3)
        ours = PrunedSearchCV(search).fit(X, y)
        assert [len(p.sample_indices_) for p in ours.pruners_] == [20, 20, 20]

    def test_without_a_pruner_a_fifth_of_the_rows_is_kept(self, cancer):
        search = grid_of(DecisionTreeClassifier(random_state=0), {"max_depth": [1, 3]})
        ours = PrunedSearchCV(search).fit(*cancer)
        assert [len(p.sample_indices_) for p in ours.pruners_] == [76, 76, 76]
        assert all("not trained" in p.report_.headline for p in ours.pruners_)

    def test_without_refit(self, cancer):
        ours = PrunedSearchCV(grid_of(refit=False), tenth()).fit(*cancer)
        assert ours.best_params_["C"] in GRID["C"]
        assert ours.report_.refit_seconds is None
        assert not hasattr(ours, "best_estimator_")
        with pytest.raises(AttributeError) as error:
            ours.predict(cancer[0])
        assert "refit=False" in str(error.value.__cause__.__cause__)

    def test_a_failing_candidate_is_no_finalist(self, cancer):
        grid = {"C": [0.1, 1.0], "solver": ["lbfgs", "no such solver"]}
        with pytest.warns(FitFailedWarning), pytest.warns(UserWarning, match="non-finite"):
            ours = PrunedSearchCV(grid_of(grid=grid), tenth(), finalists=2).fit(*cancer)
        assert {ours.cv_results_["params"][i]["solver"] for i in ours.finalist_indices_} == {
            "lbfgs"
        }
        with pytest.raises(ValueError, match="no such solver"):
            PrunedSearchCV(grid_of(grid=grid, error_score="raise"), tenth()).fit(*cancer)


class TestRows:
    def test_candidates_learn_from_kept_rows_and_answer_for_whole_validation_parts(self, cancer):
        ours = PrunedSearchCV(grid_of(Spy(), {"C": [0.1, 1.0]}), tenth(), finalists=1)
        ours.fit(*cancer)
        folds = list(FOLDS.split(*cancer))
        kept = [t[p.sample_indices_] for p, (t, _) in zip(ours.pruners_, folds, strict=True)]
        winner = ours.best_params_["C"]
        expected = []
        for C in (0.1, 1.0):
            for rows, (_, test) in zip(kept, folds, strict=True):
                expected += [("fit", C, rows), ("predict", C, test)]
        for train, test in folds:  # the finalist, on all rows
            expected += [("fit", winner, train), ("predict", winner, test)]
        expected.append(("fit", winner, np.arange(569)))  # the refit
        assert len(Spy.log) == len(expected)
        for found, wanted in zip(Spy.log, expected, strict=True):
            assert found[:2] == wanted[:2]
            np.testing.assert_array_equal(found[2], wanted[2])

    def test_rows_are_chosen_once_a_fold_without_its_validation_rows(self, cancer):
        PrunedSearchCV(grid_of(), CountingPruner(0.3)).fit(*cancer)
        assert len(CountingPruner.log) == 3
        for (seen, *_), (train, _) in zip(CountingPruner.log, FOLDS.split(*cancer), strict=True):
            np.testing.assert_array_equal(seen, train)

    def test_random_folds_are_the_same_for_all_stages(self, cancer):
        cv = KFold(3, shuffle=True)
        ours = PrunedSearchCV(grid_of(Spy(), {"C": [1.0]}, cv=cv), tenth()).fit(*cancer)
        asked = [rows for what, _, rows, _ in Spy.log if what == "predict"]
        for short, whole in zip(asked[:3], asked[3:], strict=True):
            np.testing.assert_array_equal(short, whole)
        assert ours.n_splits_ == 3

    def test_folds_from_a_generator(self, cancer):
        once = PrunedSearchCV(grid_of(cv=FOLDS.split(*cancer)), tenth()).fit(*cancer)
        again = PrunedSearchCV(grid_of(), tenth()).fit(*cancer)
        assert once.best_score_ == again.best_score_

    @pytest.mark.parametrize("finalists", [1, 2, 99])
    def test_finalists_are_compared_on_all_rows(self, cancer, finalists):
        ours = PrunedSearchCV(grid_of(), tenth(), finalists).fit(*cancer)
        results, chosen = ours.cv_results_, ours.finalist_indices_
        assert len(chosen) == min(finalists, 5)
        order = np.argsort(results["rank_test_score"], kind="stable")
        np.testing.assert_array_equal(chosen, order[:finalists])
        for i in chosen:
            scores = cross_val_score(LogisticRegression(**results["params"][i]), *cancer, cv=FOLDS)
            assert results["mean_test_score_all_rows"][i] == pytest.approx(scores.mean())
        others = np.setdiff1d(np.arange(5), chosen)
        assert np.isnan(results["mean_test_score_all_rows"][others]).all()
        assert ours.best_index_ == np.nanargmin(results["rank_test_score_all_rows"])
        assert ours.best_score_ == results["mean_test_score_all_rows"][ours.best_index_]

    @pytest.mark.parametrize("kind", [StratifiedRandom, WeighingPruner])
    @pytest.mark.parametrize("make", [pd.DataFrame, sp.csr_matrix, sp.coo_matrix, list])
    def test_containers(self, cancer, make, kind):
        X, y = cancer
        search = PrunedSearchCV(grid_of(), kind(0.3, random_state=0))
        expected = clone(search).fit(X, y)
        found = clone(search).fit(make(X), make(y) if make is list else y)
        np.testing.assert_allclose(
            found.cv_results_["mean_test_score"], expected.cv_results_["mean_test_score"]
        )

    def test_frames_keep_their_names(self, cancer):
        X = pd.DataFrame(cancer[0]).add_prefix("c")
        y = pd.Series(np.where(cancer[1], "yes", "no"), index=X.index[::-1])
        ours = PrunedSearchCV(grid_of(), InfluencePruner(keep=0.3)).fit(X, y)
        assert list(ours.feature_names_in_) == list(X.columns)
        assert set(ours.predict(X)) == {"yes", "no"}

    @pytest.mark.parametrize("kind", [StratifiedRandom, WeighingPruner])
    def test_a_kernel_is_cut_on_both_sides(self, cancer, kind):
        (X, y), pruner = cancer, kind(0.3, random_state=0)
        linear = PrunedSearchCV(grid_of(SVC(kernel="linear")), pruner).fit(X, y)
        kernel = PrunedSearchCV(grid_of(SVC(kernel="precomputed")), pruner).fit(X @ X.T, y)
        np.testing.assert_allclose(
            kernel.cv_results_["mean_test_score"], linear.cv_results_["mean_test_score"]
        )

    def test_the_estimator_becomes_the_model_of_a_pruner_without_one(self, cancer):
        pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.5))
        grid = {"logisticregression__C": [0.1, 1.0]}
        ours = PrunedSearchCV(grid_of(pipeline, grid), InfluencePruner(keep=0.3)).fit(*cancer)
        assert ours.pruners_[0].model[-1].C == 0.5
        assert set(ours.best_params_) == {"logisticregression__C"}
        assert "param_logisticregression__C" in ours.cv_results_

    def test_missing_values_for_an_estimator_that_takes_them(self, cancer):
        X, y = cancer[0].copy(), cancer[1]
        X[::7, 3] = np.nan
        trees = grid_of(DecisionTreeClassifier(random_state=0), {"max_depth": [2, 3]})
        assert PrunedSearchCV(trees, InfluencePruner(keep=0.3)).fit(X, y).score(X, y) > 0.9

    def test_numbers(self):
        X, y = load_diabetes(return_X_y=True)
        search = GridSearchCV(Ridge(), {"alpha": [0.01, 0.1, 1.0]}, cv=3)
        for pruner in (tenth(), InfluencePruner(keep=0.3)):
            ours = PrunedSearchCV(search, pruner).fit(X, y.astype(int))  # not classes
            assert ours.score(X, y) > 0.4


class TestScoring:
    @pytest.mark.parametrize("refit", ["roc_auc", "accuracy"])
    def test_the_metric_to_refit_by_decides(self, cancer, refit):
        search = grid_of(scoring=["roc_auc", "accuracy"], refit=refit)
        ours = PrunedSearchCV(search, tenth(), finalists=2).fit(*cancer)
        rank = ours.cv_results_[f"rank_test_{refit}"]
        assert sorted(rank[ours.finalist_indices_]) == sorted(np.sort(rank)[:2])
        assert ours.best_index_ == np.nanargmin(ours.cv_results_[f"rank_test_{refit}_all_rows"])
        assert ours.multimetric_
        assert set(ours.scorer_) == {"roc_auc", "accuracy"}

    def test_several_metrics_without_refit(self, cancer):
        search = grid_of(scoring=["roc_auc", "accuracy"], refit=False)
        ours = PrunedSearchCV(search, tenth()).fit(*cancer)
        assert not hasattr(ours, "best_index_")
        tops = {int(ours.cv_results_[f"rank_test_{m}"].argmin()) for m in search.scoring}
        assert tops <= set(ours.finalist_indices_)

    def test_no_training_before_a_refit_that_scikit_learn_refuses(self, cancer):
        search = grid_of(Spy(), scoring=["roc_auc", "accuracy"], refit=True)
        with pytest.raises(ValueError, match="refit must be set to a scorer key"):
            PrunedSearchCV(search, CountingPruner(0.3)).fit(*cancer)
        assert not Spy.log
        assert not CountingPruner.log

    def test_a_function_picks_the_finalists_and_the_winner(self, cancer):
        def smallest(results):
            return int(np.argmin(results["param_C"]))

        ours = PrunedSearchCV(grid_of(refit=smallest), tenth(), finalists=2).fit(*cancer)
        np.testing.assert_array_equal(ours.finalist_indices_, [0, 1])
        assert ours.best_params_ == {"C": 0.001}
        assert not hasattr(ours, "best_score_")
        assert ours.predict(cancer[0]).shape == (569,)

    def test_a_callable_with_several_scores(self, cancer):
        def scoring(estimator, X, y):
            right = estimator.predict(X) == y
            return {"right": right.mean(), "wrong": (~right).mean()}

        ours = PrunedSearchCV(grid_of(scoring=scoring, refit="right"), tenth()).fit(*cancer)
        assert ours.best_score_ == np.nanmax(ours.cv_results_["mean_test_right_all_rows"])


class TestMetadata:
    def test_groups_go_to_the_folds_and_to_the_pruner(self, cancer):
        groups = np.arange(569) // 4
        search = grid_of(Spy(), {"C": [1.0]}, cv=GroupKFold(3))
        PrunedSearchCV(search, CountingPruner(0.3)).fit(*cancer, groups=groups)
        for seen, _, theirs in CountingPruner.log:
            np.testing.assert_array_equal(theirs, groups[seen])
        fits = [rows for what, _, rows, _ in Spy.log if what == "fit"]
        asked = [rows for what, _, rows, _ in Spy.log if what == "predict"]
        for trained, tested in zip(fits, asked, strict=False):
            assert not set(groups[trained]) & set(groups[tested])

    @pytest.mark.parametrize("pipeline", [False, True])
    def test_weights_of_the_user_go_with_their_rows(self, cancer, pipeline):
        w = 1.0 + np.arange(569) % 3
        estimator = make_pipeline("passthrough", Spy()) if pipeline else Spy()
        grid = {"spy__C": [1.0]} if pipeline else {"C": [1.0]}
        PrunedSearchCV(grid_of(estimator, grid), CountingPruner(0.3)).fit(*cancer, sample_weight=w)
        for _, _, rows, weights in Spy.log:
            if weights is not None:
                np.testing.assert_array_equal(weights, w[rows])
        assert sum(weights is not None for *_, weights in Spy.log) == 7
        for seen, weights, _ in CountingPruner.log:
            np.testing.assert_array_equal(weights, w[seen])

    @pytest.mark.parametrize("routing", [False, True])
    @pytest.mark.parametrize("given", [False, True])
    def test_weights_of_the_pruner_by_fold(self, cancer, given, routing):
        """The candidates are trained with them, and scored without."""
        own = 1.0 + np.arange(569) % 3
        with config_context(enable_metadata_routing=routing), warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.simplefilter("ignore", PruningWarning)
            spy = Spy()
            if routing:
                spy.set_fit_request(sample_weight=True).set_score_request(sample_weight=False)
            scoring = None if routing or given else make_scorer(accuracy_score)
            search = grid_of(spy, {"C": [0.1, 1.0]}, scoring=scoring)
            ours = PrunedSearchCV(search, WeighingPruner(0.3, random_state=0), finalists=1)
            ours.fit(*cancer, **({"sample_weight": own} if given else {}))
        fits = [(rows, w) for what, _, rows, w in Spy.log if what == "fit"]
        folds = list(FOLDS.split(*cancer))
        for C, start in ((0.1, 0), (1.0, 3)):
            for k, (pruner, (train, test)) in enumerate(zip(ours.pruners_, folds, strict=True)):
                rows, weights = fits[start + k]
                np.testing.assert_array_equal(rows, train[pruner.sample_indices_])
                expected = pruner.sample_weight_ * (own[rows] if given else 1.0)
                np.testing.assert_array_equal(weights, expected)
                if not given:
                    model = LogisticRegression(C=C).fit(*(a[rows] for a in cancer), weights)
                    score = model.score(*(a[test] for a in cancer))
                    at = list(GRID["C"][2:4]).index(C)
                    found = ours.cv_results_[f"split{k}_test_score"][at]
                    assert found == pytest.approx(score)
        for rows, weights in fits[6:]:  # on all rows
            assert weights is None if not given else np.array_equal(weights, own[rows])
        assert ours.report_.weighted

    def test_weights_of_the_pruner_reach_the_last_step(self, cancer):
        pipeline = make_pipeline("passthrough", Spy())
        ours = PrunedSearchCV(grid_of(pipeline, {"spy__C": [1.0]}), WeighingPruner(0.3))
        ours.fit(*cancer)
        weights = [w for what, _, _, w in Spy.log if what == "fit"]
        for pruner, found in zip(ours.pruners_, weights, strict=False):
            np.testing.assert_array_equal(found, pruner.sample_weight_)

    def test_rows_that_need_weights_are_refused_for_an_estimator_without(self, cancer):
        search = grid_of(KNeighborsClassifier(), {"n_neighbors": [3, 5]})
        with pytest.raises(ValueError, match=r"KNeighborsClassifier\(\) takes no sample_weight"):
            PrunedSearchCV(search, WeighingPruner(0.3)).fit(*cancer)
        with (
            config_context(enable_metadata_routing=True),
            pytest.raises(ValueError, match=r"set_fit_request\(sample_weight=True\)"),
        ):
            PrunedSearchCV(grid_of(), WeighingPruner(0.3)).fit(*cancer)

    def test_routing_delivers_what_is_requested(self, cancer):
        w, groups = 1.0 + np.arange(569) % 3, np.arange(569) // 4
        with config_context(enable_metadata_routing=True):
            spy = Spy().set_fit_request(sample_weight=True).set_score_request(sample_weight=True)
            pruner = CountingPruner(0.3).set_fit_request(sample_weight=True, groups=True)
            search = PrunedSearchCV(grid_of(spy, {"C": [1.0]}, cv=GroupKFold(3)), pruner)
            cross_validate(
                search,
                *cancer,
                params={"sample_weight": w, "groups": groups},
                cv=GroupKFold(2),
                error_score="raise",
            )
        for seen, weights, theirs in CountingPruner.log:
            np.testing.assert_array_equal(weights, w[seen])
            np.testing.assert_array_equal(theirs, groups[seen])
        for _, _, rows, weights in Spy.log:
            if weights is not None:
                np.testing.assert_array_equal(weights, w[rows])

    def test_routing_refuses_what_nobody_decided(self, cancer):
        with (
            config_context(enable_metadata_routing=True),
            pytest.raises(UnsetMetadataPassedError, match="sample_weight"),
        ):
            PrunedSearchCV(grid_of(), tenth()).fit(*cancer, sample_weight=np.ones(569))


class TestHalving:
    @pytest.mark.parametrize("pruner", [tenth(), WeighingPruner(0.3, random_state=0)])
    def test_resources_count_kept_rows(self, cancer, pruner):
        search = HalvingGridSearchCV(
            Spy(), {"C": [0.1, 1.0, 10.0, 100.0]}, cv=FOLDS, min_resources=60, factor=2
        )
        ours = PrunedSearchCV(search, pruner).fit(*cancer)
        kept = sum(len(p.sample_indices_) for p in ours.pruners_) / 2  # of rows, not of folds
        np.testing.assert_allclose(sorted(set(ours.cv_results_["n_resources"])), [60, 120], atol=1)
        sizes = [len(rows) for what, _, rows, _ in Spy.log if what == "fit"]
        assert kept == pytest.approx(171, abs=2)
        np.testing.assert_allclose(sizes[:12], 40, atol=1)  # two of three folds
        np.testing.assert_allclose(sizes[12:18], 80, atol=1)
        for what, _, rows, weights in Spy.log[:12]:
            if what == "fit" and weights is not None:
                assert len(rows) == len(weights)

    def test_finalists_are_of_the_last_round(self, cancer):
        search = HalvingGridSearchCV(LogisticRegression(), GRID, cv=FOLDS, random_state=0)
        ours = PrunedSearchCV(search, tenth(keep=0.6)).fit(*cancer)
        rounds = ours.cv_results_["iter"]
        assert rounds.max() > 0
        assert set(rounds[ours.finalist_indices_]) == {rounds.max()}

    def test_a_floor_worked_out_before_pruning_is_refused(self, cancer):
        search = HalvingGridSearchCV(LogisticRegression(), GRID, cv=FOLDS, min_resources="smallest")
        with pytest.raises(ValueError, match="'exhaust', or the number of kept rows"):
            PrunedSearchCV(search, tenth()).fit(*cancer)


class TrialSearch(BaseEstimator):
    """As Optuna's: trials with attributes, and ``cv_results_`` without parameters and ranks."""

    def __init__(self, estimator, values, cv=None, scoring=None, refit=True):
        self.estimator = estimator
        self.values = values
        self.cv = cv
        self.scoring = scoring
        self.refit = refit

    def fit(self, X, y, groups=None, **fit_params):
        assert not self.refit
        self.trials_ = [SimpleNamespace(params={"C": -1.0}, user_attrs={})]  # it failed
        for C in self.values:
            scores = cross_validate(clone(self.estimator).set_params(C=C), X, y, cv=self.cv)
            attributes = {}
            for name, column in scores.items():
                attributes[f"mean_{name}"] = column.mean()
                if name == "test_score":
                    attributes |= {f"split{k}_{name}": v for k, v in enumerate(column)}
            self.trials_.append(SimpleNamespace(params={"C": C}, user_attrs=attributes))
        return self


def test_a_search_by_trials_is_as_a_grid(cancer):
    trials = PrunedSearchCV(TrialSearch(LogisticRegression(), GRID["C"], FOLDS), tenth())
    grid = PrunedSearchCV(grid_of(), tenth()).fit(*cancer)
    trials.fit(*cancer)
    for name in ("mean_test_score", "rank_test_score", "rank_test_score_all_rows"):
        np.testing.assert_allclose(trials.cv_results_[name], grid.cv_results_[name])
    assert trials.best_params_ == grid.best_params_


class TestMessages:
    @pytest.mark.parametrize(
        ("search", "error", "message"),
        [
            (LogisticRegression(), TypeError, r"is no search: it has no cv, estimator, refit"),
            (grid_of(KMeans()), ValueError, "neither classifier nor regressor"),
            (grid_of(make_pipeline(StandardScaler(), "passthrough")), ValueError, "placeholder"),
            ("grid", ValueError, "'search' parameter of PrunedSearchCV must be"),
        ],
    )
    def test_what_is_no_search(self, cancer, search, error, message):
        with pytest.raises(error, match=message):
            PrunedSearchCV(search).fit(*cancer)

    @pytest.mark.parametrize("params", [{"finalists": 0}, {"finalists": 2.5}, {"pruner": "ours"}])
    def test_parameters(self, cancer, params):
        (name,) = params
        with pytest.raises(ValueError, match=f"'{name}' parameter of PrunedSearchCV"):
            PrunedSearchCV(grid_of(), **params).fit(*cancer)

    def test_weights_that_the_estimator_does_not_take(self, cancer):
        search = grid_of(KNeighborsClassifier(), {"n_neighbors": [3]})
        with pytest.raises(TypeError, match=r"KNeighborsClassifier\.fit takes no 'sample_weight'"):
            PrunedSearchCV(search, tenth()).fit(*cancer, sample_weight=np.ones(569))


def columns(scores, whole=None, name="score", **more):
    """``cv_results_`` of candidates with these scores, (candidates, folds)."""
    results = {"params": [{"c": i} for i in range(len(scores))], **more}
    for ending, values in (("", scores), ("_all_rows", whole)):
        if values is None:
            continue
        for k, column in enumerate(np.array(values, dtype=float).T):
            results[f"split{k}_test_{name}{ending}"] = column
        results[f"mean_test_{name}{ending}"] = np.mean(values, axis=1)
    return results


class TestTrust:
    def test_agreement_is_spearmans(self):
        short = np.repeat([[0.9], [0.8], [0.7], [0.1]], 2, axis=1)
        whole = np.repeat([[0.8], [0.9], [0.7], [np.nan]], 2, axis=1)
        assert trust(columns(short, whole), np.arange(3), True)[0] == pytest.approx(0.5)

    def test_scores_that_move_by_much_of_what_good_candidates_differ(self):
        """The finalists move by the same 0.1; the bad half of the candidates is no measure."""
        short = np.repeat([[0.9], [0.8], [0.7], [0.0], [0.1]], 2, axis=1)
        whole = np.repeat([[0.8], [0.9], [0.7], [np.nan], [np.nan]], 2, axis=1)
        agreement, (doubt,) = trust(columns(short, whole), np.arange(3), True)
        assert agreement == pytest.approx(0.5)
        assert "move by 0.1 against one another" in doubt
        assert "better half of the candidates differ by 0.1" in doubt
        steady = np.where(np.isnan(whole), whole, short - 0.2)  # all of them lose as much
        assert trust(columns(short, steady), np.arange(3), True)[1] == []
        # nobody was left out
        assert trust(columns(short[:3], whole[:3]), np.arange(3), True)[1] == []
        ends = {"iter": np.array([1, 1, 1, 0, 0])}
        assert trust(columns(short, whole, **ends), np.arange(3), True)[1] == []

    def test_scores_that_differ_less_than_chance(self):
        rng = np.random.default_rng(0)
        fold, noise = rng.normal(size=5), rng.normal(size=(20, 5))
        noise -= noise.mean(axis=1, keepdims=True)
        weak, strong = (1e-3 * np.arange(20)[:, None], np.arange(20)[:, None])
        _, (doubt,) = trust(columns(fold + noise + weak, fold + noise), np.arange(3), True)
        assert "says nothing" in doubt
        # folds of unlike difficulty are no doubt
        sure = columns(100 * fold + noise + strong, fold + noise)
        assert not any("says nothing" in d for d in trust(sure, np.arange(3), True)[1])

    def test_a_single_finalist_or_equal_scores_have_no_order(self):
        same = np.full((3, 2), 0.5)
        assert trust(columns(same, same), np.array([0]), True) == (None, [])
        assert trust(columns(same, same), np.arange(3), True) == (None, [])

    def test_doubts_are_warnings_and_lines(self, cancer):
        X = np.random.default_rng(0).normal(size=cancer[0].shape)
        search = grid_of(DecisionTreeClassifier(), {"random_state": list(range(12))})
        with pytest.warns(PruningWarning, match="order there says nothing"):
            ours = PrunedSearchCV(search, tenth()).fit(X, cancer[1])
        assert "says nothing" in str(ours.report_)


class TestReport:
    def test_lines(self, cancer):
        ours = PrunedSearchCV(grid_of(), tenth()).fit(*cancer)
        text, report = str(ours.report_), ours.report_
        assert "114 of 379, 114 of 379, 114 of 380 (30.1%)" in text
        for line in ("selection", "candidates", "finalists", "refit", "saved"):
            assert line in text
            assert f">{line}</th>" in report._repr_html_()
        assert report.seconds == pytest.approx(
            report.selection_seconds + report.candidates_seconds + report.finalists_seconds
        )
        assert report.saved_seconds == pytest.approx(report.full_seconds - report.seconds)
        assert report.n_candidates == 5
        assert report.n_finalists == 3

    def test_estimate_of_all_rows(self):
        """Fits take 10 times as long on all rows; scoring does not change."""
        results = {
            "mean_fit_time": np.array([1.0, 2.0, 3.0, np.nan]),
            "mean_score_time": np.array([0.5, 0.5, 1.0, np.nan]),
            "mean_fit_time_all_rows": np.array([np.nan, 20.0, np.nan, np.nan]),
        }
        # Two folds are 16 s of work, which two workers do in 8 s; on all rows it is 124 s.
        assert seconds_on_all_rows(results, 8.0, 2) == pytest.approx(62)
        # A worker that took 100 s to start takes them again, once.
        assert seconds_on_all_rows(results, 116.0, 2) == pytest.approx(100 + 124)
        assert seconds_on_all_rows({**results, "mean_fit_time": np.zeros(4)}, 4.0, 2) is None

    def test_counts_of_rows_are_flagged(self):
        own = {"trees__min_samples_leaf": 20, "trees__max_depth": 9, "min_child_weight": 5.0}
        candidates = [{"n_neighbors": 5}, {"n_neighbors": 50}]
        (weights, neighbours, leaf) = counted(own, candidates, 0.1, weighted=False)
        assert "trees__min_samples_leaf counts rows, of which 10% were kept" in leaf
        assert "20 of them stand for 200" in leaf
        assert "50 of them stand for 500" in neighbours
        assert "weights of rows" in weights
        assert len(counted(own, candidates, 0.1, weighted=True)) == 2
        assert counted(own, candidates, 1.0, weighted=False) == []
        share_or_least = [{"min_samples_leaf": 0.1}, {"min_samples_leaf": 1}]
        assert counted({"min_samples_split": 2}, share_or_least, 0.1, weighted=False) == []

    def test_best_by_rank_round_and_metric(self):
        results = {"params": [{}] * 4, "mean_test_a": [], "mean_test_b": []}
        results["rank_test_a"] = np.array([4, 1, 2, 3])
        results["rank_test_b"] = np.array([1, 4, 3, 2])
        assert list(best(results, "a", 2)) == [1, 2]
        assert list(best(results, False, 2)) == [0, 1]
        assert list(best({**results, "iter": np.array([0, 0, 1, 1])}, "a", 3)) == [2, 3]


@pytest.mark.parametrize("numbers", [False, True])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("kind", [TeachingPruner, UnweighingPruner])
def test_candidates_learn_a_teachers_targets_and_are_scored_on_labels(numbers, given, kind):
    if numbers:
        X, y = load_diabetes(return_X_y=True)
        grid, cv = GridSearchCV(Ridge(), {"alpha": [0.1, 1.0]}, cv=KFold(3)), KFold(3)
    else:
        X, y = load_breast_cancer(return_X_y=True)
        tree = DecisionTreeClassifier(random_state=0)
        grid, cv = GridSearchCV(tree, {"max_depth": [1, 3]}, cv=FOLDS), FOLDS
    own = np.random.default_rng(0).uniform(0.5, 2.0, len(y))
    weights = {"sample_weight": own} if given else {}
    found = PrunedSearchCV(grid, kind(keep=0.3, random_state=0)).fit(X, y, **weights)
    for i, params in enumerate(found.cv_results_["params"]):
        for fold, (train, test) in enumerate(cv.split(X, y)):
            pruner = found.pruners_[fold]
            rows = train[pruner.sample_indices_]
            w = own[rows] if given else np.ones(len(rows))
            if kind.weighs:
                w = pruner.sample_weight_
            if numbers:
                labels = pruner.teacher_targets_
            else:  # every row as often as it may be of a class
                P = pruner.teacher_targets_
                at, labels = np.nonzero(P)
                w, rows = w[at] * P[at, labels], rows[at]
            model = clone(grid.estimator).set_params(**params).fit(X[rows], labels, w)
            score = found.cv_results_[f"split{fold}_test_score"][i]
            # Newer versions of scikit-learn's searches weigh the validation rows as well.
            expected = [model.score(X[test], y[test], v) for v in (None, own[test])[: 1 + given]]
            assert np.min(np.abs(score - np.array(expected))) < 1e-12


def test_halving_counts_kept_rows_however_often_a_teacher_repeats_them():
    X, y = load_breast_cancer(return_X_y=True)
    tree = DecisionTreeClassifier(random_state=0)
    rounds = []
    for pruner in (StratifiedRandom(0.6, random_state=0), TeachingPruner(0.6, random_state=0)):
        grid = {"max_depth": [1, 2, 3, 4]}
        search = HalvingGridSearchCV(tree, grid, cv=FOLDS, min_resources=60, random_state=0)
        found = PrunedSearchCV(search, pruner).fit(X, y)
        rounds.append(np.unique(found.cv_results_["n_resources"]))
    np.testing.assert_array_equal(*rounds)


def test_what_candidates_are_not_taught_is_refused():
    torch = pytest.importorskip("torch")
    X, y = load_breast_cancer(return_X_y=True)
    net = torch.nn.Sequential(torch.nn.Linear(30, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))
    pruner = InfluencePruner(keep=0.3, model=net, targets="teacher", random_state=0)
    grid = GridSearchCV(DecisionTreeClassifier(), {"max_depth": [1, 3]}, cv=FOLDS)
    with pytest.raises(ValueError, match="knows labels alone"):
        PrunedSearchCV(grid, pruner).fit(X.astype(np.float32), y)


@pytest.mark.parametrize("weights", ["auto", True])
def test_boosting_that_weights_slow_down_gets_none_unless_asked(weights):
    X, y = load_breast_cancer(return_X_y=True)
    boosting = HistGradientBoostingClassifier(max_iter=5, random_state=0)
    grid = GridSearchCV(boosting, {"max_leaf_nodes": [3, 5]}, cv=FOLDS)
    pruner = InfluencePruner(keep=0.3, weights=weights, random_state=0)
    found = PrunedSearchCV(grid, pruner).fit(X, y)
    assert found.report_.weighted == (weights is True)
    assert ("have no weights" in str(found.report_)) == (weights == "auto")
