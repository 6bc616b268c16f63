"""The caller's own rows, for models that are trained on them as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import scipy.sparse as sp

from skprune.data.containers import take_rows
from skprune.data.copies import is_new, numbered
from skprune.data.sources import is_dataset
from skprune.data.table import Table
from skprune.network.encoding import SourceRows
from skprune.network.torch_model import is_network
from skprune.proxies.shorthands import trained_model
from skprune.proxies.verify import DefaultBoosting, Verify

if TYPE_CHECKING:
    from skprune.evaluation.retrained import Data


@dataclass(frozen=True)
class Given:
    """What the caller handed to ``fit``.

    Attributes
    ----------
    X, y : object
    X_val, y_val : object or None
    whole : Table
        The rows of X.
    validation : Table or None
        Those of X_val.
    """

    X: Any
    y: Any
    X_val: Any
    y_val: Any
    whole: Table
    validation: Table | None

    def rows(self, part: Table, verify: Verify, proxy: Any) -> Data:
        """Some rows of X, as what is trained takes them."""
        return _data_of(self.X, self.y, part, self.whole, verify, proxy)

    def brought(self, part: Table, verify: Verify, proxy: Any) -> Data:
        """Some rows of X_val, or of X if there are none."""
        if self.validation is None:
            return self.rows(part, verify, proxy)
        return _data_of(self.X_val, self.y_val, part, self.validation, verify, proxy)


def _data_of(X: Any, y: Any, table: Table, whole: Table, verify: Verify, proxy: Any) -> Data:
    """The rows of ``table``, of X and y whose rows are ``whole``, as what is trained takes them."""
    from skprune.evaluation.retrained import Data

    trained = trained_model(proxy, verify)
    estimator = hasattr(trained, "fit") and not is_network(trained)
    every = np.arange(len(table))
    units = None if table.copies is None else numbered(table.copies.units)
    about = (table.given_weights(every), units)
    if isinstance(verify, DefaultBoosting):
        rows = table.X.toarray() if sp.issparse(table.X) else np.asarray(table.X)
        return Data(rows, table.y, *about)
    if isinstance(table.X, SourceRows) and not (estimator and not is_dataset(X)):
        return Data(table.X, None, *about)
    if len(table) == len(whole):  # all of them: no copy
        return Data(X, y, *about)
    return Data(take_rows(X, table.positions), take_rows(y, table.positions), *about)


def new_rows(X: Any, table: Table, X_new: Any, new: Table) -> Table:
    """The rows of X_new, read as ``new``, that are no copies of rows of X, read as ``table``."""
    compared = (X, X_new) if isinstance(table.X, SourceRows) else (table.X, new.X)
    places = np.flatnonzero(is_new(*compared, len(new)))
    if not len(places):
        raise ValueError(
            f"All {len(new):,} rows to measure on are copies of fitted rows, and say nothing of "
            "rows that no model has seen; bring others."
        )
    return new.take(places)
