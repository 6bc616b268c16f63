"""What a row does while a network is trained: it is forgotten, unsure, or never learned."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from numpy.typing import NDArray
from sklearn.utils._param_validation import Interval

from skprune.baselines.base import ScoreStrategy

if TYPE_CHECKING:
    from skprune.baselines.dynamics import TrainingDynamics
    from skprune.baselines.evidence import Evidence


class DynamicsStrategy(ScoreStrategy):
    """A strategy that looks at training dynamics.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    dynamics : TrainingDynamics, default=None
        Recorded in your own training. None trains a small perceptron on the features for a few
        epochs.
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

    def recorded(self, evidence: Evidence) -> TrainingDynamics:
        """The dynamics of the rows."""
        return recorded(evidence.dynamics if self.dynamics is None else self.dynamics, evidence)


def recorded(dynamics: TrainingDynamics, evidence: Evidence) -> TrainingDynamics:
    """The dynamics, if they are those of the rows.

    Raises
    ------
    ValueError
        If they are of another number of rows.
    """
    if dynamics.n_rows != len(evidence):
        raise ValueError(
            f"dynamics are those of {dynamics.n_rows} rows, and there are {len(evidence)}; "
            "record them for the rows that are pruned, in their order."
        )
    return dynamics


class Forgetting(DynamicsStrategy):
    """Keep the rows that are forgotten most often (Toneva et al., 2019).

    A row is forgotten when it is predicted rightly after one epoch and wrongly after the next. One
    that is never predicted rightly counts as forgotten once more than any other can be.

    Parameters
    ----------
    keep, dynamics, model, min_per_class, random_state
        As in ``DynamicsStrategy``.
    """

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        correct = self.recorded(evidence).correct
        times = (correct[:-1] & ~correct[1:]).sum(0)
        return np.where(correct.any(0), times, len(correct))


class AUM(DynamicsStrategy):
    """Keep the rows of smallest mean margin over the epochs (Pleiss et al., 2020).

    The margin is the logit of the row's class less the largest of the others. The area under the
    margin was made to find mislabelled rows, which are those of smallest area: as a way to prune it
    keeps them. One published implementation starts the sum anew in every epoch and so ranks by the
    last margin.

    Parameters
    ----------
    keep, dynamics, model, min_per_class, random_state
        As in ``DynamicsStrategy``.
    """

    keeps_lowest: ClassVar[bool] = True

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        return self.recorded(evidence).margin.mean(0, dtype=np.float64)


class WindowStrategy(DynamicsStrategy):
    """A strategy that looks at windows of epochs, each a step later than the one before.

    Parameters
    ----------
    keep, dynamics, model, min_per_class, random_state
        As in ``DynamicsStrategy``.
    window : int, default=10
        Epochs in a window; all of them, where fewer were recorded.
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
        """Of values (T, n) those of every window, (T - J + 1, n, J)."""
        width = min(self.window, len(values))
        return sliding_window_view(values.astype(np.float64), width, axis=0)


class DynUnc(WindowStrategy):
    """Keep the rows of whose class the network is least steadily sure (He et al., 2024).

    The score is the standard deviation of the probability of the row's class in a window of
    epochs, as a mean over all windows.

    Parameters
    ----------
    keep, window, dynamics, model, min_per_class, random_state
        As in ``WindowStrategy``.
    """

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        return self.windows(self.recorded(evidence).probability).std(-1).mean(0)


class TDDS(WindowStrategy):
    """Keep the rows whose predictions change most unevenly (Zhang et al., 2024).

    The change from one epoch to the next is the divergence of the two predictions. In every window
    the length of its deviations from its mean is taken, and of these an exponential moving
    average.

    Parameters
    ----------
    keep, window, dynamics, model, min_per_class, random_state
        As in ``WindowStrategy``. The published window and number of epochs depend on the share
        that is pruned: 10 and 90 where it is 30 %, 5 and 10 where it is 90 %.
    """

    #: What the moving average keeps of itself from window to window.
    DECAY = 0.9

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        shift = self.recorded(evidence).shift
        windows = self.windows(shift[1:] if len(shift) > 1 else shift)
        deviations = np.linalg.norm(windows - windows.mean(-1, keepdims=True), axis=-1)
        score = np.zeros(deviations.shape[1])
        for length in deviations:
            score = self.DECAY * score + (1 - self.DECAY) * length
        return score
