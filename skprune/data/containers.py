"""Take rows of arrays, pandas and polars frames, sparse matrices, tensors and sequences.

Rows are taken from the caller's own object, never from a copy in another form, so that index,
dtypes and categories stay as they are.
"""

from __future__ import annotations

import copy
import numbers
import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, time, timedelta
from typing import Any, NamedTuple, NoReturn

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from skprune.utils.exceptions import PrunedPairError
from skprune.utils.sklearn_private import num_samples, safe_indexing

ENCODE_HINT = """\
Encode them inside the model, and the raw table is what comes back pruned:

    from sklearn.compose import make_column_transformer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import OneHotEncoder, StandardScaler

    encode = make_column_transformer(
        (OneHotEncoder(handle_unknown="ignore"{dense}), {columns}),{dropped}
        remainder=make_pipeline(SimpleImputer(add_indicator=True), StandardScaler()),
    )
    InfluencePruner(model=make_pipeline(encode, {model}())).fit_transform(X, y)

or encode first and prune the encoded table:

    InfluencePruner().fit_transform(encode.fit_transform(X), y)"""

DATES_HINT = """\
Give dates as numbers: seconds for a trend, month, weekday and hour as columns of their own. \
skrub.TableVectorizer() does so inside the model, and the raw table is what comes back pruned:

    from skrub import TableVectorizer
    from sklearn.impute import SimpleImputer
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    encode = make_pipeline(TableVectorizer(), SimpleImputer(add_indicator=True), StandardScaler())
    InfluencePruner(model=make_pipeline(encode, {model}())).fit_transform(X, y)"""

CATEGORY_HINT = 'Boosting that takes categories needs these columns in the dtype "category".'

#: The model in the advice, if the caller's own is not known.
MODEL = "LogisticRegression"

#: Types of times and spans of time, in the words of numpy, pandas and polars.
TIMES = ("date", "time", "period", "duration")

#: Types of categories, in the words of pandas and polars.
CATEGORIES = ("category", "categorical", "enum")

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
    return int(num_samples(data))


def take_rows(data: Any, indices: NDArray[np.int64]) -> Any:
    """Rows of ``data`` by position, in a container of the same kind."""
    if hasattr(data, "take_rows"):
        return data.take_rows(indices)
    if is_tensor(data):
        import torch

        return data[torch.from_numpy(indices).to(data.device)]
    if sp.issparse(data) and data.format not in ("csr", "csc", "lil"):
        return data.tocsr()[indices].asformat(data.format)
    if isinstance(data, tuple):
        return tuple(data[i] for i in indices)
    if not hasattr(data, "__getitem__"):  # all it offers is __array__
        data = np.asarray(data)
    return safe_indexing(data, indices)


def is_tensor(data: Any) -> bool:
    """Whether ``data`` is a tensor of torch, which is not imported for that."""
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(data, torch.Tensor)


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
    if is_tensor(data):
        import torch

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


def refuse_masked(data: Any, name: str) -> None:
    """Raise a ValueError for a masked array: numpy would read what is behind the mask."""
    if isinstance(data, np.ma.MaskedArray) and np.ma.is_masked(data):
        raise ValueError(
            f"{name} has {int(np.ma.count_masked(data))} masked entries, whose values are not "
            "known. Pass data.filled(numpy.nan) where the model takes missing values; or drop the "
            "rows."
        )


def is_raw(data: Any) -> bool:
    """Whether ``data`` is a frame of which some columns are not numbers by their dtype."""
    return is_frame(data) and not all(map(is_number, data.dtypes))


def refuse_text(data: Any) -> None:
    """Raise a ValueError that says how to encode columns, if some of a table are not numbers."""
    refuse_lazy(data)
    refuse_masked(data, "X")
    kind = getattr(getattr(data, "dtype", None), "kind", "")
    if kind in ("m", "M"):  # numpy would take NaT
        dates = DATES_HINT.format(model=MODEL)
        raise ValueError(f"X holds dates or durations ({data.dtype}). {dates}")
    if kind == "V":
        raise ValueError("X holds records with fields of their own; pass pandas.DataFrame(X).")
    if not is_frame(data):
        return
    if len(data.columns) == 0:
        raise ValueError(
            f"Found array with 0 feature(s) (shape={data.shape}) while a minimum of 1 is required."
        )
    if advice := frame_hint(data):
        raise ValueError(f"{advice}\n\nmodel=LinearProxy() encodes a frame by itself.")


