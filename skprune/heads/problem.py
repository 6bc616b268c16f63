"""A convex head on given features: its objective on any subset of rows, and the optimum of that.

For a set K of rows the head minimises

    F_K(theta) = sum_{i in K} w_i l_i(theta) + (lam_K / 2) |P theta|^2,

where P leaves the intercept out. Two conventions for lam_K are in use, which lead to different
subsets: *total* (``LogisticRegression(C)``, ``Ridge(alpha)``), where lam_K is a constant,
and *per row* (weight decay, SGD's ``alpha``), where lam_K = lam * sum_{i in K} c_i.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.heads.features import Features
from skprune.losses.base import HeadLoss
from skprune.utils.krylov import Product, conjugate_gradients

if TYPE_CHECKING:
    from skprune.heads.span import Span

#: Norm of the mean gradient at which a head counts as fitted.
GRADIENT_TOLERANCE = 1e-9
#: Largest change of an output by the last step of a fit that has converged. Where the minimum
#: is at infinity (separable classes, no penalty) the gradient vanishes as well, but every
#: Newton step moves the outputs by about 1.
SETTLED = 0.5


@dataclass(frozen=True)
class Penalty:
    """The ridge penalty of a head.

    Parameters
    ----------
    strength : float
        lam: of the whole objective (total) or of every row's share c_i (per row).
    mask : Tensor of shape (D, 1)
        P's diagonal: 1 where a coefficient is penalised, 0 where not (the intercept).
    shares : Tensor of shape (n,) or None
        c_i of the per-row convention; None is the total convention.
    """

    strength: float
    mask: Tensor
    shares: Tensor | None

    def total(self) -> float:
        """lam_K of the rows of the problem."""
        return self.strength * (1.0 if self.shares is None else float(self.shares.sum()))


@dataclass(frozen=True)
class HeadProblem:
    """Rows, targets, weights, loss and penalty: everything F_K is made of.

    Parameters
    ----------
    features : Features of shape (n, D)
    targets : Tensor of shape (n, K), float64
    weights : Tensor of shape (n,), float64
    loss : HeadLoss
    penalty : Penalty
    span : Span or None
        The basis of theta's coordinates; None if these belong to the features themselves.
    """

    features: Features
    targets: Tensor
    weights: Tensor
    loss: HeadLoss
    penalty: Penalty
    span: Span | None = None

    def __len__(self) -> int:
        return len(self.features)

    @property
    def theta_shape(self) -> tuple[int, int]:
        """The shape (D, K) of theta."""
        return (self.features.shape[1], self.targets.shape[1])

    @property
    def dim(self) -> int:
        """The number of parameters, D K."""
        return math.prod(self.theta_shape)

    @property
    def total(self) -> float:
        """W, the sum of the weights."""
        return float(self.weights.sum())

    def zeros(self) -> Tensor:
        """A starting point: theta of zeros."""
        return self.targets.new_zeros(self.theta_shape)

    def coefficients(self, theta: Tensor) -> Tensor:
        """``theta`` as coefficients of the original features, (n_features, K)."""
        return theta if self.span is None else self.span.theta(theta)

    def coordinates(self, coefficients: Tensor) -> Tensor:
        """The theta (D, K) with the outputs of ``coefficients`` (n_features, K) on these rows."""
        return coefficients if self.span is None else self.span.coordinates(coefficients)

    def subset(self, indices: Tensor) -> HeadProblem:
        """The same objective on some of the rows."""
        indices = indices.to(self.targets.device)
        shares = self.penalty.shares
        return replace(
            self,
            features=self.features.take(indices),
            targets=self.targets[indices],
            weights=self.weights[indices],
            penalty=self.penalty
            if shares is None
            else replace(self.penalty, shares=shares[indices]),
        )

    def reweighted(self, factors: NDArray[np.float64]) -> HeadProblem:
        """The same objective with every row counted ``factors`` (n,) times."""
        times = torch.from_numpy(factors).to(self.weights)
        shares = self.penalty.shares
        penalty = self.penalty if shares is None else replace(self.penalty, shares=shares * times)
        return replace(self, weights=self.weights * times, penalty=penalty)

    def value(self, theta: Tensor, Z: Tensor) -> float:
        """The objective F_K at theta, whose outputs are Z."""
        data = torch.dot(self.weights, self.loss.value(Z, self.targets))
        return float(data + 0.5 * self.penalty.total() * (self.penalty.mask * theta).square().sum())

    def gradient(self, theta: Tensor, Z: Tensor) -> Tensor:
        """The gradient dF_K / dtheta, shape (D, K)."""
        E = self.loss.residual(Z, self.targets) * self.weights[:, None]
        return self.features.adjoint(E) + self.penalty.total() * self.penalty.mask.square() * theta

    def ridges(self, kept: Tensor | None = None) -> Tensor:
        """The diagonals lam_K P^2, for all rows or sets of kept rows (G, n), (1 or G, D, 1)."""
        penalty = self.penalty
        total = torch.full_like(self.weights[:1], penalty.total())
        if kept is not None and penalty.shares is not None:
            total = penalty.strength * (kept.to(penalty.shares.dtype) @ penalty.shares)
        return total[:, None, None] * penalty.mask.square()

    def hessian(
        self, Z: Tensor, dtype: torch.dtype = torch.float64, kept: Tensor | None = None
    ) -> Product:
        """The Hessian of F_K at outputs Z, as a function that multiplies the rows of (G, D K).

        The G vectors share every product with the features, which are read once for all of them,
        and no row is copied.

        Parameters
        ----------
        Z : Tensor of shape (n, K)
        dtype : torch.dtype
            The precision of the products with the features.
        kept : Tensor of shape (G, n), bool, optional
            The rows K of every vector; default: all of them.
        """
        (D, K), ridges = self.theta_shape, self.ridges(kept)
        P, weights = self.loss.mean(Z).to(dtype), self.weights.to(dtype)[:, None]
        if kept is not None:
            weights = weights * kept.T

        def middle(part: slice, Z: Tensor) -> Tensor:
            if Z.shape[1] == K:
                return self.loss.hessian_product(P[part], Z).mul_(weights[part])
            Z = Z.reshape(len(Z), -1, K)
            spread = P[part, None, :].expand_as(Z).reshape(-1, K)
            HZ = self.loss.hessian_product(spread, Z.reshape(-1, K)).view_as(Z)
            return HZ.mul_(weights[part, :, None]).flatten(1)

        def product(V: Tensor) -> Tensor:
            many = V.reshape(-1, D, K)
            flat = many.permute(1, 0, 2).reshape(D, -1)
            data = self.features.sandwich(middle, flat.to(dtype)).to(V)
            return (data.reshape(D, -1, K).permute(1, 0, 2) + ridges * many).reshape(V.shape)

        return product


@dataclass(frozen=True)
class HeadFit:
    """The optimum of a head, and how precisely it was reached.

    Attributes
    ----------
    theta : Tensor of shape (D, K)
    outputs : Tensor of shape (n, K)
        Phi @ theta of the rows the head was fitted on.
    gradient_norm : float
        |dF_K| / sum of weights at theta.
    n_iter : int
        Newton iterations.
    converged : bool
        Whether ``gradient_norm`` reached the tolerance while theta stayed finite: where there is no
        minimum, the gradient vanishes on the way to infinity.
    """

    theta: Tensor
    outputs: Tensor
    gradient_norm: float
    n_iter: int
    converged: bool


def solve_hessian(
    problem: HeadProblem,
    outputs: Tensor,
    rhs: Tensor,
    precondition: Product,
    *,
    rtol: float,
) -> Tensor:
    """H_K^-1 rhs with the exact Hessian at ``outputs``, for gradients.

    Products have the precision of the rows, because steps and scores need no more digits than
    float32 has.

    The solution is restricted to directions in which the losses change. In the others (a common
    shift of all classes) H may vanish, which would amplify the rounding error of ``rhs``.

    Parameters
    ----------
    problem : HeadProblem
    outputs : Tensor of shape (n, K)
    rhs : Tensor
        One gradient (D, K), or G of them as (G, D K); the solutions have the same shape.
    precondition : callable
        Multiplies the rows of a (G, D K) tensor by an approximate inverse Hessian.
    rtol : float
        Relative residual at which a system is solved.
    """

    def projected(V: Tensor) -> Tensor:
        return problem.loss.project(precondition(V).reshape(-1, problem.theta_shape[1])).view_as(V)

    product = problem.hessian(outputs, problem.features.dtype)
    V = rhs.reshape(-1, problem.dim)
    return conjugate_gradients(product, V, projected, rtol=rtol)[0].reshape(rhs.shape)


def newton_step(
    problem: HeadProblem,
    theta: Tensor,
    precondition: Product,
    *,
    rtol: float = 1e-3,
) -> Tensor:
    """One Newton step -H_K^-1 dF_K(theta) on the rows of ``problem``, shape (D, K)."""
    Z = problem.features.forward(theta)
    gradient = problem.gradient(theta, Z)
    return solve_hessian(problem, Z, -gradient, precondition, rtol=rtol)


def fit_head(
    problem: HeadProblem,
    precondition: Product,
    *,
    start: Tensor | None = None,
    tol: float = GRADIENT_TOLERANCE,
    max_iter: int = 100,
) -> HeadFit:
    """Minimise F_K by truncated Newton steps with an Armijo line search.

    The outputs are linear in theta, so the line search costs no product with the features.

    Parameters
    ----------
    problem : HeadProblem
    precondition : callable
        Multiplies the rows of a (1, D K) tensor by an approximate inverse Hessian (a warm refit
        passes the curvature of all rows).
    start : Tensor of shape (D, K), optional
        Default: zeros.
    tol : float
        Bound on the gradient norm per unit of weight.
    max_iter : int
        Bound on the Newton iterations.

    Returns
    -------
    HeadFit
    """
    theta = problem.zeros() if start is None else start.clone()
    scale = problem.total
    Z = problem.features.forward(theta)
    value, gradient = problem.value(theta, Z), problem.gradient(theta, Z)
    norm = float(gradient.norm()) / scale
    iteration, moved = 0, 0.0
    while norm > tol and iteration < max_iter:
        iteration += 1
        rtol = min(0.1, math.sqrt(norm))
        step = solve_hessian(problem, Z, -gradient, precondition, rtol=rtol)
        slope = float((gradient * step).sum())
        dZ = problem.features.forward(step)
        length = 1.0
        while True:
            candidate, outputs = theta + length * step, Z + length * dZ
            new_value = problem.value(candidate, outputs)
            # The slack is the rounding error of the value, so that the last steps are taken.
            if new_value <= value + 1e-4 * length * slope + 1e-13 * abs(value):
                break
            length *= 0.5
            if length < 1e-10:
                return HeadFit(theta, Z, norm, iteration, norm <= tol)
        if not problem.loss.quadratic:
            moved = length * float((dZ.abs().amax(1) * (problem.weights > 0)).max())
        theta, Z, value = candidate, outputs, new_value
        gradient = problem.gradient(theta, Z)
        norm = float(gradient.norm()) / scale
    return HeadFit(theta, Z, norm, iteration, norm <= tol and moved <= SETTLED)
