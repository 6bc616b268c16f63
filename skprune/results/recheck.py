"""The result of checking the kept rows again on new rows."""

from __future__ import annotations

from dataclasses import dataclass

from skprune.results.gap import Gap


@dataclass(frozen=True)
class Recheck:
    """Whether the reported gap still holds on new rows; prints as its status.

    Attributes
    ----------
    gap : Gap
        Gap on the new rows between the models trained on all fitted rows and on the kept ones.
    interval : (float, float)
        Two-sided 95 % confidence interval. If certified, it runs from minus infinity to the bound.
    allowed : float
        ``max_gap``; if the size was fixed, the reported gap plus two of its standard errors.
    holds : bool or None
        Whether the gap is allowed; None if the new rows are too few to tell.
    status : str
        The result in words.
    """

    gap: Gap
    interval: tuple[float, float]
    allowed: float
    holds: bool | None
    status: str

    def __str__(self) -> str:
        return self.status
