"""Can a gap be believed? All levels against the truth, certificates, and rows made to break them.

    python -m benchmarks.gap --draws 40 --boosting-draws 12 --minutes 60

*Calibration*: two classes, Gaussian columns, a logistic truth of slope 2, 0 or 20 % of the labels
turned. The model is trained on all rows and on the kept ones, and the true gap is the difference of
their expected losses over fresh rows. For every level: reported minus true gap in standard errors,
how often the 68 and 95 % intervals hold the truth, and the slope of the true on the reported gap.
Settings are a budget (as a user leaves it, and retrained), a fixed size, where nothing is
searched, and a certificate, whose bound the truth has to be below.

*Pairs*: how often a certificate is false, and how often one is found, for two fixed models and
budgets at, just below and above their true gap.

*Adversarial*: label noise, copies, rare classes, shifts ... (``benchmarks/adversarial.py``).

Every cell is stored when it is finished; another run takes up what is there.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from sklearn.base import clone
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression

from benchmarks import adversarial
from benchmarks.harness import collect, forget, summary_table
from benchmarks.promise import chance
from skprune import GapCalibrationDisplay, InfluencePruner, PruningWarning
from skprune.evaluation.certificate import certifies, discordant_bound

MODELS = {
    "head": LogisticRegression(tol=1e-8, max_iter=1000),
    "boosting": HistGradientBoostingClassifier(max_iter=20, max_leaf_nodes=8, early_stopping=False),
}
SIZES = (300, 1000, 3000, 10_000)
BUDGET = 0.02
#: Of the setting "size", in which nothing is searched: so few that there is a gap.
KEEP = {"head": 60, "boosting": 0.2}
#: Parameters of the pruner; "retrained" is what "budget" is for a model that is not linear.
SETTINGS: dict[str, dict[str, Any]] = {
    "budget": {"max_gap": BUDGET},
    "retrained": {"max_gap": BUDGET, "verify": "retrain"},
    "size": {"verify": "retrain"},
    "certified": {"max_gap": BUDGET, "verify": "certify"},
}
LEVELS = ("predicted", "refit", "retrained", "certified")
#: Of a boosting these are gaps of the head that chooses rows for it.
OF_HEAD = ("predicted", "refit")
#: Rows to know the truth by, and rows that take part in nothing but a certificate.
FRESH, ASIDE = 100_000, 4000
#: Of the pairs: rows of the two models, and the budget beside the true gap.
ROWS, KEPT = 2000, 1000
AWAY = [-0.01, -0.001, 0.0, 0.005, 0.01, 0.02]
#: Losses are cut off here, which two classes of equal shares have.
LARGEST = -np.log(0.05)


def draw(
    n: int, p: int, noise: float, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Fresh rows of a population, their labels and the chances of these."""
    X = rng.normal(size=(n, p))
    P = chance(X, noise)
    return X, (rng.random(n) < P).astype(int), P


def expected(model: Any, X: np.ndarray, P: np.ndarray, largest: float) -> float:
    """Mean cross-entropy over rows whose labels are 1 with chance P, cut off at ``largest``."""
    logs = np.minimum(-np.log(np.maximum(model.predict_proba(X), 1e-300)), largest)
    return float(np.mean((1 - P) * logs[:, 0] + P * logs[:, 1]))


