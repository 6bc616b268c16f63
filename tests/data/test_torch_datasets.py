"""Rows of torch datasets and loaders: order, targets, digests, and the subset that comes back."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import scipy.sparse as sp
import torch
from cases.rows import (
    ORDER,
    Batched,
    Images,
    Items,
    N,
    X,
    Y,
    check_rows,
    gather,
)
from numpy.testing import assert_array_equal
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    RandomSampler,
    SequentialSampler,
    Subset,
    SubsetRandomSampler,
    TensorDataset,
    WeightedRandomSampler,
    default_collate,
    random_split,
)

from skprune.data.signature import Signature
from skprune.data.sources import PrunedSubset, as_source


class TestItems:
    """Which part of an item is the target."""

    PAIRS = tuple((x, int(y)) for x, y in zip(torch.from_numpy(X), Y, strict=True))

    @pytest.mark.parametrize("y", [None, Y])
    @pytest.mark.parametrize("dataset", [Items, Batched])
    @pytest.mark.parametrize(
        "make",
        [
            lambda x, t: (x, t),
            lambda x, t: [x, t],
            lambda x, t: (x.numpy(), np.int64(t)),
            lambda x, t: (x, torch.tensor(t)),
        ],
        ids=["tuple", "list", "numpy", "tensors"],
    )
    def test_pairs(self, make, dataset, y):
        source = as_source(dataset(make(*pair) for pair in self.PAIRS), y)
        check_rows(source)
        assert_array_equal(source.targets(), Y)

    def test_several_inputs(self):
        source = as_source(Items((x, x[:1], t) for x, t in self.PAIRS))
        (first, second), _ = gather(source)
        assert_array_equal(first, X)
        assert_array_equal(second, X[:, :1])
        assert_array_equal(source.targets(), Y)

    def test_nested_inputs(self):
        source = as_source(Items(({"a": x, "path": "p"}, t) for x, t in self.PAIRS))
        inputs, _ = gather(source)
        assert list(inputs) == ["a"]
        assert_array_equal(source.targets(), Y)

    @pytest.mark.parametrize("y", [None, 1 - Y])
    def test_dicts(self, y):
        source = as_source(Items({"a": x, "text": "t", "label": t} for x, t in self.PAIRS), y)
        inputs, _ = gather(source, indices=ORDER)
        assert list(inputs) == ["a"]
        assert_array_equal(inputs["a"], X[ORDER])
        assert_array_equal(source.targets(), Y if y is None else y)

    def test_strings_as_targets(self):
        source = as_source(Items((x, "abc"[t]) for x, t in self.PAIRS))
        assert_array_equal(source.targets(), np.array(list("abc"))[Y])

    def test_several_outputs(self):
        source = as_source(Items((x, x[:2]) for x, _ in self.PAIRS))
        assert_array_equal(source.targets(), X[:, :2])

    def test_bare_inputs_with_y(self):
        check_rows(as_source(Items(x for x, _ in self.PAIRS), Y))
        check_rows(as_source(TensorDataset(torch.from_numpy(X)), Y))

    @pytest.mark.parametrize("wrap", [lambda d: d, lambda d: DataLoader(d, 2)])
    def test_two_inputs_with_y(self, wrap):
        """With y nothing says that the last entry is a target, so its shape decides."""
        tokens = TensorDataset(torch.arange(2 * N).reshape(N, 2), torch.ones(N, 2))
        assert len(next(as_source(wrap(tokens), Y).batches(4))[0]) == 2
        rows = np.zeros((N, 2))
        assert next(as_source(wrap(tokens), rows).batches(4))[0].shape == (4, 2)

    def test_several_at_once(self):
        """The dataset's own __getitems__ is used, and through the subset as well.

        Each source has a look at a few items before it fetches all.
        """
        dataset = Batched(self.PAIRS)
        before = Batched.fetched
        gather(as_source(dataset, Y), 100)
        gather(as_source(as_source(dataset, Y).take([1, 2]), Y[1:3]), 100)
        assert Batched.fetched == before + 4


class TestStoredTargets:
    def test_torchvision(self):
        """Stored targets are believed after a few items, not read from all."""
        dataset = Images()
        source = as_source(dataset)
        assert_array_equal(source.targets(), Y)
        assert_array_equal(source.targets(), Y)
        assert len(set(dataset.seen)) == len(dataset.seen) == 8 < N
        assert dataset.seen[::7] == [0, N - 1]

    @pytest.mark.parametrize("stored", [Y.tolist(), torch.from_numpy(Y)])
    def test_containers(self, stored):
        assert_array_equal(as_source(Images(stored)).targets(), Y)

    def test_labels(self):
        dataset = Items((x,) for x in X)
        dataset.labels = Y
        assert_array_equal(as_source(dataset).targets(), Y)

    def test_y_goes_before(self):
        assert_array_equal(as_source(Images(), 1 - Y).targets(), 1 - Y)

    def test_transform_of_the_targets(self):
        """What is stored is not what a network is trained on."""
        dataset = Images(target_transform=lambda t: 2 - t)
        assert_array_equal(as_source(dataset).targets(), 2 - Y)
        assert_array_equal(as_source(Subset(dataset, ORDER.tolist())).targets(), (2 - Y)[ORDER])

    def test_stored_targets_that_the_items_do_not_carry(self):
        dataset = Items(TestItems.PAIRS)
        dataset.targets = Y + 5
        assert_array_equal(as_source(dataset).targets(), Y)
        dataset.targets = ["one", "name"]  # not one for each row
        assert_array_equal(as_source(dataset).targets(), Y)

    @pytest.mark.parametrize("base", [Images(), TensorDataset(*map(torch.tensor, (X, Y)))])
    def test_composed(self, base):
        subset = Subset(base, ORDER.tolist())
        assert_array_equal(as_source(subset).targets(), Y[ORDER])
        both = ConcatDataset([base, Subset(subset, [1, 0])])
        assert_array_equal(as_source(both).targets(), np.r_[Y, Y[ORDER[[1, 0]]]])
        check_rows(as_source(both), np.r_[X, X[ORDER[[1, 0]]]])
        split = random_split(base, [6, 5], torch.Generator().manual_seed(0))[0]
        assert_array_equal(as_source(split).targets(), Y[split.indices])
        assert_array_equal(gather(as_source(split))[0], X[split.indices])

    def test_concatenated_with_items(self):
        both = ConcatDataset([Images(), Items(TestItems.PAIRS)])
        assert_array_equal(as_source(both).targets(), np.r_[Y, Y])


def pad(items):
    """A collate_fn for rows of differing length; at the top, so that workers find it."""
    inputs, targets = zip(*items, strict=True)
    return torch.nn.utils.rnn.pad_sequence(inputs, batch_first=True), torch.tensor(targets)


class TestLoader:
    @pytest.mark.parametrize("workers", [0, 2])
    def test_order(self, workers):
        """A loader that shuffles, drops the last rows and has workers: the dataset's rows."""
        loader = DataLoader(Images(), 3, shuffle=True, drop_last=True, num_workers=workers)
        source = as_source(loader)
        inputs, positions = gather(source, 4, ORDER)
        assert_array_equal(inputs, X[ORDER])
        assert_array_equal(positions, ORDER)
        assert_array_equal(source.targets(), Y)
        taken = source.take([2, 5])
        assert isinstance(taken, PrunedSubset)
        assert taken.dataset is loader.dataset

    def test_all_rows(self):
        check_rows(as_source(DataLoader(TensorDataset(*map(torch.tensor, (X, Y))), shuffle=True)))
        check_rows(as_source(DataLoader(Images(), sampler=RandomSampler(range(N)))))

    @pytest.mark.parametrize("workers", [0, 2])
    def test_collate(self, workers):
        ragged = Items((torch.ones(k + 1), k % 2) for k in range(6))
        source = as_source(DataLoader(ragged, 2, collate_fn=pad, num_workers=workers))
        shapes = [tuple(inputs.shape) for inputs, _ in source.batches(4)]
        assert shapes == [(4, 4), (2, 6)]
        assert_array_equal(source.targets(), [0, 1, 0, 1, 0, 1])
        assert source.fingerprint() is None

    def test_collate_to_dict(self):
        def collate(items):
            inputs, targets = default_collate(items)
            return {"pixels": inputs, "labels": targets, "names": ["a"] * len(items)}

        source = as_source(DataLoader(Images(), collate_fn=collate))
        assert_array_equal(gather(source)[0]["pixels"], X)
        assert_array_equal(source.targets(), Y)

    def test_collate_of_flat_tokens(self):
        """Tokens of all rows in a line, with the places where rows begin."""

        def collate(items):
            tokens, targets = zip(*items, strict=True)
            starts = torch.tensor([0, *map(len, tokens[:-1])]).cumsum(0)
            return torch.cat(tokens), starts, torch.tensor(targets)

        ragged = Items((torch.ones(k + 2), k % 2) for k in range(6))
        source = as_source(DataLoader(ragged, collate_fn=collate), takes=Signature(low=2))
        (tokens, starts), _ = next(source.batches(3))
        assert (tokens.shape, starts.tolist()) == ((9,), [0, 2, 5])

    def test_collate_that_drops_rows(self):
        def collate(items):
            return default_collate([item for item in items if item[1] != 1])

        source = as_source(DataLoader(Images(), collate_fn=collate))
        with pytest.raises(ValueError, match=r"\[3\] rows from 4 items"):
            next(source.batches(4))

    def test_random_numbers_are_left_alone(self):
        torch.manual_seed(0)
        before = torch.get_rng_state()
        source = as_source(DataLoader(Images(), shuffle=True))
        gather(source)
        source.targets()
        assert torch.equal(torch.get_rng_state(), before)

    @pytest.mark.parametrize(
        ("options", "message"),
        [
            ({"sampler": WeightedRandomSampler([1.0] * N, N)}, "WeightedRandomSampler"),
            ({"sampler": SubsetRandomSampler([1, 2])}, "SubsetRandomSampler"),
            ({"sampler": RandomSampler(range(N), replacement=True)}, "replacement=True"),
            ({"sampler": RandomSampler(range(N), num_samples=5)}, "draws 5 of 11"),
            ({"sampler": [1, 2, 3]}, "list"),
            ({"batch_sampler": [[0, 1], [2]]}, "list draws"),
            (
                {"batch_sampler": type("Own", (BatchSampler,), {})(SequentialSampler(X), 2, False)},
                "Own draws",
            ),
            ({"batch_size": None}, "batch_size=None"),
        ],
    )
    def test_refused(self, options, message):
        with pytest.raises(ValueError, match=rf"(?s){message}.*loader\.dataset"):
            as_source(DataLoader(Images(), **options))


