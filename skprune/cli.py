"""The command line: ``skprune prune`` for csv, tsv and parquet files, and ``skprune demo``.

A table is read twice over: as it is, to be written again without a changed character, and as
numbers, for the pruner to examine. Only the second reading interprets anything.
"""

from __future__ import annotations

import argparse
import codecs
import csv
import difflib
import gzip
import html
import io
import math
import os
import re
import sys
import time
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import get_scorer_names
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skprune import __version__
from skprune.baselines import RandomPruner
from skprune.display import PruningCurveDisplay
from skprune.models.adapters import DEFAULT_STRENGTH
from skprune.pruner import InfluencePruner

#: Levels of a text column that get a column of their own; the rarer ones share one.
MAX_LEVELS = 50
#: A text column with more distinct values than this share of its rows names rows ...
ID_SHARE = 0.5
#: ... if it has more than this many.
ID_VALUES = 20
#: Encoded tables with fewer entries are dense: faster, and 400 MB at most.
DENSE_ENTRIES = 50_000_000
#: Records that are turned into columns at a time.
CHUNK = 20_000

#: What stands for "no value" in the text of a csv file, where a number or a date is expected.
MISSING = ("", "NA", "N/A", "n/a", "#N/A", "NaN", "nan", "-nan", "null", "NULL", "<NA>")
SUFFIXES = (".csv", ".csv.gz", ".tsv", ".tsv.gz", ".parquet")

DESCRIPTION = "Prune the rows of a training set: keep the fewest that cost at most a given gap."
PRUNE_DESCRIPTION = """\
Write the fewest rows of a table on which a linear model, retrained, loses at
most GAP on held-out rows (or the best KEEP rows). Kept rows stay in their
order with all their columns; of csv and tsv files not a character changes.
For the examination only, text columns are one-hot encoded, dates become
numbers and missing values the median. The gap is that of the linear model:
before training another kind on the kept rows, measure it, or keep more.
"""
PRUNE_EPILOG = """\
example:
  skprune prune data.csv --target y --max-gap 0.01 --out kept.csv

exit codes:
  0  done
  1  the gap cannot be met: all rows were kept (and written)
  2  wrong usage or input: one line on stderr says what; nothing was written
"""
DEMO_DESCRIPTION = """\
Prune the handwritten digits that come with scikit-learn, and compare: all
rows, the kept ones and random ones, on rows that the pruner never saw.
"""


class InputError(Exception):
    """What the user gave cannot be used; the message is one line for stderr."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; None takes those of the process.

    Returns
    -------
    int
        Exit code: 0 done, 1 the budget cannot be met, 2 wrong input. For wrong usage argparse
        raises ``SystemExit(2)``.
    """
    args = build_parser().parse_args(argv)
    try:
        return int(args.run(args))
    except (InputError, OSError) as error:
        print(f"skprune {args.command}: error: {_one_line(error)}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"skprune {args.command}: interrupted", file=sys.stderr)
        return 130


def build_parser() -> argparse.ArgumentParser:
    """The parser of both commands."""
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser("skprune", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"skprune {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    prune = commands.add_parser(
        "prune",
        help="prune a csv, tsv or parquet file",
        description=PRUNE_DESCRIPTION,
        epilog=PRUNE_EPILOG,
        formatter_class=raw,
    )
    prune.set_defaults(run=run_prune)
    add = prune.add_argument
    add("data", type=Path, metavar="DATA", help=f"the table: {', '.join(SUFFIXES)}")
    add("--target", required=True, metavar="COLUMN", help="what the model predicts")
    add("--out", required=True, type=Path, metavar="FILE", help="where the kept rows go")
    budget = prune.add_mutually_exclusive_group()
    budget.add_argument(
        "--max-gap",
        type=_gap,
        default=0.01,
        metavar="GAP",
        help="allowed gap, in the unit of --scoring (default: 0.01)",
    )
    budget.add_argument(
        "--keep",
        type=_size,
        metavar="KEEP",
        help="keep this share (0.2) or this many rows (500) instead",
    )
    add(
        "--scoring",
        default="loss",
        metavar="NAME",
        help="what the gap is measured in: loss (cross-entropy in nats, or squared error as a "
        "share of the variance; the default) or a scorer of scikit-learn's, such as accuracy",
    )
    add(
        "--task",
        choices=("auto", "classification", "regression"),
        default="auto",
        help="what kind of target it is; auto takes numbers with many values for regression",
    )
    add("--seed", type=_seed, metavar="N", help="random seed (default: derived from the target)")
    add("--report", type=Path, metavar="FILE", help="write the report as HTML, too")
    add("--force", action="store_true", help="write over existing files")
    add("--quiet", action="store_true", help="print errors and warnings only")

    demo = commands.add_parser("demo", help="prune real data, now", description=DEMO_DESCRIPTION)
    demo.set_defaults(run=run_demo)
    demo.add_argument("--plot", type=Path, metavar="FILE", help="save the curve, e.g. curve.png")
    demo.add_argument("--seed", type=_seed, default=0, metavar="N", help="default: 0")
    demo.add_argument("--force", action="store_true", help="write over an existing file")
    return parser


def _gap(text: str) -> float:
    value = _number(text)
    if not (value > 0 and math.isfinite(value)):
        raise argparse.ArgumentTypeError(f"must be a positive number, got {text!r}")
    return value


def _number(text: str) -> float:
    """The number that stands there, or NaN."""
    try:
        return float(text)
    except ValueError:
        return math.nan


def _size(text: str) -> float | int:
    if re.fullmatch(r"\d+", text):
        if int(text) < 1:
            raise argparse.ArgumentTypeError("at least 1 row must be kept")
        return int(text)
    share = _number(text)
    if not 0 < share <= 1:
        raise argparse.ArgumentTypeError(
            f"must be a share above 0 and up to 1.0, or a whole number of rows; got {text!r}"
        )
    return share


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d+", text) or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 0 to {2**32 - 1}, got {text!r}"
        )
    return int(text)


