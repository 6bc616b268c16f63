"""Where a solver's name becomes a call; what the pruner and ``solve_subset`` share."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.influence import InfluenceOperator
from skprune.subset.anneal import anneal
from skprune.subset.balance import balance
from skprune.subset.exact import exact
from skprune.subset.monitor import Monitor
from skprune.subset.relax import relax
from skprune.subset.start import Rows, starting_subset
from skprune.subset.state import Selection
from skprune.subset.swap import swap

SOLVERS = ("swap", "relax", "anneal", "balance", "exact")

#: Norm, in row norms, at which ``solve_subset`` calls a subset balanced.
BALANCED = 1e-9


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
    monitor: Monitor | None = None,
) -> Selection:
    """``size`` rows whose influence vectors nearly cancel.

    Parameters
    ----------
    operator : InfluenceOperator
    size : int
    solver : {"swap", "relax", "anneal", "balance", "exact"}
    groups, minima, rng, prior, warm
        As in ``starting_subset``, which decides where the solver starts.
    monitor : Monitor, optional
        With one, the search goes on until no exchange helps at all, not only while it is worth
        a pruner's time.

    Returns
    -------
    Selection
    """
    if solver == "balance":
        return balance(operator, size, groups, minima, rng, prior=prior, monitor=monitor)
    start = starting_subset(size, groups, minima, rng, prior, warm)
    if solver == "anneal":
        return anneal(operator, start, groups, minima, rng, monitor=monitor)
    if solver == "exact":
        rows, bound = exact(operator, start, groups, minima, monitor=monitor)
        indices = np.sort(rows)
        residual = operator.offset + operator.sum(
            torch.from_numpy(indices).to(operator.offset.device)
        )
        norm = float(residual.norm())
        return Selection(indices, norm, norm, monitor.iterations if monitor else 0, bound)
    method = relax if solver == "relax" else swap
    if monitor is None:
        return method(operator, start, groups, minima)
    target = BALANCED * float(operator.squared_norms().mean()) ** 0.5
    return method(operator, start, groups, minima, target=target, monitor=monitor, rng=rng)
