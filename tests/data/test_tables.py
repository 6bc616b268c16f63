"""Tables as they come: categories, words, dates, booleans and gaps, encoded for the head alone."""

from __future__ import annotations

import pickle
from datetime import time, timedelta
from decimal import Decimal

import lightgbm as lgb
import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pytest
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler
from sklearn.svm import SVC
from sklearn.utils import get_tags

from skprune import (
    InfluencePruner,
    LinearProxy,
    PrunedClassifier,
    PrunedRegressor,
    PruningSampler,
    Retrain,
)
from skprune.baselines import HighestLoss
from skprune.data.encode.column import frame_columns
from skprune.data.encode.encoder import LEVEL_COLUMNS, TableEncoder
from skprune.heads.reading import read_table

N = 400
RNG = np.random.default_rng(0)
NUMBERS = RNG.normal(size=N)
GAPS = RNG.random(N) < 0.2
WORDS = np.array(["Bern", "Lyon", "Turin"], dtype=object)[RNG.integers(0, 3, N)]
FLAGS = RNG.random(N) < 0.5
DAYS = pd.Timestamp("2024-03-01") + pd.to_timedelta(RNG.permutation(N) // 8, "D")  # one season
SPANS = pd.to_timedelta(RNG.integers(1, 10**6, N), "s")


def with_gaps(values):
    return [None if gap else v for v, gap in zip(list(values), GAPS, strict=True)]


def scaled(values):
    """Numbers with gaps at the median, and an indicator of the gaps."""
    values = pd.Series(with_gaps(values), dtype=float)
    filled = values.fillna(values.median())
    return [(filled - filled.mean()) / filled.std(ddof=0), GAPS]


def levels(values):
    """One column a level, the most frequent first."""
    values = pd.Series(values, dtype=object).fillna("nothing")
    return [values == level for level in values.value_counts().index]


SECONDS = (DAYS - pd.Timestamp(0)).total_seconds()
HALVES = [(Decimal(n) / 2).quantize(Decimal("0.1")) for n in range(N)]
CODES = RNG.integers(0, 3, N)
CLOCKS = [time(i % 24, i % 7) for i in range(N)]
MINUTES = [60 * clock.hour + clock.minute for clock in CLOCKS]
NAMES = ["Oslo", "Turin", "Bern", "Lyon", "Rome"]
MIXED = np.where(GAPS, 7, WORDS)
IN_TOKYO = DAYS.tz_localize("UTC").tz_convert("Asia/Tokyo")
DELTAS = [timedelta(seconds=int(s)) for s in SPANS.total_seconds()]


def in_pandas(values, dtype=None):
    return pd.Series(with_gaps(values), dtype=dtype)


def in_polars(values, dtype=None):
    return pl.Series(with_gaps(values), dtype=dtype)


#: name: (a column of pandas or polars, what the head sees of it)
KINDS = {
    "float": (in_pandas(NUMBERS, float), scaled(NUMBERS)),
    "Int64": (in_pandas(range(0, 9 * N, 9), "Int64"), scaled(range(N))),
    "Float32": (in_pandas(np.arange(N) / 4, "Float32"), scaled(range(N))),
    "boolean": (in_pandas(FLAGS, "boolean"), scaled(FLAGS)),
    "bools and None": (in_pandas(FLAGS, object), scaled(FLAGS)),
    "decimals": (in_pandas(HALVES, object), scaled(HALVES)),
    "integers of arrow": (in_pandas(range(0, 9 * N, 9), "int64[pyarrow]"), scaled(range(N))),
    "words and None": (in_pandas(WORDS, object), levels(with_gaps(WORDS))),
    "words and NaN": (pd.Series(np.where(GAPS, np.nan, WORDS)), levels(with_gaps(WORDS))),
    "string": (in_pandas(WORDS, "string"), levels(with_gaps(WORDS))),
    "str": (in_pandas(WORDS).astype("str"), levels(with_gaps(WORDS))),
    "words and numbers": (pd.Series(MIXED, dtype=object), levels(MIXED)),
    "category, some unused": (
        pd.Series(pd.Categorical(with_gaps(WORDS), categories=NAMES)),
        levels(with_gaps(WORDS)),
    ),
    "category of numbers": (pd.Series(CODES).astype("category"), levels(CODES)),
    "timestamps of a zone": (in_pandas(IN_TOKYO), scaled(SECONDS)),
    "timestamps of arrow": (in_pandas(DAYS, "timestamp[ms][pyarrow]"), scaled(SECONDS)),
    "durations": (in_pandas(SPANS, "timedelta64[ns]"), scaled(SPANS.total_seconds())),
    "periods": (in_pandas(DAYS.to_period("D"), "period[D]"), scaled(SECONDS)),
    "dates": (in_pandas(DAYS.date, object), scaled(SECONDS)),
    "clocks": (in_pandas(CLOCKS, object), scaled(MINUTES)),
    "polars' floats": (in_polars(NUMBERS), scaled(NUMBERS)),
    "polars' NaN": (pl.Series(np.where(GAPS, np.nan, NUMBERS)), scaled(NUMBERS)),
    "polars' booleans": (in_polars(FLAGS, pl.Boolean), scaled(FLAGS)),
    "polars' decimals": (in_polars(HALVES, pl.Decimal(10, 1)), scaled(HALVES)),
    "polars' words": (in_polars(WORDS), levels(with_gaps(WORDS))),
    "polars' categories": (in_polars(WORDS, pl.Categorical), levels(with_gaps(WORDS))),
    "polars' Enum": (in_polars(WORDS, pl.Enum(NAMES)), levels(with_gaps(WORDS))),
    "polars' dates": (in_polars(DAYS.date), scaled(SECONDS)),
    "polars' timestamps": (
        in_polars(DAYS.to_pydatetime()).dt.replace_time_zone("Asia/Tokyo"),
        scaled(SECONDS),
    ),
    "polars' durations": (in_polars(DELTAS), scaled(SPANS.total_seconds())),
    "polars' clocks": (in_polars(CLOCKS), scaled(MINUTES)),
}


@pytest.mark.parametrize(("column", "expected"), KINDS.values(), ids=KINDS)
def test_what_the_head_sees_of_a_column(column, expected):
    """The columns are those of the truth (cycles of dates may be more), and the rows are raw."""
    if isinstance(column, pl.Series):
        frame = pl.DataFrame({"x": NUMBERS, "c": column})
    else:
        index = [f"row {i}" for i in range(N)]
        frame = pd.DataFrame({"x": NUMBERS, "c": column.to_numpy()}, index=index)
        frame["c"] = column.set_axis(index)
    columns = frame_columns(frame)
    seen = TableEncoder().fit(columns).transform(columns).T
    apart = np.abs(np.asarray(expected, dtype=float)[:, None] - seen).max(axis=2)
    assert apart.min(axis=1).max() < 1e-6
    y = (NUMBERS > 0).astype(int)
    pruner = InfluencePruner(keep=0.4)
    X_kept, _ = pruner.fit_transform(frame, y)
    rows = pruner.sample_indices_
    if isinstance(frame, pl.DataFrame):
        polars.testing.assert_frame_equal(X_kept, frame[rows.tolist()])
    else:
        pd.testing.assert_frame_equal(X_kept, frame.iloc[rows])


@pytest.mark.parametrize(
    ("values", "why"),
    [
        (["same"] * N, "constant"),
        ([2.5] * N, "constant"),
        ([np.nan] * N, "empty"),
        ([None] * N, "empty"),
        ([pd.NaT] * N, "empty"),
        ([f"k{i % 300}" for i in range(N)], "nearly unique text"),
        (pd.Categorical([f"k{i % 300}" for i in range(N)]), "nearly unique categories"),
        (range(1, N + 1), "numbers the rows"),
        ([[1, 2]] * N, "type list cannot be encoded"),
        ([b"..."] * N, "type bytes cannot be encoded"),
        (NUMBERS + 1j, "type complex128 cannot be encoded"),
    ],
)
def test_columns_that_say_nothing(values, why):
    frame = pd.DataFrame({"x": NUMBERS, "word": WORDS, "c": values})
    encoder = TableEncoder().fit(frame_columns(frame))
    assert encoder.describe()[-1] == f"left out: c ({why})"
    report = InfluencePruner(keep=0.4).fit(frame, FLAGS).report_
    assert ("columns", "1 number, 1 category (3 levels) -> 4; left out: c") in report.notes


def test_thousands_of_levels_do_not_carry_the_fit():
    """Every name is that of 3 rows; the frequent ones of many columns share what there is."""
    n = 6000
    names = np.array([f"n{i % 2000}" for i in range(n)])
    encoder = TableEncoder().fit(frame_columns(pd.DataFrame({"name": names})))
    assert encoder.width == 0
    rng = np.random.default_rng(0)
    wide = pd.DataFrame({f"c{j}": rng.integers(0, 45, n).astype(str) for j in range(30)})
    wide = pd.DataFrame({name: "level " + column for name, column in wide.items()})
    encoder = TableEncoder().fit(frame_columns(wide.assign(few=np.arange(n) % 2 > 0)))
    assert LEVEL_COLUMNS * 0.9 < encoder.width <= LEVEL_COLUMNS + 1


@pytest.fixture(scope="module")
def people():
    """A table of all kinds, in pandas, with what depends on it."""
    frame = pd.DataFrame(
        {
            "age": pd.array(with_gaps(RNG.integers(18, 80, N)), dtype="Int64"),
            "city": np.where(GAPS[::-1], None, WORDS),
            "job": pd.Categorical(RNG.choice(["cook", "nurse"], N), categories=["nurse", "cook"]),
            "since": DAYS,
            "income": np.where(GAPS, np.nan, RNG.lognormal(size=N)),
            "member": FLAGS,
        },
        index=[f"person {i}" for i in range(N)],
    )
    score = NUMBERS + (WORDS == "Lyon") + 2 * FLAGS
    return frame, pd.Series(np.where(score > 1, "yes", "no"), index=frame.index)


def test_a_raw_table_is_chosen_from_as_its_encoded_form_is(people):
    """The library of the frame makes no difference, nor where the columns become numbers."""
    frame, y = people
    half = N // 2
    held = {"X_val": frame[half:], "y_val": y[half:]}
    pruner = InfluencePruner(keep=0.3).fit(frame[:half], y[:half], **held)
    encoder = TableEncoder().fit(frame_columns(frame[:half]))
    train, test = (encoder.transform(frame_columns(rows)) for rows in (frame[:half], frame[half:]))
    encoded = InfluencePruner(keep=0.3).fit(train, y[:half], X_val=test, y_val=y[half:])
    np.testing.assert_array_equal(pruner.sample_indices_, encoded.sample_indices_)
    assert pruner.group_influence([1, 2]).newton.loss == pytest.approx(
        encoded.group_influence([1, 2]).newton.loss
    )
    in_polars = pl.from_pandas(frame)
    other = InfluencePruner(keep=0.3)
    other.fit(in_polars[:half], y[:half], X_val=in_polars[half:], y_val=y[half:])
    np.testing.assert_array_equal(pruner.sample_indices_, other.sample_indices_)
    assert dict(pruner.report_.notes)["columns"].startswith("3 numbers, 2 categories (6 levels)")


@pytest.mark.parametrize("model", [None, "softmax", LinearProxy(curvature="ekfac")])
def test_the_whole_interface_takes_a_raw_table(people, model):
    frame, y = people
    pruner = InfluencePruner(max_gap=0.03 if model else 0.1, model=model)
    assert pruner.estimate_cost(frame, y).bytes > 0
    weights = np.where(np.arange(N) < 10, 0.0, 1.0)
    X_kept, y_kept = pruner.fit_transform(
        frame, y, sample_weight=weights, groups=frame.index.str[-2:]
    )
    pd.testing.assert_frame_equal(X_kept, frame[pruner.keep_mask_])
    pd.testing.assert_index_equal(y_kept.index, X_kept.index)
    assert len(X_kept) < N
    assert pruner.sample_indices_.min() >= 10
    assert list(pruner.feature_names_in_) == list(frame.columns)
    assert pruner.n_features_in_ == frame.shape[1]
    copy = pickle.loads(pickle.dumps(pruner))
    pd.testing.assert_frame_equal(copy.transform(frame), X_kept)
    with pytest.raises(ValueError, match="feature names should match"):
        pruner.transform(frame.drop(columns="job"))
    pd.testing.assert_frame_equal(HighestLoss(1.0).fit_transform(frame, y).X, frame)
    assert list(PruningSampler(pruner).fit_resample(frame, y)[0]) == list(frame)


def test_rows_without_weight_have_no_say_in_the_encoding(people):
    frame, y = people
    half, weights = N // 2, np.repeat([1.0, 0.0], N // 2)
    table, _ = read_table(InfluencePruner(), frame, y, weights, None)
    alone, _ = read_table(InfluencePruner(), frame[:half], y[:half], None, None)
    np.testing.assert_array_equal(np.asarray(table.X)[:half], np.asarray(alone.X))


def test_held_out_rows_may_be_of_levels_and_types_that_are_new(people):
    frame, y = people
    strange = frame.assign(
        city="Oslo", job=pd.Categorical(["judge"] * N), income=frame["income"].astype(object)
    )
    pruner = InfluencePruner(keep=0.3).fit(frame, y, X_val=strange, y_val=y)
    assert np.isfinite(pruner.gap_)


@pytest.mark.parametrize("of", [np.asarray, pd.DataFrame, pl.from_numpy])
def test_held_out_gaps_where_the_fitted_rows_had_none(of):
    X = np.c_[NUMBERS, NUMBERS[::-1]]
    holes = np.where(GAPS[:, None], np.nan, X)
    filled = np.where(GAPS[:, None], np.median(X, axis=0), X)
    expected = InfluencePruner(keep=0.3).fit(of(X), FLAGS, X_val=filled, y_val=FLAGS)
    found = InfluencePruner(keep=0.3).fit(of(X), FLAGS, X_val=of(holes), y_val=FLAGS)
    assert found.gap_ == pytest.approx(expected.gap_, abs=1e-12)


# What is trained on the rows

TREES = HistGradientBoostingClassifier(max_iter=3, categorical_features="from_dtype")
ORDINAL = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1)
OWN_STEPS = make_pipeline(
    make_column_transformer((ORDINAL, ["city", "job"]), (SimpleImputer(), ["income", "member"])),
    HistGradientBoostingClassifier(max_iter=3),
)


