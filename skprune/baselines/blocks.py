"""A random one of several blocks that all spread over the data: balance without bias or weights."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from skprune.baselines.base import Strategy
from skprune.baselines.coverage import distances_of
from skprune.data.strata import Rows

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence

#: Rows of either block among which exchanges are sought at once.
PART = 2048
#: What is added to distances, whose inverse is the energy of a pair.
SOFTENED = 0.01


class RandomBlock(Strategy):
    """Keep a random one of blocks of rows that are spread out (Schuller and Ganacim, 2026).

    The rows are parted into blocks of the wanted size, and exchanged between two of them at a time
    while that lowers the sum over pairs in a block of 1 / (distance + .01). The block that is kept
    is drawn: every row is kept with the same probability, whatever the exchanges, so that sums over
    the kept rows are unbiased without weights. Of more than half of the rows, a block is dropped
    instead.

    Parameters
    ----------
    keep, model, random_state
        As in ``Strategy``.
    min_per_class : int, default=0
        Rows that every class keeps at least; with more than 0 rows of rare classes are kept more
        often than others.
    n_sweeps : int, default=5
        How often every block meets another one, to exchange rows with it.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Strategy._parameter_constraints,
        "n_sweeps": [Interval(numbers.Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        n_sweeps: int = 5,
        model: Any = None,
        min_per_class: int = 0,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.n_sweeps = n_sweeps

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
        for _ in range(self.n_sweeps):
            for a, b in rng.permutation(count)[: count // 2 * 2].reshape(-1, 2):
                ours, theirs = (rng.permutation(width)[:PART] for _ in range(2))
                both = np.concatenate([blocks[a, ours], blocks[b, theirs]])
                both = both[exchange(energies(features[both]))]
                blocks[a, ours], blocks[b, theirs] = both[: len(ours)], both[len(ours) :]
        return blocks


def energies(features: NDArray[Any]) -> NDArray[Any]:
    """1 / (distance + .01) of all pairs of rows, 0 of a row with itself."""
    E = 1 / (distances_of(features) + SOFTENED)
    np.fill_diagonal(E, 0)
    return E


def exchange(E: NDArray[Any]) -> Rows:
    """An order of 2 m rows whose halves have less energy than those of the order given.

    An exchange of i and j lowers it by g_i + g_j + 2 E_ij, g being the energy that a row has with
    its own half less that with the other.
    """
    order, m = np.arange(len(E)), len(E) // 2
    side = np.repeat([1.0, -1.0], m)
    gains = side * (E @ side)
    for _ in range(m):
        i = int(gains[:m].argmax())
        gained = gains[i] + gains[m:] + 2 * E[order[i], order[m:]]
        j = m + int(gained.argmax())
        if gained[j - m] <= 0:
            break
        moved = 2 * (E[order[j]] - E[order[i]])[order]
        gains += side * moved
        order[[i, j]] = order[[j, i]]
        gains[[i, j]] = [side[k] * (E[order[k]][order] @ side) for k in (i, j)]
    return order
