"""Dataset pruning as Yang et al. (2023) published it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import StrOptions

from skprune.baselines.base import Strategy
from skprune.data.strata import Rows

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


#: Vectors are stored up to this many numbers, and else made whenever they are multiplied with.
STORED_NUMBERS = 2**25


class DatasetPruning(Strategy):
    """Drop rows whose influence vectors nearly cancel, as published (Yang et al., 2023).

    The plain sum of H^-1 g over a set of rows is made short in the norm of the parameters: of the
    last layer, with neither penalty nor classes in it, under a fixed number of rows. That is what
    ``InfluencePruner`` grew out of.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    solver : {"anneal", "relax"}, default="anneal"
        The paper speaks of simulated annealing. The authors' code solves a convex relaxation, whose
        optimum is not unique and is read off as it comes; here its rounding is improved by
        exchanges.

    Notes
    -----
    The published estimate of H^-1 g is a stochastic recursion (LiSSA), whose published code
    changes sign where it stops early. Here H is that of the head, exact where that is affordable.
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
        # The sum over all rows beside that over the kept ones: the sum over the dropped ones.
        operator.offset = -operator.sum(every)
        minima, groups = evidence.table.minima(self.min_per_class), evidence.codes
        solver = self.solver
        found = select_rows(operator, size, solver=solver, groups=groups, minima=minima, rng=rng)
        return found.indices
