"""What is sure of the head on the kept rows, on any rows that a user asks about."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprune.data.containers import n_rows, plain
from skprune.data.sources import is_dataset
from skprune.proxies.recheck import kept_rows
from skprune.proxies.shorthands import as_proxy
from skprune.results.bounds import PredictionBounds


def prediction_bounds(pruner: Any, given: tuple[Any, Any, Any], X: Any, y: Any) -> PredictionBounds:
    """Bounds of what the head of the kept rows says of the rows X.

    Parameters
    ----------
    pruner : InfluencePruner
        Fitted.
    given : tuple
        X, y and sample_weight of its ``fit``.
    X, y
        The rows in question; y may be None, and a dataset has its own.
    """
    labelled = y is not None or is_dataset(X)
    if not labelled and given[1] is not None:  # any target will do to read the rows
        y = np.repeat(np.asarray(plain(given[1]))[:1], n_rows(X), axis=0)
    rows = as_proxy(pruner.model).read(pruner, *given, X, y).validation
    assert rows is not None  # X is given
    fitted = pruner._proxy
    return fitted.bounds(kept_rows(pruner, fitted.table), rows, labelled=labelled)
