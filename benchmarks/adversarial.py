"""Rows that a promise may break on, of populations from which fresh ones can be drawn."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import expit
from sklearn.base import clone
from sklearn.linear_model import LogisticRegression

from skprune import InfluencePruner

Rows = tuple[np.ndarray, np.ndarray]
#: Rows to prune, rows that take part in nothing, and fresh ones to know the truth by.
N, N_VAL, FRESH = 1000, 2000, 50_000
BUDGETS = {"accuracy": 0.03, "loss": 0.05}


def drawn(rng: np.random.Generator, n: int, p: int = 10, slope: float = 2.0) -> Rows:
    """Two classes, with a logistic truth along the first columns."""
    X = rng.normal(size=(n, p))
    z = slope * X[:, :5].sum(1) / 5**0.5
    return X, (rng.random(n) < expit(z)).astype(int)


def turned(rows: Rows, share: float, rng: np.random.Generator) -> Rows:
    """Rows of which some have a label drawn at random."""
    X, y = rows
    return X, np.where(rng.random(len(y)) < share, rng.integers(2, size=len(y)), y)


def rare(rng: np.random.Generator, n: int) -> Rows:
    """One row of a thousand is of the second class, and lies elsewhere; there are two at least."""
    X, y = rng.normal(size=(n, 10)), (rng.random(n) < 1e-3).astype(int)
    y[:2] = 1
    return X + 1.5 * y[:, None], y


def heavy(rng: np.random.Generator, n: int) -> Rows:
    """Every row is times a Cauchy number, after its label is drawn."""
    X, y = drawn(rng, n)
    return X * rng.standard_cauchy((n, 1)), y


#: Each draws that many rows of its population.
POPULATIONS: dict[str, Callable[[np.random.Generator, int], Rows]] = {
    "label noise 20 %": lambda rng, n: turned(drawn(rng, n), 0.4, rng),
    "label noise 40 %": lambda rng, n: turned(drawn(rng, n), 0.8, rng),
    "copies across the split": drawn,
    "1:1000 classes": rare,
    "shifted validation rows": drawn,
    "p > n": lambda rng, n: drawn(rng, n, p=2 * N),
    "separable classes": lambda rng, n: drawn(rng, n, slope=1e6),
    "random labels": lambda rng, n: turned(drawn(rng, n), 1.0, rng),
    "heavy tails": heavy,
}


def problem(name: str, seed: int) -> tuple[Rows, Rows, Rows]:
    """Rows to prune, rows that take part in nothing, and fresh ones like these."""
    rng = np.random.default_rng([seed, len(name)])
    n_new = FRESH if name != "p > n" else FRESH // 10
    train, aside, new = (POPULATIONS[name](rng, n) for n in (N, N_VAL, n_new))
    if name == "copies across the split":
        copied = rng.integers(N, size=N_VAL // 2)
        for part, of in zip(aside, train, strict=True):
            part[: N_VAL // 2] = of[copied]
    if name == "shifted validation rows":
        aside, new = ((X + 1.0, y) for X, y in (aside, new))
    return train, aside, new


def losses(model: Any, rows: Rows, scoring: str, largest: float) -> np.ndarray:
    """The loss of every row: wrong or not, or cross-entropy that is cut off."""
    X, y = rows
    if scoring == "accuracy":
        return (model.predict(X) != y).astype(float)
    P = model.predict_proba(X)[np.arange(len(y)), y]
    return np.minimum(-np.log(np.maximum(P, 1e-300)), largest)


def run(case: str, verify: str, scoring: str, seed: int) -> list[dict[str, Any]]:
    """What a pruner makes of a case: a status in words, and how much is lost in truth."""
    (X, y), (X_val, y_val), new = problem(case, seed)
    budget, model = BUDGETS[scoring], LogisticRegression(max_iter=1000)
    pruner = InfluencePruner(budget, model=model, scoring=scoring, verify=verify, random_state=seed)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            pruner.fit(X, y, X_val=X_val, y_val=y_val)
    except Exception as error:
        return [{"crash": f"{type(error).__name__}: {error}"}]
    kept, status = pruner.sample_indices_, pruner.report_.status
    record = {"kept": len(kept), "status": status, "certified": status.startswith("certified")}
    if len(kept) == N:
        return [record]
    largest = -np.log(0.1 * np.bincount(y).min() / N)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        full, pruned = (clone(model).fit(X[rows], y[rows]) for rows in (np.arange(N), kept))
    d = losses(pruned, new, scoring, largest) - losses(full, new, scoring, largest)
    true, error = float(d.mean()), float(d.std() / len(d) ** 0.5)
    return [record | {"true": true, "over": true > budget + 2 * error}]


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row a case and way to verify."""
    rows = []
    for case in POPULATIONS:
        for verify in ("auto", "certify"):
            every = [r for r in records if (r["case"], r["verify"]) == (case, verify)]
            pruned = [r for r in every if "true" in r]
            if not every:
                continue
            row = {"case": case, "verify": verify, "fits": len(every), "pruned": len(pruned)}
            row["crashes"] = sum("crash" in r for r in every)
            row["over budget"] = sum(r["over"] for r in pruned)
            row["certified"] = sum(r["certified"] for r in pruned)
            row["falsely"] = sum(r["certified"] and r["over"] for r in pruned)
            row["said"] = every[0].get("status", every[0].get("crash", ""))[:60]
            rows.append(row)
    return rows
