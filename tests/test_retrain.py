"""Whole models retrained on some rows: compared with loops of plain fits, and known curves."""

from __future__ import annotations

import math
import pickle
import random

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
import torch
from scipy import stats
from sklearn.base import BaseEstimator, ClassifierMixin, clone
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits
from sklearn.ensemble import BaggingClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, roc_auc_score
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from torch.utils.data import DataLoader, Dataset, Subset, TensorDataset

from skprune.datasets import as_source
from skprune.network.encoding import SourceRows
from skprune.retraining import (
    Data,
    RetrainedGap,
    Retraining,
    Trainer,
    make_retraining,
    make_trainer,
    smallest_retrained,
)
from skprune.retraining.measures import LossMeasure
from skprune.retraining.seeds import child_seeds

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


def digits(n=600):
    X, y = load_digits(return_X_y=True)
    return (X[:n] / 16).astype(np.float32), y[:n].astype(np.int64)


def states():
    return random.getstate(), np.random.get_state()[1].copy(), torch.get_rng_state()  # noqa: NPY002


def unchanged(before):
    now = states()
    assert before[0] == now[0]
    np.testing.assert_array_equal(before[1], now[1])
    assert torch.equal(before[2], now[2])


# Trainers


class Recorder(ClassifierMixin, BaseEstimator):
    """Remembers what it was fitted on, and draws from every global generator."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y, sample_weight=None):
        self.seen_ = (X, y, sample_weight)
        self.draws_ = (random.random(), np.random.random(), float(torch.rand(())))  # noqa: NPY002
        self.classes_ = np.unique(y)
        return self


def test_an_estimator_is_fitted_on_the_users_own_containers():
    X, y = digits(20)
    rows = np.array([3, 5, 11])
    frame = pd.DataFrame(X, index=[f"r{i}" for i in range(20)]).assign(kind=list("ab") * 10)
    labels, weights = pd.Series(y, index=frame.index), np.arange(20.0)
    fitted = make_trainer(Recorder(), Data(frame, labels, weights)).fit(rows, 0)
    seen, target, weight = fitted.seen_
    pd.testing.assert_frame_equal(seen, frame.iloc[rows])
    pd.testing.assert_series_equal(target, labels.iloc[rows])
    np.testing.assert_array_equal(weight, [3.0, 5.0, 11.0])
    sparse = make_trainer(Recorder(), Data(sp.csr_matrix(X), list(y))).fit(rows, 0).seen_
    assert sp.issparse(sparse[0])
    assert sparse[1] == list(y[rows])
    assert sparse[2] is None


def test_trainings_depend_on_the_seed_alone_and_leave_the_global_states():
    X, y = digits(30)
    trainer = make_trainer(Recorder(), Data(X, y))
    before = states()
    one, same, other = (trainer.fit(np.arange(9), s) for s in (4, 4, 5))
    unchanged(before)
    assert one.draws_ == same.draws_
    assert all(a != b for a, b in zip(one.draws_, other.draws_, strict=True))
    assert one.random_state == same.random_state != other.random_state

    class Failing(Recorder):
        def fit(self, X, y):
            torch.rand(3)
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        make_trainer(Failing(), Data(X, y)).fit(np.arange(9), 0)
    unchanged(before)


def test_every_nested_random_state_is_set():
    X, y = digits(60)
    model = make_pipeline(
        StandardScaler(),
        BaggingClassifier(DecisionTreeClassifier(random_state=0), 2, random_state=0),
    )
    fitted = [make_trainer(model, Data(X, y)).fit(np.arange(60), s) for s in (1, 1, 2)]
    found = [
        (f[-1].random_state, f[-1].estimator.random_state, f[-1].predict_proba(X)) for f in fitted
    ]
    assert found[0][:2] == found[1][:2]
    assert len({*found[0][:2], *found[2][:2], 0}) == 5
    np.testing.assert_array_equal(found[0][2], found[1][2])
    assert not np.array_equal(found[0][2], found[2][2])
    assert model[-1].random_state == 0
    assert not hasattr(model[-1], "classes_")
    assert child_seeds(7, 5)[:3] == child_seeds(7, 3)
    assert all(0 <= s < 2**31 for s in child_seeds(2**40, 50))


def test_weights_go_where_they_are_taken():
    X, y = digits(120)
    weights = np.random.default_rng(0).uniform(0.1, 3.0, 120)
    rows = np.arange(0, 120, 2)
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(C=0.1))
    fitted = make_trainer(pipeline, Data(X, y, weights)).fit(rows, 0)
    expected = clone(pipeline).fit(
        X[rows], y[rows], logisticregression__sample_weight=weights[rows]
    )
    np.testing.assert_allclose(fitted[-1].coef_, expected[-1].coef_)
    assert make_trainer(pipeline, Data(X, y, weights)).weight_name is not None
    neighbours = make_trainer(KNeighborsClassifier(), Data(X, y, weights))
    assert neighbours.weight_name is None
    neighbours.fit(rows, 0)  # takes none, and gets none


class Net(nn.Module):
    def __init__(self, inputs=64, hidden=16, outputs=10, dropout=0.0):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, outputs),
        )

    def forward(self, X):
        return self.layers(X)


class Rows(Dataset):
    """A dataset of somebody else."""

    def __init__(self, X, y):
        self.X, self.targets = X, y

    def __len__(self):
        return len(self.X)

    def __getitem__(self, i):
        return torch.from_numpy(self.X[i]), int(self.targets[i])


def train_net(dataset, seed, epochs=2):
    """What a user's callable looks like; it relies on the global seed as well."""
    net = Net(dropout=0.1)
    generator = torch.Generator().manual_seed(seed)
    loader = DataLoader(dataset, batch_size=32, shuffle=True, generator=generator)
    optimizer = torch.optim.Adam(net.parameters(), lr=0.01)
    for _ in range(epochs):
        for X, y in loader:
            optimizer.zero_grad()
            nn.functional.cross_entropy(net(X), y).backward()
            optimizer.step()
    return net


