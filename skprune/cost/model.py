"""Time and memory of a pruning, from counted operations and the measured speed of the machine."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch

from skprune.curvature.head import DENSE_COST, DENSE_PARAMETERS
from skprune.heads.features import HELD_NUMBERS, DenseFeatures
from skprune.utils.chunks import CHUNK_NUMBERS

#: Number of products with all rows, from both sides: of a cold and of a warm fit of a head, of the
#: choice of one subset, and of measuring its gap. Counted on the benchmarks' problems.
COLD_FIT, WARM_FIT, CHOICE, MEASURE = 60, 25, 60, 20
#: In one choice: vectors that are whitened, passes for the norms of rows, curvatures of kept rows.
WHITENED, NORMS, METRICS = 450, 1.5, 1
#: Sizes that are tried for a budget, and for a fixed size.
BUDGET_SIZES, FIXED_SIZES = 9, 1
#: Seconds that the interpreter takes for one size, whatever there is to multiply.
SIZE_SECONDS = 0.05
#: In one pruning for layers: choices of a subset, and fits of the curvature (to the training rows
#: and to all rows); passes through the rows in a choice; predictions; all other products.
NETWORK_FITS, NETWORK_CHOICE, PREDICTIONS, OTHER_PRODUCTS = 2, 120, 3, 20
#: Products in one prediction by conjugate gradients.
SOLVES = {"cg": 60, "dense": 6, "hessian": 12}
#: Products with the Gauss-Newton matrix in one fit, for curvatures that are fitted by products.
FIT_PRODUCTS = {"lowrank": 200}
#: Size of the product by which the speed is measured, and how often it is made.
PROBE_NUMBERS, PROBES = 2**20, 3


@dataclass(frozen=True)
class CostEstimate:
    """Expected cost of ``fit``, right to a factor of about three.

    Attributes
    ----------
    steps : dict of str to float
        Seconds of every step.
    bytes : int
        Memory beyond what holds the rows already.
    """

    steps: dict[str, float]
    bytes: int

    @property
    def seconds(self) -> float:
        """Seconds of all steps."""
        return sum(self.steps.values())

    def __str__(self) -> str:
        steps = ", ".join(f"{name} {seconds:.2g} s" for name, seconds in self.steps.items())
        return f"about {self.seconds:.2g} s ({steps}) and {self.bytes / 2**20:,.0f} MiB"


def head_cost(
    n: int, D: int, K: int, itemsize: int, *, fixed: bool, device: torch.device
) -> CostEstimate:
    """Cost of pruning for a head of D x K parameters on n rows.

    Parameters
    ----------
    n, D, K : int
    itemsize : int
        Bytes of a stored number.
    fixed : bool
        Whether the size is given, so that it is not searched.
    device : torch.device
    """
    p, numbers = D * K, n * D
    rows = max(1, min(n, PROBE_NUMBERS // D))
    dtype = torch.float64 if itemsize > 4 else torch.float32
    block = DenseFeatures(torch.rand(rows, D, dtype=dtype, device=device))
    thin = torch.rand(D, K, dtype=dtype, device=device)
    # Seconds for all rows of a product from both sides, and of a product with D columns, in the
    # precision of the rows and in float64; of a product with a matrix of p x p.
    both = n / rows * _seconds(lambda: block.sandwich(lambda part, Z: Z, thin))
    wide = n / rows * _seconds(lambda: block.gram(thin.new_ones(rows)))
    exact = n / rows * _seconds(lambda: block.gram(thin.new_ones(rows).double()))
    square = p**2 / (rows * D) * _seconds(lambda: block.adjoint(thin.new_ones(rows, 1).double()))
    dense = p <= DENSE_PARAMETERS and n * p**2 <= DENSE_COST
    if dense:
        factored = exact * p**3 / (n * D**2)
        curvature = exact * K * (K + 1) / 2 + factored
        choice = WHITENED * square + NORMS * wide * K**2 / 2 + METRICS * factored
    else:
        curvature = 3 * wide
        choice = NORMS * wide + METRICS * curvature
    # One choice more, when as large a share is chosen from all rows.
    choices = 1 + (FIXED_SIZES if fixed else BUDGET_SIZES)
    steps = {
        "proxy": (COLD_FIT + WARM_FIT) * both + 2 * curvature,
        "search": choices * (choice + (CHOICE + MEASURE) * both + SIZE_SECONDS),
        "report": COLD_FIT * both,
    }
    held = itemsize * numbers if numbers <= HELD_NUMBERS else 0
    matrices = 3 * p**2 if dense else 4 * D**2
    memory = 2 * held + 8 * (matrices + 12 * n * K + 2 * CHUNK_NUMBERS)
    return CostEstimate(steps, memory + (itemsize * numbers if itemsize < 8 else 0))


def features_cost(n: int, D: int, seconds_per_row: float) -> CostEstimate:
    """Cost of running n rows through a network once and keeping D float32 numbers of each."""
    return CostEstimate({"features": n * seconds_per_row}, 4 * n * D)


def network_cost(
    n: int, p: int, columns: int, *, curvature: str, gradients: float, product: float, stored: bool
) -> CostEstimate:
    """Cost of choosing rows by p parameters of a network.

    Parameters
    ----------
    n, p : int
    columns : int
        Number of gradients of each row whose products make the curvature.
    curvature : str
    gradients, product : float
        Seconds a row of a pass that makes the gradients of all rows, and of a product with the
        Gauss-Newton matrix.
    stored : bool
        Whether the whitened vectors of all rows are held.
    """
    vector = torch.rand(p, dtype=torch.float32)
    few = max(1, min(n, PROBE_NUMBERS // p))
    block = torch.rand(few, p, dtype=torch.float32)
    multiply = 2 * n / few * _seconds(lambda: block @ vector)
    fit = n * (columns * gradients + FIT_PRODUCTS.get(curvature, 0) * product)
    if curvature in ("dense", "hessian"):
        square = torch.rand(few, min(p, 512), dtype=torch.float64)
        tile = _seconds(lambda: square.T @ square) / (few * square.shape[1] ** 2)
        passes = n * columns if curvature == "dense" else 10 * p
        fit += tile * (passes + p) * p**2
    if curvature == "hessian":
        fit += n * p * product
    solves = SOLVES.get(curvature, 0)
    steps = {
        "proxy": NETWORK_FITS * (fit + n * gradients),
        "search": NETWORK_FITS * (NETWORK_CHOICE * (multiply if stored else n * product)),
        "predict": n * product * (PREDICTIONS * solves + OTHER_PRODUCTS) + SIZE_SECONDS,
    }
    held = {"dense": 16 * p**2, "hessian": 24 * p**2}.get(curvature, 40 * p)
    return CostEstimate(steps, held + (4 * n * p if stored else 0) + 40 * n)


def ensemble_cost(members: Iterable[CostEstimate]) -> CostEstimate:
    """Cost of an ensemble of networks, which are all held at the same time."""
    steps: dict[str, float] = {}
    total = 0
    for member in members:
        total += member.bytes
        for name, seconds in member.steps.items():
            steps[name] = steps.get(name, 0.0) + seconds
    return CostEstimate(steps, total)


def _seconds(work: Callable[[], object]) -> float:
    """Seconds that ``work`` takes: the least of a few tries."""
    best = float("inf")
    for _ in range(PROBES):
        start = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        best = min(best, time.perf_counter() - start)
    return best


def seconds_per_row(forward: Callable[[], object], rows: int) -> float:
    """Seconds a row of ``forward``, which takes that many rows through a network."""
    return _seconds(forward) / rows
