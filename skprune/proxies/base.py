"""The protocol of a proxy: what chooses the rows.

A ``Proxy`` holds parameters only, as an estimator of scikit-learn does. It reads the caller's rows
and is fitted to some of them; what comes of that, a ``FittedProxy``, knows how the rows pull at the
model, and says what leaving some out does.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

if TYPE_CHECKING:  # torch comes with the first fit
    from skprune.data.table import Split, Table
    from skprune.data.teaching import Teaching
    from skprune.evaluation.base import Evaluator
    from skprune.evaluation.retrained import Seen
    from skprune.heads.encoding import HeadEncoder
    from skprune.influence.leave_out import GroupInfluence
    from skprune.influence.operator import InfluenceOperator
    from skprune.search.request import Outcome
    from skprune.subset import Selection
    from skprune.subset.balanced import Balance
    from skprune.utils.progress import Progress


@dataclass(frozen=True)
class Reading:
    """The caller's rows, as a proxy reads them.

    Attributes
    ----------
    table : Table
    validation : Table or None
        Rows to measure on, if the caller brought any.
    subject : object
        What the model was read as: ``HeadSpec``, ``Network``.
    linear : bool
        Whether the proxy's head is the model's own, so that the excess loss on all rows tells the
        model's gap.
    """

    table: Table
    validation: Table | None
    subject: Any
    linear: bool = False


class Proxy(BaseEstimator, ABC):
    """What a pruner's ``model`` is, with the parameters that belong to it."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {}

    loss: Any = None
    device: Any = "auto"
    batch_size: int | str = "auto"
    cache_dir: Any = None

    @property
    def given(self) -> Any:
        """The estimator, network or name that stands for the model; None if there is none."""
        return None

    def check(self) -> None:
        """Refuse parameters that make no sense, of a wrong kind in scikit-learn's words."""
        self._validate_params()

    def check_task(self, pruner: Any) -> None:
        """Refuse what a pruner asks and this proxy cannot know."""

    def read(
        self, pruner: Any, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any
    ) -> Reading:
        """Check the caller's rows, and set what ``pruner`` knows of their columns."""
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
            What ``read`` gave.
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
    """What a proxy knows of some rows.

    Attributes
    ----------
    table : Table
        The rows.
    influence : InfluenceOperator
        Their influence vectors.
    stratify : bool
        Whether classes keep their shares, because more than the proxy may be trained on what is
        kept.
    least_rows : int
        Fewer rows do not determine the proxy.
    gradient_norm : float
        Mean gradient norm where the proxy was fitted: how well "optimum" is meant.
    balance : Balance or None
        What is balanced instead of the influence alone, if the rows are for other models.
    targets : Teaching or None
        What the rows carry in place of their labels.
    """

    table: Table
    influence: InfluenceOperator
    stratify: bool = True
    least_rows: int = 1
    gradient_norm: float = 0.0
    balance: Balance | None = None
    targets: Teaching | None = None

    @abstractmethod
    def on(self, table: Table) -> FittedProxy:
        """The proxy of other rows, starting from this one."""

    @abstractmethod
    def describe(self) -> str:
        """What chose the rows, for the report."""

    def evaluators(self) -> Sequence[Evaluator]:
        """The levels that the proxy itself offers, cheap to dear."""
        return ()

    def weighted(self) -> FittedProxy | None:
        """The same proxy, which gives rows weights; None if it cannot."""
        return None

    def taught(self) -> FittedProxy | None:
        """The same proxy, whose rows carry a teacher's targets; None if it has no teacher."""
        return None

    def seen(self) -> Seen | None:
        """What corrects the gap of a linear model that is measured on its own rows."""
        return None

    def difficulty(self, name: str) -> NDArray[np.float64]:
        """How hard every row is, shape (n,), by the score of that name: "loss" or "el2n"."""
        raise ValueError(f"{self.describe()} knows no difficulty {name!r} of rows.")

    def scores(self) -> NDArray[np.float64]:
        """Predicted change of the mean held-out loss if one row is removed, shape (n,)."""
        return np.full(len(self.table), np.nan)

    def leave_out(self, removed: NDArray[np.bool_]) -> GroupInfluence:
        """Predicted effect of removing the rows where the mask is True."""
        raise ValueError(f"{self.describe()} does not predict what removing rows does.")

    def on_new(self, table: Table) -> Evaluator:
        """What measures gaps of the rows on those of ``table``, which came later."""
        raise ValueError(f"{self.describe()} measures no gap itself; give the pruner a verify=.")

    def fit_seconds(self, kept: Selection | None = None) -> float | None:
        """Seconds of a cold fit on all rows, or on kept ones, if that is known."""
        return None

    def notes(self) -> tuple[tuple[str, str], ...]:
        """Lines of the report, (name, value)."""
        return ()

    def diagnostics(self) -> tuple[str, ...]:
        """Why numbers that the proxy gives may not be believed."""
        return ()
