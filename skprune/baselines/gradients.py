"""Strategies that match the gradient of all rows or of validation rows."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import Ridge

from skprune.baselines.base import Strategy
from skprune.data.strata import Rows, stratified_quotas
from skprune.utils.sklearn_private import Interval

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


class GradMatch(Strategy):
    """Keep rows whose weighted gradients add up to those of all rows (Killamsetty et al., 2021).

    Orthogonal matching pursuit minimises the squared norm of the difference of the two sums, plus r
    times that of the weights. As in the published variant per class, it is applied to every class
    separately, with the gradients of the last layer with respect to the output of that class.
    Weights are not negative.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    regularization : float, default=0.01
        r, in units of the mean squared norm of the gradients of the class. The published code uses
        0.5 without such a unit. With large values the sums do not match, and the chosen rows, whose
        gradients are large, give a poor model.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Strategy._parameter_constraints,
        "regularization": [Interval(numbers.Real, 0, None, closed="neither")],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        regularization: float = 0.01,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.regularization = regularization

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        minima = evidence.table.minima(self.min_per_class)
        quotas = stratified_quotas(evidence.codes, minima, size)
        chosen = []
        for rows, quota in zip(evidence.class_rows, quotas, strict=True):
            G, total, ridge = self._problem(evidence, rows)
            chosen.append(rows[pursuit(G, total, ridge, int(quota))])
        return np.concatenate(chosen)

    def weigh(self, evidence: Evidence, rows: Rows) -> NDArray[np.float64]:
        weights = np.zeros(len(evidence))
        for members in evidence.class_rows:
            kept = np.isin(members, rows)
            if not kept.any():
                continue
            G, total, ridge = self._problem(evidence, members)
            fit = Ridge(ridge, fit_intercept=False, positive=True, tol=1e-6)
            weights[members[kept]] = fit.fit(G[kept].T, total).coef_
        return weights[rows] * (evidence.table.unit or 1.0)

    def _problem(
        self, evidence: Evidence, rows: Rows
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], float]:
        """The gradients of a class (n_c, D), their sum, and the penalty."""
        E = evidence.errors[rows]
        if E.shape[1] > 1 and evidence.table.classes is not None:
            E = E[:, [evidence.labels[rows[0]]]]
        X = evidence.inputs[rows].astype(np.float64)
        G = (X[:, :, None] * E[:, None, :]).reshape(len(rows), -1)
        ridge = self.regularization * float(np.square(G).sum(1).mean())
        return G, evidence.table.weights[rows] @ G, max(ridge, np.finfo(np.float64).tiny)


def pursuit(G: NDArray[np.float64], total: NDArray[np.float64], ridge: float, most: int) -> Rows:
    """Order rows of G: in each step the row with the largest product with the residual is taken.

    With A = ridge I + sum of g g' over the rows in use, the residual at the optimal weights is
    ridge A^-1 total, so that no system of the size of the subset is solved, and the weight of a row
    is its product with the residual over the ridge. A row whose weight becomes negative is no
    longer in use, because a sum that needs it cannot be reached with weights that are not negative.
    """
    inverse = np.eye(G.shape[1]) / ridge
    taken, used = np.zeros(len(G), dtype=bool), np.zeros(len(G), dtype=bool)
    order = np.empty(most, dtype=np.int64)
    for k in range(most):
        along = G @ (ridge * (inverse @ total))
        while np.any(negative := used & (along < 0)):
            worst = int(np.where(negative, along, 0).argmin())
            used[worst] = False
            step = inverse @ G[worst]
            inverse += np.outer(step, step) / (1 - G[worst] @ step)
            along = G @ (ridge * (inverse @ total))
        order[k] = best = int(np.where(taken, -np.inf, along).argmax())
        taken[best] = used[best] = True
        step = inverse @ G[best]
        inverse -= np.outer(step, step) / (1 + G[best] @ step)
    return order


class Glister(Strategy):
    """Keep rows whose gradient steps lower the loss of held-out rows (Killamsetty et al., 2021).

    To first order, the gain of a row is the product of its gradient with the gradient of the
    validation loss. Rows are taken greedily, a few at a time. The validation gradient of the last
    layer is then updated after a step along the gradients of all rows taken so far.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    learning_rate : float, default=1.0
        Length of the step along the sum of the gradients, as in the published code.
    validation_fraction : float, default=0.2
        Share of the rows, drawn at random, that serve as validation rows. They may be kept too.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Strategy._parameter_constraints,
        "learning_rate": [Interval(numbers.Real, 0, None, closed="neither")],
        "validation_fraction": [Interval(numbers.Real, 0, 1, closed="right")],
    }
    #: Rows taken with one validation gradient, as a share of the rows taken before.
    ROUND = 0.03

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        learning_rate: float = 1.0,
        validation_fraction: float = 0.2,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.learning_rate = learning_rate
        self.validation_fraction = validation_fraction

    def rank(self, evidence: Evidence, rng: np.random.Generator) -> Rows:
        import torch

        X, E, n = evidence.inputs.astype(np.float64), evidence.errors, len(evidence)
        size = max(1, round(self.validation_fraction * n))
        held_out = np.sort(rng.permutation(n)[:size])
        loss, outputs = evidence.problem.loss, evidence.outputs[torch.from_numpy(held_out)]
        targets = evidence.problem.targets[torch.from_numpy(held_out)]
        order, left = np.empty(0, dtype=np.int64), np.arange(n)
        moved = np.zeros((X.shape[1], E.shape[1]))
        while len(left):
            Z = outputs - torch.from_numpy(X[held_out] @ (self.learning_rate * moved))
            pull = X[held_out].T @ loss.residual(Z, targets).cpu().numpy()
            gains = ((X[left] @ pull) * E[left]).sum(1)
            many = max(1, int(self.ROUND * len(order)))
            best = np.argsort(-gains, kind="stable")[:many]
            order = np.append(order, left[best])
            moved += X[left[best]].T @ E[left[best]]
            left = np.delete(left, best)
        return order
