"""Tables and the picture of ``benchmarks.field``, from its records."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import spearmanr

from benchmarks.harness import markdown
from benchmarks.verdicts import Cell, verdicts

Records = list[dict[str, Any]]
#: Heading, header and rows.
Table = tuple[str, Sequence[str], list[Sequence[Any]]]

#: What 40 % pruned cost in the paper, in points: the accuracy that d waits for is so far below
#: that of all rows.
PAPER_LOSS = 0.013
COLOURS = {"random": "black", "random anew": "tab:green", "skprune": "tab:red"}


def tables(records: Records, net: str, others: Sequence[str], space: Sequence[str]) -> list[Table]:
    """The tables of all experiments that have records; ``net`` is the network that scores."""
    trained = [r for r in records if r["kind"] == "training"]
    main = _where(trained, net=net, noise=0.0, protocol="steps")
    found: list[Table] = []
    for dataset in dict.fromkeys(r["dataset"] for r in main):
        here = _where(main, dataset=dataset)
        columns = sorted({r["pruned"] for r in here})
        heading, header, rows = _pivot(
            f"a. {dataset}: accuracy by share pruned", here, "pruned", columns
        )
        counts = _verdicts(here)
        rows = [(*row, counts.get(row[0], "")) for row in rows]
        found.append((heading, (*header, "first, tied, below random, of cells"), rows))
    if transfer := [r for r in trained if r["net"] in others and r["pruned"]]:
        dataset, pruned = transfer[0]["dataset"], transfer[0]["pruned"]
        same = _where(trained, dataset=dataset, noise=0.0, protocol="steps")
        names = {"all rows", *(r["strategy"] for r in transfer)}
        same = [r for r in same if r["strategy"] in names and r["net"] in (net, *others)]
        same = [r for r in same if r["pruned"] in (0.0, pruned)]
        heading = f"b. accuracy by architecture, {pruned:.0%} pruned as {net} scores rows"
        found.append(_pivot(heading, same, "net", (net, *others)))
    predictions = [r for r in records if r["kind"] == "prediction"]
    if predictions:
        found.append(_predicted(predictions, main))
    if short := [r for r in trained if r["protocol"] == "epochs"]:
        found.append(_converged(short, _where(main, dataset=short[0]["dataset"])))
    if searched := [r for r in trained if r["net"] in space]:
        found.append(_searched(searched))
    for noise in sorted({r["noise"] for r in trained} - {0.0}):
        here = _where(trained, noise=noise)
        columns = sorted({r["pruned"] for r in here})
        heading = f"f. accuracy, {noise:.0%} of the labels wrong, by share pruned"
        found.append(_pivot(heading, here, "pruned", columns))
    return found


def show(found: Iterable[Table]) -> str:
    """All tables as Markdown."""
    return "\n\n".join(f"{heading}\n\n{markdown(*table)}" for heading, *table in found)


def _where(records: Records, **wanted: Any) -> Records:
    return [r for r in records if all(r[key] == value for key, value in wanted.items())]


def _mean(values: Sequence[float], digits: int = 2) -> str:
    """Mean and standard deviation over seeds, and how many there are."""
    if not values:
        return ""
    spread = f" +- {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{spread} ({len(values)})"


def _by_seed(records: Records, value: Callable[[dict[str, Any]], float]) -> dict[Any, float]:
    return {(r["dataset"], r["pruned"], r["net"], r["seed"]): value(r) for r in records}


def _passes(records: Records) -> str:
    """Images passed forward and back in training, and in the scoring run before it."""
    trained = np.mean([r["forward"] for r in records]), np.mean([r["backward"] for r in records])
    scored = [(r.get("scoring_forward", 0), r.get("scoring_backward", 0)) for r in records]
    before = np.mean(scored, axis=0)
    return f"{trained[0]:,.0f} / {trained[1]:,.0f} + {before[0]:,.0f} / {before[1]:,.0f}"


PASSES = "passes forward / back, training + scoring"


def _pivot(heading: str, records: Records, key: str, columns: Sequence[Any]) -> Table:
    """Accuracy in percent: a row a strategy, a column a value of ``key``.

    The difference from random rows is a mean over the trainings that both have.
    """
    random = _by_seed(_where(records, strategy="random"), lambda r: 100 * r["accuracy"])
    rows = []
    for strategy in dict.fromkeys(r["strategy"] for r in records):
        own = _where(records, strategy=strategy)
        mine = _by_seed(own, lambda r: 100 * r["accuracy"])
        over = [mine[cell] - random[cell] for cell in mine.keys() & random.keys()]
        cells = [_mean([100 * r["accuracy"] for r in _where(own, **{key: c})]) for c in columns]
        rows.append((strategy, *cells, f"{np.mean(over):+.2f}" if over else "", _passes(own)))
    names = [f"{c:.0%}" if isinstance(c, float) else c for c in columns]
    return heading, ("strategy", *names, "over random", PASSES), rows


def _verdicts(records: Records) -> dict[str, str]:
    """Counts over the shares pruned, of strategies that keep the same rows in all epochs."""
    cells: dict[float, Cell] = {}
    for r in records:
        if r["strategy"] not in ("all rows", "random anew"):
            cell = cells.setdefault(r["pruned"], {})
            cell.setdefault(r["strategy"], {})[r["seed"]] = r["accuracy"]
    found = verdicts(cells.values())
    return {n: f"{v.first}, {v.tied}, {v.below} of {v.cells}" for n, v in found.items()}


def gaps(predictions: Records, trained: Records) -> Records:
    """Predictions beside the observed gap: test loss and accuracy lost against all rows."""
    full = {(r["dataset"], r["seed"]): r for r in _where(trained, strategy="all rows")}
    keys = ("dataset", "strategy", "pruned", "seed")
    known = {tuple(r[k] for k in keys): r for r in trained}
    found = []
    for r in predictions:
        mine, every = known.get(tuple(r[k] for k in keys)), full.get((r["dataset"], r["seed"]))
        if mine and every:
            lost = every["accuracy"] - mine["accuracy"]
            found.append(r | {"loss": mine["loss"] - every["loss"], "points": 100 * lost})
    return found


def _predicted(predictions: Records, trained: Records) -> Table:
    found = gaps(predictions, trained)
    rows = []
    for pruned, strategy in dict.fromkeys((r["pruned"], r["strategy"]) for r in found):
        own = _where(found, pruned=pruned, strategy=strategy)
        cells = [_mean([r[k] for r in own], 3) for k in ("movement", "refit", "loss", "points")]
        rows.append((f"{pruned:.0%}", strategy, *cells))
    for pruned in (*dict.fromkeys(r["pruned"] for r in found), None):
        same = found if pruned is None else _where(found, pruned=pruned)
        lost = [r["loss"] for r in same]
        ranks = [_rank(lost, [r[k] for r in same]) for k in ("movement", "refit")]
        label = "all" if pruned is None else f"{pruned:.0%}"
        rows.append((label, "rank correlation with the loss", *ranks, "", ""))
    header = ("pruned", "strategy", "movement", "head's gap", "observed, loss", "observed, points")
    return "c. predicted and observed gap", header, rows


def _rank(a: Sequence[float], b: Sequence[float]) -> str:
    found = spearmanr(a, b).statistic if len(a) > 2 else math.nan
    return "" if math.isnan(found) else f"{found:+.2f}"


def _converged(short: Records, main: Records) -> Table:
    full = _where(main, strategy="all rows")
    target = np.mean([r["accuracy"] for r in full]) - PAPER_LOSS if full else math.nan
    rows = []
    by_steps = [("all rows, all steps", full)] if full else []
    names = dict.fromkeys(r["strategy"] for r in short)
    for name, own in by_steps + [(name, _where(short, strategy=name)) for name in names]:
        reached = [r | look for r in own if (look := _first(r, target))]
        cells = [_mean([r[k] for r in reached], 1) for k in ("at_epoch", "step", "seconds")]
        final = _mean([100 * r["accuracy"] for r in own])
        rows.append((name, f"{len(reached)} of {len(own)}", *cells, final, _passes(own)))
    header = ("strategy", "reached", "epochs", "steps", "seconds", "accuracy at the end", PASSES)
    return f"d. until {target:.1%}, as many epochs of the kept rows as of all", header, rows


def _first(record: dict[str, Any], target: float) -> dict[str, float] | None:
    """The first look at which the network is as accurate as that."""
    for look in record["curve"]:
        if look["accuracy"] >= target:
            epochs = record["epochs"] * look["step"] / record["steps"]
            return {"at_epoch": epochs, "step": look["step"], "seconds": look["seconds"]}
    return None


def _searched(records: Records) -> Table:
    full = _where(records, strategy="all rows")
    rows = []
    for strategy in dict.fromkeys(r["strategy"] for r in records if r["strategy"] != "all rows"):
        ranks, winners, best = [], [], []
        for seed in sorted({r["seed"] for r in full}):
            truth = {r["net"]: r["accuracy"] for r in _where(full, seed=seed)}
            own = _where(records, seed=seed, strategy=strategy)
            few = {r["net"]: r["accuracy"] for r in own if r["net"] in truth}
            if len(few) > 2:
                ranks.append(spearmanr(list(few.values()), [truth[n] for n in few]).statistic)
                winners.append(100 * truth[max(few, key=few.__getitem__)])
                best.append(100 * max(truth[n] for n in few))
        rows.append((strategy, _mean(ranks), _mean(winners), _mean(best)))
    header = ("strategy", "rank correlation", "accuracy of its winner on all rows", "of the best")
    nets = len({r["net"] for r in records})
    return f"e. search among {nets} architectures on a tenth of the rows", header, rows


def draw(records: Records, net: str, path: str) -> str:
    """Accuracy against the share pruned, for each data set, and observed against predicted gaps."""
    trained = [r for r in records if r["kind"] == "training"]
    main = _where(trained, net=net, noise=0.0, protocol="steps")
    datasets = list(dict.fromkeys(r["dataset"] for r in main))
    figure = Figure(figsize=(5 * len(datasets) + 4, 4), layout="constrained")
    axes = figure.subplots(1, len(datasets) + 1, squeeze=False)[0]
    for axis, dataset in zip(axes, datasets, strict=False):
        here = _where(main, dataset=dataset)
        for strategy in dict.fromkeys(r["strategy"] for r in here):
            own = _where(here, strategy=strategy)
            at = sorted({r["pruned"] for r in own})
            means = [100 * np.mean([r["accuracy"] for r in _where(own, pruned=p)]) for p in at]
            if strategy == "all rows":
                axis.axhline(means[0], color="black", linestyle=":", label=strategy)
                continue
            colour = COLOURS.get(strategy)
            named = {"label": strategy, "linewidth": 2} if colour else {"linewidth": 0.8}
            axis.plot([100 * p for p in at], means, ".-", color=colour or "lightgrey", **named)
        axis.set(title=dataset, xlabel="pruned, %", ylabel="test accuracy, %")
        axis.legend()
    found = gaps([r for r in records if r["kind"] == "prediction"], main)
    axes[-1].scatter([r["refit"] for r in found], [r["loss"] for r in found], s=10)
    axes[-1].set(xlabel="predicted: the head's gap, nats", ylabel="observed gap, nats")
    figure.savefig(path, dpi=100)
    return path
