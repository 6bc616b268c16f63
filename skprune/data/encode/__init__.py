"""Columns of numbers, dates and text as numbers, for what examines the rows."""

from skprune.data.encode.column import read_column
from skprune.data.encode.encoder import TableEncoder
from skprune.data.encode.rows import RowEncoder

__all__ = ["RowEncoder", "TableEncoder", "read_column"]
