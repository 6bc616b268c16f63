"""Rows that are copies of each other: by their columns, whatever their labels.

A model that has seen one copy of a row has been told the answer to the other. So copies are held
out together, and a standard error counts what is measured on them once. But a row that many others
equal is a value that new rows will have as well, as in a table of three binary columns: there a
split row by row is what awaits the model, and holding all of a value out would ask for another.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from skprune.data.containers import is_frame, plain
from skprune.data.matrix import MatrixRows
from skprune.data.strata import Rows
from skprune.utils.chunks import row_chunks

#: Rows that equal more than this many others, or more than this share of the table (six would be
#: all that is held out), are values that new rows will have too: each of them stands alone.
MOST_COPIES, LARGEST_SHARE = 50, 1 / 30
#: Kinds of numpy's dtypes that are numbers.
NUMBERS = "biuf"


@dataclass(frozen=True)
class Copies:
    """Which rows of a table are equal.

    Attributes
    ----------
    identity : ndarray of shape (n,), int64
        Equal for rows of equal columns.
    units : ndarray of shape (n,), int64
        Equal for rows that are held out together: of a common value every row is its own.
    """

    identity: Rows
    units: Rows

    def take(self, indices: Rows) -> Copies:
        """Of some of the rows."""
        return Copies(self.identity[indices], self.units[indices])

    def note(self) -> tuple[str, str]:
        """A line for the report."""
        n, distinct = len(self.identity), len(np.unique(self.identity))
        together = n - len(np.unique(self.units))
        apart = n - distinct - together
        said = f"{n - distinct:,} of {n:,} rows equal an earlier one in all columns"
        if together:
            said += f"; {together:,} of them are held out with it, unless groups part them"
        if apart:
            said += f"; {apart:,} are values so common that new rows will have them too"
        return "copies", said


def find_copies(X: Any) -> Copies | None:
    """Which rows of X are equal; None if none are, or X is nothing that is cheaply compared.

    Parameters
    ----------
    X : MatrixRows, array, sparse matrix, tensor, frame, or column or list of words
        0 equals -0, and one missing value another.
    """
    hashes = row_hashes(X)
    if hashes is None:
        return None
    identity = numbered(hashes)
    n, counts = len(identity), np.bincount(identity)
    if len(counts) == n:
        return None
    alone = counts[identity] > _most(n)
    return Copies(identity, numbered(np.where(alone, n + np.arange(n), identity)))


def is_new(X: Any, others: Any, n: int) -> NDArray[np.bool_]:
    """Which of the n rows of ``others`` equal no row of X, or so many that it is a common value.

    X and ``others`` are as in ``find_copies``; where rows are not compared, all are new.
    """
    known, hashes = row_hashes(X), row_hashes(others)
    if known is None or hashes is None:
        return np.ones(n, dtype=bool)
    values, counts = np.unique(known, return_counts=True)
    return ~np.isin(hashes, values[counts <= _most(len(known))])


def _most(n: int) -> float:
    """How many of n rows may be equal before they are a common value."""
    return min(MOST_COPIES, max(2.0, LARGEST_SHARE * n))


def numbered(labels: NDArray[Any]) -> Rows:
    """Labels as numbers 0, 1, 2 ... in the order in which they come first."""
    _, first, codes = np.unique(labels, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first))
    return rank[codes]


def row_hashes(X: Any) -> NDArray[np.int64] | None:
    """A hash of every row's columns, if X is of a kind that ``find_copies`` compares."""
    if sp.issparse(X):
        return np.fromiter(map(hash, _sparse_rows(X)), dtype=np.int64, count=X.shape[0])
    X = plain(X)
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind in NUMBERS:
        X = MatrixRows(X)
    if isinstance(X, MatrixRows):
        parts = (np.arange(p.start, p.stop) for p in row_chunks(*X.shape))
        return np.concatenate([_hash(_bits(np.asarray(X.take_rows(part)))) for part in parts])
    codes = [_codes(column) for column in _columns(X) or ()]
    known = [c for c in codes if c is not None]
    return _hash(np.column_stack(known)) if known and len(known) == len(codes) else None


def _hash(bits: NDArray[Any]) -> NDArray[np.int64]:
    """A hash of every row of a matrix."""
    table = np.ascontiguousarray(bits)
    rows = table.view(f"V{table.itemsize * table.shape[1]}")
    return np.fromiter(map(hash, rows.ravel().tolist()), dtype=np.int64, count=len(rows))


def _bits(numbers: NDArray[Any]) -> NDArray[Any]:
    """Rows in bits that are equal where the numbers are."""
    if numbers.dtype.kind != "f":
        return numbers
    values = numbers + numbers.dtype.type(0)  # -0 is 0
    values[np.isnan(values)] = np.nan
    return values


def _sparse_rows(X: Any) -> Iterator[tuple[bytes, bytes]]:
    rows = sp.csr_matrix(X, dtype=np.float64, copy=True)
    rows.sum_duplicates()
    rows.eliminate_zeros()
    for start, stop in pairwise(rows.indptr):
        yield rows.indices[start:stop].tobytes(), rows.data[start:stop].tobytes()


def _columns(X: Any) -> list[Any] | None:
    """The columns of what a Pipeline encodes; None for lists of images and the like."""
    if is_frame(X):
        if hasattr(X, "iloc"):  # names may repeat
            return [X.iloc[:, j] for j in range(X.shape[1])]
        return [X[name] for name in X.columns]
    if isinstance(X, list):
        if all(isinstance(row, str) for row in X):
            return [X]
        rows = all(isinstance(row, (list, tuple)) for row in X) and len({len(row) for row in X}) < 2
        return [list(column) for column in zip(*X, strict=True)] if rows else None
    if isinstance(X, np.ndarray) and X.ndim == 2:
        return list(X.T)
    return [X] if isinstance(X, np.ndarray) or hasattr(X, "to_numpy") else None


def _codes(column: Any) -> NDArray[np.int64] | None:
    """Whole numbers that are equal where the values are; None for values that do not say."""
    try:
        values = np.asarray(column)
        if values.ndim != 1:
            return None
        if values.dtype.kind in "mM":
            return values.astype(np.int64)
        if values.dtype.kind in NUMBERS:
            return _bits(values.astype(np.float64)).view(np.int64)
        return np.array([_code(v) for v in values.tolist()], dtype=np.int64)
    except (TypeError, ValueError):  # a value without a hash, rows of different lengths
        return None


def _code(value: Any) -> int:
    # NaN is unlike itself, and hashes by its place in memory.
    return 0 if isinstance(value, float) and value != value else hash(value)
