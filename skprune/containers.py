"""Rows of anything: the only place that knows about pandas, polars, sparse and tensors.

What comes in comes out: rows are taken from the caller's own object, never from a copy in
another form, so that index, dtypes and categories stay as they are.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, NamedTuple, NoReturn

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.utils import _safe_indexing
from sklearn.utils.validation import _num_samples

from skprune.exceptions import PrunedPairError

ENCODE_HINT = """\
Encode them inside the model, and the raw table is what comes back pruned:

    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"), {columns}), remainder=StandardScaler())
    InfluencePruner(model=make_pipeline(encode, LogisticRegression())).fit_transform(X, y)

or encode first and prune the encoded table:

    InfluencePruner().fit_transform(encode.fit_transform(X), y)"""


#: Columns that a message names.
SHOWN = 8


class PrunedData(NamedTuple):
    """The kept rows, ``X, y = pruner.fit_transform(X, y)``."""

    X: Any
    y: Any

    def __array__(self, dtype: Any = None, copy: Any = None) -> NoReturn:
        raise PrunedPairError(
            "A pruner returned (X_kept, y_kept) and the next step took the pair for a feature "
            "matrix. scikit-learn's Pipeline keeps the full y, so a step in its middle cannot "
            "drop rows. Use the pruner as the last step of a Pipeline, wrap the final estimator, "
            "make_pipeline(..., PrunedClassifier(estimator, pruner)) (or PrunedRegressor), or use "
            "PruningSampler(pruner) in imbalanced-learn's Pipeline."
        )


def n_rows(data: Any) -> int:
    """Number of rows of an array, frame, sparse matrix, tensor or sequence."""
    refuse_lazy(data)
    return int(_num_samples(data))


def take_rows(data: Any, indices: NDArray[np.int64]) -> Any:
    """Rows of ``data`` by position, in a container of the same kind."""
    if hasattr(data, "take_rows"):
        return data.take_rows(indices)
    if isinstance(data, torch.Tensor):
        return data[torch.from_numpy(indices).to(data.device)]
    if sp.issparse(data) and data.format not in ("csr", "csc", "lil"):
        return data.tocsr()[indices].asformat(data.format)
    if isinstance(data, tuple):
        return tuple(data[i] for i in indices)
    if not hasattr(data, "__getitem__"):  # all it offers is __array__
        data = np.asarray(data)
    return _safe_indexing(data, indices)


def refilled(mapping: Mapping[Any, Any], values: dict[Any, Any]) -> Any:
    """A mapping of the same kind with other values; ``values`` itself if none can be made."""
    kind: Any = type(mapping)

    def in_a_copy() -> Any:
        copied: Any = copy.copy(mapping)
        copied.clear()
        copied.update(values)
        return copied

    ways: list[Callable[[], Any]] = [lambda: kind(values), lambda: kind(**values)]
    if isinstance(mapping, dict):  # a copy of another mapping may share what it holds
        ways.insert(0, in_a_copy)
    for build in ways:
        with suppress(Exception):  # whatever a class says to arguments that it does not take
            built = build()
            if set(built) == set(values) and all(built[key] is values[key] for key in values):
                return built
    return values


def is_row_wise(value: Any, n: int) -> bool:
    """Whether ``value`` holds one entry for each of n rows."""
    sized = any(hasattr(value, name) for name in ("shape", "__len__", "__array__"))
    if not sized or isinstance(value, (str, bytes, dict)) or getattr(value, "shape", None) == ():
        return False
    return n_rows(value) == n


def plain(data: Any) -> Any:
    """Tensors as arrays and blocks of rows (images, sequences) as flat rows; else unchanged."""
    refuse_lazy(data)
    if isinstance(data, torch.Tensor):
        # numpy has no bfloat16.
        data = (data.float() if data.dtype == torch.bfloat16 else data).detach().cpu().numpy()
    if isinstance(data, np.ndarray) and data.ndim > 2:
        return data.reshape(len(data), -1)
    return data


def is_frame(data: Any) -> bool:
    """Whether ``data`` has named columns of their own types (pandas, polars)."""
    return hasattr(data, "columns") and hasattr(data, "dtypes")


def refuse_lazy(data: Any) -> None:
    """Raise a ValueError for a query that has no rows yet, such as a LazyFrame of polars."""
    if hasattr(data, "collect") and not hasattr(data, "__len__"):
        raise ValueError(
            f"A {type(data).__name__} is a query that has not run, so there are no rows to choose "
            "from. Run it first, with .collect(), and pass the frame that it makes."
        )


def refuse_text(data: Any) -> None:
    """Raise a ValueError that shows the cure if a frame has columns that are not numbers."""
    refuse_lazy(data)
    if not is_frame(data):
        return
    dtypes = data.dtypes.tolist() if hasattr(data.dtypes, "tolist") else list(data.dtypes)
    text = [(c, t) for c, t in zip(data.columns, dtypes, strict=True) if not _is_number(t)]
    if text:
        shown = [f"{c} ({_kind(t)})" for c, t in text[:SHOWN]] + ["..."] * (len(text) > SHOWN)
        raise ValueError(
            f"{len(text)} of {len(data.columns)} columns are not numbers: {', '.join(shown)}. "
            + encode_hint([c for c, _ in text])
        )


def text_columns(data: Any) -> list[int]:
    """Positions of the columns of an array or list that hold something else than numbers."""

    def is_text(column: Any) -> bool:
        try:
            np.asarray(column, dtype=np.float64)
        except (TypeError, ValueError):
            return True
        return False

    table = np.asarray(data, dtype=object)
    return [j for j in range(table.shape[1]) if is_text(table[:, j])] if table.ndim == 2 else []


def encode_hint(columns: list[Any]) -> str:
    """What to do about columns that are not numbers."""
    shown = [*columns[:SHOWN], ...] if len(columns) > SHOWN else columns
    return ENCODE_HINT.format(columns=repr(shown).replace("Ellipsis", "..."))


def _kind(dtype: Any) -> str:
    """A dtype in a word: polars' Enum lists all its categories."""
    return str(dtype).partition("(")[0]


def _is_number(dtype: Any) -> bool:
    if hasattr(dtype, "is_numeric"):  # polars
        return bool(dtype.is_numeric()) or str(dtype) == "Boolean"
    return getattr(dtype, "kind", "O") in "biuf" or bool(getattr(dtype, "_is_numeric", False))
