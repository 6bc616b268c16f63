"""Herding: rows of each class whose mean approaches a target."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skprune.baselines.base import GroupStrategy
from skprune.data.strata import Rows

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


class Herding(GroupStrategy):
    """Keep rows of every class whose mean features match the mean of the class (Welling, 2009).

    Greedily, the row is added that brings the mean of the added rows nearest to the mean of the
    class.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    needs_labels = False

    def target(self, rows: NDArray[Any]) -> NDArray[Any]:
        """The point that the mean of the kept rows should match."""
        return rows.mean(0)

    def order(self, evidence: Evidence, rows: Rows, most: int, rng: np.random.Generator) -> Rows:
        features = evidence.features[rows].astype(np.float64)
        return herd(features, self.target(features), most)


class GMMatching(Herding):
    """Herding towards the geometric median of the class, which is robust to outliers.

    GM Matching (arXiv 2504.00564, ICML 2025). The published method uses inner products of features
    of equal length; here the distance of the mean to the target is minimised, as in ``Herding``.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def target(self, rows: NDArray[Any]) -> NDArray[Any]:
        return geometric_median(rows)


def herd(features: NDArray[Any], target: NDArray[Any], most: int) -> Rows:
    """Order rows greedily so that the mean of the first k is near ``target`` for every k."""
    # |s + x - k t|^2 for the sum s of the rows before, without terms that all rows x share.
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
