"""Every public estimator under scikit-learn's own checks and tools."""

from __future__ import annotations

import pickle

import joblib
import numpy as np
import pandas as pd
import pytest
from cases.pruners import head_pruner
from sklearn import config_context
from sklearn.base import clone, is_classifier, is_regressor
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.exceptions import NotFittedError, UnsetMetadataPassedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, GroupKFold, cross_validate
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MaxAbsScaler, StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

import skprune
from skprune import (
    InfluencePruner,
    PrunedClassifier,
    PrunedRegressor,
    PrunedSearchCV,
    PruningSampler,
)
from skprune.baselines import CRAIG, Herding, HighestLoss, Strategy, StratifiedRandom

ESTIMATORS = [
    head_pruner(),
    StratifiedRandom(),
    StratifiedRandom(random_state=0),
    HighestLoss(random_state=0),
    Herding(random_state=0),
    CRAIG(random_state=0),
    PrunedClassifier(LogisticRegression()),
    PrunedRegressor(Ridge()),
    PrunedSearchCV(GridSearchCV(LogisticRegression(), {"C": [0.1, 1]}, cv=3)),
    PrunedSearchCV(GridSearchCV(Ridge(), {"alpha": [0.1, 1]}, cv=3)),
    PruningSampler(),
]

FEWER_ROWS = "fit_transform returns fewer rows than it is given: that is what a pruner is for"
OTHER_ROWS = "transform takes rows out of the fitted rows; the check asks for others"
WEIGHTS = (
    "a row of weight 2 can be kept or dropped only as a whole, two equal rows one by one; and "
    "rows are held out one by one"
)

#: The checks that an estimator which drops rows cannot pass, and why. The list is complete:
#: a check in it that passes is a failure too (xfail_strict in pyproject.toml).
PRUNERS_FAIL = {
    "check_transformer_general": FEWER_ROWS,
    "check_fit_idempotent": OTHER_ROWS,
    "check_sample_weight_equivalence_on_dense_data": OTHER_ROWS,
    "check_sample_weight_equivalence_on_sparse_data": OTHER_ROWS,
}
SEEDED_PRUNERS_FAIL = {
    **PRUNERS_FAIL,
    "check_pipeline_consistency": "a pruner stands in a Pipeline in front of other steps",
    "check_methods_sample_order_invariance": OTHER_ROWS,
    "check_methods_subset_invariance": OTHER_ROWS,
}
HEAD_PRUNERS_FAIL = {
    **SEEDED_PRUNERS_FAIL,
    "check_transformer_data_not_an_array": FEWER_ROWS,
}
PRUNED_ESTIMATORS_FAIL = {
    "check_sample_weight_equivalence_on_dense_data": WEIGHTS,
    "check_sample_weight_equivalence_on_sparse_data": WEIGHTS,
}
SEARCHES_FAIL = {
    "check_classifiers_one_label_sample_weights": "fit names no weights, but its estimator takes "
    "them: the check expects it to refuse them, and it is the single class that is refused",
}


def expected_failed_checks(estimator):
    if isinstance(estimator, StratifiedRandom):
        # The other checks are not made where random_state=None makes results differ.
        return PRUNERS_FAIL if estimator.random_state is None else SEEDED_PRUNERS_FAIL
    if isinstance(estimator, PruningSampler):
        return {}
    if isinstance(estimator, PrunedSearchCV):
        return SEARCHES_FAIL if is_classifier(estimator) else {}
    pruned = isinstance(estimator, (PrunedClassifier, PrunedRegressor))
    return PRUNED_ESTIMATORS_FAIL if pruned else HEAD_PRUNERS_FAIL


@parametrize_with_checks(ESTIMATORS, expected_failed_checks=expected_failed_checks)
@pytest.mark.filterwarnings("ignore::skprune.PruningWarning")  # tables too small to be pruned
def test_scikit_learn_check(estimator, check):
    check(estimator)


def test_every_public_estimator_is_checked():
    public = {name for name in skprune.__all__ if hasattr(getattr(skprune, name), "fit")}
    public -= {"LinearProxy", "TorchProxy"}  # what they are fitted to are no arrays
    checked = {type(e).__name__ for e in ESTIMATORS if not isinstance(e, Strategy)}
    assert checked == public


@pytest.fixture(scope="module")
def cancer():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def fitted(cancer):
    return head_pruner(keep=0.4, random_state=0).fit(*cancer)


