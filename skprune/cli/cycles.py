"""Points in time as columns: the trend, and the place in the day, the week and the year."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

_DAY = 86_400.0
#: Seconds of the cycles, by what their phase tells.
CYCLES = {"hour": _DAY, "weekday": 7 * _DAY, "season": 365.2425 * _DAY}
#: The least variance of a phase that the columns before it do not explain; 0.5 is that of a whole
#: cycle. A phase that runs along with the trend, or hardly changes, adds a direction of which the
#: rows say next to nothing, and in it a balanced subset buys balance with labels of the wrong mix.
_LEAST_NEWS = 0.1
#: Fewer points than this show no cycle.
_FEWEST = 20


def phases(seconds: NDArray[np.float64]) -> tuple[NDArray[np.float64], list[str]]:
    """The phases of the cycles that say something beside the trend, as sines and cosines.

    Parameters
    ----------
    seconds : ndarray of shape (n,)
        Since 1970; not finite where unknown.

    Returns
    -------
    columns : ndarray of shape (n, n_columns)
        Centred; 0 where unknown.
    names : list of str
        The cycles they are of.
    """
    known = np.isfinite(seconds)
    times = seconds[known]
    columns: list[NDArray[np.float64]] = []
    names: list[str] = []
    if len(np.unique(times)) >= _FEWEST:
        basis = [_direction(times - times.mean())]
        for name, period in CYCLES.items():
            for wave in (np.sin, np.cos):
                phase = wave(2 * np.pi * (times % period) / period)
                phase -= phase.mean()
                news = phase - sum(b * (b @ phase) for b in basis)
                if np.mean(news**2) > _LEAST_NEWS:
                    basis.append(_direction(news))
                    columns.append(np.zeros(len(seconds)))
                    columns[-1][known] = phase
                    names.append(name)
    return np.reshape(columns, (len(columns), len(seconds))).T, list(dict.fromkeys(names))


def _direction(column: NDArray[np.float64]) -> NDArray[np.float64]:
    return column / np.linalg.norm(column)
