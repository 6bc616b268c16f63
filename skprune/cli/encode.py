"""Columns of text, dates and numbers as numbers, for the examination only."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray

from skprune.cli.columns import (
    MISSING,
    as_numbers,
    as_seconds,
    as_text,
    kind_of,
    parse_dates,
    parse_numbers,
    typed,
)
from skprune.cli.files import InputError, Source, did_you_mean

#: Levels of a text column that get a column of their own; the rarer ones share one.
MAX_LEVELS = 50
#: A text column with more distinct values than this share of its rows names rows ...
ID_SHARE = 0.5
#: ... if it has more than this many.
ID_VALUES = 20
#: Encoded tables with fewer entries are dense: faster, and 400 MB at most.
DENSE_ENTRIES = 50_000_000


def find_target(source: Source, name: str) -> int:
    """Position of the target column ``name``."""
    places = [i for i, column in enumerate(source.names) if column == name]
    if len(places) == 1:
        return places[0]
    if places:
        raise InputError(f"--target {name}: {len(places)} columns have that name.")
    columns = ", ".join(source.names[:20]) + (", ..." if len(source.names) > 20 else "")
    guess = did_you_mean(name, source.names)
    raise InputError(f"--target {name} is no column of the table{guess} (columns: {columns})")


def read_target(source: Source, at: int, task: str) -> NDArray[Any]:
    """The target: whole numbers, numbers, or labels as text.

    Raises
    ------
    InputError
        If rows have no target, or it is not what ``task`` needs.
    """
    import pyarrow.types as types

    name, column = source.names[at], source.columns[at]
    kind = kind_of(column.type)
    if kind == "other":
        raise InputError(f"--target {name} is of type {column.type}, which is no target.")
    text = as_text(column)
    nothing = () if source.typed else MISSING
    numbers = as_numbers(column) if kind == "number" else None
    absent = sum(value is None or value in nothing for value in text)
    if numbers is not None:
        absent = int(np.isnan(numbers).sum())
    if absent:
        raise InputError(
            f"--target {name}: {absent:,} of {source.n_rows:,} rows have no value there; drop "
            "these rows first."
        )
    if kind == "text" and not source.typed:
        numbers = parse_numbers(column)
        column = typed(column)
    if task == "regression" and numbers is None:
        raise InputError(f"--target {name} is not all numbers, as --task regression needs.")

    is_quantity = kind_of(column.type) == "number" and not types.is_boolean(column.type)
    if numbers is not None and (task == "regression" or is_quantity):
        if not np.isfinite(numbers).all():
            raise InputError(f"--target {name} has infinite values.")
        if task != "regression" and types.is_integer(column.type):
            return np.asarray(column.to_numpy())
        if task != "classification":
            return numbers
    n_labels = len(set(text))
    if n_labels > ID_VALUES and n_labels > ID_SHARE * len(text):
        raise InputError(
            f"--target {name} has {n_labels:,} different values in {len(text):,} rows: these "
            "are no classes."
        )
    return np.array(text, dtype=object)


def encode_table(source: Source, leave_out: int) -> tuple[Any, list[str]]:
    """All columns but the target as numbers, for the examination.

    Parameters
    ----------
    source : Source
    leave_out : int
        Position of the target.

    Returns
    -------
    X : ndarray or csr_matrix of shape (n_rows, n_encoded)
    notes : list of str
        What became of the columns.

    Raises
    ------
    InputError
        If no column says anything.
    """
    blocks: list[Any] = []
    counts = {"numeric": 0, "date": 0, "text": 0}
    levels = 0
    left_out: dict[str, list[str]] = {}
    for at, (name, column) in enumerate(zip(source.names, source.columns, strict=True)):
        if at == leave_out:
            continue
        if name in source.index:
            kind, block = "numbers the rows", None
        else:
            kind, block = _encode_column(column, source.typed)
        if block is None:
            left_out.setdefault(kind, []).append(name or "the column without a name")
            continue
        counts[kind] += 1
        levels += block.shape[1] if kind == "text" else 0
        blocks.append(block)
    excluded = [f"left out: {', '.join(names)} ({why})" for why, names in left_out.items()]
    if not blocks:
        why = "; ".join(excluded) or "the target is the only one"
        raise InputError(f"no column can be examined: {why}.")
    X = sp.hstack(blocks, format="csr")
    if X.shape[0] * X.shape[1] <= DENSE_ENTRIES:
        X = X.toarray()
    words = [f"{n} {kind}" for kind, n in counts.items() if n]
    if counts["text"]:
        words[-1] += f" (as {levels} levels)"
    return X, [f"columns examined: {', '.join(words)}", *excluded]


def _encode_column(column: Any, typed: bool) -> tuple[str, Any]:
    """The kind of a column and its sparse block, or why it is left out and None."""
    kind = kind_of(column.type)
    if kind == "other":
        return f"type {column.type} cannot be examined", None
    if kind == "number":
        return _number_block("numeric", as_numbers(column))
    if kind == "time":
        return _number_block("date", as_seconds(column))
    if not typed:
        numbers = parse_numbers(column)
        if numbers is not None:
            return _number_block("numeric", numbers)
        dates = parse_dates(column)
        if dates is not None:
            return _number_block("date", dates)
    return _text_block(column)


def _number_block(kind: str, values: NDArray[np.float64]) -> tuple[str, Any]:
    """Centred and scaled numbers, so that they may stay sparse, with gaps at the median."""
    known = np.isfinite(values)
    if not known.any():
        return "empty", None
    values = np.where(known, values, np.median(values[known]))
    values = values / (np.abs(values).max() or 1.0)  # so that no square overflows
    centred = values - values.mean()
    scale = float(np.sqrt(np.mean(centred**2)))
    if not scale > 1e-12:
        return "constant", None
    return kind, sp.csr_matrix((centred / scale)[:, None])


def _text_block(column: Any) -> tuple[str, Any]:
    """One column a level; a missing value is a level, rare levels share one."""
    import pandas as pd

    codes, levels = pd.factorize(np.asarray(as_text(column), dtype=object))
    missing = codes < 0
    n, n_present = len(codes), int((~missing).sum())
    if n_present == 0:
        return "empty", None
    if len(levels) > ID_VALUES and len(levels) > ID_SHARE * n_present:
        return "nearly unique text", None
    codes = np.where(missing, len(levels), codes)
    counts = np.bincount(codes)
    if np.count_nonzero(counts) == 1:
        return "constant", None
    frequent = np.argsort(-counts, kind="stable")[:MAX_LEVELS]
    frequent = frequent[counts[frequent] >= min(10, max(1, n // 100))]
    position = np.full(len(counts), len(frequent))
    position[frequent] = np.arange(len(frequent))
    places = position[codes]
    width = int(places.max()) + 1
    if width == 1:
        return "rare values only", None
    return "text", sp.csr_matrix((np.ones(n), (np.arange(n), places)), shape=(n, width))
