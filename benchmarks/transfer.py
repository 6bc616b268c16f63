"""One subset for every model: what models that did not choose the rows lose on them.

    python -m benchmarks.transfer --data-root DATA --seeds 3

Every consumer is trained on all rows and on subsets of the same size: stratified random rows,
rows drawn with equal chances and balanced, rows drawn by residual with weights 1 / chance, and
both. The loss lost against all rows is measured on test rows: log loss for classes (chances of at
least 1e-3; error rate of a support vector machine), squared error in units of the variance for
numbers. The table has it as a share of what random rows lose, a geometric mean over tables.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from lightgbm import LGBMClassifier, LGBMRegressor
from sklearn.base import clone
from sklearn.ensemble import (
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC, SVR
from sklearn.utils.validation import has_fit_parameter

from benchmarks.data import SKLEARN_TABLES, TABLES, load_table, split
from benchmarks.harness import collect, markdown
from skprune.curvature import choose_curvature
from skprune.data.strata import group_minima
from skprune.heads.encoding import HeadEncoder
from skprune.heads.linear_spec import read_model
from skprune.influence.leaves import HEAD_SHARE, grow_forest, leaf_influence
from skprune.influence.operator import InfluenceOperator
from skprune.proxies.head import fit_curvature
from skprune.proxies.pilot import fit_pilot
from skprune.subset.balanced import Balance, balanced_rows
from skprune.subset.inclusion import draw, inclusion_chances
from skprune.subset.start import starting_subset

#: Pairs of a classifier and a regressor. All of them see standardised columns.
CONSUMERS: dict[str, tuple[Any, Any]] = {
    "HistGradientBoosting": (HistGradientBoostingClassifier(), HistGradientBoostingRegressor()),
    "LightGBM": (LGBMClassifier(verbose=-1, n_jobs=1), LGBMRegressor(verbose=-1, n_jobs=1)),
    "RandomForest": (
        RandomForestClassifier(80, min_samples_leaf=3),
        RandomForestRegressor(80, min_samples_leaf=3),
    ),
    "linear": (LogisticRegression(max_iter=500), Ridge()),
    "SVM": (SVC(), SVR()),
    "MLP": (MLPClassifier(max_iter=60), MLPRegressor(max_iter=60)),
    "k-NN": (KNeighborsClassifier(15), KNeighborsRegressor(15)),
}
LEAST_CHANCE = 1e-3


@dataclass(frozen=True)
class Problem:
    """A table that is split, and its columns as the consumers see them."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray
    n_classes: int | None

    @property
    def groups(self) -> np.ndarray:
        """Class of every training row."""
        return np.zeros(len(self.y), dtype=np.int64) if self.n_classes is None else self.y

    @property
    def minima(self) -> np.ndarray:
        """A row of every class."""
        return group_minima(self.groups, int(self.n_classes is not None))


class Sampler:
    """Subsets of one table by every method, from one pilot, one forest and one head."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self.problem, self.seed = problem, seed
        X, y, n_classes = problem.X, problem.y, problem.n_classes
        start = time.perf_counter()
        self.residuals = fit_pilot(X, y, n_classes, seed=seed).residuals
        pilot = time.perf_counter()
        self.leaves = leaf_influence(grow_forest(X, y, n_classes, seed=seed), X, y, n_classes)
        forest = time.perf_counter()
        self.head = head_influence(problem)
        head = time.perf_counter()
        self.seconds = {"pilot": pilot - start, "forest": forest - pilot, "head": head - forest}

    def __call__(self, method: str, size: int) -> tuple[np.ndarray, np.ndarray | None]:
        """Rows, and weights if they need them."""
        groups, minima = self.problem.groups, self.problem.minima
        rng = np.random.default_rng([self.seed, size])
        if method == "random":
            return starting_subset(size, groups, minima, rng), None
        if method == "weights":
            chances = inclusion_chances(size, groups, minima, self.residuals)
            rows = draw(chances, groups, rng)
            return rows, len(groups) / chances[rows] / np.sum(1 / chances[rows])
        kind, _, share = method.partition(", head ")
        parts, shares = [self.leaves], [1.0]
        if share:
            parts, shares = [self.leaves, self.head], [1.0, float(share)]
        start = time.perf_counter()
        found = balanced_rows(
            Balance(parts, shares, None if kind == "balance" else self.residuals),
            size,
            groups=groups,
            minima=minima,
            rng=rng,
        )
        self.seconds[f"{method}, {size} rows"] = time.perf_counter() - start
        return found.indices, None if kind == "hard, no weights" else found.weights


def head_influence(problem: Problem) -> InfluenceOperator:
    """The default head's whitened gradients."""
    task = "regression" if problem.n_classes is None else "classification"
    classes = None if problem.n_classes is None else np.arange(problem.n_classes)
    ones = np.ones(len(problem.y))
    encoder = HeadEncoder(read_model(None, task), classes).fit(problem.X, problem.y, ones)
    head = encoder.problem(problem.X, problem.y, ones)
    return fit_curvature(head, choose_curvature(head)).influence(head)


def loss(model: Any, problem: Problem) -> float:
    """Mean loss on the test rows."""
    X, y = problem.X_test, problem.y_test
    if problem.n_classes is None:
        return float(np.mean((model.predict(X) - y) ** 2) / y.var())
    if not hasattr(model, "predict_proba"):
        return float(np.mean(model.predict(X) != y))
    P = np.full((len(y), problem.n_classes), LEAST_CHANCE)
    P[:, model.classes_] = np.maximum(model.predict_proba(X), LEAST_CHANCE)
    return float(-np.log((P / P.sum(1, keepdims=True))[np.arange(len(y)), y]).mean())


