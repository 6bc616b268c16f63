"""The protocol of proxies, which choose the rows.

A ``Proxy`` has parameters only, as an estimator of scikit-learn does. It reads the caller's rows
and is fitted to some of them. The result, a ``FittedProxy``, has the influence vectors of these
rows and predicts the effect of leaving some out.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

from skprune.utils.documented import Documented

if TYPE_CHECKING:  # torch comes with the first fit
    from torch import Tensor

    from skprune.data.table import Split, Table
    from skprune.data.teaching import Teaching
    from skprune.evaluation.base import Evaluator
    from skprune.evaluation.head_levels import Refit
    from skprune.evaluation.retrained import Seen
    from skprune.heads.encoding import HeadEncoder
    from skprune.influence.leave_out import GroupInfluence
    from skprune.influence.operator import InfluenceOperator
    from skprune.results.bounds import PredictionBounds
    from skprune.search.request import Outcome
    from skprune.subset import Selection
    from skprune.subset.balanced import Balance
    from skprune.utils.progress import Progress


@dataclass(frozen=True)
class Reading:
    """The caller's rows as a proxy reads them.

    Attributes
    ----------
    table : Table
    validation : Table or None
        The rows to measure on, if the caller brought any.
    subject : object
        The model in the proxy's own terms: a ``HeadSpec`` or a ``Network``.
    linear : bool
        Whether the proxy's head is the model itself, so that its gap can be measured on all rows.
    """

    table: Table
    validation: Table | None
    subject: Any
    linear: bool = False


class Proxy(Documented, BaseEstimator, ABC):
    """A pruner's ``model`` together with the parameters that belong to it."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {}

    loss: Any = None
    device: Any = "auto"
    batch_size: int | str = "auto"
    cache_dir: Any = None

    @property
    def given(self) -> Any:
        """The estimator, network or name that was given as the model; None if none was."""
        return None

    def check(self) -> None:
        """Refuse invalid parameters, those of a wrong type as scikit-learn does."""
        self._validate_params()

    def check_task(self, pruner: Any, *, retrained: bool) -> None:
        """Refuse parameters of a pruner that this proxy does not support.

        ``retrained`` says whether a model is trained anew on the kept rows.
        """

    def read(
        self, pruner: Any, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any
    ) -> Reading:
        """Check the caller's rows, and set the attributes of ``pruner`` about their columns."""
        from skprune.heads.reading import read_table, read_validation

        table, spec = read_table(pruner, X, y, sample_weight, self.given)
        validation = None
        if X_val is not None or y_val is not None:
            validation = read_validation(pruner, X_val, y_val, table, spec)
        return Reading(table, validation, spec, spec.own)

    def encoder(self, reading: Reading, seed: int, progress: Progress) -> HeadEncoder:
        """What makes a head's problems of rows; not fitted yet.

        Raises
        ------
        ValueError
            If the proxy has no head.
        """
        raise ValueError(f"{type(self).__name__} has no linear head to score rows by.")

    @abstractmethod
    def fit(
        self, reading: Reading, split: Split, scoring: Any, seed: int, progress: Progress
    ) -> FittedProxy:
        """Fit the proxy to the training rows.

        Parameters
        ----------
        reading : Reading
            The result of ``read``.
        split : Split
        scoring : str or callable
            "loss", or a scorer.
        seed : int
        progress : Progress
        """

    def search(
        self,
        reading: Reading,
        split: Split,
        scoring: Any,
        seed: int,
        progress: Progress,
        find: Callable[[FittedProxy], Outcome],
    ) -> Outcome:
        """Fit the proxy and search with it; parameters are those of ``fit``."""
        return find(self.fit(reading, split, scoring, seed, progress))


