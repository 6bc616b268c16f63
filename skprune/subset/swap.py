"""Batched one-swap local search: the workhorse.

Replacing kept row i by row j changes |r|^2 by

    -(2 <r, s_i> - |s_i|^2) + (2 <r, s_j> + |s_j|^2) - 2 <s_i, s_j>.

One product with all rows gives every <r, s>. Far from the optimum the last term is small
against the others and many of the best exchanges are made at once (their number adapts to how
much of the promise is kept). Near it, the best candidates' Gram matrix is formed and single
exchanges are made until no pair among the candidates improves.
"""

from __future__ import annotations

import torch
from torch import Tensor

from skprune.influence import InfluenceOperator
from skprune.models.features import CHUNK_NUMBERS
from skprune.subset.start import Rows
from skprune.subset.state import Selection, SubsetState

#: Candidates on either side whose Gram matrix is formed near the optimum.
POOL = 128
#: Exchanges that gain less than this share of |r|^2 are not worth a product with all rows.
MIN_GAIN = 1e-4
#: A residual whose square is below this share of a row's counts as balanced.
NEGLIGIBLE = 1e-4
#: Bound on the products with all rows.
MAX_STEPS = 2000


def swap(operator: InfluenceOperator, start: Rows, groups: Rows, minima: Rows) -> Selection:
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

    Returns
    -------
    Selection
    """
    state = SubsetState(operator, start, groups, minima)
    if len(start) in (0, operator.n_rows):
        return state.selection(0)
    squared_norms = operator.squared_norms()
    enough = NEGLIGIBLE * float(squared_norms.mean())
    batch = max(1, len(start) // 16)
    steps = 0
    while steps < MAX_STEPS and state.norm**2 > enough:
        steps += 1
        leave, enter = _gains(state, squared_norms)
        if batch > 1:
            batch = _exchange_batch(state, leave, enter, batch)
        elif not _polish(state, leave, enter, enough):
            break
    return state.selection(steps)


def _gains(state: SubsetState, squared_norms: Tensor) -> tuple[Tensor, Tensor]:
    """Decrease of |r|^2 by each row's leaving and by its entering; -inf where impossible."""
    scores = 2.0 * state.operator.scores(state.residual)
    leave = torch.where(state.kept, scores - squared_norms, -torch.inf)
    enter = torch.where(state.kept, -torch.inf, -scores - squared_norms)
    return leave, enter


def _best(state: SubsetState, leave: Tensor, enter: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """The best rows to take out and in, ``count`` at the most, best first."""
    n_kept = int(state.kept.sum())
    count = min(count, n_kept, len(leave) - n_kept)
    out = state.removable(torch.topk(leave, min(4 * count, n_kept)).indices)[:count]
    return out, torch.topk(enter, count).indices


def _exchange_batch(state: SubsetState, leave: Tensor, enter: Tensor, batch: int) -> int:
    """Make the best ``batch`` exchanges if they help; returns the next batch size."""
    out, into = _best(state, leave, enter, batch)
    pairs = min(len(out), len(into))
    out, into = out[:pairs], into[:pairs]
    promise = leave[out] + enter[into]
    pairs = int((promise > 0).sum())
    before = state.norm**2
    while pairs > 0:
        change = state.operator.sum(into[:pairs]) - state.operator.sum(out[:pairs])
        residual = state.residual + change
        gain = before - float(residual.square().sum())
        if gain > MIN_GAIN * before:
            state.exchange(out[:pairs], into[:pairs], residual)
            # Most of the promise kept: the rows hardly interact, and more can go at once.
            kept_promise = gain > 0.5 * float(promise[:pairs].sum())
            return 2 * pairs if kept_promise else pairs
        pairs //= 2
    return 1


def _candidates(state: SubsetState, leave: Tensor, enter: Tensor) -> Tensor:
    """Rows among which single exchanges are sought: the ``POOL`` best of either side."""
    bound = state.bound()
    sides = [torch.where(bound, -torch.inf, leave), enter]
    if bool(bound.any()):
        # A group at its minimum exchanges rows with itself alone: its best join the pool.
        sides += [torch.where(bound, gains, -torch.inf) for gains in (leave, enter)]
    pool = min(POOL, max(1, CHUNK_NUMBERS // (len(sides) * state.operator.dim)))
    best = [torch.topk(gains, min(pool, len(gains))) for gains in sides]
    return torch.cat([b.indices[b.values > -torch.inf] for b in best]).unique()


def _polish(state: SubsetState, leave: Tensor, enter: Tensor, enough: float) -> bool:
    """Single exchanges within the best candidates' Gram matrix; whether any was worth it."""
    codes = _candidates(state, leave, enter)
    rows = state.operator.rows(codes)
    gram = rows @ rows.T
    scores = rows @ state.residual
    kept = state.kept[codes]
    before = squared = state.norm**2
    while True:
        leave_gain = torch.where(kept, 2 * scores - gram.diagonal(), -torch.inf)
        enter_gain = torch.where(kept, -torch.inf, -2 * scores - gram.diagonal())
        gains = leave_gain[:, None] + enter_gain[None, :] + 2 * gram
        gains = torch.where(state.exchangeable(codes), gains, -torch.inf)
        i, j = divmod(int(gains.argmax()), len(codes))
        gain = float(gains[i, j])
        if squared <= enough or not gain > 0.1 * MIN_GAIN * squared:
            return before - squared > MIN_GAIN * before
        state.exchange(codes[i : i + 1], codes[j : j + 1], state.residual + rows[j] - rows[i])
        scores += gram[:, j] - gram[:, i]
        kept[i], kept[j] = False, True
        squared -= gain
