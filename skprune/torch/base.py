"""What all samplers share: the epochs, the losses of the rows, replicas, and a state to resume."""

from __future__ import annotations

import numbers
from abc import abstractmethod
from collections.abc import Iterator, Sized
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import distributed
from torch.utils.data import Sampler

from skprune.data.source import as_numpy
from skprune.data.strata import Rows
from skprune.utils.exceptions import warn_user
from skprune.utils.sklearn_private import Interval, validate_parameters

Numbers = NDArray[np.float64]
#: A warning names so many rows.
_NAMED = 5


class EpochSampler(Sampler[int]):
    """Base class of samplers that draw some rows of a dataset, anew for every epoch.

    Every ``iter(sampler)`` begins an epoch, as a loop over a ``DataLoader`` does. What an epoch
    draws depends on the seed, on the number of the epoch and on the losses before it, and on
    nothing else. A subclass writes ``choose``.

    A loss that is NaN or infinite is not learnt: its row keeps the loss it had. The next epoch
    begins with a warning that names the rows.

    Parameters
    ----------
    dataset : sized object or int
        The dataset, or its number of rows.
    seed : int, default=0
        The same in all processes.
    num_replicas, rank : int, default=None
        Number of processes that share the rows of an epoch, and which of them this is. Each gets
        the same number of other rows, so up to ``num_replicas - 1`` of those drawn are left out.
        None asks the process group, if there is one; its processes begin every epoch together,
        because each tells the others its losses. Give 1 and 0 where a framework shares out the
        batches itself, as Accelerate and Hugging Face's Trainer do.

    Attributes
    ----------
    epoch : int
        Number of the next epoch, from 0.
    rows : ndarray of shape (n_drawn,) or None
        The rows of the latest epoch, those of this replica, in their order.
    losses : ndarray of shape (n_rows,)
        The latest loss of every row before the latest epoch; nan if there is none.
    times : ndarray of shape (n_rows,)
        The number of losses of every row that were learnt before the latest epoch.
    passes : int
        Rows that went through ``weigh``: what the training has really cost this process.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "seed": [Interval(numbers.Integral, 0, None, closed="left")],
        "num_replicas": [Interval(numbers.Integral, 1, None, closed="left")],
        "rank": [Interval(numbers.Integral, 0, None, closed="left")],
    }
    #: The arrays with a number for every row that the next draw depends on.
    _row_wise: ClassVar[tuple[str, ...]] = ("losses", "times")

    def __init__(
        self,
        dataset: Sized | int,
        *,
        seed: int = 0,
        num_replicas: int | None = None,
        rank: int | None = None,
    ) -> None:
        self.n_rows = int(dataset) if isinstance(dataset, numbers.Integral) else len(dataset)  # type: ignore[arg-type]
        if self.n_rows < 1:
            raise ValueError(
                f"The dataset is empty: it has {self.n_rows} rows, so an epoch has none to draw; "
                "give one with at least one row."
            )
        self.seed = seed
        self.num_replicas = _group()[1] if num_replicas is None else num_replicas
        self.rank = _group()[0] if rank is None else rank
        self._check("seed", "num_replicas", "rank")
        if self.rank >= self.num_replicas:
            raise ValueError(
                f"rank={self.rank}, but ranks of {self.num_replicas} replica(s) are "
                f"0 to {self.num_replicas - 1}."
            )
        self.epoch = 0
        self.passes = 0
        self.rows: Rows | None = None
        self.losses = np.full(self.n_rows, np.nan)
        self.times = np.zeros(self.n_rows, dtype=np.int64)
        self._factors = np.ones(self.n_rows)
        # Losses of batches that the state does not contain yet. They stay on their device, so that
        # no step of the training waits for a transfer.
        self._news: list[tuple[Rows, torch.Tensor]] = []

    def _check(self, *names: str) -> None:
        """Check these parameters against the constraints."""
        given = {name: getattr(self, name) for name in names}
        validate_parameters(self._parameter_constraints, given, caller_name=type(self).__name__)

    @abstractmethod
    def choose(self, rng: np.random.Generator) -> tuple[Rows, Numbers | None]:
        """Choose the rows of the epoch ``self.epoch`` and leave the state as it is.

        Parameters
        ----------
        rng : numpy.random.Generator
            The only source of chance.

        Returns
        -------
        rows : ndarray of shape (n_drawn,)
            In any order.
        factors : ndarray of shape (n_rows,) or None
            What the loss of every row is multiplied by. None is 1 for all.
        """

    def _draw(self) -> tuple[Rows, Numbers | None]:
        """The rows of the next epoch for this replica, in their order, and the factors."""
        rng = np.random.default_rng([self.seed, self.epoch])
        chosen, factors = self.choose(rng)
        drawn = rng.permutation(chosen)
        share = len(drawn) // self.num_replicas
        return self._ordered(drawn[self.rank :: self.num_replicas][:share], rng), factors

    def _ordered(self, rows: Rows, rng: np.random.Generator) -> Rows:
        """The rows of this replica, which come in random order, in the order of the epoch."""
        return rows

    def __iter__(self) -> Iterator[int]:
        """Begin an epoch: its rows, in random order."""
        self._learn_news()
        self.rows, factors = self._draw()
        self._factors = np.ones(self.n_rows) if factors is None else factors
        self.epoch += 1
        return iter(self.rows.tolist())

    def __len__(self) -> int:
        """Rows of the latest epoch for this replica; of the first, before it has begun."""
        return len(self._draw()[0] if self.rows is None else self.rows)

    def set_epoch(self, epoch: int) -> None:
        """Set the number of the next epoch, as torch's ``DistributedSampler`` wants it.

        Without, epochs are counted.
        """
        self.epoch = epoch

    def weights(self, indices: Any) -> torch.Tensor:
        """Weights of rows of the latest epoch.

        Parameters
        ----------
        indices : array-like or tensor of shape (batch_size,)
            Positions in the dataset.

        Returns
        -------
        tensor of shape (batch_size,)
        """
        factors = self._factors[self._positions(indices)]
        return torch.from_numpy(factors).to(torch.get_default_dtype())

    def _positions(self, indices: Any) -> Rows:
        """Indices as an array; a ValueError if one is no position in the dataset."""
        found = as_numpy(indices).reshape(-1)
        whole = found.dtype.kind in "iu"
        wrong = found[(found < 0) | (found >= self.n_rows)] if whole else found
        if len(wrong):
            raise ValueError(
                f"indices hold {wrong.tolist()[0]!r}, and positions in the dataset are whole "
                f"numbers from 0 to {self.n_rows - 1}; give those that `Indexed` yields."
            )
        return found.astype(np.int64)

    def record(self, indices: Any, losses: torch.Tensor) -> None:
        """Remember the losses of rows for the draws that follow.

        Parameters
        ----------
        indices : array-like or tensor of shape (batch_size,)
            Positions in the dataset.
        losses : tensor of shape (batch_size,)
            Those that are NaN or infinite are left out, with a warning when the next epoch begins.

        Raises
        ------
        ValueError
            If an index is no position in the dataset, or there is not one loss for each. Nothing
            is recorded then.
        """
        rows = self._positions(indices)
        if losses.shape != rows.shape:
            raise ValueError(
                f"The losses have shape {tuple(losses.shape)}, and there are {len(rows)} indices; "
                "give one loss a row, as a loss function does with reduction='none'."
            )
        self._news.append((rows, losses.detach()))

    def weigh(self, losses: torch.Tensor, indices: Any) -> torch.Tensor:
        """The weighted mean of the losses of a batch, which are recorded as well.

        Parameters
        ----------
        losses : tensor of shape (batch_size, ...)
            As from a loss function with ``reduction="none"``. If a row has several, their mean
            counts. One that is NaN or infinite makes the mean so, and is not recorded (a warning
            says so when the next epoch begins).
        indices : array-like or tensor of shape (batch_size,)
            Positions of the rows in the dataset. ``Indexed`` puts them into the batches.

        Returns
        -------
        tensor of shape ()
        """
        if losses.ndim > 1:
            losses = losses.flatten(1).mean(1)
        self.record(indices, losses)
        self.passes += len(losses)
        return (self.weights(indices).to(losses) * losses).mean()

    def filled_losses(self) -> Numbers:
        """The losses, with the mean of the known ones for rows that have none (0 before any)."""
        known = np.isfinite(self.losses)
        typical = self.losses[known].mean() if known.any() else 0.0
        return np.where(known, self.losses, typical)

    def _learn_news(self) -> None:
        """Learn what was recorded since the last epoch began, by all processes of a group.

        All have the same state afterwards, and so all draw the same rows and share them.
        """
        news = [(rows, losses.cpu().double().numpy()) for rows, losses in self._news]
        self._news = []
        everybody: list[Any] = [news]
        if _group()[1] > 1:
            everybody = [None] * _group()[1]
            distributed.all_gather_object(everybody, news)
        unknown: set[int] = set()
        for rows, losses in (batch for own in everybody for batch in own):
            # A step that overflows says nothing of its rows.
            if (finite := np.isfinite(losses)).any():
                self._learn(rows[finite], losses[finite])
            unknown.update(rows[~finite].tolist())
        if unknown:
            first = ", ".join(map(str, sorted(unknown)[:_NAMED]))
            warn_user(
                f"The losses were NaN or infinite of {len(unknown)} row(s), "
                f"{first}{', ...' * (len(unknown) > _NAMED)}: they were not learnt, and those rows "
                "keep the losses they had. Look for missing values in these rows; if there are "
                "none, lower the learning rate."
            )

    def _learn(self, rows: Rows, losses: Numbers) -> None:
        """Take the losses of a batch into the state."""
        self.losses[rows] = losses
        self.times[rows] += 1

    def state_dict(self) -> dict[str, Any]:
        """Everything a run needs to go on with the next epoch.

        In a distributed run, save that of rank 0 for all.
        """
        arrays = {name: torch.from_numpy(getattr(self, name).copy()) for name in self._row_wise}
        news = [(torch.from_numpy(rows), losses.cpu()) for rows, losses in self._news]
        counts = {"epoch": self.epoch, "passes": self.passes}
        return {"sampler": type(self).__name__, **counts, "news": news, **arrays}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a state that ``state_dict`` returned.

        Raises
        ------
        ValueError
            If it is the state of another class, or of another number of rows.
        """
        own = type(self).__name__
        if (other := state.get("sampler", "no sampler")) != own:
            raise ValueError(
                f"The state is that of {other}, and this is {own}; load it into a sampler of the "
                "class that saved it."
            )
        if len(state["losses"]) != self.n_rows:
            raise ValueError(
                f"The state is that of {len(state['losses'])} rows, and the dataset has "
                f"{self.n_rows}; load it into a sampler of the same dataset."
            )
        self.epoch, self.passes = state["epoch"], state["passes"]
        for name in self._row_wise:
            setattr(self, name, state[name].cpu().numpy().copy())
        # All processes load the same state, and what is news to all is told once.
        news = state["news"] if _group()[0] == 0 else []
        self._news = [(rows.cpu().numpy(), losses) for rows, losses in news]


def _group() -> tuple[int, int]:
    """Rank and size of the process group; 0 and 1 without one."""
    if distributed.is_available() and distributed.is_initialized():
        return distributed.get_rank(), distributed.get_world_size()
    return 0, 1
