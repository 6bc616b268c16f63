"""Small networks of every kind, with rows, weights and a penalty: for the tests of networks."""

from __future__ import annotations

from contextlib import contextmanager

import numpy as np
import torch
from torch import nn

from skprune.data.arrays import ArraySource
from skprune.losses.cross_entropy import CrossEntropy
from skprune.network.factors import row_gradients
from skprune.network.layers import RowGradients
from skprune.network.module import TorchModel
from skprune.network.problem import NetworkProblem

DEVICES = ["cpu"] + (["cuda"] if torch.cuda.is_available() else [])
N = 10


class Text(nn.Module):
    """Embedding with padding, a bare parameter, norms, attention by hand and by torch."""

    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(7, 4, padding_idx=0)
        self.place = nn.Parameter(0.1 * torch.randn(5, 4))
        self.norm = nn.LayerNorm(4)
        self.q, self.k = nn.Linear(4, 4), nn.Linear(4, 4, bias=False)
        self.layer = nn.TransformerEncoderLayer(4, 2, 6, batch_first=True)
        self.out = nn.Linear(4, 3)

    def forward(self, ids):
        h = self.norm(self.embed(ids) + self.place)
        h = torch.softmax(self.q(h) @ self.k(h).transpose(1, 2), -1) @ h
        h = self.layer(h)
        # Positions merged with the rows, as language models do.
        return self.out(h.reshape(-1, 4)).reshape(len(ids), 5, 3).mean(1)


class Recurrent(nn.Module):
    """Time first, in-place activations: rows are not the first dimension."""

    def __init__(self):
        super().__init__()
        self.rnn, self.fc, self.head = nn.LSTM(3, 4), nn.Linear(4, 4), nn.Linear(4, 2)

    def forward(self, x):
        h, _ = self.rnn(x.transpose(0, 1))
        return self.head(nn.functional.leaky_relu_(self.fc(h), 0.2).mean(0))


class Tied(nn.Module):
    """One weight in two layers, and a layer that is called twice."""

    def __init__(self):
        super().__init__()
        self.a, self.b, self.c = nn.Linear(4, 4), nn.Linear(4, 4), nn.Linear(4, 3)
        self.b.weight = self.a.weight
        self.twice = nn.Linear(4, 4)

    def forward(self, x):
        h = torch.tanh(self.b(torch.tanh(self.a(x))))
        return self.c(torch.tanh(self.twice(torch.tanh(self.twice(h)))))


def mlp():
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3))


def conv():
    return nn.Sequential(
        nn.Conv2d(4, 6, 3, padding=1, stride=2, groups=2),
        nn.BatchNorm2d(6),
        nn.ReLU(inplace=True),
        nn.Conv2d(6, 4, 3, dilation=2, padding="same", padding_mode="circular"),
        nn.GroupNorm(2, 4),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(64, 3),
    )


def conv1d():
    return nn.Sequential(
        nn.Conv1d(3, 4, 3, stride=2, padding=1, bias=False),
        nn.BatchNorm1d(4),
        nn.Tanh(),
        nn.Flatten(),
        nn.Linear(16, 2),
    )


#: Name -> module, shape of a row (None: ids), outputs.
NETWORKS = {
    "mlp": (mlp, (4,), 3),
    "conv": (conv, (4, 8, 8), 3),
    "conv1d": (conv1d, (3, 8), 2),
    "text": (Text, None, 3),
    "recurrent": (Recurrent, (6, 3), 2),
    "tied": (Tied, (4,), 3),
}


def make_module(name):
    torch.manual_seed(0)
    module = NETWORKS[name][0]().double()
    for m in module.modules():
        if isinstance(m, (nn.BatchNorm1d, nn.BatchNorm2d)):
            m.running_mean.normal_()
            m.running_var.uniform_(0.5, 2.0)
    return module


def make_data(name, n=N, seed=1):
    """Rows (n, ...), and class numbers (n,)."""
    rng = np.random.default_rng(seed)
    _, shape, outputs = NETWORKS[name]
    X = rng.integers(0, 7, (n, 5)) if shape is None else rng.normal(size=(n, *shape))
    return X, torch.from_numpy(rng.integers(0, outputs, n))


@contextmanager
def study(module, X, targets, *, loss=None, device="cpu", weighted=True, **options):
    """A frozen problem and the gradients of its rows."""
    model = TorchModel(module, device=device)
    weights = None
    if weighted:
        weights = torch.from_numpy(np.random.default_rng(2).uniform(0.2, 2.0, len(X)))
    with model.frozen():
        problem = NetworkProblem(
            model,
            loss or CrossEntropy(),
            ArraySource(X),
            targets,
            weights=weights,
            **{"penalty": 0.01, "batch_size": 4, **options},
        )
        yield problem, RowGradients(problem)


@contextmanager
def study_case(name, **options):
    """``study`` of one of ``NETWORKS``."""
    X, targets = make_data(name)
    with study(make_module(name), X, targets, **options) as studied:
        yield studied


def rows_of(gradients, indices):
    """g_i of some rows from their factors, (b, p)."""
    dim = gradients.problem.dim
    return torch.cat([row_gradients(gradients.blocks, f, dim) for f in gradients.of(indices)])


def true_gradients(problem):
    """g_i by autograd on the module itself, one row at a time, (n, p)."""
    parameters = list(problem.parameters.values())
    for p in parameters:
        p.requires_grad_(True)
    rows = []
    for batch in problem.batches():
        values = problem.loss.value(problem.direct(batch.inputs), batch.targets)
        for value in values:
            found = torch.autograd.grad(value, parameters, retain_graph=True, allow_unused=True)
            rows.append(
                torch.cat(
                    [
                        (torch.zeros_like(p) if f is None else f).reshape(-1)
                        for p, f in zip(parameters, found, strict=True)
                    ]
                )
            )
    return torch.stack(rows)


def true_gauss_newton(problem):
    """M by Jacobians and output Hessians that autograd makes, (p, p)."""
    M = problem.theta.new_zeros(problem.dim, problem.dim)
    for batch in problem.batches():

        def outputs(theta, batch=batch):
            return problem.outputs(batch.inputs, theta)

        J = torch.autograd.functional.jacobian(outputs, problem.theta.clone())
        for i, z in enumerate(outputs(problem.theta).detach()):

            def value(z, i=i, batch=batch):
                return problem.loss.value(z[None], batch.targets[i : i + 1])[0]

            h = torch.autograd.functional.hessian(value, z)
            M += batch.weights[i] * J[i].T @ h @ J[i]
    return M / problem.total
