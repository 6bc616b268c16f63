"""Random subsets: what every other method has to beat."""

from __future__ import annotations

import numbers
from typing import Any, ClassVar

import numpy as np
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils.validation import validate_data

from skprune.base import BasePruner
from skprune.data.containers import n_rows
from skprune.utils.size import KEEP_CONSTRAINTS, resolve_size
from skprune.utils.sklearn_private import Interval


class RandomPruner(BasePruner):
    """Keep a random subset.

    Parameters
    ----------
    keep : float in (0, 1] or int, default=0.5
        Share or number of rows to keep.
    stratify : bool, default=True
        Keep every class in proportion (largest remainder, at least ``min_per_class``).
        Continuous targets are not stratified.
    min_per_class : int, default=1
        Rows that every class keeps at least, with ``stratify``.
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,), int64
    keep_mask_ : ndarray of shape (n_rows,), bool
    n_features_in_ : int

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from skprune import RandomPruner
    >>> X, y = load_iris(return_X_y=True)
    >>> RandomPruner(keep=0.2, random_state=0).fit_transform(X, y).X.shape
    (30, 4)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "keep": KEEP_CONSTRAINTS,
        "stratify": ["boolean"],
        "min_per_class": [Interval(numbers.Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        stratify: bool = True,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        self.keep = keep
        self.stratify = stratify
        self.min_per_class = min_per_class
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None) -> RandomPruner:
        """Draw the subset.

        Parameters
        ----------
        X : container with n rows, mapping or tuple of such, or a dataset
            Its content is not looked at.
        y : array-like of shape (n,)
            Not needed with a dataset that holds its targets.

        Returns
        -------
        RandomPruner
            self
        """
        from skprune.data.arrays import is_columns
        from skprune.data.sources import as_source, is_dataset
        from skprune.data.strata import group_minima
        from skprune.data.table import read_target
        from skprune.heads.reading import is_continuous
        from skprune.subset.start import starting_subset

        self._validate_params()
        source = as_source(X, y) if is_dataset(X) or is_columns(X, y) else None
        if y is None and source is not None:
            y = source.targets()
            y = y[:, 0] if y.shape[1:] == (1,) else y  # as losses of numbers have it
        target = read_target(y, self)
        n = n_rows(X) if source is None else len(source)
        if source is None:
            validate_data(self, X, skip_check_array=True)
            check_consistent_length(X, target)
        codes = np.zeros(n, dtype=np.int64)
        if self.stratify and not is_continuous(target, None):
            codes = np.unique(target, return_inverse=True)[1].astype(np.int64)
        minima = group_minima(codes, self.min_per_class)
        size = resolve_size(self.keep, n, minima)
        seed = check_random_state(self.random_state).randint(2**31)
        self._keep(starting_subset(size, codes, minima, np.random.default_rng(seed)), n)
        return self

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.no_validation = True
        tags.input_tags.allow_nan = True
        tags.non_deterministic = self.random_state is None
        return tags
