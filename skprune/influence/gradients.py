"""Influence vectors of rows, which are formed from gradients in every product."""

from __future__ import annotations

import torch
from torch import Tensor

from skprune.curvature import Curvature, HeadGradients
from skprune.heads.problem import HeadProblem
from skprune.influence.operator import DenseInfluence, InfluenceOperator
from skprune.influence.tilt import PullSpectrum, pull_spectrum

#: Whitened rows of a network are stored if they have at most so many numbers.
STORED_NUMBERS = 1 << 27


class GradientInfluence(InfluenceOperator):
    """s_i = (W H)^-1/2 a_i with a_i = w_i g_i + c_i v, never stored.

    Parameters
    ----------
    curvature : Curvature
        It has the gradients g_i of the rows.
    shares, pull : Tensor of shape (n,) and Tensor of shape (p,), optional
        c_i and v, a part of the objective's gradient that is removed together with a row.
    stays : Tensor of shape (p,), optional
        The part of the objective's gradient that is never removed: that of a total penalty.
    """

    def __init__(
        self,
        curvature: Curvature,
        shares: Tensor | None = None,
        pull: Tensor | None = None,
        stays: Tensor | None = None,
    ) -> None:
        self.curvature, self.gradients = curvature, curvature.gradients
        self.problem = problem = curvature.problem
        self.n_rows, self.dim = len(problem), curvature.dim
        self._weights, self._scale = problem.weights, problem.total**-0.5
        self._shares = shares
        self._pull = self._weights.new_zeros(self.dim) if pull is None else pull
        zeros = torch.zeros(self.dim, dtype=torch.float64, device=self._weights.device)
        self.offset = zeros if stays is None else self._whiten(stays).to(zeros)
        self._norms: Tensor | None = None
        self._squared_norms: Tensor | None = None

    def _whiten(self, v: Tensor) -> Tensor:
        """(W H)^-1/2 v."""
        return self.curvature.whiten(v) * self._scale

    def scores(self, direction: Tensor) -> Tensor:
        U = self.curvature.unwhiten(direction.to(self._pull.dtype)) * self._scale
        return self.scores_along(U)

    def scores_along(self, U: Tensor) -> Tensor:
        """<a_i, U> for a direction U (p,) of parameter space, shape (n,)."""
        # Scores only rank rows. Sums are exact, because the solver drives them to zero.
        scores = self._weights * self.gradients.scores(U)
        return scores if self._shares is None else scores + self._shares * (self._pull @ U)

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        total = self.gradients.sum(indices, weights)
        if self._shares is not None:
            shares = self._shares[indices]
            share = shares.sum() if weights is None else shares @ weights.to(shares)
            total = total + share * self._pull
        return self._whiten(total).to(self.offset.dtype)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return self._whiten(self.pulls(weights)).to(self.offset.dtype)

    def pulls(self, weights: Tensor) -> Tensor:
        """The sums of weights_i a_i, shape (p,) for weights (n,), (G, p) for weights (G, n)."""
        weights = weights.to(self._weights)
        total = self.gradients.weighted_sum(weights * self._weights)
        if self._shares is not None:
            total = total + (weights @ self._shares)[..., None] * self._pull
        return total

    def rows(self, indices: Tensor) -> Tensor:
        parts = [self.curvature.whiten_rows(factors) for factors in self.gradients.of(indices)]
        rows = torch.cat(parts) if len(parts) > 1 else parts[0]
        rows *= self._weights[indices, None] * self._scale
        if self._shares is not None:
            rows += self._shares[indices, None] * self._whiten(self._pull)
        return rows

    def dense(self) -> DenseInfluence:
        """The same operator with all vectors stored."""
        vectors = self._weights.new_empty(self.n_rows, self.dim)
        for positions, factors in self.gradients.each():
            vectors[positions] = self.curvature.whiten_rows(factors)
        vectors *= self._weights[:, None] * self._scale
        if self._shares is not None:
            vectors += self._shares[:, None] * self._whiten(self._pull)
        return DenseInfluence(vectors)

    def gradient_norms(self) -> Tensor:
        """g_i' H^-1 g_i of all rows, shape (n,)."""
        if self._norms is None:
            self._norms = torch.empty_like(self._weights)
            for positions, factors in self.gradients.each():
                self._norms[positions] = self.curvature.squared_norms(factors).to(self._norms)
        return self._norms

    def squared_norms(self) -> Tensor:
        if self._squared_norms is None:
            squares = self.gradient_norms() * self._weights.square()
            if self._shares is not None:
                along = self.curvature.solve(self._pull)
                cross = self._weights * self.gradients.scores(along)
                squares += self._shares * (2.0 * cross + self._shares * (self._pull @ along))
            self._squared_norms = squares.mul_(self._scale**2).clamp_min_(0.0)
        return self._squared_norms


