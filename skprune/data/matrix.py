"""Rows of a matrix by position."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

#: Types that are kept; other numbers become float64.
FLOATS = [np.float64, np.float32, np.float16]


class MatrixRows:
    """Rows of a matrix by position, so that a table can take rows without copying them.

    Parameters
    ----------
    matrix : ndarray of shape (N, d), of a floating dtype
    positions : ndarray of shape (n,), int64, optional
        Default: all rows.
    """

    def __init__(self, matrix: NDArray[Any], positions: NDArray[np.int64] | None = None) -> None:
        self.matrix, self.positions = matrix, positions
        n = len(matrix) if positions is None else len(positions)
        self.shape = (n, matrix.shape[1])

    def __len__(self) -> int:
        return self.shape[0]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        rows = self.matrix if self.positions is None else self.matrix[self.positions]
        return np.array(rows, dtype=dtype) if copy else np.asarray(rows, dtype=dtype)

    def take_rows(self, indices: NDArray[np.int64]) -> MatrixRows:
        """Some of these rows."""
        positions = indices if self.positions is None else self.positions[indices]
        return MatrixRows(self.matrix, positions)
