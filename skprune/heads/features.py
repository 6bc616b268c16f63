"""The feature matrix of a head: what multiplies, dense or sparse, and nothing else.

Rows are not copied to another form: a sparse matrix stays sparse, a dense one stays where it is
and in the precision it came in, be it a memory map. A few rows at a time are converted,
standardised and multiplied, while they are in the processor's cache, which takes little longer than
reading a converted copy from memory would. Products with float64 are exact for the numbers as
stored. Products with float32 take half the time; they are for rows that are stored in no more
(``dtype``), where a few digits are enough or exact products correct what is found.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.utils.chunks import row_chunks
from skprune.utils.threads import side_by_side

T = TypeVar("T")

#: A dense matrix of at most so many numbers is held in one block (256 MiB of float64).
HELD_NUMBERS = 2**25
#: Bytes of rows that are converted and multiplied at once. On a CPU they fit into the cache of a
#: thread; on an accelerator they are enough to keep it busy.
BLOCK_BYTES, DEVICE_BLOCK_BYTES = 2**20, 2**27


def shared_tensor(array: NDArray[Any]) -> Tensor:
    """A tensor in the memory of ``array``, which nothing here writes to."""
    if min(array.strides, default=0) < 0:  # torch has no such views
        array = array.copy()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        return torch.from_numpy(array)


class Features(ABC):
    """An (n, D) matrix Phi that multiplies from both sides, on its ``device``.

    A product has the precision of the other factor. ``dtype`` is the lowest useful precision:
    float32 if the rows are stored in float32 or less, else float64.
    """

    shape: tuple[int, int]
    device: torch.device
    dtype: torch.dtype

    def __len__(self) -> int:
        return self.shape[0]

    @abstractmethod
    def forward(self, theta: Tensor) -> Tensor:
        """Phi @ theta for theta (D, K), shape (n, K)."""

    @abstractmethod
    def adjoint(self, E: Tensor) -> Tensor:
        """Phi' @ E for E (n, K), shape (D, K)."""

    def sandwich(self, middle: Callable[[slice, Tensor], Tensor], theta: Tensor) -> Tensor:
        """Phi' M(Phi @ theta) for theta (D, K), shape (D, K).

        ``middle(part, Z)`` gives M's rows ``part`` from those of Phi @ theta, both (b, K).
        """
        return self.adjoint(middle(slice(0, len(self)), self.forward(theta)))

    @abstractmethod
    def take(self, indices: Tensor) -> Features:
        """The same kind of matrix with the given rows only."""

    @abstractmethod
    def rows(self, indices: Tensor | slice, dtype: torch.dtype = torch.float64) -> Tensor:
        """The given rows as a dense (b, D) tensor; for a few rows at a time."""

    @abstractmethod
    def gram(self, weights: Tensor) -> Tensor:
        """Phi' diag(weights) Phi for weights (n,), shape (D, D)."""

    @abstractmethod
    def adjoint_squared(self, E: Tensor) -> Tensor:
        """(Phi o Phi)' @ E with elementwise squares, for E (n, K), shape (D, K)."""

    @abstractmethod
    def forward_squared(self, theta: Tensor) -> Tensor:
        """(Phi o Phi) @ theta with elementwise squares, for theta (D, K), shape (n, K)."""

    @abstractmethod
    def to(self, device: torch.device) -> Features:
        """The same matrix with its products on another device."""

    @abstractmethod
    def content(self) -> tuple[Any, ...]:
        """The stored numbers and the device, for a digest."""

    def chunks(self, width: int | None = None) -> Iterator[slice]:
        """Slices over the rows, so that (rows x width) stays within ``CHUNK_NUMBERS``."""
        return row_chunks(len(self), width or self.shape[1])


