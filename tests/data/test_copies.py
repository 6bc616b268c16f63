"""Rows that are copies of each other: found in any container, and on one side of every split."""

from __future__ import annotations

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from cases.heads import make_problem
from cases.pruners import head_pruner
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder

from skprune import InfluencePruner
from skprune.data.copies import find_copies
from skprune.data.matrix import MatrixRows
from skprune.data.table import hold_out
from skprune.evaluation.held_out import HeldOut
from skprune.evaluation.retrained import Data, make_retraining
from skprune.heads.reading import read_table


def unsorted(X):
    """A CSR matrix that holds its zeros as well, and the entries of every other row backwards."""
    columns = np.tile(np.arange(X.shape[1]), (len(X), 1))
    columns[::2] = columns[::2, ::-1]
    ends = np.arange(len(X) + 1) * X.shape[1]
    numbers = np.take_along_axis(X, columns, axis=1)
    return sp.csr_matrix((numbers.ravel(), columns.ravel(), ends), shape=X.shape)


def signed(X):
    """The same numbers with zeros of either sign."""
    return np.where(X == 0, np.where(np.arange(len(X)) % 2, 0.0, -0.0)[:, None], X)


def words(X):
    return np.array(["ash", "birch", None], dtype=object)[X.astype(int)]


FORMS = {
    "rows": MatrixRows,
    "float32": lambda X: MatrixRows(X.astype(np.float32)),
    "zeros of either sign": lambda X: MatrixRows(signed(X)),
    "integers": lambda X: X.astype(np.int64),
    "csr": sp.csr_matrix,
    "csr, in any order": unsorted,
    "blocks": lambda X: torch.from_numpy(X.reshape(len(X), 2, 2)),
    "pandas": lambda X: pd.DataFrame(X).assign(word=words(X[:, 0]), missing=np.nan),
    "categories": lambda X: pd.DataFrame(words(X)).astype("category"),
    "polars": lambda X: pl.DataFrame(
        {c: words(x).tolist() for c, x in zip("abcd", X.T, strict=True)}
    ),
    "lists": lambda X: [[*map(str, row), None] for row in X],
    "words": lambda X: [" ".join(map(str, row)) for row in X],
    "series": lambda X: pd.Series([" ".join(map(str, row)) for row in X]),
}


@pytest.mark.parametrize("form", FORMS)
def test_copies_are_found_in_any_container(form, rng):
    X = rng.integers(0, 3, (200, 4)).astype(float)
    truth = np.unique(X, axis=0, return_inverse=True)[1]
    copies = find_copies(FORMS[form](X))
    np.testing.assert_array_equal(
        copies.identity[:, None] == copies.identity, truth[:, None] == truth
    )
    distinct = np.sort(np.unique(X, axis=0, return_index=True)[1])
    assert find_copies(FORMS[form](X[distinct])) is None


@pytest.mark.parametrize(
    "images", [[np.zeros((2, 2))] * 3, [[np.zeros(2)], [np.zeros(2)]], object()]
)
def test_what_is_not_cheaply_compared_has_no_copies(images):
    assert find_copies(images) is None


def former(codes, seed, fraction=0.2):
    """The split of rows without copies: shuffled, and the first of every class in proportion."""
    order = np.random.default_rng([seed, 2]).permutation(len(codes))
    share = [order[codes[order] == c] for c in np.unique(codes)]
    return np.sort(np.concatenate([s[: round(fraction * len(s))] for s in share]))


@pytest.mark.parametrize("binary", [False, True])
def test_rows_without_copies_and_common_values_are_split_row_by_row(binary, rng):
    X = rng.normal(size=(1000, 3))
    X = (X > 0).astype(float) if binary else X
    y = np.repeat([0, 1, 2], [500, 400, 100])
    table, _ = read_table(head_pruner(), X, y, None, None)
    assert (table.copies is not None) == binary
    for seed in range(3):
        np.testing.assert_array_equal(np.sort(hold_out(table, 0.2, None, seed)[1]), former(y, seed))
    if binary:
        said = table.copies.note()[1]
        assert "992 of 1,000 rows equal" in said
        assert "992 are values so common" in said


