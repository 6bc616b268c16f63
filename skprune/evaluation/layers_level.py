"""The gap of a network, predicted by the curvature of its layers."""

from __future__ import annotations

import math

import numpy as np
import torch

from skprune.evaluation.base import Evaluator
from skprune.evaluation.statistics import variance_of_mean
from skprune.influence.ensemble import FAR, TOO_FAR, CurvatureEnsemble
from skprune.results.gap import Gap
from skprune.subset import Selection


class LayersPredicted(Evaluator):
    """Predicts the gap by Newton steps of the layers, as a mean over an ensemble.

    It works only while all members are frozen (``TorchModel.frozen``).

    Parameters
    ----------
    ensemble : CurvatureEnsemble
    n_rows : int
        Number of rows that may be kept.
    unit : float
        Factor from the networks' loss to the reported one.
    """

    level = "predicted"

    def __init__(self, ensemble: CurvatureEnsemble, n_rows: int, unit: float) -> None:
        self.ensemble, self.n_rows, self.unit = ensemble, n_rows, unit
        self._far = False

    def gap(self, kept: Selection, limit: float | None = None) -> Gap:
        weights = self.ensemble.weights.double()
        if len(kept.indices) == self.n_rows:
            return Gap(0.0, 0.0, self.level, "loss", len(weights))
        removed = np.ones((1, self.n_rows), dtype=bool)
        removed[0, kept.indices] = False
        prediction = self.ensemble.predict_removal(torch.from_numpy(removed).to(weights.device))
        self._far |= float(prediction.lengths) > FAR
        changes = prediction.losses[0].double()
        mean = float(weights @ changes / weights.sum())
        variance, _ = variance_of_mean(changes.cpu().numpy(), weights.cpu().numpy())
        error = math.sqrt(variance)
        return Gap(self.unit * mean, self.unit * error, self.level, "loss", len(weights))

    def diagnostics(self) -> tuple[str, ...]:
        return (TOO_FAR,) if self._far else ()
