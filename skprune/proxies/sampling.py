"""Initial sampling weights: the odds of rows to be in the subset at which a search starts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.subset import Rows


class Sampling:
    """The parameter ``sampling`` of a pruner of ``n`` rows, checked.

    Raises
    ------
    ValueError
        If it is not one finite, non-negative number for each row, or if all are 0.
    """

    def __init__(self, given: Any, n: int) -> None:
        self.name = given if isinstance(given, str) and given != "uniform" else None
        self.odds: NDArray[np.float64] | None = None
        if isinstance(given, str):
            return
        try:
            self.odds = np.asarray(given, dtype=np.float64)
        except ValueError as error:
            raise ValueError(
                f'sampling must be "uniform", "loss", "el2n" or numbers: {error}.'
            ) from error
        if self.odds.shape != (n,):
            raise ValueError(f"sampling has shape {self.odds.shape}, but X has {n} rows.")
        if not np.all(np.isfinite(self.odds)) or np.any(self.odds < 0) or not self.odds.sum() > 0:
            raise ValueError("sampling must be finite and non-negative, and positive somewhere.")

    @property
    def is_uniform(self) -> bool:
        """Whether all rows of a class have the same odds."""
        return self.odds is None and self.name is None

    def of(
        self, rows: Rows, difficulty_by: Callable[[str], NDArray[np.float64]]
    ) -> NDArray[np.float64] | None:
        """Odds of some rows of the caller; None if they are uniform.

        Parameters
        ----------
        rows : ndarray of int64
        difficulty_by : callable
            ``difficulty_by(name)`` is their difficulty by the score of that name, (len(rows),).
        """
        if self.odds is not None:
            return np.asarray(self.odds[rows])
        if self.name is None:
            return None
        hardness = difficulty_by(self.name)
        return np.sqrt(hardness) if self.name == "loss" else hardness

    def describe(self, *, classes: bool) -> str:
        """The weights in words, and what they mean for other models."""
        if self.is_uniform:
            return "uniform within classes" if classes else "uniform"
        name = f'"{self.name}"' if self.name else "given"
        return f"sampling {name}: for this model alone, others may do worse than random"
