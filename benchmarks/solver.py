"""Subset solvers: norm against seconds, the paper's annealing at ten times the time, and scale.

    python -m benchmarks.solver --seconds 2 --seeds 3
    python -m benchmarks.solver --scale

The first compares all solvers on synthetic vectors and on those of a real head, each given the
same time, with random subsets, greedy herding and apricot's facility location (if installed) beside
them; norms are in units of a row's norm. The second shows how time grows with the number of rows,
up to ten million in a memory map.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.datasets import load_breast_cancer, load_digits

from benchmarks.harness import markdown, save
from skprune import InfluencePruner
from skprune.heads.encoding import HeadEncoder
from skprune.heads.reading import read_table
from skprune.influence.operator import DenseInfluence, InfluenceOperator
from skprune.proxies.head import fit_curvature
from skprune.subset import solve_subset

KINDS = ("zero-mean", "shifted", "heavy-tailed", "clustered", "duplicated")
#: Our solvers, each with the same time but for what the label says.
LABELS = ("auto", "auto, no limit", "relax", "balance", "anneal", "anneal x10")
#: Seconds that the paper's annealing gets, relative to all others.
ANNEAL_FACTOR = 10


def synthetic(kind: str, n: int, d: int, rng: np.random.Generator) -> np.ndarray:
    """Vectors of one kind, shape (n, d)."""
    S = rng.normal(size=(n, d))
    if kind == "shifted":
        return S + 0.5
    if kind == "heavy-tailed":
        S = rng.standard_t(3, size=(n, d))
    elif kind == "clustered":
        S = 0.2 * S + rng.normal(size=(20, d))[rng.integers(0, 20, n)]
    elif kind == "duplicated":
        S = S[rng.integers(0, n // 2, n)]
    return S - S.mean(0)


def head(X: np.ndarray, y: np.ndarray) -> InfluenceOperator:
    """The whitened gradients of the default head on a table."""
    table, spec = read_table(InfluencePruner(), X, y, None, None)
    encoder = HeadEncoder(spec, table.classes).fit(table.X, table.y, table.weights)
    problem = encoder.problem(table.X, table.y, table.weights)
    operator = fit_curvature(problem, "dense").influence(problem)
    return DenseInfluence(operator.rows(torch.arange(len(X))), operator.offset)


def vectors(S: InfluenceOperator) -> torch.Tensor:
    """All rows, shape (n, d)."""
    return S.rows(torch.arange(S.n_rows, device=S.offset.device))


def herding(S: InfluenceOperator, size: int) -> float:
    """Greedy: always the row that brings the mean of the kept ones closest to that of all."""
    rows = vectors(S)
    kept = torch.zeros(S.n_rows, dtype=torch.bool, device=rows.device)
    target, total = -S.offset / size, torch.zeros_like(S.offset)
    squares = S.squared_norms()
    for k in range(size):
        scores = 2 * rows @ (total - (k + 1) * target) + squares
        row = int(torch.where(kept, torch.inf, scores).argmin())
        kept[row] = True
        total = total + rows[row]
    return float((S.offset + total).norm())


def problems(seed: int) -> Iterator[tuple[str, InfluenceOperator]]:
    """Name and vectors of every problem."""
    rng = np.random.default_rng(seed)
    for d in (5, 100):
        for kind in KINDS:
            S = torch.from_numpy(synthetic(kind, 5000, d, rng))
            offset = torch.zeros(d, dtype=S.dtype) if kind != "shifted" else -0.2 * S.sum(0)
            yield f"{kind}, d={d}", DenseInfluence(S, offset)
    yield "breast cancer head, d=31", head(*load_breast_cancer(return_X_y=True))
    yield "digits head, d=650", head(*load_digits(return_X_y=True))


def by_solver(
    S: InfluenceOperator, size: int, label: str, seconds: float, seed: int
) -> dict[str, Any]:
    """Norm, seconds and trace of one of our solvers; the label says how long it gets."""
    row = S.typical_norm()
    trace: list[tuple[float, float]] = []
    limit = {"auto, no limit": None, "anneal x10": ANNEAL_FACTOR * seconds}.get(label, seconds)
    found = solve_subset(
        S,
        size=size,
        solver=label.replace(",", " ").split()[0],
        random_state=seed,
        time_limit=limit,
        callback=lambda _, norm, at: trace.append((at, norm / row)),
    )
    return {
        "norm": found.norm / row,
        "seconds": found.seconds,
        "trace": trace[:: max(1, len(trace) // 50)],
    }


def baselines(S: InfluenceOperator, size: int, seed: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """What takes no time limit: greedy herding, facility location, a random subset."""
    row = S.typical_norm()
    draw = np.random.default_rng(seed).choice(S.n_rows, size, replace=False)
    random = float(S.residual(draw).norm())
    begin = time.perf_counter()
    greedy = herding(S, size)
    spent = time.perf_counter() - begin
    yield "greedy herding", {"norm": greedy / row, "seconds": spent, "trace": []}
    if find_spec("apricot"):
        from apricot import FacilityLocationSelection

        rows = vectors(S).cpu().numpy()
        begin = time.perf_counter()
        found = FacilityLocationSelection(size, metric="euclidean").fit(rows).ranking
        spent = time.perf_counter() - begin
        norm = float(S.residual(found).norm())
        yield "apricot", {"norm": norm / row, "seconds": spent, "trace": []}
    yield "random", {"norm": random / row, "seconds": 0.0, "trace": []}


def compare(seconds: float, seeds: int, device: str, out: str | None) -> None:
    """All solvers on all problems, a fifth of the rows kept."""
    records: list[dict[str, Any]] = []
    for seed in range(seeds):
        for name, on_cpu in problems(seed):
            S = DenseInfluence(vectors(on_cpu).to(device), on_cpu.offset.to(device))
            size = S.n_rows // 5
            results = [(x, by_solver(S, size, x, seconds, seed)) for x in LABELS]
            for label, result in [*results, *baselines(S, size, seed)]:
                records.append({"problem": name, "seed": seed, "solver": label, **result})
                print(f"{name} seed {seed} {label}: {result['norm']:.4f} row norms", flush=True)
    labels = list(dict.fromkeys(r["solver"] for r in records))
    rows = []
    for problem in dict.fromkeys(r["problem"] for r in records):
        cells = [problem]
        for label in labels:
            norms = [r["norm"] for r in records if (r["problem"], r["solver"]) == (problem, label)]
            cells.append(f"{np.mean(norms):.3g} ({np.std(norms):.1g})")
        rows.append(cells)
    print(markdown(("problem", *labels), rows))
    path = save("solver", records, {"seconds": seconds, "device": device, "rows": rows}, out)
    plot(records, path.with_suffix(".png"))
    print("written to", path)


def plot(records: list[dict[str, Any]], path: Path) -> None:
    """Norm against seconds, one panel a problem, first seed."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    names = list(dict.fromkeys(r["problem"] for r in records))
    figure, axes = plt.subplots(3, 4, figsize=(16, 10), constrained_layout=True)
    for axis, name in zip(axes.flat, names, strict=False):
        for r in records:
            if r["problem"] == name and r["seed"] == 0:
                points = [*r["trace"], (r["seconds"], r["norm"])]
                axis.plot(*zip(*points, strict=True), marker=".", label=r["solver"])
        axis.set(title=name, xscale="log", yscale="log", xlabel="seconds", ylabel="row norms")
    axes.flat[0].legend(fontsize=7)
    for axis in axes.flat[len(names) :]:
        axis.axis("off")
    figure.savefig(path, dpi=80)


