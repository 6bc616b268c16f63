"""What users hand in is read for what it is: weights, labels, missing values, random states."""

from __future__ import annotations

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pytest
from cases.pruners import head_pruner
from sklearn.base import clone
from sklearn.compose import make_column_transformer
from sklearn.decomposition import TruncatedSVD
from sklearn.ensemble import HistGradientBoostingClassifier, RandomTreesEmbedding
from sklearn.impute import SimpleImputer
from sklearn.kernel_approximation import Nystroem
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler, TargetEncoder
from sklearn.svm import SVC

from skprune import InfluencePruner, PrunedClassifier, PrunedRegressor, Retrain
from skprune.baselines import HighestLoss, StratifiedRandom
from skprune.data.table import hold_out
from skprune.heads.encoding import HeadEncoder
from skprune.heads.linear_spec import read_model
from skprune.heads.reading import is_continuous, read_table

RNG = np.random.default_rng(0)
X = RNG.normal(size=(300, 4))
Y = (X[:, 0] + RNG.normal(size=300) > 0).astype(int)
T = X[:, 0] + 0.1 * RNG.normal(size=300)
HELD = {"X_val": X[::3], "y_val": Y[::3]}

# Weights


@pytest.mark.parametrize("weight", [3.0, 1e300, 1e308, 1e-300])
def test_under_a_total_penalty_the_sum_of_the_weights_counts(weight):
    """Weights of v with C = 1 are weights of 1 with C = v."""
    weighted = InfluencePruner(keep=0.5, model=LogisticRegression(C=1.0), random_state=0)
    weighted.fit(X, Y, sample_weight=np.full(300, weight), **HELD)
    C = max(weight, 1e-30)  # less leaves nothing of a head
    plain = InfluencePruner(keep=0.5, model=LogisticRegression(C=C), random_state=0)
    plain.fit(X, Y, **HELD)
    level = max(1e-6 * np.abs(plain.scores_).max(), 1e-12)
    np.testing.assert_allclose(weighted.scores_, plain.scores_, rtol=0, atol=level)


@pytest.mark.parametrize("weight", [1e300, 1e-300, 5e-324])
@pytest.mark.parametrize("pruner", [head_pruner(keep=0.5), HighestLoss()])
def test_under_a_penalty_per_row_the_unit_of_the_weights_is_nothing(pruner, weight):
    expected = pruner.fit(X, Y).sample_indices_
    found = pruner.fit(X, Y, sample_weight=np.full(300, weight)).sample_indices_
    np.testing.assert_array_equal(found, expected)


def test_rows_that_weigh_nothing_beside_others_have_no_say():
    weights = 10.0 ** np.random.default_rng(0).uniform(-200, 200, size=300)
    heavy = np.where(weights > 1e-30 * weights.max(), weights, 0.0)
    pruner = head_pruner(keep=0.05, min_per_class=0)
    every = pruner.fit(X, Y, sample_weight=weights, **HELD).scores_
    expected = pruner.fit(X, Y, sample_weight=heavy, **HELD).scores_
    np.testing.assert_allclose(every, expected, rtol=1e-6, atol=1e-25)


def test_weights_of_a_table_are_those_that_were_given():
    weights = np.array([0.0, 5e-324, 3.0, 1.7e308, 7.0])
    table, _ = read_table(head_pruner(), X[:5], [0, 1, 0, 1, 0], weights[[0, 0, 2, 2, 4]], None)
    np.testing.assert_array_equal(table.given_weights(np.arange(5)), weights[[0, 0, 2, 2, 4]])
    table, _ = read_table(head_pruner(), X[:5], [0, 1, 0, 1, 0], weights, None)
    assert np.isfinite(table.weights.sum())
    assert table.given_weights(np.array([3])) == [1.7e308]


class Judge(LogisticRegression):
    """Tells the weights that it was fitted with."""

    seen: list = []  # noqa: RUF012 - clones share it

    def fit(self, X, y, sample_weight=None):
        self.seen.append(sample_weight)
        return super().fit(X, y, sample_weight)


