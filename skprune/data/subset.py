"""The kept rows of a torch Dataset."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from torch.utils.data import Dataset, Subset

from skprune.data.containers import is_row_wise, take_rows

#: Attributes of a dataset that hold an entry for each row, by the names that are in use.
ROW_WISE = ("targets", "labels", "data", "samples", "imgs")


class PrunedSubset(Subset[Any]):
    """Some rows of a dataset, with the attributes of that dataset.

    ``targets`` and ``labels`` (and ``data``, ``samples``, ``imgs``, where they have an entry for
    each row) are cut to the subset; every other attribute, such as ``classes`` and
    ``class_to_idx``, is read from the dataset. Attributes that are set are the subset's own. A
    subset of a subset refers to the dataset at the bottom.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        The whole dataset. Plain subsets of it are looked through.
    indices : sequence of int
        The rows.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import TensorDataset
    >>> dataset = TensorDataset(torch.arange(4.0), torch.tensor([0, 0, 1, 1]))
    >>> kept = PrunedSubset(dataset, [0, 3])
    >>> kept[1], kept.tensors[0].shape
    ((tensor(3.), tensor(1)), torch.Size([4]))
    """

    def __init__(self, dataset: Dataset[Any], indices: Sequence[int]) -> None:
        rows = np.asarray(indices, dtype=np.int64)
        base, rows = flatten(dataset, rows)
        # Python integers: datasets look rows up in lists, files and keys.
        super().__init__(base, rows.tolist())

    def __getattr__(self, name: str) -> Any:
        # Private names are not looked up, and while unpickling there is no dataset yet.
        if name.startswith("_") or "dataset" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        value = getattr(self.dataset, name)
        # torch's Dataset declares no length, for the sake of iterable ones (here and below).
        if name in ROW_WISE and is_row_wise(value, len(self.dataset)):  # type: ignore[arg-type]
            return take_rows(value, np.asarray(self.indices, dtype=np.int64))
        return value

    def __repr__(self) -> str:
        whole = self.dataset
        return f"{type(self).__name__}({len(self)} of {len(whole)} rows of {type(whole).__name__})"  # type: ignore[arg-type]


def flatten(dataset: Any, rows: Any) -> tuple[Any, Any]:
    """The dataset below plain subsets, and the numbers that ``rows`` have there."""
    while type(dataset) in (Subset, PrunedSubset) and set(vars(dataset)) == {"dataset", "indices"}:
        rows = np.asarray(dataset.indices, dtype=np.int64)[rows]
        dataset = dataset.dataset
    return dataset, rows
