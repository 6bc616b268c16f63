"""Arrays on disk: killed and resumed, damaged, and written by several processes at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
import time
import warnings

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

import skprune.utils.files as files_module
from skprune.utils.exceptions import PruningWarning
from skprune.utils.store import FeatureStore

SHAPE, SHARD = (103, 7), 10 * 7 * 4  # eleven shards of ten rows, the last of three


def rows(start, stop):
    """Rows that depend on the limits as floating sums do: other limits give other bits."""
    block = np.random.default_rng(0).normal(size=SHAPE)[start:stop].astype(np.float32)
    return block * np.float32(1 + 1e-6 * (stop - start)) + block.mean(0)


class Counted:
    """``rows``, with the limits that it was called with."""

    def __init__(self):
        self.calls = []

    def __call__(self, start, stop):
        self.calls.append((start, stop))
        return rows(start, stop)


def expected():
    return np.concatenate([rows(a, min(a + 10, 103)) for a in range(0, 103, 10)])


def array(directory, compute, key="k", **options):
    return FeatureStore(directory, SHARD).array(key, SHAPE, "float32", compute, **options)


def files(directory, pattern):
    return sorted(directory.rglob(pattern))


WRITER = """
import os, sys
sys.path.insert(0, {tests!r})
from test_store import SHAPE, SHARD, rows
from skprune.utils.store import FeatureStore

done = 0
def compute(start, stop):
    global done
    if done == int(sys.argv[2]):
        os._exit(9)
    done += 1
    return rows(start, stop)

