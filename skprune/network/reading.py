"""What a user of torch hands to ``fit``, checked once and put into a table of positions."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from skprune.datasets import RowSource, as_source
from skprune.network.encoding import SourceRows
from skprune.reading import Table, check_weights

#: Losses of one class, or one zero or one, a row.
CLASS_LOSSES = (nn.CrossEntropyLoss, nn.NLLLoss, nn.BCELoss, nn.BCEWithLogitsLoss)


def read_rows(X: Any, y: Any, sample_weight: Any, loss: Any) -> Table:
    """Rows for a torch model.

    Parameters
    ----------
    X : whatever ``as_source`` takes
    y : array-like of shape (n,) or (n, L), or None
        None takes the targets of the dataset.
    sample_weight : array-like of shape (n,), or None
    loss : object or None
        What the model was trained with, as far as it is known.

    Returns
    -------
    Table
        ``y`` holds class numbers (labels in words are numbered in sorted order) or numbers.

    Raises
    ------
    ValueError
        For targets that are missing, not finite, or of one class only.
    """
    source = as_source(X, y)
    if len(source) < 2:
        raise ValueError(f"Found {len(source)} row(s), while at least 2 are required.")
    weights = check_weights(sample_weight, np.empty((len(source), 0)))
    return _table(source, weights, loss)


def read_validation_rows(X: Any, y: Any, table: Table, loss: Any) -> Table:
    """Held-out rows that the user brings.

    Raises
    ------
    ValueError
        If they have labels that the training rows lack.
    """
    source = as_source(X, y)
    targets = source.targets()
    if table.classes is not None and table.classes.dtype.kind in "OUST":
        unknown = np.setdiff1d(targets, table.classes)
        if len(unknown):
            raise ValueError(f"y_val has labels that y lacks: {unknown.tolist()[:10]}.")
        targets = np.searchsorted(table.classes, targets)
    n = len(source)
    rows, codes = SourceRows(source, np.arange(n)), np.zeros(n, dtype=np.int64)
    return Table(rows, targets, codes, table.classes, np.ones(n))


def _table(source: RowSource, weights: NDArray[np.float64], loss: Any) -> Table:
    y, n = source.targets(), len(source)
    rows = SourceRows(source, np.arange(n))
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError("The targets hold NaN or infinity; leave these rows out.")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    words = y.dtype.kind in "OUST"
    whole = words or y.dtype.kind in "iub" or isinstance(loss, CLASS_LOSSES)
    if y.ndim > 1 or not whole or isinstance(loss, nn.MSELoss):
        if words:
            raise ValueError(f"The targets are words such as {y.flat[0]!r}; give numbers.")
        return Table(rows, y, np.zeros(n, dtype=np.int64), None, weights)
    classes, codes = np.unique(y, return_inverse=True)
    if len(classes) < 2:
        raise ValueError(
            f"Pruning a classification needs at least 2 classes; got 1 class: {classes[0]}."
        )
    codes = codes.astype(np.int64)
    return Table(rows, codes if words else y, codes, classes, weights)
