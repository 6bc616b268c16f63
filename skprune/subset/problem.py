"""What the caller hands to ``solve_subset``, checked once and put into one object."""

from __future__ import annotations

import math
import numbers
import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from torch import Tensor

from skprune.data.strata import Rows, group_minima
from skprune.influence.operator import (
    DenseInfluence,
    InfluenceOperator,
    RestrictedInfluence,
    SparseInfluence,
)


@dataclass(frozen=True)
class Problem:
    """Vectors, groups and where to start.

    Attributes
    ----------
    operator : InfluenceOperator
    groups : ndarray of shape (n,), int64
    minima : ndarray of shape (n_groups,), int64
    prior : ndarray of shape (n,) or None
    start : ndarray of int64 or None
    rng : numpy.random.Generator
    """

    operator: InfluenceOperator
    groups: Rows
    minima: Rows
    prior: NDArray[np.float64] | None
    start: Rows | None
    rng: np.random.Generator

    def __len__(self) -> int:
        return self.operator.n_rows

    def within(self, rows: Rows) -> Problem:
        """The same problem among some of the rows, under new numbers."""
        device = self.operator.offset.device
        start = self.start
        return replace(
            self,
            operator=RestrictedInfluence(self.operator, torch.from_numpy(rows).to(device)),
            groups=self.groups[rows],
            prior=None if self.prior is None else self.prior[rows],
            start=None if start is None else np.flatnonzero(np.isin(rows, start)),
        )

    def check_size(self, size: Any) -> int:
        """Rows to keep, if that many can be."""
        size, needed = whole("size", size, 0, len(self)), int(self.minima.sum())
        if size < needed:
            raise ValueError(
                f"size={size} is less than the {needed} rows that the groups' minima ask for; keep "
                "more rows or lower min_per_group."
            )
        return size


def read_problem(
    S: ArrayLike | Tensor | InfluenceOperator,
    offset: ArrayLike | Tensor | None,
    prior: ArrayLike | None,
    start: ArrayLike | None,
    groups: ArrayLike | None,
    min_per_group: int,
    random_state: int | np.random.RandomState | None,
) -> Problem:
    """Check everything; the parameters are those of ``solve_subset``.

    Raises
    ------
    ValueError
        For whatever makes no sense; the message says what was given and what to do.
    """
    operator = _operator(S, offset)
    n = operator.n_rows
    codes, minima = _groups(groups, min_per_group, n)
    rng = np.random.default_rng(check_random_state(random_state).randint(2**31 - 1))
    return Problem(operator, codes, minima, _prior(prior, n), _start(start, n), rng)


def whole(name: str, value: Any, low: int, high: int) -> int:
    """An integer between two others."""
    value = value.item() if isinstance(value, np.ndarray) and value.ndim == 0 else value
    number = isinstance(value, numbers.Real) and not isinstance(value, (bool, np.bool_))
    if not number or not low <= value <= high or value != int(value):
        bounds = f"between {low} and n = {high}" if high < 2**62 else f"of at least {low}"
        raise ValueError(f"{name} must be an integer {bounds}; got {value!r}.")
    return int(value)


def _operator(
    S: ArrayLike | Tensor | InfluenceOperator, offset: ArrayLike | Tensor | None
) -> InfluenceOperator:
    if isinstance(S, InfluenceOperator):
        if offset is not None:
            raise ValueError("An InfluenceOperator brings its own offset; leave offset=None.")
        return S
    vectors = _floats(S) if sp.issparse(S) else _tensor(S, "S")
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(
            f"S must be a matrix of shape (n, d), one vector a row, neither of them 0; got shape "
            f"{tuple(vectors.shape)}."
        )
    operator = SparseInfluence(vectors) if sp.issparse(S) else DenseInfluence(vectors)
    squares = operator.squared_norms()
    if not bool(torch.isfinite(squares).all()):
        row = int(torch.nonzero(~torch.isfinite(squares))[0])
        raise ValueError(
            f"S must be finite and its squares representable in {squares.dtype}; row {row} is "
            "the first that is not. Remove it or rescale all rows."
        )
    if offset is None:
        # The same sum as that of a subset of all rows, which then has norm 0 exactly.
        operator.offset = -operator.sum(torch.arange(operator.n_rows, device=squares.device))
    else:
        given = _tensor(offset, "offset").to(operator.offset)
        if given.shape != (operator.dim,):
            raise ValueError(
                f"offset must have one entry a column of S, shape ({operator.dim},); got shape "
                f"{tuple(given.shape)}."
            )
        if not bool(torch.isfinite(given).all()):
            raise ValueError("offset must be finite; it holds NaN or infinity.")
        operator.offset = given
    _check_range(operator, squares.dtype)
    return operator


