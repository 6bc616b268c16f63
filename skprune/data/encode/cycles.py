"""Encode points in time by their place in the day, the week and the year."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_DAY = 86_400.0
#: Seconds of the cycles, by what their phase tells.
CYCLES = {"hour": _DAY, "weekday": 7 * _DAY, "season": 365.2425 * _DAY}
#: The least variance of a phase that the columns before it do not explain; a whole cycle has 0.5. A
#: phase that follows the trend or hardly changes adds a direction in which rows hardly differ, and
#: to balance the rows in it, a subset would have to take labels in the wrong proportions.
_LEAST_NEWS = 0.1
#: Fewer points than this show no cycle.
_FEWEST = 20


@dataclass(frozen=True)
class Phase:
    """The sine or cosine of a cycle as a column.

    Attributes
    ----------
    name : str
        One of ``CYCLES``.
    wave : callable
        numpy's sine or cosine.
    mean : float
        Mean over the fitted points.
    """

    name: str
    wave: Callable[[NDArray[np.float64]], NDArray[np.float64]]
    mean: float = 0.0

    def of(self, seconds: NDArray[np.float64]) -> NDArray[np.float64]:
        """The centred wave at points in time, since 1970; 0 where they are not finite."""
        period, known = CYCLES[self.name], np.isfinite(seconds)
        turn = np.where(known, seconds, 0.0) % period / period
        return np.where(known, self.wave(2 * np.pi * turn) - self.mean, 0.0)


def find_phases(seconds: NDArray[np.float64]) -> tuple[Phase, ...]:
    """The sines and cosines of the cycles that the trend does not explain.

    Parameters
    ----------
    seconds : ndarray of shape (n,)
        Since 1970; not finite where unknown.
    """
    times = seconds[np.isfinite(seconds)]
    found: list[Phase] = []
    if len(np.unique(times)) >= _FEWEST:
        basis = [_direction(times - times.mean())]
        for name in CYCLES:
            for wave in (np.sin, np.cos):
                phase = Phase(name, wave, float(Phase(name, wave).of(times).mean()))
                column = phase.of(times)
                news = column - sum(b * (b @ column) for b in basis)
                if np.mean(news**2) > _LEAST_NEWS:
                    basis.append(_direction(news))
                    found.append(phase)
    return tuple(found)


def _direction(column: NDArray[np.float64]) -> NDArray[np.float64]:
    return column / np.linalg.norm(column)
