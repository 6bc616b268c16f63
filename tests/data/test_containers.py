"""What comes in comes out: every container, and tables with columns that are not numbers."""

from __future__ import annotations

import sys
import textwrap
import warnings

import numpy as np
import pandas as pd
import polars as pl
import polars.testing
import pytest
import scipy.sparse as sp
import torch
from cases.pruners import head_pruner, make_pruner
from numpy.testing import assert_array_equal
from sklearn.compose import make_column_transformer
from sklearn.datasets import load_iris
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler

from skprune import InfluencePruner, PrunedClassifier, PruningSampler
from skprune.baselines import HighestLoss, StratifiedRandom
from skprune.heads.advice import advised_fit

X, Y = load_iris(return_X_y=True)
NAMES = ["sepal length", "sepal width", "petal length", "petal width"]
WORDS = np.array(["setosa", "versicolor", "virginica"])[Y]
SPARSE = ["csr", "csc", "coo", "bsr", "dia", "dok", "lil"]


def prune(data, target, **params):
    """A fitted pruner and what it returned."""
    pruner = make_pruner(**{"keep": 0.4, "random_state": 0, **params})
    return pruner, *pruner.fit_transform(data, target)


@pytest.fixture(scope="module")
def expected():
    """The rows that are kept of the plain array: what the container is makes no difference."""
    return head_pruner(keep=0.4, random_state=0).fit(X, Y).sample_indices_


@pytest.fixture
def frame():
    return pd.DataFrame(X, columns=NAMES, index=[f"flower {i}" for i in range(len(X))])


class TestArrays:
    @pytest.mark.parametrize("dtype", ["float64", "float32", "int64", ">f8"])
    def test_dtypes(self, dtype, expected):
        data = np.round(10 * X).astype(dtype)  # the same numbers in every dtype
        pruner, X_kept, y_kept = prune(data, Y)
        assert (type(X_kept), X_kept.dtype) == (np.ndarray, data.dtype)
        assert_array_equal(X_kept, data[pruner.sample_indices_])
        assert_array_equal(y_kept, Y[pruner.sample_indices_])
        assert_array_equal(pruner.sample_indices_, expected)  # the head standardises

    @pytest.mark.parametrize(
        "data",
        [X.astype(np.float16), X.mean(0) < X, X[:, ::-1], X[::-1].T.T],
        ids=["float16", "bool", "columns reversed", "rows reversed"],
    )
    def test_narrow_and_strided(self, data):
        pruner, X_kept, _ = prune(data, Y)
        assert X_kept.dtype == data.dtype
        assert_array_equal(X_kept, data[pruner.sample_indices_])
        assert np.all(np.isfinite(pruner.scores_))

    def test_float16_does_not_overflow(self):
        """60000 is finite in float16, its square is not."""
        data = np.hstack([X, 60000 * (X[:, :1] > 5)]).astype(np.float16)
        wide = prune(data.astype(np.float64), Y)[0]
        assert_array_equal(prune(data, Y)[0].sample_indices_, wide.sample_indices_)

    def test_blocks_of_rows(self, expected):
        images = X.reshape(150, 2, 2, 1)
        pruner, X_kept, _ = prune(images, Y)
        assert X_kept.shape == (60, 2, 2, 1)
        assert_array_equal(pruner.sample_indices_, expected)
        assert_array_equal(pruner.transform(images), X_kept)

    def test_memory_map(self, tmp_path, expected):
        np.save(tmp_path / "X.npy", X)
        mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
        pruner, X_kept, _ = prune(mapped, Y)
        assert_array_equal(pruner.sample_indices_, expected)
        assert_array_equal(X_kept, X[expected])

    def test_read_only(self, expected):
        data, target = X.copy(), Y.copy()
        data.flags.writeable = target.flags.writeable = False
        assert_array_equal(prune(data, target)[0].sample_indices_, expected)

    def test_nothing_is_written_to_the_callers_rows(self):
        data, target, weights = X.copy(), Y.copy(), np.linspace(1, 2, 150)
        before = weights.copy()
        head_pruner(keep=0.4).fit(data, target, sample_weight=weights)
        assert_array_equal(data, X)
        assert_array_equal(target, Y)
        assert_array_equal(weights, before)

    def test_lists_and_tuples(self, expected):
        pruner, X_kept, y_kept = prune(X.tolist(), Y.tolist())
        assert_array_equal(pruner.sample_indices_, expected)
        assert X_kept == [X[i].tolist() for i in expected]
        assert y_kept == [int(Y[i]) for i in expected]
        rows = tuple(map(tuple, X.tolist()))
        _, X_kept, y_kept = prune(rows, tuple(Y.tolist()))
        assert X_kept == tuple(rows[i] for i in expected)
        assert isinstance(y_kept, tuple)

    def test_an_object_with_nothing_but_an_array(self, expected):
        class Rows:
            def __init__(self, values):
                self.values = values

            def __array__(self, dtype=None, copy=None):
                return np.array(self.values, dtype=dtype)

        _, X_kept, y_kept = prune(Rows(X), Rows(Y))
        assert_array_equal(X_kept, X[expected])
        assert_array_equal(y_kept, Y[expected])


