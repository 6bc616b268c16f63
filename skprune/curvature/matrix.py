"""Curvatures that are one p x p matrix, stored as the inverse of its Cholesky factor."""

from __future__ import annotations

from abc import abstractmethod
from itertools import pairwise

import torch
from torch import Tensor

from skprune.curvature.base import Curvature, CurvatureError
from skprune.curvature.factor_cache import State

#: Bands of the triangular factor that are multiplied one by one, to save 7/16 of the products.
BANDS = 8


class MatrixCurvature(Curvature):
    """M as a matrix in float64. Cost: p^3 products for each damping, p^2 for each solve."""

    how = "exact"
    _found: State
    _inverse_root: Tensor

    @abstractmethod
    def _find(self) -> State:
        """Compute the matrix ``M``."""

    def _fit(self) -> None:
        self._found = self._known(self._find)
        self.mean_eigenvalue = max(0.0, float(self._found["M"].diagonal().mean()))

    def _set_damping(self, damping: float) -> None:
        M = self._matrix()
        super()._set_damping(damping)
        identity = torch.eye(self.dim, dtype=M.dtype, device=M.device)
        H = M if self.ridge == 0.0 else M + self.ridge * identity
        root = self._root(H)
        self._inverse_root = torch.linalg.solve_triangular(root, identity, upper=False)

    def _matrix(self) -> Tensor:
        M: Tensor = self._found["M"]
        return M

    def _root(self, H: Tensor) -> Tensor:
        """The Cholesky factor of H."""
        root, failed = torch.linalg.cholesky_ex(H)
        if not int(failed):
            return root
        bad = ~torch.isfinite(H)
        if not bool(bad.any()):
            raise CurvatureError(
                f"The {self.name} curvature is not positive definite at damping "
                f"{self.damping:.3g}; give a larger damping, or take curvature='dense' (the "
                "Gauss-Newton matrix, which has no negative eigenvalues)."
            )
        names = [n for n, where in self.problem.slices.items() if bool(bad[where].any())]
        raise CurvatureError(
            f"The curvature in parameter {names[0]!r} is not finite; run the module in float64 "
            "and look for huge values in the rows."
        )

    def whiten(self, V: Tensor) -> Tensor:
        return times_transposed(V.to(self._inverse_root), self._inverse_root).to(V)

    def unwhiten(self, D: Tensor) -> Tensor:
        exact = D.to(self._inverse_root)
        moved = self._inverse_root.T @ exact if D.ndim == 1 else exact @ self._inverse_root
        return moved.to(D)


def times_transposed(V: Tensor, lower: Tensor) -> Tensor:
    """V R' for a lower triangular R: a band of its rows has nothing to the right of itself."""
    if V.ndim == 1:
        return lower @ V
    if len(V) < BANDS:
        return V @ lower.T
    ends = [len(lower) * i // BANDS for i in range(BANDS + 1)]
    bands = [slice(*ends) for ends in pairwise(ends)]
    return torch.cat([V[..., : b.stop] @ lower[b, : b.stop].T for b in bands], -1)
