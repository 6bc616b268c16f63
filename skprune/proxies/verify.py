"""How gaps are verified: what makes the evaluator that is believed most."""

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
    """What an evaluator is made for.

    Attributes
    ----------
    proxy : Proxy
        The pruner's model.
    train, held_out : Data
        Rows as the user has them: those that may be kept, and those to measure on.
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


class Verify(BaseEstimator, ABC):
    """How gaps are measured beyond what the proxy itself says: a value of ``verify``."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {}

    @property
    def trained(self) -> Any:
        """The model that is trained, if it is another one than the pruner's; None otherwise."""
        return None

    def check(self) -> None:
        """Refuse parameters of a wrong kind, in scikit-learn's words."""
        self._validate_params()

    @abstractmethod
    def evaluator(self, task: Task, seen: Seen | None = None) -> Evaluator:
        """What measures the gap of some of ``task.train`` on ``task.held_out``.

        Parameters
        ----------
        task : Task
        seen : Seen, optional
            Given if the two are the same rows, for linear models: what corrects the gap for that.
        """


class Retrain(Verify):
    """Measure gaps by training a model anew on the kept rows: a value of ``verify``.

    Parameters
    ----------
    estimator : estimator, skorch net, callable or TorchProxy, default=None
        What is trained; None is the pruner's ``model``. A callable is
        ``train(dataset, seed) -> nn.Module``; the loss that it trains with is told by
        ``TorchProxy(train, loss=...)``.
    n_seeds : int, default=3
        Trainings of every set of rows, if the model's result depends on its seed.

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
        # A head tells where to look; without it the search has to be kept short.
        most = MOST if isinstance(task.proxy, BalancedProxy) else math.inf
        return Retrained(retraining, type(model).__name__, most, task.searched)

    def _training(self, task: Task) -> tuple[Any, dict[str, Any]]:
        """What is trained, and how it is trained and scored."""
        from skprune.network.torch_model import as_members

        model = as_members(task.proxy.given)[0] if self.trained is None else self.trained
        # Only a proxy of a network tells how another network is scored.
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
    """Certify the gap: with high confidence it is within the budget, or all rows are kept.

    The size is searched as by ``Retrain``, on a part of the rows. What is handed out is certified
    on another part that took part in nothing: ``X_val`` and ``y_val``, or as many rows as
    ``validation_fraction`` says, of which none is kept. From mild to severe a few sizes are
    tested, up to the one that was found; the smallest whose gap, and that of all milder ones, is
    certified is handed out.

    Parameters
    ----------
    estimator : estimator, skorch net, callable or TorchProxy, default=None
        What is trained; None is the pruner's ``model``, or the head that chooses the rows.
    confidence : float in (0, 1), default=0.95
        Chance that nothing is certified that is not so, over draws of the rows that took part in
        nothing.
    n_seeds : int, default=1
        Pairs of trainings, on all rows and on the kept ones, of whose mean losses the statement is.

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
        """What certifies the gap of some of ``task.train`` on ``task.held_out``."""
        from skprune.evaluation.certified import make_certifier

        model, options = self._training(task)
        about = (task.train, task.held_out, task.scoring, self.confidence)
        return make_certifier(model, *about, **options)


class DefaultBoosting(Retrain):
    """A gradient boosting of the table as the proxy sees it, for rows that any model may get.

    Parameters
    ----------
    estimator : HistGradientBoostingClassifier or HistGradientBoostingRegressor
    """

    def __init__(self, estimator: Any) -> None:
        super().__init__(estimator, n_seeds=1)
