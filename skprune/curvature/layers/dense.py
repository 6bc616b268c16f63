"""The Gauss-Newton matrix, or the exact Hessian, as one p x p matrix: for small networks."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from skprune.curvature.base import CurvatureError
from skprune.curvature.factor_cache import State
from skprune.curvature.layers.columns import root_columns
from skprune.curvature.matrix import MatrixCurvature
from skprune.network.factors import row_gradients
from skprune.utils.chunks import row_chunks
from skprune.utils.krylov import Product

#: "auto" takes the exact Gauss-Newton matrix up to so many parameters and multiplications.
DENSE_PARAMETERS = 2048
DENSE_COST = 2e11
#: Share of the penalty that is kept where the Hessian cancels it. Measured on an MLP of 9,610
#: parameters, removal of 5, 20, 40 % against retraining: rank correlations .92 .89 .86 at 0.1,
#: .91 .90 .88 at 0.3, .90 .89 .88 at 1; .91 .88 .84 at 0.01.
CANCELLED = 0.2
#: Square of the gradient at an optimum, as a share of that of its sampling error.
SETTLED = 0.01


class DenseCurvature(MatrixCurvature):
    """M = (1 / W) sum_i w_i J_i' h_i J_i, exact.

    For kept rows it solves with the matrix of these rows alone, as "cg" does, preconditioned by M
    of all rows.

    Cost: n K p^2 products once, 16 p^2 bytes; about 5 products with all rows for a set of kept
    rows.
    """

    name = "dense"
    by_rows = True

    @classmethod
    def affordable(cls, problem: Any, n: int) -> bool:
        cost = n * problem.n_outputs * problem.dim**2
        return problem.dim <= DENSE_PARAMETERS and cost <= DENSE_COST

    def _needs_damping(self) -> bool:
        return not (self.penalty > 0.0 and self.problem.is_linear)  # M is the Hessian

    def _find(self) -> State:
        problem, blocks = self.problem, self.gradients.blocks
        M = torch.zeros(self.dim, self.dim, dtype=torch.float64, device=problem.theta.device)
        for _, columns in root_columns(self.gradients, exact=True):
            for factors in columns:
                for part in zip(*(factor.parts(self.dim) for factor in factors), strict=True):
                    rows = row_gradients(blocks, part, self.dim).to(torch.float64)
                    M.addmm_(rows.T, rows)
        return {"M": M.div_(problem.total)}


class HessianCurvature(MatrixCurvature):
    """M + lam I = |H + lam I|, H the exact Hessian of (1 / W) sum_i w_i l_i.

    At a minimum of the penalised loss H + lam I has no negative eigenvalue, though H has many. A
    trained network is seldom at a minimum. Where its curvature is negative even with the penalty, a
    step would point the wrong way, so the sign of the curvature is changed. Where the penalty
    cancels the curvature, a share of lam is kept. For kept rows the matrix is corrected by the
    difference of the Gauss-Newton matrices of kept and of all rows, as long as it stays definite.

    Cost: p Hessian products, an eigendecomposition, 24 p^2 bytes; about 10 products with all rows
    for a set of kept rows.
    """

    name = "hessian"
    by_rows = True

    def _needs_damping(self) -> bool:
        # Not at an optimum: the gradient is next to nothing beside its sampling error, whose square
        # is tr(M) / n for the losses of a likelihood.
        problem = self.problem
        gradient = problem.gradients() / problem.total + self.penalty * problem.theta
        sampling = self.mean_eigenvalue * self.dim / len(problem)
        settled = float(gradient.square().sum()) <= SETTLED * sampling
        return not (self.penalty > 0.0 and settled)

    def _product(self, kept: Tensor) -> Product:
        problem, M = self.problem, self._matrix()
        weights = kept * problem.weights
        change = weights / weights.sum(1, keepdim=True) - problem.weights / problem.total
        return lambda V: (
            problem.gauss_newton(V, change) + self.ridge * V + (V.to(M.dtype) @ M).to(V.dtype)
        )

    def restricted(self, kept: Tensor | None, tolerance: float | None = None) -> Product:
        """As in ``Curvature``, but a correction that outweighs H is left out.

        The matrix of such a set is not definite, which may spoil the solves beside it. So all sets
        are then solved one by one.
        """
        together = super().restricted(kept, tolerance)
        if kept is None:
            return together

        def solve(V: Tensor) -> Tensor:
            try:
                return together(V)
            except CurvatureError:
                if len(V) == 1:
                    return self.solve(V)
            pairs = zip(V[:, None], kept[:, None], strict=True)
            return torch.cat([self.restricted(k, tolerance)(v) for v, k in pairs])

        return solve

    def _find(self) -> State:
        H = torch.empty(self.dim, self.dim, dtype=torch.float64, device=self.problem.theta.device)
        identity = torch.eye(self.dim, dtype=self.problem.theta.dtype, device=H.device)
        for part in row_chunks(self.dim, self.dim):
            H[part] = self.problem.hessian(identity[part]).to(H.dtype)
        H = (H + H.T) / (2.0 * self.problem.total)
        eigenvalues, vectors = torch.linalg.eigh(H)
        penalty = self.problem.penalty
        bent = (eigenvalues + penalty).abs().clamp_min(CANCELLED * penalty) - penalty
        return {"M": (vectors * bent) @ vectors.T}
