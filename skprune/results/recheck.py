"""What newer rows say of the rows that were kept."""

from __future__ import annotations

from dataclasses import dataclass

from skprune.results.gap import Gap


@dataclass(frozen=True)
class Recheck:
    """Whether a promise still holds; prints as its status.

    Attributes
    ----------
    gap : Gap
        Between the models of all fitted rows and of the kept ones, on the new rows.
    interval : (float, float)
        Two-sided, of 95 %; of a certificate from minus infinity to its bound.
    allowed : float
        ``max_gap``; if the size was fixed, the reported gap and two of its standard errors.
    holds : bool or None
        None where these rows do not tell.
    status : str
        The same in words.
    """

    gap: Gap
    interval: tuple[float, float]
    allowed: float
    holds: bool | None
    status: str

    def __str__(self) -> str:
        return self.status
