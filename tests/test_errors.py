"""Bad input: the type that scikit-learn would raise, and words that say what and what to do."""

from __future__ import annotations

import re
import warnings

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from cases.pruners import head_pruner
from sklearn.datasets import load_diabetes, load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import (
    LogisticRegression,
    Ridge,
    RidgeClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils._param_validation import InvalidParameterError
from torch.nn import MSELoss

from skprune import (
    InfluencePruner,
    LinearProxy,
    PrunedClassifier,
    PrunedRegressor,
    PruningSampler,
    PruningWarning,
    Retrain,
    TorchProxy,
)
from skprune.baselines import HighestLoss, StratifiedRandom

X, Y = load_iris(return_X_y=True)
D, T = load_diabetes(return_X_y=True)
T = T + 0.5  # no whole numbers
WORDS = np.array(["setosa", "versicolor", "virginica"])[Y]
ONES = np.ones(150)
LINEAR = LogisticRegression()
TREES = HistGradientBoostingClassifier(max_iter=3)
NAMED = pd.DataFrame(X, columns=list("abcd"))


def spoil(table, value, row=3, column=1):
    """A copy with one bad entry."""
    table = np.array(table, dtype=np.result_type(table, type(value)), copy=True)
    table[(row, column)[: table.ndim]] = value
    return table


def labels(missing, dtype=object):
    return pd.Series([missing, *["a", "b"] * 74, "a"], dtype=dtype)


def fit(X, y, model=None, **kwargs):
    """A call of ``fit`` on a fresh pruner, made later."""
    return lambda: InfluencePruner(model=model).fit(X, y, **kwargs)


def refusal(call, error, words):
    """Run ``call``, which has to raise exactly ``error`` with all the ``words`` in its text."""
    with pytest.raises(error) as caught:
        call()
    assert caught.type is error
    for word in words:
        assert re.search(word, str(caught.value)), f"no {word!r} in: {caught.value}"


#: name: (call, type of the error, what its text says)
ROWS = {
    "NaN in X": (fit(spoil(X, np.nan), Y, LINEAR), ValueError, ["Input X contains NaN"]),
    "NaN in sparse X": (
        fit(sp.csr_matrix(spoil(X, np.nan)), Y, LINEAR), ValueError, ["Input X contains NaN"]),
    "NaN for a judge": (
        lambda: InfluencePruner(verify=LINEAR).fit(spoil(X, np.nan), Y), ValueError,
        ["Input X contains NaN. The head of model=None", "SimpleImputer"]),
    "inf in X": (fit(spoil(X, np.inf), Y), ValueError, ["Input X contains infinity"]),
    "no rows": (fit(X[:0], Y[:0]), ValueError, [r"0 sample\(s\)", "minimum of 1"]),
    "one row": (fit(X[:1], Y[:1]), ValueError, [r"1 sample\(s\)", "minimum of 2"]),
    "one row of each class": (
        fit(X[49:51], Y[49:51]), ValueError, ["2 rows", "losing a class", "pass X_val and y_val"]),
    "NaN for the trees' head": (
        lambda: InfluencePruner(model=LogisticRegression(), verify=TREES).fit(
            spoil(X, np.nan), Y), ValueError,
        ["Input X contains NaN. The head", r"model=make_pipeline\(SimpleImputer\("]),
    "NaN behind a scaler": (
        lambda: InfluencePruner(model=make_pipeline(StandardScaler(), LogisticRegression())).fit(
            spoil(X, np.nan), Y), ValueError, ["contains NaN. The head", "SimpleImputer"]),
    "a category that is held out": (
        lambda: InfluencePruner(
            model=make_pipeline(OneHotEncoder(), LogisticRegression()), validation_fraction=0.5
        ).fit(X, Y), ValueError, ["Found unknown categories", 'handle_unknown="ignore"']),
    "a category that was pruned": (
        lambda: head_pruner(
            keep=0.2, verify=make_pipeline(OneHotEncoder(), LogisticRegression())).fit(X, Y),
        ValueError, ["Found unknown categories", 'handle_unknown="ignore"']),
    "no columns": (fit(X[:, :0], Y), ValueError, [r"0 feature\(s\)", r"\(150, 0\)"]),
    "a frame without columns": (
        fit(NAMED[[]], Y), ValueError, [r"0 feature\(s\)", r"\(150, 0\)"]),
    "records": (fit(NAMED.to_records(), Y), ValueError, ["fields", r"pandas.DataFrame\(X\)"]),
    "masked entries": (
        fit(np.ma.masked_array(X, X > 7), Y), ValueError, ["X has 12 masked", r"\.filled\("]),
    "masked targets": (
        fit(X, np.ma.masked_array(Y, Y > 1)), ValueError, ["y has 50 masked", r"\.filled\("]),
    "fewer targets": (fit(X, Y[:100]), ValueError, ["inconsistent numbers", r"\[150, 100\]"]),
    "X is None": (fit(None, Y), ValueError, ["Expected 2D array"]),
    "X is a file name": (fit("table.csv", Y), ValueError, ["table.csv"]),
    "X is a number": (fit(3, Y), ValueError, ["Expected 2D array", "got scalar"]),
    "X is a vector": (fit(X[:, 0], Y), ValueError, ["Expected 2D array", "Reshape your data"]),
    "X is a generator": (fit((row for row in X), Y), TypeError, ["generator"]),
    "X is ragged": (fit([[1, 2], [3]], [0, 1]), ValueError, ["inhomogeneous|sequence"]),
    "X holds objects": (fit(np.array([[{}]] * 150), Y), TypeError, ["'dict'"]),
    "complex X": (fit(X.astype(complex), Y), ValueError, ["Complex data not supported"]),
    "inf in a raw table": (
        fit(NAMED.assign(a=np.inf, e=WORDS), Y), ValueError, ["Input X contains infinity", "'a'"]),
    "a raw table that says nothing": (
        fit(pd.DataFrame({"e": ["same"] * 150}), Y), ValueError,
        [r"no column can be encoded: left out: e \(constant\)"]),
    "a raw table, then an array": (
        fit(NAMED.assign(e=WORDS), Y, X_val=X, y_val=Y), ValueError,
        ["X is a frame and X_val a ndarray"]),
    "text columns": (
        fit(NAMED.assign(e=WORDS), Y, LINEAR), ValueError,
        ["1 of 5 columns are not numbers: e", "OneHotEncoder", "model=make_pipeline"]),
    "an array with words": (
        fit(np.column_stack([X[:, 0].astype(object), WORDS]), Y), ValueError,
        ["could not convert string to float: .*setosa", r"OneHotEncoder\(.*\[1\]"]),
}  # fmt: skip

HOURS = pd.date_range("2024", periods=150, freq="h")
TIMES = {
    "timestamps": NAMED.assign(when=HOURS.tz_localize("Europe/Berlin")),
    "durations": NAMED.assign(when=HOURS - HOURS[0]),
    "periods": NAMED.assign(when=HOURS.to_period("D")),
    "dates": NAMED.assign(when=HOURS.date),
    "polars": pl.DataFrame({"a": X[:, 0], "when": HOURS.to_numpy()}),
    "polars' objects": pl.DataFrame({"a": X[:, 0], "when": pl.Series(HOURS.date, dtype=pl.Object)}),
    "an array": np.array([HOURS, HOURS]).T,
    "an array of objects": np.column_stack([X.astype(object), HOURS.to_pydatetime()]),
}


@pytest.mark.parametrize("table", TIMES.values(), ids=TIMES)
def test_times_are_not_one_hot_encoded(table):
    advice = r"(?s)Give dates as numbers.*TableVectorizer"
    with pytest.raises((TypeError, ValueError), match=advice) as caught:
        InfluencePruner(model=LINEAR).fit(table, Y)
    assert "OneHotEncoder" not in str(caught.value)


def test_times_beside_words():
    table = NAMED.assign(when=HOURS, word=WORDS)
    words = [r"2 of 6 columns.*when \(datetime.*, word", r"ignore\"\), \['word'\]", "as numbers"]
    refusal(fit(table, Y, LINEAR), ValueError, words)


TARGETS = {
    "y is None": (fit(X, None), ValueError, ["InfluencePruner requires y to be passed"]),
    "y is left out": (lambda: head_pruner().fit(X), ValueError, ["requires y to be passed"]),
    "y of two columns": (fit(X, np.c_[Y, Y]), ValueError, ["1d array", r"\(150, 2\)"]),
    "y one-hot": (fit(X, np.eye(3)[Y]), ValueError, ["1d array", r"\(150, 3\)"]),
    "y sparse": (fit(X, sp.csr_matrix(np.eye(3)[Y])), TypeError, ["y", "dense"]),
    "y is a number": (fit(X, 3), ValueError, ["1d array", r"\(\)"]),
    "y is a name": (fit(NAMED, "species"), ValueError, ["1d array"]),
    "NaN in y": (fit(D, spoil(T, np.nan)), ValueError, ["Input y contains NaN"]),
    "inf in y": (fit(D, spoil(T, np.inf)), ValueError, ["Input y contains infinity"]),
    "None among words": (fit(X, labels(None)), ValueError, ["y contains NaN or None in 1 row"]),
    "NaN among words": (fit(X, labels(np.nan)), ValueError, ["y contains NaN or None in 1 row"]),
    "NA among words": (
        fit(X, labels(pd.NA, "string")), ValueError, ["y contains NaN or None in 1 row"]),
    "no category": (
        fit(X, labels(None, "category")), ValueError, ["y contains NaN or None in 1 row"]),
    "words and numbers": (fit(X, labels(1)), ValueError, ["mixes objects of type int and str"]),
    "words and numbers in a list": (
        fit(X, [1, "a"] * 75), ValueError, ["mixes objects of type int and str"]),
    "tuples": (fit(X, pd.Series([(1, 2), (3, 4)] * 75)), ValueError, ["objects of type tuple"]),
    "dates as objects": (fit(X, HOURS.date), ValueError, ["holds objects of type date"]),
    "dates": (
        fit(X, pd.date_range("2020", periods=150)), ValueError,
        ["dates or durations", "give labels or numbers"]),
    "complex y": (fit(D, T.astype(complex)), ValueError, ["Complex data not supported"]),
    "one class": (fit(X, 0 * Y), ValueError, ["at least 2 classes", "1 class: 0"]),
    "one class in words": (fit(X, ["yes"] * 150), ValueError, ["at least 2 classes", ": yes"]),
    "words for a regressor": (
        lambda: InfluencePruner(model="ridge").fit(X, WORDS), ValueError,
        ["model is a regressor", "labels such as setosa", "use a classifier or numbers"]),
    "numbers for a classifier": (
        lambda: InfluencePruner(model=LogisticRegression()).fit(D, T), ValueError,
        [r"LogisticRegression\(\) is a classifier and y is continuous", r"Ridge\(\)"]),
    "numbers for softmax": (
        lambda: InfluencePruner(model="softmax").fit(D, T), ValueError,
        ["'softmax' is a classifier", "model=None"]),
}  # fmt: skip

METADATA = {
    "negative weights": (fit(X, Y, sample_weight=-ONES), ValueError, ["Negative values.*weight"]),
    "no weight": (fit(X, Y, sample_weight=0 * ONES), ValueError, ["(?i)sample.weight", "zero"]),
    "one weight": (
        fit(X, Y, sample_weight=spoil(0 * ONES, 1.0)), ValueError,
        ["at least 2 classes in the rows that have a weight", "1 class: 0"]),
    "one number with a weight": (
        fit(D, T, sample_weight=np.eye(len(T))[0]), ValueError,
        ["1 rows with a weight", "X_val and y_val"]),
    "weights of one class": (
        fit(X, Y, sample_weight=(Y == 1) * 1.0), ValueError, ["at least 2 classes", "1 class: 1"]),
    "weights of one class, to rounding": (
        fit(X, Y, sample_weight=np.where(Y == 1, 1e200, 1e-200)), ValueError, ["1 class: 1"]),
    "fewer weights": (
        fit(X, Y, sample_weight=ONES[:3]), ValueError, [r"sample_weight.shape == \(3,\)", "150"]),
    "NaN weight": (
        fit(X, Y, sample_weight=spoil(ONES, np.nan)), ValueError, ["sample_weight contains NaN"]),
    "weights in a table": (
        fit(X, Y, sample_weight=ONES[:, None]), ValueError, ["Sample weights must be 1D"]),
    "weights by name": (fit(X, Y, sample_weight="balanced"), ValueError, ["balanced"]),
    "fewer groups": (fit(X, Y, groups=np.arange(3)), ValueError, [r"\[150, 3\]"]),
    "one group": (
        fit(X, Y, groups=0 * Y), ValueError, ["groups has 1 group", "at least 2", "X_val"]),
    "groups without a name": (
        fit(X, Y, groups=np.array([None, "a", "b"], dtype=object)[Y]), ValueError,
        ["groups holds None or NaN in 50 rows", "name the group of every row"]),
    "groups that are NaN": (
        fit(X, Y, groups=[np.nan] + [0.0, 1.0] * 74 + [1.0]), ValueError, ["NaN in 1 rows"]),
    "groups in two columns": (
        fit(X, Y, groups=[(1, "a"), (2, "b")] * 75), ValueError, [r"\(150, 2\)", "one word"]),
    "groups are the classes": (
        fit(X, Y, groups=Y), ValueError, ["No validation rows", "losing a class", "X_val"]),
    "X_val alone": (fit(X, Y, X_val=X), ValueError, ["X_val and y_val go together"]),
    "y_val alone": (fit(X, Y, y_val=Y), ValueError, ["X_val and y_val go together"]),
    "unknown labels in y_val": (
        fit(X[:100], Y[:100], X_val=X, y_val=Y), ValueError, ["labels that y lacks", r"\[2\]"]),
    "other columns in X_val": (
        fit(X, Y, X_val=X[:, :2], y_val=Y), ValueError, ["2 features", "expecting 4"]),
    "other names in X_val": (
        fit(NAMED, Y, X_val=NAMED.set_axis(list("abce"), axis=1), y_val=Y), ValueError,
        ["feature names should match", "- e"]),
    "fewer y_val": (fit(X, Y, X_val=X, y_val=Y[:3]), ValueError, [r"\[150, 3\]"]),
    "NaN in X_val": (
        fit(X, Y, LINEAR, X_val=spoil(X, np.nan), y_val=Y), ValueError, ["contains NaN"]),
    "no validation rows": (fit(X, Y, X_val=X[:0], y_val=Y[:0]), ValueError, [r"0 sample\(s\)"]),
}  # fmt: skip


@pytest.mark.parametrize("case", [*ROWS.items(), *TARGETS.items(), *METADATA.items()],
                         ids=lambda case: case[0])  # fmt: skip
def test_rows_targets_and_metadata(case):
    refusal(*case[1])


INVALID = {
    "max_gap": [-0.01, 0, 0.0, np.nan, np.inf, None, "1%"],
    "keep": [0, 0.0, -1, -0.5, 1.5, np.nan, "half"],
    "scoring": [None, 3],
    "solver": ["greedy", None],
    "sampling": ["el3n", 3, None],
    "verify": ["bogus", True],
    "min_per_class": [-1, 1.5, None],
    "validation_fraction": [0, 1, 1.5, -0.1, np.nan],
    "random_state": ["a", -1, 1.5],
    "n_jobs": ["all", 1.5],
    "verbose": [-1, "loud"],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in INVALID.items() for value in values]
)
def test_invalid_parameter(name, value):
    """Name, given value and what would be right: scikit-learn's own message."""
    pruner = head_pruner(**{name: value})  # accepted here: checks happen in fit
    refusal(
        lambda: pruner.fit(X, Y),
        InvalidParameterError,
        [f"'{name}' parameter of InfluencePruner must be", f"Got {value!r} instead"],
    )


