"""Train a whole model of any kind on some of the rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import clone
from torch import nn

from skprune.data.containers import take_rows
from skprune.data.sources import RowSource, as_source, is_dataset
from skprune.data.teaching import Teaching
from skprune.heads.advice import advised_fit
from skprune.heads.linear_spec import sampler_in, weight_name
from skprune.network.encoding import SourceRows
from skprune.network.torch_model import call_trainer, fit_skorch, is_skorch
from skprune.subset import Rows
from skprune.utils.seeds import seeded, set_random_states

Floats = NDArray[np.float64]
#: The kinds of models that can be trained, for messages.
TRAINABLE = (
    "a scikit-learn estimator, a skorch net, or a callable train(dataset, seed) that returns the "
    "trained nn.Module"
)


@dataclass(frozen=True)
class Data:
    """Rows that a model is trained on or measured on, as the user has them.

    Parameters
    ----------
    X : array-like, frame, sparse matrix, tensor, dict or tuple of these, dataset, or SourceRows
    y : array-like of shape (n,) or (n, L), or None
        None for datasets that hold their targets.
    weights : array-like of shape (n,), optional
    units : ndarray of shape (n,), optional
        0, 1, 2 ..., equal for copies of a row.
    """

    X: Any
    y: Any = None
    weights: Any = None
    units: Rows | None = None

    def source(self) -> tuple[RowSource, Rows]:
        """The rows for a torch model, as a source and positions in it."""
        if isinstance(self.X, SourceRows):
            return self.X.source, self.X.positions
        source = self.X if isinstance(self.X, RowSource) else as_source(self.X, self.y)
        return source, np.arange(len(source))


class Trainer(ABC):
    """Trains a fresh model on some rows of its data."""

    def fit(
        self,
        rows: Rows,
        seed: int,
        weights: Floats | None = None,
        targets: Teaching | None = None,
    ) -> Any:
        """Train on the rows at these positions.

        Parameters
        ----------
        rows : ndarray of shape (m,), int64
        seed : int
            Equal seeds and rows give equal models, as far as the model's code is deterministic.
            The global random states of Python, numpy and torch are left as they were.
        weights : ndarray of shape (m,), optional
            Weights of these rows, by which their own weights are multiplied.
        targets : Teaching, optional
            Targets of these rows in place of their labels.

        Returns
        -------
        object
            The fitted estimator, skorch net or module.
        """
        with seeded(seed):
            if targets is not None:
                return self._fit_taught(rows, seed, weights, targets)
            if weights is not None:
                return self._fit_weighted(rows, seed, weights)
            return self._fit(rows, seed)

    @abstractmethod
    def __len__(self) -> int:
        """Number of rows that may be trained on."""

    @abstractmethod
    def _fit(self, rows: Rows, seed: int) -> Any: ...

    def _fit_weighted(self, rows: Rows, seed: int, weights: Floats) -> Any:
        raise TypeError(f"{type(self).__name__} trains without weights of rows.")

    def _fit_taught(self, rows: Rows, seed: int, weights: Floats | None, targets: Teaching) -> Any:
        raise TypeError(f"{type(self).__name__} trains on the rows' own labels only.")


class EstimatorTrainer(Trainer):
    """Fits clones of a scikit-learn estimator, on the user's own containers.

    Parameters
    ----------
    estimator : estimator
        Every ``random_state`` in it is set from the seed.
    data : Data
        Its weights are passed to ``fit``, or to the last step of a Pipeline, if it takes them.

    Raises
    ------
    TypeError
        If the rows are a dataset.
    ValueError
        If there are weights and a sampler, which changes the rows.

    Attributes
    ----------
    weight_name : str or None
        The name of the weights in ``fit``; None if it takes none.
    """

    def __init__(self, estimator: Any, data: Data) -> None:
        if is_dataset(data.X) or isinstance(data.X, (RowSource, SourceRows)):
            raise TypeError(
                f"{type(estimator).__name__} is a scikit-learn estimator and cannot be trained on "
                "a dataset; give arrays X and y, or retrain with a skorch net or a callable "
                "train(dataset, seed)."
            )
        self.estimator, self.data = estimator, data
        self.weight_name = weight_name(estimator)
        if data.weights is not None and self.weight_name is not None and sampler_in(estimator):
            raise ValueError(
                f"The Pipeline to retrain holds the sampler {sampler_in(estimator)}, and "
                "sample_weight has no entries for the rows that it makes; leave out the weights, "
                "or the sampler."
            )

    def __len__(self) -> int:
        """Number of rows that may be trained on."""
        return len(self.data.y)

    def _fit(self, rows: Rows, seed: int) -> Any:
        return self._fit_with(rows, seed, self._total(rows))

    def _fit_weighted(self, rows: Rows, seed: int, weights: Floats) -> Any:
        if self.weight_name is None:
            raise TypeError(f"{type(self.estimator).__name__}.fit takes no sample_weight.")
        return self._fit_with(rows, seed, self._total(rows, weights))

    def _fit_taught(self, rows: Rows, seed: int, weights: Floats | None, targets: Teaching) -> Any:
        if self.weight_name is None and targets.classes is not None:
            raise TypeError(f"{type(self.estimator).__name__}.fit takes no sample_weight.")
        again, y, shares = targets.unfolded(self._total(rows, weights))
        return self._fit_with(rows[again], seed, shares, y)

    def _total(self, rows: Rows, weights: Floats | None = None) -> Any:
        """The rows' own weights times ``weights``; None if there are neither."""
        own = self.data.weights
        if own is None:
            return weights
        own = take_rows(own, rows)
        return own if weights is None else weights * np.asarray(own, dtype=np.float64)

    def _fit_with(self, rows: Rows, seed: int, weights: Any, y: Any = None) -> Any:
        estimator = clone(self.estimator)
        set_random_states(estimator, seed)
        named = {}
        if self.weight_name is not None and weights is not None:
            named[self.weight_name] = weights
        X, y = take_rows(self.data.X, rows), take_rows(self.data.y, rows) if y is None else y
        with advised_fit(estimator, X):
            return estimator.fit(X, y, **named)


