"""Seeds, intervals and the search over sizes, on curves that are known."""

from __future__ import annotations

import math
import pickle

import numpy as np
import pytest
from cases.retraining import Curve, digits
from scipy import stats
from sklearn.datasets import load_breast_cancer
from sklearn.ensemble import RandomForestClassifier
from torch import nn

from skprune.evaluation.retrained import Data, RetrainedGap, make_retraining
from skprune.evaluation.retrained.level import Retrained
from skprune.search.few_trainings import SIZES, smallest_judged
from skprune.search.trial import Trial
from skprune.subset import Selection
from skprune.utils.seeds import child_seeds

# Several seeds, and their interval


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
    def spent(gap, seeds, limit):
        counts = []
        for draw in range(15):
            curve = Curve(100, lambda m: gap, seeds=seeds, draw=draw)
            retraining = curve.retraining(n_seeds=5)
            trial = retraining.trial(np.arange(50), limit=limit)
            assert retraining.n_trainings == trial.gap.n_seeds + 5
            counts.append(trial.gap.n_seeds)
        return np.array(counts)

    assert spent(0.5, 0.005, 0.1).max() == 1  # far too large
    assert spent(0.0, 0.005, 0.1).mean() < 1.2  # far within
    close = spent(0.1, 0.005, 0.1)
    assert close.mean() > 3
    assert spent(0.5, 0.005, None).min() == 5
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


# The search


CURVES = {
    "inverse": lambda m: 25.0 / m - 25.0 / 5000,
    "root": lambda m: 2 * (m**-0.5 - 5000**-0.5),
    "late": lambda m: max(0.0, 0.03 * math.log(2000 / m)),
    "step": lambda m: 0.0 if m > 700 else 1.0,
    "flat": lambda m: 0.019 if m > 1500 else 0.021,
}
KNOWN = np.array([60, 120, 250, 500, 1000, 2000, 4000])
GUESSES = {
    "none": lambda gap: None,
    "half": lambda gap: (KNOWN, [0.5 * gap(m) for m in KNOWN]),
    "double": lambda gap: (KNOWN[::-1], [2 * gap(m) for m in KNOWN[::-1]]),
    "wrong": lambda gap: (KNOWN, [0.1, 0.0, 0.3, math.nan, -0.2, 0.0, 0.0]),
}


def search(curve, max_gap=0.02, smallest=20, guess=None, n_seeds=3):
    retraining = curve.retraining(n_seeds=n_seeds)
    best, trials = found_by(retraining, len(curve), smallest, max_gap, guess=guess)
    assert len({t.size for t in trials}) == len(trials)
    allowed = [t for t in trials if t.gap.within(max_gap)]
    assert best is (min(allowed, key=lambda t: t.size) if allowed else None)
    return best, trials, retraining


def found_by(retraining, largest, smallest, max_gap, **options):
    judge = Retrained(retraining, "")

    def attempt(size):
        kept = Selection(np.arange(size))
        return Trial(kept, {judge.level: judge.gap(kept, max_gap)}, (judge.level,), None, 0.0)

    bounds = {"largest": largest, "smallest": smallest, "max_gap": max_gap}
    return smallest_judged(attempt, judge.affords, **bounds, **options)


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
    spent = len(trials) == SIZES or not Retrained(retraining, "").affords(2 * best.size)
    assert crossing <= best.size
    assert best.size <= 1.1 * crossing + 1 or (spent and shape in ("step", "flat"))
    assert retraining.deterministic
    assert retraining.n_trainings == len(trials) + 2
    # Where the measured gaps lead nowhere, bisection would take 6 sizes, and the detour a few.
    most = {"step": 11, "flat": 9}.get(shape, 7)
    assert len(trials) <= (11 if guess == "wrong" else most)


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


@pytest.mark.parametrize("shape", CURVES)
@pytest.mark.parametrize("n_seeds", [1, 2])
def test_search_stays_within_its_budget(shape, n_seeds):
    """With the rows that are handed out."""
    curve = Curve(5000, CURVES[shape], seeds=0.01, both=0.05)
    best, _, retraining = search(curve, n_seeds=n_seeds)
    trained = sum(t.n_rows for t in retraining.trainings)
    handed_out = 0 if best is None else best.size * n_seeds
    beside = 5000 * n_seeds  # the model on all rows beside which these are measured
    assert trained + handed_out + beside <= 5 * 5000 * n_seeds


def test_every_training_is_told():
    calls = []
    curve = Curve(5000, CURVES["late"], seeds=0.01)
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
        return found_by(retraining, 380, 10, 0.05, resolution=1.3)

    best, trials = find()
    assert best.gap.within(0.05)
    assert best.size < 300
    again, more = find()
    assert [(t.size, float(t.gap)) for t in more] == [(t.size, float(t.gap)) for t in trials]
    assert again.size == best.size
