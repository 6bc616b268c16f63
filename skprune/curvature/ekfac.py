"""EK-FAC for a head: a Kronecker eigenbasis with the exact diagonal of the Hessian in it."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from skprune.curvature.base import Curvature, damp
from skprune.heads.features import Features
from skprune.heads.problem import HeadProblem


class EKFACCurvature(Curvature):
    """H ~ (U_B (x) U_A) diag(Lambda) (U_B (x) U_A)' (George et al., 2018).

    U_A are the eigenvectors of A = sum_i w_i h_i (K, K), U_B those of
    B = sum_i w_i tr(h_i) phi_i phi_i' + penalty (D, D), and Lambda the diagonal of the exact
    Hessian in that basis. With one output, and for squared error, this is the exact Hessian.

    Cost: n D (D + K) products once, D K (D + K) a solve, D^2 numbers of memory.

    Parameters
    ----------
    problem : HeadProblem
    outputs : Tensor of shape (n, K)
        Phi @ theta at the point where the Hessian is taken.
    """

    def __init__(self, problem: HeadProblem, outputs: Tensor) -> None:
        D, K = problem.theta_shape
        self.dim = D * K
        weights, loss, features = problem.weights, problem.loss, problem.features
        P = loss.mean(outputs)
        identity = torch.eye(K, dtype=outputs.dtype, device=outputs.device)
        A, trace = torch.zeros_like(identity), torch.zeros_like(weights)
        for k, row in enumerate(identity):
            column = loss.hessian_product(P, row.expand_as(P))
            A[k] = weights @ column
            trace += weights * column[:, k]
        penalty = problem.penalty.total() * problem.penalty.mask.square().reshape(-1)
        B = features.gram((trace / K).to(features.dtype)).to(penalty) + torch.diag(penalty)
        self._U_A: Tensor = torch.linalg.eigh(A).eigenvectors
        self._U_B: Tensor = torch.linalg.eigh(B).eigenvectors

        along = loss.hessian_along(P, self._U_A) * weights[:, None]
        diagonal = outputs.new_zeros(D, K)
        for part, squares in self._rotated_squares(features):
            diagonal += squares.T @ along[part].to(squares)
        diagonal += (self._U_B.square().T @ penalty)[:, None]
        self._root = damp(diagonal).sqrt()

    def nbytes(self) -> int:
        return self._U_A.nbytes + self._U_B.nbytes + self._root.nbytes

    def solve(self, V: Tensor) -> Tensor:
        rotated = self._U_B.T @ V @ self._U_A
        return self._U_B @ (rotated / self._root.square()) @ self._U_A.T

    def whiten(self, V: Tensor) -> Tensor:
        return (self._U_B.T @ V @ self._U_A / self._root).reshape(-1)

    def unwhiten(self, d: Tensor) -> Tensor:
        return self._U_B @ (d.reshape(self._root.shape) / self._root) @ self._U_A.T

    def whiten_rows(self, Phi: Tensor, E: Tensor) -> Tensor:
        outer = (Phi @ self._U_B)[:, :, None] * (E @ self._U_A)[:, None, :]
        return (outer / self._root).reshape(len(E), self.dim)

    def squared_norms(self, features: Features, E: Tensor) -> Tensor:
        # Row by row a D x K sum of products of squares: no row is ever whitened.
        inverse, energy = self._root.square().reciprocal(), (E @ self._U_A).square()
        return torch.cat(
            [
                ((squares @ inverse.to(squares)).to(energy) * energy[part]).sum(1)
                for part, squares in self._rotated_squares(features)
            ]
        )

    def _rotated_squares(self, features: Features) -> Iterator[tuple[slice, Tensor]]:
        """Squares of the rows in the basis U_B, a few rows at a time, in their precision."""
        basis = self._U_B.to(features.dtype)
        for part in features.chunks(16 * len(basis)):  # short enough for a cache
            yield part, (features.rows(part, features.dtype) @ basis).square_()
