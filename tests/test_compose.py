"""The three places where a pruner works, the ones where it does not, and searches over budgets."""

from __future__ import annotations

import re

import imblearn.pipeline
import numpy as np
import pytest
import skorch
import torch
from cases.pruners import head_pruner
from imblearn.over_sampling import SMOTE, RandomOverSampler
from sklearn import config_context
from sklearn.base import clone
from sklearn.cluster import KMeans
from sklearn.datasets import load_diabetes, load_iris
from sklearn.decomposition import PCA
from sklearn.dummy import DummyRegressor
from sklearn.ensemble import RandomForestClassifier, StackingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold, train_test_split
from sklearn.naive_bayes import GaussianNB
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch.helper import SliceDict
from torch import nn
from torch.utils.data import TensorDataset

import skprune.proxies.head
from skprune import (
    InfluencePruner,
    LinearProxy,
    PrunedClassifier,
    PrunedRegressor,
    PruningSampler,
    PruningWarning,
    Retrain,
)
from skprune.baselines import HighestLoss, StratifiedRandom
from skprune.data.containers import PrunedData
from skprune.proxies.head import FITS
from skprune.utils.exceptions import PrunedPairError

pytestmark = pytest.mark.filterwarnings("ignore:cannot be pruned:skprune.PruningWarning")


@pytest.fixture(scope="module")
def iris():
    return load_iris(return_X_y=True)


@pytest.fixture(scope="module")
def diabetes():
    return load_diabetes(return_X_y=True)


def plain_pipeline(**pruner_params):
    """Route 2, as the last step of scikit-learn's Pipeline."""
    pruner = InfluencePruner(model="softmax", **pruner_params)
    pruned = PrunedClassifier(LogisticRegression(), pruner)
    return make_pipeline(StandardScaler(), pruned)


def sampling_pipeline(**pruner_params):
    """Route 3, in the middle of imbalanced-learn's Pipeline."""
    return imblearn.pipeline.make_pipeline(
        StandardScaler(), PruningSampler(head_pruner(**pruner_params)), LogisticRegression()
    )


#: Each with the names of the pruner and of the estimator in its parameters.
PIPELINES = {
    "plain": (plain_pipeline, "prunedclassifier__pruner", "prunedclassifier__estimator"),
    "sampling": (sampling_pipeline, "pruningsampler__pruner", "logisticregression"),
}


