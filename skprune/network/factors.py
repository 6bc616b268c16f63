"""Per-row gradients of one layer in factored form.

A layer's chosen parameters make one block of q numbers, in the block's own order. A linear layer
that sees t positions has the gradient sum_t e_t x_t' for row i: the factors X and E are stored,
and the matrix is only formed on demand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skprune.utils.chunks import row_chunks


@dataclass(frozen=True)
class Block:
    """The chosen parameters of a layer, and their places in theta.

    Attributes
    ----------
    name : str
        Name of the layer.
    slices : tuple of slice
        The places of its parameters in theta.
    shape : tuple (groups, outputs, inputs) or None
        Shape of the matrix that x is multiplied by, if there is one. The last input is the bias, if
        ``has_bias``, and it is the only one if the weight is not among the chosen parameters.
    has_bias : bool
    """

    name: str
    slices: tuple[slice, ...]
    shape: tuple[int, int, int] | None = None
    has_bias: bool = False

    @property
    def size(self) -> int:
        """The number of its parameters, q."""
        return sum(s.stop - s.start for s in self.slices)

    def take(self, V: Tensor) -> Tensor:
        """The block's part of vectors (..., p), shape (..., q)."""
        parts = [V[..., s] for s in self.slices]
        if self.shape is None or not (self.has_bias and len(parts) == 2):
            return torch.cat(parts, dim=-1) if len(parts) > 1 else parts[0]
        groups, rows, _ = self.shape
        lead = V.shape[:-1]
        weight = parts[0].reshape(*lead, groups * rows, -1)
        return torch.cat([weight, parts[1].unsqueeze(-1)], dim=-1).reshape(*lead, -1)

    def put(self, out: Tensor, values: Tensor) -> None:
        """Write the block's part ``values`` (..., q) into vectors ``out`` (..., p)."""
        if self.shape is not None and self.has_bias and len(self.slices) == 2:
            groups, rows, inputs = self.shape
            matrix = values.reshape(*values.shape[:-1], groups * rows, inputs)
            out[..., self.slices[0]] = matrix[..., :-1].reshape(*values.shape[:-1], -1)
            out[..., self.slices[1]] = matrix[..., -1]
            return
        start = 0
        for where in self.slices:
            stop = start + where.stop - where.start
            out[..., where] = values[..., start:stop]
            start = stop


class Basis:
    """The vectors u_e (x) u_x, an orthogonal basis of a block of shape (groups, outputs, inputs).

    Parameters
    ----------
    U_X : Tensor of shape (groups, inputs, inputs)
    U_E : Tensor of shape (groups, outputs, outputs)
        Their columns are the vectors.
    """

    def __init__(self, U_X: Tensor, U_E: Tensor) -> None:
        self.U_X, self.U_E = U_X, U_E

    def rotate(self, V: Tensor) -> Tensor:
        """Coordinates of V (..., q) in the basis, the same shape."""
        return (self.U_E.mT @ self._matrix(V) @ self.U_X).reshape(V.shape)

    def back(self, D: Tensor) -> Tensor:
        """Vectors with coordinates D (..., q)."""
        return (self.U_E @ self._matrix(D) @ self.U_X.mT).reshape(D.shape)

    def rotate_inputs(self, X: Tensor) -> Tensor:
        """Coordinates of the inputs X (b, t, groups, inputs) of a factor."""
        return torch.einsum("btgd,gdk->btgk", X, self.U_X)

    def rotate_outputs(self, E: Tensor) -> Tensor:
        """Coordinates of the gradients E (b, t, groups, outputs) of a factor."""
        return torch.einsum("btgo,gok->btgk", E, self.U_E)

    def _matrix(self, V: Tensor) -> Tensor:
        groups, inputs, outputs = len(self.U_X), self.U_X.shape[1], self.U_E.shape[1]
        if groups == 1:  # an axis less, for matrix products that go by without a broadcast
            return V.reshape(-1, outputs, inputs)
        return V.reshape(*V.shape[:-1], groups, outputs, inputs)


