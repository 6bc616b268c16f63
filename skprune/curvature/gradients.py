"""The protocol of per-row gradients, which curvatures and influence use, and those of heads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Protocol

import torch
from torch import Tensor

from skprune.heads.features import Features
from skprune.heads.problem import HeadProblem
from skprune.network.factors import Basis, Block, Factor
from skprune.utils.chunks import CHUNK_NUMBERS
from skprune.utils.krylov import Product

#: Number of sets of rows of a head for which systems are solved side by side.
SYSTEMS = 16


class Gradients(Protocol):
    """The gradients g_i of n rows in p parameters, never stored at full width.

    ``RowGradients`` are those of a network, ``HeadGradients`` those of a head.

    Attributes
    ----------
    problem : HeadProblem or NetworkProblem
        It has ``dim`` (p), ``weights`` (n,) and their sum ``total``.
    blocks : sequence of Block
        A partition of the parameters, in the order of the factors.
    convex : bool
        Whether the model is a head: products with the exact Hessian of any of its rows are cheap,
        and its curvature needs no damping beyond rounding.
    penalty : float
        lam of the mean objective. A head's penalty, which leaves the intercept out, is part of M.
    systems : int
        Number of sets of rows that ``hessian`` handles side by side.
    """

    convex: bool

    @property
    def problem(self) -> Any: ...

    @property
    def blocks(self) -> Sequence[Block]: ...

    @property
    def penalty(self) -> float: ...

    @property
    def systems(self) -> int: ...

    def scores(self, U: Tensor) -> Tensor:
        """The products <g_i, u> of all rows, shape (n,) for U (p,), (B, n) for U (B, p)."""

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """The sums of c_i g_i, shape (p,) for weights (n,), (G, p) for weights (G, n)."""

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        """Sum of w_i g_i over some rows, each times its own of ``weights``, shape (p,)."""

    def of(self, indices: Tensor) -> Iterator[list[Factor]]:
        """Factors of some rows, in their order, batch after batch."""

    def each(self) -> Iterator[tuple[Tensor, list[Factor]]]:
        """Positions and factors of all rows, batch after batch."""

    def hessian(self, kept: Tensor) -> Product:
        """A function that multiplies the rows of (G, p), each by the mean Hessian of its rows."""

    def project(self, V: Tensor) -> Tensor:
        """Vectors (..., p) without the part that changes no loss, in which H may be singular."""


class HeadFactor(Factor):
    """The gradients g_i = phi_i (x) e_i, flattened row by row like theta (D, K).

    Parameters
    ----------
    features : Features of shape (b, D)
        Rows are read a few at a time.
    E : Tensor of shape (b, K)
    dtype : torch.dtype
        The precision in which rows are read.
    basis : Tensor of shape (D, D), optional
        Columns in whose coordinates the rows of the features are taken.
    """

    def __init__(
        self, features: Features, E: Tensor, dtype: torch.dtype, basis: Tensor | None = None
    ) -> None:
        self.features, self.E, self.dtype, self.basis = features, E, dtype, basis

    def __len__(self) -> int:
        return len(self.E)

    def take(self, rows: Tensor | slice) -> HeadFactor:
        if isinstance(rows, slice):
            rows = torch.arange(len(self), device=self.E.device)[rows]
        return HeadFactor(self.features.take(rows), self.E[rows], self.dtype, self.basis)

    def scores(self, U: Tensor) -> Tensor:
        directions = U.reshape(len(U), -1, self.E.shape[1]).to(self.features.dtype)
        return torch.stack([(self.E * self.features.forward(u)).sum(1) for u in directions])

    def weighted_sum(self, weights: Tensor) -> Tensor:
        spread = self.E[:, None, :] * weights.T[:, :, None]
        total = self.features.adjoint(spread.flatten(1)).unflatten(1, (len(weights), -1))
        return total.permute(1, 0, 2).flatten(1)

    def rows(self) -> Tensor:
        Phi = self._read(slice(None))
        return (Phi[:, :, None] * self.E.to(Phi)[:, None, :]).flatten(1)

    def rotated(self, basis: Basis) -> HeadFactor:
        return HeadFactor(self.features, self.E @ basis.U_X[0], self.dtype, basis.U_E[0])

    def weighted_squares(self, scale: Tensor) -> Tensor:
        scale, energy = scale.reshape(-1, self.E.shape[1]), self.E.square()
        if self.basis is None:
            return (self.features.forward_squared(scale.to(self.dtype)).to(energy) * energy).sum(1)
        # Row by row a D x K sum of products of squares: no row is ever whitened.
        return torch.cat(
            [
                ((squares @ scale.to(squares)).to(energy) * energy[part]).sum(1)
                for part, squares in self.squares()
            ]
        )

    def squares(self) -> Iterator[tuple[slice, Tensor]]:
        """Squares of the rows of the features in the basis, a few at a time."""
        for part in self.features.chunks(16 * self.features.shape[1]):  # fit for a cache
            yield part, self._read(part).square_()

    def _read(self, rows: slice) -> Tensor:
        Phi = self.features.rows(rows, self.dtype)
        return Phi if self.basis is None else Phi @ self.basis.to(Phi)


class HeadGradients:
    """The gradients of a head's rows.

    Parameters
    ----------
    problem : HeadProblem
    outputs : Tensor of shape (n, K)
        Phi @ theta at the point where the gradients are taken.
    """

    convex = True

    def __init__(self, problem: HeadProblem, outputs: Tensor) -> None:
        self.problem, self.outputs = problem, outputs
        self.blocks = [Block("head", (slice(0, problem.dim),), (1, *problem.theta_shape))]

    @cached_property
    def _all(self) -> HeadFactor:
        problem = self.problem
        E = problem.loss.residual(self.outputs, problem.targets)
        return HeadFactor(problem.features, E, problem.features.dtype)

    @property
    def penalty(self) -> float:
        """The penalty lam of the mean objective, on all coefficients but the intercept's."""
        return self.problem.penalty.total() / self.problem.total

    @property
    def systems(self) -> int:
        return min(SYSTEMS, max(1, CHUNK_NUMBERS // self.outputs.numel()))

    def subset(self, indices: Tensor) -> HeadGradients:
        """The gradients of some of the rows."""
        return HeadGradients(self.problem.subset(indices), self.outputs[indices])

    def scores(self, U: Tensor) -> Tensor:
        return self._all.scores(U.reshape(-1, U.shape[-1])).reshape(*U.shape[:-1], -1)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        many = weights.reshape(-1, weights.shape[-1])
        return self._all.weighted_sum(many).reshape(*weights.shape[:-1], -1)

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        factors = self.problem.weights[indices]
        if weights is not None:
            factors = factors * weights.to(factors)
        E = self._all.E[indices] * factors[:, None]
        return self.problem.features.take(indices).adjoint(E).reshape(-1)

    def of(self, indices: Tensor) -> Iterator[list[Factor]]:
        """Factors of some rows, which are read in float64."""
        taken = self._all.take(indices)
        yield [HeadFactor(taken.features, taken.E, torch.float64)]

    def each(self) -> Iterator[tuple[Tensor, list[Factor]]]:
        """Positions and factors of all rows, which are read in their own precision."""
        yield torch.arange(len(self.problem), device=self.outputs.device), [self._all]

    def hessian(self, kept: Tensor) -> Product:
        problem = self.problem
        totals = (kept.to(problem.weights) @ problem.weights)[:, None]
        product = problem.hessian(self.outputs, problem.features.dtype, kept)
        return lambda V: product(V) / totals

    def project(self, V: Tensor) -> Tensor:
        return self.problem.loss.project(V.reshape(-1, self.problem.theta_shape[1])).view_as(V)
