"""Chooses subsets of a given size: by the solver, or at random beside it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skprune.influence.operator import InfluenceOperator
from skprune.subset import Rows, Selection, select_rows
from skprune.subset.start import represented_minima, starting_subset


class Chooser:
    """How rows are chosen, whatever their gap is measured by; every size has its own seed.

    Parameters
    ----------
    groups, minima : ndarray
        Classes of the rows and how many of each must stay.
    solver : str
    prior : ndarray of shape (n,) or None
    seed : int
    represent : bool
        Whether classes keep their shares, because more than the head may be trained on what is
        kept; a prior goes before.
    """

    def __init__(
        self,
        *,
        groups: Rows,
        minima: Rows,
        solver: str,
        prior: NDArray[np.float64] | None,
        seed: int,
        represent: bool,
    ) -> None:
        self.groups, self.minima, self.solver = groups, minima, solver
        self.prior, self.seed, self.represent = prior, seed, represent

    def minima_for(self, size: int) -> Rows:
        """How many rows of each class stay among ``size``."""
        if self.represent and self.prior is None:
            return represented_minima(self.groups, self.minima, size)
        return self.minima

    def choose(self, operator: InfluenceOperator, size: int, warm: Rows | None) -> Selection:
        """``size`` rows whose influences cancel, starting within the rows ``warm``."""
        return select_rows(
            operator,
            size,
            solver=self.solver,
            groups=self.groups,
            minima=self.minima_for(size),
            rng=np.random.default_rng([self.seed, size]),
            prior=self.prior,
            start=warm,
            thorough=False,
        )

    def random_rows(self, size: int) -> Rows:
        """A stratified random subset of ``size`` rows."""
        rng = np.random.default_rng([self.seed, size, 1])
        return starting_subset(size, self.groups, self.minima, rng)
