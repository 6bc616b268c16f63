"""H and its inverse as objects that multiply; one file an approximation."""

from __future__ import annotations

from torch import Tensor

from skprune.curvature.base import Curvature
from skprune.curvature.dense import DenseCurvature
from skprune.curvature.diagonal import DiagonalCurvature
from skprune.curvature.ekfac import EKFACCurvature
from skprune.heads.problem import HeadProblem

__all__ = ["CURVATURES", "EKFAC_FEATURES", "Curvature", "build_curvature", "choose_curvature"]

CURVATURES: dict[str, type[Curvature]] = {
    "dense": DenseCurvature,
    "ekfac": EKFACCurvature,
    "diagonal": DiagonalCurvature,
}

#: The exact Hessian up to this many parameters, and up to this many multiplications (n p^2).
DENSE_PARAMETERS = 4096
DENSE_COST = 5e11
#: EK-FAC up to this many features: it decomposes a (D, D) matrix.
EKFAC_FEATURES = 4096


def choose_curvature(problem: HeadProblem) -> str:
    """The most exact curvature that is affordable for the size of ``problem``."""
    D, K = problem.theta_shape
    p = D * K
    if p <= DENSE_PARAMETERS and len(problem) * p**2 <= DENSE_COST:
        return "dense"
    return "ekfac" if D <= EKFAC_FEATURES else "diagonal"


def build_curvature(name: str, problem: HeadProblem, outputs: Tensor) -> Curvature:
    """Curvature ``name`` (a key of ``CURVATURES``) of ``problem`` at ``outputs`` (n, K)."""
    return CURVATURES[name](problem, outputs)
