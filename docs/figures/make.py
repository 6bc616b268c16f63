"""The figures of the guide pages, beside this file.

    python docs/figures/make.py [NAME ...]

Pages show figures that are kept in the repository, so that the documentation is built without the
minutes that they take. What is measured is measured here, or read from ``benchmarks/results``.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from sklearn.datasets import load_digits, make_classification
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.model_selection import train_test_split
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprune import (
    GapCalibrationDisplay,
    InfluencePruner,
    LinearProxy,
    PrunedSearchCV,
    PruningCurveDisplay,
    compare,
)

HERE = Path(__file__).parent
RESULTS = HERE.parents[1] / "benchmarks" / "results"

GREEN, GREY = "#1b7f5c", "#8a94a0"


def quickstart(figure):
    """The curve of the quickstart's own example."""
    X, y = load_digits(return_X_y=True)
    X, _, y, _ = train_test_split(X, y, stratify=y, random_state=0)
    model = make_pipeline(StandardScaler(), LogisticRegression(C=0.1, max_iter=1000))
    pruner = InfluencePruner(max_gap=0.02, model=model, random_state=0).fit(X, y)
    PruningCurveDisplay.from_estimator(pruner, ax=figure.subplots())


def searching(figure):
    """Candidates of a search, on a fifth of the rows and on all."""
    from scipy.stats import loguniform
    from sklearn.model_selection import RandomizedSearchCV
    from sklearn.svm import SVC

    from skprune.data.magic import load_magic

    X, y = load_magic()
    X, _, y, _ = train_test_split(X, y, train_size=5000, stratify=y, random_state=0)
    search = RandomizedSearchCV(
        make_pipeline(StandardScaler(), SVC()),
        {"svc__C": loguniform(0.1, 100), "svc__gamma": loguniform(0.01, 1)},
        n_iter=24,
        cv=3,
        random_state=0,
    )
    rows = InfluencePruner(keep=0.2, model=LinearProxy(), random_state=0)
    pruned = PrunedSearchCV(search, rows).fit(X, y)
    few = 100 * pruned.cv_results_["mean_test_score"]
    whole = 100 * search.fit(X, y).cv_results_["mean_test_score"]
    axes = figure.subplots()
    axes.plot(few, whole, "o", color=GREY, label="candidate")
    final = pruned.finalist_indices_
    axes.plot(few[final], whole[final], "o", color=GREEN, label="finalist")
    axes.plot(
        few[whole.argmax()],
        whole.max(),
        "o",
        ms=13,
        mfc="none",
        color="C3",
        label="best on all rows",
    )
    axes.set_xlabel("right in cross-validation, % (kept rows)")
    axes.set_ylabel("right in cross-validation, % (all rows)")
    axes.legend()


def comparing(figure):
    """The comparison of the page, with more sizes and strategies."""
    X, y = load_digits(return_X_y=True)
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=300))
    strategies = {
        "InfluencePruner": InfluencePruner(model=LinearProxy()),
        "herding": "herding",
        "k-center": "k-center",
        "el2n": "el2n",
    }
    found = compare(X, y, strategies, [0.05, 0.1, 0.2, 0.4], estimator=model, seeds=3)
    found.plot(ax=figure.subplots())


def measured(figure):
    """Rows that max_gap=0.01 keeps, chosen and at random, of every table."""
    records = json.loads((RESULTS / "tables.json").read_text())["records"]
    shares: dict[str, dict[str, list[float]]] = {}
    for record in records:
        if record["budget"] == "max_gap=0.01":
            of_table = shares.setdefault(record["table"], {})
            of_table.setdefault(record["method"], []).append(100 * record["kept"] / record["rows"])
    order = sorted(shares, key=lambda table: -np.mean(shares[table]["skprune"]))
    axes = figure.subplots()
    for method, label, color, offset in (
        ("random", "random rows", GREY, 0.2),
        ("skprune", "chosen rows", GREEN, -0.2),
    ):
        means = [np.mean(shares[table][method]) for table in order]
        axes.barh(np.arange(len(order)) - offset, means, 0.4, color=color, label=label)
    axes.set_yticks(range(len(order)), order)
    axes.set_xlabel("rows needed for max_gap=0.01, % of all (mean of 5 seeds)")
    axes.legend()


