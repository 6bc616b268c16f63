"""Rows of arrays of every kind, tensors on devices, and what is refused."""

from __future__ import annotations

import copy
import warnings
from collections import OrderedDict, UserDict, defaultdict
from collections.abc import MutableMapping
from types import MappingProxyType

import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse as sp
import torch
from cases.rows import (
    DEVICES,
    ORDER,
    Images,
    Items,
    N,
    Pair,
    Stream,
    X,
    Y,
    check_rows,
    gather,
)
from numpy.testing import assert_array_equal
from skorch.helper import SliceDict
from torch.utils.data import (
    DataLoader,
    Dataset,
    TensorDataset,
)

from skprune.data.signature import read_signature
from skprune.data.source import to_device
from skprune.data.sources import as_source, is_dataset


def strided(array):
    return np.repeat(array, 2, axis=0)[::2]


class TestArrays:
    CONTAINERS = (
        ("array", X),
        ("float64", X.astype(np.float64)),
        ("float16", X.astype(np.float16)),
        ("int8", X.astype(np.int8)),
        ("bool", X > 20),
        ("big endian", X.astype(">f4")),
        ("columns first", np.asfortranarray(X)),
        ("strided", strided(X)),
        ("backwards", X[::-1].copy()[::-1]),
        ("one axis", X[:, 0].copy()),
        ("images", X.reshape(N, 1, 2, 2)),
        ("list", X.tolist()),
        ("list of arrays", list(X)),
        ("list of tensors", list(torch.from_numpy(X))),
        ("tuple of rows", tuple(map(tuple, X.tolist()))),
        ("objects", X.astype(object)),
        ("pandas", pd.DataFrame(X)),
        ("pandas mixed", pd.DataFrame({"a": X[:, 0] > 9, "b": X[:, 1], "c": Y})),
        ("pandas nullable", pd.DataFrame({"a": pd.array(Y, dtype="Int64"), "b": X[:, 1]})),
        ("pandas series", pd.Series(X[:, 0])),
        ("polars", pl.DataFrame(X)),
        ("tensor", torch.from_numpy(X)),
        ("half tensor", torch.from_numpy(X).half()),
        ("learned tensor", torch.from_numpy(X.copy()).requires_grad_()),
    )

    @pytest.mark.parametrize("data", [c for _, c in CONTAINERS], ids=[n for n, _ in CONTAINERS])
    def test_rows(self, data):
        given = data.detach() if isinstance(data, torch.Tensor) else data
        given = np.stack([np.asarray(row) for row in given]) if isinstance(given, list) else given
        expected = np.asarray(given)
        if expected.dtype == object:
            expected = expected.astype(float)
        source = as_source(data, Y)
        check_rows(source, expected)
        batch, _ = next(source.batches(3))
        assert batch.numpy().dtype == expected.dtype.newbyteorder("=")
        assert not batch.requires_grad
        assert_array_equal(source.targets(), Y)
        assert source.original is data

    @pytest.mark.parametrize("kind", ["csr", "csc", "coo", "bsr", "lil"])
    @pytest.mark.parametrize("make", ["matrix", "array"])
    def test_sparse(self, kind, make):
        data = getattr(sp, f"{kind}_{make}")(X)
        check_rows(as_source(data, Y))
        assert as_source(data, Y).take([1, 3]).format == kind

    @pytest.mark.parametrize("wide", ["uint16", "uint32", "uint64"])
    def test_unsigned(self, wide):
        """torch lacks most operations on them."""
        inputs, _ = gather(as_source(X.astype(wide), Y))
        assert not inputs.is_floating_point()
        assert_array_equal(inputs, X)

    def test_missing_values_become_nan(self):
        frame = pd.DataFrame({"a": pd.array([1, None, 3], dtype="Int64")})
        inputs, _ = gather(as_source(frame, [0, 1, 0]))
        assert_array_equal(inputs, [[1], [np.nan], [3]])

    def test_memory_map(self, tmp_path):
        path = tmp_path / "x.npy"
        np.save(path, X)
        data = np.load(path, mmap_mode="r")
        source = as_source(data, Y)
        with warnings.catch_warnings():
            warnings.simplefilter("error")  # torch warns of memory that cannot be written
            check_rows(source)
        assert source._rows._data is data
        assert source.fingerprint() == as_source(X, Y).fingerprint()

    @pytest.mark.parametrize("data", [X.copy(), torch.from_numpy(X.copy())], ids=["numpy", "torch"])
    @pytest.mark.parametrize("indices", [None, [0, 1]])
    def test_work_in_place_leaves_the_data(self, data, indices):
        next(as_source(data, Y).batches(5, indices))[0].zero_()
        assert_array_equal(data, X)

    @pytest.mark.parametrize("device", DEVICES)
    def test_tensors_stay_where_they_are(self, device):
        data = torch.from_numpy(X).to(device)
        source = as_source(data, torch.from_numpy(Y).to(device))
        inputs, _ = gather(source, indices=ORDER)
        assert inputs.device == data.device
        assert_array_equal(inputs.cpu(), X[ORDER])
        assert_array_equal(source.targets(), Y)
        assert source.take([3]).device == data.device
        assert source.fingerprint() == as_source(torch.from_numpy(X), Y).fingerprint()

    @pytest.mark.parametrize(
        "y",
        [
            Y.tolist(),
            tuple(Y),
            pd.Series(Y, index=range(9, 9 + N)),
            pd.Categorical(Y),
            pl.Series(Y),
            torch.from_numpy(Y),
            [torch.tensor(k) for k in Y],
        ],
        ids=["list", "tuple", "pandas", "categorical", "polars", "tensor", "tensors"],
    )
    def test_targets(self, y):
        assert_array_equal(as_source(X, y).targets(), Y)

    def test_targets_of_several_outputs(self):
        assert as_source(X, torch.zeros(N, 2, dtype=torch.bfloat16)).targets().shape == (N, 2)

    def test_take(self):
        frame = pd.DataFrame(X, index=list("abcdefghijk"))
        assert list(as_source(frame, Y).take([2, 0]).index) == ["c", "a"]


