"""The protocol of a level: one way to find what keeping some rows costs."""

from __future__ import annotations

from abc import ABC, abstractmethod

from skprune.data.table import Table
from skprune.results.gap import Gap, Learned
from skprune.subset import Selection


class Evaluator(ABC):
    """Measures the gap of kept rows, at one level.

    A pruner has one evaluator a level, cheap to dear; every trial has the gap of each of them. A
    new level is a subclass of ``Evaluator``, and of ``Verify`` that makes it.

    Attributes
    ----------
    level : str
        Its name in ``path_``, in the report and in ``Gap.level``.
    """

    level: str
    #: By which the size was chosen, if this one measures on rows that had no part in that.
    searched: Evaluator | None = None
    #: Trainings that measuring one set of rows takes; 0 where nothing is trained.
    trainings_a_set: int = 0

    @abstractmethod
    def gap(self, kept: Selection, limit: float | None = None) -> Gap:
        """The gap of the kept rows.

        Parameters
        ----------
        kept : Selection
            Positions among the rows that the evaluator knows, and their weights and targets if they
            have any.
        limit : float, optional
            The budget. Work that cannot change whether the gap is within it may be left out.
        """

    def of_all_rows(self, scoring: str, n_rows: int) -> Gap:
        """The gap where all rows are kept, which needs no measuring."""
        return Gap(0.0, 0.0, self.level, scoring, n_rows)

    def learned(self) -> Learned | None:
        """What the model on all rows has learned over a constant; None if that is not known."""
        return None

    def affords(self, size: int) -> bool:
        """Whether the search may spend as much again as measuring ``size`` rows takes."""
        return True

    def training_seconds(self, n_rows: int) -> float | None:
        """Seconds of one training on that many rows, if there was one."""
        return None

    def notes(self) -> tuple[tuple[str, str], ...]:
        """Lines of the report, (name, value)."""
        return ()

    def diagnostics(self) -> tuple[str, ...]:
        """Why the gaps may not be believed."""
        return ()


class OnTrain(Evaluator):
    """Measures rows of a larger table by those of them that are not held out.

    Parameters
    ----------
    evaluator : Evaluator
        It knows the rows of ``train`` alone.
    table, train : Table
        All rows, and those of them that are not held out.
    """

    def __init__(self, evaluator: Evaluator, table: Table, train: Table) -> None:
        self.evaluator, self.level = evaluator, evaluator.level
        self.trainings_a_set = evaluator.trainings_a_set
        self._places = train.places(table.positions)

    def gap(self, kept: Selection, limit: float | None = None) -> Gap:
        places = self._places[kept.indices]
        known = places >= 0
        weights = None if kept.weights is None else kept.weights[known]
        targets = None if kept.targets is None else kept.targets.take(known)
        seen = Selection(places[known], weights=weights, targets=targets)
        return self.evaluator.gap(seen, limit)

    def learned(self) -> Learned | None:
        return self.evaluator.learned()

    def affords(self, size: int) -> bool:
        return self.evaluator.affords(size)

    def training_seconds(self, n_rows: int) -> float | None:
        return self.evaluator.training_seconds(n_rows)

    def notes(self) -> tuple[tuple[str, str], ...]:
        return self.evaluator.notes()

    def diagnostics(self) -> tuple[str, ...]:
        return self.evaluator.diagnostics()
