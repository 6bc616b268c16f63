"""The loss of a torch model, row by row: what it was trained with, made to say so for each row."""

from __future__ import annotations

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from skprune.losses.head import Loss, Sigmoid, Softmax, Squared

#: What ``loss=`` may be, for messages.
SUPPORTED = (
    "None, nn.CrossEntropyLoss, nn.NLLLoss, nn.BCEWithLogitsLoss, nn.BCELoss, nn.MSELoss, or a "
    "callable loss(output, target) that returns one value a row"
)
#: The functions that these modules call.
FUNCTIONS: dict[Any, type[nn.Module]] = {
    functional.cross_entropy: nn.CrossEntropyLoss,
    functional.nll_loss: nn.NLLLoss,
    functional.binary_cross_entropy_with_logits: nn.BCEWithLogitsLoss,
    functional.binary_cross_entropy: nn.BCELoss,
    functional.mse_loss: nn.MSELoss,
}


class RowLoss:
    """The loss of every row, as a function of the module's outputs.

    Parameters
    ----------
    kind : {"cross_entropy", "binary", "squared", "own"}
    link : {"identity", "softmax", "log_softmax", "sigmoid"}
        What the module has done to the outputs of its last layer; undone before the loss.
    label_smoothing : float
    class_weight : Tensor of shape (K,) or None
        Weights of the classes ("cross_entropy") or outputs ("binary").
    pos_weight : Tensor of shape (K,) or None
        Weight of the positives of every output ("binary").
    own : callable or None
        ``own(outputs, targets) -> (b,)`` or (b, ...), summed over all but the rows.

    Notes
    -----
    "binary" and "squared" are means over the K outputs of a row, as torch's are. "squared" has
    no factor 1/2.
    """

    def __init__(
        self,
        kind: str,
        *,
        link: str = "identity",
        label_smoothing: float = 0.0,
        class_weight: Tensor | None = None,
        pos_weight: Tensor | None = None,
        own: Callable[[Tensor, Tensor], Tensor] | None = None,
    ) -> None:
        self.kind, self.link, self.label_smoothing = kind, link, label_smoothing
        self.class_weight, self.pos_weight, self.own = class_weight, pos_weight, own

    def value(self, outputs: Tensor, targets: Tensor) -> Tensor:
        """Loss of every row, shape (b,), differentiable in ``outputs`` (b, K)."""
        if self.kind == "own":
            assert self.own is not None
            return _per_row(self.own(outputs, targets), outputs, targets)
        Z = self.logits(outputs)
        if self.kind == "cross_entropy":
            return functional.cross_entropy(
                Z,
                targets,
                weight=_on(self.class_weight, Z),
                label_smoothing=self.label_smoothing,
                reduction="none",
            )
        if self.kind == "binary":
            terms = functional.binary_cross_entropy_with_logits(
                Z,
                targets.to(Z.dtype),
                weight=_on(self.class_weight, Z),
                pos_weight=_on(self.pos_weight, Z),
                reduction="none",
            )
            return terms.mean(1)
        return (Z - targets.to(Z.dtype)).square().mean(1)

    def content(self) -> tuple[Any, ...] | None:
        """What a digest of the loss is made of; None for the caller's own."""
        if self.kind == "own":
            return None
        weights = (self.class_weight, self.pos_weight)
        return (self.kind, self.link, self.label_smoothing, *weights)

    def logits(self, outputs: Tensor) -> Tensor:
        """Outputs of the last linear layer, from those of the module."""
        if self.link == "softmax":
            return outputs.clamp_min(torch.finfo(outputs.dtype).tiny).log()
        return torch.logit(outputs, eps=1e-7) if self.link == "sigmoid" else outputs

    def mean(self, logits: Tensor) -> Tensor:
        """What the model predicts: probabilities, or the outputs themselves."""
        if self.kind == "cross_entropy":
            return torch.softmax(logits, dim=1)
        return torch.sigmoid(logits) if self.kind == "binary" else logits

    @property
    def head_loss(self) -> Loss | None:
        """The same loss for a linear head; None for the caller's own."""
        heads: dict[str, type[Loss]] = {
            "cross_entropy": Softmax,
            "binary": Sigmoid,
            "squared": Squared,
        }
        return heads[self.kind]() if self.kind in heads else None

    def scale(self, n_outputs: int) -> float:
        """Factor from ``head_loss``, a sum over outputs, to this loss, a mean."""
        return {"cross_entropy": 1.0, "squared": 2.0 / n_outputs}.get(self.kind, 1.0 / n_outputs)

    def encode(self, y: NDArray[Any], n_outputs: int) -> Tensor:
        """Targets as the loss takes them: (n,) int64 for classes, (n, K) float64 for numbers.

        Raises
        ------
        ValueError
            If there are more classes or columns than outputs.
        """
        if self.kind == "cross_entropy":
            return self._encode_classes(y, n_outputs)
        if self.kind == "own":
            return torch.from_numpy(np.ascontiguousarray(y))
        numbers = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        if numbers.shape[1] != n_outputs:
            raise ValueError(
                f"The targets have {numbers.shape[1]} column(s) and the model {n_outputs} "
                "output(s); they must agree."
            )
        if self.kind == "binary" and not bool(np.all((numbers >= 0) & (numbers <= 1))):
            raise ValueError(
                f"Binary targets are numbers from 0 to 1; got {numbers.min():g} to "
                f"{numbers.max():g}."
            )
        return torch.from_numpy(np.ascontiguousarray(numbers))

    def classes(self, n_outputs: int) -> NDArray[Any] | None:
        """Numbers of the classes, or of the labels of which a row may have several; else None."""
        if self.kind in ("cross_entropy", "binary"):
            return np.arange(2 if n_outputs == 1 else n_outputs)
        return None

    def soft_targets(self, y: NDArray[Any], n_outputs: int) -> tuple[Tensor, Tensor]:
        """Targets (n, K) of ``head_loss`` and a factor (n,) on the rows' weights, float64.

        With the class weights c and the smoothing s, cross-entropy is
        -sum_k c_k ((1 - s) [k = y] + s / K) log p_k: its factors sum to the row's weight. With
        the weight p of the positives, so is -p y log p_1 - (1 - y) log (1 - p_1).

        Raises
        ------
        ValueError
            If the weights differ between the outputs of one row.
        """
        targets = self.encode(y, n_outputs)
        if self.kind == "cross_entropy":
            T = functional.one_hot(targets, n_outputs).double()
            T = T * (1.0 - self.label_smoothing) + self.label_smoothing / n_outputs
            if self.class_weight is not None:
                T = T * _plain(self.class_weight)
            factor = T.sum(1)
            return T / factor.clamp_min(torch.finfo(T.dtype).tiny)[:, None], factor
        T, factor = targets, targets.new_ones(len(targets))
        if self.class_weight is None and self.pos_weight is None:
            return T, factor
        if n_outputs > 1:
            raise ValueError(
                "weight and pos_weight of several outputs weigh a row differently in every one, "
                "which a head cannot; name the layer (layers=[...]) or leave them out."
            )
        if self.pos_weight is not None:
            positive = T * _plain(self.pos_weight)
            factor = (positive + 1.0 - T)[:, 0]
            T = positive / factor[:, None]
        return T, factor if self.class_weight is None else factor * _plain(self.class_weight)

    def encode_for(self, dtype: torch.dtype, y: NDArray[Any], n_outputs: int) -> Tensor:
        """``encode``, numbers in single precision unless the network is in double."""
        targets = self.encode(y, n_outputs)
        single = targets.is_floating_point() and dtype != torch.float64
        return targets.float() if single else targets

    def shares(self, y: NDArray[Any], n_outputs: int) -> Tensor:
        """What every row counts in torch's mean, by which the loss is divided, (n,) float64.

        Ones, but for cross-entropy the weight of the row's class.
        """
        if self.kind != "cross_entropy" or self.class_weight is None:
            return torch.ones(len(y), dtype=torch.float64)
        return _plain(self.class_weight)[self.encode(y, n_outputs)]

    def _encode_classes(self, y: NDArray[Any], n_outputs: int) -> Tensor:
        given = np.asarray(y)
        if given.shape[1:] not in ((), (1,)) or given.dtype.kind not in "biuf":
            raise ValueError(
                f"Cross-entropy takes one class number a row; got targets of shape {given.shape} "
                f"and type {given.dtype}. Of class numbers written as rows with one 1 give "
                "y.argmax(axis=1); for other tables of zeros and ones, loss=nn.BCEWithLogitsLoss()."
            )
        codes = given.reshape(len(given)).astype(np.int64)
        if given.dtype.kind == "f" and bool((codes != given.reshape(len(given))).any()):
            raise ValueError(
                "Cross-entropy takes class numbers, and y holds others; for regression give "
                "loss=nn.MSELoss()."
            )
        if codes.min() < 0 or codes.max() >= n_outputs:
            raise ValueError(
                f"y holds class numbers from {codes.min()} to {codes.max()}, but the model has "
                f"{n_outputs} outputs, for classes 0 to {n_outputs - 1}."
            )
        return torch.from_numpy(codes)