class TestRoutes:
    def test_last_step_of_a_pipeline(self, iris):
        X, y = iris
        pipeline = make_pipeline(StandardScaler(), head_pruner(keep=0.4))
        kept = pipeline.fit_transform(X, y)
        assert isinstance(kept, PrunedData)
        rows = pipeline[-1].sample_indices_
        np.testing.assert_allclose(kept.X, StandardScaler().fit_transform(X)[rows])
        np.testing.assert_array_equal(kept.y, y[rows])

    def test_around_the_estimator(self, iris):
        X, y = iris
        pipeline = plain_pipeline(keep=0.4).fit(X, y)
        pruned = pipeline[-1]
        scaled, rows = pipeline[:-1].transform(X), pruned.sample_indices_
        assert len(rows) == 60
        expected = LogisticRegression().fit(scaled[rows], y[rows])
        np.testing.assert_allclose(pruned.estimator_.coef_, expected.coef_)
        np.testing.assert_allclose(pipeline.predict_proba(X), expected.predict_proba(scaled))
        np.testing.assert_allclose(
            pruned.predict_log_proba(scaled), expected.predict_log_proba(scaled)
        )
        np.testing.assert_allclose(
            pipeline.decision_function(X), expected.decision_function(scaled)
        )
        assert pipeline.score(X, y) == expected.score(scaled, y)
        np.testing.assert_array_equal(pipeline.classes_, [0, 1, 2])

    def test_in_the_middle_of_a_sampling_pipeline(self, iris):
        X, y = iris
        pipeline = sampling_pipeline(keep=0.4).fit(X, y)
        scaled, rows = pipeline[0].transform(X), pipeline[1].sample_indices_
        expected = LogisticRegression().fit(scaled[rows], y[rows])
        np.testing.assert_allclose(pipeline[-1].coef_, expected.coef_)
        assert pipeline.predict(X).shape == y.shape  # nothing is pruned while predicting

    def test_routes_agree(self, iris):
        rows = [
            make_pipeline(StandardScaler(), head_pruner(keep=0.4)).fit(*iris)[-1],
            plain_pipeline(keep=0.4).fit(*iris)[-1],
            sampling_pipeline(keep=0.4).fit(*iris)[1],
        ]
        for other in rows[1:]:
            np.testing.assert_array_equal(other.sample_indices_, rows[0].sample_indices_)

    def test_any_estimator(self, iris):
        pruned = PrunedClassifier(RandomForestClassifier(5, random_state=0), HighestLoss(0.5))
        assert pruned.fit(*iris).score(*iris) > 0.6
        assert not hasattr(pruned, "decision_function")

    @pytest.mark.parametrize("wrap", [lambda e: e, lambda e: make_pipeline(StandardScaler(), e)])
    def test_an_estimator_that_has_its_methods_once_fitted(self, wrap, iris):
        estimator = wrap(StackingClassifier([("a", GaussianNB())]))
        pruned = PrunedClassifier(estimator, InfluencePruner(0.1)).fit(*iris)
        assert pruned.pruner_.gap_.level == "retrained"
        assert pruned.predict_proba(iris[0]).shape == (150, 3)
        hard = wrap(StackingClassifier([("a", GaussianNB())], RidgeClassifier()))
        with pytest.raises(ValueError, match="has no predict_proba"):
            PrunedClassifier(hard).fit(*iris)

    def test_an_estimator_of_the_other_kind(self, iris, diabetes):
        with pytest.raises(ValueError, match=r"a classifier, and Ridge\(\) is .*PrunedRegressor"):
            PrunedClassifier(Ridge()).fit(*iris)
        with pytest.raises(ValueError, match=r"a regressor, and GaussianNB\(\) is .*Classifier"):
            PrunedRegressor(GaussianNB()).fit(*diabetes)

    def test_an_estimator_that_transforms(self, iris):
        pruned = PrunedClassifier(
            make_pipeline(PCA(2), GaussianNB()), StratifiedRandom(0.5, random_state=0)
        )
        assert not hasattr(pruned, "transform")
        transformer = PrunedClassifier(KMeans(3, n_init=1, random_state=0), StratifiedRandom(0.5))
        assert transformer.fit(*iris).transform(iris[0]).shape == (150, 3)

    def test_regression(self, diabetes):
        X, y = diabetes
        pruned = PrunedRegressor(Ridge(0.1), InfluencePruner(keep=0.4, model=Ridge(0.1)))
        pruned.fit(X, y)
        rows = pruned.sample_indices_
        expected = Ridge(0.1).fit(X[rows], y[rows])
        np.testing.assert_allclose(pruned.predict(X), expected.predict(X))
        assert pruned.score(X, y) == expected.score(X, y)

    def test_defaults(self, iris, diabetes):
        classifier = PrunedClassifier(LogisticRegression(max_iter=500)).fit(*iris)
        # The pruner works for the estimator itself, whatever it is.
        assert isinstance(classifier.pruner_.model, LogisticRegression)
        regressor = PrunedRegressor(make_pipeline(StandardScaler(), Ridge(3.0))).fit(*diabetes)
        assert regressor.pruner_.model[-1].alpha == 3.0
        other = PrunedClassifier(GaussianNB()).fit(*iris).pruner_
        assert isinstance(other.model, GaussianNB)
        assert other.gap_.level == "retrained"
        with pytest.warns(PruningWarning, match="no better than a constant"):
            PrunedRegressor(DummyRegressor()).fit(*diabetes)
        chosen = PrunedClassifier(LogisticRegression(), InfluencePruner(model="softmax"))
        assert chosen.fit(*iris).pruner_.model == "softmax"
        X_kept, y_kept = PruningSampler().fit_resample(*iris)
        assert len(X_kept) == len(y_kept)

    def test_labels_are_labels_to_a_classifier(self, iris):
        """Identifiers as labels: 40 whole numbers with holes would be a quantity to the pruner."""
        X = np.random.default_rng(0).normal(size=(400, 3))
        y = np.repeat(np.arange(40) ** 2, 10)
        pruned = PrunedClassifier(GaussianNB(), InfluencePruner(keep=0.5)).fit(X, y)
        np.testing.assert_array_equal(pruned.classes_, np.unique(y))

    @pytest.mark.parametrize("verify", ["auto", "retrain"])
    def test_rows_of_a_fixed_number_say_whose_gap_is_reported(self, iris, verify):
        pruner = InfluencePruner(keep=0.5, verify=verify, random_state=0)
        report = PrunedClassifier(GaussianNB(), pruner).fit(*iris).pruner_.report_
        known = verify == "retrain"
        assert ("GaussianNB was not trained on them" in report.headline) != known
        assert list(report.models.values()) == ["GaussianNB" if known else "a linear head"]
        assert "(a linear head; all 150 rows" in dict(report.lines())["gap, refit"]

    def test_not_fitted(self, iris):
        with pytest.raises(NotFittedError, match="PrunedClassifier instance is not fitted yet"):
            plain_pipeline()[-1].predict(iris[0])
        assert not hasattr(plain_pipeline()[-1], "sample_indices_")
        assert not hasattr(PruningSampler(), "sample_indices_")

    @pytest.mark.parametrize(
        "wrap", [lambda p: PrunedClassifier(LogisticRegression(), p), PruningSampler]
    )
    def test_a_pruner_is_something_that_takes_rows(self, wrap, iris):
        with pytest.raises(ValueError, match=r"'pruner' parameter of Prun.* 'fit' and 'take'"):
            wrap(StandardScaler()).fit(*iris)


