"""The Gauss-Newton matrix as products, and conjugate gradients on many systems side by side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from skprune.curvature.layers.base import CurvatureError, NetworkCurvature, WhiteningCurvature
from skprune.curvature.layers.ekfac import EKFACCurvature
from skprune.curvature.layers.lowrank import LowRankCurvature
from skprune.network.layers import Treatment

#: Bound on the iterations of a solve.
MAX_ITERATIONS = 200
#: Share of a right-hand side that may be left unsolved.
UNSOLVED = 0.3
#: Eigenvectors of the preconditioner, and the numbers that they may hold.
RANK = 128
EIGENVECTOR_NUMBERS = 1 << 27
#: Systems from which on the eigenvectors are worth their cost.
MANY = 4
#: Systems that are solved side by side.
SYSTEMS = 32


class CGCurvature(NetworkCurvature):
    """M = (1 / W) sum_i w_i J_i' h_i J_i, exact and never formed.

    Solves by conjugate gradients, preconditioned at the same damping by EK-FAC or, for many
    systems, by the leading eigenvectors of M. On kept rows it solves with the Gauss-Newton matrix
    of just these rows.

    Cost: the fit of EK-FAC, and an iteration one forward- and one reverse-mode product a system:
    about 70 iterations with EK-FAC, 10 to 20 with 128 eigenvectors, which cost 128 products once.
    """

    name = "cg"

    def _needs_no_damping(self) -> bool:
        return self.problem.is_linear  # M is the Hessian

    def _fit(self) -> None:
        self._ekfac = EKFACCurvature(self.gradients, cache=self.cache)
        #: Found when they are first needed, and shared with copies at another damping.
        self._eigenvectors: list[LowRankCurvature] = []
        self.mean_eigenvalue = self._ekfac.mean_eigenvalue
        self.treatments = [Treatment(name, "exact products") for name in self.problem.slices]

    def _preconditioner(self, systems: int) -> NetworkCurvature:
        found = self._eigenvectors
        if not found and systems >= MANY and RANK * self.dim <= EIGENVECTOR_NUMBERS:
            found.append(LowRankCurvature(self.gradients, cache=self.cache, rank=RANK))
        return (found[0] if found else self._ekfac).damped(self.damping)

    def selector(self) -> WhiteningCurvature:
        return self._ekfac

    def nbytes(self) -> int:
        return self._ekfac.nbytes() + sum(c.nbytes() for c in self._eigenvectors)

    def solve(self, V: Tensor) -> Tensor:
        many = V.reshape(-1, self.dim)
        return self.solve_kept(many, self.problem.weights.expand(len(many), -1)).reshape(V.shape)

    def solve_kept(self, V: Tensor, weights: Tensor) -> Tensor:
        precondition = self._preconditioner(len(V)).solve
        return solve_kept_rows(self, V, weights, precondition)


def solve_kept_rows(
    curvature: NetworkCurvature,
    V: Tensor,
    weights: Tensor,
    precondition: Callable[[Tensor], Tensor],
    whole: Tensor | None = None,
) -> Tensor:
    """(M_K + ridge I)^-1 v with the Gauss-Newton matrix of each set's own rows.

    A matrix ``whole`` (p, p) that stands for that of all rows is corrected by the difference of
    the two Gauss-Newton matrices. Else as ``NetworkCurvature.solve_kept``.
    """
    problem, parts = curvature.problem, []
    for v, w in zip(V.split(SYSTEMS), weights.split(SYSTEMS), strict=True):
        shares = w / w.sum(1, keepdim=True)
        if whole is not None:
            shares = shares - problem.weights / problem.total

        def product(X: Tensor, shares: Tensor = shares) -> Tensor:
            moved = problem.gauss_newton(X, shares) + curvature.ridge * X
            return moved if whole is None else moved + (X.to(whole.dtype) @ whole).to(X.dtype)

        x = conjugate_gradients(product, v, precondition, curvature.tolerance, MAX_ITERATIONS)
        parts.append(x)
    return torch.cat(parts)


def conjugate_gradients(
    product: Callable[[Tensor], Tensor],
    V: Tensor,
    precondition: Callable[[Tensor], Tensor],
    tolerance: float,
    max_iterations: int,
) -> Tensor:
    """Solve for the rows of V (B, p), each with its own system, until all have converged.

    Raises
    ------
    CurvatureError
        If numbers are not finite, or a system is far from solved at the last iteration.
    """
    X = torch.zeros_like(V)
    residual = V.clone()
    target = tolerance**2 * residual.square().sum(1, keepdim=True)
    Z = precondition(residual)
    direction, rho = Z.clone(), (residual * Z).sum(1, keepdim=True)
    for _ in range(max_iterations):
        active = (residual.square().sum(1, keepdim=True) > target).squeeze(1)
        if not bool(active.any()):
            break
        moved = product(direction)
        bend = (direction * moved).sum(1, keepdim=True)
        if not bool(torch.isfinite(bend).all()):
            raise CurvatureError(
                "Conjugate gradients met numbers that are not finite; run the module in float64, "
                "or give a larger damping."
            )
        # A system that is solved, or a flat direction, stands still while the others go on.
        length = torch.where(active[:, None] & (bend > 0), rho / bend, 0.0)
        X += length * direction
        residual -= length * moved
        Z = precondition(residual)
        previous, rho = rho, (residual * Z).sum(1, keepdim=True)
        direction = Z + torch.where(previous > 0, rho / previous, 0.0) * direction
    left = float((residual.norm(dim=1) / V.norm(dim=1).clamp_min(1e-300)).max())
    if left > UNSOLVED:
        raise CurvatureError(
            f"Conjugate gradients left {left:.0%} of a system after {max_iterations} iterations: "
            "it is too ill-conditioned. Give a larger damping."
        )
    return X
