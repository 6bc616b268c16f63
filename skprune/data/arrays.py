"""Rows of arrays, memory maps, frames, sparse matrices and tensors, one or several side by side."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike, NDArray

from skprune.data.containers import n_rows, refilled, refuse_text, take_rows
from skprune.data.items import is_text, label_key
from skprune.data.signature import UNKNOWN, Signature
from skprune.data.source import RowSource, as_numpy, spans
from skprune.utils.cache import digest

#: A digest reads this many bytes at a time, so that a memory map is never held whole.
DIGEST_BYTES = 1 << 26

# torch 2.2 has no unsigned integers wider than a byte, later ones have few operations for them.
_SIGNED = {"uint16": np.int32, "uint32": np.int64, "uint64": np.int64, "longdouble": np.float64}


class ArrayRows:
    """One array of any kind whose rows come out as dense tensors of their own memory.

    Parameters
    ----------
    data : array-like of shape (n, ...)
        Array, memory map, list, frame or series of numbers, scipy sparse matrix, or dense tensor.

    Raises
    ------
    ValueError
        If ``data`` does not hold numbers, or its rows differ in shape.
    """

    def __init__(self, data: Any) -> None:
        self._data: Any
        if isinstance(data, torch.Tensor):
            if data.layout != torch.strided or data.is_nested:
                raise ValueError(
                    f"A tensor of layout {data.layout} cannot be cut by rows here. Give a dense "
                    "tensor, or a scipy.sparse matrix."
                )
            self._data = data.detach()
        elif sp.issparse(data):
            self._data = data.tocsr()
        else:
            refuse_text(data)
            if isinstance(data, (list, tuple)):
                data = _stacked(data)
            self._data = _numbers(data)
        self.n = n_rows(self._data)

    def __getitem__(self, key: slice | NDArray[np.int64]) -> torch.Tensor:
        data = self._data
        if isinstance(data, torch.Tensor):
            if isinstance(key, slice):
                return data[key].clone()
            return data[torch.from_numpy(key).to(data.device)]
        rows = data[key]
        rows = rows.toarray() if sp.issparse(rows) else np.asarray(rows)
        dtype = np.dtype(_SIGNED.get(rows.dtype.name, rows.dtype)).newbyteorder("=")
        # Rows taken by number are a copy already; a slice shares the user's memory.
        return torch.from_numpy(rows.astype(dtype, order="C", copy=isinstance(key, slice)))

    def fingerprint(self) -> str:
        """A digest of the content, read in pieces."""
        data = self._data
        if sp.issparse(data):
            return digest("sparse", data)
        row = max(1, int(np.prod(data.shape[1:])) * data.dtype.itemsize)
        step = max(1, DIGEST_BYTES // row)
        total = digest(str(data.dtype), tuple(data.shape))
        for start in range(0, self.n, step):
            part = data[start : start + step]
            if isinstance(part, torch.Tensor) and part.dtype == torch.bfloat16:
                part = part.view(torch.int16)  # numpy has no bfloat16
            total = digest(total, part)
        return total


class ArraySource(RowSource):
    """Rows of one array of any kind."""

    def __init__(self, data: Any, y: Any = None, takes: Signature = UNKNOWN) -> None:
        self._rows = ArrayRows(data)
        super().__init__(data, self._rows.n, y)

    @classmethod
    def reads(cls, X: Any, y: Any) -> bool:
        """Anything that no other kind reads: rows that ``len`` counts and an index takes."""
        return True

    def fingerprint(self) -> str:
        """A digest of the array, without y."""
        return self._rows.fingerprint()

    def take(self, indices: ArrayLike) -> Any:
        """The rows at ``indices``, in a container of the user's kind."""
        return take_rows(self.original, self._check_indices(indices))

    def _batches(
        self, size: int, indices: NDArray[np.int64] | None
    ) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        for key, positions in spans(len(self), size, indices):
            yield self._rows[key], positions


