"""A head and a small forest as a proxy, for rows that serve both linear models and trees."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from typing import Any, cast

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.data.strata import Rows
from skprune.data.table import Table
from skprune.data.teaching import LEAST, Teaching
from skprune.evaluation.base import Evaluator
from skprune.evaluation.head_levels import Refit
from skprune.influence.leave_out import GroupInfluence
from skprune.influence.leaves import HEAD_SHARE, grow_forest, leaf_influence
from skprune.influence.operator import InfluenceOperator
from skprune.proxies.base import FittedProxy
from skprune.proxies.head import FittedHead
from skprune.proxies.pilot import Pilot, fit_pilot
from skprune.subset import Selection
from skprune.subset.balanced import Balance

#: Trees are grown on a dense copy of the columns. Above so many numbers only the head is used.
MOST_NUMBERS = 2**27


class FittedBalanced(FittedProxy):
    """A fitted head on some rows, together with the leaves of a small forest.

    Parameters
    ----------
    head : FittedHead
    seed : int
    units : ndarray of shape (n,) or None
        Equal for rows that belong together, which are in the same fold of a pilot.
    forest : fitted forest, optional
        One that grew from other rows of the table; by default one grows from these.
    """

    stratify = True
    balance: Balance
    pilot: Pilot | None = None

    def __init__(
        self,
        head: FittedHead,
        seed: int,
        units: Rows | None = None,
        forest: Any = None,
    ) -> None:
        self.head, self.seed, self.units = head, seed, units
        self.table, self.influence = head.table, head.influence
        self.least_rows, self.gradient_norm = head.least_rows, head.gradient_norm
        self.columns = _columns(head)
        self.n_classes = None if self.table.classes is None else len(self.table.classes)
        self.y = self.table.y if self.n_classes is None else self.table.codes
        self.forest, parts = forest, [cast(InfluenceOperator, head.influence)]
        if self.columns is not None:
            rows, weights = (self.columns, self.y, self.n_classes), self.table.weights
            self.forest = forest or grow_forest(*rows, seed=seed, weights=weights)
            parts.append(leaf_influence(self.forest, *rows, weights=weights))
        self.balance = Balance(parts, [HEAD_SHARE, 1.0][: len(parts)])

    def weighted(self) -> FittedBalanced | None:
        """The same proxy with weights for the rows, by a pilot; None if no pilot can be fitted."""
        pilot = self._fitted_pilot()
        if pilot is None:
            return None
        found = copy(self)
        found.balance = Balance(self.balance.parts, self.balance.shares, pilot.residuals)
        return found

    def taught(self) -> FittedBalanced | None:
        """The same proxy with the pilot's predictions as targets; None without a pilot."""
        pilot = self._fitted_pilot()
        if pilot is None:
            return None
        found, values = copy(self), pilot.predictions
        if self.n_classes is None:
            # Predictions stay in the range of the target: a model of counts takes none below 0.
            values = np.clip(values, self.y.min(), self.y.max())
        else:
            # Every class that a kept row has keeps some probability.
            own = np.eye(self.n_classes, dtype=bool)[self.y]
            values = np.where(own, np.maximum(values, 2 * LEAST), values)
            values /= values.sum(axis=1, keepdims=True)
        found.targets = Teaching(values, self.table.classes)
        return found

    def on(self, table: Table) -> FittedBalanced:
        found = FittedBalanced(self.head.on(table), self.seed, forest=self.forest)
        if self.pilot is None or found.columns is None:
            return found
        # The pilot was fitted on the training rows alone, so the others are new to all its folds.
        known = self.table.places(table.positions)
        found.pilot = self.pilot.of(found.columns, found.y, known)
        if self.balance.residuals is not None:
            found = found.weighted() or found
        return found if self.targets is None else found.taught() or found

    def evaluators(self) -> Sequence[Evaluator]:
        return self.head.evaluators()

    def on_new(self, table: Table, scoring: Any = None) -> Refit:
        return self.head.on_new(table, scoring)

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

    def _fitted_pilot(self) -> Pilot | None:
        if self.pilot is None and self.columns is not None:
            weights = self.table.weights
            self.pilot = fit_pilot(
                self.columns,
                self.y,
                self.n_classes,
                seed=self.seed,
                weights=weights,
                units=self.units,
            )
        return self.pilot


def _columns(head: FittedHead) -> NDArray[np.float32] | None:
    """The features of the head as a dense array; None if that is too large."""
    features = head.problem.features
    n, D = features.shape
    if n * D > MOST_NUMBERS:
        return None
    rows = features.rows(slice(0, n))
    return rows.to("cpu", torch.float32).numpy()
