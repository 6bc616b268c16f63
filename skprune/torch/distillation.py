"""A loss of labels and of a teacher's predictions, row by row."""

from __future__ import annotations

from typing import Any

import torch
from torch.nn import functional


def distilled(
    logits: torch.Tensor,
    targets: torch.Tensor,
    teacher_logits: Any,
    share: float = 0.5,
    temperature: float = 4.0,
) -> torch.Tensor:
    """Losses of rows that learn from their labels and from a teacher (Hinton et al., 2015).

    With probabilities p_T = softmax(logits / T) of the network and q_T of the teacher, the loss of
    a row is

        (1 - share) (-log p_1[target]) + share T^2 KL(q_T, p_T),

    whose second part has the gradient of the cross-entropy with q_T, but is 0 where the network
    says what its teacher says. So a sampler that takes losses for difficulties sees what is left
    to learn. The factor T^2 keeps the size of the gradient.

    Parameters
    ----------
    logits : Tensor of shape (batch_size, n_classes), or (batch_size, 1) of two classes
        Outputs of the network before any softmax.
    targets : Tensor of shape (batch_size,), int64
        Class numbers.
    teacher_logits : Tensor or array of the shape of ``logits``
        Those of the teacher, such as ``pruner.teacher_logits_[indices]``.
    share : float in [0, 1], default=0.5
        Share of the teacher. 0 is the cross-entropy with the labels.
    temperature : float, default=4.0
        T. Higher ones say more of the classes that are unlikely.

    Returns
    -------
    Tensor of shape (batch_size,)
        As from a loss function with ``reduction="none"``: for ``weigh`` of a sampler, or to be
        averaged.

    Raises
    ------
    ValueError
        If share or temperature is out of range, or the two have not the same classes.

    Examples
    --------
    >>> import torch
    >>> from skprune.torch import distilled
    >>> logits, targets = torch.tensor([[0.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])
    >>> distilled(logits, targets, [[0.0, 0.0], [0.0, 2.0]], share=1.0, temperature=1.0)
    tensor([0.0000, 0.3278])
    """
    if not (0 <= share <= 1 and temperature > 0):
        raise ValueError(
            f"share is from 0 to 1, and temperature above 0; got share={share!r} and "
            f"temperature={temperature!r}."
        )
    teacher = torch.as_tensor(teacher_logits).detach().to(logits)
    if teacher.shape != logits.shape or logits.ndim != 2:
        raise ValueError(
            f"The logits have shape {tuple(logits.shape)}, and those of the teacher "
            f"{tuple(teacher.shape)}; give both for the same rows and classes."
        )
    if logits.shape[1] == 1:  # two classes, of which the first has the logit 0
        logits, teacher = (functional.pad(z, (1, 0)) for z in (logits, teacher))
        targets = targets.reshape(-1).long()
    p, q = ((z / temperature).log_softmax(1) for z in (logits, teacher))
    taught = functional.kl_div(p, q, reduction="none", log_target=True).sum(1)
    labelled = functional.cross_entropy(logits, targets, reduction="none")
    return (1 - share) * labelled + share * temperature**2 * taught
