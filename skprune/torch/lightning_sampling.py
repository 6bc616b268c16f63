"""Samplers in the training of Lightning modules."""

from __future__ import annotations

from contextlib import suppress
from importlib import import_module
from typing import Any

from torch import nn

from skprune.torch.base import EpochSampler
from skprune.torch.criterion import WeighedCriterion

Callback: Any = object
for package in ("pytorch_lightning", "lightning.pytorch"):  # the latter if both are installed
    with suppress(ImportError):
        Callback = import_module(f"{package}.callbacks").Callback


class LightningSampling(Callback):
    """Puts the weights of a sampler into the loss of a Lightning module, and it into checkpoints.

    The training loader has to be made with ``sampler=sampler``, and ``training_step`` has to
    compute its loss by the module's loss module. A ``training_step`` that calls ``sampler.weigh``
    itself needs the callback for its checkpoints only.

    Parameters
    ----------
    sampler : EpochSampler
        For several processes, with ``num_replicas`` and ``rank``, and
        ``Trainer(use_distributed_sampler=False)``.
    criterion : str or None, default="criterion"
        Attribute of the Lightning module that is its loss module. None leaves the loss alone.

    Examples
    --------
    .. code-block:: python

        sampler = BalancedSampler(dataset, keep=0.3)
        loader = DataLoader(dataset, batch_size=128, sampler=sampler)
        Trainer(callbacks=[LightningSampling(sampler)]).fit(module, loader)
    """

    def __init__(self, sampler: EpochSampler, criterion: str | None = "criterion") -> None:
        if Callback is object:
            raise ImportError(
                "LightningSampling is a callback of Lightning, which is not installed: "
                "pip install lightning. In a loop of your own, give the sampler to the DataLoader."
            )
        self.sampler = sampler
        self.criterion = criterion
        self._weighed: WeighedCriterion | None = None

    def on_train_start(self, trainer: Any, pl_module: Any) -> None:
        """Hook the loss module."""
        if self.criterion is None:
            return
        module = getattr(pl_module, self.criterion, None)
        if not isinstance(module, nn.Module):
            raise ValueError(
                f"{type(pl_module).__name__}.{self.criterion} is {module!r}, and not a loss "
                "module; give its name as criterion=, or None and call sampler.weigh in "
                "training_step."
            )
        self._weighed = WeighedCriterion(module)

    def on_train_epoch_start(self, trainer: Any, pl_module: Any) -> None:
        """Begin with the sampler's first row."""
        if self._weighed is not None:
            self._weighed.begin_epoch()

    def on_train_batch_start(
        self, trainer: Any, pl_module: Any, batch: Any, batch_idx: int
    ) -> None:
        """Weigh the losses of the batch."""
        if self._weighed is not None:
            self._weighed.begin_batch(self.sampler, batch)

    def on_train_batch_end(
        self, trainer: Any, pl_module: Any, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        """Leave the loss module as it was."""
        if self._weighed is not None:
            self._weighed.end_batch()

    def on_train_end(self, trainer: Any, pl_module: Any) -> None:
        """Take the hook off."""
        if self._weighed is not None:
            self._weighed.release()
            self._weighed = None

    def on_exception(self, trainer: Any, pl_module: Any, exception: BaseException) -> None:
        """Take the hook off."""
        self.on_train_end(trainer, pl_module)

    def state_dict(self) -> dict[str, Any]:
        """The sampler's state, for the checkpoint."""
        return self.sampler.state_dict()

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from the sampler's state in a checkpoint."""
        self.sampler.load_state_dict(state_dict)
