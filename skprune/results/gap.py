"""The gap: what a smaller training set costs.

gap = score(full) - score(pruned), so that positive is worse. The level says how it was found:
"predicted" by one Newton step on the kept rows, "refit" by fitting the head on them, or
"retrained" by training the whole model on them (``skprune.evaluation.retrained``).
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any


class Gap(float):
    """A gap: a float that knows how it was measured.

    Attributes
    ----------
    standard_error : float
        Standard error of the mean over the held-out rows, in the unit of the gap.
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
    """

    standard_error: float
    level: str
    scoring: str
    n_rows: int
    held_out: bool
    #: The error message if the model could not be trained on these rows; else empty.
    failure: str = ""

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
        self.standard_error, self.level = standard_error, level
        self.scoring, self.n_rows, self.held_out = scoring, n_rows, held_out
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _restored, (type(self), float(self), vars(self))

    def __repr__(self) -> str:
        return (
            f"Gap({float(self):+.4g} +- {self.standard_error:.2g}, {self.level}, {self.scoring}, "
            f"{self.measured_on})"
        )

    @property
    def measured_on(self) -> str:
        """The rows that it was measured on, in words."""
        return f"{self.n_rows:,} held-out rows" if self.held_out else f"all {self.n_rows:,} rows"

    def interval(self, confidence: float = 0.95) -> tuple[float, float]:
        """Two-sided confidence interval, by the normal distribution."""
        half = NormalDist().inv_cdf(0.5 + confidence / 2) * self.standard_error
        return float(self) - half, float(self) + half

    def within(self, max_gap: float) -> bool:
        """Whether the gap plus one standard error is allowed (False for a NaN)."""
        return float(self) + self.standard_error <= max_gap


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