class TestTargets:
    @pytest.mark.parametrize(
        "target",
        [
            WORDS,
            WORDS.astype(object),
            WORDS.tolist(),
            Y.astype(float),
            Y.astype(np.uint8),
            pd.Series(WORDS),
            pd.Series(WORDS, dtype="category"),
            pd.Series(WORDS, dtype="string"),
            pd.Series(WORDS, dtype="string[pyarrow]"),
            pd.Series(Y, dtype="Int64"),
            pl.Series(WORDS),
            pl.Series(WORDS, dtype=pl.Categorical),
            pl.Series(Y),
            torch.from_numpy(Y),
        ],
        ids=lambda y: f"{type(y).__module__}.{type(y).__name__} {getattr(y, 'dtype', '')}",
    )
    def test_labels(self, target, expected):
        pruner, _, y_kept = prune(X, target)
        assert_array_equal(pruner.sample_indices_, expected)
        assert type(y_kept) is type(target)
        assert getattr(y_kept, "dtype", None) == getattr(target, "dtype", None)
        kept = [target[int(i)] for i in expected]
        assert list(y_kept) == kept
        assert len(pruner.classes_) == 3

    def test_the_report_shows_the_callers_labels(self):
        pruner, _, _ = prune(X, WORDS)
        assert [count.label for count in pruner.report_.classes] == sorted(set(WORDS))
        assert "versicolor" in str(pruner.report_)

    def test_booleans(self):
        pruner, _, y_kept = prune(X, Y == 1)
        assert y_kept.dtype == bool
        assert_array_equal(pruner.classes_, [False, True])

    def test_a_column_is_taken_as_a_vector_with_a_warning(self, expected):
        with pytest.warns(Warning, match="column-vector y was passed"):
            pruner, _, y_kept = prune(X, Y[:, None])
        assert_array_equal(pruner.sample_indices_, expected)
        assert y_kept.shape == (60, 1)

    def test_numbers_in_polars(self):
        pruner, X_kept, y_kept = prune(
            pl.DataFrame(X[:, :3]), pl.Series("width", X[:, 3]), max_gap=1
        )
        assert pruner.report_.classes == ()
        assert y_kept.name == "width"
        assert X_kept.height == len(y_kept) == 60


