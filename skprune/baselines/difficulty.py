"""How hard a row is for a trained head: its loss, its error, its gradient, its influence."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skprune.baselines.base import ScoreStrategy

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


class HighestLoss(ScoreStrategy):
    """Keep the rows of highest loss.

    A warning more than a method: it collects what is mislabelled, and loses far more than random
    rows do once few are kept.

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

    The published score is a mean over several networks after 10 to 20 epochs. Here it is that of
    the model as it is, which for a table is a head at its optimum.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune.baselines import EL2N
    >>> X, y = load_iris(return_X_y=True)
    >>> EL2N(keep=0.2, random_state=0).fit_transform(X, y).X.shape
    (30, 4)
    """

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        return evidence.difficulty("el2n")


class GraNd(ScoreStrategy):
    """Keep the rows whose gradient is longest (Paul et al., 2021), here that of the last layer.

    The gradient in the coefficients of a linear layer is the product of input and error, and so is
    its length. The published score is of all parameters, as a mean over several networks early in
    training.

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

    The score is the length of H^-1 g, g being the gradient of the row and H the Hessian of the
    head. Rows are judged one by one: what a set of them does is another question, and
    ``InfluencePruner`` asks it.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        from skprune.baselines.parameters import ParameterInfluence

        return ParameterInfluence(evidence.influence).squared_norms().sqrt().cpu().numpy()
