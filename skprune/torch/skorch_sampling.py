"""Samplers in the training of skorch nets."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

try:
    from skorch.callbacks import Callback
except ImportError as error:
    raise ImportError(
        "SkorchSampling is a callback of skorch, which is not installed: "
        'pip install "skprune[torch]". In a loop of your own, give the sampler to the DataLoader.'
    ) from error

from skprune.torch.balanced import BalancedSampler
from skprune.torch.base import EpochSampler
from skprune.torch.criterion import WeighedCriterion


class SkorchSampling(Callback):
    """Trains a skorch net on other rows every epoch, with their weights in the loss.

    Only the training is concerned: the loss of the validation set stays as it is.

    Parameters
    ----------
    sampler : callable, default=BalancedSampler
        Makes the sampler from the dataset that is trained on (that of ``fit`` without the rows of
        ``train_split``). ``functools.partial(BalancedSampler, keep=0.3)`` says how much is kept.

    Attributes
    ----------
    sampler_ : EpochSampler

    Examples
    --------
    >>> import numpy as np
    >>> from functools import partial
    >>> from skorch import NeuralNetClassifier
    >>> from torch import nn
    >>> from skprune.torch import BalancedSampler, SkorchSampling
    >>> X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    >>> y = (X[:, 0] > 0).astype(np.int64)
    >>> sampling = SkorchSampling(partial(BalancedSampler, keep=0.5))
    >>> net = NeuralNetClassifier(
    ...     nn.Linear(3, 2), criterion=nn.CrossEntropyLoss, max_epochs=5, verbose=0,
    ...     train_split=None, callbacks=[("sampling", sampling)],
    ... ).fit(X, y)
    >>> dict(net.callbacks_)["sampling"].sampler_.passes
    100
    """

    def __init__(self, sampler: Callable[[Any], EpochSampler] = BalancedSampler) -> None:
        self.sampler = sampler
        self._weighed: WeighedCriterion | None = None

    def initialize(self) -> SkorchSampling:
        """Forget the sampler of an earlier ``fit``."""
        self.sampler_: EpochSampler | None = None
        return self

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Put the sampler into the iterator and the weights into the criterion."""
        if self._weighed is not None:  # an earlier training ended with an error
            self.on_train_end(net)
        self._weighed = WeighedCriterion(net.criterion_)
        self._iterator = net.iterator_train
        net.iterator_train = self._load

    def _load(self, dataset: Any, **options: Any) -> Any:
        if self.sampler_ is None or self.sampler_.n_rows != len(dataset):
            self.sampler_ = self.sampler(dataset)
        return self._iterator(dataset, **{**options, "shuffle": False, "sampler": self.sampler_})

    def on_epoch_begin(self, net: Any, **kwargs: Any) -> None:
        """Begin with the sampler's first row."""
        assert self._weighed is not None
        self._weighed.begin_epoch()

    def on_batch_begin(
        self, net: Any, batch: Any = None, training: bool = False, **kwargs: Any
    ) -> None:
        """Weigh the losses of a batch of training rows."""
        if training and self._weighed is not None and self.sampler_ is not None:
            self._weighed.begin_batch(self.sampler_, batch)

    def on_batch_end(self, net: Any, **kwargs: Any) -> None:
        """Leave the criterion as it was."""
        assert self._weighed is not None
        self._weighed.end_batch()

    def on_train_end(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Leave the net as it was."""
        assert self._weighed is not None
        self._weighed.release()
        self._weighed = None
        net.iterator_train = self._iterator
