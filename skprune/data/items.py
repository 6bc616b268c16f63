"""The parts of a dataset's items, and targets that a dataset holds beside its items."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Subset, TensorDataset

from skprune.data.containers import is_row_wise
from skprune.data.hub import is_hub, label_column, stored_labels
from skprune.data.source import LABEL_KEYS, as_numpy


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


def form(inputs: Any) -> str:
    """The structure of an item or of its inputs in words, to compare and to print."""
    if isinstance(inputs, Mapping):
        return "a dict of " + ", ".join(sorted(map(repr, inputs)))
    if isinstance(inputs, (tuple, list)):
        return f"{len(inputs)} entries"
    return type(inputs).__name__


def stored_targets(dataset: Any) -> NDArray[Any] | None:
    """The targets that a dataset holds beside its items, or None; see TARGET_RULES."""
    return _throughout(dataset, _attribute)


def tensor_targets(dataset: Any, place: Any) -> NDArray[Any] | None:
    """The targets that are entry ``place`` of the items of TensorDatasets; None for others."""
    if not isinstance(place, int):
        return None
    # Subclasses may make their items of something else.
    return _throughout(
        dataset, lambda d: as_numpy(d.tensors[place]) if type(d) is TensorDataset else None
    )


def _attribute(dataset: Any) -> NDArray[Any] | None:
    if is_hub(dataset):
        return stored_labels(dataset, label_column(dataset))
    if getattr(dataset, "target_transform", None) is not None:
        return None  # what is stored is not what the items carry
    for name in ("targets", "labels"):
        found = getattr(dataset, name, None)
        if found is not None and is_row_wise(found, len(dataset)):
            return _array(found)
    return None


def _throughout(dataset: Any, find: Callable[[Any], NDArray[Any] | None]) -> NDArray[Any] | None:
    """Find one entry for every row in a dataset, or in the datasets that it is made of."""
    found = find(dataset)
    if found is None and isinstance(dataset, Subset):
        whole = _throughout(dataset.dataset, find)
        return None if whole is None else whole[np.asarray(dataset.indices, dtype=np.int64)]
    if found is None and isinstance(dataset, ConcatDataset):
        parts = [_throughout(part, find) for part in dataset.datasets]
        known = [part for part in parts if part is not None]
        return np.concatenate(known) if len(known) == len(parts) else None
    return found


def row_numbers(dataset: Any, row: int) -> set[int]:
    """The numbers of a row in the dataset and in the datasets that it is made of."""
    if isinstance(dataset, Subset):
        return {row} | row_numbers(dataset.dataset, int(dataset.indices[row]))
    if isinstance(dataset, ConcatDataset):
        part = bisect_right(dataset.cumulative_sizes, row)
        before = dataset.cumulative_sizes[part - 1] if part else 0
        return {row} | row_numbers(dataset.datasets[part], row - before)
    return {row}


def _array(values: Any) -> NDArray[Any] | None:
    try:
        found = as_numpy(values)
    except ValueError:  # ragged
        return None
    return None if found.dtype == object and not is_text(found) else found
