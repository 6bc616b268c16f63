"""Check the arguments of ``fit`` for the head that is read off the model."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_consistent_length, get_tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import validate_data

from skprune.data.containers import (
    array_hint,
    is_frame,
    is_raw,
    plain,
    refuse_lazy,
    refuse_text,
    take_rows,
)
from skprune.data.copies import find_copies
from skprune.data.encode.rows import RowEncoder
from skprune.data.matrix import FLOATS, MatrixRows
from skprune.data.table import (
    LARGEST,
    MANY_VALUES,
    Table,
    check_magnitude,
    number_classes,
    read_numbers,
    read_target,
    read_weights,
)
from skprune.heads.encoding import IMPUTE
from skprune.heads.linear_spec import HeadSpec, read_model, stops_early
from skprune.utils.exceptions import advised

#: If one column is so many times as large as another, first-order solvers do not reach their
#: optimum within scikit-learn's 100 iterations (on raw tables: .13 nats lost instead of .004).
UNEVEN = 30.0
#: Words of numpy's error about values that are no numbers.
NO_NUMBER = ("could not convert string", "a string or a real number")


def read_table(
    estimator: BaseEstimator, X: Any, y: Any, sample_weight: Any, model: Any
) -> tuple[Table, HeadSpec]:
    """Check the rows and read the model; sets ``n_features_in_`` on the estimator.

    For the package's own heads, columns that are not numbers are encoded and missing values are
    filled in, so that ``X`` of the table holds numbers.

    Raises
    ------
    ValueError
        For rows or targets that scikit-learn would refuse, and for columns that are not numbers if
        the model does not encode them.
    """
    y = read_target(y, estimator)
    task = "regression" if is_continuous(y, model) else "classification"
    spec = read_model(model, task)
    raw = _is_encoded(X, spec)
    X = _read_features(estimator, X, spec, raw=raw, reset=True)
    check_consistent_length(X, y)
    if len(y) < 2:
        raise ValueError(f"Found array with {len(y)} sample(s) while a minimum of 2 is required.")
    weights, unit = read_weights(sample_weight, X)
    copies, encoder = find_copies(X), None
    if raw or _has_missing(X):
        encoder = _encoder(X if unit is None else take_rows(X, np.flatnonzero(weights)), spec)
    if encoder is not None:
        X = encoder.transform(X)
        spec = replace(spec, transformer="standardise", notes=encoder.notes)
    if spec.exact and stops_early(model) and _spread(X) > UNEVEN:
        spec = replace(spec, exact=False)
    if unit is not None and spec.convention != "weight":
        # The penalty is in the caller's unit. If that overflows, the head is 0 anyway.
        spec = replace(spec, strength=min(spec.strength / unit, LARGEST**2))
    codes, classes = np.zeros(len(y), dtype=np.int64), None
    if spec.task == "regression":
        y = read_numbers(y, "y")
    else:
        check_classification_targets(y)
        classes, codes = number_classes(y, weights)
    return Table(X, y, codes, classes, weights, unit, copies, encoder), spec


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
    encoder = table.encoder
    raw = encoder is not None and encoder.of_frames
    if raw and not is_frame(X):
        raise ValueError(f"X is a frame and X_val a {type(X).__name__}; give the same columns.")
    X = _read_features(estimator, X, spec, raw=raw, reset=False)
    copies = find_copies(X)
    if encoder is None and _has_missing(X):  # in columns that had no gaps, so without indicators
        encoder = RowEncoder(table.X)
    if encoder is not None:
        X = encoder.transform(X)
    check_consistent_length(X, y)
    weights = np.ones(len(y))
    if table.classes is None:
        y = read_numbers(y, "y_val")
        return Table(X, y, np.zeros(len(y), dtype=np.int64), None, weights, None, copies)
    unknown = np.setdiff1d(y, table.classes)
    if len(unknown):
        raise ValueError(f"y_val has labels that y lacks: {unknown.tolist()[:10]}.")
    return Table(X, y, np.searchsorted(table.classes, y), table.classes, weights, None, copies)


def check_features(estimator: BaseEstimator, X: Any, model: Any) -> None:
    """Check that the fitted ``estimator`` could have been fitted to the columns of X."""
    spec = read_model(model, "classification")
    _read_features(estimator, X, spec, raw=_is_encoded(X, spec), reset=False)


def _is_encoded(X: Any, spec: HeadSpec) -> bool:
    """Whether X has columns that are not numbers, and the head is the package's own."""
    return is_raw(X) and (spec.transformer == "standardise" or not spec.own)


def _encoder(X: Any, spec: HeadSpec) -> RowEncoder | None:
    """The encoder of the rows; None if only the steps of the model itself can encode them.

    Documents, for example, are encoded by the model alone.
    """
    encoder = RowEncoder(X)
    return None if encoder.is_empty and not isinstance(spec.transformer, str) else encoder


def is_continuous(y: NDArray[Any], model: Any) -> bool:
    """Whether the task is regression, by the model or by the values of the target."""
    if y.dtype.kind not in "fiu":
        return False
    if type_of_target(y, input_name="y") == "continuous":
        return True
    if model is not None:
        return read_model(model, "classification").task == "regression"
    values = np.unique(y)
    codes = y.dtype.kind != "f" and values[0] in (0, 1) and np.ptp(values) == len(values) - 1
    return len(values) > MANY_VALUES and not (codes and 2 * len(values) <= len(y))


def _read_features(
    estimator: BaseEstimator, X: Any, spec: HeadSpec, *, raw: bool, reset: bool
) -> Any:
    """Numbers (n, d) in their own precision, or the caller's object if it will be encoded.

    NaN is allowed if all models that are trained on the rows take it.
    """
    refuse_lazy(X)
    if raw or not (spec.transformer is None or isinstance(spec.transformer, str)):
        validate_data(estimator, X, reset=reset, skip_check_array=True)
        return X
    refuse_text(X)
    missing = get_tags(estimator).input_tags.allow_nan
    try:
        with advised(*IMPUTE):
            X = validate_data(
                estimator,
                plain(X),
                reset=reset,
                accept_sparse="csr",
                dtype=FLOATS,
                ensure_all_finite="allow-nan" if missing else True,
            )
        check_magnitude(X.data if sp.issparse(X) else X, "X")
        return X if sp.issparse(X) else MatrixRows(X)
    except (TypeError, ValueError) as error:
        hint = array_hint(X) if any(words in str(error) for words in NO_NUMBER) else ""
        if not hint:
            raise
        raise type(error)(f"{error}. {hint}") from error


def _spread(X: Any) -> float:
    """Ratio of the largest to the smallest size of a column that is not all zero."""
    if sp.issparse(X):
        squares = np.asarray(X.power(2).sum(0)).ravel()
    else:
        squares = np.einsum("ij,ij->j", X.matrix, X.matrix)
    sizes = np.sqrt(squares)
    sizes = sizes[sizes > 0]
    return float(sizes.max() / sizes.min()) if len(sizes) else 1.0


def _has_missing(X: Any) -> bool:
    """Whether a matrix has missing values; rows that a model encodes itself are not checked."""
    if sp.issparse(X):
        return bool(np.isnan(X.data).any())
    # A sum of numbers that are allowed never overflows, and it needs no memory.
    return isinstance(X, MatrixRows) and bool(np.isnan(np.sum(X.matrix, dtype=np.float64)))
