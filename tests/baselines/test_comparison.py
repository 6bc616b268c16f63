"""``compare``: fair, resumable, the same in parallel, and drawn."""

from __future__ import annotations

import json
import time

import numpy as np
import pandas as pd
import pytest
import torch
from cases.modules import blobs, mlp, trained_mlp
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_digits, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge, RidgeClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from skorch import NeuralNetClassifier
from torch import nn
from torch.utils.data import TensorDataset

import skprune
from skprune import InfluencePruner, LinearProxy, TorchProxy
from skprune.baselines import (
    EL2N,
    STRATEGIES,
    GradMatch,
    Herding,
    Strategy,
    TrainingDynamics,
    compare,
    evidence,
)
from skprune.baselines.comparison import Task

X, y = make_classification(300, 6, n_informative=4, n_redundant=0, random_state=0)
RANDOM = {"random", "stratified random"}


@pytest.fixture
def trainings(monkeypatch):
    """The weights of all trainings that are made."""
    found, train = [], Task.train

    def counted(self, rows, weights, seed):
        found.append(weights)
        return train(self, rows, weights, seed)

    monkeypatch.setattr(Task, "train", counted)
    return found


def scores(found):
    return [cell["score"] for cell in found.cells]


def test_every_cell_is_a_training_on_the_kept_rows():
    val = make_classification(100, 6, n_informative=4, n_redundant=0, random_state=1)
    found = compare(
        X, y, [EL2N(), "herding"], [0.1, 40], estimator=Ridge(), seeds=[3, 4],
        X_val=val[0], y_val=val[1], scoring="r2",
    )  # fmt: skip
    frame = found.to_frame()
    assert list(frame.columns) == [
        "strategy", "keep", "seed", "n_kept", "score", "selection_seconds", "training_seconds"
    ]  # fmt: skip
    assert set(frame.strategy) == {"all rows", "EL2N", "herding", *RANDOM}
    assert frame.groupby(["strategy", "keep", "seed"]).size().max() == 1
    assert len(frame) == 2 * (4 * 2 + 1)
    assert set(frame.n_kept) == {30, 40, 300}
    assert (frame.training_seconds > 0).all()
    rows = Herding(0.1).fit(X, y).sample_indices_
    assert_array_equal(found.kept["herding", 0.1, 3], rows)
    cell = frame[(frame.strategy == "herding") & (frame.n_kept == 30)]
    assert_allclose(cell.score, Ridge().fit(X[rows], y[rows]).score(*val))
    assert {"head", "features", "reading"} <= set(found.evidence_seconds)


def test_it_prints_as_a_table_of_means():
    found = compare(X, y, ["el2n"], keep=[0.2, 0.5], estimator=LogisticRegression(), seeds=2)
    lines = repr(found).splitlines()
    assert lines[1].split() == ["kept", "0.2", "0.5", "1"]
    el2n = next(line for line in lines if line.startswith("el2n"))
    means = found.to_frame().query("strategy == 'el2n'").groupby("keep")["score"].mean()
    assert el2n.split()[1:] == [f"{mean:.4f}" for mean in means]
    assert len(lines) == 2 + 4  # random, stratified random and all rows are always there
    found = compare(X, y, [], keep=[0.5, 100, 0.1], estimator=LogisticRegression(), seeds=1)
    assert repr(found).splitlines()[1].split() == ["kept", "0.1", "100", "0.5", "1"]  # of 225


def test_names_and_what_is_no_strategy():
    for given in ({"mine": EL2N()}, {"mine": "el2n"}):
        found = compare(X, y, given, [0.2], estimator=RidgeClassifier(), seeds=1)
        assert "mine" in {cell["strategy"] for cell in found.cells}
    with pytest.raises(ValueError, match="no strategy 'el3n'; there are"):
        compare(X, y, ["el3n"], [0.2], estimator=Ridge())
    with pytest.raises(ValueError, match=r"\['EL2N'\] come twice; give a dict"):
        compare(X, y, [EL2N(), EL2N()], [0.2], estimator=Ridge())
    with pytest.raises(ValueError, match=r"'all rows': .* is no strategy under a name of its own"):
        compare(X, y, {"all rows": EL2N()}, [0.2], estimator=Ridge())


