"""The warnings and errors that are this package's own."""

from __future__ import annotations


class PruningWarning(UserWarning):
    """The request could be met only in part: the message and ``report_.status`` say how."""


class PrunedPairError(TypeError):
    """A pruned (X, y) pair was used as a feature matrix, as a middle step of a Pipeline does."""
