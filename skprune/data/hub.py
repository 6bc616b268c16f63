"""Rows of a Hugging Face ``datasets.Dataset``, without importing that package.

Whoever has such an object has imported the package already.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from skprune.data.signature import UNKNOWN, Signature
from skprune.data.source import ENOUGH, LABEL_KEYS, RowSource, a_few, no_targets, spans
from skprune.utils.cache import digest

#: Classes of the package datasets; only the first has rows that can be taken by number.
KINDS = ("Dataset", "IterableDataset", "DatasetDict", "IterableDatasetDict")

_TEXT = ("string", "large_string", "string_view", "binary", "large_binary", "null")


def is_hub(obj: Any, *names: str) -> bool:
    """Whether ``obj`` is one of the classes ``names`` of the package datasets; Dataset if none."""
    module = sys.modules.get("datasets")
    classes = (getattr(module, name, None) for name in names or ("Dataset",))
    return any(isinstance(obj, kind) for kind in classes if isinstance(kind, type))


def refuse_hub(obj: Any) -> None:
    """Raise a ValueError for datasets whose rows cannot be taken by number."""
    if is_hub(obj, "DatasetDict", "IterableDatasetDict"):
        raise ValueError(
            f"A {type(obj).__name__} has several splits ({', '.join(map(str, obj))}). Name the one "
            "to prune, for example dataset['train']."
        )
    if is_hub(obj, "IterableDataset"):
        raise ValueError(
            "A streaming dataset has no rows that can be taken by number. Load it without "
            "streaming=True, or store it with datasets.Dataset.from_generator."
        )


def label_column(dataset: Any) -> str | None:
    """The first of LABEL_KEYS that is a column; else the only ClassLabel column; else None."""
    columns = dataset.column_names
    found = [name for name in LABEL_KEYS if name in columns]
    found = found or [c for c in columns if hasattr(dataset.features[c], "int2str")]
    return found[0] if len(found) == 1 or (found and found[0] in LABEL_KEYS) else None


def stored_labels(dataset: Any, column: str | None) -> NDArray[Any] | None:
    """The label column, or None if there is none or the user's transform makes it."""
    if column is None or has_transform(dataset):
        return None
    missing = dataset.with_format("arrow", columns=[column])[:][column].null_count
    found = dataset.with_format("numpy", columns=[column])[:][column]
    if missing or (found.dtype == object and not isinstance(found[0], str)):
        raise ValueError(
            f"Column {column!r} holds missing values or lists of differing length. Remove those "
            "rows, or give the targets as y."
        )
    return np.asarray(found)


def has_transform(dataset: Any) -> bool:
    """Whether rows go through code of the user's (``set_transform``)."""
    return bool(dataset.format["type"] == "custom")


def hub_fingerprint(dataset: Any) -> str | None:
    """A digest of table and format; None if code of the user's makes the rows."""
    if has_transform(dataset):
        return None
    return digest("hub", dataset._fingerprint, len(dataset), repr(dataset.format))


class HubSource(RowSource):
    """Rows of a Hugging Face dataset as dicts of tensors, by its own torch format.

    The columns are those of the dataset's format, without the label column, without columns of
    strings and without those that the network does not name. Floating columns come as float32, as
    the torch format makes them.
    """

    is_dataset = True

    def __init__(self, dataset: Any, y: Any = None, takes: Signature = UNKNOWN) -> None:
        refuse_hub(dataset)
        self._label = label = label_column(dataset)
        formatted = dataset.format
        columns = [
            name
            for name in formatted["columns"]
            if name != label and not _is_text(dataset.features[name])
        ]
        if not columns:
            raise ValueError(
                f"The dataset has the columns {dataset.column_names}, none of which is a number, "
                "image or list of numbers beside the label. Tokenize or embed it first: "
                "dataset.map(lambda row: tokenizer(row['text'], padding='max_length', "
                "truncation=True))."
            )
        columns = takes.choose(columns, [c for c in columns if _holds_row_numbers(dataset, c)])
        options = formatted["format_kwargs"] if formatted["type"] == "torch" else {}
        self._view = dataset.with_format("torch", columns=columns, **options)
        super().__init__(dataset, len(dataset), y)

    @classmethod
    def reads(cls, X: Any, y: Any) -> bool:
        """Whether X is a Hugging Face dataset without a transform of the user's."""
        return is_hub(X, *KINDS) and not (is_hub(X) and has_transform(X))

    def fingerprint(self) -> str | None:
        """A digest of Hugging Face's own fingerprint, the length and the format."""
        return hub_fingerprint(self.original)

    def take(self, indices: ArrayLike) -> Any:
        """``dataset.select(indices)``."""
        return self.original.select(self._check_indices(indices))

    def _find_targets(self) -> NDArray[Any]:
        found = stored_labels(self.original, self._label)
        if found is None:
            raise no_targets(self.original)
        return found

    def _batches(
        self, size: int, indices: NDArray[np.int64] | None
    ) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        for key, positions in spans(len(self), size, indices):
            inputs = dict(self._view[key])
            ragged = [k for k, value in inputs.items() if not isinstance(value, torch.Tensor)]
            if ragged:
                raise ValueError(
                    f"Rows differ in shape in the columns {ragged}. Pad them (tokenizer(..., "
                    "padding='max_length')), resize images, or give "
                    "DataLoader(dataset, collate_fn=DataCollatorWithPadding(tokenizer))."
                )
            yield inputs, positions


def _holds_row_numbers(dataset: Any, column: str) -> bool:
    """Whether a column is the number of the row, here or in the table below (GLUE's ``idx``)."""
    if "int" not in getattr(dataset.features[column], "dtype", ""):
        return False
    rows = a_few(len(dataset))
    found = dataset.with_format("numpy", columns=[column])[rows][column]
    below = dataset._indices  # of what was shuffled or selected
    numbers = [rows] if below is None else [rows, below.column(0).to_numpy()[rows]]
    return len(rows) >= ENOUGH and any(np.array_equal(found, known) for known in numbers)


def _is_text(feature: Any) -> bool:
    """Whether a column holds strings, or lists of them."""
    if isinstance(feature, list):  # an older way to write a list feature
        return _is_text(feature[0])
    inner = getattr(feature, "feature", None)
    return _is_text(inner) if inner is not None else getattr(feature, "dtype", "") in _TEXT
