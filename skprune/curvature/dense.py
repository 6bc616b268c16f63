"""The exact Hessian of a head, as one p x p matrix and the inverse of its Cholesky factor."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from torch import Tensor

from skprune.curvature.base import RELATIVE_DAMPING, Curvature
from skprune.heads.problem import HeadProblem

#: Parts of the triangular factor that are multiplied one by one: 9/16 of the products.
BANDS = 8


class DenseCurvature(Curvature):
    """H = sum_i w_i h_i (x) phi_i phi_i' + lam P, exact.

    Cost: n D^2 K (K + 1) / 2 products once, p^2 a solve, p^2 numbers of memory, with p = D K.

    Parameters
    ----------
    problem : HeadProblem
    outputs : Tensor of shape (n, K)
        Phi @ theta at the point where the Hessian is taken.
    """

    def __init__(self, problem: HeadProblem, outputs: Tensor) -> None:
        D, K = self._shape = problem.theta_shape
        self.dim = D * K
        H = hessian_matrix(problem, outputs)
        factor = _cholesky(H)
        identity = torch.eye(self.dim, dtype=H.dtype, device=H.device)
        self._inverse_factor = torch.linalg.solve_triangular(factor, identity, upper=False)

    def nbytes(self) -> int:
        return self._inverse_factor.nbytes

    def solve(self, V: Tensor) -> Tensor:
        return self.unwhiten(self.whiten(V))

    def whiten(self, V: Tensor) -> Tensor:
        return self._inverse_factor @ V.T.reshape(-1)

    def unwhiten(self, d: Tensor) -> Tensor:
        D, K = self._shape
        return (self._inverse_factor.T @ d).reshape(K, D).T

    def whiten_rows(self, Phi: Tensor, E: Tensor) -> Tensor:
        rows = (E[:, :, None] * Phi[:, None, :]).reshape(len(E), self.dim)
        inverse = self._inverse_factor.to(rows.dtype)
        # The factor is triangular: a band of its rows has nothing to the right of itself.
        ends = [self.dim * i // BANDS for i in range(BANDS + 1)]
        bands = [slice(*ends) for ends in pairwise(ends)]
        return torch.cat([rows[:, : b.stop] @ inverse[b, : b.stop].T for b in bands], 1)


def _cholesky(H: Tensor) -> Tensor:
    """Lower Cholesky factor of H with the least damping under which it is positive definite.

    On separable classes without a penalty nearly all curvature is rounding, and much is needed.
    """
    # Relative to every diagonal entry, so that the unit of a column makes no difference; an
    # entry is 0 only where all gradients are, and any positive number will do.
    diagonal = H.diagonal().clone()
    for relative in np.geomspace(RELATIVE_DAMPING, 1.0, 11):
        H.diagonal().copy_(torch.where(diagonal > 0, (1.0 + relative) * diagonal, 1.0))
        factor, failed = torch.linalg.cholesky_ex(H)
        if not failed:
            return factor
    raise ValueError(
        "The Hessian of the head has no Cholesky factor, even with its diagonal doubled: numbers "
        "in it are not finite. Scale the columns of X, or raise the penalty."
    )


def hessian_matrix(problem: HeadProblem, outputs: Tensor) -> Tensor:
    """The exact (p, p) Hessian of F over the rows of ``problem``; parameters ordered by output."""
    D, K = problem.theta_shape
    H = problem.targets.new_zeros(K, D, K, D)
    P = problem.loss.mean(outputs)
    penalty = (problem.penalty.total() * problem.penalty.mask.square()).reshape(-1)
    for k in range(K):
        for m in range(k, K):
            entry = problem.loss.hessian_entry(P, k, m)
            if entry is not None:
                block = problem.features.gram(entry * problem.weights)
                H[k, :, m] = block
                H[m, :, k] = block
        H[k, :, k] += torch.diag(penalty)
    return H.reshape(K * D, K * D)
