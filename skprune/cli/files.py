"""Read tables, and write some of their rows without changing a character."""

from __future__ import annotations

import codecs
import csv
import gzip
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.cli.columns import typed
from skprune.cli.delimiters import find_delimiter

SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")
#: Records that are turned into columns at a time.
CHUNK = 20_000
#: Number of lines from which the delimiter is found.
SAMPLE = 200


class InputError(Exception):
    """The user's input cannot be used; the message is one line for stderr."""


@dataclass(frozen=True)
class Source:
    """A table as it is in its file.

    Attributes
    ----------
    names : list of str
    columns : list of pyarrow ChunkedArray
        Text for csv and tsv, else the file's own types.
    typed : bool
        Whether the types are the file's own.
    index : set of str
        Columns that hold the index of a pandas frame.
    notes : list of str
        Notes for the user on how the file was read.
    copy : callable
        ``copy(path, indices, suffix)`` writes rows unchanged; it returns False if the suffix is
        that of another kind of file.
    """

    names: list[str]
    columns: list[Any]
    typed: bool
    index: set[str]
    notes: list[str]
    copy: Callable[[Path, NDArray[np.int64], str], bool]

    @property
    def n_rows(self) -> int:
        """Rows of the table."""
        return len(self.columns[0]) if self.columns else 0

    def write(
        self,
        path: Path,
        indices: NDArray[np.int64],
        suffix: str,
        added: tuple[str, NDArray[np.float64]] | None = None,
    ) -> None:
        """Write some rows to ``path`` in the format of ``suffix``.

        ``added`` is the name of a further column and its values in these rows.
        """
        if added is not None or not self.copy(path, indices, suffix):
            self._convert(path, indices, suffix, added)

    def _convert(
        self,
        path: Path,
        indices: NDArray[np.int64],
        suffix: str,
        added: tuple[str, NDArray[np.float64]] | None,
    ) -> None:
        import pyarrow as pa

        columns = self.columns
        if suffix == ".parquet":
            columns = [typed(column) for column in columns]
        table = pa.Table.from_arrays(columns, names=self.names).take(indices)
        if added is not None:
            table = table.append_column(added[0], pa.array(added[1]))
        if suffix == ".parquet":
            import pyarrow.parquet as pq

            pq.write_table(table, path)
            return
        from pyarrow.csv import WriteOptions, write_csv

        options = WriteOptions(delimiter="\t" if suffix.startswith(".tsv") else ",")
        try:
            with _open(path, suffix, "wb") as file:
                write_csv(table, file, options)
        except (pa.ArrowException, NotImplementedError) as error:
            raise InputError(f"this table cannot be written as {suffix[1:]}: {error}") from error


def read_source(path: Path, delimiter: str | None = None) -> Source:
    """Read a table.

    Parameters
    ----------
    path : Path
    delimiter : str, optional
        Delimiter of csv and tsv files; None finds that of a csv file.

    Raises
    ------
    InputError
        If pandas or pyarrow is missing or the file is not what its name says.
    """
    try:
        import pandas
        import pyarrow
    except ImportError as error:
        raise InputError(
            f'reading tables needs pandas and pyarrow ({error}): pip install "skprune[cli]"'
        ) from error
    del pandas, pyarrow
    if path.stat().st_size == 0:
        raise InputError(f"{path} is empty.")
    suffix = format_of(path)
    try:
        return _read_parquet(path) if suffix == ".parquet" else _read_text(path, suffix, delimiter)
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be unpacked: {error}") from error


def _read_parquet(path: Path) -> Source:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            table, metadata = file.read(), file.metadata
    except pa.ArrowException as error:
        raise InputError(f"{path} cannot be read as parquet: {error}") from error
    has_data = metadata.num_row_groups and metadata.num_columns
    compression = metadata.row_group(0).column(0).compression if has_data else "SNAPPY"

    def copy(out: Path, indices: NDArray[np.int64], suffix: str) -> bool:
        if suffix == ".parquet":
            kept = table.take(indices)
            pq.write_table(kept, out, compression=compression.replace("UNCOMPRESSED", "NONE"))
        return suffix == ".parquet"

    index = (table.schema.pandas_metadata or {}).get("index_columns", [])
    names = {name for name in index if isinstance(name, str)}
    return Source(list(table.column_names), list(table.columns), True, names, [], copy)


