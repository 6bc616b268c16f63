"""Networks and groups of benchmarks/influence.py: what is trained, and which rows are removed."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
from sklearn.cluster import KMeans
from sklearn.datasets import load_digits

from benchmarks.groups import make_rows
from benchmarks.harness import write_arrays
from benchmarks.images import root
from benchmarks.peers.task import Task
from benchmarks.retraining import CACHE, tensors, train

SHARES = (0.05, 0.2, 0.4)
N_HELD_OUT = 100


def digits_task(kind: str, seed: int) -> Task:
    """1437 digits (64 pixels), 100 of the others held out."""
    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(seed).permutation(len(X))
    return _task(kind, X / 16.0, y, order[:1437], order[1437:], seed)


def fashion_task(data_root: str | None, rows: int, seed: int) -> Task:
    """Fashion-MNIST at 14 x 14 pixels, so that thousands of retrainings end within minutes."""
    path = root(data_root) / "fashion_mnist.npz"
    if not path.exists():
        raise FileNotFoundError(
            f"There is no {path}; give --data-root or SKPRUNE_DATA, or leave the task cnn out."
        )
    with np.load(path) as z:
        images, y = z["x_train"], z["y_train"]
    order = np.random.default_rng(seed).permutation(len(images))[: rows + N_HELD_OUT]
    pooled = images[order].reshape(-1, 1, 14, 2, 14, 2).mean((3, 5)) / 255.0
    everything = np.arange(len(order))
    task = _task("cnn", pooled, y[order], everything[:rows], everything[rows:], seed)
    task.l2 = 1e-2  # with less, training is far from its optimum after thousands of iterations
    return task


def head_task(rows: int, seed: int, columns: int = 512, classes: int = 10) -> Task:
    """Synthetic features for a softmax head."""
    X, y = make_rows(rows + N_HELD_OUT, columns, classes, seed)
    everything = np.arange(len(X))
    return _task("head", X, y, everything[N_HELD_OUT:], everything[:N_HELD_OUT], seed)


def _task(
    kind: str, X: np.ndarray, y: np.ndarray, rows: np.ndarray, rest: np.ndarray, seed: int
) -> Task:
    rest = rest[:N_HELD_OUT]
    X, y = X.astype(np.float32), y.astype(np.int64)
    groups = np.zeros((0, len(rows)), dtype=bool)
    return Task(kind, X[rows], y[rows], X[rest], y[rest], {}, groups, seed=seed)


def make_task(name: str, args: Any, seed: int) -> tuple[Task, dict[str, Any]]:
    """A trained network of a task, from the cache if it is there, and how well it was trained."""
    if name in ("mlp", "mlp-relu"):
        task = digits_task(name, seed)
    elif name == "cnn":
        task = fashion_task(args.data_root, args.cnn_rows, seed)
    elif name.startswith("head"):
        task = head_task(int(name[4:] or 20_000), seed)
    else:
        raise ValueError(f"Unknown task {name!r}; there are mlp, mlp-relu, cnn, head and headN.")
    task.device = args.device
    key = hashlib.sha256(task.X.tobytes() + task.y.tobytes() + f"{task.l2}".encode()).hexdigest()
    path = CACHE / f"trained_{task.kind}_{key[:16]}.npz"
    if not path.exists():
        facts = train(task)
        write_arrays(path, facts=np.array(json.dumps(facts)), **task.state)
    with np.load(path) as z:
        facts = json.loads(str(z["facts"]))
        task.state = {name: z[name] for name in z.files if name != "facts"}
    facts |= {"rows": len(task.y), "parameters": sum(v.size for v in task.state.values())}
    return task, facts


def chosen_groups(task: Task, size: int, count: int) -> tuple[np.ndarray, list[str]]:
    """Groups that are no random draws: by class, cluster, likeness to one held-out row, and loss.

    Returns
    -------
    masks (count, n), kinds (count,)
    """
    n = len(task.y)
    flat = task.X.reshape(n, -1).astype(np.float64)
    flat_val = task.X_val.reshape(len(task.X_val), -1).astype(np.float64)
    rng = np.random.default_rng(task.seed + 1000)
    classes = rng.permutation(np.unique(task.y))
    centres = KMeans(6, n_init=1, random_state=task.seed).fit(flat).cluster_centers_
    X, y, _, _ = tensors(task)
    from torch.nn.functional import cross_entropy

    model = task.model().double()
    losses = cross_entropy(model(X), y, reduction="none").detach().cpu().numpy()
    orders: list[tuple[str, np.ndarray]] = []
    for i in range(6):
        # The rows of a class, then those of the next one.
        rank = {c: (k - i) % len(classes) for k, c in enumerate(classes)}
        by_class = np.argsort([rank[c] for c in task.y], kind="stable")
        near = np.argsort(((flat - centres[i]) ** 2).sum(1), kind="stable")
        alike = np.argsort(((flat - flat_val[i]) ** 2).sum(1), kind="stable")
        orders += [("class", by_class), ("cluster", near), ("held-out row", alike)]
        if i == 0:
            orders.append(("high loss", np.argsort(-losses, kind="stable")))
            orders.append(("low loss", np.argsort(losses, kind="stable")))
    masks = np.zeros((min(count, len(orders)), n), dtype=bool)
    for mask, (_, order) in zip(masks, orders, strict=False):
        mask[order[:size]] = True
    return masks, [kind for kind, _ in orders[:count]]


def add_groups(task: Task, random: int, chosen: int, singles: int = 0) -> list[dict[str, Any]]:
    """Set ``task.groups``: random and chosen groups of every share, and single rows.

    Returns
    -------
    list of dict
        What each group is: share removed (0 for a single row), kind, and the row.
    """
    n = len(task.y)
    rng = np.random.default_rng(task.seed + 2000)
    masks, labels = [], []
    for share in SHARES:
        size = round(share * n)
        drawn = np.zeros((random, n), dtype=bool)
        for mask in drawn:
            mask[rng.choice(n, size, replace=False)] = True
        picked, kinds = chosen_groups(task, size, chosen)
        masks += [drawn, picked]
        labels += [{"share": share, "kind": kind} for kind in ["random"] * random + kinds]
    rows = rng.choice(n, singles, replace=False)
    single = np.zeros((singles, n), dtype=bool)
    single[np.arange(singles), rows] = True
    labels += [{"share": 0.0, "kind": "single", "row": int(row)} for row in rows]
    task.groups = np.concatenate([*masks, single])
    return labels
