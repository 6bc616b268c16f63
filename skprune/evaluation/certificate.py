"""Certificates: what is sure of a mean difference, from rows that took part in nothing.

Two trained models are compared on rows that neither was fitted, chosen or tuned on: d_i is the loss
of the one of fewer rows on row i minus that of the other. What is certified is that E d <= budget.
No distribution is assumed, only that the rows are independent draws and that no d_i is larger than
a number that was known before them, as of losses that are cut off there.

By betting [1]_: whoever believes that E d > budget offers even odds or worse on budget - d_i. A
gambler who starts with 1 and stakes on one row after the other a part of what he has, fixed before
the row is seen, becomes 1 / delta times as rich with a chance of at most delta (Ville's
inequality). If he does, the budget is certified with confidence 1 - delta. He can lose no more than
he stakes because d_i is bounded from above; how much a row may gain needs no bound.

References
----------
.. [1] Waudby-Smith and Ramdas, "Estimating Means of Bounded Random Variables by Betting", JRSS B
   86(1), 2024. arXiv:2010.09686.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

Floats = NDArray[np.float64]
#: Largest part of the fortune that may be staked. With 1 a single row could ruin the gambler; the
#: power for 0/1 losses is nearly flat from 0.5 to 0.9.
STAKE = 0.75
#: Spread that is taken for granted before the first row, as a share of the largest difference.
PRIOR = 0.5
#: Resamples of a bootstrap interval.
RESAMPLES = 200
#: Halvings of the interval in which the upper bound is sought.
HALVINGS = 40


def certifies(
    differences: Floats,
    budget: Any,
    *,
    largest: float = 1.0,
    confidence: float = 0.95,
    weights: Floats | None = None,
) -> NDArray[np.bool_]:
    """Whether the mean difference is at most the budget, with that confidence.

    Parameters
    ----------
    differences : ndarray of shape (..., n)
        Independent draws, in an order that does not depend on them.
    budget : float or array broadcast against the leading axes
    largest : float, default=1.0
        No difference is larger, in the population.
    confidence : float, default=0.95
    weights : ndarray of shape (n,), optional
        In (0, 1]; the mean is then the weighted one.

    Returns
    -------
    ndarray of bool, of the leading axes
    """
    d = np.asarray(differences, dtype=np.float64)
    n = d.shape[-1]
    w = np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64)
    target = math.log(1 / (1 - confidence))
    # The spread of the rows before this one: it may be looked at before the stake is made.
    seen = np.cumsum(np.broadcast_to(w, d.shape), axis=-1)
    means = np.cumsum(w * d, axis=-1) / (seen + 1)
    squares = np.cumsum((w * (d - means)) ** 2, axis=-1)[..., :-1]
    squares = np.concatenate([np.zeros((*d.shape[:-1], 1)), squares], axis=-1)
    variance = ((PRIOR * largest) ** 2 + squares) / np.arange(1, n + 1)
    room = largest - np.asarray(budget, dtype=np.float64)[..., None]
    stakes = np.minimum(np.sqrt(2 * target / (n * variance)), STAKE / np.maximum(room, 1e-300))
    wealth = np.cumsum(np.log1p(stakes * w * (largest - room - d)), axis=-1)
    return np.asarray(wealth.max(axis=-1) >= target)


def upper_bound(
    differences: Floats,
    *,
    largest: float = 1.0,
    confidence: float = 0.95,
    weights: Floats | None = None,
) -> float:
    """The smallest budget that is certified; ``largest`` where none is, infinite for a NaN.

    What the gambler has grows with the budget: a bound is found by bisection. Parameters are those
    of ``certifies``.
    """
    if np.isnan(differences).any():
        return math.inf
    low, high = min(-largest, float(np.min(differences))), largest
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        sure = certifies(
            differences, middle, largest=largest, confidence=confidence, weights=weights
        )
        low, high = (low, middle) if sure else (middle, high)
    return high


def discordant_bound(worse: int, better: int, n: int, confidence: float = 0.95) -> float:
    """Upper bound of a mean difference of 0/1 losses, by counts of the rows that disagree.

    An upper Clopper-Pearson bound of the chance that only the model of fewer rows is wrong minus a
    lower one of the chance that only the other is, each with half the allowed error.

    Parameters
    ----------
    worse, better : int
        Rows on which only the model of fewer rows is wrong, or right.
    n : int
        All rows.
    confidence : float, default=0.95
    """
    half = (1 - confidence) / 2
    upper = 1.0 if worse == n else float(stats.beta.ppf(1 - half, worse + 1, n - worse))
    lower = 0.0 if better == 0 else float(stats.beta.ppf(half, better, n - better + 1))
    return upper - lower


def rows_needed(
    differences: Floats, budget: float, *, largest: float = 1.0, confidence: float = 0.95
) -> float:
    """About how many rows like these certify the budget with even odds; infinite if none would.

    The gambler's fortune grows by the mean of log(1 + stake (budget - d)) a row; here at the stake
    that is best for these rows.

    Parameters
    ----------
    differences : ndarray of shape (n,)
    budget, largest, confidence
        As in ``certifies``.
    """
    stakes = np.geomspace(1e-3, 1.0, 100)[:, None] * STAKE / (largest - budget)
    growth = float(np.log1p(stakes * (budget - differences)).mean(axis=1).max())
    return math.log(1 / (1 - confidence)) / growth if growth > 0 else math.inf


def fewest_rows(budget: float, *, largest: float = 1.0, confidence: float = 0.95) -> float:
    """Rows without which the budget is never certified, even if no prediction differs."""
    return rows_needed(np.zeros(1), budget, largest=largest, confidence=confidence)


def by_unit(
    differences: Floats, weights: Floats, units: NDArray[np.int64]
) -> tuple[Floats, Floats]:
    """Differences and weights in which copies of a row count as one.

    Parameters
    ----------
    differences, weights : ndarray of shape (n,)
    units : ndarray of shape (n,), int64
        0, 1, 2 ..., equal for copies.
    """
    totals = np.bincount(units, weights)
    means = np.bincount(units, weights * differences) / totals
    return means, totals / np.bincount(units)


def fixed_sequence(tests: Iterable[bool]) -> int:
    """How many hypotheses are rejected, in an order that was fixed before the rows were seen.

    Each is tested with the full error, and the first one that is not rejected ends it. So the
    chance of a false rejection is that of the first true hypothesis alone, however many there are.
    """
    rejected = 0
    for sure in tests:
        if not sure:
            break
        rejected += 1
    return rejected


def bootstrap(
    score: Callable[[NDArray[np.int64]], float], units: NDArray[np.int64], seed: int = 0
) -> Floats:
    """Draws of a score, or a difference of two, whose quantiles are an interval: no certificate.

    Parameters
    ----------
    score : callable
        Of some rows, by position; a ``ValueError`` says that they do not allow one.
    units : ndarray of shape (n,), int64
        Equal for copies, which are drawn together.
    seed : int, default=0
    """
    order = np.argsort(units, kind="stable")
    members = np.split(order, np.flatnonzero(np.diff(units[order])) + 1)
    rng = np.random.default_rng(seed)
    values = []
    for _ in range(RESAMPLES):
        drawn = rng.integers(len(members), size=len(members))
        try:
            values.append(score(np.concatenate([members[i] for i in drawn])))
        except ValueError:  # such as a class that was not drawn
            continue
    found = np.array(values)
    return found[np.isfinite(found)]
