"""Rows with equal columns, whatever their labels.

A model that is trained on one copy of a row knows the answer to the other. So copies are held out
together, and a standard error counts them as one row. But if very many rows are equal, as in a
table of three binary columns, then new rows will equal them as well. Such rows are split one by
one, because that is the situation that the model will meet.
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

#: A set of more equal rows than this number, or this share of the table (of which six make up all
#: that is held out), is a common value: new rows will have it too, and each row stands alone.
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
        Equal for rows that are held out together; rows of a common value all differ.
    """

    identity: Rows
    units: Rows

    def take(self, indices: Rows) -> Copies:
        """The copies among some of the rows."""
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
    """Which rows of X are equal; None if none are, or if comparing them is expensive.

    Parameters
    ----------
    X : MatrixRows, array, sparse matrix, tensor, frame, or column or list of words
        0 equals -0, and all missing values are equal.
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
    """Which of the n rows of ``others`` equal no row of X, unless it is a common value of X.

    X and ``others`` are as in ``find_copies``. If they cannot be compared, all rows are new.
    """
    known, hashes = row_hashes(X), row_hashes(others)
    if known is None or hashes is None:
        return np.ones(n, dtype=bool)
    values, counts = np.unique(known, return_counts=True)
    return ~np.isin(hashes, values[counts <= _most(len(known))])


def _most(n: int) -> float:
    """The largest number of equal rows, of n, that is no common value."""
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
    """Whole numbers that are equal where the values are; None if values have no hash."""
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
