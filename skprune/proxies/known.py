"""What pruning for a head has found before, for fits that have the same to do."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.data.content import content
from skprune.data.table import Table
from skprune.heads.encoding import HeadEncoder
from skprune.network.encoding import NetworkEncoder, SourceRows
from skprune.network.fingerprint import module_content
from skprune.network.module import TorchModel
from skprune.proxies.head import prune_head
from skprune.search.request import Outcome, Settings
from skprune.utils.cache import ContentCache, memory

#: Outcomes kept in memory, shared by all pruners of this process.
OUTCOMES = ContentCache(max_bytes=2**30)


def prune_head_once(
    settings: Settings, table: Table, encoder: HeadEncoder, validation: Table
) -> Outcome:
    """``prune_head``, from memory for the same rows and parameters.

    A search over parameters of the model that is fitted on the kept rows prunes each fold again
    for every candidate. Features that are wanted on disk are looked after by every fit.
    """
    if isinstance(encoder, NetworkEncoder) and settings.cache_dir is not None:
        return prune_head(settings, table, encoder, validation)
    asked = replace(settings, begin=0.0)
    try:
        key = content((asked, table, encoder, validation, _look(encoder, table.X)))
    except Exception:  # unknown content; or rows that do not suit, of which prune_head will speak
        return prune_head(settings, table, encoder, validation)
    found: Outcome = OUTCOMES.get(
        key, lambda: prune_head(settings, table, encoder, validation), memory
    )
    seconds = time.perf_counter() - settings.begin
    return replace(
        found,
        path={name: column.copy() for name, column in found.path.items()},  # the user's own
        report=replace(found.report, selection_seconds=seconds),
    )


def _look(encoder: HeadEncoder, rows: SourceRows) -> str | None:
    """What comes out of a trained network, beside the code and the numbers that are in it."""
    if not isinstance(encoder, NetworkEncoder) or encoder.network.trains:
        return None
    model = TorchModel(
        encoder.network.module(rows.source, rows.positions, encoder.seed), encoder.device
    )

    def results(some: NDArray[np.int64]) -> torch.Tensor:
        with model.frozen(), torch.no_grad():
            return torch.cat([model.forward(inputs) for inputs, _ in rows.batches(len(some), some)])

    return module_content(model.module, len(rows), results)
