"""``skprune demo``: prune a real table for one model, and use its rows to search for another."""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import loguniform
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import RandomizedSearchCV, StratifiedKFold, train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import PolynomialFeatures, QuantileTransformer, StandardScaler
from sklearn.svm import SVC

from skprune.baselines import StratifiedRandom
from skprune.cli.files import InputError, check_writable, replacing
from skprune.cli.printing import warnings_on_stderr
from skprune.data.magic import load_magic
from skprune.proxies.linear import LinearProxy
from skprune.pruner import InfluencePruner
from skprune.results.display import PruningCurveDisplay
from skprune.search_cv import PrunedSearchCV

#: The gap that the demo allows, in nats.
DEMO_GAP = 0.01
#: Random subsets that the demo compares with.
DEMO_DRAWS = 10
#: The search: number of candidates, share of rows to train on, number of finalists on all rows.
CANDIDATES, SHARE, FINALISTS = 16, 0.2, 2
#: Width of the demo's picture in characters.
PICTURE_WIDTH = 45

DEMO_EXPLANATION = """\
How to read this
  nats       0.01 nats: the probability given to the right class falls by about 1 % (a factor)
  predicted  by one Newton step, without training
  refit      the last step trained again on the kept rows; the size was searched with such numbers
  retrained  the whole Pipeline trained again, scalers included
  test       trained and scored by scikit-learn, on rows that were not used above
  The rows of part 1 are chosen for its model, and random rows are no match for them. For the
  support vector machine of part 2 there is no such theory, and random rows serve it about as
  well: what saves time is to try the candidates on fewer rows, and what makes it safe is to
  compare the best of them on all rows. Pruning does not pay for one training of a fast model
  (the line "net saving"), and other models need more rows: pass the one you train as model=."""


def new_axes() -> Any:
    """Axes of a new figure that is shown in no window."""
    from matplotlib.figure import Figure

    return Figure(figsize=(7.2, 4.6), layout="constrained").subplots()


def run_demo(args: argparse.Namespace) -> int:
    """``skprune demo``; returns the exit code."""
    begin = time.perf_counter()
    if args.plot is not None:
        _check_plot(args.plot, force=args.force)
    X, y = load_magic()
    X, X_test, y, y_test = train_test_split(X, y, test_size=0.5, stratify=y, random_state=args.seed)
    rows, test = (X, y), (X_test, y_test)
    print(
        f"MAGIC gamma telescope (UCI, CC BY 4.0): is it a gamma ray? {X.shape[1]} columns.\n"
        f"{len(y):,} training rows, {len(y_test):,} test rows that are only scored; "
        f"seed {args.seed}.\n\n"
        "1. The fewest rows for a model: logistic regression on ranks and their products\n",
        flush=True,
    )
    pruner = InfluencePruner(DEMO_GAP, model=products(), random_state=args.seed)
    with warnings_on_stderr(args.command):
        kept = pruner.fit_transform(*rows)
    print(f"{pruner.report_}\n\n{draw_path(pruner)}\n", flush=True)
    draws = []
    if pruner.report_.met:
        draws = [
            StratifiedRandom(len(kept[1]), random_state=draw).fit_transform(*rows)
            for draw in range(args.seed, args.seed + DEMO_DRAWS)
        ]
    print(_compare(rows, kept, draws, test))
    print(
        f"\n2. A search on fewer rows: a support vector machine, {CANDIDATES} candidates, 3 folds\n"
        "\n"
        f"{f'refit on all rows, scored on the {len(y_test):,} test rows':<50} {'CPU s':>8} "
        f"{'accuracy':>9} {'against all':>18}",
        flush=True,
    )
    with warnings_on_stderr(args.command):
        _search(rows, test, args.seed)
    print(f"\n{DEMO_EXPLANATION}")
    if args.plot is not None:
        figure = PruningCurveDisplay.from_estimator(pruner, ax=new_axes()).figure_
        figure.axes[0].set_title("MAGIC gamma telescope: what every size costs")
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


def products() -> Any:
    """Logistic regression on the ranks of the columns, their squares and pairwise products."""
    return make_pipeline(
        QuantileTransformer(n_quantiles=100, random_state=0),  # without ranks single rows are all
        PolynomialFeatures(2, include_bias=False),
        StandardScaler(),
        LogisticRegression(max_iter=1000),
    )