class TestSubset:
    ROWS = (0, 3, 4, 9)

    def test_attributes(self):
        dataset = Images()
        subset = as_source(dataset).take(self.ROWS)
        assert isinstance(subset, Subset)
        assert len(subset) == 4
        assert_array_equal(subset.targets, Y[list(self.ROWS)])
        assert_array_equal(subset.data, X[list(self.ROWS)])
        assert subset.classes is dataset.classes
        assert subset.class_to_idx is dataset.class_to_idx
        assert not hasattr(subset, "labels")
        assert repr(subset) == "PrunedSubset(4 of 11 rows of Images)"

    @pytest.mark.parametrize("stored", [Y.tolist(), torch.from_numpy(Y), Y])
    def test_targets_keep_their_kind(self, stored):
        found = as_source(Images(stored)).take(self.ROWS).targets
        assert type(found) is type(stored)
        assert_array_equal(found, Y[list(self.ROWS)])

    @pytest.mark.parametrize("dataset", [Images(), Batched(TestItems.PAIRS)])
    @pytest.mark.parametrize("workers", [0, 2])
    def test_loads(self, dataset, workers):
        subset = as_source(dataset).take(self.ROWS)
        inputs, targets = next(iter(DataLoader(subset, 4, num_workers=workers)))
        assert_array_equal(inputs, X[list(self.ROWS)])
        assert_array_equal(targets, Y[list(self.ROWS)])

    @pytest.mark.parametrize(
        "duplicate", [copy.copy, copy.deepcopy, lambda s: pickle.loads(pickle.dumps(s))]
    )
    def test_copies(self, duplicate):
        subset = duplicate(as_source(Images()).take(self.ROWS))
        assert_array_equal(subset.targets, Y[list(self.ROWS)])
        assert subset.indices == list(self.ROWS)

    def test_nested(self):
        dataset = Images()
        outer = as_source(Subset(dataset, [8, 6, 4, 2])).take([0, 2])
        inner = as_source(outer).take(np.array([1]))
        assert (inner.dataset, inner.indices) == (dataset, [4])
        assert type(inner.indices[0]) is int
        assert_array_equal(inner[0][0], X[4])

    def test_subset_with_attributes_of_its_own_is_not_looked_through(self):
        train = Subset(Images(), [8, 6, 4, 2])
        train.targets = [10, 11, 12, 13]
        assert as_source(train).take([0, 2]).targets == [10, 12]

    def test_order_is_kept(self):
        assert as_source(Images()).take([4, 1]).indices == [4, 1]


