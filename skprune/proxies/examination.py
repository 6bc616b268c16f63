"""What is found out about all rows before any is removed: optimum, curvature, influence."""

from __future__ import annotations

import time
from dataclasses import dataclass

from skprune.curvature import EKFAC_FEATURES, Curvature, HeadGradients, build_curvature
from skprune.heads.problem import HeadFit, HeadProblem, fit_head
from skprune.influence.gradients import HeadInfluence


@dataclass(frozen=True)
class Examination:
    """A head fitted to its rows, with the curvature at the optimum.

    Attributes
    ----------
    fit : HeadFit
    curvature : Curvature
        Without its rows.
    fit_seconds : float
        Of the cold fit.
    """

    fit: HeadFit
    curvature: Curvature
    fit_seconds: float

    def influence(self, problem: HeadProblem) -> HeadInfluence:
        """The influence operator of the rows that were examined."""
        return HeadInfluence(problem, self.fit.theta, self.fit.outputs, self.curvature)


def cold_fit(problem: HeadProblem) -> tuple[HeadFit, float]:
    """Fit a head from nothing; returns the fit and its seconds.

    The preconditioner is the curvature at theta = 0, where that of a softmax is exactly a
    Kronecker product.
    """
    start = time.perf_counter()
    zeros = problem.zeros()
    name = "ekfac" if zeros.shape[0] <= EKFAC_FEATURES else "diagonal"
    at_zero = build_curvature(name, HeadGradients(problem, problem.features.forward(zeros)))
    fit = fit_head(problem, at_zero.solve)
    return fit, time.perf_counter() - start


def examine(problem: HeadProblem, curvature: str) -> Examination:
    """Fit the head on all rows of ``problem`` and take the named curvature there."""
    fit, fit_seconds = cold_fit(problem)
    built = build_curvature(curvature, HeadGradients(problem, fit.outputs)).selector()
    return Examination(fit, built.on(None), fit_seconds)
