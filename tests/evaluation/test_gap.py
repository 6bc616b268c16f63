"""The gap and its standard error by hand, scorers against scikit-learn, and the search."""

from __future__ import annotations

import copy
import math
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases.heads import dense_features, make_problem
from cases.pruners import head_pruner
from scipy.special import expit, softmax
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    log_loss,
    make_scorer,
    mean_absolute_error,
    mean_squared_error,
    r2_score,
    roc_auc_score,
)

from skprune.evaluation.certified import CertifiedGap
from skprune.evaluation.head_levels import Predicted, Refit
from skprune.evaluation.held_out import HeldOut
from skprune.evaluation.retrained.gap import RetrainedGap
from skprune.evaluation.scorers import make_scorer as make_head_scorer
from skprune.evaluation.statistics import JACKKNIFE_GROUPS
from skprune.evaluation.tails import tail_index
from skprune.heads.encoding import HeadEncoder
from skprune.heads.linear_spec import read_model
from skprune.heads.problem import fit_head
from skprune.results.gap import Gap
from skprune.search.all_rows import choose_among_all
from skprune.search.request import Budget
from skprune.search.sizes import RESOLUTION, Found, smallest_size
from skprune.search.trial import Trial, path_table
from skprune.subset import Selection
from skprune.utils.progress import Progress


def make_gap(value=0.25, error=0.1):
    return Gap(value, error, "refit", "loss", 40)


def test_gap_is_a_float_that_knows_where_it_comes_from():
    gap = make_gap()
    assert isinstance(gap, float)
    assert gap == 0.25
    assert gap + 1 == 1.25
    assert max(gap, make_gap(0.5)) == 0.5
    assert np.asarray([gap, gap]).sum() == 0.5
    assert f"{gap:.3f}" == "0.250"
    for word in ("0.25", "0.1", "refit", "loss", "40"):
        assert word in repr(gap)


@pytest.mark.parametrize(
    "gap",
    [
        make_gap(),
        RetrainedGap(0.1, 0.02, "loss", 9, 2, 3.0, False),
        CertifiedGap(0.1, 0.02, "certified", "loss", 9, 0.2, 0.95),
    ],
)
@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda gap: pickle.loads(pickle.dumps(gap))]
)
def test_gap_survives_copies_and_pickles(gap, clone):
    gap.failure = "too few rows"
    other = clone(gap)
    assert type(other) is type(gap)
    assert other == gap
    assert vars(other) == vars(gap)


def test_within_adds_one_standard_error():
    assert make_gap(0.05, 0.05).within(0.1)
    assert not make_gap(0.05, 0.0501).within(0.1)
    assert make_gap(-1.0, 0.1).within(0.01)
    assert not make_gap(-1.0, math.inf).within(0.01)
    assert not make_gap(math.nan, 0.0).within(0.01)
    assert not make_gap(0.0, math.nan).within(0.01)


# The loss


def two_heads(problem, rng):
    return (torch.from_numpy(rng.normal(size=problem.theta_shape)) for _ in range(2))


def losses_by_hand(problem, theta):
    """Loss of every row from scikit-learn's metrics, one row at a time."""
    Z, Y = problem.features.forward(theta).numpy(), problem.targets.numpy()
    name = type(problem.loss).__name__
    if name == "SquaredError":
        return np.array([mean_squared_error(y, z) / 2 * len(y) for z, y in zip(Z, Y, strict=True)])
    P = softmax(Z, axis=1) if name == "CrossEntropy" else np.hstack([1 - expit(Z), expit(Z)])
    codes = Y.argmax(1) if name == "CrossEntropy" else Y[:, 0].astype(int)
    labels = np.arange(P.shape[1])
    return np.array([log_loss([c], p[None], labels=labels) for c, p in zip(codes, P, strict=True)])