def skorch_net(module=Net, criterion=nn.CrossEntropyLoss, **params):
    from skorch import NeuralNetClassifier

    options = {"max_epochs": 3, "lr": 0.1, "verbose": 0, "train_split": None, "batch_size": 32}
    return NeuralNetClassifier(
        module, criterion=criterion, iterator_train__shuffle=True, **{**options, **params}
    )


def test_a_callable_gets_the_users_dataset_cut_to_the_rows():
    X, y = digits(50)
    seen = []

    def train(dataset, seed):
        seen.append((dataset, seed))
        return nn.Linear(64, 10)

    rows = np.array([2, 30, 41])
    dataset = Rows(X, y)
    make_trainer(train, Data(dataset)).fit(rows, 11)
    make_trainer(train, Data(X, y)).fit(rows, 12)
    # Of a source, positions count within the rows that were held.
    inside = SourceRows(as_source(dataset), np.arange(5, 50))
    make_trainer(train, Data(inside)).fit(rows, 13)
    assert [s for _, s in seen] == [11, 12, 13]
    assert isinstance(seen[0][0], Subset)
    assert isinstance(seen[1][0], TensorDataset)
    for (given, _), shift in zip(seen, (0, 0, 5), strict=True):
        assert len(given) == 3
        for k, i in enumerate(rows + shift):
            np.testing.assert_array_equal(given[k][0], X[i])
            assert int(given[k][1]) == y[i]


def test_models_that_cannot_be_trained():
    X, y = digits(20)
    for model, words in (
        (nn.Linear(64, 10), r"trained nn\.Module.*skorch net.*callable train\(dataset, seed\)"),
        (LogisticRegression, "Cannot retrain"),
        ("softmax", "Cannot retrain 'softmax'"),
    ):
        with pytest.raises(TypeError, match=words):
            make_trainer(model, Data(X, y))
    with pytest.raises(TypeError, match="cannot be trained on a dataset"):
        make_trainer(LogisticRegression(), Data(Rows(X, y)))
    with pytest.raises(TypeError, match="returned a int"):
        make_trainer(lambda dataset, seed: 3, Data(X, y)).fit(np.arange(5), 0)


# Measures, and gaps against loops of plain fits


def by_hand(model, X, y, rows, train, test, score, n_seeds):
    """Differences of scores over seeds, from plain fits."""
    differences = []
    for seed in child_seeds(5, n_seeds):
        scores = []
        for part in (train, train[rows]):
            fitted = clone(model)
            if "random_state" in fitted.get_params():
                fitted.set_params(random_state=child_seeds(seed, 1)[0])
            fitted.fit(X[part], y[part])
            scores.append(score(fitted, X[test], y[test]))
        differences.append(scores[0] - scores[1])
    return np.array(differences)


SCORES = {
    "loss": lambda m, X, y: -log_loss(y, m.predict_proba(X), labels=m.classes_),
    "accuracy": lambda m, X, y: accuracy_score(y, m.predict(X)),
    "roc_auc": lambda m, X, y: roc_auc_score(y, m.predict_proba(X)[:, 1]),
}


