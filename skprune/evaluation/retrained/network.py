"""Score retrained torch modules by their loss or by a scorer of their outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skprune.evaluation.retrained.measures import (
    Floats,
    LossMeasure,
    Measure,
    ScorerMeasure,
    row_weights,
)
from skprune.evaluation.retrained.trainers import Data
from skprune.evaluation.scorers import fitted_scorer, make_scorer
from skprune.losses.base import HeadLoss, Loss
from skprune.losses.cross_entropy import CrossEntropy
from skprune.losses.read import read_loss
from skprune.network.batches import for_batches
from skprune.network.module import TorchModel, find_link
from skprune.subset import Rows

#: Number of rows from which the last activation of a module is recognised.
LOOK = 8


class Outputs:
    """Outputs of trained modules on the held-out rows, with losses and scores of these.

    Parameters
    ----------
    held_out, train : Data
    loss : object or None
        The loss that the model was trained with; None decides by the training targets.
    device, batch_size
        As in ``InfluencePruner``.
    """

    def __init__(
        self, held_out: Data, train: Data, loss: Any, device: Any, batch_size: int | str
    ) -> None:
        self.source, self.positions = held_out.source()
        self.y = self.source.targets()[self.positions]
        source, positions = train.source()
        self.y_train = source.targets()[positions]
        self.weights = row_weights(held_out, len(self.positions))
        self.train_weights = row_weights(train, len(positions))
        self.units = held_out.units
        self.loss, self.device, self.batch_size = loss, device, batch_size

    def of(self, module: nn.Module) -> tuple[Tensor, Loss]:
        """Logits (n, K) and their loss."""
        model = TorchModel(module, self.device)
        parts: list[Tensor] = []

        def work(inputs: Any, places: NDArray[np.int64]) -> None:
            parts.append(model.forward(inputs).cpu())

        with model.frozen():
            with torch.no_grad():
                for_batches(self.source, self.positions, self.batch_size, work, model.device)
            inputs, _ = next(self.source.batches(LOOK, self.positions[:LOOK]))
            link = find_link(model, inputs)
        Z = torch.cat(parts)
        loss = read_loss(self.loss, link, self.y_train, Z.shape[1])
        if isinstance(loss, HeadLoss):
            return loss.logits(Z.double()), loss
        return Z.to(model.device), loss  # it may not take others

    def losses(self, module: nn.Module) -> Floats:
        """Loss of every held-out row: nats, shares of Var(y), or the user's own unit."""
        return self._losses(*self.of(module))

    def constant(self, module: nn.Module) -> Floats | None:
        """The losses of the mean of the training targets, in the loss of ``module``.

        They are None for a loss whose best constant is unknown.
        """
        Z, loss = self.of(module)
        if not isinstance(loss, HeadLoss):
            return None
        K = Z.shape[1]
        targets, factors = loss.soften(loss.encode(self.y_train, K), K, torch.float64)
        weights = factors * torch.from_numpy(self.train_weights)[:, None]
        logits = loss.link((weights * targets).sum(0) / weights.sum(0))[None]
        return self._losses(logits.expand_as(Z), loss)

    def _losses(self, Z: Tensor, loss: Loss) -> Floats:
        K = Z.shape[1]
        unit = loss.reported_unit(self.y, self.weights, (self.y_train, self.train_weights), K)
        with torch.no_grad():
            values = loss.value(Z, loss.encode_for(Z.dtype, self.y, K).to(Z.device))
        return np.asarray(values.to("cpu", torch.float64)) * unit

    def scorer(
        self, scoring: str | Callable[..., float], module: nn.Module
    ) -> Callable[[Rows], float]:
        """The score of ``module`` on some of the rows, as a function of their positions."""
        Z, loss = self.of(module)
        if not loss.predicts_classes and Z.shape[1] > 1 and self.y_train.dtype.kind in "iub":
            loss = CrossEntropy()  # several outputs for whole numbers are read as logits
        logits = Z.to("cpu", torch.float64)
        scorer = make_scorer(scoring, _Read(loss, Z.shape[1]), np.arange(len(Z)), self.y)
        return scorer(logits)


class _Read:
    """Reads the logits of a network by its loss."""

    def __init__(self, loss: Loss, n_outputs: int) -> None:
        self.loss, self.classes = loss, loss.classes(n_outputs)

    def predict(self, Z: Tensor) -> NDArray[Any]:
        return np.asarray(self.loss.predict(Z))

    def predict_proba(self, Z: Tensor) -> NDArray[np.float64]:
        return np.asarray(self.loss.probabilities(Z))


def network_measure(
    outputs: Outputs,
    scoring: str | Callable[..., float],
    module_of: Callable[[Any], nn.Module],
) -> Measure:
    """The measure of torch modules.

    Parameters
    ----------
    outputs : Outputs
    scoring : str or callable
        "loss" is the loss that the model was trained with. A scorer sees a scikit-learn estimator
        whose ``predict`` gives class numbers, zeros and ones of several labels, or numbers.
    module_of : callable
        Returns the module of what a trainer returned.
    """
    if scoring == "loss":
        return LossMeasure(
            lambda fitted: outputs.losses(module_of(fitted)),
            outputs.weights,
            outputs.units,
            lambda fitted: outputs.constant(module_of(fitted)),
        )
    return ScorerMeasure(
        lambda fitted: outputs.scorer(scoring, module_of(fitted)),
        len(outputs.y),
        scoring,
        outputs.units,
    )


def skorch_measure(scoring: str | Callable[..., float], outputs: Outputs) -> Measure:
    """The measure of skorch nets: the loss of their module, or a scorer of the net itself."""
    if scoring == "loss":
        return network_measure(outputs, scoring, lambda fitted: fitted.module_)
    source, positions = outputs.source, outputs.positions
    scorer = fitted_scorer(scoring, lambda rows: source.take(positions[rows]), outputs.y)
    return ScorerMeasure(scorer, len(outputs.y), scoring, outputs.units)
