"""The diagonal of the Gauss-Newton matrix: for networks too large for anything else."""

from __future__ import annotations

from skprune.curvature.eigen import EigenCurvature
from skprune.curvature.factor_cache import FactorCache, State
from skprune.curvature.layers.columns import root_columns
from skprune.network.layers import RowGradients


class DiagonalCurvature(EigenCurvature):
    """M ~ diag(M), from as many columns as K-FAC. Cost: one pass with as many backward passes."""

    name = "diagonal"

    def _find(self) -> State:
        problem, blocks = self.problem, self.gradients.blocks
        eigenvalues = [problem.theta.new_zeros(block.size) for block in blocks]
        for _, columns in root_columns(self.gradients):
            for factors in columns:
                for values, factor in zip(eigenvalues, factors, strict=True):
                    factor.add_squares(values)
        for values in eigenvalues:
            values.div_(problem.total)
        return {"bases": [None for _ in blocks], "eigenvalues": eigenvalues}


def mean_eigenvalue(gradients: RowGradients, cache: FactorCache | None) -> float:
    """tr(M) / p of the Gauss-Newton matrix, from as many columns as K-FAC."""
    return DiagonalCurvature(gradients, 0.0, cache).mean_eigenvalue
