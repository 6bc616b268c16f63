"""K-FAC: one Kronecker product a layer (Martens and Grosse, 2015; Grosse and Martens, 2016)."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from skprune.curvature.layers.blocks import (
    Basis,
    BlockCurvature,
    add_squares,
    eigenvectors,
    has_basis,
)
from skprune.network.factors import Factor, MatrixFactor
from skprune.network.problem import Batch

#: Gradients are kept between the two passes over the rows up to this many numbers.
KEPT_NUMBERS = 1 << 27


class KFACCurvature(BlockCurvature):
    """M ~ B (x) A in every linear layer and convolution, the exact diagonal elsewhere.

    A = sum_i w_i mean_t x_it x_it' / W and B = sum_i w_i sum_t J_it' h_i J_it / W, with J_it the
    Jacobian of the network's outputs in those of the layer at position t, and h_i the Hessian of
    the loss in the network's outputs. Exact for a linear model with one output or with the squared
    error. Of more than 64 outputs, or more than 32,768 outputs of all rows together, random
    combinations stand for them.

    Cost: one pass with up to K backward passes a batch, and two eigendecompositions a layer.
    """

    name = "kfac"
    how = "K-FAC"

    def _find(self) -> None:
        self._kept: list[list[list[Factor]]] | None = []
        self._kept_numbers = 0
        blocks, like, problem = self.gradients.blocks, self.problem.theta, self.problem
        A: dict[int, Tensor] = {}
        B: dict[int, Tensor] = {}
        diagonal: dict[int, Tensor] = {}
        for k, block in enumerate(blocks):
            if block.shape is not None and has_basis(block):
                groups, outputs, inputs = block.shape
                A[k] = like.new_zeros(groups, inputs, inputs)
                B[k] = like.new_zeros(groups, outputs, outputs)
            else:
                diagonal[k] = like.new_zeros(block.size)
        for batch, columns in self._pulls():
            self._add(batch, columns, A, B, diagonal)
        self._bases, self._eigenvalues = [], []
        for k, block in enumerate(blocks):
            if k not in A:
                self._bases.append(None)
                self._eigenvalues.append(diagonal[k] / problem.total)
                continue
            U_X, U_E = eigenvectors(A[k], block, like), eigenvectors(B[k], block, like)
            self._bases.append(Basis(U_X, U_E))
            self._eigenvalues.append(self._in_basis(A[k], B[k], U_X, U_E))
        self._correct()
        self._kept = None

    def _add(
        self,
        batch: Batch,
        columns: Iterator[list[Factor]],
        A: dict[int, Tensor],
        B: dict[int, Tensor],
        diagonal: dict[int, Tensor],
    ) -> None:
        """Add the part of a batch, in a frame that is gone before the next batch needs memory."""
        for column, factors in enumerate(columns):
            for k, factor in enumerate(factors):
                if k in diagonal:
                    add_squares(diagonal[k], factor)
                    continue
                X, E = as_matrix(factor).X, as_matrix(factor).E
                if column == 0:
                    shares = (batch.weights / max(1, X.shape[1]))[:, None, None, None]
                    A[k] += torch.einsum("btgc,btgd->gcd", X * shares, X)
                B[k] += torch.einsum("btgo,btgp->gop", E, E)
            if self._kept is not None:
                self._keep(batch, column, factors)

    def _keep(self, batch: Batch, column: int, factors: list[Factor]) -> None:
        assert self._kept is not None
        if column == 0:
            self._kept.append([])
        self._kept[-1].append(factors)
        self._kept_numbers += sum(factor.numbers() for factor in factors)
        rows = int(batch.positions[-1]) + 1
        if self._kept_numbers / rows * len(self.problem) > KEPT_NUMBERS:
            self._kept = None

    def _in_basis(self, A: Tensor, B: Tensor, U_X: Tensor, U_E: Tensor) -> Tensor:
        """Eigenvalues of B (x) A: all products of those of the two factors."""
        a = torch.einsum("gdk,gde,gek->gk", U_X, A / self.problem.total, U_X).clamp_min(0.0)
        b = torch.einsum("gok,gop,gpk->gk", U_E, B / self.problem.total, U_E).clamp_min(0.0)
        return (b[:, :, None] * a[:, None, :]).reshape(-1)

    def _correct(self) -> None:
        """Nothing: EK-FAC replaces the eigenvalues here."""


def as_matrix(factor: Factor) -> MatrixFactor:
    """The factor of a block that is a matrix."""
    assert isinstance(factor, MatrixFactor)
    return factor
