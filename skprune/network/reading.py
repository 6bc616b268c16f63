"""Check the arguments of ``fit`` for networks, and make a table of positions of them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from skprune.data.copies import find_copies
from skprune.data.signature import UNKNOWN, Signature, read_signature
from skprune.data.sources import RowSource, as_source, is_dataset
from skprune.data.table import MANY_VALUES, Table, number_classes, read_weights
from skprune.losses.read import loss_class
from skprune.network.encoding import SourceRows
from skprune.network.torch_model import is_skorch


def read_rows(X: Any, y: Any, sample_weight: Any, loss: Any, model: Any = None) -> Table:
    """Rows for a torch model.

    Parameters
    ----------
    X : whatever ``as_source`` takes
    y : array-like of shape (n,) or (n, L), or None
        None takes the targets of the dataset.
    sample_weight : array-like of shape (n,), or None
    loss : object or None
        The loss that the model was trained with, if it is known.
    model : nn.Module, skorch net, callable or None
        Its forward tells which inputs it takes.

    Returns
    -------
    Table
        ``y`` holds class numbers (labels in words are numbered in sorted order) or numbers.

    Raises
    ------
    ValueError
        For targets that are missing, not finite, or of one class only.
    """
    source, copies = as_source(X, y, signature_of(model)), find_copies(X)
    if len(source) < 2:
        raise ValueError(f"Found {len(source)} row(s), while at least 2 are required.")
    weights, unit = read_weights(sample_weight, np.empty((len(source), 0)))
    y = _read_targets(source, "y", loss)
    if not _are_classes(y, loss):
        if y.dtype.kind in "OUST":
            raise ValueError(f"The targets are words such as {y.flat[0]!r}; give numbers.")
        return Table(
            _rows(source), y, np.zeros(len(y), dtype=np.int64), None, weights, unit, copies
        )
    classes, codes = number_classes(y, weights)
    if y.dtype.kind in "OUST":  # a model that is trained on these rows gets numbers as well
        source, y = source.with_targets(codes), codes
    return Table(_rows(source), y, codes, classes, weights, unit, copies)


def read_validation_rows(X: Any, y: Any, table: Table, loss: Any, model: Any = None) -> Table:
    """Held-out rows that the user brings.

    Raises
    ------
    ValueError
        If they have labels in words that the training rows lack, or targets of another shape.
    """
    if X is None:
        raise ValueError("X_val and y_val go together; pass both or neither.")
    if y is None and not is_dataset(X):
        raise ValueError("X_val is given without y_val; pass both, or a dataset as X_val.")
    source = as_source(X, y, signature_of(model))
    y = _read_targets(source, "y_val", loss)
    if table.classes is not None and table.classes.dtype.kind in "OUST":
        unknown = np.setdiff1d(y, table.classes)
        if len(unknown):
            raise ValueError(f"y_val has labels that y lacks: {unknown.tolist()[:10]}.")
        y = np.searchsorted(table.classes, y)
        source = source.with_targets(y)
    if y.shape[1:] != table.y.shape[1:]:
        raise ValueError(
            f"y_val has rows of shape {y.shape[1:]}, and y of shape {table.y.shape[1:]}."
        )
    n = len(source)
    codes = np.zeros(n, dtype=np.int64)
    return Table(_rows(source), y, codes, table.classes, np.ones(n), None, find_copies(X))


def signature_of(model: Any) -> Signature:
    """The inputs of a model's forward; unknown for a model that a callable trains."""
    module = (
        getattr(model, "module_", getattr(model, "module", None)) if is_skorch(model) else model
    )
    if isinstance(module, nn.Module):
        return read_signature(module.forward)
    if isinstance(module, type) and issubclass(module, nn.Module):
        return read_signature(module.forward, bound=False)
    return UNKNOWN


def _rows(source: RowSource) -> SourceRows:
    return SourceRows(source, np.arange(len(source)))


def _read_targets(source: RowSource, name: str, loss: Any) -> NDArray[Any]:
    """Targets, finite; one column is a vector, but for a loss of the caller's own."""
    y = source.targets()
    if y.dtype.kind == "O" and any(not isinstance(v, str) for v in y.flat):
        raise ValueError(f"{name} holds objects that are not all words; give numbers or words.")
    if y.dtype.kind not in "biufOUST":
        raise ValueError(f"{name} holds values of type {y.dtype}; give labels or numbers.")
    if y.dtype.kind == "f" and not np.isfinite(y).all():
        raise ValueError(f"{name} holds NaN or infinity; leave these rows out.")
    known = loss is None or loss_class(loss).predicts_classes is not None
    return y[:, 0] if known and y.ndim == 2 and y.shape[1] == 1 else y


def _are_classes(y: NDArray[Any], loss: Any) -> bool:
    """Whether every row belongs to one of some classes, each of which keeps some of its rows."""
    kind = loss_class(loss)
    if y.ndim > 1 or kind.predicts_classes is False:
        return False
    if y.dtype.kind in "bOUST":
        return True
    values = np.unique(y)
    if bool((values != np.rint(values)).any()):
        return False
    if kind.predicts_classes:  # which may come as floating numbers
        return kind.exclusive or bool(np.isin(values, (0, 1)).all())
    # Whole numbers may be those of a regression.
    codes = y.dtype.kind != "f" and np.ptp(values) == len(values) - 1
    return len(values) <= MANY_VALUES or bool(codes)
