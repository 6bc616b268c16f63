"""The panel: four models on frozen features, trained on what every strategy keeps.

    python -m benchmarks.panel --data-root DATA --preset cpu --minutes 20

Features are patch features of images (frozen: nothing is trained on the kept rows but the model)
and standardised columns of tables. Every strategy keeps 5, 10, 20, 40 and 60 % of the training
rows; a linear probe, k nearest neighbours, a perceptron and a boosting are trained on them, with
the weights of a strategy that gives them, where the model takes weights, and measured on test rows.

A strategy's score in a cell (data set, model, share) is its mean accuracy over seeds. What two
means differ by chance is estimated from the whole cell: the standard deviation, over seeds, of
what is left of the scores without the means of strategies and of seeds. A strategy is *first* if
none is better, *tied* if the first is ahead by no more than that, and *below random* if random
rows are ahead by more.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from itertools import product
from typing import Any

import numpy as np
import torch
from lightgbm import LGBMClassifier
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from benchmarks.choosers import Chooser, Chosen
from benchmarks.data import SKLEARN_TABLES, TABLES, load_table, patch_features, split
from benchmarks.harness import collect, markdown
from benchmarks.images import IMAGES
from skprune import InfluencePruner
from skprune.baselines import STRATEGIES

CONSUMERS: dict[str, Any] = {
    "linear probe": LogisticRegression(C=1.0, max_iter=300),
    "k-NN": KNeighborsClassifier(10),
    "MLP": MLPClassifier((64,), max_iter=40),
    "boosting": LGBMClassifier(n_estimators=30, num_leaves=15, verbose=-1, n_jobs=1),
}
#: Ours for a linear model, and for any model: rows alone, and rows with weights.
OURS: dict[str, Any] = {
    "skprune, linear": InfluencePruner(keep=0.5, model="softmax"),
    "skprune, any model": InfluencePruner(keep=0.5, weights=False),
    "skprune, weights": InfluencePruner(keep=0.5, weights=True),
}
ALL_ROWS = "all rows"


@dataclass(frozen=True)
class Preset:
    """Sizes of a panel."""

    datasets: tuple[str, ...]
    rows: int
    test_rows: int
    shares: tuple[float, ...]
    seeds: int
    strategies: tuple[str, ...] = tuple(STRATEGIES)
    filters: int = 128
    components: int = 64


PRESETS = {
    "smoke": Preset(
        datasets=("digits", "breast_cancer"),
        rows=600,
        test_rows=200,
        shares=(0.1, 0.4),
        seeds=2,
        strategies=("el2n", "herding", "ccs", "craig"),
    ),
    "cpu": Preset(
        datasets=("fashion_mnist", "magic", "letter", "cifar10", "cifar100", "adult", "sleep"),
        rows=6000,
        test_rows=4000,
        shares=(0.05, 0.1, 0.2, 0.4, 0.6),
        seeds=3,
    ),
}


@dataclass(frozen=True)
class Problem:
    """Features and classes to train on, and to measure on."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    def measure(self, consumer: str, chosen: Chosen, seed: int) -> dict[str, float] | None:
        """Accuracy and log loss of a model that is trained on the chosen rows.

        None if the rows are chosen to be weighted, and the model takes no weights.
        """
        model = clone(CONSUMERS[consumer])
        if "random_state" in model.get_params():
            model.set_params(random_state=seed)
        given = {}
        if chosen.weights is not None:
            if not has_fit_parameter(model, "sample_weight"):
                return None
            given = {"sample_weight": chosen.weights}
        model.fit(self.X[chosen.rows], self.y[chosen.rows], **given)
        P = np.full((len(self.y_test), int(self.y.max()) + 1), 1e-3)
        P[:, model.classes_] = np.maximum(model.predict_proba(self.X_test), 1e-3)
        P /= P.sum(1, keepdims=True)
        return {
            "accuracy": float(np.mean(P.argmax(1) == self.y_test)),
            "loss": float(log_loss(self.y_test, P, labels=np.arange(P.shape[1]))),
        }


@lru_cache(maxsize=1)  # cells come by data set and seed
def prepared(
    name: str, seed: int, preset: Preset, data_root: str | None
) -> tuple[Problem, Chooser]:
    """The problem, and what chooses its rows. A seed draws other rows."""
    total = preset.rows + preset.test_rows
    if name in IMAGES:
        options = {"n_filters": preset.filters, "n_components": preset.components}
        train, y_train, test, y_test = patch_features(data_root, name=name, **options)
        X = np.concatenate([train, test])
        y = np.concatenate([y_train, y_test])
        rows = np.random.default_rng(seed).permutation(len(y_train))[: preset.rows]
        tested = len(y_train) + np.arange(preset.test_rows)
        problem = Problem(X[rows], y[rows], X[tested], y[tested])
    else:
        table = load_table(name, data_root)
        share = preset.test_rows / total
        X, X_test, y, y_test = split(table, seed, share, max_rows=min(total, len(table.X)))
        scaler = StandardScaler().fit(X)
        problem = Problem(scaler.transform(X), y, scaler.transform(X_test), y_test)
    return problem, Chooser(problem.X, problem.y, seed, OURS)


