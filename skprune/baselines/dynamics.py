"""Training dynamics: predictions for the training rows, recorded after every epoch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skprune.data.source import as_numpy
from skprune.data.strata import Rows
from skprune.utils.files import make_folder, write_whole
from skprune.utils.seeds import seeded

#: Numbers recorded for every row and epoch, in half precision.
KEPT = ("probability", "margin", "el2n", "shift")

#: Log-probabilities are clipped here, so that half precision holds them.
LEAST_LOG = -1e4

#: Width, epochs, batch size and learning rate of the perceptron that is trained without a network.
WIDTH, EPOCHS, BATCH, RATE = 128, 30, 64, 0.05


class TrainingDynamics:
    """Recorder of a network's predictions for its training rows during training.

    Two lines in a training loop: ``record`` after every forward pass, ``end_epoch`` after every
    epoch. ``skprune.baselines.RecordDynamics`` does so for skorch nets.

    Parameters
    ----------
    n_rows : int
        Number of training rows.
    path : str or path-like, optional
        A file ``.npz`` that is written at the end of every epoch. If it exists, recording continues
        from it.

    Attributes
    ----------
    n_epochs : int
        Number of epochs that have ended.
    probability : ndarray of shape (n_epochs, n_rows), float16
        Probability of the row's class.
    margin : ndarray of shape (n_epochs, n_rows), float16
        Logit of the row's class minus the largest other logit.
    el2n : ndarray of shape (n_epochs, n_rows), float16
        Norm of the error p - y.
    shift : ndarray of shape (n_epochs, n_rows), float16
        Kullback-Leibler divergence from what was predicted an epoch before; 0 in the first.

    Examples
    --------
    >>> import torch
    >>> from skprune.baselines import TrainingDynamics
    >>> dynamics = TrainingDynamics(3)
    >>> rows, targets = torch.arange(3), torch.tensor([0, 1, 1])
    >>> for epoch in range(2):
    ...     for logits in torch.zeros(1, 3, 2):  # what the network makes of a batch
    ...         dynamics.record(rows, logits, targets)
    ...     dynamics.end_epoch()
    >>> dynamics.probability
    array([[0.5, 0.5, 0.5],
           [0.5, 0.5, 0.5]], dtype=float16)
    """

    def __init__(self, n_rows: int, path: str | os.PathLike[str] | None = None) -> None:
        self.n_rows = n_rows
        self.path = None if path is None else Path(path)
        self._epochs: dict[str, list[NDArray[np.float16]]] = {name: [] for name in KEPT}
        self._before: NDArray[np.float16] | None = None  # log-probabilities an epoch ago
        self._now: NDArray[np.float16] | None = None
        self._seen = np.zeros(n_rows, dtype=bool)
        self._current = {name: np.zeros(n_rows, dtype=np.float16) for name in KEPT}
        if self.path is not None and self.path.exists():
            self._resume(self.path)

    @property
    def n_epochs(self) -> int:
        """Number of epochs that have ended."""
        return len(self._epochs["margin"])

    @property
    def correct(self) -> NDArray[np.bool_]:
        """Whether the row was predicted correctly, (n_epochs, n_rows)."""
        return self.margin > 0

    def __getattr__(self, name: str) -> NDArray[np.float16]:
        if name not in KEPT:
            raise AttributeError(f"{type(self).__name__} has no attribute {name!r}")
        if not self.n_epochs:
            raise ValueError("No epoch has ended: record every batch, and call end_epoch().")
        return np.stack(self._epochs[name])

    def record(self, indices: Any, logits: Any, targets: Any) -> None:
        """Record the outputs for a batch; if a row is recorded twice, the last record counts.

        Parameters
        ----------
        indices : array-like of shape (b,), int
            Their numbers among the training rows.
        logits : array-like of shape (b, C), or (b,) or (b, 1) of two classes
            Outputs before any softmax.
        targets : array-like of shape (b,), int
            Their classes.
        """
        rows, own = as_numpy(indices), as_numpy(targets).reshape(-1).astype(np.int64)
        Z = torch.as_tensor(logits).detach().to("cpu", torch.float32)
        if Z.ndim == 1 or Z.shape[1] == 1:
            Z = torch.nn.functional.pad(Z.reshape(-1, 1), (1, 0))
        if not len(rows) == len(Z) == len(own):
            raise ValueError(
                f"There are {len(rows)} indices, {len(Z)} rows of logits and {len(own)} targets; "
                "give one of each for every row of the batch."
            )
        P, at = torch.softmax(Z, 1), torch.from_numpy(own)[:, None]
        true, mine = P.gather(1, at)[:, 0], Z.gather(1, at)[:, 0]
        others = Z.scatter(1, at, -torch.inf).max(1).values
        errors = (P.square().sum(1) - 2 * true + 1).clamp_min(0).sqrt()
        if self._now is None:
            self._now = np.zeros((self.n_rows, Z.shape[1]), dtype=np.float16)
        self._now[rows] = torch.log_softmax(Z, 1).clamp_min(LEAST_LOG).numpy()
        shift = np.zeros(len(rows))
        if self._before is not None:
            log_p = self._now[rows].astype(np.float64)  # rounded like the epoch before
            shift = (np.exp(log_p) * (log_p - self._before[rows])).sum(1)
        found = {"probability": true, "margin": mine - others, "el2n": errors, "shift": shift}
        for name, values in found.items():
            self._current[name][rows] = as_numpy(values)
        self._seen[rows] = True

    def end_epoch(self) -> None:
        """End the epoch. Rows that were not recorded in it keep the values of the epoch before."""
        if not self._seen.all():
            missing = np.flatnonzero(~self._seen)
            raise ValueError(
                f"{len(missing)} of {self.n_rows} rows were not recorded in the first epoch, "
                f"beginning with row {missing[0]}; do not drop the last batch."
            )
        assert self._now is not None
        for name, values in self._current.items():
            self._epochs[name].append(values.copy())
        self._before = self._now.copy()
        if self.path is not None:
            self._write(self.path)

    def _write(self, path: Path) -> None:
        arrays = {name: getattr(self, name) for name in KEPT}

        def write(file: Any) -> str:
            np.savez(file, before=self._before, **arrays)  # type: ignore[arg-type]
            return path.name

        write_whole(make_folder(path.parent), write)

    def _resume(self, path: Path) -> None:
        with np.load(path) as found:
            if found["margin"].shape[1] != self.n_rows:
                raise ValueError(
                    f"{path} has the dynamics of {found['margin'].shape[1]} rows, not of "
                    f"{self.n_rows}; give another path."
                )
            self._before, self._now = found["before"], found["before"].copy()
            self._epochs = {name: list(found[name]) for name in KEPT}
        self._current = {name: epochs[-1].copy() for name, epochs in self._epochs.items()}
        self._seen[:] = True


def train_for_dynamics(
    features: NDArray[Any], labels: Rows, n_classes: int, seed: int
) -> TrainingDynamics:
    """Train a small perceptron by stochastic gradient descent and record its dynamics.

    Parameters
    ----------
    features : ndarray of shape (n, d)
        Features of any scale; they are standardised.
    labels : ndarray of shape (n,)
    n_classes : int
    seed : int
    """
    X = torch.from_numpy(np.asarray(features, dtype=np.float32))
    spread = X.std(0, correction=0)
    X = (X - X.mean(0)) / torch.where(spread > 0, spread, 1.0)
    y, dynamics = torch.from_numpy(labels), TrainingDynamics(len(X))
    with seeded(seed):
        net = nn.Sequential(nn.Linear(X.shape[1], WIDTH), nn.ReLU(), nn.Linear(WIDTH, n_classes))
        optimizer = torch.optim.SGD(net.parameters(), lr=RATE, momentum=0.9)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(X)).split(BATCH):
                logits = net(X[rows])
                _step(optimizer, nn.functional.cross_entropy(logits, y[rows]))
                dynamics.record(rows, logits, y[rows])
            dynamics.end_epoch()
    return dynamics


def _step(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
