"""What is sure of a model that is not trained yet: the one on the kept rows."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class PredictionBounds:
    """Bounds of what a head says of some rows once it is fitted to the kept ones.

    Nothing in them is random: they are of the optimum on the rows that were kept, whatever the rows
    in question are. Prints as its status.

    Attributes
    ----------
    full : ndarray of shape (n,) or (n, n_outputs)
        What the head of all rows says: numbers of a regressor, decision values of a classifier
        (log odds; of a softmax of three classes or more the logits less their mean).
    low, high : ndarray of the same shape
        Between which the head of the kept rows lies; infinite if nothing is sure.
    loss_gap : (float, float) or None
        Between which its mean loss on these rows, less that of the head of all rows, lies, in the
        unit of ``scoring="loss"``. None without targets.
    distance : (float, float)
        Between which the distance of the two optima lies, as the square root of v'Hv with H the
        Hessian of the objective on the kept rows, which is twice the excess of that objective.
    condition : float
        Nothing is sure unless it is less than 1.
    holds : bool
        Whether it is.
    status : str
        The same in words, and what to do if it does not hold.
    """

    full: Floats
    low: Floats
    high: Floats
    loss_gap: tuple[float, float] | None
    distance: tuple[float, float]
    condition: float
    holds: bool
    status: str

    def __str__(self) -> str:
        return self.status
