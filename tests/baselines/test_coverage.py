"""Strategies that cover the rows, against brute force and written-out sums."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import minimize, nnls
from scipy.spatial.distance import cdist
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import pairwise_distances

from skprune.baselines import (
    CRAIG,
    ClassCentre,
    DatasetPruning,
    FacilityLocation,
    Glister,
    GMMatching,
    GradMatch,
    Herding,
    KCenter,
    Prototypes,
    SemDeDup,
    StratifiedRandom,
    Twinning,
    coverage,
)
from skprune.baselines.coverage import facility_location, gradient_distances, graph_cut
from skprune.baselines.evidence import read_evidence
from skprune.baselines.gradients import pursuit
from skprune.baselines.herding import geometric_median, herd

RNG = np.random.default_rng(1)
MODEL = LogisticRegression(C=0.5)  # whose features are the columns as they are


def similarities(n=9):
    D = cdist(*[RNG.normal(size=(n, 2))] * 2)
    return D.max() - D


def value(S, rows):
    return S[list(rows)].max(0).sum()


def test_lazy_facility_location_is_greedy_and_near_the_best():
    for _ in range(5):
        S = similarities()
        order = facility_location(S, 9)
        taken: list[int] = []
        for best in order:
            gains = [value(S, [*taken, j]) for j in range(9)]
            assert value(S, [*taken, best]) == pytest.approx(max(gains))
            taken.append(best)
        optimum = max(value(S, rows) for rows in itertools.combinations(range(9), 3))
        assert value(S, order[:3]) >= (1 - 1 / np.e) * optimum


def test_graph_cut_is_greedy():
    S = similarities()

    def cut(rows):
        return S[rows].sum() - 0.5 * S[np.ix_(rows, rows)].sum()

    taken: list[int] = []
    for best in graph_cut(S, 9):
        left = [j for j in range(9) if j not in taken]
        assert cut([*taken, best]) == pytest.approx(max(cut([*taken, j]) for j in left))
        taken.append(int(best))


def test_large_classes_are_cut_into_parts(monkeypatch):
    X, y = load_digits(return_X_y=True)
    monkeypatch.setattr(coverage, "PART", 50)
    found = FacilityLocation(0.2, random_state=0).fit(X, y)
    assert len(found.sample_indices_) == 359
    assert max(map(len, found.groups(read_evidence(found, X, y), RNG))) <= 50


def test_k_center_is_the_farthest_first():
    X, y = RNG.normal(size=(40, 3)), np.arange(40) % 2
    order = KCenter(12, model=MODEL, min_per_class=0).fit(X, y).ranking_
    D = pairwise_distances(X)
    for k in range(1, 12):
        assert D[order[:k]].min(0).argmax() == order[k]


def test_herding_keeps_the_mean():
    X = RNG.normal(size=(8, 3))
    order = herd(X, X.mean(0), 8)
    for k in range(1, 9):
        rest = np.setdiff1d(np.arange(8), order[: k - 1])
        away = [np.linalg.norm(X[[*order[: k - 1], j]].mean(0) - X.mean(0)) for j in rest]
        assert rest[np.argmin(away)] == order[k - 1]
    X, y = make_classification(300, 5, n_redundant=0, random_state=0)
    herded, random = Herding(0.1, model=MODEL), StratifiedRandom(0.1, random_state=0)
    for pruner in (herded, random):
        pruner.fit(X, y)
    for c in (0, 1):
        mean = X[y == c].mean(0)
        away = [
            np.linalg.norm(X[rows][y[rows] == c].mean(0) - mean)
            for rows in (herded.sample_indices_, random.sample_indices_)
        ]
        assert away[0] < away[1] / 4


def test_the_geometric_median_is_robust():
    X = np.r_[RNG.normal(size=(60, 2)), np.full((20, 2), 50.0)]
    best = minimize(lambda m: np.linalg.norm(X - m, axis=1).sum(), X.mean(0), tol=1e-10).x
    assert_allclose(geometric_median(X), best, atol=1e-4)
    y = np.r_[np.zeros(80, int), np.ones(20, int)]
    rows = np.r_[X, RNG.normal(size=(20, 2))]
    kept = [kind(0.2, model=MODEL).fit(rows, y) for kind in (GMMatching, Herding)]
    outliers = [np.isin(p.sample_indices_, np.arange(60, 80)).sum() for p in kept]
    assert outliers[0] < outliers[1]


def test_distances_to_the_centre_of_the_class():
    X, y = make_classification(90, 5, n_redundant=0, random_state=0)
    centres = np.array([X[y == c].mean(0) for c in (0, 1)])
    d = np.linalg.norm(X - centres[y], axis=1)
    for which, cost in (("near", d), ("far", -d), ("moderate", np.abs(d - np.median(d)))):
        found = ClassCentre(20, which=which, model=MODEL, min_per_class=0).fit(X, y)
        assert_array_equal(found.sample_indices_, np.sort(np.argsort(cost)[:20]))
        assert_allclose(found.scores_, d)


def test_prototypes_and_duplicates():
    angles = np.r_[RNG.normal(0, 0.05, 30), RNG.normal(2, 0.05, 30)]
    X = np.c_[np.cos(angles), np.sin(angles)] * RNG.uniform(1, 3, (60, 1))
    y = np.repeat([0, 1], 30)
    options = {"model": MODEL, "n_clusters": 2, "min_per_class": 0, "random_state": 0}
    directions = X / np.linalg.norm(X, axis=1, keepdims=True)
    centres = np.array([directions[y == c].mean(0) for c in (0, 1)])
    d = np.linalg.norm(directions - centres[y], axis=1)
    hard, easy = (Prototypes(15, which=w, **options).fit(X, y) for w in ("hard", "easy"))
    assert_array_equal(hard.sample_indices_, np.sort(np.argsort(-d)[:15]))
    assert_array_equal(easy.sample_indices_, np.sort(np.argsort(d)[:15]))
    twice = np.r_[X, 2 * X]  # of the same directions
    found = SemDeDup(60, **options).fit(twice, np.r_[y, y])
    assert_array_equal(np.sort(found.sample_indices_ % 60), np.arange(60))


def gradients_of(X, y):
    P = LogisticRegression(C=0.5, tol=1e-10, max_iter=2000).fit(X, y).predict_proba(X)
    return np.einsum("nd,nk->ndk", np.c_[X, np.ones(len(X))], P - np.eye(P.shape[1])[y])


@pytest.fixture(scope="module")
def three():
    return make_classification(120, 5, n_informative=4, n_redundant=0, n_classes=3, random_state=0)


def test_craig_weighs_medoids_by_what_they_stand_for(three):
    X, y = three
    G = gradients_of(X, y).reshape(len(X), -1)
    evidence = read_evidence(CRAIG(), X, y, model=MODEL)
    some, others = np.arange(4), np.arange(3, 20)
    assert_allclose(
        gradient_distances(evidence, some, others), cdist(G[some], G[others]), atol=1e-3
    )
    found = CRAIG(30, model=MODEL).fit(X, y, np.full(120, 2.0))
    kept, counts = found.sample_indices_, np.zeros(120)
    for c in range(3):
        own = kept[y[kept] == c]
        counts[own] = np.bincount(cdist(G[y == c], G[own]).argmin(1), minlength=len(own))
    assert_allclose(found.sample_weight_, 2.0 * counts[kept])
    assert found.sample_weight_.sum() == 240


def test_pursuit_follows_the_residual():
    G, ridge = RNG.normal(size=(15, 4)), 0.3
    total = G.sum(0)
    taken: list[int] = []
    for best in pursuit(G, total, ridge, 8):
        A = G[taken]
        w = np.linalg.solve(A @ A.T + ridge * np.eye(len(taken)), A @ total) if taken else []
        along = G @ (total - (A.T @ w if taken else 0))
        along[taken] = -np.inf
        assert along.argmax() == best
        taken.append(int(best))


@pytest.mark.parametrize("seed", range(3))
def test_pursued_rows_reach_the_sum_with_weights_that_are_not_negative(seed):
    X = np.random.default_rng(seed).lognormal(size=(500, 9))  # skewed: some directions are rare
    X = np.hstack([np.ones((500, 1)), (X - X.mean(0)) / X.std(0)])
    G = X / (1 + np.exp(2 - X[:, [1]]))
    total = G.sum(0)
    taken = pursuit(G, total, 0.01 * np.square(G).sum(1).mean(), 30)
    assert len(set(taken)) == 30
    assert nnls(G[taken].T, total)[1] < 0.001 * np.linalg.norm(total)


def test_gradmatch_adds_up_to_all_rows(three):
    X, y = three
    G = gradients_of(X, y)
    found = GradMatch(30, model=MODEL, regularization=1e-4).fit(X, y)
    kept, w = found.sample_indices_, found.sample_weight_
    for c in range(3):
        own = kept[y[kept] == c]
        A, b = G[own, :, c].T, G[y == c, :, c].sum(0)
        assert np.linalg.norm(A @ w[y[kept] == c] - b) < 0.01 * np.linalg.norm(b)
        ridge = 1e-4 * np.square(G[y == c, :, c]).sum(1).mean()
        A = np.r_[A, ridge**0.5 * np.eye(len(own))]
        b = np.r_[b, np.zeros(len(own))]
        reached = np.linalg.norm(A @ w[y[kept] == c] - b)
        assert reached == pytest.approx(nnls(A, b)[1], rel=0.01)


def test_glister_begins_where_the_validation_loss_falls_fastest(three):
    X, y = three
    G = gradients_of(X, y).reshape(len(X), -1)
    found = Glister(30, model=MODEL, validation_fraction=1.0).fit(X, y)
    assert (G @ G.sum(0)).argmax() == found.ranking_[0]


@pytest.mark.parametrize("solver", ["anneal", "relax"])
def test_dataset_pruning_drops_rows_whose_influence_cancels(three, solver):
    X, y = three
    found = DatasetPruning(60, model=MODEL, solver=solver, random_state=0).fit(X, y)
    influence = read_evidence(found, X, y, model=MODEL).influence
    from skprune.baselines.parameters import ParameterInfluence
    from skprune.influence.gradients import GradientInfluence

    vectors = ParameterInfluence(GradientInfluence(influence.curvature)).rows(slice(None)).numpy()

    def length(kept):
        return np.linalg.norm(np.delete(vectors, kept, axis=0).sum(0))

    random = [length(RNG.permutation(120)[:60]) for _ in range(200)]
    assert length(found.sample_indices_) < min(random) / 2


def test_twins_are_distributed_as_all_rows_are():
    X, y = make_classification(200, 3, n_informative=3, n_redundant=0, random_state=0)

    def energy(rows):
        Z = np.c_[X, np.eye(2)[y]]
        Z = (Z - Z.mean(0)) / Z.std(0)
        return 2 * cdist(Z[rows], Z).mean() - cdist(Z[rows], Z[rows]).mean()

    twins = [energy(Twinning(25, random_state=s).fit(X, y).sample_indices_) for s in range(5)]
    random = [energy(RNG.permutation(200)[:25]) for _ in range(200)]
    assert np.mean(twins) < np.quantile(random, 0.1)
