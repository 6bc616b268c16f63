"""What the benchmark scripts share: judging a subset, machine and versions, JSON and tables."""

from __future__ import annotations

import json
import math
import os
import platform
import subprocess
import time
from collections.abc import Callable, Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch

from skprune.evaluation.held_out import HeldOut
from skprune.heads.encoding import HeadEncoder
from skprune.heads.linear_spec import read_model
from skprune.proxies.head import FITS, cold_fit
from skprune.proxies.known import OUTCOMES
from skprune.utils.files import write_whole

RESULTS = Path(__file__).parent / "results"
#: Files of many cells are not written anew more often than this.
SECONDS_APART = 5.0


def forget() -> None:
    """Empty the memory that fits share, so that the next one is as in a new process."""
    FITS.clear()
    OUTCOMES.clear()


class Judge:
    """Trains the default head on any subset of the training rows and measures it on test rows.

    Columns are standardised once, by all training rows, so that every subset is judged by the
    same head.
    """

    def __init__(
        self, X: np.ndarray, y: np.ndarray, X_test: np.ndarray, y_test: np.ndarray
    ) -> None:
        task = "regression" if y.dtype.kind == "f" else "classification"
        classes = None if task == "regression" else np.unique(y)
        self.encoder = HeadEncoder(read_model(None, task), classes).fit(X, y)
        self.problem = self.encoder.problem(X, y, np.ones(len(y)))
        test = self.encoder.problem(X_test, y_test, np.ones(len(y_test)))
        self.test = HeldOut(test, self.encoder.loss_unit(self.problem), "loss", None)
        self.y_test = y_test
        self.full, self.full_seconds = cold_fit(self.problem)

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        """Test gap (with its standard error), loss and accuracy of a head cold-fitted on rows."""
        start = time.perf_counter()
        fit, _ = cold_fit(self.problem.subset(torch.from_numpy(rows)))
        seconds = time.perf_counter() - start
        gap = self.test.gap(self.full.theta, fit.theta, "refit")
        return {
            "kept": len(rows),
            "test_gap": float(gap),
            "test_gap_se": gap.standard_error,
            "loss": float(self.test.losses(self.test.outputs(fit.theta)).mean()),
            "accuracy": self.accuracy(fit.theta),
            "fit_seconds": seconds,
        }

    def accuracy(self, theta: torch.Tensor) -> float:
        """Share of test rows predicted right; R^2 for regression."""
        outputs = self.test.outputs(theta)
        if self.encoder.classes is None:
            return 1.0 - float(self.test.losses(outputs).mean())
        return float(np.mean(self.encoder.predict(outputs) == self.y_test))

    def lbfgs_seconds(self) -> float:
        """Seconds of one full-data L-BFGS fit of this head (scipy) to the same gradient norm."""
        from scipy.optimize import minimize

        problem, scale = self.problem, float(self.problem.weights.sum())
        shape = problem.theta_shape

        def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
            theta = torch.from_numpy(flat.reshape(shape))
            Z = problem.features.forward(theta)
            gradient = problem.gradient(theta, Z) / scale
            return problem.value(theta, Z) / scale, gradient.numpy().ravel()

        start = time.perf_counter()
        minimize(
            objective,
            np.zeros(shape[0] * shape[1]),
            jac=True,
            method="L-BFGS-B",
            options={"gtol": 1e-6, "ftol": 0.0, "maxiter": 2000, "maxfun": 4000},
        )
        return time.perf_counter() - start


def environment() -> dict[str, Any]:
    """Versions, machine and revision of a run."""
    packages = ("skprune", "torch", "numpy", "scipy", "scikit-learn")
    revision = subprocess.run(
        ["git", "rev-parse", "--short", "HEAD"],
        cwd=Path(__file__).parent,
        capture_output=True,
        text=True,
        check=False,
    )
    return {
        "versions": {package: _version(package) for package in packages},
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "revision": revision.stdout.strip(),
    }


def named(name: str, device: str) -> str:
    """Name of a file of results: those of an accelerator lie beside those of the processor."""
    return name if device == "cpu" else f"{name}_{device.partition(':')[0]}"


def _version(package: str) -> str:
    try:
        return version(package)
    except Exception:
        return "not installed"


def save(name: str, records: Sequence[dict[str, Any]], summary: Any, path: str | None) -> Path:
    """Write the records of a run as JSON; returns where."""
    target = Path(path) if path else RESULTS / f"{name}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    content = {"environment": environment(), "summary": summary, "records": list(records)}
    target.write_text(json.dumps(content, indent=1, default=float) + "\n")
    return target


def collect(
    name: str,
    cells: Iterable[tuple[Any, ...]],
    run: Callable[..., Iterable[dict[str, Any]]],
    summarise: Callable[[list[dict[str, Any]]], Any],
    path: str | None,
    minutes: float = math.inf,
) -> list[dict[str, Any]]:
    """Records of all cells; those of a run that was cut off are read, and it goes on where it was.

    Cells are written as they are done, of short ones those of some seconds together. After
    ``minutes`` no further cell is begun.
    """
    target = Path(path) if path else RESULTS / f"{name}.json"
    records = json.loads(target.read_text())["records"] if target.exists() else []
    done = {json.dumps(record["cell"]) for record in records}
    end = time.monotonic() + 60 * minutes
    written, saved = len(records), -math.inf
    try:
        for cell in cells:
            if json.dumps(cell) in done:
                continue
            if time.monotonic() > end:
                print("out of time; the same command goes on from here")
                break
            records += [record | {"cell": list(cell)} for record in run(*cell)]
            print(target, *cell, flush=True)
            if time.monotonic() > saved + SECONDS_APART:
                save(name, records, summarise(records), path)
                written, saved = len(records), time.monotonic()
    finally:
        if len(records) > written:
            save(name, records, summarise(records), path)
    return records


def write_arrays(path: Path, **arrays: Any) -> None:
    """Write arrays to a file ``.npz`` of which no reader ever sees half."""

    def write(file: BinaryIO) -> str:
        np.savez(file, **arrays)
        return path.name

    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path.parent, write)


def markdown(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A Markdown table."""
    lines = ["| " + " | ".join(header) + " |", "|" + " --- |" * len(header)]
    lines += ["| " + " | ".join(str(cell) for cell in row) + " |" for row in rows]
    return "\n".join(lines)


def summary_table(keys: Sequence[str], summary: Iterable[dict[str, Any]], digits: int = 4) -> str:
    """A Markdown table of these keys, empty where a row lacks one."""

    def cell(value: Any) -> str:
        return f"{value:.{digits}f}" if isinstance(value, float) else str(value)

    return markdown(keys, [[cell(row.get(key, "")) for key in keys] for row in summary])


def kept_promises(pruned: Sequence[dict[str, Any]], budget: float) -> dict[str, float]:
    """How rows that were handed out, whose true gap is known, hold a budget."""
    true = np.array([r["true"] for r in pruned])
    error = np.array([r["standard_error"] for r in pruned])
    return {
        "kept": float(np.median([r["kept"] / r["n"] for r in pruned])),
        "within": float(np.mean(true <= budget + 2 * error)),
        "true": float(true.mean()),
        "largest": float(true.max()),
    }
