"""The interface through which networks read a user's rows: batches, targets, a digest."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from skprune.data.containers import n_rows

TARGET_RULES = """\
Targets are taken from the first of these that exists:
  1. y, if it is given;
  2. the dataset's .targets or .labels, or the label column of a Hugging Face dataset (through
     Subset and ConcatDataset as well), unless its items carry others;
  3. its items: (inputs, target), (inputs, ..., target), or a dict with one of the keys "labels",
     "label", "target", "targets", "y". The number of the row is never a target."""

#: The entries of a dict, and the columns of a Hugging Face dataset, that are the target.
LABEL_KEYS = ("labels", "label", "target", "targets", "y")

#: Number of rows that are looked at, and the least that tells row numbers from other numbers.
LOOKED_AT, ENOUGH = 8, 5


class RowSource(ABC):
    """Rows of a container, in batches on the CPU or where the user's tensors are.

    A subclass is constructed as ``kind(X, y, takes)`` if it ``reads(X, y)``; ``takes`` is the
    ``Signature`` of the network. It calls this constructor.

    Parameters
    ----------
    original : object
        What the user gave.
    n : int
        Number of rows.
    y : array-like of shape (n,) or (n, L), or None
        Targets; those of the container are used if it is None.

    Raises
    ------
    ValueError
        If there are no rows, or if y has another number of them.
    """

    #: Whether no y is needed, and training functions take the container itself.
    is_dataset: ClassVar[bool] = False

    def __init__(self, original: Any, n: int, y: Any) -> None:
        if n == 0:
            raise ValueError(f"{_name(original)} has no rows. Give at least one.")
        if y is not None and n_rows(y) != n:
            raise ValueError(
                f"y has {n_rows(y)} entries for {n} rows of {_name(original)}. "
                "Give one target for each row, in the order of the rows."
            )
        self.original = original
        self._n = n
        self._targets = None if y is None else as_numpy(y)

    def __len__(self) -> int:
        return self._n

    def batches(
        self, size: int, indices: ArrayLike | None = None
    ) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        """The inputs, without the targets, batch after batch.

        The rows of a dataset whose ``__getitem__`` draws at random (augmentation) differ from pass
        to pass, which cannot be detected: prune the dataset without its augmentation.

        Parameters
        ----------
        size : int
            Rows a batch; the last batch may be smaller.
        indices : array-like of int of shape (m,), default=None
            Which rows, in which order; all of them, in order, by default.

        Yields
        ------
        inputs : tensor, tuple or dict of tensors, or what the loader's ``collate_fn`` makes
            The collated rows. Their memory belongs to the caller, so that a network which works
            in place cannot reach the user's data.
        positions : ndarray of shape (b,), int64
            The numbers of these rows.

        Raises
        ------
        ValueError
            If rows cannot be collated, or an index is outside the rows.
        """
        if size < 1:
            raise ValueError(f"A batch has at least one row, got size={size}.")
        return self._batches(size, None if indices is None else self._check_indices(indices))

    def targets(self) -> NDArray[Any]:
        """The targets of all rows; they are looked for once.

        Returns
        -------
        targets : ndarray of shape (n,) or (n, L)
            Numbers or strings, aligned with the rows.

        Raises
        ------
        ValueError
            If none are found; the message has the rules by which they are looked for.
        """
        if self._targets is None:
            found = self._find_targets()
            if len(found) != len(self):
                raise ValueError(
                    f"{len(found)} targets were found for {len(self)} rows of "
                    f"{_name(self.original)}. Give them as y.\n{TARGET_RULES}"
                )
            self._targets = found
        return self._targets

    def with_targets(self, y: ArrayLike) -> RowSource:
        """The same rows with other targets, such as numbers for words."""
        other = copy.copy(self)
        other._targets = as_numpy(y)
        return other

    @classmethod
    @abstractmethod
    def reads(cls, X: Any, y: Any) -> bool:
        """Whether ``X`` with targets ``y``, which may be None, is of this kind."""

    @abstractmethod
    def fingerprint(self) -> str | None:
        """A digest of the inputs' content (the targets may or may not be part of it), or None.

        Equal digests mean equal inputs. None means that the content cannot be known without
        running the user's code on every row, and code can change unseen: nothing that is computed
        from such rows may be kept for another process. The digest is computed at every call.
        """

    @abstractmethod
    def take(self, indices: ArrayLike) -> Any:
        """The rows at ``indices``, in that order, in the user's kind of container."""

    @abstractmethod
    def _batches(
        self, size: int, indices: NDArray[np.int64] | None
    ) -> Iterator[tuple[Any, NDArray[np.int64]]]: ...

    def _find_targets(self) -> NDArray[Any]:
        raise no_targets(self.original)

    def _check_indices(self, indices: ArrayLike) -> NDArray[np.int64]:
        found = np.asarray(indices)
        if found.ndim != 1 or (found.dtype.kind not in "iu" and found.size):
            raise ValueError(
                f"Row numbers are a list of integers, got shape {found.shape} of {found.dtype}. "
                "Use np.flatnonzero(mask) for a mask."
            )
        if found.size and not 0 <= found.min() <= found.max() < len(self):
            raise ValueError(
                f"Row numbers run from {found.min()} to {found.max()}, but there are {len(self)} "
                f"rows, numbered from 0 to {len(self) - 1}."
            )
        return found.astype(np.int64)


