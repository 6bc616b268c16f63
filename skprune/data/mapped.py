"""Rows of a torch Dataset, and of the dataset of a DataLoader."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch.utils.data import (
    BatchSampler,
    ConcatDataset,
    DataLoader,
    Dataset,
    IterableDataset,
    RandomSampler,
    Sampler,
    SequentialSampler,
    TensorDataset,
    default_collate,
)

from skprune.data.arrays import ArrayRows
from skprune.data.hub import hub_fingerprint, is_hub, refuse_hub
from skprune.data.items import form, row_numbers, stored_targets, tensor_targets
from skprune.data.layout import Layout, Sample, find_layout, mixed
from skprune.data.signature import UNKNOWN, Signature
from skprune.data.source import RowSource, a_few, as_numpy, no_targets, spans
from skprune.data.subset import PrunedSubset, flatten
from skprune.utils.cache import digest

#: Rows a batch of a pass that looks for targets only.
TARGET_BATCH = 256


class DatasetSource(RowSource):
    """Rows of a map-style dataset, in the dataset's own order.

    A DataLoader's dataset, ``collate_fn``, workers and pinned memory are used. Its sampler is not,
    because rows are asked for by number; so the loader may shuffle.

    Parameters
    ----------
    data : Dataset or DataLoader
        Items are (inputs, target), (inputs, ..., target), dicts with a label key, or bare inputs;
        more may be in them, see ``find_layout``.
    y : array-like of shape (n,) or (n, L), default=None
        Targets that go before those of the dataset.
    takes : Signature
        The inputs that are wanted.
    """

    is_dataset = True

    def __init__(self, data: Any, y: Any = None, takes: Signature = UNKNOWN) -> None:
        self._dataset, self._collate, self._options = data, None, {}
        if isinstance(data, DataLoader):
            _check_sampling(data)
            self._dataset, self._options = data.dataset, _loader_options(data)
            if data.collate_fn is not default_collate:
                self._collate = data.collate_fn
        _check_map_style(self._dataset)
        super().__init__(data, _length(self._dataset), y)
        self._takes, self._given = takes, self._targets

    @classmethod
    def reads(cls, X: Any, y: Any) -> bool:
        """Whether X is a torch Dataset or DataLoader, or a transformed Hugging Face dataset."""
        return isinstance(X, (Dataset, DataLoader)) or is_hub(X)

    def fingerprint(self) -> str | None:
        """A digest of the tensors of TensorDatasets and of Hugging Face tables; else None."""
        return None if self._collate is not None else _content(self._dataset)

    def take(self, indices: ArrayLike) -> Any:
        """A PrunedSubset, or ``select`` of a Hugging Face dataset."""
        rows = self._check_indices(indices)
        if is_hub(self._dataset):
            return self._dataset.select(rows)
        # An array of numbers serves a Subset as a list of them does.
        return PrunedSubset(self._dataset, rows)  # type: ignore[arg-type]

    def _batches(
        self, size: int, indices: NDArray[np.int64] | None
    ) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        base, below = flatten(self._dataset, np.arange(len(self)) if indices is None else indices)
        if type(base) is TensorDataset and self._collate is None:
            # The same numbers as item by item, a hundred times as fast.
            columns = [ArrayRows(tensor) for tensor in base.tensors]
            rows = None if indices is None and base is self._dataset else below
            keys = (key for key, _ in spans(len(self), size, rows))
            for key, (_, where) in zip(keys, spans(len(self), size, indices), strict=True):
                batch = tuple(column[key] for column in columns)
                yield self._layout.split(batch)[0], where
            return
        shape = ""
        collate = _Collate(self._collate, self._layout, "inputs")
        for (inputs, _), where in self._stream(size, indices, collate):
            if form(inputs) != (shape := shape or form(inputs)):
                raise mixed({shape, form(inputs)})
            yield inputs, where

    @functools.cached_property
    def _stored(self) -> NDArray[Any] | None:
        """The targets beside the items, if there is one for each."""
        stored = stored_targets(self._dataset)
        return None if stored is None or len(stored) != len(self) else stored

    @functools.cached_property
    def _sample(self) -> Sample:
        """A few items from all over the dataset, as a loader hands them out."""
        rows = a_few(len(self))
        items, _ = next(self._stream(len(rows), rows, self._collate or list))
        return Sample(
            name=type(self._dataset).__name__,
            items=items,
            collated=self._collate is not None,
            rows=rows,
            numbers=[row_numbers(self._dataset, int(row)) for row in rows],
            given=self._given,
            stored=self._stored,
        )

    @functools.cached_property
    def _layout(self) -> Layout:
        return find_layout(self._sample, self._takes)

    def _find_targets(self) -> NDArray[Any]:
        target = self._layout.target
        if self._stored is not None and (target is None or self._layout.agreed):
            return self._stored
        if target is None:
            raise no_targets(self.original)
        tensor = tensor_targets(self._dataset, *target) if len(target) == 1 else None
        # A Subset of a class of its own may make other items of them.
        if tensor is None or not self._sample.equals(target, tensor):
            return self._collect()
        return tensor

    def _collect(self) -> NDArray[Any]:
        """The targets that the items carry."""
        parts = []
        collate = _Collate(self._collate, self._layout, "targets")
        for (_, targets), where in self._stream(TARGET_BATCH, None, collate):
            if targets is None:
                raise no_targets(self.original)
            try:
                part = as_numpy(targets)
            except ValueError:
                part = np.empty(len(where), dtype=object)
            if part.dtype == object or len(part) != len(where):
                raise ValueError(
                    f"The targets of the items are {type(targets[0]).__name__}s that do not make "
                    "an array with one number, string or row of numbers for each item. Give such "
                    "targets as y."
                )
            parts.append(part)
        if len({part.shape[1:] for part in parts}) > 1:
            raise ValueError(
                "The targets of the items differ in shape. Give targets of one shape as y."
            )
        return np.concatenate(parts)

    def _stream(
        self, size: int, indices: NDArray[np.int64] | None, collate: Callable[[list[Any]], Any]
    ) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        order = np.arange(len(self)) if indices is None else indices
        loader: DataLoader[Any] = DataLoader(
            self._dataset,
            batch_sampler=_Batches(order, size),
            collate_fn=collate,
            # A loader draws the seed of its workers: not from the user's generator.
            generator=torch.Generator().manual_seed(0),
            **self._options,
        )
        for batch, (_, positions) in zip(loader, spans(len(order), size, order), strict=True):
            yield batch, positions


class _Batches(Sampler[list[int]]):
    """Row numbers in the order that was asked for."""

    def __init__(self, order: NDArray[np.int64], size: int) -> None:
        self.order, self.size = order, size

    def __len__(self) -> int:
        return -(-len(self.order) // self.size)

    def __iter__(self) -> Iterator[list[int]]:
        for start in range(0, len(self.order), self.size):
            yield self.order[start : start + self.size].tolist()


class _Collate:
    """Collates items to (inputs, targets), of which only ``part`` is made; runs in workers."""

    def __init__(
        self,
        collate: Callable[[list[Any]], Any] | None,
        layout: Layout,
        part: str,
    ) -> None:
        self.collate, self.layout, self.part = collate, layout, part

    def __call__(self, items: list[Any]) -> tuple[Any, Any]:
        if self.collate is not None:
            inputs, targets = self.layout.split(self.collate(items))
            _check_rows(inputs, targets, len(items))
            return inputs, targets
        inputs, targets = zip(*map(self.layout.split, items), strict=True)
        if self.part == "targets":
            return None, None if any(t is None for t in targets) else list(targets)
        forms = {form(row) for row in inputs}
        if len(forms) > 1:
            raise mixed(forms)
        try:
            batch = default_collate(list(inputs))
        except (TypeError, RuntimeError, ValueError, KeyError) as exc:
            raise ValueError(
                f"The inputs of {len(items)} items ({forms.pop()}) do not make a batch: {exc} "
                "Give the dataset a transform that makes tensors of one shape, or give a "
                "DataLoader with a collate_fn that pads."
            ) from exc
        return tuple(batch) if isinstance(batch, list) else batch, None


def _check_rows(inputs: Any, targets: Any, n: int) -> None:
    """Refuse a collate_fn that drops or adds rows: results could not be told apart by row."""
    parts = tuple(inputs.values()) if isinstance(inputs, dict) else inputs
    parts = parts if isinstance(parts, (tuple, list)) else [parts]
    lengths = {len(part) for part in parts if isinstance(part, torch.Tensor) and part.ndim}
    # Flat tokens with offsets have another length, so that one right length is enough.
    wrong = bool(lengths) and n not in lengths
    if isinstance(targets, torch.Tensor):
        wrong = wrong or targets.ndim == 0 or len(targets) != n
    if wrong:
        raise ValueError(
            f"The loader's collate_fn made a batch of {sorted(lengths)} rows from {n} items. "
            "Remove such items from the dataset instead (torch.utils.data.Subset)."
        )


def _check_map_style(dataset: Any) -> None:
    refuse_hub(dataset)
    if isinstance(dataset, IterableDataset):
        raise ValueError(
            f"{type(dataset).__name__} is an IterableDataset: its rows have no numbers, so none "
            "can be kept or left out. Give a map-style dataset (__len__ and __getitem__), for "
            "example a TensorDataset of its stacked inputs and targets."
        )


def _length(dataset: Any) -> int:
    try:
        return len(dataset)
    except (TypeError, NotImplementedError) as exc:
        raise ValueError(
            f"{type(dataset).__name__} has no __len__. Give it one: the number of its items."
        ) from exc


def _check_sampling(loader: DataLoader[Any]) -> None:
    """Refuse loaders whose rows are not those of their dataset, each once."""
    _check_map_style(loader.dataset)
    cure = "Give the dataset itself (loader.dataset), or the rows meant as a Subset of it."
    if loader.batch_sampler is None:
        raise ValueError(
            "The DataLoader has batch_size=None, so that its items may be batches already. " + cure
        )
    if type(loader.batch_sampler) is not BatchSampler:
        raise ValueError(
            f"It cannot be seen which rows {type(loader.batch_sampler).__name__} draws. " + cure
        )
    sampler = loader.batch_sampler.sampler
    if type(sampler) is RandomSampler:
        if sampler.replacement or sampler.num_samples != _length(loader.dataset):
            raise ValueError(
                f"The loader's RandomSampler draws {sampler.num_samples} of "
                f"{_length(loader.dataset)} rows (replacement={sampler.replacement}). " + cure
            )
    elif type(sampler) is not SequentialSampler:
        raise ValueError(
            f"The loader's {type(sampler).__name__} draws some rows more often than others or not "
            "at all. " + cure
        )


def _loader_options(loader: DataLoader[Any]) -> dict[str, Any]:
    return {
        "num_workers": loader.num_workers,
        "pin_memory": loader.pin_memory and torch.cuda.is_available(),
        "timeout": loader.timeout,
        "worker_init_fn": loader.worker_init_fn,
        "multiprocessing_context": loader.multiprocessing_context,
        "prefetch_factor": loader.prefetch_factor,
    }


def _content(dataset: Any) -> str | None:
    """A digest of plain tensors; None for classes that may run code of their own."""
    if is_hub(dataset):
        return hub_fingerprint(dataset)
    if type(dataset) is ConcatDataset:
        parts = [_content(part) for part in dataset.datasets]
        return None if None in parts else digest("concat", *parts)
    base, rows = flatten(dataset, np.arange(_length(dataset)))
    if base is not dataset:
        below = _content(base)
        return None if below is None else digest("subset", below, rows)
    if type(base) is TensorDataset:
        return digest("tensors", *(ArrayRows(tensor).fingerprint() for tensor in base.tensors))
    return None