def scale(device: str, out: str | None) -> None:
    """Seconds by the number of rows: swap in memory, balance from a memory map."""
    records = []
    for solver, d, sizes in (
        ("swap", 512, (10**3, 10**4, 10**5, 10**6)),
        ("balance", 16, (10**3, 10**4, 10**5, 10**6, 10**7)),
    ):
        for n in sizes:
            with tempfile.TemporaryDirectory() as folder:
                path = Path(folder) / "S.npy"
                S = np.lib.format.open_memmap(path, "w+", dtype=np.float32, shape=(n, d))
                rng = np.random.default_rng(0)
                for begin in range(0, n, 10**5):
                    part = S[begin : begin + 10**5]
                    part[:] = rng.standard_normal(part.shape, dtype=np.float32)
                S.flush()
                S = np.load(path, mmap_mode="r")
                if solver == "swap":
                    S = torch.from_numpy(np.load(path)).to(device)
                found = solve_subset(S, size=n // 5, solver=solver, random_state=0)
                records.append(
                    {
                        "solver": solver,
                        "n": n,
                        "d": d,
                        "seconds": found.seconds,
                        "norm": found.norm / d**0.5,
                        "status": found.status,
                    }
                )
                print(records[-1], flush=True)
    print("written to", save("solver_scale", records, {"device": device}, out))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=2.0, help="for every solver")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--scale", action="store_true", help="time by the number of rows instead")
    parser.add_argument("--device", default="cpu", help="where the vectors lie, such as cuda")
    parser.add_argument("--out", help="JSON file; default: benchmarks/results/solver*.json")
    args = parser.parse_args()
    if args.scale:
        scale(args.device, args.out)
    else:
        compare(args.seconds, args.seeds, args.device, args.out)


if __name__ == "__main__":
    main()
