"""Balanced sampling: chances, draws, weights, the sums over leaves and the pilot."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from cases.heads import make_problem
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.calibration import CalibratedClassifierCV
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

import skprune.influence.leaves as leaves_module
from skprune import InfluencePruner, PrunedClassifier
from skprune.data.strata import group_minima
from skprune.heads.weighting import wants_weights
from skprune.influence.leaves import MOST_COLUMNS, TREES, grow_forest, leaf_influence
from skprune.influence.operator import DenseInfluence, RestrictedInfluence, SparseInfluence
from skprune.influence.stacked import StackedInfluence, in_proportion
from skprune.influence.weighted import WeightedInfluence
from skprune.proxies.head import fit_curvature
from skprune.proxies.pilot import fit_pilot
from skprune.subset.balanced import Balance, balanced_rows
from skprune.subset.inclusion import UNIFORM, capped, draw, inclusion_chances


def make_rows(n=400, n_classes=3, seed=0):
    """Columns, the first with gaps, and classes with 3 rows of the last; or numbers."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, 4))
    signal = X[:, 1] + X[:, 2] * X[:, 3] + 0.5 * rng.normal(size=n)
    X[rng.random(n) < 0.1, 0] = np.nan
    if n_classes is None:
        return X, 1e4 + 1e3 * signal
    y = (signal > 0).astype(np.int64) if n_classes > 1 else np.zeros(n, dtype=np.int64)
    y[: 3 * (n_classes > 2)] = n_classes - 1
    return X, y


def in_groups(y):
    return y if y.dtype.kind == "i" else np.zeros(len(y), dtype=np.int64)


def leaves_of(X, y, n_classes, seed, weights=None):
    forest = grow_forest(X, y, n_classes, seed=seed, weights=weights)
    return leaf_influence(forest, X, y, n_classes, weights=weights)


class TestWeightedSums:
    def operators(self):
        S = np.random.default_rng(1).normal(size=(60, 7))
        problem = make_problem(convention="weight")
        head = fit_curvature(problem, "dense").influence(problem)
        dense = DenseInfluence(torch.from_numpy(S))
        leaves = leaves_of(*make_rows(60), 3, seed=0)
        restricted = RestrictedInfluence(dense, torch.arange(59, -1, -1))
        return [head, dense, leaves, restricted, StackedInfluence([head, leaves])]

    def test_every_operator_sums_weighted_rows(self):
        w = torch.linspace(0.5, 3.0, 60, dtype=torch.float64)
        rows = torch.tensor([3, 11, 40])
        close = {"rtol": 1e-5, "atol": 1e-5}
        for operator in self.operators():
            S = operator.rows(torch.arange(60)).double()
            total = operator.sum(rows, w[rows])
            torch.testing.assert_close(total, w[rows] @ S[rows], **close)
            weighted = WeightedInfluence(operator, w)
            V, c = w[:, None] * S, w.flip(0)
            torch.testing.assert_close(weighted.rows(rows).double(), V[rows], **close)
            torch.testing.assert_close(weighted.sum(rows), V[rows].sum(0), **close)
            torch.testing.assert_close(weighted.sum(rows, c[rows]), c[rows] @ V[rows], **close)
            torch.testing.assert_close(weighted.weighted_sum(c), c @ V, **close)
            torch.testing.assert_close(
                weighted.squared_norms().double(), V.square().sum(1), **close
            )
            d = torch.ones(operator.dim, dtype=torch.float64)
            torch.testing.assert_close(weighted.scores(d).double(), V @ d, **close)
            off = weighted.residual(rows.numpy())
            torch.testing.assert_close(off, V[rows].sum(0) - S.sum(0), **close)

    def test_parts_have_their_shares(self):
        parts = self.operators()[:3]
        stack = in_proportion([*parts, DenseInfluence(torch.zeros(60, 1))], [1.0, 0.5, 2.0, 1.0])
        rows = stack.rows(torch.arange(60)).double().square()
        sizes = [part.dim for part in parts] + [1]
        shares = [float(block.sum(1).mean()) for block in rows.split(sizes, dim=1)]
        assert_allclose(shares, [1.0, 0.5, 2.0, 0.0], rtol=1e-5)