class SeesRows(HistGradientBoostingClassifier):
    """Boosting that tells the types of the columns that it was fitted to."""

    seen: list = []  # noqa: RUF012 - clones share it

    def fit(self, X, y, sample_weight=None):
        self.seen.append(X.dtypes)
        return super().fit(X, y, sample_weight)


def test_a_judge_gets_the_raw_rows(people):
    frame, y = people
    table = frame.drop(columns="since").astype({"city": "category"})
    judge = SeesRows(max_iter=3, categorical_features="from_dtype")
    for pruner in (
        InfluencePruner(max_gap=0.05, model=judge),
        InfluencePruner(keep=0.4, verify=Retrain(judge, n_seeds=1)),
    ):
        SeesRows.seen.clear()
        assert pruner.fit(table, y).gap_.level == "retrained"
        assert SeesRows.seen
        assert all(types.equals(table.dtypes) for types in SeesRows.seen)


@pytest.mark.parametrize(
    "model",
    [
        TREES,
        lgb.LGBMClassifier(n_estimators=3, n_jobs=1, verbose=-1),
        OWN_STEPS,
        GridSearchCV(OWN_STEPS, {"histgradientboostingclassifier__max_iter": [3]}, cv=2),
    ],
    ids=lambda model: type(model).__name__,
)
def test_models_that_take_raw_tables_are_pruned_for(people, model):
    frame, y = people
    if model is TREES or isinstance(model, lgb.LGBMClassifier):
        frame = frame.drop(columns="since").astype({"city": "category"})
    pruned = PrunedClassifier(model, InfluencePruner(max_gap=0.05)).fit(frame, y)
    assert "columns" in dict(pruned.pruner_.report_.notes)
    assert len(pruned.predict(frame)) == N
    assert pruned.n_features_in_ == frame.shape[1]