@pytest.mark.parametrize("scoring", ["loss", "accuracy", "roc_auc"])
@pytest.mark.parametrize(
    "model",
    [LogisticRegression(max_iter=500), RandomForestClassifier(15, min_samples_leaf=5)],
    ids=["logistic", "forest"],
)
def test_gap_of_a_classifier_is_that_of_plain_fits(model, scoring):
    X, y = load_breast_cancer(return_X_y=True)
    X = StandardScaler().fit_transform(X)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(y))
    train, test = order[:300], order[300:]
    rows = np.sort(rng.choice(300, 60, replace=False))
    held_out = Data(X[test], y[test])
    retraining = make_retraining(
        model, Data(X[train], y[train]), held_out, scoring=scoring, n_seeds=3, seed=5
    )
    before = states()
    trial = retraining.trial(rows)
    unchanged(before)
    gap = trial.gap
    expected = by_hand(model, X, y, rows, train, test, SCORES[scoring], 3)
    assert float(gap) == pytest.approx(expected.mean(), abs=1e-12)
    assert (gap.level, gap.scoring, gap.n_rows) == ("retrained", scoring, len(test))
    seeds = 1 if isinstance(model, LogisticRegression) else 3
    assert gap.n_seeds == seeds
    assert retraining.deterministic == (seeds == 1)
    # All rows are trained on once a seed, and twice to see that the seed has no say.
    assert retraining.n_trainings == max(2, seeds) + seeds
    again = retraining.trial(rows)
    assert float(again.gap) == float(gap)
    assert retraining.n_trainings == max(2, seeds) + 2 * seeds
    assert [t.n_rows for t in retraining.trainings].count(300) == max(2, seeds)
    assert trial.seconds >= sum(t.seconds for t in retraining.trainings if t.n_rows == 60) / 2
    assert retraining.seconds_per_training() > 0
    assert math.isnan(retraining.seconds_per_training(17))


def test_loss_of_regressors_is_a_share_of_the_variance():
    X, y = load_diabetes(return_X_y=True)
    rows = np.arange(0, 300, 6)
    weights = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    retraining = make_retraining(
        Ridge(alpha=0.1),
        Data(X[:300], y[:300], weights[:300]),
        Data(X[300:], y[300:], weights[300:]),
        n_seeds=1,
    )
    full = Ridge(alpha=0.1).fit(X[:300], y[:300], weights[:300])
    pruned = Ridge(alpha=0.1).fit(X[rows], y[rows], weights[rows])
    errors = [
        mean_squared_error(y[300:], m.predict(X[300:]), sample_weight=weights[300:])
        for m in (full, pruned)
    ]
    variance = np.cov(y[:300], aweights=weights[:300], ddof=0)
    gap = retraining.trial(rows).gap
    assert float(gap) == pytest.approx((errors[1] - errors[0]) / variance, rel=1e-9)
    assert retraining.n_trainings == 2
    # Several targets: the share of their variances together.
    Y = np.stack([y, -2 * y + 7], axis=1)
    several = make_retraining(Ridge(alpha=0.1), Data(X[:300], Y[:300]), Data(X[300:], Y[300:]))
    one = make_retraining(Ridge(alpha=0.1), Data(X[:300], y[:300]), Data(X[300:], y[300:]))
    assert float(several.trial(rows).gap) == pytest.approx(float(one.trial(rows).gap), rel=1e-9)


def test_a_label_that_the_kept_rows_lack_costs_as_much_as_in_log_loss():
    X, y = digits(300)
    rows = np.flatnonzero(y[:200] != 9)
    model = make_pipeline(StandardScaler(), LogisticRegression())
    retraining = make_retraining(model, Data(X[:200], y[:200]), Data(X[200:], y[200:]))
    fitted = clone(model).fit(X[rows], y[rows])
    P = fitted.predict_proba(X[200:])
    P = np.hstack([P, np.zeros_like(P[:, :1])])
    full = clone(model).fit(X[:200], y[:200])
    expected = log_loss(y[200:], P, labels=np.arange(10)) - log_loss(
        y[200:], full.predict_proba(X[200:])
    )
    assert float(retraining.trial(rows).gap) == pytest.approx(expected, rel=1e-6)


def test_loss_needs_probabilities():
    X, y = digits(40)
    with pytest.raises(ValueError, match=r"LinearSVC has no predict_proba.*accuracy"):
        make_retraining(LinearSVC(), Data(X, y), Data(X, y))
    with pytest.raises(ValueError, match="cannot score LinearSVC"):
        make_retraining(LinearSVC(), Data(X, y), Data(X, y), scoring="roc_auc_ovr").trial(
            np.arange(30)
        )
    gap = make_retraining(LinearSVC(), Data(X, y), Data(X, y), scoring="accuracy").trial(
        np.arange(30)
    )
    assert math.isfinite(gap.gap)


def test_predictions_are_made_once_for_all_parts_of_the_jackknife():
    X, y = load_breast_cancer(return_X_y=True)
    calls = []

    class Counting(DecisionTreeClassifier):
        def predict(self, X, check_input=True):
            calls.append(len(X))
            return super().predict(X, check_input)

    def scorer(estimator, X, y):
        assert len(estimator.predict(X[:7])) == 7  # other rows are computed as ever
        return accuracy_score(y, estimator.predict(X))

    held_out = Data(X[300:], y[300:])
    for scoring, per_model in (("accuracy", [269]), (scorer, [7, 269] + 20 * [7])):
        calls.clear()
        model = Counting(max_depth=2, random_state=0)
        retraining = make_retraining(
            model, Data(X[:300], y[:300]), held_out, scoring=scoring, n_seeds=1
        )
        gap = retraining.trial(np.arange(100)).gap
        assert calls == 2 * per_model
        assert 0 < gap.standard_error < 0.1