class TestLeaves:
    @pytest.mark.parametrize("n_classes", [3, None])
    def test_sums_are_counts_by_leaf_and_class(self, n_classes):
        """Undo the scaling: a row is in one leaf a tree, and columns sum to numbers of rows."""
        X, y = make_rows(n_classes=n_classes)
        w = np.random.default_rng(2).uniform(0.5, 2.0, len(y))
        operator = leaves_of(X, y, n_classes, seed=3, weights=w)
        S = operator.vectors.toarray().astype(float)
        squares = np.mean(S**2, axis=0)  # q scaled by q^-1/4, twice: the root of q
        raw = S * np.sqrt(squares)
        S_all = operator.weighted_sum(torch.ones(len(y), dtype=torch.float64)).numpy()
        assert_allclose(S_all * np.sqrt(squares), raw.sum(0), rtol=1e-5, atol=1e-4)
        z = w * (y - np.average(y, weights=w)) if n_classes is None else w
        if n_classes is None:
            z = z / np.sqrt(np.average((y - np.average(y, weights=w)) ** 2, weights=w))
        assert_allclose(raw.sum(1), TREES * (w + z), rtol=1e-4, atol=1e-3)
        # Each column holds one value a row, or nothing: w or z.
        held = raw != 0
        near = np.isclose(raw, w[:, None], rtol=1e-4) | np.isclose(raw, z[:, None], rtol=1e-4)
        assert near[held].all()
        assert_array_equal(held.sum(1)[z != 0], 2 * TREES)

    def test_equal_seeds_equal_vectors(self):
        X, y = make_rows()
        first, again, other = (leaves_of(X, y, 3, seed=s).vectors.toarray() for s in (1, 1, 2))
        assert_array_equal(first, again)
        assert first.shape != other.shape or (first != other).any()

    def test_many_classes_do_not_blow_up(self):
        X, _ = make_rows(3000)
        y = np.arange(3000) % 500
        operator = leaves_of(X, y, 500, seed=0)
        assert operator.dim == MOST_COLUMNS

    def test_very_many_rows_grow_fewer_trees(self, monkeypatch):
        monkeypatch.setattr(leaves_module, "HELD_NUMBERS", 8000)
        assert leaves_of(*make_rows(), 3, seed=0).vectors.nnz == 8000

    def test_extreme_columns(self):
        X, y = make_rows()
        X[0, 1], X[1, 1] = 1e50, -np.inf
        assert np.isfinite(leaves_of(X, y, 3, seed=0).vectors.data).all()
        assert leaves_of(X, np.ones(len(X)), None, seed=0).dim > 0


class TestChances:
    def test_formula(self):
        r = np.random.default_rng(0).uniform(0, 2, 50)
        none = np.zeros(50, dtype=np.int64)
        chances = inclusion_chances(10, none, np.zeros(1, dtype=np.int64), r)
        assert_allclose(chances, 10 / 50 * (UNIFORM + (1 - UNIFORM) * r / r.mean()))

    @pytest.mark.parametrize("size", [30, 60, 199, 200])
    def test_sums_bounds_and_minima(self, size):
        rng = np.random.default_rng(size)
        r, w = rng.pareto(1.0, 200), rng.uniform(0.1, 5.0, 200)
        groups = np.r_[np.zeros(150), np.ones(47), np.full(3, 2)].astype(np.int64)
        minima = group_minima(groups, 10)
        for residuals in (r, None, np.zeros(200)):
            chances = inclusion_chances(size, groups, minima, residuals, w)
            assert chances.sum() == pytest.approx(size)
            assert chances.min() > 0
            assert chances.max() <= 1.0
            assert (np.bincount(groups, chances) >= minima - 1e-9).all()
            assert_allclose(chances[groups == 2], 1.0)
            free = (chances < 1.0) & (groups == 0)
            if residuals is not None and free.any():  # equal factors below the cap
                sizes = (
                    w if residuals.max() == 0 else w * (0.5 + 0.5 * r / np.average(r, weights=w))
                )
                assert np.ptp((chances / sizes)[free]) < 1e-9

    @pytest.mark.parametrize("total", [0, 3, 11, 19, 30])
    def test_numbers_in_proportion_by_bisection(self, total):
        """min(1, c times the size) sums to the total; sizes of 0 share what is left alike."""
        sizes = np.random.default_rng(total).pareto(0.5, 30)
        sizes[:12] = 0.0
        low, high = 0.0, 1e12
        for _ in range(200):
            middle = (low + high) / 2
            if np.minimum(1.0, middle * sizes).sum() > total:
                high = middle
            else:
                low = middle
        expected = np.minimum(1.0, low * sizes)
        expected[:12] = max(0, total - 18) / 12
        assert_allclose(capped(sizes, total), expected, atol=1e-9)

    @pytest.mark.parametrize("size", [5035, 38_268, 59_929])
    def test_a_group_that_is_all_of_the_rows(self, size):
        """The sum of many chances falls short of the minimum by rounding."""
        one = np.zeros(100_000, dtype=np.int64)
        chances = inclusion_chances(size, one, np.array([size]))
        assert_allclose(chances, size / len(one))
        assert len(draw(chances, one, np.random.default_rng(0))) == size

    def test_draws_have_the_chances(self):
        rng = np.random.default_rng(0)
        groups = np.repeat([0, 1], [30, 10])
        minima = np.array([3, 4])
        chances = inclusion_chances(12, groups, minima, rng.exponential(size=40))
        found, draws = np.zeros(40), 4000
        for _ in range(draws):
            rows = draw(chances, groups, rng)
            assert len(rows) == 12
            assert (np.bincount(groups[rows], minlength=2) >= minima).all()
            found[rows] += 1
        error = np.sqrt(np.maximum(chances * (1 - chances), 1e-12) / draws)
        assert (np.abs(found / draws - chances) < 4.5 * error).all()


