"""LiSSA: solve by a recursion over small random batches (Agarwal et al., 2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from skprune.curvature.base import Curvature, CurvatureError
from skprune.curvature.layers.columns import largest_eigenvalue
from skprune.curvature.layers.diagonal import mean_eigenvalue
from skprune.curvature.layers.kfac import EKFACCurvature

#: Rows of a random batch.
BATCH = 64
#: Number of steps: so many times the condition number, within bounds.
DEPTH = 3.0
MIN_DEPTH, MAX_DEPTH = 100, 5000
#: Largest eigenvalues of random batches exceed that of all rows by up to this factor.
MARGIN = 2.0
#: How often the scale is doubled when the recursion diverges.
DOUBLINGS = 6


class LiSSACurvature(Curvature):
    """M = (1 / W) sum_i w_i J_i' h_i J_i, inverted by h <- v + (I - H_batch / scale) h.

    The recursion converges to scale H^-1 v if scale exceeds the largest eigenvalue of H on every
    batch; it is taken from that of M, and doubled when the recursion diverges. The number of steps
    grows with scale / (lam + damping), so that conjugate gradients are faster with little damping.
    It is here for comparison, because the published method uses it.

    Attributes
    ----------
    scale : float
    depth : int
        Steps of the recursion.
    """

    name = "lissa"
    how = "exact products"

    def _fit(self) -> None:
        self.mean_eigenvalue = mean_eigenvalue(self.gradients, self.cache)
        found = self._known(lambda: {"largest": largest_eigenvalue(self.problem)})
        self._largest: float = found["largest"]

    def selector(self) -> Curvature:
        return EKFACCurvature(self.gradients, cache=self.cache)

    def _set_damping(self, damping: float) -> None:
        super()._set_damping(damping)
        self.scale = MARGIN * self._largest + self.ridge
        self.depth = self._depth()

    def _depth(self) -> int:
        return min(MAX_DEPTH, max(MIN_DEPTH, math.ceil(DEPTH * self.scale / self.ridge)))

    def solve(self, V: Tensor) -> Tensor:
        many = V.reshape(-1, self.dim)
        for _ in range(DOUBLINGS + 1):
            found = self._recursion(many)
            if found is not None:
                return found.reshape(V.shape)
            self.scale *= 2.0
            self.depth = self._depth()
        raise CurvatureError(
            f"LiSSA diverges even at scale {self.scale:.3g}; give a larger damping than "
            f"{self.damping:.3g}, or take curvature='cg'."
        )

    def _recursion(self, V: Tensor) -> Tensor | None:
        """(H + ridge)^-1 v by one run; None if it diverges."""
        problem = self.problem
        generator = torch.Generator().manual_seed(0)
        n, h = len(problem), V.clone()
        mean_weight = problem.total / n
        # |scale H^-1 v| is at most this.
        limit = 10.0 * self.scale / self.ridge * V.norm(dim=1)
        for step in range(self.depth):
            rows = torch.randint(n, (min(BATCH, n),), generator=generator)
            moved = self.ridge * h
            for batch in problem.batches(rows):
                part = problem.gauss_newton_of(batch, h, batch.weights[None])
                moved = moved + part / (len(rows) * mean_weight)
            h = V + h - moved / self.scale
            if step % 10 == 9 and not bool((h.norm(dim=1) <= limit).all()):
                return None
        return h / self.scale if bool((h.norm(dim=1) <= limit).all()) else None
