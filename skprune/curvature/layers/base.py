"""What every curvature of a network is: an approximate Hessian that one can solve with."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from typing import ClassVar

import torch
from torch import Tensor

from skprune.curvature.layers.kept import FactorCache, State
from skprune.network.factors import Block, Factor, row_gradients
from skprune.network.layers import RowGradients, Treatment
from skprune.network.problem import NetworkProblem

#: The default damping raises the multiple of the identity to so many mean eigenvalues of M.
#: Measured on digits (MLPs of 1,210 to 9,610 parameters; removal of 5 to 40 % against retraining;
#: penalties of 0, 1e-3 and 1e-2; stopped early and at the optimum; steps by "cg"): slopes of actual
#: on predicted loss are 0.58 to 1.1 here, 1.3 to 1.7 at twice as much, and 0 at a tenth without
#: penalty; rank correlations are within 0.05 of their best.
RIDGE_SHARE = 1.0
#: Gradients of rows at full width are made for so many numbers at a time.
CHUNK_NUMBERS = 1 << 25


class CurvatureError(ArithmeticError):
    """A curvature could not be computed or solved with; the message says what to try."""


class NetworkCurvature(ABC):
    """H ~ the Hessian of F over the chosen parameters, per unit of weight.

    H = M + (lam + damping) I, where M approximates the Hessian of (1 / W) sum_i w_i l_i and lam is
    the penalty. The Hessian of a network is singular along most directions, so that some damping
    is needed; it is how far a direction in which the rows say nothing may be followed.

    Vectors are the rows of a tensor: (p,) or (B, p), p last.

    Parameters
    ----------
    gradients : RowGradients
    damping : float or "auto"
        "auto" makes lam + damping the mean eigenvalue of M, or lam if that is more. A penalty is
        left alone by "dense" and "cg" where outputs are linear in the parameters, and by "hessian"
        at an optimum.
    cache : FactorCache, optional
        Where what is found is looked for and kept; by default it is found anew.

    Attributes
    ----------
    damping : float
    mean_eigenvalue : float
        Of M.
    treatments : list of Treatment
        What is done with each parameter.
    """

    name: ClassVar[str]
    #: Relative residual at which conjugate gradients stop.
    tolerance = 1e-2
    treatments: list[Treatment]
    mean_eigenvalue: float

    def __init__(
        self,
        gradients: RowGradients,
        damping: float | str = "auto",
        cache: FactorCache | None = None,
    ) -> None:
        self.gradients, self.problem, self.cache = gradients, gradients.problem, cache
        self.dim = self.problem.dim
        self._fit()
        if isinstance(damping, str):
            damping = max(0.0, RIDGE_SHARE * self.mean_eigenvalue - self.problem.penalty)
            if self.problem.penalty > 0.0 and self._needs_no_damping():
                damping = 0.0
        self._set_damping(damping)

    @abstractmethod
    def _fit(self) -> None:
        """Compute M, ``mean_eigenvalue`` and ``treatments``."""

    def _needs_no_damping(self) -> bool:
        """Whether a step by H with a penalty alone can be followed."""
        return False

    def _known(self, find: Callable[[], State], about: str = "") -> State:
        """What ``find`` finds, from the cache if it was found before; ``about`` tells options."""
        if self.cache is None:
            return find()
        return self.cache.get(self.problem, f"{self.name} {about}", find)

    def _set_damping(self, damping: float) -> None:
        if not 0.0 <= damping < float("inf"):
            raise ValueError(f"damping must be a finite number >= 0; got {damping!r}.")
        self.damping = damping
        if not self.ridge > 0.0:
            # Only where all gradients vanish, or with damping=0 and no penalty.
            self.damping = 1e-6 * self.mean_eigenvalue or 1.0

    @property
    def ridge(self) -> float:
        """The multiple of the identity in H: penalty and damping."""
        return self.problem.penalty + self.damping

    def damped(self, damping: float) -> NetworkCurvature:
        """The same matrix with another damping; nothing is fitted again."""
        other = copy.copy(self)
        other._set_damping(damping)
        return other

    @abstractmethod
    def solve(self, V: Tensor) -> Tensor:
        """H^-1 v for V (p,) or (B, p), the same shape."""

    def solve_kept(self, V: Tensor, weights: Tensor) -> Tensor:
        """H_K^-1 v for one set of kept rows a vector.

        Where M is a mean over rows that is not stored by rows, the mean over all of them stands
        for the mean over the kept ones.

        Parameters
        ----------
        V : Tensor of shape (G, p)
        weights : Tensor of shape (G, n)
            Weights of the rows, 0 for those that are gone.
        """
        return self.solve(V)

    @abstractmethod
    def selector(self) -> WhiteningCurvature:
        """In whose metric rows are selected: this curvature, or EK-FAC if it has no root."""

    def nbytes(self) -> int:
        """Memory held, in bytes."""
        return 0


class WhiteningCurvature(NetworkCurvature):
    """A curvature with a root H = L L', in whose space products are those of the metric H^-1."""

    @abstractmethod
    def whiten(self, V: Tensor) -> Tensor:
        """L^-1 v for V (..., p), the same shape."""

    @abstractmethod
    def unwhiten(self, D: Tensor) -> Tensor:
        """L^-T d for D (..., p); <whiten(v), d> = <v, unwhiten(d)>."""

    def solve(self, V: Tensor) -> Tensor:
        return self.unwhiten(self.whiten(V))

    def selector(self) -> WhiteningCurvature:
        return self

    def whiten_rows(self, factors: Sequence[Factor]) -> Tensor:
        """L^-1 g_i of b rows, shape (b, p)."""
        return self.whiten(row_gradients(self.gradients.blocks, factors, self.dim))

    def squared_norms(self, factors: Sequence[Factor]) -> Tensor:
        """|L^-1 g_i|^2 of b rows, shape (b,)."""
        return torch.cat(
            [self.whiten_rows(part).square().sum(1) for part in row_parts(factors, self.dim)]
        )


def row_parts(factors: Sequence[Factor], width: int) -> Iterator[Sequence[Factor]]:
    """Factors of a few rows at a time, so that ``width`` numbers a row fit into memory."""
    b, step = len(factors[0]), max(1, CHUNK_NUMBERS // width)
    if step >= b:
        yield factors
        return
    for start in range(0, b, step):
        rows = slice(start, start + step)
        yield [factor.take(rows) for factor in factors]


def check_finite_block(values: Tensor, block: Block) -> None:
    """Refuse a matrix that is not finite, by the name of its layer."""
    if not bool(torch.isfinite(values).all()):
        raise CurvatureError(
            f"The curvature of layer {block.name!r} is not finite: its inputs or gradients "
            "overflow. Run the module in float32 or float64, and look for huge values in the rows."
        )


def largest_eigenvalue(problem: NetworkProblem, iterations: int = 20) -> float:
    """The largest eigenvalue of the Gauss-Newton matrix by power iteration, from below."""
    generator = torch.Generator().manual_seed(0)
    v = torch.randn(1, problem.dim, generator=generator).to(problem.theta)
    largest = 0.0
    for _ in range(iterations):
        v = v / v.norm()
        moved = problem.gauss_newton(v) / problem.total
        largest = float(moved.norm())
        if largest == 0.0:
            break
        v = moved
    return largest
