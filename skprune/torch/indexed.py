"""A dataset that says which row an item is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.utils.data import Dataset


class Indexed(Dataset[Any]):
    """A dataset whose items come with their positions.

    An item becomes ``(index, item)``. One that is a mapping, as those of Hugging Face's datasets
    are, gets an entry ``"index"`` instead. Attributes are those of the dataset.

    Parameters
    ----------
    dataset : torch.utils.data.Dataset
        Any dataset with ``__len__`` and ``__getitem__``.

    Examples
    --------
    >>> from skprune.torch import Indexed
    >>> Indexed(["a", "b"])[1]
    (1, 'b')
    >>> Indexed([{"text": "a"}])[0]
    {'text': 'a', 'index': 0}
    """

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        """The item at a position, with the position."""
        return _indexed(index, self.dataset[index])

    def __getitems__(self, indices: Sequence[int]) -> list[Any]:
        """Several items; a dataset that fetches them at once does so."""
        if hasattr(self.dataset, "__getitems__"):
            items = self.dataset.__getitems__(indices)
        else:
            items = [self.dataset[index] for index in indices]
        return [_indexed(index, item) for index, item in zip(indices, items, strict=True)]

    def __getattr__(self, name: str) -> Any:
        # Private names are not looked up, and while unpickling there is no dataset yet.
        if name.startswith("_") or "dataset" not in self.__dict__:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        return getattr(self.dataset, name)


def _indexed(index: int, item: Any) -> Any:
    return {**item, "index": index} if isinstance(item, Mapping) else (index, item)
