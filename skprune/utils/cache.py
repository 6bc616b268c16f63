"""Results kept in memory by the content they were computed from.

A search over pruning budgets fits the same pruner on the same rows again and again. What does
not depend on the budget is computed once: the key is a digest of the numbers themselves, since
``joblib.hash`` of a tensor differs between equal tensors.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch

from skprune.utils.chunks import row_chunks


def check_folder(cache_dir: str | os.PathLike[str] | None) -> None:
    """Make the folder before any work, or say why it cannot be made.

    Raises
    ------
    ValueError
        If it is a file, or cannot be made or written to.
    """
    if cache_dir is None:
        return
    try:
        os.makedirs(cache_dir, exist_ok=True)
        writable = os.access(cache_dir, os.W_OK)
    except OSError as error:
        raise ValueError(
            f"cache_dir={str(cache_dir)!r} is no folder and cannot be made one ({error.strerror}); "
            "give another."
        ) from error
    if not writable:
        raise ValueError(f"cache_dir={str(cache_dir)!r} cannot be written to; give another.")


def digest(*parts: Any) -> str:
    """A digest of arrays, tensors, sparse matrices and plain values, by content."""
    total = hashlib.blake2b(digest_size=16)
    for part in parts:
        if sp.issparse(part):
            part = (part.shape, part.indptr, part.indices, part.data)
        if isinstance(part, tuple):
            total.update(digest(*part).encode())
            continue
        if isinstance(part, torch.Tensor):
            _update(total, part.detach())
        elif isinstance(part, np.ndarray) and part.dtype != object:
            _update(total, part)
        else:
            total.update(repr(part.tolist() if isinstance(part, np.ndarray) else part).encode())
        total.update(b"|")
    return total.hexdigest()


def _update(total: hashlib.blake2b, array: Any) -> None:
    """Digest type, shape and numbers a few rows at a time, without copying a large matrix."""
    total.update(f"{array.dtype}{tuple(array.shape)}".encode())
    rows = array.reshape(1) if array.ndim == 0 else array
    for part in row_chunks(len(rows), math.prod(rows.shape[1:])):
        chunk = rows[part]
        if isinstance(chunk, torch.Tensor):
            bits = chunk.view(torch.int16) if chunk.dtype == torch.bfloat16 else chunk
            chunk = bits.cpu().numpy()
        chunk = np.ascontiguousarray(chunk)
        # Of times numpy gives no buffer.
        total.update((chunk.view(np.int64) if chunk.dtype.kind in "mM" else chunk).data)


def memory(value: Any) -> int:
    """Bytes of the arrays, tensors and sparse matrices that a value holds, each counted once."""
    total, seen, left = 0, set(), [value]
    while left:
        part = left.pop()
        if id(part) in seen:
            continue
        seen.add(id(part))
        if isinstance(part, (torch.Tensor, np.ndarray)):
            total += part.nbytes
        elif isinstance(part, dict):
            left += part.values()
        elif isinstance(part, (list, tuple)):
            left += part
        elif hasattr(part, "__dict__") and not callable(part):
            left.append(vars(part))
    return total


class ContentCache:
    """The most recent results, within a number of bytes.

    Parameters
    ----------
    max_bytes : int
        Above this size, the least recently used results are dropped.
    """

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self._entries: OrderedDict[str, tuple[Any, int]] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, key: str, compute: Callable[[], Any], size: Callable[[Any], int]) -> Any:
        """The result stored under ``key``, computed if it is not there; ``size`` is in bytes."""
        with self._lock:
            if key in self._entries:
                self._entries.move_to_end(key)
                return self._entries[key][0]
        result = compute()
        if size(result) > self.max_bytes:
            return result
        with self._lock:
            self._entries[key] = (result, size(result))
            while sum(s for _, s in self._entries.values()) > self.max_bytes and self._entries:
                self._entries.popitem(last=False)
        return result

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._entries.clear()
