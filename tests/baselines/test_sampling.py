"""Strategies that draw: CCS, D2, InfoMax, random rows and random blocks."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_breast_cancer, make_classification
from sklearn.linear_model import LogisticRegression

from skprune.baselines import CCS, D2, EL2N, InfoMax, Random, RandomBlock, StratifiedRandom
from skprune.baselines.blocks import energies, exchange
from skprune.baselines.evidence import read_evidence

X, y = make_classification(200, 4, n_redundant=0, flip_y=0.2, random_state=0)
MODEL = LogisticRegression(C=0.5)


def test_random_rows_are_uniform_and_stratified_ones_are_in_proportion():
    labels = (np.arange(200) < 30).astype(int)
    counts = np.zeros(200)
    for seed in range(400):
        counts[Random(20, random_state=seed).fit(X, labels).sample_indices_] += 1
    assert counts.mean() == 40
    assert counts.std() < 1.3 * (400 * 0.1 * 0.9) ** 0.5
    kept = StratifiedRandom(20, random_state=0).fit(X, labels).sample_indices_
    assert labels[kept].sum() == 3
    assert Random(2, random_state=0).fit(X, np.arange(200) % 100).keep_mask_.sum() == 2
    with pytest.raises(ValueError, match="minimum of every class"):
        StratifiedRandom(2).fit(X, np.arange(200) % 100)


def test_ccs_drops_the_hardest_and_keeps_some_of_every_stratum():
    found = CCS(60, difficulty="el2n", drop=0.2, n_strata=8, model=MODEL, random_state=0).fit(X, y)
    el2n = EL2N(model=MODEL).fit(X, y).scores_
    hardest = np.argsort(-el2n)[:40]
    assert not np.isin(hardest, found.sample_indices_).any()
    rest = np.setdiff1d(np.arange(200), hardest)
    edges = np.linspace(el2n[rest].min(), el2n[rest].max(), 9)
    strata = np.digitize(el2n, edges[1:-1])
    there = np.bincount(strata[rest], minlength=8)
    kept = np.bincount(strata[found.sample_indices_], minlength=8)
    # From the smallest stratum on, each is given an equal share of what is left.
    left, expected = 60, np.zeros(8, dtype=int)
    for done, s in enumerate(np.argsort(there, kind="stable")):
        expected[s] = min(there[s], left // (8 - done))
        left -= expected[s]
    assert_array_equal(kept, expected)
    everything = CCS(200, difficulty="el2n", drop=0.9, model=MODEL).fit(X, y)
    assert len(everything.sample_indices_) == 200


def test_d2_passes_messages():
    found = D2(6, difficulty="el2n", n_neighbors=5, forward=0.7, reverse=0.4, model=MODEL)
    found.fit(X, y)
    distances, near = read_evidence(found, X, y, model=MODEL).neighbours(5)
    score = found.scores_.copy()
    for i in range(200):
        score[i] += sum(
            np.exp(-0.7 * d**2) * found.scores_[j]
            for d, j in zip(distances[i], near[i], strict=True)
        )
    for best in found.ranking_:
        assert score.argmax() == best
        for d, j in zip(distances[best], near[best], strict=True):
            score[j] -= np.exp(-0.4 * d**2) * score[best]
        score[best] = -np.inf


def test_infomax_keeps_one_of_two_that_say_the_same():
    alone = InfoMax(0.3, alpha=0.0, model=MODEL, min_per_class=0).fit(X, y)
    hard = EL2N(0.3, model=MODEL, min_per_class=0).fit(X, y)
    assert_array_equal(alone.sample_indices_, hard.sample_indices_)

    apart = InfoMax(0.3, model=MODEL, min_per_class=0).fit(X, y)
    information = apart.scores_
    distances, near = read_evidence(apart, X, y, model=MODEL).neighbours(5)
    K = np.zeros((200, 200))
    np.put_along_axis(K, near, np.maximum(1 - distances**2 / 2, 0), 1)
    K = np.maximum(K, K.T)

    def value(kept):
        return information[kept].sum() - 0.3 * K[np.ix_(kept, kept)].sum()

    gains, greedy = information.copy(), []
    for _ in range(60):
        greedy.append(int(gains.argmax()))
        gains -= 0.6 * K[greedy[-1]]
        gains[greedy] = -np.inf
    others = [alone.sample_indices_, np.random.default_rng(0).permutation(200)[:60]]
    best, worst = value(greedy), max(map(value, others))
    assert value(apart.sample_indices_) > worst + 0.3 * (best - worst)


def test_a_random_block_is_unbiased_and_spread_out():
    rows, labels = X[:24], y[:24]
    for keep in (6, 7, 18):
        counts = np.zeros(24)
        for seed in range(600):
            block = RandomBlock(keep, model=MODEL, n_sweeps=2, random_state=seed)
            counts[block.fit(rows, labels).sample_indices_] += 1
        p = keep / 24
        assert_allclose(counts / 600, p, atol=4 * (p * (1 - p) / 600) ** 0.5)
    cancer, target = load_breast_cancer(return_X_y=True)

    def close(n_sweeps):
        block = RandomBlock(0.1, n_sweeps=n_sweeps, random_state=0)
        evidence = read_evidence(block, cancer, target)
        parts = block.part(evidence, 57, np.random.default_rng(0))
        assert len(np.unique(parts)) == parts.size == 9 * 57
        return sum(energies(evidence.features[rows]).sum() for rows in parts)

    assert close(5) < 0.99 * close(0)


def test_exchanges_lower_the_energy_of_halves():
    E = energies(np.random.default_rng(0).normal(size=(10, 2)))

    def energy(order):
        return E[np.ix_(order[:5], order[:5])].sum() + E[np.ix_(order[5:], order[5:])].sum()

    every = [np.r_[half, np.setdiff1d(np.arange(10), half)]
             for half in itertools.combinations(range(10), 5)]  # fmt: skip
    values = sorted(map(energy, every))
    found = energy(exchange(E))
    assert found <= energy(np.arange(10))
    assert found <= values[len(values) // 10]
