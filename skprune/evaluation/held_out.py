"""The gap between two heads, on held-out rows or on the rows that they were fitted on."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from skprune.evaluation.scorers import Scorer
from skprune.evaluation.statistics import (
    jackknife_variance,
    variance_of_mean,
    without_each_group,
)
from skprune.heads.problem import HeadProblem
from skprune.losses.base import HeadLoss
from skprune.results.gap import Gap, Learned

Answer = TypeVar("Answer")


def of_a_constant(score: Callable[[], Answer]) -> Answer | None:
    """The score of a constant prediction; None if the scorer cannot score one.

    Warnings are turned off in all threads, so this is only for short calls of scorers.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about the constant, which the user did not ask for
        try:
            return score()
        except ValueError:
            return None


def growth(loss: HeadLoss, Z_full: Tensor, Z_pruned: Tensor, weights: Tensor) -> float:
    """The share by which a model's outputs grow, along those of the model on all rows.

    A model that is fitted to n rows overfits, so that its parameters are too large: the gradient
    of the population's loss along its own parameters is tr(H^-1 J) / n, with J the second moment of
    the rows' gradients. On the rows themselves that gradient is zero. So a subset that shrinks the
    model (a total penalty weighs more on fewer rows) loses less than these rows show, and one that
    makes it larger loses more, by this share of ``HeldOut.overfit`` = tr(H^-1 J) / n.

    Parameters
    ----------
    loss : HeadLoss
        Its Hessian is the metric.
    Z_full, Z_pruned : Tensor of shape (n, K)
    weights : Tensor of shape (n,)
    """

    def centred(Z: Tensor) -> Tensor:  # the intercept does not count
        return Z - (weights @ Z) / weights.sum()

    z, change = centred(Z_full), centred(Z_pruned - Z_full)
    Hz = loss.hessian_product(loss.mean(Z_full), z) * weights[:, None]
    size = float((Hz * z).sum())
    return float((Hz * change).sum()) / size if size > 0 else 0.0


@dataclass(frozen=True)
class HeldOut:
    """The rows on which heads are compared.

    Parameters
    ----------
    problem : HeadProblem
        The rows, encoded as the training rows are.
    unit : float
        Factor from the head's loss to the reported one.
    scoring : str
        Name of the score.
    scorer : callable or None
        None scores by the loss.
    units : ndarray of shape (n,), int64, optional
        0, 1, 2 ..., equal for copies of a row, which a standard error counts once.
    overfit : float, optional
        tr(H^-1 J) / n of ``growth``, in the reported unit, if the rows are those on which the head
        of all rows was fitted. None if no head was fitted on them.
    """

    problem: HeadProblem
    unit: float
    scoring: str
    scorer: Scorer | None
    units: NDArray[np.int64] | None = None
    overfit: float | None = None

    def outputs(self, theta: Tensor) -> Tensor:
        """The outputs Phi @ theta on the held-out rows."""
        return self.problem.features.forward(theta)

    def losses(self, Z: Tensor) -> Tensor:
        """Reported loss of every held-out row, shape (n,)."""
        return self.unit * self.problem.loss.value(Z, self.problem.targets)

    def gap(self, full: Tensor, pruned: Tensor, level: str) -> Gap:
        """Gap between two heads (D, K), with the standard error of the paired difference."""
        return self._gap(self.outputs(full), self.outputs(pruned), level)

    def learned(self, theta: Tensor, problem: HeadProblem) -> Learned | None:
        """How much better the head ``theta`` is than the mean of the targets it was fitted to.

        It is None if a constant has no score; a correlation, for example, is undefined for one.

        Parameters
        ----------
        theta : Tensor of shape (D, K)
        problem : HeadProblem
            The rows that it was fitted on.
        """
        Z = self.outputs(theta)
        mean = (problem.weights @ problem.targets) / problem.weights.sum()
        constant = problem.loss.link(mean).expand_as(Z)
        if self.scorer is None:
            weights = self.problem.weights
            score = -float(weights @ self.losses(Z)) / float(weights.sum())
            return Learned(score, self._gap(Z, constant, "refit"))
        score = self.scorer(Z)(np.arange(len(Z)))
        gap = of_a_constant(lambda: self._gap(Z, constant, "refit"))
        return None if gap is None or math.isnan(gap) else Learned(score, gap)

    def _gap(self, Z_full: Tensor, Z_pruned: Tensor, level: str) -> Gap:
        if self.scorer is None:
            value, error = self._paired_loss(Z_full, Z_pruned)
            if self.overfit is not None:
                problem = self.problem
                value += self.overfit * growth(problem.loss, Z_full, Z_pruned, problem.weights)
        else:
            value, error = self._jackknife(self.scorer, Z_full, Z_pruned)
        held_out = self.overfit is None
        return Gap(value, error, level, self.scoring, len(self.problem), held_out)

    def gradient(self, theta: Tensor) -> Tensor:
        """Gradient (D, K) of the mean reported loss at theta."""
        problem = self.problem
        E = problem.loss.residual(self.outputs(theta), problem.targets) * problem.weights[:, None]
        return problem.features.adjoint(E) * (self.unit / float(problem.weights.sum()))

    def _paired_loss(self, Z_full: Tensor, Z_pruned: Tensor) -> tuple[float, float]:
        weights = self.problem.weights
        total = float(weights.sum())
        difference = self.losses(Z_pruned) - self.losses(Z_full)
        mean = float(weights @ difference) / total
        values, counts = (v.double().cpu().numpy() for v in (difference, weights))
        return mean, math.sqrt(variance_of_mean(values, counts, self.units)[0])

    def _jackknife(self, scorer: Scorer, Z_full: Tensor, Z_pruned: Tensor) -> tuple[float, float]:
        full, pruned = scorer(Z_full), scorer(Z_pruned)

        def difference(rows: NDArray[np.int64]) -> float:
            return full(rows) - pruned(rows)

        rows = np.arange(len(Z_full))
        value = difference(rows)
        parts = without_each_group(difference, rows if self.units is None else self.units)
        return value, math.sqrt(jackknife_variance(parts)[0])
