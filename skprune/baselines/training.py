"""Strategies that use training dynamics: forgetting events, margins, uncertainty."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray

from skprune.baselines.base import ScoreStrategy
from skprune.utils.sklearn_private import Interval

if TYPE_CHECKING:
    from skprune.baselines.dynamics import TrainingDynamics
    from skprune.baselines.evidence import Evidence, Recorded


class DynamicsStrategy(ScoreStrategy):
    """Base class of strategies that use training dynamics.

    A subclass writes ``score_run(run)``.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    dynamics : TrainingDynamics or list of them, default=None
        Dynamics of your own training. Scores of several trainings, with other seeds, are means
        over them. None trains a small perceptron on the features for a few epochs.
    """

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        dynamics: Any = None,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.dynamics = dynamics

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ScoreStrategy._parameter_constraints,
        "dynamics": "no_validation",
    }

    def runs(self, evidence: Evidence) -> list[TrainingDynamics]:
        """The dynamics of the rows, of every training."""
        return runs(evidence.dynamics if self.dynamics is None else self.dynamics, evidence)

    def score_run(self, run: TrainingDynamics) -> NDArray[Any]:
        """The score of every row by one training, shape (n,)."""
        raise NotImplementedError(f"{type(self).__name__} writes no score_run.")

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        return np.asarray(np.mean([self.score_run(run) for run in self.runs(evidence)], axis=0))


def runs(dynamics: Recorded, evidence: Evidence) -> list[TrainingDynamics]:
    """The dynamics of one training or of several, after a check that they belong to the rows.

    Raises
    ------
    ValueError
        If they have another number of rows, or there are none.
    """
    from skprune.baselines.dynamics import TrainingDynamics  # torch comes with the first fit

    found = [dynamics] if isinstance(dynamics, TrainingDynamics) else list(dynamics)
    if not found:
        raise ValueError("dynamics is an empty list; give those of at least one training.")
    for run in found:
        if run.n_rows != len(evidence):
            raise ValueError(
                f"dynamics are those of {run.n_rows} rows, and there are {len(evidence)}; "
                "record them for the rows that are pruned, in their order."
            )
    return found


class Forgetting(DynamicsStrategy):
    """Keep the rows that are forgotten most often (Toneva et al., 2019).

    A row is forgotten when its prediction is right after one epoch and wrong after the next. The
    score of a row that is never predicted correctly is the number of epochs, more than any other.

    Parameters
    ----------
    keep, dynamics, model, min_per_class, random_state
        As in ``DynamicsStrategy``.
    """

    def score_run(self, run: TrainingDynamics) -> NDArray[Any]:
        correct = run.correct
        times = (correct[:-1] & ~correct[1:]).sum(0)
        return np.where(correct.any(0), times, len(correct))


class AUM(DynamicsStrategy):
    """Keep the rows of smallest mean margin over the epochs (Pleiss et al., 2020).

    The margin is the logit of the row's class minus the largest other logit. The area under the
    margin was proposed to find mislabelled rows, whose area is small; used for pruning, it keeps
    them. One published implementation resets the sum in every epoch, and so ranks by the last
    margin.

    Parameters
    ----------
    keep, dynamics, model, min_per_class, random_state
        As in ``DynamicsStrategy``.
    """

    keeps_lowest: ClassVar[bool] = True

    def score_run(self, run: TrainingDynamics) -> NDArray[Any]:
        return run.margin.mean(0, dtype=np.float64)


class WindowStrategy(DynamicsStrategy):
    """Base class of strategies that use sliding windows of epochs.

    Parameters
    ----------
    keep, dynamics, model, min_per_class, random_state
        As in ``DynamicsStrategy``.
    window : int, default=10
        Epochs in a window, at most as many as were recorded.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **DynamicsStrategy._parameter_constraints,
        "window": [Interval(numbers.Integral, 2, None, closed="left")],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        window: int = 10,
        dynamics: Any = None,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            keep,
            dynamics=dynamics,
            model=model,
            min_per_class=min_per_class,
            random_state=random_state,
        )
        self.window = window

    def windows(self, values: NDArray[Any]) -> NDArray[np.float64]:
        """Sliding windows over the epochs of ``values`` (T, n), shape (T - J + 1, n, J)."""
        width = min(self.window, len(values))
        return sliding_window_view(values.astype(np.float64), width, axis=0)


class DynUnc(WindowStrategy):
    """Keep the rows whose predicted probability varies most over epochs (He et al., 2024).

    The score is the mean over windows of the standard deviation of the probability of the row's
    class.

    Parameters
    ----------
    keep, window, dynamics, model, min_per_class, random_state
        As in ``WindowStrategy``.
    """

    def score_run(self, run: TrainingDynamics) -> NDArray[Any]:
        return self.windows(run.probability).std(-1).mean(0)


class TDDS(WindowStrategy):
    """Keep the rows whose predictions change most unevenly (Zhang et al., 2024).

    The change from one epoch to the next is the divergence of the two predictions. The score is an
    exponential moving average over windows of the norm of the changes' deviations from their mean.

    Parameters
    ----------
    keep, window, dynamics, model, min_per_class, random_state
        As in ``WindowStrategy``. The published window and number of epochs depend on the share
        that is pruned: 10 and 90 where it is 30 %, 5 and 10 where it is 90 %.
    """

    #: Decay of the moving average.
    DECAY = 0.9

    def score_run(self, run: TrainingDynamics) -> NDArray[Any]:
        shift = run.shift
        windows = self.windows(shift[1:] if len(shift) > 1 else shift)
        deviations = np.linalg.norm(windows - windows.mean(-1, keepdims=True), axis=-1)
        score = np.zeros(deviations.shape[1])
        for length in deviations:
            score = self.DECAY * score + (1 - self.DECAY) * length
        return score
