"""DUAL: rows that are difficult and uncertain early in training, with beta sampling."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from scipy.stats import beta

from skprune.baselines.base import ranked
from skprune.baselines.training import WindowStrategy
from skprune.data.strata import Rows
from skprune.utils.sklearn_private import Interval

if TYPE_CHECKING:
    from skprune.baselines.dynamics import TrainingDynamics
    from skprune.baselines.evidence import Evidence

#: Number of highest scores whose mean probability sets the beta density.
TOP = 10
#: Sum of the parameters of the beta density, and the factor of the second one.
TOTAL, LARGEST = 16, 15


class DUAL(WindowStrategy):
    """Keep rows that are uncertain and difficult early in training (Cho et al., 2025).

    The score is the mean over windows of the standard deviation of the probability of the row's
    class times one minus its mean. With ``sampling``, rows are drawn without replacement with odds
    equal to the score times a beta density of the row's mean probability; its mode moves to easier
    rows as fewer rows are kept. Without it, the rows of highest score are kept.

    Parameters
    ----------
    keep, window, dynamics, model, min_per_class, random_state
        As in ``WindowStrategy``. The published scores use the first 30 of 200 epochs.
    sampling : bool, default=True
    c : float, default=4.0
        Larger values move the mode later. The default is that of the paper for CIFAR-100.
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

    def score_run(self, run: TrainingDynamics) -> NDArray[Any]:
        windows = self.windows(run.probability)
        return (windows.std(-1) * (1 - windows.mean(-1))).mean(0)

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        if not self.sampling:
            return super().choose(evidence, size, rng)
        self.scores_ = self.mean_score(evidence)
        runs = (run for member in evidence.members for run in self.runs(member))
        means = [run.probability.mean(0, dtype=np.float64) for run in runs]
        mean = np.asarray(np.mean(means, axis=0))
        odds = self.scores_ * self.density(mean, 1 - size / len(evidence))
        # Exponential keys: the smallest are a draw without replacement with these odds.
        with np.errstate(divide="ignore"):
            return ranked(rng.exponential(size=len(odds)) / odds, rng)

    def density(self, mean: NDArray[np.float64], pruned: float) -> NDArray[np.float64]:
        """The beta density at mean probabilities (n,) if a share ``pruned`` is dropped."""
        top = np.argsort(-self.scores_, kind="stable")[:TOP]
        b = LARGEST * (1 - mean[top].mean()) * (1 - pruned**self.c)
        inside = np.clip(mean, 1e-3, 1 - 1e-3)  # at the ends it may be infinite
        return beta.pdf(inside, TOTAL - b, max(b, 1e-3))
