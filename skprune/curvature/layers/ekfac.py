"""EK-FAC: the Kronecker eigenbasis of K-FAC with the exact diagonal in it (George et al., 2018)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from skprune.curvature.layers.blocks import add_squares
from skprune.curvature.layers.kfac import KFACCurvature, as_matrix
from skprune.network.factors import Factor, MatrixFactor


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
        for columns in self._second_pass():
            self._add_squares(columns)
        for values, basis in zip(self._eigenvalues, self._bases, strict=True):
            if basis is not None:
                values.div_(self.problem.total)

    def _add_squares(self, columns: Iterable[list[Factor]]) -> None:
        """Add the part of a batch, whose columns have the same inputs."""
        inputs: list[Tensor | None] = []
        for factors in columns:
            if not inputs:
                inputs = [
                    None if basis is None else basis.rotate_inputs(as_matrix(factor).X)
                    for basis, factor in zip(self._bases, factors, strict=True)
                ]
            for values, basis, X, factor in zip(
                self._eigenvalues, self._bases, inputs, factors, strict=True
            ):
                if basis is not None and X is not None:
                    E = basis.rotate_outputs(as_matrix(factor).E)
                    add_squares(values, MatrixFactor(X, E))

    def _second_pass(self) -> Iterator[Iterable[list[Factor]]]:
        with torch.no_grad():
            if self._kept is not None:
                yield from self._kept
                return
            for _, columns in self._pulls():
                yield columns
