"""Solve a head on a table with more columns than rows in the span of its rows.

With a ridge penalty theta is 0 outside the span of the rows, so every optimum, refit and Newton
step on some of them lies in it; without a penalty, theta starts at 0 and never leaves it. In an
orthonormal basis of the span the problem has as many features as the table has rows, and outputs,
gradients and norms do not change.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from skprune.heads.features import HELD_NUMBERS, DenseFeatures
from skprune.heads.problem import HeadProblem

#: Number of rows up to which the basis is used. For more, finding it costs more than it saves.
MOST_ROWS = 4000


def spanned_width(n: int, D: int) -> int:
    """Number of features in the span of n rows; D itself if the span does not pay."""
    return n if n < D and n <= MOST_ROWS and n * D <= HELD_NUMBERS else D


class Span:
    """Coordinates of theta: its penalised part in the span of some rows, and the free rest.

    theta = ``basis`` @ coordinates, and the penalty of theta is that of the coordinates.

    Parameters
    ----------
    problem : HeadProblem
        The rows, n of them.

    Attributes
    ----------
    basis : Tensor of shape (D, r)
    mask : Tensor of shape (r, 1)
        The mask of the penalty in coordinates: 1 for the n of the span, 0 for free features.
    """

    def __init__(self, problem: HeadProblem) -> None:
        scale = problem.penalty.mask[:, 0]
        penalised, free = (torch.nonzero(where)[:, 0] for where in (scale != 0, scale == 0))
        rows = problem.features.rows(slice(0, len(problem)))
        # In units in which the penalty takes all directions alike.
        directions = torch.linalg.qr((rows[:, penalised] / scale[penalised]).T).Q
        n = directions.shape[1]
        self.basis = rows.new_zeros(len(scale), n + len(free))
        self.basis[penalised, :n] = directions / scale[penalised, None]
        self.basis[free, n + torch.arange(len(free), device=free.device)] = 1.0
        self.mask = (torch.arange(self.basis.shape[1]) < n).to(self.basis)[:, None]
        self._inverse = self.basis.T * torch.where(scale != 0, scale, 1.0).square()

    @staticmethod
    def pays(problem: HeadProblem, n: int) -> bool:
        """Whether a problem of this kind on n rows is smaller in the span of its rows."""
        penalised = int(torch.count_nonzero(problem.penalty.mask))
        return spanned_width(n, penalised) < penalised

    def of(self, problem: HeadProblem) -> HeadProblem:
        """``problem`` in coordinates.

        It is the same problem for rows of the span. For other rows it has the same outputs, and the
        same gradient within the span.
        """
        device = problem.features.device
        return replace(
            problem,
            features=DenseFeatures(problem.features.forward(self.basis.to(device))),
            penalty=replace(problem.penalty, mask=self.mask.to(device)),
            span=self,
        )

    def theta(self, coordinates: Tensor) -> Tensor:
        """The theta (D, K) of coordinates (r, K)."""
        return self.basis.to(coordinates.device) @ coordinates

    def coordinates(self, theta: Tensor) -> Tensor:
        """The coordinates (r, K) that give the outputs of ``theta`` (D, K) on rows of the span."""
        return self._inverse.to(theta.device) @ theta
