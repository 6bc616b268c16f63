"""Whether a change of the code changes what is kept: rows, scores, gaps, predictions of 49 fits.

    python -m benchmarks.same_rows before.pkl               # with the old code
    python -m benchmarks.same_rows after.pkl --than before.pkl

Tables, sparse rows, weights, groups, networks with every curvature, and retraining. Rows have to
be equal to the last one, numbers to rounding; what differs is printed, with its size.
"""

from __future__ import annotations

import argparse
import pickle
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.datasets import (
    load_breast_cancer,
    load_diabetes,
    load_digits,
    load_iris,
    load_wine,
    make_classification,
    make_regression,
)
from sklearn.decomposition import PCA
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
)
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale
from sklearn.tree import DecisionTreeClassifier
from torch import nn
from torch.utils.data import Dataset, TensorDataset

from skprune import InfluencePruner, LinearProxy, Retrain, TorchProxy

HEAD_CURVATURES = ("ekfac", "diagonal")
LAYER_CURVATURES = ("dense", "ekfac", "kfac", "diagonal", "lowrank", "hessian", "cg", "lissa")


def new_net(seed: int = 0) -> nn.Module:
    """A network that is not trained."""
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(12, 6), nn.Tanh(), nn.Linear(6, 2))


def train(dataset: Dataset[Any], seed: int) -> nn.Module:
    """Full batches of Adam."""
    net = new_net(seed)
    X, y = (torch.stack(column) for column in zip(*dataset, strict=True))
    optimizer = torch.optim.Adam(net.parameters(), 0.02, weight_decay=1e-3)
    for _ in range(80):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(X), y).backward()
        optimizer.step()
    return net


