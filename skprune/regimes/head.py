"""Prune for a convex head: examine, search, carry over to all rows, score, report."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.cache import ContentCache, digest
from skprune.curvature import choose_curvature
from skprune.devices import choose_device
from skprune.examine import Examination, cold_fit, examine
from skprune.gap import Gap, HeldOut
from skprune.influence import HeadInfluence
from skprune.models.encoding import HeadEncoder
from skprune.models.head import HeadFit, HeadProblem, fit_head
from skprune.models.scoring import make_scorer
from skprune.network.encoding import NetworkEncoder
from skprune.prior import difficulty
from skprune.reading import Table
from skprune.regimes.base import Outcome, Settings, class_counts
from skprune.regimes.retrained import in_words, random_gap, search
from skprune.removal import GroupInfluence, group_influence, leave_one_out
from skprune.report import PruningReport
from skprune.search import Bench, Trial, carry_over, outcome, path_table
from skprune.subset import Rows
from skprune.tails import heavy_tails

#: Examinations kept in memory, shared by all pruners of this process.
EXAMINATIONS = ContentCache(max_bytes=2**30)


@dataclass(frozen=True)
class HeadStudy:
    """The head on all rows, ready to say what removing some of them does."""

    problem: HeadProblem
    fit: HeadFit
    examination: Examination
    held_out: HeldOut
    target_scale: float

    def remove(self, removed: NDArray[np.bool_]) -> GroupInfluence:
        """Predicted effect of removing the rows where the mask is True."""
        return group_influence(
            self.problem,
            self.fit.theta,
            self.examination.curvature,
            self.held_out,
            torch.from_numpy(removed),
            self.target_scale,
        )


def prune_head(
    settings: Settings, table: Table, encoder: HeadEncoder, validation: Table
) -> Outcome:
    """Find the rows of ``table`` to keep.

    Parameters
    ----------
    settings : Settings
    table : Table
        Rows that have a weight.
    encoder : HeadEncoder
        Not fitted yet.
    validation : Table
        Rows to measure on.
    """
    n, inner, outer, seed = len(table), settings.inner, settings.outer, settings.seed
    train = table if outer is None else table.take(inner)
    encoder.fit(train.X, train.y, train.weights)
    device = _choose_device(settings, encoder, train)
    problem = encoder.problem(train.X, train.y, train.weights, device)
    held_out = _held_out(settings, encoder, problem, validation)
    examination = _examine(settings.curvature, problem)
    refit, represent = settings.refit, isinstance(encoder, NetworkEncoder)
    bench = Bench(
        problem,
        examination.fit.theta,
        examination.influence(problem),
        held_out,
        groups=train.codes,
        minima=train.minima(settings.min_per_class),
        solver=settings.solver,
        prior=settings.prior.of(inner, lambda score: difficulty(score, problem, examination.fit)),
        refit=refit,
        seed=seed,
        represent=represent,
    )
    n_train, smallest = len(problem), max(1, int(bench.minima.sum()))
    if problem.penalty.strength == 0.0:  # fewer rows do not determine the head
        smallest = min(n_train, max(smallest, problem.theta_shape[0]))
    fixed = None
    if settings.fixed is not None:
        fixed = min(n_train, max(smallest, round(settings.fixed / n * n_train)))
    best, trials = search(settings, bench, fixed, smallest)

    if outer is None:
        everything, final, operator = problem, examination.fit, bench.operator
        indices = np.arange(n) if best is None else best.selection.indices
    else:
        everything = encoder.problem(table.X, table.y, table.weights, device)
        final = fit_head(everything, examination.curvature.solve, start=examination.fit.theta)
        operator = HeadInfluence(everything, final.theta, final.outputs, examination.curvature)
        whole = Bench(
            everything,
            final.theta,
            operator,
            held_out,
            groups=table.codes,
            minima=table.minima(settings.min_per_class),
            solver=settings.solver,
            prior=settings.prior.of(
                np.arange(n), lambda score: difficulty(score, everything, final)
            ),
            refit=refit,
            seed=seed,
            represent=represent,
        )
        size = settings.fixed
        if settings.retraining is not None and best is not None:
            size = round(best.size / n_train * n)
        best, indices = carry_over(bench, whole, inner, best, trials, size, settings.max_gap)
    scores = leave_one_out(
        everything,
        operator,
        held_out,
        examination.fit.theta,
        None if outer is None else torch.from_numpy(outer),
    )
    random = None if best is None else best.random
    if best is not None and settings.retraining is not None:
        random = random_gap(settings, bench, best.size)
    elif best is not None and refit and random is None:
        random = bench.random_gap(best.size)
    nothing = Gap(0.0, 0.0, settings.level, held_out.scoring, len(held_out.problem))
    return Outcome(
        kept=indices,
        pruned=best is not None,
        scores=scores.cpu().numpy(),
        gap=nothing if best is None else best.gap,
        path=path_table(trials, best, random, len(problem), settings.max_gap),
        report=_report(settings, table, encoder, bench, examination, best, trials, indices, random),
        study=HeadStudy(everything, final, examination, held_out, encoder.target_scale),
    )


def _choose_device(settings: Settings, encoder: HeadEncoder, rows: Table) -> torch.device:
    """Where the head is worked on; one row tells how wide the features of all are."""
    row = rows.take(np.zeros(1, dtype=np.int64))
    width = encoder.problem(row.X, row.y, row.weights).theta_shape[0]
    return choose_device(settings.device, len(rows) * width)


def _held_out(
    settings: Settings, encoder: HeadEncoder, problem: HeadProblem, rows: Table
) -> HeldOut:
    scorer, name = None, "loss"
    if settings.scoring != "loss":
        scorer = make_scorer(settings.scoring, encoder, rows.X, rows.y)
        name = settings.scoring if isinstance(settings.scoring, str) else "callable"
    held = encoder.problem(rows.X, rows.y, rows.weights, problem.weights.device)
    return HeldOut(held, encoder.loss_unit(problem), name, scorer, rows.units())


def _examine(curvature: str, problem: HeadProblem) -> Examination:
    """The examination of these rows, from memory if they were examined before."""
    name = choose_curvature(problem) if curvature == "auto" else curvature
    penalty = problem.penalty
    key = digest(
        name,
        problem.features.content(),
        problem.targets,
        problem.weights,
        type(problem.loss).__name__,
        penalty.strength,
        penalty.mask,
        "total" if penalty.shares is None else penalty.shares,
    )
    result: Examination = EXAMINATIONS.get(key, lambda: examine(problem, name), Examination.nbytes)
    return result


def _report(
    settings: Settings,
    table: Table,
    encoder: HeadEncoder,
    bench: Bench,
    examination: Examination,
    best: Trial | None,
    trials: list[Trial],
    kept: Rows,
    random: Gap | None,
) -> PruningReport:
    problem, pruned_seconds = bench.problem, None
    if best is not None and bench.refit and settings.retraining is None:
        rows = torch.from_numpy(best.selection.indices)
        pruned_seconds = cold_fit(problem.subset(rows))[1]
    D, K = problem.theta_shape
    curvature = type(examination.curvature).__name__.removesuffix("Curvature").lower()
    full_seconds, n_train = examination.fit_seconds, len(problem)
    notes, doubts = encoder.notes(problem, examination.fit), tuple[str, ...]()
    if not examination.fit.converged:
        doubts = (
            f"The head did not reach its optimum (mean gradient norm "
            f"{examination.fit.gradient_norm:.1e}); without a penalty, separable classes have "
            "none. Influence is taken where the fit stopped; give the model a ridge penalty.",
        )
    if bench.held_out.scorer is None and settings.retraining is None:
        doubts += heavy_tails(bench.held_out.outputs(examination.fit.theta))
    retraining = settings.retraining
    if retraining is not None:
        notes += in_words(retraining, settings.retrained)
        full_seconds = retraining.seconds_per_training(n_train)
        if best is not None:
            pruned_seconds = retraining.seconds_per_training(best.size)
    return PruningReport(
        status=outcome(settings.keep, settings.max_gap, settings.level, best, trials),
        met=settings.keep is not None or best is not None,
        n_rows=len(table),
        n_kept=len(kept),
        classes=class_counts(table, kept),
        predicted=None if best is None else best.predicted,
        refit=None if best is None else best.measured,
        retrained=None if best is None else best.retrained,
        random=random,
        max_gap=settings.max_gap if settings.keep is None else None,
        prior=settings.prior.in_words(),
        notes=notes,
        doubts=doubts,
        model=f"{encoder.spec.loss} head, {D} x {K} parameters, {curvature} curvature",
        gradient_norm=examination.fit.gradient_norm,
        selection_seconds=time.perf_counter() - settings.begin,
        full_fit_seconds=full_seconds,
        pruned_fit_seconds=pruned_seconds,
        full_fit_rows=n_train,
        pruned_fit_rows=n_train if best is None else best.size,
    )