def pruned_logistic(**pruner_params):
    return PrunedClassifier(LogisticRegression(), InfluencePruner(**pruner_params))


class TestParameters:
    @pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
    def test_clone_has_equal_parameters_and_no_fitted_ones(self, estimator):
        copy = clone(estimator)
        assert copy is not estimator
        assert str(copy.get_params()) == str(estimator.get_params())
        assert not [name for name in vars(copy) if name.endswith("_")]

    def test_clone_of_a_fitted_pruner_forgets(self, fitted):
        with pytest.raises(NotFittedError, match="InfluencePruner"):
            clone(fitted).transform(np.ones((2, 2)))

    def test_get_and_set_nested_parameters(self):
        pruned = pruned_logistic(max_gap=0.02)
        assert pruned.get_params()["pruner__max_gap"] == 0.02
        pruned.set_params(pruner__keep=7, estimator__C=3.0)
        assert (pruned.pruner.keep, pruned.estimator.C) == (7, 3.0)
        sampler = PruningSampler(StratifiedRandom()).set_params(pruner__keep=0.3)
        assert sampler.pruner.keep == 0.3

    def test_unknown_parameter(self):
        with pytest.raises(ValueError, match="Invalid parameter 'gap' for estimator Influence"):
            head_pruner().set_params(gap=0.1)

    def test_fit_leaves_the_given_objects_alone(self, cancer):
        pruned = pruned_logistic(keep=0.4)
        pruned.fit(*cancer)
        assert not hasattr(pruned.pruner, "sample_indices_")
        assert not hasattr(pruned.estimator, "coef_")
        assert pruned.pruner.model is None

    def test_html_and_text(self):
        assert "pruner=InfluencePruner(max_gap=0.02)" in repr(pruned_logistic(max_gap=0.02))
        assert "InfluencePruner" in pruned_logistic()._repr_html_()


class TestPickle:
    def test_pickle_keeps_what_was_learned(self, fitted, cancer):
        copy = pickle.loads(pickle.dumps(fitted))
        chosen = "finalist_indices_" if hasattr(fitted, "search") else "sample_indices_"
        np.testing.assert_array_equal(getattr(copy, chosen), getattr(fitted, chosen))
        np.testing.assert_array_equal(copy.transform(cancer[0]), fitted.transform(cancer[0]))
        assert str(copy.report_) == str(fitted.report_)
        assert (copy.gap_, copy.gap_.level) == (fitted.gap_, "refit")

    def test_pickle_leaves_the_training_rows_out(self, fitted, cancer):
        assert len(pickle.dumps(fitted)) < cancer[0].nbytes / 4

    def test_group_influence_of_a_pickled_pruner_says_why_not(self, fitted):
        copy = pickle.loads(pickle.dumps(fitted))
        with pytest.raises(ValueError, match="not pickled with the pruner; fit it again"):
            copy.group_influence([0, 1])
        assert fitted.group_influence([0, 1]).newton.loss  # the original still can

    @pytest.mark.parametrize("estimator", ESTIMATORS[3:], ids=lambda e: type(e).__name__)
    def test_every_estimator_can_be_pickled_when_fitted(self, estimator, cancer):
        fitted = clone(estimator).fit(*cancer)
        copy = pickle.loads(pickle.dumps(fitted))
        chosen = "finalist_indices_" if hasattr(fitted, "search") else "sample_indices_"
        np.testing.assert_array_equal(getattr(copy, chosen), getattr(fitted, chosen))


class TestSetOutput:
    def test_containers_stay_what_they_are_without_it(self, cancer):
        X, y = cancer
        assert isinstance(head_pruner(keep=0.4).fit_transform(X, y).X, np.ndarray)

    def test_pandas_output_of_a_pipeline_reaches_the_pruner(self):
        X, y = load_iris(return_X_y=True, as_frame=True)
        pipeline = make_pipeline(StandardScaler(), head_pruner(keep=0.4))
        X_kept, y_kept = pipeline.set_output(transform="pandas").fit_transform(X, y)
        assert list(X_kept.columns) == list(X.columns)
        pd.testing.assert_index_equal(X_kept.index, y_kept.index)

    def test_set_output_of_a_pruner_keeps_the_pair(self):
        X, y = load_iris(return_X_y=True, as_frame=True)
        pruner = head_pruner(keep=0.4).set_output(transform="pandas")
        X_kept, y_kept = pruner.fit_transform(X, y)
        pd.testing.assert_frame_equal(X_kept, X.iloc[pruner.sample_indices_])
        pd.testing.assert_series_equal(y_kept, y.iloc[pruner.sample_indices_])
        pd.testing.assert_frame_equal(pruner.transform(X), X_kept)

    def test_feature_names(self):
        X, y = load_iris(return_X_y=True, as_frame=True)
        pruner = head_pruner(keep=0.4).fit(X, y)
        assert list(pruner.get_feature_names_out()) == list(X.columns)
        pruned = pruned_logistic(keep=0.4).fit(X, y)
        assert list(pruned.feature_names_in_) == list(X.columns)
        assert not hasattr(pruned_logistic(keep=0.4).fit(X.to_numpy(), y), "feature_names_in_")


