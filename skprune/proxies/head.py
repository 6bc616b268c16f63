"""Prune for a convex head: examine, search, carry over to all rows, score, report."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.curvature import Curvature, choose_curvature
from skprune.data.table import Table
from skprune.evaluation.held_out import HeldOut
from skprune.evaluation.retrained import Seen
from skprune.evaluation.scorers import make_scorer
from skprune.evaluation.tails import heavy_tails
from skprune.heads.encoding import HeadEncoder
from skprune.heads.problem import HeadFit, HeadProblem, fit_head
from skprune.influence.gradients import HeadInfluence
from skprune.influence.leave_out import GroupInfluence, group_influence, leave_one_out
from skprune.network.encoding import NetworkEncoder
from skprune.proxies.examination import Examination, cold_fit, examine
from skprune.proxies.sampling import difficulty
from skprune.search.outcome import Found, find, on_all_rows, report
from skprune.search.request import Outcome, Settings
from skprune.search.retrained import judged
from skprune.search.sizes import Bench
from skprune.subset import Rows
from skprune.utils.cache import ContentCache, digest, memory
from skprune.utils.devices import choose_device

#: Examinations kept in memory, shared by all pruners of this process.
EXAMINATIONS = ContentCache(max_bytes=2**30)


@dataclass(frozen=True)
class HeadStudy:
    """The head on all rows, ready to say what removing some of them does."""

    problem: HeadProblem
    theta: Tensor
    curvature: Curvature
    held_out: HeldOut
    target_scale: float

    def remove(self, removed: NDArray[np.bool_]) -> GroupInfluence:
        """Predicted effect of removing the rows where the mask is True."""
        return group_influence(
            self.problem,
            self.theta,
            self.curvature,
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
    inner, outer = settings.inner, settings.outer
    train = table if outer is None else table.take(inner)
    encoder.fit(train.X, train.y, train.weights)
    device = _choose_device(settings, encoder, train)
    if settings.curvature != "diagonal":  # that one is of the columns as they are
        encoder.reduce(table.X, table.y, table.weights, device)
    problem = encoder.problem(train.X, train.y, train.weights, device)
    held_out = _measured_on(settings, encoder, problem, validation)
    settings.progress.phase("examining the rows")
    examination = _examine(settings.curvature, problem)
    operator = examination.influence(problem)
    bench = _bench(settings, encoder, train, inner, operator, examination.fit, held_out, problem)
    smallest = max(1, int(bench.minima.sum()))
    if problem.penalty.strength == 0.0:  # fewer rows do not determine the head
        smallest = min(len(bench), max(smallest, problem.theta_shape[0]))
    found = find(settings, judged(bench, settings.retraining), smallest, len(table))
    whole = bench
    if outer is not None:
        settings.progress.phase("examining all rows")
        problem = encoder.problem(table.X, table.y, table.weights, device)
        fit = fit_head(problem, examination.curvature.solve, start=examination.fit.theta)
        operator = HeadInfluence(problem, fit.theta, fit.outputs, examination.curvature)
        seen = _measured_on(settings, encoder, problem, table, operator)
        rows = np.arange(len(table))
        whole = _bench(settings, encoder, table, rows, operator, fit, seen, problem)
        if not settings.keeps_trial:
            # A linear model is measured on all rows, any other on those that it has not seen.
            judge = judged(whole, settings.retraining, inner)
            if settings.confirm is not None and seen.overfit is not None:
                judge = judged(whole, settings.confirm(Seen(problem.loss, seen.overfit)))
            found = on_all_rows(settings, found, judge)
    settings.progress.phase("scoring every row")
    scores = leave_one_out(
        problem,
        whole.operator,
        held_out,
        examination.fit.theta,
        None if outer is None else torch.from_numpy(outer),
    )
    return report(
        settings,
        table,
        found,
        scores=scores.cpu().numpy(),
        study=HeadStudy(
            problem, whole.theta, examination.curvature, held_out, encoder.target_scale
        ),
        model=_in_words(encoder, bench, examination),
        gradient_norm=examination.fit.gradient_norm,
        seconds=_seconds(settings, bench, examination, found),
        with_random=settings.refit or settings.retraining is not None,
        notes=encoder.notes(bench.problem, examination.fit),
        doubts=_doubts(settings, examination.fit, bench.held_out),
    )


def _bench(
    settings: Settings,
    encoder: HeadEncoder,
    table: Table,
    rows: Rows,
    operator: HeadInfluence,
    fit: HeadFit,
    measured_on: HeldOut,
    problem: HeadProblem,
) -> Bench:
    """What chooses among the rows of ``table``, which are ``rows`` of the whole."""
    return Bench(
        problem,
        fit.theta,
        operator,
        measured_on,
        groups=table.codes,
        minima=table.minima(settings.min_per_class),
        solver=settings.solver,
        prior=settings.prior.of(rows, lambda score: difficulty(score, problem, fit)),
        refit=settings.refit,
        seed=settings.seed,
        represent=isinstance(encoder, NetworkEncoder),
    )


def _choose_device(settings: Settings, encoder: HeadEncoder, rows: Table) -> torch.device:
    """Where the head is worked on; one row tells how wide the features of all are."""
    row = rows.take(np.zeros(1, dtype=np.int64))
    width = encoder.problem(row.X, row.y, row.weights).theta_shape[0]
    return choose_device(settings.device, len(rows) * width)


def _measured_on(
    settings: Settings,
    encoder: HeadEncoder,
    problem: HeadProblem,
    rows: Table,
    operator: HeadInfluence | None = None,
) -> HeldOut:
    """The rows on which heads are compared; with an ``operator`` those of the problem itself."""
    scorer, name = None, "loss"
    if settings.scoring != "loss":
        scorer = make_scorer(settings.scoring, encoder, rows.X, rows.y)
        name = settings.scoring if isinstance(settings.scoring, str) else "callable"
    weights, unit = problem.weights, encoder.loss_unit(problem)
    if operator is None:
        held_out = encoder.problem(rows.X, rows.y, rows.weights, weights.device)
        return HeldOut(held_out, unit, name, scorer, rows.units())
    squares, units = operator.squared_norms(), rows.units()
    if units is not None:  # copies pull together
        squares = squares * torch.from_numpy(np.bincount(units)[units]).to(squares)
    overfit = unit * float(squares.sum()) / float(weights.sum())
    return HeldOut(problem, unit, name, scorer, units, overfit)


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
    result: Examination = EXAMINATIONS.get(key, lambda: examine(problem, name), memory)
    return result


def _in_words(encoder: HeadEncoder, bench: Bench, examination: Examination) -> str:
    D, K = bench.problem.coefficients(examination.fit.theta).shape
    return f"{encoder.spec.loss} head, {D} x {K} parameters, {examination.curvature.name} curvature"


def _seconds(
    settings: Settings, bench: Bench, examination: Examination, found: Found
) -> tuple[float, float | None]:
    """Seconds of a cold fit of the head on the rows of the trial, and on those it keeps."""
    if found.best is None or not settings.refit or settings.retraining is not None:
        return examination.fit_seconds, None
    rows = torch.from_numpy(found.best.selection.indices)
    return examination.fit_seconds, cold_fit(bench.problem.subset(rows))[1]


def _doubts(settings: Settings, fit: HeadFit, held_out: HeldOut) -> tuple[str, ...]:
    """Why numbers that the head gives may not be believed."""
    doubts = tuple[str, ...]()
    if not fit.converged:
        doubts = (
            f"The head did not reach its optimum (mean gradient norm {fit.gradient_norm:.1e}); "
            "without a penalty, separable classes have none. Influence is taken where the fit "
            "stopped; give the model a ridge penalty.",
        )
    # Of a model that is not linear the head's outputs say nothing.
    linear = settings.retraining is None or settings.confirm is not None
    if held_out.scorer is None and linear:
        doubts += heavy_tails(held_out.outputs(fit.theta))
    return doubts
