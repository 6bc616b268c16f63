"""What every curvature is: a positive definite matrix H one can solve with and whiten by."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor

from skprune.heads.features import Features
from skprune.heads.problem import HeadProblem

#: Eigenvalues below this share of the largest are raised to it: directions in which the data
#: and the penalty say nothing (collinear columns without penalty, the common shift of a softmax).
RELATIVE_DAMPING = 1e-10


class Curvature(ABC):
    """H ~ the Hessian of F over the rows it was built from (a sum, not a mean).

    ``H = L L'``; whitening maps a gradient a to ``L^-1 a``, so that Euclidean products of
    whitened gradients are products in the metric H^-1. Parameters have shape (D, K), whitened
    vectors are flat, of length ``dim`` = D K.
    """

    dim: int

    @abstractmethod
    def __init__(self, problem: HeadProblem, outputs: Tensor) -> None:
        """Take the curvature of ``problem`` where its outputs are ``outputs`` (n, K)."""

    @abstractmethod
    def nbytes(self) -> int:
        """Memory held, in bytes."""

    @abstractmethod
    def solve(self, V: Tensor) -> Tensor:
        """H^-1 V for V (D, K), shape (D, K)."""

    @abstractmethod
    def whiten(self, V: Tensor) -> Tensor:
        """L^-1 V for V (D, K), shape (dim,)."""

    @abstractmethod
    def unwhiten(self, d: Tensor) -> Tensor:
        """L^-T d for d (dim,), shape (D, K); <whiten(V), d> = <V, unwhiten(d)>."""

    @abstractmethod
    def whiten_rows(self, Phi: Tensor, E: Tensor) -> Tensor:
        """L^-1 (phi_i (x) e_i) for Phi (b, D) and E (b, K), shape (b, dim), in their precision."""

    def squared_norms(self, features: Features, E: Tensor) -> Tensor:
        """|L^-1 (phi_i (x) e_i)|^2 for all rows of ``features`` (n, D) and E (n, K), shape (n,)."""
        dtype = features.dtype
        return torch.cat(
            [
                self.whiten_rows(features.rows(part, dtype), E[part].to(dtype)).square().sum(1)
                for part in features.chunks(self.dim)
            ]
        ).to(E)


def damp(eigenvalues: Tensor) -> Tensor:
    """Raise eigenvalues to the smallest one that can be inverted safely."""
    # If all vanish, as for a matrix of zeros without penalty, any positive number will do.
    return eigenvalues.clamp_min(RELATIVE_DAMPING * float(eigenvalues.max()) or 1.0)
