"""InfoMax: informative rows with little redundancy."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
import scipy.sparse as sp
from scipy.special import softmax

from skprune.baselines.base import ranked
from skprune.baselines.hardness import HardnessStrategy
from skprune.data.strata import Rows
from skprune.utils.sklearn_private import Interval

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


#: Temperature of the softmax of scores between 0 and 1.
TEMPERATURE = 0.1


class InfoMax(HardnessStrategy):
    """Keep rows that are difficult and dissimilar to each other (Tan et al., 2025).

    The objective sum_i I_i x_i - a sum_ij K_ij x_i x_j, where I is the difficulty and K has the
    cosine similarities of nearest neighbours, is maximised over fractional x by iterating
    x = softmax(I - 2 a K x); the rows of largest x are kept. The plain iteration oscillates if
    similarities weigh much. Here it takes half steps at temperature 0.1, with x at most 1.

    Parameters
    ----------
    keep, difficulty, dynamics, model, min_per_class, random_state
        As in ``HardnessStrategy``; the default difficulty is "el2n".
    alpha : float, default=0.3
        The weight a of similarity.
    n_neighbors : int, default=5
    n_iter : int, default=40
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **HardnessStrategy._parameter_constraints,
        "alpha": [Interval(numbers.Real, 0, None, closed="left")],
        "n_neighbors": [Interval(numbers.Integral, 1, None, closed="left")],
        "n_iter": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        alpha: float = 0.3,
        n_neighbors: int = 5,
        n_iter: int = 40,
        difficulty: str = "el2n",
        dynamics: Any = None,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            keep,
            difficulty=difficulty,
            dynamics=dynamics,
            model=model,
            min_per_class=min_per_class,
            random_state=random_state,
        )
        self.alpha = alpha
        self.n_neighbors = n_neighbors
        self.n_iter = n_iter

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        information, n = self.hardness(evidence), len(evidence)
        distances, near = evidence.neighbours(self.n_neighbors)
        cosines = np.maximum(1 - distances**2 / 2, 0)
        rows = np.repeat(np.arange(n), near.shape[1])
        K = sp.csr_array((cosines.ravel(), (rows, near.ravel())), shape=(n, n))
        K = K.maximum(K.T)
        x = np.full(n, size / n)
        for _ in range(self.n_iter):
            gains = information - 2 * self.alpha * (K @ x)
            x = (x + np.minimum(size * softmax(gains / TEMPERATURE), 1)) / 2
        return ranked(-gains, rng)
