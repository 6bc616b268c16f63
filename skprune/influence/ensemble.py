"""An ensemble of networks, from one or several trainings, each with its curvature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skprune.curvature import Curvature
from skprune.influence.gradients import NetworkInfluence, network_influence
from skprune.influence.leave_out import GroupInfluence, change, removal_steps, row_scores
from skprune.influence.operator import InfluenceOperator
from skprune.influence.stacked import StackedInfluence
from skprune.network.problem import NetworkProblem
from skprune.utils.exceptions import warn_user

#: Number of sets of rows that are handled side by side.
GROUPS = 32
#: Number of parts of the held-out rows, each of which is scored on the others.
PARTS = 32
#: A Newton step that is longer than this share of the parameters' norm leaves the region in which
#: it is valid. On digits (one hidden layer, 30 % kept) it is 0.2 to 0.3 where gaps are right, and
#: 0.8 to 1.6 for an interpolating network, whose predicted gaps are many nats.
FAR = 0.6
TOO_FAR = (
    "The predicted step to the network without the removed rows is as large as the layers "
    "themselves, so that predicted gaps are not to be believed: a network has hardly any "
    "curvature where it fits its rows closely, or is not trained. Keep more rows, give the weight "
    "decay of the training, or measure with verify='retrain'."
)


@dataclass(frozen=True)
class Removal:
    """Predicted effect of removing G sets of rows on h held-out rows.

    Attributes
    ----------
    losses : Tensor of shape (G, h)
        Change of the loss of every held-out row, at the outputs z + J step of the linearised
        network. It is positive where removal harms.
    lengths : Tensor of shape (G,)
        |step| / |layers|, the predicted change as a share of the layers that it changes.
    """

    losses: Tensor
    lengths: Tensor


@dataclass(frozen=True)
class Member:
    """One trained network.

    Attributes
    ----------
    selector : Curvature
        Curvature in whose metric rows are selected.
    predictor : Curvature
        Curvature of the same rows that predicts the effect of removing some; may be the same.
    held_out : NetworkProblem
        The network on the held-out rows.
    """

    selector: Curvature
    predictor: Curvature
    held_out: NetworkProblem

    @property
    def problem(self) -> NetworkProblem:
        """The network on the training rows."""
        problem: NetworkProblem = self.predictor.problem
        return problem

    def predict_removal(self, removed: Tensor, method: str = "newton") -> Removal:
        """Effect of removing each of the sets ``removed`` (G, n): see ``removal_steps``."""
        held, operator = self.held_out, NetworkInfluence(self.predictor)
        losses, lengths, before = [], [], held.losses()
        for part in removed.split(GROUPS):
            steps = removal_steps(operator, part, method)
            losses.append(held.losses_at(held.outputs_after(steps)) - before)
            lengths.append(steps.norm(dim=1) / held.length)
        return Removal(torch.cat(losses), torch.cat(lengths))

    def row_scores(self) -> Tensor:
        """Predicted change of the mean held-out loss if one row is removed, shape (n,).

        <grad L_val, H^-1 (a_i - w_i mean a)> / (W - w_i); positive where the row helps.
        """
        problem, gradient = self.problem, self.held_out.gradients() / self.held_out.total
        scores = row_scores(NetworkInfluence(self.predictor), gradient)
        return scores * problem.total / (problem.total - problem.weights)

    def held_out_scores(self) -> Tensor:
        """``row_scores`` of the held-out rows if they are among the rows, shape (h,).

        A row would always be good for itself, so that it is scored on other held-out rows: those
        outside its own part of 32. That takes one solve for each part instead of one for each row.
        """
        problem, held, h = self.problem, self.held_out, len(self.held_out)
        part = torch.arange(h, device=held.weights.device) % PARTS
        inside = part == torch.arange(min(PARTS, h), device=part.device)[:, None]
        others = ~inside * held.weights
        totals = others.sum(1, keepdim=True)
        U = self.predictor.solve(held.gradients(others) / totals.clamp_min(1e-300))
        mean = self.predictor.gradients.weighted_sum(problem.weights) / problem.total
        along = ((held.scores(U) - U @ mean[:, None]) * inside).sum(0)
        return held.weights * along / (problem.total - held.weights)


class CurvatureEnsemble:
    """Several networks, whose predictions are averaged.

    A trained network is one draw of a random training. The effect of rows on the next training is
    nearer to the mean over several networks. A single network is an ensemble of one.

    Parameters
    ----------
    members : sequence of Member
        They have the same rows and the same held-out rows.
    """

    def __init__(self, members: Sequence[Member]) -> None:
        self.members = list(members)

    @property
    def weights(self) -> Tensor:
        """Weights of the held-out rows, shape (h,)."""
        return self.members[0].held_out.weights

    def influence(self) -> InfluenceOperator:
        """The operator whose products are means over members."""
        operators = [network_influence(m.selector) for m in self.members]
        # A stack of one would copy every vector for nothing.
        return operators[0] if len(operators) == 1 else StackedInfluence(operators)

    def group_influence(self, removed: Tensor, unit: float) -> GroupInfluence:
        """Effect of removing the rows where the mask ``removed`` (n,) is True.

        ``unit`` is the factor from the networks' loss to the reported one.
        """
        held, changes = [m.held_out for m in self.members], {}
        for method in ("influence", "newton"):
            steps = [
                removal_steps(NetworkInfluence(m.predictor), removed[None], method)[0]
                for m in self.members
            ]
            far = any(float(s.norm()) > FAR * h.length for s, h in zip(steps, held, strict=True))
            if method == "newton" and far:
                warn_user(TOO_FAR)
            changes[method] = change(steps, held, unit)
        return GroupInfluence(**changes)

    def predict_removal(self, removed: Tensor) -> Removal:
        """``predict_removal`` by Newton steps, the mean over members."""
        found = [member.predict_removal(removed) for member in self.members]
        losses, lengths = zip(*((f.losses, f.lengths) for f in found), strict=True)
        return Removal(torch.stack(losses).mean(0), torch.stack(lengths).mean(0))

    def row_scores(self) -> Tensor:
        """``row_scores``, the mean over members, shape (n,)."""
        return torch.stack([member.row_scores() for member in self.members]).mean(0)

    def held_out_scores(self) -> Tensor:
        """``held_out_scores``, the mean over members, shape (h,)."""
        return torch.stack([member.held_out_scores() for member in self.members]).mean(0)
