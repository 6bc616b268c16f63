"""Is the promise kept for models that are not linear? Draws of a population of known truth.

    python -m benchmarks.judges --seeds 6 --sizes 2000 5000

Two classes whose log odds have a linear part and two interactions; 10 % of the labels turned.
``PrunedClassifier`` prunes for each model, with its defaults; the true gap is the difference of
the expected losses, over fresh rows, of the model on all rows and on the kept ones, with
their weights. ``every model`` is ``InfluencePruner()`` alone, whose rows have to
serve a boosting. Beside each the same number of random rows.
"""

from __future__ import annotations

import argparse
import time
import warnings
from itertools import product
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC

from benchmarks.harness import kept_promises, save, summary_table
from skprune import InfluencePruner, PrunedClassifier, PruningWarning

BOOSTING = HistGradientBoostingClassifier(random_state=0)
MODELS: dict[str, Any] = {
    "every model": None,
    "boosting": BOOSTING,
    "forest": RandomForestClassifier(60, min_samples_leaf=5, random_state=0),
    "SVC": SVC(),
    "15 neighbours": KNeighborsClassifier(15),
}
BUDGET, FRESH, NOISE = 0.02, 20_000, 0.1


def chance(X: np.ndarray) -> np.ndarray:
    """Chance of the second class."""
    odds = 1.5 * X[:, 0] + X[:, 1] + 2 * X[:, 2] * X[:, 3] + 1.5 * np.sign(X[:, 4]) * X[:, 5]
    return NOISE + (1 - 2 * NOISE) / (1 + np.exp(-odds))


def expected_loss(model: Any, X: np.ndarray, P: np.ndarray) -> float:
    """Mean cross-entropy over the rows X, or the error rate of a model without probabilities."""
    if not hasattr(model, "predict_proba"):
        return float(np.mean(np.where(model.predict(X) == 1, 1 - P, P)))
    logs = -np.log(np.clip(model.predict_proba(X), np.finfo(float).eps, 1.0))
    return float(np.mean((1 - P) * logs[:, 0] + P * logs[:, 1]))


def run(name: str, n: int, seed: int) -> dict[str, Any]:
    """One draw."""
    rng = np.random.default_rng([n, seed])
    X, X_new = rng.normal(size=(n, 8)), rng.normal(size=(FRESH, 8))
    y = (rng.random(n) < chance(X)).astype(int)
    model, pruner = MODELS[name], InfluencePruner(BUDGET, random_state=seed)
    begin = time.process_time()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        if model is None:
            model, fitted = BOOSTING, pruner.fit(X, y)
        else:
            fitted = PrunedClassifier(model, pruner).fit(X, y).pruner_
    seconds = time.process_time() - begin
    kept, weights = fitted.sample_indices_, fitted.sample_weight_
    begin = time.process_time()
    full = clone(model).fit(X, y)
    record = {"model": name, "n": n, "seed": seed, "kept": len(kept), "cpu_seconds": seconds}
    record["trainings"] = seconds / (time.process_time() - begin)
    if len(kept) == n:
        return record | {"status": fitted.report_.status}
    given = {} if weights is None else {"sample_weight": weights}
    pruned = clone(model).fit(X[kept], y[kept], **given)
    rows = rng.choice(n, len(kept), replace=False)
    random = clone(model).fit(X[rows], y[rows])
    P = chance(X_new)
    losses = [expected_loss(m, X_new, P) for m in (full, pruned, random)]
    return record | {
        "true": losses[1] - losses[0],
        "random": losses[2] - losses[0],
        "reported": float(fitted.report_.gaps["retrained"]),
        "standard_error": fitted.report_.gaps["retrained"].standard_error,
        "weighted": weights is not None,
        "random_is_kept": fitted.report_.random_is_kept,
    }


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a model and number of rows."""
    rows = []
    for name, n in product(MODELS, sorted({r["n"] for r in records})):
        every = [r for r in records if r["model"] == name and r["n"] == n]
        pruned = [r for r in every if "true" in r]
        row = {"model": name, "n": n, "draws": len(every), "pruned": len(pruned)}
        if pruned:
            bias = [(r["reported"] - r["true"]) / r["standard_error"] for r in pruned]
            row |= kept_promises(pruned, BUDGET) | {
                "bias_se": float(np.mean(bias)),
                "random": float(np.mean([r["random"] for r in pruned])),
                "weighted": float(np.mean([r["weighted"] for r in pruned])),
                "random_is_kept": float(np.mean([r["random_is_kept"] for r in pruned])),
            }
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=6)
    parser.add_argument("--sizes", type=int, nargs="+", default=[2000, 5000])
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out")
    args = parser.parse_args()
    records = []
    for name, n, seed in product(args.models, args.sizes, range(args.seeds)):
        records.append(run(name, n, seed))
        print(records[-1], flush=True)
    summary = summarise(records)
    keys = ["model", "n", "draws", "pruned", "kept", "within", "true", "largest", "bias_se"]
    keys += ["random", "weighted", "random_is_kept"]
    print(summary_table(keys, summary))
    print(save("judges", records, summary, args.out))


if __name__ == "__main__":
    main()
