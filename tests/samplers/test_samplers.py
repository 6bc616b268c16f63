"""Samplers against their formulas: who is drawn how often, with which weight, at which cost."""

from __future__ import annotations

from itertools import combinations
from math import comb

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from skprune import PruningWarning
from skprune.torch import (
    UCB,
    BalancedSampler,
    EpochSampler,
    Indexed,
    InfoBatch,
    OrderDP,
    RandomSubset,
    RePB,
    SeTa,
)
from skprune.torch.ordering import order_for_batches

N = 12
LOSSES = np.array([0.1, 0.2, 0.0, 4.0, 0.7, 1.5, 0.3, 0.9, 0.2, 2.5, 0.4, 1.2])
LOW = LOSSES.mean() > LOSSES
KINDS = [
    lambda n, **shared: RandomSubset(n, 0.5, **shared),
    lambda n, **shared: BalancedSampler(n, 0.5, **shared),
    lambda n, **shared: BalancedSampler(n, 0.5, np.arange(n) % 3, **shared),
    lambda n, **shared: BalancedSampler(n, 0.5, np.arange(n) % 3, batch_size=7, **shared),
    lambda n, **shared: InfoBatch(n, 100, **shared),
    RePB,
    lambda n, **shared: SeTa(n, 100, groups=3, window=0.7, **shared),
    OrderDP,
    lambda n, **shared: UCB(n, 0.5, **shared),
]
every_kind = pytest.mark.parametrize("kind", KINDS)


def tensor(losses=LOSSES):
    return torch.from_numpy(np.asarray(losses, dtype=float))


def begun(sampler, losses=LOSSES):
    """A sampler that is in its second epoch, and knows the losses."""
    list(sampler)
    sampler.record(range(len(losses)), tensor(losses))
    return sampler


def epochs(sampler, count):
    """Rows of many epochs, all drawn from the same losses, as a table of what was drawn."""
    drawn = np.zeros((count, sampler.n_rows), dtype=bool)
    for k in range(count):
        drawn[k, list(sampler)] = True
    return drawn


@pytest.mark.parametrize("targets", [None, np.repeat([0, 1, 2], [2, 3, 7])])
def test_inclusion_probabilities_are_exact(targets):
    sampler = begun(BalancedSampler(N, 5, targets))
    list(sampler)
    drawn = epochs(sampler, 8000)
    chances = sampler.chances()
    assert_array_equal(drawn.sum(1), 5)
    assert_allclose(drawn.mean(0), chances, atol=4 * 0.5 / np.sqrt(len(drawn)))
    for k, quota in enumerate([5] if targets is None else [1, 1, 3]):
        own = np.full(N, True) if targets is None else targets == k
        sizes, capped = 0.5 + 0.5 * LOSSES / LOSSES[own].mean(), own & (chances == 1.0)
        rest = own & ~capped
        assert_array_equal(np.flatnonzero(capped), [3] if targets is None else [])
        expected = (quota - capped.sum()) * sizes[rest] / sizes[rest].sum()
        assert_allclose(chances[rest], expected)
    if targets is not None:
        assert_allclose(np.bincount(targets, chances), [1, 1, 3])
        assert (np.stack([drawn[:, targets == k].sum(1) for k in range(3)], 1) == [1, 1, 3]).all()


@pytest.mark.parametrize("keep", [0.25, 0.5, 1.0])
def test_the_weighted_mean_is_unbiased_for_losses_and_gradients(keep):
    sampler = begun(BalancedSampler(N, keep))
    rng = np.random.default_rng(0)
    f = np.column_stack([LOSSES, rng.normal(size=(N, 2))])
    found = []
    for _ in range(2000):
        rows = np.array(list(sampler))
        weights = sampler.weights(rows).double().numpy()
        assert_allclose(weights, len(rows) / (N * sampler.chances()[rows]), rtol=1e-6)
        assert weights.max() <= 2.0 + 1e-6
        found.append((weights[:, None] * f[rows]).mean(0))
    error = np.std(found, axis=0) / np.sqrt(len(found))
    assert (np.abs(np.mean(found, axis=0) - f.mean(0)) <= 4 * error + 1e-6).all()


