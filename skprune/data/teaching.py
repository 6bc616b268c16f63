"""Teacher targets: what a model that has not seen a row says of it, to be trained on instead of y.

A label is one draw from the chances of its row. A flexible model that is fitted to few rows fits
those draws as well; the chances themselves have no such noise in them.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.data.strata import Rows

Floats = NDArray[np.float64]
#: Chances below this one are left out: each would be a row more to train on.
LEAST = 1e-3


@dataclass(frozen=True)
class Teaching:
    """What some rows carry in place of their labels.

    Attributes
    ----------
    values : ndarray of shape (n,) or (n, n_classes)
        Numbers, or the chances of the classes.
    classes : ndarray of shape (n_classes,) or None
        Their labels.
    """

    values: Floats
    classes: NDArray[Any] | None = None

    def take(self, rows: Any) -> Teaching:
        """That of some of the rows."""
        return Teaching(self.values[rows], self.classes)

    def unfolded(self, weights: Any = None) -> tuple[Rows, NDArray[Any], Floats | None]:
        """The same for estimators, whose targets are numbers or labels.

        For classes, a row stands once for every label that has a chance, and its weight is shared
        out in proportion to the chances.

        Parameters
        ----------
        weights : array-like of shape (n,), optional
            What every row counts for.

        Returns
        -------
        rows : ndarray of int64
            Which of the rows to train on, in order.
        y : ndarray
            Their targets.
        weights : ndarray or None
            What they count for.
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
