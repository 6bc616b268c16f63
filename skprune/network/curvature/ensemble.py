"""An ensemble: the checkpoints of one training, or several trainings, each with its curvature."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from skprune.influence import InfluenceOperator
from skprune.network.curvature.base import NetworkCurvature, WhiteningCurvature
from skprune.network.influence import StackedInfluence, network_influence
from skprune.network.problem import NetworkProblem
from skprune.network.removal import RemovalPrediction, predict_removal, row_scores


class CurvatureEnsemble:
    """Predictions are means over members, each with its own parameters and curvature.

    One trained network is one draw of a random training; the effect of rows on the next training
    is nearer to the mean over several.

    Parameters
    ----------
    members : sequence of NetworkCurvature
        Each of the same rows, at its own parameters.
    """

    def __init__(self, members: Sequence[NetworkCurvature]) -> None:
        if not members:
            raise ValueError("An ensemble needs at least one member; got none.")
        if len({len(m.problem) for m in members}) > 1:
            raise ValueError("The members of an ensemble must be of the same rows.")
        self.members = list(members)

    def influence(self) -> InfluenceOperator:
        """The operator whose products are means over members.

        Raises
        ------
        TypeError
            If a member has no root to whiten with.
        """
        operators = []
        for member in self.members:
            if not isinstance(member, WhiteningCurvature):
                raise TypeError(
                    f"The curvature {member.name!r} has no root, so there is no space in which "
                    "rows are vectors; take 'ekfac' or 'dense'."
                )
            operators.append(network_influence(member))
        return StackedInfluence(operators)

    def predict_removal(
        self,
        removed: Tensor,
        held_out: Callable[[NetworkProblem], NetworkProblem],
        method: str = "newton",
    ) -> RemovalPrediction:
        """``predict_removal``, the mean over members.

        ``held_out`` gives the held-out rows of a member's problem: ``lambda p: p.on(rows, y)``.
        """
        found = [predict_removal(m, removed, held_out(m.problem), method) for m in self.members]
        mean = [
            torch.stack([getattr(f, name) for f in found]).mean(0)
            for name in ("losses", "linear", "lengths")
        ]
        losses, linear, lengths = mean
        return RemovalPrediction(losses, linear, lengths, found[0].weights)

    def row_scores(self, held_out: Callable[[NetworkProblem], NetworkProblem]) -> Tensor:
        """``row_scores``, the mean over members, shape (n,)."""
        found = [row_scores(m, held_out(m.problem)) for m in self.members]
        return torch.stack(found).mean(0)
