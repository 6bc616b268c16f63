"""H and its inverse for networks, as objects that multiply; one file an approximation."""

from __future__ import annotations

from skprune.network.curvature.base import CurvatureError, NetworkCurvature, WhiteningCurvature
from skprune.network.curvature.cg import CGCurvature
from skprune.network.curvature.dense import DenseCurvature, HessianCurvature
from skprune.network.curvature.diagonal import DiagonalCurvature
from skprune.network.curvature.ekfac import EKFACCurvature
from skprune.network.curvature.kfac import KFACCurvature

CURVATURES: dict[str, type[NetworkCurvature]] = {
    c.name: c
    for c in (
        DenseCurvature,
        HessianCurvature,
        CGCurvature,
        KFACCurvature,
        EKFACCurvature,
        DiagonalCurvature,
    )
}