FeatureStore(sys.argv[1], SHARD).array("k", SHAPE, "float32", compute)
"""


def writer(directory, shards):
    """A process that writes the array and dies after ``shards`` shards."""
    code = textwrap.dedent(WRITER.format(tests=os.path.dirname(__file__)))
    return subprocess.Popen([sys.executable, "-c", code, str(directory), str(shards)])


def interrupt(directory, shards):
    """The same within this process."""

    def stops(start, stop):
        if start == 10 * shards:
            raise KeyboardInterrupt
        return rows(start, stop)

    with pytest.raises(KeyboardInterrupt):
        array(directory, stops)


def damaged_zip(path):
    with path.open("wb") as file:
        np.savez(file, a=np.zeros(3))


def damaged_json(path):
    path.write_text("[" * 100_000)


def damaged_object(path):
    with path.open("wb") as file:
        np.save(file, np.array([{}], dtype=object), allow_pickle=True)


def damaged_folder(path):
    path.mkdir()


class TestArray:
    @pytest.mark.parametrize("mmap", [True, False])
    def test_computed_once(self, tmp_path, mmap):
        first, second = Counted(), Counted()
        assert_array_equal(array(tmp_path, first, mmap=mmap), expected())
        again = array(tmp_path, second, mmap=mmap)
        assert_array_equal(again, expected())
        assert again.dtype == np.float32
        assert isinstance(again, np.memmap) == mmap
        assert (len(first.calls), second.calls) == (11, [])

    def test_one_file_is_left(self, tmp_path):
        array(tmp_path, rows)
        names = [p.name.partition("-")[0] for p in files(tmp_path, "*.*")]
        assert names == ["manifest.json", "rows"]

    def test_mapped_rows_cannot_be_written(self, tmp_path):
        with pytest.raises(ValueError, match="read-only"):
            array(tmp_path, rows)[0] = 0

    def test_keys_and_shapes_are_apart(self, tmp_path):
        store = FeatureStore(tmp_path)
        stored = {
            (key, n): store.array(key, (n,), "int64", lambda a, b, k=k: np.arange(a, b) * k)
            for k, key in enumerate(["a", "b"], start=1)
            for n in (3, 4)
        }
        for (key, n), value in stored.items():
            assert_array_equal(value, np.arange(n) * (1 if key == "a" else 2))

    def test_other_shard_sizes_are_other_entries(self, tmp_path):
        """Rows may depend on the limits in their last bits, so shards are never mixed."""
        array(tmp_path, rows)
        counted = Counted()
        FeatureStore(tmp_path, 2 * SHARD).array("k", SHAPE, "float32", counted)
        assert counted.calls[0] == (0, 20)

    @pytest.mark.parametrize("dtype", ["float16", "float64", "int8", "bool", "complex64", ">f8"])
    def test_dtypes(self, tmp_path, dtype):
        data = np.arange(12).reshape(6, 2).astype(dtype)
        found = FeatureStore(tmp_path, 8).array("k", (6, 2), dtype, lambda a, b: data[a:b])
        assert found.dtype == data.dtype
        assert_array_equal(found, data)

    def test_tensors_and_narrower_numbers(self, tmp_path):
        data = torch.arange(6.0, requires_grad=True)
        found = FeatureStore(tmp_path).array("k", (6,), "float16", lambda a, b: data[a:b])
        assert_array_equal(found, np.arange(6, dtype=np.float16))

    def test_nan_is_kept(self, tmp_path):
        found = FeatureStore(tmp_path).array("k", (2,), "f4", lambda a, b: np.full(b - a, np.nan))
        assert np.isnan(found).all()

    @pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
    def test_no_numbers(self, tmp_path, shape):
        assert FeatureStore(tmp_path).array("k", shape, "f4", rows).shape == shape


class TestInterrupted:
    def test_killed_and_resumed(self, tmp_path):
        """The process is gone after four shards; the next one computes seven."""
        assert writer(tmp_path / "killed", 4).wait() == 9
        assert len(files(tmp_path, "shard-*")) == 4
        counted = Counted()
        resumed = array(tmp_path / "killed", counted)
        assert [start for start, _ in counted.calls] == list(range(40, 103, 10))
        whole = array(tmp_path / "whole", rows)
        assert resumed.tobytes() == whole.tobytes()
        assert [f.read_bytes() for f in files(tmp_path / "killed", "*.*")] == [
            f.read_bytes() for f in files(tmp_path / "whole", "*.*")
        ]

    def test_error_in_compute(self, tmp_path):
        """It comes through as it is, whatever its kind, and costs its own shard only."""

        def fails(start, stop):
            if start == 20:
                raise FileNotFoundError("an image of the user's")
            return rows(start, stop)

        with pytest.raises(FileNotFoundError, match="an image"):
            array(tmp_path, fails)
        counted = Counted()
        array(tmp_path, counted)
        assert counted.calls[0] == (20, 30)

    @pytest.mark.parametrize(
        "damage",
        [
            lambda raw: raw[:-5],
            lambda raw: raw[:40],
            lambda raw: b"",
            lambda raw: raw[:-1] + bytes([raw[-1] ^ 1]),
        ],
        ids=["cut", "header only", "empty", "one bit"],
    )
    def test_damaged_shard(self, tmp_path, damage):
        interrupt(tmp_path, 4)
        shard = files(tmp_path, "shard-000002-*")[0]
        shard.write_bytes(damage(shard.read_bytes()))
        counted = Counted()
        assert_array_equal(array(tmp_path, counted), expected())
        assert [start for start, _ in counted.calls] == [20, *range(40, 103, 10)]

    @pytest.mark.parametrize("mmap", [True, False])
    def test_damaged_array_costs_the_damaged_shard(self, tmp_path, mmap):
        array(tmp_path, rows)
        path = files(tmp_path, "rows-*")[0]
        raw = bytearray(path.read_bytes())
        raw[-1] ^= 1
        path.write_bytes(raw)
        counted = Counted()
        assert_array_equal(array(tmp_path, counted, mmap=mmap), expected())
        assert counted.calls == [(100, 103)]

    @pytest.mark.parametrize("what", ["rows cut", "rows gone", "manifest cut", "manifest gone"])
    def test_lost_files(self, tmp_path, what):
        array(tmp_path, rows)
        path = files(tmp_path, f"{what.split()[0]}*")[0]
        if what.endswith("cut"):
            path.write_bytes(path.read_bytes()[:-9])
        else:
            path.unlink()
        assert_array_equal(array(tmp_path, rows), expected())

    def test_killed_before_the_manifest(self, tmp_path, monkeypatch):
        """The file of all rows is there and nothing names it yet: the shards are still there."""
        replace = os.replace

        def dies(source, target):
            if target.name == "manifest.json":
                raise KeyboardInterrupt
            replace(source, target)

        monkeypatch.setattr("skprune.utils.store.os.replace", dies)
        with pytest.raises(KeyboardInterrupt):
            array(tmp_path, rows)
        monkeypatch.undo()
        assert_array_equal(array(tmp_path, pytest.fail), expected())

    @pytest.mark.parametrize("make", [damaged_zip, damaged_json, damaged_object, damaged_folder])
    @pytest.mark.parametrize("what", ["shard", "rows", "manifest"])
    def test_files_that_are_something_else(self, tmp_path, what, make):
        """Whatever fails while a file is read, the array is right; what was a file is repaired."""
        if what == "shard":
            interrupt(tmp_path, 4)
        else:
            array(tmp_path, rows)
        path = files(tmp_path, f"{what}*")[0]
        path.unlink()
        make(path)
        if make is damaged_folder:
            with pytest.warns(PruningWarning, match="does not keep"):
                assert_array_equal(array(tmp_path, rows), expected())
            return
        assert_array_equal(array(tmp_path, rows), expected())
        assert_array_equal(array(tmp_path, pytest.fail), expected())

    @pytest.mark.parametrize("name", ["/{}", "../{}", "../../{}"])
    def test_no_manifest_reaches_another_file(self, tmp_path, name):
        precious = tmp_path / "precious.npy"
        precious.write_text("precious")
        array(tmp_path, rows)
        manifest = files(tmp_path, "manifest.json")[0]
        named = name.format(precious if name == "/{}" else precious.name)
        text = json.loads(manifest.read_text())
        manifest.write_text(json.dumps({**text, "file": named, "digests": [named] * 11}))
        assert_array_equal(array(tmp_path, rows), expected())
        assert precious.read_text() == "precious"

    @pytest.mark.parametrize("level", ["key", "entry", "rows"])
    def test_no_link_reaches_another_file(self, tmp_path, level):
        cache, elsewhere = tmp_path / "cache", tmp_path / "elsewhere"
        array(cache, rows)
        path = files(cache, "rows-*")[0]
        path = {"key": path.parent.parent, "entry": path.parent, "rows": path}[level]
        path.rename(elsewhere)
        for inside in files(elsewhere, "manifest.json"):
            inside.write_text("{}")
        if level == "rows":
            elsewhere.write_text("precious")
        path.symlink_to(elsewhere)
        before = [(f, f.stat().st_mtime_ns) for f in (elsewhere, *files(elsewhere, "*"))]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PruningWarning)
            assert_array_equal(array(cache, rows), expected())
        assert before == [(f, f.stat().st_mtime_ns) for f in (elsewhere, *files(elsewhere, "*"))]

    @pytest.mark.parametrize("room", range(0, 13, 3))
    def test_full_disk(self, tmp_path, monkeypatch, room):
        """Wherever the disk is full, the array is right; what was written before serves later."""
        write, left = files_module.write_whole, [room]

        def full(folder, content):
            left[0] -= 1
            if left[0] < 0:
                content = lambda file: os.write(os.open("/dev/full", os.O_WRONLY), b"x")  # noqa: E731
            write(folder, content)

        monkeypatch.setattr("skprune.utils.store.write_whole", full)
        counted = Counted()
        with pytest.warns(PruningWarning, match=r"No space left.*make room"):
            assert_array_equal(array(tmp_path, counted), expected())
        monkeypatch.undo()
        assert files(tmp_path, f"*{files_module.UNFINISHED}") == []
        later = Counted()
        assert_array_equal(array(tmp_path, later), expected())
        assert len(later.calls) == max(0, 11 - room)

    def test_leftovers_of_the_dead_are_removed(self, tmp_path):
        """However long a living process takes to write a file, it stays."""
        array(tmp_path, rows)
        folder = files(tmp_path, "manifest.json")[0].parent
        old, young, held = (folder / f"{c}{files_module.UNFINISHED}" for c in "abc")
        for path in (old, young, held):
            path.write_bytes(b"half")
        with held.open("rb") as file:
            files_module._lock(file)
            for path in (old, held):
                os.utime(path, (time.time() - 1e5,) * 2)
            array(tmp_path, rows)
            assert [path.exists() for path in (old, young, held)] == [False, True, True]
        array(tmp_path, rows)
        assert not held.exists()


class TestTogether:
    def test_writers_at_once(self, tmp_path):
        writers = [writer(tmp_path, -1) for _ in range(2)]
        assert [w.wait() for w in writers] == [0, 0]
        assert_array_equal(array(tmp_path, pytest.fail), expected())
        assert files(tmp_path, f"*{files_module.UNFINISHED}") == []

    def test_another_finishes_first(self, tmp_path):
        """While one writer computes, another finishes: the first takes that result."""
        calls = []

        def slow(start, stop):
            calls.append(start)
            if start == 30:
                array(tmp_path, rows)
            return rows(start, stop)

        assert_array_equal(array(tmp_path, slow), expected())
        assert calls == [0, 10, 20, 30]

    def test_another_joins_first(self, tmp_path, monkeypatch):
        """The shards go away while they are put together."""
        from skprune.utils import store

        join = store._Entry.join

        def late(entry):
            monkeypatch.setattr(store._Entry, "join", join)
            whole = entry._whole
            array(tmp_path, pytest.fail)
            # What this writer saw before the other one wrote the manifest.
            entry._whole = lambda: None
            try:
                join(entry)
            finally:
                entry._whole = whole

        monkeypatch.setattr(store._Entry, "join", late)
        assert_array_equal(array(tmp_path, rows), expected())

    def test_results_that_differ_are_never_mixed(self, tmp_path):
        """Two writers that round differently: every shard is of one of them, and it stays so."""
        interrupt(tmp_path, 4)
        other = array(tmp_path, lambda a, b: rows(a, b) + np.float32(1))
        assert_array_equal(other[:40], expected()[:40])
        assert_array_equal(other[40:], expected()[40:] + np.float32(1))
        assert_array_equal(array(tmp_path, pytest.fail), other)


class TestErrors:
    @pytest.mark.parametrize("key", ["", "a/b", "..", "a b", "ä", "a" * 101])
    def test_key(self, tmp_path, key):
        with pytest.raises(ValueError, match=r"A key has .*digest"):
            array(tmp_path, rows, key=key)

    @pytest.mark.parametrize(
        ("compute", "got"),
        [
            (lambda a, b: np.zeros((b - a, 6), "f4"), r"\(10, 6\) of float32"),
            (lambda a, b: np.zeros((1, 7), "f4"), r"\(1, 7\)"),
            (lambda a, b: np.zeros((b - a, 7), complex), "complex128"),
        ],
    )
    def test_compute_returns_something_else(self, tmp_path, compute, got):
        with pytest.raises(ValueError, match=rf"compute\(0, 10\) returned shape .*{got}"):
            array(tmp_path, compute)

    def test_objects(self, tmp_path):
        with pytest.raises(ValueError, match="Arrays of numbers"):
            FeatureStore(tmp_path).array("k", (2,), object, rows)

    def test_disk_that_forgets(self, tmp_path, monkeypatch):
        monkeypatch.setattr("skprune.utils.store._Entry._whole", lambda entry: None)
        with pytest.warns(PruningWarning, match="does not keep what is written"):
            assert_array_equal(array(tmp_path, rows), expected())
