"""Predict without retraining what removing one row, or a set of rows, does."""

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

#: Relative residual of the solves for scores and for the influence of a group.
SOLVE_TOLERANCE = 1e-3
#: Relative residual of the solve for the Newton step of a head.
STEP_TOLERANCE = 1e-4
#: Mean leverage above which curvature does not describe the held-out loss: scores are first-order.
LARGE_LEVERAGE = 0.1
#: Least part of the curvature along a row's gradient that is attributed to other rows.
MIN_REST = 0.1


@dataclass(frozen=True)
class Change:
    """A predicted change of parameters, predictions and loss.

    Attributes
    ----------
    parameters : ndarray of shape (n_features [+ 1], n_outputs)
        theta without the rows minus theta, the intercept last, in the unit of the target. With
        ``model=None`` or a Pipeline, they belong to the transformed (standardised) columns.
    predictions : ndarray of shape (n_outputs,)
        Change of the mean prediction on the held-out rows: class probabilities (for two
        classes, of the second), or the target.
    loss : float
        Change of the mean held-out loss in nats or shares of Var(y), positive where removal harms.
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
        The influence function's prediction, the sum over single rows: H^-1 sum_T a_i. It ignores
        that the kept rows have less curvature than all rows, so it underestimates large sets.
    newton : Change
        The prediction by one Newton step on the kept rows: H_K^-1 sum_T a_i. It is the better one.
    """

    influence: Change
    newton: Change


@dataclass(frozen=True)
class HeadRows:
    """The held-out rows of a head, with the methods of a ``NetworkProblem`` for steps.

    Parameters
    ----------
    held_out : HeldOut
    theta : Tensor of shape (D, K)
    target_scale : float
        Factor from predictions and parameters of the head to the unit of the target.
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
        """A step (p,) as a change of the coefficients, (n_features [+ 1], K)."""
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
        True where a row is removed.
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
    """The effect of steps (p,), each of its own model, as a mean over the models.

    Changes of parameters are concatenated. ``unit`` is the factor from the models' loss to the
    reported one.
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
    """The scores <gradient, H^-1 a_i> / W of all rows, shape (n,).

    To first order a score is the change of a mean held-out loss with that ``gradient`` (p,) if the
    row is removed; it is positive where the row helps.
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
    W the sum of the weights and h_i the leverage of the row, by which H shrinks without it. The
    first product uses the exact Hessian of ``problem``. The second is the cost of any step away
    from the optimum, and takes H for the Hessian of the held-out loss. With few rows for each
    parameter that is a bad approximation, and scores are first-order, as ``row_scores``.

    Parameters
    ----------
    problem : HeadProblem
        All rows.
    operator : HeadInfluence
        The operator of the same rows, at their optimum.
    held_out : HeldOut
    at : Tensor of shape (D, K)
        The head at which the held-out gradient is taken; it was not fitted on the held-out rows.
    self_rows : Tensor or None
        Positions in ``problem`` of the held-out rows if they are among its rows. They are then
        scored on the other held-out rows, because a row is always good for itself.
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
    """Scores (h,) of held-out rows on the other held-out rows.

    ``squares`` are |s_i|^2, the effects of rows on themselves, which are taken out. The
    score of a row that is held out alone is 0.
    """
    rest = weights.sum() - weights
    corrected = (weights.sum() * scores - squares) / rest
    return torch.where(rest > 1e-12 * weights.sum(), corrected, 0.0)