def train(name: str, problem: Problem, rows: np.ndarray, weights: Any, seed: int) -> Any:
    """A consumer trained on some rows; those that take no weights get none."""
    model = clone(CONSUMERS[name][problem.n_classes is None])
    if "random_state" in model.get_params():
        model.set_params(random_state=seed)
    given = {}
    if weights is not None and has_fit_parameter(model, "sample_weight"):
        given = {"sample_weight": weights}
    return model.fit(problem.X[rows], problem.y[rows], **given)


def prepare(name: str, seed: int, args: argparse.Namespace) -> Problem:
    """Split a table; columns (and numbers that are predicted) are standardised."""
    table = load_table(name, args.data_root)
    X, X_test, y, y_test = split(table, seed, max_rows=args.max_rows)
    scaler = StandardScaler().fit(X)
    n_classes = int(max(y.max(), y_test.max())) + 1 if table.task == "classification" else None
    if n_classes is None:
        mean, deviation = y.mean(), y.std()
        y, y_test = (y - mean) / deviation, (y_test - mean) / deviation
    return Problem(scaler.transform(X), y, scaler.transform(X_test), y_test, n_classes)


def run(name: str, seed: int, args: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """All consumers, shares and methods on one table and seed."""
    problem = prepare(name, seed, args)
    n = len(problem.y)
    sampler = Sampler(problem, seed)
    drawn = {
        (share, method): sampler(method, round(share * n))
        for share, method in product(args.shares, ["random", *args.methods])
    }
    base = {"table": name, "seed": seed, "rows": n, "numbers": problem.n_classes is None}
    for consumer in args.consumers:
        full = loss(train(consumer, problem, np.arange(n), None, seed), problem)
        for share in args.shares:
            lost = {
                method: loss(train(consumer, problem, *rows, seed), problem) - full
                for (of, method), rows in drawn.items()
                if of == share
            }
            yield base | {"consumer": consumer, "share": share, "full": full, "lost": lost}
    yield base | {"seconds": sampler.seconds}


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Loss lost, as a share of what random rows lose: geometric mean and spread over tables."""
    names = ("consumer", "share", "method")
    rows = []
    records = [r for r in records if "lost" in r]
    keys = dict.fromkeys((r["consumer"], r["share"], m) for r in records for m in r["lost"])
    for key in keys:
        if key[2] == "random":
            continue
        ratios = []
        for table in dict.fromkeys(r["table"] for r in records):
            lost = _mean_lost(records, table, *key), _mean_lost(records, table, *key[:2], "random")
            # Where random rows lose nothing there is nothing to share.
            if lost[1] > 0.0:
                ratios.append(max(lost[0] / lost[1], 0.01))
        if not ratios:
            continue
        logs = np.log(ratios)
        rows.append(
            dict(zip(names, key, strict=True))
            | {
                "ratio": float(np.exp(logs.mean())),
                "spread": float(np.exp(logs.std())),
                "least": float(np.min(ratios)),
                "most": float(np.max(ratios)),
                "tables": len(ratios),
            }
        )
    return rows


def _mean_lost(
    records: list[dict[str, Any]], table: str, consumer: str, share: float, method: str
) -> float:
    same = {"table": table, "consumer": consumer, "share": share}
    return float(np.mean([r["lost"][method] for r in records if same.items() <= r.items()]))


def show(records: list[dict[str, Any]]) -> str:
    """A row a consumer and share, a column a method: ratio and the factor of its spread."""
    summary = {(s["consumer"], s["share"], s["method"]): s for s in summarise(records)}
    methods = list(dict.fromkeys(key[2] for key in summary))
    rows = []
    for consumer, share in dict.fromkeys(key[:2] for key in summary):
        found = [summary.get((consumer, share, method)) for method in methods]
        cells = [f"{c['ratio']:.2f} (x {c['spread']:.1f})" if c else "" for c in found]
        rows.append((consumer, f"{share:.0%}", *cells))
    return markdown(("consumer", "kept", *methods), rows)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-rows", type=int, default=14_000, help="test rows among them")
    parser.add_argument("--shares", type=float, nargs="+", default=[0.3, 0.1])
    parser.add_argument("--tables", nargs="+", default=[*TABLES], choices=TABLES + SKLEARN_TABLES)
    parser.add_argument("--consumers", nargs="+", default=[*CONSUMERS], choices=[*CONSUMERS])
    parser.add_argument(
        "--methods",
        nargs="+",
        default=["weights", f"balance, head {HEAD_SHARE}", f"both, head {HEAD_SHARE}"],
        help="of weights, balance, both, and 'hard, no weights'; 'both, head 0.5' has a head part",
    )
    parser.add_argument("--minutes", type=float, default=np.inf, help="begin no cell after these")
    parser.add_argument("--out", help="a run that was cut off goes on where it stopped")
    args = parser.parse_args()
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    cells = [(name, seed) for seed, name in product(range(args.seeds), args.tables)]
    run_cell = partial(run, args=args)
    print(show(collect("transfer", cells, run_cell, summarise, args.out, args.minutes)))


if __name__ == "__main__":
    main()
