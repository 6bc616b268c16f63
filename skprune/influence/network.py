"""The influence vectors of a network's rows, as an operator that subset solvers multiply with."""

from __future__ import annotations

import torch
from torch import Tensor

from skprune.curvature.layers.base import WhiteningCurvature
from skprune.influence.operator import DenseInfluence, InfluenceOperator

#: Whitened rows are stored up to this many numbers.
STORED_NUMBERS = 1 << 27


class NetworkInfluence(InfluenceOperator):
    """s_i = (W H)^-1/2 (a_i - w_i mean a), never stored.

    |sum_T s_i|^2 is the squared Newton decrement of removing T, as for a head. The mean of
    a_i = w_i (g_i + lam theta) is the gradient of the full objective per unit of weight: zero at an
    optimum, and elsewhere a drift of the training that all rows share, whether or not some are
    removed. Without it the vectors sum to zero.

    Parameters
    ----------
    curvature : WhiteningCurvature
    """

    def __init__(self, curvature: WhiteningCurvature) -> None:
        problem = curvature.problem
        self.curvature, self.gradients = curvature, curvature.gradients
        self.n_rows, self.dim = len(problem), problem.dim
        self._weights, self._scale = problem.weights, problem.total**-0.5
        # a_i - w_i mean a = w_i (g_i - mean g): the penalty's share is the same for all rows.
        self._shift = -self.gradients.weighted_sum(problem.weights) / problem.total
        self.offset = torch.zeros(self.dim, dtype=torch.float64, device=problem.theta.device)
        self._squared_norms: Tensor | None = None

    def scores(self, direction: Tensor) -> Tensor:
        U = self.curvature.unwhiten(direction.to(self._shift.dtype)) * self._scale
        return self._weights * (self.gradients.scores(U) + self._shift @ U)

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        if weights is None:
            return self._vector(self.gradients.sum(indices), self._weights[indices])
        every = torch.zeros_like(self._weights)
        every[indices] = weights.to(every)
        return self.weighted_sum(every)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        c = weights.to(self._weights) * self._weights
        return self._vector(self.gradients.weighted_sum(c), c)

    def _vector(self, total: Tensor, weights: Tensor) -> Tensor:
        """The sum of s_i where that of c_i g_i is ``total``, for weights c_i."""
        centred = total + weights.sum() * self._shift
        return (self.curvature.whiten(centred) * self._scale).to(self.offset.dtype)

    def rows(self, indices: Tensor) -> Tensor:
        problem, parts = self.gradients.problem, []
        for batch in problem.batches(indices):
            parts.append(self.curvature.whiten_rows(self.gradients.factors(batch)))
        rows = torch.cat(parts) + self.curvature.whiten(self._shift)
        return rows * (self._weights[indices, None] * self._scale)

    def squared_norms(self) -> Tensor:
        if self._squared_norms is None:
            own = torch.empty_like(self._weights)
            for positions, factors in self.gradients.each():
                own[positions] = self.curvature.squared_norms(factors)
            along = self.curvature.solve(self._shift)
            own += 2.0 * self.gradients.scores(along) + self._shift @ along
            scale = (self._weights * self._scale).square()
            self._squared_norms = (own * scale).clamp_min_(0.0)
        return self._squared_norms


def network_influence(
    curvature: WhiteningCurvature, stored_numbers: int = STORED_NUMBERS
) -> InfluenceOperator:
    """The operator of ``curvature``: whitened rows in memory if they fit, else products.

    Parameters
    ----------
    curvature : WhiteningCurvature
    stored_numbers : int
        Bound on n times p.
    """
    operator = NetworkInfluence(curvature)
    if operator.n_rows * operator.dim > stored_numbers:
        return operator
    vectors = operator.gradients.problem.theta.new_empty(operator.n_rows, operator.dim)
    shift = curvature.whiten(operator._shift)
    for positions, factors in operator.gradients.each():
        vectors[positions] = curvature.whiten_rows(factors) + shift
    vectors *= operator._weights[:, None] * operator._scale
    return DenseInfluence(vectors)
