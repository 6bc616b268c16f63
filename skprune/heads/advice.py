"""Advice to errors of models that are trained on a caller's own rows."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from skprune.data.containers import SHOWN, frame_hint, n_rows
from skprune.heads.linear_spec import sampler_in
from skprune.utils.exceptions import advised

#: What errors say that come of columns that are no numbers.
ABOUT_KINDS = re.compile("convert|dtype|categor|string|float\\(\\)|promote", re.IGNORECASE)


@contextmanager
def advised_fit(model: Any, X: Any) -> Iterator[None]:
    """Add advice to an error of a model while it is fitted to rows X: what it may have stumbled at.

    The first line is the model's own.
    """
    if sampler := sampler_in(model):
        advice = (
            f"The sampler {sampler} was given the kept rows alone: raise min_per_class= so that "
            "every class keeps as many as it needs, and leave out weights, which its new rows do "
            "not have."
        )
        with advised("", advice):
            yield
        return
    try:
        yield
    except (TypeError, ValueError) as error:
        about_kinds = ABOUT_KINDS.search(str(error)) is not None
        if not (advice := "\n\n".join(_suspects(model, X, about_kinds))):
            raise
        kind = TypeError if isinstance(error, TypeError) else ValueError
        said = f"{type(model).__name__} could not be fitted to {n_rows(X):,} rows: {error}"
        raise kind(f"{said}\n{advice}") from error


def _suspects(model: Any, X: Any, about_kinds: bool) -> Iterator[str]:
    """Advice about columns without a value, and about those that are no numbers."""
    if empty := _without_values(X):
        names = ", ".join([str(c) for c in empty[:SHOWN]] + ["..."] * (len(empty) > SHOWN))
        yield f"None of these rows has a value in {names}: leave it out, or keep more rows."
    last = model.steps[-1][1] if hasattr(model, "steps") else model
    if about_kinds and (hint := frame_hint(X, type(last).__name__)):
        yield hint


def _without_values(X: Any) -> list[Any]:
    """Columns of a frame of pandas or of an array in which all values are missing."""
    if hasattr(X, "isna"):
        return list(X.columns[X.isna().all().to_numpy()])
    if isinstance(X, np.ndarray) and X.ndim == 2 and X.dtype.kind == "f":
        return [f"column {j}" for j in np.flatnonzero(np.isnan(X).all(axis=0))]
    return []
