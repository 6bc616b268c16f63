"""The gap of whole models that are retrained on fewer rows with several seeds."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import numpy as np
from scipy import stats

from skprune.data.teaching import Teaching
from skprune.evaluation.retrained.measures import Floats, Measure, Score
from skprune.evaluation.retrained.trainers import Trainer
from skprune.results.gap import Gap, Learned
from skprune.subset import Rows
from skprune.utils.seeds import child_seeds, seeded

Answer = TypeVar("Answer")
#: Probability that the seeds that are not used would have changed the answer.
UNCLEAR = 0.05
#: Sizes within this factor tell of the variance between trainings.
NEAR = 2.0
#: Before any do, it is guessed to be this part of the variance by held-out rows, as it is for
#: boosting and forests on 3,000 to 10,000 rows, and that counts as much as so many sizes.
GUESS, GUESSED = 0.25, 3.0


class RetrainedGap(Gap):
    """A gap by retraining; its standard error covers seeds and held-out rows.

    Attributes
    ----------
    n_seeds : int
        Number of pairs of trainings, on all rows and on the kept ones, that were averaged.
    freedom : float
        Degrees of freedom of the standard error.
    """

    n_seeds: int
    freedom: float

    def __new__(
        cls,
        value: float,
        standard_error: float,
        scoring: str,
        n_rows: int,
        n_seeds: int,
        freedom: float,
        held_out: bool = True,
    ) -> RetrainedGap:
        """Create a gap of ``value``; the other arguments are the attributes."""
        gap = super().__new__(cls, value, standard_error, "retrained", scoring, n_rows, held_out)
        self = cast(RetrainedGap, gap)
        self.n_seeds, self.freedom = n_seeds, freedom
        return self

    def __repr__(self) -> str:
        seeds = f"{self.n_seeds} seed" + "s" * (self.n_seeds != 1)
        return f"{super().__repr__()[:-1]}, {seeds})"

    def wider(self, variance: float) -> RetrainedGap:
        """The same gap with ``variance`` added to the square of its standard error."""
        gap = copy(self)
        gap.standard_error = math.hypot(self.standard_error, math.sqrt(variance))
        return gap

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence interval by Student's t."""
        if self.standard_error == 0 or not math.isfinite(self.standard_error):
            return float(self) - self.standard_error, float(self) + self.standard_error
        half = float(stats.t.ppf(0.5 + confidence / 2, self.freedom)) * self.standard_error
        return float(self) - half, float(self) + half


@dataclass(frozen=True)
class Training:
    """The number of rows, the seed and the duration of one training."""

    n_rows: int
    seed: int
    seconds: float


@dataclass(frozen=True)
class RetrainedTrial:
    """The result of retraining on one set of kept rows.

    Attributes
    ----------
    rows : ndarray of int64
    gap : RetrainedGap
        It is infinite if the model could not be trained on these rows, or not be scored afterwards;
        its ``failure`` is then the error message.
    seconds : float
        Duration of training on these rows and measuring, with all seeds.
    """

    rows: Rows
    gap: RetrainedGap
    seconds: float

    @property
    def size(self) -> int:
        """Rows kept."""
        return len(self.rows)


