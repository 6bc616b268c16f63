"""pandas, which is not required, where a table is asked for."""

from __future__ import annotations

from typing import Any


def data_frame(columns: Any, what: str, instead: str, index: Any = None) -> Any:
    """A pandas DataFrame.

    Parameters
    ----------
    columns : dict of str to array-like, or list of dict
    what : str
        What asked for it, for the message.
    instead : str
        Where the same can be had without pandas, as a sentence.
    index : array-like, optional
        Labels of the rows.

    Raises
    ------
    ImportError
        If pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError(
            f'{what} is a pandas DataFrame: pip install "skprune[cli]". {instead}'
        ) from error
    return pd.DataFrame(columns, index=index)
