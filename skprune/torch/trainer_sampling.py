"""Samplers in the training of Hugging Face's Trainer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from skprune.torch.balanced import BalancedSampler
from skprune.torch.base import EpochSampler
from skprune.torch.indexed import Indexed


class TrainerSampling:
    """Mixin that trains Hugging Face's ``Trainer`` on other rows every epoch.

    It stands before ``Trainer`` among the base classes. The items of the training set have to be
    mappings, as those of ``datasets`` are. Evaluation stays as it is. Checkpoints do not contain
    the sampler: save ``trainer.sampler.state_dict()`` beside them.

    Parameters
    ----------
    *args, **kwargs
        As for ``Trainer``.
    sampler : callable, default=BalancedSampler
        Makes the sampler from the training set; it takes ``num_replicas`` and ``rank``.

    Attributes
    ----------
    sampler : EpochSampler

    Examples
    --------
    .. code-block:: python

        class SampledTrainer(TrainerSampling, Trainer):
            pass

        make = partial(BalancedSampler, keep=0.3)
        SampledTrainer(model, train_dataset=dataset, sampler=make).train()
    """

    train_dataset: Any

    def __init__(
        self, *args: Any, sampler: Callable[..., EpochSampler] = BalancedSampler, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        # Accelerate shares out the batches among the processes, so every one draws all rows.
        self.sampler = sampler(self.train_dataset, num_replicas=1, rank=0)
        self.train_dataset = Indexed(self.train_dataset)
        # What `compute_loss` returns is the mean of a batch, to be divided where several are
        # accumulated.
        self.model_accepts_loss_kwargs = False

    def row_losses(self, outputs: Any, inputs: dict[str, Any]) -> torch.Tensor:
        """The loss of every row; override it for anything but classification.

        Parameters
        ----------
        outputs : what the model returns
        inputs : dict
            The batch.

        Returns
        -------
        tensor of shape (batch_size,)
        """
        logits = outputs["logits"] if isinstance(outputs, dict) else outputs[1]
        return nn.functional.cross_entropy(logits, inputs["labels"], reduction="none")

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **kwargs: Any
    ) -> Any:
        """The weighted mean of the row losses of a training batch."""
        if "index" not in inputs:
            return super().compute_loss(model, inputs, return_outputs, **kwargs)  # type: ignore[misc]
        index = inputs.pop("index")
        outputs = model(**inputs)
        loss = self.sampler.weigh(self.row_losses(outputs, inputs), index)
        return (loss, outputs) if return_outputs else loss

    def _get_train_sampler(self, train_dataset: Any = None) -> EpochSampler:
        return self.sampler

    _signature_columns: list[str] | None

    def _set_signature_columns_if_needed(self) -> None:
        """Let the index pass where unused columns are removed."""
        super()._set_signature_columns_if_needed()  # type: ignore[misc]
        columns = self._signature_columns or []
        self._signature_columns = [*columns, *{"index"}.difference(columns)]
