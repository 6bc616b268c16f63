"""Scores of a trained head against scikit-learn's own numbers and written-out formulas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases.modules import blobs, trained_mlp
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize_scalar
from scipy.stats import entropy
from sklearn.datasets import load_diabetes, make_classification
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import NearestNeighbors

from skprune import TorchProxy
from skprune.baselines import (
    CAL,
    CCS,
    D2,
    EL2N,
    DeepFool,
    Entropy,
    GraNd,
    Herding,
    HighestLoss,
    LeastConfidence,
    Margin,
    SingleInfluence,
    compare,
)
from skprune.baselines.base import ranked

C = 0.3


@pytest.fixture(scope="module", params=[2, 4])
def problem(request):
    """Rows, targets, probabilities, outputs and coefficients of a logistic regression."""
    X, y = make_classification(
        150, 6, n_informative=5, n_redundant=0, n_classes=request.param, random_state=3
    )
    head = LogisticRegression(C=C, tol=1e-10, max_iter=5000).fit(X, y)
    return X, y, head


def scores_of(kind, problem, **options):
    X, y, _ = problem
    return kind(0.2, model=LogisticRegression(C=C), **options).fit(X, y).scores_


def errors_of(problem):
    X, y, head = problem
    return head.predict_proba(X) - np.eye(len(head.classes_))[y]


@pytest.mark.parametrize(
    ("kind", "formula"),
    [
        (HighestLoss, lambda X, y, head: -np.log(head.predict_proba(X)[np.arange(len(y)), y])),
        (LeastConfidence, lambda X, y, head: 1 - head.predict_proba(X).max(1)),
        (Entropy, lambda X, y, head: entropy(head.predict_proba(X), axis=1)),
        (Margin, lambda X, y, head: -np.diff(np.sort(head.predict_proba(X))[:, :-3:-1])[:, 0]),
    ],
)
def test_scores_of_probabilities(problem, kind, formula):
    assert_allclose(scores_of(kind, problem), formula(*problem), rtol=1e-4, atol=1e-6)


def test_el2n_and_grand_are_norms(problem):
    el2n, grand = scores_of(EL2N, problem), scores_of(GraNd, problem)
    E, X = errors_of(problem), problem[0]
    shown = np.linalg.norm(E, axis=1) / (2**0.5 if E.shape[1] == 2 else 1)  # of one output
    assert_allclose(el2n, shown, rtol=1e-4)
    gradients = np.einsum("nd,nk->ndk", np.c_[X, np.ones(len(X))], E).reshape(len(X), -1)
    ratio = grand / np.linalg.norm(gradients, axis=1)
    assert_allclose(ratio, ratio[0], rtol=1e-4)


def test_influence_of_single_rows_is_what_removing_them_does():
    X, y = load_diabetes(return_X_y=True)
    X, y = X[:60] * 20, y[:60]
    score = SingleInfluence(0.5, model=Ridge(alpha=2.0)).fit(X, y).scores_
    full = Ridge(alpha=2.0).fit(X, y)
    leverage = np.c_[X, np.ones(60)]
    H = leverage.T @ leverage + 2.0 * np.diag([1.0] * 10 + [0.0])
    moved = np.linalg.solve(H, leverage.T * (full.predict(X) - y)).T
    expected = np.linalg.norm(moved, axis=1)
    assert_allclose(score / score[0], expected / expected[0], rtol=1e-6)


def test_deepfool_is_the_distance_to_the_boundary(problem):
    X, _, head = problem
    score = scores_of(DeepFool, problem)
    W, b = head.coef_, head.intercept_
    if len(head.classes_) == 2:
        assert_allclose(score, np.abs(X @ W[0] + b[0]) / np.linalg.norm(W[0]), rtol=1e-3)
        return
    for i in range(0, 150, 30):  # the nearest of the ways to other classes, by search
        first = head.predict(X[[i]])[0]
        lengths = []
        for k in set(range(4)) - {first}:
            towards = (W[k] - W[first]) / np.linalg.norm(W[k] - W[first])
            at = minimize_scalar(
                lambda t, k=k, v=towards, i=i, first=first: abs(
                    np.diff(head.decision_function([X[i] + t * v])[0, [k, first]])[0]
                ),
                bounds=(0, 100),
                method="bounded",
                options={"xatol": 1e-9},
            )
            lengths.append(at.x)
        assert score[i] == pytest.approx(min(lengths), rel=1e-3)


def test_cal_is_the_divergence_from_neighbours(problem):
    X, _, head = problem
    P = head.predict_proba(X)
    directions = X / np.linalg.norm(X, axis=1, keepdims=True)
    near = NearestNeighbors(n_neighbors=4).fit(directions).kneighbors(return_distance=False)
    expected = [np.mean([entropy(P[j], P[i]) for j in near[i]]) for i in range(len(X))]
    assert_allclose(scores_of(CAL, problem, n_neighbors=4), expected, rtol=1e-3, atol=1e-7)


def test_scores_of_a_network_are_its_own():
    X, y = blobs(n=60)
    net = trained_mlp(X, y).eval()
    with torch.no_grad():
        P = torch.softmax(net(torch.from_numpy(X)), 1).numpy()
    E = P - np.eye(3)[y]
    assert_allclose(EL2N(model=net).fit(X, y).scores_, np.linalg.norm(E, axis=1), atol=1e-6)
    assert_allclose(Entropy(model=net).fit(X, y).scores_, entropy(P, axis=1), atol=1e-6)


def test_scores_of_several_networks_are_means():
    X, y = blobs(n=60)
    nets = [trained_mlp(X, y, seed=seed) for seed in range(3)]
    errors, gradients = [], []
    for net in nets:
        with torch.no_grad():
            inputs = net.eval()[:3](torch.from_numpy(X)).numpy()
            E = torch.softmax(net(torch.from_numpy(X)), 1).numpy() - np.eye(3)[y]
        errors.append(np.linalg.norm(E, axis=1))
        g = np.einsum("nd,nk->ndk", np.c_[inputs, np.ones(60)], E).reshape(60, -1)
        gradients.append(np.linalg.norm(g, axis=1))
    for model in (nets, TorchProxy(nets)):
        found = EL2N(model=model).fit(X, y).scores_
        assert_allclose(found, np.mean(errors, axis=0), atol=1e-6)
        assert_allclose(GraNd(model=model).fit(X, y).scores_, np.mean(gradients, axis=0), atol=1e-6)
    hard = CCS(difficulty="grand", model=nets).fit(X, y).scores_
    assert_array_equal(hard.argsort(), np.mean(gradients, axis=0).argsort())
    for kind in (Herding, D2):
        with pytest.raises(ValueError, match="through one network, and model holds 3"):
            kind(model=nets).fit(X, y)
    cells = compare(X, y, ["el2n"], [0.5], estimator=LogisticRegression(), model=nets, seeds=1)
    assert {cell["strategy"] for cell in cells.cells} >= {"el2n", "random"}


def test_the_highest_or_the_lowest_are_kept_and_ties_are_cut_by_lot(problem):
    X, y, _ = problem
    for kind, first in ((EL2N, 120), (Margin, 0)):
        pruner = kind(30, min_per_class=0).fit(X, y)
        kept = np.argsort(pruner.scores_)[first : first + 30]
        assert_array_equal(pruner.sample_indices_, np.sort(kept))
    costs = np.repeat([1.0, 0.0], 20)
    orders = [ranked(costs, np.random.default_rng(seed)) for seed in range(2)]
    assert all((order[:20] >= 20).all() for order in orders)
    assert not np.array_equal(*orders)