class TestJobs:
    def test_n_jobs_of_the_pruner_changes_nothing(self):
        # Small: two threads on a busy machine are slow out of all proportion.
        X, y = load_iris(return_X_y=True)
        one, two = (head_pruner(keep=0.4, n_jobs=n).fit(X, y) for n in (1, 2))
        np.testing.assert_array_equal(one.sample_indices_, two.sample_indices_)
        np.testing.assert_allclose(one.scores_, two.scores_, rtol=1e-9)

    def test_random_state_none_is_reproducible(self, cancer):
        first, second = (head_pruner(max_gap=0.02).fit(*cancer) for _ in range(2))
        np.testing.assert_array_equal(first.sample_indices_, second.sample_indices_)
        np.testing.assert_array_equal(first.scores_, second.scores_)

    def test_in_worker_processes(self, cancer):
        tasks = [joblib.delayed(clone(e).fit)(*cancer) for e in (ESTIMATORS[3], ESTIMATORS[4])]
        here = [function(*args) for function, args, _ in tasks]
        there = joblib.Parallel(n_jobs=2)(tasks)
        for a, b in zip(here, there, strict=True):
            np.testing.assert_array_equal(a.sample_indices_, b.sample_indices_)

    def test_cross_validate(self, cancer):
        X, y = cancer
        result = cross_validate(
            pruned_logistic(keep=0.3), X, y, cv=3, return_estimator=True, return_train_score=True
        )
        assert result["test_score"].min() > 0.9
        assert [len(e.sample_indices_) for e in result["estimator"]] == [114, 114, 114]


class Recorder(LogisticRegression):
    """Remembers the metadata of ``fit``."""

    def fit(self, X, y, sample_weight=None, row_names=None):
        self.sample_weight_, self.row_names_ = sample_weight, row_names
        return super().fit(X, y, sample_weight)


class RecordingPruner(InfluencePruner):
    """Remembers the metadata of ``fit``."""

    def fit(self, X, y, sample_weight=None, X_val=None, y_val=None, groups=None):
        self.given_weight_, self.groups_ = sample_weight, groups
        return super().fit(X, y, sample_weight, X_val, y_val, groups)


