"""The smallest size that a dear judge allows, with few trainings."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from sklearn.isotonic import isotonic_regression

from skprune.search.trial import Trial

Floats = NDArray[np.float64]
#: Ratio of neighbouring sizes at which the search ends.
RESOLUTION = 1.1
#: Sizes that are tried at most.
SIZES = 12
#: Sizes at which the gap is guessed between the largest refused and the smallest allowed one.
CANDIDATES = 400
#: Part of the bracket, on a log scale, that a trial may leave; after two that left more of it, the
#: bracket is bisected.
SLOW = 0.6


class Guess:
    """A curve of gaps over sizes, by which the measured ones are interpolated.

    Only its shape matters: measured gaps are taken for a function of the guessed one.

    Parameters
    ----------
    n : int
        All rows, where the gap is 0.
    sizes, gaps : array-like
        What a cheaper model says; empty for (n - size) / size, the shape of the excess loss of a
        model with a fixed number of parameters.
    """

    def __init__(self, n: int, sizes: Sequence[int] = (), gaps: Sequence[float] = ()) -> None:
        self.n = n
        order = np.argsort(sizes)
        found = np.asarray(sizes, dtype=np.float64)[order]
        values = np.asarray(gaps, dtype=np.float64)[order]
        usable = np.isfinite(values) & (found < n)
        found, values = found[usable], values[usable]
        if len(values):
            values = isotonic_regression(values, increasing=False)
        #: Sizes and gaps where the curve is above zero.
        self._sizes, self._gaps = found[values > 0], values[values > 0]

    def __call__(self, size: Floats) -> Floats:
        """Guessed gaps, decreasing in the size, 0 for all rows."""
        shape = (self.n - size) / size
        if not len(self._sizes):
            return shape
        at, gaps = np.log(self._sizes), np.log(self._gaps)
        between = np.exp(np.interp(np.log(size), at, gaps))
        # Beyond the known sizes the ratio to the shape stays what it is at the last of them.
        first, last = (self._gaps * self._sizes / (self.n - self._sizes))[[0, -1]]
        below = np.where(size < self._sizes[0], first * shape, between)
        return np.where(size > self._sizes[-1], last * shape, below)

    @property
    def is_measured(self) -> bool:
        """Whether its height means something, not only its shape."""
        return len(self._sizes) > 0


def smallest_judged(
    attempt: Callable[[int], Trial],
    affords: Callable[[int], bool],
    *,
    largest: int,
    smallest: int,
    max_gap: float,
    guess: tuple[Sequence[int], Sequence[float]] | None = None,
    resolution: float = RESOLUTION,
) -> tuple[Trial | None, list[Trial]]:
    """The smallest size whose gap by a dear judge, with one standard error, is allowed.

    The answer lies between the largest size that was refused and the smallest that was allowed.
    Where in between the next one is tried is read off the gaps measured so far, as a function of
    the guessed ones that is monotone between any two; where that keeps failing, the bracket is
    bisected on a log scale. Small sizes are cheap, and come first where nothing is known.

    Parameters
    ----------
    attempt : callable
        ``attempt(size)`` is the trial of that many rows.
    affords : callable
        ``affords(rows)`` says whether the judge may be trained on so many more rows.
    largest, smallest : int
        All rows, and the fewest that could be kept.
    max_gap : float
    guess : (sizes, gaps), optional
        What a cheaper model says of the curve.
    resolution : float, default=1.1
        Ratio of the smallest allowed to the largest refused size at which the search ends.

    Returns
    -------
    best : Trial or None
        None if no size below ``largest`` was allowed: all rows are kept, which is a result.
    trials : list of Trial
        In the order they were made.
    """
    curve = Guess(largest, *(guess or ((), ())))
    trials: list[Trial] = []
    best: Trial | None = None
    lower, upper = smallest - 1, largest  # refused, allowed
    slow = 0  # trials in a row that left most of the bracket
    while upper - lower > 1 and (lower < smallest or upper / lower > resolution):
        size = _next_size(curve, trials, lower, upper, smallest, max_gap, resolution, slow > 1)
        # What is handed out in the end is measured as well.
        if len(trials) == SIZES or not affords(size + (size if best is None else upper)):
            break
        trials.append(attempt(size))
        width = math.log(upper / max(lower, smallest))
        if trials[-1].gap.within(max_gap):
            best, upper = trials[-1], size
        else:
            lower = size
        rest = math.log(upper / max(lower, smallest)) if upper > smallest else 0.0
        slow = slow + 1 if rest > SLOW * width else 0
    return best, trials


def _next_size(
    curve: Guess,
    trials: list[Trial],
    lower: int,
    upper: int,
    smallest: int,
    max_gap: float,
    resolution: float,
    bisect: bool,
) -> int:
    """A size strictly between the refused and the allowed one."""
    low, high = lower + 1, upper - 1
    middle = round(math.sqrt(max(lower, smallest) * upper))
    if lower < smallest and len(trials) > 1 and max(t.gap for t in trials) <= 0:
        return smallest  # nothing costs anything so far
    if not bisect:
        sizes = np.unique(np.geomspace(low, high, CANDIDATES).round().astype(np.int64))
        expected = _expected(curve, trials, sizes.astype(np.float64))
        if expected is not None:
            allowed = sizes[expected <= max_gap]
            crossing = int(allowed.min()) if len(allowed) else high
            # Aim beside the crossing, on the side that is farther away: if the curve is right,
            # the bracket closes around it.
            step = resolution**0.45
            above = math.log(upper / crossing) >= math.log(crossing / max(lower, smallest))
            middle = round(crossing * step if above else crossing / step)
            if lower < smallest and not above and crossing <= smallest * step:
                middle = smallest
    return min(max(middle, low), high)


def _expected(curve: Guess, trials: list[Trial], sizes: Floats) -> NDArray[np.float64] | None:
    """Gap plus standard error expected at some sizes; None where nothing is known of its height."""
    guessed = curve(sizes)
    known = [t for t in trials if math.isfinite(t.gap) and math.isfinite(t.gap.standard_error)]
    if not known:
        return guessed if curve.is_measured else None
    x = curve(np.array([float(t.size) for t in known]))
    y = np.array([float(t.gap) + t.gap.standard_error for t in known])
    order = np.argsort(x)
    x, y = np.append(0.0, x[order]), np.append(0.0, np.maximum(y[order], 0.0))
    keep = np.append(True, np.diff(x) > 0)
    x, y = x[keep], y[keep]
    if y[-1] == 0:  # no gap anywhere yet
        return None
    inside = PchipInterpolator(x, y)(np.minimum(guessed, x[-1]))
    return np.where(guessed > x[-1], y[-1] / x[-1] * guessed, inside)
