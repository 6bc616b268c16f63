"""Hyperparameter search on all rows, on ours, on random rows as many, and by halving.

    python -m benchmarks.search --data-root DATA --seeds 3 --minutes 60

Candidates, folds and scorer are the same for all. `pruned` and `random` are PrunedSearchCV around
the search of `all`: candidates on the kept rows of every fold, finalists and refit on all rows.
Every winner is scored on test rows that no search has seen, and the order of the candidates is
compared with that of the search on all rows (not for halving, which scores most on few rows only).
Everything runs in one thread, so that seconds of the processor are to be had on a busy machine too.
"""

from __future__ import annotations

import argparse
import time
import warnings
from collections.abc import Callable
from functools import partial
from itertools import product
from typing import Any

import numpy as np
import torch
from scipy.stats import loguniform, randint, spearmanr
from sklearn.datasets import make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401 - there is one then
from sklearn.metrics import get_scorer
from sklearn.model_selection import HalvingRandomSearchCV, RandomizedSearchCV, StratifiedKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC

from benchmarks.data import load_table, split
from benchmarks.harness import collect, forget, summary_table
from skprune import InfluencePruner, PrunedSearchCV, PruningWarning
from skprune.baselines import StratifiedRandom

SYNTHETIC = "synthetic"
TRAINED = ("all", "pruned", "random", "halving")


def boosting(seed: int) -> tuple[Any, dict[str, Any]]:
    space = {
        "learning_rate": loguniform(0.02, 0.5),
        "max_leaf_nodes": randint(8, 128),
        "min_samples_leaf": randint(5, 200),
        "l2_regularization": loguniform(1e-3, 100),
    }
    return HistGradientBoostingClassifier(early_stopping=False, random_state=seed), space


def lightgbm(seed: int) -> tuple[Any, dict[str, Any]]:
    from lightgbm import LGBMClassifier

    space = {
        "learning_rate": loguniform(0.02, 0.5),
        "num_leaves": randint(8, 128),
        "min_child_samples": randint(5, 200),
        "reg_lambda": loguniform(1e-3, 100),
    }
    return LGBMClassifier(n_jobs=1, verbose=-1, random_state=seed), space


def svc(seed: int) -> tuple[Any, dict[str, Any]]:
    space = {"svc__C": loguniform(0.1, 100), "svc__gamma": loguniform(1e-3, 1)}
    return make_pipeline(StandardScaler(), SVC(random_state=seed)), space


#: Estimator with its space, scorer, table, training rows, and share of them that is kept.
LEARNERS: dict[str, tuple[Callable[[int], Any], str, str, int, float]] = {
    "lightgbm": (lightgbm, "neg_log_loss", SYNTHETIC, 300_000, 0.05),
    "boosting": (boosting, "neg_log_loss", SYNTHETIC, 300_000, 0.05),
    "svc": (svc, "accuracy", "magic", 13_000, 0.1),
}


def data(table: str, rows: int, seed: int, root: str | None) -> tuple[Any, Any, Any, Any]:
    """``X_train, X_test, y_train, y_test``; three tenths are test rows."""
    rows = int(rows / 0.7)
    if table == SYNTHETIC:
        pair = make_classification(
            rows, 20, n_informative=10, n_redundant=4, flip_y=0.1, class_sep=0.8, random_state=seed
        )
        return split(pair, seed)
    return split(load_table(table, root), seed, max_rows=rows)


def searches(learner: str, seed: int, args: argparse.Namespace) -> dict[str, Any]:
    """The searches, by name."""
    make, scoring, *_ = LEARNERS[learner]
    estimator, space = make(seed)
    cv = StratifiedKFold(args.folds, shuffle=True, random_state=seed)
    common = {"scoring": scoring, "cv": cv, "random_state": seed}
    keep = args.keep or LEARNERS[learner][-1]
    whole = RandomizedSearchCV(estimator, space, n_iter=args.candidates, **common)
    return {
        "all": whole,
        "pruned": PrunedSearchCV(whole, InfluencePruner(keep=keep, random_state=seed)),
        "random": PrunedSearchCV(whole, StratifiedRandom(keep, random_state=seed)),
        "halving": HalvingRandomSearchCV(
            estimator, space, n_candidates=args.candidates, min_resources="exhaust", **common
        ),
    }


