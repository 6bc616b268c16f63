"""The picture of README.md: what every size costs, on rows that took part in nothing.

    python -m benchmarks.curve --seeds 3 --out docs/pruning_curve.png

The model and the table are those of the README; every seed is a split, a subset and a random one.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from sklearn.metrics import log_loss

from benchmarks.data import split
from skprune import InfluencePruner, PruningCurveDisplay
from skprune.baselines import StratifiedRandom
from skprune.cli.demo import products
from skprune.data.magic import load_magic

SHARES = (0.02, 0.03, 0.05, 0.1, 0.2, 0.5)


def gaps(seed: int) -> tuple[int, np.ndarray]:
    """Training rows, and the test gap of every share: of chosen and of random rows."""
    X, X_test, y, y_test = split(load_magic(), seed)

    def loss(rows) -> float:
        return log_loss(y_test, products().fit(*rows).predict_proba(X_test))

    whole, found = loss((X, y)), []
    for share in SHARES:
        chosen = InfluencePruner(keep=share, model=products(), random_state=seed)
        pruners = (chosen, StratifiedRandom(share, random_state=seed))
        found.append([loss(pruner.fit_transform(X, y)) - whole for pruner in pruners])
        print(seed, share, found[-1], flush=True)
    return len(y), np.array(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    runs = [gaps(seed) for seed in range(args.seeds)]
    every = np.stack([found for _, found in runs])
    mean, error = every.mean(axis=0), every.std(axis=0, ddof=1) / np.sqrt(args.seeds)
    axes = Figure(figsize=(7.2, 4.2), layout="constrained").subplots()
    display = PruningCurveDisplay(
        share=SHARES,
        gap=mean[:, 0],
        standard_error=error[:, 0],
        random_gap=mean[:, 1],
        level="retrained",
        unit="nats",
        max_gap=0.01,
        n_rows=runs[0][0],
        name="InfluencePruner",
    ).plot(axes, random_kwargs={"label": "stratified random rows, retrained gap"})
    axes.set_ylabel("Loss on test rows, above that of all rows (nats)")
    axes.set_title("Gamma-ray telescope, logistic regression on ranks and their products")
    display.figure_.savefig(args.out, dpi=110)


if __name__ == "__main__":
    main()
