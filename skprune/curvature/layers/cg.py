"""The Gauss-Newton matrix as products, for conjugate gradients on many systems side by side."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from skprune.curvature.base import Curvature
from skprune.curvature.layers.kfac import EKFACCurvature
from skprune.curvature.layers.lowrank import LowRankCurvature
from skprune.network.problem import NetworkProblem
from skprune.utils.krylov import Product

#: Number of eigenvectors of the preconditioner, and a bound on the numbers that they hold.
RANK = 128
EIGENVECTOR_NUMBERS = 1 << 27
#: Number of systems from which on the eigenvectors are worth their cost.
MANY = 4
#: Cost of the products with the Gauss-Newton matrix in one pruning, in forward passes through all
#: rows, and a bound on the multiplications and additions of these passes.
CG_PASSES = 1000
CG_COST = 2e12


class CGCurvature(Curvature):
    """M = (1 / W) sum_i w_i J_i' h_i J_i, exact and never formed.

    It solves by conjugate gradients, preconditioned at the same damping by EK-FAC or, for many
    systems, by the leading eigenvectors of M. For kept rows it solves with the Gauss-Newton matrix
    of these rows alone.

    Cost: the fit of EK-FAC, and an iteration one forward- and one reverse-mode product a system:
    about 70 iterations with EK-FAC, 10 to 20 with 128 eigenvectors, which cost 128 products once.
    """

    name = "cg"
    how = "exact products"
    by_rows = True

    @classmethod
    def affordable(cls, problem: Any, n: int) -> bool:
        flops = forward_flops(problem)
        # Layers of some kinds are not counted: then less is found than one operation a parameter.
        return flops >= problem.dim and n * flops * CG_PASSES <= CG_COST

    def _needs_damping(self) -> bool:
        return not (self.penalty > 0.0 and self.problem.is_linear)  # M is the Hessian

    def _fit(self) -> None:
        self._ekfac = EKFACCurvature(self.gradients, cache=self.cache)
        #: Computed when they are first needed, and shared with copies at another damping.
        self._eigenvectors: list[LowRankCurvature] = []
        self.mean_eigenvalue = self._ekfac.mean_eigenvalue

    def _preconditioner(self, systems: int) -> Product:
        found = self._eigenvectors
        if not found and systems >= MANY and RANK * self.dim <= EIGENVECTOR_NUMBERS:
            found.append(LowRankCurvature(self.gradients, cache=self.cache, rank=RANK))
        return (found[0] if found else self._ekfac).damped(self.damping).solve

    def selector(self) -> Curvature:
        return self._ekfac

    def solve(self, V: Tensor) -> Tensor:
        many = V.reshape(-1, self.dim)
        every = torch.ones(len(many), len(self.problem), dtype=torch.bool, device=V.device)
        return self.restricted(every)(many).reshape(V.shape)


def forward_flops(problem: NetworkProblem) -> int:
    """Multiplications and additions that torch counts in the forward pass of one row."""
    batch = next(iter(problem.batches(np.arange(1))))
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        problem.outputs(batch.inputs)
    return int(counter.get_total_flops())
