"""The diagonal of the Gauss-Newton matrix: for networks too large for anything else."""

from __future__ import annotations

from skprune.network.curvature.blocks import BlockCurvature, add_squares
from skprune.network.curvature.kept import FactorCache
from skprune.network.layers import RowGradients


class DiagonalCurvature(BlockCurvature):
    """M ~ diag(M), exact up to 64 outputs. Cost: one pass with K backward passes a batch."""

    name = "diagonal"
    how = "exact diagonal"

    def _find(self) -> None:
        blocks = self.gradients.blocks
        self._bases = [None for _ in blocks]
        self._eigenvalues = [self.problem.theta.new_zeros(block.size) for block in blocks]
        for _, pulls in self._pulls():
            for factors in pulls:
                for values, factor in zip(self._eigenvalues, factors, strict=True):
                    add_squares(values, factor)
        for values in self._eigenvalues:
            values.div_(self.problem.total)


def mean_eigenvalue(gradients: RowGradients, cache: FactorCache | None) -> float:
    """tr(M) / p of the Gauss-Newton matrix: exact up to 64 outputs."""
    return DiagonalCurvature(gradients, 0.0, cache).mean_eigenvalue
