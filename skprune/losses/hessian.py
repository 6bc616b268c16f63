"""The Hessians of the rows' losses in their outputs, the middle of the Gauss-Newton matrix."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.autograd import grad


@dataclass(frozen=True)
class OutputHessian:
    """The Hessians h_i = d^2 l_i / dz^2 of b rows, with products and a root s_i s_i' = h_i.

    Attributes
    ----------
    like : Tensor of shape (b, K)
        A tensor with the shape, precision and device of the outputs.
    product : callable
        h_i v_i for V (..., b, K).
    root : callable
        s_i v_i for V (..., 1 or b, K), shape (..., b, K).
    """

    like: Tensor
    product: Callable[[Tensor], Tensor]
    root: Callable[[Tensor], Tensor]

    def columns(self) -> Tensor:
        """The K columns of s_i, as cotangents of shape (K, b, K)."""
        return self.root(torch.eye(self.like.shape[1]).to(self.like)[:, None, :])

    def sample(self, size: int, generator: torch.Generator) -> Tensor:
        """Random cotangents c with mean(c c') = h_i over ``size`` draws, shape (size, b, K)."""
        signs = torch.randint(0, 2, (size, *self.like.shape), generator=generator)
        return self.root(2.0 * signs.to(self.like) - 1.0) / size**0.5


def differentiated_twice(value: Callable[[Tensor], Tensor], outputs: Tensor) -> OutputHessian:
    """The Hessians of any losses ``value(outputs)`` (b,).

    Negative eigenvalues are set to 0, so that the Gauss-Newton matrix is positive semidefinite.
    """
    Z = outputs.detach().requires_grad_()
    H = Z.new_zeros(*Z.shape, Z.shape[1])
    with torch.enable_grad():
        (first,) = grad(value(Z).sum(), Z, create_graph=True)
        if first.requires_grad:  # a loss that is linear in its outputs has no second derivative
            for k, total in enumerate(first.sum(0)):
                H[:, k] = grad(total, Z, retain_graph=True, materialize_grads=True)[0]
    eigenvalues, vectors = torch.linalg.eigh(0.5 * (H + H.transpose(1, 2)))
    S = vectors * eigenvalues.clamp_min(0.0).sqrt()[:, None, :]

    def root(V: Tensor) -> Tensor:
        return torch.einsum("bkr,...br->...bk", S, V.expand(*V.shape[:-2], *Z.shape))

    return OutputHessian(Z, lambda V: root(torch.einsum("bkr,...bk->...br", S, V)), root)