def as_loss(loss: Any) -> Any:
    """The module that a class or a function of torch's stands for; anything else as it is."""
    if isinstance(loss, FunctionType):
        loss = FUNCTIONS.get(loss, loss)
    return loss() if isinstance(loss, type) and loss in FUNCTIONS.values() else loss


def read_loss(loss: Any, link: str, y: NDArray[Any], n_outputs: int) -> RowLoss:
    """The loss a model was trained with, as one of rows.

    Parameters
    ----------
    loss : None, nn.Module or callable
        See ``SUPPORTED``. None is read off the targets: class numbers are for cross-entropy (or
        its binary form, for one output), a table of zeros and ones for binary cross-entropy, and
        other numbers for the squared error.
    link : str
        What the module does to the outputs of its last layer.
    y : ndarray of shape (n,) or (n, L)
    n_outputs : int

    Raises
    ------
    TypeError
        If the loss is none of these.
    ValueError
        If the module's last activation does not go with it.
    """
    classes = isinstance(loss, (nn.CrossEntropyLoss, nn.NLLLoss))
    if classes and loss.ignore_index >= 0 and (y == loss.ignore_index).any():
        raise ValueError(
            f"{type(loss).__name__}(ignore_index={loss.ignore_index}) leaves out rows of that "
            "class; leave them out of the data, or give them sample_weight 0."
        )
    weight = loss.weight if classes else None
    if weight is not None and len(weight) != n_outputs:
        raise ValueError(
            f"{type(loss).__name__} has weights of {len(weight)} classes, and the module has "
            f"{n_outputs} outputs."
        )
    if isinstance(loss, nn.CrossEntropyLoss):
        return RowLoss(
            "cross_entropy",
            link="identity",
            label_smoothing=loss.label_smoothing,
            class_weight=loss.weight,
        )
    if isinstance(loss, nn.NLLLoss):
        # skorch's classifier takes the logarithm of probabilities before this loss.
        return RowLoss("cross_entropy", link=link, class_weight=loss.weight)
    if isinstance(loss, nn.BCEWithLogitsLoss):
        return RowLoss("binary", class_weight=loss.weight, pos_weight=loss.pos_weight)
    if isinstance(loss, nn.BCELoss):
        if link != "sigmoid":
            raise ValueError(
                "nn.BCELoss is for probabilities, but the module does not end in a sigmoid; use "
                "nn.BCEWithLogitsLoss."
            )
        return RowLoss("binary", link="sigmoid", class_weight=loss.weight)
    if isinstance(loss, nn.MSELoss):
        return RowLoss("squared")
    if loss is None:
        return _guess(link, y, n_outputs)
    if not callable(loss) or isinstance(loss, type):
        raise TypeError(f"loss must be {SUPPORTED}; got {loss!r}.")
    return RowLoss("own", own=loss)


