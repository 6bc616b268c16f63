"""Items with more in them than an input and a target: which part is which."""

from __future__ import annotations

from collections import UserDict

import numpy as np
import pytest
import torch
from cases.rows import Items, N, X, Y, gather
from numpy.testing import assert_array_equal
from torch import nn
from torch.utils.data import (
    ConcatDataset,
    DataLoader,
    Subset,
    TensorDataset,
    default_collate,
)

from skprune import InfluencePruner
from skprune.data.signature import UNKNOWN, Signature, read_signature
from skprune.data.sources import as_source

IDS = np.random.default_rng(0).permutation(1000)[:N]
WORDS = np.array(list("abc"))[Y]
T, Z = torch.from_numpy(X), torch.from_numpy(-X)

ONE = read_signature(lambda x: None)
TWO = read_signature(lambda x, z: None)
SPARE = read_signature(lambda x, mask=None: None)
ANY = read_signature(lambda x, **more: None)


def items(make):
    return Items(make(i) for i in range(N))


def with_attribute(dataset, name, value):
    setattr(dataset, name, value)
    return dataset


def check(source, *inputs, targets=Y):
    """The inputs of all rows, and their targets."""
    found, _ = gather(source)
    found = tuple(found.values()) if isinstance(found, dict) else found
    found = found if isinstance(found, tuple) else (found,)
    for part, expected in zip(found, inputs, strict=True):
        assert_array_equal(part, expected)
    assert_array_equal(source.targets(), targets)


#: Items by what is in them; the target is there without anybody's saying so.
TOLD = {
    "index last": lambda i: (T[i], int(Y[i]), i),
    "index first": lambda i: (i, T[i], int(Y[i])),
    "index beside the pair": lambda i: (i, (T[i], int(Y[i]))),
    "pair beside the index": lambda i: ((T[i], int(Y[i])), torch.tensor(i)),
    "path in the middle": lambda i: (T[i], f"{i}.png", int(Y[i])),
    "path last": lambda i: (T[i], int(Y[i]), f"{i}.png"),
    "path and index": lambda i: (f"{i}.png", T[i], int(Y[i]), np.int64(i)),
    "path beside the pair": lambda i: (f"{i}.png", (T[i], int(Y[i]))),
    "dict": lambda i: {"x": T[i], "label": int(Y[i]), "idx": i, "path": f"{i}.png"},
    "dict of another kind": lambda i: UserDict(x=T[i], target=int(Y[i]), idx=i),
    "dict beside the index": lambda i: (i, {"x": T[i], "y": int(Y[i])}),
    "dict, target and index": lambda i: ({"x": T[i], "path": "p"}, int(Y[i]), i),
}


class TestFound:
    @pytest.mark.parametrize("make", TOLD.values(), ids=TOLD)
    @pytest.mark.parametrize("takes", [ONE, SPARE, ANY])
    @pytest.mark.parametrize("y", [None, Y, 1 - Y], ids=["alone", "y", "other y"])
    def test_target_and_input(self, make, takes, y):
        if make is TOLD["path last"] and takes is SPARE and y is None:
            return  # a number that goes with x, and the target in words?
        check(as_source(items(make), y, takes), X, targets=Y if y is None else y)

    @pytest.mark.parametrize("name", ["targets", "labels"])
    @pytest.mark.parametrize("kind", [np.asarray, torch.tensor, np.ndarray.tolist])
    @pytest.mark.parametrize(
        "make",
        [
            lambda i: (T[i], int(Y[i]), int(IDS[i])),
            lambda i: (int(IDS[i]), (T[i], int(Y[i]))),
            lambda i: (T[i], int(Y[i]), float(IDS[i])),
            lambda i: {"x": T[i], "category": int(Y[i])},
        ],
    )
    def test_by_stored_targets(self, name, kind, make):
        """A number in the items that is neither the row's nor the target's."""
        check(as_source(with_attribute(items(make), name, kind(Y)), takes=ONE), X)

    def test_property(self):
        kind = type("Own", (Items,), {"targets": property(lambda self: Y.tolist())})
        check(as_source(kind((T[i], int(Y[i]), i) for i in range(N)), takes=ONE), X)

    def test_several_inputs(self):
        dataset = items(lambda i: (T[i], Z[i], int(Y[i]), i))
        check(as_source(dataset, takes=TWO), X, -X)
        check(as_source(items(lambda i: (i, ((T[i], Z[i]), int(Y[i])))), takes=TWO), X, -X)
        check(as_source(TensorDataset(T, Z, torch.from_numpy(Y)), takes=TWO), X, -X)

    def test_user_item_and_rating(self):
        dataset = items(lambda i: (int(IDS[i]), int(Y[i]), float(i)))
        rating = np.arange(N, dtype=float)
        check(as_source(dataset, takes=TWO), IDS, Y, targets=rating)
        check(as_source(dataset, rating), IDS, Y, targets=rating)
        check(as_source(dataset, 2 * rating, TWO), IDS, Y, targets=2 * rating)

    def test_words(self):
        dataset = items(lambda i: (T[i], str(WORDS[i]), i))
        check(as_source(dataset, takes=ONE), X, targets=WORDS)
        source = as_source(items(lambda i: (T[i], "p", str(WORDS[i]))), WORDS, ONE)
        check(source.with_targets(Y), X)

    @pytest.mark.parametrize("place", [0, 2])
    def test_tensors(self, place):
        parts = [T, torch.from_numpy(Y)]
        parts.insert(place, torch.arange(N))
        check(as_source(TensorDataset(*parts), takes=ONE), X)
        parts[place] = torch.from_numpy(IDS)
        check(as_source(TensorDataset(*parts), Y, ONE), X)

    def test_numbers_of_the_dataset_below(self):
        order = np.random.default_rng(0).permutation(N)
        whole = items(lambda i: (T[i], int(Y[i]), i))
        check(as_source(Subset(whole, order), takes=ONE), X[order], targets=Y[order])
        both = ConcatDataset([Subset(whole, order[:6]), whole])
        expected = np.r_[order[:6], np.arange(N)]
        check(as_source(both, takes=ONE), X[expected], targets=Y[expected])

    def test_subset_that_makes_items_of_its_own(self):
        class Other(Subset):
            def __getitem__(self, index):
                x, y = super().__getitem__(index)
                return x, 2 - y

            def __getitems__(self, indices):
                return [self[i] for i in indices]

        source = as_source(Other(TensorDataset(T, torch.from_numpy(Y)), range(N)))
        check(source, X, targets=2 - Y)

    @pytest.mark.parametrize("collate", [None, lambda rows: default_collate(rows)])
    @pytest.mark.parametrize("make", TOLD.values(), ids=TOLD)
    def test_loader(self, make, collate):
        dataset = items(make)
        if isinstance(dataset[0], UserDict) and collate is not None:
            return  # torch itself does not collate these
        loader = DataLoader(dataset, 4, shuffle=True, collate_fn=collate)
        check(as_source(loader, takes=ONE), X)

    @pytest.mark.parametrize("takes", [UNKNOWN, ONE])
    def test_what_is_to_be_restored(self, takes):
        for make in (
            lambda i: T[i],
            lambda i: (T[i],),
            lambda i: (T[i], T[i]),
            lambda i: {"x": T[i], "label": 0},
        ):
            check(as_source(items(make), X, takes), X, targets=X)

    def test_names_that_are_needed_are_kept(self):
        """A row number is an input where forward names it."""
        dataset = items(lambda i: {"x": T[i], "z": i, "label": int(Y[i])})
        check(as_source(dataset, takes=TWO), X, np.arange(N))
        check(as_source(items(lambda i: (T[i], i, int(Y[i]))), Y, TWO), X, np.arange(N))