def test_without_weights_the_rows_are_the_same():
    weighted, plain = (
        begun(BalancedSampler(N, 4, weighted=weighted)) for weighted in (True, False)
    )
    assert list(weighted) == list(plain)
    assert_array_equal(plain.weights(plain.rows), 1.0)


@pytest.mark.parametrize("batch_size", [1, 2, 4, 5, 8, 20])
def test_batches_in_order_have_the_same_rows_and_weights(batch_size):
    targets = np.arange(N) % 3
    plain, ordered = (
        begun(BalancedSampler(N, 8, targets, batch_size=size)) for size in (None, batch_size)
    )
    for _ in range(20):
        assert sorted(plain) == sorted(ordered)
        assert_array_equal(plain.weights(range(N)), ordered.weights(range(N)))


def test_every_batch_has_one_of_every_neighbours_in_class_and_loss():
    losses, groups = np.arange(26.0) % 13, np.repeat([0, 1], 13)
    seen = np.zeros((26, 26))
    for seed in range(3000):
        order = order_for_batches(groups, losses, 8, np.random.default_rng(seed))
        seen[order, np.arange(26)] += 1
        if seed < 50:
            assert sorted(order) == list(range(26))
            for batch in (order[:8], order[8:16], order[16:24]):
                assert np.bincount(groups[batch]).tolist() == [4, 4]
                assert abs(losses[batch].mean() - 6) <= 1
            assert groups[order[24:]].tolist() in ([0, 1], [1, 0])
    assert_allclose(seen / 3000, 1 / 26, atol=0.02)  # any row in any place


def test_gradients_of_batches_in_order_differ_less():
    X, y = load_digits(return_X_y=True)
    X, y = torch.tensor(X / 16, dtype=torch.float32), torch.from_numpy(y)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    for rows in torch.arange(len(y)).repeat(4).split(64):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X[rows]), y[rows]).backward()
        optimizer.step()
    with torch.no_grad():
        inside, outputs = net[:2](X), net(X)
    losses = nn.functional.cross_entropy(outputs, y, reduction="none")
    errors = outputs.softmax(1) - nn.functional.one_hot(y, 10)
    gradients = (inside[:, :, None] * errors[:, None]).flatten(1)  # of the last layer
    spread = {}
    for size in (None, 32):
        sampler = begun(BalancedSampler(len(y), 512, y, batch_size=size), losses)
        found = []
        for _ in range(10):
            rows = torch.tensor(list(sampler))
            weighted = sampler.weights(rows)[:, None] * gradients[rows]
            found.append(weighted.unflatten(0, (16, 32)).mean(1).var(0).sum())
        spread[size] = float(torch.stack(found).mean())
    assert spread[32] < 0.6 * spread[None]


def test_weigh_is_the_weighted_mean_and_records():
    sampler = begun(BalancedSampler(N, 6))
    rows = torch.tensor(list(sampler))
    theta = torch.ones(N, requires_grad=True)
    losses = (theta[rows] * tensor()[rows]).float()
    loss = sampler.weigh(losses, rows)
    assert loss.detach() == pytest.approx(
        float((sampler.weights(rows) * losses.detach()).mean()), rel=1e-6
    )
    loss.backward()
    expected = np.zeros(N)
    expected[rows] = sampler.weights(rows).numpy() * LOSSES[rows] / 6
    assert_allclose(theta.grad, expected, rtol=1e-6)
    assert sampler.passes == 6
    # Several losses a row: their mean.
    several = torch.stack([losses, 3 * losses], 1).detach()
    assert_allclose(sampler.weigh(several, rows), 2 * loss.detach(), rtol=1e-6)
    list(sampler)
    assert_allclose(sampler.losses[rows], 2 * LOSSES[rows], rtol=1e-6)


