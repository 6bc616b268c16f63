"""Samplers that leave out rows of low loss at random: InfoBatch and RePB."""

from __future__ import annotations

import numbers
from collections.abc import Sized
from typing import Any, ClassVar

import numpy as np

from skprune.data.strata import Rows
from skprune.torch.base import EpochSampler, Numbers
from skprune.torch.schedule import is_among_last
from skprune.utils.sklearn_private import Interval

_PROBABILITY = [Interval(numbers.Real, 0, 1, closed="left")]


class InfoBatch(EpochSampler):
    """Leave out rows of low loss at random and make up for it by weights (Qin et al., ICLR 2024).

    A row whose latest loss is below the mean loss of all rows is left out of an epoch with
    probability r. If it is not, its weight is 1 / (1 - r). All other rows are drawn with weight 1.
    The *sum* of the weighted losses of an epoch is thus unbiased for the sum over all rows. The
    mean of a batch is not: it is larger by the factor n / m of the rows that an epoch saves, as
    published. The last epochs draw all rows without weights, and so does the first. A training of
    fewer than 1 / ``anneal`` epochs still ends with one of all rows.

    ``prune`` is a share of the rows *below the mean*, not of all: 0.5 saves far less than half of
    the passes. ``passes`` says how many were made. The published code draws a fixed number of the
    rows of low loss instead of each by itself.

    Parameters
    ----------
    dataset : sized object or int
        The dataset, or its number of rows.
    epochs : int
        Number of epochs of the whole training.
    prune : float in [0, 1), default=0.5
        The probability r.
    anneal : float in [0, 1], default=0.125
        Share of the epochs, the last ones, that draw all rows: those from
        ``(1 - anneal) * epochs`` on, counted from 0, and at least one. 0 is none.
    seed, num_replicas, rank
        As in ``EpochSampler``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **EpochSampler._parameter_constraints,
        "epochs": [Interval(numbers.Integral, 1, None, closed="left")],
        "prune": _PROBABILITY,
        "anneal": [Interval(numbers.Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        dataset: Sized | int,
        epochs: int,
        prune: float = 0.5,
        anneal: float = 0.125,
        *,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(dataset, seed=seed, num_replicas=num_replicas, rank=rank)
        self.epochs, self.prune, self.anneal = epochs, prune, anneal
        self._check("epochs", "prune", "anneal")

    def choose(self, rng: np.random.Generator) -> tuple[Rows, Numbers | None]:
        if is_among_last(self.epoch, self.epochs, self.anneal):
            return np.arange(self.n_rows), None
        losses = self.filled_losses()
        low = losses < losses.mean()
        return _thinned(low, self.prune, rng), np.where(low, 1.0 / (1.0 - self.prune), 1.0)


class RePB(EpochSampler):
    """Compare losses within a batch, and weigh rows by how often they were drawn (Zhou, ICLR 2026).

    A row whose loss is below the mean of its batch is left out of the next epoch with probability
    rho. A row that was left out comes back with probability 1 - rho. Both say the same: a row
    whose latest loss was low in its batch is drawn with probability 1 - rho. Losses of one batch
    are those of one state of the network, which makes them comparable. In epoch t (from 1) a row
    that was drawn N_i times, this one included, has weight t / N_i. The last epochs are as all
    others, so the sampler does not have to know how many there are.

    Written from the description of the method; the window of the comparison is one batch, the rows
    of one call of ``weigh``.

    Parameters
    ----------
    dataset : sized object or int
        The dataset, or its number of rows.
    prune : float in [0, 1), default=0.5
        The probability rho.
    seed, num_replicas, rank
        As in ``EpochSampler``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **EpochSampler._parameter_constraints,
        "prune": _PROBABILITY,
    }
    _row_wise: ClassVar[tuple[str, ...]] = (*EpochSampler._row_wise, "low")

    def __init__(
        self,
        dataset: Sized | int,
        prune: float = 0.5,
        *,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(dataset, seed=seed, num_replicas=num_replicas, rank=rank)
        self.prune = prune
        self._check("prune")
        self.low = np.zeros(self.n_rows, dtype=bool)

    def _learn(self, rows: Rows, losses: Numbers) -> None:
        super()._learn(rows, losses)
        self.low[rows] = losses < losses.mean()

    def choose(self, rng: np.random.Generator) -> tuple[Rows, Numbers | None]:
        return _thinned(self.low, self.prune, rng), (self.epoch + 1) / (self.times + 1)


def _thinned(low: Any, probability: float, rng: np.random.Generator) -> Rows:
    """All rows but those of ``low`` that are left out, each with the given probability."""
    return np.flatnonzero(~low | (rng.random(len(low)) >= probability))
