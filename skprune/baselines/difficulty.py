"""Strategies that keep difficult rows: large loss, error, gradient or influence."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from skprune.baselines.base import ScoreStrategy
from skprune.baselines.training import runs
from skprune.utils.sklearn_private import Interval

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


class HighestLoss(ScoreStrategy):
    """Keep the rows of highest loss.

    This is a cautionary baseline: it collects mislabelled rows, and is far worse than random rows
    once few rows are kept.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune.baselines import HighestLoss
    >>> X, y = load_iris(return_X_y=True)
    >>> HighestLoss(keep=0.2, random_state=0).fit_transform(X, y).X.shape
    (30, 4)
    """

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        return evidence.difficulty("loss")


class EL2N(ScoreStrategy):
    """Keep the rows whose error vector p - y is longest (Paul et al., 2021).

    The published score is a mean over several networks after 10 to 20 epochs: give a list of their
    ``dynamics``, or the networks of that epoch as a list, ``model=[...]``. Without ``dynamics`` the
    errors are those of the model itself; for a table that is a head at its optimum.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    dynamics : TrainingDynamics or list of them, default=None
        Dynamics of your own training, or of several.
    epoch : int, default=10
        The epoch of ``dynamics`` whose errors are used; the last one if there are fewer.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune.baselines import EL2N
    >>> X, y = load_iris(return_X_y=True)
    >>> EL2N(keep=0.2, random_state=0).fit_transform(X, y).X.shape
    (30, 4)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ScoreStrategy._parameter_constraints,
        "dynamics": "no_validation",
        "epoch": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        dynamics: Any = None,
        epoch: int = 10,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.dynamics = dynamics
        self.epoch = epoch

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        if self.dynamics is None:
            return evidence.difficulty("el2n")
        norms = [run.el2n[: self.epoch][-1] for run in runs(self.dynamics, evidence)]
        return np.asarray(np.mean(norms, axis=0, dtype=np.float64))


class GraNd(ScoreStrategy):
    """Keep the rows whose gradient of the last layer is longest (Paul et al., 2021).

    The gradient of a linear layer is the outer product of input and error, so that its norm is the
    product of their norms. The published score uses all parameters and is a mean over several
    networks early in training, which ``model=[...]`` takes as a list.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        lengths = np.linalg.norm(evidence.inputs, axis=1)
        return lengths * evidence.difficulty("el2n")


class SingleInfluence(ScoreStrategy):
    """Keep the rows whose removal, each alone, moves the parameters most (Koh and Liang, 2017).

    The score is the norm of H^-1 g, where g is the gradient of the row and H the Hessian of the
    head. Rows are scored one by one; ``InfluencePruner`` considers the effect of whole sets.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        from skprune.baselines.parameters import ParameterInfluence

        return ParameterInfluence(evidence.influence).squared_norms().sqrt().cpu().numpy()
