"""The command line: ``skprune prune`` for csv, tsv and parquet files, and ``skprune demo``.

A table is read twice: as text, so that kept rows are written without changing a character, and as
numbers for the pruner. Only the second reading interprets values.

scikit-learn and torch take seconds to import. Modules that need them are imported by the command
that is run, so that ``--help`` and ``--version`` answer at once.
"""

from __future__ import annotations

import argparse
import math
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from skprune import __version__
from skprune.cli.files import (
    SUFFIXES,
    InputError,
    check_writable,
    format_of,
    read_source,
    replacing,
)
from skprune.cli.printing import (
    did_you_mean,
    one_line,
    printing_never_fails,
    warnings_on_stderr,
)
from skprune.results.page import html_page

if TYPE_CHECKING:
    from skprune.pruner import InfluencePruner

DESCRIPTION = "Prune the rows of a training set: keep the fewest that cost at most a given gap."
PRUNE_DESCRIPTION = """\
Write the fewest rows of a table on which a linear model and a gradient
boosting, retrained, both lose at most GAP on held-out rows (or the best KEEP
rows). Kept rows stay in their order with all their columns; of csv and tsv
files not a character changes.
To choose the rows, text columns are one-hot encoded, dates become numbers and
missing values become the median; ids and constant columns are left out. How
every column was understood is printed: check it. With --weights, fewer rows are
kept and every kept row has a weight, the number of rows that it stands for: then
always train with these weights.
"""
PRUNE_EPILOG = """\
example:
  skprune prune data.csv --target y --max-gap 0.01 --out kept.csv

exit codes:
  0  done: FILE is written
  1  the gap cannot be met: FILE is written, with all rows in it
  2  wrong usage or input, or a full disk: FILE is not written; one line on
     stderr says why
  3  FILE is written, but the output could not be printed, as stdout is full
  130  interrupted: FILE is not written
"""
DEMO_DESCRIPTION = """\
Prune a table of 19,020 rows that comes with the package, and compare all rows,
the kept ones and random ones on rows that nothing else has seen: as training
rows of a logistic regression, and in the search for the parameters of a
support vector machine. A minute, on one core.
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line.

    Parameters
    ----------
    argv : sequence of str, optional
        Arguments; None takes those of the process.

    Returns
    -------
    int
        Exit code: 0 for success, 1 if the budget cannot be met, 2 for wrong input, 3 if the output
        was written but the report could not be printed. argparse raises ``SystemExit(2)`` for
        wrong usage.
    """
    args = build_parser().parse_args(argv)
    with printing_never_fails() as stdout:
        code = _run(args)
        stdout.flush()
        if code > 1 or stdout.lost is None or isinstance(stdout.lost, BrokenPipeError):
            return code  # the reader of a pipe that is closed has read enough
        print(
            f"skprune {args.command}: error: all is done, but the output could not be printed: "
            f"{stdout.lost.strerror}",
            file=sys.stderr,
        )
        return 3


def _run(args: argparse.Namespace) -> int:
    try:
        return int(args.run(args))
    except (InputError, OSError) as error:
        print(f"skprune {args.command}: error: {one_line(error)}", file=sys.stderr)
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
    add(
        "--drop",
        nargs="+",
        action="extend",
        default=[],
        metavar="COLUMN",
        help="columns to ignore when choosing rows, such as ids; the output still has them",
    )
    add(
        "--sep",
        type=_separator,
        metavar="CHARACTER",
        help="what separates the fields of a csv or tsv file (default: found out for csv)",
    )
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
        "--weights",
        metavar="COLUMN",
        help="give the kept rows weights, and write them to a new column of this name",
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
    demo.set_defaults(run=_run_demo)
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
    """The number in a text, or NaN."""
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


def _separator(text: str) -> str:
    character = {"\\t": "\t", "tab": "\t"}.get(text, text)
    if len(character) != 1 or character in '"\r\n':
        raise argparse.ArgumentTypeError(f"must be one character, or tab; got {text!r}")
    return character


def _seed(text: str) -> int:
    if not re.fullmatch(r"\d+", text) or int(text) >= 2**32:
        raise argparse.ArgumentTypeError(
            f"must be a whole number from 0 to {2**32 - 1}, got {text!r}"
        )
    return int(text)


