"""Which rows to keep: the subset problem and its solvers, one file each.

A solver knows nothing but an ``InfluenceOperator``: it looks for a subset of a given size whose
influence vectors nearly cancel.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skprune.influence import InfluenceOperator
from skprune.subset.anneal import anneal
from skprune.subset.relax import relax
from skprune.subset.start import Rows, starting_subset
from skprune.subset.state import Selection
from skprune.subset.swap import swap

SOLVERS = ("swap", "anneal", "relax")

__all__ = ["SOLVERS", "Rows", "Selection", "select_rows"]


def select_rows(
    operator: InfluenceOperator,
    size: int,
    *,
    solver: str,
    groups: Rows,
    minima: Rows,
    rng: np.random.Generator,
    prior: NDArray[np.float64] | None = None,
    warm: Rows | None = None,
) -> Selection:
    """``size`` rows whose influence vectors nearly cancel.

    Parameters
    ----------
    operator : InfluenceOperator
    size : int
    solver : {"swap", "anneal", "relax"}
    groups, minima, rng, prior, warm
        As in ``starting_subset``, which decides where the solver starts.

    Returns
    -------
    Selection
    """
    start = starting_subset(size, groups, minima, rng, prior, warm)
    if solver == "anneal":
        return anneal(operator, start, groups, minima, rng)
    return (relax if solver == "relax" else swap)(operator, start, groups, minima)