class TestColumns:
    IDS, MASK = torch.arange(3 * N).reshape(N, 3), np.arange(N) % 2 == 0

    @pytest.mark.parametrize("kind", [dict, tuple, Pair])
    def test_rows_and_kind(self, kind):
        parts = {"ids": self.IDS, "mask": self.MASK}
        data = parts if kind is dict else tuple(parts.values()) if kind is tuple else Pair(**parts)
        source = as_source(data, Y)
        inputs, positions = gather(source, 4, ORDER)
        inputs = inputs.values() if kind is dict else inputs
        for found, given in zip(inputs, parts.values(), strict=True):
            assert_array_equal(found, np.asarray(given)[ORDER])
        assert_array_equal(positions, ORDER)
        taken = source.take([1, 2])
        assert type(taken) is kind
        kept = taken if kind is dict else Pair(*taken)._asdict()
        assert (type(kept["ids"]), type(kept["mask"])) == (torch.Tensor, np.ndarray)
        assert_array_equal(kept["ids"], self.IDS[1:3])

    @pytest.mark.parametrize("key", ["labels", "label", "target", "targets", "y"])
    def test_labels_in_a_dict(self, key):
        data = {"ids": self.IDS, key: Y}
        assert_array_equal(as_source(data).targets(), Y)
        assert_array_equal(as_source(data, 1 - Y).targets(), 1 - Y)
        assert list(gather(as_source(data, Y))[0]) == ["ids"]

    def test_strings_are_no_inputs(self):
        data = {"ids": self.IDS, "text": ["a"] * N, "name": np.array(["b"] * N)}
        data["path"] = pd.Series(["c"] * N)
        assert list(gather(as_source(data, Y))[0]) == ["ids"]

    @pytest.mark.parametrize(
        "data",
        [
            OrderedDict(ids=IDS, mask=MASK),
            defaultdict(list, ids=IDS, mask=MASK),
            UserDict(ids=IDS, mask=MASK),
            MappingProxyType({"ids": IDS, "mask": MASK}),
            SliceDict(ids=IDS, mask=MASK),
        ],
        ids=lambda data: type(data).__name__,
    )
    def test_kinds_of_mappings(self, data):
        taken = as_source(data, Y).take([1, 2])
        assert type(taken) is type(data)
        assert_array_equal(taken["ids"], self.IDS[1:3])
        assert_array_equal(taken["mask"], self.MASK[1:3])
        assert_array_equal(data["ids"], self.IDS)
        if isinstance(data, defaultdict):
            assert taken.default_factory is list

    def test_mappings_that_cannot_be_made(self, tmp_path):
        """Another view of the same storage is not touched, and a file cannot be made of arrays."""

        class View(MutableMapping):
            def __init__(self, store, _):
                self.store = store

            __getitem__ = property(lambda self: self.store.__getitem__)
            __setitem__ = property(lambda self: self.store.__setitem__)
            __delitem__ = property(lambda self: self.store.__delitem__)
            __iter__ = property(lambda self: self.store.__iter__)
            __len__ = property(lambda self: self.store.__len__)

        store = {"ids": self.IDS, "mask": self.MASK}
        np.savez(tmp_path / "rows.npz", **store)
        with np.load(tmp_path / "rows.npz") as file:
            for data in (file, View(store, None)):
                taken = as_source(data, Y).take([1, 2])
                assert type(taken) is dict
                assert_array_equal(taken["ids"], self.IDS[1:3])
                assert len(data["ids"]) == N

    def test_arrays_that_forward_does_not_name(self):
        data = {"ids": self.IDS, "idx": np.arange(N), "label": Y}
        takes = read_signature(lambda ids, mask=None: None)
        source = as_source(data, takes=takes)
        assert list(gather(source)[0]) == ["ids"]
        assert list(source.take([1])) == list(data)
        with pytest.raises(ValueError, match=r"named \['ids', 'idx'\], and .* forward\(x\)"):
            as_source(data, takes=read_signature(lambda x: None))

    def test_tuple_as_long_as_y_is_rows(self):
        rows = tuple(X)
        assert_array_equal(gather(as_source(rows, Y))[0], X)

    def test_digest_knows_the_columns(self):
        a, b = {"p": X, "q": 2 * X}, {"p": 2 * X, "q": X}
        assert as_source(a, Y).fingerprint() != as_source(b, Y).fingerprint()
        assert as_source(a, Y).fingerprint() == as_source(copy.deepcopy(a), 1 - Y).fingerprint()