def networks(figure):
    """Networks from scratch on the rows that strategies keep, from the records of the field."""
    records = json.loads((RESULTS / "field_slim.json").read_text())["records"]
    kept = {"net": "slim", "noise": 0.0, "protocol": "steps"}
    here = [r for r in records if all(r.get(key) == value for key, value in kept.items())]
    drawn = {
        "all rows": {"color": "black", "linestyle": ":"},
        "random anew": {"color": "black", "linestyle": "--"},
        "random": {"color": "black"},
        "skprune": {"color": GREEN},
        "skprune, distilled": {"color": GREEN, "linestyle": "--"},
        "dual": {"color": "tab:blue"},
        "ccs": {"color": "tab:cyan"},
        "herding": {"color": "tab:purple"},
        "el2n": {"color": "tab:orange"},
        "dataset pruning": {"color": "tab:red"},
    }
    datasets = {"fashion_mnist": "Fashion-MNIST", "cifar10": "CIFAR-10"}
    for axes, (dataset, title) in zip(figure.subplots(1, 2), datasets.items(), strict=True):
        for name, style in drawn.items():
            own = [r for r in here if (r["dataset"], r["strategy"]) == (dataset, name)]
            at = sorted({r["pruned"] for r in own})
            means = [100 * np.mean([r["accuracy"] for r in own if r["pruned"] == p]) for p in at]
            if name == "all rows":
                axes.axhline(means[0], label=name, **style)
                whole = means[0]
            else:
                axes.plot([100 * (1 - p) for p in at], means, marker=".", label=name, **style)
        axes.set(title=title, xlabel="rows kept, %", ylim=(whole - 25, whole + 2))
        axes.set_ylabel("test accuracy, %" if dataset == "fashion_mnist" else "")
    figure.legend(*axes.get_legend_handles_labels(), loc="outside right center", frameon=False)


def solvers(figure):
    """Seconds by the number of rows."""
    records = json.loads((RESULTS / "solver_scale.json").read_text())["records"]
    axes = figure.subplots()
    for solver, label, color in (
        ("swap", "swap: 512 columns in memory, bound included", GREEN),
        ("balance", "balance: 16 columns of a memory map", GREY),
    ):
        points = sorted((r["n"], r["seconds"]) for r in records if r["solver"] == solver)
        axes.loglog(*zip(*points, strict=True), "o-", color=color, label=label)
    axes.set_xlabel("rows")
    axes.set_ylabel("seconds")
    axes.legend()


SHOWN = {
    "skprune_network:cg-newton": "skprune, cg",
    "skprune_network:hessian-newton": "skprune, hessian",
    "skprune_network:lowrank-newton": "skprune, lowrank",
    "skprune_network:ekfac-newton": "skprune, ekfac",
    "pydvl:cg": "pyDVL, conjugate gradients",
    "pydvl:nystroem200": "pyDVL, Nyström",
    "dattri:cg10": "dattri, conjugate gradients",
    "kronfluence:ekfac-auto": "kronfluence, EK-FAC",
    "traker:proj256": "TRAK",
}


def torch(figure):
    """How well groups are ranked, against what it takes."""
    records = json.loads((RESULTS / "influence.json").read_text())["records"]
    axes = figure.subplots()
    for record in records:
        if record["task"] != "mlp" or record["method"] not in SHOWN:
            continue
        (lds,) = (
            f["lds"] for f in record["fidelity"] if f["removed"] == 0.2 and f["groups"] == "random"
        )
        name = SHOWN[record["method"]]
        seconds = record["fit_cpu_seconds"] + record["score_cpu_seconds"]
        axes.plot(seconds, lds, "o", color=GREEN if name.startswith("skprune") else GREY)
        axes.annotate(name, (seconds, lds), xytext=(6, -3), textcoords="offset points", fontsize=8)
    axes.set_xscale("log")
    axes.set_xlim(0.8, 2000)
    axes.set_xlabel("CPU seconds for 360 sets of rows")
    axes.set_ylabel("rank correlation with retraining (LDS)")