class Retraining:
    """Retrains a model on all rows and on some of them, and measures the difference.

    Parameters
    ----------
    trainer : Trainer
    measure : Measure
    n_seeds : int, default=3
        Number of trainings on every set of rows. If two trainings on all rows agree to the last
        digit, the seed has no effect, and one training on every set is enough.
    seed : int, default=0
        The seeds of the trainings follow from it; they are the same for every set of rows.
    on_training : callable, optional
        Called with every ``Training`` when it is done.
    on_trial : callable, optional
        Called with every ``RetrainedTrial`` when it is done.

    Attributes
    ----------
    trainings : list of Training
        All trainings in their order.

    Notes
    -----
    With d_si the difference on held-out row i between the models trained with seed s on all rows
    and on the kept rows, the gap is the mean of the d_si, and

        SE^2 = var_i(mean_s d_si) / n + V / S,

    where var_i is the variance over the n held-out rows and V the variance over seeds of
    mean_i d_si. Both contain the interaction of rows and seeds, so that SE is at most sqrt(2) too
    wide.
    For a scorer that is no mean over rows, the first term is the variance of a delete-a-group
    jackknife of the mean over seeds.

    A few seeds do not determine V. It is therefore pooled over all sets of rows that were retrained
    on so far, and with twice the variance of the score of the models trained on all rows. With one
    seed V is unknown, and SE covers the held-out rows alone. The interval has the degrees of
    freedom of Welch and Satterthwaite.
    """

    def __init__(
        self,
        trainer: Trainer,
        measure: Measure,
        *,
        n_seeds: int = 3,
        seed: int = 0,
        on_training: Callable[[Training], None] | None = None,
        on_trial: Callable[[RetrainedTrial], None] | None = None,
    ) -> None:
        self.trainer, self.measure, self.n_seeds, self.seed = trainer, measure, n_seeds, seed
        self.on_training, self.on_trial = on_training, on_trial
        self.trainings: list[Training] = []
        self._seeds = child_seeds(seed, n_seeds)
        self._full: list[Score] = []
        self._differences: list[Floats] = []  # for every set of rows, one for each seed
        # Size, gap and its parts, of those that were compared with a budget.
        self._searched: list[tuple[int, float, Floats]] = []

    @property
    def n_trainings(self) -> int:
        """Number of trainings so far."""
        return len(self.trainings)

    @property
    def deterministic(self) -> bool:
        """Whether the seed was found to have no effect."""
        return len(self._full) > 1 and _same(self._full[0], self._full[1])

    def full_scores(self) -> list[Score]:
        """Scores of the model trained on all rows, one for each seed; the first call trains it."""
        everything = np.arange(len(self.trainer))
        while len(self._full) < self.n_seeds and not self.deterministic:
            self._full.append(self._train(everything, self._seeds[len(self._full)]))
        return self._full[:1] if self.deterministic else self._full

    def trial(
        self,
        rows: Rows,
        weights: Floats | None = None,
        targets: Teaching | None = None,
        *,
        limit: float | None = None,
    ) -> RetrainedTrial:
        """Retrain on some rows.

        Parameters
        ----------
        rows : ndarray of int64
            Positions of the kept rows.
        weights : ndarray of shape (m,), optional
            Weights of the kept rows, by which their own weights are multiplied.
        targets : Teaching, optional
            Targets of the kept rows in place of their labels. Scores always use labels.
        limit : float, optional
            Largest allowed gap. If given, further seeds are used only while they could change
            whether the gap plus its standard error is within it.

        Returns
        -------
        RetrainedTrial
        """
        full = self.full_scores()
        begin = time.perf_counter()
        values: list[float] = []
        parts: list[Floats] = []
        for seed, before in zip(self._seeds, full, strict=False):
            try:
                after = self._train(rows, seed, weights, targets)
            except (ValueError, np.linalg.LinAlgError) as error:
                # All rows were enough, so there are too few rows here, which is a result.
                return self._failed(rows, str(error), time.perf_counter() - begin)
            values.append(before.value - after.value + self.measure.correction(before, after))
            parts.append(before.parts - after.parts)
            if limit is not None and self._is_settled(values, parts, limit, len(full)):
                break
        gap = self._gap(values, parts)
        self._differences.append(np.array(values))
        if limit is not None and math.isfinite(gap):
            self._searched.append((len(rows), float(gap), np.mean(parts, axis=0)))
        trial = RetrainedTrial(rows, gap, time.perf_counter() - begin)
        if self.on_trial is not None:
            self.on_trial(trial)
        return trial

    def training_variance(self, size: int, by_rows: float) -> float:
        """By how much the score of a model varies between trainings on other rows, as many.

        A boosting that is grown on other rows is another boosting. But for that, and for what the
        held-out rows explain, gaps g of neighbouring sizes m lie on a line in 1 / m. With M the
        projection beside such lines and Sigma the covariance that the rows, which all of them have
        in common, explain, the variance s^2 that is looked for has

            E g'Mg = tr(M Sigma) + s^2 tr(M).

        A handful of sizes tells little. They are weighed against a guess, a part of the variance by
        rows, which counts as much as ``GUESSED`` sizes do. Where several seeds are trained, these
        tell, and it is zero.

        Parameters
        ----------
        size : int
            Rows of the trainings.
        by_rows : float
            Square of the standard error by held-out rows of a gap of such trainings.
        """
        if len(self._full) > 1 and not self.deterministic:
            return 0.0
        found, freedom = 0.0, 0.0
        near = [of for of in self._searched if size / NEAR <= of[0] <= size * NEAR]
        if len(near) > 2:
            sizes, gaps, parts = (np.array(values) for values in zip(*near, strict=True))
            line = np.column_stack([np.ones(len(near)), 1 / sizes])
            M = np.eye(len(near)) - line @ np.linalg.pinv(line)
            explained = sum(self.measure.row_variance(beside)[0] for beside in M @ parts)
            found, freedom = float(gaps @ M @ gaps) - explained, float(M.trace())
        return max(0.0, found + GUESSED * GUESS * by_rows) / (freedom + GUESSED)

    def _failed(self, rows: Rows, message: str, seconds: float) -> RetrainedTrial:
        measure = self.measure
        scored = (measure.scoring, measure.n_rows)
        gap = RetrainedGap(math.inf, 0.0, *scored, 1, 0.0, measure.held_out)
        gap.failure = message.splitlines()[0]
        return RetrainedTrial(rows, gap, seconds)

    def learned(self) -> Learned | None:
        """How much better the model trained on all rows is than a constant.

        It is None if the score of a constant is unknown, or if a training diverged.
        """
        full, constant = self.full_scores(), self.measure.constant
        if constant is None:
            return None
        values = [score.value - constant.value for score in full]
        gap = self._gap(values, [score.parts - constant.parts for score in full])
        return None if math.isnan(gap) else Learned(float(np.mean([s.value for s in full])), gap)

    def seconds_per_training(self, n_rows: int | None = None) -> float:
        """Mean seconds of the trainings on that many rows (default: all); NaN if none."""
        wanted = len(self.trainer) if n_rows is None else n_rows
        seconds = [t.seconds for t in self.trainings if t.n_rows == wanted]
        return float(np.mean(seconds)) if seconds else math.nan

    def read(
        self,
        rows: Rows,
        read: Callable[[Any], Answer],
        weights: Floats | None = None,
        targets: Teaching | None = None,
    ) -> list[Answer]:
        """Results of ``read`` for the models trained on some rows, one for each seed."""
        return [self._read(rows, seed, weights, targets, read) for seed in self._seeds]

    def _train(
        self,
        rows: Rows,
        seed: int,
        weights: Floats | None = None,
        targets: Teaching | None = None,
    ) -> Score:
        return self._read(rows, seed, weights, targets, self.measure.score)

    def _read(
        self,
        rows: Rows,
        seed: int,
        weights: Floats | None,
        targets: Teaching | None,
        read: Callable[[Any], Answer],
    ) -> Answer:
        begin = time.perf_counter()
        fitted = self.trainer.fit(rows, seed, weights, targets)
        training = Training(len(rows), seed, time.perf_counter() - begin)
        self.trainings.append(training)
        if self.on_training is not None:
            self.on_training(training)
        with seeded(seed):  # data loaders draw a seed even if nothing is random
            return read(fitted)

    def _gap(self, values: list[float], parts: list[Floats]) -> RetrainedGap:
        k = len(values)
        by_rows, row_freedom = self.measure.row_variance(np.mean(parts, axis=0))
        by_seeds, seed_freedom = self._seed_variance(values)
        by_seeds /= k
        variance, freedom = by_rows + by_seeds, float(row_freedom)
        if variance > 0 and math.isfinite(variance):
            seed_part = by_seeds**2 / seed_freedom if seed_freedom else 0.0
            freedom = variance**2 / (by_rows**2 / max(row_freedom, 1) + seed_part)
        measure = self.measure
        return RetrainedGap(
            float(np.mean(values)),
            math.sqrt(variance),
            measure.scoring,
            measure.n_rows,
            k,
            freedom,
            measure.held_out,
        )

    def _seed_variance(self, values: list[float]) -> tuple[float, int]:
        """V of the notes, including these differences, and its degrees of freedom."""
        full = math.sqrt(2) * np.array([score.value for score in self.full_scores()])
        known = [d for d in (full, *self._differences, np.array(values)) if np.isfinite(d).all()]
        freedom = sum(len(d) - 1 for d in known)
        if freedom == 0:
            return 0.0, 0
        return float(sum(np.sum((d - d.mean()) ** 2) for d in known)) / freedom, freedom

    def _is_settled(
        self, values: list[float], parts: list[Floats], limit: float, most: int
    ) -> bool:
        """Whether the remaining seeds would change nothing, except with probability ``UNCLEAR``.

        By all seeds the mean of the differences will still change with variance V (1/k - 1/S), and
        its standard error then contains V / S.
        """
        k, now = len(values), float(np.mean(values))
        by_seeds, freedom = self._seed_variance(values)
        if not math.isfinite(now):
            return True
        by_rows, _ = self.measure.row_variance(np.mean(parts, axis=0))
        final = math.sqrt(by_rows + by_seeds / most)
        give = math.sqrt(by_seeds * (1 / k - 1 / most))
        quantile = float(stats.t.ppf(1 - UNCLEAR / 2, freedom)) if freedom else math.inf
        return give == 0 or abs(limit - now - final) > quantile * give


def _same(one: Score, other: Score) -> bool:
    return one.value == other.value and np.array_equal(one.parts, other.parts, equal_nan=True)
