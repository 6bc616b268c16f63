"""From the sizes that were tried to what ``fit`` returns: the same for every regime."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from skprune.data.table import Table
from skprune.results.gap import Gap, Learned
from skprune.results.report import ClassCount, PruningReport
from skprune.search.request import Outcome, Settings, Study
from skprune.search.retrained import begin_phase, in_words, search
from skprune.search.sizes import Trial, Trials, carry_over, outcome, path_table, refusal
from skprune.subset import Rows

#: Share of what the model has learned above which a budget is remarked on.
LARGE_BUDGET = 0.5


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
    judge, final_judge : Trials
        What measured the trials, and the rows that are handed out.
    """

    best: Trial | None
    final: Trial | None
    trials: list[Trial]
    learned: Learned | None
    judge: Trials
    final_judge: Trials


def find(settings: Settings, judge: Trials, smallest: int, n: int) -> Found:
    """Search the size, unless the budget is more than all that could be lost.

    Parameters
    ----------
    settings : Settings
    judge : Trials
        Of the rows that are not held out.
    smallest : int
        The fewest rows that could be kept.
    n : int
        All rows.
    """
    begin_phase(settings, "measuring the model on all rows", 1)
    learned, fixed = judge.learned(), settings.trial_size(n, smallest)
    best, trials = None, list[Trial]()
    if fixed is not None or learned is None or learned.covers(settings.max_gap):
        best, trials = search(settings, judge, fixed, smallest)
    return Found(best, best, trials, learned, judge, judge)


def on_all_rows(settings: Settings, found: Found, whole: Trials) -> Found:
    """Choose as large a share of all rows, and measure it; ``whole`` are all rows."""
    begin_phase(settings, "choosing among all rows", 2, "about ")
    best, final = carry_over(
        found.judge, whole, found.best, found.trials, settings.fixed, settings.max_gap
    )
    return Found(best, final, found.trials, found.learned, found.judge, whole)


def report(
    settings: Settings,
    table: Table,
    found: Found,
    *,
    scores: NDArray[np.float64],
    study: Study,
    model: str,
    gradient_norm: float,
    seconds: tuple[float | None, float | None],
    with_random: bool,
    notes: tuple[tuple[str, str], ...],
    doubts: Sequence[str],
) -> Outcome:
    """What ``fit`` returns.

    Parameters
    ----------
    settings, table, found
    scores : ndarray of shape (n,)
    study : Study
    model : str
        What chose the rows, in words.
    gradient_norm : float
    seconds : (float or None, float or None)
        Of one training of that model on all rows of the trial and on those it keeps.
    with_random : bool
        Whether random rows are measured beside the chosen ones.
    notes, doubts
        Lines of the report.
    """
    best, final, retraining = found.best, found.final, settings.retraining
    random = trial_random = None
    if best is not None and final is not None and with_random:
        begin_phase(settings, "comparing with random rows", 1)
        random = trial_random = best.random
        if random is None or not settings.keeps_trial:  # a gap of 0 is one
            random = found.final_judge.random_gap(final.size)
        if trial_random is None:  # a retraining is spent once, and a refit is cheap
            trial_random = random if retraining else found.judge.random_gap(best.size)
    kept = np.arange(len(table)) if final is None else final.selection.indices
    n_train = len(settings.inner)
    if retraining is not None:
        notes += in_words(retraining, settings.retrained)
        pruned = None if best is None else retraining.seconds_per_training(best.size)
        seconds = retraining.seconds_per_training(n_train), pruned
    text = PruningReport(
        status=outcome(
            settings.keep, settings.max_gap, settings.level, final, found.trials, found.learned
        ),
        met=settings.keep is not None or final is not None,
        n_rows=len(table),
        n_kept=len(kept),
        classes=class_counts(table, kept),
        predicted=None if final is None else final.predicted,
        refit=None if final is None else final.measured,
        retrained=None if final is None else final.retrained,
        random=random,
        trial=None if best is None or best is final else best.gap,
        learned=found.learned,
        refused=_refused(found, settings.max_gap),
        max_gap=settings.max_gap if settings.keep is None else None,
        prior=settings.prior.in_words(),
        model=model,
        gradient_norm=gradient_norm,
        selection_seconds=time.perf_counter() - settings.begin,
        full_fit_seconds=seconds[0],
        pruned_fit_seconds=seconds[1],
        full_fit_rows=n_train,
        pruned_fit_rows=n_train if best is None else best.size,
        notes=notes,
        doubts=(*doubts, *_doubts(settings, found)),
    )
    return Outcome(
        kept=kept,
        scores=scores,
        gap=_nothing(settings, found) if final is None else final.gap,
        path=path_table(found.trials, best, trial_random, n_train, settings.max_gap),
        report=text,
        study=study,
    )


def _nothing(settings: Settings, found: Found) -> Gap:
    """The gap of all rows."""
    gaps = [] if found.learned is None else [found.learned.gap]
    gaps += [trial.gap for trial in found.trials]
    scored = next(((gap.scoring, gap.n_rows) for gap in gaps), ("loss", 0))
    return Gap(0.0, 0.0, settings.level, *scored)


def _refused(found: Found, max_gap: float) -> str:
    """Why fewer rows than those of the trial that was chosen were not allowed."""
    if found.best is None:
        return ""
    fewer = [trial for trial in found.trials if trial.size < found.best.size]
    if not fewer:
        return ""
    nearest = max(fewer, key=lambda trial: trial.size)
    reason = refusal(nearest)
    if nearest.gap.within(max_gap):
        reason = "allowed, but as large a share of all rows is not"
    return f"{nearest.size:,} of those that are not held out: {reason}"


def _doubts(settings: Settings, found: Found) -> list[str]:
    """Why a gap that was measured says little."""
    doubts = []
    learned, final = found.learned, found.final
    if learned is not None and final is not None:
        share = settings.max_gap / float(learned.gap) if float(learned.gap) > 0 else np.inf
        score = f"{float(learned.gap):+.2g} +- {learned.gap.standard_error:.1g}"
        if settings.keep is None and share > LARGE_BUDGET:
            doubts.append(
                f"max_gap={settings.max_gap:g} is {share:.0%} of all that the model has learned "
                f"over a constant prediction ({score}); a tenth of that would be "
                f"max_gap={float(learned.gap) / 10:.1g}."
            )
        elif float(learned.gap) <= 0:
            doubts.append(
                f"The model on all rows is no better than a constant prediction ({score}), so that "
                "there is nothing that removing rows could cost it."
            )
    if final is not None and final.failure:
        doubts.append(f"The model cannot be trained on the kept rows: {final.failure}")
    return doubts


def class_counts(table: Table, kept: Rows) -> tuple[ClassCount, ...]:
    """Rows of every class before and after; nothing for numbers."""
    if table.classes is None:
        return ()
    before = np.bincount(table.codes, minlength=len(table.classes))
    after = np.bincount(table.codes[kept], minlength=len(before))
    return tuple(
        ClassCount(label, int(b), int(a))
        for label, b, a in zip(table.classes, before, after, strict=True)
    )
