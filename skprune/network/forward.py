"""A torch module's forward pass as a function of its parameters, made of plain operations."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skprune.losses.base import Loss
from skprune.losses.read import read_loss
from skprune.network.module import TorchModel, find_link, watched


class Logits(nn.Module):
    """A model's logits as a module, so that ``functional_call`` reaches all that forward does."""

    def __init__(self, model: TorchModel, loss: Loss) -> None:
        super().__init__()
        self.module = model.module
        self._model, self._loss = model, loss

    def forward(self, inputs: Any) -> Tensor:
        own = map_tensors(torch.clone, inputs)  # some networks work in place
        return self._loss.logits(self._model.forward(own))


def read_model_loss(model: TorchModel, loss: Any, inputs: Any, y: NDArray[Any]) -> tuple[Loss, int]:
    """The loss that a model was trained with, and how many outputs it has, from a few rows.

    Raises
    ------
    ValueError
        If the loss does not go with the outputs or the targets.
    """
    link = find_link(model, inputs)
    with torch.no_grad():
        outputs = model.forward(inputs)
    off = float(torch.logsumexp(outputs.double(), dim=1).abs().max())
    if isinstance(loss, nn.NLLLoss) and link == "identity" and off > 1e-2:
        raise ValueError(
            "nn.NLLLoss is for log-probabilities, and the module returns other numbers; give "
            "loss=nn.CrossEntropyLoss() if they are logits."
        )
    return read_loss(loss, link, y, outputs.shape[1]), outputs.shape[1]


def first_not_finite(module: nn.Module, run: Callable[[], object]) -> str | None:
    """The name of the layer that first makes numbers that are not finite in ``run()``."""
    with watched(module) as (_, ended), torch.no_grad():
        run()
    for name, made in ended:
        if name and isinstance(made, Tensor) and not bool(torch.isfinite(made).all()):
            return name
    return None


@contextmanager
def no_batching_advice() -> Iterator[None]:
    """Hide torch's advice that an operation is mapped over rows by a loop."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "There is a performance drop because", UserWarning)
        yield


def map_tensors(function: Callable[[Tensor], Tensor], inputs: Any) -> Any:
    """Nested inputs with every tensor replaced by ``function`` of it."""
    if isinstance(inputs, Tensor):
        return function(inputs)
    if isinstance(inputs, dict):
        return {name: map_tensors(function, value) for name, value in inputs.items()}
    if isinstance(inputs, (tuple, list)):
        return tuple(map_tensors(function, value) for value in inputs)
    return inputs


def nbytes(inputs: Any) -> int:
    """Bytes of nested tensors."""
    if isinstance(inputs, Tensor):
        return inputs.nbytes
    if isinstance(inputs, dict):
        return sum(nbytes(v) for v in inputs.values())
    return sum(nbytes(v) for v in inputs) if isinstance(inputs, (tuple, list)) else 0
