"""A random one of several blocks that all spread over the data: balance without bias or weights."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from skprune.baselines.base import Strategy
from skprune.data.strata import Rows

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence

#: What is added to distances, whose inverse is the energy of a pair.
SOFTENED = 0.01


class RandomBlock(Strategy):
    """Keep a random one of blocks of rows that are spread out (Schuller and Ganacim, 2026).

    The rows are parted into blocks of the wanted size, and exchanged between them while that lowers
    the sum over pairs in a block of 1 / (distance + .01). The block that is kept is drawn: every
    row is kept with the same probability, whatever the exchanges, so that sums over the kept rows
    are unbiased without weights. Of more than half of the rows, a block is dropped instead.

    Parameters
    ----------
    keep, model, random_state
        As in ``Strategy``.
    min_per_class : int, default=0
        Rows that every class keeps at least; with more than 0 rows of rare classes are kept more
        often than others.
    n_exchanges : float, default=5.0
        Exchanges that are tried, in units of the number of rows.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Strategy._parameter_constraints,
        "n_exchanges": [Interval(numbers.Real, 0, None, closed="left")],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        n_exchanges: float = 5.0,
        model: Any = None,
        min_per_class: int = 0,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.n_exchanges = n_exchanges

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        n = len(evidence)
        width = min(size, n - size)
        if width == 0:
            return np.arange(n)
        blocks = self.part(evidence, width, rng)
        block = blocks[rng.integers(len(blocks))]
        return block if width == size else np.setdiff1d(np.arange(n), block)

    def part(self, evidence: Evidence, width: int, rng: np.random.Generator) -> Rows:
        """Blocks (n // width, width) of rows; rows that are left over are left out at random."""
        n, features = len(evidence), evidence.features
        count = n // width
        rows = rng.permutation(n)[: count * width]
        # Rows of one class stand together, so that each block begins with its share of them.
        rows = rows[np.argsort(evidence.codes[rows], kind="stable")]
        blocks = rng.permuted(rows.reshape(width, count), axis=1).T.copy()
        if count == 1:
            return blocks
        for _ in range(int(self.n_exchanges * n)):
            a, b = rng.choice(count, 2, replace=False)
            i, j = rng.integers(width, size=2)
            ours, theirs = blocks[a, i], blocks[b, j]
            others = np.delete(blocks[a], i), np.delete(blocks[b], j)
            now = energy(features, ours, others[0]) + energy(features, theirs, others[1])
            then = energy(features, theirs, others[0]) + energy(features, ours, others[1])
            if then < now:
                blocks[a, i], blocks[b, j] = theirs, ours
        return blocks


def energy(features: NDArray[Any], row: int, others: Rows) -> float:
    """Sum of 1 / (distance + .01) from a row to others."""
    distances = np.linalg.norm(features[others] - features[row], axis=1)
    return float((1 / (distances + SOFTENED)).sum())
