"""Leading eigenvectors of the Gauss-Newton matrix, and a constant in all other directions."""

from __future__ import annotations

import torch
from torch import Tensor

from skprune.curvature.base import Curvature, CurvatureError
from skprune.curvature.factor_cache import FactorCache, State
from skprune.curvature.layers.diagonal import mean_eigenvalue
from skprune.network.layers import RowGradients

#: Number of eigenvectors.
RANK = 200
#: Relative residual at which an eigenvector counts as found.
CONVERGED = 0.1
#: Curvature of the complement, as a share of the smallest eigenvalue that was found.
UNRESOLVED = 0.5


class LowRankCurvature(Curvature):
    """M ~ U diag(l) U' with a few eigenvectors, by the Lanczos method.

    In the complement of U the matrix is (c + lam + damping) I. To drop the complement, as some do,
    would mean that no row moves the parameters there. c is half the smallest eigenvalue that was
    found, which is about the curvature of the most important directions that were not.

    Cost: ``rank`` products with the Gauss-Newton matrix, ``rank`` times p numbers.

    Parameters
    ----------
    gradients : RowGradients
    damping : float or "auto"
    cache : FactorCache, optional
    rank : int, default=200
    """

    name = "lowrank"

    def __init__(
        self,
        gradients: RowGradients,
        damping: float | str = "auto",
        cache: FactorCache | None = None,
        rank: int = RANK,
    ) -> None:
        self.rank = rank
        super().__init__(gradients, damping, cache)

    def _fit(self) -> None:
        problem = self.problem
        rank = min(self.rank, problem.dim)
        self.mean_eigenvalue = mean_eigenvalue(self.gradients, self.cache)
        found = self._known(lambda: self._lanczos(rank), f"rank {rank}")
        self._l, self._U, self._floor = found["l"], found["U"], found["floor"]
        self.how = f"rank {len(self._l)}"

    def _lanczos(self, rank: int) -> State:
        """Eigenvalues ``l`` (r,) and vectors ``U`` (r, p) that converged, and the rest's level."""
        problem = self.problem
        generator = torch.Generator().manual_seed(0)
        q = torch.randn(self.dim, generator=generator).to(problem.theta)
        Q = problem.theta.new_empty(rank, self.dim)
        T = torch.zeros(rank, rank, dtype=torch.float64)
        q /= q.norm()
        for j in range(rank):
            Q[j] = q
            moved = problem.gauss_newton(q[None])[0] / problem.total
            T[j, j] = float(q @ moved)
            for _ in range(2):  # once leaves rounding errors that grow
                moved = moved - Q[: j + 1].T @ (Q[: j + 1] @ moved)
            length = float(moved.norm())
            if not torch.isfinite(torch.tensor(length)):
                raise CurvatureError(
                    "The Gauss-Newton matrix has entries that are not finite; run the module in "
                    "float64 and look for huge values in the rows."
                )
            tiny = 1e-7 * max(float(T.diagonal().max()), 1e-300)
            if j + 1 == rank or length <= tiny:
                rank = j + 1
                break
            T[j, j + 1] = T[j + 1, j] = length
            q = moved / length
        values, vectors = torch.linalg.eigh(T[:rank, :rank])
        exact = length <= tiny  # the vectors span all that M does not send to zero
        found = exact | (length * vectors[-1].abs() <= CONVERGED * values)
        if not bool(found.any()):
            found[-1] = True
        floor = 0.0 if exact or rank == problem.dim else UNRESOLVED * float(values[found].min())
        U = vectors.T[found].to(Q) @ Q[:rank]
        return {"l": values[found].clamp_min(0.0).to(Q), "U": U, "floor": floor}

    def solve(self, V: Tensor) -> Tensor:
        return self._power(V, -1.0)

    def whiten(self, V: Tensor) -> Tensor:
        return self._power(V, -0.5)

    def unwhiten(self, D: Tensor) -> Tensor:
        return self._power(D, -0.5)  # the symmetric root

    def _power(self, V: Tensor, power: float) -> Tensor:
        rest = (self._floor + self.ridge) ** power
        inner = (V @ self._U.T) * ((self._l + self.ridge).pow(power) - rest)
        return rest * V + inner @ self._U
