"""Herding: rows of each class whose mean is that of a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skprune.baselines.base import GroupStrategy
from skprune.data.strata import Rows

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


class Herding(GroupStrategy):
    """Keep rows of every class whose mean features stay at the mean of the class (Welling, 2009).

    Row after row is taken that brings the mean of those taken nearest to the target.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def target(self, rows: NDArray[Any]) -> NDArray[Any]:
        """What the mean of the kept rows is to be."""
        return rows.mean(0)

    def order(self, evidence: Evidence, rows: Rows, most: int, rng: np.random.Generator) -> Rows:
        features = evidence.features[rows].astype(np.float64)
        return herd(features, self.target(features), most)


class GMMatching(Herding):
    """Herding towards the geometric median of the class, which few outliers do not move.

    GM Matching (arXiv 2504.00564, ICML 2025). The published method herds by inner products in a
    feature space of rows of equal length. Here the distance of the means is made small directly, as
    in ``Herding``.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def target(self, rows: NDArray[Any]) -> NDArray[Any]:
        return geometric_median(rows)


def herd(features: NDArray[Any], target: NDArray[Any], most: int) -> Rows:
    """The greedy order in which the mean of the first k rows is near ``target`` for every k."""
    # |s + x - k t|^2 for the sum s of the rows before, but for what all rows x share.
    squares, along = np.einsum("ij,ij->i", features, features), features @ target
    with_sum = np.zeros(len(features))
    taken = np.zeros(len(features), dtype=bool)
    order = np.empty(most, dtype=np.int64)
    for k in range(most):
        costs = squares + 2 * with_sum - 2 * (k + 1) * along
        costs[taken] = np.inf
        order[k] = best = int(costs.argmin())
        taken[best] = True
        with_sum += features @ features[best]
    return order


def geometric_median(rows: NDArray[Any], steps: int = 100) -> NDArray[Any]:
    """The point of least sum of distances to the rows, by Weiszfeld's iteration."""
    median = rows.mean(0)
    for _ in range(steps):
        distances = np.linalg.norm(rows - median, axis=1)
        weights = 1 / np.maximum(distances, 1e-9 * max(1.0, float(distances.max())))
        moved = weights @ rows / weights.sum()
        if np.linalg.norm(moved - median) <= 1e-9 * np.linalg.norm(moved):
            return moved
        median = moved
    return median