def _one_line(error: object) -> str:
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())


# ------------------------------------------------------------------------------- skprune prune


def run_prune(args: argparse.Namespace) -> int:
    """``skprune prune``; returns the exit code."""
    _check_paths(args.data, args.out, args.report, force=args.force)
    _check_scoring(args.scoring)
    source = read_source(args.data)
    at = _find_target(source, args.target)
    if source.n_rows == 0:
        raise InputError(f"{args.data} has a header but no rows.")
    if source.n_rows == 1:
        raise InputError(f"{args.data} has only one row: there is nothing to choose from.")
    if isinstance(args.keep, int) and args.keep > source.n_rows:
        raise InputError(f"--keep {args.keep}: {args.data} has only {source.n_rows} rows.")
    y = read_target(source, at, args.task)
    X, columns = encode(source, leave_out=at)
    notes = [*source.notes, *columns]

    pruner = InfluencePruner(
        args.max_gap,
        keep=args.keep,
        model={"auto": None, "classification": "softmax", "regression": "ridge"}[args.task],
        scoring=args.scoring,
        random_state=args.seed,
        verbose=int(sys.stderr.isatty() and not args.quiet),
    )
    with _warnings_on_stderr(args.command):
        try:
            pruner.fit(X, y)
        except (ValueError, TypeError) as error:
            raise InputError(f"{args.data}: {_one_line(error)}") from error
        except AttributeError as error:
            if args.scoring == "loss":
                raise
            why = f"--scoring {args.scoring} cannot be used here: {_one_line(error)}"
            raise InputError(why) from error  # such as probabilities that a regression lacks
    task = "classification" if hasattr(pruner, "classes_") else "regression"
    head = f"{args.data}: {source.n_rows:,} rows; target {args.target!r}, {task}"

    kept = pruner.sample_indices_
    with _replacing(args.out, force=args.force) as path:
        source.write(path, kept, _format_of(args.out))
    if args.report is not None:
        page = _report_page(pruner, head, notes)
        with _replacing(args.report, force=args.force) as path:
            path.write_text(page, encoding="utf-8")
    if not args.quiet:
        print("\n".join([head, *(f"  {note}" for note in notes)]))
        print(pruner.report_)
        print(f"{args.out}: {len(kept):,} rows written")
    return 0 if pruner.report_.met else 1