class Both(nn.Module):
    """A network of two inputs."""

    def __init__(self):
        super().__init__()
        self.out = nn.Linear(4, 3)

    def forward(self, x, z):
        return self.out(x + z)


class TestAroundANet:
    """What a skorch net is fitted on goes through the pruner as well."""

    def net(self, module, kind="NeuralNetClassifier", **options):
        options = {"max_epochs": 1, "verbose": 0, "train_split": None, **options}
        return getattr(skorch, kind)(module, **options)

    @pytest.mark.parametrize("pruner", [InfluencePruner(keep=0.4), StratifiedRandom(0.4)])
    @pytest.mark.parametrize("given", [True, False])
    def test_dataset(self, pruner, given, iris):
        X, y = torch.from_numpy(iris[0]).float(), torch.from_numpy(iris[1])
        rows = TensorDataset(X, y)
        net = self.net(nn.Linear(4, 3), criterion=nn.CrossEntropyLoss, classes=[0, 1, 2])
        pruned = PrunedClassifier(net, pruner).fit(rows, *([y.numpy()] if given else []))
        assert len(pruned.sample_indices_) == 60
        assert pruned.predict(rows).shape == (150,)

    @pytest.mark.parametrize("pruner", [InfluencePruner(keep=0.4), StratifiedRandom(0.4)])
    def test_dataset_of_numbers(self, pruner, diabetes):
        rows = TensorDataset(*(torch.from_numpy(a).float() for a in diabetes))
        rows.tensors = (rows.tensors[0], rows.tensors[1][:, None])
        net = self.net(nn.Linear(10, 1), "NeuralNetRegressor")
        assert PrunedRegressor(net, pruner).fit(rows, None).predict(rows).shape == (442, 1)

    @pytest.mark.parametrize("kind", [dict, SliceDict])
    @pytest.mark.parametrize("pruner", [InfluencePruner(keep=0.4), StratifiedRandom(0.4)])
    def test_mapping(self, pruner, kind, iris):
        half = (iris[0] / 2).astype(np.float32)
        rows = kind(x=half, z=half)
        net = self.net(Both, criterion=nn.CrossEntropyLoss)
        pruned = PrunedClassifier(net, pruner).fit(rows, iris[1])
        assert len(pruned.sample_indices_) == 60
        assert pruned.predict(rows).shape == (150,)
        assert type(pruned.pruner_.transform(rows)) is kind