@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "squared"])
@pytest.mark.parametrize("weighted", [False, True])
def test_paired_loss_and_its_standard_error(loss, weighted, rng):
    problem = make_problem(loss, weighted=weighted)
    held_out = HeldOut(problem, 3.0, "loss", None)
    full, pruned = two_heads(problem, rng)
    gap = held_out.gap(full, pruned, "predicted")
    differences = 3.0 * (losses_by_hand(problem, pruned) - losses_by_hand(problem, full))
    w = problem.weights.numpy() / float(problem.weights.sum())
    mean = w @ differences
    assert float(gap) == pytest.approx(mean, rel=1e-9)
    # The linearised variance of a weighted mean; for equal weights, std / sqrt(n).
    error = np.sqrt(np.sum(w**2 * (differences - mean) ** 2) / (1 - np.sum(w**2)))
    assert gap.standard_error == pytest.approx(error, rel=1e-9)
    if not weighted:
        assert gap.standard_error == pytest.approx(differences.std(ddof=1) / np.sqrt(60), rel=1e-9)
    assert (gap.level, gap.scoring, gap.n_rows) == ("predicted", "loss", 60)
    # Positive is worse, and paired: swapping the heads changes the sign alone.
    back = held_out.gap(pruned, full, "predicted")
    assert float(back) == pytest.approx(-float(gap))
    assert back.standard_error == pytest.approx(gap.standard_error)
    same = held_out.gap(full, full, "predicted")
    assert (float(same), same.standard_error) == (0.0, 0.0)


def test_standard_error_of_a_weighted_gap_against_the_bootstrap(rng):
    problem = make_problem("sigmoid", n=400)
    full, pruned = two_heads(problem, rng)
    gap = HeldOut(problem, 1.0, "loss", None).gap(full, pruned, "refit")
    differences = losses_by_hand(problem, pruned) - losses_by_hand(problem, full)
    w = problem.weights.numpy()
    draws = rng.integers(0, 400, size=(3000, 400))
    means = (w[draws] * differences[draws]).sum(1) / w[draws].sum(1)
    assert gap.standard_error == pytest.approx(means.std(), rel=0.08)


def test_one_held_out_row_has_no_standard_error(rng):
    problem = make_problem("sigmoid", n=4).subset(torch.tensor([2]))
    full, pruned = two_heads(problem, rng)
    gap = HeldOut(problem, 1.0, "loss", None).gap(full, pruned, "refit")
    assert math.isfinite(gap)
    assert gap.standard_error == math.inf
    assert not gap.within(1e9)


@pytest.mark.parametrize("loss", ["softmax", "sigmoid", "squared"])
def test_gradient_of_the_held_out_loss(loss, rng):
    held_out = HeldOut(make_problem(loss), 3.0, "loss", None)
    problem = held_out.problem
    theta, direction = two_heads(problem, rng)
    w = problem.weights.numpy() / float(problem.weights.sum())
    step = 1e-5
    values = [
        3.0 * w @ losses_by_hand(problem, theta + sign * step * direction) for sign in (-1, 1)
    ]
    slope = (values[1] - values[0]) / (2 * step)
    assert float((held_out.gradient(theta) * direction).sum()) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize("strength", [1e-3, 0.0])
def test_random_rows_get_the_penalty_that_serves_them(strength):
    """Few rows, many columns: the best of ridge regressions in closed form; a head without a
    penalty has none to tune."""
    problem = make_problem("squared", convention="count", n=300, d=20, strength=strength)
    rows, theirs = torch.arange(24), problem.subset(torch.arange(24))
    flat = SimpleNamespace(solve=lambda G: G)
    Phi, Y, w = dense_features(theirs), theirs.targets, theirs.weights[:, None]

    def ridge(times):
        mask = problem.penalty.mask[:, 0]
        return torch.linalg.solve(
            Phi.T @ (w * Phi) + times * theirs.penalty.total() * torch.diag(mask), Phi.T @ (w * Y)
        )

    full = fit_head(problem, flat.solve).theta
    held_out = HeldOut(problem, 1.0, "loss", None)
    refit = Refit(Predicted(problem, full, flat, held_out))
    by_hand = [float(held_out.gap(full, ridge(4.0**i), "refit")) for i in range(5)]
    drawn = Selection(rows.numpy())
    assert float(refit.gap(drawn)) == pytest.approx(by_hand[0], rel=1e-4)
    assert float(refit.random_gap(drawn)) == pytest.approx(min(by_hand), rel=1e-4)
    assert refit.random_gap(drawn).tuned == (strength > 0)


