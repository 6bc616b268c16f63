"""From what a search found to what ``fit`` returns: the report, the path and the words."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from skprune.data.table import Split, Table
from skprune.results.gap import Gap, Learned
from skprune.results.report import ClassCount, PruningReport
from skprune.search.request import Budget, Choice, Outcome
from skprune.search.sizes import Found
from skprune.search.trial import Trial, path_table
from skprune.subset import Rows
from skprune.utils.progress import Progress

#: Share of what the model has learned above which a budget is remarked on.
LARGE_BUDGET = 0.5


def tell(
    budget: Budget,
    choice: Choice,
    split: Split,
    found: Found,
    notes: tuple[tuple[str, str], ...],
    diagnostics: Sequence[str],
    progress: Progress,
    own: str,
    untrained: str,
) -> Outcome:
    """Put what was found into words.

    Parameters
    ----------
    budget, choice, split, found, progress
    notes : tuple of (str, str)
        Lines of the report.
    diagnostics : sequence of str
    own : str
        The name of what the proxy's own levels fit.
    untrained : str
        The name of the model that the rows are for, if nothing trains it; else empty.
    """
    best, final, table = found.best, found.final, split.table
    proxy = found.final_candidates.proxy
    trial_random = None
    if best is not None:
        trial_random = best.random
        if trial_random is None:  # a retraining is spent once, and a refit is cheap
            judged = found.candidates.judge is not None
            trial_random = found.random if judged else found.candidates.random_gap(best.size)
    progress.phase("scoring every row")
    kept = np.arange(len(table)) if final is None else final.selection.indices
    n_train, judge = len(split.train), found.candidates.judge
    level = found.candidates.dearest.level
    notes, trained = proxy.notes() + notes, found.candidates.proxy
    last = found.final_candidates.judge
    if judge is not None:
        notes += (judge if last is None or last.searched is None else last).notes()
        full_seconds = judge.training_seconds(n_train)
        pruned_seconds = None if best is None else judge.training_seconds(best.size)
    else:
        refit = best is not None and level == "refit"
        full_seconds = trained.fit_seconds()
        pruned_seconds = trained.fit_seconds(best.selection) if best and refit else None
    if last is not None and last.level != level:  # what was searched by did not decide
        notes += last.notes()
    candidates = found.final_candidates
    measured = [*candidates.evaluators, *filter(None, [candidates.judge])]
    models = {e.level: e.name or own for e in measured if e.level in candidates.held_by}
    table_of_trials = path_table(found.trials, best, trial_random, n_train, budget.max_gap)
    if final is not None and final.selection.weights is not None:
        w = final.selection.weights
        notes += (
            (
                "weights",
                f"the gap is of trainings with sample_weight_ ({w.min():.2g} to {w.max():.2g}); "
                "without them these rows lose more",
            ),
        )
    report = PruningReport(
        status=status(budget, level, found),
        met=budget.keep is not None or final is not None,
        n_rows=len(table),
        n_kept=len(kept),
        classes=class_counts(table, kept),
        gaps={} if final is None else final.gaps,
        random=found.random,
        random_is_kept=found.random_is_kept,
        trial=None if best is None or best is final else best.gap,
        learned=found.learned,
        refused=_refused(found, budget.max_gap),
        max_gap=budget.max_gap if budget.keep is None else None,
        sampling=choice.sampling.describe(classes=table.classes is not None),
        model=proxy.describe(),
        gradient_norm=proxy.gradient_norm,
        selection_seconds=progress.seconds,
        full_fit_seconds=full_seconds,
        pruned_fit_seconds=pruned_seconds,
        full_fit_rows=n_train,
        pruned_fit_rows=n_train if best is None else best.size,
        notes=notes,
        diagnostics=(*diagnostics, *_diagnostics(budget, found)),
        models=models,
        own=own,
        untrained=untrained,
        timed=own if judge is None else judge.name,
        apart=last is not None and last.searched is not None,
        path=table_of_trials,
    )
    return Outcome(
        kept=kept,
        weights=None if final is None else final.selection.weights,
        targets=None if final is None else final.selection.targets,
        scores=proxy.scores(),
        gap=_nothing(found) if final is None else final.gap,
        path=table_of_trials,
        report=report,
        proxy=proxy,
    )


def status(budget: Budget, level: str, found: Found) -> str:
    """What came of the request, in words; ``level`` is that of the gaps."""
    max_gap, final, trials, learned = budget.max_gap, found.final, found.trials, found.learned
    if found.words:
        return found.words
    random = "; random rows do as well here, and are kept" if found.random_is_kept else ""
    if budget.keep is not None:
        if final is not None and final.gap.failure:
            return (
                f"the size was fixed (keep={budget.keep!r}); the model cannot be trained on these "
                "rows"
            )
        failed = final is not None and math.isnan(final.gap)
        said = "is no number: a training diverged" if failed else "is a result"
        return f"the size was fixed (keep={budget.keep!r}); its {level} gap {said}{random}"
    if final is not None:
        levels = " and the ".join(final.held_by)
        gaps = f"the {levels} gap, with its standard error, is within {max_gap:g}"
        if not final.gap.within(max_gap):
            gaps += (
                " where the size was searched; on rows that had no part in that it is "
                f"{float(final.gap):+.2g} ± {final.gap.standard_error:.2g}, which does not "
                "contradict it"
            )
        return f"pruned: {gaps}{random}"
    beginning = f"cannot be pruned within max_gap={max_gap:g}, all rows are kept: "
    if learned is not None and not learned.covers(max_gap):
        return beginning + _nothing_to_lose(learned)
    reason = "there are too few rows to remove any"
    if trials:
        mildest = max(trials, key=lambda t: t.size)
        reason = f"keeping {mildest.size:,} of the rows that are not held out {refusal(mildest)}"
        if mildest.gap.within(max_gap):
            reason = "as large a share of all rows as was found without the held-out ones is not"
            reason += " within it"
            last = found.final_candidates.judge
            if last is not None and last.searched is not None:
                reason = "what was found is contradicted by rows that had no part in the search"
        elif not found.candidates.dearest.affords(2 * mildest.size):
            reason += ", and to try more of them costs more trainings than a search should"
    return (
        f"{beginning}{reason}; allow a larger gap, fix the size with keep=, or bring more held-out "
        "rows as X_val"
    )


def refusal(trial: Trial) -> str:
    """Why a size was not allowed, in words."""
    gap = trial.gap
    if gap.failure:
        return f"leaves too few to train the model ({gap.failure})"
    measured = f"{float(gap):+.2g} ± {gap.standard_error:.1g}"
    return f"already has a {gap.level} gap of {measured}, too large with its error"


def _nothing_to_lose(learned: Learned) -> str:
    gap = learned.gap
    measured = f"{float(gap):+.2g} ± {gap.standard_error:.1g} {gap.scoring}, {gap.measured_on}"
    if float(gap) <= gap.standard_error:
        return (
            f"the model on all rows is no better than a constant prediction ({measured}), so that "
            "any rows would do; mend it first (outliers, the scale of the columns, too strong a "
            "penalty), score it by what it is good at (scoring=), or fix the size with keep="
        )
    return (
        f"the budget is more than all that the model on all rows has learned over a constant "
        f"prediction ({measured}), so that any rows would do; a tenth of it, "
        f"max_gap={float(gap) / 10:.1g}, would mean something"
    )


def _nothing(found: Found) -> Gap:
    """The gap of all rows."""
    gaps = [] if found.learned is None else [found.learned.gap]
    gaps += [trial.gap for trial in found.trials]
    scored = next(((gap.scoring, gap.n_rows) for gap in gaps), ("loss", 0))
    return found.final_candidates.dearest.of_all_rows(*scored)


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


def _diagnostics(budget: Budget, found: Found) -> list[str]:
    """Why a gap that was measured says little."""
    said = []
    learned, final = found.learned, found.final
    if learned is not None and final is not None:
        share = budget.max_gap / float(learned.gap) if float(learned.gap) > 0 else np.inf
        score = f"{float(learned.gap):+.2g} ± {learned.gap.standard_error:.1g}"
        if budget.keep is None and share > LARGE_BUDGET:
            said.append(
                f"max_gap={budget.max_gap:g} is {share:.0%} of all that the model has learned "
                f"over a constant prediction ({score}); a tenth of that would be "
                f"max_gap={float(learned.gap) / 10:.1g}."
            )
        elif float(learned.gap) <= 0:
            said.append(
                f"The model on all rows is no better than a constant prediction ({score}), so that "
                "there is nothing that removing rows could cost it."
            )
    if final is not None and final.gap.failure:
        said.append(f"The model cannot be trained on the kept rows: {final.gap.failure}")
    return said


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
