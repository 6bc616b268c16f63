"""Ranking rows by a difficulty score: the usual recipe, and a warning.

Keeping the hardest rows loses far more than a random subset does once few rows are kept.
"""

from __future__ import annotations

import numbers
from typing import Any, ClassVar

from skprune.base import BasePruner
from skprune.proxies.memory import says_what_fits
from skprune.proxies.shorthands import unwrapped
from skprune.utils.size import KEEP_CONSTRAINTS, resolve_size
from skprune.utils.sklearn_private import Interval, StrOptions


class ScorePruner(BasePruner):
    """Keep the rows with the highest score of a head fitted to all of them.

    Parameters
    ----------
    keep : float in (0, 1] or int, default=0.5
        Share or number of rows to keep.
    criterion : {"loss", "el2n"}, default="loss"
        "loss" is the row's loss, "el2n" the norm of its error vector p - y (Paul et al., 2021,
        here of a converged head).
    model : see InfluencePruner, default=None
    min_per_class : int, default=1
        Rows that every class keeps at least.

    Attributes
    ----------
    scores_ : ndarray of shape (n_rows,)
        The score of every row.
    sample_indices_ : ndarray of shape (n_kept,), int64
    keep_mask_ : ndarray of shape (n_rows,), bool
    n_features_in_ : int

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune import ScorePruner
    >>> X, y = load_iris(return_X_y=True)
    >>> ScorePruner(keep=0.2).fit_transform(X, y).X.shape
    (30, 4)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "keep": KEEP_CONSTRAINTS,
        "criterion": [StrOptions({"loss", "el2n"})],
        "model": "no_validation",
        "min_per_class": [Interval(numbers.Integral, 0, None, closed="left")],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        criterion: str = "loss",
        model: Any = None,
        min_per_class: int = 1,
    ) -> None:
        self.keep = keep
        self.criterion = criterion
        self.model = model
        self.min_per_class = min_per_class

    @says_what_fits
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> ScorePruner:
        """Fit the head, score the rows and keep the highest.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix or tensor with n rows
        y : array-like of shape (n,)
        sample_weight : array-like of shape (n,), optional

        Returns
        -------
        ScorePruner
            self
        """
        from skprune.heads.encoding import HeadEncoder
        from skprune.heads.reading import read_table
        from skprune.proxies.head import cold_fit, difficulty
        from skprune.subset.start import largest_subset

        self._validate_params()
        table, spec = read_table(self, X, y, sample_weight, unwrapped(self.model))
        minima = table.minima(self.min_per_class)
        size = resolve_size(self.keep, len(table), minima)
        rows = (table.X, table.y, table.weights)
        problem = HeadEncoder(spec, table.classes).fit(*rows).reduce(*rows).problem(*rows)
        fit = cold_fit(problem)[0]
        self.scores_ = difficulty(self.criterion, problem, fit)
        self._keep(largest_subset(self.scores_, size, table.codes, minima), len(table))
        return self

    def _check_features(self, X: Any) -> None:
        from skprune.heads.reading import check_features

        check_features(self, X, unwrapped(self.model))
