"""Arrays on disk that take long to compute, written shard by shard.

joblib.Memory keeps the result of a finished call only, under a hash that differs between equal
tensors; here a call that is killed goes on where it stopped.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from numpy.typing import DTypeLike, NDArray

from skprune.utils.cache import digest
from skprune.utils.exceptions import warn_user
from skprune.utils.files import UnwritableError, make_folder, remove, write_whole

#: How often joining the shards of an array is tried before it is computed in memory.
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

    Several processes may compute the same array at once. Some shards may then be computed twice,
    with the same result.

    Parameters
    ----------
    directory : str or path-like
        Created if it does not exist. To drop results, delete it or the folder of one key in it.
    shard_bytes : int, default=64 MiB
        Size of a shard, which is the most work that is lost if the process is killed. An array
        needs twice its size on disk while its shards are joined to one file.

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
        """The array of ``key``; only shards that are not on disk are computed.

        Files are compared with their digests, which takes about a second for each GiB. A shard that
        is damaged or cut off is computed again. If the folder cannot be written to, as on a full
        disk, a warning is issued and the array is computed in memory.

        Parameters
        ----------
        key : str
            Digest of everything that the array depends on, by ``skprune.utils.cache.digest``:
            letters, digits, ``-`` and ``_``. Never a name alone: equal keys are equal arrays.
        shape : tuple of int, (n, ...)
            Shape of the array.
        dtype : numpy dtype
            Any numeric type.
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
                "skprune.utils.cache.digest(...) of what the array depends on."
            )
        shape, dtype = tuple(shape), np.dtype(dtype)
        if dtype.kind not in "biufc":
            raise ValueError(f"Arrays of numbers are stored, got dtype {dtype}.")
        if 0 in shape:
            return np.empty(shape, dtype)
        entry = _Entry(self.directory, key, shape, dtype, self.shard_bytes)
        try:
            entry.open()
            for _ in range(ATTEMPTS):
                found = entry.read(mmap)
                if found is not None:
                    return found
                entry.fill(compute)
                with suppress(_ShardGoneError):
                    entry.join()
            raise UnwritableError(f"it was gone {ATTEMPTS} times when it was read again")
        except UnwritableError as error:
            warn_user(
                f"{entry.folder} does not keep what is written to it ({error}), so that another "
                "fit will compute it again; make room there, or give another directory."
            )
        return entry.in_memory(compute)


class _ShardGoneError(Exception):
    """Another process has put the shards together and removed them, or one was damaged."""


class _Entry:
    """The folder of one array."""

    def __init__(
        self,
        cache: Path,
        key: str,
        shape: tuple[int, ...],
        dtype: np.dtype[Any],
        shard_bytes: int,
    ) -> None:
        row_bytes = int(np.prod(shape[1:])) * dtype.itemsize
        self.shape, self.dtype = shape, dtype
        self.step = max(1, shard_bytes // max(1, row_bytes))
        self.description = {"shape": list(shape), "dtype": dtype.str, "shard_rows": self.step}
        # Other limits of the shards are another entry, so that no two writers can disagree.
        self.cache, self.names = cache, (key, digest(self.description)[:8])
        self.folder = cache.joinpath(*self.names)
        self.manifest = self.folder / "manifest.json"
        self.is_open = False

    def open(self) -> None:
        """Make the folder."""
        make_folder(self.cache, *self.names)
        self.is_open = True

    def shards(self) -> Iterator[tuple[int, int, int]]:
        """Number, first row and row after the last of each shard."""
        for number, start in enumerate(range(0, self.shape[0], self.step)):
            yield number, start, min(start + self.step, self.shape[0])

    def read(self, mmap: bool) -> NDArray[Any] | None:
        """The whole array, or None if there is none. Intact shards of a damaged file are kept."""
        whole = self._whole()
        if whole is None:
            return None
        path, digests = whole
        array = _load(path, "r" if mmap else None)
        if array.shape == self.shape and array.dtype == self.dtype:
            good = [digest(array[a:b]) == digests[i] for i, a, b in self.shards()]
            if all(good):
                return array
            for number, start, stop in self.shards():
                if good[number]:
                    self._write_shard(number, np.array(array[start:stop]))
        del array
        # The manifest first, so that it never names a file that is not there for good.
        remove(self.manifest)
        remove(path)
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
        digests: list[str] = []
        used: list[Path] = []

        def write_rows(file: BinaryIO) -> str:
            # Not through a map of memory: a full disk would kill the process there.
            descr = np.lib.format.dtype_to_descr(self.dtype)
            header = {"descr": descr, "fortran_order": False, "shape": self.shape}
            np.lib.format.write_array_header_1_0(file, header)
            for number, start, stop in self.shards():
                found = self._shard(number, stop - start)
                if found is None:
                    raise _ShardGoneError
                shard, path = found
                file.write(np.ascontiguousarray(shard).data)
                digests.append(path.stem.rpartition("-")[2])
                used.append(path)
            return f"rows-{digest(*digests)}.npy"

        def write_manifest(file: BinaryIO) -> str:
            file.write(json.dumps({**self.description, "digests": digests}).encode())
            return self.manifest.name

        write_whole(self.folder, write_rows)
        write_whole(self.folder, write_manifest)
        for path in used:
            remove(path)

    def in_memory(self, compute: Callable[[int, int], Any]) -> NDArray[Any]:
        """The array, with missing shards computed and nothing written."""
        array = np.empty(self.shape, self.dtype)
        for number, start, stop in self.shards():
            found = self._shard(number, stop - start) if self.is_open else None
            array[start:stop] = (
                self._check(compute(start, stop), start, stop) if found is None else found[0]
            )
        return array

    def _whole(self) -> tuple[Path, list[str]] | None:
        """The file of the whole array and its shards' digests, by the manifest.

        The digests are the file's name as well, so that no manifest can name another file.
        """
        try:
            digests = [str(part) for part in json.loads(self.manifest.read_text())["digests"]]
        except Exception:  # none, or damaged, in whatever way
            return None
        if len(digests) != len(list(self.shards())):
            return None
        return self.folder / f"rows-{digest(*digests)}.npy", digests

    def _shard(self, number: int, rows: int) -> tuple[NDArray[Any], Path] | None:
        """A shard that agrees with its name; others of that number are removed."""
        for path in sorted(self.folder.glob(f"shard-{number:06d}-*.npy")):
            shard = _load(path)
            right = shard.shape == (rows, *self.shape[1:]) and shard.dtype == self.dtype
            if right and path.stem.endswith(digest(shard)):
                return shard, path
            remove(path)
        return None

    def _write_shard(self, number: int, shard: NDArray[Any]) -> None:
        def write(file: BinaryIO) -> str:
            np.save(file, shard)
            return f"shard-{number:06d}-{digest(shard)}.npy"

        write_whole(self.folder, write)

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


def _load(path: Path, mmap_mode: Any = None) -> NDArray[Any]:
    """The array in a file; an empty one if the file is missing or damaged."""
    try:
        array = np.load(path, mmap_mode)
        return array if isinstance(array, np.ndarray) else np.empty(0)
    except Exception:
        return np.empty(0)