@pytest.mark.parametrize(
    ("pruner", "name", "value"),
    [
        (StratifiedRandom, "keep", 0),
        (StratifiedRandom, "min_per_class", -1),
        (HighestLoss, "keep", 1.5),
        (HighestLoss, "random_state", "entropy"),
    ],
)
def test_invalid_parameter_of_a_baseline(pruner, name, value):
    refusal(
        lambda: pruner(**{name: value}).fit(X, Y),
        InvalidParameterError,
        [f"'{name}' parameter of {pruner.__name__} must be", f"Got {value!r}"],
    )


@pytest.mark.parametrize("pruner", [InfluencePruner, StratifiedRandom, HighestLoss])
@pytest.mark.parametrize(
    ("keep", "words"),
    [
        (151, ["keep=151 is more than the 150 rows"]),
        (2, ["keep=2 is 2 row", "up to 3 for 3 classes", "keep more or lower it"]),
        (1, ["1.0 is all rows, 1 is one row"]),
        (0.001, ["keep=0.001 is 1 row", "for 3 classes"]),
    ],
)
def test_size_that_does_not_fit_the_table(pruner, keep, words):
    refusal(lambda: pruner(keep=keep).fit(X, Y), ValueError, words)


@pytest.mark.parametrize("keep", [1, 20, 100])
def test_a_number_that_may_be_a_percentage(keep):
    pruner, rows = StratifiedRandom(keep, random_state=0), np.zeros((20_000, 1))
    match = f"keep={keep} is a number of rows, {keep} of 20000.*keep={keep / 100}"
    with pytest.warns(PruningWarning, match=match):
        pruner.fit(rows, np.linspace(0, 1, 20_000))
    assert len(pruner.sample_indices_) == keep


