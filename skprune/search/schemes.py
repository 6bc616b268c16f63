"""Weights or none, labels or a teacher, our rows or random: what the model itself decides."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from skprune.results.gap import Gap
from skprune.search.candidates import Candidates
from skprune.search.request import Budget
from skprune.search.sizes import Found, begin_phase
from skprune.utils.progress import Progress

#: Share of the training rows on which schemes are compared.
TRIED = 0.1


class Scheme:
    """One way to hand rows out, with what the judge loses on few of them.

    Parameters
    ----------
    candidates : Candidates
    """

    def __init__(self, candidates: Candidates) -> None:
        self.candidates = candidates
        least = max(int(candidates.minima.sum()), candidates.proxy.least_rows)
        self.size = min(max(least, round(TRIED * len(candidates))), len(candidates))

    @cached_property
    def gap(self) -> Gap:
        """What the judge loses on ``size`` rows; it is trained for it once."""
        return self.candidates.dearest.gap(self.candidates.choose(self.size))


def better_scheme(plain: Scheme, other: Scheme, progress: Progress) -> Scheme:
    """The scheme on which the judge loses less at one small size.

    Forests want no weights, boosting does, and neither on every table. A teacher helps where labels
    are noisy.

    Parameters
    ----------
    plain, other : Scheme
        Of the same rows, with the same judge.
    progress : Progress
    """
    begin_phase(progress, plain.candidates, "comparing ways to hand rows out", 3)
    return other if other.gap < plain.gap else plain


def note_on_teacher(plain: Scheme, taught: Scheme, better: Scheme) -> tuple[str, str]:
    """A line for the report: what a teacher's targets gave."""
    done = "taken" if better is taught else "not taken"
    return (
        "teacher targets",
        f"{done}: {float(taught.gap):+.4f} against {float(plain.gap):+.4f} with true labels, "
        f"{plain.size:,} rows; the pilot that they are from has seen all rows",
    )


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