def test_jackknife_of_few_rows_is_their_plain_standard_error():
    X, y = digits(300)
    X[200:] += np.random.default_rng(0).normal(size=(100, 64)).astype(np.float32)
    model = LogisticRegression()
    models = [clone(model).fit(X[:m], y[:m]) for m in (200, 40)]
    # With at most 20 rows every group is one of them.
    for stop in (217, 220):
        held_out = Data(X[200:stop], y[200:stop])
        retraining = make_retraining(
            model, Data(X[:200], y[:200]), held_out, scoring="accuracy", n_seeds=1
        )
        gap = retraining.trial(np.arange(40)).gap
        right = [(m.predict(X[200:stop]) == y[200:stop]).astype(float) for m in models]
        difference = right[0] - right[1]
        assert difference.std() > 0
        assert float(gap) == pytest.approx(difference.mean())
        plain = difference.std(ddof=1) / np.sqrt(stop - 200)
        assert gap.standard_error == pytest.approx(plain)
        assert gap.freedom == stop - 201
    one = Data(X[200:201], y[200:201])
    gap = make_retraining(model, Data(X[:200], y[:200]), one).trial(np.arange(40)).gap
    assert gap.standard_error == math.inf
    assert not gap.within(1e9)


# Networks


def eval_outputs(module, X):
    module = module.eval().cpu()
    with torch.no_grad():
        return module(torch.as_tensor(X)).double()


def trained_by_hand(train, rows, n_seeds, X, y, seed=0):
    """Modules trained on all and on some rows as the package promises to call ``train``."""
    modules = []
    for s in child_seeds(seed, n_seeds):
        for part in (np.arange(len(X)), rows):
            torch.manual_seed(s)
            dataset = TensorDataset(torch.from_numpy(X[part]), torch.from_numpy(y[part]))
            modules.append(train(dataset, s))
    return modules


@pytest.mark.parametrize("device", DEVICES)
def test_gap_of_a_callable_is_that_of_modules_trained_by_hand(device):
    X, y = digits()
    X_train, y_train, X_test, y_test = X[:400], y[:400], X[400:], y[400:]
    rows = np.arange(0, 400, 4)
    with torch.random.fork_rng():
        modules = trained_by_hand(train_net, rows, 2, X_train, y_train)
    Z = [eval_outputs(m, X_test) for m in modules]
    losses = np.array([nn.functional.cross_entropy(z, torch.from_numpy(y_test)).item() for z in Z])
    hits = np.array([accuracy_score(y_test, z.argmax(1)) for z in Z])
    auc = np.array([roc_auc_score(y_test, z.softmax(1), multi_class="ovr") for z in Z])
    for scoring, expected in (
        ("loss", losses[1::2] - losses[::2]),
        ("accuracy", hits[::2] - hits[1::2]),
        ("roc_auc_ovr", auc[::2] - auc[1::2]),
    ):
        before = states()
        retraining = make_retraining(
            train_net,
            Data(X_train, y_train),
            Data(X_test, y_test),
            scoring=scoring,
            n_seeds=2,
            device=device,
        )
        gap = retraining.trial(rows).gap
        unchanged(before)
        assert float(gap) == pytest.approx(expected.mean(), abs=1e-5)
        assert gap.n_seeds == 2
        assert 0 < gap.standard_error < 1
        # A dataset of the same rows, in a source beside the held-out ones, in other batches.
        source = as_source(Rows(X, y))
        inside = make_retraining(
            train_net,
            Data(SourceRows(source, np.arange(400))),
            Data(SourceRows(source, np.arange(400, 600))),
            scoring=scoring,
            n_seeds=2,
            batch_size=37,
            device=device,
        )
        assert float(inside.trial(rows).gap) == pytest.approx(float(gap), abs=1e-5)


class Ends(nn.Module):
    """A net that ends in something else than its linear layer."""

    def __init__(self, end="softmax", outputs=10):
        super().__init__()
        self.net, self.end = Net(outputs=outputs), end

    def forward(self, X):
        Z = self.net(X)
        if self.end == "softmax":
            return Z.softmax(1)
        if self.end == "shifted":  # no linear head
            return (Z + Z.square().mean(1, keepdim=True)).log_softmax(1)
        return torch.sigmoid(Z)


@pytest.mark.parametrize("end", ["softmax", "shifted"])
def test_losses_of_modules_that_end_in_probabilities(end):
    X, y = digits(200)

    def train(dataset, seed):
        torch.manual_seed(seed + len(dataset))
        return Ends(end)

    retraining = make_retraining(train, Data(X, y), Data(X, y), n_seeds=1)
    gap = retraining.trial(np.arange(50)).gap
    seed = child_seeds(0, 1)[0]
    losses = []
    for n in (200, 50):
        P = eval_outputs(train(range(n), seed), X)
        P = P if end == "softmax" else P.exp()
        losses.append(-P[torch.arange(200), torch.from_numpy(y)].log().mean().item())
    assert float(gap) == pytest.approx(losses[1] - losses[0], abs=1e-5)