def test_a_search_over_the_gap_on_a_raw_table(people):
    frame, y = people
    table = frame.drop(columns="since").astype({"city": "category"})
    pruned = PrunedClassifier(TREES, InfluencePruner())
    search = GridSearchCV(pruned, {"pruner__max_gap": [0.03, 0.06]}, cv=2, error_score="raise")
    assert search.fit(table, y).best_estimator_.score(table, y) > 0.6
    trees = HistGradientBoostingRegressor(max_iter=3, categorical_features="from_dtype")
    PrunedRegressor(trees, InfluencePruner(keep=0.5)).fit(table, NUMBERS)


def test_linear_models_read_raw_tables_by_their_own_steps(people):
    frame, y = people
    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), ["city"]), remainder="drop"
    )
    linear = InfluencePruner(keep=0.4, model=make_pipeline(encode, LogisticRegression()))
    assert "columns" not in dict(linear.fit(frame, y).report_.notes)
    with pytest.raises(ValueError, match="3 of 6 columns are not numbers"):
        InfluencePruner(model=LogisticRegression()).fit(frame, y)


def test_documents_are_left_to_the_models_own_steps():
    frame = pd.DataFrame({"text": [f"{word} {i}" for i, word in enumerate(WORDS)]})
    model = make_pipeline(make_column_transformer((TfidfVectorizer(), "text")), SVC())
    pruner = InfluencePruner(keep=0.5, model=model).fit(frame, WORDS == "Lyon")
    assert "columns" not in dict(pruner.report_.notes)
    with pytest.raises(ValueError, match=r"no column can be encoded: .*nearly unique text"):
        InfluencePruner(keep=0.5).fit(frame, WORDS == "Lyon")


