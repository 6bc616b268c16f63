"""The gap of two trained models with a bound that is sure, on rows that took part in nothing."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from sklearn.base import is_regressor
from sklearn.linear_model import RidgeClassifier

from skprune.data.containers import plain
from skprune.data.copies import numbered
from skprune.evaluation.base import Evaluator
from skprune.evaluation.certificate import (
    bootstrap,
    by_unit,
    fewest_rows,
    rows_needed,
    upper_bound,
)
from skprune.evaluation.head_levels import Refit
from skprune.evaluation.retrained import Data, EstimatorTrainer, Retraining, make_retraining
from skprune.evaluation.retrained.head import head_retraining
from skprune.evaluation.retrained.measures import (
    ERROR_RATE,
    Floats,
    LossMeasure,
    ScorerMeasure,
    last_step,
    name_of,
)
from skprune.evaluation.row_losses import (
    DEVIATIONS,
    RowScorer,
    largest_entropy,
    row_scorer,
)
from skprune.results.gap import Gap
from skprune.subset import Rows, Selection


class CertifiedGap(Gap):
    """A gap with an upper bound.

    Attributes
    ----------
    upper_bound : float
        Of level "certified": with a chance of at least ``confidence`` the true gap of these trained
        models is no larger. Of level "interval": the upper end of a bootstrap interval, of which
        that is true only about, and with many rows.
    confidence : float
    largest : float or None
        Where the loss of a row was cut off, if it was: the bound is of these losses.
    """

    upper_bound: float
    confidence: float
    largest: float | None = None

    def __new__(
        cls,
        value: float,
        standard_error: float,
        level: str,
        scoring: str,
        n_rows: int,
        upper_bound: float,
        confidence: float,
    ) -> CertifiedGap:
        """Create a gap of ``value``; the other arguments are the attributes."""
        gap = super().__new__(cls, value, standard_error, level, scoring, n_rows)
        self = cast(CertifiedGap, gap)
        self.upper_bound, self.confidence = upper_bound, confidence
        return self

    def __repr__(self) -> str:
        sure = f"at most {self.upper_bound:+.4g} with {self.confidence:.0%} confidence{self.cut}"
        return f"{super().__repr__()[:-1]}, {sure})"

    @property
    def cut(self) -> str:
        """Where losses were cut off, in words; empty if they were not."""
        return "" if self.largest is None else f", each row counting at most {self.largest:.3g}"

    def said(self, unit: str) -> str:
        if self.failure or not math.isfinite(self.upper_bound):
            return super().said(unit)
        at_most = f"loses at most {self.upper_bound:.2g} {unit}"
        if self.level == "certified":
            return f"{at_most} with {self.confidence:.0%} confidence{self.cut}"
        return f"{at_most} by a {self.confidence:.0%} bootstrap interval, which is no certificate"

    def interval(self, confidence: float | None = None) -> tuple[float, float]:
        """From minus infinity to the bound, of its own confidence."""
        if confidence not in (None, self.confidence):
            raise ValueError(
                f"The bound was found for a confidence of {self.confidence:g}, not {confidence:g}."
            )
        return -math.inf, self.upper_bound

    def within(self, max_gap: float) -> bool:
        """Whether the upper bound is allowed (False for a NaN)."""
        return self.upper_bound <= max_gap


class Certifier(Evaluator):
    """Bounds the gap of kept rows, on rows that took part in nothing.

    Attributes
    ----------
    tested : list of (int, CertifiedGap)
        Rows kept and the gap of these, in the order of the tests.
    """

    tested: list[tuple[int, CertifiedGap]]

    @abstractmethod
    def gap(self, kept: Selection, limit: float | None = None) -> CertifiedGap: ...

    @abstractmethod
    def needed(self, max_gap: float) -> str:
        """What the gap that was measured last would have taken to be within the budget."""


class PairCertifier(Certifier):
    """Trains a model on all rows and on kept ones, and bounds the gap between the two.

    Parameters
    ----------
    retraining : Retraining
        On all rows that may be kept; measured on rows that took part in nothing.
    name : str
        What is trained, for the report.
    confidence : float
    seed : int
        Of the order of the rows.
    """

    #: What is said of an upper bound that is allowed.
    says: str

    def __init__(self, retraining: Retraining, name: str, confidence: float, seed: int) -> None:
        self.retraining, self.name, self.confidence = retraining, name, confidence
        self.trainings_a_set = retraining.n_seeds
        self.seed = seed
        self.tested = []
        self._full: list[Any] = []

    def gap(self, kept: Selection, limit: float | None = None) -> CertifiedGap:
        retraining = self.retraining
        if not self._full:
            self._full = retraining.read(np.arange(len(retraining.trainer)), self._read)
        try:
            pruned = retraining.read(kept.indices, self._read, kept.weights, kept.targets)
            gap = self._compare(pruned)
        except (ValueError, np.linalg.LinAlgError) as error:  # for want of rows: all were enough
            gap = self._gap(math.inf, 0.0, self.retraining.measure.n_rows, math.inf)
            gap.failure = str(error).splitlines()[0]
        self.tested.append((len(kept.indices), gap))
        return gap

    def of_all_rows(self, scoring: str, n_rows: int) -> CertifiedGap:
        return self._gap(0.0, 0.0, n_rows, 0.0)

    def notes(self) -> tuple[tuple[str, str], ...]:
        """Of what the bound is, of which models, on which rows, and what was tested."""
        if not self.tested:
            return ()
        models = "these two trained models"
        if self.trainings_a_set > 1:
            models = f"the means over these {self.trainings_a_set} pairs of trained models"
        rows = len(self.retraining.trainer)
        tests = ", ".join(f"{n:,} ({gap.upper_bound:+.2g})" for n, gap in self.tested)
        return (
            (
                self.level,
                f"{self.says}; {self._loss()}, of {self.name} trained on the kept rows and on all "
                f"{rows:,}; on {self.tested[-1][1].n_rows:,} rows that took part in nothing "
                f"(copies, and rows of one group, count once); of {models}, and of no other "
                "training",
            ),
            ("tested", f"from mild to severe, with {self.confidence:.0%} bounds: {tests}"),
        )

    @abstractmethod
    def _read(self, fitted: Any) -> Any:
        """What is needed of one trained model."""

    @abstractmethod
    def _compare(self, pruned: list[Any]) -> CertifiedGap:
        """The gap between ``_full`` and others that were read."""

    @abstractmethod
    def _loss(self) -> str:
        """What is compared, in words."""

    def _gap(self, value: float, error: float, n_rows: int, bound: float) -> CertifiedGap:
        scoring = self.retraining.measure.scoring
        return CertifiedGap(value, error, self.level, scoring, n_rows, bound, self.confidence)


class Certified(PairCertifier):
    """By betting on the losses of single rows, which are cut off where that is needed.

    Parameters
    ----------
    retraining, name, confidence, seed
        As of ``PairCertifier``.
    losses : callable
        ``losses(fitted)`` is the loss of every row, shape (n,).
    largest : float
        Where these are cut off.
    weights : ndarray of shape (n,)
    units : ndarray of shape (n,), int64
        0, 1, 2 ..., equal for copies and rows of one group, which count as one row.
    """

    level = "certified"
    says = "a certificate"

    def __init__(
        self,
        retraining: Retraining,
        name: str,
        confidence: float,
        seed: int,
        losses: Callable[[Any], Floats],
        largest: float,
        weights: Floats,
        units: Rows,
    ) -> None:
        super().__init__(retraining, name, confidence, seed)
        self.losses, self.largest = losses, largest
        self.rows = np.flatnonzero(weights > 0)
        self.weights = weights[self.rows] / weights.max()
        self.units = numbered(units[self.rows])
        self._differences = np.zeros(0)

    def needed(self, max_gap: float) -> str:
        about: dict[str, Any] = {"largest": self.largest, "confidence": self.confidence}
        needed = rows_needed(self._differences, max_gap, **about)
        if math.isfinite(needed):
            return f"about {needed:,.0f} such rows would have been needed for even odds"
        fewest = fewest_rows(max_gap, **about)
        return (
            "no number of rows like these would have been enough (and none fewer than "
            f"{fewest:,.0f} ever are)"
        )

    def _read(self, fitted: Any) -> Floats:
        return np.clip(self.losses(fitted), 0.0, self.largest)

    def _compare(self, pruned: list[Floats]) -> CertifiedGap:
        d = np.mean(pruned, axis=0) - np.mean(self._full, axis=0)
        d, w = by_unit(d[self.rows], self.weights, self.units)
        self._differences = d
        # An order that says nothing of the rows.
        order = np.random.default_rng([self.seed, 3]).permutation(len(d))
        bound = upper_bound(
            d[order], largest=self.largest, confidence=self.confidence, weights=w[order]
        )
        mean = float(np.average(d, weights=w))
        error = float(np.sqrt(np.sum((w * (d - mean)) ** 2))) / float(w.sum())
        gap = self._gap(mean, error, len(d), bound)
        gap.largest = None if self.largest == 1.0 else self.largest
        return gap

    def _loss(self) -> str:
        scoring = self.retraining.measure.scoring
        cut = f", a row counting for 0 to {self.largest:.3g}"
        return f"of the mean {scoring}{cut if self.largest != 1.0 else ''}"


class Interval(PairCertifier):
    """By resampling the rows: of scores that are no means over rows, for which nothing is sure."""

    level = "interval"
    says = "a bootstrap interval, true about and with many rows, and no certificate"

    def needed(self, max_gap: float) -> str:
        gap = self.tested[-1][1]
        half, room = gap.upper_bound - float(gap), max_gap - float(gap)
        if room <= 0 or not math.isfinite(half):
            return "no number of rows like these would have been enough"
        return f"about {gap.n_rows * (half / room) ** 2:,.0f} such rows would have been needed"

    def _read(self, fitted: Any) -> Callable[[Rows], float]:
        return cast(ScorerMeasure, self.retraining.measure).scorer(fitted)

    def _compare(self, pruned: list[Callable[[Rows], float]]) -> CertifiedGap:
        measure = cast(ScorerMeasure, self.retraining.measure)

        def difference(rows: Rows) -> float:
            pairs = zip(self._full, pruned, strict=True)
            return float(np.mean([full(rows) - kept(rows) for full, kept in pairs]))

        value = difference(np.arange(measure.n_rows))
        draws = bootstrap(difference, measure.units, self.seed)
        error, bound = math.inf, math.inf
        if len(draws) > 1:
            error, bound = float(draws.std(ddof=1)), float(np.quantile(draws, self.confidence))
        return self._gap(value, error, int(measure.units.max()) + 1, bound)

    def _loss(self) -> str:
        return f"of {self.retraining.measure.scoring}, which is no mean over rows"


class Strictest(Certifier):
    """Several models, each of which has to be within the budget: the worst of them counts.

    That all are is false only if one of them is not, and of that one a false certificate is as rare
    as it would be alone. So each is tested with the full error.

    Parameters
    ----------
    certifiers : sequence of Certifier
    """

    def __init__(self, certifiers: Sequence[Certifier]) -> None:
        self.certifiers = certifiers
        self.trainings_a_set = sum(c.trainings_a_set for c in certifiers)
        levels = {c.level for c in certifiers}
        self.level = Interval.level if Interval.level in levels else Certified.level
        self.tested = []
        self.name = " and ".join(c.name for c in certifiers)
        self._worst = certifiers[0]

    def gap(self, kept: Selection, limit: float | None = None) -> CertifiedGap:
        gaps = [c.gap(kept, limit) for c in self.certifiers]
        bounds = [gap.upper_bound for gap in gaps]
        place = int(np.argmax(bounds))
        self._worst = self.certifiers[place]
        self.tested.append((len(kept.indices), gaps[place]))
        return gaps[place]

    def of_all_rows(self, scoring: str, n_rows: int) -> Gap:
        return self.certifiers[0].of_all_rows(scoring, n_rows)

    def needed(self, max_gap: float) -> str:
        return self._worst.needed(max_gap)

    def notes(self) -> tuple[tuple[str, str], ...]:
        return tuple(note for c in self.certifiers for note in c.notes())


def _targets(data: Data) -> Any:
    """The targets of the rows, as an array."""
    if data.y is not None:
        return np.asarray(plain(data.y))
    source, positions = data.source()
    return source.targets()[positions]


def make_certifier(
    model: Any, train: Data, held_out: Data, scoring: Any, confidence: float, **options: Any
) -> Certifier:
    """What certifies that ``model`` loses little on rows of ``train``, measured on ``held_out``.

    Parameters
    ----------
    model : scikit-learn estimator, skorch net, or callable ``train(dataset, seed) -> nn.Module``
    train, held_out : Data
        The latter took part in nothing.
    scoring : str or callable
        "loss", or a scorer. Those of ``ROW_LOSSES`` are means over rows; of others there is an
        interval.
    confidence : float
    **options
        Of ``make_retraining``.
    """
    y = _targets(train)
    rows = row_scorer(scoring, y)
    retraining = make_retraining(model, train, held_out, scoring=rows or scoring, **options)
    squared = isinstance(retraining.trainer, EstimatorTrainer) and (
        is_regressor(model) or isinstance(last_step(model), RidgeClassifier)
    )
    about = (name_of(model), confidence, options["seed"])
    return _certifier(retraining, *about, rows, _largest_loss(retraining, y, squared))


def make_head_certifier(
    refit: Callable[[Any], Refit],
    y: NDArray[Any],
    scoring: Any,
    confidence: float,
    seed: int,
    units: Rows | None = None,
) -> Certifier:
    """What certifies that a head loses little once it is fitted to fewer rows.

    Parameters
    ----------
    refit : callable
        ``refit(scoring)`` fits it to some rows, and measures on rows that took part in nothing.
    y : ndarray of shape (n,)
        Targets of the rows that may be kept.
    scoring, confidence
        As in ``make_certifier``.
    seed : int
        Of the order of the rows.
    units : ndarray, optional
        As of ``head_retraining``.
    """
    rows = row_scorer(scoring, y)
    fits = refit(rows or scoring)
    retraining = head_retraining(fits, seed, units)
    largest = _largest_loss(retraining, y, fits.predicted.problem.loss.quadratic)
    return _certifier(retraining, "the head", confidence, seed, rows, largest)


def _largest_loss(retraining: Retraining, y: NDArray[Any], squared: bool) -> float:
    """Where ``scoring="loss"`` is cut off."""
    if retraining.measure.scoring == ERROR_RATE:
        return 1.0
    if squared or y.ndim > 1 or y.dtype.kind == "f":
        return DEVIATIONS**2
    return largest_entropy(y)


def _certifier(
    retraining: Retraining,
    name: str,
    confidence: float,
    seed: int,
    rows: RowScorer | None,
    largest: float,
) -> Certifier:
    """The certifier of a pair of models that are scored by their loss or by ``rows``."""
    measure = retraining.measure
    if isinstance(measure, LossMeasure):
        weights, units = measure.weights, measure.units
        return Certified(
            retraining, name, confidence, seed, measure.row_losses, largest, weights, units
        )
    if rows is None or not isinstance(measure, ScorerMeasure):
        return Interval(retraining, name, confidence, seed)
    measure.scoring = rows.scoring
    scorer, n = measure.scorer, measure.n_rows

    def losses(fitted: Any) -> Floats:
        scorer(fitted)(np.arange(n))
        return rows.values

    about = (losses, rows.largest, np.ones(n), measure.units)
    return Certified(retraining, name, confidence, seed, *about)
