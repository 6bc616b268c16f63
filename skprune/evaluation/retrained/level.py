"""Retraining as an evaluator, with a budget of trainings."""

from __future__ import annotations

import math

import numpy as np

from skprune.evaluation.base import Evaluator
from skprune.evaluation.retrained.gap import RetrainedGap, Retraining, Training
from skprune.results.gap import Learned
from skprune.subset import Selection

#: All trainings of one ``fit``, in rows, as a multiple of one training on the rows that are not
#: held out, for every seed: four trainings on all rows, of which a fifth is held out. One is the
#: model on all rows by which the search goes, one that beside which its result is measured.
MOST = 5.0
#: A gap that was measured is of four trainings (on all rows and on the kept ones, without the rows
#: that are held out, and then with them), whose luck adds up.
TRAININGS = 4


class Retrained(Evaluator):
    """Measures the gap by training a model anew on the kept rows.

    Parameters
    ----------
    retraining : Retraining
    name : str
        Name of the retrained model, for the report.
    most : float, default=MOST
        Bound on all trainings, in trainings on all rows for every seed.
    searched : Retrained, optional
        By which the size was chosen, if this one measures on other rows than that did. Their
        trainings count together.
    """

    level = "retrained"
    searched: Retrained | None

    def __init__(
        self,
        retraining: Retraining,
        name: str,
        most: float = MOST,
        searched: Evaluator | None = None,
    ) -> None:
        self.retraining, self.name, self.most = retraining, name, most
        self.searched = searched if isinstance(searched, Retrained) else None
        self.trainings_a_set = retraining.n_seeds

    def gap(self, kept: Selection, limit: float | None = None) -> RetrainedGap:
        trial = self.retraining.trial(kept.indices, kept.weights, kept.targets, limit=limit)
        if self.searched is None:
            return trial.gap
        by_rows = trial.gap.standard_error**2
        variance = self.searched.retraining.training_variance(trial.size, by_rows)
        return trial.gap.wider(TRAININGS * variance)

    def learned(self) -> Learned | None:
        return self.retraining.learned()

    def affords(self, size: int) -> bool:
        seeds, n = len(self.retraining.full_scores()), len(self.retraining.trainer)
        trained = sum(training.n_rows for training in self._trainings())
        # What is handed out is measured on other rows, beside a model of all rows of its own.
        owed = 0 if self.searched else n
        return trained + seeds * (size + owed) <= self.most * seeds * n

    def _trainings(self) -> list[Training]:
        """All that were made, the search's among them."""
        before = [] if self.searched is None else self.searched._trainings()
        return before + self.retraining.trainings

    def training_seconds(self, n_rows: int) -> float | None:
        seconds = self.retraining.seconds_per_training(n_rows)
        return None if math.isnan(seconds) else seconds

    def notes(self) -> tuple[tuple[str, str], ...]:
        """Lines for the report: the retrained model, its trainings and their duration."""
        retraining = self.retraining
        trainings = self._trainings()
        largest = max(training.n_rows for training in trainings)
        seconds = np.sum([training.seconds for training in trainings])
        one = np.mean([training.seconds for training in trainings if training.n_rows == largest])
        cost = sum(training.n_rows for training in trainings) / largest
        seeds = "the same for every seed"
        if not retraining.deterministic:
            seeds = f"{retraining.n_seeds} seed" + "s" * (retraining.n_seeds > 1)
        made = f"{len(trainings)} training" + "s" * (len(trainings) > 1)
        text = (
            f"{self.name}, {made} ({seeds}) in {seconds:.1f} s, as "
            f"many rows as {cost:.1f} trainings on {largest:,} rows, {one:.2f} s each"
        )
        return (("retraining", text),)
