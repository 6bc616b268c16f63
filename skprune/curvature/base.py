"""The base class of curvatures: a positive definite matrix H, and solves with it."""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

import torch
from torch import Tensor

from skprune.curvature.factor_cache import FactorCache, State
from skprune.curvature.gradients import Gradients
from skprune.network.factors import Factor, row_gradients
from skprune.network.layers import Treatment
from skprune.utils.krylov import MAX_ITERATIONS, Product, conjugate_gradients

#: The default damping raises the multiple of the identity to so many times M's mean eigenvalue.
#: Measured on digits (MLPs of 1,210 to 9,610 parameters; removal of 5 to 40 % against retraining;
#: penalties of 0, 1e-3 and 1e-2; stopped early and at the optimum; steps by "cg"): slopes of actual
#: on predicted loss are 0.58 to 1.1 here, 1.3 to 1.7 at twice as much, and 0 at a tenth without
#: penalty; rank correlations are within 0.05 of their best.
RIDGE_SHARE = 1.0
#: Relative residual at which conjugate gradients stop.
TOLERANCE = 1e-2
#: Share of a right-hand side that may be left unsolved.
UNSOLVED = 0.3


class CurvatureError(ArithmeticError):
    """A curvature could not be computed or solved with; the message says what to try."""


class Curvature(ABC):
    """An approximation H of the Hessian of F(theta), the mean loss of rows with its penalty.

    H = M + ridge I, where M is computed from the rows. Because it is a mean, H of some rows also
    approximates that of others like them (``on``). The Hessian of a network is singular along most
    directions, so that damping is needed to limit steps along them. The Hessian of a head is
    definite up to rounding.

    Vectors are the rows of a tensor, (p,) or (B, p); theta (D, K) of a head is flattened row by
    row.

    Parameters
    ----------
    gradients : Gradients
    damping : float or "auto"
        "auto" makes the ridge of a network, lam + damping, the mean eigenvalue of M, or lam if that
        is more. A penalty is left alone by "dense" and "cg" where outputs are linear in the
        parameters, and by "hessian" at an optimum. For a head it is 0.
    cache : FactorCache, optional
        Stores what was computed from the rows and looks it up; by default it is computed anew.

    Attributes
    ----------
    dim : int
        The number of parameters, p.
    penalty : float
        lam of the mean objective of the rows from which M was computed.
    damping : float
    ridge : float
        The multiple of the identity in H: the damping, and the penalty of a network.
    mean_eigenvalue : float
        The mean eigenvalue of M.
    """

    name: ClassVar[str]
    gradients: Any  # a HeadGradients for curvatures of heads, a RowGradients for those of layers
    #: How the curvature treats parameters, in words.
    how: str = "approximated"
    #: Whether ``restricted`` solves with the kept rows' own matrix for networks too.
    by_rows: ClassVar[bool] = False
    tolerance = TOLERANCE
    mean_eigenvalue: float

    def __init__(
        self,
        gradients: Gradients,
        damping: float | str = "auto",
        cache: FactorCache | None = None,
    ) -> None:
        self.gradients, self.cache = gradients, cache
        self.blocks, self.convex = gradients.blocks, gradients.convex
        self.dim, self.penalty = int(self.problem.dim), gradients.penalty
        self._fit()
        if isinstance(damping, str):
            missing = max(0.0, RIDGE_SHARE * self.mean_eigenvalue - self.penalty)
            damping = missing if self._needs_damping() else 0.0
        self._set_damping(damping)

    @property
    def problem(self) -> Any:
        """The rows and parameters."""
        return self.gradients.problem

    @property
    def ridge(self) -> float:
        """The multiple of the identity in H."""
        return self.damping if self.convex else self.penalty + self.damping

    @classmethod
    def affordable(cls, problem: Any, n: int) -> bool:
        """Whether "auto" may take it for ``n`` rows like those of ``problem``."""
        return False

    @property
    def treatments(self) -> list[Treatment]:
        """How each parameter of a network is treated, for the report."""
        return [Treatment(name, self.how) for name in self.problem.slices]

    @abstractmethod
    def _fit(self) -> None:
        """Find M and ``mean_eigenvalue``."""

    def _needs_damping(self) -> bool:
        """Whether steps by H without damping lead too far."""
        return not self.convex

    def _known(self, find: Callable[[], State], about: str = "") -> State:
        """The result of ``find``, from the cache if possible; ``about`` has the options."""
        if self.cache is None:
            return find()
        return self.cache.get(self.problem, f"{self.name} {about}", find)

    def _set_damping(self, damping: float) -> None:
        if not 0.0 <= damping < float("inf"):
            raise ValueError(f"damping must be a finite number >= 0; got {damping!r}.")
        self.damping = damping
        if not (self.ridge > 0.0 or self.convex):
            # Only where all gradients vanish, or with damping=0 and no penalty.
            self.damping = 1e-6 * self.mean_eigenvalue or 1.0

    def damped(self, damping: float) -> Curvature:
        """The same matrix with another damping; nothing is computed from the rows again."""
        other = copy.copy(self)
        other._set_damping(damping)
        return other

    def on(self, gradients: Any) -> Any:
        """The same matrix for other rows; None leaves it without rows, as in a cache."""
        other = copy.copy(self)
        other.gradients = gradients
        return other

    def solve(self, V: Tensor) -> Tensor:
        """H^-1 v for V (p,) or (B, p), the same shape."""
        return self.unwhiten(self.whiten(V))

    def selector(self) -> Curvature:
        """The curvature in whose metric rows are selected: itself, or EK-FAC if it has no root."""
        return self

    def whiten(self, V: Tensor) -> Tensor:
        """L^-1 v for V (..., p), where H = L L', so that products become those of H^-1."""
        raise NotImplementedError(f"{self.name!r} has no root; take that of its selector().")

    def unwhiten(self, D: Tensor) -> Tensor:
        """L^-T d for D (..., p); <whiten(v), d> = <v, unwhiten(d)>."""
        raise NotImplementedError(f"{self.name!r} has no root; take that of its selector().")

    def whiten_rows(self, factors: Sequence[Factor]) -> Tensor:
        """L^-1 g_i of b rows, shape (b, p)."""
        return self.whiten(row_gradients(self.blocks, factors, self.dim))

    def squared_norms(self, factors: Sequence[Factor]) -> Tensor:
        """|L^-1 g_i|^2 of b rows, shape (b,)."""
        parts = zip(*(factor.parts(self.dim) for factor in factors), strict=True)
        return torch.cat([self.whiten_rows(part).square().sum(1) for part in parts])

    def restricted(self, kept: Tensor | None, tolerance: float | None = None) -> Product:
        """H_K^-1 of G sets of kept rows, as a function of V (G, p) that solves for each row.

        It uses conjugate gradients with the matrices of the kept rows, preconditioned by this
        curvature. If ``by_rows`` is False and the model is a network, H of all rows replaces
        these matrices.

        Parameters
        ----------
        kept : Tensor of shape (G, n), bool, or None
            None means all rows: the exact Hessian of a head, or H of a network.
        tolerance : float, optional
            Relative residual of the solves; default: ``tolerance``.
        """
        if not self.convex and (kept is None or not self.by_rows):
            return self.solve
        size = self.gradients.systems

        def solve(V: Tensor) -> Tensor:
            rows = V.new_ones(len(V), len(self.problem), dtype=torch.bool) if kept is None else kept
            pairs = zip(V.split(size), rows.split(size), strict=True)
            return torch.cat([self._by_products(v, self._product(k), tolerance) for v, k in pairs])

        return solve

    def _product(self, kept: Tensor) -> Product:
        """Multiplies by H_K."""
        multiply = self.gradients.hessian(kept)
        return lambda V: multiply(V) + self.damping * V

    def _preconditioner(self, systems: int) -> Product:
        """The preconditioner of conjugate gradients on so many systems."""
        return self.solve

    def _by_products(self, V: Tensor, product: Product, tolerance: float | None) -> Tensor:
        solve, project = self._preconditioner(len(V)), self.gradients.project
        rtol = self.tolerance if tolerance is None else tolerance
        X, left = conjugate_gradients(product, V, lambda V: project(solve(V)), rtol=rtol)
        # A head without a penalty may have no optimum, about which its fit has warned.
        if self.convex or float(left.max()) <= UNSOLVED:
            return X
        if not bool(torch.isfinite(left).all()):
            raise CurvatureError(
                "Conjugate gradients met numbers that are not finite; run the module in float64, "
                "or give a larger damping."
            )
        raise CurvatureError(
            f"Conjugate gradients left {float(left.max()):.0%} of a system after {MAX_ITERATIONS} "
            "iterations: it is too ill-conditioned. Give a larger damping."
        )
