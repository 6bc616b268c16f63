"""The values of ``verify``, which make the most trusted evaluator of gaps."""

from __future__ import annotations

import math
import numbers
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from sklearn.base import BaseEstimator

from skprune.proxies.base import Proxy
from skprune.proxies.linear import BalancedProxy
from skprune.utils.documented import Documented
from skprune.utils.sklearn_private import Interval

if TYPE_CHECKING:
    from skprune.data.table import Table
    from skprune.evaluation.base import Evaluator
    from skprune.evaluation.certified import Certifier
    from skprune.evaluation.retrained import Data, Seen
    from skprune.proxies.base import FittedProxy
    from skprune.subset import Rows
    from skprune.utils.progress import Progress


@dataclass(frozen=True)
class Task:
    """The model and rows for which an evaluator is made.

    Attributes
    ----------
    proxy : Proxy
        The pruner's model.
    train, held_out : Data
        The rows that may be kept, and those to measure on, in the user's own containers.
    scoring : str or callable
    seed : int
    progress : Progress
    searched : Evaluator or None
        By which the size was chosen, if what is asked for is to measure on other rows.
    """

    proxy: Proxy
    train: Data
    held_out: Data
    scoring: Any
    seed: int
    progress: Progress
    searched: Evaluator | None = None


class Verify(Documented, BaseEstimator, ABC):
    """A way to measure gaps beyond the proxy's own levels: a value of ``verify``."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {}

    @property
    def trained(self) -> Any:
        """The model that is trained, if it is another one than the pruner's; None otherwise."""
        return None

    def check(self) -> None:
        """Refuse parameters of a wrong type, as scikit-learn does."""
        self._validate_params()

    @abstractmethod
    def evaluator(self, task: Task, seen: Seen | None = None) -> Evaluator:
        """The evaluator of rows of ``task.train`` that measures on ``task.held_out``.

        Parameters
        ----------
        task : Task
        seen : Seen, optional
            The correction of the gap for linear models, if the two are the same rows.
        """


