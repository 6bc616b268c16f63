"""What removing rows does, predicted without retraining: one row, or any set of rows."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.curvature import Curvature
from skprune.gap import HeldOut
from skprune.influence import HeadInfluence
from skprune.models.head import HeadProblem, newton_step, solve_hessian

#: Relative residual of the solves whose result is shown to the user.
SOLVE_TOLERANCE = 1e-8


@dataclass(frozen=True)
class Change:
    """A predicted change.

    Attributes
    ----------
    parameters : ndarray of shape (n_features [+ 1], n_outputs)
        theta without the rows minus theta, the intercept last; in the unit of the target.
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


def leave_one_out(
    problem: HeadProblem,
    theta: Tensor,
    operator: HeadInfluence,
    held_out: HeldOut,
    at: Tensor,
    self_rows: Tensor | None,
) -> Tensor:
    """Predicted change of the mean held-out loss if one row is removed, for all rows (n,).

    s_i = <grad L_val(at), H^-1 a_i>, with the exact Hessian of ``problem`` in the solve.

    Parameters
    ----------
    problem : HeadProblem
        All rows.
    theta : Tensor of shape (D, K)
        Their optimum.
    operator : HeadInfluence
        Of the same rows.
    held_out : HeldOut
    at : Tensor of shape (D, K)
        Where the held-out gradient is taken: a head that never saw those rows.
    self_rows : Tensor or None
        Position in ``problem`` of every held-out row if they are among its rows. Such a row is
        scored on the other held-out rows only, or it would be paid for fitting itself.
    """
    gradient = held_out.gradient(at)
    outputs = problem.features.forward(theta)
    precondition = operator.curvature.solve
    U = solve_hessian(problem, outputs, gradient, precondition, rtol=SOLVE_TOLERANCE)
    scores = operator.scores_along(U)
    if self_rows is not None:
        weights = held_out.problem.weights
        total = weights.sum()
        share = len(problem) / (len(problem) - len(self_rows))  # H is that of the other rows
        own = held_out.unit / share * operator.squared_norms(self_rows)
        rest = (total - weights).clamp_min(torch.finfo(total.dtype).tiny)
        scores[self_rows] = (total * scores[self_rows] - own) / rest
    return scores


def group_influence(
    problem: HeadProblem,
    theta: Tensor,
    curvature: Curvature,
    held_out: HeldOut,
    removed: Tensor,
    target_scale: float = 1.0,
) -> GroupInfluence:
    """Effect of removing the rows where the mask ``removed`` (n,) is True."""
    outputs = problem.features.forward(theta)
    kept = _without(problem, removed)
    newton = newton_step(kept, theta, curvature.solve, outputs=outputs, rtol=1e-4)
    gradient = kept.gradient(theta, outputs)
    influence = solve_hessian(problem, outputs, -gradient, curvature.solve, rtol=SOLVE_TOLERANCE)
    before = held_out.outputs(theta)
    return GroupInfluence(
        *(_change(step, theta, before, held_out, target_scale) for step in (influence, newton))
    )


def _without(problem: HeadProblem, removed: Tensor) -> HeadProblem:
    """The problem with weight 0 on the removed rows; no features are copied."""
    kept = (~removed).to(problem.weights.dtype)
    shares = problem.penalty.shares
    penalty = replace(problem.penalty, shares=None if shares is None else shares * kept)
    return replace(problem, weights=problem.weights * kept, penalty=penalty)


def _change(
    step: Tensor, theta: Tensor, before: Tensor, held_out: HeldOut, target_scale: float
) -> Change:
    after = held_out.outputs(theta + step)
    weights = held_out.problem.weights / held_out.problem.weights.sum()
    mean = held_out.problem.loss.mean
    return Change(
        parameters=(target_scale * step).numpy(),
        predictions=(target_scale * (weights @ (mean(after) - mean(before)))).numpy(),
        loss=float(weights @ (held_out.losses(after) - held_out.losses(before))),
    )
