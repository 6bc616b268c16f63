"""``skprune demo``: prune real data and compare on rows that the pruner never saw."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from skprune.baselines import RandomPruner
from skprune.cli.files import InputError, check_writable, replacing
from skprune.cli.printing import warnings_on_stderr
from skprune.heads.linear_spec import DEFAULT_STRENGTH
from skprune.pruner import InfluencePruner
from skprune.results.display import PruningCurveDisplay

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


def new_axes() -> Any:
    """Axes of a new figure that no window shows."""
    from matplotlib.figure import Figure

    return Figure(figsize=(7.2, 4.6), layout="constrained").subplots()


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
    with warnings_on_stderr(args.command):
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
        figure = PruningCurveDisplay.from_estimator(pruner, ax=new_axes()).figure_
        figure.axes[0].set_title("Handwritten digits: what every size costs")
        with replacing(args.plot, force=args.force) as path:
            figure.savefig(path, format=args.plot.suffix[1:], dpi=150)
        print(f"\nThe curve is in {args.plot}.")
    print(f"\n{time.perf_counter() - begin:.1f} s in all.")
    return 0 if pruner.report_.met else 1


def _check_plot(path: Path, *, force: bool) -> None:
    check_writable("--plot", path, force=force)
    try:
        formats = new_axes().figure.canvas.get_supported_filetypes()
    except ImportError as error:
        raise InputError(
            '--plot needs matplotlib, which is not installed: pip install "skprune[plot]"; '
            "without --plot the curve is drawn as text"
        ) from error
    if path.suffix[1:] not in formats:
        raise InputError(f"--plot {path}: the name must end in one of .{', .'.join(formats)}.")


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