def problems() -> dict[str, tuple[Callable[[], InfluencePruner], tuple[Any, ...], dict[str, Any]]]:
    """Name -> pruner, rows, and what else goes to ``fit``."""
    found: dict[str, Any] = {}
    head = LinearProxy()

    def add(name: str, rows: Any, fit: dict[str, Any] | None = None, **options: Any) -> None:
        options = {"model": head, "random_state": 0, "verbose": 0, **options}
        found[name] = (lambda: InfluencePruner(**options)), rows, fit or {}

    loaders = {"cancer": load_breast_cancer, "wine": load_wine, "iris": load_iris}
    tables = {name: load(return_X_y=True) for name, load in loaders.items()}
    tables["diabetes"] = load_diabetes(return_X_y=True)
    for name, (X, y) in tables.items():
        add(f"{name}, budget", (scale(X), y), max_gap=0.05)
        add(f"{name}, share", (scale(X), y), keep=0.4)
    X, y = load_digits(return_X_y=True)
    digits = X[:700] / 16, y[:700]
    add("digits, budget", digits, max_gap=0.1)
    for curvature in ("auto", *HEAD_CURVATURES):
        add(f"digits, {curvature}", digits, keep=0.3, model=LinearProxy(curvature=curvature))

    big = make_classification(4000, 12, n_informative=8, random_state=0)
    add("classes, budget", big)
    for sampling in ("loss", "el2n"):
        add(f"classes, {sampling}", big, keep=0.1, sampling=sampling)
    for solver in ("anneal", "relax", "balance"):
        add(f"classes, {solver}", big, keep=0.1, solver=solver)
    add("classes, accuracy", big, scoring="accuracy", max_gap=0.02)
    add("classes, predicted", big, verify=None, keep=0.2)
    numbers = make_regression(2000, 10, noise=20, random_state=0)
    add("numbers, budget", numbers, max_gap=0.02)
    add("Ridge", numbers, model=Ridge(3.0), keep=0.1)
    add("LinearRegression", numbers, model=LinearRegression(), keep=0.1)
    add("LogisticRegression", big, model=LogisticRegression(C=0.5))
    balanced = LogisticRegression(class_weight="balanced")
    add("balanced classes", big, model=balanced, keep=0.2)
    pipeline = make_pipeline(StandardScaler(), PCA(6), LogisticRegression())
    add("Pipeline", big, model=pipeline)
    add("RidgeClassifier", big, model=RidgeClassifier(), keep=0.2)
    add("SGD", big, model=SGDClassifier(loss="log_loss", random_state=0), keep=0.2)
    tree = DecisionTreeClassifier(max_depth=4, min_samples_leaf=20)
    add("judged by a tree", big, verify=Retrain(tree, n_seeds=1), max_gap=0.03)
    forest = RandomForestClassifier(10, min_samples_leaf=5)
    add("judged by a forest", big, verify=Retrain(forest, n_seeds=2), keep=0.3)
    add("chosen for a tree", big, model=tree, keep=0.3)
    sparse = sp.random(1500, 40, 0.2, format="csr", random_state=0)
    add("sparse", (sparse, (sparse @ np.ones(40) > 3.9).astype(int)), keep=0.3)
    weights = np.random.default_rng(0).random(4000)
    weights[:50] = 0
    add("weights", big, {"sample_weight": weights}, keep=0.2)
    add("groups", big, {"groups": np.arange(4000) // 5})
    add("X_val", (big[0][:3000], big[1][:3000]), {"X_val": big[0][3000:], "y_val": big[1][3000:]})

    rows = TensorDataset(torch.tensor(big[0][:800]).float(), torch.tensor(big[1][:800]))
    nets = [train(rows, seed) for seed in (0, 1)]
    add("last layer, share", (rows,), model=nets[0], keep=0.3)
    add("last layer, budget", (rows,), model=nets[0], max_gap=0.02)

    def layers(net: Any, names: Any = "all", curvature: str = "auto") -> TorchProxy:
        return TorchProxy(net, layers=names, curvature=curvature, weight_decay=1e-2)

    for curvature in LAYER_CURVATURES:
        model = layers(nets[0], curvature=curvature)
        add(f"layers, {curvature}", (rows,), model=model, keep=0.4)
    add("ensemble", (rows,), model=layers(nets), keep=0.4)
    add("one layer", (rows,), model=layers(nets[0], ["2"]), keep=0.4)
    again = {"model": train, "verify": Retrain(n_seeds=2)}
    add("retrained network, share", (rows,), **again, keep=0.4)
    add("retrained network, budget", (rows,), **again, max_gap=0.1)
    return found


def record(pruner: InfluencePruner, rows: Any, fit: dict[str, Any]) -> dict[str, Any]:
    """What a fit finds."""
    pruner.fit(*rows, **fit)
    effect = pruner.group_influence(np.arange(0, len(pruner.keep_mask_), 7))
    return {
        "rows": pruner.sample_indices_,
        "scores": pruner.scores_,
        "gap": np.array([float(pruner.gap_), pruner.gap_.standard_error]),
        "effect": np.array([effect.newton.loss, effect.influence.loss]),
        "predictions": np.ravel(effect.newton.predictions),
        **{f"path, {k}": np.asarray(v, float) for k, v in pruner.path_.items() if k != "seconds"},
    }


def differences(now: dict[str, Any], before: dict[str, Any]) -> list[str]:
    """What is not the same, in words."""
    if not np.array_equal(now["rows"], before["rows"]):
        common = len(np.intersect1d(now["rows"], before["rows"]))
        return [f"rows: {len(now['rows'])} and {len(before['rows'])}, {common} in common"]
    found = []
    for name in now.keys() & before.keys():
        one, other = now[name], before[name]
        if one.shape != other.shape:
            found.append(f"{name}: {one.shape} and {other.shape}")
        elif not np.allclose(one, other, rtol=1e-6, atol=1e-9, equal_nan=True):
            found.append(f"{name}: {np.nanmax(np.abs(one - other)):.1e}")
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("out", type=Path)
    parser.add_argument("--than", type=Path, help="a record to compare with")
    args = parser.parse_args()
    before = pickle.loads(args.than.read_bytes()) if args.than else {}
    found, differing = {}, 0
    for name, (make, rows, fit) in problems().items():
        begin = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found[name] = record(make(), rows, fit)
        line = f"{name}: {len(found[name]['rows'])} rows, {time.perf_counter() - begin:.2f} s"
        said = differences(found[name], before[name]) if name in before else []
        differing += bool(said)
        print("; ".join([line, *said]), flush=True)
    args.out.write_bytes(pickle.dumps(found))
    print(f"{len(found)} fits" + (f", {differing} differ" if before else ""))


if __name__ == "__main__":
    main()
