"""Samplers that choose rows by the order of their losses: OrderDP, UCB and SeTa."""

from __future__ import annotations

import numbers
from collections.abc import Sized
from typing import Any, ClassVar

import numpy as np

from skprune.data.strata import Rows
from skprune.torch.base import EpochSampler, Numbers
from skprune.torch.schedule import is_among_last
from skprune.utils.size import KEEP_CONSTRAINTS, resolve_size
from skprune.utils.sklearn_private import Interval

_SHARE = [Interval(numbers.Real, 0, 1, closed="right")]
_NO_CLASSES = np.zeros(1, dtype=np.int64)


class OrderDP(EpochSampler):
    """The rows of highest loss of a random pool, without weights (Xu et al., ICLR 2026).

    Every epoch draws a pool of s rows at random and keeps the q of them whose latest losses are
    highest. With the rows in order of falling loss, row j of n is drawn with probability

        gamma_j = sum_{l <= q} C(j - 1, l - 1) C(n - j, s - l) / C(n, s),

    so training minimises the mean of the losses with these weights, which prefers rows of high
    loss, wrong labels among them. The number of passes is exact, and no epoch draws all rows.

    Parameters
    ----------
    dataset : sized object or int
        The dataset, or its number of rows.
    pool : float in (0, 1], default=0.5
        Share s / n of the rows in the pool.
    top : float in (0, 1], default=0.6
        Share q / s of the pool that is drawn.
    seed, num_replicas, rank
        As in ``EpochSampler``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **EpochSampler._parameter_constraints,
        "pool": _SHARE,
        "top": _SHARE,
    }

    def __init__(
        self,
        dataset: Sized | int,
        pool: float = 0.5,
        top: float = 0.6,
        *,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(dataset, seed=seed, num_replicas=num_replicas, rank=rank)
        self.pool, self.top = pool, top
        self._check("pool", "top")

    def choose(self, rng: np.random.Generator) -> tuple[Rows, Numbers | None]:
        size = max(1, round(self.pool * self.n_rows))
        pool = rng.choice(self.n_rows, size, replace=False)
        return _highest(pool, self.filled_losses(), max(1, round(self.top * size))), None


class UCB(EpochSampler):
    """The rows of highest upper confidence bound of their loss (Raju et al., 2021).

    With every loss l of a row, v <- (1 - a) v + a (l - u)^2 and then u <- (1 - a) u + a l, both
    from 0; every epoch but the first, which draws all rows, draws those of highest u + c v, without
    weights.

    The losses are those of the training. The original passes all rows through the network before
    every choice, which are passes to be paid for.

    Parameters
    ----------
    dataset : sized object or int
        The dataset, or its number of rows.
    keep : float in (0, 1] or int, default=0.5
        Share or number of rows that an epoch draws.
    rate : float in (0, 1], default=0.8
        The rate a of the moving averages.
    confidence : float, default=1.0
        The factor c.
    seed, num_replicas, rank
        As in ``EpochSampler``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **EpochSampler._parameter_constraints,
        "keep": KEEP_CONSTRAINTS,
        "rate": _SHARE,
        "confidence": [Interval(numbers.Real, 0, None, closed="left")],
    }
    _row_wise: ClassVar[tuple[str, ...]] = (*EpochSampler._row_wise, "mean", "variance")

    def __init__(
        self,
        dataset: Sized | int,
        keep: float | int = 0.5,
        rate: float = 0.8,
        confidence: float = 1.0,
        *,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(dataset, seed=seed, num_replicas=num_replicas, rank=rank)
        self.keep, self.rate, self.confidence = keep, rate, confidence
        self._check("keep", "rate", "confidence")
        self.size = resolve_size(keep, self.n_rows, _NO_CLASSES)
        self.mean, self.variance = np.zeros(self.n_rows), np.zeros(self.n_rows)

    def _learn(self, rows: Rows, losses: Numbers) -> None:
        super()._learn(rows, losses)
        deviation = losses - self.mean[rows]
        self.variance[rows] += self.rate * (deviation**2 - self.variance[rows])
        self.mean[rows] += self.rate * deviation

    def choose(self, rng: np.random.Generator) -> tuple[Rows, Numbers | None]:
        everything = rng.permutation(self.n_rows)
        if self.epoch == 0:
            return everything, None
        return _highest(everything, self.mean + self.confidence * self.variance, self.size), None


class SeTa(EpochSampler):
    """A window that slides from rows of low loss to rows of high loss (Zhou et al., CVPR 2025).

    Every epoch draws a share 1 - r of the rows at random, divides them into k groups by k-means of
    their latest losses, and keeps a window of neighbouring groups. The window begins with the
    group of lowest loss, moves on by one group every epoch, and begins again after the highest.
    The first epoch keeps all groups. The last epochs keep the random share and no window. There
    are no weights.

    Parameters
    ----------
    dataset : sized object or int
        The dataset, or its number of rows.
    epochs : int
        Number of epochs of the whole training.
    prune : float in [0, 1), default=0.1
        The share r that is left out before the groups are made.
    groups : int, default=5
        The number k of groups.
    window : float in (0, 1], default=0.9
        Share of the groups in the window, rounded.
    anneal : float in [0, 1], default=0.125
        Share of the epochs, the last ones, without a window: those from
        ``(1 - anneal) * epochs`` on, counted from 0, and at least one. 0 is none.
    seed, num_replicas, rank
        As in ``EpochSampler``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **EpochSampler._parameter_constraints,
        "epochs": [Interval(numbers.Integral, 1, None, closed="left")],
        "prune": [Interval(numbers.Real, 0, 1, closed="left")],
        "groups": [Interval(numbers.Integral, 1, None, closed="left")],
        "window": _SHARE,
        "anneal": [Interval(numbers.Real, 0, 1, closed="both")],
    }

    def __init__(
        self,
        dataset: Sized | int,
        epochs: int,
        prune: float = 0.1,
        groups: int = 5,
        window: float = 0.9,
        anneal: float = 0.125,
        *,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(dataset, seed=seed, num_replicas=num_replicas, rank=rank)
        self.epochs, self.prune, self.groups = epochs, prune, groups
        self.window, self.anneal = window, anneal
        self._check("epochs", "prune", "groups", "window", "anneal")

    def choose(self, rng: np.random.Generator) -> tuple[Rows, Numbers | None]:
        size = max(1, int((1.0 - self.prune) * self.n_rows))
        rows = rng.choice(self.n_rows, size, replace=False)
        if self.epoch == 0 or is_among_last(self.epoch, self.epochs, self.anneal):
            return rows, None
        group = _grouped(self.filled_losses()[rows], self.groups, rng)
        width = max(1, round(self.groups * self.window))
        begin = self.epoch % (self.groups - width + 1)
        inside = (group >= begin) & (group < begin + width)
        # Losses that are almost all alike make fewer groups, and a window may then be empty.
        return (rows[inside] if inside.any() else rows), None


def _highest(rows: Rows, scores: Numbers, size: int) -> Rows:
    """The ``size`` rows of highest score; of equal ones those that come first."""
    return rows[np.argsort(-scores[rows], kind="stable")[:size]]


def _grouped(losses: Numbers, k: int, rng: np.random.Generator) -> Rows:
    """The group of every loss by k-means, 0 for the lowest."""
    from sklearn.cluster import KMeans

    k = min(k, len(np.unique(losses)))
    found = KMeans(k, n_init=1, random_state=int(rng.integers(2**31))).fit(losses[:, None])
    return np.argsort(np.argsort(found.cluster_centers_[:, 0]))[found.labels_]
