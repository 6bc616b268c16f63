"""What was found by one part of the rows is measured on another part.

The size was chosen by the gaps of many sizes on the same rows, so that the gap of the one that was
chosen is too small: a size is the smallest that is allowed where its luck was good. The number that
is reported is another one. Other rows are held out; as large a share of the rest is chosen in the
same way, the model is trained on it and on all of the rest, and the difference is measured on the
rows that had no part in any of this. It is the gap of the procedure at this share, and not of one
happy draw. It decides only where it contradicts the search: were the size chosen by it, it would be
too small once more. So does a training on those rows that are handed out themselves, as far as they
are not held out.
"""

from __future__ import annotations

from dataclasses import replace

from skprune.evaluation.base import OnTrain
from skprune.results.gap import Gap
from skprune.search.all_rows import GROWTH
from skprune.search.candidates import Candidates
from skprune.search.request import Budget
from skprune.search.sizes import Found, begin_phase
from skprune.search.trial import Trial
from skprune.subset import Selection
from skprune.utils.progress import Progress

#: Factor between standard errors of the same size on other rows that no luck explains.
HEAVY = 3.0


def measure_apart(
    budget: Budget, found: Found, apart: Candidates, everything: Candidates, progress: Progress
) -> Found:
    """Measure what was found on other rows, and choose as large a share of all rows.

    Parameters
    ----------
    budget : Budget
    found : Found
        Among the rows of the search.
    apart : Candidates
        Of the rows that are trained on now; its judge measures on others.
    everything : Candidates
        Of all rows, with the same judge.
    progress : Progress
    """
    begin_phase(progress, apart, "measuring on other rows", 3)
    best, judge = found.best, apart.dearest
    share = 0.0 if best is None else best.size / len(found.candidates)
    while best is not None:
        size, kept = (round(share * len(rows)) for rows in (apart, everything))
        if kept >= len(everything) or not judge.affords(size):
            break
        gap = judge.gap(_choose(found, apart, size))
        final = everything.measure(_choose(found, everything, kept), judged=False)
        final = replace(final, gaps={**final.gaps, judge.level: gap})
        stands = _stands(best, final, judge.level, budget)
        if stands and _stand_themselves(final, apart, everything, budget):
            random = gap if found.random_is_kept else apart.random_gap(size)
            return replace(found, final=final, final_candidates=everything, random=random)
        share *= GROWTH
    nothing = replace(found, best=None, final=None, final_candidates=everything)
    return replace(nothing, random=None, random_is_kept=False)


def _stand_themselves(
    final: Trial, apart: Candidates, everything: Candidates, budget: Budget
) -> bool:
    """Whether the rows that are handed out do not contradict what was measured of others like them.

    A model may work on a share of the rows and not on as large another one, where few more would
    change what it can learn: boosting has leaves of twenty rows. Those of the rows that are not
    held out tell.
    """
    size, judge = final.size, apart.dearest
    if apart.proxy is everything.proxy or not judge.affords(size):
        return True  # they have been measured, or cannot be
    gap = OnTrain(judge, everything.proxy.table, apart.proxy.table).gap(final.selection)
    return _agrees(gap, budget)


def _agrees(gap: Gap, budget: Budget) -> bool:
    """Whether a gap is within the budget but for a standard error; one that is no number is not."""
    return float(gap) - gap.standard_error <= budget.max_gap


def _choose(found: Found, candidates: Candidates, size: int) -> Selection:
    size = max(size, int(candidates.minima.sum()))
    return candidates.random(size) if found.random_is_kept else candidates.choose(size)


def _stands(best: Trial, final: Trial, level: str, budget: Budget) -> bool:
    """Whether no level refuses the rows, and that of other rows does not contradict the search.

    Where losses are heavy-tailed, rows without an outlier know nothing of those that have one: the
    standard error of other rows is then many times that of the search.
    """

    def stands(gap: Gap) -> bool:
        if gap.level != level or gap.within(budget.max_gap):
            return gap.within(budget.max_gap)
        known = gap.by_rows <= HEAVY * best.gap.standard_error
        return known and _agrees(gap, budget)

    return all(stands(final.gaps[held]) for held in final.held_by)