# Scorers


def encoded(n_classes, rng, model=None):
    """Rows, an encoder and the encoded problem, with labels that are words."""
    X = rng.normal(size=(200, 3))
    y = X @ rng.normal(size=(3, max(n_classes, 1))) + rng.normal(size=(200, max(n_classes, 1)))
    if n_classes == 0:
        y, classes, task = 7.0 * y[:, 0] + 30, None, "regression"
    else:
        names = np.array(["ash", "birch", "cedar"])
        y = names[y.argmax(1)] if n_classes == 3 else names[(y[:, 0] > 0).astype(int)]
        classes, task = np.unique(y), "classification"
    encoder = HeadEncoder(read_model(model, task), classes).fit(X, y)
    return X, y, encoder, encoder.problem(X, y, np.ones(200))


def scored_gap(scoring, X, y, encoder, problem, heads):
    scorer = make_head_scorer(scoring, encoder, X, y)
    return HeldOut(problem, 1.0, "named", scorer).gap(*heads, "refit")


def test_scorers_of_two_classes(rng):
    X, y, encoder, problem = encoded(2, rng)
    heads = list(two_heads(problem, rng))
    P = [expit(problem.features.forward(t).numpy()[:, 0]) for t in heads]
    labels = [np.where(p > 0.5, "birch", "ash") for p in P]
    by_hand = {
        "accuracy": [accuracy_score(y, v) for v in labels],
        "balanced_accuracy": [balanced_accuracy_score(y, v) for v in labels],
        "roc_auc": [roc_auc_score(y, p) for p in P],
        "neg_log_loss": [-log_loss(y, np.column_stack([1 - p, p])) for p in P],
    }
    for scoring, (full, pruned) in by_hand.items():
        gap = scored_gap(scoring, X, y, encoder, problem, heads)
        assert float(gap) == pytest.approx(full - pruned, abs=1e-9), scoring
        assert 0 < gap.standard_error < 0.2
    losses = HeldOut(problem, 1.0, "loss", None).gap(*heads, "refit")
    gap = scored_gap("neg_log_loss", X, y, encoder, problem, heads)
    assert float(gap) == pytest.approx(float(losses), rel=1e-9)
    assert gap.standard_error == pytest.approx(losses.standard_error, rel=0.5)


def test_two_outputs_for_two_classes_are_scored_by_their_difference(rng):
    Z, y = torch.from_numpy(rng.normal(size=(50, 2))), np.repeat([0, 1], 25)
    reader = SimpleNamespace(classes=np.array([0, 1]))
    score = make_head_scorer("roc_auc", reader, np.zeros((50, 1)), y)(Z)
    assert score(np.arange(50)) == roc_auc_score(y, (Z[:, 1] - Z[:, 0]).numpy())


def test_scorers_of_three_classes(rng):
    X, y, encoder, problem = encoded(3, rng)
    heads = list(two_heads(problem, rng))
    P = [softmax(problem.features.forward(t).numpy(), axis=1) for t in heads]
    by_hand = {
        "accuracy": [accuracy_score(y, encoder.classes[p.argmax(1)]) for p in P],
        "roc_auc_ovr": [roc_auc_score(y, p, multi_class="ovr") for p in P],
        "neg_log_loss": [-log_loss(y, p) for p in P],
    }
    for scoring, (full, pruned) in by_hand.items():
        gap = scored_gap(scoring, X, y, encoder, problem, heads)
        assert float(gap) == pytest.approx(full - pruned, abs=1e-9), scoring


