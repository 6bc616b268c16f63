"""A head as a model that is trained anew."""

from __future__ import annotations

from torch import Tensor

from skprune.evaluation.head_levels import Refit
from skprune.evaluation.retrained.gap import Retraining
from skprune.evaluation.retrained.measures import Floats, LossMeasure, Measure, ScorerMeasure
from skprune.evaluation.retrained.trainers import Trainer
from skprune.subset import Rows, Selection


class HeadTrainer(Trainer):
    """Fits a head to some of its rows; what is fitted is theta.

    Parameters
    ----------
    refit : Refit
    """

    def __init__(self, refit: Refit) -> None:
        self.refit = refit

    def __len__(self) -> int:
        """Number of rows there are."""
        return len(self.refit.predicted.problem)

    def _fit(self, rows: Rows, seed: int) -> Tensor:
        return self.refit.theta(Selection(rows))

    def _fit_weighted(self, rows: Rows, seed: int, weights: Floats) -> Tensor:
        return self.refit.theta(Selection(rows, weights=weights))


def head_retraining(refit: Refit, seed: int = 0, units: Rows | None = None) -> Retraining:
    """The same head as a model that is trained anew, measured on the same rows.

    Parameters
    ----------
    refit : Refit
    seed : int, default=0
    units : ndarray of shape (n,), int64, optional
        0, 1, 2 ..., equal for rows to measure on that count as one; by default copies are.
    """
    held_out = refit.predicted.held_out
    units = held_out.units if units is None else units
    if held_out.scorer is None:
        measure: Measure = LossMeasure(
            lambda theta: held_out.losses(held_out.outputs(theta)).cpu().numpy(),
            held_out.problem.weights.cpu().numpy(),
            units,
        )
    else:
        scorer = held_out.scorer
        measure = ScorerMeasure(
            lambda theta: scorer(held_out.outputs(theta)),
            len(held_out.problem),
            held_out.scoring,
            units,
        )
    return Retraining(HeadTrainer(refit), measure, n_seeds=1, seed=seed)