class TestSampler:
    def test_returns_exactly_a_pair(self, iris):
        sampler = PruningSampler(InfluencePruner(keep=0.4))
        result = sampler.fit_resample(*iris)
        assert type(result) is tuple
        np.testing.assert_array_equal(result[0], iris[0][sampler.sample_indices_])
        np.testing.assert_array_equal(result[1], iris[1][sampler.sample_indices_])

    def test_is_no_transformer(self):
        assert not hasattr(PruningSampler(), "transform")
        assert not hasattr(PruningSampler(), "fit_transform")

    def test_fit_alone(self, iris):
        fitted = PruningSampler(InfluencePruner(keep=0.4)).fit(*iris)
        assert len(fitted.sample_indices_) == 60
        assert fitted.n_features_in_ == 4

    def test_weights_and_groups_reach_the_pruner(self, iris):
        X, y = iris
        weights, groups = np.where(y == 0, 5.0, 1.0), np.arange(150) // 2
        sampler = PruningSampler(InfluencePruner(keep=0.4))
        sampler.fit_resample(X, y, sample_weight=weights, groups=groups)
        expected = InfluencePruner(keep=0.4).fit(X, y, sample_weight=weights, groups=groups)
        np.testing.assert_array_equal(sampler.sample_indices_, expected.sample_indices_)

    def test_routing_reaches_the_pruner(self, iris):
        X, y = iris
        weights = np.where(y == 0, 5.0, 1.0)
        with config_context(enable_metadata_routing=True):
            sampler = PruningSampler(InfluencePruner(keep=0.4))
            sampler.set_fit_resample_request(sample_weight=True)
            pipeline = imblearn.pipeline.make_pipeline(sampler, GaussianNB())
            pipeline[-1].set_fit_request(sample_weight=False)
            pipeline.fit(X, y, sample_weight=weights)
        expected = InfluencePruner(keep=0.4).fit(X, y, sample_weight=weights)
        np.testing.assert_array_equal(pipeline[0].sample_indices_, expected.sample_indices_)

    def test_unknown_request(self):
        with (
            config_context(enable_metadata_routing=True),
            pytest.raises(TypeError, match=r"Unexpected args: \{'colour'\} in fit_resample"),
        ):
            PruningSampler().set_fit_resample_request(colour=True)


class TestPipelinesWithSamplers:
    """Others' samplers change the rows, so that no row of the table is examined by what follows."""

    PIPELINE = imblearn.pipeline.make_pipeline(
        StandardScaler(), RandomOverSampler(random_state=0), LogisticRegression()
    )

    @pytest.fixture
    def unbalanced(self, iris):
        X, y = iris
        return X[30:], (y == 0)[30:]

    def test_around(self, unbalanced):
        X, y = unbalanced
        pruned = PrunedClassifier(self.PIPELINE, InfluencePruner(keep=0.4)).fit(X, y)
        expected = InfluencePruner(keep=0.4, model="softmax").fit(X, y).sample_indices_
        np.testing.assert_array_equal(pruned.sample_indices_, expected)
        alone = clone(self.PIPELINE).fit(X[expected], y[expected])
        np.testing.assert_array_equal(pruned.predict_proba(X), alone.predict_proba(X))

    def test_as_the_judge(self, unbalanced):
        pruner = head_pruner(keep=0.4, verify=Retrain(self.PIPELINE, n_seeds=1))
        assert pruner.fit(*unbalanced).gap_.level == "retrained"
        with pytest.raises(ValueError, match=r"sampler RandomOverSampler.*leave out the weights"):
            pruner.fit(*unbalanced, sample_weight=np.linspace(1, 2, 120))

    def test_with_too_few_rows(self, unbalanced):
        smote = imblearn.pipeline.make_pipeline(SMOTE(k_neighbors=10), LogisticRegression())
        pruned = PrunedClassifier(smote, StratifiedRandom(0.1, random_state=0))
        with pytest.raises(ValueError, match=r"n_neighbors.*sampler SMOTE.*min_per_class="):
            pruned.fit(*unbalanced)
        pruned.set_params(pruner__min_per_class=11, pruner__keep=0.3).fit(*unbalanced)

    @pytest.mark.parametrize("nested", [False, True])
    @pytest.mark.parametrize("pruner", [head_pruner(), HighestLoss()])
    def test_as_the_model(self, unbalanced, pruner, nested):
        model = make_pipeline(StandardScaler(), self.PIPELINE) if nested else self.PIPELINE
        with pytest.raises(ValueError, match=r"holds the sampler RandomOverSampler.*verify="):
            pruner.set_params(model=model).fit(*unbalanced)


