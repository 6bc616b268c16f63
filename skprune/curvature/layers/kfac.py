"""K-FAC: one Kronecker product a layer (Martens and Grosse, 2015; Grosse and Martens, 2016).

EK-FAC: its eigenbasis with the exact diagonal in it (George et al., 2018).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor

from skprune.curvature.base import CurvatureError
from skprune.curvature.eigen import EigenCurvature
from skprune.curvature.factor_cache import State
from skprune.curvature.layers.columns import root_columns
from skprune.network.factors import Basis, Block, Factor, MatrixFactor
from skprune.network.layers import RowGradients
from skprune.network.problem import Batch

#: Gradients are stored between the two passes over the rows if they have at most so many numbers.
KEPT_NUMBERS = 1 << 27
#: For a layer with more inputs or outputs the diagonal is used: its factors would be too large.
WIDEST = 8192


class KFACCurvature(EigenCurvature):
    """M ~ B (x) A in every linear layer and convolution, the exact diagonal elsewhere.

    A = sum_i w_i mean_t x_it x_it' / W and B = sum_i w_i sum_t J_it' h_i J_it / W, with J_it the
    Jacobian of the network's outputs in those of the layer at position t, and h_i the Hessian of
    the loss in the network's outputs. This is exact for a linear model with one output or with the
    squared error. If there are more than 64 outputs, or more than 32,768 outputs of all rows
    together, random combinations of them are used.

    Cost: one pass with up to K backward passes a batch, and two eigendecompositions a layer.
    """

    name = "kfac"
    how = "K-FAC"

    def _find(self) -> State:
        return KroneckerPass(self.gradients).state()


class EKFACCurvature(EigenCurvature):
    """M ~ (U_B (x) U_A) diag(l) (U_B (x) U_A)' in every layer, with the basis of K-FAC.

    l is the diagonal of the Gauss-Newton matrix in that basis, the best diagonal in Frobenius norm.

    Cost: a second pass, whose gradients are rotated into the basis row by row.
    """

    name = "ekfac"
    how = "EK-FAC"

    @classmethod
    def affordable(cls, problem: Any, n: int) -> bool:
        return True

    def _find(self) -> State:
        first = KroneckerPass(self.gradients, keeps=True)
        found = first.state()
        bases = [None if pair is None else Basis(*pair) for pair in found["bases"]]
        pairs = list(zip(found["eigenvalues"], bases, strict=True))
        for values, basis in pairs:
            if basis is not None:
                values.zero_()
        with torch.no_grad():
            for columns in first.kept or (columns for _, columns in root_columns(self.gradients)):
                _add_rotated_squares(pairs, columns)
        for values, basis in pairs:
            if basis is not None:
                values.div_(self.problem.total)
        return found


class KroneckerPass:
    """One pass over the rows that sums up the factors A and B of every layer.

    Attributes
    ----------
    kept : list or None
        The gradients of every batch for a second pass, if they are needed and fit into memory.
    """

    def __init__(self, gradients: RowGradients, *, keeps: bool = False) -> None:
        self.problem, self.blocks = gradients.problem, gradients.blocks
        self.kept: list[list[list[Factor]]] | None = [] if keeps else None
        self._kept_numbers = 0
        like = self.problem.theta
        self._A: dict[int, Tensor] = {}
        self._B: dict[int, Tensor] = {}
        self._diagonal: dict[int, Tensor] = {}
        for k, block in enumerate(self.blocks):
            if block.shape is not None and max(block.shape[1:]) <= WIDEST:
                groups, outputs, inputs = block.shape
                self._A[k] = like.new_zeros(groups, inputs, inputs)
                self._B[k] = like.new_zeros(groups, outputs, outputs)
            else:
                self._diagonal[k] = like.new_zeros(block.size)
        for batch, columns in root_columns(gradients):
            self._add(batch, columns)

    def state(self) -> State:
        """The eigenvectors of the factors, and the eigenvalues of their product."""
        bases: list[list[Tensor] | None] = []
        eigenvalues = []
        for k, block in enumerate(self.blocks):
            if k in self._diagonal:
                bases.append(None)
                eigenvalues.append(self._diagonal[k] / self.problem.total)
                continue
            U_X, a = self._decomposed(self._A[k], block)
            U_E, b = self._decomposed(self._B[k], block)
            bases.append([U_X, U_E])
            eigenvalues.append((b[:, :, None] * a[:, None, :]).reshape(-1))
        return {"bases": bases, "eigenvalues": eigenvalues}

    def _add(self, batch: Batch, columns: Iterator[list[Factor]]) -> None:
        """Add a batch, in a function of its own so that its memory is free before the next."""
        for column, factors in enumerate(columns):
            for k, factor in enumerate(factors):
                if k in self._diagonal:
                    factor.add_squares(self._diagonal[k])
                    continue
                X, E = as_matrix(factor).X, as_matrix(factor).E
                if column == 0:
                    shares = (batch.weights / max(1, X.shape[1]))[:, None, None, None]
                    self._A[k] += torch.einsum("btgc,btgd->gcd", X * shares, X)
                self._B[k] += torch.einsum("btgo,btgp->gop", E, E)
            if self.kept is not None:
                self._keep(self.kept, batch, column, factors)

    def _keep(
        self, kept: list[list[list[Factor]]], batch: Batch, column: int, factors: list[Factor]
    ) -> None:
        if column == 0:
            kept.append([])
        kept[-1].append(factors)
        self._kept_numbers += sum(factor.numbers() for factor in factors)
        rows = int(batch.positions[-1]) + 1
        if self._kept_numbers / rows * len(self.problem) > KEPT_NUMBERS:
            self.kept = None

    def _decomposed(self, matrix: Tensor, block: Block) -> tuple[Tensor, Tensor]:
        """Eigenvectors and eigenvalues of (groups, d, d), computed in float64."""
        if not bool(torch.isfinite(matrix).all()):
            raise CurvatureError(
                f"The curvature of layer {block.name!r} is not finite: its inputs or gradients "
                "overflow. Run the module in float32 or float64, and look for huge values in the "
                "rows."
            )
        U = torch.linalg.eigh(matrix.to(torch.float64)).eigenvectors.to(matrix.dtype)
        stretched = torch.einsum("gdk,gde,gek->gk", U, matrix / self.problem.total, U)
        return U, stretched.clamp_min(0.0)


def _add_rotated_squares(
    pairs: list[tuple[Tensor, Basis | None]], columns: Iterable[list[Factor]]
) -> None:
    """Add the squares of a batch to the eigenvalues; its columns have the same inputs."""
    inputs: list[Tensor | None] = []
    for factors in columns:
        if not inputs:
            inputs = [
                None if basis is None else basis.rotate_inputs(as_matrix(factor).X)
                for (_, basis), factor in zip(pairs, factors, strict=True)
            ]
        for (values, basis), X, factor in zip(pairs, inputs, factors, strict=True):
            if basis is not None and X is not None:
                MatrixFactor(X, basis.rotate_outputs(as_matrix(factor).E)).add_squares(values)


def as_matrix(factor: Factor) -> MatrixFactor:
    """The factor as a ``MatrixFactor``, which that of a matrix block is."""
    assert isinstance(factor, MatrixFactor)
    return factor
