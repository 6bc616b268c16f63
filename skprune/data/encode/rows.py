"""Encode the rows of a table that holds words, dates or missing values."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.impute import SimpleImputer

from skprune.data.containers import is_frame
from skprune.data.encode.column import Column, frame_columns
from skprune.data.encode.encoder import TableEncoder
from skprune.data.matrix import MatrixRows


class RowEncoder:
    """Turns rows into numbers; it learns from rows of positive weight, and from no target.

    Parameters
    ----------
    X : frame, MatrixRows or csr_matrix
        The rows to learn from. Every column of a frame is encoded; missing values of a matrix are
        filled in.

    Attributes
    ----------
    of_frames : bool
        Whether it was made from a frame.
    notes : tuple of (str, str)
        Lines for the report.
    """

    notes: tuple[tuple[str, str], ...]

    def __init__(self, X: Any) -> None:
        self.of_frames = is_frame(X)
        if self.of_frames:
            self._table = TableEncoder().fit(_finite_columns(X))
            left = ", ".join(self._table.left_out)
            said = self._table.summary + f"; left out: {left}" * bool(left)
            noted = (("diagnostic", line) for line in self._table.diagnostics)
            self.notes = (("columns", said), *noted)
        else:
            fill = SimpleImputer(strategy="median", add_indicator=True, keep_empty_features=True)
            self._fill = fill.fit(X)
            said = "the head sees medians and an indicator where values are missing"
            self.notes = (("missing", said),)

    @property
    def is_empty(self) -> bool:
        """Whether no column can be encoded."""
        return self.of_frames and self._table.width == 0

    def transform(self, X: Any) -> Any:
        """Rows of the fitted columns as numbers (n, d): ``MatrixRows``, or a sparse matrix."""
        if self.of_frames:
            encoded = self._table.transform(_finite_columns(X))
        else:
            encoded = self._fill.transform(X)
        return encoded if sp.issparse(encoded) else MatrixRows(encoded)


def _finite_columns(frame: Any) -> list[tuple[str, Column]]:
    columns = frame_columns(frame)
    for name, column in columns:
        if column.kind == "numbers" and np.isinf(column.values).any():
            raise ValueError(
                f"Input X contains infinity in column {name!r}; give a number, or NaN where it is "
                "not known."
            )
    return columns
