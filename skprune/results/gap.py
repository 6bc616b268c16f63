"""The gap: what a smaller training set costs.

gap = score(full) - score(pruned), so that positive is worse. The level says how it was found:
"predicted" by one Newton step on the kept rows, "refit" by fitting the head on them, or
"retrained" by training the whole model on them (``skprune.evaluation.retrained``).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

#: Decimals beyond which numbers are written with an exponent.
DECIMALS = 5


class Gap(float):
    """A gap: a float that knows how it was measured.

    Attributes
    ----------
    standard_error : float
        Standard error of the mean over the held-out rows, in the unit of the gap.
    by_rows : float
        The same without what trainings on other rows vary by, where ``standard_error`` covers that.
    level : str
        How the pruned head, or model, was found: "predicted", "refit", "retrained", or the
        ``level`` of the evaluator that measured it.
    scoring : str
        The score: "loss" is in nats (classification) or in shares of Var(y).
    n_rows : int
        Number of rows that the gap was measured on.
    held_out : bool
        Whether no model was fitted on these rows. If False, they are all rows, on which the
        full model was fitted: see ``skprune.search.all_rows``.
    n_draws : int
        Number of random subsets of which it is the mean; 1 for all other gaps.
    spread : float
        Standard deviation of the gaps of these subsets.
    tuned : bool
        Whether the penalty was tuned to these rows, as it is for random rows beside a head.
    """

    standard_error: float
    by_rows: float
    level: str
    scoring: str
    n_rows: int
    held_out: bool
    #: The error message if the model could not be trained on these rows; else empty.
    failure: str = ""
    n_draws: int = 1
    spread: float = 0.0
    tuned: bool = False

    def __new__(
        cls,
        value: float,
        standard_error: float,
        level: str,
        scoring: str,
        n_rows: int,
        held_out: bool = True,
    ) -> Gap:
        """Create a gap of ``value``; the other arguments are the attributes."""
        self = super().__new__(cls, value)
        self.standard_error, self.level, self.by_rows = standard_error, level, standard_error
        self.scoring, self.n_rows, self.held_out = scoring, n_rows, held_out
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), float(self), vars(self))

    def __repr__(self) -> str:
        return (
            f"Gap({float(self):+.4g} ± {self.standard_error:.2g}, {self.level}, {self.scoring}, "
            f"{self.measured_on})"
        )

    @property
    def measured_on(self) -> str:
        """The rows that it was measured on, in words."""
        return f"{self.n_rows:,} held-out rows" if self.held_out else f"all {self.n_rows:,} rows"

    def said(self, unit: str) -> str:
        """What the model loses, as the end of a sentence."""
        if self.failure:
            return "cannot be trained on them"
        if math.isnan(self):
            return "diverged in training"
        if self.level == "predicted":
            verb = "is predicted to gain" if self < 0 else "is predicted to lose"
        else:
            verb = "gains" if self < 0 else "loses"
        return f"{verb} {plus_minus(abs(self), self.standard_error)} {unit}"

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence interval, by the normal distribution."""
        half = NormalDist().inv_cdf(0.5 + confidence / 2) * self.standard_error
        return float(self) - half, float(self) + half

    def within(self, max_gap: float) -> bool:
        """Whether the gap plus one standard error is allowed (False for a NaN)."""
        return float(self) + self.standard_error <= max_gap


def plus_minus(value: float, error: float) -> str:
    """A number and its standard error, to the first digit of the error, or two of 10 to 19."""
    if not (math.isfinite(error) and math.isfinite(value)):
        return f"{value:.2g}"
    if error <= 0.0:
        return f"{value:.2g} ± 0"
    exponent = math.floor(math.log10(error))
    digits = max(0, -exponent + (error < 2 * 10.0**exponent))
    if digits > DECIMALS:
        return f"{value:.1g} ± {error:.1g}"
    return f"{value:.{digits}f} ± {error:.{digits}f}"


def mean_gap(draws: Sequence[Gap]) -> Gap:
    """The mean gap of random subsets that were measured on the same rows.

    Its standard error has both parts: that of the rows, which is the same in all of them, and
    that of the draws.
    """
    first = draws[0]
    if len(draws) == 1:
        return first
    gaps = np.array(draws, dtype=np.float64)
    with np.errstate(invalid="ignore"):  # of infinite ones
        spread = float(gaps.std(ddof=1))
    by_rows = np.mean([gap.standard_error**2 for gap in draws])
    error = math.sqrt(by_rows + spread**2 / len(draws))
    about = (first.level, first.scoring, first.n_rows, first.held_out)
    mean = Gap(float(gaps.mean()), error, *about)
    mean.n_draws, mean.spread, mean.tuned = len(draws), spread, first.tuned
    return mean


def _restored(kind: type[Gap], value: float, attributes: dict[str, Any]) -> Gap:
    """Rebuild a gap of any class with its attributes, for pickle."""
    gap = float.__new__(kind, value)
    vars(gap).update(attributes)
    return gap


@dataclass(frozen=True)
class Learned:
    """How much the model on all rows has learned, which a meaningful budget must not exceed.

    Attributes
    ----------
    score : float
        Score of the model on all rows: minus the loss, or the scorer's value.
    gap : Gap
        Score of the model on all rows minus that of a constant prediction (the shares of the
        classes, or the mean of the target).
    """

    score: float
    gap: Gap

    def covers(self, max_gap: float) -> bool:
        """Whether a budget is smaller than the gap of a constant, the most that can be lost."""
        return float(self.gap) > max_gap