def frame_hint(data: Any, model: str = MODEL) -> str:
    """Advice for a frame with columns that are not numbers; empty for anything else.

    Parameters
    ----------
    data : object
    model : str
        The class of the model for which columns are to be encoded.
    """
    if not is_frame(data):
        return ""
    dtypes, columns = list(data.dtypes), list(data.columns)
    text = [(columns[j], _kind(t), j) for j, t in enumerate(dtypes) if not is_number(t)]
    if not text:
        return ""
    shown = [f"{c} ({kind})" for c, kind, _ in text[:SHOWN]] + ["..."] * (len(text) > SHOWN)
    times = {c: _is_time(kind, data, j) for c, kind, j in text}
    said = f"{len(text)} of {len(columns)} columns are not numbers: {', '.join(shown)}. "
    return said + _encode_hint(times, model)


def array_hint(data: Any) -> str:
    """Advice for an array or list with columns that are not numbers."""

    def is_text(column: Any) -> bool:
        try:
            np.asarray(column, dtype=np.float64)
        except ValueError:
            return True
        except TypeError:  # objects that no encoder here would take, or times
            return _are_times(column)
        return False

    table = np.asarray(data, dtype=object)
    columns = range(table.shape[1]) if table.ndim == 2 else ()
    return _encode_hint({j: _are_times(table[:, j]) for j in columns if is_text(table[:, j])})


def _encode_hint(times: dict[Any, bool], model: str = MODEL) -> str:
    """Advice for columns that are not numbers; ``times`` says which of them hold times."""
    words, whens = (
        [c for c, are_times in times.items() if are_times is at] for at in (False, True)
    )
    dropped = f'\n        ("drop", {whens!r}),' if whens else ""
    hints = []
    if words:
        dense = "" if model == MODEL else ", sparse_output=False"  # boosting takes nothing sparse
        said = {"columns": repr(words), "dropped": dropped, "dense": dense, "model": model}
        hints.append(ENCODE_HINT.format(**said))
        if model != MODEL:
            hints.append(CATEGORY_HINT)
    if whens:
        hints.append(DATES_HINT.format(model=model))
    return "\n\n".join(hints)


def _is_time(kind: str, frame: Any, j: int) -> bool:
    """Whether column j of a frame holds times: its dtype says so, or the objects in it do."""
    if kind.lower() != "object":
        return kind.lower().startswith(TIMES)
    return _are_times(frame.iloc[:, j] if hasattr(frame, "iloc") else frame[:, j])


def _are_times(values: Any) -> bool:
    """Whether objects are dates, times or durations, by the first of them."""
    first = next((v for v in values if not is_missing(v)), None)
    return isinstance(first, (date, time, timedelta, np.datetime64, np.timedelta64))


def natural(y: Any) -> Any:
    """Labels of dtype object in the dtype that their values have; anything else unchanged.

    Raises
    ------
    ValueError
        If they, or those in a list, are of several kinds, such as numbers and words.
    """
    listed = isinstance(y, list)
    if not listed and str(getattr(y, "dtype", "")) != "object":
        return y
    values = np.asarray(y, dtype=object)
    kinds = {type(v) for v in values.flat}
    words = {kind for kind in kinds if issubclass(kind, str)}
    if words == kinds or (listed and not words) or any(is_missing(v) for v in values.flat):
        return y
    if words or not all(issubclass(kind, (numbers.Number, np.bool_)) for kind in kinds):
        names = " and ".join(sorted(kind.__name__ for kind in kinds))
        raise ValueError(
            f"y {'mixes' if len(kinds) > 1 else 'holds'} objects of type {names}; labels are "
            "numbers throughout, or words as of [str(v) for v in y]."
        )
    found = np.array(values.tolist())
    return found if found.dtype != object else values.astype(np.float64)  # as of Decimal


def is_missing(value: Any) -> bool:
    """Whether a value is missing: None, NaN, NaT or pandas.NA."""
    try:
        return value is None or bool(value != value)
    except TypeError:  # pandas.NA is neither equal to itself nor not
        return True
    except ValueError:  # an array
        return False


def _kind(dtype: Any) -> str:
    """A dtype in a word: polars' Enum lists all its categories."""
    return str(dtype).partition("(")[0]


def is_categories(dtype: Any) -> bool:
    """Whether a frame's dtype declares its values as categories."""
    return _kind(dtype).lower() in CATEGORIES


def is_number(dtype: Any) -> bool:
    """Whether a frame's dtype is one of numbers, or of booleans."""
    if hasattr(dtype, "is_numeric"):  # polars
        return bool(dtype.is_numeric()) or str(dtype) == "Boolean"
    return getattr(dtype, "kind", "O") in "biuf" or bool(getattr(dtype, "_is_numeric", False))