def run(learner: str, seed: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """All searches on one table and seed."""
    _, scoring, table, rows, _ = LEARNERS[learner]
    X, X_test, y, y_test = data(args.table or table, args.rows or rows, seed, args.data_root)
    records, whole = [], np.array([])
    for method, search in searches(learner, seed, args).items():
        forget()
        start, started = time.perf_counter(), time.process_time()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PruningWarning)
            search.fit(X, y)
        seconds, cpu = time.perf_counter() - start, time.process_time() - started
        scores = search.cv_results_["mean_test_score"]
        whole = scores if method == "all" else whole
        record = {
            "learner": learner,
            "table": args.table or table,
            "seed": seed,
            "rows": len(X),
            "method": method,
            "seconds": seconds,
            "cpu_seconds": cpu,
            "score": float(get_scorer(scoring)(search.best_estimator_, X_test, y_test)),
            "constant": _constant(scoring, y, y_test),
        }
        if method != "halving":
            record["rank_correlation"] = float(spearmanr(scores, whole).statistic)
        if hasattr(search, "report_"):
            report = search.report_
            record |= {
                "share": report.share,
                "weighted": report.weighted,
                "selection_seconds": report.selection_seconds,
                "candidates_seconds": report.candidates_seconds,
                "finalists_seconds": report.finalists_seconds,
                "estimated_all_seconds": report.full_seconds,
                "agreement": report.agreement,
                "diagnostics": len(report.diagnostics),
            }
        print(record, flush=True)
        records.append(record)
    return records


def _constant(scoring: str, y: np.ndarray, y_test: np.ndarray) -> float:
    """Score of the training rows' class frequencies, or of their largest class."""
    shares = np.bincount(y) / len(y)
    if scoring == "accuracy":
        return float(np.mean(y_test == shares.argmax()))
    return float(np.log(shares[y_test]).mean())


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row for every learner and method: means over seeds, time as a share of `all`."""
    rows = []
    for learner in dict.fromkeys(r["learner"] for r in records):
        here = [r for r in records if r["learner"] == learner]
        whole = {r["seed"]: r for r in here if r["method"] == "all"}
        for method in TRAINED:
            same = [r for r in here if r["method"] == method]
            lost = [whole[r["seed"]]["score"] - r["score"] for r in same]
            rows.append(
                {
                    "learner": learner,
                    "method": method,
                    "seconds": float(np.mean([r["seconds"] for r in same])),
                    "against_all": _ratio(same, whole, "seconds"),
                    "cpu_against_all": _ratio(same, whole, "cpu_seconds"),
                    "score": float(np.mean([r["score"] for r in same])),
                    "lost": float(np.mean(lost)),
                    "lost_sd": float(np.std(lost)),
                    "rank_correlation": float(
                        np.mean([r.get("rank_correlation", np.nan) for r in same])
                    ),
                }
            )
    return rows


def _ratio(records: list[dict[str, Any]], whole: dict[int, dict[str, Any]], name: str) -> float:
    return float(np.mean([r[name] / whole[r["seed"]][name] for r in records]))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder with tabular/*.parquet; default: download")
    parser.add_argument("--learners", nargs="+", default=list(LEARNERS), choices=list(LEARNERS))
    parser.add_argument("--table", help=f"a table, or {SYNTHETIC!r}; default: one a learner")
    parser.add_argument("--rows", type=int, help="training rows; default: a number a learner")
    parser.add_argument("--keep", type=float, help="share of the rows; default: one a learner")
    parser.add_argument("--candidates", type=int, default=40)
    parser.add_argument("--folds", type=int, default=3)
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--minutes", type=float, default=np.inf, help="begin no cell after these")
    parser.add_argument("--out", help="a run that was cut off goes on where it stopped")
    args = parser.parse_args()
    torch.set_num_threads(1)
    cells = list(product(args.learners, range(args.seeds)))
    about = (summarise, args.out, args.minutes)
    summary = summarise(collect("search", cells, partial(run, args=args), *about))
    print(summary_table(list(summary[0]), summary))


if __name__ == "__main__":
    main()