class Factor(ABC):
    """Gradients of b rows in one block."""

    @abstractmethod
    def __len__(self) -> int:
        """The number of rows, b."""

    def numbers(self) -> int:
        """Number of stored numbers."""
        return sum(v.numel() for v in vars(self).values() if isinstance(v, Tensor))

    @abstractmethod
    def take(self, rows: Tensor | slice) -> Factor:
        """The factor of some of the rows."""

    @abstractmethod
    def scores(self, U: Tensor) -> Tensor:
        """The products <g_i, u> for U (B, q), shape (B, b)."""

    @abstractmethod
    def weighted_sum(self, weights: Tensor) -> Tensor:
        """The sums sum_i c_i g_i for weights c (G, b), shape (G, q)."""

    @abstractmethod
    def rows(self) -> Tensor:
        """The gradients g_i as rows, shape (b, q)."""

    def parts(self, width: int) -> Iterator[Factor]:
        """Yield a few rows at a time, so that ``width`` numbers for each row fit into memory."""
        chunks = list(row_chunks(len(self), width))
        yield from [self] if len(chunks) == 1 else map(self.take, chunks)

    def rotated(self, basis: Basis) -> Factor:
        """The same rows in the coordinates of ``basis``."""
        raise NotImplementedError(f"{type(self).__name__} is not of a block that has a basis.")

    def add_squares(self, total: Tensor) -> None:
        """Add sum_i g_i^2, entry by entry, to ``total`` (q,)."""
        for part in self.parts(len(total)):
            total += part.rows().square().sum(0)

    def weighted_squares(self, scale: Tensor) -> Tensor:
        """The sums sum_j scale_j g_ij^2 of every row, shape (b,)."""
        return torch.cat([part.rows().square() @ scale for part in self.parts(len(scale))])


class MatrixFactor(Factor):
    """g_i = sum_t e_it x_it' in every group: linear layers and convolutions.

    Parameters
    ----------
    X : Tensor of shape (b, t, groups, inputs)
        Inputs of the layer at every position, with a last input of 1 for the bias.
    E : Tensor of shape (b, t, groups, outputs)
        Gradients in its outputs.
    """

    def __init__(self, X: Tensor, E: Tensor) -> None:
        self.X, self.E = X, E

    def __len__(self) -> int:
        return len(self.X)

    def take(self, rows: Tensor | slice) -> MatrixFactor:
        return MatrixFactor(self.X[rows], self.E[rows])

    def scores(self, U: Tensor) -> Tensor:
        groups, outputs, inputs = self.E.shape[2], self.E.shape[3], self.X.shape[3]
        M = U.reshape(len(U), groups, outputs, inputs)
        return torch.einsum("btgd,Bgod,btgo->Bb", self.X, M, self.E)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        spread = torch.einsum("Gb,btgo->Gbtgo", weights, self.E)
        return torch.einsum("Gbtgo,btgd->Ggod", spread, self.X).reshape(len(weights), -1)

    def rows(self) -> Tensor:
        return torch.einsum("btgo,btgd->bgod", self.E, self.X).reshape(len(self), -1)

    def rotated(self, basis: Basis) -> MatrixFactor:
        return MatrixFactor(basis.rotate_inputs(self.X), basis.rotate_outputs(self.E))

    def add_squares(self, total: Tensor) -> None:
        if self.X.shape[1] > 1:
            return super().add_squares(total)
        X, E = self.X.squeeze(1).square(), self.E.squeeze(1).square()
        total += torch.einsum("bgo,bgd->god", E, X).reshape(-1)
        return None

    def weighted_squares(self, scale: Tensor) -> Tensor:
        if self.X.shape[1] > 1:
            return super().weighted_squares(scale)
        X, E = self.X.squeeze(1).square(), self.E.squeeze(1).square()
        M = scale.reshape(E.shape[1], E.shape[2], X.shape[2])
        return (torch.einsum("bgd,god->bgo", X, M) * E).sum((1, 2))


