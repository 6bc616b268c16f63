"""How many rows of every class are kept or held out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


def group_minima(groups: Rows, minimum: int) -> Rows:
    """What every group must keep: ``minimum`` rows, or all it has, shape (n_groups,)."""
    return np.minimum(np.bincount(groups), minimum).astype(np.int64)


def stratified_quotas(groups: Rows, minima: Rows, size: int) -> Rows:
    """Proportional allocation of ``size`` rows to groups by largest remainder.

    No group falls under its minimum or gets more than it has; ``minima.sum() <= size`` must hold.
    """
    counts = np.bincount(groups, minlength=len(minima))
    exact = counts * (size / counts.sum())
    quotas = np.clip(np.floor(exact).astype(np.int64), minima, counts)
    while (missing := size - int(quotas.sum())) != 0:
        room = quotas < counts if missing > 0 else quotas > minima
        remainder = np.where(room, np.sign(missing) * (exact - quotas), -np.inf)
        order = np.argsort(-remainder, kind="stable")[: min(abs(missing), int(room.sum()))]
        quotas[order] += np.sign(missing)
    return quotas
