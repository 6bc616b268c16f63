"""Join several operators on the same rows to one, each with a weight."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from skprune.influence.operator import InfluenceOperator


class StackedInfluence(InfluenceOperator):
    """Several operators on the same rows, with the vectors of a row concatenated.

    By default all have equal shares, so that |s|^2 is the mean of theirs. That is the influence in
    an ensemble, such as checkpoints of one training or of several seeds. The operators may be on
    different devices; the stack is on the first one that is no CPU.

    Parameters
    ----------
    operators : sequence of InfluenceOperator
    scales : sequence of float, optional
        Factors of the operators' vectors.
    """

    def __init__(
        self, operators: Sequence[InfluenceOperator], scales: Sequence[float] | None = None
    ) -> None:
        if not operators:
            raise ValueError("An ensemble needs at least one member; got none.")
        self.operators = list(operators)
        self.n_rows = operators[0].n_rows
        if any(o.n_rows != self.n_rows for o in operators):
            raise ValueError("The members of an ensemble must be of the same rows.")
        self._scales = [len(operators) ** -0.5] * len(operators) if scales is None else scales
        self._sizes = [o.dim for o in operators]
        self.dim = sum(self._sizes)
        devices = [o.offset.device for o in operators]
        self._device = next((d for d in devices if d.type != "cpu"), devices[0])
        self.offset = self._join([o.offset for o in operators])

    def scores(self, direction: Tensor) -> Tensor:
        parts = zip(self.operators, direction.split(self._sizes), strict=True)
        return self._add([o.scores(d.to(o.offset.device)) for o, d in parts], self._scales)

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        sums = []
        for o in self.operators:
            own = None if weights is None else weights.to(o.offset.device)
            sums.append(o.sum(indices.to(o.offset.device), own))
        return self._join(sums)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return self._join([o.weighted_sum(weights.to(o.offset.device)) for o in self.operators])

    def rows(self, indices: Tensor) -> Tensor:
        return self._join([o.rows(indices.to(o.offset.device)) for o in self.operators])

    def products(self, indices: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
        parts = zip(self.operators, direction.split(self._sizes), strict=True)
        on = [(o, o.offset.device, d) for o, d in parts]
        found = [o.products(indices.to(device), d.to(device)) for o, device, d in on]
        gram = self._add([gram for gram, _ in found], [scale**2 for scale in self._scales])
        return gram, self._add([scores for _, scores in found], self._scales)

    def squared_norms(self) -> Tensor:
        squares = [o.squared_norms() for o in self.operators]
        return self._add(squares, [scale**2 for scale in self._scales])

    def _join(self, parts: Sequence[Tensor]) -> Tensor:
        scaled = zip(parts, self._scales, strict=True)
        return torch.cat([part.to(self._device) * scale for part, scale in scaled], dim=-1)

    def _add(self, parts: Sequence[Tensor], factors: Sequence[float]) -> Tensor:
        scaled = zip(parts, factors, strict=True)
        return torch.stack([part.to(self._device) * factor for part, factor in scaled]).sum(0)


def in_proportion(
    operators: Sequence[InfluenceOperator], shares: Sequence[float]
) -> StackedInfluence:
    """The stack in which the mean of |s|^2 of every operator is its share."""
    # Vectors that are all zero have no factor.
    norms = [o.typical_norm() or 1.0 for o in operators]
    scales = [share**0.5 / norm for share, norm in zip(shares, norms, strict=True)]
    return StackedInfluence(operators, scales)