def _check_paths(data: Path, out: Path, report: Path | None, *, force: bool) -> None:
    """Refuse, before any work, what could not be read or written at its end."""
    _format_of(data)
    _format_of(out)
    if not data.exists():
        raise InputError(f"{data} does not exist.")
    if not data.is_file():
        raise InputError(f"{data} is not a file.")
    outputs = {"--out": out} if report is None else {"--out": out, "--report": report}
    for option, path in outputs.items():
        _check_writable(option, path, force=force)
        if path.resolve() == data.resolve():
            raise InputError(f"{option} is the input, {data}: give another name.")
    if report is not None and report.resolve() == out.resolve():
        raise InputError(f"--out and --report are the same file, {out}.")


def _check_writable(option: str, path: Path, *, force: bool) -> None:
    if path.is_dir():
        raise InputError(f"{option} {path} is a folder; give the name of a file.")
    if not path.parent.is_dir():
        raise InputError(f"{option} {path}: the folder {path.parent} does not exist.")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{option} {path}: the folder {path.parent} cannot be written to.")
    if path.exists() and not force:
        raise InputError(f"{option} {path} exists; --force writes over it.")


def _check_scoring(name: str) -> None:
    names = ["loss", *get_scorer_names()]
    if name not in names:
        raise InputError(f"--scoring {name} is not known{_did_you_mean(name, names)}")


def _did_you_mean(name: str, names: Sequence[str]) -> str:
    folded = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name.lower(), folded, n=1)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def _format_of(path: Path) -> str:
    """The suffix of a table's file, one of ``SUFFIXES``."""
    for suffix in sorted(SUFFIXES, key=len, reverse=True):
        if path.name.lower().endswith(suffix):
            return suffix
    raise InputError(f"{path}: the name must end in one of {', '.join(SUFFIXES)}.")


@contextmanager
def _warnings_on_stderr(command: str) -> Iterator[None]:
    """Every warning once and as one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for message in dict.fromkeys(_one_line(w.message) for w in caught if _is_for_users(w)):
        print(f"skprune {command}: warning: {message}", file=sys.stderr)


def _is_for_users(warning: warnings.WarningMessage) -> bool:
    developers = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning)
    return not issubclass(warning.category, developers)


@contextmanager
def _replacing(path: Path, *, force: bool) -> Iterator[Path]:
    """A new file beside ``path`` that takes its place at the end, if there is no error."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield scratch
        _check_writable("output", path, force=force)  # it may have come up in the meantime
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def _report_page(pruner: InfluencePruner, head: str, notes: Sequence[str]) -> str:
    """The report as an HTML page, with the curve in it if matplotlib is there."""
    curve = ""
    try:
        axes = _new_axes()
    except ImportError:
        pass
    else:
        figure = PruningCurveDisplay.from_estimator(pruner, ax=axes).figure_
        drawing = io.StringIO()
        figure.savefig(drawing, format="svg", metadata={"Date": None})
        curve = drawing.getvalue()[drawing.getvalue().index("<svg") :]
    lines = "".join(f"<p>{html.escape(line)}</p>\n" for line in [head, *notes])
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">'
        "<title>skprune report</title>\n<style>body { font-family: sans-serif; margin: 2em; "
        "max-width: 60em } th, td { padding: 0.1em 0.6em } caption { font-weight: bold }</style>"
        f"</head>\n<body>\n{lines}{pruner.report_._repr_html_()}\n{curve}\n"
        f"<p>skprune {__version__}</p>\n</body>\n</html>\n"
    )


# ---------------------------------------------------------------------------------- the tables


@dataclass(frozen=True)
class Source:
    """A table as it was found.

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
        What the user should know of the reading.
    copy : callable
        ``copy(path, indices, suffix)`` writes rows as they are; False if the suffix is that of
        another kind of file.
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

    def write(self, path: Path, indices: NDArray[np.int64], suffix: str) -> None:
        """Write some rows to ``path`` in the format of ``suffix``."""
        if not self.copy(path, indices, suffix):
            self._convert(path, indices, suffix)

    def _convert(self, path: Path, indices: NDArray[np.int64], suffix: str) -> None:
        import pyarrow as pa

        columns = self.columns
        if suffix == ".parquet":
            columns = [_typed(column) for column in columns]
        table = pa.Table.from_arrays(columns, names=self.names).take(indices)
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


def read_source(path: Path) -> Source:
    """Read a table.

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
    suffix = _format_of(path)
    try:
        return _read_parquet(path) if suffix == ".parquet" else _read_text(path, suffix)
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


