"""The operator of weighted rows, whose weighted sum should equal the sum over all rows."""

from __future__ import annotations

import torch
from torch import Tensor

from skprune.influence.operator import InfluenceOperator


class WeightedInfluence(InfluenceOperator):
    """Vectors w_i s_i, so that the residual of kept rows K is sum_K w_i s_i - sum_all s_i.

    If w_i is the inverse of the probability that row i is kept, the expected residual is zero.

    Parameters
    ----------
    operator : InfluenceOperator
        Its own offset cancels, because the weighted rows represent all rows.
    weights : Tensor of shape (n,)
    """

    def __init__(self, operator: InfluenceOperator, weights: Tensor) -> None:
        self._operator = operator
        self.n_rows, self.dim = operator.n_rows, operator.dim
        self._weights = weights.to(operator.offset)
        self.offset = -operator.weighted_sum(torch.ones_like(self._weights))

    def scores(self, direction: Tensor) -> Tensor:
        scores = self._operator.scores(direction)
        return scores * self._weights.to(scores)

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        own = self._weights[indices]
        return self._operator.sum(indices, own if weights is None else own * weights.to(own))

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return self._operator.weighted_sum(self._weights * weights.to(self._weights))

    def rows(self, indices: Tensor) -> Tensor:
        rows = self._operator.rows(indices)
        return rows * self._weights[indices, None].to(rows)

    def products(self, indices: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        gram, scores = self._operator.products(indices, direction)
        own = self._weights[indices].to(scores)
        return gram * own * own[:, None], scores * own

    def squared_norms(self) -> Tensor:
        squares = self._operator.squared_norms()
        return squares * self._weights.square().to(squares)
