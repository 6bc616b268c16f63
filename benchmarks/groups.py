"""Predicting removal: groups against retraining, row scores against leave-one-out.

    python -m benchmarks.groups --rows 20000 --groups 50

A softmax head on synthetic features (512 columns, 10 classes, p = 5,130), fitted to its optimum.
For every random group the head is retrained without it; the prediction by influence function (sum
of single rows) and by one Newton step on the kept rows is compared with what happened to the loss
of 50 held-out rows: LDS is the mean over those rows of the rank correlation over groups, slope the
regression of the actual on the predicted change of the mean loss. Row scores are compared with
actual leave-one-out retraining on a smaller head.
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch
from scipy.stats import linregress, spearmanr

from benchmarks.harness import markdown, save
from skprune import InfluencePruner, LinearProxy
from skprune.evaluation.held_out import HeldOut
from skprune.heads.encoding import HeadEncoder
from skprune.heads.linear_spec import read_model
from skprune.heads.problem import HeadProblem, fit_head
from skprune.influence import leave_out as removal
from skprune.proxies.head import fit_curvature


def make_rows(n: int, columns: int, classes: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Gaussian features with a decaying spectrum and noisy linear labels."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, columns)) * np.linspace(2.0, 0.2, columns)
    Z = X @ rng.standard_normal((columns, classes)) / np.sqrt(columns) * 2.0
    return X, (Z + rng.gumbel(size=Z.shape)).argmax(1)


def problem_of(args: argparse.Namespace) -> tuple[HeadProblem, HeldOut]:
    """The large head and its 50 held-out rows."""
    X, y = make_rows(args.rows + 50, args.columns, args.classes, args.seed)
    encoder = HeadEncoder(read_model(None, "classification"), np.unique(y)).fit(X[50:], y[50:])
    problem = encoder.problem(X[50:], y[50:], np.ones(args.rows))
    return problem, HeldOut(encoder.problem(X[:50], y[:50], np.ones(50)), 1.0, "loss", None)


def groups(args: argparse.Namespace) -> list[dict[str, Any]]:
    """LDS, slope and seconds a group for every share removed."""
    problem, held_out = problem_of(args)
    examination = fit_curvature(problem, args.curvature)
    theta = examination.fit.theta
    operator = examination.influence(problem)
    before = held_out.losses(held_out.outputs(theta))

    def changes_by(steps: torch.Tensor) -> list[torch.Tensor]:
        moved = (theta + step.view_as(theta) for step in steps)
        return [held_out.losses(held_out.outputs(there)) - before for there in moved]

    rng = np.random.default_rng(args.seed)
    records = []
    for share in (0.05, 0.2, 0.4):
        kept = torch.ones(args.groups, args.rows, dtype=torch.bool)
        for mask in kept:
            mask[torch.from_numpy(rng.choice(args.rows, round(share * args.rows), False))] = False
        actual = []
        for mask in kept:
            rows = torch.nonzero(mask).reshape(-1)
            fit = fit_head(problem.subset(rows), examination.curvature.solve, start=theta)
            actual.append((held_out.losses(held_out.outputs(fit.theta)) - before).numpy())
        start = time.perf_counter()
        newton = removal.removal_steps(operator, ~kept, tolerance=1e-2)
        seconds = (time.perf_counter() - start) / args.groups
        changes = {"newton": changes_by(newton)}
        # As the curvature has it; a pruner solves with the exact Hessian.
        pulls = operator.pulls(~kept) / problem.total
        changes["influence"] = changes_by(operator.curvature.solve(pulls))
        truth = np.array(actual)
        for method, predicted in changes.items():
            guess = torch.stack(predicted).numpy()
            lds = [spearmanr(guess[:, j], truth[:, j]).statistic for j in range(truth.shape[1])]
            records.append(
                {
                    "method": method,
                    "removed": share,
                    "lds": float(np.mean(lds)),
                    "slope": float(linregress(guess.mean(1), truth.mean(1)).slope),
                    "seconds_a_group": seconds if method == "newton" else None,
                    "rows": args.rows,
                    "parameters": int(theta.numel()),
                    "curvature": args.curvature,
                    "seed": args.seed,
                }
            )
            print(records[-1], flush=True)
    return records


def leave_one_out(args: argparse.Namespace) -> dict[str, Any]:
    """Rank correlation of ``scores_`` with actual leave-one-out retraining."""
    X, y = make_rows(700, 20, 3, args.seed)
    pruner = InfluencePruner(keep=0.5, model=LinearProxy(curvature="dense"))
    pruner.fit(X[:400], y[:400], X_val=X[400:], y_val=y[400:])
    encoder = HeadEncoder(read_model(None, "classification"), np.unique(y)).fit(X[:400], y[:400])
    problem = encoder.problem(X[:400], y[:400], np.ones(400))
    held_out = HeldOut(encoder.problem(X[400:], y[400:], np.ones(300)), 1.0, "loss", None)
    examination = fit_curvature(problem, "dense")
    theta = examination.fit.theta
    actual = []
    for i in range(400):
        rest = torch.from_numpy(np.delete(np.arange(400), i))
        fit = fit_head(problem.subset(rest), examination.curvature.solve, start=theta, tol=1e-12)
        actual.append(float(held_out.gap(theta, fit.theta, "refit")))
    record = {
        "method": "scores_",
        "spearman_leave_one_out": float(spearmanr(pruner.scores_, actual).statistic),
        "slope": float(linregress(pruner.scores_, actual).slope),
    }
    problem, held_out = problem_of(args)
    examination = fit_curvature(problem, args.curvature)
    operator = examination.influence(problem)
    start = time.perf_counter()
    removal.leave_one_out(problem, operator, held_out, examination.fit.theta, None)
    record["rows_per_second"] = len(problem) / (time.perf_counter() - start)
    print(record, flush=True)
    return record


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=20_000)
    parser.add_argument("--columns", type=int, default=512)
    parser.add_argument("--classes", type=int, default=10)
    parser.add_argument("--groups", type=int, default=50)
    parser.add_argument("--curvature", default="ekfac", choices=("dense", "ekfac"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", help="JSON file; default: benchmarks/results/groups.json")
    args = parser.parse_args()
    records = [*groups(args), leave_one_out(args)]
    keys = ("method", "removed", "lds", "slope", "seconds_a_group")
    print(markdown(keys, ([r.get(key, "") for key in keys] for r in records)))
    print("written to", save("groups", records, None, args.out))


if __name__ == "__main__":
    main()