@pytest.mark.parametrize("weights", [None, np.linspace(1e-3, 5, 300)])
def test_a_judge_gets_the_weights_that_were_given(weights):
    Judge.seen.clear()
    pruner = head_pruner(keep=0.5, verify=Retrain(Judge(), n_seeds=1), random_state=0)
    pruner.fit(X, Y, sample_weight=weights, **HELD)
    if weights is None:
        assert set(Judge.seen) == {None}
    else:
        np.testing.assert_array_equal(Judge.seen[0], weights)


# Labels

NATURAL = {
    "ints": (Y, Y.astype(object)),
    "bools": (Y == 1, (Y == 1).astype(object)),
    "numpy's bools": (Y == 1, np.array(list(Y == 1), dtype=object)),
    "pandas' booleans": (Y == 1, pd.Series(Y == 1, dtype="boolean")),
    "a column": (Y, pd.DataFrame({"y": Y.astype(object)})["y"]),
    "floats": (T, T.astype(object)),
    "decimals": (T, np.array([Decimal(v) for v in T.tolist()], dtype=object)),
}


@pytest.mark.parametrize(("natural", "objects"), NATURAL.values(), ids=NATURAL)
@pytest.mark.parametrize(
    "pruner", [head_pruner(keep=0.4), HighestLoss(), StratifiedRandom(random_state=0)]
)
def test_labels_as_objects_are_read_as_what_they_are(pruner, natural, objects):
    expected = pruner.fit(X, natural).sample_indices_
    np.testing.assert_array_equal(pruner.fit(X, objects).sample_indices_, expected)


def test_an_estimator_gets_labels_that_it_takes():
    pruned = PrunedClassifier(LogisticRegression(), InfluencePruner(keep=0.4))
    expected = pruned.fit(X, Y == 1).predict(X)
    np.testing.assert_array_equal(pruned.fit(X, (Y == 1).astype(object)).predict(X), expected)
    judged = head_pruner(keep=0.4, verify=Retrain(LogisticRegression(), n_seeds=1))
    assert judged.fit(X, Y.astype(object)).gap_ == judged.fit(X, Y).gap_
    PrunedRegressor(Ridge(), InfluencePruner(keep=0.4)).fit(X, T.astype(object))


@pytest.mark.parametrize(("y", "quantity"), [(np.arange(80), True), (np.arange(80) % 40, False)])
def test_whole_numbers_of_a_row_each_are_no_classes(y, quantity):
    assert is_continuous(y, None) == quantity


# Missing values

HOLES = np.where(np.random.default_rng(1).random(X.shape) < [0.2, 0, 0.1, 0], np.nan, X)
TREES = HistGradientBoostingClassifier(max_iter=3)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_the_head_for_trees_sees_medians_and_indicators(dtype):
    holes = HOLES.astype(dtype)
    filled = SimpleImputer(strategy="median", add_indicator=True).fit_transform(holes)
    pruner = InfluencePruner(keep=0.4, weights=False)
    expected = clone(pruner).fit(filled, Y, X_val=filled, y_val=Y)
    pruned = PrunedClassifier(TREES, pruner).fit(holes, Y, X_val=holes, y_val=Y)
    np.testing.assert_array_equal(pruned.sample_indices_, expected.sample_indices_)
    assert "medians" in str(pruned.pruner_.report_)
    assert pruned.pruner_.transform(holes).shape == (120, 4)


@pytest.mark.parametrize(
    "estimator",
    [
        TREES,
        GridSearchCV(TREES, {"max_iter": [2]}, cv=2),
        make_pipeline(SimpleImputer(), SVC()),
        make_pipeline(SimpleImputer(), LogisticRegression()),
    ],
)
def test_estimators_that_take_missing_values_are_trained_and_judge(estimator):
    pruned = PrunedClassifier(estimator, InfluencePruner(keep=0.4)).fit(HOLES, Y)
    assert pruned.__sklearn_tags__().input_tags.allow_nan
    assert len(pruned.predict(HOLES)) == 300
    judge = head_pruner(keep=0.4, verify=Retrain(estimator, n_seeds=1), scoring="accuracy")
    assert judge.fit(HOLES, Y).gap_.level == "retrained"


