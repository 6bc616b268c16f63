"""The influence operator: n influence vectors that multiply, without ever being stored.

The vector of row i is s_i = L^-1 a_i, its gradient (with its share of a per-row penalty)
whitened by the curvature H = L L'. In this space |sum_T s_i|^2 = r' H^-1 r is the squared
Newton decrement of removing T: to second order, twice the loss that the removal costs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.curvature import Curvature
from skprune.heads.problem import HeadProblem
from skprune.influence.tilt import PullSpectrum, pull_spectrum
from skprune.utils.chunks import row_chunks


class InfluenceOperator(ABC):
    """All that a subset solver may know of the problem: n vectors s_i of length ``dim``.

    ``offset`` (dim,) is a constant part of every sum: the gradient of a total penalty, which
    stays when rows go.
    """

    n_rows: int
    dim: int
    offset: Tensor

    @abstractmethod
    def scores(self, direction: Tensor) -> Tensor:
        """<s_i, direction> for all rows, shape (n,)."""

    @abstractmethod
    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        """Sum of s_i over the given rows, each times its weight, shape (dim,); no offset.

        ``weights`` are those of the given rows, of the shape of ``indices``.
        """

    @abstractmethod
    def weighted_sum(self, weights: Tensor) -> Tensor:
        """sum_i weights_i s_i for weights (n,), without the offset, shape (dim,)."""

    @abstractmethod
    def rows(self, indices: Tensor) -> Tensor:
        """The vectors of a few rows, shape (b, dim)."""

    @abstractmethod
    def squared_norms(self) -> Tensor:
        """|s_i|^2 for all rows, shape (n,)."""

    def for_size(self, size: int) -> InfluenceOperator:
        """The operator by which ``size`` rows are chosen."""
        return self

    def in_metric_of(self, kept: Tensor) -> InfluenceOperator | None:
        """The same rows in the metric of some of them; None if there is no other metric."""
        return None

    def residual(self, kept: NDArray[np.int64]) -> Tensor:
        """Offset + sum of s_i over the kept rows, shape (dim,)."""
        return self.offset + self.sum(torch.from_numpy(kept).to(self.offset.device))

    def typical_norm(self) -> float:
        """Root mean square of |s_i|: the unit that norms are judged by."""
        return math.sqrt(float(self.squared_norms().mean(dtype=torch.float64)))


class DenseInfluence(InfluenceOperator):
    """Influence vectors that are given as an (n, dim) tensor of floats, on any device.

    Sums are accumulated in float64, whatever the vectors' own precision; no temporary is
    larger than ``CHUNK_NUMBERS``, so that the vectors may fill most of the memory or lie in a
    memory map.
    """

    def __init__(self, vectors: Tensor, offset: Tensor | None = None) -> None:
        self.vectors = vectors
        self.n_rows, self.dim = vectors.shape
        zeros = torch.zeros(self.dim, dtype=torch.float64, device=vectors.device)
        self.offset = zeros if offset is None else offset.to(zeros)
        self._squared_norms: Tensor | None = None

    def scores(self, direction: Tensor) -> Tensor:
        return self.vectors @ direction.to(self.vectors.dtype)

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        total = torch.zeros_like(self.offset)
        for part in row_chunks(len(indices), self.dim):
            vectors = self.vectors[indices[part]]
            if weights is None:
                total += vectors.sum(0, dtype=total.dtype)
            else:
                total += vectors.T.to(total.dtype) @ weights[part].to(total)
        return total

    def weighted_sum(self, weights: Tensor) -> Tensor:
        total = torch.zeros_like(self.offset)
        weights = weights.to(total)
        for part in row_chunks(self.n_rows, self.dim):
            total += self.vectors[part].T.to(total.dtype) @ weights[part]
        return total

    def rows(self, indices: Tensor) -> Tensor:
        return self.vectors[indices]

    def squared_norms(self) -> Tensor:
        if self._squared_norms is None:
            norms = [
                torch.linalg.vector_norm(self.vectors[p], dim=1)
                for p in row_chunks(self.n_rows, self.dim)
            ]
            self._squared_norms = torch.cat(norms).square_()
        return self._squared_norms


class SparseInfluence(InfluenceOperator):
    """Influence vectors that are given as a scipy sparse matrix (n, dim) of floats.

    Only what ``rows`` is asked for becomes dense. Sums are accumulated in float64.
    """

    def __init__(self, vectors: sp.csr_array) -> None:
        self.vectors = vectors
        self.n_rows, self.dim = vectors.shape
        self.offset = torch.zeros(self.dim, dtype=torch.float64)
        self._squared_norms = torch.from_numpy(vectors.multiply(vectors).sum(axis=1))

    def scores(self, direction: Tensor) -> Tensor:
        return torch.from_numpy(self.vectors @ direction.numpy().astype(self.vectors.dtype))

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        # scipy's own sum stays in float32.
        factors = np.ones(len(indices)) if weights is None else weights.double().numpy()
        return torch.from_numpy(self.vectors[indices.numpy()].T @ factors)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return torch.from_numpy(self.vectors.T @ weights.double().numpy())

    def rows(self, indices: Tensor) -> Tensor:
        return torch.from_numpy(self.vectors[indices.numpy()].toarray())

    def squared_norms(self) -> Tensor:
        return self._squared_norms


class RestrictedInfluence(InfluenceOperator):
    """Some rows of another operator, under new numbers; the offset stays."""

    def __init__(self, operator: InfluenceOperator, rows: Tensor) -> None:
        self._operator, self._rows = operator, rows
        self.n_rows, self.dim, self.offset = len(rows), operator.dim, operator.offset

    def scores(self, direction: Tensor) -> Tensor:
        return self._operator.scores(direction)[self._rows]

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        return self._operator.sum(self._rows[indices], weights)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        every = weights.new_zeros(self._operator.n_rows)
        every[self._rows] = weights
        return self._operator.weighted_sum(every)

    def rows(self, indices: Tensor) -> Tensor:
        return self._operator.rows(self._rows[indices])

    def squared_norms(self) -> Tensor:
        return self._operator.squared_norms()[self._rows]


class HeadInfluence(InfluenceOperator):
    """Influence vectors of a linear head, kept as rank-one factors phi_i (x) e_i.

    Parameters
    ----------
    problem : HeadProblem
        The rows that may be removed.
    theta : Tensor of shape (D, K)
        The optimum (or any other point: the sums are gradients there).
    outputs : Tensor of shape (n, K)
        Phi @ theta.
    curvature : Curvature
    shared : Tensor of shape (D, K), optional
        Part of a total penalty's pull that goes with the rows, as that of a per-row penalty does.
    """

    def __init__(
        self,
        problem: HeadProblem,
        theta: Tensor,
        outputs: Tensor,
        curvature: Curvature,
        shared: Tensor | None = None,
    ) -> None:
        self.n_rows, self.dim = len(problem), curvature.dim
        self.curvature = curvature
        self.outputs = outputs
        self._problem, self._theta = problem, theta
        self._features = problem.features
        self._E = problem.loss.residual(outputs, problem.targets) * problem.weights[:, None]
        penalty = problem.penalty
        pull = penalty.strength * penalty.mask.square() * theta
        self._shares, self._pull, stays = penalty.shares, pull, torch.zeros_like(pull)
        if penalty.shares is None:
            stays = pull
            if shared is not None:
                self._shares = torch.full_like(problem.weights, 1.0 / self.n_rows)
                self._pull, stays = shared, pull - shared
        self.offset = curvature.whiten(stays)
        self._shared = shared
        self._spectrum: PullSpectrum | None = None
        self._data_squares: Tensor | None = None
        self._squared_norms: Tensor | None = None

    def in_metric_of(self, kept: Tensor) -> HeadInfluence:
        """The same rows, whitened by the curvature of some of them."""
        kept = kept.to(self.outputs.device)
        curvature = type(self.curvature)(self._problem.subset(kept), self.outputs[kept])
        return HeadInfluence(self._problem, self._theta, self.outputs, curvature, self._shared)

    def for_size(self, size: int) -> HeadInfluence:
        """The same rows, of which ``size`` buy as much of a total penalty's pull as it is worth.

        For choosing rows only: what keeping them does to the head is told by all of the pull.
        """
        penalty = self._problem.penalty
        if penalty.shares is not None:
            return self
        ridge = penalty.strength * penalty.mask.square()
        if self._spectrum is None:
            self._spectrum = pull_spectrum(self.curvature, ridge * self._theta, ridge)
        dear = self._spectrum.too_dear(size / self.n_rows)
        if dear is None:
            return self
        shared = ridge * self.curvature.unwhiten(dear)
        return HeadInfluence(self._problem, self._theta, self.outputs, self.curvature, shared)

    def scores(self, direction: Tensor) -> Tensor:
        return self.scores_along(self.curvature.unwhiten(direction))

    def scores_along(self, U: Tensor) -> Tensor:
        """<a_i, U> for a direction U (D, K) of parameter space, shape (n,)."""
        scores = self._along(U)
        if self._shares is not None:
            scores.add_(self._shares, alpha=float((self._pull * U).sum()))
        return scores

    def _along(self, U: Tensor) -> Tensor:
        """<phi_i (x) e_i, U> for all rows, without the share of a per-row penalty."""
        # Scores rank rows; sums, which are driven to nothing, are exact.
        Z = self._features.forward(U.to(self._features.dtype))
        return (self._E * Z).sum(1)

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        E = self._E[indices]
        shares = None if self._shares is None else self._shares[indices]
        if weights is not None:
            E = E * weights[:, None].to(E)
            shares = None if shares is None else shares * weights.to(shares)
        total = self._features.take(indices).adjoint(E)
        if shares is not None:
            total += float(shares.sum()) * self._pull
        return self.curvature.whiten(total)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        total = self._features.adjoint(self._E * weights[:, None])
        if self._shares is not None:
            total += float(self._shares @ weights) * self._pull
        return self.curvature.whiten(total)

    def rows(self, indices: Tensor) -> Tensor:
        rows = self.curvature.whiten_rows(self._features.rows(indices), self._E[indices])
        if self._shares is not None:
            rows += self._shares[indices, None] * self.curvature.whiten(self._pull)
        return rows

    def squared_norms(self) -> Tensor:
        if self._squared_norms is None:
            squares = self._data_norms().clone()
            if self._shares is not None:
                pull = self.curvature.solve(self._pull)
                along = self._along(pull)
                own = float((self._pull * pull).sum())
                squares += self._shares * (2.0 * along + own * self._shares)
            self._squared_norms = squares.clamp_min_(0.0)
        return self._squared_norms

    def _data_norms(self) -> Tensor:
        """|L^-1 (phi_i (x) e_i)|^2 for all rows: without the share of a per-row penalty."""
        if self._data_squares is None:
            self._data_squares = self.curvature.squared_norms(self._features, self._E)
        return self._data_squares

    def leverages(self) -> Tensor:
        """Share of each row in the curvature along its own gradient, shape (n,).

        w phi' H^-1 phi h for one output, as in least squares; with several outputs the product
        of both factors along e_i, (e_i' h_i e_i) |L^-1 g_i|^2 / (w_i |e_i|^4).
        """
        loss, targets = self._problem.loss, self._problem.targets
        P = loss.mean(self.outputs)
        e = P - targets
        energy = (e * loss.hessian_product(P, e)).sum(1)
        scale = self._problem.weights * e.square().sum(1).square()
        leverages = energy * self._data_norms() / scale
        return torch.where(scale > torch.finfo(scale.dtype).tiny, leverages, 0.0)
