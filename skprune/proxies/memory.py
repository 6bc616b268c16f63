"""Explain memory errors on a table: what was needed, and which options need less."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

import numpy as np
import scipy.sparse as sp
from sklearn.pipeline import Pipeline

from skprune.proxies.shorthands import unwrapped

Fit = TypeVar("Fit", bound=Callable[..., Any])

UNITS = ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB")


def says_what_fits(fit: Fit) -> Fit:
    """Let a pruner's ``fit`` explain a memory error on a table."""

    @wraps(fit)
    def fitted(self: Any, X: Any, y: Any = None, *args: Any, **params: Any) -> Any:
        try:
            return fit(self, X, y, *args, **params)
        except (MemoryError, RuntimeError) as error:
            from skprune.network.batches import is_short_of_memory
            from skprune.network.torch_model import is_network  # torch comes with the first fit

            if is_network(unwrapped(self.model)) or not is_short_of_memory(error):
                raise
            raise MemoryError(f"Memory ran out ({error}). {_needs(self, X, y)}") from error

    return cast(Fit, fitted)


def _needs(pruner: Any, X: Any, y: Any) -> str:
    from skprune.data.table import read_target
    from skprune.heads.reading import is_continuous

    n, *width = np.shape(X)
    d, target = math.prod(width), read_target(y, pruner)
    classes = 1 if is_continuous(target, unwrapped(pruner.model)) else len(np.unique(target))
    D, K = d + 1, classes if classes > 2 else 1
    if sp.issparse(X):
        rows = f"X holds {X.nnz} entries x 12 bytes = {_size(12 * X.nnz)}"
    else:
        rows = (
            f"X is {n} rows x {d} columns x 8 bytes = {_size(8 * n * d)} as float64, half of that "
            "as float32"
        )
    encoded = ""
    if isinstance(unwrapped(pruner.model), Pipeline):
        encoded = " The output of the Pipeline in model= may have more columns than X, or be dense."
    # Numbers of 8 bytes: H, its factor and the inverse, or a factor's own four; two diagonals.
    cure = (
        '; or LinearProxy(..., curvature="diagonal" or "ekfac")'
        if hasattr(pruner, "verify")
        else ""
    )
    return (
        f"{rows}; the curvature of a head of {D} x {K} parameters takes {_size(24 * (D * K) ** 2)} "
        f'as "dense", {_size(32 * D**2)} as "ekfac" and {_size(16 * D * K)} as "diagonal". Give '
        f"float32, fewer columns, or a scipy.sparse matrix where most entries are 0{cure}."
        + encoded
    )


def _size(nbytes: float) -> str:
    """Bytes in the unit that gives them at most four digits."""
    power = min(len(UNITS) - 1, int(math.log(max(nbytes, 1), 1024)))
    return f"{nbytes / 1024**power:.3g} {UNITS[power]}"