def _read_text(path: Path, suffix: str) -> Source:
    """Read csv or tsv: records as they stand, and their fields as columns of text."""
    notes = []
    with _open(path, suffix, "rb") as file:
        if file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
            raise InputError(f"{path} is UTF-16 text; convert it to UTF-8 first.")
    try:
        encoding = "utf-8"
        records, header, columns, delimiter = _read_records(path, suffix, encoding)
    except UnicodeDecodeError:
        encoding = "latin-1"  # any bytes, and they come out as they came in
        records, header, columns, delimiter = _read_records(path, suffix, encoding)
        notes.append("the file is not UTF-8; it was read as Latin-1")
    if delimiter != ("\t" if suffix.startswith(".tsv") else ","):
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
    path: Path, suffix: str, encoding: str
) -> tuple[list[str], list[str], list[Any], str]:
    """The records with their line ends (header first), the header, the columns, the delimiter."""
    import pyarrow as pa

    limit = csv.field_size_limit(2**31 - 1)  # the default, 131072, is less than a long text
    try:
        with _open(path, suffix, "rt", encoding=encoding, newline="") as file:
            lines = _Lines(file)
            delimiter = "\t" if suffix.startswith(".tsv") else _delimiter(lines.peek())
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
                        f"has {len(header)}."
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
    """The lines of a text file, which remembers those that were taken for one record."""

    def __init__(self, file: Any) -> None:
        self._file = file
        self._first: str | None = None
        self._mark = ""
        self._taken: list[str] = []

    def peek(self) -> str:
        """The first line, without taking it."""
        self._first = self._file.readline()
        return self._first

    def taken(self) -> str:
        """All lines since the last call, as they stand in the file."""
        text = self._mark + "".join(self._taken)
        self._mark = ""
        self._taken.clear()
        return text

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        if self._first is not None:
            line, self._first = self._first, None
            if line.startswith("\ufeff"):  # a byte-order mark is no part of the first name
                self._mark, line = "\ufeff", line[1:]
        else:
            line = self._file.readline()
        if not line:
            raise StopIteration
        self._taken.append(line)
        return line


def _delimiter(header: str) -> str:
    """The comma, unless the header has none but semicolons, tabs or bars."""
    if "," in header:
        return ","
    return max(",;\t|", key=header.count)


def _open(path: Path, suffix: str, mode: str, **options: Any) -> Any:
    if suffix.endswith(".gz"):
        return gzip.open(path, mode, **options)
    return open(path, mode, **options)


def _find_target(source: Source, name: str) -> int:
    places = [i for i, column in enumerate(source.names) if column == name]
    if len(places) == 1:
        return places[0]
    if places:
        raise InputError(f"--target {name}: {len(places)} columns have that name.")
    columns = ", ".join(source.names[:20]) + (", ..." if len(source.names) > 20 else "")
    guess = _did_you_mean(name, source.names)
    raise InputError(f"--target {name} is no column of the table{guess} (columns: {columns})")


# ----------------------------------------------------------------------- what the pruner examines


def read_target(source: Source, at: int, task: str) -> NDArray[Any]:
    """The target: whole numbers, numbers, or labels as text.

    Raises
    ------
    InputError
        If rows have no target, or it is not what ``task`` needs.
    """
    import pyarrow.types as types

    name, column = source.names[at], source.columns[at]
    kind = _kind(column.type)
    if kind == "other":
        raise InputError(f"--target {name} is of type {column.type}, which is no target.")
    text = _as_text(column)
    nothing = () if source.typed else MISSING
    numbers = _as_numbers(column) if kind == "number" else None
    absent = sum(value is None or value in nothing for value in text)
    if numbers is not None:
        absent = int(np.isnan(numbers).sum())
    if absent:
        raise InputError(
            f"--target {name}: {absent:,} of {source.n_rows:,} rows have no value there; drop "
            "these rows first."
        )
    if kind == "text" and not source.typed:
        numbers = _parse_numbers(column)
        column = _typed(column)
    if task == "regression" and numbers is None:
        raise InputError(f"--target {name} is not all numbers, as --task regression needs.")

    is_quantity = _kind(column.type) == "number" and not types.is_boolean(column.type)
    if numbers is not None and (task == "regression" or is_quantity):
        if not np.isfinite(numbers).all():
            raise InputError(f"--target {name} has infinite values.")
        if task != "regression" and types.is_integer(column.type):
            return np.asarray(column.to_numpy())
        if task != "classification":
            return numbers
    n_labels = len(set(text))
    if n_labels > ID_VALUES and n_labels > ID_SHARE * len(text):
        raise InputError(
            f"--target {name} has {n_labels:,} different values in {len(text):,} rows: these "
            "are no classes."
        )
    return np.array(text, dtype=object)


