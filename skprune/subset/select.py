"""Where a solver's name becomes a call; what the pruner and ``solve_subset`` share."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from skprune.data.strata import Rows
from skprune.influence.operator import InfluenceOperator
from skprune.subset.anneal import anneal
from skprune.subset.balance import balance
from skprune.subset.exact import exact
from skprune.subset.monitor import Monitor
from skprune.subset.relax import relax
from skprune.subset.start import starting_subset
from skprune.subset.state import Selection
from skprune.subset.swap import swap

SOLVERS = ("swap", "relax", "anneal", "balance", "exact")


def select_rows(
    operator: InfluenceOperator,
    size: int,
    *,
    solver: str,
    groups: Rows,
    minima: Rows,
    rng: np.random.Generator,
    prior: NDArray[np.float64] | None = None,
    start: Rows | None = None,
    target: float | None = None,
    monitor: Monitor | None = None,
    thorough: bool = True,
) -> Selection:
    """``size`` rows whose influence vectors nearly cancel.

    Parameters
    ----------
    operator : InfluenceOperator
    size : int
    solver : {"swap", "relax", "anneal", "balance", "exact"}
    groups, minima, rng, prior, start
        As in ``starting_subset``, which decides where the solver starts.
    target : float, optional
        A norm that is small enough for "swap" and "relax".
    monitor : Monitor, optional
    thorough : bool, default=True
        Whether "swap" and "relax" end among random rows: a few percent of the norm, which no gap
        notices, for several times the time.

    Returns
    -------
    Selection
    """
    if solver == "balance":
        return balance(operator, size, groups, minima, rng, prior=prior, monitor=monitor)
    first = starting_subset(size, groups, minima, rng, prior, start)
    if solver == "exact":
        return exact(operator, first, groups, minima, monitor=monitor)
    if solver == "anneal":
        return anneal(operator, first, groups, minima, rng, monitor=monitor)
    method = relax if solver == "relax" else swap
    draws = rng if thorough else None
    return method(operator, first, groups, minima, target=target, monitor=monitor, rng=draws)
