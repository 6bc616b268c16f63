"""What searches have found before, for fits that have the same to do."""

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
    """What a search finds, from memory for the same rows and parameters.

    A search over parameters of the model that is fitted on the kept rows prunes each fold again
    for every candidate. Features that are wanted on disk are looked after by every fit, and layers
    of networks hold on to too much to be remembered.

    Parameters
    ----------
    fresh : callable
        Searches.
    asked : tuple
        All that what it finds depends on, beside what follows.
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
    except Exception:  # unknown content; or rows that do not suit, of which the search will speak
        return fresh()
    found: Outcome = OUTCOMES.get(key, fresh, memory)
    return replace(
        found,
        path={name: column.copy() for name, column in found.path.items()},  # the user's own
        report=replace(found.report, selection_seconds=progress.seconds),
    )


def _look(proxy: Proxy, reading: Reading, rows: SourceRows, seed: int) -> str | None:
    """What comes out of a trained network, beside the code and the numbers that are in it."""
    if not isinstance(proxy, TorchProxy) or reading.subject.trains:
        return None
    module = reading.subject.module(rows.source, rows.positions, seed)
    model = TorchModel(module, proxy.device)

    def results(some: NDArray[Any]) -> torch.Tensor:
        with model.frozen(), torch.no_grad():
            return torch.cat([model.forward(inputs) for inputs, _ in rows.batches(len(some), some)])

    return module_content(model.module, len(rows), results)