@pytest.mark.parametrize(("keep", "n"), [(101, 20_000), (0.001, 20_000), (20, 2_000), (100, 150)])
def test_numbers_that_are_none(keep, n):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        StratifiedRandom(keep, random_state=0).fit(np.zeros((n, 1)), np.linspace(0, 1, n))


@pytest.mark.parametrize(
    ("model", "words"),
    [
        (TorchProxy(None, loss=MSELoss()), ["TorchProxy takes a trained", "use LinearProxy"]),
        (
            TorchProxy(LogisticRegression()),
            ["TorchProxy takes a trained", "got Logistic"],
        ),
        (LinearProxy(torch.nn.Linear(4, 3)), ["LinearProxy takes an estimator", "to TorchProxy"]),
    ],
)
def test_what_is_in_the_wrong_proxy(model, words):
    refusal(lambda: InfluencePruner(model=model).fit(X, Y), ValueError, words)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"model": LinearProxy(curvature=1)}, ["'curvature' parameter of LinearProxy"]),
        ({"model": TorchProxy(torch.nn.Linear(4, 3), batch_size=0)}, ["'batch_size' .*TorchProxy"]),
        ({"verify": Retrain(LogisticRegression(), n_seeds=0)}, ["'n_seeds' parameter of Retrain"]),
    ],
)
def test_invalid_parameters_of_what_is_nested(given, words):
    refusal(lambda: InfluencePruner(**given).fit(X, Y), InvalidParameterError, words)


