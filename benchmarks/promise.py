"""Is the promise kept by what the user trains? Draws of populations whose true gap can be known.

    python -m benchmarks.promise --seeds 4

Two classes, Gaussian columns, a logistic truth of slope 2, 0 or 20 % of the labels turned. Every
model is retrained whole, by scikit-learn, on all rows and on those that ``InfluencePruner`` hands
out; the true gap is the difference of their expected losses over 50,000 fresh rows.
"""

from __future__ import annotations

import argparse
import warnings
from itertools import product
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import KBinsDiscretizer, StandardScaler

from benchmarks.harness import kept_promises, save, summary_table
from skprune import InfluencePruner, PruningWarning

MODELS = {
    "LogisticRegression": LogisticRegression(),
    "StandardScaler, LogisticRegression": make_pipeline(StandardScaler(), LogisticRegression()),
    "PCA(4), LogisticRegression": make_pipeline(PCA(4), LogisticRegression()),
    "KBinsDiscretizer, LogisticRegression": make_pipeline(
        KBinsDiscretizer(4), LogisticRegression()
    ),
}
BUDGET = 0.01
FRESH = 50_000


def chance(X: np.ndarray, noise: float) -> np.ndarray:
    """Chance of the second class; it depends on the number of columns and ``noise`` alone."""
    p = X.shape[1]
    direction = np.random.default_rng([p, int(100 * noise)]).normal(size=p)
    P = 1 / (1 + np.exp(-2 * X @ direction / np.linalg.norm(direction)))
    return noise + (1 - 2 * noise) * P


def expected_loss(model: Any, X: np.ndarray, P: np.ndarray) -> float:
    """Mean cross-entropy in nats over the rows X, whose labels are 1 with chance P."""
    logs = -np.log(model.predict_proba(X))
    return float(np.mean((1 - P) * logs[:, 0] + P * logs[:, 1]))


def run(name: str, n: int, p: int, noise: float, seed: int) -> dict[str, Any]:
    """One draw."""
    rng = np.random.default_rng([n, p, int(100 * noise), seed])
    X, X_new = rng.normal(size=(n, p)), rng.normal(size=(FRESH, p))
    y = (rng.random(n) < chance(X, noise)).astype(int)
    pruner = InfluencePruner(BUDGET, model=MODELS[name], random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        pruner.fit(X, y)
    kept = pruner.sample_indices_
    record = {"model": name, "n": n, "p": p, "noise": noise, "seed": seed, "kept": len(kept)}
    if len(kept) == n:
        return record | {"status": pruner.report_.status}
    P = chance(X_new, noise)
    full, pruned = (clone(MODELS[name]).fit(X[rows], y[rows]) for rows in (np.arange(n), kept))
    return record | {
        "true": expected_loss(pruned, X_new, P) - expected_loss(full, X_new, P),
        "reported": float(pruner.gap_),
        "standard_error": pruner.gap_.standard_error,
        "in_the_search": float(pruner.report_.trial),
        "seconds": pruner.report_.selection_seconds,
    }


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a model and number of rows."""
    rows = []
    for name, n in product(MODELS, sorted({r["n"] for r in records})):
        every = [r for r in records if r["model"] == name and r["n"] == n]
        pruned = [r for r in every if "true" in r]
        row = {"model": name, "n": n, "draws": len(every), "pruned": len(pruned)}
        if pruned:
            true, reported, error, search = (
                np.array([r[key] for r in pruned])
                for key in ("true", "reported", "standard_error", "in_the_search")
            )
            row |= kept_promises(pruned, BUDGET) | {
                "bias": float((reported - true).mean()),
                "bias_se": float((reported - true).mean() / error.mean()),
                "noise_se": float((reported - true).std(ddof=1) / len(true) ** 0.5 / error.mean()),
                "rmse": float(np.sqrt(np.mean((reported - true) ** 2))),
                "search_bias": float((search - true).mean()),
                "search_rmse": float(np.sqrt(np.mean((search - true) ** 2))),
            }
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--sizes", type=int, nargs="+", default=[300, 1000, 3000, 10_000])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out")
    args = parser.parse_args()
    records = []
    for name, n in product(args.models, args.sizes):
        for p, noise, seed in product((5, 20), (0.0, 0.2), range(args.seeds)):
            records.append(run(name, n, p, noise, seed))
            print(records[-1], flush=True)
    summary = summarise(records)
    keys = ["model", "n", "draws", "pruned", "kept", "within", "true", "largest", "bias"]
    keys += ["bias_se", "noise_se", "rmse", "search_bias", "search_rmse"]
    print(summary_table(keys, summary))
    print(save("promise", records, summary, args.out))


if __name__ == "__main__":
    main()
