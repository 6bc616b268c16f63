"""The curvatures of a head, computed in closed form."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from skprune.curvature.eigen import EigenCurvature
from skprune.curvature.factor_cache import State
from skprune.curvature.gradients import HeadFactor, HeadGradients
from skprune.curvature.matrix import MatrixCurvature, times_transposed
from skprune.heads.problem import HeadProblem
from skprune.network.factors import row_gradients

#: Eigenvalues below this share of the largest are raised to it. They belong to directions that data
#: and penalty leave open (collinear columns without penalty, the common shift of a softmax).
RELATIVE_DAMPING = 1e-10
#: "auto" takes the exact Hessian up to so many parameters and multiplications (n p^2).
DENSE_PARAMETERS = 4096
DENSE_COST = 5e11
#: "auto" takes EK-FAC up to so many features: it decomposes a (D, D) matrix.
EKFAC_FEATURES = 4096


def damp(eigenvalues: Tensor) -> Tensor:
    """Raise eigenvalues to the smallest one that can be inverted safely."""
    # If all vanish, as for a matrix of zeros without penalty, any positive number will do.
    return eigenvalues.clamp_min(RELATIVE_DAMPING * float(eigenvalues.max()) or 1.0)


class DenseHead(MatrixCurvature):
    """M = (sum_i w_i h_i (x) phi_i phi_i' + lam P) / W, exact.

    Cost: n D^2 K (K + 1) / 2 products once.
    """

    name = "dense"

    @classmethod
    def affordable(cls, problem: HeadProblem, n: int) -> bool:
        return problem.dim <= DENSE_PARAMETERS and n * problem.dim**2 <= DENSE_COST

    def _find(self) -> State:
        return {"M": hessian_matrix(self.gradients)}

    def _set_damping(self, damping: float) -> None:
        super()._set_damping(damping)
        self._found = {}  # the root is enough, so no second matrix is stored

    def _matrix(self) -> Tensor:
        if self._found:
            return super()._matrix()
        identity = torch.eye(self.dim).to(self._inverse_root)
        root = torch.linalg.solve_triangular(self._inverse_root, identity, upper=False)
        return root @ root.T - self.damping * identity

    def _root(self, H: Tensor) -> Tensor:
        """The Cholesky factor of H with the least damping under which it is positive definite.

        Separable classes without a penalty need much damping: there H is mostly rounding error.
        """
        # Relative to every diagonal entry, so that the unit of a column makes no difference; an
        # entry is 0 only where all gradients are, and any positive number will do. Entries of no
        # more than rounding errors of the others are helped by these only.
        own = H.diagonal().clone()
        for damping in (own, own.max().expand_as(own)):
            for relative in np.geomspace(RELATIVE_DAMPING, 1.0, 11):
                H.diagonal().copy_(torch.where(own > 0, own + relative * damping, 1.0))
                root, failed = torch.linalg.cholesky_ex(H)
                if not failed:
                    return root
        raise ValueError(
            "The Hessian of the head has no Cholesky factor, however much it is damped: "
            "numbers in it are not finite. Scale the columns of X, or raise the penalty."
        )

    def whiten_rows(self, factors: Any) -> Tensor:
        rows = row_gradients(self.blocks, factors, self.dim)
        return times_transposed(rows, self._inverse_root.to(rows))  # in the precision of the rows


class EKFACHead(EigenCurvature):
    """M ~ (U_B (x) U_A) diag(l) (U_B (x) U_A)' (George et al., 2018).

    U_A are the eigenvectors of A = sum_i w_i h_i (K, K), U_B those of
    B = sum_i w_i tr(h_i) phi_i phi_i' + penalty (D, D), and l the diagonal of the exact
    Hessian in that basis. With one output, and for squared error, this is the exact Hessian.

    Cost: n D (D + K) products once, D K (D + K) a solve, D^2 numbers of memory.
    """

    name = "ekfac"

    @classmethod
    def affordable(cls, problem: HeadProblem, n: int) -> bool:
        return problem.theta_shape[0] <= EKFAC_FEATURES

    def _find(self) -> State:
        problem, (P, ridge) = self.problem, _at(self.gradients)
        weights, loss, features = problem.weights, problem.loss, problem.features
        identity = torch.eye(P.shape[1], dtype=P.dtype, device=P.device)
        A, trace = torch.zeros_like(identity), torch.zeros_like(weights)
        for k, row in enumerate(identity):
            column = loss.hessian_product(P, row.expand_as(P))
            A[k] = weights @ column
            trace += weights * column[:, k]
        B = features.gram((trace / len(A)).to(features.dtype)).to(ridge) + torch.diag(ridge)
        U_A, U_B = (torch.linalg.eigh(matrix).eigenvectors for matrix in (A, B))
        along = loss.hessian_along(P, U_A) * weights[:, None]
        diagonal = P.new_zeros(problem.theta_shape)
        for part, squares in HeadFactor(features, P, features.dtype, U_B).squares():
            diagonal += squares.T @ along[part].to(squares)
        diagonal += (U_B.square().T @ ridge)[:, None]
        eigenvalues = damp(diagonal / problem.total).reshape(-1)
        return {"bases": [[U_A[None], U_B[None]]], "eigenvalues": [eigenvalues]}


class DiagonalHead(EigenCurvature):
    """M ~ diag(M). Cost: one product with the squared features, D K numbers of memory."""

    name = "diagonal"

    @classmethod
    def affordable(cls, problem: HeadProblem, n: int) -> bool:
        return True

    def _find(self) -> State:
        problem, (P, ridge) = self.problem, _at(self.gradients)
        identity = torch.eye(P.shape[1], dtype=P.dtype, device=P.device)
        along = problem.loss.hessian_along(P, identity) * problem.weights[:, None]
        diagonal = problem.features.adjoint_squared(along.to(problem.features.dtype)).to(along)
        diagonal += ridge[:, None]
        return {"bases": [None], "eigenvalues": [damp(diagonal / problem.total).reshape(-1)]}


def _at(gradients: HeadGradients) -> tuple[Tensor, Tensor]:
    """The mean predictions (n, K), and lam P^2 (D,)."""
    problem = gradients.problem
    return problem.loss.mean(gradients.outputs), problem.ridges().reshape(-1)


def hessian_matrix(gradients: HeadGradients) -> Tensor:
    """The exact Hessian of the mean objective, (p, p)."""
    problem, (P, ridge) = gradients.problem, _at(gradients)
    D, K = problem.theta_shape
    H = P.new_zeros(D, K, D, K)
    for k in range(K):
        for m in range(k, K):
            entry = problem.loss.hessian_entry(P, k, m)
            if entry is not None:
                block = problem.features.gram(entry * problem.weights)
                H[:, k, :, m] = block
                H[:, m, :, k] = block
        H[:, k, :, k] += torch.diag(ridge)
    return H.reshape(problem.dim, problem.dim).div_(problem.total)
