"""Measure the gap by retraining the whole model on the kept rows.

Data flows one way: a trainer fits the model on rows, a measure scores it on held-out rows, a
``Retraining`` compares all rows with some over several seeds, the search asks it for few sizes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from skprune.evaluation.retrained.gap import RetrainedGap, RetrainedTrial, Retraining, Training
from skprune.evaluation.retrained.measures import Measure, Seen, estimator_measure
from skprune.evaluation.retrained.network import Outputs, network_measure, skorch_measure
from skprune.evaluation.retrained.trainers import (
    CallableTrainer,
    Data,
    EstimatorTrainer,
    SkorchTrainer,
    Trainer,
    make_trainer,
)
from skprune.network.torch_model import Network

__all__ = [
    "CallableTrainer",
    "Data",
    "EstimatorTrainer",
    "Measure",
    "RetrainedGap",
    "RetrainedTrial",
    "Retraining",
    "Seen",
    "SkorchTrainer",
    "Trainer",
    "Training",
    "make_retraining",
    "make_trainer",
]


def make_retraining(
    model: Any,
    train: Data,
    held_out: Data,
    *,
    scoring: str | Callable[..., float] = "loss",
    loss: Any = None,
    n_seeds: int = 3,
    seed: int = 0,
    device: Any = "auto",
    batch_size: int | str = "auto",
    on_training: Callable[[Training], None] | None = None,
    on_trial: Callable[[RetrainedTrial], None] | None = None,
    seen: Seen | None = None,
) -> Retraining:
    """A ``Retraining`` of ``model`` on rows of ``train``, scored on ``held_out``.

    Parameters
    ----------
    model : scikit-learn estimator, skorch net, or callable ``train(dataset, seed) -> nn.Module``
        It is cloned and not changed.
    train, held_out : Data
    scoring : str or callable, default="loss"
        "loss" is cross-entropy in nats or the squared error in units of Var(y) for estimators, and
        for torch models the loss that they were trained with, a squared error in units of Var(y).
        Any scikit-learn scorer can be given. For the modules of a callable it is called with an
        estimator that knows the module's outputs, and with positions as X.
    loss : nn.Module or callable, optional
        The loss of a torch model; None takes a skorch net's criterion, or decides by the targets.
    n_seeds, seed, on_training, on_trial
        As in ``Retraining``.
    device, batch_size
        Device and batch size with which the modules of a callable are scored.
    seen : Seen, optional
        The correction of the gap of a linear model that is measured on the rows it is fitted on.

    Raises
    ------
    TypeError
        If the model cannot be trained.
    ValueError
        If it does not offer what ``scoring`` needs.
    """
    trainer = make_trainer(model, train)
    measure: Measure
    if isinstance(trainer, EstimatorTrainer):
        measure = estimator_measure(model, scoring, held_out, train, seen)
    else:
        outputs = Outputs(held_out, train, Network(model, loss).loss, device, batch_size)
        if isinstance(trainer, SkorchTrainer):
            measure = skorch_measure(scoring, outputs)
        else:
            measure = network_measure(outputs, scoring, lambda module: module)
    hooks: dict[str, Any] = {"on_training": on_training, "on_trial": on_trial}
    return Retraining(trainer, measure, n_seeds=n_seeds, seed=seed, **hooks)
