"""Pruning tables: rows kept and test gap, our pruner beside random, stratified and highest loss.

    python -m benchmarks.tables --data-root DATA --seeds 5

For every table and seed 30 % of the rows are test rows. A pruner sees the training rows only; the
same head is then fitted on what it keeps and on all training rows, and both are measured on the
test rows. For a budget ``max_gap`` the rows that a random subset needs are found by the same
search with the same held-out rows.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import Any

import numpy as np
import torch

from benchmarks.data import SKLEARN_TABLES, TABLES, load_table, split
from benchmarks.harness import Judge, forget, markdown, save
from skprune import InfluencePruner, PruningWarning
from skprune.baselines import HighestLoss, Random, StratifiedRandom
from skprune.search.candidates import Candidates

GAPS = (0.003, 0.01, 0.03)
SHARES = (0.5, 0.2, 0.1)


class _RandomSearch:
    """While active, InfluencePruner's search chooses rows at random, within classes.

    Searches are remembered by the rows they were made on, so the memory is emptied on both sides.
    """

    def __enter__(self) -> None:
        self._kept = Candidates.choose
        Candidates.choose = lambda self, size, warm=None: self.random(size)
        forget()

    def __exit__(self, *exception: object) -> None:
        Candidates.choose = self._kept
        forget()


def run(name: str, seed: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """All methods on one table and seed."""
    table = load_table(name, args.data_root)
    X, X_test, y, y_test = split(table, seed, max_rows=args.max_rows)
    judge = Judge(X, y, X_test, y_test)
    base = {
        "table": name,
        "seed": seed,
        "rows": len(X),
        "parameters": int(np.prod(judge.problem.theta_shape)),
        "full_accuracy": judge.accuracy(judge.full.theta),
        "full_fit_seconds": judge.full_seconds,
    }
    records = []

    def record(method: str, budget: str, pruner: Any) -> None:
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", PruningWarning)
            pruner.fit(X, y)
        seconds = time.perf_counter() - start
        measured = judge(pruner.sample_indices_)
        if hasattr(pruner, "gap_"):
            measured |= {"gap": float(pruner.gap_), "gap_se": pruner.gap_.standard_error}
        records.append({**base, "method": method, "budget": budget, "seconds": seconds, **measured})

    for gap in args.gaps:
        forget()
        record("skprune", f"max_gap={gap}", InfluencePruner(gap, random_state=seed))
        with _RandomSearch():
            record("random", f"max_gap={gap}", InfluencePruner(gap, random_state=seed))
    for share in args.shares:
        budget = f"keep={share}"
        forget()
        record("skprune", budget, InfluencePruner(keep=share, random_state=seed))
        record("random", budget, Random(share, random_state=seed))
        record("stratified", budget, StratifiedRandom(share, random_state=seed))
        record("loss", budget, HighestLoss(share))
    return records


def summarise(records: list[dict[str, Any]]) -> dict[str, Any]:
    """Promises kept and rows against random, for every budget."""
    summary: dict[str, Any] = {}
    for budget in dict.fromkeys(r["budget"] for r in records):
        here = [r for r in records if r["budget"] == budget]
        ours = {(r["table"], r["seed"]): r for r in here if r["method"] == "skprune"}
        random = {(r["table"], r["seed"]): r for r in here if r["method"] == "random"}
        if budget.startswith("max_gap="):
            allowed = float(budget.removeprefix("max_gap="))
            kept = [r["test_gap"] <= allowed + 2 * r["test_gap_se"] for r in ours.values()]
            ratios = [r["kept"] / random[key]["kept"] for key, r in ours.items()]
            summary[budget] = {
                "runs": len(kept),
                "promises_kept": float(np.mean(kept)),
                "rows_against_random": float(np.exp(np.mean(np.log(ratios)))),
                "median_share_kept": float(
                    np.median([r["kept"] / r["rows"] for r in ours.values()])
                ),
                "random_promises_kept": float(
                    np.mean(
                        [r["test_gap"] <= allowed + 2 * r["test_gap_se"] for r in random.values()]
                    )
                ),
            }
        else:
            summary[budget] = {
                method: {
                    "mean_test_gap": float(
                        np.mean([r["test_gap"] for r in here if r["method"] == method])
                    ),
                    "median_test_gap": float(
                        np.median([r["test_gap"] for r in here if r["method"] == method])
                    ),
                }
                for method in dict.fromkeys(r["method"] for r in here)
            }
    return summary


def show(records: list[dict[str, Any]]) -> str:
    """Mean and spread over seeds, a row for every table, budget and method."""
    rows = []
    for key in dict.fromkeys((r["table"], r["budget"], r["method"]) for r in records):
        same = [r for r in records if (r["table"], r["budget"], r["method"]) == key]
        gaps = [r["test_gap"] for r in same]
        accuracy = [100 * (r["accuracy"] - r["full_accuracy"]) for r in same]
        rows.append(
            (
                *key,
                f"{np.mean([r['kept'] / r['rows'] for r in same]):.2%}",
                f"{np.mean(gaps):+.4f} ({np.std(gaps):.4f})",
                f"{np.mean(accuracy):+.2f}",
                f"{np.mean([r['seconds'] for r in same]):.2f}",
            )
        )
    header = ("table", "budget", "method", "kept", "test gap (sd)", "accuracy, points", "seconds")
    return markdown(header, rows)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder with tabular/*.parquet; default: download")
    parser.add_argument("--tables", nargs="*", default=[*TABLES, *SKLEARN_TABLES])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--max-rows", type=int, default=None, help="rows drawn from every table")
    parser.add_argument("--gaps", type=float, nargs="*", default=GAPS)
    parser.add_argument("--shares", type=float, nargs="*", default=SHARES)
    parser.add_argument("--out", help="JSON file; default: benchmarks/results/tables.json")
    args = parser.parse_args()
    torch.set_num_threads(1)  # most tables are small; and ratios of times are then fair
    records: list[dict[str, Any]] = []
    for seed in range(args.seeds):
        for name in args.tables:
            start = time.perf_counter()
            records += run(name, seed, args)
            print(f"{name} seed {seed}: {time.perf_counter() - start:.1f} s", flush=True)
        summary = summarise(records)
        path = save("tables", records, summary, args.out)
    print(show(records))
    print(markdown(("budget", "result"), ((k, v) for k, v in summary.items())))
    print("written to", path)


if __name__ == "__main__":
    main()
