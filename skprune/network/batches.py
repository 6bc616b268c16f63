"""Work on rows batch by batch, in smaller batches if memory runs out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.data.sources import RowSource

#: Rows of a batch by default, on the CPU and on an accelerator.
CPU_BATCH, ACCELERATOR_BATCH = 256, 1024


def first_size(batch_size: int | str, device: torch.device) -> int:
    """Number of rows of the first batch: ``batch_size``, or a default for "auto"."""
    if not isinstance(batch_size, str):
        return batch_size
    return CPU_BATCH if device.type == "cpu" else ACCELERATOR_BATCH


def is_short_of_memory(error: Exception) -> bool:
    """Whether an error says that memory ran out."""
    # The CPU allocator of torch says so in words only.
    words = ("out of memory", "can't allocate memory", "not enough memory")
    short = isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError))
    return short or any(said in str(error) for said in words)


def smaller(size: int, error: Exception, device: torch.device) -> int:
    """The next smaller batch size after ``size`` rows did not fit into memory.

    Raises
    ------
    MemoryError
        If a single row is too much.
    Exception
        The error itself, if it is not about memory.
    """
    if not is_short_of_memory(error):
        raise error
    if size == 1:
        raise MemoryError(
            f"One row alone does not fit into the memory of {device}; use another device or a "
            "smaller model."
        ) from error
    if device.type == "cuda":
        torch.cuda.empty_cache()
    return (size + 1) // 2


def for_batches(
    source: RowSource,
    indices: NDArray[np.int64],
    batch_size: int | str,
    work: Callable[[Any, NDArray[np.int64]], None],
    device: torch.device,
) -> None:
    """Call ``work(inputs, places)`` on every batch; ``places`` count within ``indices``.

    If memory runs out, the batch is halved and tried again, so ``work`` must have no effect when it
    fails.

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
    size, done = first_size(batch_size, device), 0
    while done < len(indices):
        try:
            for inputs, positions in source.batches(size, indices[done:]):
                work(inputs, np.arange(done, done + len(positions)))
                done += len(positions)
        except (MemoryError, RuntimeError) as error:
            size = smaller(size, error, device)