def _read_text(path: Path, suffix: str, delimiter: str | None) -> Source:
    """Read csv or tsv: the unchanged records, and their fields as columns of text."""
    notes = []
    with _open(path, suffix, "rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise InputError(f"{path} is UTF-16 text; convert it to UTF-8 first.")
    own = "\t" if suffix.startswith(".tsv") else ","
    if delimiter is None and own == "\t":
        delimiter = own
    try:
        encoding = "utf-8"
        records, header, columns, delimiter = _read_records(path, suffix, encoding, delimiter)
    except UnicodeDecodeError:
        encoding = "latin-1"  # any bytes, and they come out as they came in
        records, header, columns, delimiter = _read_records(path, suffix, encoding, delimiter)
        notes.append("the file is not UTF-8; it was read as Latin-1")
    if delimiter != own:
        notes.append(f"fields are separated by {delimiter!r}")

    def copy(out: Path, indices: NDArray[np.int64], wanted: str) -> bool:
        if wanted[:4] != suffix[:4]:
            return False
        with _open(out, wanted, "wt", encoding=encoding, newline="") as file:
            # Only the last record can lack its line end, and order is kept: nothing to mend.
            file.write(records[0])
            file.writelines(records[i + 1] for i in indices)
        return True

    # DataFrame.to_csv writes the index first, and without a name.
    index = {""} if header[0] == "" and header.count("") == 1 else set()
    return Source(header, columns, False, index, notes, copy)


def _read_records(
    path: Path, suffix: str, encoding: str, delimiter: str | None
) -> tuple[list[str], list[str], list[Any], str]:
    """The records with their line ends (header first), the header, the columns, the delimiter."""
    import pyarrow as pa

    limit = csv.field_size_limit(2**31 - 1)  # the default, 131072, is less than a long text
    try:
        with _open(path, suffix, "rt", encoding=encoding, newline="") as file:
            if delimiter is None:
                delimiter = find_delimiter(list(islice(file, SAMPLE)))
                file.seek(0)
            lines = _Lines(file)
            reader = csv.reader(lines, delimiter=delimiter, strict=True)
            header: list[str] = next(reader, [])
            records = [lines.taken()]
            if not header:
                raise InputError(f"{path} has no header line.")
            chunks: list[list[Any]] = [[] for _ in header]
            rows: list[list[str]] = []

            def flush() -> None:
                for chunk, values in zip(chunks, zip(*rows, strict=True), strict=False):
                    chunk.append(pa.array(values, pa.string()))
                rows.clear()

            for fields in reader:
                record = lines.taken()
                if not fields:
                    continue  # an empty line is no row
                if len(fields) != len(header):
                    raise InputError(
                        f"{path}, line {reader.line_num}: {len(fields)} fields, but the header "
                        f"has {len(header)}; they were separated at {delimiter!r}, --sep says "
                        "where else."
                    )
                records.append(record)
                rows.append(fields)
                if len(rows) == CHUNK:
                    flush()
            flush()
    except csv.Error as error:
        raise InputError(f"{path}, line {reader.line_num}: {error}.") from error
    finally:
        csv.field_size_limit(limit)
    return records, header, [pa.chunked_array(chunk, pa.string()) for chunk in chunks], delimiter


class _Lines:
    """Iterator over the lines of a text file that remembers the lines of the last record."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._is_first = True
        self._mark = ""
        self._taken: list[str] = []

    def taken(self) -> str:
        """All lines since the last call, unchanged."""
        text = self._mark + "".join(self._taken)
        self._mark = ""
        self._taken.clear()
        return text

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        line = self._file.readline()
        if self._is_first and line.startswith("\ufeff"):  # a byte-order mark is not of the name
            self._mark, line = "\ufeff", line[1:]
        self._is_first = False
        if not line:
            raise StopIteration
        self._taken.append(line)
        return line


def _open(path: Path, suffix: str, mode: str, **options: Any) -> Any:
    if suffix.endswith(".gz"):
        return gzip.open(path, mode, **options)
    return open(path, mode, **options)


def format_of(path: Path) -> str:
    """The suffix of a table's file, one of ``SUFFIXES``."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return suffix
    raise InputError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}.")


def check_writable(option: str, path: Path, *, force: bool) -> None:
    """Refuse a path that cannot or must not be written."""
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: the folder {path.parent} does not exist.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {path}: the folder {path.parent} cannot be written to.")
    if path.exists() and not force:
        raise InputError(f"{option} {path} exists; --force writes over it.")


@contextmanager
def replacing(path: Path, *, force: bool) -> Iterator[Path]:
    """A new file beside ``path`` that takes its place at the end, if there is no error."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        check_writable("output", path, force=force)  # it may have come up in the meantime
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)