BYTES = np.broadcast_to(np.int8(1), (10**6, 10**6))
EMPTY = sp.csr_matrix((150, 2_000_000))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: head_pruner().fit(BYTES, np.arange(10**6) % 2), ["7.28 TiB as float64"]),
        (lambda: HighestLoss().fit(X=BYTES, y=np.arange(10**6) % 2), ["7.28 TiB as float64"]),
        (
            lambda: InfluencePruner(model=LinearProxy(curvature="dense")).fit(EMPTY, Y),
            ["786 TiB as .dense"],
        ),
        (
            lambda: InfluencePruner(model=LinearProxy(curvature="ekfac")).fit(EMPTY, Y),
            ["116 TiB as .ekfac", "0 entr"],
        ),
    ],
)
def test_memory_that_runs_out(call, words):
    words = ["^Memory ran out .*(allocate|memory)", "Give float32, fewer columns", *words]
    refusal(call, MemoryError, words)


PIPELINE = make_pipeline(StandardScaler(), LogisticRegression())


@pytest.mark.parametrize(
    "call",
    [
        lambda lazy: head_pruner().fit(lazy, Y),
        lambda lazy: head_pruner().fit(X, lazy.select(pl.first())),
        lambda lazy: head_pruner().fit(X, Y, X_val=lazy, y_val=Y),
        lambda lazy: InfluencePruner(model=PIPELINE).fit(lazy, Y),
        lambda lazy: InfluencePruner(model=torch.nn.Linear(4, 3)).fit(lazy, Y),
        lambda lazy: StratifiedRandom().fit(lazy, Y),
        lambda lazy: StratifiedRandom().fit(X, Y).take(lazy),
        lambda lazy: PrunedClassifier(LogisticRegression()).fit(lazy, Y),
    ],
)
def test_a_query_that_has_not_run(call):
    lazy = pl.DataFrame(X).lazy()
    refusal(lambda: call(lazy), ValueError, ["A LazyFrame", "has not run", r"\.collect\(\)"])