class TestRefused:
    """What cannot be told is asked for, in one message that shows the way out."""

    @pytest.mark.parametrize(
        ("make", "takes"),
        [
            (make, takes)
            for takes in (ONE, SPARE, UNKNOWN)
            for make in (
                lambda i: (T[i], int(Y[i]), int(IDS[i])),
                lambda i: (int(IDS[i]), (T[i], int(Y[i]))),
                lambda i: (T[i], float(IDS[i]), int(Y[i])),
            )
        ]
        + [(TOLD["path last"], SPARE), (TOLD["path last"], UNKNOWN)],
    )
    def test_doubtful_target(self, make, takes):
        source = as_source(items(make), takes=takes)
        with pytest.raises(ValueError, match=r"(?s)item\[0\].*y or.*\.targets.*wrap.*Pairs"):
            source.targets()

    @pytest.mark.parametrize(
        ("make", "takes"),
        [
            (lambda i: (T[i], Z[i], int(Y[i])), ONE),
            (lambda i: (T[i], int(Y[i]), int(IDS[i])), SPARE),
            (lambda i: (T[i], int(Y[i])), TWO),
        ],
    )
    def test_doubtful_inputs(self, make, takes):
        source = as_source(items(make), Y, takes)
        with pytest.raises(ValueError, match=r"(?s)item\[0\].*forward\(x.*wrap.*Pairs"):
            next(source.batches(2))

    @pytest.mark.parametrize("make", [lambda i: (T[i], i), lambda i: (i, T[i])])
    def test_row_numbers_are_no_targets(self, make):
        with pytest.raises(ValueError, match="no targets that could be found"):
            as_source(items(make)).targets()
        check(as_source(items(make), Y), X)

    def test_names(self):
        source = as_source(items(lambda i: {"image": T[i], "label": int(Y[i])}), takes=ONE)
        with pytest.raises(ValueError, match=r"named \['image'\], and .* forward\(x\).*rename"):
            next(source.batches(2))


def test_signatures():
    assert read_signature(nn.Linear(2, 2).forward) == Signature(1, 1, ("input",), ("input",))
    assert read_signature(nn.Linear.forward, bound=False).names == ("input",)
    assert read_signature(torch.add) == UNKNOWN
    assert (SPARE.low, SPARE.high, SPARE.required) == (1, 2, ("x",))
    assert (ANY.high, ANY.names) == (1, None)
    assert read_signature(lambda *x: None).high == np.inf


@pytest.mark.parametrize("y", [None, "given"])
def test_pruners_keep_the_rows_of_the_plain_pairs(y):
    torch.manual_seed(0)
    inputs, net = torch.randn(120, 5), nn.Linear(5, 3)
    targets = net(inputs).argmax(1)
    pairs = TensorDataset(inputs, targets)
    indexed = Items((x, int(t), i) for i, (x, t) in enumerate(pairs))
    indexed.targets = targets.tolist()
    expected, found = (
        InfluencePruner(keep=0.5, model=net, random_state=0).fit(data, y if y is None else targets)
        for data in (pairs, indexed)
    )
    assert_array_equal(found.keep_mask_, expected.keep_mask_)
