"""Let the model decide between weights and none, labels and a teacher, our rows and random ones."""

from __future__ import annotations

from dataclasses import replace
from functools import cached_property

from skprune.results.gap import Gap
from skprune.search.candidates import Candidates
from skprune.search.request import Budget
from skprune.search.sizes import Found, begin_phase, find
from skprune.utils.progress import Progress

#: Share of the training rows on which schemes are compared.
TRIED = 0.1
#: Share of the training rows beyond which a teacher is left to whoever insists on one: what it is
#: wrong in stays however many rows there are, and by then labels say as much.
MOST_TAUGHT = 1 / 3


class Scheme:
    """One way to hand rows out, with what the judge loses on few of them.

    Parameters
    ----------
    candidates : Candidates
    share : float, optional
        Share of the rows that are few.
    """

    def __init__(self, candidates: Candidates, share: float = TRIED) -> None:
        self.candidates = candidates
        least = max(int(candidates.minima.sum()), candidates.proxy.least_rows)
        self.size = min(max(least, round(share * len(candidates))), len(candidates))

    @cached_property
    def gap(self) -> Gap:
        """What the judge loses on ``size`` rows; it is trained for it once."""
        return self.candidates.dearest.gap(self.candidates.choose(self.size))


def better_scheme(likely: Scheme, other: Scheme, progress: Progress) -> Scheme:
    """The scheme that is likely to be better, unless the judge loses clearly less with the other.

    Forests want no weights, boosting does, and neither on every table. What one small size shows
    is no more than its standard error allows.

    Parameters
    ----------
    likely, other : Scheme
        Of the same rows, with the same judge.
    progress : Progress
    """
    begin_phase(progress, likely.candidates, "comparing ways to hand rows out", 3)
    gap = other.gap
    return other if _is_less(gap, likely.gap) else likely


def find_taught(
    budget: Budget, plain: Scheme, taught: Candidates, n: int, must: bool, progress: Progress
) -> tuple[Found | None, str]:
    """What is found with a teacher's targets, where the judge loses less with them.

    They help where labels are noisy and rows few. A fixed number of rows is judged itself.

    Parameters
    ----------
    budget : Budget
    plain : Scheme
        With the rows' own labels.
    taught : Candidates
    n : int
        All rows that may be kept.
    must : bool
        Whether the targets are wanted whatever they do.
    progress : Progress

    Returns
    -------
    found : Found or None
        None if labels are better.
    said : str
        What the targets gave, for the report.
    """
    if budget.size is not None:
        plain = Scheme(plain.candidates, min(budget.size / n, MOST_TAUGHT))
    tried = Scheme(taught, plain.size / len(taught))
    begin_phase(progress, plain.candidates, "comparing ways to hand rows out", 3)
    better, found = tried if tried.gap < plain.gap else plain, None
    done = "not taken"
    if must:
        found, done = find(budget, taught, n, progress), "taken, as asked"
    elif better is tried:
        found, done = find(budget, taught, n, progress, round(MOST_TAUGHT * len(taught))), "taken"
        if found.best is None:
            reason = f", as no size below {MOST_TAUGHT:.0%} is allowed" if found.trials else ""
            found, done = None, f"not taken{reason}"
    return found, (
        f"{done}: {float(tried.gap):+.4f} against {float(plain.gap):+.4f} with true labels, "
        f"{plain.size:,} rows; the pilot that they are from has seen all rows"
    )


def beside_random(budget: Budget, found: Found, progress: Progress, before: bool = False) -> Found:
    """Measure as many random rows; where they do as well for a model of any kind, keep them.

    Parameters
    ----------
    budget : Budget
    found : Found
        With the rows that are to be handed out.
    before : bool, default=False
        Whether they are measured once more before that, on other rows.
    progress : Progress
    """
    best, final, candidates = found.best, found.final, found.final_candidates
    if best is None or final is None:
        return found
    begin_phase(progress, candidates, "comparing with random rows", 1)
    # Where they are compared before the rows are handed out, these have to be measured as well.
    if not candidates.dearest.affords((1 + before) * final.size):
        return found
    judge, level = candidates.judge, candidates.dearest.level
    drawn = candidates.random(final.size)
    if judge is not None and candidates.proxy.balance is not None:
        trial = candidates.measure(drawn)
        found = replace(found, random=trial.gaps[level])
    else:
        random = candidates.random_gap(final.size, candidates.dearest.draws)
        found = replace(found, random=random)
        if not (budget.size and _is_for_its_model(candidates) and _is_less(random, final.gap)):
            return found
        # A judge has been trained on these rows already; a head on them and on others.
        trial = candidates.measure(drawn, judged=False)
        trial = trial if judge is None else replace(trial, gaps={**trial.gaps, level: random})
    as_good = trial.gap <= final.gap and (budget.size or trial.gap.within(budget.max_gap))
    if not as_good:
        return found
    return replace(found, final=trial, random=trial.gaps[level], random_is_kept=True)


def _is_for_its_model(candidates: Candidates) -> bool:
    """Whether rows are chosen for the very model that measures them, as it is usual.

    They lose more than random ones only if they are too few for it.
    """
    predicted = candidates.dearest.level == "predicted"
    return candidates.choice.is_default and candidates.proxy.balance is None and not predicted


def _is_less(gap: Gap, other: Gap) -> bool:
    """Whether one gap is below another by more than its standard error."""
    return float(gap) + gap.standard_error < other