class TestMiddleOfAPlainPipeline:
    @pytest.mark.parametrize(
        "following",
        [
            (StandardScaler(), LogisticRegression()),
            (PCA(2), LogisticRegression()),
            (LogisticRegression(),),
            (RandomForestClassifier(),),
        ],
        ids=lambda steps: type(steps[0]).__name__,
    )
    @pytest.mark.parametrize(
        "pruner",
        [InfluencePruner(keep=0.4), StratifiedRandom(0.4)],
        ids=lambda pruner: type(pruner).__name__,
    )
    def test_the_message_names_the_routes(self, following, pruner, iris):
        pipeline = make_pipeline(StandardScaler(), pruner, *following)
        with pytest.raises(PrunedPairError) as caught:
            pipeline.fit(*iris)
        text = str(caught.value)
        for route in (
            "last step of a Pipeline",
            "PrunedClassifier(",
            "PrunedRegressor",
            "PruningSampler(",
            "imbalanced-learn",
        ):
            assert route in text
        assert isinstance(caught.value, TypeError)

    def test_the_advice_works(self, iris):
        """The expression of the message, with this test's own estimator and pruner."""
        with pytest.raises(PrunedPairError) as caught:
            np.asarray(head_pruner(keep=0.4).fit_transform(*iris))
        advice = re.search(r"PrunedClassifier\(estimator, pruner\)", str(caught.value)).group()
        names = {"estimator": LogisticRegression(), "pruner": head_pruner(keep=0.4)}
        pruned = eval(advice, {"PrunedClassifier": PrunedClassifier, **names})  # our own text
        assert make_pipeline(StandardScaler(), pruned).fit(*iris).score(*iris) > 0.9

    def test_a_pruner_in_a_sampling_pipeline_gets_the_message_too(self, iris):
        pipeline = imblearn.pipeline.make_pipeline(head_pruner(keep=0.4), LogisticRegression())
        with pytest.raises(PrunedPairError, match=r"PruningSampler\(pruner\)"):
            pipeline.fit(*iris)

    def test_a_sampler_in_a_plain_pipeline_is_refused(self, iris):
        pipeline = make_pipeline(PruningSampler(), LogisticRegression())
        with pytest.raises(TypeError, match="should be transformers"):
            pipeline.fit(*iris)


def search(name, grid, n_jobs=None):
    """GridSearchCV over the pruner's and the estimator's parameters, by their short names."""
    make, pruner, estimator = PIPELINES[name]
    prefixed = {
        (f"{estimator}__C" if key == "C" else f"{pruner}__{key}"): values
        for key, values in grid.items()
    }
    return GridSearchCV(make(), prefixed, cv=3, n_jobs=n_jobs, error_score="raise")


class TestSearch:
    @pytest.mark.parametrize("name", PIPELINES)
    @pytest.mark.parametrize(
        "grid",
        [
            {"max_gap": [0.02, 0.2]},
            {"keep": [0.5, 0.2]},
            {"max_gap": [0.02, 0.2], "keep": [None, 0.3], "C": [0.1, 1.0]},
        ],
        ids=lambda grid: "-".join(grid),
    )
    def test_budgets_and_the_estimators_parameters(self, name, grid, iris):
        found = search(name, grid).fit(*iris)
        assert len(found.cv_results_["params"]) == np.prod([len(v) for v in grid.values()])
        assert np.all(np.isfinite(found.cv_results_["mean_test_score"]))
        assert found.best_score_ > 0.85
        best = {key.rsplit("__", 1)[1]: value for key, value in found.best_params_.items()}
        kept = len(found.best_estimator_[1].sample_indices_)
        if best.get("keep"):
            assert kept == round(best["keep"] * 150)

    @pytest.mark.parametrize("name", PIPELINES)
    def test_n_jobs_changes_nothing(self, name, iris):
        grid = {"max_gap": [0.1, 0.2], "keep": [None, 0.3]}
        one, two = (search(name, grid, n_jobs).fit(*iris) for n_jobs in (1, 2))
        for key, values in one.cv_results_.items():
            if not key.endswith("_time"):
                np.testing.assert_array_equal(two.cv_results_[key], values)
        np.testing.assert_array_equal(
            one.best_estimator_[1].sample_indices_, two.best_estimator_[1].sample_indices_
        )

    def test_without_a_seed_a_search_repeats_itself(self, iris):
        grid = {"max_gap": [0.02, 0.2]}
        first, second = (search("plain", grid).fit(*iris) for _ in range(2))
        np.testing.assert_array_equal(
            first.cv_results_["mean_test_score"], second.cv_results_["mean_test_score"]
        )
        np.testing.assert_array_equal(
            first.best_estimator_[1].sample_indices_, second.best_estimator_[1].sample_indices_
        )

    def test_regression(self, diabetes):
        pruned = PrunedRegressor(Ridge(), InfluencePruner(model="ridge"))
        grid = {"pruner__keep": [0.5, 0.3], "estimator__alpha": [0.01, 1.0]}
        found = GridSearchCV(pruned, grid, cv=KFold(3), error_score="raise").fit(*diabetes)
        assert found.best_score_ > 0.35
        assert len(found.best_estimator_.sample_indices_) in (221, 133)

    def test_the_pruner_itself_can_be_searched(self, iris):
        pipeline = plain_pipeline()
        grid = {
            "prunedclassifier__pruner": [StratifiedRandom(0.5, random_state=0), HighestLoss(0.5)]
        }
        found = GridSearchCV(pipeline, grid, cv=3, error_score="raise").fit(*iris)
        assert len(found.cv_results_["params"]) == 2

    def test_a_pruner_at_the_end_of_a_pipeline_is_searched_through_what_it_wraps(self, iris):
        """Route 1 has no score: a budget is set as a parameter, and searched in routes 2 and 3."""
        pipeline = make_pipeline(StandardScaler(), head_pruner())
        kept = {}
        for keep in (0.5, 0.2):
            candidate = clone(pipeline).set_params(influencepruner__keep=keep)
            kept[keep] = len(candidate.fit_transform(*iris).y)
        assert kept == {0.5: 75, 0.2: 30}
        with pytest.raises(TypeError, match="score"):
            GridSearchCV(pipeline, {"influencepruner__keep": [0.5]}).fit(*iris)