class TestBalancedRows:
    def select(self, X, y, n_classes, size=100, *, minimum=5, weighted=True, seed=0, **options):
        leaves = leaves_of(X, y, n_classes, seed=7)
        groups = in_groups(y)
        minima = group_minima(groups, minimum)
        residuals = fit_pilot(X, y, n_classes, seed=7).residuals if weighted else None
        rng = np.random.default_rng(seed)
        found = balanced_rows(
            Balance([leaves], [1.0], residuals),
            size,
            groups=groups,
            minima=minima,
            rng=rng,
            **options,
        )
        return found, leaves

    @pytest.mark.parametrize("n_classes", [3, None])
    @pytest.mark.parametrize("weighted", [True, False])
    def test_balance_minima_and_seeds(self, n_classes, weighted):
        X, y = make_rows(n_classes=n_classes)
        found, leaves = self.select(X, y, n_classes, weighted=weighted)
        assert len(np.unique(found.indices)) == 100
        assert found.norm < 0.7 * found.start_norm
        if n_classes is not None:
            assert_array_equal(np.bincount(y[found.indices])[2], 3)
        again, _ = self.select(X, y, n_classes, weighted=weighted)
        assert_array_equal(found.indices, again.indices)
        other, _ = self.select(X, y, n_classes, weighted=weighted, seed=1)
        assert not np.array_equal(found.indices, other.indices)
        if not weighted:
            assert found.weights is None
            return
        assert_array_equal(found.weights, again.weights)
        assert found.weights.sum() == pytest.approx(400)
        # The weighted sums are nearly those of all rows, in units of a row.
        S = leaves.vectors.toarray().astype(float)
        off = found.weights @ S[found.indices] - S.sum(0)
        unit = np.sqrt(np.mean(np.square(S).sum(1)))
        assert np.linalg.norm(off) / unit == pytest.approx(found.norm, rel=0.1)

    def test_of_rows_that_count_alike_every_class_keeps_its_share(self):
        X, y = make_rows()
        for seed in range(5):
            found, _ = self.select(X, y, 3, minimum=1, weighted=False, seed=seed)
            assert (np.bincount(y[found.indices], minlength=3) >= np.bincount(y) // 4).all()

    def test_the_callers_weights_count_in_the_totals(self):
        X, y = make_rows()
        w = np.random.default_rng(5).uniform(0.2, 4.0, len(y))
        leaves = leaves_of(X, y, 3, seed=0, weights=w)
        r = np.random.default_rng(6).random(len(y))
        groups, minima = y, group_minima(y, 3)
        rng = np.random.default_rng(0)
        found = balanced_rows(
            Balance([leaves], [1.0], r), 100, groups=groups, minima=minima, rng=rng, weights=w
        )
        stands_for = found.weights * w[found.indices]
        assert stands_for.sum() == pytest.approx(w.sum())
        in_class = np.bincount(y, w)
        kept = np.bincount(y[found.indices], stands_for)
        assert_allclose(kept, in_class, rtol=0.05)

    def test_totals_of_what_is_not_balanced_are_unbiased(self):
        """A total known in advance, of numbers that the vectors know nothing of."""
        rng = np.random.default_rng(0)
        n, size = 600, 120
        r = rng.exponential(size=n)
        f = 1.0 + r + rng.normal(size=n)
        vectors = np.column_stack([np.ones(n), rng.normal(size=(n, 3))])
        groups, minima = np.zeros(n, dtype=np.int64), np.zeros(1, dtype=np.int64)
        estimates, drawn = [], []
        for _ in range(300):
            found = balanced_rows(
                Balance([DenseInfluence(torch.from_numpy(vectors))], [1.0], r),
                size,
                groups=groups,
                minima=minima,
                rng=rng,
            )
            estimates.append(found.weights @ f[found.indices])
            drawn.append(f[found.indices].sum() * n / size)
        estimates = np.array(estimates)
        error = estimates.std() / np.sqrt(len(estimates))
        assert abs(estimates.mean() - f.sum()) < 4 * error
        assert np.mean(drawn) > 1.2 * f.sum()  # without the weights, far off

    def test_all_rows_and_few(self):
        X, y = make_rows()
        found, _ = self.select(X, y, 3, size=400)
        assert_array_equal(found.indices, np.arange(400))
        assert_allclose(found.weights, 1.0)
        found, _ = self.select(X, y, 3, size=3, minimum=1)
        assert_array_equal(np.sort(y[found.indices]), [0, 1, 2])


class TestPilot:
    @pytest.mark.parametrize("n_classes", [2, 3])
    def test_classes(self, n_classes):
        X, y = make_rows(1500, n_classes)
        pilot = fit_pilot(X, y, n_classes, seed=0)
        P = pilot.predictions
        assert_allclose(P.sum(1), 1.0)
        assert np.mean(P.argmax(1) == y) > 0.7
        apart = np.sqrt((np.square(np.eye(n_classes)[y] - P)).sum(1) / 2)
        assert_allclose(pilot.residuals, apart)
        assert pilot.residuals.max() <= 1.0
        assert_array_equal(fit_pilot(X, y, n_classes, seed=0).predictions, P)

    def test_numbers_of_any_unit(self):
        X, y = make_rows(1500, None)
        pilot = fit_pilot(X, y, None, seed=0)
        assert_allclose(pilot.residuals, np.abs(y - pilot.predictions))
        assert np.mean(pilot.residuals**2) < 0.5 * y.var()
        huge = fit_pilot(X, 1e40 * y, None, seed=0)
        assert_allclose(huge.predictions, 1e40 * pilot.predictions, rtol=1e-6)

    def test_no_row_is_predicted_by_its_copy(self):
        """Labels at random: only a boosting that has seen a row's copy can know them."""
        rng = np.random.default_rng(0)
        X = np.tile(rng.normal(size=(300, 2)), (4, 1))
        units = np.tile(np.arange(300), 4)
        y = np.tile(rng.integers(0, 2, 300), 4)
        right = [
            np.mean(fit_pilot(X, y, 2, seed=0, units=u).predictions.argmax(1) == y)
            for u in (units, None)
        ]
        assert right[0] < 0.6 < 0.7 < right[1]

    def test_weights_count(self):
        X, _ = make_rows(600)
        y = np.arange(600) % 2
        w = np.where(y == 1, 9.0, 1.0)
        chances = fit_pilot(X, y, 2, seed=0, weights=w).predictions[:, 1]
        assert chances.mean() > 0.75

    @pytest.mark.parametrize(
        ("y", "n_classes"),
        [
            ([0], 1),
            ([0] * 5, 1),
            ([0, 1], 2),
            ([0] * 8 + [1], 2),
            ([0, 1, 2, 3], 4),
            ([0] * 20 + [1] * 20 + [2], 4),
            ([1.5], None),
            ([2.0] * 6, None),
        ],
    )
    def test_rare_missing_and_constant(self, y, n_classes):
        y = np.array(y)
        X = np.random.default_rng(0).normal(size=(len(y), 2))
        pilot = fit_pilot(X, y, n_classes, seed=0)
        assert np.isfinite(pilot.residuals).all()
        assert (pilot.residuals >= 0).all()
        if n_classes is not None:
            assert_allclose(pilot.predictions.sum(1), 1.0)
        together = fit_pilot(X, y, n_classes, seed=0, units=np.zeros(len(y), dtype=np.int64))
        assert np.isfinite(together.residuals).all()


def test_sparse_sums_stay_in_float64():
    operator = leaves_of(*make_rows(), 3, seed=0)
    assert isinstance(operator, SparseInfluence)
    assert operator.sum(torch.arange(5), torch.ones(5)).dtype == torch.float64


@pytest.mark.parametrize(
    ("estimator", "wanted"),
    [
        (HistGradientBoostingClassifier(), True),
        (make_pipeline(StandardScaler(), LogisticRegression()), True),
        (RandomForestRegressor(), True),
        (make_pipeline(StandardScaler(), SVC()), False),
        (CalibratedClassifierCV(SVC()), False),
        (CalibratedClassifierCV(LogisticRegression()), True),
        (KNeighborsClassifier(), False),
    ],
    ids=str,
)
def test_who_wants_weights(estimator, wanted):
    assert wants_weights(estimator) is wanted


def test_the_report_says_that_the_gap_is_of_weighted_trainings():
    X, y = make_classification(3000, 12, n_informative=6, flip_y=0.1, random_state=0)
    model = HistGradientBoostingClassifier(max_iter=20, random_state=0)
    pruner = InfluencePruner(keep=0.3, weights=True, random_state=0)
    fitted = PrunedClassifier(model, pruner).fit(X, y).pruner_
    w = fitted.sample_weight_
    said = dict(fitted.report_.notes)["weights"]
    assert f"sample_weight_ ({w.min():.2g} to {w.max():.2g})" in said
    plain = PrunedClassifier(model, pruner.set_params(weights=False)).fit(X, y).pruner_
    assert "weights" not in dict(plain.report_.notes)