def test_scorers_of_numbers_are_in_the_unit_of_the_target(rng):
    X, y, encoder, problem = encoded(0, rng)
    heads = list(two_heads(problem, rng))
    scale = y.std()
    predicted = [problem.features.forward(t).numpy()[:, 0] * scale for t in heads]
    for scoring, metric in (
        ("r2", r2_score),
        ("neg_mean_absolute_error", lambda t, p: -mean_absolute_error(t, p)),
        (make_scorer(lambda t, p: np.median(np.abs(t - p)), greater_is_better=False), None),
    ):
        gap = scored_gap(scoring, X, y, encoder, problem, heads)
        if metric is None:
            full, pruned = (-np.median(np.abs(y - p)) for p in predicted)
        else:
            full, pruned = (metric(y, p) for p in predicted)
        assert float(gap) == pytest.approx(full - pruned, rel=1e-9)
    # The default loss is a share of Var(y): on the rows it was measured on, 1 - R^2.
    loss = HeldOut(problem, encoder.loss_unit(problem), "loss", None).gap(*heads, "refit")
    assert float(loss) == pytest.approx(
        r2_score(y, predicted[0]) - r2_score(y, predicted[1]), rel=1e-9
    )


def test_a_callable_sees_the_held_out_rows_and_a_fitted_estimator(rng):
    X, y, encoder, problem = encoded(2, rng)
    seen = []

    def scorer(estimator, rows, target):
        seen.append(rows)
        np.testing.assert_array_equal(estimator.classes_, ["ash", "birch"])
        return accuracy_score(target, estimator.predict(rows))

    gap = scored_gap(scorer, X, y, encoder, problem, list(two_heads(problem, rng)))
    np.testing.assert_array_equal(seen[0], X)  # all of them first, for the value
    assert len(seen) == 2 * (1 + JACKKNIFE_GROUPS)
    assert {len(rows) for rows in seen[2:]} == {190}
    assert math.isfinite(gap)


def test_a_callable_may_hand_its_rows_on_in_another_container_but_no_others(rng):
    X, y, encoder, problem = encoded(2, rng)
    heads = list(two_heads(problem, rng))

    def on(change):
        def scorer(estimator, rows, target):
            return accuracy_score(target, estimator.predict(change(rows)))

        return scored_gap(scorer, X, y, encoder, problem, heads)

    assert float(on(np.ndarray.tolist)) == scored_gap("accuracy", X, y, encoder, problem, heads)
    with pytest.raises(ValueError, match="answers for all rows that the scorer is given"):
        on(lambda rows: rows[:7])


def test_labels_of_a_ridge_classifier(rng):
    X, y, encoder, problem = encoded(3, rng, RidgeClassifier(alpha=2.0))
    model = RidgeClassifier(alpha=2.0).fit(X, y)
    theta = torch.from_numpy(np.vstack([model.coef_.T, model.intercept_]))
    gap = scored_gap("accuracy", X, y, encoder, problem, [theta, torch.zeros_like(theta)])
    constant = np.mean(y == "ash")
    assert float(gap) == pytest.approx(model.score(X, y) - constant, abs=1e-12)


def test_jackknife_of_a_mean_is_its_plain_standard_error():
    # With as many groups as rows exactly; with 20 groups on average, within their own noise.
    ratios = []
    for case in range(60):
        rng = np.random.default_rng([case, 5])
        X, y, encoder, problem = encoded(2, rng)
        heads = list(two_heads(problem, rng))
        gap = scored_gap("accuracy", X, y, encoder, problem, heads)
        Z = [problem.features.forward(t).numpy()[:, 0] > 0 for t in heads]
        truth = y == "birch"
        differences = (Z[0] == truth).astype(float) - (Z[1] == truth)
        plain = differences.std(ddof=1) / np.sqrt(200)
        ratios.append(gap.standard_error / plain)
    # A standard deviation of 20 numbers is off by 1 / sqrt(38) = 16 %.
    assert np.mean(ratios) == pytest.approx(1.0, abs=0.05)
    assert np.std(ratios) < 0.25
    assert min(ratios) > 0.4
    assert max(ratios) < 1.7


def test_jackknife_of_few_rows_is_exact(rng):
    X, y, encoder, problem = encoded(2, rng)
    few = np.r_[0:17]
    part = problem.subset(torch.from_numpy(few))
    heads = list(two_heads(problem, rng))
    gap = scored_gap("accuracy", X[few], y[few], encoder, part, heads)
    Z = [part.features.forward(t).numpy()[:, 0] > 0 for t in heads]
    differences = (Z[0] == (y[few] == "birch")).astype(float) - (Z[1] == (y[few] == "birch"))
    assert gap.standard_error == pytest.approx(differences.std(ddof=1) / np.sqrt(17), rel=1e-9)


