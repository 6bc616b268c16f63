"""K-FAC: one Kronecker product a layer (Martens and Grosse, 2015; Grosse and Martens, 2016)."""

from __future__ import annotations

import torch
from torch import Tensor

from skprune.network.curvature.blocks import (
    Basis,
    BlockCurvature,
    add_squares,
    eigenvectors,
    has_basis,
)
from skprune.network.factors import Factor, MatrixFactor

#: Gradients are kept between the two passes over the rows up to this many numbers.
KEPT_NUMBERS = 1 << 27


class KFACCurvature(BlockCurvature):
    """M ~ B (x) A in every linear layer and convolution, the exact diagonal elsewhere.

    A = sum_i w_i mean_t x_it x_it' / W and B = sum_i w_i sum_t J_it' h_i J_it / W, with J_it the
    Jacobian of the network's outputs in those of the layer at position t, and h_i the Hessian of
    the loss in the network's outputs (exact up to 64 outputs, random beyond). Exact for a linear
    model with one output or with the squared error.

    Cost: one pass with K backward passes a batch, and two eigendecompositions a layer.
    """

    name = "kfac"
    how = "K-FAC"

    def _find(self) -> None:
        self._kept: list[list[list[Factor]]] | None = []
        blocks, problem = self.gradients.blocks, self.problem
        A: dict[int, Tensor] = {}
        B: dict[int, Tensor] = {}
        like = problem.theta
        diagonal = [like.new_zeros(0 if has_basis(b) else b.size) for b in blocks]
        numbers = 0
        for batch, pulls in self._pulls():
            for k, block in enumerate(blocks):
                if not has_basis(block):
                    for factors in pulls:
                        add_squares(diagonal[k], factors[k])
                    continue
                first = as_matrix(pulls[0][k])
                t = max(1, first.X.shape[1])
                spread = first.X * (batch.weights / t)[:, None, None, None]
                outer_x = torch.einsum("btgc,btgd->gcd", spread, first.X)
                E = torch.cat([as_matrix(factors[k]).E for factors in pulls])
                outer_e = torch.einsum("btgo,btgp->gop", E, E)
                A[k] = outer_x + A[k] if k in A else outer_x
                B[k] = outer_e + B[k] if k in B else outer_e
            numbers += sum(f.numbers() for factors in pulls for f in factors)
            if self._kept is not None:
                self._kept.append(pulls)
                if numbers / (int(batch.positions[-1]) + 1) * len(problem) > KEPT_NUMBERS:
                    self._kept = None
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