def _run_demo(args: argparse.Namespace) -> int:
    from skprune.cli.demo import run_demo

    return run_demo(args)


def run_prune(args: argparse.Namespace) -> int:
    """``skprune prune``; returns the exit code."""
    _check_paths(args.data, args.out, args.report, force=args.force)
    if args.sep is not None and format_of(args.data) == ".parquet":
        raise InputError(f"--sep is for csv and tsv files, and {args.data} is neither.")
    from skprune.cli.encoding import encode_table
    from skprune.cli.target import find_column, read_target
    from skprune.proxies.linear import BalancedProxy
    from skprune.pruner import InfluencePruner

    _check_scoring(args.scoring)
    source = read_source(args.data, args.sep)
    at = find_column(source, "--target", args.target)
    for name in args.drop:
        if find_column(source, "--drop", name) == at:
            raise InputError(f"--drop {name} is the target.")
    if args.weights in source.names:
        raise InputError(f"--weights {args.weights} is a column of {args.data}: name a new one.")
    if source.n_rows == 0:
        raise InputError(f"{args.data} has a header but no rows.")
    if source.n_rows == 1:
        raise InputError(f"{args.data} has only one row: there is nothing to choose from.")
    if isinstance(args.keep, int) and args.keep > source.n_rows:
        raise InputError(f"--keep {args.keep}: {args.data} has only {source.n_rows} rows.")
    y = read_target(source, at, args.task)
    pruner = InfluencePruner(
        args.max_gap,
        keep=args.keep,
        model=BalancedProxy({"classification": "softmax", "regression": "ridge"}.get(args.task)),
        scoring=args.scoring,
        weights=args.weights is not None,
        random_state=args.seed,
        verbose=0 if args.quiet else "auto",
    )
    with warnings_on_stderr(args.command):
        X, columns = encode_table(source, at, args.drop)
        try:
            pruner.fit(X, y)
        except (ValueError, TypeError) as error:
            raise InputError(f"{args.data}: {one_line(error)}") from error
    task = "classification" if hasattr(pruner, "classes_") else "regression"
    notes = [*source.notes, *columns]
    head = f"{args.data}: {source.n_rows:,} rows; target {args.target!r}, {task}"

    kept = pruner.sample_indices_
    with replacing(args.out, force=args.force) as path:
        source.write(path, kept, format_of(args.out), _weights(args.weights, pruner))
        if args.report is not None:  # within, so that a report that fails leaves no rows behind
            page = html_page(pruner.report_, [head, *notes])
            with replacing(args.report, force=args.force) as page_path:
                page_path.write_text(page, encoding="utf-8")
    if not args.quiet:
        print("\n".join([head, *(f"  {note}" for note in notes)]))
        print(pruner.report_)
        print(f"{args.out}: {len(kept):,} rows written")
    return 0 if pruner.report_.met else 1


def _weights(column: str | None, pruner: InfluencePruner) -> tuple[str, NDArray[np.float64]] | None:
    """The column of weights, if one is asked for; ones if the pruner gives no weights."""
    if column is None:
        return None
    weights = pruner.sample_weight_
    return column, np.ones(len(pruner.sample_indices_)) if weights is None else weights


def _check_paths(data: Path, out: Path, report: Path | None, *, force: bool) -> None:
    """Refuse, before any work, files that cannot be read or written later."""
    format_of(data)
    format_of(out)
    if not data.exists():
        raise InputError(f"{data} does not exist.")
    if not data.is_file():
        raise InputError(f"{data} is not a file.")
    outputs = {"--out": out} if report is None else {"--out": out, "--report": report}
    for option, path in outputs.items():
        check_writable(option, path, force=force)
        if path.resolve() == data.resolve():
            raise InputError(f"{option} is the input, {data}: give another name.")
    if report is not None and report.resolve() == out.resolve():
        raise InputError(f"--out and --report are the same file, {out}.")


def _check_scoring(name: str) -> None:
    from sklearn.metrics import get_scorer_names

    names = ["loss", *get_scorer_names()]
    if name not in names:
        raise InputError(f"--scoring {name} is not known{did_you_mean(name, names)}")
