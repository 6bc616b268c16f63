"""The registry of data sources, and the choice of one for a container."""

from __future__ import annotations

from typing import Any

from skprune.data.arrays import ArraySource, ColumnsSource
from skprune.data.hub import HubSource
from skprune.data.mapped import DatasetSource
from skprune.data.signature import UNKNOWN, Signature
from skprune.data.source import RowSource
from skprune.data.subset import PrunedSubset

__all__ = ["SOURCES", "PrunedSubset", "RowSource", "as_source", "is_array", "is_dataset"]

#: The first one that reads a container is used; the last one reads everything.
SOURCES: list[type[RowSource]] = [HubSource, DatasetSource, ColumnsSource, ArraySource]


def is_dataset(X: Any) -> bool:
    """Whether ``X`` is a dataset, as a torch Dataset or DataLoader or a Hugging Face dataset is.

    Such an object may hold its targets, so that no y is needed.
    """
    return _kind(X, None).is_dataset


def is_array(X: Any, y: Any) -> bool:
    """Whether ``len`` counts the rows of ``X`` and an index takes them."""
    return _kind(X, y) is ArraySource


def _kind(X: Any, y: Any) -> type[RowSource]:
    return next(kind for kind in SOURCES if kind.reads(X, y))


def as_source(X: Any, y: Any = None, takes: Signature = UNKNOWN) -> RowSource:
    """The data source of a container.

    Parameters
    ----------
    X : array-like, mapping or tuple of array-likes, Dataset, DataLoader, or Hugging Face dataset
        - An array, memory map, list, frame, scipy sparse matrix or tensor of shape (n, ...).
        - A dict or tuple of such, equally long: several inputs of each row. A tuple that is as long
          as y, with entries that are not, is a sequence of rows.
        - A map-style torch Dataset. Its items are (inputs, target), (inputs, ..., target), a dict
          with a label key, or, with y, bare inputs. More may be in them, and within one another:
          row numbers, paths, and what is not taken. The target is then known by the values in y or
          in the dataset's ``.targets`` or ``.labels``. If the last entry of a tuple is another
          target than y, it is left out if it is one number or has the shape of a row of y.
        - A DataLoader: its dataset, in the dataset's order, with its ``collate_fn``, workers and
          pinned memory. Loaders that draw rows more than once or not at all are refused.
        - A Hugging Face ``datasets.Dataset``. Rows are dicts of its columns of numbers.
        - A container that another class in ``SOURCES`` reads.
    y : array-like of shape (n,) or (n, L), default=None
        Targets. They replace those that X holds.
    takes : Signature, optional
        The inputs that the network takes: how many, and by which names.

    Returns
    -------
    source : RowSource

    Raises
    ------
    ValueError
        If there are no rows, y has another number of rows, rows cannot be taken by number, a
        loader draws other rows than those of its dataset, or, once rows are asked for, it cannot
        be told which parts of the items are inputs.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> dataset = TensorDataset(torch.arange(5.0)[:, None], torch.tensor([0, 1, 0, 1, 1]))
    >>> source = as_source(DataLoader(dataset, shuffle=True))
    >>> for inputs, positions in source.batches(3):
    ...     print(inputs.ravel(), positions)
    tensor([0., 1., 2.]) [0 1 2]
    tensor([3., 4.]) [3 4]
    >>> source.targets()
    array([0, 1, 0, 1, 1])
    >>> source.take([0, 4])
    PrunedSubset(2 of 5 rows of TensorDataset)
    """
    return _kind(X, y)(X, y, takes)
