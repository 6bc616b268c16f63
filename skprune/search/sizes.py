"""The smallest subset whose gap is allowed: from mild to severe pruning, then bisection."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skprune.cost.model import BUDGET_SIZES
from skprune.results.gap import Gap, Learned
from skprune.search.candidates import Candidates
from skprune.search.few_trainings import SIZES, smallest_judged
from skprune.search.request import Budget
from skprune.search.trial import Trial
from skprune.subset import Rows
from skprune.utils.progress import Progress

#: Ratio of neighbouring sizes at which the bisection stops.
RESOLUTION = 1.06


@dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes
    ----------
    best : Trial or None
        The size that was chosen, without the held-out rows; None keeps all rows.
    final : Trial or None
        The rows that are handed out, and what was measured of them.
    trials : list of Trial
    learned : Learned or None
    candidates, final_candidates : Candidates
        Among which the trials were chosen, and the rows that are handed out.
    random : Gap or None
        The gap of as many random rows as are handed out.
    random_is_kept : bool
        Whether these are handed out, because they do as well.
    words : str
        What came of it, where a certificate decided in the end; else empty.
    """

    best: Trial | None
    final: Trial | None
    trials: list[Trial]
    learned: Learned | None
    candidates: Candidates
    final_candidates: Candidates
    random: Gap | None = None
    random_is_kept: bool = False
    words: str = ""


def find(
    budget: Budget,
    candidates: Candidates,
    n: int,
    progress: Progress,
    largest: int | None = None,
) -> Found:
    """Search the size among the training rows, unless the budget is more than can be lost.

    Parameters
    ----------
    budget : Budget
    candidates : Candidates
        Of the training rows.
    n : int
        All rows that may be kept.
    progress : Progress
    largest : int, optional
        For a budget, fewer rows than these are tried; by default than there are.
    """
    smallest = min(
        len(candidates), max(1, int(candidates.minima.sum()), candidates.proxy.least_rows)
    )
    begin_phase(progress, candidates, "measuring the model on all rows", 1)
    learned = candidates.learned()
    size = budget.train_size(n, len(candidates), smallest)
    best, trials = None, list[Trial]()
    if size is not None:
        begin_phase(progress, candidates, "choosing the rows", 1)
        best = candidates.trial(size)
        trials = [best]
        progress.tried(best)
    elif learned is None or learned.covers(budget.max_gap):
        largest = max(smallest, largest or len(candidates))
        best, trials = _search(budget.max_gap, candidates, smallest, largest, progress)
    return Found(best, best, trials, learned, candidates, candidates)


def _search(
    max_gap: float, candidates: Candidates, smallest: int, largest: int, progress: Progress
) -> tuple[Trial | None, list[Trial]]:
    """The smallest allowed size; where there is a judge, after a guess by the cheap levels."""
    judge = candidates.judge

    def attempt(size: int, warm: Rows | None, with_random: bool) -> Trial:
        with_random = with_random and judge is None
        trial = candidates.trial(size, warm, with_random=with_random, judged=False)
        progress.tried(trial)
        progress.step()
        return trial

    best, guess = None, list[Trial]()
    if judge is None or candidates.proxy.balance is None:  # a head tells nothing of other models
        progress.phase("searching the size", BUDGET_SIZES, "about ", "sizes")
        best, guess = smallest_size(attempt, largest=largest, smallest=smallest, max_gap=max_gap)
    if judge is None:
        return best, guess
    begin_phase(progress, candidates, "retraining", SIZES + 1)

    def judged(size: int) -> Trial:
        trial = candidates.judged(candidates.trial(size, judged=False), max_gap)
        progress.tried(trial)
        return trial

    return smallest_judged(
        judged,
        judge.affords,
        largest=largest,
        smallest=smallest,
        max_gap=max_gap,
        guess=([t.size for t in guess], [float(t.gap) for t in guess]),
    )


def begin_phase(
    progress: Progress, candidates: Candidates, name: str, sets: int, of: str = "at most "
) -> None:
    """Begin a phase in which the judge, if there is one, is trained on ``sets`` sets of rows."""
    judge = candidates.judge
    progress.phase(name, 0 if judge is None else sets * judge.trainings_a_set, of, "trainings")


def smallest_size(
    trial: Callable[[int, Rows | None, bool], Trial],
    *,
    largest: int,
    smallest: int,
    max_gap: float,
) -> tuple[Trial | None, list[Trial]]:
    """The smallest size whose gap, with one standard error, is allowed.

    Sizes are halved from ``largest`` until one is refused; between it and the last one allowed
    the size is bisected on a log scale. Every trial starts within the rows of the last one that
    was allowed.

    Parameters
    ----------
    trial : callable
        ``trial(size, warm, with_random)``.
    largest, smallest : int
        All rows, and the fewest that could be kept.
    max_gap : float

    Returns
    -------
    best : Trial or None
        None if no size below ``largest`` was allowed.
    trials : list of Trial
        In the order they were made.
    """
    trials: list[Trial] = []
    best: Trial | None = None
    upper, lower = largest, 0  # allowed, refused
    while lower == 0 or upper / lower > RESOLUTION:
        size = max(smallest, upper // 2) if lower == 0 else round((upper * lower) ** 0.5)
        if size in (upper, lower):
            break
        attempt = trial(size, None if best is None else best.selection.indices, lower == 0)
        trials.append(attempt)
        if attempt.gap.within(max_gap):
            best, upper = attempt, size
        else:
            lower = size
    return best, trials
