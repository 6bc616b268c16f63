"""What a retrained torch module is worth: its loss row by row, or a scorer of its outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from torch import Tensor, nn

from skprune.evaluation.retrained.measures import (
    Floats,
    LossMeasure,
    Measure,
    row_weights,
    scorer_measure,
    total_variance,
)
from skprune.evaluation.retrained.trainers import Data
from skprune.losses.network import RowLoss, read_loss
from skprune.network.batches import for_batches
from skprune.network.module import TorchModel, find_link
from skprune.subset import Rows

#: Rows on which it is seen what the module does to the outputs of its last layer.
LOOK = 8


class Outputs:
    """Outputs of trained modules on the held-out rows, and how they are to be read.

    Parameters
    ----------
    held_out, train : Data
    loss : object or None
        What the model was trained with; None is read off the training targets.
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
        self.train, self.weights = train, row_weights(held_out, len(self.positions))
        self.units = held_out.units
        self.loss, self.device, self.batch_size = loss, device, batch_size

    def of(self, module: nn.Module) -> tuple[Tensor, RowLoss, torch.device]:
        """Outputs (n, K) on the CPU in the module's precision, their loss, and the device."""
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
        return Z, read_loss(self.loss, link, self.y_train, Z.shape[1]), model.device

    def losses(self, module: nn.Module) -> Floats:
        """Loss of every held-out row: nats, shares of Var(y), or the user's own unit."""
        return self._losses(*self.of(module))

    def constant(self, module: nn.Module) -> Floats | None:
        """The same of the mean of the training targets; ``module`` tells how outputs are read.

        None for a loss of the user's own, or one that weighs a row differently in every output.
        """
        Z, loss, device = self.of(module)
        head = loss.head_loss
        if head is None:
            return None
        try:
            targets, factors = loss.soft_targets(self.y_train, Z.shape[1])
        except ValueError:
            return None
        weights = factors * torch.from_numpy(row_weights(self.train, len(factors)))
        logits = head.link((weights @ targets) / weights.sum())[None]
        outputs = loss.mean(logits) if loss.link in ("softmax", "sigmoid") else logits
        return self._losses(outputs.expand_as(Z), loss, device)

    def _losses(self, Z: Tensor, loss: RowLoss, device: torch.device) -> Floats:
        targets = loss.encode(self.y, Z.shape[1])
        if loss.kind == "own":
            with torch.no_grad():
                return _array(loss.value(Z.to(device), targets.to(device)))
        value = _array(loss.value(Z.double(), targets))
        if loss.kind == "squared":
            value *= Z.shape[1] / total_variance(self.train, self.y_train)
            return value
        # torch's mean divides by the weights of the classes.
        shares = _array(loss.shares(self.y, Z.shape[1]))
        return value * self.weights.sum() / (self.weights @ shares)

    def predictor(self, module: nn.Module) -> _Predictor:
        """The module as something that scikit-learn's scorers take."""
        Z, loss, _ = self.of(module)
        whole = self.y_train.dtype.kind in "iub"
        if loss.kind in ("cross_entropy", "binary") or (whole and Z.shape[1] > 1):
            return _Classifier(Z, loss)
        return _Regressor(Z, loss)


class _Predictor(BaseEstimator):
    """Answers for rows that are named by position."""

    def __init__(self, Z: Tensor, loss: RowLoss) -> None:
        self.Z, self.loss = Z, loss
        self.n_features_in_ = Z.shape[1]

    def __sklearn_is_fitted__(self) -> bool:
        return True


class _Regressor(RegressorMixin, _Predictor):
    def predict(self, X: Rows) -> NDArray[Any]:
        outputs = _array(self.Z[torch.from_numpy(X)])
        return outputs[:, 0] if outputs.shape[1] == 1 else outputs


class _Classifier(ClassifierMixin, _Predictor):
    def __init__(self, Z: Tensor, loss: RowLoss) -> None:
        super().__init__(Z, loss)
        self.several = loss.kind == "binary" and Z.shape[1] > 1
        self.classes_ = np.arange(max(2, Z.shape[1]))

    def decision_function(self, X: Rows) -> NDArray[np.float64]:
        logits = _array(self.loss.logits(self.Z[torch.from_numpy(X)].double()))
        return logits[:, 0] if logits.shape[1] == 1 else logits

    def predict_proba(self, X: Rows) -> NDArray[np.float64]:
        logits = self.loss.logits(self.Z[torch.from_numpy(X)].double())
        if self.several:
            return _array(torch.sigmoid(logits))
        if logits.shape[1] > 1:
            return _array(torch.softmax(logits, dim=1))
        P = torch.sigmoid(logits)
        return _array(torch.cat([1 - P, P], dim=1))

    def predict(self, X: Rows) -> NDArray[np.int64]:
        P = self.predict_proba(X)
        return (P > 0.5).astype(np.int64) if self.several else P.argmax(1)


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
        The module in what a trainer returned.
    """
    if scoring == "loss":
        return LossMeasure(
            lambda fitted: outputs.losses(module_of(fitted)),
            outputs.weights,
            outputs.units,
            lambda fitted: outputs.constant(module_of(fitted)),
        )
    by_row = scorer_measure(scoring, lambda rows: rows, outputs.y, outputs.units)
    inner = by_row.scorer
    by_row.scorer = lambda fitted: inner(outputs.predictor(module_of(fitted)))
    return by_row


def skorch_measure(scoring: str | Callable[..., float], outputs: Outputs) -> Measure:
    """The measure of skorch nets: the loss of their module, or a scorer of the net itself."""
    if scoring == "loss":
        return network_measure(outputs, scoring, lambda fitted: fitted.module_)
    source, positions = outputs.source, outputs.positions
    return scorer_measure(
        scoring, lambda rows: source.take(positions[rows]), outputs.y, outputs.units
    )


def _array(values: Tensor) -> NDArray[Any]:
    result: NDArray[Any] = values.detach().to("cpu", torch.float64).numpy()
    return result
