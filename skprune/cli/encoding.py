"""A file's columns as the numbers that the pruner works with."""

from __future__ import annotations

import warnings
from collections.abc import Collection
from typing import Any

from skprune.cli.files import InputError, Source
from skprune.data.encode.column import read_column
from skprune.data.encode.encoder import ROW_NUMBERS, TableEncoder


def encode_table(
    source: Source, leave_out: int, drop: Collection[str] = ()
) -> tuple[Any, list[str]]:
    """All columns but the target as numbers.

    Columns whose meaning is uncertain are named in warnings.

    Parameters
    ----------
    source : Source
    leave_out : int
        Position of the target.
    drop : collection of str
        Names of columns that the user does not want encoded.

    Returns
    -------
    X : ndarray or csr_matrix of shape (n_rows, n_encoded)
    notes : list of str
        How every column was understood, one line for those that are alike.

    Raises
    ------
    InputError
        If no column can be encoded.
    """
    columns = [
        (name, read_column(column.to_pandas()))
        for at, (name, column) in enumerate(zip(source.names, source.columns, strict=True))
        if at != leave_out
    ]
    left_out = {**dict.fromkeys(source.index, ROW_NUMBERS), **dict.fromkeys(drop, "as asked")}
    encoder = TableEncoder().fit(columns, left_out)
    try:
        X = encoder.transform(columns)
    except ValueError as error:
        raise InputError(str(error)) from error
    for diagnostic in encoder.diagnostics:
        warnings.warn(diagnostic, stacklevel=2)
    return X, encoder.describe()
