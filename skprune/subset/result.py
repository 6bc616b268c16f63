"""What a subset solver returns: the rows, and what is known about their norm."""

from __future__ import annotations

from dataclasses import dataclass

from skprune.data.strata import Rows


@dataclass(frozen=True)
class SubsetResult:
    """A subset and its certificate.

    Attributes
    ----------
    indices : ndarray of shape (m,), int64
        Rows kept, sorted.
    norm : float
        Length of offset + sum of the kept vectors, summed afresh in float64.
    lower_bound : float
        No feasible subset is better: a bound on the norm if ``size`` was given, on the number
        of rows kept if ``max_norm`` was. It holds up to rounding, for which it makes allowance.
    optimality_gap : float
        (objective - lower_bound) / objective: 0 is proven optimal, 1 says nothing.
    status : str
        What was reached and proven, in words.
    iterations : int
        Steps of the solver: products with all rows, or annealing moves.
    seconds : float
        Of the whole call.
    """

    indices: Rows
    norm: float
    lower_bound: float
    optimality_gap: float
    status: str
    iterations: int
    seconds: float


def relative_gap(objective: float, bound: float) -> float:
    """(objective - bound) / objective, between 0 and 1."""
    return 0.0 if objective <= bound else min(1.0, (objective - bound) / objective)
