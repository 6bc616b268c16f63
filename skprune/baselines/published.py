"""Dataset pruning as Yang et al. (2023) published it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from skprune.baselines.base import Strategy
from skprune.data.strata import Rows
from skprune.utils.sklearn_private import StrOptions

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


#: Vectors are stored up to this many numbers, and otherwise recomputed in every product.
STORED_NUMBERS = 2**25


class DatasetPruning(Strategy):
    """Drop rows whose influence vectors nearly cancel, as published (Yang et al., 2023).

    For a fixed number of rows, the norm of the sum of H^-1 g over the dropped rows is minimised. As
    in the published code, g are loss gradients of the last layer, without a penalty, and the norm
    is that of the parameters. ``InfluencePruner`` is the successor of this method.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    solver : {"anneal", "relax"}, default="anneal"
        The paper names simulated annealing. The authors' code solves a convex relaxation and rounds
        its solution, which is not unique; here the rounded solution is improved by exchanges.

    Notes
    -----
    The published code estimates H^-1 g by a stochastic recursion (LiSSA) and flips its sign if the
    recursion stops early. Here the Hessian of the head is used, exactly if that is affordable.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Strategy._parameter_constraints,
        "solver": [StrOptions({"anneal", "relax"})],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        solver: str = "anneal",
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.solver = solver

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        import torch

        from skprune.baselines.parameters import ParameterInfluence
        from skprune.influence.gradients import GradientInfluence
        from skprune.influence.operator import DenseInfluence, InfluenceOperator
        from skprune.subset import select_rows

        vectors = ParameterInfluence(GradientInfluence(evidence.influence.curvature))
        every = torch.arange(len(evidence))
        operator: InfluenceOperator = vectors
        if len(evidence) * vectors.dim <= STORED_NUMBERS:
            operator = DenseInfluence(vectors.rows(every))
        # With this offset, the solver minimises the sum over the dropped rows.
        operator.offset = -operator.sum(every)
        minima, groups = evidence.table.minima(self.min_per_class), evidence.codes
        solver = self.solver
        found = select_rows(operator, size, solver=solver, groups=groups, minima=minima, rng=rng)
        return found.indices
