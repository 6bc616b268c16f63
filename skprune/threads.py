"""How many threads work on the products with the rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from joblib import effective_n_jobs

#: Tables of no more numbers are worked on by one thread: handing their products to several costs
#: more than it gains, and on a busy machine a hundred times more.
SMALL_TABLE = 2**21


#: Fits under way, and torch's setting before the first: it is one for the process, so that of fits
#: side by side only the last to end may restore it.
_LOCK = threading.Lock()
_under_way = [0, 0]


@contextmanager
def threads(n_jobs: int | None, numbers_held: int) -> Iterator[None]:
    """Set torch's number of threads for a while; one if n_jobs is None and the table small."""
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
