"""The subset under construction: which rows are in, their sum, and what may be exchanged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.data.strata import Rows
from skprune.data.teaching import Teaching
from skprune.influence.operator import InfluenceOperator


@dataclass(frozen=True)
class Selection:
    """A chosen subset.

    Attributes
    ----------
    indices : ndarray of shape (m,), int64
        Rows kept, sorted.
    norm : float
        |sum of the kept influence vectors + offset|, as the solver sees it. It is selected to
        be small and therefore no estimate of the gap.
    start_norm : float
        The same before the search.
    n_iter : int
        Steps of the solver.
    bound : float or None
        Lower bound on the norm, from solvers that prove one.
    weights : ndarray of shape (m,) or None
        How many rows each kept row stands for, beside its own weight; None if the rows are to be
        used as they are.
    targets : Teaching or None
        What the kept rows carry in place of their labels; None for the labels.
    """

    indices: Rows
    norm: float = math.nan
    start_norm: float = math.nan
    n_iter: int = 0
    bound: float | None = None
    weights: NDArray[np.float64] | None = None
    targets: Teaching | None = None


def single_gains(kept: Tensor, scores: Tensor, squares: Tensor) -> tuple[Tensor, Tensor]:
    """Decrease of |r|^2 by each row's leaving and by its entering; -inf where impossible.

    ``scores`` are <r, s_i> and ``squares`` |s_i|^2, all of shape (b,).
    """
    leave = torch.where(kept, 2.0 * scores - squares, -torch.inf)
    enter = torch.where(kept, -torch.inf, -2.0 * scores - squares)
    return leave, enter


def pair_gains(kept: Tensor, scores: Tensor, squares: Tensor, twice: Tensor) -> Tensor:
    """Decrease of |r|^2 by replacing row i by row j, shape (b, b); -inf where impossible.

    ``twice`` is 2 <s_i, s_j>, or -inf where row j may not replace row i.
    """
    leave, enter = single_gains(kept, scores, squares)
    return (leave[:, None] + enter[None, :]).add_(twice)


class SubsetState:
    """Kept rows of fixed number, the residual r = offset + sum of their vectors.

    Parameters
    ----------
    operator : InfluenceOperator
    start : ndarray of shape (m,)
    groups : ndarray of shape (n,)
    minima : ndarray of shape (n_groups,)
        No exchange takes a group below its minimum.
    """

    def __init__(
        self, operator: InfluenceOperator, start: Rows, groups: Rows, minima: Rows
    ) -> None:
        self.operator = operator
        self._device = operator.offset.device
        self.kept = torch.zeros(operator.n_rows, dtype=torch.bool, device=self._device)
        rows = torch.from_numpy(start).to(self._device)
        self.kept[rows] = True
        self.groups = torch.from_numpy(groups).to(self._device)
        counts = torch.bincount(self.groups[rows], minlength=len(minima))
        self._spare = counts - torch.from_numpy(minima).to(self._device)
        self.residual = operator.residual(start)
        self.start_norm = self.norm

    @property
    def norm(self) -> float:
        """|r|."""
        return float(self.residual.norm())

    def indices(self) -> Rows:
        """Kept rows, sorted."""
        kept: Rows = torch.nonzero(self.kept).reshape(-1).cpu().numpy().astype(np.int64)
        return kept

    def removable(self, ranked: Tensor) -> Tensor:
        """Of kept rows in order of preference, those that may leave all together."""
        codes = self.groups[ranked]
        return ranked[self._ranks(codes) < self._spare[codes]]

    def within_groups(self, out: Tensor, into: Tensor) -> tuple[Tensor, Tensor]:
        """Pairs of a kept row and another of its group, from both in order of preference.

        The first of either side in a group are a pair, and so are the second.
        """
        sides = []
        for rows in (out, into):
            codes = self.groups[rows]
            place, order = torch.sort(self._ranks(codes) * len(self._spare) + codes)
            sides.append((place, rows[order]))
        (mine, out), (theirs, into) = sides
        return out[torch.isin(mine, theirs)], into[torch.isin(theirs, mine)]

    def _ranks(self, codes: Tensor) -> Tensor:
        """Position of every row among those of its group, from the groups of rows in order."""
        order = torch.argsort(codes, stable=True)
        counts = torch.bincount(codes, minlength=len(self._spare))
        first = torch.cumsum(counts, 0) - counts
        rank = torch.empty_like(codes)
        positions = torch.arange(len(codes), device=codes.device)
        rank[order] = positions - first[codes[order]]
        return rank

    def exchange(self, out: Tensor, into: Tensor) -> None:
        """Replace the rows ``out`` by ``into``; what becomes of r is left to the caller."""
        self.kept[out] = False
        self.kept[into] = True
        self._spare.index_add_(0, self.groups[out], torch.full_like(out, -1))
        self._spare.index_add_(0, self.groups[into], torch.ones_like(into))

    def at_minimum(self) -> Tensor:
        """Mask of the rows whose group is at its minimum, shape (n,)."""
        return self._spare[self.groups] <= 0

    def has_spare(self, rows: Tensor) -> Tensor:
        """Whether the group of each row is above its minimum, shape (b,)."""
        return self._spare[self.groups[rows]] > 0

    def can_leave(self, row: int, successor: int) -> bool:
        """Whether ``row`` may be replaced by ``successor`` without breaking a minimum."""
        group = self.groups[row]
        return bool(group == self.groups[successor]) or bool(self._spare[group] > 0)

    def selection(self, n_iter: int) -> Selection:
        """The subset as it stands; the residual is summed afresh, free of drift."""
        indices = self.indices()
        self.residual = self.operator.residual(indices)
        return Selection(indices, self.norm, self.start_norm, n_iter)
