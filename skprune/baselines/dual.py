"""DUAL: rows that are hard and uncertain early in training, drawn so that few are not too hard."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta
from sklearn.utils._param_validation import Interval

from skprune.baselines.base import ranked
from skprune.baselines.training import WindowStrategy
from skprune.data.strata import Rows

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence

#: Rows of highest score whose mean probability tells where the drawing begins.
TOP = 10
#: What the parameters of the beta distribution add up to, and the largest of the second.
TOTAL, LARGEST = 16, 15


class DUAL(WindowStrategy):
    """Keep rows that are both uncertain and hard early in training (Cho et al., 2025).

    The score is the mean over windows of epochs of the standard deviation of the probability of the
    row's class, times one minus its mean. With ``sampling`` rows are drawn with odds that are the
    score times the density, at the row's mean probability, of a beta distribution that moves to
    easier rows as fewer are kept; without, the highest scores are kept.

    Parameters
    ----------
    keep, window, dynamics, model, min_per_class, random_state
        As in ``WindowStrategy``. Published scores are those of the first 30 of 200 epochs.
    sampling : bool, default=True
    c : float, default=4.0
        How late the drawing moves to easier rows, as the paper has it for CIFAR-100.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **WindowStrategy._parameter_constraints,
        "sampling": ["boolean"],
        "c": [Interval(numbers.Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        sampling: bool = True,
        c: float = 4.0,
        window: int = 10,
        dynamics: Any = None,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            keep,
            window=window,
            dynamics=dynamics,
            model=model,
            min_per_class=min_per_class,
            random_state=random_state,
        )
        self.sampling = sampling
        self.c = c

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        windows = self.windows(self.recorded(evidence).probability)
        return (windows.std(-1) * (1 - windows.mean(-1))).mean(0)

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        if not self.sampling:
            return super().choose(evidence, size, rng)
        self.scores_ = self.score_rows(evidence)
        mean = self.recorded(evidence).probability.mean(0, dtype=np.float64)
        odds = self.scores_ * self.density(mean, 1 - size / len(evidence))
        # The smallest of exponential times with these rates come first: a draw without replacement.
        with np.errstate(divide="ignore"):
            return ranked(rng.exponential(size=len(odds)) / odds, rng)

    def density(self, mean: NDArray[np.float64], pruned: float) -> NDArray[np.float64]:
        """The beta density at mean probabilities (n,), where a share of the rows is pruned."""
        top = np.argsort(-self.scores_, kind="stable")[:TOP]
        b = LARGEST * (1 - mean[top].mean()) * (1 - pruned**self.c)
        inside = np.clip(mean, 1e-3, 1 - 1e-3)  # at the ends it may be infinite
        return beta.pdf(inside, TOTAL - b, max(b, 1e-3))