class TestFingerprint:
    def tensors(self, shift=0.0):
        return TensorDataset(torch.from_numpy(X + np.float32(shift)), torch.from_numpy(Y))

    @pytest.mark.parametrize(
        "make",
        [
            lambda d: d,
            lambda d: Subset(d, [1, 2]),
            lambda d: Subset(Subset(d, [1, 2]), [0]),
            lambda d: PrunedSubset(d, [1, 2]),
            lambda d: ConcatDataset([d, Subset(d, [0])]),
            DataLoader,
            lambda d: DataLoader(d, shuffle=True),
        ],
    )
    def test_content(self, make):
        one, same, other = (as_source(make(self.tensors(s))).fingerprint() for s in (0, 0, 1))
        assert isinstance(one, str)
        assert one == same != other

    def test_rows_of_a_subset(self):
        dataset = self.tensors()
        digests = {as_source(Subset(dataset, rows)).fingerprint() for rows in ([0], [1], [0, 1])}
        assert len(digests) == 3

    def test_arrays(self):
        forms = [X, X.copy(), np.asfortranarray(X)]
        assert len({as_source(x, Y).fingerprint() for x in forms}) == 1
        others = [X, 2 * X, X.reshape(N, 2, 2), X.astype(float), sp.csr_matrix(X)]
        others += [torch.from_numpy(X).bfloat16(), torch.from_numpy(X).bfloat16().view(torch.int16)]
        assert len({as_source(x, Y).fingerprint() for x in others}) == len(others)

    def test_pieces_make_no_difference_to_containers(self, monkeypatch):
        monkeypatch.setattr("skprune.data.arrays.DIGEST_BYTES", 40)
        pieces = as_source(X, Y).fingerprint()
        assert pieces == as_source(np.asfortranarray(X), Y).fingerprint()
        assert pieces != as_source(2 * X, Y).fingerprint()

    def test_unknown_content(self):
        """Code of the user's makes the rows: nobody can see whether it is still the same code."""
        own = type("Own", (TensorDataset,), {})(torch.from_numpy(X))
        for dataset in (Images(), own, Subset(own, [0, 1]), ConcatDataset([self.tensors(), own])):
            assert as_source(dataset, np.zeros(len(dataset))).fingerprint() is None
