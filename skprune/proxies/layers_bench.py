"""Chooses subsets of the rows of a network, and predicts their gap."""

from __future__ import annotations

import time

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.influence.ensemble import DOUBT, FAR, CurvatureEnsemble
from skprune.influence.leave_out import scored_on_others
from skprune.results.gap import Gap
from skprune.search.choose import Chooser
from skprune.search.sizes import Trial
from skprune.subset import Rows


class NetworkBench(Chooser):
    """Selects subsets of any size and predicts their gap.

    Works only while all members are frozen (``TorchModel.frozen``).

    Parameters
    ----------
    ensemble : CurvatureEnsemble
    unit : float
        Factor from the networks' loss to the reported one.
    groups, minima, solver, prior, seed
        As in ``Chooser``; classes keep their shares.

    Attributes
    ----------
    doubts : tuple of str
        Why gaps that were predicted may not be believed.
    """

    def __init__(
        self,
        ensemble: CurvatureEnsemble,
        unit: float,
        *,
        groups: Rows,
        minima: Rows,
        solver: str,
        prior: NDArray[np.float64] | None,
        seed: int,
    ) -> None:
        super().__init__(
            groups=groups,
            minima=minima,
            solver=solver,
            prior=prior,
            seed=seed,
            represent=True,
        )
        self.ensemble, self.unit = ensemble, unit
        self.operator = ensemble.influence()
        self.doubts: tuple[str, ...] = ()

    def __len__(self) -> int:
        return self.operator.n_rows

    def trial(self, size: int, warm: Rows | None = None, *, with_random: bool = True) -> Trial:
        """Select ``size`` rows and predict their gap."""
        begin = time.perf_counter()
        selection = self.choose(self.operator, size, warm)
        predicted = self.gap(selection.indices)
        seconds = time.perf_counter() - begin
        random = self.random_gap(size) if with_random else None
        return Trial(selection, predicted, None, random, seconds)

    def learned(self) -> None:
        """What a constant would lose is not known of a network."""

    def random_gap(self, size: int) -> Gap:
        """The predicted gap of a stratified random subset of ``size`` rows."""
        return self.gap(self.random_rows(size))

    def gap(self, kept: Rows) -> Gap:
        """The predicted gap of keeping some rows, with the standard error over held-out rows."""
        weights = self.ensemble.weights.double()
        if len(kept) == len(self):
            return Gap(0.0, 0.0, "predicted", "loss", len(weights))
        prediction = self.ensemble.predict_removal(self._without(kept))
        if float(prediction.lengths) > FAR:
            self.doubts = (DOUBT,)
        changes = prediction.losses[0].double()
        weights = weights / weights.sum()
        mean = float(weights @ changes)
        largest = float(weights.square().sum())  # 1 / h for equal weights
        error = float((weights * (changes - mean)).norm())
        error = error / (1.0 - largest) ** 0.5 if largest < 1 - 1e-6 else float("inf")
        return Gap(self.unit * mean, self.unit * error, "predicted", "loss", len(weights))

    def scores(self, own: Tensor | None) -> Tensor:
        """Predicted change of the mean held-out loss if one row is removed, for all rows (n,).

        ``own`` are the positions of the held-out rows if they are among these; such a row is
        scored on the others, or it would be paid for fitting itself.
        """
        scores = self.ensemble.row_scores().double()
        if own is not None and any(m.selector is not m.predictor for m in self.ensemble.members):
            scores[own] = self.ensemble.held_out_scores().double()
        elif own is not None:
            # What a row does to itself is its norm, in the metric that rows are selected in.
            squares = self.operator.squared_norms()[own].double()
            weights = self.ensemble.weights.double()
            scores[own] = scored_on_others(scores[own], squares, weights)
        return self.unit * scores

    def _without(self, kept: Rows) -> Tensor:
        removed = torch.ones(1, len(self), dtype=torch.bool)
        removed[0, torch.from_numpy(kept)] = False
        return removed.to(self.ensemble.weights.device)
