"""Work on rows batch by batch, in smaller batches where memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.datasets import RowSource

#: Rows of a batch that is chosen here, on the CPU and on an accelerator.
CPU_BATCH, ACCELERATOR_BATCH = 256, 1024


def for_batches(
    source: RowSource,
    indices: NDArray[np.int64],
    batch_size: int | str,
    work: Callable[[Any, NDArray[np.int64]], None],
    device: torch.device,
) -> None:
    """Call ``work(inputs, places)`` on every batch; ``places`` count within ``indices``.

    Where memory runs out the batch is halved and tried again, so ``work`` must not leave half of
    a batch behind.

    Parameters
    ----------
    source : RowSource
    indices : ndarray of int64
        Rows, in the order in which they come.
    batch_size : int or "auto"
    work : callable
    device : torch.device
        Where the work is done.

    Raises
    ------
    MemoryError
        If a single row is too much.
    """
    if isinstance(batch_size, str):
        size = CPU_BATCH if device.type == "cpu" else ACCELERATOR_BATCH
    else:
        size = batch_size
    done = 0
    while done < len(indices):
        try:
            for inputs, positions in source.batches(size, indices[done:]):
                work(inputs, np.arange(done, done + len(positions)))
                done += len(positions)
        except (MemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            if size == 1:
                raise MemoryError(
                    f"One row alone does not fit into the memory of {device}; use another device "
                    "or a smaller model."
                ) from error
            size = (size + 1) // 2
            if device.type == "cuda":
                torch.cuda.empty_cache()


def _is_out_of_memory(error: Exception) -> bool:
    """Whether memory ran out; the CPU allocator of torch says so in words only."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return "out of memory" in str(error) or "can't allocate memory" in str(error)
