"""Influence on networks and heads, side by side with other packages on the same groups.

    python -m benchmarks.influence --tasks head,mlp,cnn --peer-python ~/peers/bin/python

A network is trained to near its optimum, groups of its training rows are removed, and it is
retrained without each of them from where it was (`benchmarks.retraining`; kept in ``.cache``).
Every method is given the same network and groups in a process of its own and predicts the change
of the loss of every held-out row: LDS is the mean over those rows of the rank correlation over
groups, rho and slope the rank correlation and the regression of the actual on the predicted change
of the mean loss. On heads, scores of single rows are compared with leaving one out as well.

The other packages go into an environment of their own (pyDVL wants an older numpy):

    pip install torch kronfluence dattri traker "pydvl[influence]"

With ``--update`` the methods and tasks of this run replace theirs in the file, the rest stays.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import linregress, rankdata, spearmanr

from benchmarks.harness import RESULTS, markdown, named, save
from benchmarks.removals import SHARES, add_groups, make_task
from benchmarks.retraining import retrain

CURVATURES = ("dense", "hessian", "cg", "kfac", "ekfac", "lissa", "lowrank", "diagonal")
KINDS = ("influence", "newton")
METHODS = {
    "network": {
        "ours": [
            *(f"skprune_network:{c}-{kind}" for c in CURVATURES for kind in KINDS),
            *(f"skprune_network:{c}-newton-auto" for c in ("dense", "cg", "kfac", "ekfac")),
            *(f"skprune_network:dense-{kind}-last" for kind in KINDS),
        ],
        "peers": [
            "kronfluence:kfac",
            "kronfluence:ekfac",
            "kronfluence:ekfac-auto",
            "dattri:cg10",
            "dattri:ekfac",
            "dattri:arnoldi200",
            "traker:proj256",
            "traker:proj1024",
            "pydvl:cg",
            "pydvl:ekfac",
            "pydvl:arnoldi200",
            "pydvl:nystroem200",
        ],
    },
    "head": {
        "ours": [f"skprune_head:{c}-{k}" for c in ("dense", "ekfac", "diagonal") for k in KINDS],
        "peers": [
            "kronfluence:kfac",
            "kronfluence:ekfac",
            "dattri:cg10",
            "dattri:cg100",
            "traker:proj1024",
            "pydvl:cg",
            "pydvl:ekfac",
        ],
    },
}


def chosen_methods(wanted: str, kind: str) -> list[str]:
    """Names of `--methods` for a task: groups ('ours', 'peers') or single methods."""
    groups = METHODS["head" if kind == "head" else "network"]
    names: list[str] = []
    for name in wanted.split(","):
        names += groups.get(name, [name])
    # A method that is for the other kind of task has no place here.
    own, other = ("skprune_head", "skprune_network")[:: 1 if kind == "head" else -1]
    return [n for n in dict.fromkeys(names) if not n.startswith(other) or n.startswith(own)]


def ask(name: str, task_path: str, args: argparse.Namespace) -> dict[str, Any]:
    """Run a method in its own process; returns its facts and arrays, or its error."""
    module, variant = name.split(":")
    python = sys.executable if module.startswith("skprune") else args.peer_python
    target = task_path.replace("task.npz", "out.npz")
    Path(target).unlink(missing_ok=True)

    def limits() -> None:
        resource.setrlimit(resource.RLIMIT_CPU, (args.limit, args.limit + 5))
        if args.device == "cpu":
            size = int(args.memory * 2**30)
            resource.setrlimit(resource.RLIMIT_AS, (size, size))

    command = [python, "-m", f"benchmarks.peers.{module}", variant, task_path, target]
    threads = {k: str(args.threads) for k in ("OMP_NUM_THREADS", "MKL_NUM_THREADS")}
    try:
        done = subprocess.run(
            command,
            cwd=Path(__file__).parent.parent,
            env={**os.environ, **threads},
            capture_output=True,
            text=True,
            timeout=6 * args.limit,
            preexec_fn=limits,
            check=False,
        )
    except (subprocess.TimeoutExpired, OSError) as exc:
        return {"error": f"{type(exc).__name__}: {exc}"[:300]}
    if not Path(target).exists():
        if done.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            return {"error": f"stopped after {args.limit} CPU seconds"}
        last = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return {"error": last[-1][:300]}
    with np.load(target) as z:
        answer = {key: z[key] for key in z.files if key != "facts"}
        return answer | json.loads(str(z["facts"]))


def lds(predicted: np.ndarray, actual: np.ndarray) -> float:
    """Mean over held-out rows of the rank correlation over groups, of arrays (G, V)."""
    ranks = [rankdata(a, axis=0) for a in (predicted, actual)]
    a, b = (r - r.mean(0) for r in ranks)
    scale = np.sqrt((a**2).sum(0) * (b**2).sum(0))
    # Equal predictions for all groups rank nothing.
    return float(np.mean(np.where(scale > 0, (a * b).sum(0) / np.maximum(scale, 1e-300), 0.0)))


def fidelity(predicted: np.ndarray, actual: np.ndarray, seed: int) -> dict[str, float]:
    """LDS with its bootstrap error over groups, rank correlation and slope of the mean change."""
    mean_predicted, mean_actual = predicted.mean(1), actual.mean(1)
    rng = np.random.default_rng(seed)
    draws = rng.integers(len(actual), size=(50, len(actual)))
    constant = np.ptp(mean_predicted) == 0
    return {
        "lds": lds(predicted, actual),
        "lds_se": float(np.std([lds(predicted[d], actual[d]) for d in draws])),
        "rho": 0.0 if constant else float(spearmanr(mean_predicted, mean_actual).statistic),
        "slope": None if constant else float(linregress(mean_predicted, mean_actual).slope),
    }


def judge(
    answer: dict[str, Any], labels: list[dict[str, Any]], actual: np.ndarray, seed: int
) -> dict[str, Any]:
    """Figures of a method against the truth."""
    shares = np.array([label["share"] for label in labels])
    kinds = np.array([label["kind"] for label in labels])
    record: dict[str, Any] = {"fidelity": [], "linear_fidelity": []}
    for share in SHARES:
        sets = {"random": kinds == "random", "chosen": ~np.isin(kinds, ("random", "single"))}
        for kind, of_kind in sets.items():
            here = of_kind & (shares == share)
            if here.sum() < 3:
                continue
            about = {"removed": share, "groups": kind}
            for key, target in (("predicted", "fidelity"), ("linear", "linear_fidelity")):
                if key in answer:
                    found = fidelity(answer[key][here], actual[here], seed)
                    record[target].append(about | found)
    single = kinds == "single"
    if "rows" in answer:
        seconds = answer.get("rows_cpu_seconds", answer.get("score_cpu_seconds"))
        wall = answer.get("rows_seconds", answer.get("score_seconds"))
        n = len(answer["rows"])
        spent = {"cpu_second": seconds, "second": wall}
        spent["cpu_second_with_fit"] = seconds + answer["fit_cpu_seconds"]
        # A clock may not see a short part: no rate then, rather than an endless one.
        record |= {f"rows_per_{unit}": n / time for unit, time in spent.items() if time > 0}
        if single.any():
            rows = [label["row"] for label in labels if label["kind"] == "single"]
            truth = actual[single].mean(1)
            record["leave_one_out_rho"] = float(spearmanr(answer["rows"][rows], truth).statistic)
            record["leave_one_out_slope"] = float(linregress(answer["rows"][rows], truth).slope)
    return record


def run_task(name: str, seed: int, args: argparse.Namespace) -> list[dict[str, Any]]:
    """Truth and every method on one task; returns one record for each."""
    start = time.perf_counter()
    task, facts = make_task(name, args, seed)
    labels = add_groups(task, args.groups, args.chosen, args.singles * (task.kind == "head"))
    tolerance, most = (1e-9, 300) if task.kind == "head" else (1e-6, args.iterations)
    truth = retrain(task, tolerance, most, block=24, label=name)
    about = {"task": name, "seed": seed, "device": args.device}
    groups = f"{args.groups} random and {args.chosen} chosen groups of each share"
    norms = truth["gradient_norm"]
    records = [
        about
        | {"method": "truth", "groups": groups, "training": facts}
        | {"retraining_seconds": float(truth["seconds"]), "gradient_norm": float(norms.max())}
        | {"seconds_here": time.perf_counter() - start}
    ]
    print(records[0], flush=True)
    answers = {}
    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "task.npz")
        task.save(path)
        for method in chosen_methods(args.methods, task.kind):
            answer = ask(method, path, args)
            record = {k: v for k, v in answer.items() if not isinstance(v, np.ndarray)}
            if "error" not in answer:
                record |= judge(answer, labels, truth["actual"], seed)
                answers[method] = answer
            records.append(about | {"method": method} | record)
            print(one_line(records[-1]), flush=True)
    if not args.no_plot:
        plot(name, answers, labels, truth["actual"], args)
    return records


def one_line(record: dict[str, Any]) -> str:
    """A record while the run goes on."""
    if "error" in record:
        return f"{record['task']} {record['method']}: {record['error']}"
    row = " ".join(f"{f['lds']:.3f}" for f in record["fidelity"])
    return f"{record['task']} {record['method']}: LDS {row}"


def tables(records: list[dict[str, Any]]) -> str:
    """One table a task: means over seeds, with the spread where there are several."""
    text = []
    for task in dict.fromkeys(r["task"] for r in records):
        here = [r for r in records if r["task"] == task]
        truth = next(r for r in here if r["method"] == "truth")
        seeds = len({r["seed"] for r in here})
        facts = truth["training"]
        text.append(
            f"\n{task}: {facts['rows']} rows, {facts['parameters']} parameters, "
            f"{truth['groups']}, {seeds} seed(s)\n"
        )
        head = task.startswith("head")
        header = ["method", "LDS random", "LDS chosen", "rho random", "slope random"]
        header += ["slope chosen", "fit s", "score s", "peak GB"]
        header += ["rows/s", "rows/s with fit", "leave one out"] if head else []
        methods = [m for m in dict.fromkeys(r["method"] for r in here) if m != "truth"]
        rows = [_row(m, [r for r in here if r["method"] == m], head) for m in methods]
        text.append(markdown(header, rows))
    return "\n".join(text)


def _row(method: str, records: list[dict[str, Any]], head: bool) -> list[str]:
    good = [r for r in records if "error" not in r]
    if not good:
        return [method, records[0]["error"].replace("|", "/")[:90]]

    def over_shares(kind: str, key: str) -> str:
        cells = []
        for share in SHARES:
            values = [
                f[key]
                for r in good
                for f in r["fidelity"]
                if f["groups"] == kind and f["removed"] == share and f[key] is not None
            ]
            spread = f"±{np.std(values):.2f}" if len(values) > 1 else ""
            cells.append(f"{np.mean(values):.2f}{spread}" if values else "-")
        return " ".join(cells)

    def mean(key: str, form: str) -> str:
        values = [r[key] for r in good if key in r]
        return format(np.mean(values), form) if values else "-"

    # On a CPU that is shared, seconds of the processor are what a method costs.
    clock = "cpu_seconds" if good[0]["device"] == "cpu" else "seconds"
    memory = "peak_bytes" if good[0]["device"] == "cpu" else "peak_device_bytes"
    scaled = good[0].get("scaled", True)
    row = [method, over_shares("random", "lds"), over_shares("chosen", "lds")]
    row.append(over_shares("random", "rho"))
    row += [over_shares(k, "slope") if scaled else "no scale" for k in ("random", "chosen")]
    row += [mean(f"fit_{clock}", ".2f"), mean(f"score_{clock}", ".2f")]
    row.append(f"{np.mean([r[memory] for r in good]) / 1e9:.2f}")
    if head:
        rate = "rows_per_cpu_second" if clock == "cpu_seconds" else "rows_per_second"
        row += [mean(rate, ",.0f"), mean("rows_per_cpu_second_with_fit", ",.0f")]
        row.append(mean("leave_one_out_rho", ".3f"))
    return row


def plot(
    name: str,
    answers: dict[str, dict[str, Any]],
    labels: list[dict[str, Any]],
    actual: np.ndarray,
    args: argparse.Namespace,
) -> None:
    """Predicted against actual change of the mean held-out loss, the most faithful first."""
    import matplotlib.pyplot as plt

    kinds = np.array([label["kind"] for label in labels])
    shares = np.array([label["share"] for label in labels])
    random = kinds == "random"
    scaled = {m: a for m, a in answers.items() if a.get("scaled", True)}
    order = sorted(scaled, key=lambda m: -lds(scaled[m]["predicted"][random], actual[random]))
    ours = [m for m in order if m.startswith("skprune")][:4]
    shown = ours + [m for m in order if not m.startswith("skprune")][:4]
    if not shown:
        return
    truth = actual.mean(1)
    figure, axes = plt.subplots(2, 4, figsize=(14, 7), squeeze=False, layout="constrained")
    for ax in axes.ravel()[len(shown) :]:
        ax.set_visible(False)
    for ax, method in zip(axes.ravel(), shown, strict=False):
        guess = answers[method]["predicted"].mean(1)
        for color, share in zip(("C0", "C1", "C3"), SHARES, strict=True):
            for marker, of_kind in ((".", random), ("x", ~random)):
                here = of_kind & (shares == share)
                text = f"{share:.0%} removed" if marker == "." else None
                ax.scatter(guess[here], truth[here], s=18, c=color, marker=marker, label=text)
        ends = [truth.min(), truth.max()]
        ax.plot(ends, ends, color="grey", linewidth=0.8)
        ax.set_title(method.removeprefix("skprune_"), fontsize=10)
        ax.set_xlabel("predicted")
        ax.set_ylabel("retrained")
    axes[0, 0].legend(title="dots: random, crosses: chosen", fontsize=8, title_fontsize=8)
    figure.suptitle(f"{name}: change of the mean held-out loss without a group of rows")
    target = Path(args.out).with_suffix("")
    figure.savefig(f"{target}_{name}.png", dpi=90)
    plt.close(figure)


def merged(known: list[dict[str, Any]], found: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Known records with those of a run put in their places, tasks together."""
    records = {_key(r): r for r in known} | {_key(r): r for r in found}
    order = {task: i for i, task in enumerate(dict.fromkeys(k[0] for k in records))}
    return sorted(records.values(), key=lambda r: order[r["task"]])