def encode(source: Source, leave_out: int) -> tuple[Any, list[str]]:
    """All columns but the target as numbers, for the examination.

    Parameters
    ----------
    source : Source
    leave_out : int
        Position of the target.

    Returns
    -------
    X : ndarray or csr_matrix of shape (n_rows, n_encoded)
    notes : list of str
        What became of the columns.

    Raises
    ------
    InputError
        If no column says anything.
    """
    blocks: list[Any] = []
    counts = {"numeric": 0, "date": 0, "text": 0}
    levels = 0
    left_out: dict[str, list[str]] = {}
    for at, (name, column) in enumerate(zip(source.names, source.columns, strict=True)):
        if at == leave_out:
            continue
        if name in source.index:
            kind, block = "numbers the rows", None
        else:
            kind, block = _encode_column(column, source.typed)
        if block is None:
            left_out.setdefault(kind, []).append(name or "the column without a name")
            continue
        counts[kind] += 1
        levels += block.shape[1] if kind == "text" else 0
        blocks.append(block)
    excluded = [f"left out: {', '.join(names)} ({why})" for why, names in left_out.items()]
    if not blocks:
        why = "; ".join(excluded) or "the target is the only one"
        raise InputError(f"no column can be examined: {why}.")
    X = sp.hstack(blocks, format="csr")
    if X.shape[0] * X.shape[1] <= DENSE_ENTRIES:
        X = X.toarray()
    words = [f"{n} {kind}" for kind, n in counts.items() if n]
    if counts["text"]:
        words[-1] += f" (as {levels} levels)"
    return X, [f"columns examined: {', '.join(words)}", *excluded]


def _encode_column(column: Any, typed: bool) -> tuple[str, Any]:
    """The kind of a column and its sparse block, or why it is left out and None."""
    kind = _kind(column.type)
    if kind == "other":
        return f"type {column.type} cannot be examined", None
    if kind == "number":
        return _number_block("numeric", _as_numbers(column))
    if kind == "time":
        return _number_block("date", _as_seconds(column))
    if not typed:
        numbers = _parse_numbers(column)
        if numbers is not None:
            return _number_block("numeric", numbers)
        dates = _parse_dates(column)
        if dates is not None:
            return _number_block("date", dates)
    return _text_block(column)


def _number_block(kind: str, values: NDArray[np.float64]) -> tuple[str, Any]:
    """Centred and scaled numbers, so that they may stay sparse, with gaps at the median."""
    known = np.isfinite(values)
    if not known.any():
        return "empty", None
    values = np.where(known, values, np.median(values[known]))
    values = values / (np.abs(values).max() or 1.0)  # so that no square overflows
    centred = values - values.mean()
    scale = float(np.sqrt(np.mean(centred**2)))
    if not scale > 1e-12:
        return "constant", None
    return kind, sp.csr_matrix((centred / scale)[:, None])


