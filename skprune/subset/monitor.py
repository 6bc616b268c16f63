"""How long a solver may run, and who watches it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

import numpy as np

#: ``callback(iteration, norm, seconds)``; a true answer ends the search.
Callback = Callable[[int, float, float], object]


class Monitor:
    """A clock that solvers ask, once an iteration, whether to stop.

    Parameters
    ----------
    time_limit : float, optional
        Seconds from now.
    callback : callable, optional
        ``callback(iteration, norm, seconds)``.

    Raises
    ------
    ValueError
        If the time limit is not a finite number of seconds.
    """

    def __init__(self, time_limit: float | None = None, callback: Callback | None = None) -> None:
        limit: object = time_limit
        if limit is not None and (
            not isinstance(limit, (int, float, np.number)) or not 0 <= limit < math.inf
        ):
            raise ValueError(
                "time_limit must be a finite number of seconds of at least 0, or None; got "
                f"{time_limit!r}."
            )
        self.time_limit, self._callback = time_limit, callback
        self._begin = time.perf_counter()
        self.iterations = 0
        self.reason = ""

    @property
    def seconds(self) -> float:
        """Time since the start."""
        return time.perf_counter() - self._begin

    @property
    def remaining(self) -> float:
        """Seconds left; infinite without a limit."""
        return float("inf") if self.time_limit is None else self.time_limit - self.seconds

    @property
    def share(self) -> float:
        """Share of the time limit that is used up; 0 without one."""
        return 0.0 if self.time_limit is None else self.seconds / max(self.time_limit, 1e-9)

    def over(self, share: float) -> bool:
        """Whether the callback has ended the search or that share of the time is used up."""
        return self.reason == "callback" or self.share > share

    def stop(self, norm: float) -> bool:
        """Count an iteration; whether the search has to end (``reason`` says why)."""
        if self.reason:
            return True
        self.iterations += 1
        if self.remaining <= 0:
            self.reason = "time limit"
        elif self._callback is not None and self._callback(self.iterations, norm, self.seconds):
            self.reason = "callback"
        return bool(self.reason)
