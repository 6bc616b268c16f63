"""What every method is given and what it hands back: one file in, one file out.

    python -m benchmarks.peers.NAME VARIANT task.npz out.npz

The file in holds the trained network, the rows and the groups to be removed; the file out the
predicted change of the loss of every held-out row for every group, with seconds and memory. It
imports numpy and torch only, so that it runs in the environment of any peer.
"""

from __future__ import annotations

import json
import resource
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset


def build(kind: str, columns: int, classes: int) -> nn.Sequential:
    """The architecture of a task, untrained: 'head', 'mlp' (one hidden layer) or 'cnn' (a LeNet).

    All but 'mlp-relu' are smooth, so that they have an optimum that training reaches. With ReLU it
    ends on kinks where no gradient vanishes, and what retraining finds depends on its steps.
    """
    if kind == "head":
        return nn.Sequential(nn.Linear(columns, classes))
    if kind in ("mlp", "mlp-relu"):
        middle = nn.Tanh() if kind == "mlp" else nn.ReLU()
        return nn.Sequential(nn.Linear(columns, 128), middle, nn.Linear(128, classes))
    if kind == "cnn":
        return nn.Sequential(
            nn.Conv2d(1, 8, 3),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Conv2d(8, 48, 3),
            nn.Tanh(),
            nn.AvgPool2d(2),
            nn.Flatten(),
            nn.Linear(48 * 2 * 2, classes),
        )
    raise ValueError(f"Unknown architecture {kind!r}; there are head, mlp, mlp-relu and cnn.")


@dataclass
class Task:
    """A trained network and the groups of training rows that are removed from it.

    The objective is mean cross-entropy over the rows + (l2 / 2) |theta|^2, on any set of rows.

    Attributes
    ----------
    kind : str
        See `build`.
    X, X_val : ndarray (n, ...) and (V, ...), float32
    y, y_val : ndarray (n,) and (V,), int64
    state : dict of ndarray, float32
        State dict of the trained network.
    groups : ndarray (G, n), bool
        The rows that are removed.
    l2 : float
    device : str
    seed : int
    """

    kind: str
    X: np.ndarray
    y: np.ndarray
    X_val: np.ndarray
    y_val: np.ndarray
    state: dict[str, np.ndarray]
    groups: np.ndarray
    l2: float = 1e-3
    device: str = "cpu"
    seed: int = 0

    def save(self, path: str) -> None:
        """Write the task."""
        facts = {"kind": self.kind, "l2": self.l2, "device": self.device, "seed": self.seed}
        arrays = {name: getattr(self, name) for name in ("X", "y", "X_val", "y_val", "groups")}
        state = {f"state/{name}": value for name, value in self.state.items()}
        np.savez(path, facts=np.array(json.dumps(facts)), **arrays, **state)

    @classmethod
    def load(cls, path: str) -> Task:
        """Read a task."""
        with np.load(path) as z:
            state = {name[6:]: z[name] for name in z.files if name.startswith("state/")}
            arrays = {name: z[name] for name in ("X", "y", "X_val", "y_val", "groups")}
            return cls(state=state, **arrays, **json.loads(str(z["facts"])))

    def model(self, dtype: torch.dtype = torch.float32) -> nn.Sequential:
        """The trained network, in evaluation mode, on the device."""
        model = build(self.kind, self.X.shape[1], int(self.y.max()) + 1)
        model.load_state_dict({k: torch.from_numpy(v) for k, v in self.state.items()})
        return model.to(self.device, dtype).eval()

    def rows(self) -> TensorDataset:
        """Training rows, on the CPU."""
        return TensorDataset(torch.from_numpy(self.X), torch.from_numpy(self.y))

    def held_out(self) -> TensorDataset:
        """Held-out rows, on the CPU."""
        return TensorDataset(torch.from_numpy(self.X_val), torch.from_numpy(self.y_val))

    def loader(self, rows: TensorDataset, size: int | None = None) -> DataLoader:
        """Batches in order; one batch of everything by default."""
        return DataLoader(rows, batch_size=size or len(rows), shuffle=False)

    def synchronise(self) -> None:
        """Wait for the device, so that a clock tells what was done."""
        if self.device.startswith("cuda"):
            torch.cuda.synchronize()


@dataclass
class Answer:
    """What a method says of a task.

    Attributes
    ----------
    predicted : ndarray (G, V)
        Change of the loss of every held-out row, positive where removal harms. A method whose
        scores have no scale says so by ``scaled=False``.
    linear : ndarray (G, V) or None
        The same to first order, where ``predicted`` is the loss at predicted parameters.
    rows : ndarray (n,) or None
        Score of every row against the mean held-out loss, in the same direction.
    """

    predicted: np.ndarray | None = None
    rows: np.ndarray | None = None
    linear: np.ndarray | None = None
    facts: dict[str, Any] = field(default_factory=dict)


class Clock:
    """Seconds of named parts, wall and CPU; parts of one name add up."""

    def __init__(self, task: Task) -> None:
        self.task, self.seconds = task, {}  # type: ignore[var-annotated]  # a dict of seconds

    def __call__(self, name: str) -> Clock:
        """``with clock("fit"): ...``."""
        self._name = name
        return self

    def __enter__(self) -> None:
        self.task.synchronise()
        self._start = time.perf_counter(), time.process_time()

    def __exit__(self, *_: object) -> None:
        self.task.synchronise()
        wall, cpu = time.perf_counter() - self._start[0], time.process_time() - self._start[1]
        for key, spent in ((f"{self._name}_seconds", wall), (f"{self._name}_cpu_seconds", cpu)):
            self.seconds[key] = self.seconds.get(key, 0.0) + spent


def sum_over_groups(task: Task, scores: np.ndarray | Tensor) -> np.ndarray:
    """Sum of single scores (n, V) over every group, (G, V): all that most peers offer."""
    scores = scores.detach().cpu().numpy() if isinstance(scores, Tensor) else scores
    return task.groups.astype(np.float64) @ scores.astype(np.float64)


def peak_bytes() -> int:
    """Largest resident memory of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def run(method: Callable[[str, Task, Clock], Answer], packages: tuple[str, ...] = ()) -> None:
    """Entry point of every peer: a failure is written down with its error, never dropped."""
    variant, source, target = sys.argv[1:4]
    task = Task.load(source)
    clock, before = Clock(task), peak_bytes()
    facts: dict[str, Any] = {"versions": {name: _version(name) for name in ("torch", *packages)}}
    try:
        answer = method(variant, task, clock)
        arrays = {"predicted": answer.predicted, "rows": answer.rows, "linear": answer.linear}
        arrays = {name: value for name, value in arrays.items() if value is not None}
        for name, value in arrays.items():
            if not np.isfinite(value).all():
                raise FloatingPointError(f"{name} holds values that are not finite")
        facts |= answer.facts
    except (Exception, SystemExit) as exc:
        traceback.print_exc()
        arrays, facts["error"] = {}, f"{type(exc).__name__}: {exc}"[:300]
    facts |= clock.seconds | {"peak_bytes": peak_bytes(), "bytes_before": before}
    if task.device.startswith("cuda") and torch.cuda.is_available():
        facts["peak_device_bytes"] = torch.cuda.max_memory_allocated()
    np.savez(target, facts=np.array(json.dumps(facts)), **arrays)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed"
