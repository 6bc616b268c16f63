"""Uncertainty strategies of active learning; they do not use labels."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr, rel_entr

from skprune.baselines.base import ScoreStrategy
from skprune.utils.sklearn_private import Interval

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


class LeastConfidence(ScoreStrategy):
    """Keep the rows whose most probable class is least probable (Lewis and Gale, 1994).

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        return 1 - evidence.probabilities.max(1)


class Entropy(ScoreStrategy):
    """Keep the rows whose predicted classes have the largest entropy, in nats (Shannon, 1948).

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        return entr(evidence.probabilities).sum(1)


class Margin(ScoreStrategy):
    """Keep the rows whose two most probable classes are nearest (Scheffer et al., 2001).

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    keeps_lowest: ClassVar[bool] = True

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        top = np.partition(evidence.probabilities, -2, axis=1)[:, -2:]
        return top[:, 1] - top[:, 0]


class DeepFool(ScoreStrategy):
    """Keep the rows that are nearest to the decision boundary.

    Ducoffe and Precioso (2018) find the boundary by the iteration of DeepFool. For a linear layer
    it consists of planes, so that the distance in its features is exact.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    keeps_lowest: ClassVar[bool] = True

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        evidence.check_classes()
        Z = evidence.outputs.cpu().numpy()
        W = evidence.theta.cpu().numpy()[: evidence.features.shape[1]]
        if Z.shape[1] == 1:
            return np.abs(Z[:, 0]) / np.linalg.norm(W)
        first = Z.argmax(1)
        ahead = Z[np.arange(len(Z)), first][:, None] - Z
        apart = np.linalg.norm(W[:, :, None] - W[:, None, :], axis=0)[first]
        with np.errstate(invalid="ignore", divide="ignore"):
            distances = ahead / apart
        distances[np.arange(len(Z)), first] = np.inf
        return distances.min(1)


class CAL(ScoreStrategy):
    """Keep the rows whose neighbours have other predictions (Margatina et al., 2021).

    The score is the mean Kullback-Leibler divergence of the neighbours' predictions from the row's.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    n_neighbors : int, default=10
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ScoreStrategy._parameter_constraints,
        "n_neighbors": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        n_neighbors: int = 10,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.n_neighbors = n_neighbors

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        P = np.maximum(evidence.probabilities, np.finfo(np.float64).tiny)
        near = evidence.neighbours(self.n_neighbors)[1]
        each = [rel_entr(P[column], P).sum(1) for column in near.T]
        return np.mean(each, axis=0)
