"""Find the loss that a torch model was trained with."""

from __future__ import annotations

from types import FunctionType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.losses.base import HeadLoss, Loss
from skprune.losses.binary import BinaryCrossEntropy
from skprune.losses.cross_entropy import CrossEntropy
from skprune.losses.custom import Custom
from skprune.losses.squared import SquaredError

#: The losses that torch has.
LOSSES: tuple[type[HeadLoss], ...] = (CrossEntropy, BinaryCrossEntropy, SquaredError)
#: The same losses by the names that a ``HeadSpec`` uses.
HEADS = {kind.name: kind for kind in LOSSES}
#: Torch's functions, and the modules that call them.
FUNCTIONS = {f: module for kind in LOSSES for module, f in kind.torch_losses.items()}
#: What ``loss=`` may be, for messages.
SUPPORTED = (
    f"None, {', '.join(f'nn.{module.__name__}' for module in FUNCTIONS.values())}, or a callable "
    "loss(output, target) that returns one value a row"
)


def as_loss(loss: Any) -> Any:
    """The module that a torch class or function stands for; anything else unchanged."""
    if isinstance(loss, FunctionType):
        loss = FUNCTIONS.get(loss, loss)
    return loss() if isinstance(loss, type) and loss in FUNCTIONS.values() else loss


def loss_class(loss: Any) -> type[Loss]:
    """The class of a loss, a torch module or its class; ``Custom`` for anything else."""
    kind = loss if isinstance(loss, type) else type(loss)
    if issubclass(kind, Loss):
        return kind
    return next((known for known in LOSSES if issubclass(kind, tuple(known.torch_losses))), Custom)


def read_loss(loss: Any, activation: str, y: NDArray[Any], n_outputs: int) -> Loss:
    """The loss a model was trained with, for a module that ends in ``activation``.

    For None the targets decide: class numbers are for cross-entropy (or its binary form, for one
    output), a table of zeros and ones for binary cross-entropy, other numbers for squared error.

    Raises
    ------
    TypeError
        If the loss is not ``SUPPORTED``.
    ValueError
        If the module's last activation or the targets contradict it.
    """
    if loss is None:
        return _guess(activation, y, n_outputs)
    if isinstance(loss, Loss):
        return loss
    if not callable(loss) or isinstance(loss, type):
        raise TypeError(f"loss must be {SUPPORTED}; got {loss!r}.")
    kind = loss_class(loss)
    if issubclass(kind, HeadLoss):
        return kind.read(loss, activation, y, n_outputs)
    return Custom(loss)


def _guess(activation: str, y: NDArray[Any], n_outputs: int) -> Loss:
    binary = y.dtype.kind in "iubf" and bool(np.isin(y, (0, 1)).all())
    sigmoid = activation == "sigmoid"
    if binary and y.ndim == 2 and n_outputs > 1 and not sigmoid and (y.sum(1) == 1).all():
        raise ValueError(
            "Every row of y has exactly one 1: that is a class number written as a row, or one "
            "label of many, and these go with different losses. Give y.argmax(axis=1) for "
            "cross-entropy, or loss=nn.BCEWithLogitsLoss()."
        )
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool((y == np.rint(y)).all()))
    if n_outputs > 1 and y.ndim == 1 and whole:
        if sigmoid:
            raise ValueError(
                f"The module ends in a sigmoid of {n_outputs} outputs, and y holds class numbers, "
                "which fit no known loss; give the one that it was trained with: loss=..."
            )
        return CrossEntropy(activation)
    if binary and (y.ndim == 2 or n_outputs == 1):
        return BinaryCrossEntropy(activation, 1.0 / n_outputs)
    return SquaredError(scale=2.0 / n_outputs)
