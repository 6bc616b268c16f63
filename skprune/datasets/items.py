"""Which part of an item is the target, and where a dataset stores the targets of all items."""

from __future__ import annotations

from collections.abc import Mapping
from numbers import Number
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from skprune.containers import is_row_wise
from skprune.datasets.hub import is_hub, label_column, stored_labels
from skprune.datasets.source import as_numpy

#: The entries of a dict, and the columns of a Hugging Face dataset, that are the target.
LABEL_KEYS = ("labels", "label", "target", "targets", "y")


def label_key(entries: Any) -> Any:
    """The first of LABEL_KEYS that is there, or None."""
    return next((key for key in LABEL_KEYS if key in entries), None)


def is_text(value: Any) -> bool:
    """Whether ``value`` is a string, or a list or array of them: nothing that a network takes."""
    if isinstance(value, (list, tuple)):
        return len(value) > 0 and is_text(value[0])
    dtype = getattr(value, "dtype", None)
    if isinstance(dtype, np.dtype):
        first = np.asarray(value).flat[0] if dtype.kind == "O" and np.size(value) else None
        return dtype.kind in "US" or isinstance(first, (str, bytes))
    if dtype is not None:  # of pandas and polars
        return str(dtype).lower().startswith(("str", "utf8"))
    return isinstance(value, (str, bytes))


def split(item: Any, row_shape: tuple[int, ...] | None, *, batch: bool = False) -> tuple[Any, Any]:
    """The inputs and the target of an item, or of a collated batch of items.

    Parameters
    ----------
    item : object
        (inputs, target), (inputs, ..., target), a mapping with a label key, or bare inputs.
    row_shape : tuple of int, or None
        The shape of one of the targets that the user gave as y. The last entry of a tuple is then
        a target only if it is one number or has that shape, since y allows items without any.
    batch : bool, default=False
        Whether ``item`` is a batch, so that the first axis of its parts is the rows.

    Returns
    -------
    inputs : object
        One input as it is, several as a tuple, entries of a mapping as a dict without its label
        and its strings.
    target : object
        None if there is none.
    """
    target = None
    if isinstance(item, Mapping):
        key = label_key(item)
        target = None if key is None else item[key]
        item = {name: value for name, value in item.items() if name != key}
    elif _is_tuple(item):
        if len(item) > 1 and (row_shape is None or _shape(item[-1], batch) in ((), row_shape)):
            target, item = item[-1], item[:-1]
        item = item[0] if len(item) == 1 else tuple(item)
    if isinstance(item, Mapping):
        item = {name: value for name, value in item.items() if not is_text(value)}
    return item, target


def form(inputs: Any) -> str:
    """The structure of an item's inputs in words, to compare and to print."""
    if isinstance(inputs, Mapping):
        return "a dict of " + ", ".join(sorted(map(repr, inputs)))
    if isinstance(inputs, (tuple, list)):
        return f"{len(inputs)} inputs"
    return type(inputs).__name__


def stored_targets(dataset: Any) -> NDArray[Any] | None:
    """The targets that a dataset holds beside its items, or None; see TARGET_RULES."""
    if is_hub(dataset):
        return stored_labels(dataset, label_column(dataset, LABEL_KEYS))
    if getattr(dataset, "target_transform", None) is not None:
        return None  # what is stored is not what the items carry
    for name in ("targets", "labels"):
        found = getattr(dataset, name, None)
        if found is not None and is_row_wise(found, len(dataset)):
            return _array(found)
    if isinstance(dataset, TensorDataset):
        return as_numpy(dataset.tensors[-1]) if len(dataset.tensors) > 1 else None
    if isinstance(dataset, Subset):
        found = stored_targets(dataset.dataset)
        return None if found is None else found[np.asarray(dataset.indices, dtype=np.int64)]
    if isinstance(dataset, ConcatDataset):
        parts = [stored_targets(part) for part in dataset.datasets]
        found_parts = [part for part in parts if part is not None]
        return np.concatenate(found_parts) if len(found_parts) == len(parts) else None
    return None


def _array(values: Any) -> NDArray[Any] | None:
    try:
        found = as_numpy(values)
    except ValueError:  # ragged
        return None
    return None if found.dtype == object and not is_text(found) else found


def _is_tuple(item: Any) -> bool:
    """A list of numbers is one input; any other list is a tuple."""
    if isinstance(item, list):
        return any(not isinstance(entry, (Number, str)) for entry in item)
    return isinstance(item, tuple)


def _shape(value: Any, batch: bool) -> tuple[int, ...]:
    shape = tuple(value.shape if isinstance(value, torch.Tensor) else np.shape(value))
    return shape[1:] if batch else shape
