"""A head and the leaves of a small forest together: rows that serve linear models and trees."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.data.copies import numbered
from skprune.data.table import Table
from skprune.evaluation.base import Evaluator
from skprune.influence.leave_out import GroupInfluence
from skprune.influence.leaves import HEAD_SHARE, leaf_influence
from skprune.influence.operator import InfluenceOperator
from skprune.proxies.base import FittedProxy
from skprune.proxies.head import FittedHead
from skprune.proxies.pilot import Pilot, fit_pilot
from skprune.subset import Selection
from skprune.subset.balanced import Balance

#: Trees are grown on a dense copy of the columns; beyond so many numbers the head stands alone.
MOST_NUMBERS = 2**27


class FittedBalanced(FittedProxy):
    """A head on some rows, beside what trees make of them.

    Parameters
    ----------
    head : FittedHead
    seed : int
    pilot : Pilot or None
        Of the training rows, if rows may get weights.
    """

    stratify = True
    balance: Balance

    def __init__(self, head: FittedHead, seed: int, pilot: Pilot | None = None) -> None:
        self.head, self.seed, self.pilot = head, seed, pilot
        self.table, self.influence = head.table, head.influence
        self.least_rows, self.gradient_norm = head.least_rows, head.gradient_norm
        self.columns = _columns(head)
        self.n_classes = None if self.table.classes is None else len(self.table.classes)
        self.y = self.table.y if self.n_classes is None else self.table.codes
        parts: list[InfluenceOperator] = [head.influence]
        if self.columns is not None:
            weights = self.table.weights
            parts.append(
                leaf_influence(self.columns, self.y, self.n_classes, seed=seed, weights=weights)
            )
        self.balance = Balance(parts, [HEAD_SHARE, 1.0][: len(parts)])

    def weighted(self) -> FittedBalanced | None:
        """The same with weights for the rows, after a pilot; None if there can be none."""
        if self.columns is None:
            return None
        if self.pilot is None:
            units = None if self.table.copies is None else numbered(self.table.copies.units)
            self.pilot = fit_pilot(
                self.columns,
                self.y,
                self.n_classes,
                seed=self.seed,
                weights=self.table.weights,
                units=units,
            )
        return self._with(self.pilot.residuals)

    def on(self, table: Table) -> FittedBalanced:
        found = FittedBalanced(self.head.on(table), self.seed, self.pilot)
        if self.balance.residuals is None or self.pilot is None or found.columns is None:
            return found
        # The pilot has seen the training rows alone: the others are new to all its folds.
        residuals, known = np.empty(len(table)), self.table.places(table.positions)
        old = known >= 0
        residuals[old] = self.pilot.residuals[known[old]]
        residuals[~old] = self.pilot.residuals_of(found.columns[~old], found.y[~old])
        return found._with(residuals)

    def evaluators(self) -> Sequence[Evaluator]:
        return self.head.evaluators()

    def on_new(self, table: Table) -> Evaluator:
        return self.head.on_new(table)

    def difficulty(self, name: str) -> NDArray[np.float64]:
        return self.head.difficulty(name)

    def scores(self) -> NDArray[np.float64]:
        return self.head.scores()

    def leave_out(self, removed: NDArray[np.bool_]) -> GroupInfluence:
        return self.head.leave_out(removed)

    def fit_seconds(self, kept: Selection | None = None) -> float | None:
        return self.head.fit_seconds(kept)

    def describe(self) -> str:
        trees = "" if self.columns is None else "leaves of a small forest and "
        return f"{trees}{self.head.describe()}"

    def notes(self) -> tuple[tuple[str, str], ...]:
        return self.head.notes()

    def diagnostics(self) -> tuple[str, ...]:
        return self.head.diagnostics()

    def _with(self, residuals: NDArray[np.float64]) -> FittedBalanced:
        found = copy(self)
        found.balance = Balance(self.balance.parts, self.balance.shares, residuals)
        return found


def _columns(head: FittedHead) -> NDArray[np.float32] | None:
    """What the head sees of the rows, dense; None if that is too large."""
    features = head.problem.features
    n, D = features.shape
    if n * D > MOST_NUMBERS:
        return None
    rows = features.rows(slice(0, n))
    return rows.to("cpu", torch.float32).numpy()
