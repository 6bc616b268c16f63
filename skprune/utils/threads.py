"""The number of threads that multiply with the rows, and a lock for what they cannot share."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

import torch
from joblib import effective_n_jobs

#: Tables of at most so many numbers are worked on by one thread: sharing their products among
#: several costs more than it gains, and on a busy machine a hundred times more.
SMALL_TABLE = 2**21

T = TypeVar("T")

#: Held by a fit while it uses what belongs to the whole process: torch's forward mode and its
#: choice of kernels, the modes of modules, the global random states. One lock for all, as a
#: training may prune with a network and a pruner may train one, so that two could wait for each
#: other.
ALONE = threading.RLock()

#: The number of fits that are running, and torch's number of threads before the first of them. That
#: setting belongs to the process, so only the last fit to end restores it.
_LOCK = threading.Lock()
_under_way = [0, 0]


@contextmanager
def threads(n_jobs: int | None, numbers_held: int) -> Iterator[None]:
    """Set torch's number of threads temporarily: 1 if n_jobs is None and the table is small."""
    with _LOCK:
        if _under_way[0] == 0:
            _under_way[1] = torch.get_num_threads()
        _under_way[0] += 1
    before = _under_way[1]
    small = n_jobs is None and numbers_held <= SMALL_TABLE
    wanted = before if n_jobs is None else effective_n_jobs(n_jobs)
    torch.set_num_threads(1 if small else wanted)
    try:
        yield
    finally:
        with _LOCK:
            _under_way[0] -= 1
            if _under_way[0] == 0:
                torch.set_num_threads(before)


#: By process (a fork has none of its parent's threads) and number of workers.
_pools: dict[tuple[int, int], ThreadPoolExecutor] = {}


def side_by_side(work: Callable[[int], T], n: int) -> list[T]:
    """``[work(0), ..., work(n - 1)]``, each in a thread of its own for which torch has one core.

    torch splits every single operation among its threads and waits for the last of them. That is
    slow for many short operations in a row, and on a busy machine ten times slower still.
    """
    if n == 1:
        return [work(0)]
    gradients, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()

    def in_mode(share: int) -> T:
        # Modes are those of a thread.
        with torch.inference_mode(inference), torch.set_grad_enabled(gradients):
            return work(share)

    return list(_pool(n).map(in_mode, range(n)))


def _pool(n: int) -> ThreadPoolExecutor:
    """``n`` workers for which torch has one core each."""
    key = (os.getpid(), n)
    with _LOCK:
        if key not in _pools:
            before, started = torch.get_num_threads(), threading.Barrier(n)
            pool = ThreadPoolExecutor(n, "skprune", _use_one_core)
            list(pool.map(lambda _: started.wait(), range(n)))
            torch.set_num_threads(before)  # the setting is also that of threads to come
            _pools[key] = pool
        return _pools[key]


def _use_one_core() -> None:
    torch.set_num_threads(1)
    torch.get_num_threads()  # a thread takes over the process's number at its first use: now