def _compare(full: Any, kept: Any, draws: Sequence[Any], test: Any) -> str:
    """A table of how the model does on test rows, trained on all, kept and random rows."""
    losses, accuracy, seconds = _trained(*full, *test)
    n_test = len(test[1])
    lines = [
        f"Trained by scikit-learn, scored on the {n_test:,} test rows",
        f"  {'the same model on':<24} {'rows':>6} {'loss':>8} {'test gap':>19} "
        f"{'accuracy':>9} {'seconds':>8}",
        f"  {'all rows':<24} {len(full[1]):>6,} {losses.mean():>8.4f} {'':>19} "
        f"{accuracy:>9.2%} {seconds:>8.3f}",
    ]

    def add(name: str, n: int, loss: float, gap: float, error: float, *rest: float) -> None:
        shown = f"{gap:+.4f} ± {error:.4f}"
        lines.append(
            f"  {name:<24} {n:>6,} {loss:>8.4f} {shown:>19} {rest[0]:>9.2%} {rest[1]:>8.3f}"
        )

    own = _trained(*kept, *test)
    paired, size = own[0] - losses, len(kept[1])
    error = float(paired.std(ddof=1)) / math.sqrt(n_test)
    add("the kept rows", size, own[0].mean(), paired.mean(), error, *own[1:])
    others = [_trained(*draw, *test) for draw in draws]
    if others:
        each = np.array([(loss.mean(), right, took) for loss, right, took in others])
        mean, spread = each.mean(axis=0), float(each[:, 0].std(ddof=1))
        name = f"random rows, {len(draws)} draws"
        add(name, size, mean[0], mean[0] - losses.mean(), spread, *mean[1:])
    lines.append("  (± is a standard error; for random rows the spread over the draws)")
    return "\n".join(lines)


def _trained(X: Any, y: Any, X_test: Any, y_test: Any) -> tuple[NDArray[np.float64], float, float]:
    """Loss of every test row, accuracy, and seconds of training."""
    model = products()
    begin = time.perf_counter()
    model.fit(X, y)
    seconds = time.perf_counter() - begin
    P = model.predict_proba(X_test)
    places = np.searchsorted(model.classes_, y_test)
    losses = -np.log(np.maximum(P[np.arange(len(y_test)), places], np.finfo(np.float64).tiny))
    return losses, float(np.mean(model.predict(X_test) == y_test)), seconds


def _search(rows: Any, test: Any, seed: int) -> None:
    """Search on all, on kept and on random rows, and print a line after each."""
    whole = RandomizedSearchCV(
        make_pipeline(StandardScaler(), SVC()),
        {"svc__C": loguniform(0.1, 100), "svc__gamma": loguniform(0.01, 1)},
        n_iter=CANDIDATES,
        cv=StratifiedKFold(3, shuffle=True, random_state=seed),
        random_state=seed,
    )
    head = InfluencePruner(keep=SHARE, model=LinearProxy(), random_state=seed)
    searches = {
        "RandomizedSearchCV, all rows": whole,
        f"PrunedSearchCV, {SHARE:.0%} of them, balanced": PrunedSearchCV(whole, head, FINALISTS),
        f"PrunedSearchCV, {SHARE:.0%} of them, random": PrunedSearchCV(
            whole, StratifiedRandom(SHARE, random_state=seed), FINALISTS
        ),
    }
    reference = None
    for name, search in searches.items():
        begin = time.process_time()  # which other work on the machine does not stretch
        search.fit(*rows)
        seconds = time.process_time() - begin
        right = np.asarray(search.predict(test[0]) == test[1], dtype=np.float64)
        difference = ""
        if reference is None:
            reference = right
        else:
            paired = right - reference
            error = paired.std(ddof=1) / math.sqrt(len(paired))
            difference = f"{paired.mean():+.2%} ± {error:.2%}"
        found = search.best_params_
        chosen = f"C={found['svc__C']:.3g}, gamma={found['svc__gamma']:.2g}"
        print(
            f"  {name:<48} {seconds:>8.1f} {right.mean():>9.2%} {difference:>18}  {chosen}",
            flush=True,
        )


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
            f"  {n:>6,} {share:>7.1%}   {gap:+.4f} ± {error:.4f} {beside}  {''.join(canvas)}{mark}"
        )
    return "\n".join(lines)
