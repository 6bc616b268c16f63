"""The protocol of evaluators, each of which measures the gap of kept rows in one way."""

from __future__ import annotations

from abc import ABC, abstractmethod

from skprune.data.table import Table
from skprune.results.gap import Gap, Learned
from skprune.subset import Selection


class Evaluator(ABC):
    """Measures the gap of kept rows at one level.

    A pruner has one evaluator for each level, from cheap to expensive, and every trial has the gap
    of each. A new level is a subclass of ``Evaluator``, and one of ``Verify`` that makes it.

    Attributes
    ----------
    level : str
        Its name in ``path_``, in the report and in ``Gap.level``.
    name : str
        The model whose gap it is, for the report; empty for the proxy's own.
    draws : int
        How many random subsets are measured beside the kept rows.
    """

    level: str
    name: str = ""
    draws: int = 1
    #: By which the size was chosen, if this one measures on rows that had no part in that.
    searched: Evaluator | None = None
    #: Number of trainings to measure one set of rows; 0 if nothing is trained.
    trainings_a_set: int = 0

    @abstractmethod
    def gap(self, kept: Selection, limit: float | None = None) -> Gap:
        """The gap of the kept rows.

        Parameters
        ----------
        kept : Selection
            Positions among the rows of the evaluator, with weights and targets if they have any.
        limit : float, optional
            The budget. Work that cannot change whether the gap is within it may be skipped.
        """

    def random_gap(self, drawn: Selection) -> Gap:
        """The gap of rows that were drawn at random, trained as whoever draws rows would do it."""
        return self.gap(drawn)

    def of_all_rows(self, scoring: str, n_rows: int) -> Gap:
        """The gap of all rows, which is 0 and needs no measuring."""
        return Gap(0.0, 0.0, self.level, scoring, n_rows)

    def learned(self) -> Learned | None:
        """How much better the model on all rows is than a constant; None if unknown."""
        return None

    def affords(self, size: int) -> bool:
        """Whether the search may still spend the time of measuring ``size`` rows."""
        return True

    def training_seconds(self, n_rows: int) -> float | None:
        """Seconds of one training on that many rows; None if there was none."""
        return None

    def notes(self) -> tuple[tuple[str, str], ...]:
        """Lines for the report, (name, value)."""
        return ()

    def diagnostics(self) -> tuple[str, ...]:
        """Reasons why the gaps may be wrong."""
        return ()


class OnTrain(Evaluator):
    """Measures rows of a larger table by the training rows among them.

    Parameters
    ----------
    evaluator : Evaluator
        An evaluator of rows of ``train``.
    table, train : Table
        All rows, and those that are not held out.
    """

    def __init__(self, evaluator: Evaluator, table: Table, train: Table) -> None:
        self.evaluator, self.level = evaluator, evaluator.level
        self.name, self.draws = evaluator.name, evaluator.draws
        self.trainings_a_set = evaluator.trainings_a_set
        self._places = train.places(table.positions)

    def gap(self, kept: Selection, limit: float | None = None) -> Gap:
        return self.evaluator.gap(self._seen(kept), limit)

    def random_gap(self, drawn: Selection) -> Gap:
        return self.evaluator.random_gap(self._seen(drawn))

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

    def _seen(self, kept: Selection) -> Selection:
        """Those of the rows that the evaluator knows."""
        places = self._places[kept.indices]
        known = places >= 0
        weights = None if kept.weights is None else kept.weights[known]
        targets = None if kept.targets is None else kept.targets.take(known)
        return Selection(places[known], weights=weights, targets=targets)