class FittedProxy(ABC):
    """A proxy that was fitted to some rows.

    Attributes
    ----------
    table : Table
        The rows.
    influence : InfluenceOperator
        Their influence vectors.
    stratify : bool
        Whether classes keep their shares, because a larger model may be trained on the kept rows.
    keeps_difficulty : bool
        Whether in every class easy and hard rows keep their shares as well.
    least_rows : int
        The fewest rows that determine the proxy.
    gradient_norm : float
        Norm of the mean gradient at the proxy's optimum, which is 0 if that is exact.
    balance : Balance or None
        The quantities that are balanced in place of the influence alone, if the rows are for other
        models as well.
    targets : Teaching or None
        Targets of the rows in place of their labels.
    """

    table: Table
    influence: InfluenceOperator
    stratify: bool = True
    keeps_difficulty: bool = False
    least_rows: int = 1
    gradient_norm: float = 0.0
    balance: Balance | None = None
    targets: Teaching | None = None

    @abstractmethod
    def on(self, table: Table) -> FittedProxy:
        """The proxy of other rows, starting from this one."""

    @abstractmethod
    def describe(self) -> str:
        """A description of the proxy, for the report."""

    def evaluators(self) -> Sequence[Evaluator]:
        """The proxy's own evaluators, from cheap to expensive."""
        return ()

    def weighted(self) -> FittedProxy | None:
        """The same proxy with weights for the rows; None if it gives none."""
        return None

    def taught(self) -> FittedProxy | None:
        """The same proxy with teacher targets for the rows; None if it has no teacher."""
        return None

    def seen(self) -> Seen | None:
        """The correction of the gap of a linear model that is measured on its own rows."""
        return None

    def difficulty(self, name: str) -> NDArray[np.float64]:
        """The difficulty of every row, shape (n,), by the score ``name``: "loss" or "el2n"."""
        raise ValueError(f"{self.describe()} knows no difficulty {name!r} of rows.")

    def logits(self, table: Table) -> Tensor:
        """What the trained network says of rows before any softmax, shape (n, n_outputs)."""
        raise ValueError(f"{self.describe()} has no logits.")

    def scores(self) -> NDArray[np.float64]:
        """Predicted change of the mean held-out loss if one row is removed, shape (n,)."""
        return np.full(len(self.table), np.nan)

    def leave_out(self, removed: NDArray[np.bool_]) -> GroupInfluence:
        """Predicted effect of removing the rows where the mask is True."""
        raise ValueError(f"{self.describe()} does not predict what removing rows does.")

    def on_new(self, table: Table, scoring: Any = None) -> Refit:
        """What fits the proxy's head to some of the rows, and measures it on those of ``table``.

        Parameters
        ----------
        table : Table
            Rows that took part in nothing.
        scoring : str or callable, optional
            Another one than the pruner's.
        """
        raise ValueError(f"{self.describe()} measures no gap itself; give the pruner a verify=.")

    def bounds(self, kept: Selection, rows: Table, *, labelled: bool) -> PredictionBounds:
        """What is sure of what the proxy says of ``rows`` once it is fitted to the kept ones."""
        raise ValueError(
            f"Bounds are of convex heads that are the model, and the rows were chosen by "
            f"{self.describe()}. Fit the pruner with a linear model or LinearProxy() as model=; of "
            "other models verify='certify' tells what is sure on new rows."
        )

    def fit_seconds(self, kept: Selection | None = None) -> float | None:
        """Seconds of a cold fit on all rows, or on ``kept`` ones; None if unknown."""
        return None

    def notes(self) -> tuple[tuple[str, str], ...]:
        """Lines for the report, (name, value)."""
        return ()

    def diagnostics(self) -> tuple[str, ...]:
        """Reasons why numbers of the proxy may be wrong."""
        return ()


def check_curvature(curvature: str, *, head: bool) -> None:
    """Refuse a curvature that does not exist for a head, or for layers."""
    from skprune.curvature import CURVATURES

    known = CURVATURES["head" if head else "layers"]
    if curvature != "auto" and curvature not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(
            f"curvature={curvature!r} is not one of {'a head' if head else 'layers'}; use 'auto', "
            f"{names}{', or layers=' + repr('all') + ' of a TorchProxy' if head else ''}."
        )