SCALED = make_pipeline(StandardScaler(), LogisticRegression())
IMPUTED = make_pipeline(StandardScaler(), SimpleImputer(), LogisticRegression())


@pytest.mark.parametrize(
    ("pruner", "taken"),
    [
        (InfluencePruner(), True),
        (InfluencePruner(model=TREES), True),
        (InfluencePruner(model=IMPUTED), True),
        (InfluencePruner(model=LogisticRegression()), False),
        (InfluencePruner(model=SCALED), False),
        (InfluencePruner(model=LogisticRegression(), verify=TREES), False),
        (InfluencePruner(model=SVC(), scoring="accuracy"), False),
        (InfluencePruner(verify=SVC(), scoring="accuracy"), False),
        (InfluencePruner(verify=Retrain(TREES, n_seeds=1)), True),
        (HighestLoss(), True),
        (HighestLoss(model=LogisticRegression()), False),
        (PruningSampler(), True),
        (PrunedClassifier(TREES), True),
        (PrunedClassifier(TREES, InfluencePruner(model="softmax")), True),
        (PrunedClassifier(SVC(), InfluencePruner(keep=0.4)), False),
    ],
    ids=lambda value: repr(value)[:60],
)
def test_the_tag_of_missing_values_says_the_truth(pruner, taken):
    X = np.where(GAPS[:, None], np.nan, np.c_[NUMBERS, NUMBERS[::-1]])
    assert get_tags(pruner).input_tags.allow_nan == taken
    y = NUMBERS > 0
    if taken:
        assert len(pruner.fit(X, y).sample_indices_) <= N
    else:
        with pytest.raises(ValueError, match=r"(?s)contains NaN.*SimpleImputer"):
            pruner.fit(X, y)
