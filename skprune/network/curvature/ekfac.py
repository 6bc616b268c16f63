"""EK-FAC: the Kronecker eigenbasis of K-FAC with the exact diagonal in it (George et al., 2018)."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from skprune.network.curvature.blocks import add_squares
from skprune.network.curvature.kfac import KFACCurvature, as_matrix
from skprune.network.factors import Factor


class EKFACCurvature(KFACCurvature):
    """M ~ (U_B (x) U_A) diag(l) (U_B (x) U_A)' in every layer.

    l is the diagonal of the Gauss-Newton matrix in that basis, of all diagonals the nearest to M.

    Cost: a second pass, whose gradients are rotated into the basis row by row.
    """

    name = "ekfac"
    how = "EK-FAC"

    def _correct(self) -> None:
        for values, basis in zip(self._eigenvalues, self._bases, strict=True):
            if basis is not None:
                values.zero_()
        for pulls in self._second_pass():
            of_blocks = zip(*pulls, strict=True)
            for values, basis, factors in zip(
                self._eigenvalues, self._bases, of_blocks, strict=True
            ):
                if basis is not None:
                    for factor in basis.rotate_factors([as_matrix(f) for f in factors]):
                        add_squares(values, factor)
        for values, basis in zip(self._eigenvalues, self._bases, strict=True):
            if basis is not None:
                values.div_(self.problem.total)

    def _second_pass(self) -> Iterator[list[list[Factor]]]:
        with torch.no_grad():
            if self._kept is not None:
                yield from self._kept
                return
            for _, pulls in self._pulls():
                yield pulls
