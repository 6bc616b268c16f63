"""The warnings and errors that are this package's own."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

#: Packages whose lines are not the user's own.
CALLERS = ("skprune", "sklearn", "imblearn", "joblib")


class PruningWarning(UserWarning):
    """A request was met in part, or a result may be wrong; the message says which."""


class PrunedPairError(TypeError):
    """A pruned (X, y) pair was used as a feature matrix, as a middle step of a Pipeline does."""


def warn_user(message: str) -> None:
    """Issue a ``PruningWarning`` at the user's own line, however many calls are in between."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back and frame.f_globals.get("__name__", "").split(".")[0] in CALLERS:
        level, frame = level + 1, frame.f_back
    warnings.warn(message, PruningWarning, stacklevel=level)


@contextmanager
def advised(symptom: str, advice: str) -> Iterator[None]:
    """Replace all but the first line of a ValueError that contains ``symptom`` by ``advice``."""
    try:
        yield
    except ValueError as error:
        if symptom not in str(error):
            raise
        found = str(error).partition("\n")[0].rstrip(".")
        raise ValueError(f"{found}. {advice}") from error
