"""The convex relaxation: fractional rows by Frank-Wolfe, rounding, then swaps.

    min |offset + S' w|  s.t.  0 <= w <= 1,  sum w = m

is what the authors' own code solves (with a commercial solver). Since the vectors of all rows
nearly sum to zero, w = m / n is almost optimal and says nothing about rows: what decides is the
corner the iteration starts from and the rounding, which is why swaps follow.
"""

from __future__ import annotations

import numpy as np
import torch

from skprune.data.strata import Rows
from skprune.influence.operator import InfluenceOperator
from skprune.subset.monitor import Monitor
from skprune.subset.start import largest_subset
from skprune.subset.state import Selection
from skprune.subset.swap import swap

#: Frank-Wolfe steps; each is one product with all rows and mixes in one more corner.
STEPS = 50


def relax(
    operator: InfluenceOperator,
    start: Rows,
    groups: Rows,
    minima: Rows,
    *,
    target: float | None = None,
    monitor: Monitor | None = None,
    rng: np.random.Generator | None = None,
) -> Selection:
    """Frank-Wolfe from the corner ``start``, rounding to the m largest weights, then ``swap``.

    Parameters are those of ``swap``.
    """
    monitor = monitor or Monitor()
    size = len(start)
    weights = np.zeros(operator.n_rows)
    weights[start] = 1.0
    residual = operator.residual(start)
    for _ in range(STEPS):
        if size == 0 or monitor.stop(float(residual.norm())):
            break
        scores = operator.scores(residual)
        corner = torch.sort(torch.topk(-scores, size).indices).values
        direction = operator.offset + operator.sum(corner) - residual
        length = float(direction.square().sum())
        step = float(-(residual @ direction)) / length if length > 0 else 0.0
        if step <= 0.0:
            break
        step = min(step, 1.0)
        residual = residual + step * direction
        weights *= 1.0 - step
        weights[corner.cpu().numpy()] += step
    rounded = largest_subset(weights, size, groups, minima)
    return swap(operator, rounded, groups, minima, target=target, monitor=monitor, rng=rng)
