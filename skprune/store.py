"""Arrays that take long to compute, kept on disk shard by shard.

joblib.Memory keeps the result of a finished call only, under a hash that differs between equal
tensors; here a call that is killed goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from skprune.cache import digest

#: A temporary file that is older has been left behind by a process that was killed.
STALE_SECONDS = 3600

#: Times that an array is put together before the disk is held to be at fault.
ATTEMPTS = 5


class FeatureStore:
    """Arrays on disk, keyed by the content that they are computed from.

    An array is computed in shards of rows. A shard is one file, whose name holds a digest of its
    content, and which appears under that name only once it is whole; so a shard that is there and
    agrees with its name is right, whoever wrote it and whatever happened to that process. Once all
    shards are there they become one file, which can be mapped into memory.

    Because the shards' limits follow from the array's shape alone, a computation that was killed
    and resumed calls ``compute`` with the same limits as an uninterrupted one, and its result is
    identical to the bit if ``compute`` is a function of these limits.

    Several processes may compute the same array at once. They may do some shards twice, and their
    results are the same as of one.

    Parameters
    ----------
    directory : str or path-like
        Made if it is not there. Delete it, or the folder of one key in it, to forget.
    shard_bytes : int, default=64 MiB
        Size of a shard: as much work as a kill may cost. An array needs twice its size on disk
        while its shards become one file.

    Examples
    --------
    >>> import tempfile
    >>> import numpy as np
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     store = FeatureStore(directory)
    ...     rows = store.array("squares", (5,), "int64", lambda a, b: np.arange(a, b) ** 2)
    ...     print(rows[3:])
    ...     del rows
    [ 9 16]
    """

    def __init__(self, directory: str | os.PathLike[str], shard_bytes: int = 1 << 26) -> None:
        self.directory = Path(directory)
        self.shard_bytes = shard_bytes

    def array(
        self,
        key: str,
        shape: tuple[int, ...],
        dtype: DTypeLike,
        compute: Callable[[int, int], Any],
        *,
        mmap: bool = True,
    ) -> NDArray[Any]:
        """The array of ``key``, of which only the shards that are missing are computed.

        What lies on the disk is compared with its digests, which takes about a second a GiB. A
        shard that is damaged or cut off is computed again.

        Parameters
        ----------
        key : str
            Digest of everything that the array depends on, see ``skprune.cache.digest``: letters,
            digits, ``-`` and ``_``. Never a name alone: equal keys are taken for equal arrays.
        shape : tuple of int, (n, ...)
            Several arrays of one pass are stored side by side in one.
        dtype : numpy dtype
            Of numbers.
        compute : callable (start, stop) -> array-like or tensor of shape (stop - start, ...)
            Rows ``start`` to ``stop`` of the array.
        mmap : bool, default=True
            Whether the file is mapped into memory, read-only, or loaded.

        Returns
        -------
        array : ndarray of ``shape`` and ``dtype``

        Raises
        ------
        ValueError
            If ``key`` cannot name a folder, or ``compute`` returns another shape or kind of
            number.
        """
        if not re.fullmatch(r"[\w-]{1,100}", key, flags=re.ASCII):
            raise ValueError(
                f"A key has 1 to 100 letters, digits, - or _, got {key!r}. Use "
                "skprune.cache.digest(...) of what the array depends on."
            )
        shape, dtype = tuple(shape), np.dtype(dtype)
        if dtype.kind not in "biufc":
            raise ValueError(f"Arrays of numbers are stored, got dtype {dtype}.")
        if 0 in shape:
            return np.empty(shape, dtype)
        entry = _Entry(self.directory / key, shape, dtype, self.shard_bytes)
        for _ in range(ATTEMPTS):
            found = entry.read(mmap)
            if found is not None:
                return found
            entry.fill(compute)
            with suppress(_ShardGoneError):
                entry.join()
        raise OSError(
            f"{entry.folder} does not keep what is written to it: {ATTEMPTS} times the array was "
            "gone or another one when it was read again. Use another directory."
        )


class _ShardGoneError(Exception):
    """Another process has put the shards together and removed them, or one was damaged."""


class _Entry:
    """The folder of one array."""

    def __init__(
        self, parent: Path, shape: tuple[int, ...], dtype: np.dtype[Any], shard_bytes: int
    ) -> None:
        row_bytes = int(np.prod(shape[1:])) * dtype.itemsize
        self.shape, self.dtype = shape, dtype
        self.step = max(1, shard_bytes // max(1, row_bytes))
        self.description = {"shape": list(shape), "dtype": dtype.str, "shard_rows": self.step}
        # Other limits of the shards are another entry, so that no two writers can disagree.
        self.folder = parent / digest(self.description)[:8]
        self.folder.mkdir(parents=True, exist_ok=True)
        self.manifest = self.folder / "manifest.json"
        self._remove_stale()

    def shards(self) -> Iterator[tuple[int, int, int]]:
        """Number, first row and row after the last of each shard."""
        for number, start in enumerate(range(0, self.shape[0], self.step)):
            yield number, start, min(start + self.step, self.shape[0])

    def read(self, mmap: bool) -> NDArray[Any] | None:
        """The whole array; None if it is not there. Good shards of a damaged file are saved."""
        whole = self._whole()
        if whole is None:
            return None
        path, digests = whole
        try:
            array = np.load(path, mmap_mode="r" if mmap else None)
        except (OSError, ValueError, EOFError):  # missing, cut off, or not an array
            array = np.empty(0)
        if array.shape == self.shape and array.dtype == self.dtype:
            good = [digest(array[a:b]) == digests[i] for i, a, b in self.shards()]
            if all(good):
                return array
            for number, start, stop in self.shards():
                if good[number]:
                    self._write_shard(number, np.array(array[start:stop]))
        del array
        # The manifest first, so that it never names a file that is not there for good.
        self.manifest.unlink(missing_ok=True)
        path.unlink(missing_ok=True)
        return None

    def fill(self, compute: Callable[[int, int], Any]) -> None:
        """Compute the shards that are missing."""
        for number, start, stop in self.shards():
            if self._whole() is not None:
                return
            if self._shard(number, stop - start) is None:
                self._write_shard(number, self._check(compute(start, stop), start, stop))

    def join(self) -> None:
        """Make one file of the shards, and remove them."""
        if self._whole() is not None:
            return
        digests, used = [], []
        with self._temporary() as path:
            whole = np.lib.format.open_memmap(path, "w+", dtype=self.dtype, shape=self.shape)
            for number, start, stop in self.shards():
                found = self._shard(number, stop - start)
                if found is None:
                    raise _ShardGoneError
                shard, shard_path = found
                whole[start:stop] = shard
                digests.append(shard_path.stem.rpartition("-")[2])
                used.append(shard_path)
            whole.flush()
            del whole
            name = f"rows-{digest(*digests)}.npy"
            os.replace(path, self.folder / name)
        with self._temporary() as path:
            path.write_text(json.dumps({**self.description, "file": name, "digests": digests}))
            os.replace(path, self.manifest)
        for shard_path in used:
            shard_path.unlink(missing_ok=True)

    def _whole(self) -> tuple[Path, list[str]] | None:
        """The file of the whole array and its shards' digests, by the manifest."""
        try:
            found = json.loads(self.manifest.read_text())
            path, digests = self.folder / found["file"], list(found["digests"])
        except (OSError, ValueError, KeyError, TypeError):  # none, or damaged
            return None
        return (path, digests) if len(digests) == len(list(self.shards())) else None

    def _shard(self, number: int, rows: int) -> tuple[NDArray[Any], Path] | None:
        """A shard that agrees with its name; others of that number are removed."""
        for path in sorted(self.folder.glob(f"shard-{number:06d}-*.npy")):
            try:
                shard = np.load(path)
            except FileNotFoundError:
                continue
            except (OSError, ValueError, EOFError):
                shard = np.empty(0)
            right = shard.shape == (rows, *self.shape[1:]) and shard.dtype == self.dtype
            if right and path.stem.endswith(digest(shard)):
                return shard, path
            path.unlink(missing_ok=True)
        return None

    def _write_shard(self, number: int, shard: NDArray[Any]) -> None:
        with self._temporary() as path:
            np.save(path, shard)
            os.replace(path, self.folder / f"shard-{number:06d}-{digest(shard)}.npy")

    def _check(self, rows: Any, start: int, stop: int) -> NDArray[Any]:
        if isinstance(rows, torch.Tensor):
            rows = rows.detach().cpu().numpy()
        rows = np.asarray(rows)
        expected = (stop - start, *self.shape[1:])
        if rows.shape != expected or not np.can_cast(rows.dtype, self.dtype, "same_kind"):
            raise ValueError(
                f"compute({start}, {stop}) returned shape {rows.shape} of {rows.dtype}; shape "
                f"{expected} of {self.dtype} is to be stored."
            )
        return np.ascontiguousarray(rows, dtype=self.dtype)

    @contextmanager
    def _temporary(self) -> Iterator[Path]:
        """A path of this writer's own, removed unless it was renamed."""
        path = self.folder / f"{uuid.uuid4().hex}.tmp.npy"  # np.save adds .npy to other names
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _remove_stale(self) -> None:
        for path in self.folder.glob("*.tmp.npy"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > STALE_SECONDS:
                    path.unlink(missing_ok=True)
