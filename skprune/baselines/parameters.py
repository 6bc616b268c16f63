"""Influence vectors in parameter space, as they are published."""

from __future__ import annotations

import torch
from torch import Tensor

from skprune.influence.gradients import GradientInfluence
from skprune.influence.operator import InfluenceOperator
from skprune.utils.chunks import row_chunks


class ParameterInfluence(InfluenceOperator):
    """The vectors (W H)^-1 a_i of a head: the change of its parameters if row i is removed.

    With (W H)^-1 = L^-T L^-1 they are L^-T s_i, where s_i are the whitened vectors.

    Parameters
    ----------
    whitened : GradientInfluence
        The operator of the vectors s_i.
    """

    def __init__(self, whitened: GradientInfluence) -> None:
        self.whitened = whitened
        self.n_rows, self.dim = whitened.n_rows, whitened.dim
        self._scale = whitened.problem.total**-0.5
        self.offset = self._unwhiten(whitened.offset)
        self._squared_norms: Tensor | None = None

    def _unwhiten(self, vectors: Tensor) -> Tensor:
        return self.whitened.curvature.unwhiten(vectors) * self._scale

    def scores(self, direction: Tensor) -> Tensor:
        return self.whitened.scores(self.whitened.curvature.whiten(direction) * self._scale)

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        return self._unwhiten(self.whitened.sum(indices, weights))

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return self._unwhiten(self.whitened.weighted_sum(weights))

    def rows(self, indices: Tensor) -> Tensor:
        return self._unwhiten(self.whitened.rows(indices))

    def squared_norms(self) -> Tensor:
        if self._squared_norms is None:
            every = torch.arange(self.n_rows, device=self.offset.device)
            parts = (self.rows(every[part]) for part in row_chunks(self.n_rows, self.dim))
            self._squared_norms = torch.cat([rows.square().sum(1) for rows in parts])
        return self._squared_norms
