"""Who is first, who is tied with it, and who is below random rows, over cells of a table.

What two means of a cell differ by chance (one standard error) is estimated from the whole cell, by
medians, because the worst strategies vary far more than the others: from what is left of the
scores without the strategy's mean and the seed's median. A strategy is *first* if none is better,
*tied* if the first is ahead by no more than that, and *below random* if random rows are ahead by
more. With one seed nothing is known of chance, and nobody is tied or below random.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field

import numpy as np

#: A normal variable's standard deviation over the median of its absolute value.
NORMAL = 1.4826
#: Scores of one cell: by strategy, then by seed.
Cell = dict[str, dict[int, float]]


@dataclass
class Verdict:
    """Counts of a strategy over cells, and how far it is ahead of random rows in each."""

    cells: int = 0
    first: int = 0
    tied: int = 0
    below: int = 0
    over_random: list[float] = field(default_factory=list)


def means_of(cell: Cell) -> tuple[dict[str, float], float]:
    """Mean scores of the strategies that have all seeds, and the error of a difference of two."""
    seeds = sorted(cell["random"])
    whole = {name: found for name, found in cell.items() if {*seeds} <= {*found}}
    scores = {name: [found[seed] for seed in seeds] for name, found in whole.items()}
    table = np.array(list(scores.values()))
    means = dict(zip(scores, table.mean(1).tolist(), strict=True))
    left = table - table.mean(1, keepdims=True)
    left -= np.median(left, axis=0)
    k = len(seeds)
    deviation = NORMAL * np.median(abs(left)) * math.sqrt(k / (k - 1)) if k > 1 else math.nan
    return means, deviation * math.sqrt(2 / k)


def verdicts(cells: Iterable[Cell]) -> dict[str, Verdict]:
    """The verdict of every strategy over the cells that have random rows."""
    found: dict[str, Verdict] = {}
    for cell in cells:
        if "random" not in cell:
            continue
        means, error = means_of(cell)
        best = max(means.values())
        for strategy, mean in means.items():
            verdict = found.setdefault(strategy, Verdict())
            verdict.cells += 1
            verdict.first += mean == best
            verdict.tied += mean < best and best - mean <= error
            verdict.below += means["random"] - mean > error
            verdict.over_random.append(mean - means["random"])
    return found
