"""The result of pruning, as an object that prints."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from skprune.results.curve_svg import curve_svg
from skprune.results.gap import Gap, Learned
from skprune.results.headline import headline
from skprune.results.page import Table
from skprune.results.printed import Printed

#: Levels that train nothing but the proxy.
CHEAP = ("predicted", "refit")


@dataclass(frozen=True)
class ClassCount:
    """Number of rows of one class before and after pruning."""

    label: Any
    rows: int
    kept: int


@dataclass(frozen=True, repr=False)
class PruningReport(Printed):
    """The request, the kept rows, their gaps and the time, as an object that prints.

    Attributes
    ----------
    status : str
        The outcome in words.
    met : bool
        Whether a budget ``max_gap`` was met; True for a fixed size.
    n_rows, n_kept : int
    classes : tuple of ClassCount
        Empty for regression.
    gaps : dict of str to Gap
        Gap of the kept rows at every level, from cheap to expensive ("predicted", "refit",
        "retrained"); empty if all rows are kept.
    random : Gap or None
        Gap of a stratified random subset of the same size, at the most expensive level. For a head
        it is the mean of several (``random.n_draws``), each with the best of several penalties if
        the rows were chosen for that head alone; a model is retrained on one only, as it is.
    random_is_kept : bool
        Whether these random rows are kept, because they do as well for the model.
    trial : Gap or None
        The gap by which the size was chosen, measured on held-out rows before rows were chosen
        from all of them; None if it is among ``gaps``.
    learned : Learned or None
        Scores of the model on all rows and of a constant prediction.
    refused : str
        Why fewer rows were not allowed, in words; empty if none were tried.
    max_gap : float or None
        The budget; None if the size was fixed.
    sampling : str
        The initial sampling weights: which rows the search started from.
    model : str
        The proxy: head, parameters and curvature.
    gradient_norm : float
        Norm of the mean gradient of the head on all rows; it is 0 at an exact optimum.
    selection_seconds : float
        Duration of ``fit``: fitting the proxy, searching and measuring.
    full_fit_seconds, pruned_fit_seconds : float or None
        Duration of one training of the measured model on the ``full_fit_rows`` training rows of
        the search, and on the ``pruned_fit_rows`` that are kept of them.
    full_fit_rows, pruned_fit_rows : int
    notes : tuple of (str, str)
        Further lines, (name, value).
    diagnostics : tuple of str
        Reasons why numbers of this report may be wrong; ``fit`` warns of each.
    models : dict of str to str
        For every level that the budget holds for, the name of the model whose gap it is.
    own : str
        The name of what is fitted for "predicted" and "refit".
    untrained : str
        The name of the model that rows of a fixed number are for, if it was not trained on them.
    timed : str
        The name of the model whose trainings ``full_fit_seconds`` and ``pruned_fit_seconds`` are.
    apart : bool
        Whether a gap on held-out rows is of rows that had no part in the search.
    path : dict of ndarray
        All sizes that were tried, as in ``path_``.
    """

    title: ClassVar[str] = "Pruning report"
    width: ClassVar[int] = 18

    status: str
    met: bool
    n_rows: int
    n_kept: int
    classes: tuple[ClassCount, ...]
    gaps: dict[str, Gap]
    random: Gap | None
    random_is_kept: bool
    trial: Gap | None
    learned: Learned | None
    refused: str
    max_gap: float | None
    sampling: str
    model: str
    gradient_norm: float
    selection_seconds: float
    full_fit_seconds: float | None
    pruned_fit_seconds: float | None
    full_fit_rows: int
    pruned_fit_rows: int
    notes: tuple[tuple[str, str], ...] = ()
    diagnostics: tuple[str, ...] = ()
    models: dict[str, str] = field(default_factory=dict)
    own: str = ""
    untrained: str = ""
    timed: str = ""
    apart: bool = False
    path: dict[str, Any] = field(default_factory=dict, compare=False)

    @property
    def beaten_by_random(self) -> bool:
        """Whether random rows lose less when retrained on, by more than a standard error."""
        if self.random is None or self.random.level in CHEAP:
            return False
        gap = self.gaps[self.random.level]
        return float(gap) - float(self.random) > gap.standard_error

    @property
    def saved_seconds(self) -> float | None:
        """Seconds that one retraining of this model saves."""
        if self.pruned_fit_seconds is None or self.full_fit_seconds is None:
            return None
        return self.full_fit_seconds - self.pruned_fit_seconds

    @property
    def retrainings_to_pay(self) -> float | None:
        """Retrainings of this model after which the selection has paid for itself."""
        saved = self.saved_seconds
        if saved is None or saved <= 0:
            return None
        return self.selection_seconds / saved

    @property
    def unit(self) -> str:
        """The unit of the gaps: nats, shares of Var(y), or the name of the score."""
        scored = next((gap for gap in (*self.gaps.values(), self.trial) if gap is not None), None)
        if scored is None and self.learned is not None:
            scored = self.learned.gap
        if scored is None or scored.scoring == "loss":
            return "nats" if self.classes else "of Var(y)"
        return scored.scoring

    @property
    def headline(self) -> str:
        """What was kept, and what the model loses by it."""
        return headline(self)

    @property
    def doubts(self) -> tuple[str, ...]:
        """The diagnostics, and that random rows are better, if they are."""
        if self.random is None or not self.beaten_by_random:
            return self.diagnostics
        gap = self.gaps[self.random.level]
        return (
            *self.diagnostics,
            f"Retrained on as many random rows of each class, the model loses less "
            f"({self.random:+.4f}) than on the chosen ones ({gap:+.4f}); take StratifiedRandom "
            "here.",
        )

    def lines(self) -> Iterator[tuple[str, str]]:
        yield "status", self.status
        share = self.n_kept / self.n_rows
        yield "rows", f"{self.n_rows:,} in, {self.n_kept:,} kept ({share:.1%})"
        measured = {f"gap, {level}": gap for level, gap in self.gaps.items()}
        if self.random is not None:
            measured[f"random, {self.random.level}"] = self.random
        if self.trial is not None:
            measured["gap, in the search"] = self.trial
        decimals = _decimals(measured.values())
        if self.max_gap is not None:
            yield "allowed gap", f"{self.max_gap:g}"
        other = bool(self.untrained) or self.own not in ("", *self.models.values())
        for name, gap in measured.items():
            whose = f"{self.own}; " if other and gap.level in CHEAP else ""
            yield name, _show(gap, decimals, whose)
        if self.refused:
            yield "fewer rows", self.refused
        if self.learned is not None:
            yield "scores", _scores(self.learned)
        yield "sampling", self.sampling
        yield "model", f"{self.model}; gradient norm {self.gradient_norm:.1e}"
        yield from self.notes
        yield "selection", f"{self.selection_seconds:.2f} s, all of fit"
        if self.full_fit_seconds is not None:
            fits = f"{self.full_fit_seconds:.3f} s on {self.full_fit_rows:,} rows"
            if self.pruned_fit_seconds is not None:
                fits += f", {self.pruned_fit_seconds:.3f} s on the {self.pruned_fit_rows:,} kept"
            yield "one training", fits
        yield "net saving", self._saving()

    def tables(self) -> tuple[Table, ...]:
        if not self.classes:
            return ()
        rows = [
            (str(c.label), f"{c.rows:,}", f"{c.kept:,}", f"{c.kept / c.rows:.1%}")
            for c in self.classes
        ]
        return (Table(("class", "rows", "kept", "share"), rows),)

    def columns(self) -> dict[str, Any]:
        """All sizes that were tried, and which one was chosen."""
        chosen = self.met & (self.path["n_kept"] == self.pruned_fit_rows)
        return {**self.path, "chosen": chosen}

    def picture(self) -> str:
        return curve_svg(self)

    def _saving(self) -> str:
        if self.n_kept == self.n_rows:
            return "none: no row was removed"
        if self.saved_seconds is None:
            return "not measured: nothing was trained on the kept rows"
        model = self.timed or "this model"
        if self.retrainings_to_pay is None:
            return f"none for {model}: training it on the kept rows takes as long"
        return (
            f"{self.saved_seconds:.3f} s a training of {model}; the selection has paid for "
            f"itself after {self.retrainings_to_pay:.1f} trainings"
        )


def _decimals(gaps: Iterable[Gap]) -> int:
    """Decimals by which the smallest standard error has a digit, from 3 to 6."""
    errors = [g.standard_error for g in gaps if 0 < g.standard_error < math.inf]
    return min(6, max(3, -math.floor(math.log10(min(errors))))) if errors else 4


def _show(gap: Gap, decimals: int, whose: str) -> str:
    value = f"{float(gap):+.{decimals}f} ± {gap.standard_error:.{decimals}f} {gap.scoring}"
    draws = ""
    if gap.n_draws > 1:
        draws = f"; mean of {gap.n_draws} draws, which spread by {gap.spread:.{decimals}f}"
    draws += ", with the best of several penalties" if gap.tuned else ""
    return f"{value} ({whose}{gap.measured_on}{draws})"


def _scores(learned: Learned) -> str:
    """The scores of the model on all rows and of a constant; losses with a positive sign."""
    gap = learned.gap
    sign = -1.0 if gap.scoring in ("loss", "error rate") else 1.0
    full, constant = sign * learned.score, sign * (learned.score - float(gap))
    return (
        f"{gap.scoring} {full:.4g} with all rows, {constant:.4g} by a constant prediction "
        f"({gap.measured_on})"
    )
