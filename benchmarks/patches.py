"""CIFAR-10 patch features (n = 50,000, p = 5,130): accuracy of a softmax head on kept rows.

    python -m benchmarks.patches --data-root DATA --seeds 3

Features are made once and cached. For every share kept and seed the default head is fitted on all
training rows and on those that each method keeps, and measured on the 10,000 test images. The
time of the whole ``fit_transform`` stands beside one full-data L-BFGS fit of the same head.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np

from benchmarks.data import patch_features
from benchmarks.harness import Judge, forget, markdown, save
from skprune import InfluencePruner
from skprune.baselines import HighestLoss, Random, StratifiedRandom


def methods(share: float, seed: int) -> dict[str, Any]:
    """The pruners compared at one share."""
    return {
        "skprune": InfluencePruner(keep=share, random_state=seed),
        "skprune, prior=loss": InfluencePruner(keep=share, sampling="loss", random_state=seed),
        "random": Random(share, random_state=seed),
        "stratified": StratifiedRandom(share, random_state=seed),
        "highest loss": HighestLoss(share),
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder with cifar10/; default: download")
    parser.add_argument("--cache-dir", help="where features are kept; default: benchmarks/.cache")
    parser.add_argument("--rows", type=int, default=None, help="training rows, for a small run")
    parser.add_argument("--shares", type=float, nargs="*", default=(0.8, 0.6, 0.4, 0.2, 0.1))
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", help="JSON file; default: benchmarks/results/patches.json")
    args = parser.parse_args()
    X, y, X_test, y_test = patch_features(args.data_root, args.cache_dir, rows=args.rows)
    judge = Judge(X, y, X_test, y_test)
    full = 100 * judge.accuracy(judge.full.theta)
    lbfgs = min(judge.lbfgs_seconds() for _ in range(2))
    print(
        f"{len(X)} rows, all of them: accuracy {full:.2f} %; L-BFGS fit {lbfgs:.1f} s, "
        f"our fit {judge.full_seconds:.1f} s",
        flush=True,
    )
    records = []
    for share in args.shares:
        for seed in range(args.seeds):
            for name, pruner in methods(share, seed).items():
                forget()
                start = time.perf_counter()
                pruner.fit_transform(X, y)
                seconds = time.perf_counter() - start
                records.append(
                    {
                        "method": name,
                        "keep": share,
                        "seed": seed,
                        "rows": len(X),
                        "full_accuracy": full / 100,
                        "seconds": seconds,
                        "lbfgs_seconds": lbfgs,
                        **judge(pruner.sample_indices_),
                    }
                )
                last = records[-1]
                print(
                    f"keep {share} seed {seed} {name}: {last['test_gap']:+.4f} nats, "
                    f"{100 * last['accuracy'] - full:+.2f} points, {seconds:.1f} s",
                    flush=True,
                )
    rows = []
    for key in dict.fromkeys((r["keep"], r["method"]) for r in records):
        same = [r for r in records if (r["keep"], r["method"]) == key]
        points = [100 * (r["accuracy"] - r["full_accuracy"]) for r in same]
        rows.append(
            (
                f"{key[0]:.0%}",
                key[1],
                f"{np.mean([r['test_gap'] for r in same]):+.4f}",
                f"{np.mean(points):+.2f} ({np.std(points):.2f})",
                f"{np.mean([r['seconds'] / r['lbfgs_seconds'] for r in same]):.1f}",
            )
        )
    header = ("kept", "method", "loss, nats", "accuracy, points (sd)", "time / L-BFGS fit")
    print(markdown(header, rows))
    print("written to", save("patches", records, {"full_accuracy": full, "rows": rows}, args.out))


if __name__ == "__main__":
    main()