@pytest.mark.parametrize("kind", [lambda n: BalancedSampler(n, 6), RePB])
def test_losses_that_are_no_numbers_are_not_learnt_and_named(kind):
    sampler = begun(kind(N))
    sampler.record([7, 1, 7], torch.tensor([float("nan"), float("inf"), float("nan")]))
    sampler.record([0], torch.tensor([0.5]))
    with pytest.warns(PruningWarning, match=r"infinite of 2 row\(s\), 1, 7: they were not learnt"):
        list(sampler)
    assert_allclose(sampler.losses, [0.5, *LOSSES[1:]])
    assert sampler.times.tolist() == [2, *[1] * (N - 1)]
    list(sampler)  # told once


@pytest.mark.parametrize(
    ("indices", "wrong"),
    [([0, 12], 12), ([3, -1], -1), ([0.0, 1.0], 0.0), ([True, False], True)],
)
def test_indices_that_are_no_positions_are_refused_and_change_nothing(indices, wrong):
    sampler, untouched = (begun(BalancedSampler(N, 6)) for _ in range(2))
    for act in (
        lambda: sampler.weigh(torch.ones(2), indices),
        lambda: sampler.record(indices, torch.ones(2)),
        lambda: sampler.weights(indices),
    ):
        with pytest.raises(ValueError, match=f"hold {wrong}, .* whole numbers from 0 to 11"):
            act()
    assert sampler.passes == 0
    assert list(sampler) == list(untouched)


def test_infobatch():
    sampler = begun(InfoBatch(N, epochs=10**6, prune=0.6))
    drawn = epochs(sampler, 3000)
    assert_allclose(drawn.mean(0), np.where(LOW, 0.4, 1.0), atol=0.03)
    assert_allclose(sampler.weights(range(N)), np.where(LOW, 1 / 0.4, 1.0))
    # The sum over an epoch is unbiased, not the mean.
    sums = drawn @ (np.where(LOW, 1 / 0.4, 1.0) * LOSSES)
    assert sums.mean() == pytest.approx(LOSSES.sum(), rel=0.01)


@pytest.mark.parametrize(("epoch", "all_rows"), [(0, True), (1, False), (6, False), (7, True)])
def test_infobatch_draws_all_rows_in_the_first_and_the_last_epochs(epoch, all_rows):
    sampler = InfoBatch(N, epochs=8, prune=0.9)
    if epoch:
        begun(sampler).set_epoch(epoch)
    assert (len(list(sampler)) == N) == all_rows
    if all_rows:
        assert_array_equal(sampler.weights(range(N)), 1.0)


@pytest.mark.parametrize(
    ("count", "anneal", "whole"),
    [(1, 0.1, 1), (5, 0.1, 1), (20, 0.1, 2), (29, 0.1, 2), (5, 0.0, 0), (100, 0.57, 57)],
)
def test_the_last_epochs_are_a_share_of_all_and_at_least_one(count, anneal, whole):
    losses = np.repeat([0.0, 1.0, 5.0, 20.0], 3)
    samplers = InfoBatch(N, count, 0.9, anneal), SeTa(N, count, 0.0, 4, 0.5, anneal)
    for sampler in samplers:
        sizes = []
        for _ in range(count):
            sampler.record(range(N), tensor(losses))
            sizes.append(len(list(sampler)))
        assert (np.array(sizes[1:]) == N).tolist() == [k >= count - whole for k in range(1, count)]


def test_repb():
    sampler = RePB(N, prune=0.75)
    assert sorted(sampler) == list(range(N))
    batches = np.split(np.arange(N), 3)
    for rows in batches:
        sampler.record(rows, tensor(LOSSES[rows]))
    low = np.concatenate([LOSSES[rows] < LOSSES[rows].mean() for rows in batches])
    assert (low != LOW).any()
    assert_allclose(epochs(sampler, 3000).mean(0), np.where(low, 0.25, 1.0), atol=0.03)
    sampler.set_epoch(1)
    sampler.record([3, 5], torch.ones(2))
    list(sampler)
    # Epoch 2 of those counted from 1, for the second or, of rows 3 and 5, the third time.
    assert_allclose(sampler.weights([0, 3, 5]), [1, 2 / 3, 2 / 3])