def test_replicates_without_a_score_are_left_out(rng):
    X, y, encoder, problem = encoded(2, rng)
    heads = list(two_heads(problem, rng))

    def fragile(estimator, rows, target):
        return (
            math.nan
            if X[5, 0] not in rows[:, 0]
            else accuracy_score(target, estimator.predict(rows))
        )

    gap = scored_gap(fragile, X, y, encoder, problem, heads)
    whole = scored_gap("accuracy", X, y, encoder, problem, heads)
    assert float(gap) == float(whole)
    assert 0.5 < gap.standard_error / whole.standard_error < 1.5
    assert gap.standard_error != whole.standard_error
    hopeless = scored_gap(lambda *args: math.nan, X, y, encoder, problem, heads)
    assert not hopeless.within(1e9)


def test_ridge_gap_in_shares_of_the_variance():
    X, y = load_diabetes(return_X_y=True)
    encoder = HeadEncoder(read_model(Ridge(alpha=0.1), "regression"), None).fit(X, y)
    problem = encoder.problem(X, y, np.ones(len(y)))
    models = [Ridge(alpha=alpha).fit(X, y) for alpha in (0.1, 10.0)]
    heads = [torch.from_numpy(np.append(m.coef_, m.intercept_)[:, None] / y.std()) for m in models]
    gap = HeldOut(problem, encoder.loss_unit(problem), "loss", None).gap(*heads, "refit")
    mse = [mean_squared_error(y, m.predict(X)) for m in models]
    assert float(gap) == pytest.approx((mse[1] - mse[0]) / y.var(), rel=1e-9)


# The search over sizes


def fake_trial(size, gap):
    return Trial(Selection(np.arange(size)), {"refit": gap}, ("refit",), None, 0.0)


@pytest.mark.parametrize("threshold", [1, 3, 17, 260, 499, 501, 730, 940])
@pytest.mark.parametrize("smallest", [1, 20])
def test_search_finds_the_smallest_allowed_size(threshold, smallest):
    calls = []

    def trial(size, warm, with_random):
        calls.append((size, warm))
        return fake_trial(size, make_gap(0.0 if size >= threshold else 1.0, 0.0))

    best, trials = smallest_size(trial, largest=1000, smallest=smallest, max_gap=0.5)
    wanted = max(threshold, smallest)
    assert best.size >= wanted
    assert best.size <= max(wanted * RESOLUTION + 1, smallest)
    assert best.size == min(t.size for t in trials if t.gap.within(0.5))
    assert [t.size for t in trials] == [size for size, _ in calls]
    assert all(smallest <= size < 1000 for size, _ in calls)
    # Every trial starts within the rows of the last one that was allowed.
    allowed = None
    for size, warm in calls:
        assert (warm is None) if allowed is None else (len(warm) == allowed)
        if size >= threshold:
            allowed = size
    assert len(trials) < 25


def test_search_where_nothing_is_allowed_or_nothing_can_go():
    refused = smallest_size(
        lambda size, *_: fake_trial(size, make_gap(1.0)), largest=100, smallest=2, max_gap=0.5
    )
    assert refused[0] is None
    assert max(t.size for t in refused[1]) > 90  # it did try to remove only a few
    for smallest in (1, 10):
        best, trials = smallest_size(None, largest=smallest, smallest=smallest, max_gap=0.5)
        assert best is None
        assert trials == []


class Curve:
    """Candidates among ``n`` rows whose gap is known."""

    judge, minima, dearest = None, np.array([1]), SimpleNamespace(affords=lambda size: True)

    def __init__(self, n, gap):
        self.n, self.gap = n, gap

    def __len__(self):
        return self.n

    def trial(self, size, warm=None, **options):
        return fake_trial(size, make_gap(float(self.gap(size)), 0.0))


