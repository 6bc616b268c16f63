"""Random blocks: a spread-out subset that is unbiased without weights."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from skprune.baselines.base import Strategy
from skprune.baselines.coverage import distances_of
from skprune.data.strata import Rows
from skprune.utils.sklearn_private import Interval

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence

#: Largest number of rows of a block that take part in one exchange.
PART = 2048
#: Added to the distance of a pair before its inverse is taken.
SOFTENED = 0.01


class RandomBlock(Strategy):
    """Keep a random block of a partition into spread-out blocks (Schuller and Ganacim, 2026).

    The rows are divided into blocks of the wanted size. Pairs of blocks exchange rows as long as
    that lowers the sum of 1 / (distance + .01) over pairs of rows in the same block. The kept block
    is drawn at random. Every row is therefore kept with the same probability, and sums over the
    kept rows are unbiased without weights. If more than half of the rows are kept, a random block
    is dropped instead.

    Parameters
    ----------
    keep, model, random_state
        As in ``Strategy``.
    min_per_class : int, default=0
        Rows that every class keeps at least. Values above 0 favour rare classes.
    n_sweeps : int, default=5
        How often every block exchanges rows with another one.
    """

    needs_labels = False

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
        """Divide the rows into blocks (n // width, width), leaving out surplus rows at random."""
        n, features = len(evidence), evidence.features
        count = n // width
        rows = rng.permutation(n)[: count * width]
        # Sorted by class, so that each block starts with its share of every class.
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
    """Order 2 m rows so that pairs within the two halves have less energy than before.

    Exchanging i and j lowers the energy by g_i + g_j + 2 E_ij, where g is a row's energy with its
    own half minus that with the other half.
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
