"""The recorder of training dynamics, and what is made of it, on hand-made trainings."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import log_softmax, softmax
from scipy.stats import beta, entropy
from sklearn.datasets import load_breast_cancer
from skorch import NeuralNetClassifier
from torch import nn

from skprune.baselines import (
    AUM,
    CCS,
    DUAL,
    EL2N,
    TDDS,
    DynUnc,
    Forgetting,
    RecordDynamics,
    TrainingDynamics,
)

N, T, K = 12, 14, 3
RNG = np.random.default_rng(0)
LOGITS = RNG.normal(size=(T, N, K)).astype(np.float32)
Y = np.arange(N) % K
P = softmax(LOGITS, axis=-1)
TRUE = P[:, np.arange(N), Y]
X = RNG.normal(size=(N, 2))


def recorded(logits=LOGITS, y=Y, path=None, epochs=None):
    dynamics = TrainingDynamics(len(y), path)
    for Z in logits[dynamics.n_epochs : epochs]:
        for rows in np.array_split(RNG.permutation(len(y)), 3):
            dynamics.record(torch.from_numpy(rows), torch.from_numpy(Z[rows]), y[rows])
        dynamics.end_epoch()
    return dynamics


def test_el2n_of_an_epoch():
    for epoch, at in ((3, 2), (99, -1)):
        found = EL2N(0.5, dynamics=recorded(), epoch=epoch).fit(X, Y).scores_
        assert_allclose(found, np.linalg.norm(P[at] - np.eye(K)[Y], axis=1), atol=1e-3)
    hard = CCS(0.5, difficulty="el2n", dynamics=recorded()).fit(X, Y).scores_
    assert_array_equal(hard.argsort(), EL2N(dynamics=recorded()).fit(X, Y).scores_.argsort())


def scores(kind, dynamics=None, **options):
    return kind(0.5, dynamics=dynamics or recorded(), **options).fit(X, Y).scores_


def test_what_is_recorded():
    found = recorded()
    assert found.n_epochs == T
    assert_allclose(found.probability, TRUE, atol=1e-3)
    others = np.where(np.eye(K, dtype=bool)[Y], -np.inf, LOGITS).max(-1)
    own = LOGITS[:, np.arange(N), Y]
    assert_allclose(found.margin, own - others, atol=5e-3)
    assert_array_equal(found.correct, LOGITS.argmax(-1) == Y)
    assert_allclose(found.el2n, np.linalg.norm(P - np.eye(K)[Y], axis=-1), atol=1e-3)
    assert_allclose(found.shift[0], 0)
    assert_allclose(found.shift[1:], entropy(P[1:], P[:-1], axis=-1), atol=5e-3)
    assert found.probability.dtype == np.float16


def test_two_classes_may_have_one_logit():
    z, y = RNG.normal(size=N), np.arange(N) % 2
    one, two = (recorded(Z[None], y) for Z in (z, np.c_[np.zeros(N), z]))
    for name in ("probability", "margin", "el2n"):
        assert_allclose(getattr(one, name), getattr(two, name), atol=2e-3)
    assert_allclose(one.probability[0], np.exp(log_softmax(np.c_[0 * z, z], 1))[np.arange(N), y],
                    atol=1e-3)  # fmt: skip


def test_a_recording_goes_on_where_it_stopped(tmp_path):
    path = tmp_path / "dynamics.npz"
    recorded(path=path, epochs=5)
    resumed, whole = recorded(path=path), recorded()
    for name in ("probability", "margin", "el2n", "shift"):
        assert_array_equal(getattr(resumed, name), getattr(whole, name))
    with pytest.raises(ValueError, match="dynamics of 12 rows, not of 7"):
        TrainingDynamics(7, path)


def test_rows_that_are_missing():
    dynamics = TrainingDynamics(3)
    with pytest.raises(ValueError, match="No epoch has ended"):
        dynamics.margin.any()
    dynamics.record([0, 2], LOGITS[0, :2], Y[:2])
    with pytest.raises(ValueError, match=r"1 of 3 rows were not recorded .* with row 1"):
        dynamics.end_epoch()
    dynamics.record([1], LOGITS[0, 2:3], Y[2:3])
    dynamics.end_epoch()
    dynamics.end_epoch()  # nothing new: as before
    assert_array_equal(*dynamics.probability)
    with pytest.raises(ValueError, match="2 indices, 3 rows of logits and 2 targets"):
        dynamics.record([0, 1], LOGITS[0, :3], Y[:2])
    with pytest.raises(ValueError, match="dynamics are those of 3 rows, and there are 12"):
        AUM(dynamics=dynamics).fit(X, Y)


def test_forgetting_counts_what_is_unlearned():
    right = np.array([[0, 1, 0, 1, 0], [1, 1, 1, 1, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 0]]).T
    y = np.array([0, 1, 0, 1])
    logits = np.zeros((5, 4, 2), dtype=np.float32)
    logits[:, np.arange(4), y] = 2.0 * right - 1
    found = Forgetting(2, dynamics=recorded(logits, y)).fit(np.eye(4), y)
    assert_array_equal(found.scores_, [2, 0, 5, 1])  # never learned counts as most
    assert_array_equal(found.ranking_, [2, 0, 3, 1])


def test_scores_against_their_formulas():
    assert_allclose(scores(AUM), recorded().margin.astype(float).mean(0))
    windows = [TRUE[t : t + 10] for t in range(T - 9)]
    assert_allclose(scores(DynUnc), np.mean([w.std(0) for w in windows], axis=0), atol=1e-3)
    expected = np.mean([w.std(0) * (1 - w.mean(0)) for w in windows], axis=0)
    assert_allclose(scores(DUAL), expected, atol=1e-3)
    moving, shift = np.zeros(N), entropy(P[1:], P[:-1], axis=-1)
    for t in range(T - 1 - 4):
        d = shift[t : t + 5]
        moving = 0.9 * moving + 0.1 * np.sqrt(np.square(d - d.mean(0)).sum(0))
    assert_allclose(scores(TDDS, window=5), moving, atol=3e-3)


def test_scores_of_several_trainings_are_means():
    several = [recorded(), recorded(RNG.normal(size=(5, N, K)).astype(np.float32))]
    e = [np.linalg.norm(P[3] - np.eye(K)[Y], axis=1), several[1].el2n[3]]
    assert_allclose(scores(EL2N, several, epoch=4), np.mean(e, axis=0), atol=1e-3)
    for kind in (AUM, DynUnc, Forgetting, TDDS, DUAL):
        alone = [scores(kind, run) for run in several]
        assert_allclose(scores(kind, several), np.mean(alone, axis=0))
    hard = CCS(0.5, difficulty="forgetting", dynamics=several).fit(X, Y).scores_
    mean = np.mean([scores(Forgetting, run) for run in several], axis=0)
    assert_allclose(hard, (mean - mean.min()) / np.ptp(mean))
    with pytest.raises(ValueError, match="empty list"):
        AUM(dynamics=[]).fit(X, Y)
    with pytest.raises(ValueError, match="those of 3 rows, and there are 12"):
        EL2N(dynamics=[recorded(), TrainingDynamics(3)]).fit(X, Y)


def test_beta_sampling_moves_to_easier_rows():
    dual = DUAL(0.5, dynamics=recorded())
    dual.scores_ = np.ones(N)
    means = np.linspace(0.1, 0.9, N)
    peaks = [means[dual.density(means, pruned).argmax()] for pruned in (0.1, 0.7, 0.95)]
    assert peaks == sorted(peaks)
    assert peaks[0] < peaks[-1]
    b = 15 * (1 - means[:10].mean()) * (1 - 0.7**4)
    assert_allclose(dual.density(means, 0.7), beta.pdf(means, 16 - b, b))
    odds = np.zeros(N)
    for seed in range(200):
        found = DUAL(3, dynamics=recorded(), min_per_class=0, random_state=seed).fit(X, Y)
        odds[found.sample_indices_] += 1
    rank = np.corrcoef(odds, found.scores_ * found.density(TRUE.mean(0), 1 - 3 / N))[0, 1]
    assert rank > 0.8


def test_dynamics_of_a_skorch_net(tmp_path):
    rows, y = load_breast_cancer(return_X_y=True)
    rows = ((rows - rows.mean(0)) / rows.std(0)).astype(np.float32)
    last = {}

    class Watching(RecordDynamics):
        def on_epoch_end(self, net, **kwargs):
            super().on_epoch_end(net, **kwargs)
            last["P"] = net.predict_proba(rows)

    for module in (nn.Linear(30, 2), nn.Sequential(nn.Linear(30, 2), nn.Softmax(1))):
        criterion = nn.CrossEntropyLoss if isinstance(module, nn.Linear) else nn.NLLLoss
        watch = Watching()
        net = NeuralNetClassifier(
            module, criterion=criterion, max_epochs=3, verbose=0, callbacks=[watch]
        ).fit(rows, y)
        found = watch.dynamics_
        assert found.probability.shape == (3, 569)
        P = net.predict_proba(rows)
        assert_allclose(found.probability[-1], P[np.arange(569), y], atol=2e-3)


def test_dynamics_are_made_where_there_are_none():
    rows, y = load_breast_cancer(return_X_y=True)
    labels = y.copy()
    wrong = RNG.permutation(569)[:30]
    labels[wrong] = 1 - labels[wrong]
    aum = AUM(0.1, random_state=0).fit(rows, labels)
    assert np.isin(wrong, aum.sample_indices_).mean() > 0.8  # what it was made to find
