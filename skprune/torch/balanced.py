"""Samplers whose inclusion probabilities are exact: uniform ones, and in proportion to losses."""

from __future__ import annotations

import numbers
from collections.abc import Sized
from typing import Any, ClassVar

import numpy as np

from skprune.data.source import as_numpy
from skprune.data.strata import Rows, group_minima, stratified_quotas
from skprune.subset.inclusion import draw, inclusion_chances
from skprune.torch.base import EpochSampler, Numbers
from skprune.torch.ordering import order_for_batches
from skprune.utils.size import KEEP_CONSTRAINTS, resolve_size
from skprune.utils.sklearn_private import Interval


class RandomSubset(EpochSampler):
    """Random rows, drawn anew every epoch.

    A hard baseline (RS2 of Okanovic et al., 2024): no row is left out for long.

    Parameters
    ----------
    dataset : sized object or int
        The dataset, or its number of rows.
    keep : float in (0, 1] or int, default=0.5
        Share or number of rows that an epoch draws. With several replicas, the next lower multiple
        of their number. 1.0 draws all rows.
    targets : array-like of shape (n_rows,), default=None
        With the class of every row, every class keeps its share of the rows of an epoch.
    seed, num_replicas, rank
        As in ``EpochSampler``.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **EpochSampler._parameter_constraints,
        "keep": KEEP_CONSTRAINTS,
    }

    def __init__(
        self,
        dataset: Sized | int,
        keep: float | int = 0.5,
        targets: Any = None,
        *,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(dataset, seed=seed, num_replicas=num_replicas, rank=rank)
        self.keep = keep
        self._check("keep")
        self.groups, least = self._groups(targets)
        size = resolve_size(keep, self.n_rows, least)
        self.size = size // self.num_replicas * self.num_replicas
        if self.size < max(1, least.sum()):
            raise ValueError(
                f"keep={keep!r} is {size} row(s) for {self.num_replicas} replica(s) and "
                f"{len(least)} class(es), which must all get one; keep more."
            )
        self.quotas = stratified_quotas(self.groups, least, self.size)
        order = np.argsort(self.groups, kind="stable")
        self._classes = np.split(order, np.bincount(self.groups).cumsum()[:-1])

    def _groups(self, targets: Any) -> tuple[Rows, Rows]:
        """The class of every row, and the least rows of every class in an epoch."""
        if targets is None:
            return np.zeros(self.n_rows, dtype=np.int64), np.zeros(1, dtype=np.int64)
        labels = as_numpy(targets)
        if labels.shape != (self.n_rows,):
            raise ValueError(
                f"targets have shape {labels.shape}, and the dataset has {self.n_rows} rows; give "
                "the class of every row."
            )
        groups = np.unique(labels, return_inverse=True)[1].astype(np.int64)
        # A class that is never drawn could not be made up for by any weight.
        return groups, group_minima(groups, 1)

    def chances(self) -> Numbers:
        """Probability of every row to be drawn in the next epoch."""
        hardness, chances = self._hardness(), np.empty(self.n_rows)
        for rows, quota in zip(self._classes, self.quotas, strict=True):
            alone, none = np.zeros_like(rows), np.zeros(1, dtype=np.int64)
            chances[rows] = inclusion_chances(int(quota), alone, none, hardness[rows])
        return chances

    def _hardness(self) -> Numbers:
        """What half of every chance is in proportion to, within a class."""
        return np.ones(self.n_rows)

    def choose(self, rng: np.random.Generator) -> tuple[Rows, Numbers | None]:
        chances = self.chances()
        return draw(chances, self.groups, rng), self.size / (self.n_rows * chances)


class BalancedSampler(RandomSubset):
    """Rows of high loss more often, with weights that make the mean loss of an epoch unbiased.

    Row i is drawn with a probability pi_i in proportion to 1/2 + 1/2 of its latest loss over the
    mean loss, at most 1; the number of rows is exact and so are the probabilities. The weight of a
    row is m / (n pi_i) where m of n rows are drawn (Horvitz and Thompson, 1952). The mean over an
    epoch of the weighted losses is then an unbiased estimate of the mean loss of all rows, and so
    is its gradient, whatever the model. No weight exceeds 2 (by little with ``targets``).

    The first epoch draws rows with equal probabilities, unless ``record`` was given losses before
    it. A row without a loss counts as one of mean loss, a negative loss as 0.

    Parameters
    ----------
    dataset : sized object or int
        The dataset, or its number of rows.
    keep : float in (0, 1] or int, default=0.5
        Share or number of rows that an epoch draws. With several replicas, the next lower multiple
        of their number.
    targets : array-like of shape (n_rows,), default=None
        With the class of every row, every class keeps its share of the rows of an epoch, and
        losses are compared within the classes.
    weighted : bool, default=True
        Whether rows get weights. Without, training leans to rows of high loss.
    batch_size : int, default=None
        The batch size of the loader (of this process). If given, rows come in an order in which
        every batch has the classes of ``targets`` and the losses of the whole epoch, so that the
        gradients of batches differ less. Which rows an epoch draws, and their weights, are the
        same.
    seed, num_replicas, rank
        As in ``EpochSampler``.

    Examples
    --------
    >>> import torch
    >>> from torch.utils.data import DataLoader, TensorDataset
    >>> from skprune.torch import BalancedSampler, Indexed
    >>> X, y = torch.randn(100, 3), torch.arange(100) % 2
    >>> dataset, net = TensorDataset(X, y), torch.nn.Linear(3, 2)
    >>> sampler = BalancedSampler(dataset, keep=0.3, targets=y)
    >>> loader = DataLoader(Indexed(dataset), batch_size=10, sampler=sampler)
    >>> for epoch in range(2):
    ...     for indices, (inputs, targets) in loader:
    ...         losses = torch.nn.functional.cross_entropy(net(inputs), targets, reduction="none")
    ...         loss = sampler.weigh(losses, indices)
    >>> sampler.passes
    60
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **RandomSubset._parameter_constraints,
        "weighted": ["boolean"],
        "batch_size": [None, Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        dataset: Sized | int,
        keep: float | int = 0.5,
        targets: Any = None,
        *,
        weighted: bool = True,
        batch_size: int | None = None,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        super().__init__(dataset, keep, targets, seed=seed, num_replicas=num_replicas, rank=rank)
        self.weighted, self.batch_size = weighted, batch_size
        self._check("weighted", "batch_size")

    def _hardness(self) -> Numbers:
        return np.maximum(self.filled_losses(), 0.0)

    def choose(self, rng: np.random.Generator) -> tuple[Rows, Numbers | None]:
        rows, factors = super().choose(rng)
        return rows, factors if self.weighted else None

    def _ordered(self, rows: Rows, rng: np.random.Generator) -> Rows:
        if self.batch_size is None:
            return rows
        return rows[
            order_for_batches(self.groups[rows], self._hardness()[rows], self.batch_size, rng)
        ]
