"""The truth of benchmarks/influence.py: every network retrained without every group.

All retrainings of a block run side by side: one batched L-BFGS over a stack of parameter vectors,
each with its own weights on the rows, started from the network trained on all of them.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad_and_value, vmap
from torch.nn.functional import cross_entropy

from benchmarks.harness import write_arrays
from benchmarks.peers.task import Task, build

CACHE = Path(__file__).parent / ".cache"
Objective = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Flat:
    """A network as a function of one flat vector of parameters."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.shapes = {name: p.shape for name, p in model.named_parameters()}
        self.sizes = [p.numel() for p in model.parameters()]

    def vector(self) -> Tensor:
        """The parameters it has."""
        return torch.cat([p.detach().reshape(-1) for p in self.model.parameters()])

    def named(self, vector: Tensor) -> dict[str, Tensor]:
        """The parameters of a vector."""
        parts = vector.split(self.sizes)
        return {n: v.reshape(s) for (n, s), v in zip(self.shapes.items(), parts, strict=True)}

    def losses(self, vector: Tensor, X: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy of every row, to be summed in double precision."""
        outputs = functional_call(self.model, self.named(vector), X)
        return cross_entropy(outputs, y, reduction="none").double()


def objective(flat: Flat, X: Tensor, y: Tensor, l2: float, stacked: bool) -> Objective:
    """Values (G,) and gradients (G, p) of the weighted objective at G parameter vectors.

    `stacked` evaluates the G networks in one call, which pays on a GPU and where they share a
    product with all rows (a head). One by one, rows without weight are left out.
    """

    def one(vector: Tensor, weights: Tensor) -> Tensor:
        mean = (weights * flat.losses(vector, X, y)).sum() / weights.sum()
        return mean + 0.5 * l2 * vector.double().square().sum()

    single = grad_and_value(one)
    if stacked:
        many = vmap(single)

        def together(vectors: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
            gradients, values = many(vectors, weights)
            return values.detach(), gradients.detach()

        return together

    def in_turn(vectors: Tensor, weights: Tensor) -> tuple[Tensor, Tensor]:
        values, gradients = [], []
        for vector, w in zip(vectors, weights, strict=True):
            kept = w > 0  # rows without weight cost time
            leaf = vector.clone().requires_grad_()
            mean = (w[kept] * flat.losses(leaf, X[kept], y[kept])).sum() / w.sum()
            value = mean + 0.5 * l2 * leaf.double().square().sum()
            gradients.append(torch.autograd.grad(value, leaf)[0])
            values.append(value.detach())
        return torch.stack(values), torch.stack(gradients)

    return in_turn


def minimise(
    function: Objective,
    start: Tensor,
    weights: Tensor,
    tol: float,
    max_iter: int,
    precondition: Callable[[Tensor], Tensor] | None = None,
    memory: int = 10,
) -> tuple[Tensor, Tensor, int]:
    """L-BFGS on G objectives side by side, each with its own step length.

    Parameters
    ----------
    function : callable
        See `objective`.
    start : Tensor (G, p)
    weights : Tensor (G, n)
    tol : float
        Gradient norm at which one of them stands still.
    max_iter : int
    precondition : callable, optional
        Multiplies (G, p) by the start of the inverse Hessian; it decides how fast, not where.
    memory : int

    Returns
    -------
    vectors (G, p), gradient norms (G,), iterations
    """
    x = start.clone()
    f, g = function(x, weights)
    slack = 1e-14 if x.dtype == torch.float64 else 1e-9
    pairs: list[tuple[Tensor, ...]] = []
    scale = 1.0 / g.norm(dim=1, keepdim=True).clamp_min(1.0)
    stuck = torch.zeros(len(x), dtype=torch.bool, device=x.device)
    iteration = 0
    for iteration in range(max_iter):  # noqa: B007 - it is returned
        active = torch.nonzero((g.norm(dim=1) > tol) & ~stuck).reshape(-1)
        if len(active) == 0:
            break
        every = len(active) == len(x)
        chosen = pairs if every else [tuple(t[active] for t in p) for p in pairs]
        d = -_two_loops(g[active], chosen, precondition or scale[active].mul)
        slope = (d * g[active]).sum(1)
        uphill = slope >= 0
        d[uphill], slope[uphill] = -g[active][uphill], -g[active][uphill].square().sum(1)
        length = torch.ones_like(slope)
        todo = torch.arange(len(active), device=x.device)
        new_x, new_f, new_g = x[active].clone(), f[active].clone(), g[active].clone()
        for _ in range(25):
            rows = active[todo]
            trial = x[rows] + length[todo, None] * d[todo]
            tf, tg = function(trial, weights[rows])
            fine = tf <= f[rows] + 1e-4 * length[todo] * slope[todo] + slack * f[rows].abs()
            took = todo[fine]
            new_x[took], new_f[took], new_g[took] = trial[fine], tf[fine], tg[fine]
            todo = todo[~fine]
            if len(todo) == 0:
                break
            length[todo] *= 0.4
        stuck[active[todo]] = True  # no step lowers the value any more: rounding, or a kink
        s, t = torch.zeros_like(x), torch.zeros_like(x)
        s[active], t[active] = new_x - x[active], new_g - g[active]
        x[active], f[active], g[active] = new_x, new_f, new_g
        st, tt = (s * t).sum(1, keepdim=True), t.square().sum(1, keepdim=True)
        good = st > 1e-10 * s.norm(dim=1, keepdim=True) * t.norm(dim=1, keepdim=True)
        good &= tt > 0
        # A pair without positive curvature counts for nothing: its rho is zero.
        pairs.append((s, t, torch.where(good, 1.0 / st, 0.0)))
        pairs = pairs[-memory:]
        scale = torch.where(good, st / tt, scale)
    return x, g.norm(dim=1), iteration


def _two_loops(
    g: Tensor, pairs: list[tuple[Tensor, ...]], middle: Callable[[Tensor], Tensor]
) -> Tensor:
    """The inverse Hessian of L-BFGS times g, for each row."""
    q, alphas = g.clone(), []
    for s, t, rho in reversed(pairs):
        alphas.append(rho * (s * q).sum(1, keepdim=True))
        q -= alphas[-1] * t
    q = middle(q)
    for (s, t, rho), alpha in zip(pairs, reversed(alphas), strict=True):
        q += s * (alpha - rho * (t * q).sum(1, keepdim=True))
    return q


def inverse_of_head(theta: Tensor, X: Tensor, l2: float) -> Callable[[Tensor], Tensor]:
    """Multiplication by the inverse Hessian of a softmax head at a vector, in single precision.

    With it, retraining a head takes a dozen iterations. For networks the same was no faster than
    L-BFGS alone: the matrix is read from memory in every iteration.
    """
    n, d = X.shape
    K = len(theta) // (d + 1)
    P = (X @ theta[: K * d].view(K, d).T + theta[K * d :]).softmax(1).float()
    Phi = torch.cat([X, X.new_ones(n, 1)], 1).float()
    H = l2 * torch.eye(len(theta), device=X.device)
    # The weights of a class lie together, its intercept at the end.
    inputs = torch.arange(d, device=X.device)
    places = [torch.cat([k * d + inputs, inputs.new_tensor([K * d + k])]) for k in range(K)]
    for a in range(K):
        for b in range(a + 1):
            bend = P[:, a] * (float(a == b) - P[:, b]) / n
            block = (Phi * bend[:, None]).T @ Phi
            H[places[a][:, None], places[b]] += block
            if a != b:
                H[places[b][:, None], places[a]] += block.T
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(H))
    return lambda G: (G.float() @ inverse).to(G.dtype)


def train(
    task: Task, steps: int = 1500, max_iter: int = 4000, tol: float = 1e-6
) -> dict[str, float]:
    """Train a network on all rows, Adam and then L-BFGS in float64; sets ``task.state``."""
    torch.manual_seed(task.seed)
    model = build(task.kind, task.X.shape[1], int(task.y.max()) + 1)
    model = model.to(task.device)
    dtype = precision(task)
    model = model.to(dtype)
    X, y, _, _ = tensors(task, dtype)
    if task.kind != "head":
        optimiser = torch.optim.Adam(model.parameters(), lr=3e-3)
        draw = torch.Generator().manual_seed(task.seed)
        for step in range(steps):
            if step == 2 * steps // 3:
                optimiser.param_groups[0]["lr"] = 3e-4
            rows = torch.randint(len(y), (256,), generator=draw).to(y.device)
            penalty = sum(p.square().sum() for p in model.parameters())
            loss = cross_entropy(model(X[rows]), y[rows]) + 0.5 * task.l2 * penalty
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
    flat = Flat(model)
    function = objective(flat, X, y, task.l2, stacked=False)
    weights = torch.ones(1, len(y), dtype=torch.float64, device=X.device)
    tol = tol if task.kind != "head" else 1e-9
    vector, norm, n_iter = minimise(function, flat.vector()[None], weights, tol, max_iter)
    # Rounded to single precision: the network that every method is given.
    task.state = {k: v.float().cpu().numpy() for k, v in flat.named(vector[0]).items()}
    return {"gradient_norm": float(norm[0]), "iterations": n_iter}


def precision(task: Task) -> torch.dtype:
    """Float64; for convolutions, which are four times slower in it, float32 with exact sums."""
    return torch.float32 if task.kind == "cnn" else torch.float64


def tensors(
    task: Task, dtype: torch.dtype = torch.float64
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """``X, y, X_val, y_val`` on the device."""
    X, X_val = (torch.from_numpy(a).to(task.device, dtype) for a in (task.X, task.X_val))
    y, y_val = (torch.from_numpy(a).to(task.device) for a in (task.y, task.y_val))
    return X, y, X_val, y_val


def retrain(
    task: Task, tol: float, max_iter: int, block: int = 40, label: str = ""
) -> dict[str, np.ndarray]:
    """Actual change of the loss of every held-out row without every group, cached on disk.

    It is the difference from retraining on all rows for as long, so that what is left of the
    training counts for nothing.

    Returns
    -------
    dict
        ``actual`` (G, V), ``gradient_norm`` (G,), ``seconds``. Blocks that are done are kept, so
        that a run that was stopped goes on where it was.
    """
    dtype = precision(task)
    flat, (X, y, X_val, y_val) = Flat(task.model(dtype)), tensors(task, dtype)
    theta = flat.vector()
    function = objective(flat, X, y, task.l2, stacked=task.kind == "head" or X.is_cuda)
    inverse = inverse_of_head(theta, X, task.l2) if task.kind == "head" else None
    before = flat.losses(theta, X_val, y_val).detach()
    done: list[dict[str, np.ndarray]] = []
    nothing = np.zeros((1, len(task.y)), dtype=bool)
    starts = range(0, len(task.groups), block)
    parts = [nothing, *(task.groups[first : first + block] for first in starts)]
    count = 0
    for removed in parts:
        count += len(removed)
        path = CACHE / f"retrained_{task.kind}_{_digest(task, removed, tol, max_iter)}.npz"
        if not path.exists():
            begin = time.perf_counter()
            weights = torch.from_numpy(~removed).to(X.device, torch.float64)
            start = theta.expand(len(removed), -1)
            vectors, norms, n_iter = minimise(function, start, weights, tol, max_iter, inverse)
            after = torch.stack([flat.losses(v, X_val, y_val).detach() for v in vectors])
            seconds = time.perf_counter() - begin
            arrays = {"actual": after - before, "gradient_norm": norms}
            arrays = {name: values.cpu().numpy() for name, values in arrays.items()}
            write_arrays(path, seconds=seconds, **arrays)
            print(
                f"{label} retrained {count - 1} of {len(task.groups)}: {n_iter} iterations, "
                f"{seconds:.0f} s, largest gradient {float(norms.max()):.1e}",
                flush=True,
            )
        with np.load(path) as z:
            done.append({name: z[name] for name in z.files})
    return {
        "actual": np.concatenate([d["actual"] for d in done[1:]]) - done[0]["actual"],
        "gradient_norm": np.concatenate([d["gradient_norm"] for d in done[1:]]),
        "seconds": np.array(sum(float(d["seconds"]) for d in done)),
    }


def _digest(task: Task, removed: np.ndarray, tol: float, max_iter: int) -> str:
    key = hashlib.sha256(json.dumps([task.kind, task.l2, tol, max_iter]).encode())
    arrays = (task.X, task.y, task.X_val, task.y_val, removed, *task.state.values())
    for array in arrays:
        key.update(np.ascontiguousarray(array).tobytes())
    return key.hexdigest()[:16]
