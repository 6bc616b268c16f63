"""Block-diagonal curvatures, whose blocks are given by eigenvectors and eigenvalues."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from skprune.curvature.base import Curvature
from skprune.curvature.factor_cache import State
from skprune.network.factors import Basis, Factor, joined
from skprune.network.layers import Treatment


class EigenCurvature(Curvature):
    """M = U diag(l) U' in blocks, one a layer; U is the identity in a block without a basis."""

    _roots: list[Tensor]

    @abstractmethod
    def _find(self) -> State:
        """Compute for every block ``bases``, None or [U_X, U_E], and ``eigenvalues`` (q,)."""

    def _fit(self) -> None:
        found = self._known(self._find)
        self._bases = [None if pair is None else Basis(*pair) for pair in found["bases"]]
        self._eigenvalues: list[Tensor] = found["eigenvalues"]
        total = sum(float(values.sum(dtype=torch.float64)) for values in self._eigenvalues)
        self.mean_eigenvalue = total / self.dim

    def _set_damping(self, damping: float) -> None:
        super()._set_damping(damping)
        self._roots = [(values + self.ridge).sqrt() for values in self._eigenvalues]

    @property
    def treatments(self) -> list[Treatment]:
        """How each parameter of a network is treated, for the report."""
        how = {}
        for block, basis in zip(self.blocks, self._bases, strict=True):
            for where in block.slices:
                how[where.start] = "exact diagonal" if basis is None else self.how
        return [Treatment(name, how[where.start]) for name, where in self.problem.slices.items()]

    def solve(self, V: Tensor) -> Tensor:
        return self._map(V, power=2, enter=True, leave=True)

    def whiten(self, V: Tensor) -> Tensor:
        return self._map(V, power=1, enter=True, leave=False)

    def unwhiten(self, D: Tensor) -> Tensor:
        return self._map(D, power=1, enter=False, leave=True)

    def _map(self, V: Tensor, *, power: int, enter: bool, leave: bool) -> Tensor:
        """U diag(root)^-power U' v; ``enter`` or ``leave`` says whether to multiply by U' or U."""
        parts = []
        for block, basis, root in zip(self.blocks, self._bases, self._roots, strict=True):
            part = block.take(V)
            if basis is not None and enter:
                part = basis.rotate(part)
            part = part / (root if power == 1 else root.square())
            if basis is not None and leave:
                part = basis.back(part)
            parts.append(part)
        return joined(self.blocks, parts, self.dim)

    def whiten_rows(self, factors: Sequence[Factor]) -> Tensor:
        parts = [factor.rows() / root for factor, root in self._coordinates(factors)]
        return joined(self.blocks, parts, self.dim)

    def squared_norms(self, factors: Sequence[Factor]) -> Tensor:
        norms = (
            factor.weighted_squares(root.square().reciprocal())
            for factor, root in self._coordinates(factors)
        )
        total = next(norms)
        for part in norms:
            total = total + part
        return total

    def _coordinates(self, factors: Sequence[Factor]) -> Iterator[tuple[Factor, Tensor]]:
        """The factors in the bases of their blocks, with the roots of the eigenvalues."""
        for basis, root, factor in zip(self._bases, self._roots, factors, strict=True):
            yield factor if basis is None else factor.rotated(basis), root