def test_other_losses_of_modules():
    X, y = digits(200)
    labels = np.stack([y % 2, y > 4, y > 7], axis=1).astype(np.float32)
    numbers = (y[:, None] * np.array([[2.0, -1.0]]) + 3).astype(np.float32)

    def train(outputs):
        def make(dataset, seed):
            torch.manual_seed(seed + len(dataset))
            return Net(outputs=outputs)

        return make

    def modules(outputs):
        seed = child_seeds(0, 1)[0]
        return [eval_outputs(train(outputs)(range(n), seed), X) for n in (200, 50)]

    def gap(outputs, target, **options):
        data = Data(X, target)
        retraining = make_retraining(train(outputs), data, data, n_seeds=1, **options)
        return float(retraining.trial(np.arange(50)).gap)

    bce = nn.functional.binary_cross_entropy_with_logits
    T = torch.from_numpy(labels).double()
    full, pruned = (bce(Z, T).item() for Z in modules(3))
    assert gap(3, labels) == pytest.approx(pruned - full, abs=1e-5)
    full, pruned = ((Z > 0).numpy() == labels for Z in modules(3))
    exact = full.all(1).mean() - pruned.all(1).mean()
    assert gap(3, labels, scoring="accuracy") == pytest.approx(exact)
    # One output and zeros and ones.
    full, pruned = (bce(Z[:, 0], T[:, 0]).item() for Z in modules(1))
    assert gap(1, labels[:, 0]) == pytest.approx(pruned - full, abs=1e-5)
    full, pruned = (roc_auc_score(labels[:, 0], Z[:, 0]) for Z in modules(1))
    assert gap(1, labels[:, 0], scoring="roc_auc") == pytest.approx(full - pruned)
    # Numbers: shares of the variance.
    full, pruned = (
        np.square(Z.numpy() - numbers).mean(0).sum() / numbers.var(0).sum() for Z in modules(2)
    )
    assert gap(2, numbers) == pytest.approx(pruned - full, rel=1e-5)
    full, pruned = (mean_squared_error(numbers, Z.numpy()) for Z in modules(2))
    scored = gap(2, numbers, scoring="neg_mean_squared_error")
    assert scored == pytest.approx(pruned - full, rel=1e-5)
    # The user's own, in its own unit.
    own = gap(10, y, loss=lambda output, target: 3 * (output[:, 0] - target).abs())
    full, pruned = (3 * np.abs(Z[:, 0].numpy() - y).mean() for Z in modules(10))
    assert own == pytest.approx(pruned - full, rel=1e-5)
    smooth = nn.CrossEntropyLoss(label_smoothing=0.2)
    full, pruned = (smooth(Z, torch.from_numpy(y)).item() for Z in modules(10))
    assert gap(10, y, loss=smooth) == pytest.approx(pruned - full, abs=1e-5)


@pytest.mark.parametrize("kind", ["array", "dict", "dataset"])
def test_gap_of_a_skorch_net(kind):
    X, y = digits()
    rows = np.arange(0, 400, 3)

    class Named(Net):
        def forward(self, pixels):
            return self.layers(pixels)

    net = skorch_net(Named if kind == "dict" else Net)
    if kind == "dict":
        train, test = Data({"pixels": X[:400]}, y[:400]), Data({"pixels": X[400:]}, y[400:])
    elif kind == "dataset":
        train, test = Data(Rows(X[:400], y[:400])), Data(Rows(X[400:], y[400:]))
    else:
        train, test = Data(X[:400], y[:400]), Data(X[400:], y[400:])
    # By hand, with the seeds as they are promised.
    differences, hits = [], []
    with torch.random.fork_rng():
        for seed in child_seeds(3, 2):
            fitted = []
            for part in (np.arange(400), rows):
                torch.manual_seed(seed)
                fitted.append(skorch_net().fit(X[part], y[part]))
            P = [f.predict_proba(X[400:]) for f in fitted]
            differences.append(log_loss(y[400:], P[1]) - log_loss(y[400:], P[0]))
            hits.append(accuracy_score(y[400:], P[0].argmax(1)))
            hits[-1] -= accuracy_score(y[400:], P[1].argmax(1))
    for scoring, expected in (
        ("loss", differences),
        ("accuracy", hits),
        ("neg_log_loss", differences),
    ):
        before = states()
        retraining = make_retraining(net, train, test, scoring=scoring, n_seeds=2, seed=3)
        gap = retraining.trial(rows).gap
        unchanged(before)
        assert float(gap) == pytest.approx(np.mean(expected), abs=1e-5), scoring
        assert gap.scoring == scoring
    assert not getattr(net, "initialized_", False)


