"""Weights or none, our rows or random ones: what the model itself decides."""

from __future__ import annotations

from dataclasses import replace

from skprune.search.candidates import Candidates
from skprune.search.request import Budget
from skprune.search.sizes import Found, begin_phase
from skprune.utils.progress import Progress

#: Share of the training rows on which rows with and without weights are compared.
TRIED = 0.1


def better_scheme(plain: Candidates, weighted: Candidates, progress: Progress) -> Candidates:
    """The candidates on which the judge loses less at one small size.

    Forests want no weights, boosting does, and neither on every table.

    Parameters
    ----------
    plain, weighted : Candidates
        Of the same rows, with the same judge, without weights and with them.
    progress : Progress
    """
    begin_phase(progress, plain, "comparing rows with and without weights", 3)
    size = max(int(plain.minima.sum()), plain.proxy.least_rows, round(TRIED * len(plain)))
    size = min(size, len(plain))
    gaps = [candidates.dearest.gap(candidates.choose(size)) for candidates in (plain, weighted)]
    return weighted if gaps[1] < gaps[0] else plain


def beside_random(budget: Budget, found: Found, progress: Progress) -> Found:
    """Measure as many random rows; where they do as well for a model of any kind, keep them.

    Parameters
    ----------
    budget : Budget
    found : Found
        With the rows that are to be handed out.
    progress : Progress
    """
    best, final, candidates = found.best, found.final, found.final_candidates
    if best is None or final is None:
        return found
    begin_phase(progress, candidates, "comparing with random rows", 1)
    if candidates is found.candidates and best.random is not None:
        return replace(found, random=best.random)
    if not candidates.dearest.affords(final.size):
        return found
    if candidates.judge is None or candidates.proxy.balance is None:
        return replace(found, random=candidates.random_gap(final.size))
    trial = candidates.measure(candidates.random(final.size))
    found = replace(found, random=trial.gaps[candidates.dearest.level])
    as_good = trial.gap <= final.gap and (budget.size or trial.gap.within(budget.max_gap))
    return replace(found, final=trial, random_is_kept=True) if as_good else found