# Categories

WORDS = np.array(["u", "v", "w", None], dtype=object)[np.arange(300) % 4]
FRAME = pd.DataFrame(HOLES, columns=list("abcd")).assign(e=pd.Categorical(WORDS))


@pytest.mark.parametrize("frame", [FRAME, pl.from_pandas(FRAME)])
def test_the_head_for_trees_sees_categories_one_by_one(frame):
    a, b, c, d, *gaps = SimpleImputer(strategy="median", add_indicator=True).fit_transform(HOLES).T
    one_hot = [word == WORDS for word in ("u", "v", "w", None)]
    expected = StandardScaler().fit_transform(
        np.transpose([a, gaps[0], b, c, gaps[1], d, *one_hot])
    )
    table, head = read_table(InfluencePruner(model=TREES), frame, Y, None, TREES)
    encoder = HeadEncoder(head, table.classes).fit(table.X, Y)
    seen = encoder.problem(table.X, Y, np.ones(300)).features.rows(slice(None))
    np.testing.assert_allclose(seen[:, :-1], expected, atol=1e-12)


@pytest.mark.parametrize("frame", [FRAME, pl.from_pandas(FRAME)])
@pytest.mark.parametrize("model", [TREES, GridSearchCV(TREES, {"max_iter": [2]}, cv=2)])
def test_estimators_that_take_categories_are_trained(model, frame):
    pruner = InfluencePruner(keep=0.4, model=model, verify=Retrain(n_seeds=1)).fit(frame, Y)
    assert pruner.gap_.level == "retrained"
    assert pruner.transform(frame)["e"].dtype == frame["e"].dtype
    assert len(PrunedClassifier(model, pruner).fit(frame, Y).predict(frame)) == 300


# Random states


@pytest.mark.parametrize(
    "encoder",
    [
        RandomTreesEmbedding(5),
        TruncatedSVD(2),
        make_column_transformer((Nystroem(n_components=5), [0, 1]), remainder="passthrough"),
        make_pipeline(FunctionTransformer(np.round), TargetEncoder()),  # draws, and takes no seed
    ],
)
def test_an_encoder_is_as_random_as_the_pruner(encoder):
    model = make_pipeline(encoder, LogisticRegression(max_iter=500))
    pruner = InfluencePruner(keep=0.4, model=model, random_state=0)
    rows = [pruner.fit(X, Y).sample_indices_ for _ in range(3)]
    np.testing.assert_array_equal(rows[0], rows[1])
    np.testing.assert_array_equal(rows[0], rows[2])


@pytest.mark.parametrize(("fixed", "same"), [(None, False), (3, True)])
def test_only_random_states_that_are_none_are_set(fixed, same):
    model = make_pipeline(Nystroem(n_components=5, random_state=fixed), LogisticRegression())
    spec = read_model(model, "classification")
    one, other = (
        HeadEncoder(spec, np.arange(2), seed).fit(X, Y).problem(X, Y, np.ones(300)).features
        for seed in (0, 1)
    )
    assert np.array_equal(one.rows(slice(None)), other.rows(slice(None))) == same


# Groups


def test_groups_may_have_names_of_several_types_or_stand_in_a_column():
    numbers = np.arange(300) % 20
    mixed = np.array([n if n % 2 else f"g{n}" for n in numbers], dtype=object)
    for groups in (mixed, mixed[:, None]):
        table = read_table(head_pruner(), X, Y, None, None)[0]
        examined, held_out = hold_out(table, 0.2, groups, 0)
        assert len(held_out)
        assert not set(numbers[examined]) & set(numbers[held_out])