def test_a_skorch_quickstart_net_and_a_net_that_was_fitted():
    X, y = digits(300)
    # The quickstart classifier: softmax at the end, skorch's own NLLLoss.
    net = skorch_net(Ends, nn.NLLLoss)
    data = Data(X[:200], y[:200]), Data(X[200:], y[200:])
    gaps = [
        make_retraining(net, *data, scoring=s, n_seeds=1).trial(np.arange(90)).gap
        for s in ("loss", "neg_log_loss")
    ]
    assert float(gaps[0]) == pytest.approx(float(gaps[1]), abs=1e-5)
    fresh = make_retraining(net, *data, n_seeds=1).trial(np.arange(90)).gap
    net.fit(X, y)
    weights = net.module_.net.layers[0].weight.clone()
    fitted = make_retraining(net, *data, n_seeds=1).trial(np.arange(90)).gap
    assert float(fitted) == float(fresh) == float(gaps[0])
    assert torch.equal(weights, net.module_.net.layers[0].weight)
    # An instance as the module is trained in place, and no clone starts afresh.
    instance = skorch_net(Net()).fit(X, y)
    with pytest.raises(ValueError, match=r"would not start afresh.*NeuralNetClassifier\(Net"):
        make_retraining(instance, *data)


# Several seeds, and their interval


class Curve(Trainer):
    """Losses of known mean and spread: rows, seeds, and rows and seeds together."""

    def __init__(self, n, gap, *, seeds=0.0, both=0.0, rows=0.02, held_out=400, draw=0):
        self.n, self.gap = n, gap
        self.seeds, self.both, self.held_out, self.draw = seeds, both, held_out, draw
        self.rows = rows * np.random.default_rng(draw).normal(size=held_out)

    def __len__(self):
        return self.n

    def _fit(self, rows, seed):
        m = len(rows)
        rng = np.random.default_rng([seed, m, self.draw])
        own = 0.0 if m == self.n else self.gap(m) + self.rows
        noise = self.seeds * rng.normal() + self.both * rng.normal(size=self.held_out)
        return 1.0 + own + noise

    def retraining(self, **options):
        measure = LossMeasure(lambda losses: losses, np.ones(self.held_out))
        return Retraining(self, measure, seed=self.draw, **options)


def test_standard_error_by_its_formula():
    curve = Curve(100, lambda m: 0.3, seeds=0.01, both=0.1)
    retraining = curve.retraining(n_seeds=4)
    gap = retraining.trial(np.arange(50)).gap
    losses = np.array([[curve.fit(np.arange(m), s) for s in child_seeds(0, 4)] for m in (100, 50)])
    d = losses[1] - losses[0]
    over_rows = d.mean(0).var(ddof=1) / 400
    # Pooled: the differences, and twice the variance of the models of all rows; 3 degrees each.
    over_seeds = (d.mean(1).var(ddof=1) + 2 * losses[0].mean(1).var(ddof=1)) / 2 / 4
    assert float(gap) == pytest.approx(d.mean())
    assert gap.standard_error == pytest.approx(np.sqrt(over_rows + over_seeds))
    freedom = (over_rows + over_seeds) ** 2 / (over_rows**2 / 399 + over_seeds**2 / 6)
    assert gap.freedom == pytest.approx(freedom)
    low, high = gap.interval(0.9)
    assert low + high == pytest.approx(2 * float(gap))
    assert gap.interval()[0] < low < float(gap) - gap.standard_error
    copy = pickle.loads(pickle.dumps(gap))
    assert isinstance(copy, RetrainedGap)
    assert (float(copy), copy.__dict__) == (float(gap), gap.__dict__)
    assert "retrained, loss, 400 held-out rows, 4 seeds" in repr(gap)
    # What is known of the seeds grows with every set of rows.
    d = np.array([curve.fit(np.arange(20), s) for s in child_seeds(0, 4)]) - losses[0]
    over_seeds = (over_seeds * 4 * 6 + 3 * d.mean(1).var(ddof=1)) / 9 / 4
    second = retraining.trial(np.arange(20)).gap
    expected = np.sqrt(d.mean(0).var(ddof=1) / 400 + over_seeds)
    assert second.standard_error == pytest.approx(expected)
    d = losses[1] - losses[0]
    # One seed: the held-out rows alone, and nothing is known of the seeds.
    one = curve.retraining(n_seeds=1).trial(np.arange(50)).gap
    assert one.standard_error == pytest.approx(d[0].std(ddof=1) / 20)
    assert one.n_seeds == 1
    assert repr(one).endswith("1 seed)")


@pytest.mark.parametrize(
    ("seeds", "both", "rows"), [(0.01, 0.0, 0.0), (0.005, 0.05, 0.1), (0.0, 0.1, 0.0)]
)
def test_intervals_hold_what_they_promise(seeds, both, rows):
    inside, errors, promised = 0, [], []
    for draw in range(200):
        curve = Curve(100, lambda m: 0.1, seeds=seeds, both=both, rows=rows, draw=draw)
        gap = curve.retraining(n_seeds=3).trial(np.arange(40)).gap
        low, high = gap.interval(0.9)
        inside += low <= 0.1 <= high
        errors.append(float(gap) - 0.1)
        promised.append(gap.standard_error)
    # 0.9 give or take 3 standard deviations of 200 draws, or more where SE is too wide.
    assert inside / 200 > 0.85
    ratio = np.sqrt(np.mean(np.square(promised)) / np.mean(np.square(errors)))
    assert 0.9 < ratio < 1.6
    if both == 0:
        assert ratio < 1.15
        assert inside / 200 < 0.95