class NetworkInfluence(GradientInfluence):
    """The vectors s_i = (W H)^-1/2 (a_i - w_i mean a) of a network.

    |sum_T s_i|^2 is the squared Newton decrement of removing T, as for a head. The mean of
    a_i = w_i (g_i + lam theta) is the gradient of the full objective per unit of weight: zero at an
    optimum, and elsewhere a drift of the training that all rows share and that does not depend on
    which are removed. Without it the vectors sum to zero.

    Parameters
    ----------
    curvature : Curvature
    """

    def __init__(self, curvature: Curvature) -> None:
        problem = curvature.problem
        # a_i - w_i mean a = w_i (g_i - mean g): the penalty's share is the same for all rows.
        mean = curvature.gradients.weighted_sum(problem.weights) / problem.total
        super().__init__(curvature, problem.weights, -mean)


def network_influence(
    curvature: Curvature, stored_numbers: int = STORED_NUMBERS
) -> InfluenceOperator:
    """The operator of a network: whitened rows in memory if n p numbers fit, else products."""
    operator = NetworkInfluence(curvature)
    fits = operator.n_rows * operator.dim <= stored_numbers
    return operator.dense() if fits else operator


class HeadInfluence(GradientInfluence):
    """Influence vectors of a linear head.

    Parameters
    ----------
    problem : HeadProblem
        The rows that may be removed.
    theta : Tensor of shape (D, K)
        The optimum (or any other point: the sums are gradients there).
    outputs : Tensor of shape (n, K)
        Phi @ theta.
    curvature : Curvature
        Curvature of these rows, or of others like them.
    shared : Tensor of shape (p,), optional
        Part of a total penalty's gradient that is shared among the rows, like a per-row penalty.
    """

    gradients: HeadGradients

    def __init__(
        self,
        problem: HeadProblem,
        theta: Tensor,
        outputs: Tensor,
        curvature: Curvature,
        shared: Tensor | None = None,
    ) -> None:
        penalty = problem.penalty
        pull = stays = (penalty.strength * penalty.mask.square() * theta).reshape(-1)
        shares = penalty.shares
        if shares is not None:
            stays = torch.zeros_like(pull)
        elif shared is not None:
            shares = torch.full_like(problem.weights, 1.0 / len(problem))
            pull, stays = shared, pull - shared
        super().__init__(curvature.on(HeadGradients(problem, outputs)), shares, pull, stays)
        self._theta, self._shared = theta, shared
        self._spectrum: PullSpectrum | None = None

    def in_metric_of(self, kept: Tensor) -> HeadInfluence:
        """The same rows, whitened by the curvature of some of them."""
        gradients = self.gradients
        curvature = type(self.curvature)(gradients.subset(kept.to(gradients.outputs.device)))
        return self._with(curvature, self._shared)

    def for_size(self, size: int) -> HeadInfluence:
        """The same rows with that part of a total penalty's gradient which ``size`` rows match.

        It is for choosing rows only, see ``tilt.py``; predictions always use the whole gradient.
        """
        penalty = self.problem.penalty
        if penalty.shares is not None:
            return self
        mask = penalty.mask.square().expand_as(self._theta).reshape(-1)
        if self._spectrum is None:
            pull = penalty.strength * mask * self._theta.reshape(-1)
            self._spectrum = pull_spectrum(self.curvature, pull, mask)
        dear = self._spectrum.too_dear(size / self.n_rows, self.problem.total)
        if dear is None:
            return self
        shared = self.curvature.penalty * mask * self.curvature.unwhiten(dear)
        return self._with(self.curvature, shared)

    def _with(self, curvature: Curvature, shared: Tensor | None) -> HeadInfluence:
        return HeadInfluence(self.problem, self._theta, self.gradients.outputs, curvature, shared)

    def leverages(self) -> Tensor:
        """Share of each row in the curvature along its own gradient, shape (n,).

        w phi' (W H)^-1 phi h for one output, as in least squares; with several outputs the product
        of both factors along e_i, (e_i' h_i e_i) w_i g_i' (W H)^-1 g_i / |e_i|^4.
        """
        loss, targets = self.problem.loss, self.problem.targets
        P = loss.mean(self.gradients.outputs)
        e = P - targets
        energy = (e * loss.hessian_product(P, e)).sum(1)
        scale = e.square().sum(1).square()
        weights = self._weights * self._scale**2
        leverages = weights * energy * self.gradient_norms() / scale
        return torch.where(scale * self._weights > torch.finfo(scale.dtype).tiny, leverages, 0.0)