class TestPandas:
    def test_index_and_dtypes(self, frame, expected):
        frame = frame.astype({"sepal width": "float32"})
        frame["petal length"] = (10 * frame["petal length"]).round().astype("int16")
        target = pd.Series(WORDS, index=frame.index, name="species", dtype="category")
        pruner, X_kept, y_kept = prune(frame, target)
        pd.testing.assert_frame_equal(X_kept, frame.iloc[pruner.sample_indices_])
        pd.testing.assert_series_equal(y_kept, target.iloc[pruner.sample_indices_])
        assert list(y_kept.cat.categories) == sorted(set(WORDS))
        assert list(pruner.feature_names_in_) == NAMES

    @pytest.mark.parametrize(
        "index",
        [
            np.zeros(150, dtype=int),
            np.arange(150)[::-1],
            pd.date_range("2020", periods=150),
            pd.MultiIndex.from_product([range(15), range(10)]),
        ],
        ids=["equal", "reversed", "dates", "two levels"],
    )
    def test_any_index(self, index, expected):
        """Rows are taken by position, whatever their labels are."""
        frame = pd.DataFrame(X, index=index)
        pruner, X_kept, y_kept = prune(frame, pd.Series(Y, index=index))
        assert_array_equal(pruner.sample_indices_, expected)
        pd.testing.assert_frame_equal(X_kept, frame.iloc[expected])
        assert_array_equal(y_kept.to_numpy(), Y[expected])

    def test_nullable_dtypes(self, frame, expected):
        nullable = frame.astype("Float64")
        nullable["big"] = (nullable["petal width"] > 1).astype("boolean")
        nullable["count"] = pd.Series(np.round(X[:, 0]), index=frame.index).astype("Int64")
        pruner, X_kept, _ = prune(nullable, pd.Series(Y, index=frame.index, dtype="Int64"))
        pd.testing.assert_frame_equal(X_kept, nullable.iloc[pruner.sample_indices_])
        assert_array_equal(prune(frame.astype("Float64"), Y)[0].sample_indices_, expected)

    def test_nullable_dtypes_with_a_missing_value(self, frame):
        frame = frame.astype("Float64")
        frame.iloc[3, 1] = pd.NA
        with pytest.raises(ValueError, match="contains NaN"):
            prune(frame, Y, model=LogisticRegression())
        pruner, X_kept, _ = prune(frame, Y)
        pd.testing.assert_frame_equal(X_kept, frame.iloc[pruner.sample_indices_])

    def test_arrow_and_sparse_dtypes(self, frame, expected):
        for table in (
            frame.astype("double[pyarrow]"),
            frame.astype(pd.SparseDtype(float, 0.0)),
        ):
            pruner, X_kept, _ = prune(table, Y)
            assert_array_equal(pruner.sample_indices_, expected)
            pd.testing.assert_frame_equal(X_kept, table.iloc[expected])

    def test_numbered_columns_have_no_names(self):
        assert not hasattr(prune(pd.DataFrame(X), Y)[0], "feature_names_in_")

    def test_transform_wants_the_fitted_columns(self, frame):
        pruner, _, _ = prune(frame, Y)
        with pytest.raises(ValueError, match="Feature names must be in the same order"):
            pruner.transform(frame[NAMES[::-1]])


class TestPolars:
    def test_frame_and_series(self, expected):
        frame = pl.DataFrame(X, schema=NAMES).with_columns(pl.col("petal width").cast(pl.Float32))
        target = pl.Series("species", WORDS)
        pruner, X_kept, y_kept = prune(frame, target)
        rows = pruner.sample_indices_.tolist()
        polars.testing.assert_frame_equal(X_kept, frame[rows])
        polars.testing.assert_series_equal(y_kept, target[rows])
        polars.testing.assert_frame_equal(pruner.transform(frame), X_kept)
        assert list(pruner.feature_names_in_) == NAMES

    def test_booleans_are_numbers(self):
        frame = pl.DataFrame(X, schema=NAMES).with_columns(big=pl.col("petal width") > 1)
        pruner, X_kept, _ = prune(frame, Y)
        assert X_kept.schema["big"] == pl.Boolean
        assert pruner.n_features_in_ == 5