class SkorchTrainer(Trainer):
    """Fits clones of a skorch net.

    Parameters
    ----------
    net : skorch net
        Fitted or not.
    data : Data

    Raises
    ------
    ValueError
        If the net's module is an instance that the net has trained already: every clone would
        start from the trained weights.
    """

    def __init__(self, net: Any, data: Data) -> None:
        if isinstance(net.module, nn.Module) and getattr(net, "module_", None) is net.module:
            name = type(net.module).__name__
            raise ValueError(
                f"The net was fitted with an instance of {name} as its module, which holds the "
                "trained weights now, so that a clone would not start afresh. Give the net the "
                f"class, {type(net).__name__}({name}, ...), and its arguments as module__..."
            )
        self.net = net
        self.source, self.positions = data.source()

    def __len__(self) -> int:
        """Number of rows that may be trained on."""
        return len(self.positions)

    def _fit(self, rows: Rows, seed: int) -> Any:
        net = clone(self.net)
        if "random_state" in net.get_params(deep=False):
            set_random_states(net, seed)
        if "classes" in net.get_params(deep=False) and net.classes is None:
            # A net learns no classes from a dataset, and scorers need them.
            targets = self.source.targets()
            if targets.ndim == 1:
                net.set_params(classes=np.unique(targets))
        return fit_skorch(net, self.source, self.positions[rows])


class CallableTrainer(Trainer):
    """Calls ``train(dataset, seed) -> nn.Module``.

    Parameters
    ----------
    train : callable
        It is called with the user's own dataset cut to the rows, or with a ``TensorDataset``.
    data : Data
    """

    def __init__(self, train: Callable[[Any, int], nn.Module], data: Data) -> None:
        self.train = train
        self.source, self.positions = data.source()

    def __len__(self) -> int:
        """Number of rows that may be trained on."""
        return len(self.positions)

    def _fit(self, rows: Rows, seed: int) -> nn.Module:
        return call_trainer(self.train, self.source, self.positions[rows], seed)


def make_trainer(model: Any, data: Data) -> Trainer:
    """The trainer for a model.

    Raises
    ------
    TypeError
        If the model cannot be trained, such as a bare module, whose training is unknown.
    """
    if isinstance(model, nn.Module):
        raise TypeError(
            f"{type(model).__name__} is a trained nn.Module, and nothing says how it was trained, "
            f"so it cannot be retrained. To retrain, give {TRAINABLE}."
        )
    if is_skorch(model):
        return SkorchTrainer(model, data)
    if hasattr(model, "fit") and hasattr(model, "get_params") and not isinstance(model, type):
        return EstimatorTrainer(model, data)
    if callable(model) and not isinstance(model, type):
        return CallableTrainer(model, data)
    raise TypeError(f"Cannot retrain {model!r}. Give {TRAINABLE}.")
