"""The outcome of pruning in a sentence, each of whose numbers says of what it is."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TYPE_CHECKING

from skprune.results.gap import Gap

if TYPE_CHECKING:
    from skprune.results.report import PruningReport

#: Levels of a certificate, or of what comes nearest to one.
CERTIFIED = ("certified", "interval")


def headline(report: PruningReport) -> str:
    """What was kept, what the model loses by it and where, and what random rows lose."""
    n, kept = report.n_rows, report.n_kept
    if kept == n:
        return f"kept all {n:,} rows{_why_all(report)}"
    how = ""
    if report.random_is_kept:
        how = ", drawn at random, which do as well as chosen ones"
    losses = list(_losses(report))
    if report.untrained:
        losses.insert(0, f"{report.untrained} was not trained on them (verify='retrain' does it)")
    return f"kept {kept:,} of {n:,} rows{how}; {'; '.join(losses)}"


def _why_all(report: PruningReport) -> str:
    if report.met or report.max_gap is None:
        return ", as asked"
    budget = f"{report.max_gap:g} {report.unit}"
    if report.learned is not None and not report.learned.covers(report.max_gap):
        return f": the allowed gap of {budget} is more than all that the model has learned"
    certified = any(level in CERTIFIED for level in report.models)
    said = "is certified" if certified else "was found"
    names = list(dict.fromkeys(report.models.values())) or ["the model"]
    lose = "both lose" if names[1:] else "loses"
    return f": no smaller set {said} on which {' and '.join(names)} {lose} at most {budget}"


def _losses(report: PruningReport) -> Iterator[str]:
    """What every model that the budget holds for loses, the one trained last first."""
    allowed = "" if report.max_gap is None else f" ({report.max_gap:g} allowed)"
    decisive = [level for level in report.models if level in report.gaps]
    for level in reversed(decisive or list(report.gaps)[-1:]):
        gap = report.gaps[level]
        done = _done(report, gap) if math.isfinite(gap) else ""
        model = report.models.get(level, "the model")
        where = f", on {_where(report, gap)}" if not gap.failure else ""
        yield f"{model}{done} {gap.said(report.unit)}{allowed}{where}"
        random = report.random
        if random is not None and random.level == level and not report.random_is_kept:
            draws = f"mean of {random.n_draws} draws" if random.n_draws > 1 else "one draw"
            draws += ", penalty tuned" if random.tuned else ""
            yield f"on as many random rows ({draws}) it {random.said(report.unit)}"


def _done(report: PruningReport, gap: Gap) -> str:
    """What the model was trained on; a predicted gap says so by its verb."""
    if gap.level == "retrained" and gap.held_out:
        if report.apart:
            return " retrained on as large a share of the other rows"
        if report.full_fit_rows < report.n_rows and report.max_gap is None:
            return " retrained on those of them that are not held out"
    if gap.level in ("retrained", *CERTIFIED):
        return " retrained on them"
    return {"predicted": "", "refit": " fitted to them"}.get(gap.level, f" ({gap.level})")


def _where(report: PruningReport, gap: Gap) -> str:
    """The rows that a gap was measured on, and what part they had in the choice."""
    if gap.level in CERTIFIED:
        return f"{gap.n_rows:,} rows that took part in nothing"
    if not gap.held_out:
        return gap.measured_on
    if report.apart:
        return f"{gap.n_rows:,} rows that had no part in the search"
    if report.max_gap is not None and report.trial is None:
        return f"the {gap.n_rows:,} held-out rows by which the size was chosen"
    return gap.measured_on