def calibration(model: str, setting: str, n: int, seed: int) -> list[dict[str, Any]]:
    """One fit of a pruner: every level of the rows that it hands out, beside the truth."""
    p, noise = (5, 20)[seed % 2], (0.0, 0.2)[seed // 2 % 2]
    rng = np.random.default_rng([n, p, int(100 * noise), seed])
    X, y, _ = draw(n, p, noise, rng)
    estimator, parts = MODELS[model], {}
    if setting == "certified":
        parts["X_val"], parts["y_val"], _ = draw(ASIDE, p, noise, rng)
    keep = KEEP[model] if setting == "size" else None
    pruner = InfluencePruner(model=estimator, keep=keep, random_state=seed, **SETTINGS[setting])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        pruner.fit(X, y, **parts)
    forget()
    kept = pruner.sample_indices_
    about = {"p": p, "noise": noise, "kept": len(kept), "status": pruner.report_.status}
    if len(kept) == n:
        return [about]
    X_new, _, P = draw(FRESH, p, noise, rng)
    full, pruned = (clone(estimator).fit(X[rows], y[rows]) for rows in (np.arange(n), kept))
    cut = -np.log(0.1 * np.bincount(y).min() / n)
    records = []
    for level, gap in {**pruner.report_.gaps, pruner.gap_.level: pruner.gap_}.items():
        if model == "boosting" and level in OF_HEAD:
            continue
        if (setting == "certified") != (level == "certified"):
            continue
        largest = cut if level == "certified" else np.inf
        true = expected(pruned, X_new, P, largest) - expected(full, X_new, P, largest)
        record = about | {"level": level, "true": true, "reported": float(gap)}
        record["standard_error"] = gap.standard_error
        if level == "certified":
            record["bound"] = gap.upper_bound
        else:
            for confidence in (68, 95):
                low, high = gap.interval(confidence / 100)
                record[f"held_{confidence}"] = bool(low <= true <= high)
        records.append(record)
    return records


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a model, setting, number of rows and level."""
    rows = []
    for model, setting, n in product(MODELS, SETTINGS, SIZES):
        every = [r for r in records if (r["model"], r["setting"], r["n"]) == (model, setting, n)]
        for level in LEVELS:
            found = [r for r in every if r.get("level") == level]
            if not found:
                continue
            true, reported, error = (
                np.array([r[key] for r in found]) for key in ("true", "reported", "standard_error")
            )
            row: dict[str, Any] = {"model": model, "setting": setting, "n": n, "level": level}
            row["fits"] = len({r["seed"] for r in every})
            row |= {"pruned": len(found), "kept": float(np.median([r["kept"] / n for r in found]))}
            row["bias / se"] = float((reported - true).mean() / error.mean())
            row["+-"] = float((reported - true).std() / len(found) ** 0.5 / error.mean())
            if level == "certified":
                row["held 95"] = float(np.mean([r["bound"] >= r["true"] for r in found]))
            else:
                row["held 68"] = float(np.mean([r["held_68"] for r in found]))
                row["held 95"] = float(np.mean([r["held_95"] for r in found]))
            if len(found) > 2 and reported.std() > 0:
                row["slope"] = float(np.cov(true, reported)[0, 1] / reported.var(ddof=1))
            if setting != "size":
                row["over budget"] = int(np.sum(true > BUDGET))
            rows.append(row)
    return rows


def pairs(model: str, noise: float, seed: int, repeats: int = 200) -> list[dict[str, Any]]:
    """Certificates of two models, over draws of the rows that took part in nothing."""
    rng = np.random.default_rng([seed, int(100 * noise), len(model)])
    X, y, _ = draw(ROWS, 10, noise, rng)
    full, pruned = (clone(MODELS[model]).fit(X[:n], y[:n]) for n in (ROWS, KEPT))
    X_new, y_new, _ = draw(2 * FRESH, 10, noise, rng)
    records = []
    for scoring in ("accuracy", "loss"):
        after, before = (
            adversarial.losses(m, (X_new, y_new), scoring, LARGEST) for m in (pruned, full)
        )
        d = after - before
        true, largest = float(d.mean()), 1.0 if scoring == "accuracy" else LARGEST
        for n, away in product((1000, 4000), AWAY):
            sample = d[rng.integers(len(d), size=(repeats, n))]
            record = {"scoring": scoring, "rows": n, "true": true, "away": away}
            record["differ"] = float(np.mean(np.abs(d) > 1e-3))
            record["certified"] = float(certifies(sample, true + away, largest=largest).mean())
            if scoring == "accuracy":
                bounds = [discordant_bound((s > 0).sum(), (s < 0).sum(), n) for s in sample]
                record["counted"] = float(np.mean(np.array(bounds) <= true + away))
            records.append(record)
    return records


def summarise_pairs(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a scoring, number of rows and budget."""
    rows = []
    for scoring, n, away in product(("accuracy", "loss"), (1000, 4000), AWAY):
        every = [r for r in records if (r["scoring"], r["rows"], r["away"]) == (scoring, n, away)]
        if not every:
            continue
        row = {"scoring": scoring, "rows": n, "budget - true gap": away}
        row["differ"] = float(np.mean([r["differ"] for r in every]))
        row["certified"] = float(np.mean([r["certified"] for r in every]))
        row["most"] = float(np.max([r["certified"] for r in every]))
        if scoring == "accuracy":
            row["counted"] = float(np.mean([r["counted"] for r in every]))
        rows.append(row)
    return rows


def picture(records: list[dict[str, Any]], path: Path) -> None:
    """True against reported gaps after a search, a panel a level; of certificates the bounds."""
    figure = Figure(figsize=(13, 3.9), layout="constrained")
    axes = figure.subplots(1, len(LEVELS), sharex=True, sharey=True)
    for ax, level in zip(axes, LEVELS, strict=True):
        ax.set_title(level)
        for model, mark in (("head", "o"), ("boosting", "^")):
            found = [
                r
                for r in records
                if (r["model"], r.get("level")) == (model, level) and r["setting"] != "size"
            ]
            if not found:
                continue
            of_bounds = level == "certified"
            GapCalibrationDisplay.from_gaps(
                [r["bound" if of_bounds else "reported"] for r in found],
                [r["true"] for r in found],
                standard_error=None if of_bounds else [r["standard_error"] for r in found],
                name=model,
                ax=ax,
                fmt=mark,
                alpha=0.7,
            )
        ax.label_outer()
    axes[0].set_ylabel("true gap (nats)")
    axes[0].set_xlim(-0.015, 0.03)
    axes[0].set_ylim(-0.015, 0.05)
    figure.savefig(path, dpi=130)


def cells(args: argparse.Namespace) -> Iterator[tuple[Any, ...]]:
    """All that is to be done, so that a run that ends early has done a little of everything."""
    for seed in range(max(args.draws, args.pairs, args.adversarial)):
        if seed < args.pairs:
            yield from product(["pairs"], MODELS, (0.0, 0.2), [seed])
        if seed < args.adversarial:
            ways = (("auto", "certify"), adversarial.BUDGETS)
            yield from product(["adversarial"], adversarial.POPULATIONS, *ways, [seed])
        for model, n, setting in product(MODELS, args.sizes, SETTINGS):
            draws = args.draws if model == "head" else args.boosting_draws
            if seed < draws and (model, setting) != ("boosting", "retrained"):
                yield "calibration", model, setting, n, seed


def run(kind: str, *about: Any) -> Iterator[dict[str, Any]]:
    """The records of a cell, which say what it is."""
    names, found = {
        "calibration": (("model", "setting", "n", "seed"), calibration),
        "pairs": (("model", "noise", "seed"), pairs),
        "adversarial": (("case", "verify", "scoring", "seed"), adversarial.run),
    }[kind]
    for record in found(*about):
        yield {"kind": kind, **dict(zip(names, about, strict=True)), **record}


def summarise_all(records: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """The tables, by kind."""
    return {
        kind: summary([r for r in records if r["kind"] == kind])
        for kind, summary in (
            ("calibration", summarise),
            ("pairs", summarise_pairs),
            ("adversarial", adversarial.summarise),
        )
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--draws", type=int, default=40, help="fits of a head in every setting")
    parser.add_argument("--boosting-draws", type=int, default=12)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), choices=SIZES)
    parser.add_argument("--pairs", type=int, default=4, help="pairs of fixed models")
    parser.add_argument("--adversarial", type=int, default=10, help="draws of every case")
    parser.add_argument(
        "--minutes", type=float, default=math.inf, help="stop after so long; run again to go on"
    )
    parser.add_argument("--picture", type=Path, help="draw true against reported gaps there")
    parser.add_argument("--out")
    args = parser.parse_args()
    records = collect("gap", cells(args), run, summarise_all, args.out, args.minutes)
    summary = summarise_all(records)
    keys = ["model", "setting", "n", "level", "fits", "pruned", "kept", "bias / se", "+-"]
    keys += ["held 68", "held 95", "slope", "over budget"]
    print(summary_table(keys, summary["calibration"], digits=2), end="\n\n")
    keys = ["scoring", "rows", "budget - true gap", "differ", "certified", "most", "counted"]
    print(summary_table(keys, summary["pairs"], digits=3), end="\n\n")
    keys = ["case", "verify", "fits", "pruned", "crashes", "over budget", "certified", "falsely"]
    print(summary_table([*keys, "said"], summary["adversarial"]))
    if args.picture:
        picture([r for r in records if r["kind"] == "calibration"], args.picture)


if __name__ == "__main__":
    main()
