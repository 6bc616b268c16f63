"""How often a certificate is false, and how often one is found, where the true gap is known.

    python -m benchmarks.gap --draws 20

Two classes, ten Gaussian columns, a logistic truth of slope 2, of which 0 or 20 % of the labels are
turned. All rows and a fixed random part of them are given to a model, and the two are compared on
rows that took part in nothing, drawn anew for every certificate; the true gap of the same two
models is that on 200,000 fresh rows. The budget is set at the true gap, just below it and far below
it, where every certificate is false, and above it, where every one is right. A second table
has what ``InfluencePruner(verify="certify")`` hands out.
"""

from __future__ import annotations

import argparse
import warnings
from itertools import product
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.harness import save, summary_table
from benchmarks.promise import chance
from skprune import InfluencePruner, PruningWarning
from skprune.evaluation.certificate import certifies, discordant_bound

MODELS = {
    "LogisticRegression": LogisticRegression(),
    "StandardScaler, LogisticRegression": make_pipeline(StandardScaler(), LogisticRegression()),
    "HistGradientBoosting": HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=8),
}
COLUMNS, FRESH = 10, 200_000
#: Rows of the two models that are compared.
ROWS, KEPT = 2000, 1000
#: What the budget is beside the true gap, in points; the last three may be certified.
AWAY = [-0.01, -0.001, 0.0, 0.005, 0.01, 0.02]
#: Losses are cut off here, which two classes of equal shares have.
LARGEST = -np.log(0.05)


def draw(n: int, noise: float, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Fresh rows of the population."""
    X = rng.normal(size=(n, COLUMNS))
    return X, (rng.random(n) < chance(X, noise)).astype(int)


def losses(model: Any, X: np.ndarray, y: np.ndarray, scoring: str) -> np.ndarray:
    """The loss of every row: wrong or not, or cross-entropy that is cut off."""
    P = model.predict_proba(X)
    if scoring == "accuracy":
        return (P.argmax(1) != y).astype(float)
    return np.minimum(-np.log(P[np.arange(len(y)), y]), LARGEST)


def of_two_models(name: str, noise: float, seed: int, repeats: int) -> list[dict[str, Any]]:
    """Certificates of one pair of models, over draws of the rows that took part in nothing."""
    rng = np.random.default_rng([seed, int(100 * noise), len(name)])
    X, y = draw(ROWS, noise, rng)
    full, pruned = (clone(MODELS[name]).fit(X[:n], y[:n]) for n in (ROWS, KEPT))
    new = draw(FRESH, noise, rng)
    records = []
    for scoring in ("accuracy", "loss"):
        d = losses(pruned, *new, scoring) - losses(full, *new, scoring)
        true, largest = float(d.mean()), 1.0 if scoring == "accuracy" else LARGEST
        for n, away in product((1000, 4000), AWAY):
            sample = d[rng.integers(FRESH, size=(repeats, n))]
            record = {"model": name, "noise": noise, "seed": seed, "scoring": scoring, "rows": n}
            record |= {"true": true, "away": away, "differ": float(np.mean(np.abs(d) > 1e-3))}
            record["certified"] = float(certifies(sample, true + away, largest=largest).mean())
            if scoring == "accuracy":
                bounds = [discordant_bound((s > 0).sum(), (s < 0).sum(), n) for s in sample]
                record["counted"] = float(np.mean(np.array(bounds) <= true + away))
            records.append(record)
    return records


def of_a_pruner(name: str, noise: float, seed: int, budget: float) -> dict[str, Any]:
    """What a pruner certifies, beside the truth."""
    rng = np.random.default_rng([seed, int(100 * noise), len(name), 1])
    X, y = draw(ROWS, noise, rng)
    X_val, y_val = draw(2 * ROWS, noise, rng)
    model = MODELS[name]
    pruner = InfluencePruner(
        budget, model=model, scoring="accuracy", verify="certify", random_state=seed
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        pruner.fit(X, y, X_val=X_val, y_val=y_val)
    kept = pruner.sample_indices_
    record = {"model": name, "noise": noise, "seed": seed, "budget": budget, "kept": len(kept)}
    record |= {"status": pruner.report_.status, "bound": pruner.gap_.upper_bound}
    if len(kept) == ROWS:
        return record
    new = draw(FRESH, noise, rng)
    full, pruned = (clone(model).fit(X[rows], y[rows]) for rows in (np.arange(ROWS), kept))
    d = losses(pruned, *new, "accuracy") - losses(full, *new, "accuracy")
    return record | {"true": float(d.mean()), "reported": float(pruner.gap_)}


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a scoring, number of rows and budget."""
    rows = []
    for scoring, n, away in product(("accuracy", "loss"), (1000, 4000), AWAY):
        every = [r for r in records if (r["scoring"], r["rows"], r["away"]) == (scoring, n, away)]
        row = {"scoring": scoring, "rows": n, "budget - true gap": away}
        row["differ"] = float(np.mean([r["differ"] for r in every]))
        row["certified"] = float(np.mean([r["certified"] for r in every]))
        row["most"] = float(np.max([r["certified"] for r in every]))
        if scoring == "accuracy":
            row["counted"] = float(np.mean([r["counted"] for r in every]))
        rows.append(row)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "--draws", type=int, default=4, help="pairs of models, and fits of a pruner"
    )
    parser.add_argument("--repeats", type=int, default=200, help="certificates of a pair")
    parser.add_argument("--budget", type=float, default=0.02, help="of the pruners")
    parser.add_argument("--models", nargs="+", default=list(MODELS), choices=list(MODELS))
    parser.add_argument("--out")
    args = parser.parse_args()
    pairs, fits = [], []
    for name, noise, seed in product(args.models, (0.0, 0.2), range(args.draws)):
        pairs += of_two_models(name, noise, seed, args.repeats)
        fits.append(of_a_pruner(name, noise, seed, args.budget))
        print(fits[-1], flush=True)
    summary = summarise(pairs)
    keys = ["scoring", "rows", "budget - true gap", "differ", "certified", "most", "counted"]
    print(summary_table(keys, summary, digits=3))
    pruned = [fit for fit in fits if "true" in fit]
    false = sum(fit["true"] > args.budget for fit in pruned)
    print(f"{len(pruned)} of {len(fits)} fits certified fewer rows, {false} of them falsely")
    print(save("gap", [*pairs, *fits], summary, args.out))


if __name__ == "__main__":
    main()