def a_few(n: int) -> NDArray[np.int64]:
    """Some rows from all over n."""
    return np.unique(np.linspace(0, n - 1, LOOKED_AT).astype(np.int64))


def spans(
    n: int, size: int, indices: NDArray[np.int64] | None
) -> Iterator[tuple[slice | NDArray[np.int64], NDArray[np.int64]]]:
    """Yield for each batch an index of its rows, a slice if possible, and their numbers."""
    count = n if indices is None else len(indices)
    for start in range(0, count, size):
        stop = min(start + size, count)
        if indices is None:
            yield slice(start, stop), np.arange(start, stop)
        else:
            yield indices[start:stop], indices[start:stop]


def to_device(inputs: Any, device: torch.device | str, dtype: torch.dtype | None = None) -> Any:
    """Move nested tensors to another device, and the floating ones to another precision.

    Parameters
    ----------
    inputs : tensor, mapping, tuple, list, or an object with a method ``to``
        Anything else is passed on unchanged.
    device : torch.device or str
    dtype : torch.dtype, default=None
        Type of the floating tensors; integers, booleans and complex numbers keep theirs.

    Returns
    -------
    moved : as ``inputs``, with a dict for a mapping
    """
    if isinstance(inputs, torch.Tensor):
        cast = dtype if inputs.is_floating_point() else None
        # From pinned memory to a GPU only: a copy to the CPU would be read before it is there.
        ahead = torch.device(device).type == "cuda"
        return inputs.to(device=device, dtype=cast, non_blocking=ahead)
    if isinstance(inputs, Mapping):
        return {key: to_device(value, device, dtype) for key, value in inputs.items()}
    if isinstance(inputs, tuple) and hasattr(inputs, "_fields"):
        return type(inputs)(*(to_device(value, device, dtype) for value in inputs))
    if isinstance(inputs, (tuple, list)):
        return type(inputs)(to_device(value, device, dtype) for value in inputs)
    return inputs.to(device) if hasattr(inputs, "to") else inputs


def as_numpy(values: Any) -> NDArray[Any]:
    """Targets in any container as an array; a ValueError if their shapes differ."""
    if isinstance(values, (list, tuple)) and any(isinstance(v, torch.Tensor) for v in values):
        values = [as_numpy(v) for v in values]
    if isinstance(values, torch.Tensor):
        # numpy has no bfloat16.
        values = (values.float() if values.dtype == torch.bfloat16 else values).detach().cpu()
        return values.numpy()
    return np.asarray(values)


def no_targets(original: Any) -> ValueError:
    """The error for rows that have no targets."""
    return ValueError(f"{_name(original)} has no targets that could be found.\n{TARGET_RULES}")


def _name(data: Any) -> str:
    return f"the {type(data).__name__}"