def _text_block(column: Any) -> tuple[str, Any]:
    """One column a level; a missing value is a level, rare levels share one."""
    import pandas as pd

    codes, levels = pd.factorize(np.asarray(_as_text(column), dtype=object))
    missing = codes < 0
    n, n_present = len(codes), int((~missing).sum())
    if n_present == 0:
        return "empty", None
    if len(levels) > ID_VALUES and len(levels) > ID_SHARE * n_present:
        return "nearly unique text", None
    codes = np.where(missing, len(levels), codes)
    counts = np.bincount(codes)
    if np.count_nonzero(counts) == 1:
        return "constant", None
    frequent = np.argsort(-counts, kind="stable")[:MAX_LEVELS]
    frequent = frequent[counts[frequent] >= min(10, max(1, n // 100))]
    position = np.full(len(counts), len(frequent))
    position[frequent] = np.arange(len(frequent))
    places = position[codes]
    width = int(places.max()) + 1
    if width == 1:
        return "rare values only", None
    return "text", sp.csr_matrix((np.ones(n), (np.arange(n), places)), shape=(n, width))


def _kind(dtype: Any) -> str:
    """What the values are: "number", "time", "text" or "other"."""
    import pyarrow.types as types

    if types.is_dictionary(dtype):
        return _kind(dtype.value_type)
    if types.is_integer(dtype) or types.is_floating(dtype) or types.is_decimal(dtype):
        return "number"
    if types.is_boolean(dtype) or types.is_null(dtype):
        return "number"
    if types.is_temporal(dtype) and not types.is_interval(dtype):
        return "time"
    view = getattr(types, "is_string_view", lambda _: False)
    return (
        "text" if types.is_string(dtype) or types.is_large_string(dtype) or view(dtype) else "other"
    )


def _plain(column: Any) -> Any:
    """The column without dictionary encoding (as pandas' categories have)."""
    import pyarrow.types as types

    return column.cast(column.type.value_type) if types.is_dictionary(column.type) else column


def _as_text(column: Any) -> list[str | None]:
    values = column.to_pylist()
    if _kind(column.type) == "text":
        return list(values)
    return [None if value is None else str(value) for value in values]


def _as_numbers(column: Any) -> NDArray[np.float64]:
    """Numbers, NaN where there is none."""
    import pyarrow as pa
    import pyarrow.types as types

    column = _plain(column)
    if types.is_boolean(column.type):
        column = column.cast(pa.uint8())
    return np.array(column.cast(pa.float64(), safe=False).to_numpy(), dtype=np.float64)


def _as_seconds(column: Any) -> NDArray[np.float64]:
    """Points in time and durations on a scale of numbers, in the unit of the column."""
    import pyarrow as pa
    import pyarrow.types as types

    column = _plain(column)
    if types.is_date(column.type):
        column = column.cast(pa.timestamp("ms"))
    if types.is_time32(column.type):
        column = column.cast(pa.int32())
    return _as_numbers(column.cast(pa.int64()))


def _parse_numbers(column: Any) -> NDArray[np.float64] | None:
    """Text as numbers, NaN where nothing stands; None unless all the rest are numbers."""
    import pandas as pd

    text = pd.Series(np.asarray(_as_text(column), dtype=object))
    missing = text.isin(MISSING).to_numpy()
    values = np.array(pd.to_numeric(text.mask(missing), errors="coerce"), dtype=np.float64)
    return values if np.array_equal(np.isnan(values), missing) else None


def _parse_dates(column: Any) -> NDArray[np.float64] | None:
    """Text as points in time; None unless all that is there looks like one and is one."""
    import pandas as pd

    text = [None if value in MISSING else value for value in _as_text(column)]
    present = [value for value in text if value is not None]
    if not present or not all(_DATE.match(value) for value in present):
        return None
    iso = _ISO_DATE.match(present[0]) is not None
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a format that must be guessed
        try:
            dates = pd.to_datetime(
                pd.Series(text, dtype=object),
                format="ISO8601" if iso else None,
                errors="coerce",
                utc=True,
            )
        except (ValueError, OverflowError):
            return None
    since = (dates - pd.Timestamp(0, tz="UTC")).dt.total_seconds()
    seconds: NDArray[np.float64] = np.asarray(since, dtype=np.float64)
    return seconds if np.isnan(seconds).sum() == len(text) - len(present) else None


_DATE = re.compile(r"\s*\d{1,4}([-/.])\d{1,2}\1\d{1,4}")
_ISO_DATE = re.compile(r"\s*\d{4}-\d{2}-\d{2}")
_WHOLE = re.compile(r"-?(0|[1-9]\d{0,17})")
_PADDED = re.compile(r"[-+]?0\d")


def _typed(column: Any) -> Any:
    """Text that is numbers throughout as numbers, other columns as they are.

    Numbers that are padded with zeros (007) are names and stay text.
    """
    import pyarrow as pa

    if _kind(column.type) != "text":
        return column
    numbers = _parse_numbers(column)
    if numbers is None or np.isnan(numbers).all():
        return column
    text = [None if value in MISSING else value for value in _as_text(column)]
    present = [value for value in text if value is not None]
    if any(_PADDED.match(value) for value in present):
        return column
    if all(_WHOLE.fullmatch(value) for value in present):
        whole = [None if value is None else int(value) for value in text]
        return pa.chunked_array([pa.array(whole, pa.int64())])
    return pa.chunked_array([pa.array(numbers, pa.float64(), from_pandas=True)])


# -------------------------------------------------------------------------------- skprune demo

#: The gap that the demo allows, in nats: some standard errors of the 251 rows it is measured on.
DEMO_GAP = 0.05
#: Random subsets that the demo compares with.
DEMO_DRAWS = 10
#: Columns of the demo's picture.
PICTURE_WIDTH = 45

DEMO_EXPLANATION = """\
How to read this
  nats       0.05 nats: the probability given to the right digit falls by about 5 % (a factor)
  predicted  by one Newton step, without training
  refit      the head trained again on the kept rows and scored on rows held out of the training
             rows; the size was searched by this number, so it is no guarantee
  test       trained and scored by scikit-learn, on rows that took part in nothing above
  The allowed gap is about the head that was examined, a softmax regression on the pixels, and about
  its loss. The support vector machine shows what the same rows do to another model. The table is
  small: the standard errors are large, and another --seed keeps another number of rows."""


def run_demo(args: argparse.Namespace) -> int:
    """``skprune demo``; returns the exit code."""
    begin = time.perf_counter()
    if args.plot is not None:
        _check_plot(args.plot, force=args.force)
    X, y = load_digits(return_X_y=True)
    X_train, X_test, y_train, y_test = train_test_split(
        X, y, test_size=0.3, stratify=y, random_state=args.seed
    )
    print(
        f"Handwritten digits from scikit-learn: {len(X):,} images of 8 x 8 pixels, 10 classes.\n"
        f"{len(X_train):,} rows to prune, {len(X_test):,} test rows that the pruner never sees; "
        f"allowed gap {DEMO_GAP} nats, seed {args.seed}.\n",
        flush=True,
    )
    pruner = InfluencePruner(DEMO_GAP, random_state=args.seed)
    with _warnings_on_stderr(args.command):
        X_kept, y_kept = pruner.fit_transform(X_train, y_train)
    print(f"{pruner.report_}\n\n{draw_path(pruner)}\n", flush=True)

    draws = []
    if pruner.report_.met:
        draws = [
            RandomPruner(len(y_kept), random_state=draw).fit_transform(X_train, y_train)
            for draw in range(args.seed, args.seed + DEMO_DRAWS)
        ]
    print(_compare((X_train, y_train), (X_kept, y_kept), draws, (X_test, y_test)))
    print(f"\n{DEMO_EXPLANATION}")
    if args.plot is not None:
        figure = PruningCurveDisplay.from_estimator(pruner, ax=_new_axes()).figure_
        figure.axes[0].set_title("Handwritten digits: what every size costs")
        with _replacing(args.plot, force=args.force) as path:
            figure.savefig(path, format=args.plot.suffix[1:], dpi=150)
        print(f"\nThe curve is in {args.plot}.")
    print(f"\n{time.perf_counter() - begin:.1f} s in all.")
    return 0 if pruner.report_.met else 1


def _check_plot(path: Path, *, force: bool) -> None:
    _check_writable("--plot", path, force=force)
    try:
        formats = _new_axes().figure.canvas.get_supported_filetypes()
    except ImportError as error:
        raise InputError(
            '--plot needs matplotlib, which is not installed: pip install "skprune[plot]"; '
            "without --plot the curve is drawn as text"
        ) from error
    if path.suffix[1:] not in formats:
        raise InputError(f"--plot {path}: the name must end in one of .{', .'.join(formats)}.")


def _new_axes() -> Any:
    """Axes of a new figure that no window shows."""
    from matplotlib.figure import Figure

    return Figure(figsize=(7.2, 4.6), layout="constrained").subplots()


def _compare(full: Any, kept: Any, draws: Sequence[Any], test: Any) -> str:
    """All rows, the kept and random ones: how two models trained on them do on test rows."""
    losses, accuracies, seconds = _softmax(*full, *test)
    n_test = len(test[1])
    lines = [
        f"Trained by scikit-learn, scored on the {n_test:,} test rows",
        f"  {'softmax regression on':<24} {'rows':>6} {'loss':>8} {'test gap':>19} "
        f"{'accuracy':>9} {'seconds':>8}",
        f"  {'all rows':<24} {len(full[1]):>6,} {losses.mean():>8.4f} {'':>19} "
        f"{accuracies.mean():>9.2%} {seconds:>8.3f}",
    ]

    def add(name: str, n: int, loss: float, gap: float, error: float, *rest: float) -> None:
        shown = f"{gap:+.4f} +- {error:.4f}"
        lines.append(
            f"  {name:<24} {n:>6,} {loss:>8.4f} {shown:>19} {rest[0]:>9.2%} {rest[1]:>8.3f}"
        )

    own = _softmax(*kept, *test)
    paired = own[0] - losses
    error = float(paired.std(ddof=1)) / math.sqrt(n_test)
    size = len(kept[1])
    add("the kept rows", size, own[0].mean(), paired.mean(), error, own[1].mean(), own[2])
    others = [_softmax(*draw, *test) for draw in draws]
    if others:
        each = np.array([(loss.mean(), right.mean(), took) for loss, right, took in others])
        mean, spread = each.mean(axis=0), float(each[:, 0].std(ddof=1))
        name = f"random rows, {len(draws)} draws"
        add(name, size, mean[0], mean[0] - losses.mean(), spread, mean[1], mean[2])
    lines.append("  (+- is a standard error; for random rows the spread over the draws)")

    machines = [_support_vectors(*rows, *test) for rows in (full, kept, *draws)]
    said = f"all rows {machines[0]:.2%}, the kept rows {machines[1]:.2%}"
    if draws:
        said += f", random rows {np.mean(machines[2:]):.2%}"
    lines += ["", "Another model, a support vector machine, accuracy on the test rows", f"  {said}"]
    return "\n".join(lines)


def _softmax(
    X: Any, y: Any, X_test: Any, y_test: Any
) -> tuple[NDArray[np.float64], NDArray[np.bool_], float]:
    """Loss and correctness of every test row, and the seconds of training.

    The objective is that of ``InfluencePruner(model=None)``: a penalty per row, so that C depends
    on the number of rows.
    """
    head = LogisticRegression(C=1 / (DEFAULT_STRENGTH * len(y)), max_iter=1000)
    model = make_pipeline(StandardScaler(), head)
    begin = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - begin
    P = model.predict_proba(X_test)
    places = np.searchsorted(model.classes_, y_test)
    losses = -np.log(np.maximum(P[np.arange(len(y_test)), places], np.finfo(np.float64).tiny))
    return losses, model.predict(X_test) == y_test, seconds


def _support_vectors(X: Any, y: Any, X_test: Any, y_test: Any) -> float:
    return float(SVC().fit(X, y).score(X_test, y_test))


def draw_path(pruner: InfluencePruner) -> str:
    """The pruning curve as text, one line for every size that was tried.

    Parameters
    ----------
    pruner : InfluencePruner
        Fitted, with ``max_gap`` as its budget.

    Returns
    -------
    str
    """
    path, level = pruner.path_, pruner.gap_.level
    gaps, errors, random = path[f"{level}_gap"], path["standard_error"], path["random_gap"]
    values = np.concatenate([gaps, random, [pruner.max_gap, 0.0]])
    values = values[np.isfinite(values)]
    known = errors[np.isfinite(errors) & (errors > 0)]
    linear = float(np.median(known)) if len(known) else pruner.max_gap
    low, high = np.arcsinh(values.min() / linear), np.arcsinh(values.max() / linear)

    def place(gap: float) -> int:
        return round((np.arcsinh(gap / linear) - low) / (high - low) * (PICTURE_WIDTH - 1))

    chosen = pruner.report_.pruned_fit_rows if pruner.report_.met else None
    lines = [
        "The pruning curve: o kept rows, x random rows, 0 no gap, | the allowed gap (log scale)",
        f"  {'rows kept':>14}   {level + ' gap':<18} {'random':>8}",
    ]
    for n, share, gap, error, other in zip(
        path["n_kept"], path["share"], gaps, errors, random, strict=True
    ):
        canvas = ["."] * PICTURE_WIDTH
        canvas[place(0.0)], canvas[place(pruner.max_gap)] = "0", "|"
        if math.isfinite(other):
            canvas[place(other)] = "x"
        if math.isfinite(gap):
            canvas[place(gap)] = "o"
        beside = f"{other:>+8.4f}" if math.isfinite(other) else " " * 8
        mark = "  chosen" if n == chosen else ""
        lines.append(
            f"  {n:>6,} {share:>7.1%}   {gap:+.4f} +- {error:.4f} {beside}  {''.join(canvas)}{mark}"
        )
    return "\n".join(lines)