class Retrain(Verify):
    """Measure gaps by training a model anew on the kept rows: a value of ``verify``.

    Parameters
    ----------
    estimator : estimator, skorch net, callable or TorchProxy, default=None
        The model to train; None is the pruner's ``model``. A callable is
        ``train(dataset, seed) -> nn.Module``; use ``TorchProxy(train, loss=...)`` to give its loss.
    n_seeds : int, default=3
        Number of trainings on every set of rows, if the model depends on its seed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from skprune import InfluencePruner, Retrain
    >>> verify = Retrain(RandomForestClassifier(10), n_seeds=2)
    >>> pruner = InfluencePruner(keep=0.5, scoring="accuracy", verify=verify)
    >>> pruner.fit(*load_iris(return_X_y=True)).gap_.level
    'retrained'
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": "no_validation",
        "n_seeds": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(self, estimator: Any = None, *, n_seeds: int = 3) -> None:
        self.estimator = estimator
        self.n_seeds = n_seeds

    @property
    def trained(self) -> Any:
        return self.estimator.given if isinstance(self.estimator, Proxy) else self.estimator

    def evaluator(self, task: Task, seen: Seen | None = None) -> Evaluator:
        from skprune.evaluation.retrained import make_retraining
        from skprune.evaluation.retrained.level import MOST, Retrained
        from skprune.evaluation.retrained.measures import name_of

        model, options = self._training(task)
        retraining = make_retraining(
            model,
            task.train,
            task.held_out,
            scoring=task.scoring,
            on_trial=task.progress.tried,
            seen=seen,
            **options,
        )
        # A head says where to search; without one the search must be short.
        most = MOST if isinstance(task.proxy, BalancedProxy) else math.inf
        return Retrained(retraining, name_of(model), most, task.searched)

    def _training(self, task: Task) -> tuple[Any, dict[str, Any]]:
        """The model to train, and options of its training and scoring."""
        from skprune.network.torch_model import as_members

        model = as_members(task.proxy.given)[0] if self.trained is None else self.trained
        # Only a proxy of a network says how another network is scored.
        judged = self.estimator if isinstance(self.estimator, Proxy) else task.proxy
        return model, {
            "loss": judged.loss,
            "n_seeds": self.n_seeds,
            "seed": task.seed,
            "device": judged.device,
            "batch_size": judged.batch_size,
            "on_training": lambda training: task.progress.step(),
        }


class Certify(Retrain):
    """Certify that the gap is within the budget with high confidence; else keep all rows.

    The size is searched as by ``Retrain``, on a part of the rows. The result is then certified on
    other rows, which were used for nothing else: ``X_val`` and ``y_val``, or a share
    ``validation_fraction`` of the rows, of which none is kept. A few sizes are tested in
    decreasing order down to the one that was found. The smallest one is kept that is certified
    together with all larger ones.

    Parameters
    ----------
    estimator : estimator, skorch net, callable or TorchProxy, default=None
        What is trained; None is the pruner's ``model``, or the head that chooses the rows.
    confidence : float in (0, 1), default=0.95
        Least probability, over draws of the certifying rows, that no false statement is certified.
    n_seeds : int, default=1
        Number of pairs of trainings, on all rows and on the kept ones, over which losses are
        averaged.

    Notes
    -----
    The statement is about the trained models in hand: a network that is trained again, with another
    seed or on other rows, is another model. Where the pruner's ``model`` is none that can be
    trained, the head that chooses the rows is refitted (of a trained network, its last layer), and
    with ``model=None`` and a budget the head and a gradient boosting are both certified.

    For ``scoring="loss"`` the loss of a row is cut off where the report says, because without a
    bound nothing is sure of a mean. So it is for the scorers of scikit-learn that are means over
    rows: "accuracy", "neg_log_loss", "neg_brier_score", and of numbers the absolute, squared,
    logarithmic and percentage errors and the Poisson and gamma deviances. Of others there is a
    bootstrap interval instead, whose ``gap_.level`` is "interval".

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skprune import Certify, InfluencePruner
    >>> X, y = make_classification(6000, random_state=0)
    >>> pruner = InfluencePruner(
    ...     max_gap=0.02, model=LogisticRegression(), scoring="accuracy", verify=Certify()
    ... )
    >>> gap = pruner.fit(X[:4000], y[:4000], X_val=X[4000:], y_val=y[4000:]).gap_
    >>> gap.level, gap.upper_bound <= 0.02
    ('certified', True)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Retrain._parameter_constraints,
        "confidence": [Interval(numbers.Real, 0, 1, closed="neither")],
    }

    def __init__(
        self, estimator: Any = None, *, confidence: float = 0.95, n_seeds: int = 1
    ) -> None:
        super().__init__(estimator, n_seeds=n_seeds)
        self.confidence = confidence

    def training(self, judge: Retrain) -> Certify:
        """The same certificate, of what ``judge`` trains."""
        return Certify(judge.estimator, confidence=self.confidence, n_seeds=judge.n_seeds)

    def of_head(
        self, fitted: FittedProxy, rows: Table, scoring: Any, seed: int, units: Rows | None = None
    ) -> Certifier:
        """What certifies the gap of the proxy's own head.

        Parameters
        ----------
        fitted : FittedProxy
            Of the rows that may be kept.
        rows : Table
            Took part in nothing.
        scoring : str or callable
        seed : int
        units : ndarray, optional
            0, 1, 2 ..., equal for ``rows`` that count as one, if not only copies do.
        """
        from skprune.evaluation.certified import make_head_certifier

        refit = partial(fitted.on_new, rows)
        return make_head_certifier(refit, fitted.table.y, scoring, self.confidence, seed, units)

    def certifier(self, task: Task) -> Certifier:
        """The certifier of gaps of rows of ``task.train``, measured on ``task.held_out``."""
        from skprune.evaluation.certified import make_certifier

        model, options = self._training(task)
        about = (task.train, task.held_out, task.scoring, self.confidence)
        return make_certifier(model, *about, **options)


class DefaultBoosting(Retrain):
    """Retrain a gradient boosting on the encoded table, for rows that are for any model.

    Parameters
    ----------
    estimator : HistGradientBoostingClassifier or HistGradientBoostingRegressor
    """

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator, n_seeds=1)
