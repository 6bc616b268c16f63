"""What removing rows does to a network, predicted without training: one row, or any set of rows."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from skprune.curvature.layers.base import NetworkCurvature
from skprune.network.problem import NetworkProblem

#: Sets of rows that are handled side by side.
GROUPS = 32
#: Parts of the held-out rows, each of which is scored on the others.
PARTS = 32


@dataclass(frozen=True)
class RemovalPrediction:
    """Predicted effect of removing G sets of rows on h held-out rows.

    Attributes
    ----------
    losses : Tensor of shape (G, h)
        Change of the loss of every held-out row: at the outputs z + J step of the network that is
        linear about the given one. Positive where removal harms.
    linear : Tensor of shape (G, h)
        The same to first order, <dl_j, step>.
    lengths : Tensor of shape (G,)
        |step| / |layers|, the predicted change as a share of the layers that it changes.
    weights : Tensor of shape (h,)
        Weights of the held-out rows.
    """

    losses: Tensor
    linear: Tensor
    lengths: Tensor
    weights: Tensor

    @property
    def loss(self) -> Tensor:
        """Change of the mean held-out loss, shape (G,)."""
        return self.losses @ self.weights / self.weights.sum()

    @property
    def linear_loss(self) -> Tensor:
        """The same to first order, shape (G,)."""
        return self.linear @ self.weights / self.weights.sum()


def predict_removal(
    curvature: NetworkCurvature,
    removed: Tensor,
    held_out: NetworkProblem,
    method: str = "newton",
) -> RemovalPrediction:
    """Effect of removing each of G sets of rows.

    Parameters
    ----------
    curvature : NetworkCurvature
        Of all n rows.
    removed : Tensor of shape (G, n), bool
        True where a row goes.
    held_out : NetworkProblem
        The same network on held-out rows (``problem.on(rows, targets)``).
    method : {"newton", "influence"}
        See ``removal_steps``.

    Returns
    -------
    RemovalPrediction
    """
    losses, linear, lengths = [], [], []
    before = held_out.losses()
    for part in removed.split(GROUPS):
        steps = removal_steps(curvature, part, method)
        losses.append(held_out.losses_at(held_out.outputs_after(steps)) - before)
        linear.append(held_out.scores(steps))
        lengths.append(steps.norm(dim=1) / held_out.length)
    return RemovalPrediction(
        torch.cat(losses), torch.cat(linear), torch.cat(lengths), held_out.weights
    )


def removal_steps(curvature: NetworkCurvature, removed: Tensor, method: str = "newton") -> Tensor:
    """Predicted parameters without each of G sets of rows, minus the given ones, shape (G, p).

    With a_i the gradient of row i and its share of the penalty, r = sum_T (a_i - w_i mean a),

    - "influence" is the sum of single rows, H^-1 r / W;
    - "newton" is one Newton step on the kept rows, H_K^-1 r / W_K. CG takes the Gauss-Newton
      matrix of the kept rows; curvatures that are not stored by rows take the mean over all.

    The mean of a, zero at an optimum, is a drift that training on all rows would see as well.

    Parameters
    ----------
    curvature : NetworkCurvature
    removed : Tensor of shape (G, n), bool
    method : {"newton", "influence"}
    """
    if method not in ("newton", "influence"):
        raise ValueError(f"method must be 'newton' or 'influence'; got {method!r}.")
    problem = curvature.problem
    if bool(removed.all(1).any()):
        raise ValueError("A set holds all rows; a network that is trained on nothing is unknown.")
    removed = removed.to(problem.theta.device)
    gone = removed * problem.weights
    mean = curvature.gradients.weighted_sum(problem.weights) / problem.total
    pull = curvature.gradients.weighted_sum(gone) - gone.sum(1, keepdim=True) * mean
    if method == "influence":
        return curvature.solve(pull / problem.total)
    kept = problem.weights - gone
    return curvature.solve_kept(pull / kept.sum(1, keepdim=True), kept)


def row_scores(curvature: NetworkCurvature, held_out: NetworkProblem) -> Tensor:
    """Predicted change of the mean held-out loss if one row is removed, for all rows (n,).

    <grad L_val, H^-1 (a_i - w_i mean a)> / (W - w_i); positive where the row helps.
    """
    problem = curvature.problem
    gradient = held_out.gradients() / held_out.total
    U = curvature.solve(gradient)
    along = curvature.gradients.scores(U)
    weights = problem.weights
    along = along - (weights @ along) / problem.total
    return weights * along / (problem.total - weights)


def held_out_scores(curvature: NetworkCurvature, held_out: NetworkProblem) -> Tensor:
    """``row_scores`` of held-out rows that are among the rows of ``curvature``, shape (h,).

    A row would be paid for fitting itself, so that it is scored on the others: here on the rows
    outside its own 32nd part, which takes a solve a part, side by side, instead of one a row.
    """
    problem, h = curvature.problem, len(held_out)
    part = torch.arange(h, device=held_out.weights.device) % PARTS
    inside = part == torch.arange(min(PARTS, h), device=part.device)[:, None]
    others = ~inside * held_out.weights
    totals = others.sum(1, keepdim=True)
    U = curvature.solve(held_out.gradients(others) / totals.clamp_min(1e-300))
    mean = curvature.gradients.weighted_sum(problem.weights) / problem.total
    along = ((held_out.scores(U) - U @ mean[:, None]) * inside).sum(0)
    return held_out.weights * along / (problem.total - held_out.weights)
