"""After the search: the smallest size that is certified, on rows that had no part in it.

The size was chosen by gaps on rows that were used for every size, so that the gap of the chosen one
is biased downwards. Rows that were used for nothing else have no such bias. A few sizes are tested
on them in decreasing order down to the one that was found. Because the order is fixed before these
rows are seen, every test may use the full error probability (``skprune.evaluation.certificate``).
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import cast

import numpy as np

from skprune.evaluation.certificate import fixed_sequence
from skprune.evaluation.certified import CertifiedGap, Certifier
from skprune.search.candidates import Candidates
from skprune.search.request import Budget
from skprune.search.sizes import Found, begin_phase
from skprune.search.trial import Trial
from skprune.utils.progress import Progress

#: Sizes that are tested at most.
STEPS = 6


def certify(budget: Budget, found: Found, certifier: Certifier, progress: Progress) -> Found:
    """Test sizes from mild to severe; the last one before a failure is handed out, or all rows.

    Rows of a fixed number are handed out anyway, with their bound.

    Parameters
    ----------
    budget : Budget
    found : Found
        With the rows that would be handed out.
    certifier : Certifier
        Measures on rows that took part in nothing.
    progress : Progress
    """
    searched, final = found.final_candidates, found.final
    held_by = (certifier.level,)
    candidates = Candidates(
        searched.proxy, searched.choice, searched.evaluators, certifier, held_by
    )
    found = replace(found, final_candidates=candidates)
    if final is None:
        return found
    begin_phase(progress, candidates, "certifying", STEPS + 1)
    trials: list[Trial] = []

    def test(size: int) -> bool:
        trial = replace(final, held_by=held_by)
        if size != final.size:
            choose = candidates.random if found.random_is_kept else candidates.choose
            trial = candidates.measure(choose(size), judged=False)
        trial = candidates.judged(trial, budget.max_gap)
        trials.append(trial)
        progress.tried(trial)
        return trial.gap.within(budget.max_gap)

    if budget.size is not None:
        test(final.size)
        return replace(found, final=trials[0], words=_fixed(budget, trials[0]))
    smallest = int(candidates.minima.sum())
    certified = fixed_sequence(map(test, path(len(candidates), final.size, smallest)))
    if not certified:
        words = _refused(budget, trials[0], len(candidates), certifier)
        return replace(found, final=None, random=None, words=words)
    best = trials[certified - 1]
    random = found.random if best.size == final.size else None
    return replace(found, final=best, random=random, words=_certified(budget, best))


def path(n: int, size: int, smallest: int = 1) -> list[int]:
    """Sizes from mild to severe, from n rows to ``size``: equal ratios, and none is seen yet."""
    sizes = np.geomspace(n, size, STEPS + 1)[1:].round().astype(int)
    return sorted({min(n, max(smallest, s)) for s in sizes.tolist()}, reverse=True)


def _bound(trial: Trial) -> str:
    gap = cast(CertifiedGap, trial.gap)
    on = f"{gap.n_rows:,} rows that took part in nothing"
    if gap.level == "certified":
        sure = f"with {gap.confidence:.0%} confidence"
        return f"{sure} the gap is at most {gap.upper_bound:.2g}{gap.cut}, on {on}"
    return (
        f"the {gap.confidence:.0%} bootstrap interval of the gap, which is no certificate, ends at "
        f"{gap.upper_bound:.2g}, on {on}"
    )


def _fixed(budget: Budget, trial: Trial) -> str:
    if trial.gap.failure:
        said = f"the model cannot be trained on these rows ({trial.gap.failure})"
    else:
        said = _bound(trial)
    return f"the size was fixed (keep={budget.keep!r}); {said}"


def _certified(budget: Budget, trial: Trial) -> str:
    word = "certified" if trial.gap.level == "certified" else "pruned, not certified"
    return f"{word}: {_bound(trial)}, and so within {budget.max_gap:g}"


def _refused(budget: Budget, trial: Trial, n: int, certifier: Certifier) -> str:
    gap = cast(CertifiedGap, trial.gap)
    beginning = f"not certified within max_gap={budget.max_gap:g}, all rows are kept: "
    if gap.failure:
        return f"{beginning}the model cannot be trained on {trial.size:,} rows ({gap.failure})"
    if not math.isfinite(gap.upper_bound):
        return f"{beginning}the loss of the model is no number on some of the rows"
    return (
        f"{beginning}of the most rows that were tested, {trial.size:,} of {n:,}, {_bound(trial)} "
        f"(measured: {float(gap):+.2g}); {certifier.needed(budget.max_gap)}. Bring "
        "more rows as X_val and y_val, allow a larger gap, or do without a certificate "
        "(verify='retrain')"
    )