class TestToDevice:
    @pytest.mark.parametrize("device", DEVICES)
    def test_nested(self, device):
        pixels, ids = torch.ones(2, dtype=torch.float64), torch.ones(2, dtype=torch.int32)
        moved = to_device(
            {"a": pixels, "b": (ids, [pixels]), "c": Pair(ids, None), "d": "text"},
            device,
            torch.float32,
        )
        assert moved["a"].device.type == device
        assert moved["a"].dtype == moved["b"][1][0].dtype == torch.float32
        assert moved["b"][0].dtype == moved["c"].ids.dtype == torch.int32
        assert type(moved["c"]) is Pair
        assert (moved["c"].mask, moved["d"]) == (None, "text")

    def test_unchanged(self):
        inputs = torch.ones(2, dtype=torch.float16)
        assert to_device(inputs, "cpu") is inputs

    def test_objects(self):
        class Graph:
            def to(self, device):
                return "moved", device

        assert to_device(Graph(), "cpu") == ("moved", "cpu")


@pytest.mark.parametrize(
    ("obj", "expected"),
    [
        (Images(), True),
        (DataLoader(Images()), True),
        (Stream(), True),
        (X, False),
        (X.tolist(), False),
        ({"a": X}, False),
        (None, False),
        (torch.from_numpy(X), False),
    ],
)
def test_is_dataset(obj, expected):
    assert is_dataset(obj) is expected