def test_seeds_are_spent_only_while_they_could_change_the_answer():
    def spent(gap, seeds, limit, **options):
        counts = []
        for draw in range(15):
            curve = Curve(100, lambda m: gap, seeds=seeds, draw=draw)
            retraining = curve.retraining(n_seeds=5)
            trial = retraining.trial(np.arange(50), limit=limit, **options)
            assert retraining.n_trainings == trial.gap.n_seeds + 5
            counts.append(trial.gap.n_seeds)
        return np.array(counts)

    assert spent(0.5, 0.005, 0.1).max() == 1  # far too large
    assert spent(0.0, 0.005, 0.1).mean() < 1.2  # far within
    close = spent(0.1, 0.005, 0.1)
    assert close.mean() > 3
    assert spent(0.5, 0.005, None).min() == 5
    assert spent(0.1, 0.005, 0.1, max_trainings=2).max() == 2
    # Seed by seed: would what is left move the answer by more than t standard deviations?
    for draw in range(15):
        curve = Curve(100, lambda m: 0.1, seeds=0.01, draw=draw)
        L = [[curve.fit(np.arange(m), s) for s in child_seeds(draw, 5)] for m in (100, 50)]
        losses = np.array(L)
        for k in range(1, 6):
            d = (losses[1] - losses[0])[:k]
            squares = 2 * 4 * losses[0].mean(1).var(ddof=1) + k * d.mean(1).var()
            V = squares / (4 + k - 1)
            error = np.sqrt(d.mean(0).var(ddof=1) / 400 + V / 5)
            left = stats.t.ppf(0.975, 4 + k - 1) * np.sqrt(V * (1 / k - 1 / 5))
            if abs(0.12 - d.mean() - error) > left:
                break
        gap = curve.retraining(n_seeds=5).trial(np.arange(50), limit=0.12).gap
        assert gap.n_seeds == k
    # Where it stopped, it would have ended the same way with all seeds.
    agree = []
    for draw in range(60):
        curve = Curve(100, lambda m: 0.1, seeds=0.02, draw=draw)
        few = curve.retraining(n_seeds=5).trial(np.arange(50), limit=0.13).gap
        every = curve.retraining(n_seeds=5).trial(np.arange(50)).gap
        if few.n_seeds < 5:
            agree.append(few.within(0.13) == every.within(0.13))
    assert len(agree) > 15
    assert np.mean(agree) > 0.9


def test_a_training_that_failed_is_not_allowed():
    def train(dataset, seed):
        net = nn.Linear(64, 10)
        if len(dataset) < 50:
            nn.init.constant_(net.weight, math.nan)
        return net

    X, y = digits(80)
    retraining = make_retraining(train, Data(X, y), Data(X, y))
    gap = retraining.trial(np.arange(20), limit=1e9).gap
    assert math.isnan(gap)
    assert not gap.within(1e9)
    assert gap.n_seeds == 1
    assert math.isfinite(retraining.trial(np.arange(60)).gap.standard_error)


def test_random_subsets_are_stratified_and_share_the_seeds():
    X, y = digits(300)
    seen = []

    def train(dataset, seed):
        seen.append((np.array([int(t) for _, t in dataset]), seed))
        torch.manual_seed(seed)
        return nn.Linear(64, 10)

    retraining = make_retraining(train, Data(X, y), Data(X, y), n_seeds=2)
    retraining.trial(np.arange(50))
    trials = [retraining.random_trial(60, y, np.full(10, 2), s) for s in (0, 0, 1)]
    assert [t.size for t in trials] == [60, 60, 60]
    np.testing.assert_array_equal(trials[0].rows, trials[1].rows)
    assert not np.array_equal(trials[0].rows, trials[2].rows)
    counts = np.bincount(y[trials[0].rows])
    assert np.all(np.abs(counts - np.bincount(y) / 5) <= 1)
    assert {s for _, s in seen} == set(child_seeds(0, 2))


# The search


CURVES = {
    "inverse": lambda m: 25.0 / m - 25.0 / 5000,
    "root": lambda m: 2 * (m**-0.5 - 5000**-0.5),
    "late": lambda m: max(0.0, 0.03 * math.log(2000 / m)),
    "step": lambda m: 0.0 if m > 700 else 1.0,
}
KNOWN = np.array([60, 120, 250, 500, 1000, 2000, 4000])
GUESSES = {
    "none": lambda gap: None,
    "half": lambda gap: (KNOWN, [0.5 * gap(m) for m in KNOWN]),
    "double": lambda gap: (KNOWN[::-1], [2 * gap(m) for m in KNOWN[::-1]]),
    "wrong": lambda gap: (KNOWN, [0.1, 0.0, 0.3, math.nan, -0.2, 0.0, 0.0]),
}


