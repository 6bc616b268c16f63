"""What the caller hands to ``fit``, checked once and put into one object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils import check_array, check_consistent_length, column_or_1d
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import _check_sample_weight, validate_data

from skprune.containers import plain, refuse_text, take_rows
from skprune.models.adapters import HeadSpec, read_model
from skprune.subset.start import stratified_quotas

#: Whole numbers with more distinct values are a quantity, unless they are codes 0, 1, 2 ...
MANY_VALUES = 30


@dataclass(frozen=True)
class Table:
    """Checked rows.

    Attributes
    ----------
    X : ndarray (n, d), csr_matrix (n, d), or the caller's own object
        Numbers, unless the model encodes the raw rows itself.
    y : ndarray (n,)
    codes : ndarray (n,), int64
        Class of every row as 0 .. C - 1; zeros for regression.
    classes : ndarray (C,) or None
    weights : ndarray (n,), float64
    """

    X: Any
    y: NDArray[Any]
    codes: NDArray[np.int64]
    classes: NDArray[Any] | None
    weights: NDArray[np.float64]

    def __len__(self) -> int:
        return len(self.y)

    def take(self, indices: NDArray[np.int64]) -> Table:
        """Some of the rows."""
        return replace(
            self,
            X=take_rows(self.X, indices),
            y=self.y[indices],
            codes=self.codes[indices],
            weights=self.weights[indices],
        )


def read_table(
    estimator: BaseEstimator, X: Any, y: Any, sample_weight: Any, model: Any
) -> tuple[Table, HeadSpec]:
    """Check the rows and read the model; sets ``n_features_in_`` on the estimator.

    Raises
    ------
    ValueError
        For rows or targets that scikit-learn would refuse, and for columns that are not numbers
        where the model does not encode them.
    """
    y = read_target(y, estimator)
    task = "regression" if is_continuous(y, model) else "classification"
    spec = read_model(model, task)
    X = _read_features(estimator, X, spec, reset=True)
    check_consistent_length(X, y)
    if len(y) < 2:
        raise ValueError(f"Found array with {len(y)} sample(s) while a minimum of 2 is required.")
    weights = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not weights.sum() > 0:
        raise ValueError("sample_weight is zero for all rows; at least one must be positive.")
    if spec.task == "regression":
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
        return Table(X, y, np.zeros(len(y), dtype=np.int64), None, weights), spec
    check_classification_targets(y)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"Pruning a classification table needs at least 2 classes in y; got 1 class: "
            f"{classes[0]!r}."
        )
    return Table(X, y, codes.astype(np.int64), classes, weights), spec


def read_validation(
    estimator: BaseEstimator, X: Any, y: Any, table: Table, spec: HeadSpec
) -> Table:
    """Check held-out rows that the caller brings.

    Raises
    ------
    ValueError
        If they have other columns, or labels that the training rows lack.
    """
    if X is None or y is None:
        raise ValueError("X_val and y_val go together; pass both or neither.")
    y = read_target(y, estimator)
    X = _read_features(estimator, X, spec, reset=False)
    check_consistent_length(X, y)
    weights = np.ones(len(y))
    if table.classes is None:
        y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y_val")
        return Table(X, y, np.zeros(len(y), dtype=np.int64), None, weights)
    unknown = np.setdiff1d(y, table.classes)
    if len(unknown):
        raise ValueError(f"y_val has labels that y lacks: {unknown.tolist()[:10]}.")
    return Table(X, y, np.searchsorted(table.classes, y), table.classes, weights)


def hold_out(
    table: Table, fraction: float, groups: Any, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into (examined, held out), stratified by class, or along whole groups.

    Every class keeps at least one row on the examined side.

    Raises
    ------
    ValueError
        If no row can be held out.
    """
    n = len(table)
    rng = np.random.default_rng([seed, 2])
    if groups is not None:
        check_consistent_length(table.y, groups)
        splitter = GroupShuffleSplit(1, test_size=fraction, random_state=seed % 2**32)
        train, test = next(splitter.split(np.zeros(n), table.y, groups))
        missing = np.setdiff1d(table.codes, table.codes[train])
        back = np.isin(table.codes[test], missing)
        held = np.zeros(n, dtype=bool)
        held[test[~back]] = True
    else:
        counts = np.bincount(table.codes)
        size = max(1, round(fraction * n))
        quotas = stratified_quotas(table.codes, np.zeros(len(counts), dtype=np.int64), size)
        quotas = np.minimum(quotas, counts - 1)
        order = rng.permutation(n)
        held = np.zeros(n, dtype=bool)
        for code, quota in enumerate(quotas):
            held[order[table.codes[order] == code][:quota]] = True
    if not held.any():
        raise ValueError(
            f"No validation rows can be held out of {n} rows without losing a class; pass "
            "X_val and y_val."
        )
    # The held-out side is shuffled: the jackknife deletes every k-th row.
    return np.flatnonzero(~held), rng.permutation(np.flatnonzero(held))


def read_target(y: Any, estimator: BaseEstimator) -> NDArray[Any]:
    """The target as a checked one-dimensional array."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )
    y = column_or_1d(plain(y), warn=True)
    if y.dtype.kind in "OUST":
        missing = [v is None or v != v for v in y]
        if any(missing):
            raise ValueError(f"Input y contains NaN or None in {sum(missing)} rows; drop them.")
        return np.asarray(y)
    return check_array(y, ensure_2d=False, dtype=None, input_name="y")


def check_features(estimator: BaseEstimator, X: Any, model: Any) -> None:
    """Check that the fitted ``estimator`` could have been fitted to the columns of X."""
    _read_features(estimator, X, read_model(model, "classification"), reset=False)


def is_continuous(y: NDArray[Any], model: Any) -> bool:
    """Whether the target calls for regression: by its values, or because the model says so."""
    if y.dtype.kind not in "fiu":
        return False
    if type_of_target(y, input_name="y") == "continuous":
        return True
    if model is not None:
        return read_model(model, "classification").task == "regression"
    values = np.unique(y)
    codes = y.dtype.kind != "f" and values[0] in (0, 1) and np.ptp(values) == len(values) - 1
    return len(values) > MANY_VALUES and not codes


def _read_features(estimator: BaseEstimator, X: Any, spec: HeadSpec, *, reset: bool) -> Any:
    """Numbers (n, d), or the caller's own object if the model's Pipeline encodes it."""
    if spec.transformer is not None and not isinstance(spec.transformer, str):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return X
    refuse_text(X)
    return validate_data(estimator, plain(X), reset=reset, accept_sparse="csr", dtype=np.float64)