def samplers(figure):
    """How often rows are drawn, from those that are learned to those that are hard."""
    import torch as pytorch
    from torch.utils.data import DataLoader, TensorDataset

    from skprune.torch import BalancedSampler, Indexed, InfoBatch, RandomSubset

    X, y = load_digits(return_X_y=True)
    dataset = TensorDataset(pytorch.tensor(X / 16, dtype=pytorch.float32), pytorch.tensor(y))
    axes = figure.subplots()
    for sampler, color in (
        (BalancedSampler(dataset, keep=0.3, targets=y), GREEN),
        (InfoBatch(dataset, epochs=10), "C1"),
        (RandomSubset(dataset, keep=0.3), GREY),
    ):
        pytorch.manual_seed(0)
        net = pytorch.nn.Sequential(
            pytorch.nn.Linear(64, 32), pytorch.nn.ReLU(), pytorch.nn.Linear(32, 10)
        )
        optimizer = pytorch.optim.Adam(net.parameters(), lr=5e-3)
        drawn = np.zeros(len(y))
        for _ in range(10):
            for indices, (inputs, targets) in DataLoader(Indexed(dataset), 64, sampler=sampler):
                losses = pytorch.nn.functional.cross_entropy(net(inputs), targets, reduction="none")
                optimizer.zero_grad()
                sampler.weigh(losses, indices).backward()
                optimizer.step()
                drawn[indices.numpy()] += 1
        with pytorch.no_grad():
            outputs = net(dataset.tensors[0])
            last = pytorch.nn.functional.cross_entropy(
                outputs, dataset.tensors[1], reduction="none"
            )
        tenths = np.array_split(np.argsort(last.numpy()), 10)
        label = f"{type(sampler).__name__}: {int(drawn.sum()):,} passes"
        axes.plot(
            range(1, 11), [drawn[rows].mean() for rows in tenths], "o-", color=color, label=label
        )
    axes.set_xticks(range(1, 11))
    axes.set_xlabel("tenth of the rows, by their loss at the end")
    axes.set_ylabel("times drawn in ten epochs")
    axes.set_ylim(0, 12)
    axes.legend()


def theory(figure):
    """Sums of influence vectors, of chosen and of random kept rows."""
    from skprune.subset import solve_subset

    rng = np.random.default_rng(3)
    S = rng.normal(size=(200, 2))
    S -= S.mean(axis=0)
    chosen = solve_subset(S, size=40, prior=np.ones(len(S)), random_state=0).indices
    drawn = rng.choice(len(S), 40, replace=False)
    axes = figure.subplots(1, 2, sharex=True, sharey=True)
    for ax, rows, title, color in (
        (axes[0], chosen, "40 chosen rows", GREEN),
        (axes[1], drawn, "40 random rows", GREY),
    ):
        path = np.vstack([[0, 0], np.cumsum(S[rows], axis=0)])
        ax.plot(*path.T, "-", color=color, lw=1)
        ax.plot(*path[0], "o", color="black", ms=8, mfc="none", label="0")
        ax.plot(*path[-1], "o", color="C3", label="sum of the kept rows")
        ax.set_title(title)
        ax.set_aspect("equal")
    axes[0].legend(loc="lower left")


def report(figure):
    """Reported against observed gaps, of the report's page."""
    X, y = make_classification(40_000, flip_y=0.2, random_state=0)
    model, unseen = LogisticRegression(), slice(20_000, None)

    def loss(X_some, y_some):
        return log_loss(y[unseen], model.fit(X_some, y_some).predict_proba(X[unseen]))

    reported, observed = [], []
    for start in range(0, 20_000, 1000):
        part = X[start : start + 1000], y[start : start + 1000]
        pruner = InfluencePruner(keep=0.04, model=model, random_state=0)
        observed.append(loss(*pruner.fit_transform(*part)) - loss(*part))
        reported.append(pruner.gap_)
    GapCalibrationDisplay.from_gaps(
        reported, observed, name="logistic regression", ax=figure.subplots()
    )


