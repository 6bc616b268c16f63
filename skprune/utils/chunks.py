"""Work on a few rows at a time, so that temporary copies stay small."""

from __future__ import annotations

from collections.abc import Iterator

#: Numbers held at once by a temporary copy of rows (64 MiB of float64).
CHUNK_NUMBERS = 2**23


def row_chunks(n: int, width: int, numbers: int | None = None) -> Iterator[slice]:
    """Slices over n rows, so that (rows x width) stays within ``numbers`` (``CHUNK_NUMBERS``)."""
    size = max(1, (numbers or CHUNK_NUMBERS) // max(1, width))
    for start in range(0, n, size):
        yield slice(start, min(start + size, n))
