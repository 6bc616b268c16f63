"""A memory of searches, for fits on the same rows with the same parameters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch
from numpy.typing import NDArray

from skprune.data.content import content
from skprune.data.table import Table
from skprune.network.encoding import SourceRows
from skprune.network.fingerprint import module_content
from skprune.network.module import TorchModel
from skprune.proxies.base import Proxy, Reading
from skprune.proxies.torch_proxy import TorchProxy
from skprune.search.request import Outcome
from skprune.utils.cache import ContentCache, memory
from skprune.utils.progress import Progress

#: Outcomes kept in memory, shared by all pruners of this process.
OUTCOMES = ContentCache(max_bytes=2**30)


def search_once(
    fresh: Callable[[], Outcome],
    asked: tuple[Any, ...],
    proxy: Proxy,
    reading: Reading,
    rows: Table,
    seed: int,
    progress: Progress,
) -> Outcome:
    """The outcome of a search, from memory if rows and parameters are the same.

    Without this memory, a grid search over parameters of an estimator after the pruner would prune
    each fold again for every candidate. Searches with ``cache_dir`` are not stored, since every fit
    must write its features, and neither are those of layers, which would hold too much memory.

    Parameters
    ----------
    fresh : callable
        ``fresh()`` does the search.
    asked : tuple
        Everything else that the outcome depends on, besides the following.
    proxy : Proxy
    reading : Reading
    rows : Table
        All rows that may be kept.
    seed : int
    progress : Progress
    """
    if isinstance(proxy, TorchProxy) and (proxy.cache_dir is not None or not proxy.is_head):
        return fresh()
    try:
        look = _look(proxy, reading, rows.X, seed)
        key = content((asked, proxy.get_params(deep=False), reading, rows, seed, look))
    except Exception:  # unknown content, or rows that the search will refuse
        return fresh()
    found: Outcome = OUTCOMES.get(key, fresh, memory)
    return replace(
        found,
        path={name: column.copy() for name, column in found.path.items()},  # the user's own
        report=replace(found.report, selection_seconds=progress.seconds),
    )


def _look(proxy: Proxy, reading: Reading, rows: SourceRows, seed: int) -> str | None:
    """A digest of a trained network, made of its code, its numbers and some results."""
    if not isinstance(proxy, TorchProxy) or reading.subject.trains:
        return None
    module = reading.subject.module(rows.source, rows.positions, seed)
    model = TorchModel(module, proxy.device)

    def results(some: NDArray[Any]) -> torch.Tensor:
        with model.frozen(), torch.no_grad():
            return torch.cat([model.forward(inputs) for inputs, _ in rows.batches(len(some), some)])

    return module_content(model.module, len(rows), results)
