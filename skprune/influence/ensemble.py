"""An ensemble: the checkpoints of one training, or several trainings, each with its curvature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from skprune.curvature.layers.base import NetworkCurvature, WhiteningCurvature
from skprune.influence.network import network_influence
from skprune.influence.network_leave_out import (
    RemovalPrediction,
    held_out_scores,
    predict_removal,
    row_scores,
)
from skprune.influence.operator import InfluenceOperator
from skprune.influence.stacked import StackedInfluence
from skprune.network.problem import NetworkProblem


@dataclass(frozen=True)
class Member:
    """One trained network.

    Attributes
    ----------
    selector : WhiteningCurvature
        In whose metric the influence vectors of its rows cancel.
    predictor : NetworkCurvature
        Of the same rows, whose steps predict what removing some does; may be the same.
    held_out : NetworkProblem
        The network on the rows on which that is predicted.
    """

    selector: WhiteningCurvature
    predictor: NetworkCurvature
    held_out: NetworkProblem

    @property
    def problem(self) -> NetworkProblem:
        """The network on the rows that are examined."""
        return self.predictor.problem


class CurvatureEnsemble:
    """Predictions are means over members, each with its own parameters and curvature.

    One trained network is one draw of a random training; the effect of rows on the next training
    is nearer to the mean over several. A single network is an ensemble of one.

    Parameters
    ----------
    members : sequence of Member
        Of the same rows, and with the same held-out rows.
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
        # The stack of one is that one, after a copy of every vector.
        return operators[0] if len(operators) == 1 else StackedInfluence(operators)

    def predict_removal(self, removed: Tensor) -> RemovalPrediction:
        """``predict_removal`` by Newton steps, the mean over members."""
        found = [predict_removal(m.predictor, removed, m.held_out) for m in self.members]
        losses, linear, lengths = (
            torch.stack([getattr(f, name) for f in found]).mean(0)
            for name in ("losses", "linear", "lengths")
        )
        return RemovalPrediction(losses, linear, lengths, self.weights)

    def row_scores(self) -> Tensor:
        """``row_scores``, the mean over members, shape (n,)."""
        return torch.stack([row_scores(m.predictor, m.held_out) for m in self.members]).mean(0)

    def held_out_scores(self) -> Tensor:
        """``held_out_scores``, the mean over members, shape (h,)."""
        scores = [held_out_scores(m.predictor, m.held_out) for m in self.members]
        return torch.stack(scores).mean(0)