@pytest.mark.parametrize("relabelled", [False, True])
@pytest.mark.parametrize("convert", [np.asarray, np.float32, sp.csr_matrix])
def test_copies_are_held_out_together_whatever_their_labels(convert, relabelled, rng):
    source = rng.integers(0, 300, 1500)
    labels = np.repeat([0, 1, 2], [200, 90, 10])
    y = rng.permutation(labels[source]) if relabelled else labels[source]
    table, _ = read_table(head_pruner(), convert(rng.normal(size=(300, 4))[source]), y, None, None)
    for seed in range(5):
        inner, outer = hold_out(table, 0.2, None, seed)
        np.testing.assert_array_equal(np.sort(np.append(inner, outer)), np.arange(1500))
        assert not np.intersect1d(source[inner], source[outer]).size
        assert len(np.unique(y[inner])) == 3
        # Classes keep their shares up to whole sets of copies.
        np.testing.assert_allclose(np.bincount(y[outer]), 0.2 * np.bincount(y), atol=25)
    together = 1500 - len(np.unique(source))
    assert f"{together:,} of them are held out with it" in table.copies.note()[1]


def test_groups_go_before_copies(rng):
    X, y, groups = (
        np.tile(rng.normal(size=(40, 2)), (10, 1)),
        rng.integers(0, 2, 400),
        np.arange(400),
    )
    table, _ = read_table(head_pruner(), X, y, None, None)
    _, outer = hold_out(table, 0.2, groups // 40, 0)
    assert np.bincount(outer % 40).tolist() == [2] * 40


def test_a_standard_error_counts_copies_once(rng):
    problem = make_problem("sigmoid", n=60, weighted=False)
    heads = [torch.from_numpy(rng.normal(size=problem.theta_shape)) for _ in range(2)]
    copied, units = problem.subset(torch.arange(60).repeat(5)), np.tile(np.arange(60), 5)

    def score(Z):
        return lambda rows: float((Z[rows, 0] > 0).double().mean())

    for scorer in (None, score):
        once = HeldOut(problem, 1.0, "named", scorer).gap(*heads, "refit")
        more = HeldOut(copied, 1.0, "named", scorer, units).gap(*heads, "refit")
        assert float(more) == pytest.approx(float(once), rel=1e-9)
        assert more.standard_error == pytest.approx(once.standard_error, rel=1e-9)


@pytest.mark.parametrize("scoring", ["loss", "neg_mean_absolute_error"])
def test_a_retrained_standard_error_counts_copies_once(scoring, rng):
    X = rng.normal(size=(160, 3))
    y = X[:, 0] + rng.normal(size=160)
    train, units = Data(X[:100], y[:100]), np.repeat(np.arange(60), 5)
    held = [Data(X[100:], y[100:]), Data(X[100:][units], y[100:][units], units=units)]
    once, more = (
        make_retraining(Ridge(), train, h, scoring=scoring).trial(np.arange(10)).gap for h in held
    )
    assert float(more) == pytest.approx(float(once), rel=1e-9)
    assert more.standard_error == pytest.approx(once.standard_error, rel=1e-9)


def test_ten_copies_of_each_row_do_not_hide_the_gap():
    errors = []
    for seed in range(12):
        rng = np.random.default_rng(seed)
        X, theta = rng.normal(size=(5300, 20)), rng.normal(size=20)
        y = (X @ theta / 2 + rng.logistic(size=5300) > 0).astype(int)
        rows = np.repeat(np.arange(300), 10)
        pruner = InfluencePruner(keep=0.012, model=LogisticRegression(), random_state=seed)
        pruner.fit(X[rows], y[rows])
        losses = [
            log_loss(y[300:], LogisticRegression().fit(X[r], y[r]).predict_proba(X[300:]))
            for r in (rows, rows[pruner.sample_indices_])
        ]
        errors.append((pruner.gap_ - (losses[1] - losses[0])) / pruner.gap_.standard_error)
    assert dict(pruner.report_.notes)["copies"].startswith("2,700 of 3,000 rows equal")
    # Row by row the mean is 3 and the spread 2.
    assert abs(np.mean(errors)) < 1.0
    assert np.std(errors) < 1.7


def test_copies_of_a_frame_that_a_pipeline_encodes(rng):
    source = rng.integers(0, 80, 400)
    frame = pd.DataFrame({"a": rng.choice(list("abcdefgh"), 80), "b": rng.normal(size=80)})
    frame["b"] = frame["b"].astype(str)
    model = make_pipeline(OneHotEncoder(handle_unknown="ignore"), LogisticRegression())
    pruner = InfluencePruner(keep=0.5, model=model, random_state=0)
    pruner.fit(frame.iloc[source], rng.integers(0, 2, 400))
    distinct = len(np.unique(source))
    assert f"{400 - distinct} of 400 rows equal" in dict(pruner.report_.notes)["copies"]