class TestSparse:
    @pytest.mark.parametrize("kind", ["matrix", "array"])
    @pytest.mark.parametrize("form", SPARSE)
    def test_every_format(self, form, kind, expected):
        data = getattr(sp, f"csr_{kind}")(X).asformat(form)
        pruner, X_kept, _ = prune(data, Y)
        assert type(X_kept) is type(data)
        assert_array_equal(X_kept.toarray(), X[pruner.sample_indices_])
        assert_array_equal(pruner.sample_indices_, expected)
        assert_array_equal(pruner.transform(data).toarray(), X_kept.toarray())

    @pytest.mark.parametrize("budget", [{"keep": 0.3}, {"max_gap": 0.05}])
    @pytest.mark.parametrize("curvature", ["dense", "ekfac", "diagonal"])
    def test_never_dense(self, budget, curvature, monkeypatch):
        """Only a few rows at a time (features x features at most) become dense."""
        n, d, chunk = 2000, 60, 4096
        for name, module in list(sys.modules.items()):
            if name.startswith("skprune.") and hasattr(module, "CHUNK_NUMBERS"):
                monkeypatch.setattr(module, "CHUNK_NUMBERS", chunk)
        largest = [0]

        def spy(method):
            def spied(self, *args, **kwargs):
                largest[0] = max(largest[0], np.prod(self.shape))
                return method(self, *args, **kwargs)

            return spied

        for container in (sp.csr_matrix, sp.csr_array, sp.csc_matrix, sp.coo_matrix):
            for name in ("toarray", "todense"):
                monkeypatch.setattr(container, name, spy(getattr(container, name)))
        data = sp.random(n, d, density=0.05, format="csr", random_state=0)
        target = np.where(data @ np.random.default_rng(0).normal(size=d) > 0, "yes", "no")
        _, X_kept, _ = prune(data, target, curvature=curvature, **{"keep": None, **budget})
        assert sp.issparse(X_kept)
        # The polishing step of the search takes 2 x 128 rows, or twice that, at once.
        assert 0 < largest[0] <= max(chunk, (d + 1) ** 2, 4 * 128 * (d + 1)) < n * d / 3

    def test_sparse_and_dense_rows_agree_without_an_intercept_shift(self):
        """Sparse rows are scaled but not centred, which a model of one's own leaves out."""
        model = LogisticRegression(C=1.0)
        dense, sparse = (prune(data, Y, model=model)[0] for data in (X, sp.csr_matrix(X)))
        assert_array_equal(dense.sample_indices_, sparse.sample_indices_)
        np.testing.assert_allclose(dense.scores_, sparse.scores_, rtol=1e-4, atol=1e-8)


class TestTorch:
    @pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16])
    def test_tensors(self, dtype):
        data, target = torch.from_numpy(X).to(dtype), torch.from_numpy(Y)
        pruner, X_kept, y_kept = prune(data, target)
        rows = torch.from_numpy(pruner.sample_indices_)
        assert X_kept.dtype == dtype
        assert torch.equal(X_kept, data[rows])
        assert torch.equal(y_kept, target[rows])
        assert torch.equal(pruner.transform(data), X_kept)

    def test_images_with_a_graph(self, expected):
        data = torch.tensor(X, requires_grad=True).reshape(150, 1, 2, 2)
        pruner, X_kept, _ = prune(data, torch.from_numpy(Y))
        assert X_kept.shape == (60, 1, 2, 2)
        assert_array_equal(pruner.sample_indices_, expected)


