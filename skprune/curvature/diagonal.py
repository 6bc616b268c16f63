"""The diagonal of a head's Hessian: for feature matrices too wide for anything else."""

from __future__ import annotations

import torch
from torch import Tensor

from skprune.curvature.base import Curvature, damp
from skprune.heads.features import Features
from skprune.heads.problem import HeadProblem


class DiagonalCurvature(Curvature):
    """H ~ diag(H). Cost: one product with the squared features, D K numbers of memory.

    Parameters
    ----------
    problem : HeadProblem
    outputs : Tensor of shape (n, K)
        Phi @ theta at the point where the Hessian is taken.
    """

    def __init__(self, problem: HeadProblem, outputs: Tensor) -> None:
        D, K = problem.theta_shape
        self.dim = D * K
        identity = torch.eye(K, dtype=outputs.dtype, device=outputs.device)
        along = (
            problem.loss.hessian_along(problem.loss.mean(outputs), identity)
            * problem.weights[:, None]
        )
        features = problem.features
        diagonal = features.adjoint_squared(along.to(features.dtype)).to(along)
        diagonal += problem.penalty.total() * problem.penalty.mask.square()
        self._root = damp(diagonal).sqrt()

    def nbytes(self) -> int:
        return self._root.nbytes

    def solve(self, V: Tensor) -> Tensor:
        return V / self._root.square()

    def whiten(self, V: Tensor) -> Tensor:
        return (V / self._root).reshape(-1)

    def unwhiten(self, d: Tensor) -> Tensor:
        return d.reshape(self._root.shape) / self._root

    def whiten_rows(self, Phi: Tensor, E: Tensor) -> Tensor:
        return (Phi[:, :, None] * E[:, None, :] / self._root).reshape(len(E), self.dim)

    def squared_norms(self, features: Features, E: Tensor) -> Tensor:
        inverse = self._root.square().reciprocal().to(features.dtype)
        return (features.forward_squared(inverse).to(E) * E.square()).sum(1)