class DenseFeatures(Features):
    """Rows of a shared matrix: Phi = [(matrix[index] - mean) / scale, 1].

    Parameters
    ----------
    matrix : Tensor of shape (N, d)
        float16, bfloat16, float32 or float64, on any device.
    index : Tensor of shape (n,), int64, optional
        Rows of the matrix; default: all of them.
    mean, scale : Tensor of shape (d,), float64, optional
        Mean and scale of the columns; default: 0 and 1.
    ones : bool
        Whether the last column is one of ones, for the intercept.
    device : torch.device, optional
        Device of the products; default: that of the matrix. Blocks of rows are copied to another
        device one by one.
    """

    def __init__(
        self,
        matrix: Tensor,
        index: Tensor | None = None,
        *,
        mean: Tensor | None = None,
        scale: Tensor | None = None,
        ones: bool = False,
        device: torch.device | None = None,
    ) -> None:
        self.matrix, self.index = matrix, index
        self.mean, self.scale, self.ones = mean, scale, ones
        self.device = device or matrix.device
        self.dtype = torch.float64 if matrix.dtype == torch.float64 else torch.float32
        n = len(matrix) if index is None else len(index)
        self.shape = (n, matrix.shape[1] + int(ones))
        self._is_bare = mean is None and scale is None and not ones
        self._is_here = index is None and matrix.device == self.device

    def held(self) -> DenseFeatures:
        """The same matrix in one block if that is small; else the matrix itself.

        Numbers in float64 are standardised in the block. Numbers of lower precision are kept and
        standardised in every product, so that none is rounded.
        """
        double, every = self.matrix.dtype == torch.float64, slice(0, len(self))
        ready = self._is_here and (self._is_bare or not double)
        if ready or self.shape[0] * self.shape[1] > HELD_NUMBERS:
            return self
        if double:
            return DenseFeatures(self.rows(every))
        return self._replace(matrix=self._stored(every).to(self.device), index=None)

    def forward(self, theta: Tensor) -> Tensor:
        rows = self._per_scale(theta).T.contiguous()
        Z = theta.new_empty(len(self), theta.shape[1])

        def act(part: slice, block: Tensor) -> None:
            # theta' Phi' is read along the rows of Phi, and half as long to compute as Phi theta.
            Z[part] = (rows @ block.T).T

        self._each_block(act, theta.dtype)
        return Z

    def adjoint(self, E: Tensor) -> Tensor:
        def add(A: Tensor, part: slice, block: Tensor) -> None:
            A.addmm_(E[part].T, block)  # as in forward

        return self._per_scale(self._sum_blocks((E.shape[1], self.shape[1]), add, E.dtype).T)

    def sandwich(self, middle: Callable[[slice, Tensor], Tensor], theta: Tensor) -> Tensor:
        # A block is multiplied from both sides while it is in the cache.
        rows = self._per_scale(theta).T.contiguous()

        def add(A: Tensor, part: slice, block: Tensor) -> None:
            A.addmm_(middle(part, (rows @ block.T).T).T, block)

        total = self._sum_blocks((theta.shape[1], self.shape[1]), add, theta.dtype)
        return self._per_scale(total.T)

    def take(self, indices: Tensor) -> DenseFeatures:
        indices = indices.to(self.matrix.device)
        index = indices if self.index is None else self.index[indices]
        return self._replace(index=index).held()

    def rows(self, indices: Tensor | slice, dtype: torch.dtype = torch.float64) -> Tensor:
        numbers = self._stored(indices)
        if self._is_bare:
            return numbers.to(self.device, dtype)
        block = torch.ones(len(numbers), self.shape[1], dtype=dtype, device=self.device)
        columns = self._fill(block, numbers)
        if self.scale is not None:
            columns.div_(self.scale.to(dtype))
        return block

    def gram(self, weights: Tensor) -> Tensor:
        def add(A: Tensor, part: slice, block: Tensor) -> None:
            A.addmm_(block.T, block * weights[part, None])

        total = self._sum_blocks((self.shape[1], self.shape[1]), add, weights.dtype)
        return self._per_scale(self._per_scale(total).T)

    def adjoint_squared(self, E: Tensor) -> Tensor:
        def add(A: Tensor, part: slice, block: Tensor) -> None:
            A.addmm_(E[part].T, block.square())

        total = self._sum_blocks((E.shape[1], self.shape[1]), add, E.dtype)
        return self._per_scale(self._per_scale(total.T))

    def forward_squared(self, theta: Tensor) -> Tensor:
        rows = self._per_scale(self._per_scale(theta)).T.contiguous()
        Z = theta.new_empty(len(self), theta.shape[1])

        def act(part: slice, block: Tensor) -> None:
            Z[part] = (rows @ block.square().T).T

        self._each_block(act, theta.dtype)
        return Z

    def to(self, device: torch.device) -> DenseFeatures:
        """The same matrix with its products on another device.

        The rows are copied there in their own precision if they take at most half of its free
        memory; otherwise every product copies them block by block.
        """
        device = torch.empty(0, device=device).device  # "cuda" is the current one
        if device == self.device:
            return self.held()
        mean, scale = (None if v is None else v.to(device) for v in (self.mean, self.scale))
        moved = self._replace(mean=mean, scale=scale, device=device)
        if _fits(len(self) * self.matrix.shape[1] * self.matrix.element_size(), device):
            matrix = self.matrix.new_empty(len(self), self.matrix.shape[1], device=device)
            for part in self.chunks():
                matrix[part] = self._stored(part).to(device)
            moved = moved._replace(matrix=matrix, index=None)
        return moved.held()

    def content(self) -> tuple[Any, ...]:
        return (self.matrix, self.index, self.mean, self.scale, self.ones, str(self.device))

    def _replace(self, **changes: Any) -> DenseFeatures:
        names = ("matrix", "index", "mean", "scale", "ones", "device")
        return DenseFeatures(**{**{name: getattr(self, name) for name in names}, **changes})

    def _sum_blocks(
        self,
        shape: tuple[int, int],
        add: Callable[[Tensor, slice, Tensor], object],
        dtype: torch.dtype,
    ) -> Tensor:
        """The total, of the given shape, to which ``add(total, part, block)`` adds all blocks."""

        def share(rows: slice) -> Tensor:
            total = torch.zeros(shape, dtype=dtype, device=self.device)
            for part, block in self._blocks(rows, dtype):
                add(total, part, block)
            return total

        first, *others = self._shares(share)
        for other in others:
            first += other
        return first

    def _each_block(self, act: Callable[[slice, Tensor], object], dtype: torch.dtype) -> None:
        """Call ``act(part, block)`` for all rows."""

        def share(rows: slice) -> None:
            for part, block in self._blocks(rows, dtype):
                act(part, block)

        self._shares(share)

    def _shares(self, work: Callable[[slice], T]) -> list[T]:
        """Results of ``work(rows)`` for shares of the rows, on a CPU one share for each thread."""
        n, blocks = len(self), -(-8 * self.shape[0] * self.shape[1] // BLOCK_BYTES)
        count = torch.get_num_threads() if self.device.type == "cpu" else 1
        count = max(1, min(count, blocks))
        return side_by_side(lambda i: work(slice(i * n // count, (i + 1) * n // count)), count)

    def _blocks(self, rows: slice, dtype: torch.dtype) -> Iterator[tuple[slice, Tensor]]:
        """Rows of Phi before the division by ``scale``; a block is overwritten by the next."""
        n, D = rows.stop - rows.start, self.shape[1]
        nbytes = BLOCK_BYTES if self.device.type == "cpu" else DEVICE_BLOCK_BYTES
        plain = self._is_here and self._is_bare and self.matrix.dtype == dtype
        buffer: Tensor | None = None
        for local in row_chunks(n, D, nbytes // dtype.itemsize):
            part = slice(rows.start + local.start, rows.start + local.stop)
            if plain:
                yield part, self.matrix[part]
                continue
            size = part.stop - part.start
            if buffer is None:
                buffer = torch.ones(size, D, dtype=dtype, device=self.device)
            self._fill(buffer[:size], self._stored(part))
            yield part, buffer[:size]

    def _stored(self, positions: Tensor | slice) -> Tensor:
        """The numbers of some rows in their stored precision, shape (b, d)."""
        if self.index is not None:
            return self.matrix.index_select(0, self.index[positions])
        return self.matrix[positions]

    def _fill(self, block: Tensor, numbers: Tensor) -> Tensor:
        """Write centred rows into a block whose entries are ones; returns their columns."""
        columns = block[:, : numbers.shape[1]]
        if self.mean is None:
            return columns.copy_(numbers)
        # In float64 the mean is subtracted before anything is rounded.
        return torch.sub(numbers.to(self.device), self.mean.to(block.dtype), out=columns)

    def _per_scale(self, V: Tensor) -> Tensor:
        """V (D, K) with the rows of the matrix's columns divided by ``scale``."""
        if self.scale is None:
            return V
        scale = self.scale.to(V.dtype)[:, None]
        return torch.cat([V[: len(scale)] / scale, V[len(scale) :]])


def _fits(nbytes: int, device: torch.device) -> bool:
    """Whether a matrix of that size should be copied to the device."""
    return device.type != "cuda" or 2 * nbytes <= torch.cuda.mem_get_info(device)[0]


class SparseFeatures(Features):
    """A scipy CSR matrix of float64. It stays on the CPU; products go to ``device``."""

    dtype = torch.float64

    def __init__(self, matrix: sp.csr_matrix, device: torch.device | None = None) -> None:
        self.matrix = matrix
        self.shape = (matrix.shape[0], matrix.shape[1])
        self.device = device or torch.device("cpu")

    def forward(self, theta: Tensor) -> Tensor:
        return self._tensor(self.matrix @ theta.cpu().numpy())

    def adjoint(self, E: Tensor) -> Tensor:
        return self._tensor(self.matrix.T @ E.cpu().numpy())

    def take(self, indices: Tensor) -> SparseFeatures:
        return SparseFeatures(self.matrix[indices.cpu().numpy()], self.device)

    def rows(self, indices: Tensor | slice, dtype: torch.dtype = torch.float64) -> Tensor:
        index = indices if isinstance(indices, slice) else indices.cpu().numpy()
        return self._tensor(self.matrix[index].toarray()).to(dtype)

    def gram(self, weights: Tensor) -> Tensor:
        weighted = self.matrix.multiply(weights.cpu().numpy()[:, None]).tocsr()
        return self._tensor((self.matrix.T @ weighted).toarray())

    def adjoint_squared(self, E: Tensor) -> Tensor:
        return self._tensor(self.matrix.power(2).T @ E.cpu().numpy())

    def forward_squared(self, theta: Tensor) -> Tensor:
        return self._tensor(self.matrix.power(2) @ theta.cpu().numpy())

    def to(self, device: torch.device) -> SparseFeatures:
        return SparseFeatures(self.matrix, device)

    def content(self) -> tuple[Any, ...]:
        return (self.matrix, str(self.device))

    def _tensor(self, product: NDArray[np.float64]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(product)).to(self.device)