def test_orderdp_draws_the_j_th_row_with_chance_gamma():
    n, s, q = N, 6, 3
    sampler = begun(OrderDP(n, pool=s / n, top=q / s), LOSSES + 0.01 * np.arange(n))
    order = np.argsort(-(LOSSES + 0.01 * np.arange(n)))
    tops = [sorted(pool)[:q] for pool in combinations(range(n), s)]  # by brute force
    expected = np.bincount(np.concatenate(tops), minlength=n) / len(tops)
    formula = [
        sum(comb(j - 1, k - 1) * comb(n - j, s - k) for k in range(1, q + 1)) / comb(n, s)
        for j in range(1, n + 1)
    ]
    assert_allclose(formula, expected)
    assert_allclose(epochs(sampler, 4000).mean(0)[order], formula, atol=0.025)
    assert len(sampler) == q


def test_ucb():
    sampler = UCB(3, 2, rate=0.5, confidence=4.0)
    assert sorted(sampler) == [0, 1, 2]
    for losses in ([2.0, 1.0, 0.6], [1.0, 1.0, 0.8]):
        sampler.record(range(3), torch.tensor(losses, dtype=torch.float64))
    # Mean: 1, .5, .3, then 1, .75, .55; variance: 2, .5, .18, then 1, .375, .215.
    assert sorted(sampler) == [0, 1]
    assert_allclose(sampler.mean, [1.0, 0.75, 0.55])
    assert_allclose(sampler.variance, [1.0, 0.375, 0.215])


def test_seta_slides_from_easy_to_hard():
    losses = np.repeat([0.0, 1.0, 5.0, 20.0], 3)
    sampler = begun(SeTa(N, epochs=16, prune=0.0, groups=4, window=0.5), losses)
    windows = [set(losses[list(sampler)]) for _ in range(4)]
    assert windows == [{1, 5}, {5, 20}, {0, 1}, {1, 5}]
    sampler.set_epoch(14)
    assert len(list(sampler)) == N
    sampler = begun(SeTa(N, epochs=16, prune=0.5, groups=1, window=1.0))
    assert_allclose(epochs(sampler, 2000).mean(0), 0.5, atol=0.05)


@every_kind
def test_epochs_differ_and_are_reproducible(kind):
    one, two, other = (begun(kind(60, seed=seed), np.arange(60.0)) for seed in (0, 0, 1))
    orders = [list(one) for _ in range(3)]
    assert orders == [list(two) for _ in range(3)]
    assert orders[0] != orders[1]
    assert orders != [list(other) for _ in range(3)]
    assert all(len(set(order)) == len(order) for order in orders)
    assert len(one) == len(orders[-1])
    one.set_epoch(1)
    assert list(one) == orders[0]


@every_kind
def test_the_length_is_known_before_the_first_epoch(kind):
    sampler = kind(60)
    length = len(sampler)
    assert length == len(list(sampler))


def run(sampler, count):
    """Epochs with losses that depend on epoch and row, and what they drew."""
    orders = []
    for _ in range(count):
        loss = np.random.default_rng(sampler.epoch).exponential(size=sampler.n_rows)
        order = list(sampler)
        for rows in np.array_split(order, 4):
            sampler.weigh(tensor(loss[rows]), torch.from_numpy(rows))
        orders.append(order)
    return orders


@every_kind
def test_a_run_goes_on_where_it_stopped(kind, tmp_path):
    whole = run(kind(60), 6)
    sampler = kind(60)
    first = run(sampler, 3)
    torch.save(sampler.state_dict(), tmp_path / "state.pt")
    again = kind(60)
    again.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    rest = run(again, 3)
    assert first + rest == whole
    assert again.passes == sum(map(len, whole))
    assert whole == first + run(sampler, 3)  # saving changed nothing


@every_kind
def test_replicas_have_equal_shares_of_different_rows(kind):
    replicas = [kind(60, num_replicas=3, rank=rank) for rank in range(3)]
    for _ in range(4):
        shares = [list(replica) for replica in replicas]
        assert len({len(share) for share in shares}) == 1
        together = np.concatenate(shares)
        assert len(set(together)) == len(together)
        loss = np.random.default_rng(replicas[0].epoch).exponential(size=60)
        for replica in replicas:  # what the process group does
            replica.record(together, tensor(loss[together]))


