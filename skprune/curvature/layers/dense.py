"""The Gauss-Newton matrix, or the exact Hessian, as one p x p matrix: for small networks."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import torch
from torch import Tensor

from skprune.curvature.layers.base import CurvatureError, WhiteningCurvature, row_parts
from skprune.curvature.layers.cg import solve_kept_rows
from skprune.curvature.layers.kept import State
from skprune.network.factors import row_gradients
from skprune.network.layers import Treatment
from skprune.utils.chunks import row_chunks

#: Share of the penalty that is left where the Hessian cancels it. Measured on an MLP of 9,610
#: parameters, removal of 5, 20, 40 % against retraining: rank correlations .92 .89 .86 at 0.1,
#: .91 .90 .88 at 0.3, .90 .89 .88 at 1; .91 .88 .84 at 0.01.
CANCELLED = 0.2

#: Square of the gradient at an optimum, as a share of that of its sampling error.
SETTLED = 0.01


class MatrixCurvature(WhiteningCurvature):
    """M as a matrix in float64, factored by Cholesky for each damping."""

    _M: Tensor
    _root: Tensor

    def _set_damping(self, damping: float) -> None:
        super()._set_damping(damping)
        H = self._M.clone()
        H.diagonal().add_(self.ridge)
        root, failed = torch.linalg.cholesky_ex(H)
        if int(failed):
            raise CurvatureError(
                f"The {self.name} curvature is not positive definite at damping "
                f"{self.damping:.3g}; give a larger damping, or take curvature='dense' (the "
                "Gauss-Newton matrix, which has no negative eigenvalues)."
            )
        self._root = root

    @abstractmethod
    def _find(self) -> State:
        """``M``, and what else there is to say."""

    def _fit(self) -> None:
        self._found = self._known(self._find)
        self._M = self._found["M"]
        self._finish()

    def _finish(self) -> None:
        if not bool(torch.isfinite(self._M).all()):
            bad = (~torch.isfinite(self._M)).any(1)
            names = [n for n, where in self.problem.slices.items() if bool(bad[where].any())]
            raise CurvatureError(
                f"The curvature in parameter {names[0]!r} is not finite; run the module in float64 "
                "and look for huge values in the rows."
            )
        self.mean_eigenvalue = max(0.0, float(self._M.diagonal().mean()))
        self.treatments = [Treatment(name, "exact") for name in self.problem.slices]

    def nbytes(self) -> int:
        return self._M.nbytes + self._root.nbytes

    def whiten(self, V: Tensor) -> Tensor:
        return self._triangular(V, transposed=False)

    def unwhiten(self, D: Tensor) -> Tensor:
        return self._triangular(D, transposed=True)

    def _triangular(self, V: Tensor, *, transposed: bool) -> Tensor:
        many = V.reshape(-1, self.dim).to(self._root.dtype)
        # (R x' = v') as x R' = v: rows stay rows.
        factor = self._root if transposed else self._root.mT
        solved = torch.linalg.solve_triangular(factor, many, upper=not transposed, left=False)
        return solved.to(V.dtype).reshape(V.shape)


class DenseCurvature(MatrixCurvature):
    """M = (1 / W) sum_i w_i J_i' h_i J_i, exact.

    On kept rows it solves with the matrix of just these rows, as "cg" does: M of all rows
    preconditions.

    Cost: n K p^2 products once, p^3 / 3 for each damping, 16 p^2 bytes; about 5 products with all
    rows for a set of kept rows.
    """

    name = "dense"

    def _needs_no_damping(self) -> bool:
        return self.problem.is_linear  # M is the Hessian

    def solve_kept(self, V: Tensor, weights: Tensor) -> Tensor:
        return solve_kept_rows(self, V, weights, self.solve)

    def _find(self) -> State:
        problem, blocks = self.problem, self.gradients.blocks
        M = torch.zeros(self.dim, self.dim, dtype=torch.float64, device=problem.theta.device)
        for batch in problem.batches():
            root_weights = batch.weights.sqrt()[:, None]

            def columns(
                outputs: Tensor, batch: Any = batch, scale: Tensor = root_weights
            ) -> Tensor:
                return problem.hessian_of(batch, outputs).columns() * scale

            for factors in self.gradients.pull(batch, columns):
                for part in row_parts(factors, self.dim):
                    rows = row_gradients(blocks, part, self.dim).to(torch.float64)
                    M.addmm_(rows.T, rows)
        return {"M": M.div_(problem.total)}


class HessianCurvature(MatrixCurvature):
    """M + lam I = |H + lam I|, H the exact Hessian of (1 / W) sum_i w_i l_i.

    At a minimum of the penalised loss H + lam I has no negative eigenvalue, but H has many. A
    trained network is seldom at one: where curvature is negative even with the penalty, the step
    would point the wrong way, and its sign is changed. Where the penalty cancels it, a share of
    lam is left. On kept rows it is corrected by the difference of the Gauss-Newton matrices of kept
    and of all rows, as far as that leaves it definite.

    Cost: p Hessian products, an eigendecomposition, 24 p^2 bytes; about 10 products with all rows
    for a set of kept rows.
    """

    name = "hessian"

    def _needs_no_damping(self) -> bool:
        # At an optimum: the gradient is next to nothing beside its sampling error, whose square is
        # tr(M) / n for the losses of a likelihood.
        problem = self.problem
        gradient = problem.gradients() / problem.total + problem.penalty * problem.theta
        sampling = self.mean_eigenvalue * self.dim / len(problem)
        return float(gradient.square().sum()) <= SETTLED * sampling

    def solve_kept(self, V: Tensor, weights: Tensor) -> Tensor:
        try:
            return solve_kept_rows(self, V, weights, self.solve, self._M)
        except CurvatureError:  # the correction outweighs H, and the sum is not definite
            if len(V) == 1:
                return self.solve(V)
        pairs = zip(V[:, None], weights[:, None], strict=True)
        return torch.cat([self.solve_kept(v, w) for v, w in pairs])

    @property
    def n_negative(self) -> int:
        """Negative eigenvalues of the Hessian, in numbers."""
        return int(self._found["n_negative"])

    def _find(self) -> State:
        H = torch.empty(self.dim, self.dim, dtype=torch.float64, device=self.problem.theta.device)
        identity = torch.eye(self.dim, dtype=self.problem.theta.dtype, device=H.device)
        for part in row_chunks(self.dim, self.dim):
            H[part] = self.problem.hessian(identity[part]).to(H.dtype)
        H = (H + H.T) / (2.0 * self.problem.total)
        eigenvalues, vectors = torch.linalg.eigh(H)
        penalty = self.problem.penalty
        bent = (eigenvalues + penalty).abs().clamp_min(CANCELLED * penalty) - penalty
        negative = int((eigenvalues < -1e-10 * eigenvalues.abs().max()).sum())
        return {"M": (vectors * bent) @ vectors.T, "n_negative": negative}