def _guess(link: str, y: NDArray[Any], n_outputs: int) -> RowLoss:
    binary = y.dtype.kind in "iubf" and bool(np.isin(y, (0, 1)).all())
    if binary and y.ndim == 2 and n_outputs > 1 and link != "sigmoid" and (y.sum(1) == 1).all():
        raise ValueError(
            "Every row of y has exactly one 1: that is a class number written as a row, or one "
            "label of many, and these go with different losses. Give y.argmax(axis=1) for "
            "cross-entropy, or loss=nn.BCEWithLogitsLoss()."
        )
    whole = y.dtype.kind in "iub" or (y.dtype.kind == "f" and bool((y == np.rint(y)).all()))
    if n_outputs > 1 and y.ndim == 1 and whole:
        if link == "sigmoid":
            raise ValueError(
                f"The module ends in a sigmoid of {n_outputs} outputs, and y holds class numbers, "
                "which go with no loss that is known here; say what it was trained with: loss=..."
            )
        return RowLoss("cross_entropy", link=link)
    if binary and (y.ndim == 2 or n_outputs == 1):
        return RowLoss("binary", link=link)
    return RowLoss("squared")


def _per_row(values: Tensor, outputs: Tensor, targets: Tensor) -> Tensor:
    """One value a row of a caller's own loss."""
    n, shape = len(outputs), tuple(values.shape)
    if shape == (n,):
        return values
    if shape[:1] != (n,) or shape[1:] not in (tuple(outputs.shape[1:]), tuple(targets.shape[1:])):
        raise ValueError(
            f"loss(output, target) returned shape {shape} for outputs {tuple(outputs.shape)} and "
            f"targets {tuple(targets.shape)}; it must return one value a row "
            '(reduction="none"). Targets like the outputs come of y with shape (n, 1).'
        )
    return values.reshape(n, -1).sum(1)


def _on(weight: Tensor | None, Z: Tensor) -> Tensor | None:
    return None if weight is None else weight.to(Z)


def _plain(weight: Tensor) -> Tensor:
    return weight.detach().to("cpu", torch.float64)
