"""What removing rows does, predicted without retraining: one row, or any set of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.curvature import Curvature
from skprune.heads.problem import HeadProblem, solve_hessian
from skprune.influence.operator import HeadInfluence
from skprune.utils.chunks import CHUNK_NUMBERS

if TYPE_CHECKING:
    from skprune.evaluation.held_out import HeldOut

#: Relative residual of the solves behind scores and behind the influence of a group.
SOLVE_TOLERANCE = 1e-3
#: Mean leverage above which the curvature is no model of the held-out loss: scores are first-order.
LARGE_LEVERAGE = 0.1
#: Least part of the curvature along a row's gradient that is taken to come from other rows.
MIN_REST = 0.1
#: Sets of rows whose Newton steps are solved side by side, and their bound on the iterations.
BLOCK = 16
MAX_SOLVE_ITERATIONS = 200


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


def leave_one_out(
    problem: HeadProblem,
    operator: HeadInfluence,
    held_out: HeldOut,
    at: Tensor,
    self_rows: Tensor | None,
) -> Tensor:
    """Predicted change of the mean held-out loss if one row is removed, for all rows (n,).

    s_i = <grad L_val(at), d_i> + d_i' H d_i / (2 W) for the step d_i = H^-1 a_i / (1 - h_i), with
    W the sum of the weights and h_i the leverage of the row: without it H is smaller. The first
    product uses the exact Hessian of ``problem``; the second, by which any step away from the
    optimum costs, takes H / W for the Hessian of the held-out loss. With few rows a parameter it
    is far from that, and the score stays first-order: <grad L_val(at), H^-1 a_i>.

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
    if self_rows is not None:
        self_rows = self_rows.to(at.device)
    gradient = held_out.gradient(at)
    precondition = operator.curvature.solve
    U = solve_hessian(problem, operator.outputs, gradient, precondition, rtol=SOLVE_TOLERANCE)
    weights, total = problem.weights, float(problem.weights.sum())
    # The operator's H is that of the rows that were not held out.
    share = 1.0 if self_rows is None else 1.0 - float(weights[self_rows].sum()) / total
    scores, squares = operator.scores_along(U), held_out.unit * share * operator.squared_norms()
    leverages = share * operator.leverages()
    if self_rows is not None:
        own = held_out.problem.weights
        rest = own.sum() - own
        corrected = (own.sum() * scores[self_rows] - squares[self_rows]) / rest
        # A row that is held out alone has no others to be scored on.
        scores[self_rows] = torch.where(rest > 1e-12 * own.sum(), corrected, 0.0)
    n_effective = total**2 / float(weights.square().sum())  # rows without weight do not count
    if float(leverages.sum()) > LARGE_LEVERAGE * n_effective:
        return scores
    growth = 1.0 / (1.0 - leverages).clamp_min(MIN_REST)
    return growth * scores + growth.square() * squares / (2.0 * total)


def group_influence(
    problem: HeadProblem,
    theta: Tensor,
    curvature: Curvature,
    held_out: HeldOut,
    removed: Tensor,
    target_scale: float = 1.0,
) -> GroupInfluence:
    """Effect of removing the rows where the mask ``removed`` (n,) is True."""
    kept = ~removed[None].to(theta.device)
    newton = newton_steps(problem, theta, curvature, kept, rtol=1e-4)[0]
    outputs = problem.features.forward(theta)
    gradient = _kept_gradients(problem, theta, outputs, kept)[0]
    influence = solve_hessian(problem, outputs, -gradient, curvature.solve, rtol=SOLVE_TOLERANCE)
    before = held_out.outputs(theta)
    return GroupInfluence(
        *(_change(step, theta, before, held_out, target_scale) for step in (influence, newton))
    )


