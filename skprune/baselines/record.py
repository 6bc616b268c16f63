"""Training dynamics of skorch nets."""

from __future__ import annotations

import os
from typing import Any

try:
    from skorch.callbacks import Callback
except ImportError as error:
    raise ImportError(
        "RecordDynamics is a callback of skorch, which is not installed: "
        'pip install "skprune[torch]". In a loop of your own, call TrainingDynamics.record.'
    ) from error
from torch import nn

from skprune.baselines.dynamics import TrainingDynamics


class RecordDynamics(Callback):
    """Records the training dynamics of a skorch net.

    At the end of every epoch all rows given to ``fit``, including those that the net holds out for
    validation, are passed through the net once more in evaluation mode.

    Parameters
    ----------
    path : str or path-like, default=None
        See ``TrainingDynamics``.

    Attributes
    ----------
    dynamics_ : TrainingDynamics

    Examples
    --------
    >>> import numpy as np
    >>> from skorch import NeuralNetClassifier
    >>> from torch import nn
    >>> from skprune.baselines import Forgetting, RecordDynamics
    >>> X = np.random.default_rng(0).normal(size=(40, 3)).astype(np.float32)
    >>> y = (X[:, 0] > 0).astype(np.int64)
    >>> net = NeuralNetClassifier(
    ...     nn.Linear(3, 2), criterion=nn.CrossEntropyLoss, max_epochs=5, verbose=0,
    ...     callbacks=[("record", RecordDynamics())],
    ... ).fit(X, y)
    >>> dynamics = dict(net.callbacks_)["record"].dynamics_
    >>> len(Forgetting(keep=0.5, dynamics=dynamics).fit(X, y).sample_indices_)
    20
    """

    def __init__(self, path: str | os.PathLike[str] | None = None) -> None:
        self.path = path

    def on_train_begin(self, net: Any, X: Any = None, y: Any = None, **kwargs: Any) -> None:
        """Start recording, or continue the record in ``path``."""
        from skprune.data.source import as_numpy
        from skprune.data.sources import as_source

        self._rows = X
        self._targets = as_source(X).targets() if y is None else as_numpy(y)
        self.dynamics_ = TrainingDynamics(len(self._targets), self.path)

    def on_epoch_end(self, net: Any, **kwargs: Any) -> None:
        """Record the outputs for all rows."""
        done = 0
        for outputs in net.forward_iter(self._rows, training=False):
            first = outputs[0] if isinstance(outputs, tuple) else outputs
            # With this criterion the modules of skorch's classifiers return probabilities.
            logits = first.log() if isinstance(net.criterion_, nn.NLLLoss) else first
            rows = range(done, done + len(logits))
            self.dynamics_.record(rows, logits, self._targets[done : done + len(logits)])
            done += len(logits)
        self.dynamics_.end_epoch()

    def on_train_end(self, net: Any, **kwargs: Any) -> None:
        """Release the rows."""
        self._rows = None
