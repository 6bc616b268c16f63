"""The gap of a head: predicted by one Newton step on the kept rows, or refitted on them."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from skprune.curvature import Curvature
from skprune.evaluation.base import Evaluator
from skprune.evaluation.held_out import HeldOut
from skprune.evaluation.tails import heavy_tails
from skprune.heads.problem import HeadProblem, fit_head, newton_step
from skprune.results.gap import Gap, Learned
from skprune.subset import Selection

#: Norm of the mean gradient at which a refit ends; its loss is then correct to about 1e-9.
REFIT_TOLERANCE = 1e-6

#: By which a penalty is raised for random rows, one after the other, as long as they gain by it.
STRONGER = (4.0, 16.0, 64.0, 256.0)

#: Random subsets beside the kept rows: a head is fitted in no time, and draws differ.
DRAWS = 5


class Predicted(Evaluator):
    """Predicts the gap by one Newton step on the kept rows from the head of all rows.

    Parameters
    ----------
    problem : HeadProblem
        All rows.
    theta : Tensor of shape (D, K)
        The optimum on all rows.
    curvature : Curvature
        Preconditions the products with the Hessian of the kept rows.
    held_out : HeldOut
        The rows to measure on.
    """

    level = "predicted"
    draws = DRAWS

    def __init__(
        self, problem: HeadProblem, theta: Tensor, curvature: Curvature, held_out: HeldOut
    ) -> None:
        self.problem, self.theta, self.held_out = problem, theta, held_out
        self.solve = curvature.solve
        self._last: tuple[Selection, Tensor] | None = None

    def gap(self, kept: Selection, limit: float | None = None) -> Gap:
        step = newton_step(self.kept(kept), self.theta, self.solve)
        self._last = kept, self.theta + step
        return self.held_out.gap(self.theta, self._last[1], self.level)

    def learned(self) -> Learned | None:
        return self.held_out.learned(self.theta, self.problem)

    def diagnostics(self) -> tuple[str, ...]:
        if self.held_out.scorer is not None:
            return ()
        return heavy_tails(self.held_out.outputs(self.theta))

    def kept(self, kept: Selection) -> HeadProblem:
        """The objective on the kept rows."""
        problem = self.problem.subset(torch.from_numpy(kept.indices))
        return problem if kept.weights is None else problem.reweighted(kept.weights)

    def start(self, kept: Selection) -> Tensor:
        """The head that was predicted for these rows, or that of all rows."""
        known = self._last is not None and self._last[0] is kept
        return self._last[1] if known and self._last is not None else self.theta


class Refit(Evaluator):
    """Measures the gap by fitting the head anew on the kept rows.

    Parameters
    ----------
    predicted : Predicted
        Its prediction is the start of the fit, if it is better than the head of all rows.
    """

    level = "refit"
    draws = DRAWS

    def __init__(self, predicted: Predicted) -> None:
        self.predicted = predicted

    def learned(self) -> Learned | None:
        return self.predicted.learned()

    def diagnostics(self) -> tuple[str, ...]:
        return self.predicted.diagnostics()

    def gap(self, kept: Selection, limit: float | None = None) -> Gap:
        theta = self.predicted.theta
        return self.predicted.held_out.gap(theta, self.theta(kept), self.level)

    def random_gap(self, drawn: Selection) -> Gap:
        """With the best of several penalties: one that suits many rows is too weak for few.

        Rows that were chosen for the head need no other, because they are balanced at the optimum
        of all rows. A penalty that these rows are measured to like best favours them, if anything.
        """
        full, theta = self.predicted.theta, self.theta(drawn)
        best = self.predicted.held_out.gap(full, theta, self.level)
        problem, solve = self.predicted.kept(drawn), self.predicted.solve
        penalty = problem.penalty
        if penalty.strength == 0.0:
            return best
        for times in STRONGER:
            raised = replace(problem, penalty=replace(penalty, strength=times * penalty.strength))
            theta = fit_head(raised, solve, start=theta, tol=REFIT_TOLERANCE).theta
            gap = self.predicted.held_out.gap(full, theta, self.level)
            if not gap < best:
                break
            best = gap
        best.tuned = True
        return best

    def theta(self, kept: Selection) -> Tensor:
        """The optimum on kept rows.

        A head without penalty starts at zero: directions in which its rows have no information
        would otherwise keep the values of the start.
        """
        theta, solve = self.predicted.theta, self.predicted.solve
        problem = self.predicted.kept(kept)
        if problem.penalty.strength == 0.0:
            return fit_head(problem, solve, tol=REFIT_TOLERANCE).theta
        starts = (self.predicted.start(kept), theta)
        here, there = (problem.value(t, problem.features.forward(t)) for t in starts)
        best = starts[0] if here < there else theta
        return fit_head(problem, solve, start=best, tol=REFIT_TOLERANCE).theta
