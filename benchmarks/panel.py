"""The panel: four models on frozen features, trained on what every strategy keeps.

    python -m benchmarks.panel --data-root DATA --preset cpu --minutes 20

Features are frozen: patch features of images, embeddings of images by EfficientNet-Lite0 and of
texts by MiniLM, and standardised columns of tables. ``--embeddings FILE.npz`` takes embeddings of
your own: ``X_train``, ``y_train``, ``X_test`` and ``y_test``. Every strategy keeps 5, 10, 20, 40
and 60 % of the training rows; a linear probe, k nearest neighbours, a perceptron and a boosting are
trained on them, with the weights of a strategy that gives them, where the model takes weights, and
measured on test rows.

A cell of the summary is a data set, a model and a share; ``benchmarks/verdicts.py`` says who is
first in it, tied, and below random.
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
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.neighbors import KNeighborsClassifier
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.validation import has_fit_parameter

from benchmarks.choosers import Chooser, Chosen
from benchmarks.data import SKLEARN_TABLES, TABLES, load_table, patch_features, split
from benchmarks.embeddings import embeddings
from benchmarks.harness import collect, markdown
from benchmarks.images import DRAWN, IMAGES, TINY, load_images
from benchmarks.texts import NEWSGROUPS, load_texts
from benchmarks.verdicts import Cell, verdicts
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
#: Names of images by their patch features, and what loads images and texts to be embedded.
PATCHES = tuple(name for name in IMAGES if name not in (TINY, DRAWN))
EMBEDDED = {f"{name}-efficientnet": partial(load_images, name) for name in PATCHES}
EMBEDDED[f"{NEWSGROUPS}-minilm"] = load_texts
#: Shares up to here are few rows.
FEW = 0.2


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
        datasets=(
            "fashion_mnist",
            "magic",
            "letter",
            "cifar10",
            "cifar100",
            "adult",
            "sleep",
            "cifar10-efficientnet",
            "fashion_mnist-efficientnet",
            "cifar100-efficientnet",
            f"{NEWSGROUPS}-minilm",
        ),
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
    if name in TABLES + SKLEARN_TABLES:
        table = load_table(name, data_root)
        total = preset.rows + preset.test_rows
        share = preset.test_rows / total
        X, X_test, y, y_test = split(table, seed, share, max_rows=min(total, len(table.X)))
        scaler = StandardScaler().fit(X)
        problem = Problem(scaler.transform(X), y, scaler.transform(X_test), y_test)
    else:
        problem = _frozen(name, seed, preset, data_root)
    return problem, Chooser(problem.X, problem.y, seed, OURS)


def _frozen(name: str, seed: int, preset: Preset, data_root: str | None) -> Problem:
    """Rows of images, or of a file of embeddings, as principal components of unit variance."""
    if name in PATCHES:
        options = {"n_filters": preset.filters, "n_components": preset.components}
        X, y, X_test, y_test = patch_features(data_root, name=name, **options)
    elif name in EMBEDDED:
        X, y, X_test, y_test = EMBEDDED[name](data_root)
    else:
        with np.load(name) as z:
            X, y, X_test, y_test = (z[part] for part in ("X_train", "y_train", "X_test", "y_test"))
        classes, y = np.unique(y, return_inverse=True)
        y_test = np.searchsorted(classes, y_test)
    rows = np.random.default_rng(seed).permutation(len(y))[: preset.rows]
    X, y, X_test, y_test = X[rows], y[rows], X_test[: preset.test_rows], y_test[: preset.test_rows]
    if name in EMBEDDED:
        X, X_test = embeddings(X), embeddings(X_test)
    if name not in PATCHES:  # which are such components of all training images
        components = min(preset.components, *X.shape)
        reduced = make_pipeline(StandardScaler(), PCA(components, whiten=True, svd_solver="full"))
        X, X_test = reduced.fit_transform(X), reduced.transform(X_test)
    return Problem(X, y, X_test, y_test)


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


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """How often every strategy is first, tied and below random, for each model."""
    cells: dict[str, dict[tuple[str, float], Cell]] = {}
    for r in records:
        if "failed" not in r and r["strategy"] != ALL_ROWS:
            cell = cells.setdefault(r["model"], {}).setdefault((r["dataset"], r["share"]), {})
            cell.setdefault(r["strategy"], {})[r["seed"]] = 100 * r["accuracy"]
    rows = []
    for model, found in cells.items():
        few = verdicts(cell for (_, share), cell in found.items() if share <= FEW)
        for strategy, verdict in verdicts(found.values()).items():
            rows.append(
                {
                    "model": model,
                    "strategy": strategy,
                    "cells": verdict.cells,
                    "first": verdict.first,
                    "tied": verdict.tied,
                    "below random": verdict.below,
                    "points over random": float(np.mean(verdict.over_random)),
                    f"where at most {FEW:.0%} are kept": float(np.mean(few[strategy].over_random)),
                }
            )
    return rows


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
    known = (*TABLES, *SKLEARN_TABLES, *PATCHES, *EMBEDDED)
    parser.add_argument("--datasets", nargs="+", choices=known)
    parser.add_argument("--embeddings", nargs="+", metavar="FILE.npz", help="instead of data sets")
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no cell after these")
    parser.add_argument("--out", help="a run that was cut off goes on where it stopped")
    args = parser.parse_args()
    preset = PRESETS[args.preset]
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    datasets = args.embeddings or args.datasets or preset.datasets
    seeds = args.seeds or preset.seeds
    strategies = (*dict.fromkeys(("random", *OURS, *preset.strategies)), ALL_ROWS)
    cells = product(datasets, range(seeds), strategies)
    cells = ((name, seed, strategy) for name, seed, strategy in cells)
    run_cell = partial(run, preset=preset, data_root=args.data_root)
    name = "panel" if args.preset == "cpu" else f"panel_{args.preset}"
    print(show(collect(name, cells, run_cell, summarise, args.out, args.minutes)))


if __name__ == "__main__":
    main()
