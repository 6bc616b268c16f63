"""Retraining as an evaluator, with a budget of trainings."""

from __future__ import annotations

import math

import numpy as np

from skprune.evaluation.base import Evaluator
from skprune.evaluation.retrained.gap import RetrainedGap, Retraining
from skprune.results.gap import Learned
from skprune.subset import Selection

#: All trainings of one ``fit``, in rows, as a multiple of one training on the rows that are not
#: held out, for every seed: three trainings on all rows, of which a fifth is held out.
MOST = 3.75


class Retrained(Evaluator):
    """Measures the gap by training a model anew on the kept rows.

    Parameters
    ----------
    retraining : Retraining
    name : str
        Name of the retrained model, for the report.
    most : float, default=MOST
        Bound on all trainings, in trainings on all rows for every seed.
    """

    level = "retrained"

    def __init__(self, retraining: Retraining, name: str, most: float = MOST) -> None:
        self.retraining, self.name, self.most = retraining, name, most
        self.trainings_a_set = retraining.n_seeds

    def gap(self, kept: Selection, limit: float | None = None) -> RetrainedGap:
        trial = self.retraining.trial(kept.indices, kept.weights, kept.targets, limit=limit)
        return trial.gap

    def learned(self) -> Learned | None:
        return self.retraining.learned()

    def affords(self, size: int) -> bool:
        retraining, n = self.retraining, len(self.retraining.trainer)
        seeds = len(retraining.full_scores())
        trained = sum(t.n_rows for t in retraining.trainings if t.n_rows < n)
        return trained + seeds * size <= (self.most - 1.0) * seeds * n

    def training_seconds(self, n_rows: int) -> float | None:
        seconds = self.retraining.seconds_per_training(n_rows)
        return None if math.isnan(seconds) else seconds

    def notes(self) -> tuple[tuple[str, str], ...]:
        """Lines for the report: the retrained model, its trainings and their duration."""
        retraining = self.retraining
        trainings = retraining.trainings
        largest = max(training.n_rows for training in trainings)
        seconds = np.sum([training.seconds for training in trainings])
        cost = sum(training.n_rows for training in trainings) / largest
        seeds = "the same for every seed"
        if not retraining.deterministic:
            seeds = f"{retraining.n_seeds} seed" + "s" * (retraining.n_seeds > 1)
        text = (
            f"{self.name}, {retraining.n_trainings} trainings ({seeds}) in {seconds:.1f} s, as "
            f"many rows as {cost:.1f} trainings on {largest:,} rows, "
            f"{retraining.seconds_per_training(largest):.2f} s each"
        )
        return (("retraining", text),)
