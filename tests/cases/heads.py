"""Problems of heads: seeded, float64, with a truth that autograd computes."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp
import torch

from skprune.heads.features import DenseFeatures, SparseFeatures
from skprune.heads.problem import HeadProblem, Penalty
from skprune.losses.read import HEADS


def make_problem(
    loss="softmax",
    *,
    convention="total",
    n=60,
    d=5,
    outputs=None,
    strength=2.0,
    weighted=True,
    sparse=False,
    seed=0,
):
    """A head problem with an unpenalised column of ones, weights from 0.2 to 2 and zeros in X.

    ``convention`` is "total", "weight" or "count"; ``strength`` is lam of the whole objective in
    every case, so that the conventions are comparable.
    """
    rng = np.random.default_rng([seed, n, d])
    X = rng.normal(size=(n, d)) * np.linspace(0.5, 2.0, d) * (rng.random((n, d)) < 0.7)
    X = np.hstack([X, np.ones((n, 1))])
    K = outputs or {"softmax": 4, "sigmoid": 1, "squared": 1}[loss]
    Z = X @ rng.normal(size=(d + 1, K)) + rng.normal(size=(n, K))
    if loss == "softmax":
        Y = np.eye(K)[Z.argmax(1)]
    elif loss == "sigmoid":
        Y = (Z > 0).astype(float)
    else:
        Y = Z
    w = torch.from_numpy(rng.uniform(0.2, 2.0, n) if weighted else np.ones(n))
    shares = {"total": None, "weight": w, "count": torch.ones_like(w)}[convention]
    lam = strength if shares is None else strength / float(shares.sum())
    mask = torch.ones(d + 1, 1, dtype=torch.float64)
    mask[-1] = 0.0
    features = SparseFeatures(sp.csr_matrix(X)) if sparse else DenseFeatures(torch.from_numpy(X))
    return HeadProblem(features, torch.from_numpy(Y), w, HEADS[loss](), Penalty(lam, mask, shares))


def dense_features(problem):
    """Phi (n, D) as a dense tensor."""
    return problem.features.rows(slice(0, len(problem)))


def reference_loss(name, z, y):
    """The loss of one row (K,), written with torch's own losses, not with the package's."""
    if name == "CrossEntropy":
        return torch.nn.functional.cross_entropy(z[None], y[None], reduction="sum")
    if name == "BinaryCrossEntropy":
        return torch.nn.functional.binary_cross_entropy_with_logits(z, y, reduction="sum")
    return 0.5 * torch.nn.functional.mse_loss(z, y, reduction="sum")


def reference_objective(problem, theta):
    """F_K(theta) from its definition in skprune/heads/problem.py, differentiable by autograd."""
    name = type(problem.loss).__name__
    Z = dense_features(problem) @ theta
    data = sum(
        w * reference_loss(name, z, y)
        for w, z, y in zip(problem.weights, Z, problem.targets, strict=True)
    )
    penalty = problem.penalty
    lam = penalty.strength if penalty.shares is None else penalty.strength * penalty.shares.sum()
    return data + 0.5 * lam * ((penalty.mask * theta) ** 2).sum()


def reference_hessian(problem, theta):
    """The (p, p) Hessian of F_K by autograd, for theta flattened row by row."""
    H = torch.autograd.functional.hessian(lambda t: reference_objective(problem, t), theta)
    return H.reshape(theta.numel(), theta.numel())


def reference_rows(problem, theta):
    """The (n, p) matrix of the a_i of design section 2 by autograd, theta flattened by rows."""
    name, penalty = type(problem.loss).__name__, problem.penalty

    def share(t, phi, y, w, c):
        penalised = 0.5 * penalty.strength * c * ((penalty.mask * t) ** 2).sum()
        return w * reference_loss(name, phi @ t, y) + penalised

    shares = torch.zeros(len(problem)) if penalty.shares is None else penalty.shares
    rows = []
    for phi, y, w, c in zip(
        dense_features(problem), problem.targets, problem.weights, shares, strict=True
    ):
        t = theta.clone().requires_grad_()
        rows.append(torch.autograd.grad(share(t, phi, y, w, c), t)[0].reshape(-1))
    return torch.stack(rows)