def newton_steps(
    problem: HeadProblem,
    theta: Tensor,
    curvature: Curvature,
    kept: Tensor,
    *,
    rtol: float = 1e-2,
) -> Tensor:
    """Newton steps -H_K^-1 dF_K(theta) on many sets of kept rows at once.

    The sets share every product with the features, which are read once for all of them, and no
    row is copied.

    Parameters
    ----------
    problem : HeadProblem
        All n rows.
    theta : Tensor of shape (D, K)
    curvature : Curvature
        Of all rows: the preconditioner of conjugate gradients.
    kept : Tensor of shape (G, n), bool
        The rows of every set.
    rtol : float
        Relative residual at which the solves stop.

    Returns
    -------
    Tensor of shape (G, D, K)
    """
    outputs = problem.features.forward(theta)
    P = problem.loss.mean(outputs)
    block = min(BLOCK, max(1, CHUNK_NUMBERS // P.numel()))
    return torch.cat(
        [_solve_together(problem, theta, outputs, P, curvature, k, rtol) for k in kept.split(block)]
    )


def _kept_gradients(problem: HeadProblem, theta: Tensor, outputs: Tensor, kept: Tensor) -> Tensor:
    """dF_K(theta) for every set of kept rows (G, n), shape (G, D, K)."""
    E = problem.loss.residual(outputs, problem.targets) * problem.weights[:, None]
    data = _adjoint(problem, E[:, None, :] * kept.T[:, :, None])
    return data + _ridges(problem, kept) * theta


def _solve_together(
    problem: HeadProblem,
    theta: Tensor,
    outputs: Tensor,
    P: Tensor,
    curvature: Curvature,
    kept: Tensor,
    rtol: float,
) -> Tensor:
    """Preconditioned conjugate gradients on G systems of the same size side by side."""
    G, (D, K) = len(kept), theta.shape
    dtype = problem.features.dtype
    ridges, P, weights = _ridges(problem, kept), P.to(dtype), problem.weights.to(dtype)
    weights = weights[:, None] * kept.T

    def middle(part: slice, Z: Tensor) -> Tensor:
        spread = P[part, None, :].expand(-1, G, -1).reshape(-1, K)
        HZ = problem.loss.hessian_product(spread, Z.reshape(-1, K)).reshape(-1, G, K)
        return HZ.mul_(weights[part, :, None]).reshape(-1, G * K)

    def product(V: Tensor) -> Tensor:
        flat = V.permute(1, 0, 2).reshape(D, G * K)
        data = problem.features.sandwich(middle, flat.to(dtype)).to(V)
        return data.reshape(D, G, K).permute(1, 0, 2) + ridges * V

    def precondition(V: Tensor) -> Tensor:
        return torch.stack([problem.loss.project(curvature.solve(v)) for v in V])

    def inner(A: Tensor, B: Tensor) -> Tensor:
        return (A * B).sum((1, 2), keepdim=True)

    residual = -_kept_gradients(problem, theta, outputs, kept)
    target = rtol**2 * inner(residual, residual)
    steps = torch.zeros_like(residual)
    z = precondition(residual)
    direction, rho = z.clone(), inner(residual, z)
    for _ in range(MAX_SOLVE_ITERATIONS):
        active = inner(residual, residual) > target
        if not bool(active.any()):
            break
        Hd = product(direction)
        bend = inner(direction, Hd)
        # A system that is solved, or a flat direction, stands still while the others go on.
        length = torch.where(active & (bend > 0), rho / bend, 0.0)
        steps += length * direction
        residual -= length * Hd
        z = precondition(residual)
        rho, previous = inner(residual, z), rho
        direction = z + torch.where(previous > 0, rho / previous, 0.0) * direction
    return steps


def _adjoint(problem: HeadProblem, E: Tensor) -> Tensor:
    """Phi' E for E (n, G, K), shape (G, D, K)."""
    n, G, K = E.shape
    return problem.features.adjoint(E.reshape(n, G * K)).reshape(-1, G, K).permute(1, 0, 2)


def _ridges(problem: HeadProblem, kept: Tensor) -> Tensor:
    """lam_K P^2 of every set of kept rows, shape (G, D, 1)."""
    penalty = problem.penalty
    shares = penalty.shares
    total = problem.weights.new_ones(len(kept))
    if shares is not None:
        total = kept.to(shares.dtype) @ shares
    return penalty.strength * total[:, None, None] * penalty.mask.square()


def _change(
    step: Tensor, theta: Tensor, before: Tensor, held_out: HeldOut, target_scale: float
) -> Change:
    after = held_out.outputs(theta + step)
    weights = held_out.problem.weights / held_out.problem.weights.sum()
    mean = held_out.problem.loss.mean
    return Change(
        parameters=(target_scale * held_out.problem.coefficients(step)).cpu().numpy(),
        predictions=(target_scale * (weights @ (mean(after) - mean(before)))).cpu().numpy(),
        loss=float(weights @ (held_out.losses(after) - held_out.losses(before))),
    )
