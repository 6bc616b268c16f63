"""``solve_subset`` and ``solve_path``: enumeration, bounds, and what users give them."""

from __future__ import annotations

import sys
from itertools import pairwise

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from skprune.influence.operator import DenseInfluence
from skprune.subset import solve_path, solve_subset
from skprune.subset.bound import fewest_rows_bound, least_norm_bound
from skprune.subset.monitor import Monitor

KINDS = ("normal", "integers", "duplicates", "shifted", "heavy")


def make_vectors(kind, n, d, rng):
    S = rng.normal(size=(n, d))
    if kind == "integers":
        S = rng.integers(-2, 3, size=(n, d)).astype(float)
    elif kind == "duplicates":
        S = S[rng.integers(0, max(1, n // 2), n)]
    elif kind == "shifted":
        S += 1.0
    elif kind == "heavy":
        S = rng.standard_t(2, size=(n, d))
    return S


def all_norms(S, offset, groups=None, minimum=0):
    """Least norm of every size over all subsets, by brute force; inf where none is allowed."""
    n = len(S)
    bits = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    norms = np.linalg.norm(offset + bits @ S, axis=1)
    if groups is not None:
        for g in np.unique(groups):
            least = min(minimum, int((groups == g).sum()))
            norms[bits[:, groups == g].sum(1) < least] = np.inf
    sizes = bits.sum(1)
    return np.array([norms[sizes == m].min() for m in range(n + 1)])


def tolerance(S):
    return 1e-9 * (1 + np.linalg.norm(S, axis=1).sum())


@pytest.mark.parametrize("block", range(10))
def test_optimal_on_everything_that_can_be_enumerated(block):
    # 200 instances in all, every size of each.
    for case in range(20 * block, 20 * block + 20):
        rng = np.random.default_rng([case, 5])
        n, d = int(rng.integers(2, 14 if case % 20 else 17)), 1 + case % 8
        S = make_vectors(KINDS[case % 5], n, d, rng)
        offset = rng.normal(size=d) if case % 3 == 0 else None
        groups = rng.integers(0, 2, n) if case % 2 else None
        constant = -S.sum(0) if offset is None else offset
        best = all_norms(S, constant, groups, 1)
        for size in np.flatnonzero(np.isfinite(best)):
            found = solve_subset(S, size=int(size), offset=offset, groups=groups)
            assert len(found.indices) == size
            norm = np.linalg.norm(constant + S[found.indices].sum(0))
            assert found.norm == pytest.approx(norm, abs=tolerance(S))
            assert abs(found.norm - best[size]) <= tolerance(S)
            assert found.lower_bound <= best[size] + tolerance(S)
            assert "optimal" in found.status


@pytest.mark.parametrize("block", range(5))
def test_most_rows_removed_on_everything_that_can_be_enumerated(block):
    for case in range(20 * block, 20 * block + 20):
        rng = np.random.default_rng([case, 6])
        n, d = int(rng.integers(3, 13)), 1 + case % 4
        S = make_vectors(KINDS[case % 5], n, d, rng)
        best = all_norms(S, -S.sum(0))
        for eps in (0.0, 0.3, 1.0, 3.0):
            for max_removed in (n, n - 1, n // 2):
                fewest = n - max_removed
                sizes = [m for m in range(fewest, n + 1) if best[m] <= eps - tolerance(S)]
                loose = [m for m in range(fewest, n + 1) if best[m] <= eps + tolerance(S)]
                found = solve_subset(S, max_norm=eps, max_removed=max_removed)
                if sizes:
                    assert min(loose) <= len(found.indices) <= min(sizes)
                    assert found.norm <= eps + tolerance(S)
                    assert found.lower_bound <= min(sizes)
                    assert found.status == "optimal: proven"


def test_bounds_are_never_on_the_wrong_side():
    informative = 0
    for case in range(150):
        rng = np.random.default_rng([case, 8])
        n, d = int(rng.integers(3, 12)), int(rng.integers(1, 6))
        S = make_vectors(KINDS[case % 5], n, d, rng)
        offset = 3 * rng.normal(size=d) if case % 2 else -S.sum(0)
        groups = rng.integers(0, 2, n)
        codes = np.unique(groups, return_inverse=True)[1]
        minima = np.minimum(np.bincount(codes), case % 3)
        operator = DenseInfluence(torch.from_numpy(S), torch.from_numpy(offset))
        best = all_norms(S, offset, groups, case % 3)
        for size in np.flatnonzero(np.isfinite(best)):
            bound, final = least_norm_bound(
                operator, int(size), codes, minima, Monitor(), best[size]
            )
            assert final
            assert bound <= best[size] + 1e-12
            informative += bound > 0.5 * best[size] > 0
        for eps in (0.1, 0.5, 2.0):
            fewest = max(int(minima.sum()), n // 4)
            reached = [m for m in range(fewest, n + 1) if best[m] <= eps]
            bound, weights = fewest_rows_bound(operator, eps, fewest, codes, minima, Monitor())
            assert weights.shape == (n,)
            if reached:
                assert bound <= min(reached)
    assert informative > 200


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("with_groups", [False, True])
def test_most_rows_form_is_within_a_percent(kind, with_groups):
    rng = np.random.default_rng(3)
    n, d = 1000, 8
    S = make_vectors(kind, n, d, rng)
    row = np.sqrt((S**2).sum(1).mean())
    groups = rng.integers(0, 4, n) if with_groups else None
    for eps in (0.5 * row, 20 * row):
        found = solve_subset(
            S, max_norm=eps, max_removed=n, groups=groups, min_per_group=50, random_state=0
        )
        assert found.norm <= eps
        m = len(found.indices)
        assert found.lower_bound <= m
        assert m - found.lower_bound <= 0.01 * max(m, n - m) + 1
        if with_groups:
            assert np.bincount(groups[found.indices], minlength=4).min() >= 50


def test_removing_everything_is_not_the_default():
    S = np.random.default_rng(0).normal(size=(400, 5))
    S -= S.mean(0)
    assert len(solve_subset(S, max_norm=1e-6, max_removed=400).indices) == 0
    found = solve_subset(S, max_norm=3.0)
    assert len(found.indices) >= 5


def test_exact_beyond_enumeration_agrees_with_enumeration(monkeypatch):
    rng = np.random.default_rng(1)
    for n, d in ((9, 1), (10, 2), (11, 3)):
        S = rng.normal(size=(n, d))
        best = all_norms(S, -S.sum(0))
        monkeypatch.setattr(sys.modules["skprune.subset.exact"], "ENUMERABLE", 0)
        found = solve_subset(S, size=n // 2, solver="exact")
        assert found.norm == pytest.approx(best[n // 2], abs=1e-5)
        assert found.lower_bound <= best[n // 2] + 1e-9
        assert found.lower_bound >= best[n // 2] - 1e-4


def test_exact_stopped_by_time_says_so():
    S = np.random.default_rng(2).normal(size=(80, 6))
    found = solve_subset(S, size=40, solver="exact", time_limit=1.0)
    assert "optimal: proven" not in found.status
    assert found.optimality_gap > 0
    assert len(found.indices) == 40


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(27, 120),
    d=st.integers(1, 12),
    share=st.floats(0.05, 0.95),
    kind=st.sampled_from(KINDS),
    solver=st.sampled_from(["swap", "relax", "balance"]),
    minimum=st.integers(0, 4),
)
def test_sizes_minima_and_bounds(seed, n, d, share, kind, solver, minimum):
    rng = np.random.default_rng(seed)
    S, groups = make_vectors(kind, n, d, rng), rng.integers(0, 3, n)
    least = np.minimum(np.bincount(groups, minlength=3), minimum)
    size = max(round(share * n), int(least.sum()))
    found = solve_subset(
        S, size=size, solver=solver, groups=groups, min_per_group=minimum, random_state=0
    )
    assert len(np.unique(found.indices)) == size
    assert np.all(np.bincount(groups[found.indices], minlength=3) >= least)
    norm = np.linalg.norm(S.sum(0) - S[found.indices].sum(0))
    assert found.norm == pytest.approx(norm, rel=1e-9, abs=tolerance(S))
    assert 0 <= found.lower_bound <= found.norm
    assert 0 <= found.optimality_gap <= 1


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), n=st.integers(30, 200), d=st.integers(1, 9))
def test_permutation_and_scale(seed, n, d):
    rng = np.random.default_rng(seed)
    S = rng.normal(size=(n, d))
    start = rng.choice(n, n // 3, replace=False)
    order = rng.permutation(n)
    place = np.argsort(order)
    one = solve_subset(S, size=n // 3, start=start)
    scaled = solve_subset(2.0**30 * S, size=n // 3, start=start)
    moved = solve_subset(S[order], size=n // 3, start=place[start])
    np.testing.assert_array_equal(scaled.indices, one.indices)
    assert scaled.norm == pytest.approx(2.0**30 * one.norm, rel=1e-9)
    np.testing.assert_array_equal(np.sort(order[moved.indices]), one.indices)


def test_a_path_is_nested():
    rng = np.random.default_rng(4)
    S = rng.normal(size=(3000, 10))
    S -= S.mean(0)
    sizes = [300, 1500, 600, 150]
    path = solve_path(S, sizes, groups=rng.integers(0, 2, 3000), random_state=0)
    row = np.sqrt(10)
    for size, found in zip(sizes, path, strict=True):
        assert len(found.indices) == size
        norm = np.linalg.norm(S[found.indices].sum(0))
        assert found.norm == pytest.approx(norm, abs=1e-9)
        assert norm < row
    by_size = sorted(path, key=lambda found: len(found.indices))
    for small, large in pairwise(by_size):
        assert set(small.indices) <= set(large.indices)


@pytest.mark.parametrize("solver", ["swap", "relax", "balance", "anneal"])
def test_float32_and_tensors_and_operators(solver, tmp_path):
    rng = np.random.default_rng(5)
    S = rng.normal(size=(600, 6)).astype(np.float32)
    np.save(tmp_path / "S.npy", S)
    forms = [S, torch.from_numpy(S), np.load(tmp_path / "S.npy", mmap_mode="r"), S.tolist()]
    total = torch.from_numpy(S.astype(np.float64).sum(0))
    forms.append(DenseInfluence(torch.from_numpy(S), -total))
    results = [solve_subset(f, size=200, solver=solver, random_state=0) for f in forms]
    truth = np.linalg.norm(S.astype(np.float64).sum(0) - S[results[0].indices].astype(float).sum(0))
    assert results[0].norm == pytest.approx(truth, abs=1e-4)
    for other in results[1:3]:
        np.testing.assert_array_equal(other.indices, results[0].indices)
    for other in results[3:]:
        assert len(other.indices) == 200


@pytest.mark.parametrize("dtype", ["float64", "float32", "int64", "bool"])
@pytest.mark.parametrize(
    "form", ["csr_matrix", "csr_array", "csc_matrix", "coo_array", "lil_array"]
)
def test_sparse_vectors_are_those_of_the_dense_matrix(form, dtype):
    drawn = sp.random(300, 20, 0.2, format="csr", random_state=0)
    S = (10 * drawn).astype(dtype)
    dense = S.toarray()
    for options in ({"size": 50}, {"max_norm": 0.5}, {"size": 50, "solver": "balance"}):
        found = solve_subset(getattr(sp, form)(S), random_state=0, **options)
        expected = solve_subset(dense, random_state=0, **options)
        np.testing.assert_array_equal(found.indices, expected.indices)
        out = np.delete(dense.astype(float), found.indices, axis=0)
        assert found.norm == pytest.approx(np.linalg.norm(out.sum(0)), rel=1e-9, abs=1e-12)
        assert found.lower_bound == pytest.approx(expected.lower_bound, rel=1e-4)


def test_sparse_vectors_stay_sparse(monkeypatch):
    S, rows = sp.random(5000, 50, 0.1, format="csr", random_state=0), []
    toarray = sp.csr_array.toarray
    monkeypatch.setattr(
        sp.csr_array, "toarray", lambda self: rows.append(self.shape[0]) or toarray(self)
    )
    small, large = solve_path(S, [500, 1000], random_state=0)
    assert set(small.indices) <= set(large.indices)
    assert 0 < max(rows) <= 1024  # what the search polishes at once


def test_balance_keeps_the_shares_of_a_prior():
    rng = np.random.default_rng(6)
    n = 40_000
    prior = rng.choice([1.0, 3.0], n)
    S = rng.normal(size=(n, 4))
    found = solve_subset(S, size=8000, solver="balance", prior=prior, random_state=0)
    odds = (prior[found.indices] == 3).mean() / (prior == 3).mean()
    assert odds > 1.2
    row = 2.0
    assert found.norm < 2 * row
    # The floor does not grow with the number of blocks.
    few = solve_subset(S[:2000], size=400, solver="balance", random_state=0)
    assert few.norm < 2 * row


def test_time_limit_and_callback():
    rng = np.random.default_rng(7)
    S = rng.normal(size=(2000, 200))
    seen = []
    found = solve_subset(
        S, size=400, random_state=0, callback=lambda i, norm, s: seen.append((i, norm)) or i >= 3
    )
    assert [i for i, _ in seen] == [1, 2, 3]
    assert "stopped by callback" in found.status
    plain = solve_subset(S, size=400, random_state=0)
    longer = solve_subset(S, size=400, random_state=0, time_limit=plain.seconds + 1.5)
    assert longer.norm <= plain.norm
    assert plain.norm < found.norm


def test_the_status_says_what_a_norm_is_worth():
    S = np.random.default_rng(8).normal(size=(3000, 20))
    found = solve_subset(S, size=600, random_state=0)
    assert found.lower_bound == 0.0
    assert "row norms" in found.status
    far = solve_subset(S + 5.0, size=600, offset=np.zeros(20), random_state=0)
    assert far.lower_bound > 0.9 * far.norm
    assert far.status.startswith("within ")


S12 = np.random.default_rng(9).normal(size=(12, 2))


@pytest.mark.parametrize(
    ("S", "options", "words"),
    [
        (S12, {}, "Exactly one of size and max_norm"),
        (S12, {"size": 3, "max_norm": 1.0}, "Exactly one of size and max_norm"),
        (S12, {"size": 13}, "between 0 and n = 12"),
        (S12, {"size": 2.5}, "between 0 and n = 12"),
        (S12, {"size": 3, "solver": "greedy"}, "solver must be one of"),
        (S12, {"size": 3, "max_removed": 3}, "max_removed limits"),
        (S12, {"max_norm": -1.0}, "max_norm must be"),
        (S12, {"max_norm": float("nan")}, "max_norm must be"),
        (S12, {"max_norm": 1.0, "max_removed": 13}, "max_removed must be"),
        (S12, {"max_norm": 1.0, "solver": "anneal"}, "With max_norm"),
        (S12, {"size": 3, "groups": [0, 1]}, "groups must have one entry"),
        (S12, {"size": 3, "groups": np.arange(12)}, "less than the 12 rows"),
        (S12, {"size": 3, "prior": -np.ones(12)}, "prior must be"),
        (S12, {"size": 3, "start": [12]}, "start must be"),
        (S12, {"size": 3, "offset": [1.0]}, "offset must have one entry a column"),
        (S12, {"size": 3, "offset": [np.nan, 0.0]}, "offset must be finite"),
        (S12, {"size": 3, "offset": [1j, 0.0]}, "offset must hold real numbers"),
        (S12, {"size": 3, "offset": [1e200, 0.0]}, "Rescale S and offset"),
        (S12 * 1e-170, {"size": 3}, "Rescale S and offset"),
        ((1e19 * S12).astype(np.float32), {"size": 3}, "must be finite|Rescale"),
        (torch.ones(12, 2, dtype=torch.complex64), {"size": 3}, "dense tensor of real"),
        (S12, {"size": True}, "size must be an integer"),
        (S12, {"size": float("nan")}, "size must be an integer"),
        (S12, {"size": 3, "time_limit": float("nan")}, "time_limit must be"),
        (S12, {"size": 3, "time_limit": -1}, "time_limit must be"),
        (S12, {"size": 3, "min_per_group": 1.5}, "min_per_group must be"),
        (S12, {"max_norm": 1.0, "max_removed": 2.7}, "max_removed must be"),
        (S12, {"size": 3, "groups": [None, "a"] * 6}, "groups must be labels"),
        (S12, {"size": 3, "prior": np.ones(100)}, "prior must have one entry"),
        (S12[0], {"size": 3}, "matrix of shape"),
        (np.where(S12 > 1, np.nan, S12), {"size": 3}, "must be finite"),
        (S12.astype(complex), {"size": 3}, "real numbers"),
        (sp.csr_matrix(S12.astype(complex)), {"size": 3}, "real numbers"),
        (sp.csr_matrix(np.where(S12 > 1, np.nan, S12)), {"size": 3}, "must be finite"),
        (sp.csr_matrix((3, 0)), {"size": 3}, "matrix of shape"),
        (sp.csr_matrix(S12 * 1e-170), {"size": 3}, "Rescale S and offset"),
        (torch.eye(12).to_sparse(), {"size": 3}, "scipy.sparse matrix"),
    ],
)
def test_bad_input(S, options, words):
    with pytest.raises(ValueError, match=words):
        solve_subset(S, **options)


def test_paths_check_before_they_solve():
    with pytest.raises(ValueError, match="differ"):
        solve_path(S12, [3, 3])
    with pytest.raises(ValueError, match="size must be"):
        solve_path(S12, [13])
    with pytest.raises(ValueError, match="prior must have"):
        solve_path(S12, [3], prior=np.ones(100))
    with pytest.raises(ValueError, match="solver must be"):
        solve_path(S12, [3], solver="greedy")
    assert [len(found.indices) for found in solve_path(S12, (4.0, 2))] == [4, 2]


def test_float32_sums_are_those_of_float64():
    S = (100 + np.random.default_rng(0).normal(size=(5000, 3))).astype(np.float32)
    truth = S.astype(np.float64)
    found = solve_subset(S, size=4999, random_state=0)
    norm = np.linalg.norm(truth.sum(0) - truth[found.indices].sum(0))
    assert found.norm == pytest.approx(norm, rel=1e-9)
    assert found.lower_bound <= norm
    assert solve_subset(S, size=5000).norm == 0.0
    every = solve_subset(S, max_norm=0.0, max_removed=0)
    assert (len(every.indices), every.status) == (5000, "optimal: proven")
    thin = np.random.default_rng(0).normal(size=(5000, 1)).astype(np.float32)
    found = solve_subset(thin, size=1000, random_state=0)
    assert found.iterations < 300  # rounding does not pass for gains
    assert found.norm < 1e-4


def test_what_is_small_is_not_called_proven():
    S = np.random.default_rng(1).normal(size=(3000, 1)) ** 7
    found = solve_subset(S, size=1000, random_state=0)
    assert (found.lower_bound, found.optimality_gap) == (0.0, 1.0)
    assert "proven" not in found.status
    assert "optimal up to" in found.status


@pytest.mark.parametrize("solver", ["swap", "relax", "anneal", "balance"])
def test_a_time_limit_leaves_the_bound_alone(solver):
    S = np.random.default_rng(0).normal(size=(40, 3))
    plain = solve_subset(S, size=5, solver=solver, random_state=0)
    timed = solve_subset(S, size=5, solver=solver, random_state=0, time_limit=0.2)
    assert timed.lower_bound == pytest.approx(plain.lower_bound, rel=0.03)
    waits = solver not in ("swap", "relax")  # the others stop where the bound is reached
    limit = 0.2 if waits else 60
    same = solve_subset(np.ones((100, 2)), size=10, time_limit=limit, solver=solver)
    assert same.status == "optimal: proven"
    assert waits or same.seconds < 30


def test_more_time_does_not_keep_more_rows():
    S = np.random.default_rng(0).normal(size=(40, 3))
    plain = solve_subset(S, max_norm=0.1, random_state=0)
    limit = 3 * plain.seconds  # on a busy machine as well
    timed = solve_subset(S, max_norm=0.1, random_state=0, time_limit=limit)
    assert len(timed.indices) <= len(plain.indices) < 25


@pytest.mark.parametrize("seed", range(3))
def test_sizes_that_one_search_missed_are_tried_again(seed):
    # Plain searches at every size reach the norm with 18 rows or fewer; the bound is 15.
    S = np.random.default_rng(0).normal(size=(200, 4))
    found = solve_subset(S, max_norm=0.1, random_state=seed)
    assert len(found.indices) <= 30


def test_rows_that_are_all_zero():
    found = solve_subset(np.zeros((200, 3)), max_norm=0.5, random_state=0)
    assert (len(found.indices), found.status) == (3, "optimal: proven")


def test_nothing_is_searched_where_nothing_can_be():
    S = np.random.default_rng(0).normal(size=(2000, 3))
    found = solve_subset(S, max_norm=0.5, offset=[1e4, 0, 0])
    assert "none exists" in found.status
    assert len(found.indices) == 2000


def test_prior_and_start_are_where_a_search_by_norm_starts():
    S = np.random.default_rng(3).normal(size=(300, 3))
    easy = np.r_[np.ones(100), np.zeros(200)]
    found = solve_subset(S, max_norm=30.0, prior=easy, random_state=0)
    assert (found.indices < 100).mean() > 0.5
    start = solve_subset(S, size=100, random_state=0).indices
    assert len(solve_subset(S, max_norm=1.0, start=start, random_state=0).indices) <= 100


def test_balance_keeps_the_number_and_the_minima():
    groups = np.zeros(768, dtype=int)
    groups[[0, 1, 300, 600, 601]] = 1
    prior = np.ones(768)
    prior[300] = 1e6
    S = np.random.default_rng(0).normal(size=(768, 2))
    for odds in (prior, 1e302 * prior):
        options = {"groups": groups, "min_per_group": 2, "prior": odds, "random_state": 0}
        found = solve_subset(S, size=192, solver="balance", **options)
        assert len(found.indices) == 192
        assert groups[found.indices].sum() >= 2


def test_long_rows_are_left_out_together():
    # Pairs of long rows that cancel: no single exchange takes one of them out.
    rng = np.random.default_rng(0)
    S = np.r_[rng.normal(size=(300, 20)), 20 * rng.normal(size=(80, 20))]
    norms = [
        np.mean(
            [
                solve_subset(S, size=100, offset=np.zeros(20), prior=prior, random_state=seed).norm
                for seed in range(4)
            ]
        )
        for prior in (None, np.ones(380))
    ]
    assert norms[0] < 0.5 * norms[1]


def test_views_and_gradients():
    S = np.random.default_rng(4).normal(size=(60, 3))
    one = solve_subset(S, size=20, random_state=0)
    asked = torch.from_numpy(S).requires_grad_()
    for same in (S[::-1][::-1], np.asfortranarray(S), asked, S.astype(">f8")):
        np.testing.assert_array_equal(
            solve_subset(same, size=20, random_state=0).indices, one.indices
        )
    backwards = solve_subset(S[:, ::-1], size=20, offset=-S.sum(0)[::-1], random_state=0)
    assert backwards.norm == pytest.approx(one.norm, rel=0.5)


def test_nothing_within_the_norm():
    found = solve_subset(np.ones((5, 1)), max_norm=0.1, offset=[10.0])
    assert len(found.indices) == 5
    assert found.status.count("none exists")
    found = solve_subset(np.ones((50, 1)), max_norm=0.1, offset=[100.0])
    assert len(found.indices) == 50
    assert found.status.startswith("no subset within")


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("solver", ["swap", "relax", "balance", "anneal"])
def test_cuda_equals_cpu(solver):
    S = torch.from_numpy(np.random.default_rng(10).normal(size=(2000, 30)))
    here, there = (solve_subset(v, size=500, solver=solver, random_state=0) for v in (S, S.cuda()))
    assert there.norm == pytest.approx(here.norm, rel=0.2)
    kept = torch.from_numpy(there.indices)
    assert there.norm == pytest.approx(float((S.sum(0) - S[kept].sum(0)).norm()), abs=1e-8)
