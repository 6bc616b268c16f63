"""What a budget keeps of real tables, for each model that is trained, and whether it is held.

    python -m benchmarks.budget --data-root DATA --seeds 3 --minutes 60

``PrunedClassifier`` and ``PrunedRegressor`` prune for each model with ``max_gap=0.01``. The gap is
that of the model trained on all rows and on the kept ones, on test rows that nobody has seen.
Beside it random rows of several sizes: ``needed`` is the share of the rows that they need for the
same budget, and ``as_good`` that for the gap that the kept rows have, both read off their curve on
the test rows.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from functools import partial
from itertools import product
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.isotonic import isotonic_regression
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR

from benchmarks.data import SKLEARN_TABLES, TABLES, load_table, split
from benchmarks.harness import collect, summary_table
from skprune import InfluencePruner, PrunedClassifier, PrunedRegressor

#: Pairs of a classifier and a regressor.
MODELS: dict[str, tuple[Any, Any]] = {
    "boosting": (
        HistGradientBoostingClassifier(random_state=0),
        HistGradientBoostingRegressor(random_state=0),
    ),
    "forest": (
        RandomForestClassifier(60, min_samples_leaf=3, random_state=0),
        RandomForestRegressor(60, min_samples_leaf=3, random_state=0),
    ),
    "SVM": (make_pipeline(StandardScaler(), SVC()), make_pipeline(StandardScaler(), SVR())),
    "linear": (
        make_pipeline(StandardScaler(), LogisticRegression(max_iter=500)),
        make_pipeline(StandardScaler(), Ridge()),
    ),
}
BUDGET = 0.01
SHARES = [0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.85]


def losses(model: Any, X: np.ndarray, y: np.ndarray) -> np.ndarray:
    """The loss of every row; of numbers before it is divided by their variance."""
    if y.dtype.kind == "f":
        return (model.predict(X) - y) ** 2
    if not hasattr(model, "predict_proba"):
        return (model.predict(X) != y).astype(float)
    P = np.full((len(y), int(y.max()) + 1), np.finfo(float).eps)
    known = model.classes_ <= y.max()
    P[:, model.classes_[known]] = model.predict_proba(X)[:, known]
    return -np.log(np.maximum(P[np.arange(len(y)), y], np.finfo(float).eps))


def needed(gaps: np.ndarray, most: float) -> float:
    """The share of the rows at which the curve of random rows comes down to ``most``."""
    curve = isotonic_regression(np.append(gaps, 0.0), increasing=False)
    shares = np.append(SHARES, 1.0)
    if curve[0] <= most:
        return shares[0]
    i = int(np.argmax(curve <= most)) if most >= 0 else len(shares) - 1
    part = (curve[i - 1] - most) / (curve[i - 1] - curve[i])
    return float(np.exp(np.log(shares[i - 1]) + part * np.log(shares[i] / shares[i - 1])))


def run(
    table: str, name: str, targets: str | None, seed: int, args: argparse.Namespace
) -> Iterator[dict[str, Any]]:
    """One table, model and seed."""
    X, X_test, y, y_test = split(load_table(table, args.data_root), seed, max_rows=args.max_rows)
    numbers, n = y.dtype.kind == "f", len(y)
    unit = 1 / y.var() if numbers else 1.0
    model = MODELS[name][numbers]
    prune = PrunedRegressor if numbers else PrunedClassifier
    pruner = InfluencePruner(BUDGET, targets=targets, random_state=seed)
    begin = time.process_time()
    pruned = prune(model, pruner).fit(X, y)
    seconds = time.process_time() - begin
    found, rng = pruned.pruner_, np.random.default_rng([seed, 9])
    begin = time.process_time()
    full = losses(clone(model).fit(X, y), X_test, y_test)
    training = time.process_time() - begin
    d = unit * (losses(pruned, X_test, y_test) - full)
    gaps = []
    for share in SHARES:
        rows = rng.choice(n, round(share * n), replace=False)
        try:
            random = clone(model).fit(X[rows], y[rows])
            gaps.append(unit * float(np.mean(losses(random, X_test, y_test) - full)))
        except ValueError:  # too few rows of a class
            gaps.append(np.inf)
    curve = np.array(gaps)
    curve[np.isinf(curve)] = np.max(curve[np.isfinite(curve)])
    yield {
        "table": table,
        "model": name,
        "targets": targets,
        "seed": seed,
        "n": n,
        "share": len(found.sample_indices_) / n,
        "gap": float(d.mean()),
        "standard_error": float(d.std(ddof=1) / np.sqrt(len(d))),
        "reported": float(found.gap_),
        "reported_error": found.gap_.standard_error,
        "needed": needed(curve, BUDGET),
        "as_good": needed(curve, max(float(d.mean()), 0.0)),
        "random": gaps,
        "random_is_kept": found.report_.random_is_kept,
        "cpu_seconds": seconds,
        "training_seconds": training,
        "status": found.report_.status,
    }


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a model and kind of targets."""
    rows = []
    for name, targets in dict.fromkeys((r["model"], r["targets"]) for r in records):
        same = [r for r in records if (r["model"], r["targets"]) == (name, targets)]
        pruned = [r for r in same if r["share"] < 1]
        row = {"model": name, "targets": targets or "labels", "fits": len(same)}
        row |= {"tables": len({r["table"] for r in same}), "pruned": len(pruned)}
        gap, error = (np.array([r[key] for r in same]) for key in ("gap", "standard_error"))
        row["within"] = float(np.mean(gap <= BUDGET + 2 * error))
        for key in ("needed", "as_good"):
            ratios = np.log([r["share"] / r[key] for r in same])
            tables = [
                np.mean(ratios[[r["table"] == table for r in same]])
                for table in dict.fromkeys(r["table"] for r in same)
            ]
            row[f"kept / {key}"] = float(np.exp(np.mean(tables)))
            row[f"spread of {key}"] = float(np.exp(np.std(tables)))
        row["kept"] = float(np.median([r["share"] for r in same]))
        row["trainings"] = float(
            np.median([r["cpu_seconds"] / r["training_seconds"] for r in same])
        )
        rows.append(row)
    return rows


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--max-rows", type=int, default=14_000, help="test rows among them")
    parser.add_argument("--tables", nargs="+", default=[*TABLES], choices=TABLES + SKLEARN_TABLES)
    parser.add_argument("--models", nargs="+", default=[*MODELS], choices=[*MODELS])
    parser.add_argument("--targets", nargs="+", default=["labels", "auto"])
    parser.add_argument("--minutes", type=float, default=np.inf, help="begin no cell after these")
    parser.add_argument("--out", help="a run that was cut off goes on where it stopped")
    args = parser.parse_args()
    warnings.simplefilter("ignore")
    kinds = [None if targets == "labels" else targets for targets in args.targets]
    cells = [
        (table, name, targets, seed)
        for seed, table, name, targets in product(
            range(args.seeds), args.tables, args.models, kinds
        )
        if targets is None or name == "boosting"
    ]
    about = (summarise, args.out, args.minutes)
    summary = summarise(collect("budget", cells, partial(run, args=args), *about))
    print(summary_table(list(summary[0]), summary, digits=3))


if __name__ == "__main__":
    main()