def among_all(train, whole, size=None):
    best = fake_trial(10, make_gap(0.0, 0.0))
    found = Found(best, best, [best], None, Curve(100, train), None)
    return choose_among_all(Budget(0.5, size, size), found, Curve(200, whole), Progress())


@pytest.mark.parametrize(
    ("train_limit", "whole_limit", "expected"),
    [
        (1, 1, 10),  # allowed at once
        (1, 60, 32),  # 10, 13, 17, 22, 28, 35 of 100 are 20 ... 70 of 200
        (20, 1, 10),
        (40, 50, 44),  # a larger trial must be allowed itself, too
        (1, 500, None),  # never
    ],
)
def test_a_share_that_is_not_allowed_among_all_rows_grows(train_limit, whole_limit, expected):
    found = among_all(lambda size: size < train_limit, lambda size: size < whole_limit)
    if expected is None:
        assert found.best is found.final is None
        return
    assert found.best.size >= expected
    assert found.best.gap.within(0.5)
    assert found.final.gap.within(0.5)
    assert found.final.size == 2 * found.best.size
    assert found.best is found.trials[-1]


def test_a_fixed_size_is_measured_and_kept_whatever_it_costs():
    found = among_all(lambda size: 1.0, lambda size: 1.0, size=25)
    assert found.final.size == 25
    assert found.final.gap == 1.0


def test_path_is_sorted_by_size():
    trials = [
        fake_trial(size, make_gap(gap, 0.01)) for size, gap in ((50, 0.0), (25, 0.3), (35, 0.1))
    ]
    path = path_table(trials, trials[2], make_gap(0.7), 100, 0.2)
    assert path["n_kept"].tolist() == [50, 35, 25]
    assert path["share"].tolist() == [0.5, 0.35, 0.25]
    assert path["refit_gap"].tolist() == [0.0, 0.1, 0.3]
    assert path["allowed"].tolist() == [True, True, False]
    np.testing.assert_array_equal(path["random_gap"], [np.nan, 0.7, np.nan])


@pytest.mark.parametrize(
    ("draw", "heavy"),
    [
        ("standard_cauchy", True),
        ("standard_normal", False),
        ("lognormal", False),
        ("constant", False),
    ],
)
@pytest.mark.parametrize("rare", [False, True])
def test_heavy_tails_of_the_outputs_cast_doubt_on_the_standard_error(draw, heavy, rare):
    spoken = []
    for seed in range(6):
        rng = np.random.default_rng(seed)
        X = np.zeros((2000, 5)) if draw == "constant" else getattr(rng, draw)(size=(2000, 5))
        Z = X @ rng.normal(size=5) + rng.logistic(size=2000)
        y = np.quantile(Z, 0.99 if rare else 0.5) < Z
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            report = head_pruner(keep=0.3, random_state=seed).fit(X, y).report_
        doubts = [d for d in report.diagnostics if "heavy tails" in d]
        assert len(doubts) == sum("heavy tails" in str(w.message) for w in caught)
        spoken.append(len(doubts))
    assert sum(spoken) >= 5 if heavy else sum(spoken) == 0


def test_a_bounded_score_is_not_doubted(rng):
    X = rng.standard_cauchy((2000, 5))
    y = X.sum(1) + rng.logistic(size=2000) > 0
    assert not head_pruner(keep=0.3, scoring="accuracy").fit(X, y).report_.diagnostics


@pytest.mark.parametrize("index", [0.7, 1.0, 2.0, 4.0])
def test_tail_index_of_pareto_outputs(index):
    # Quantiles of the Pareto distribution, the largest at odds of 1 / 2000; zeros fix the median.
    sizes = torch.arange(1.0, 2001.0, dtype=torch.float64).div(2000).pow(-1 / index)[:, None]
    signs = torch.ones_like(sizes)
    signs[::2] = -1
    outputs = torch.cat([sizes * signs, torch.zeros(2100, 1)])
    assert tail_index(outputs) == pytest.approx(index, rel=1e-3)
    assert tail_index(7.0 * outputs + 3.0) == pytest.approx(index, rel=1e-3)
    assert tail_index(sizes[:49]) == tail_index(torch.ones(90, 2)) == math.inf
