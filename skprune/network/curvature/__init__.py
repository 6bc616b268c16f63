"""H and its inverse for networks, as objects that multiply; one file an approximation."""

from __future__ import annotations

from skprune.network.curvature.base import CurvatureError, NetworkCurvature, WhiteningCurvature
from skprune.network.curvature.cg import CGCurvature
from skprune.network.curvature.dense import DenseCurvature, HessianCurvature
from skprune.network.curvature.diagonal import DiagonalCurvature
from skprune.network.curvature.ekfac import EKFACCurvature
from skprune.network.curvature.kfac import KFACCurvature
from skprune.network.curvature.lissa import LiSSACurvature
from skprune.network.curvature.lowrank import LowRankCurvature
from skprune.network.layers import RowGradients
from skprune.network.problem import NetworkProblem

CURVATURES: dict[str, type[NetworkCurvature]] = {
    c.name: c
    for c in (
        DenseCurvature,
        HessianCurvature,
        CGCurvature,
        KFACCurvature,
        EKFACCurvature,
        LiSSACurvature,
        LowRankCurvature,
        DiagonalCurvature,
    )
}

#: The exact Gauss-Newton matrix up to this many parameters, and this many multiplications.
DENSE_PARAMETERS = 2048
DENSE_COST = 2e11


def choose_curvature(problem: NetworkProblem) -> str:
    """The most exact curvature with a root that is affordable: "dense", else "ekfac".

    Predictions for sets of rows are better by "cg", which takes the Gauss-Newton matrix of just
    the kept rows; it has no root to select with.
    """
    rows = len(problem) * problem.n_outputs
    if problem.dim <= DENSE_PARAMETERS and rows * problem.dim**2 <= DENSE_COST:
        return "dense"
    return "ekfac"


def build_curvature(
    name: str, gradients: RowGradients, damping: float | str = "auto"
) -> NetworkCurvature:
    """Curvature ``name`` (a key of ``CURVATURES``) of the rows and parameters of ``gradients``.

    Raises
    ------
    ValueError
        If there is no such curvature.
    """
    if name not in CURVATURES:
        raise ValueError(f"curvature must be one of {sorted(CURVATURES)}; got {name!r}.")
    return CURVATURES[name](gradients, damping)


__all__ = [
    "CURVATURES",
    "CurvatureError",
    "NetworkCurvature",
    "WhiteningCurvature",
    "build_curvature",
    "choose_curvature",
]