class TestTake:
    def test_several_arrays(self, expected):
        pruner = prune(X, Y)[0]
        ids = [f"id {i}" for i in range(150)]
        weights, groups = np.linspace(0, 1, 150), pd.Series(np.arange(150) // 3)
        taken = pruner.take(
            ids, weights, groups, sp.csr_matrix(X), pl.Series(ids), torch.arange(150)
        )
        assert type(taken) is tuple
        assert taken[0] == [ids[i] for i in expected]
        assert_array_equal(taken[1], weights[expected])
        pd.testing.assert_series_equal(taken[2], groups.iloc[expected])
        assert_array_equal(taken[3].toarray(), X[expected])
        assert taken[4].to_list() == taken[0]
        assert taken[5].tolist() == expected.tolist()

    def test_one_array_comes_back_alone(self, expected):
        pruner = prune(X, Y)[0]
        assert_array_equal(pruner.take(Y), Y[expected])
        assert_array_equal(pruner.take(np.zeros((150, 3, 2))), np.zeros((60, 3, 2)))

    def test_a_table_that_was_never_numbers(self, expected):
        raw = pd.DataFrame({"name": WORDS, "photo": [b"..."] * 150})
        pd.testing.assert_frame_equal(prune(X, Y)[0].take(raw), raw.iloc[expected])

    def test_all_pruners_take(self):
        for pruner in (StratifiedRandom(0.2, random_state=0), HighestLoss(0.2)):
            X_kept, y_kept = pruner.fit_transform(X, WORDS)
            assert_array_equal(X_kept, pruner.take(X))
            assert_array_equal(y_kept, pruner.take(WORDS))
            assert_array_equal(np.flatnonzero(pruner.keep_mask_), pruner.sample_indices_)


@pytest.fixture(scope="module")
def people():
    """Text, categories, numbers and a flag; the target depends on all of them."""
    rng = np.random.default_rng(0)
    n = 400
    table = pd.DataFrame(
        {
            "age": rng.integers(18, 80, n),
            "city": rng.choice(["Bern", "Lyon", "Turin"], n),
            "job": pd.Categorical(rng.choice(["cook", "nurse"], n), categories=["nurse", "cook"]),
            "member": rng.random(n) < 0.5,
            "income": rng.lognormal(10, 0.5, n),
        },
        index=[f"person {i}" for i in range(n)],
    )
    score = table["age"] / 20 + (table["city"] == "Lyon") - 2 * table["member"] + rng.normal(size=n)
    return table, pd.Series(np.where(score > 2, "yes", "no"), index=table.index, name="buys")


class TestTextColumns:
    def containers(self, people):
        table, target = people
        frame = pl.DataFrame(
            {name: table[name].to_numpy() for name in table.columns if name != "job"}
        )
        frame = frame.with_columns(
            pl.Series("job", table["job"].astype(str).tolist()).cast(pl.Enum(["nurse", "cook"]))
        )
        return {"pandas": (table, target), "polars": (frame, pl.Series(target.to_numpy()))}

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    @pytest.mark.parametrize(
        "way",
        [
            InfluencePruner(model=LogisticRegression()),
            HighestLoss(model=LogisticRegression()),
            PrunedClassifier(LogisticRegression()),
            PruningSampler(InfluencePruner(model=LogisticRegression())),
        ],
        ids=lambda way: type(way).__name__,
    )
    def test_the_error_names_the_columns_and_the_cure(self, library, way, people):
        table, target = self.containers(people)[library]
        with pytest.raises(
            ValueError, match=r"2 of 5 columns .* city \(.*\), job \(.*\)\."
        ) as caught:
            way.fit(table, target)
        text = str(caught.value)
        assert "OneHotEncoder" in text
        assert "model=make_pipeline(encode, LogisticRegression())" in text

    @staticmethod
    def code_in(error):
        """The indented lines of a message."""
        lines = str(error).split("\n")
        return textwrap.dedent("\n".join(line for line in lines if line.startswith("    ")))

    @pytest.mark.parametrize("library", ["pandas", "polars"])
    def test_the_advice_prunes_the_raw_table(self, library, people):
        """The lines of the message are run as they stand."""
        table, target = self.containers(people)[library]
        with pytest.raises(ValueError, match="not numbers") as caught:
            InfluencePruner(model=LogisticRegression()).fit(table, target)
        *code, pruned, encoded = self.code_in(caught.value).split("\n")
        names = {"X": table, "y": target}
        names |= {"InfluencePruner": InfluencePruner, "LogisticRegression": LogisticRegression}
        exec("\n".join(code), names)  # the package's own text
        X_kept, y_kept = eval(pruned, names)
        assert type(X_kept) is type(table)
        assert len(X_kept) == len(y_kept) < len(table)
        assert eval(encoded, names).X.shape[1] == 3 + 2 + 3

    @pytest.mark.parametrize("model", [LogisticRegression(), HistGradientBoostingClassifier()])
    def test_the_advice_takes_dates_and_gaps(self, model, people):
        """As it stands, for a linear model and for one that is fitted to the raw table itself."""
        pytest.importorskip("skrub")
        table, target = people
        table = table.assign(since=pd.date_range("2020", periods=len(table)))
        table.loc[::7, table.columns[0]] = np.nan
        pruner = InfluencePruner(max_gap=0.5, model=model)
        with pytest.raises((TypeError, ValueError), match=r"3 of 6 columns .*since") as caught:
            pruner.fit(table, target)
        names = {"X": table, "y": target, "InfluencePruner": InfluencePruner}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # skrub guesses the format of no date here
            exec(self.code_in(caught.value), names | {type(model).__name__: type(model)})

    def test_a_model_around_a_pruner_is_advised_as_well(self, people):
        """With ``keep`` it is fitted to the kept rows only, after the pruner."""
        table = people[0].assign(since=pd.date_range("2020", periods=len(people[0])))
        model = PrunedClassifier(HistGradientBoostingClassifier(), InfluencePruner(keep=0.5))
        with pytest.raises(
            (TypeError, ValueError), match=r"to 200 rows: .*\n3 of 6 columns.*since"
        ):
            model.fit(table, people[1])

    @pytest.mark.parametrize(("column", "said"), [("city", True), ("since", False)])
    def test_categories_are_advised_where_there_are_words(self, people, column, said):
        table = people[0].assign(since=pd.date_range("2020", periods=len(people[0])))
        rows = table.drop(columns=[c for c in ("city", "job", "since") if c != column])
        with (
            pytest.raises(ValueError, match="not numbers") as caught,
            advised_fit(HistGradientBoostingClassifier(), rows),
        ):
            raise ValueError("could not convert")
        assert ('dtype "category"' in str(caught.value)) == said

    @pytest.mark.parametrize(
        "kind", [pd.DataFrame, lambda columns: np.column_stack([*columns.values()])]
    )
    def test_columns_that_lost_all_their_values(self, kind):
        """Few rows may have none of a rare value, which not all models take."""
        rows = kind({"a": [1.0, 2.0], "rare": [np.nan, np.nan], "b": [np.nan, 1.0]})
        with (
            pytest.raises(
                ValueError, match=r"empty\nNone of these rows has a value in (rare|column 1):"
            ),
            advised_fit(LogisticRegression(), rows),
        ):
            raise ValueError("empty")

    def test_the_raw_table_comes_back_untouched(self, people):
        table, target = people
        encode = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["city", "job"]), remainder=StandardScaler()
        )
        model = make_pipeline(encode, LogisticRegression())
        pruner, X_kept, y_kept = prune(table, target, model=model)
        pd.testing.assert_frame_equal(X_kept, table.iloc[pruner.sample_indices_])
        pd.testing.assert_series_equal(y_kept, target.iloc[pruner.sample_indices_])
        assert list(X_kept["job"].cat.categories) == ["nurse", "cook"]
        assert list(pruner.feature_names_in_) == list(table.columns)
        assert not hasattr(encode, "transformers_")  # the caller's Pipeline is not fitted
        pd.testing.assert_frame_equal(pruner.transform(table), X_kept)

    def test_encoding_inside_and_outside_agree(self, people):
        table, target = people
        encode = make_column_transformer(
            (OneHotEncoder(), ["city", "job"]), remainder=StandardScaler()
        )
        plain = LogisticRegression(C=2.0)
        whole = np.arange(len(table))
        params = {"X_val": table[300:], "y_val": target[300:]}
        inside = InfluencePruner(keep=0.4, model=make_pipeline(encode, plain))
        inside.fit(table[:300], target[:300], **params)
        encode.fit(table[:300])
        outside = InfluencePruner(keep=0.4, model=plain).fit(
            encode.transform(table[:300]),
            target[:300],
            X_val=encode.transform(table[300:]),
            y_val=target[300:],
        )
        assert_array_equal(inside.take(whole[:300]), outside.take(whole[:300]))

    def test_a_raw_table_around_an_estimator(self, people):
        table, target = people
        encode = make_column_transformer(
            (OneHotEncoder(handle_unknown="ignore"), ["city", "job"]), remainder=StandardScaler()
        )
        model = make_pipeline(encode, LogisticRegression())
        pruned = PrunedClassifier(model, InfluencePruner(keep=0.5, model=model)).fit(table, target)
        assert pruned.score(table, target) > 0.75

    def test_dates_are_not_numbers(self):
        table = pd.DataFrame({"x": X[:, 0], "day": pd.date_range("2020", periods=150)})
        with pytest.raises(ValueError, match=r"1 of 2 columns are not numbers: day \(datetime64"):
            InfluencePruner(model=LogisticRegression()).fit(table, Y)

    def test_many_text_columns_are_not_all_listed(self):
        table = pd.DataFrame({f"c{i}": WORDS for i in range(30)})
        with pytest.raises(ValueError, match=r"30 of 30 columns .*c7 \(.*\), \.\.\.\. "):
            InfluencePruner(model=LogisticRegression()).fit(table, Y)

    @pytest.mark.parametrize("container", [np.array, list])
    def test_an_array_with_words(self, container):
        """No columns with names: they are named by position."""
        rows = container([[number, word] for number, word in zip(X[:, 0], WORDS, strict=True)])
        with pytest.raises(ValueError, match="could not convert string to float") as caught:
            head_pruner().fit(rows, Y)
        assert '(OneHotEncoder(handle_unknown="ignore"), [' in str(caught.value)