def test_minimum_per_class_above_the_budget():
    pruner = head_pruner(keep=30, min_per_class=20)
    refusal(lambda: pruner.fit(X, Y), ValueError, ["keep=30", "min_per_class", "60 for 3 classes"])


@pytest.mark.parametrize(
    ("prior", "words"),
    [
        (np.ones(3), [r"shape \(3,\)", "150 rows"]),
        (-ONES, ["finite and non-negative"]),
        (0 * ONES, ["positive somewhere"]),
        (spoil(ONES, np.nan), ["finite"]),
        (["hard"] * 150, ['"loss", "el2n" or numbers', "could not convert"]),
    ],
)
def test_prior(prior, words):
    refusal(
        lambda: head_pruner(keep=0.4, sampling=prior).fit(X, Y),
        ValueError,
        ["sampling", *words],
    )


@pytest.mark.parametrize("scoring", ["acuracy", "loss_"])
def test_unknown_scorer(scoring):
    words = [f"'{scoring}' is not a valid scoring", "get_scorer_names"]
    refusal(lambda: head_pruner(scoring=scoring).fit(X, Y), ValueError, words)


@pytest.mark.parametrize(
    ("scoring", "model", "y", "words"),
    [
        ("roc_auc", "ridge", np.linspace(0, 1, 150), ["this regression", "predict_proba"]),
        ("accuracy", "ridge", np.linspace(0, 1, 150), ["this regression", "continuous"]),
        ("f1", None, np.where(Y, "a", "b"), ["this classification", "f1_macro"]),
        ("r2", None, np.where(Y, "a", "b"), ["this classification", "callable"]),
        ("neg_log_loss", RidgeClassifier(), Y, ["a ridge classifier has no predict_proba"]),
    ],
)
def test_scorer_of_another_kind(scoring, model, y, words):
    pruner = InfluencePruner(scoring=scoring, model=LinearProxy(model))
    refusal(lambda: pruner.fit(X, y), ValueError, [f"scoring='{scoring}'", *words])


