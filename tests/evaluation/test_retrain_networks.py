"""Torch models retrained: compared with modules trained by hand."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases.retraining import Net, Rows, digits, states, unchanged
from sklearn.metrics import accuracy_score, log_loss, mean_squared_error, roc_auc_score
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skprune import InfluencePruner, PruningWarning, Retrain
from skprune.data.sources import as_source
from skprune.data.table import Table, hold_out
from skprune.evaluation.retrained import (
    Data,
    make_retraining,
)
from skprune.network.encoding import SourceRows
from skprune.utils.seeds import child_seeds

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])


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
    hits = np.array([accuracy_score(y_test, z.argmax(1).numpy()) for z in Z])
    auc = np.array([roc_auc_score(y_test, z.softmax(1).numpy(), multi_class="ovr") for z in Z])
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
        if self.end.startswith("mixed"):  # what the linear layer makes is not what comes out
            Z = Z + 0.1 * Z.square()
            return Z.softmax(1) if self.end == "mixed" else Z.log_softmax(1)
        return torch.sigmoid(Z + 0.1 * Z.square())


@pytest.mark.parametrize("end", ["softmax", "mixed", "mixed logarithms"])
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
        P = P.exp() if end == "mixed logarithms" else P
        losses.append(-P[torch.arange(200), torch.from_numpy(y)].log().mean().item())
    assert float(gap) == pytest.approx(losses[1] - losses[0], abs=1e-5)


def test_other_losses_of_modules():
    X, y = digits(200)
    labels = np.stack([y % 2, y > 4, y > 7], axis=1).astype(np.float32)
    numbers = (y[:, None] * np.array([[2.0, -1.0]]) + 3).astype(np.float32)

    def train(outputs, end=None):
        def make(dataset, seed):
            torch.manual_seed(seed + len(dataset))
            return Net(outputs=outputs) if end is None else Ends(end, outputs)

        return make

    def modules(outputs):
        seed = child_seeds(0, 1)[0]
        return [eval_outputs(train(outputs)(range(n), seed), X) for n in (200, 50)]

    def gap(outputs, target, end=None, **options):
        data = Data(X, target)
        retraining = make_retraining(train(outputs, end), data, data, n_seeds=1, **options)
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
    probabilities = [torch.sigmoid(Z[:, 0] + 0.1 * Z[:, 0].square()) for Z in modules(1)]
    full, pruned = (nn.functional.binary_cross_entropy(P, T[:, 0]).item() for P in probabilities)
    assert gap(1, labels[:, 0], end="sigmoid") == pytest.approx(pruned - full, abs=1e-5)
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
    weighted = nn.CrossEntropyLoss(weight=torch.linspace(0.5, 3, 10, dtype=torch.float64))
    full, pruned = (weighted(Z, torch.from_numpy(y)).item() for Z in modules(10))
    assert gap(10, y, loss=weighted) == pytest.approx(pruned - full, abs=1e-5)


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


@pytest.mark.parametrize(
    ("end", "outputs", "numbers"),
    [
        (nn.Identity, 2, False),
        (lambda: nn.Softmax(dim=1), 2, False),
        (nn.Sigmoid, 1, False),
        (nn.Identity, 1, True),
    ],
)
def test_a_budget_beyond_what_a_network_has_learned_keeps_all_rows(end, outputs, numbers, rng):
    X = rng.normal(size=(400, 4)).astype(np.float32)
    y = (X[:, 0] + rng.normal(size=400) > 1.5).astype(np.int64)
    brought = Table(X[300:], y[300:], np.zeros(100, dtype=np.int64), None, np.ones(100))
    choosing = 300 + hold_out(brought, 0.5, None, 0)[0]  # one half of them chooses
    share = y[:300].mean()
    constant = -np.log(np.where(y[choosing] == 1, share, 1 - share)).mean()
    if numbers:
        y = y + np.float32(0.5)
        constant = np.square(y[choosing] - y[:300].mean()).mean() / y[:300].var()

    def train(dataset, seed):
        torch.manual_seed(seed)
        net = nn.Sequential(nn.Linear(4, outputs), end())
        inputs, targets = (torch.stack(list(column)) for column in zip(*dataset, strict=True))
        wanted = targets[:, None] if outputs == 1 else nn.functional.one_hot(targets)
        optimizer = torch.optim.Adam(net.parameters(), 0.05)
        for _ in range(100):
            optimizer.zero_grad()
            nn.functional.mse_loss(net(inputs), wanted.float()).backward()
            optimizer.step()
        return net

    pruner = InfluencePruner(0.9, model=train, verify=Retrain(n_seeds=1), random_state=0)
    with pytest.warns(PruningWarning, match="cannot be pruned .* constant prediction"):
        pruner.fit(X[:300], y[:300], X_val=X[300:], y_val=y[300:])
    learned = pruner.report_.learned
    assert learned.score - learned.gap == pytest.approx(-constant, rel=1e-5)
    assert len(pruner.sample_indices_) == 300
