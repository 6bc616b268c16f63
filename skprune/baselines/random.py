"""Random subsets, the baseline of all other strategies."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from skprune.baselines.base import Strategy
from skprune.data.strata import Rows

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


class Random(Strategy):
    """Keep rows drawn uniformly, whatever their class.

    Parameters
    ----------
    keep, model, random_state
        As in ``Strategy``; the model is ignored.
    min_per_class : int, default=0
        Rows that every class keeps at least. Values above 0 favour rare classes.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune.baselines import Random
    >>> X, y = load_iris(return_X_y=True)
    >>> Random(keep=0.2, random_state=0).fit_transform(X, y).X.shape
    (30, 4)
    """

    needs_labels = False

    looks_at_rows: ClassVar[bool] = False

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        model: Any = None,
        min_per_class: int = 0,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)

    def rank(self, evidence: Evidence, rng: np.random.Generator) -> Rows:
        return rng.permutation(len(evidence))


class StratifiedRandom(Strategy):
    """Keep random rows of every class, in proportion (by largest remainder).

    Continuous targets have no classes, and rows are then drawn uniformly.

    Parameters
    ----------
    keep, min_per_class, random_state
        As in ``Strategy``.
    model : see InfluencePruner, default=None
        A regressor says that whole numbers are not classes; otherwise it is ignored.

    Examples
    --------
    >>> import numpy as np
    >>> from sklearn.datasets import load_iris
    >>> from skprune.baselines import StratifiedRandom
    >>> X, y = load_iris(return_X_y=True)
    >>> X_kept, y_kept = StratifiedRandom(keep=0.2, random_state=0).fit_transform(X, y)
    >>> np.bincount(y_kept)
    array([10, 10, 10])
    """

    looks_at_rows: ClassVar[bool] = False

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        from skprune.subset.start import starting_subset

        minima = evidence.table.minima(self.min_per_class)
        return starting_subset(size, evidence.codes, minima, rng)
