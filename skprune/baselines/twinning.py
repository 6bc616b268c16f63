"""Twinning: a walk that keeps a row and drops its nearest neighbours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from skprune.baselines.base import Strategy
from skprune.data.strata import Rows

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


class Twinning(Strategy):
    """Keep rows with the distribution of all rows (Vakayil and Joseph, 2022).

    A row is kept, its nearest neighbours are dropped, and the nearest remaining row is kept next.
    Distances are those of standardised features and target, with an indicator for every class.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        left, Z = np.arange(len(evidence)), columns_and_target(evidence)
        # Groups of as equal a size as possible, one kept row each.
        stops = np.linspace(0, len(left), size + 1).round().astype(np.int64)
        order = np.empty(size, dtype=np.int64)
        at = int(rng.integers(len(left)))
        for k, many in enumerate(np.diff(stops)):
            order[k] = left[at]
            distances = np.square(Z[left] - Z[order[k]]).sum(1)
            distances[at] = -1.0
            nearest = np.argsort(distances, kind="stable")
            left = np.delete(left, nearest[:many])
            if len(left):
                following = nearest[many]
                at = int(following - (nearest[:many] < following).sum())
        return order


def columns_and_target(evidence: Evidence) -> np.ndarray:
    """Standardised features and target, (n, d + 1) or (n, d + C)."""
    y = evidence.table.y
    if evidence.table.classes is not None:
        y = np.eye(len(evidence.table.classes))[evidence.codes]
    Z = np.column_stack([evidence.features, y]).astype(np.float64)
    spread = Z.std(0)
    return (Z - Z.mean(0)) / np.where(spread > 0, spread, 1.0)
