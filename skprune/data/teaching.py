"""Teacher targets: out-of-fold predictions of a teacher model, to train on instead of y.

A label is one draw from the class probabilities of its row, so that it is noisy. A flexible model
that is fitted to few rows fits that noise; the probabilities themselves have none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.data.strata import Rows

Floats = NDArray[np.float64]
#: Smaller probabilities are left out, because each would be one more row to train on.
LEAST = 1e-3


@dataclass(frozen=True)
class Teaching:
    """Teacher targets of some rows.

    Attributes
    ----------
    values : ndarray of shape (n,) or (n, n_classes)
        Numbers, or class probabilities.
    classes : ndarray of shape (n_classes,) or None
        Their labels.
    """

    values: Floats
    classes: NDArray[Any] | None = None

    def take(self, rows: Any) -> Teaching:
        """The targets of some of the rows."""
        return Teaching(self.values[rows], self.classes)

    def unfolded(self, weights: Any = None) -> tuple[Rows, NDArray[Any], Floats | None]:
        """Targets for estimators, which take numbers or labels.

        For classification, a row is repeated for every label of positive probability, and its
        weight is divided among them in proportion to the probabilities.

        Parameters
        ----------
        weights : array-like of shape (n,), optional
            Weights of the rows.

        Returns
        -------
        rows : ndarray of int64
            Which of the rows to train on, in order.
        y : ndarray
            Their targets.
        weights : ndarray or None
            Their weights.
        """
        n = len(self.values)
        if self.classes is None:
            return np.arange(n), self.values, weights
        least = min(LEAST, 1.0 / len(self.classes))  # the likeliest label always stays
        chances = np.where(self.values >= least, self.values, 0.0)
        chances /= chances.sum(axis=1, keepdims=True)
        if weights is not None:
            chances *= np.asarray(weights, dtype=np.float64)[:, None]
        rows, labels = np.nonzero(self.values >= least)
        return rows, self.classes[labels], chances[rows, labels]