def run(
    name: str, seed: int, strategy: str, preset: Preset, data_root: str | None
) -> Iterator[dict[str, Any]]:
    """All shares and models of one strategy on one data set."""
    problem, chooser = prepared(name, seed, preset, data_root)
    every = Chosen(np.arange(len(problem.y)), None, 0.0)
    base = {"dataset": name, "seed": seed, "strategy": strategy}
    try:
        found = [(1.0, every)] if strategy == ALL_ROWS else list(chooser(strategy, preset.shares))
    except (ValueError, RuntimeError, MemoryError) as error:
        yield base | {"failed": f"{type(error).__name__}: {error}"}
        return
    for (share, chosen), consumer in product(found, CONSUMERS):
        measured = problem.measure(consumer, chosen, seed)
        if measured is not None:
            about = {"share": share, "model": consumer, "kept": len(chosen.rows)}
            yield base | about | measured | {"seconds": chosen.seconds, "rows": chosen.digest}


Cell = tuple[str, str, float]


def cells_of(records: list[dict[str, Any]]) -> dict[Cell, dict[str, dict[int, float]]]:
    """Accuracy by data set, model and share, then by strategy, then by seed."""
    cells: dict[Cell, dict[str, dict[int, float]]] = {}
    for r in records:
        if "failed" not in r and r["strategy"] != ALL_ROWS:
            cell = cells.setdefault((r["dataset"], r["model"], r["share"]), {})
            cell.setdefault(r["strategy"], {})[r["seed"]] = r["accuracy"]
    return cells


def judged(cell: dict[str, dict[int, float]]) -> tuple[dict[str, float], float]:
    """Mean score of the strategies that have all seeds, and the error of a difference of two."""
    seeds = sorted(cell.get("random", {}))
    scores = {
        name: [found[s] for s in seeds] for name, found in cell.items() if {*seeds} <= {*found}
    }
    table = np.array(list(scores.values()))
    means = dict(zip(scores, table.mean(1).tolist(), strict=True))
    left = table - table.mean(1, keepdims=True) - table.mean(0) + table.mean()
    freedom = (len(table) - 1) * (len(seeds) - 1)
    error = math.sqrt(2 * np.sum(left**2) / freedom / len(seeds)) if freedom else math.nan
    return means, error


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How often every strategy is first, tied and below random, for each model."""
    counts: dict[tuple[str, str], dict[str, Any]] = {}
    for (_, model, share), cell in cells_of(records).items():
        if "random" not in cell:
            continue
        means, error = judged(cell)
        best = max(means.values())
        for strategy, mean in means.items():
            row = counts.setdefault(
                (model, strategy),
                {"cells": 0, "first": 0, "tied": 0, "below": 0, "low": [], "high": []},
            )
            row["cells"] += 1
            row["first"] += mean == best
            row["tied"] += mean < best and best - mean <= error
            row["below"] += means["random"] - mean > error
            row["low" if share <= 0.2 else "high"].append(100 * (mean - means["random"]))
    return [
        {
            "model": model,
            "strategy": strategy,
            "cells": row["cells"],
            "first": row["first"],
            "tied": row["tied"],
            "below random": row["below"],
            "points over random, up to 20 %": float(np.mean(row["low"])) if row["low"] else None,
            "points over random, above": float(np.mean(row["high"])) if row["high"] else None,
        }
        for (model, strategy), row in counts.items()
    ]


def show(records: list[dict[str, Any]]) -> str:
    """A table a model, best first; then what failed."""
    parts = []
    summary = summarise(records)
    for model in dict.fromkeys(row["model"] for row in summary):
        rows = [row for row in summary if row["model"] == model]
        rows.sort(key=lambda row: (-row["first"] - row["tied"], row["below random"]))
        lines = [
            [f"{v:+.2f}" if isinstance(v, float) else v for v in list(row.values())[1:]]
            for row in rows
        ]
        parts += [f"{model}\n", markdown(list(rows[0])[1:], lines), ""]
    parts += [f"{r['dataset']}, {r['strategy']}: {r['failed']}" for r in records if "failed" in r]
    return "\n".join(parts)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of tables and images; default: download")
    parser.add_argument("--preset", choices=[*PRESETS], default="cpu")
    parser.add_argument("--datasets", nargs="+", choices=TABLES + SKLEARN_TABLES + IMAGES)
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no cell after these")
    parser.add_argument("--out", help="a run that was cut off goes on where it stopped")
    args = parser.parse_args()
    preset = PRESETS[args.preset]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    datasets, seeds = args.datasets or preset.datasets, args.seeds or preset.seeds
    strategies = (*dict.fromkeys(("random", *OURS, *preset.strategies)), ALL_ROWS)
    cells = product(datasets, range(seeds), strategies)
    cells = ((name, seed, strategy) for name, seed, strategy in cells)
    run_cell = partial(run, preset=preset, data_root=args.data_root)
    name = "panel" if args.preset == "cpu" else f"panel_{args.preset}"
    print(show(collect(name, cells, run_cell, summarise, args.out, args.minutes)))


if __name__ == "__main__":
    main()
