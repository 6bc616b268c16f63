"""Batched one-swap local search: the workhorse.

Replacing kept row i by row j changes |r|^2 by

    -(2 <r, s_i> - |s_i|^2) + (2 <r, s_j> + |s_j|^2) - 2 <s_i, s_j>.

One product with all rows gives every <r, s>. Far from the optimum the last term is small
against the others and many of the best exchanges are made at once (their number adapts to how
much of the promise is kept). Near it, the best candidates' Gram matrix is formed and single
exchanges are made until no pair among the candidates improves. A group that has no row to spare
exchanges rows with itself alone.

The best candidates one by one need not be the best pairs: two near-duplicates change r little,
which is what the end asks for. A thorough search therefore goes on among random rows of either
side, all pairs of them at once, until several draws in a row gain nothing.

Cost: one product with all rows, n x d, an iteration; some tens to hundreds of iterations.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from skprune.data.strata import Rows
from skprune.influence.operator import InfluenceOperator
from skprune.subset.monitor import Monitor
from skprune.subset.state import Selection, SubsetState, pair_gains, single_gains
from skprune.utils.chunks import CHUNK_NUMBERS

#: Candidates on either side whose Gram matrix is formed near the optimum.
POOL = 128
#: Rows of either side, at least, among which groups at their minima look for pairs.
RANKED = 1024
#: Exchanges that gain less than this share of |r|^2 are not worth a product with all rows.
MIN_GAIN = 1e-4
#: What ``MIN_GAIN`` and ``POOL`` are in a coarse search, and batches that are too small for it.
COARSE_GAIN, COARSE_POOL, SMALL_BATCH = 1e-3, 64, 8
#: A batch stands if it gains this share of what its exchanges would gain
#: one by one.
MIN_PROMISE = 0.5
#: A residual whose square is below this share of a row's counts as balanced.
NEGLIGIBLE = 1e-4
#: Bound on the products with all rows of one descent.
MAX_STEPS = 2000
#: Random rows of either side among which a thorough search looks for pairs, and the number of
#: draws without gain that end it.
DRAW, IDLE_DRAWS = 512, 3


def swap(
    operator: InfluenceOperator,
    start: Rows,
    groups: Rows,
    minima: Rows,
    *,
    target: float | None = None,
    monitor: Monitor | None = None,
    rng: np.random.Generator | None = None,
    coarse: bool = False,
) -> Selection:
    """Exchange rows until no pair of candidates lowers |r|; see the module's text.

    Parameters
    ----------
    operator : InfluenceOperator
    start : ndarray of shape (m,)
        Rows kept at first.
    groups : ndarray of shape (n,)
        Group of every row.
    minima : ndarray of shape (n_groups,)
        Rows that must stay of each group.
    target : float, optional
        A norm that is small enough; by default a hundredth of a typical row.
    monitor : Monitor, optional
        Ends the search early.
    rng : numpy.random.Generator, optional
        Asks for a thorough search: the source of random candidates.
    coarse : bool, default=False
        Ends sooner: a norm that is some per cent larger, in a fraction of the seconds.

    Returns
    -------
    Selection
    """
    monitor = monitor or Monitor()
    state = SubsetState(operator, start, groups, minima)
    typical = operator.typical_norm()
    if len(start) in (0, operator.n_rows) or typical == 0.0:
        return state.selection(0)
    enough = NEGLIGIBLE * typical**2 if target is None else target**2
    squared_norms = operator.squared_norms()
    # Long vectors first: they reach far, and short ones are left for the end, to fine-tune.
    weights = (squared_norms + 0.01 * typical**2).sqrt()
    least, pool, small = MIN_GAIN, POOL, 1
    if coarse:
        least, pool, small = COARSE_GAIN, COARSE_POOL, SMALL_BATCH
    batch = max(1, len(start) // 16)
    for _ in range(MAX_STEPS):
        if state.norm**2 <= enough or monitor.stop(state.norm):
            break
        scores = state.operator.scores(state.residual)
        leave, enter = single_gains(state.kept, scores, squared_norms)
        if batch > small:
            batch = _exchange_batch(state, leave, enter, weights, batch, least)
        elif not _polish(state, _candidates(state, leave, enter, pool), enough, monitor, least):
            break
    if rng is not None:
        _draw(state, enough, monitor, rng)
    return state.selection(monitor.iterations)


def _draw(state: SubsetState, enough: float, monitor: Monitor, rng: np.random.Generator) -> None:
    """Exchange random rows until several draws in a row gain nothing."""
    idle = 0
    for _ in range(MAX_STEPS):
        if idle == IDLE_DRAWS or state.norm**2 <= enough or monitor.stop(state.norm):
            break
        idle = 0 if _polish(state, _random_rows(state, rng), enough, monitor) else idle + 1


def _exchange_batch(
    state: SubsetState, leave: Tensor, enter: Tensor, weights: Tensor, batch: int, min_gain: float
) -> int:
    """Make the best ``batch`` exchanges if they help; returns the next batch size.

    They help if they gain more than ``MIN_PROMISE`` of what they would gain one by one.
    """
    out, into = _pairs(state, leave * weights, enter * weights, batch)
    promise = leave[out] + enter[into]
    pairs = int((promise > 0).sum())
    before = state.norm**2
    while pairs > 0:
        change = state.operator.sum(into[:pairs]) - state.operator.sum(out[:pairs])
        residual = state.residual + change
        gain = before - float(residual.square().sum())
        promised = float(promise[:pairs].sum())
        if gain > max(min_gain * before, MIN_PROMISE * promised):
            state.exchange(out[:pairs], into[:pairs])
            state.residual = residual
            # The promise kept: the rows hardly interact, and more can go at once.
            return 2 * pairs
        pairs //= 2
    return 1


def _pairs(state: SubsetState, leave: Tensor, enter: Tensor, batch: int) -> tuple[Tensor, Tensor]:
    """Up to ``batch`` rows that leave and as many that enter for them, the best first.

    Any number of the first pairs may be exchanged.
    """
    n_kept = int(state.kept.sum())
    count = min(batch, n_kept, len(leave) - n_kept)
    among = max(4 * count, RANKED)
    ranked = torch.topk(leave, min(among, n_kept)).indices
    entering = torch.topk(enter, min(among, len(leave) - n_kept)).indices
    out = state.removable(ranked[: 4 * count])[:count]
    if len(out) == count:
        return out, entering[:count]
    # Groups at their minima exchange rows with themselves.
    within, others = state.within_groups(ranked, entering)
    if len(within) <= len(out):
        return out, entering[: len(out)]
    order = torch.topk(leave[within] + enter[others], min(count, len(within))).indices
    return within[order], others[order]


def _candidates(state: SubsetState, leave: Tensor, enter: Tensor, pool: int) -> Tensor:
    """Rows among which single exchanges are sought: the ``pool`` best of either side."""
    full = state.at_minimum()
    sides = [torch.where(full, -torch.inf, leave), enter]
    if bool(full.any()):
        # A group at its minimum exchanges rows with itself alone: its best join the pool.
        sides += [torch.where(full, gains, -torch.inf) for gains in (leave, enter)]
    pool = min(pool, max(1, CHUNK_NUMBERS // (len(sides) * state.operator.dim)))
    best = [torch.topk(gains, min(pool, len(gains))) for gains in sides]
    return torch.cat([b.indices[b.values > -torch.inf] for b in best]).unique()


def _random_rows(state: SubsetState, rng: np.random.Generator) -> Tensor:
    """Random kept rows and as many others."""
    count = min(DRAW, max(1, CHUNK_NUMBERS // (2 * state.operator.dim)))
    sides = []
    for rows in (torch.nonzero(state.kept), torch.nonzero(~state.kept)):
        draw = rng.choice(len(rows), min(count, len(rows)), replace=False)
        sides.append(rows.reshape(-1)[torch.from_numpy(draw).to(rows.device)])
    return torch.cat(sides)


def _polish(
    state: SubsetState,
    codes: Tensor,
    enough: float,
    monitor: Monitor,
    min_gain: float = MIN_GAIN,
) -> bool:
    """Single exchanges among the rows ``codes`` by their Gram matrix; whether they were worth it.

    All in float64: in float32 rounding would pass for gains near the end.
    """
    gram, scores = state.operator.products(codes, state.residual)
    kept, groups, spare = state.kept[codes], state.groups[codes], None
    same = groups[:, None] == groups[None, :]
    before = squared = state.norm**2
    change = torch.zeros_like(scores)
    while squared > enough and not monitor.over(1.0):
        if spare is None or not torch.equal(spare, state.has_spare(codes)):
            spare = state.has_spare(codes)
            twice = torch.where(same | spare[:, None], 2 * gram, -torch.inf)
        gains = pair_gains(kept, scores, gram.diagonal(), twice)
        i, j = divmod(int(gains.argmax()), len(codes))
        gain = float(gains[i, j])
        if not gain > 0.1 * min_gain * squared:
            break
        state.exchange(codes[i : i + 1], codes[j : j + 1])
        scores += gram[:, j] - gram[:, i]
        kept[i], kept[j] = False, True
        squared -= gain
        change[i] -= 1
        change[j] += 1
    state.residual = state.residual + state.operator.sum(codes, change)
    return before - state.norm**2 > min_gain * before