class LookupFactor(Factor):
    """g_i = sum_t of e_it in the row ids_it of a table: an embedding.

    Parameters
    ----------
    ids : Tensor of shape (b, t), int64
    E : Tensor of shape (b, t, width)
        Gradients in the vectors that were looked up; zero at the padding.
    entries : int
        Number of rows of the table.
    """

    def __init__(self, ids: Tensor, E: Tensor, entries: int) -> None:
        self.ids, self.E, self.entries = ids, E, entries

    def __len__(self) -> int:
        return len(self.ids)

    def take(self, rows: Tensor | slice) -> LookupFactor:
        return LookupFactor(self.ids[rows], self.E[rows], self.entries)

    def scores(self, U: Tensor) -> Tensor:
        tables = U.reshape(len(U), self.entries, -1)
        return torch.stack([(table[self.ids] * self.E).sum((1, 2)) for table in tables])

    def weighted_sum(self, weights: Tensor) -> Tensor:
        width = self.E.shape[2]
        total = self.E.new_zeros(len(weights), self.entries, width)
        for one, w in zip(total, weights, strict=True):
            one.index_add_(0, self.ids.reshape(-1), (w[:, None, None] * self.E).reshape(-1, width))
        return total.reshape(len(weights), -1)

    def rows(self) -> Tensor:
        b, width = len(self), self.E.shape[2]
        keys, merged = self.merged()
        rows = self.E.new_zeros(b * self.entries, width)
        rows[keys] = merged
        return rows.reshape(b, -1)

    def merged(self) -> tuple[Tensor, Tensor]:
        """Gradients of each entry that a row uses, with repeated ids summed: keys and vectors."""
        width = self.E.shape[2]
        first = torch.arange(len(self), device=self.ids.device)[:, None] * self.entries
        keys, where = torch.unique((first + self.ids).reshape(-1), return_inverse=True)
        merged = self.E.new_zeros(len(keys), width)
        merged.index_add_(0, where, self.E.reshape(-1, width))
        return keys, merged

    def add_squares(self, total: Tensor) -> None:
        keys, merged = self.merged()
        table = total.view(self.entries, -1)
        table.index_add_(0, keys % self.entries, merged.square().to(total.dtype))

    def weighted_squares(self, scale: Tensor) -> Tensor:
        keys, merged = self.merged()
        table = scale.view(self.entries, -1)
        along = (merged.square() * table[keys % self.entries]).sum(1)
        return along.new_zeros(len(self)).index_add_(0, keys // self.entries, along)


class RowFactor(Factor):
    """The g_i themselves, (b, q), for normalisations and parameters without a factored form."""

    def __init__(self, values: Tensor) -> None:
        self.values = values

    def __len__(self) -> int:
        return len(self.values)

    def take(self, rows: Tensor | slice) -> RowFactor:
        return RowFactor(self.values[rows])

    def scores(self, U: Tensor) -> Tensor:
        return U @ self.values.T

    def weighted_sum(self, weights: Tensor) -> Tensor:
        return weights @ self.values

    def rows(self) -> Tensor:
        return self.values


def row_gradients(blocks: Sequence[Block], factors: Sequence[Factor], dim: int) -> Tensor:
    """The gradients of b rows at full width, shape (b, p)."""
    return joined(blocks, [factor.rows() for factor in factors], dim)


def joined(blocks: Sequence[Block], parts: Sequence[Tensor], dim: int) -> Tensor:
    """The parts (..., q) of all blocks as vectors (..., p)."""
    if blocks[0].slices == (slice(0, dim),):
        return parts[0]
    out = parts[0].new_empty(*parts[0].shape[:-1], dim)
    for block, part in zip(blocks, parts, strict=True):
        block.put(out, part)
    return out
