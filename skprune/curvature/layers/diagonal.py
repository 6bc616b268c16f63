"""The diagonal of the Gauss-Newton matrix: for networks too large for anything else."""

from __future__ import annotations

from skprune.curvature.layers.blocks import BlockCurvature, add_squares
from skprune.curvature.layers.kept import FactorCache
from skprune.network.layers import RowGradients


class DiagonalCurvature(BlockCurvature):
    """M ~ diag(M), over as many columns as K-FAC. Cost: one pass with these backward passes."""

    name = "diagonal"
    how = "exact diagonal"

    def _find(self) -> None:
        blocks = self.gradients.blocks
        self._bases = [None for _ in blocks]
        self._eigenvalues = [self.problem.theta.new_zeros(block.size) for block in blocks]
        for _, columns in self._pulls():
            for factors in columns:
                for values, factor in zip(self._eigenvalues, factors, strict=True):
                    add_squares(values, factor)
        for values in self._eigenvalues:
            values.div_(self.problem.total)


def mean_eigenvalue(gradients: RowGradients, cache: FactorCache | None) -> float:
    """tr(M) / p of the Gauss-Newton matrix, from as many columns as K-FAC."""
    return DiagonalCurvature(gradients, 0.0, cache).mean_eigenvalue