class TestErrors:
    NO_LEN = type("NoLen", (Dataset,), {"__getitem__": lambda self, i: X[i]})

    @pytest.mark.parametrize(
        ("data", "y", "message"),
        [
            (X, Y[:5], "y has 5 entries for 11 rows of the ndarray"),
            (Images(), Y[:5], "y has 5 entries for 11 rows of the Images"),
            (X[:0], Y[:0], "the ndarray has no rows"),
            (Items([]), None, "the Items has no rows"),
            (Stream(), None, "IterableDataset: its rows have no numbers"),
            (DataLoader(Stream()), None, "IterableDataset"),
            (NO_LEN(), None, "NoLen has no __len__"),
            ({"a": X, "b": X[:3]}, Y, "'a': 11, 'b': 3"),
            ({"labels": Y}, None, "no arrays of numbers beside the target"),
            ([[1.0], [1.0, 2.0]], [0, 1], "differ in shape"),
            ([torch.ones(1), torch.ones(2)], [0, 1], "differ in shape"),
            (["a", "b"], [0, 1], "not numbers"),
            (pd.DataFrame({"a": ["x", "y"]}), [0, 1], "columns are not numbers"),
            (torch.eye(3).to_sparse(), [0, 1, 2], "layout"),
        ],
    )
    def test_data(self, data, y, message):
        with pytest.raises(ValueError, match=message):
            as_source(data, y)

    @pytest.mark.parametrize(
        "data", [X, (X, X), {"a": X}, Items(X), TensorDataset(torch.from_numpy(X))]
    )
    def test_no_targets(self, data):
        with pytest.raises(ValueError, match=r"(?s)no targets that could be found.*y, if it is"):
            as_source(data).targets()

    @pytest.mark.parametrize(
        "targets", [[{"boxes": 1}] * N, [torch.ones(k + 1) for k in range(N)], [None] * N]
    )
    def test_targets_that_are_no_array(self, targets):
        with pytest.raises(ValueError, match=r"as y|no targets"):
            as_source(Items(zip(X, targets, strict=True))).targets()

    @pytest.mark.parametrize(
        ("items", "message"),
        [
            ([(X[0], 0), (X[1], X[1], 0)], "2 entries / 3 entries"),
            ([({"a": X[0]}, 0), ({"b": X[0]}, 0)], "a dict of 'a' / a dict of 'b'"),
            ([(X[0], 0), (X[0, :2], 0)], r"do not make a batch.*collate_fn that pads"),
            ([(object(), 0)], "do not make a batch.*transform that makes tensors"),
        ],
    )
    @pytest.mark.parametrize("size", [1, 2])
    def test_items(self, items, message, size):
        if size == 1 and "batch" in message and len(items) == 2:
            return  # alone, each of them is a batch
        with pytest.raises(ValueError, match=rf"(?s){message}"):
            list(as_source(Items(items)).batches(size))

    @pytest.mark.parametrize(
        ("indices", "message"),
        [
            ([0, N], "numbered from 0 to 10"),
            ([-1], "run from -1"),
            ([0.5], "list of integers"),
            (np.ones(N, bool), "flatnonzero"),
            ([[1]], "list of integers"),
        ],
    )
    def test_indices(self, indices, message):
        source = as_source(Images())
        for method in (source.take, lambda rows: source.batches(2, rows)):
            with pytest.raises(ValueError, match=message):
                method(indices)

    def test_size(self):
        with pytest.raises(ValueError, match="size=0"):
            as_source(X, Y).batches(0)

    def test_no_rows_asked_for(self):
        for data in (X, Images(), TensorDataset(torch.from_numpy(X))):
            assert list(as_source(data, Y).batches(2, [])) == []
