"""The Hessian of the loss in the outputs, row by row: the middle of the Gauss-Newton matrix."""

from __future__ import annotations

import torch
from torch import Tensor

from skprune.losses.network import RowLoss


class OutputHessian:
    """h_i = d^2 l_i / dz^2 of b rows, as something that multiplies and has a root.

    Closed forms for cross-entropy, diag(p) - p p' times the row's class weight, and for losses
    that are sums over outputs, whose Hessian is diagonal. Any other loss is differentiated twice;
    its negative eigenvalues are set to 0, so that the Gauss-Newton matrix is positive
    semidefinite.

    Parameters
    ----------
    loss : RowLoss
        With the link "identity": the outputs are logits.
    outputs : Tensor of shape (b, K)
    targets : Tensor of shape (b, ...)
    """

    def __init__(self, loss: RowLoss, outputs: Tensor, targets: Tensor) -> None:
        self._probabilities: Tensor | None = None
        self._diagonal: Tensor | None = None
        self._root: Tensor | None = None
        if loss.kind == "cross_entropy":
            self._probabilities = torch.softmax(outputs, dim=1)
            self._scale = _class_scale(loss, outputs, targets)
        elif loss.kind in ("binary", "squared"):
            self._diagonal = _second_derivatives(loss, outputs, targets).clamp_min_(0.0)
        else:
            eigenvalues, vectors = torch.linalg.eigh(_hessians(loss, outputs, targets))
            self._root = vectors * eigenvalues.clamp_min(0.0).sqrt()[:, None, :]

    def product(self, V: Tensor) -> Tensor:
        """h_i v_i for V (..., b, K)."""
        if self._probabilities is not None:
            weighted = self._probabilities * V
            weighted = weighted - self._probabilities * weighted.sum(-1, keepdim=True)
            return weighted * self._scale[:, None]
        if self._diagonal is not None:
            return self._diagonal * V
        assert self._root is not None
        inner = torch.einsum("bkr,...bk->...br", self._root, V)
        return torch.einsum("bkr,...br->...bk", self._root, inner)

    def columns(self) -> Tensor:
        """The K columns of a root s_i, s_i s_i' = h_i, as cotangents of shape (K, b, K)."""
        K = self._n_outputs()
        like = self._like()
        return self._times_root(torch.eye(K, dtype=like.dtype, device=like.device)[:, None, :])

    def sample(self, size: int, generator: torch.Generator) -> Tensor:
        """Random cotangents c with mean(c c') = h_i over ``size`` draws, shape (size, b, K)."""
        like = self._like()
        signs = torch.randint(0, 2, (size, len(like), self._n_outputs()), generator=generator)
        signs = 2.0 * signs.to(device=like.device, dtype=like.dtype) - 1.0
        return self._times_root(signs) / size**0.5

    def _times_root(self, V: Tensor) -> Tensor:
        """s_i v for V (..., 1 or b, K), shape (..., b, K)."""
        if self._probabilities is not None:
            spread = self._probabilities.sqrt() * V
            total = spread.sum(-1, keepdim=True)
            return (spread - self._probabilities * total) * self._scale.sqrt()[:, None]
        if self._diagonal is not None:
            return self._diagonal.sqrt() * V
        assert self._root is not None
        return torch.einsum(
            "bkr,...br->...bk", self._root, V.expand(*V.shape[:-2], len(self._root), -1)
        )

    def _like(self) -> Tensor:
        for tensor in (self._probabilities, self._diagonal, self._root):
            if tensor is not None:
                return tensor
        raise AssertionError

    def _n_outputs(self) -> int:
        return self._like().shape[-1]


def _class_scale(loss: RowLoss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Sum of a row's target distribution times the class weights: 1 without weights."""
    if loss.class_weight is None:
        return outputs.new_ones(len(outputs))
    weight = loss.class_weight.to(outputs)
    smoothing = loss.label_smoothing
    return (1.0 - smoothing) * weight[targets] + smoothing * weight.mean()


def _second_derivatives(loss: RowLoss, outputs: Tensor, targets: Tensor) -> Tensor:
    """Diagonal of the Hessians of a loss that is a sum over outputs, shape (b, K)."""
    Z = outputs.detach().requires_grad_()
    with torch.enable_grad():
        (first,) = torch.autograd.grad(loss.value(Z, targets).sum(), Z, create_graph=True)
        (second,) = torch.autograd.grad(first.sum(), Z)
    return second


def _hessians(loss: RowLoss, outputs: Tensor, targets: Tensor) -> Tensor:
    """The Hessians of any loss by automatic differentiation, shape (b, K, K)."""
    Z = outputs.detach().requires_grad_()
    with torch.enable_grad():
        (first,) = torch.autograd.grad(loss.value(Z, targets).sum(), Z, create_graph=True)
        rows = []
        for k in range(Z.shape[1]):
            second = None
            if first.requires_grad:  # a loss that is linear in its outputs has no second derivative
                (second,) = torch.autograd.grad(
                    first[:, k].sum(), Z, retain_graph=True, allow_unused=True
                )
            rows.append(torch.zeros_like(Z) if second is None else second)
    H = torch.stack(rows, dim=1)
    return 0.5 * (H + H.transpose(1, 2))
