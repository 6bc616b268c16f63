"""Turn the ``model=`` of the user into trained torch modules."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, clone
from torch import nn
from torch.utils.data import StackDataset, TensorDataset

from skprune.data.containers import is_row_wise
from skprune.data.sources import RowSource, is_dataset
from skprune.losses.read import as_loss, loss_class
from skprune.utils.seeds import seeded

#: Number of parameters of a network that is not built yet.
UNKNOWN_PARAMETERS = 2**16


class Network:
    """One or several torch models, trained or to be trained.

    Parameters
    ----------
    model : nn.Module, skorch net, callable ``train(dataset, seed) -> nn.Module``, or list or \
            tuple of trained nn.Modules
    loss : object or None
        The loss that the user gave; None takes the criterion of a skorch net, and for other models
        the loss is chosen by the targets.
    weight_decay : float or None
        Penalty per row, lam/2 |theta|^2 beside the mean loss; None takes that of a skorch net's
        optimizer, if it has one.

    Attributes
    ----------
    trains : bool
        Whether the model is trained here, on the training rows.
    """

    def __init__(self, model: Any, loss: Any = None, weight_decay: float | None = None) -> None:
        self.members = as_members(model)
        model = self.members[0]  # several are modules, of which the rest asks the same
        self.model, self.loss, self.weight_decay = model, as_loss(loss), weight_decay
        self.trains = not isinstance(model, nn.Module)
        if is_skorch(model):
            self.trains = not getattr(model, "initialized_", False)
            if loss is None:
                criterion = model.criterion
                options = model.get_params_for("criterion")
                self.loss = criterion(**options) if isinstance(criterion, type) else criterion
            if weight_decay is None:
                self.weight_decay = model.get_params().get("optimizer__weight_decay")

    @property
    def n_parameters(self) -> int:
        """Number of parameters of one network, as far as it is known."""
        module = getattr(self.model, "module_", self.model)
        if not isinstance(module, nn.Module):
            return UNKNOWN_PARAMETERS
        known = (p for p in module.parameters() if not isinstance(p, nn.UninitializedParameter))
        return sum(p.numel() for p in known)

    def alone(self) -> list[Network]:
        """Every network by itself, with the same loss and penalty."""
        return [Network(member, self.loss, self.weight_decay) for member in self.members]

    def modules(self, source: RowSource, rows: NDArray[np.int64], seed: int) -> list[nn.Module]:
        """The trained modules: several that were given, or the one that ``module`` returns."""
        return self.members if len(self.members) > 1 else [self.module(source, rows, seed)]

    def module(self, source: RowSource, rows: NDArray[np.int64], seed: int) -> nn.Module:
        """The trained module; trained on ``rows`` of ``source`` if it is not yet.

        The global random states are left as they were.

        Raises
        ------
        ValueError
            If there are several.
        """
        if len(self.members) > 1:
            raise ValueError(
                f"layers='head' is for the last layer of one network, and model holds "
                f"{len(self.members)}; give one of them, or take whole networks with "
                "layers='all' or the names of layers."
            )
        if isinstance(self.model, nn.Module):
            return self.model
        if not self.trains:
            return self.model.module_
        with seeded(seed):
            if is_skorch(self.model):
                return fit_skorch(clone(self.model), source, rows).module_
            return call_trainer(self.model, source, rows, seed)


def as_members(model: Any) -> list[Any]:
    """The networks of an ensemble; anything but a list or tuple is the only member of one.

    Raises
    ------
    ValueError
        If the list is empty.
    TypeError
        If it holds anything but trained modules.
    """
    if not isinstance(model, (list, tuple)):
        return [model]
    if not model:
        raise ValueError("model is an empty list; give at least one trained nn.Module.")
    for position, member in enumerate(model):
        if not isinstance(member, nn.Module):
            raise TypeError(
                f"model[{position}] is of type {type(member).__name__}; a list of models is an "
                "ensemble of trained nn.Modules and holds nothing else (for a fitted skorch net "
                "give its module_)."
            )
    return list(model)


def is_skorch(model: Any) -> bool:
    """Whether ``model`` is a skorch net, without importing skorch."""
    return all(hasattr(model, name) for name in ("get_iterator", "module", "criterion"))


def is_network(model: Any) -> bool:
    """Whether ``model`` is a torch model: a module, a list, a skorch net or a callable."""
    if isinstance(model, (nn.Module, list, tuple)) or is_skorch(model):
        return True
    named = isinstance(model, (type, str, BaseEstimator)) or hasattr(model, "fit")
    return callable(model) and not named


def fit_skorch(net: Any, source: RowSource, rows: NDArray[np.int64]) -> Any:
    """Fit a skorch net on some rows, in the container that the caller has.

    Inputs and targets get the types that module and criterion take: double precision becomes
    single, and whole numbers are class numbers, except for a loss of numbers.
    """
    given, y = source.take(rows), source.targets()[rows]
    if y.dtype.kind in "iub":
        kind = loss_class(net.criterion)
        numbers = not kind.exclusive and kind.predicts_classes is not None
        y = y.astype(np.float32 if numbers else np.int64)
    double = [isinstance(a, np.ndarray) and a.dtype == np.float64 for a in (given, y)]
    if any(double):
        with torch.random.fork_rng():  # a look at the module takes none of the fit's numbers
            parameters = clone(net).set_params(verbose=0).initialize().module_.parameters()
        if all(p.dtype == torch.float32 for p in parameters):
            given = given.astype(np.float32) if double[0] else given
            y = y.astype(np.float32) if double[1] else y
    # Of a dataset its own targets are what is fitted; y tells the net its classes.
    return net.fit(given, y)


def call_trainer(train: Any, source: RowSource, rows: NDArray[np.int64], seed: int) -> nn.Module:
    """The module that ``train(dataset, seed)`` returns for some rows.

    Raises
    ------
    TypeError
        If ``train`` takes other arguments, or returns anything else.
    """
    with suppress(ValueError):  # of some callables no signature is known
        try:
            inspect.signature(train).bind(None, seed)
        except TypeError as error:
            name = getattr(train, "__name__", type(train).__name__)
            raise TypeError(
                f"{name} is called as train(dataset, seed), and does not take that: {error}. "
                "Give it these two arguments, and bind others with functools.partial."
            ) from None
    module = train(as_dataset(source, rows), seed)
    if not isinstance(module, nn.Module):
        raise TypeError(
            f"train(dataset, seed) returned a {type(module).__name__}; it must return the trained "
            "nn.Module."
        )
    return module


def as_dataset(source: RowSource, rows: NDArray[np.int64]) -> Any:
    """Some rows as a torch Dataset of (inputs, target), or of (inputs, ..., target)."""
    given = source.take(rows)
    if is_dataset(source.original):
        return given
    targets = _tensor(source.targets()[rows])
    if isinstance(given, Mapping):
        named: dict[str, Any] = {name: _tensor(part) for name, part in given.items()}
        pair: tuple[Any, Any] = (StackDataset(**named), targets)
        return StackDataset(*pair)
    inputs = given if isinstance(given, tuple) and not is_row_wise(given, len(rows)) else (given,)
    return TensorDataset(*(_tensor(part) for part in inputs), targets)


def _tensor(part: Any) -> torch.Tensor:
    if isinstance(part, torch.Tensor):
        return part
    values = part.toarray() if sp.issparse(part) else np.ascontiguousarray(part)
    # Double precision is numpy's default, not a choice; networks are in torch's.
    tensor = torch.as_tensor(values)
    return tensor.to(torch.get_default_dtype()) if values.dtype == np.float64 else tensor