def _check_range(operator: DenseInfluence | SparseInfluence, dtype: torch.dtype) -> None:
    """Refuse vectors whose products leave the range of their type."""
    limits, longest = torch.finfo(dtype), math.sqrt(float(operator.squared_norms().max()))
    largest = max(float(operator.offset.norm()), operator.n_rows * longest)
    nothing = longest == 0 and not bool(operator.vectors.count_nonzero())
    too_small = longest**2 < limits.tiny / limits.eps and not nothing
    if too_small or not largest * max(longest, largest / operator.n_rows) < 0.1 * limits.max:
        raise ValueError(
            f"The longest row of S has norm {longest:.2g} and the offset "
            f"{float(operator.offset.norm()):.2g}: products of such numbers leave the range of "
            f"{dtype}. Rescale S and offset together, or give float64."
        )


def _floats(S: Any) -> sp.csr_array:
    """A scipy sparse matrix as rows of float32 or float64."""
    rows = sp.csr_array(S)
    return sp.csr_array((_tensor(rows.data, "S").numpy(), rows.indices, rows.indptr), rows.shape)


def _tensor(data: ArrayLike | Tensor, name: str) -> Tensor:
    """Real numbers as a tensor of float32 or float64, without a copy if they are that already."""
    if isinstance(data, Tensor):
        given = data.detach()
        if given.is_complex() or given.layout != torch.strided:
            raise ValueError(
                f"{name} must be a dense tensor of real numbers; got {given.dtype}, "
                f"{given.layout}. Sparse ones go in as a scipy.sparse matrix."
            )
    else:
        array = np.asarray(data)
        if array.dtype.kind not in "fiub":
            raise ValueError(f"{name} must hold real numbers; got dtype {array.dtype}.")
        if array.dtype.kind != "f" or array.dtype.itemsize > 8:
            array = array.astype(np.float64)
        if not array.dtype.isnative:
            array = array.astype(array.dtype.newbyteorder("="))
        if min(array.strides, default=0) < 0:  # torch has no such views
            array = array.copy()
        with warnings.catch_warnings():
            # torch warns of read-only memory; nothing here writes to it.
            warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
            given = torch.from_numpy(array)
    if given.dtype in (torch.float32, torch.float64):
        return given
    return given.float() if given.dtype in (torch.float16, torch.bfloat16) else given.double()


def _groups(groups: ArrayLike | None, min_per_group: int, n: int) -> tuple[Rows, Rows]:
    least = whole("min_per_group", min_per_group, 0, 2**62)
    if groups is None:
        return np.zeros(n, dtype=np.int64), np.zeros(1, dtype=np.int64)
    given = np.asarray(groups)
    if given.shape != (n,):
        raise ValueError(f"groups must have one entry a row, shape ({n},); got {given.shape}.")
    try:
        codes = np.unique(given, return_inverse=True)[1].astype(np.int64)
    except TypeError as error:
        raise ValueError(
            f"groups must be labels of one kind that can be sorted: {error}."
        ) from None
    return codes, group_minima(codes, least)


def _prior(prior: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
    if prior is None:
        return None
    odds = np.asarray(prior, dtype=np.float64)
    if odds.shape != (n,):
        raise ValueError(f"prior must have one entry a row, shape ({n},); got {odds.shape}.")
    if not np.all(np.isfinite(odds)) or np.any(odds < 0):
        raise ValueError("prior must be finite odds of at least 0.")
    return odds


def _start(start: ArrayLike | None, n: int) -> Rows | None:
    if start is None:
        return None
    rows = np.asarray(start)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(f"start must be row numbers; got {rows.dtype} of shape {rows.shape}.")
    if rows.size and (rows.min() < 0 or rows.max() >= n):
        raise ValueError(f"start must be row numbers from 0 to {n - 1}.")
    return np.unique(rows).astype(np.int64)
