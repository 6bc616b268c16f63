"""Preconditioned conjugate gradients on many systems side by side."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

Product = Callable[[Tensor], Tensor]

#: Bound on the iterations of a solve.
MAX_ITERATIONS = 200


def conjugate_gradients(
    product: Product,
    V: Tensor,
    precondition: Product,
    *,
    rtol: float | Tensor,
    max_iter: int = MAX_ITERATIONS,
) -> tuple[Tensor, Tensor]:
    """Solve for the rows of V (B, p), each with its own matrix, until each has converged.

    Not ``scipy.sparse.linalg.cg``, which has no CUDA tensors and takes one system at a time.

    Parameters
    ----------
    product : callable
        Multiplies the rows of a (B, p) tensor, each by its own positive semidefinite matrix.
    V : Tensor of shape (B, p)
        Right-hand sides.
    precondition : callable
        The same for approximate inverses, symmetric and positive definite.
    rtol : float or Tensor of shape (B,)
        Relative residual at which a system is solved.
    max_iter : int
        Bound on the iterations.

    Returns
    -------
    X : Tensor of shape (B, p)
    left : Tensor of shape (B,)
        Relative residuals that were reached; nan where numbers are not finite.
    """
    X, residual = torch.zeros_like(V), V.clone()
    length = V.norm(dim=1, keepdim=True)
    target = length * torch.as_tensor(rtol).to(V).reshape(-1, 1)
    Z = precondition(residual)
    direction, rho = Z.clone(), (residual * Z).sum(1, keepdim=True)
    active = torch.ones_like(target, dtype=torch.bool)
    for _ in range(max_iter):
        active &= torch.linalg.vector_norm(residual, dim=1, keepdim=True) > target
        if not bool(active.any()):
            break
        moved = product(direction)
        bend = (direction * moved).sum(1, keepdim=True)
        # A flat direction ends a system: no component of the solution lies there. Systems that
        # have ended stand still while the others go on.
        active &= ~(bend <= 0.0)
        step = torch.where(active, rho / bend, 0.0)
        X.addcmul_(step, direction)
        residual.addcmul_(step, moved, value=-1.0)
        Z = precondition(residual)
        rho, previous = (residual * Z).sum(1, keepdim=True), rho
        direction = torch.addcmul(Z, torch.where(active, rho / previous, 0.0), direction)
    smallest = torch.finfo(V.dtype).tiny
    return X, residual.norm(dim=1) / length.squeeze(1).clamp_min(smallest)
