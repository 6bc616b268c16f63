"""One pass over the rows in blocks, with O(block x d) memory: for streams and memory maps.

Every block keeps its share of the rows, drawn by the prior, and is improved by exchanges within
the block against the running sum r of all blocks so far (a discrepancy walk: every block
corrects what the earlier ones left). The number kept is exact and |r| stays at the floor of one
block, however many follow. It ends higher than ``swap``, which sees all rows at once, by the
square root of a ratio of logarithms, about 1.5.

Cost: one read of the rows, n (block + exchanges) d operations; memory does not grow with n but
for a few bytes a row.
"""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.data.strata import Rows, stratified_quotas
from skprune.influence.operator import InfluenceOperator
from skprune.subset.inclusion import capped
from skprune.subset.monitor import Monitor
from skprune.subset.state import Selection, pair_gains
from skprune.utils.chunks import CHUNK_NUMBERS

#: Rows of a block.
BLOCK = 256


def balance(
    operator: InfluenceOperator,
    size: int,
    groups: Rows,
    minima: Rows,
    rng: np.random.Generator,
    *,
    prior: NDArray[np.float64] | None = None,
    monitor: Monitor | None = None,
) -> Selection:
    """``size`` rows in one pass.

    Parameters
    ----------
    operator : InfluenceOperator
    size : int
    groups, minima : ndarray
        As in ``swap``. If any minimum is above 0, every group keeps its proportional share and
        rows are exchanged within groups.
    rng : numpy.random.Generator
    prior : ndarray of shape (n,), optional
        Odds of a row to be kept.
    monitor : Monitor, optional
        Its time limit ends the exchanges, never the pass.

    Returns
    -------
    Selection
    """
    monitor = monitor or Monitor()
    n, device = operator.n_rows, operator.offset.device
    if not np.any(minima > 0):
        groups, minima = np.zeros(n, dtype=np.int64), np.zeros(1, dtype=np.int64)
    quotas = stratified_quotas(groups, minima, size)
    odds = np.ones(n) if prior is None else prior / (prior.max() or 1.0)
    per_group = [np.flatnonzero(groups == g) for g in range(len(quotas))]
    inclusion = np.empty(n)
    for rows, quota in zip(per_group, quotas, strict=True):
        inclusion[rows] = capped(odds[rows], int(quota))
    kept = np.zeros(n, dtype=bool)
    block = max(2, min(BLOCK, CHUNK_NUMBERS // max(1, operator.dim)))
    # Rows of every group that are due by the end of a block, and those that were kept.
    due, taken = np.zeros(len(quotas)), np.zeros(len(quotas), dtype=np.int64)
    residual = torch.zeros_like(operator.offset)
    drawn, done = operator.offset.clone(), 0
    for begin in range(0, n, block):
        part = np.arange(begin, min(begin + block, n))
        vectors = operator.rows(torch.from_numpy(part).to(device)).to(residual.dtype)
        chosen = np.zeros(len(part), dtype=bool)
        for g in np.unique(groups[part]):
            local = np.flatnonzero(groups[part] == g)
            due[g] += inclusion[part[local]].sum()
            number = min(max(0, math.floor(due[g] + 0.5) - int(taken[g])), len(local))
            taken[g] += number
            keys = rng.exponential(size=len(local)) / np.maximum(odds[part[local]], 1e-300)
            chosen[local[np.argsort(keys, kind="stable")[:number]]] = True
        mask = torch.from_numpy(chosen).to(device)
        start = vectors[mask].sum(0)
        drawn += start
        # Every block also brings the part of the offset that belongs to its rows.
        residual = residual + operator.offset * (len(part) / n) + start
        if not monitor.stop(float(residual.norm())):
            codes = torch.from_numpy(groups[part]).to(device)
            residual = _improve(vectors, mask, codes, residual)
        kept[part] = mask.cpu().numpy()
        done += 1
    indices = np.flatnonzero(kept)
    return Selection(indices, float(operator.residual(indices).norm()), float(drawn.norm()), done)


def _improve(
    vectors: torch.Tensor, mask: torch.Tensor, codes: torch.Tensor, residual: torch.Tensor
) -> torch.Tensor:
    """Exchange rows of the block until none lowers |residual|; returns the residual."""
    gram = vectors @ vectors.T
    scores = vectors @ residual
    same = codes[:, None] == codes[None, :]
    squares, twice = gram.diagonal(), torch.where(same, 2 * gram, -torch.inf)
    change = torch.zeros(len(mask), dtype=vectors.dtype, device=vectors.device)
    threshold = 1e-5 * float(squares.mean())
    for _ in range(len(mask)):
        gains = pair_gains(mask, scores, squares, twice)
        i, j = divmod(int(gains.argmax()), len(mask))
        if not float(gains[i, j]) > threshold:
            break
        mask[i], mask[j] = False, True
        change[i] -= 1
        change[j] += 1
        scores += gram[:, j] - gram[:, i]
    return residual + (change @ vectors)