def _chain(ax, y, boxes, title):
    """A row of boxes with arrows between them; those that begin with an asterisk are ours."""
    ax.text(0, y + 0.62, title, fontsize=9, weight="bold", va="center")
    x = 0.0
    for place, text in enumerate(boxes):
        ours, text = text.startswith("*"), text.removeprefix("*")
        width = 0.32 + 0.118 * max(len(line) for line in text.split("\n"))
        ax.add_patch(
            FancyBboxPatch(
                (x, y - 0.27),
                width,
                0.54,
                boxstyle="round,pad=0.04",
                lw=1.2,
                fc="#d9efe6" if ours else "#f1f3f5",
                ec=GREEN if ours else GREY,
            )
        )
        ax.text(x + width / 2, y, text, ha="center", va="center", fontsize=8.5)
        x += width
        if place < len(boxes) - 1:
            ax.add_patch(
                FancyArrowPatch(
                    (x + 0.07, y), (x + 0.52, y), arrowstyle="-|>", mutation_scale=11, color=GREY
                )
            )
            x += 0.6
    return x


def _diagram(figure, rows):
    ax = figure.subplots()
    ends = [_chain(ax, -1.5 * place, boxes, title) for place, (title, boxes) in enumerate(rows)]
    ax.set_xlim(-0.1, max(ends) + 0.1)
    ax.set_ylim(-1.5 * len(rows) + 1.05, 0.85)
    ax.axis("off")


def pipelines(figure):
    """The three routes."""
    _diagram(
        figure,
        [
            (
                "1. The kept rows themselves: last step of a Pipeline, or alone",
                ["X, y", "StandardScaler", "*InfluencePruner", "X_kept, y_kept"],
            ),
            (
                "2. A model that is trained on kept rows: anywhere in scikit-learn",
                [
                    "X, y",
                    "GridSearchCV",
                    "*PrunedClassifier(estimator, pruner)",
                    "predict(all rows)",
                ],
            ),
            (
                "3. A step in the middle: imbalanced-learn's Pipeline",
                ["X, y", "StandardScaler", "*PruningSampler(pruner)", "LogisticRegression"],
            ),
        ],
    )


def command_line(figure):
    """What the command does with a file."""
    _diagram(
        figure,
        [
            (
                "skprune prune data.csv --target y --out kept.csv --report report.html",
                [
                    "data.csv",
                    "columns: numbers, dates,\nwords, missing values",
                    "*rows are chosen\nand measured",
                    "kept.csv: rows in their order,\nnot a character changed",
                ],
            ),
        ],
    )


FIGURES = {
    quickstart: (6.6, 3.9),
    pipelines: (7.6, 3.4),
    searching: (5.4, 3.8),
    comparing: (6.4, 4.0),
    torch: (6.8, 4.2),
    command_line: (8.6, 1.2),
    measured: (6.6, 5.0),
    networks: (7.6, 3.6),
    solvers: (5.8, 3.4),
    samplers: (6.0, 3.6),
    theory: (7.0, 3.4),
    report: (5.2, 4.4),
}


def main():
    """Draw the figures that are named, or all."""
    mpl.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": "skprune", "font.size": 9})
    for draw, size in FIGURES.items():
        if not sys.argv[1:] or draw.__name__ in sys.argv[1:]:
            figure = Figure(figsize=size, layout="constrained")
            draw(figure)
            target = HERE / f"{draw.__name__}.svg"
            figure.savefig(target, metadata={"Date": None})
            print(f"{target.name}: {target.stat().st_size / 1000:.0f} kB", flush=True)


if __name__ == "__main__":
    main()
