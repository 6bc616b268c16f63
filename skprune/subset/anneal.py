"""Simulated annealing by swaps: the solver the paper names.

Yang et al. (ICLR 2023) give no schedule; this one cools geometrically from the size of a
typical change of |r|^2 to a small part of it. It is here for comparison: ``swap`` is
faster and, with more rows than parameters, ends lower.
"""

from __future__ import annotations

import numpy as np
import torch

from skprune.data.strata import Rows
from skprune.influence.operator import InfluenceOperator
from skprune.subset.monitor import Monitor
from skprune.subset.state import Selection, SubsetState

#: Proposed exchanges per row of the table, and their bounds.
MOVES_PER_ROW = 10
MIN_MOVES, MAX_MOVES = 20_000, 200_000
#: Proposals drawn at once, so that their vectors come from one product.
BATCH = 256
#: Temperature at the end over temperature at the start.
COOLING = 1e-5


def anneal(
    operator: InfluenceOperator,
    start: Rows,
    groups: Rows,
    minima: Rows,
    rng: np.random.Generator,
    *,
    monitor: Monitor | None = None,
) -> Selection:
    """Random exchanges by the Metropolis rule; the best subset at the end of a batch is returned.

    Parameters are those of ``swap``, and a generator. With a time limit the cooling is spread
    over the time; without one, over a number of moves.
    """
    monitor = monitor or Monitor()
    state = SubsetState(operator, start, groups, minima)
    if len(start) in (0, operator.n_rows):
        return state.selection(0)
    moves = int(np.clip(MOVES_PER_ROW * operator.n_rows, MIN_MOVES, MAX_MOVES))
    hot = operator.typical_norm() ** 2
    timed = monitor.time_limit is not None
    current = best = state.norm**2
    best_rows = state.indices()
    made = 0
    while (timed or made < moves) and not monitor.stop(best**0.5):
        inside = torch.nonzero(state.kept).reshape(-1)
        outside = torch.nonzero(~state.kept).reshape(-1)
        size = min(BATCH, len(inside), len(outside), BATCH if timed else moves - made)
        progress = monitor.share if timed else made / moves
        temperature = hot * COOLING**progress
        decay = 1.0 if timed else COOLING ** (1.0 / moves)
        made += size
        out = inside[torch.from_numpy(rng.choice(len(inside), size, replace=False))]
        into = outside[torch.from_numpy(rng.choice(len(outside), size, replace=False))]
        changes = (operator.rows(into) - operator.rows(out)).to(state.residual.dtype)
        thresholds = -np.log(rng.random(size))
        for b in range(size):
            residual = state.residual + changes[b]
            squared = float(residual.square().sum())
            accepted = squared - current <= temperature * thresholds[b]
            if accepted and state.can_leave(int(out[b]), int(into[b])):
                state.exchange(out[b : b + 1], into[b : b + 1])
                state.residual = residual
                current = squared
            temperature *= decay
        if current < best:
            best, best_rows = current, state.indices()
    final = float(operator.residual(best_rows).norm())
    return Selection(best_rows, final, state.start_norm, made)