@pytest.fixture
def examined(monkeypatch):
    """The rows that every fit of a head was given, with nothing remembered at first."""
    FITS.clear()
    rows, fit = [], skprune.proxies.head.fit_curvature

    def counting(problem, curvature):
        rows.append(len(problem))
        return fit(problem, curvature)

    monkeypatch.setattr(skprune.proxies.head, "fit_curvature", counting)
    yield rows
    FITS.clear()


class TestScoreCache:
    @pytest.mark.parametrize("name", PIPELINES)
    def test_rows_are_examined_once_a_fold(self, name, iris, examined):
        make, pruner, estimator = PIPELINES[name]
        grid = {
            f"{pruner}__max_gap": [0.01, 0.03, 0.1, 0.3],
            f"{estimator}__C": [0.1, 1.0, 10.0],
        }
        X, y = (a[::2] for a in iris)
        GridSearchCV(make(), grid, cv=5, error_score="raise").fit(X, y)
        assert examined == [48] * 5 + [60]  # 4 of 5 parts of 60 rows, then of all 75

    def test_keep_needs_no_other_examination_than_max_gap(self, iris, examined):
        grid = {
            "prunedclassifier__pruner__keep": [None, 0.5, 0.3, 20],
            "prunedclassifier__estimator__C": [0.1, 1.0],
        }
        GridSearchCV(plain_pipeline(), grid, cv=2, error_score="raise").fit(*iris)
        assert len(examined) == 3

    def test_a_remembered_examination_changes_nothing(self, iris, examined):
        fresh = head_pruner(max_gap=0.03).fit(*iris)
        head_pruner(max_gap=0.3).fit(*iris)
        again = head_pruner(max_gap=0.03).fit(*iris)
        assert len(examined) == 1
        np.testing.assert_array_equal(fresh.sample_indices_, again.sample_indices_)
        np.testing.assert_array_equal(fresh.scores_, again.scores_)

    def test_other_rows_models_and_curvatures_are_examined(self, iris, examined):
        X, y = iris
        head_pruner(keep=0.4).fit(X, y)
        head_pruner(keep=0.4).fit(X + 0.5 * (X > 2), y)
        head_pruner(keep=0.4).fit(X, y, sample_weight=np.arange(1, 151))
        InfluencePruner(keep=0.4, model=LogisticRegression(C=2.0)).fit(X, y)
        InfluencePruner(keep=0.4, model=LogisticRegression(C=3.0)).fit(X, y)
        InfluencePruner(keep=0.4, model=LinearProxy(curvature="diagonal")).fit(X, y)
        head_pruner(keep=0.4, random_state=1).fit(X, y)  # holds out other rows
        assert len(examined) == 7

    def test_in_a_shuffled_split_of_the_same_rows(self, iris, examined):
        X_train, _, y_train, _ = train_test_split(*iris, random_state=0)
        plain_pipeline(keep=0.4).fit(X_train, y_train)
        sampling_pipeline(max_gap=0.1).fit(X_train, y_train)
        assert len(examined) == 1


def test_a_budget_that_cannot_be_met_keeps_all_rows(iris):
    X, y = iris
    pruned = PrunedClassifier(LogisticRegression(max_iter=500), InfluencePruner(max_gap=1e-9))
    with pytest.warns(PruningWarning, match="cannot be pruned within max_gap=1e-09"):
        pruned.fit(X, y)
    assert len(pruned.sample_indices_) == 150