def test_numbers_beyond_reckoning():
    words = [r"X holds numbers as large as .*e\+200", "unit"]
    refusal(lambda: head_pruner().fit(1e200 * X, Y), ValueError, words)
    refusal(lambda: head_pruner().fit(sp.csr_matrix(-1e200 * X), Y), ValueError, words)
    y = 1e120 * X[:, 0]
    refusal(lambda: head_pruner().fit(X, y), ValueError, [r"y holds numbers as large as"])


@pytest.mark.parametrize(
    ("model", "error", "words"),
    [
        ("svm", ValueError, ["model='svm' is not known", "'softmax', 'ridge'"]),
        (LogisticRegression, TypeError, ["class LogisticRegression; pass an instance"]),
        (3, TypeError, ["got 3"]),
        (make_pipeline(StandardScaler()), TypeError, ["got StandardScaler"]),
        (Ridge(alpha=np.array([1.0, 2.0])), ValueError, ["one number", r"got array\(\[1"]),
        (Ridge(alpha=-1.0), InvalidParameterError, ["'alpha'.*Ridge", "Got -1.0"]),
        (LogisticRegression(C=0.0), InvalidParameterError, ["'C'.*LogisticRegression", "Got 0.0"]),
        (LogisticRegression(class_weight={7: 1.0}), ValueError, ["not in class_weight"]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_model(model, error, words):
    refusal(lambda: InfluencePruner(model=model).fit(X, Y), error, words)
    refusal(lambda: HighestLoss(model=model).fit(X, Y), error, words)


@pytest.fixture(scope="module")
def fitted():
    return head_pruner(keep=0.4).fit(X, Y)


@pytest.mark.parametrize(
    "call",
    [
        lambda p: p.transform(X),
        lambda p: p.take(Y),
        lambda p: p.group_influence([1]),
        lambda p: p.get_feature_names_out(),
    ],
)
def test_before_fit(call):
    with pytest.raises(NotFittedError, match="InfluencePruner"):
        call(head_pruner())


@pytest.mark.parametrize(
    "pruner",
    [head_pruner(), StratifiedRandom(), PrunedClassifier(LogisticRegression()), PruningSampler()],
    ids=lambda pruner: type(pruner).__name__,
)
@pytest.mark.parametrize("name", ["report_", "gap_", "sample_indices_", "subset_", "pruner_"])
def test_fitted_attributes_before_fit(pruner, name):
    with pytest.raises(NotFittedError, match=type(pruner).__name__):
        getattr(pruner, name)
    assert not hasattr(pruner, name)


def test_attributes_that_nothing_has(fitted):
    refusal(lambda: fitted.nonsense_, AttributeError, ["no attribute 'nonsense_'"])
    refusal(lambda: fitted.subset_, AttributeError, ["exists after fit.dataset"])
    refusal(lambda: head_pruner().nonsense, AttributeError, ["no attribute 'nonsense'"])


class TestOtherRows:
    ADVICE = ("fitted on 150", "pass the rows it was fitted on, or fit it again", "never pruned")

    def test_transform_of_other_rows(self, fitted):
        refusal(lambda: fitted.transform(X[:10]), ValueError, ["X has 10 rows", *self.ADVICE])

    def test_transform_of_other_targets(self, fitted):
        refusal(lambda: fitted.transform(X, Y[:3]), ValueError, ["y has 3 rows", *self.ADVICE])

    def test_transform_of_other_columns(self, fitted):
        refusal(lambda: fitted.transform(X[:, :2]), ValueError, ["2 features", "expecting 4"])

    def test_transform_of_a_vector(self, fitted):
        refusal(lambda: fitted.transform(X[:, 0]), ValueError, ["Expected 2D array", "Reshape"])

    def test_transform_of_other_values(self):
        fitted = InfluencePruner(keep=0.4, model=LINEAR).fit(NAMED, Y)
        gaps, words = NAMED.where(NAMED < 7), NAMED.assign(d=WORDS)
        refusal(lambda: fitted.transform(gaps), ValueError, ["X contains NaN"])
        refusal(lambda: fitted.transform(words), ValueError, ["d .*Encode them"])

    def test_take_of_other_rows(self, fitted):
        refusal(lambda: fitted.take(Y, Y[:3]), ValueError, ["array 1 has 3 rows", *self.ADVICE])

    def test_take_of_nothing(self, fitted):
        refusal(fitted.take, TypeError, ["at least one array", r"take\(sample_weight\)"])
        refusal(lambda: fitted.take(None), TypeError, ["array-like"])
        refusal(lambda: fitted.take(3), TypeError, ["array-like"])

    def test_refit_with_fewer_columns_forgets_the_first(self):
        pruner = head_pruner(keep=0.4).fit(NAMED, Y)
        pruner.fit(X[:100, :2], Y[:100])
        assert pruner.n_features_in_ == 2
        assert not hasattr(pruner, "feature_names_in_")
        assert len(pruner.scores_) == len(pruner.keep_mask_) == 100
        refusal(lambda: pruner.transform(X), ValueError, ["4 features", "expecting 2"])

    def test_refit_for_numbers_forgets_the_classes(self):
        pruner = head_pruner(keep=0.4).fit(X, Y)
        assert not hasattr(pruner.fit(D, T), "classes_")

    def test_a_fit_that_fails_changes_no_rows(self):
        pruner = head_pruner(keep=0.4).fit(X, Y)
        before = pruner.sample_indices_
        with pytest.raises(ValueError, match="infinity"):
            pruner.fit(spoil(X, np.inf), Y)
        np.testing.assert_array_equal(pruner.sample_indices_, before)


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        ([150], ["within 0 .. 149", "150"]),
        ([-151], ["within 0 .. 149", "-151"]),
        (range(150), ["removing all rows", "leave out fewer"]),
        ([True] * 150, ["removing all rows"]),
        ([True] * 3, ["mask has 3 entries", "150 rows"]),
        ([0.5, 1.0], ["integers or a mask", "float64"]),
        (["a"], ["integers or a mask", "<U1"]),
        ([[1, 2]], ["one-dimensional", r"\(1, 2\)"]),
        (3, ["one-dimensional", r"\(\)"]),
        (None, ["one-dimensional"]),
    ],
    ids=str,
)
def test_group_influence(fitted, rows, words):
    refusal(lambda: fitted.group_influence(rows), ValueError, words)


COMPOSED = {
    "no estimator": (
        lambda: PrunedClassifier(None).fit(X, Y), InvalidParameterError,
        ["'estimator' parameter of PrunedClassifier", "'fit' and 'predict'", "Got None"]),
    "an estimator's class": (
        lambda: PrunedClassifier(LogisticRegression).fit(X, Y), TypeError, ["instance", "class"]),
    "no pruner": (
        lambda: PrunedRegressor(Ridge(), "influence").fit(D, T), InvalidParameterError,
        ["'pruner' parameter of PrunedRegressor", "'fit' and 'take'", "Got 'influence'"]),
    "a sampler's pruner": (
        lambda: PruningSampler(StandardScaler()).fit_resample(X, Y), InvalidParameterError,
        ["'pruner' parameter of PruningSampler", r"Got StandardScaler\(\)"]),
    "numbers for PrunedClassifier": (
        lambda: PrunedClassifier(LogisticRegression()).fit(D, T), ValueError,
        ["Unknown label type: continuous"]),
    "words for PrunedRegressor": (
        lambda: PrunedRegressor(Ridge()).fit(X, WORDS), ValueError,
        ["model is a regressor", "labels such as setosa"]),
    "NaN": (
        lambda: PrunedClassifier(LogisticRegression()).fit(spoil(X, np.nan), Y), ValueError,
        ["Input X contains NaN"]),
    "no targets": (
        lambda: PrunedClassifier(LogisticRegression()).fit(X, None), ValueError,
        ["requires y to be passed"]),
    "no targets for the sampler": (
        lambda: PruningSampler().fit_resample(X, None), ValueError, ["requires y to be passed"]),
    "an unknown keyword": (
        lambda: PrunedClassifier(LogisticRegression()).fit(X, Y, colour=1), TypeError,
        [r"LogisticRegression\.fit takes no 'colour'", "leave it out"]),
    "fewer weights": (
        lambda: PrunedClassifier(LogisticRegression()).fit(X, Y, sample_weight=ONES[:3]),
        ValueError, [r"sample_weight.shape == \(3,\)"]),
    "too many rows to keep": (
        lambda: PrunedClassifier(LogisticRegression(), StratifiedRandom(151)).fit(X, Y), ValueError,
        ["keep=151 is more than the 150 rows"]),
    "targets of another length": (
        lambda: StratifiedRandom(0.5).fit(X[:3], Y), ValueError, [r"\[3, 150\]"]),
}  # fmt: skip


@pytest.mark.parametrize("case", COMPOSED.items(), ids=lambda case: case[0])
def test_composed(case):
    refusal(*case[1])


def test_other_columns_at_prediction_time():
    pruned = PrunedClassifier(LogisticRegression(max_iter=500), StratifiedRandom(0.5)).fit(X, Y)
    refusal(lambda: pruned.predict(X[:, :2]), ValueError, ["2 features", "expecting 4"])
