"""What removing rows does, predicted without retraining: one row, or any set of rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.curvature import Curvature
from skprune.heads.problem import HeadProblem
from skprune.influence.gradients import GradientInfluence, HeadInfluence
from skprune.network.problem import NetworkProblem

if TYPE_CHECKING:
    from skprune.evaluation.held_out import HeldOut

#: Relative residual of the solves behind scores and behind the influence of a group.
SOLVE_TOLERANCE = 1e-3
#: And of the Newton step of a head.
STEP_TOLERANCE = 1e-4
#: Mean leverage above which the curvature is no model of the held-out loss: scores are first-order.
LARGE_LEVERAGE = 0.1
#: Least part of the curvature along a row's gradient that is taken to come from other rows.
MIN_REST = 0.1


@dataclass(frozen=True)
class Change:
    """A predicted change.

    Attributes
    ----------
    parameters : ndarray of shape (n_features [+ 1], n_outputs)
        theta without the rows minus theta, the intercept last; in the unit of the target. With
        ``model=None`` or a Pipeline, of the transformed (standardised) columns.
    predictions : ndarray of shape (n_outputs,)
        Change of the mean prediction on the held-out rows: class probabilities (for two
        classes, of the second), or the target.
    loss : float
        Change of the mean held-out loss, positive where removal harms: nats, or shares of Var(y).
    """

    parameters: NDArray[np.float64]
    predictions: NDArray[np.float64]
    loss: float


@dataclass(frozen=True)
class GroupInfluence:
    """Predicted effect of removing a set of rows.

    Attributes
    ----------
    influence : Change
        By the influence function, sum of single rows: H^-1 sum_T a_i. It misses that the kept
        rows curve less than all rows do, so it underestimates large sets.
    newton : Change
        By one Newton step on the kept rows: H_K^-1 sum_T a_i. The one to believe.
    """

    influence: Change
    newton: Change


@dataclass(frozen=True)
class HeadRows:
    """The held-out rows of a head, which tell what steps do to them as a ``NetworkProblem`` does.

    Parameters
    ----------
    held_out : HeldOut
    theta : Tensor of shape (D, K)
    target_scale : float
        From predictions and parameters of the head to those of the target.
    """

    held_out: HeldOut
    theta: Tensor
    target_scale: float

    @property
    def weights(self) -> Tensor:
        return self.held_out.problem.weights

    def outputs_after(self, steps: Tensor) -> Tensor:
        moved = self.theta + steps.reshape(-1, *self.theta.shape)
        return torch.stack([self.held_out.outputs(theta) for theta in moved])

    def losses_at(self, outputs: Tensor) -> Tensor:
        return torch.stack([self.held_out.losses(Z) for Z in outputs])

    def predictions_at(self, outputs: Tensor) -> Tensor:
        return self.target_scale * self.held_out.problem.loss.mean(outputs)

    def coefficients(self, step: Tensor) -> Tensor:
        """A step (p,) in the coefficients of the columns, (n_features [+ 1], K)."""
        coordinates = step.reshape(self.theta.shape)
        return self.target_scale * self.held_out.problem.coefficients(coordinates)


def removal_steps(
    operator: GradientInfluence,
    removed: Tensor,
    method: str = "newton",
    tolerance: float | None = None,
) -> Tensor:
    """Predicted parameters without each of G sets of rows, minus the given ones, shape (G, p).

    With r = sum_T a_i,

    - "influence" is the sum of single rows, H^-1 r / W;
    - "newton" is one Newton step on the kept rows, H_K^-1 r / W_K: see ``Curvature.restricted``.

    Parameters
    ----------
    operator : GradientInfluence
    removed : Tensor of shape (G, n), bool
        True where a row goes.
    method : {"newton", "influence"}
    tolerance : float, optional
        Relative residual at which the solves stop.
    """
    if method not in ("newton", "influence"):
        raise ValueError(f"method must be 'newton' or 'influence'; got {method!r}.")
    if bool(removed.all(1).any()):
        raise ValueError("A set holds all rows; a model that is trained on nothing is unknown.")
    weights = operator.problem.weights
    removed = removed.to(weights.device)
    pulls = operator.pulls(removed)
    if method == "influence":
        return operator.curvature.restricted(None, tolerance)(pulls / operator.problem.total)
    totals = (weights * ~removed).sum(1, keepdim=True)
    return operator.curvature.restricted(~removed, tolerance)(pulls / totals)


def change(
    steps: Sequence[Tensor], held_out: Sequence[HeadRows | NetworkProblem], unit: float = 1.0
) -> Change:
    """What steps (p,) do, each to its own model: the mean over the models.

    Each has parameters of its own: their changes stand one after the other. ``unit`` is the factor
    from the models' loss to the reported one.
    """
    parameters, predictions, losses = [], [], []
    for step, held in zip(steps, held_out, strict=True):
        weights = held.weights / held.weights.sum()
        outputs = held.outputs_after(torch.stack([torch.zeros_like(step), step]))
        before, after = (held.predictions_at(Z) for Z in outputs)
        predictions.append(weights @ (after - before))
        before, after = held.losses_at(outputs)
        losses.append(weights @ (after - before))
        parameters.append(held.coefficients(step))
    return Change(
        parameters=torch.cat(parameters).cpu().numpy(),
        predictions=torch.stack(predictions).mean(0).cpu().numpy(),
        loss=unit * float(torch.stack(losses).mean()),
    )


def group_influence(
    problem: HeadProblem,
    theta: Tensor,
    curvature: Curvature,
    held_out: HeldOut,
    removed: Tensor,
    target_scale: float = 1.0,
) -> GroupInfluence:
    """Effect of removing the rows of a head where the mask ``removed`` (n,) is True."""
    operator = HeadInfluence(problem, theta, problem.features.forward(theta), curvature)
    held = HeadRows(held_out, theta, target_scale)
    tolerances = {"influence": SOLVE_TOLERANCE, "newton": STEP_TOLERANCE}
    return GroupInfluence(
        **{
            method: change([removal_steps(operator, removed[None], method, rtol)[0]], [held])
            for method, rtol in tolerances.items()
        }
    )


def row_scores(
    operator: GradientInfluence, gradient: Tensor, tolerance: float | None = None
) -> Tensor:
    """<gradient, H^-1 a_i> / W for all rows, shape (n,).

    To first order, the change of a mean held-out loss of that ``gradient`` (p,) if one row is
    removed; positive where the row helps.
    """
    U = operator.curvature.restricted(None, tolerance)(gradient[None])[0]
    return operator.scores_along(U) / operator.problem.total


def leave_one_out(
    problem: HeadProblem,
    operator: HeadInfluence,
    held_out: HeldOut,
    at: Tensor,
    self_rows: Tensor | None,
) -> Tensor:
    """Predicted change of the mean held-out loss of a head if one row is removed, shape (n,).

    s_i = <grad L_val(at), d_i> + d_i' H d_i / 2 for the step d_i = H^-1 a_i / (W (1 - h_i)), with
    W the sum of the weights and h_i the leverage of the row: without it H is smaller. The first
    product uses the exact Hessian of ``problem``; the second, by which any step away from the
    optimum costs, takes H for the Hessian of the held-out loss. With few rows a parameter it
    is far from that, and the score stays first-order: ``row_scores``.

    Parameters
    ----------
    problem : HeadProblem
        All rows.
    operator : HeadInfluence
        Of the same rows, at their optimum.
    held_out : HeldOut
    at : Tensor of shape (D, K)
        Where the held-out gradient is taken: a head that never saw those rows.
    self_rows : Tensor or None
        Position in ``problem`` of every held-out row if they are among its rows. Such a row is
        scored on the other held-out rows only, or it would be paid for fitting itself.
    """
    scores = row_scores(operator, held_out.gradient(at).reshape(-1), SOLVE_TOLERANCE)
    squares = held_out.unit * operator.squared_norms()
    if self_rows is not None:
        self_rows = self_rows.to(at.device)
        scores[self_rows] = scored_on_others(
            scores[self_rows], squares[self_rows], held_out.problem.weights
        )
    weights, leverages = problem.weights, operator.leverages()
    n_effective = problem.total**2 / float(weights.square().sum())  # rows without weight: nothing
    if float(leverages.sum()) > LARGE_LEVERAGE * n_effective:
        return scores
    growth = 1.0 / (1.0 - leverages).clamp_min(MIN_REST)
    return growth * scores + growth.square() * squares / (2.0 * problem.total)


def scored_on_others(scores: Tensor, squares: Tensor, weights: Tensor) -> Tensor:
    """Scores (h,) of held-out rows on the other held-out rows, or they are paid for fitting selves.

    ``squares`` are |s_i|^2, what a row does to itself. One that is held out alone has no others.
    """
    rest = weights.sum() - weights
    corrected = (weights.sum() * scores - squares) / rest
    return torch.where(rest > 1e-12 * weights.sum(), corrected, 0.0)