def search(curve, max_gap=0.02, smallest=20, guess=None, n_seeds=3, **options):
    retraining = curve.retraining(n_seeds=n_seeds)
    selected = []

    def select(size):
        selected.append(size)
        return np.arange(size)

    best, trials = smallest_retrained(
        retraining,
        select,
        largest=len(curve),
        smallest=smallest,
        max_gap=max_gap,
        guess=guess,
        **options,
    )
    assert selected == [t.size for t in trials]
    assert len(set(selected)) == len(selected)
    allowed = [t for t in trials if t.gap.within(max_gap)]
    assert best is (min(allowed, key=lambda t: t.size) if allowed else None)
    return best, trials, retraining


def exhaustive(curve, max_gap, smallest, n_seeds, resolution):
    """The smallest allowed size on a grid of that resolution, and what the scan costs."""
    retraining = curve.retraining(n_seeds=n_seeds)
    count = math.ceil(math.log(len(curve) / smallest) / math.log(resolution))
    sizes = np.unique(np.geomspace(smallest, len(curve), count + 1).round().astype(int))[:-1]
    found = [m for m in sizes if retraining.trial(np.arange(m)).gap.within(max_gap)]
    return min(found), retraining.n_trainings


@pytest.mark.parametrize("guess", GUESSES)
@pytest.mark.parametrize("shape", CURVES)
def test_search_without_noise_finds_the_crossing(shape, guess):
    gap = CURVES[shape]
    best, trials, retraining = search(Curve(5000, gap, rows=0.0), guess=GUESSES[guess](gap))
    crossing = min(m for m in range(20, 5001) if gap(m) <= 0.02)
    assert crossing <= best.size <= 1.1 * crossing + 1
    assert retraining.deterministic
    assert retraining.n_trainings == len(trials) + 2
    assert len(trials) <= (11 if shape == "step" or guess == "wrong" else 7)


@pytest.mark.parametrize("shape", ["inverse", "root", "late"])
def test_search_agrees_with_an_exhaustive_scan_at_a_tenth_of_its_cost(shape):
    gap, ratios, cost = CURVES[shape], [], []
    for draw in range(5):
        curve = Curve(5000, gap, seeds=0.001, both=0.005, rows=0.01, draw=draw)
        scanned, scan_cost = exhaustive(curve, 0.02, 20, 3, 1.1)
        best, _, retraining = search(curve, guess=GUESSES["half"](gap))
        ratios.append(best.size / scanned)
        cost.append(retraining.n_trainings / scan_cost)
    # The scan takes the luckiest of all sizes, so it is a little below.
    assert 1 / 1.15 < np.exp(np.mean(np.log(ratios))) < 1.15
    assert max(ratios) < 1.3
    assert np.mean(cost) < 0.1
    assert max(cost) < 0.15


def test_search_where_nothing_can_go_or_everything():
    best, trials, retraining = search(Curve(5000, lambda m: 0.5, seeds=0.001))
    assert best is None
    assert max(t.size for t in trials) > 5000 / 1.1  # it did try to remove only a few
    assert retraining.n_trainings <= 3 + 5
    best, trials, retraining = search(Curve(5000, lambda m: -0.01, seeds=0.0005))
    assert best.size == 20
    assert retraining.n_trainings <= 3 + 6
    for smallest in (5000, 5001):
        best, trials, retraining = search(Curve(5000, None), smallest=smallest)
        assert best is None
        assert trials == []
        assert retraining.n_trainings == 0  # there was no question
    best, trials, _ = search(Curve(2, lambda m: 0.0), smallest=1)
    assert best.size == 1


def test_search_stays_within_its_budget():
    for budget in (1, 3, 4, 7, 10):
        curve = Curve(5000, CURVES["late"], seeds=0.01, both=0.05)
        best, trials, retraining = search(curve, max_trainings=budget)
        assert retraining.n_trainings <= max(budget, 3)  # all rows come first
        if budget <= 3:
            assert best is None
            assert trials == []
    calls = []
    curve = Curve(5000, CURVES["late"], seeds=0.01)
    _, _, retraining = search(curve, n_seeds=2)
    assert retraining.n_trainings <= 9 * 2
    retraining = curve.retraining(n_seeds=2, on_training=calls.append)
    retraining.trial(np.arange(30))
    assert calls == retraining.trainings
    assert [t.n_rows for t in calls] == [5000, 5000, 30, 30]


def test_search_with_a_forest_on_breast_cancer():
    X, y = load_breast_cancer(return_X_y=True)
    rng = np.random.default_rng(0)
    order = rng.permutation(len(y))
    train, test = order[:380], order[380:]
    forest = RandomForestClassifier(10, min_samples_leaf=3)

    def find():
        retraining = make_retraining(
            forest, Data(X[train], y[train]), Data(X[test], y[test]), scoring="accuracy"
        )
        return smallest_retrained(
            retraining,
            lambda size: np.arange(size),
            largest=380,
            smallest=10,
            max_gap=0.05,
            resolution=1.3,
        )

    best, trials = find()
    assert best.gap.within(0.05)
    assert best.size < 300
    again, more = find()
    assert [(t.size, float(t.gap)) for t in more] == [(t.size, float(t.gap)) for t in trials]
    assert again.size == best.size
