"""The base class of all pruners, which takes the kept rows out of any container."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted, validate_data

from skprune.data.containers import PrunedData, n_rows, plain, take_rows
from skprune.heads.linear_spec import takes_missing
from skprune.proxies.shorthands import unwrapped
from skprune.utils.documented import Documented
from skprune.utils.frames import data_frame

if TYPE_CHECKING:
    from skprune.data.sources import RowSource


class FittedAttributes:
    """Attributes that end in _ exist after ``fit``; before, they raise a NotFittedError."""

    if not TYPE_CHECKING:  # else every attribute would count as known

        def __getattr__(self, name: str) -> Any:
            if name.endswith("_") and not name.startswith("_"):
                check_is_fitted(self)
            return self.__getattribute__(name)  # raises the error again


class BasePruner(
    FittedAttributes, Documented, OneToOneFeatureMixin, TransformerMixin, BaseEstimator
):
    """Base class of estimators that choose rows.

    A subclass writes ``fit(X, y, ...)``, which ends in ``self._keep(indices, n)``.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,), int64
        Positions of the rows that are *kept*, sorted.
    removed_indices_ : ndarray of shape (n_rows - n_kept,), int64
        Positions of the other rows, sorted.
    keep_mask_ : ndarray of shape (n_rows,), bool
        True where a row is kept.
    rows_ : pandas.DataFrame
        All rows that were fitted, with what is known of each.
    sample_weight_ : ndarray of shape (n_kept,) or None
        Weights of the kept rows in training, which include the rows' own weights; None if these
        did not change.
    """

    sample_indices_: NDArray[np.int64]
    keep_mask_: NDArray[np.bool_]
    sample_weight_: NDArray[np.float64] | None
    #: Whether ``sample_weight_`` is used when a model is trained on the kept rows; set by its
    #: trainer.
    _hands_weights_on = False
    #: Whether teacher targets are used then; alone, a pruner leaves that to the caller.
    _hands_targets_on = True
    #: (X, y, sample_weight) of the last ``fit``, which are not pickled with the pruner.
    _given: Any = None

    @property
    def removed_indices_(self) -> NDArray[np.int64]:
        """Positions of the rows that are not kept, sorted."""
        return np.flatnonzero(~self.keep_mask_).astype(np.int64, copy=False)

    @property
    def rows_(self) -> Any:
        """All rows that were fitted, as a pandas DataFrame.

        Its index has the labels of the rows if X or y came with such, else their positions. The
        columns are ``position``, ``target`` (``target_0``, ... of several outputs), ``score`` if
        the pruner scores rows (``scores_``), ``kept``, and ``weight``, what the row counts for in
        training: 0 for a row that was removed. A pruner that was pickled no longer knows targets,
        labels and given weights.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        kept = self.keep_mask_
        X, y, given = (None, None, None) if self._given is None else self._given
        columns: dict[str, Any] = {"position": np.arange(len(kept)), **self._target_columns(X, y)}
        if hasattr(self, "scores_"):
            columns["score"] = self.scores_
        weight = np.zeros(len(kept))
        weight[kept] = 1.0 if given is None else np.asarray(given, dtype=np.float64)[kept]
        if self.sample_weight_ is not None:
            weight[kept] = self.sample_weight_
        labels = next((data.index for data in self._given or () if hasattr(data, "iloc")), None)
        return data_frame(
            {**columns, "kept": kept, "weight": weight},
            "rows_",
            "keep_mask_, scores_ and sample_weight_ have the same as arrays.",
            labels,
        )

    def _target_columns(self, X: Any, y: Any) -> dict[str, Any]:
        """The targets that were given, or those in a dataset."""
        if y is None and X is not None:
            source = self._source(X)
            y = None if source is None else source.targets()
        if y is None:
            return {}
        targets = plain(y)
        if np.ndim(targets) == 1:  # a Series would be aligned by its own labels
            return {"target": getattr(targets, "array", targets)}
        columns = np.asarray(targets).T
        if len(columns) == 1:
            return {"target": columns[0]}
        return {f"target_{k}": column for k, column in enumerate(columns)}

    def fit_transform(self, X: Any, y: Any = None, **fit_params: Any) -> Any:
        """Fit, then take the kept rows of X and y.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix or tensor with n rows, or a dataset
        y : array-like of shape (n,)
            Not needed with a dataset that holds its targets.
        **fit_params
            Passed to ``fit``.

        Returns
        -------
        PrunedData
            The named pair ``(X, y)``, in containers of the given kinds. Without y (for a dataset or
            dict that holds its targets) only the kept rows of X are returned.
        """
        self.fit(X, y, **fit_params)
        return self.take(X) if y is None else self._take_pair(X, y)

    def transform(self, X: Any, y: Any = None) -> Any:
        """Take the kept rows out of the rows the pruner was fitted on.

        Parameters
        ----------
        X : container with as many rows as were fitted
        y : array-like of shape (n,), optional

        Returns
        -------
        The kept rows of X, or ``PrunedData(X, y)`` if y is given.

        Raises
        ------
        ValueError
            If the number of rows or features differs from that in ``fit``: a pruner keeps some of
            the fitted rows and knows nothing about others.
        """
        check_is_fitted(self)
        self._check_features(X)
        self._check_rows(X, "X")
        return self._take(X) if y is None else self._take_pair(X, y)

    def take(self, *arrays: Any) -> Any:
        """Take the kept rows of anything aligned with the fitted rows.

        Parameters
        ----------
        *arrays : containers with as many rows as were fitted
            Weights, ids, groups, raw tables, embeddings, torch or Hugging Face datasets ...

        Returns
        -------
        The kept rows of the container, or a tuple of those of several containers.
        """
        check_is_fitted(self)
        if not arrays:
            raise TypeError("take needs at least one array: pruner.take(sample_weight)")
        for position, array in enumerate(arrays):
            self._check_rows(array, f"array {position}")
        taken = tuple(self._take(array) for array in arrays)
        return taken[0] if len(arrays) == 1 else taken

    def _keep(
        self, indices: NDArray[np.int64], n: int, weights: NDArray[np.float64] | None = None
    ) -> None:
        """Set the fitted attributes that all pruners have; weights are those of sorted rows."""
        self._given = None
        self.sample_weight_ = weights
        self.sample_indices_ = np.sort(np.asarray(indices, dtype=np.int64))
        self.keep_mask_ = np.zeros(n, dtype=bool)
        self.keep_mask_[self.sample_indices_] = True

    def _check_features(self, X: Any) -> None:
        """Refuse columns that ``fit`` would refuse; a hook, for pruners that look at them."""
        if self._source(X) is None:
            validate_data(self, X, reset=False, skip_check_array=True)

    def _check_rows(self, data: Any, name: str) -> None:
        # The length of a loader is its number of batches, that of a dict its number of keys.
        source = self._source(data)
        found = n_rows(data) if source is None else len(source)
        fitted = len(self.keep_mask_)
        if found != fitted:
            raise ValueError(
                f"{name} has {found} rows, but {type(self).__name__} was fitted on {fitted}. It "
                "keeps some of the fitted rows and knows nothing about others: pass the rows it "
                "was fitted on, or fit it again. (Test rows are never pruned.)"
            )

    def _take_pair(self, X: Any, y: Any) -> PrunedData:
        self._check_rows(y, "y")
        return PrunedData(self._take(X), self._take(y))

    def _source(self, data: Any) -> RowSource | None:
        """The data source of a container; None for arrays, which are indexed themselves."""
        from skprune.data.sources import as_source, is_array

        return None if is_array(data, self.keep_mask_) else as_source(data)

    def _take(self, data: Any) -> Any:
        source = self._source(data)
        if source is None:
            return take_rows(data, self.sample_indices_)
        return source.take(self.sample_indices_)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {**state, "_given": None} if "_given" in state else state

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = True
        tags.input_tags.sparse = True
        trained = (unwrapped(getattr(self, name, None)) for name in ("model", "verify"))
        tags.input_tags.allow_nan = all(map(takes_missing, trained))
        return tags
