"""The Hessian H and its inverse as objects that multiply, for heads and for layers of networks.

``eigen.py`` and ``matrix.py`` define how H multiplies; ``head.py`` and ``layers/`` how it is found.
"""

from __future__ import annotations

from skprune.curvature.base import Curvature, CurvatureError
from skprune.curvature.factor_cache import FactorCache
from skprune.curvature.gradients import Gradients, HeadGradients
from skprune.curvature.head import EKFAC_FEATURES, DenseHead, DiagonalHead, EKFACHead
from skprune.curvature.layers.cg import CGCurvature
from skprune.curvature.layers.dense import DenseCurvature, HessianCurvature
from skprune.curvature.layers.diagonal import DiagonalCurvature
from skprune.curvature.layers.kfac import EKFACCurvature, KFACCurvature
from skprune.curvature.layers.lissa import LiSSACurvature
from skprune.curvature.layers.lowrank import LowRankCurvature
from skprune.heads.problem import HeadProblem
from skprune.network.problem import NetworkProblem

#: The curvatures of heads and of layers by name. "auto" takes the first that is affordable.
CURVATURES: dict[str, dict[str, type[Curvature]]] = {
    "head": {c.name: c for c in (DenseHead, EKFACHead, DiagonalHead)},
    "layers": {
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
    },
}


def choose_curvature(problem: HeadProblem | NetworkProblem, n: int | None = None) -> str:
    """The most faithful curvature that is affordable.

    For a head it is "dense", else "ekfac", else "diagonal"; for layers it is "dense", else "cg",
    else "ekfac". For layers "cg" predicts the effect of sets of rows better than "ekfac", because
    it uses the Gauss-Newton matrix of the kept rows alone: on a perceptron of 9,610 parameters
    with 5 to 40 % of the rows removed, slopes of actual on predicted loss are 1.0 instead of 0.3,
    and rank correlations 0.9 instead of 0.6.

    Parameters
    ----------
    problem : HeadProblem or NetworkProblem
    n : int, optional
        The number of rows; default: those of the problem.
    """
    known = CURVATURES["head" if isinstance(problem, HeadProblem) else "layers"]
    n = len(problem) if n is None else n
    return next(name for name, kind in known.items() if kind.affordable(problem, n))


def build_curvature(
    name: str,
    gradients: Gradients,
    damping: float | str = "auto",
    cache: FactorCache | None = None,
) -> Curvature:
    """Curvature ``name`` (a key of ``CURVATURES``) of the rows and parameters of ``gradients``.

    Raises
    ------
    ValueError
        If there is no such curvature.
    """
    known = CURVATURES["head" if gradients.convex else "layers"]
    if name not in known:
        raise ValueError(f"curvature must be one of {sorted(known)}; got {name!r}.")
    return known[name](gradients, damping, cache)


__all__ = [
    "CURVATURES",
    "EKFAC_FEATURES",
    "Curvature",
    "CurvatureError",
    "FactorCache",
    "Gradients",
    "HeadGradients",
    "build_curvature",
    "choose_curvature",
]
