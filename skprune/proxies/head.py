"""A convex head as a proxy: its optimum, curvature and influence vectors on some rows."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.curvature import (
    EKFAC_FEATURES,
    Curvature,
    HeadGradients,
    build_curvature,
    choose_curvature,
)
from skprune.data.table import Split, Table
from skprune.evaluation.base import Evaluator
from skprune.evaluation.head_bounds import head_bounds
from skprune.evaluation.head_levels import Predicted, Refit
from skprune.evaluation.held_out import HeldOut
from skprune.evaluation.retrained import Seen
from skprune.evaluation.scorers import make_scorer
from skprune.heads.encoding import HeadEncoder
from skprune.heads.problem import HeadFit, HeadProblem, fit_head
from skprune.influence.gradients import HeadInfluence
from skprune.influence.leave_out import GroupInfluence, group_influence, leave_one_out
from skprune.proxies.base import FittedProxy
from skprune.results.bounds import PredictionBounds
from skprune.subset import Selection
from skprune.utils.cache import ContentCache, digest, memory
from skprune.utils.devices import choose_device
from skprune.utils.progress import Progress

#: Fits of heads in memory, shared by all pruners of this process.
FITS = ContentCache(max_bytes=2**30)


@dataclass(frozen=True)
class FittedCurvature:
    """A head at the optimum of its rows, with the curvature there.

    Attributes
    ----------
    fit : HeadFit
    curvature : Curvature
        The curvature without its rows.
    seconds : float
        Duration of the cold fit.
    """

    fit: HeadFit
    curvature: Curvature
    seconds: float

    def influence(self, problem: HeadProblem) -> HeadInfluence:
        """The influence operator of the rows that were fitted."""
        return HeadInfluence(problem, self.fit.theta, self.fit.outputs, self.curvature)


def cold_fit(problem: HeadProblem) -> tuple[HeadFit, float]:
    """Fit a head from theta = 0; return the fit and its duration in seconds.

    The preconditioner is the curvature there, which for a softmax is exactly a Kronecker product.
    """
    start = time.perf_counter()
    zeros = problem.zeros()
    name = "ekfac" if zeros.shape[0] <= EKFAC_FEATURES else "diagonal"
    at_zero = build_curvature(name, HeadGradients(problem, problem.features.forward(zeros)))
    fit = fit_head(problem, at_zero.solve)
    return fit, time.perf_counter() - start


def fit_curvature(problem: HeadProblem, name: str) -> FittedCurvature:
    """Fit the head to all rows of ``problem`` and take the named curvature there."""
    fit, seconds = cold_fit(problem)
    curvature = build_curvature(name, HeadGradients(problem, fit.outputs)).selector()
    return FittedCurvature(fit, curvature.on(None), seconds)


def difficulty(score: str, problem: HeadProblem, fit: HeadFit) -> NDArray[np.float64]:
    """The difficulty of every row for the fitted head, shape (n,).

    The score "loss" is the loss of the row, and "el2n" the norm of its error vector p - y.
    """
    if score == "loss":
        values = problem.loss.value(fit.outputs, problem.targets)
    else:
        values = problem.loss.residual(fit.outputs, problem.targets).norm(dim=1)
    return values.cpu().numpy()


class FittedHead(FittedProxy):
    """A head on some rows.

    Parameters
    ----------
    encoder : HeadEncoder
        A fitted encoder, which makes problems of rows.
    table : Table
    problem : HeadProblem
        The rows of ``table``.
    fitted : FittedCurvature
        The optimum on these rows, and a curvature, which may be that of the training rows.
    influence : HeadInfluence
        The influence vectors of the rows in the metric of that curvature.
    measured_on : HeldOut
        The rows to measure on.
    split : Split
    scoring : str or callable
    train : FittedHead, optional
        The head of the training rows alone, if these are all rows.
    """

    def __init__(
        self,
        encoder: HeadEncoder,
        table: Table,
        problem: HeadProblem,
        fitted: FittedCurvature,
        influence: HeadInfluence,
        measured_on: HeldOut,
        split: Split,
        scoring: Any,
        train: FittedHead | None = None,
    ) -> None:
        self.encoder, self.table, self.problem = encoder, table, problem
        self.fitted, self.measured_on = fitted, measured_on
        self.split, self.scoring = split, scoring
        self.train = self if train is None else train
        self.influence: HeadInfluence = influence
        # A network that is trained on the rows learns more than its last layer from them.
        self.stratify = self.keeps_difficulty = encoder.stratify
        self.least_rows = problem.theta_shape[0] if problem.penalty.strength == 0.0 else 1
        self.gradient_norm = fitted.fit.gradient_norm

    def on(self, table: Table) -> FittedHead:
        problem = self.encoder.problem(table.X, table.y, table.weights, self.problem.weights.device)
        curvature, fit = self.fitted.curvature, self.fitted.fit
        fit = fit_head(problem, curvature.solve, start=fit.theta)
        fitted = FittedCurvature(fit, curvature, self.fitted.seconds)
        unit, units = self.encoder.loss_unit(problem), table.units()
        influence = fitted.influence(problem)  # which remembers the norms
        squares = influence.squared_norms()
        if units is not None:  # copies pull together
            squares = squares * torch.from_numpy(np.bincount(units)[units]).to(squares)
        # Where there is no optimum, the Hessian vanishes, and with it what the correction rests on.
        has_optimum = fit.converged and self.fitted.fit.converged
        overfit = unit * float(squares.sum()) / problem.total if has_optimum else 0.0
        seen = _held_out(self.scoring, self.encoder, table, problem, unit, overfit)
        about = (seen, self.split, self.scoring, self)
        return FittedHead(self.encoder, table, problem, fitted, influence, *about)

    def evaluators(self) -> Sequence[Evaluator]:
        predicted = self._predicted(self.measured_on)
        return predicted, Refit(predicted)

    def on_new(self, table: Table, scoring: Any = None) -> Refit:
        return Refit(self._predicted(self._rows_to_measure(table, scoring)))

    def bounds(self, kept: Selection, rows: Table, *, labelled: bool) -> PredictionBounds:
        return head_bounds(
            self._predicted(self._rows_to_measure(rows)),
            kept,
            self.encoder.target_scale,
            labelled=labelled,
        )

    def _predicted(self, rows: HeldOut) -> Predicted:
        return Predicted(self.problem, self.fitted.fit.theta, self.fitted.curvature, rows)

    def _rows_to_measure(self, table: Table, scoring: Any = None) -> HeldOut:
        device = self.problem.weights.device
        problem = self.encoder.problem(table.X, table.y, table.weights, device)
        unit = self.encoder.loss_unit(self.problem)
        return _held_out(scoring or self.scoring, self.encoder, table, problem, unit)

    def seen(self) -> Seen | None:
        overfit = self.measured_on.overfit
        has_optimum = self.fitted.fit.converged and self.train.fitted.fit.converged
        if overfit is None or not has_optimum:
            return None
        return Seen(self.problem.loss, overfit)

    def difficulty(self, name: str) -> NDArray[np.float64]:
        return difficulty(name, self.problem, self.fitted.fit)

    def scores(self) -> NDArray[np.float64]:
        held_out = self.split.held_out
        own = None if held_out is None else torch.from_numpy(held_out)
        theta, validation = self.train.fitted.fit.theta, self.train.measured_on
        scores = leave_one_out(self.problem, self.influence, validation, theta, own)
        return scores.cpu().numpy()

    def logits(self, table: Table) -> Tensor:
        return self.encoder.logits(table.X)

    def leave_out(self, removed: NDArray[np.bool_]) -> GroupInfluence:
        return group_influence(
            self.problem,
            self.fitted.fit.theta,
            self.fitted.curvature,
            self.train.measured_on,
            torch.from_numpy(removed),
            self.encoder.target_scale,
        )

    def fit_seconds(self, kept: Selection | None = None) -> float | None:
        if kept is None:
            return self.fitted.seconds
        return cold_fit(self.problem.subset(torch.from_numpy(kept.indices)))[1]

    def describe(self) -> str:
        D, K = self.problem.coefficients(self.fitted.fit.theta).shape
        curvature = self.fitted.curvature.name
        return f"{self.encoder.spec.loss} head, {D} x {K} parameters, {curvature} curvature"

    def notes(self) -> tuple[tuple[str, str], ...]:
        return self.encoder.notes(self.train.problem, self.train.fitted.fit)

    def diagnostics(self) -> tuple[str, ...]:
        if self.fitted.fit.converged:
            return ()
        return (
            f"The head did not reach its optimum (mean gradient norm {self.gradient_norm:.1e}); "
            "without a penalty, separable classes have none. Influence is taken where the fit "
            "stopped; give the model a ridge penalty.",
        )


def fit_head_proxy(
    encoder: HeadEncoder,
    split: Split,
    scoring: Any,
    curvature: str,
    device: str | torch.device,
    progress: Progress,
) -> FittedHead:
    """Fit a head to the training rows.

    Parameters
    ----------
    encoder : HeadEncoder
        An encoder that is not fitted yet.
    split : Split
    scoring : str or callable
    curvature : str
    device : str or torch.device
    progress : Progress
    """
    table, train, validation = split.table, split.train, split.validation
    encoder.fit(train.X, train.y, train.weights)
    # The number of features follows from one row.
    row = train.take(np.zeros(1, dtype=np.int64))
    width = encoder.problem(row.X, row.y, row.weights).theta_shape[0]
    where = choose_device(device, len(train) * width)
    if curvature != "diagonal":  # that one is of the columns as they are
        encoder.reduce(table.X, table.y, table.weights, where)
    problem = encoder.problem(train.X, train.y, train.weights, where)
    held_out = encoder.problem(validation.X, validation.y, validation.weights, where)
    unit = encoder.loss_unit(problem)
    measured_on = _held_out(scoring, encoder, validation, held_out, unit)
    progress.phase("fitting the proxy")
    fitted = _fit_once(curvature, problem)
    about = (fitted, fitted.influence(problem), measured_on, split, scoring)
    return FittedHead(encoder, train, problem, *about)


def _held_out(
    scoring: Any,
    encoder: HeadEncoder,
    rows: Table,
    problem: HeadProblem,
    unit: float,
    overfit: float | None = None,
) -> HeldOut:
    """The rows on which heads are compared."""
    if isinstance(scoring, str) and scoring == "loss":
        return HeldOut(problem, unit, scoring, None, rows.units(), overfit)
    scorer = make_scorer(scoring, encoder, rows.X, rows.y)
    name = scoring if isinstance(scoring, str) else "callable"
    return HeldOut(problem, unit, name, scorer, rows.units(), overfit)


def _fit_once(curvature: str, problem: HeadProblem) -> FittedCurvature:
    """The fit of these rows, from memory if they were fitted before."""
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
    result: FittedCurvature = FITS.get(key, lambda: fit_curvature(problem, name), memory)
    return result