class Narrow(Strategy):
    def __init__(self, keep=0.5, sigma=1.0):
        super().__init__(keep)
        self.sigma = sigma


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"strategies": {"random": EL2N()}}, "'random' is the name of a baseline .* EL2N"),
        ({"strategies": {"stratified random": "random"}}, "'stratified random' is the name"),
        ({"strategies": {"a": EL2N}}, r"'a': EL2N is a class; .* EL2N\(\)"),
        ({"strategies": [EL2N, Herding]}, "EL2N is a class"),
        ({"strategies": {"a": 3}}, "'a': 3 is no strategy"),
        ({"strategies": {"a": Ridge()}}, r"compare also sets \['keep'\]"),
        ({"strategies": {"a": Narrow()}}, r"also sets \['model', 'random_state'\].*super"),
        *(({"seeds": s}, "must be the number of seeds") for s in (0, -1, [], [0, 0], [-1], 0.5)),
        *(({"keep": k}, "none twice") for k in ([], [0.1, 0.1])),
        *(({"keep": k}, "'keep' parameter of compare") for k in (0, [0.1, 2.5], None, "ab")),
        ({"X": X[:0], "y": y[:0]}, "X has 0 rows and y 0"),
        ({"y": y[:7]}, "X has 300 rows and y 7; give one target for each row"),
        ({"y": None}, "X was given without y, and ndarray holds no targets"),
        ({"X_val": X}, "X_val was given without y_val"),
        ({"y_val": y}, "y_val was given without X_val"),
        ({"X_val": X, "y_val": y[:7]}, "X_val has 300 rows and y_val 7"),
    ],
)
def test_arguments_that_are_refused(changed, words):
    usual = {"X": X, "y": y, "strategies": [], "keep": [0.2], "estimator": Ridge(), "seeds": 1}
    with pytest.raises(ValueError, match=words):
        compare(**{**usual, **changed})


def test_one_strategy_one_size_and_a_baseline_with_parameters_of_ones_own():
    options = {"estimator": Ridge(), "seeds": np.array([1])}
    found = compare(X, y, EL2N(), np.float32(0.25), **options)
    assert set(found.kept) == {(name, 0.25, 1) for name in ("EL2N", *RANDOM)} | {("all rows", 1, 1)}
    fair = STRATEGIES["random"](min_per_class=40)
    rows = compare(X, y, {"random": fair}, 80, **options).kept["random", 80, 1]
    assert_array_equal(np.bincount(y[rows]), [40, 40])


def test_other_pruners_and_their_weights(trainings):
    strategies = {"influence": InfluencePruner(model=LinearProxy()), "gradmatch": GradMatch()}
    found = compare(X, y, strategies, [0.2], estimator=LogisticRegression(), seeds=1)
    assert len(trainings) == 5  # two of random rows, two strategies, all rows
    assert sum(weights is not None for weights in trainings) == 1
    assert min(scores(found)) > 0.5
    compare(X, y, strategies, [0.2], estimator=KNeighborsClassifier(), seeds=1)  # takes none


def test_a_comparison_goes_on_where_it_stopped(tmp_path, trainings):
    options = {"estimator": LogisticRegression(), "seeds": 2, "cache_dir": tmp_path}
    first = compare(X, y, ["el2n"], [0.1, 0.2], **options)
    assert len(trainings) == 2 * (3 * 2 + 1)
    assert scores(compare(X, y, ["el2n"], [0.1, 0.2], **options)) == scores(first)
    assert len(trainings) == 14
    compare(X, y, ["el2n", "margin"], [0.1, 0.4], **options)
    assert len(trainings) == 14 + 2 * (3 + 2)
    compare(X, y, ["el2n"], [0.1], **{**options, "estimator": LogisticRegression(C=0.1)})
    assert len(trainings) == 24 + 8
    # Every cell has its own files: the index file, with its checksum, and the score.
    (folder,) = tmp_path.iterdir()
    seed = first.cells[0]["seed"]
    (index,) = folder.glob(f"el2n_0.1_{seed}_*.npz")
    with np.load(index) as file:
        rows, checksum = file["rows"], str(file["checksum"])
    assert_array_equal(rows, first.kept["el2n", 0.1, seed])
    assert len(rows) == 22
    assert set(rows) <= set(first.kept["all rows", 1.0, seed])
    cells = [json.loads(path.read_text()) for path in folder.glob(f"el2n_0.1_{seed}_*.json")]
    assert {cell["rows"] for cell in cells} == {checksum}
    with np.load(index) as file:
        arrays = dict(file)
    np.savez(index, **{**arrays, "rows": np.arange(22)})  # somebody else's rows
    assert scores(compare(X, y, ["el2n"], [0.1, 0.2], **options)) == scores(first)
    assert len(trainings) == 32


@pytest.mark.parametrize("content", [b"", b"{", b"null", b'{"result": {}}', b"PK\x03\x04", b"\xff"])
def test_a_damaged_file_is_made_again(tmp_path, trainings, content):
    options = {"estimator": Ridge(), "seeds": 1, "cache_dir": tmp_path}
    first = compare(X, y, [], [0.2], **options)
    for path in tmp_path.glob("*/*"):
        path.write_bytes(content)
    for expected in (6, 6):
        assert scores(compare(X, y, [], [0.2], **options)) == scores(first)
        assert len(trainings) == expected


def test_what_cannot_be_known_is_not_kept(tmp_path):
    class Generator(LogisticRegression):
        def fit(self, X, y):
            return super().fit(X, y)

    stuck = Generator()
    stuck.C = (c for c in [1.0])
    with pytest.raises(ValueError, match="cache_dir keeps cells by the content"):
        compare(X, y, [], [0.2], estimator=stuck, cache_dir=tmp_path)


