"""From the size that was found without the held-out rows to the rows that are handed out.

A subset found at the edge of what is allowed need not do as well among all rows, and its gap, by
which the size was chosen, is too small. Therefore the rows that are handed out are measured
themselves. For a linear model it is by the difference of the mean loss, over *all* rows, of the
model fitted on them and the model fitted on all rows. This is unbiased where the difference of the
two models is independent of the sampling error of the second one: with g the population's gradient
at the optimum of all rows and D the difference of the parameters, the true gap is g'D + D'HD/2, and
only the first term, whose mean is then zero, is not seen in the rows. It does not hold for models
that fit every row by itself, such as trees: see ``skprune.search.apart``. Rows of a fixed number,
for which nothing was searched, are those of such a model measured by its training on the kept rows
that are not held out, beside all that are not, on those that are.
"""

from __future__ import annotations

import math
from dataclasses import replace

from skprune.search.candidates import Candidates
from skprune.search.request import Budget
from skprune.search.sizes import Found, begin_phase
from skprune.search.trial import Trial
from skprune.utils.progress import Progress

#: Factor by which a subset grows whose share of all rows was not allowed.
GROWTH = 1.25


def choose_among_all(
    budget: Budget, found: Found, candidates: Candidates, progress: Progress
) -> Found:
    """Choose as large a share of all rows, and measure it; where it is too much, more of them.

    Parameters
    ----------
    budget : Budget
        Rows of a fixed number are measured, and kept anyway.
    found : Found
        Among the training rows.
    candidates : Candidates
        Of all rows.
    progress : Progress
    """
    begin_phase(progress, candidates, "choosing among all rows", 2, "about ")
    n, n_train, best = len(candidates), len(found.candidates), found.best
    trials: list[Trial] = list(found.trials)
    share = 0.0 if best is None else best.size / n_train
    while best is not None:
        size = max(budget.size or round(share * n), int(candidates.minima.sum()))
        if size >= n or not (budget.size or candidates.dearest.affords(size)):
            break
        final = candidates.trial(size)
        allowed = best.gap.within(budget.max_gap) and final.gap.within(budget.max_gap)
        if budget.size or allowed:
            return replace(
                found, best=best, final=final, trials=trials, final_candidates=candidates
            )
        share *= GROWTH
        if candidates.judge is not None:  # a training is spent once
            continue
        larger = math.ceil(share * n_train)
        if larger >= n_train:
            break
        best, share = found.candidates.trial(larger, with_random=True), larger / n_train
        trials.append(best)
    return replace(found, best=None, final=None, trials=trials, final_candidates=candidates)
