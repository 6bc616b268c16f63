"""The last epochs of a training, in which some samplers do without their rule."""

from __future__ import annotations


def is_among_last(epoch: int, epochs: int, share: float) -> bool:
    """Whether an epoch, from 0, is among the last ones.

    Those are the epochs from ``(1 - share) * epochs`` on. Where that leaves none, because the
    training is short, it is the very last one, unless the share is 0.
    """
    # Rounding must not cost an epoch.
    return epoch >= epochs - max(round(share * epochs, 9), 1 if share else 0)