def _key(record: dict[str, Any]) -> tuple[Any, ...]:
    return tuple(record[k] for k in ("task", "seed", "device", "method"))


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data-root", help="folder with fashion_mnist.npz (or SKPRUNE_DATA)")
    parser.add_argument(
        "--tasks", default="head,mlp,cnn", help="of head, headN, mlp, mlp-relu, cnn"
    )
    parser.add_argument("--methods", default="ours,peers", help="ours, peers, or PEER:VARIANT ...")
    parser.add_argument("--seeds", default="0")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--groups", type=int, default=100, help="random groups of each share")
    parser.add_argument("--chosen", type=int, default=20, help="chosen groups of each share")
    parser.add_argument("--singles", type=int, default=100, help="rows left out alone, on heads")
    parser.add_argument("--cnn-rows", type=int, default=3000)
    parser.add_argument("--iterations", type=int, default=600, help="of a retraining, at most")
    parser.add_argument("--peer-python", default=sys.executable, help="python with the peers")
    parser.add_argument("--limit", type=int, default=300, help="CPU seconds a method may take")
    parser.add_argument("--memory", type=float, default=12.0, help="GiB of addresses (CPU only)")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--update", action="store_true", help="keep what else is in the file")
    parser.add_argument("--no-plot", action="store_true")
    parser.add_argument("--out", help="JSON file; default: in benchmarks/results")
    args = parser.parse_args()
    args.peer_python = os.path.expanduser(args.peer_python)
    args.out = args.out or str(RESULTS / f"{named('influence', args.device)}.json")
    kept = args.update and os.path.exists(args.out)
    records = json.loads(Path(args.out).read_text())["records"] if kept else []
    for name in args.tasks.split(","):
        for seed in map(int, args.seeds.split(",")):
            records = merged(records, run_task(name, seed, args))
            text = tables(records)
            save("influence", records, text.splitlines(), args.out)
    print(text)
    print("written to", args.out)


if __name__ == "__main__":
    main()
