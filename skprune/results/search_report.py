"""The report of a hyperparameter search on kept rows, as an object that prints."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, ClassVar

from skprune.results.printed import Printed


@dataclass(frozen=True, repr=False)
class SearchReport(Printed):
    """The steps of ``PrunedSearchCV``, their duration, and how far its ranking can be believed.

    Attributes
    ----------
    n_rows : int
    folds : tuple of (int, int)
        Rows of the training part of every fold, and how many of them were kept.
    weighted : bool
        Whether the candidates were trained with the pruner's weights.
    n_candidates, n_finalists : int
        Settings scored on the kept rows (over all rounds of a halving search), and those of them
        that were compared on all rows.
    agreement : float or None
        Rank correlation (Spearman) of the finalists' scores on kept rows and on all rows; None
        if there are fewer than two, or all scores are equal.
    selection_seconds : float
        Choosing the rows of all folds.
    candidates_seconds, finalists_seconds : float
        Cross-validating the candidates on kept rows and the finalists on all rows.
    refit_seconds : float or None
        Fitting the winner to all rows; None with ``refit=False``.
    full_seconds : float or None
        Estimate of what cross-validating the candidates on all rows would have taken: their own
        time, fits slowed down as those of the finalists were. None if no time was measured.
    notes : tuple of str
        Parameters whose meaning changes with the number of rows.
    diagnostics : tuple of str
        Reasons why the ranking on fewer rows may be wrong; ``fit`` warns of each.
    """

    title: ClassVar[str] = "Search report"
    width: ClassVar[int] = 11

    n_rows: int
    folds: tuple[tuple[int, int], ...]
    weighted: bool
    n_candidates: int
    n_finalists: int
    agreement: float | None
    selection_seconds: float
    candidates_seconds: float
    finalists_seconds: float
    refit_seconds: float | None
    full_seconds: float | None
    notes: tuple[str, ...] = ()
    diagnostics: tuple[str, ...] = ()

    @property
    def share(self) -> float:
        """Share of the folds' training rows that was kept."""
        return sum(kept for _, kept in self.folds) / sum(rows for rows, _ in self.folds)

    @property
    def seconds(self) -> float:
        """Duration of selecting the rows and comparing candidates and finalists."""
        return self.selection_seconds + self.candidates_seconds + self.finalists_seconds

    @property
    def saved_seconds(self) -> float | None:
        """Estimate of the seconds that were saved; negative if the search took longer."""
        return None if self.full_seconds is None else self.full_seconds - self.seconds

    @property
    def headline(self) -> str:
        """What the search took, and what it left out."""
        about = f"compared {self.n_candidates} candidates on {self.share:.0%} of the rows"
        if self.n_finalists:
            about += f", and the best {self.n_finalists} of them on all"
        if self.full_seconds is None:
            return about
        return f"{about}, in {self.seconds:.1f} s instead of about {self.full_seconds:.1f} s"

    def columns(self) -> dict[str, Any]:
        """The folds: rows of their training parts, and rows that were kept."""
        rows, kept = zip(*self.folds, strict=True)
        return {"fold": range(len(rows)), "rows": rows, "kept": kept}

    def lines(self) -> Iterator[tuple[str, str]]:
        kept = ", ".join(f"{kept:,} of {rows:,}" for rows, kept in self.folds)
        weights = ", weighted" if self.weighted else ""
        yield "rows", f"{self.n_rows:,}; kept by fold: {kept} ({self.share:.1%}{weights})"
        yield "selection", f"{self.selection_seconds:.2f} s, once a fold"
        yield "candidates", f"{self.candidates_seconds:.2f} s for {self.n_candidates} on kept rows"
        yield "finalists", f"{self.finalists_seconds:.2f} s for {self.n_finalists} on all rows"
        if self.refit_seconds is not None:
            yield "refit", f"{self.refit_seconds:.2f} s for the winner on all rows"
        if self.agreement is not None:
            yield "same order", f"rank correlation {self.agreement:+.2f} of the finalists' scores"
        yield "saved", self._saving()
        for note in self.notes:
            yield "note", note

    def _saving(self) -> str:
        if self.full_seconds is None or self.saved_seconds is None:
            return "not measured"
        whole = f"about {self.full_seconds:.2f} s for all candidates on all rows"
        if self.saved_seconds <= 0:
            return f"nothing: {self.seconds:.2f} s instead of {whole}"
        return f"{self.saved_seconds:.2f} s: {self.seconds:.2f} s instead of {whole}"
