"""The influence operator: products with n influence vectors, which need not be stored.

The vector of row i is s_i = (W H)^-1/2 a_i, its gradient (with its share of a per-row penalty)
whitened by the curvature H of the mean loss, of which W, the sum of the weights, makes the sum.
In this space |sum_T s_i|^2 = r' (W H)^-1 r is the squared Newton decrement of removing T: to second
order, twice the loss that the removal costs.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.utils.chunks import row_chunks


class InfluenceOperator(ABC):
    """The interface of subset solvers to the problem: n vectors s_i of length ``dim``.

    ``offset`` (dim,) is a constant part of every sum: the gradient of a total penalty, which is
    there whichever rows are kept.
    """

    n_rows: int
    dim: int
    offset: Tensor

    @abstractmethod
    def scores(self, direction: Tensor) -> Tensor:
        """The products <s_i, direction> for all rows, shape (n,)."""

    @abstractmethod
    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        """Sum of s_i over the given rows, each times its weight, shape (dim,); no offset.

        ``weights`` are those of the given rows, of the shape of ``indices``.
        """

    @abstractmethod
    def weighted_sum(self, weights: Tensor) -> Tensor:
        """The sum of weights_i s_i for weights (n,), without the offset, shape (dim,)."""

    @abstractmethod
    def rows(self, indices: Tensor) -> Tensor:
        """The vectors of a few rows, shape (b, dim)."""

    @abstractmethod
    def squared_norms(self) -> Tensor:
        """The squared norms |s_i|^2 of all rows, shape (n,)."""

    def products(self, indices: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        """The products of a few rows with each other and with ``direction``, (b, b) and (b,).

        In the precision of ``direction``.
        """
        rows = self.rows(indices).to(direction)
        return rows @ rows.T, rows @ direction

    def for_size(self, size: int) -> InfluenceOperator:
        """The operator by which ``size`` rows are chosen."""
        return self

    def in_metric_of(self, kept: Tensor) -> InfluenceOperator | None:
        """The same rows in the metric of some of them; None if there is no other metric."""
        return None

    def residual(self, kept: NDArray[np.int64]) -> Tensor:
        """The offset plus the sum of s_i over the kept rows, shape (dim,)."""
        return self.offset + self.sum(torch.from_numpy(kept).to(self.offset.device))

    def typical_norm(self) -> float:
        """Root mean square of |s_i|, the unit in which norms are judged."""
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

    Only the result of ``rows`` is dense. Sums are accumulated in float64.
    """

    def __init__(self, vectors: sp.csr_array) -> None:
        self.vectors = vectors
        self.n_rows, self.dim = vectors.shape
        self.offset = torch.zeros(self.dim, dtype=torch.float64)
        squares = np.square(vectors.data), vectors.indices, vectors.indptr
        self._squared_norms = torch.from_numpy(sp.csr_array(squares, vectors.shape).sum(axis=1))

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

    def products(self, indices: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        rows = self.vectors[indices.numpy()].astype(np.float64)
        products = (rows @ rows.T).toarray(), rows @ direction.double().numpy()
        gram, scores = (torch.from_numpy(product).to(direction) for product in products)
        return gram, scores

    def squared_norms(self) -> Tensor:
        return self._squared_norms


class RestrictedInfluence(InfluenceOperator):
    """Some rows of another operator, numbered anew, with the same offset."""

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

    def products(self, indices: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        return self._operator.products(self._rows[indices], direction)

    def squared_norms(self) -> Tensor:
        return self._operator.squared_norms()[self._rows]
