"""Subset solvers against brute force, and where they start."""

from __future__ import annotations

from itertools import combinations, pairwise

import numpy as np
import pytest
import torch
from scipy.stats import chisquare

from skprune.data.strata import group_minima, stratified_quotas
from skprune.influence.operator import DenseInfluence
from skprune.subset import select_rows
from skprune.subset.anneal import anneal
from skprune.subset.relax import relax
from skprune.subset.start import difficulty_cells, largest_subset, rank_in_group, starting_subset
from skprune.subset.state import SubsetState
from skprune.subset.swap import MIN_GAIN, NEGLIGIBLE, swap

SOLVERS = ("swap", "anneal", "relax")
KINDS = ["normal", "integers", "duplicates", "offset", "one large"]


def make_vectors(kind, n, d, rng):
    """Vectors (n, d) and an offset (d,)."""
    vectors, offset = rng.normal(size=(n, d)), np.zeros(d)
    if kind == "integers":  # with ties, and exact balance within reach
        vectors = rng.integers(-2, 3, size=(n, d)).astype(float)
    elif kind == "duplicates":
        vectors = vectors[rng.integers(0, max(1, n // 2), n)]
    elif kind == "offset":
        offset = 2 * rng.normal(size=d)
    elif kind == "one large":
        vectors[0] *= 50
    return vectors, offset


def make_operator(vectors, offset=None):
    return DenseInfluence(
        torch.from_numpy(np.ascontiguousarray(vectors)),
        None if offset is None else torch.from_numpy(offset),
    )


def squared(vectors, offset, rows):
    return float(((offset + vectors[list(rows)].sum(0)) ** 2).sum())


def feasible(rows, groups, minima):
    counts = np.bincount(groups[list(rows)], minlength=len(minima))
    return bool(np.all(counts >= minima))


def solve(solver, operator, start, groups, minima, seed=0):
    if solver == "anneal":
        return anneal(operator, start, groups, minima, np.random.default_rng(seed))
    return (relax if solver == "relax" else swap)(operator, start, groups, minima)


def no_groups(n):
    return np.zeros(n, dtype=np.int64), np.zeros(1, dtype=np.int64)


def small_problems(with_groups):
    """Every size of small problems of all kinds."""
    for case, kind in enumerate(KINDS * 8):
        rng = np.random.default_rng([case, with_groups])
        n, d = int(rng.integers(4, 13)), int(rng.integers(1, 5))
        vectors, offset = make_vectors(kind, n, d, rng)
        groups, minima = no_groups(n)
        if with_groups:
            groups = rng.integers(0, 3, n)
            minima = group_minima(np.append(groups, 2), int(rng.integers(1, 4)))
            minima = np.minimum(minima, np.bincount(groups, minlength=3))
        for size in range(max(1, int(minima.sum())), n + 1):
            start = starting_subset(size, groups, minima, rng)
            yield vectors, offset, groups, minima, start


@pytest.mark.parametrize("with_groups", [False, True])
def test_swap_ends_in_a_one_swap_optimum(with_groups):
    # With so few rows all pairs are candidates, so that the optimum is a true one.
    count = 0
    for vectors, offset, groups, minima, start in small_problems(with_groups):
        found = swap(make_operator(vectors, offset), start, groups, minima)
        assert found.indices.dtype == np.int64
        assert len(found.indices) == len(start)
        assert np.all(np.diff(found.indices) > 0)
        assert feasible(found.indices, groups, minima)
        value = squared(vectors, offset, found.indices)
        assert found.norm**2 == pytest.approx(value, rel=1e-9, abs=1e-18)
        before = squared(vectors, offset, start)
        assert found.start_norm**2 == pytest.approx(before, rel=1e-9, abs=1e-18)
        assert found.norm <= found.start_norm * (1 + 1e-12)
        if value <= NEGLIGIBLE * (vectors**2).sum(1).mean():
            continue
        kept = set(found.indices.tolist())
        for out in kept:
            for into in set(range(len(groups))) - kept:
                rows = sorted(kept - {out} | {into})
                if feasible(rows, groups, minima):
                    count += 1
                    assert squared(vectors, offset, rows) >= (1 - MIN_GAIN) * value
    assert count > 1000  # exchanges that were tried


@pytest.mark.parametrize("solver", SOLVERS)
def test_solvers_against_brute_force(solver):
    gaps, random = [], []
    for case in range(6 if solver == "anneal" else 60):
        rng = np.random.default_rng([case, 7])
        n, d = int(rng.integers(8, 13)), int(rng.integers(1, 5))
        vectors, offset = make_vectors(KINDS[case % 5], n, d, rng)
        groups, minima = rng.integers(0, 2, n), np.array([1, 1])
        if len(np.unique(groups)) < 2:
            continue
        size = int(rng.integers(3, n - 1))
        subsets = [s for s in combinations(range(n), size) if feasible(s, groups, minima)]
        values = np.sqrt([squared(vectors, offset, s) for s in subsets])
        start = starting_subset(size, groups, minima, rng)
        found = solve(solver, make_operator(vectors, offset), start, groups, minima)
        typical = np.sqrt((vectors**2).sum(1).mean())
        assert found.norm >= values.min() - 1e-9 * typical
        gaps.append((found.norm - values.min()) / typical)
        random.append((values.mean() - values.min()) / typical)
    # In units of a typical row: one-swap optima of a dozen rows are near the best subset, and
    # a slow cooling nearly always finds it.
    limit = {"swap": 0.1, "relax": 0.1, "anneal": 0.01}[solver]
    assert np.mean(gaps) < limit
    assert np.mean(gaps) < 0.2 * np.mean(random)


@pytest.mark.parametrize("solver", SOLVERS)
def test_no_solver_breaks_a_minimum(solver):
    for case in range(8 if solver == "anneal" else 25):
        rng = np.random.default_rng([case, 11])
        n, n_groups = int(rng.integers(20, 200)), int(rng.integers(1, 9))
        groups = np.append(np.arange(n_groups), rng.integers(0, n_groups, n - n_groups))
        minima = np.minimum(np.bincount(groups), rng.integers(0, 6, n_groups))
        # Vectors that pull whole groups out of the subset.
        vectors = rng.normal(size=(n, 3)) + 5 * rng.normal(size=(n_groups, 3))[groups]
        size = int(rng.integers(max(1, minima.sum()), n))
        found = select_rows(
            make_operator(vectors),
            size,
            solver=solver,
            groups=groups,
            minima=minima,
            rng=rng,
            prior=rng.random(n) if case % 2 else None,
        )
        assert len(np.unique(found.indices)) == size
        assert feasible(found.indices, groups, minima)
        if solver != "relax":  # which forgets its start when it rounds
            assert found.norm <= found.start_norm * (1 + 1e-12)


def test_groups_at_their_minimum_still_exchange_rows_with_themselves():
    # As many rows as the minima ask for: no row can leave its group, but all can be replaced.
    rng = np.random.default_rng(3)
    groups = np.repeat(np.arange(8), 40)
    minima = np.full(8, 5)
    vectors = rng.normal(size=(320, 4))
    start = starting_subset(40, groups, minima, rng)
    found = swap(make_operator(vectors), start, groups, minima)
    np.testing.assert_array_equal(np.bincount(groups[found.indices]), minima)
    assert found.norm < 0.1 * found.start_norm


@pytest.mark.parametrize("solver", SOLVERS)
def test_same_call_same_rows(solver):
    rng = np.random.default_rng(0)
    vectors, groups = rng.normal(size=(300, 6)), rng.integers(0, 3, 300)
    runs = [
        select_rows(
            make_operator(vectors),
            90,
            solver=solver,
            groups=groups,
            minima=np.ones(3, dtype=np.int64),
            rng=np.random.default_rng(5),
        ).indices
        for _ in range(2)
    ]
    np.testing.assert_array_equal(*runs)


@pytest.mark.parametrize("solver", ["swap", "relax"])
@pytest.mark.parametrize(("n", "d"), [(12, 3), (400, 5)])
def test_the_order_of_the_rows_makes_no_difference(solver, n, d):
    rng = np.random.default_rng(n)
    vectors, groups, minima = rng.normal(size=(n, d)), rng.integers(0, 3, n), np.array([1, 1, 1])
    start = starting_subset(n // 3, groups, minima, rng)
    order = rng.permutation(n)
    place = np.argsort(order)
    found = solve(solver, make_operator(vectors), start, groups, minima)
    moved = solve(
        solver, make_operator(vectors[order]), np.sort(place[start]), groups[order], minima
    )
    np.testing.assert_array_equal(np.sort(order[moved.indices]), found.indices)


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("factor", [2.0**-60, 2.0**40])
def test_the_unit_of_the_vectors_makes_no_difference(solver, factor):
    rng = np.random.default_rng(2)
    vectors, offset = rng.normal(size=(300, 5)), rng.normal(size=5)
    groups, minima = no_groups(300)
    start = starting_subset(100, groups, minima, rng)
    found, scaled = (
        solve(solver, make_operator(f * vectors, f * offset), start, groups, minima)
        for f in (1.0, factor)
    )
    np.testing.assert_array_equal(found.indices, scaled.indices)
    assert scaled.norm == pytest.approx(factor * found.norm, rel=1e-9)


def test_a_rotation_makes_no_difference():
    rng = np.random.default_rng(4)
    vectors = rng.normal(size=(200, 5))
    rotation = np.linalg.qr(rng.normal(size=(5, 5)))[0]
    groups, minima = no_groups(200)
    start = starting_subset(60, groups, minima, rng)
    one, other = (
        swap(make_operator(v), start, groups, minima) for v in (vectors, vectors @ rotation)
    )
    np.testing.assert_array_equal(one.indices, other.indices)


def test_many_rows_are_balanced_in_batches():
    # 20,000 rows: far more exchanges are needed than there are products with all rows.
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(20_000, 10)) + 0.2
    groups, minima = no_groups(20_000)
    operator = make_operator(vectors - vectors.mean(0))
    start = np.sort(np.argsort(vectors[:, 0])[:5000])  # as unbalanced as can be
    found = swap(operator, start, groups, minima)
    exchanged = len(np.setdiff1d(start, found.indices))
    assert exchanged > 1000 > 10 * found.n_iter
    row = np.sqrt((vectors**2).sum(1).mean())
    assert found.start_norm > 1000 * row
    # About N^(-1/d) row norms are left where none of N pairs improves: 5000 * 15,000 here.
    assert found.norm < 2 * (5000 * 15_000) ** (-1 / 10) * row
    random = make_operator(vectors).sum(torch.from_numpy(rng.choice(20_000, 5000, replace=False)))
    assert float(random.norm()) > 10 * row


@pytest.mark.parametrize("solver", SOLVERS)
def test_degenerate_problems(solver):
    rng = np.random.default_rng(6)
    groups, minima = np.array([0] * 6 + [1] * 4), np.array([2, 1])
    vectors = rng.normal(size=(10, 2))
    every = np.arange(10)

    whole = solve(solver, make_operator(vectors), every, groups, minima)
    np.testing.assert_array_equal(whole.indices, every)
    assert whole.norm == pytest.approx(float(np.linalg.norm(vectors.sum(0))))

    fewest = starting_subset(3, groups, minima, rng)
    found = solve(solver, make_operator(vectors), fewest, groups, minima)
    np.testing.assert_array_equal(np.bincount(groups[found.indices]), minima)
    values = [
        squared(vectors, np.zeros(2), s)
        for s in combinations(range(10), 3)
        if feasible(s, groups, minima)
    ]
    assert found.norm**2 < np.quantile(values, 0.2)

    for rows in (np.zeros((10, 2)), np.ones((10, 2))):
        found = solve(solver, make_operator(rows), fewest, groups, minima)
        assert len(found.indices) == 3
        assert feasible(found.indices, groups, minima)
        assert found.norm == pytest.approx(3 * np.sqrt(2) * rows[0, 0])

    single = solve(solver, make_operator(vectors), np.array([4]), *no_groups(10))
    smallest = np.argmin((vectors**2).sum(1))
    assert single.indices.tolist() == [smallest]


@pytest.mark.parametrize("solver", SOLVERS)
def test_exact_balance_is_found_with_an_offset(solver):
    # The offset can be cancelled by one row alone.
    rng = np.random.default_rng(8)
    vectors = rng.normal(size=(12, 2)) + 3.0
    offset = -vectors[7]
    found = solve(solver, make_operator(vectors, offset), np.array([0]), *no_groups(12))
    assert found.indices.tolist() == [7]
    assert found.norm < 1e-12


def test_a_balanced_start_is_left_alone():
    rng = np.random.default_rng(9)
    half = rng.normal(size=(30, 4))
    vectors = np.vstack([half, -half])
    start = np.sort(np.concatenate([np.arange(10), np.arange(30, 40)]))
    found = swap(make_operator(vectors), start, *no_groups(60))
    np.testing.assert_array_equal(found.indices, start)
    assert found.n_iter == 0


def test_annealing_cools_down_on_small_tables_too():
    # Every proposal cools, and as many are made as promised, however few fit into a batch.
    rng = np.random.default_rng(10)
    ratios = []
    for _ in range(5):
        vectors = rng.normal(size=(40, 4))
        start = starting_subset(20, *no_groups(40), rng)
        operator = make_operator(vectors - vectors.mean(0))
        slow = anneal(operator, start, *no_groups(40), np.random.default_rng(0))
        assert slow.n_iter == 20_000
        ratios.append(slow.norm / swap(operator, start, *no_groups(40)).norm)
    assert np.exp(np.mean(np.log(ratios))) < 0.6


# Where the search starts


def test_rows_that_may_leave_together():
    for case in range(200):
        rng = np.random.default_rng([case, 13])
        n, n_groups = 12, 3
        groups = rng.integers(0, n_groups, n)
        start = np.sort(rng.choice(n, 8, replace=False))
        counts = np.bincount(groups[start], minlength=n_groups)
        minima = rng.integers(0, counts + 1)
        state = SubsetState(make_operator(rng.normal(size=(n, 1))), start, groups, minima)
        ranked = rng.permutation(start)[: rng.integers(1, 9)]
        # In order of preference, as long as the group can spare one more.
        expected, spare = [], counts - minima
        for row in ranked:
            if spare[groups[row]] > 0:
                spare[groups[row]] -= 1
                expected.append(row)
        assert state.removable(torch.from_numpy(ranked)).tolist() == expected


def test_quotas_add_up_within_their_bounds():
    for case in range(300):
        rng = np.random.default_rng([case, 17])
        counts = rng.integers(1, 30, rng.integers(1, 8))
        groups = rng.permutation(np.repeat(np.arange(len(counts)), counts))
        minima = np.minimum(counts, rng.integers(0, 4, len(counts)))
        size = int(rng.integers(minima.sum(), counts.sum() + 1))
        quotas = stratified_quotas(groups, minima, size)
        assert quotas.sum() == size
        assert np.all(quotas >= minima)
        assert np.all(quotas <= counts)
        # No row handed from one group to another would make the shares more even.
        short = counts * size / counts.sum() - quotas
        for a in np.flatnonzero(quotas < counts):
            for b in np.flatnonzero(quotas > minima):
                assert short[a] - short[b] <= 1 + 1e-9


def test_quotas_are_the_largest_remainders():
    groups = np.repeat([0, 1, 2], [47, 16, 37])
    # Exact shares of 10 rows: 4.7, 1.6, 3.7; floors 4, 1, 3; two rows left for 0 and 2.
    assert stratified_quotas(groups, np.zeros(3, dtype=int), 10).tolist() == [5, 1, 4]
    assert stratified_quotas(groups, np.array([0, 3, 0]), 10).tolist() == [4, 3, 3]
    assert stratified_quotas(groups, np.zeros(3, dtype=int), 100).tolist() == [47, 16, 37]
    # Ties go to the first group.
    assert stratified_quotas(np.repeat([0, 1], 5), np.zeros(2, dtype=int), 3).tolist() == [2, 1]


def test_minima_of_groups():
    groups = np.array([0, 0, 0, 1, 2, 2])
    assert group_minima(groups, 2).tolist() == [2, 1, 2]
    assert group_minima(groups, 0).tolist() == [0, 0, 0]


def test_rank_in_group():
    groups, order = np.array([0, 1, 0, 1, 0]), np.array([4, 3, 0, 1, 2])
    assert rank_in_group(order, groups).tolist() == [1, 1, 2, 0, 0]


def test_largest_subset_is_the_best_feasible_one():
    for case in range(100):
        rng = np.random.default_rng([case, 19])
        groups = rng.integers(0, 3, 9)
        scores = rng.normal(size=9)
        minima = np.minimum(np.bincount(groups, minlength=3), rng.integers(0, 3, 3))
        size = int(rng.integers(max(1, minima.sum()), 10))
        found = largest_subset(scores, size, groups, minima)
        subsets = (s for s in combinations(range(9), size) if feasible(s, groups, minima))
        best = max(subsets, key=lambda s: scores[list(s)].sum())
        assert found.tolist() == sorted(best)
    ties = largest_subset(np.zeros(6), 3, *no_groups(6))
    assert ties.tolist() == [0, 1, 2]


def test_start_without_prior_is_stratified_and_uniform():
    groups, minima = np.repeat([0, 1], [8, 4]), np.array([1, 1])
    rng = np.random.default_rng(20)
    hits = np.zeros(12)
    for _ in range(6000):
        rows = starting_subset(6, groups, minima, rng)
        assert np.all(np.diff(rows) > 0)
        assert np.bincount(groups[rows]).tolist() == [4, 2]
        hits[rows] += 1
    # Inclusions within a group are negatively correlated, so that chisquare is conservative.
    assert chisquare(hits[:8]).pvalue > 1e-4
    assert chisquare(hits[8:]).pvalue > 1e-4


def test_prior_is_the_odds_of_the_first_draw_and_of_those_after_it():
    prior = np.array([1.0, 2.0, 3.0, 4.0, 0.0])
    rng, n = np.random.default_rng(21), 20_000
    groups, minima = no_groups(5)
    one, two = np.zeros(5), np.zeros(5)
    for _ in range(n):
        one[starting_subset(1, groups, minima, rng, prior)] += 1
        two[starting_subset(2, groups, minima, rng, prior)] += 1
    share = prior / prior.sum()
    assert one[4] == two[4] == 0
    assert chisquare(one[:4], n * share[:4]).pvalue > 1e-4
    # Without replacement: first i, or first j and then i of what is left.
    both = share * (1 + sum(share[j] / (1 - share[j]) for j in range(5)) - share / (1 - share))
    error = np.sqrt(both * (1 - both) / n)
    assert np.all(np.abs(two / n - both) < 4.5 * error + 1e-12)
    assert abs(both.sum() - 2) < 1e-12


def test_rows_of_prior_zero_come_last_and_in_random_order():
    prior = np.zeros(40)
    prior[30:] = 1e-300  # however small, positive is before zero
    groups, minima = no_groups(40)
    rng = np.random.default_rng(22)
    hits = np.zeros(30)
    for _ in range(2000):
        rows = starting_subset(20, groups, minima, rng, prior)
        assert np.all(np.isin(np.arange(30, 40), rows))
        hits[rows[rows < 30]] += 1
    assert chisquare(hits).pvalue > 1e-4


def test_prior_comes_after_the_minimum_of_every_group():
    groups = np.repeat([0, 1], [10, 10])
    prior = np.repeat([1.0, 0.0], 10)
    rng = np.random.default_rng(23)
    rows = starting_subset(8, groups, np.array([0, 3]), rng, prior)
    assert np.bincount(groups[rows]).tolist() == [5, 3]


@pytest.mark.parametrize("with_prior", [False, True])
def test_warm_rows_come_first(with_prior):
    for case in range(50):
        rng = np.random.default_rng([case, 29])
        groups = rng.integers(0, 3, 60)
        minima = group_minima(groups, 2)
        prior = rng.random(60) if with_prior else None
        # A sequence of shrinking subsets, as the search makes them.
        rows = starting_subset(40, groups, minima, rng, prior)
        for size in (30, 17, 9):
            smaller = starting_subset(size, groups, minima, rng, prior, start=rows)
            assert len(smaller) == size
            assert feasible(smaller, groups, minima)
            # Quotas are rounded anew for every size: at most one row a group is new.
            assert len(np.setdiff1d(smaller, rows)) <= (0 if with_prior else 2)
            rows = smaller
        larger = starting_subset(50, groups, minima, rng, prior, start=rows)
        assert np.all(np.isin(rows, larger))


def test_select_rows_starts_where_it_is_told():
    rng = np.random.default_rng(31)
    vectors = np.zeros((30, 2))  # nothing to gain: the start is what comes back
    groups, minima = rng.integers(0, 3, 30), np.array([1, 1, 1])
    prior = np.arange(30.0)
    for given in ({}, {"prior": prior}, {"start": np.arange(10)}):
        found = select_rows(
            make_operator(vectors),
            12,
            solver="swap",
            groups=groups,
            minima=minima,
            rng=np.random.default_rng(1),
            **given,
        )
        start = starting_subset(12, groups, minima, np.random.default_rng(1), **given)
        np.testing.assert_array_equal(found.indices, start)


def test_norms_of_nested_sizes_stay_small():
    # The search over sizes: each size starts within the rows of the one before.
    rng = np.random.default_rng(37)
    vectors = rng.normal(size=(600, 4))
    vectors -= vectors.mean(0)
    groups, minima = no_groups(600)
    warm, sizes = None, [300, 150, 75, 38]
    subsets = []
    for size in sizes:
        found = select_rows(
            make_operator(vectors),
            size,
            solver="swap",
            groups=groups,
            minima=minima,
            rng=rng,
            start=warm,
        )
        assert found.norm < 0.2
        warm = found.indices
        subsets.append(set(warm.tolist()))
    for larger, smaller in pairwise(subsets):
        assert len(smaller & larger) > 0.5 * len(smaller)


def test_cells_of_equal_difficulty_divide_groups_and_their_minima():
    rng = np.random.default_rng(0)
    groups = rng.permutation(np.repeat([0, 1, 3], [400, 100, 10]))
    difficulty = rng.random(len(groups))
    minima = np.array([80, 21, 0, 3])
    cells, least = difficulty_cells(groups, minima, difficulty)
    group_of = np.array(
        [groups[cells == cell][0] if (cells == cell).any() else 2 for cell in range(len(least))]
    )
    np.testing.assert_array_equal(np.bincount(group_of, least, 4), minima)
    np.testing.assert_array_equal(np.bincount(group_of), [16, 5, 1, 1])
    for a, b in pairwise(range(len(least))):
        assert set(groups[cells == a]) <= {group_of[a]}
        if group_of[a] == group_of[b]:
            assert difficulty[cells == a].max() < difficulty[cells == b].min()
            assert abs(least[a] - least[b]) <= 1


@pytest.mark.parametrize("spare", [0, 5])
@pytest.mark.parametrize("coarse", [True, False])
def test_groups_at_their_minima_exchange_rows_within_themselves(spare, coarse):
    rng = np.random.default_rng(spare)
    groups = rng.permutation(np.repeat(np.arange(5), 200))
    operator = DenseInfluence(torch.from_numpy(rng.normal(size=(1000, 12))))
    start = starting_subset(200, groups, np.full(5, 40), rng)
    minima = np.full(5, 40 - spare)
    found = swap(operator, start, groups, minima, coarse=coarse)
    counts = np.bincount(groups[found.indices], minlength=5)
    assert len(found.indices) == 200
    assert (counts >= minima).all()
    assert found.norm < 0.05 * found.start_norm


def test_a_coarse_search_ends_near_a_fine_one():
    """Rows of common leaves: what one gives depends on which other goes."""
    norms = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        groups = rng.permutation(np.repeat(np.arange(5), 800))
        leaves = np.zeros((4000, 12, 40))
        np.put_along_axis(leaves, rng.integers(0, 40, (4000, 12, 1)), 1.0, axis=2)
        leaves = leaves.reshape(4000, -1)
        operator = DenseInfluence(torch.from_numpy(leaves - leaves.mean(axis=0)))
        minima = np.full(5, 160)
        start = starting_subset(800, groups, minima, rng)
        about = (operator, start, groups, minima)
        norms.append([swap(*about, coarse=coarse).norm for coarse in (True, False)])
    coarse, fine = np.mean(norms, axis=0)
    assert coarse < 1.04 * fine


def test_within_groups_the_best_of_either_side_are_pairs():
    operator = DenseInfluence(torch.ones(8, 1))
    groups = np.array([0, 1, 0, 1, 0, 1, 2, 0])
    state = SubsetState(operator, np.arange(4), groups, np.zeros(3, dtype=np.int64))
    out, into = state.within_groups(torch.tensor([3, 2, 0, 1]), torch.tensor([7, 6, 5, 4]))
    assert set(zip(out.tolist(), into.tolist(), strict=True)) == {(3, 5), (2, 7), (0, 4)}