@pytest.mark.parametrize("workers", [0, 2])
def test_indices_come_with_the_batch(workers):
    X = torch.arange(20.0)[:, None]
    sampler = RandomSubset(20, 0.5)
    loader = DataLoader(
        Indexed(TensorDataset(X)), 4, sampler=sampler, num_workers=workers,
        persistent_workers=workers > 0,
    )  # fmt: skip
    seen = []
    for _ in range(2):
        for indices, (inputs,) in loader:
            assert_array_equal(inputs[:, 0], indices)
            seen.extend(indices.tolist())
    assert seen[10:] == sampler.rows.tolist()
    assert len(set(seen[:10])) == len(set(seen[10:])) == 10
    assert seen[:10] != seen[10:]


def test_indexed_datasets():
    dataset = TensorDataset(torch.arange(4.0))
    assert Indexed(dataset).tensors is dataset.tensors
    assert len(Indexed(dataset)) == 4
    assert Indexed([{"a": 1}, {"a": 2}]).__getitems__([1, 0]) == [
        {"a": 2, "index": 1},
        {"a": 1, "index": 0},
    ]
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        Indexed(dataset).nothing  # noqa: B018


def test_training_on_digits_costs_what_it_says():
    X, y = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(X / 16, dtype=torch.float32), torch.tensor(y))
    sampler = BalancedSampler(data, 0.3, targets=y)
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    forward = 0
    for _ in range(10):
        for indices, (inputs, targets) in DataLoader(Indexed(data), 64, sampler=sampler):
            losses = nn.functional.cross_entropy(net(inputs), targets, reduction="none")
            forward += len(inputs)
            optimizer.zero_grad()
            sampler.weigh(losses, indices).backward()
            optimizer.step()
    assert sampler.passes == forward == 10 * round(0.3 * len(X))
    with torch.no_grad():
        outputs = net(data.tensors[0])
        assert (outputs.argmax(1) == data.tensors[1]).float().mean() > 0.93
        losses = nn.functional.cross_entropy(outputs, data.tensors[1], reduction="none")
    list(sampler)  # learns the last epoch
    assert np.corrcoef(sampler.filled_losses(), losses)[0, 1] > 0.7


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: BalancedSampler(10, 1.5), "'keep' parameter of BalancedSampler must be"),
        (lambda: BalancedSampler(10, 11), "more than the 10 rows"),
        (lambda: BalancedSampler(10, 0.5, [0, 1]), r"targets have shape \(2,\)"),
        (lambda: BalancedSampler(10, 2, num_replicas=3), "2 row\\(s\\) for 3 replica"),
        (lambda: RandomSubset(10, rank=2, num_replicas=2), "ranks of 2 replica"),
        (lambda: InfoBatch(10, 5, prune=1.0), "'prune' parameter of InfoBatch"),
        (lambda: RandomSubset(5).weigh(torch.tensor(1.0), [0]), "reduction='none'"),
        (lambda: RandomSubset(5).load_state_dict(RandomSubset(4).state_dict()), "of 4 rows"),
        (lambda: InfoBatch(5, 9).load_state_dict(BalancedSampler(5).state_dict()), "of Balanced"),
        (lambda: UCB(5).load_state_dict({}), "that of no sampler, and this is UCB"),
        (lambda: BalancedSampler([], 0.3), "The dataset is empty"),
        (lambda: InfoBatch(TensorDataset(torch.ones(0, 2)), 9), "The dataset is empty"),
    ],
)
def test_messages(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_a_sampler_of_ones_own():
    class EveryOther(EpochSampler):
        def choose(self, rng):
            return np.arange(self.epoch % 2, self.n_rows, 2), None

    sampler = EveryOther(6)
    assert [sorted(sampler), sorted(sampler)] == [[0, 2, 4], [1, 3, 5]]