@pytest.fixture(scope="module")
def metadata(cancer):
    n = len(cancer[1])
    rng = np.random.default_rng(0)
    return {"sample_weight": rng.uniform(0.5, 2.0, n), "groups": np.arange(n) // 4}


class TestMetadata:
    def test_plain_keywords(self, cancer, metadata):
        names = [f"row {i}" for i in range(len(cancer[1]))]
        pruned = PrunedClassifier(Recorder(), RecordingPruner(keep=0.4))
        pruned.fit(*cancer, **metadata, row_names=names)
        kept, weights = pruned.sample_indices_, metadata["sample_weight"]
        np.testing.assert_array_equal(pruned.pruner_.given_weight_, weights)
        np.testing.assert_array_equal(pruned.pruner_.groups_, metadata["groups"])
        np.testing.assert_array_equal(pruned.estimator_.sample_weight_, weights[kept])
        assert pruned.estimator_.row_names_ == [names[i] for i in kept]

    def test_weights_change_both(self, cancer, metadata):
        with_weights = pruned_logistic(keep=0.4).fit(*cancer, metadata["sample_weight"])
        without = pruned_logistic(keep=0.4).fit(*cancer)
        assert not np.array_equal(with_weights.sample_indices_, without.sample_indices_)
        kept = with_weights.sample_indices_
        expected = LogisticRegression().fit(
            cancer[0][kept], cancer[1][kept], metadata["sample_weight"][kept]
        )
        np.testing.assert_allclose(with_weights.estimator_.coef_, expected.coef_)

    def test_validation_rows_are_the_pruners(self, cancer):
        X, y = cancer
        pruned = pruned_logistic(keep=0.4).fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
        assert pruned.pruner_.gap_.n_rows == 169

    def test_a_pruner_without_weights_leaves_them_to_the_estimator(self, cancer, metadata):
        weights = metadata["sample_weight"]
        pruned = PrunedClassifier(Recorder(), StratifiedRandom(0.4, random_state=0))
        pruned.fit(*cancer, sample_weight=weights)
        np.testing.assert_array_equal(
            pruned.estimator_.sample_weight_, pruned.pruner_.take(weights)
        )

    def test_an_estimator_without_weights_refuses_them(self, cancer, metadata):
        pruned = PrunedClassifier(KNeighborsClassifier(), InfluencePruner(keep=0.4))
        with pytest.raises(TypeError, match=r"KNeighborsClassifier\.fit takes no 'sample_weight'"):
            pruned.fit(*cancer, sample_weight=metadata["sample_weight"])

    def test_steps_of_a_pipeline_get_theirs(self, cancer, metadata):
        weights = metadata["sample_weight"]
        pruned = PrunedClassifier(
            make_pipeline(StandardScaler(), Recorder()), InfluencePruner(keep=0.4)
        )
        pruned.fit(*cancer, recorder__sample_weight=weights)
        np.testing.assert_array_equal(
            pruned.estimator_[-1].sample_weight_, pruned.pruner_.take(weights)
        )

    @pytest.mark.parametrize("routing", [False, True])
    def test_the_last_step_of_a_pipeline_gets_weights_and_so_does_its_judge(
        self, cancer, metadata, routing
    ):
        weights = metadata["sample_weight"]
        with config_context(enable_metadata_routing=routing):
            last, pruner = LogisticRegression(max_iter=5000), InfluencePruner(keep=0.4)
            if routing:
                last.set_fit_request(sample_weight=True)
                pruner.set_fit_request(sample_weight=True)
            model = make_pipeline(MaxAbsScaler(), last)
            pruned = PrunedClassifier(model, pruner).fit(*cancer, sample_weight=weights)
            assert pruned.pruner_.gap_.level == "retrained"
            X, y, w = pruned.pruner_.take(*cancer, weights)
            expected = clone(last).fit(MaxAbsScaler().fit_transform(X), y, sample_weight=w)
        np.testing.assert_allclose(pruned.estimator_[-1].coef_, expected.coef_)

    def test_a_pipeline_without_weights_refuses_them(self, cancer, metadata):
        model = make_pipeline(StandardScaler(), KNeighborsClassifier())
        with pytest.raises(TypeError, match=r"Pipeline\.fit takes no 'sample_weight'"):
            PrunedClassifier(model, InfluencePruner(keep=0.4)).fit(
                *cancer, sample_weight=metadata["sample_weight"]
            )

    def test_score_takes_weights(self, cancer, metadata):
        pruned, weights = pruned_logistic(keep=0.4).fit(*cancer), metadata["sample_weight"]
        expected = np.average(pruned.predict(cancer[0]) == cancer[1], weights=weights)
        assert pruned.score(*cancer, sample_weight=weights) == pytest.approx(expected)

    def test_routing_delivers_what_is_requested(self, cancer, metadata):
        with config_context(enable_metadata_routing=True):
            pruned = PrunedClassifier(
                Recorder().set_fit_request(sample_weight=True, row_names=False),
                RecordingPruner(keep=0.4).set_fit_request(sample_weight=True, groups=True),
            )
            scaler = StandardScaler().set_fit_request(sample_weight=False)
            pipeline = make_pipeline(scaler, pruned).fit(*cancer, **metadata)
        pruned = pipeline[-1]
        weights = metadata["sample_weight"]
        np.testing.assert_array_equal(pruned.pruner_.given_weight_, weights)
        np.testing.assert_array_equal(pruned.pruner_.groups_, metadata["groups"])
        np.testing.assert_array_equal(
            pruned.estimator_.sample_weight_, pruned.pruner_.take(weights)
        )

    def test_routing_to_the_pruner_only(self, cancer, metadata):
        with config_context(enable_metadata_routing=True):
            pruned = PrunedClassifier(
                Recorder().set_fit_request(sample_weight=False),
                RecordingPruner(keep=0.4).set_fit_request(sample_weight=True),
            ).fit(*cancer, sample_weight=metadata["sample_weight"])
        assert pruned.estimator_.sample_weight_ is None
        assert pruned.pruner_.given_weight_ is not None

    def test_routing_refuses_what_nobody_decided(self, cancer, metadata):
        with (
            config_context(enable_metadata_routing=True),
            pytest.raises(UnsetMetadataPassedError, match="sample_weight"),
        ):
            pruned_logistic(keep=0.4).fit(*cancer, sample_weight=metadata["sample_weight"])

    def test_the_pruned_estimator_requests_nothing_for_itself(self):
        assert not hasattr(pruned_logistic(), "set_fit_request")
        with config_context(enable_metadata_routing=True):
            assert set(pruned_logistic().get_metadata_routing()._route_mappings) == {
                "pruner",
                "estimator",
            }

    def test_cross_validate_routes_weights_and_groups(self, cancer, metadata):
        with config_context(enable_metadata_routing=True):
            pruned = PrunedClassifier(
                Recorder()
                .set_fit_request(sample_weight=True, row_names=False)
                .set_score_request(sample_weight=True),
                RecordingPruner(keep=0.4).set_fit_request(sample_weight=True, groups=True),
            )
            result = cross_validate(
                pruned,
                *cancer,
                params=metadata,
                cv=GroupKFold(3),
                return_estimator=True,
                return_indices=True,
            )
        assert result["test_score"].min() > 0.9
        for pruned, train in zip(result["estimator"], result["indices"]["train"], strict=True):
            np.testing.assert_array_equal(pruned.pruner_.groups_, metadata["groups"][train])
            np.testing.assert_array_equal(
                pruned.estimator_.sample_weight_,
                metadata["sample_weight"][train][pruned.sample_indices_],
            )

    def test_groups_are_held_out_together(self, cancer):
        """A pruner that was handed copies as one group measures its gap on none of them."""
        X, y = (np.repeat(a, 2, axis=0) for a in cancer)
        groups = np.arange(len(y)) // 2
        pruner = head_pruner(keep=0.4, random_state=0).fit(X, y, groups=groups)
        assert pruner.gap_.n_rows % 2 == 0


class TestTags:
    def test_kind(self):
        assert is_classifier(pruned_logistic())
        assert is_regressor(PrunedRegressor(Ridge()))
        assert not is_classifier(PruningSampler())

    @pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda e: type(e).__name__)
    def test_target_is_required_and_sparse_rows_are_taken(self, estimator):
        tags = get_tags(estimator)
        assert tags.target_tags.required == getattr(estimator, "needs_labels", True)
        # Not all of scikit-learn 1.6's own estimators say that they take sparse rows.
        wrapped = getattr(estimator, "search", estimator)
        wrapped = getattr(wrapped, "estimator", head_pruner())
        assert tags.input_tags.sparse == get_tags(wrapped).input_tags.sparse

    def test_determinism_is_the_pruners(self):
        assert get_tags(PruningSampler(StratifiedRandom())).non_deterministic
        assert not get_tags(PruningSampler(StratifiedRandom(random_state=0))).non_deterministic
        assert get_tags(
            PrunedClassifier(LogisticRegression(), StratifiedRandom())
        ).non_deterministic
        assert not get_tags(pruned_logistic()).non_deterministic

    def test_what_the_estimator_lacks_is_not_offered(self, cancer):
        assert not hasattr(PrunedRegressor(Ridge()), "predict_proba")
        assert not hasattr(pruned_logistic(), "transform")
        assert pruned_logistic(keep=0.4).fit(*cancer).predict_proba(cancer[0]).shape == (569, 2)


def test_whole_numbers_are_numbers_to_a_regressor():
    """Diabetes has 214 distinct whole targets; a few of them look like classes."""
    X, y = load_diabetes(return_X_y=True)
    coarse = (y // 40).astype(int)
    for target in (y.astype(int), coarse):
        for pruner in (InfluencePruner(keep=0.4), HighestLoss(0.4), StratifiedRandom(0.4)):
            pruned = PrunedRegressor(Ridge(), pruner).fit(X, target)
            assert len(pruned.sample_indices_) == 177
            assert not hasattr(pruned.pruner_, "classes_")