def test_workers_find_the_same():
    options = {"estimator": LogisticRegression(), "seeds": 2}
    one, two = (compare(X, y, ["el2n"], [0.2], n_jobs=n, **options) for n in (1, 2))
    assert scores(one) == scores(two)


def test_evidence_is_read_once_for_all_and_once_for_a_model_of_ones_own(monkeypatch):
    read, reads = evidence.read_evidence, []
    monkeypatch.setattr(evidence, "read_evidence", lambda *a, **k: reads.append(k) or read(*a, **k))
    own = {"own": EL2N(model=LogisticRegression(C=1e-3)), "shared": EL2N(), "other": Herding()}
    options = {"estimator": LogisticRegression(), "seeds": 2}
    found = compare(X, y, own, [0.1, 0.2], **options)
    assert [(k["look"], k["model"] is None) for k in reads] == [
        (False, True), (True, False), (True, True)
    ]  # fmt: skip
    assert not np.array_equal(found.curve("own")[1], found.curve("shared")[1])
    frame = pd.DataFrame(X).assign(word=np.where(X[:, 0] > 0, "a", "b"))
    trees = HistGradientBoostingClassifier(max_iter=5, categorical_features="from_dtype")
    rows = frame.astype({"word": "category"}).rename(columns=str)
    found = compare(rows, pd.Series(y), ["k-center"], [0.2], estimator=trees, seeds=1)
    assert len(found.cells) == 4


def test_datasets_and_networks():
    rows, targets = blobs(n=120)
    dataset = TensorDataset(torch.from_numpy(rows), torch.from_numpy(targets))
    net = NeuralNetClassifier(
        mlp(), criterion=nn.CrossEntropyLoss, max_epochs=2, verbose=0, train_split=None
    )
    found = compare(
        dataset, None, ["el2n", "herding"], [0.3], estimator=net, seeds=1, scoring="accuracy",
        model=TorchProxy(trained_mlp(rows, targets)),
    )  # fmt: skip
    assert {cell["n_kept"] for cell in found.cells} == {27, 90}


def test_numbers_as_targets_and_dynamics_of_ones_own():
    rows, targets = load_diabetes(return_X_y=True)
    found = compare(rows, targets, ["herding"], [0.1], estimator=Ridge(), seeds=2)
    assert len(found.cells) == 8
    dynamics = TrainingDynamics(225)
    rng = np.random.default_rng(0)
    for _ in range(3):
        dynamics.record(np.arange(225), rng.normal(size=(225, 2)), y[:225])
        dynamics.end_epoch()
    options = {"X_val": X[225:], "y_val": y[225:], "seeds": 1, "dynamics": dynamics}
    found = compare(X[:225], y[:225], ["aum"], [0.1], estimator=LogisticRegression(), **options)
    assert "dynamics" in found.evidence_seconds


def test_the_picture():
    import matplotlib as mpl

    mpl.use("Agg")
    options = {"estimator": LogisticRegression(), "seeds": 3, "scoring": "neg_log_loss"}
    found = compare(X, y, ["el2n"], [0.1, 0.4], **options)
    display = found.plot()
    assert display.ax_.get_ylabel() == "neg_log_loss ± 1 standard error over seeds"
    assert set(display.lines_) == {"el2n", *RANDOM}
    share, mean, error = found.curve("el2n")
    assert_allclose(share, [22 / 225, 0.4])
    assert_array_equal(display.lines_["el2n"].get_ydata(), mean)
    cells = [c["score"] for c in found.cells if c["strategy"] == "random" and c["keep"] == 0.1]
    assert_allclose(found.curve("random")[2][0], np.std(cells, ddof=1) / 3**0.5)
    assert error[0] < 1e-12  # the same rows and the same model
    assert "225" in display.ax_.get_xlabel()
    axes = display.ax_
    assert found.plot(ax=axes).ax_ is axes


@pytest.mark.slow
def test_six_strategies_on_digits_take_less_than_a_minute():
    start = time.perf_counter()
    names = ["el2n", "forgetting", "herding", "k-center", "ccs", "dataset pruning"]
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    found = compare(*load_digits(return_X_y=True), names, estimator=model)
    found.plot()
    assert time.perf_counter() - start < 60
    means = {name: found.curve(name)[1][0] for name in (*names, *RANDOM)}
    # Where few rows are kept, the hardest are the worst, and what covers is not.
    assert max(means["el2n"], means["dataset pruning"]) < means["random"] - 0.1
    assert means["ccs"] > means["el2n"] + 0.1
    assert means["herding"] > means["random"]


def test_all_strategies_are_found_by_name():
    for name, kind in STRATEGIES.items():
        assert clone(kind(keep=0.3)).keep == 0.3
        assert getattr(skprune.baselines, kind.__name__) is kind
        assert kind.__doc__
        assert name == name.lower()
