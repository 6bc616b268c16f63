"""The feature matrix of a head: what multiplies, dense or sparse, and nothing else.

The matrix includes the column of ones of the intercept. Rows are never copied to another
form: a sparse matrix stays sparse, a dense one stays one block of memory.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator

import numpy as np
import scipy.sparse as sp
import torch
from torch import Tensor

#: Numbers held at once by a temporary copy of rows (64 MiB of float64).
CHUNK_NUMBERS = 2**23


def row_chunks(n: int, width: int) -> Iterator[slice]:
    """Slices over n rows, so that (rows x width) stays within ``CHUNK_NUMBERS``."""
    size = max(1, CHUNK_NUMBERS // max(1, width))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))


class Features(ABC):
    """An (n, D) matrix Phi of float64 that multiplies from both sides."""

    shape: tuple[int, int]

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def forward(self, theta: Tensor) -> Tensor:
        """Phi @ theta for theta (D, K), shape (n, K)."""

    @abstractmethod
    def adjoint(self, E: Tensor) -> Tensor:
        """Phi' @ E for E (n, K), shape (D, K)."""

    @abstractmethod
    def take(self, indices: Tensor) -> Features:
        """The same kind of matrix with the given rows only."""

    @abstractmethod
    def rows(self, indices: Tensor | slice) -> Tensor:
        """The given rows as a dense (b, D) tensor; for a few rows at a time."""

    @abstractmethod
    def gram(self, weights: Tensor) -> Tensor:
        """Phi' diag(weights) Phi for weights (n,), shape (D, D)."""

    @abstractmethod
    def adjoint_squared(self, E: Tensor) -> Tensor:
        """(Phi o Phi)' @ E with elementwise squares, for E (n, K), shape (D, K)."""

    @abstractmethod
    def forward_squared(self, theta: Tensor) -> Tensor:
        """(Phi o Phi) @ theta with elementwise squares, for theta (D, K), shape (n, K)."""

    def chunks(self, width: int | None = None) -> Iterator[slice]:
        """Slices over the rows, so that (rows x width) stays within ``CHUNK_NUMBERS``."""
        return row_chunks(len(self), width or self.shape[1])


class DenseFeatures(Features):
    """A dense (n, D) tensor, on any device."""

    def __init__(self, matrix: Tensor) -> None:
        self.matrix = matrix
        self.shape = (matrix.shape[0], matrix.shape[1])

    def forward(self, theta: Tensor) -> Tensor:
        return self.matrix @ theta

    def adjoint(self, E: Tensor) -> Tensor:
        return self.matrix.T @ E

    def take(self, indices: Tensor) -> DenseFeatures:
        return DenseFeatures(self.matrix[indices])

    def rows(self, indices: Tensor | slice) -> Tensor:
        return self.matrix[indices]

    def gram(self, weights: Tensor) -> Tensor:
        total = self.matrix.new_zeros(self.shape[1], self.shape[1])
        for part in self.chunks():
            block = self.matrix[part]
            total.addmm_(block.T, block * weights[part, None])
        return total

    def adjoint_squared(self, E: Tensor) -> Tensor:
        total = self.matrix.new_zeros(self.shape[1], E.shape[1])
        for part in self.chunks():
            total.addmm_(self.matrix[part].square().T, E[part])
        return total

    def forward_squared(self, theta: Tensor) -> Tensor:
        return torch.cat([self.matrix[part].square() @ theta for part in self.chunks()])


class SparseFeatures(Features):
    """A scipy CSR matrix; products come back as dense CPU tensors."""

    def __init__(self, matrix: sp.csr_matrix) -> None:
        self.matrix = matrix
        self.shape = (matrix.shape[0], matrix.shape[1])

    def forward(self, theta: Tensor) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.matrix @ theta.numpy()))

    def adjoint(self, E: Tensor) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.matrix.T @ E.numpy()))

    def take(self, indices: Tensor) -> SparseFeatures:
        return SparseFeatures(self.matrix[indices.numpy()])

    def rows(self, indices: Tensor | slice) -> Tensor:
        index = indices if isinstance(indices, slice) else indices.numpy()
        return torch.from_numpy(self.matrix[index].toarray())

    def gram(self, weights: Tensor) -> Tensor:
        weighted = self.matrix.multiply(weights.numpy()[:, None]).tocsr()
        return torch.from_numpy((self.matrix.T @ weighted).toarray())

    def adjoint_squared(self, E: Tensor) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.matrix.power(2).T @ E.numpy()))

    def forward_squared(self, theta: Tensor) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(self.matrix.power(2) @ theta.numpy()))
