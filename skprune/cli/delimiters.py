"""Find the delimiter of a text file."""

from __future__ import annotations

import csv
from collections.abc import Sequence

#: Delimiters that are tried. The comma is last, as it also occurs in names and numbers.
_TRIED = (";", "\t", "|", ",")


def find_delimiter(lines: Sequence[str]) -> str:
    """The delimiter by which most records have as many fields as the header.

    Parameters
    ----------
    lines : sequence of str
        The first lines of the file, header first.

    Returns
    -------
    str
        The comma if no delimiter separates fields.
    """
    fits = {delimiter: _fit(lines, delimiter) for delimiter in _TRIED}
    best = max(_TRIED, key=fits.__getitem__)
    return best if fits[best] else ","


def _fit(lines: Sequence[str], delimiter: str) -> float:
    """The share of records that have the header's number of fields; 0 if that is one."""
    widths = [len(fields) for fields in csv.reader(lines, delimiter=delimiter) if fields]
    if not widths or widths[0] < 2:
        return 0.0
    records = widths[1:] or widths
    return records.count(widths[0]) / len(records)