class ColumnsSource(RowSource):
    """Rows of several equally long arrays: a dict of them by name, or a tuple.

    The label entry of a dict ("labels", "label", "target", "targets" or "y") is never an input,
    and it is the target where y is not given. Entries of strings are not inputs either, nor are
    those that the network does not name.
    """

    def __init__(self, data: Any, y: Any = None, takes: Signature = UNKNOWN) -> None:
        named = isinstance(data, Mapping)
        columns = dict(data) if named else dict(enumerate(data))
        lengths = {key: n_rows(value) for key, value in columns.items()}
        if len(set(lengths.values())) > 1:
            shown = ", ".join(f"{key!r}: {n}" for key, n in lengths.items())
            raise ValueError(
                f"The arrays of the {type(data).__name__} differ in length ({shown}). Give "
                "arrays with one entry for each row."
            )
        key = label_key(columns) if named else None
        labels = None if key is None else columns.pop(key)
        inputs = [k for k, v in columns.items() if not is_text(v)]
        if not inputs:
            raise ValueError(
                f"The {type(data).__name__} has no arrays of numbers beside the target. "
                "Give at least one array of inputs."
            )
        inputs = takes.choose(inputs) if named else inputs
        self._columns = {k: ArrayRows(columns[k]) for k in inputs}
        self._named = named
        super().__init__(data, next(iter(lengths.values())), labels if y is None else y)

    @classmethod
    def reads(cls, X: Any, y: Any) -> bool:
        """Whether X holds columns side by side rather than rows."""
        return is_columns(X, y)

    def fingerprint(self) -> str:
        """A digest of all the arrays that are inputs."""
        return digest(*((str(key), rows.fingerprint()) for key, rows in self._columns.items()))

    def take(self, indices: ArrayLike) -> Any:
        """The rows at ``indices`` of every array, in a dict or tuple of the user's kind."""
        rows = self._check_indices(indices)
        data = self.original
        if self._named:
            return refilled(data, {key: take_rows(value, rows) for key, value in data.items()})
        taken = (take_rows(value, rows) for value in data)
        return type(data)(*taken) if hasattr(data, "_fields") else tuple(taken)

    def _batches(
        self, size: int, indices: NDArray[np.int64] | None
    ) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        for key, positions in spans(len(self), size, indices):
            inputs = {name: rows[key] for name, rows in self._columns.items()}
            yield (inputs if self._named else tuple(inputs.values())), positions


def is_columns(data: Any, y: Any) -> bool:
    """Whether ``data`` holds columns side by side rather than rows.

    A tuple does if its entries are arrays that are as long as y; a tuple of rows is as long as y
    itself.
    """
    if isinstance(data, Mapping) and not sp.issparse(data):  # a dok_matrix is a mapping as well
        return True
    if not isinstance(data, tuple) or not data:
        return False
    arrays = all(len(getattr(v, "shape", ())) > 0 for v in data)
    if not arrays or y is None:
        return arrays
    n = n_rows(y)
    return len(data) != n or all(n_rows(v) == n for v in data)


def _stacked(rows: Any) -> Any:
    """A list of rows as an array."""
    try:
        return as_numpy(rows)
    except ValueError as exc:
        raise ValueError(
            f"The rows of the {type(rows).__name__} differ in shape. Pad or cut them to one "
            "shape, or give a DataLoader whose collate_fn does."
        ) from exc


def _numbers(data: Any) -> NDArray[Any]:
    """``data`` as an array of numbers, the same memory where it can be."""
    array = np.asarray(data) if not isinstance(data, np.ndarray) else data
    if array.dtype.kind in "biuf":
        return array
    try:  # frames of mixed columns and of missing values come as objects
        # pandas knows what its own missing values are as floats.
        return np.asarray((data if hasattr(data, "iloc") else array).astype(np.float64))
    except (TypeError, ValueError) as exc:
        raise ValueError(
            f"The {type(data).__name__} holds {array.dtype}, not numbers. Encode it first; text "
            "goes through a tokenizer."
        ) from exc
