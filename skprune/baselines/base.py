"""The protocol of strategies: rank the rows, or choose some, from shared evidence."""

from __future__ import annotations

import math
import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state

from skprune.base import BasePruner
from skprune.baselines.answers import checked_numbers, checked_order
from skprune.data.containers import n_rows
from skprune.data.strata import Rows
from skprune.proxies.memory import says_what_fits
from skprune.proxies.shorthands import unwrapped
from skprune.utils.size import KEEP_CONSTRAINTS, resolve_size
from skprune.utils.sklearn_private import Interval

if TYPE_CHECKING:  # torch comes with the first fit
    from skprune.baselines.evidence import Evidence


class Strategy(BasePruner):
    """Base class of published ways to choose rows.

    A subclass writes one method: ``rank(evidence, rng)`` if one order of the rows serves every
    size, else ``choose(evidence, size, rng)``. A strategy that gives weights to the kept rows also
    writes ``weigh(evidence, rows)``.

    Parameters
    ----------
    keep : float in (0, 1] or int, default=0.5
        Share or number of rows to keep.
    model : see InfluencePruner, default=None
        The model whose features, predictions and gradients are used. None is a linear head on
        standardised columns; of a torch network, the last layer and its inputs are used. Scores of
        a list of networks are means over them; strategies that have no scores take one network.
    min_per_class : int, default=1
        Rows that every class keeps at least.
    random_state : int, RandomState instance or None, default=None

    Attributes
    ----------
    ranking_ : ndarray of shape (n_rows,) or less, int64
        The rows, best first, if one order serves every size up to its length.
    scores_ : ndarray of shape (n_rows,)
        The score of every row, if the strategy has one.
    sample_indices_ : ndarray of shape (n_kept,), int64
    sample_weight_ : ndarray of shape (n_kept,) or None
        What every kept row counts for, if the strategy says so.
    keep_mask_ : ndarray of shape (n_rows,), bool
    n_features_in_ : int
        Number of columns, if the rows have columns.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "keep": KEEP_CONSTRAINTS,
        "model": "no_validation",
        "min_per_class": [Interval(numbers.Integral, 0, None, closed="left")],
        "random_state": ["random_state"],
    }
    #: Whether the strategy uses more of the rows than their number and their targets.
    looks_at_rows: ClassVar[bool] = True
    #: Whether the strategy uses labels. One that does not is fitted without, by ``fit(X)``.
    needs_labels: ClassVar[bool] = True

    ranking_: Rows
    scores_: NDArray[np.float64]

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        self.keep = keep
        self.model = model
        self.min_per_class = min_per_class
        self.random_state = random_state

    def rank(self, evidence: Evidence, rng: np.random.Generator) -> Rows:
        """Rank all rows, best first; smaller subsets are then nested in larger ones.

        Parameters
        ----------
        evidence : Evidence
            Features, predictions and more of the rows.
        rng : numpy.random.Generator

        Returns
        -------
        ndarray of shape (n,), int64
            Positions of the rows, each once.
        """
        raise NotImplementedError(f"{type(self).__name__} writes neither rank nor choose.")

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        """Choose the positions of ``size`` different rows or more, best first.

        The first ``size`` of them are kept, after ``min_per_class`` rows of every class.
        """
        n = len(evidence)
        self.ranking_ = checked_order(self.rank(evidence, rng), n, n, self._method("rank"))
        return self.ranking_

    def weigh(self, evidence: Evidence, rows: Rows) -> NDArray[np.float64] | None:
        """Weights of the kept ``rows``, which are sorted, or None to leave weights unchanged.

        Weights include the sample weights that were given to ``fit``.
        """
        return None

    @says_what_fits
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Strategy:
        """Choose the rows to keep.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix or tensor with n rows
            With a torch network as ``model`` also a dataset, or whatever the network takes.
        y : array-like of shape (n,)
            Not needed with a dataset that holds its targets, nor by strategies that look at
            features alone: to choose which rows to label, leave it out.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows in the objective of the head.

        Returns
        -------
        Strategy
            self
        """
        from skprune.baselines.evidence import read_evidence
        from skprune.data.sources import is_dataset

        self._validate_params()
        seed, target = self._draw_seed(), y
        if y is None and not self.needs_labels and not is_dataset(X):
            if self.model is not None:
                raise ValueError(
                    f"{type(self).__name__} was given a model and no y, from which the model's "
                    "features are read. To choose which rows to label, leave model=None and give "
                    "the features as X, such as the embeddings of a trained network."
                )
            target = np.arange(n_rows(X)) + 0.5  # numbers, so that all rows are one group
        evidence = read_evidence(
            self, X, target, sample_weight, self.model, look=self.looks_at_rows, seed=seed
        )
        self.fit_evidence(evidence)
        self._given = (X, y, sample_weight)
        return self

    def fit_evidence(self, evidence: Evidence, ranking: Rows | None = None) -> Strategy:
        """Choose the rows to keep from evidence that was read before.

        Several strategies may share one evidence, so that nothing is computed twice.

        Parameters
        ----------
        evidence : Evidence
        ranking : ndarray of int64, optional
            The ``ranking_`` of an earlier fit that kept at least as many rows.

        Returns
        -------
        Strategy
            self
        """
        from skprune.subset.start import largest_subset

        self._validate_params()
        n = len(evidence)
        minima = evidence.table.minima(self.min_per_class)
        size = resolve_size(self.keep, n, minima)
        if ranking is None:
            order = self.choose(evidence, size, np.random.default_rng(self._draw_seed()))
        else:
            self.ranking_ = order = ranking
        source = "choose" if ranking is None else "ranking_"
        order = checked_order(order, n, size, self._method(source))
        places = np.full(n, n)
        places[order] = np.arange(len(order))
        places[evidence.table.weights == 0] += n  # rows without weight come last
        kept = largest_subset(-places, size, evidence.codes, minima)
        weights = self.weigh(evidence, kept)
        if weights is not None:
            weights = checked_numbers(weights, size, self._method("weigh"))
        self._keep(kept, n, weights)
        return self

    def _method(self, name: str) -> str:
        return f"{type(self).__name__}.{name}"

    def _draw_seed(self) -> int:
        return int(check_random_state(self.random_state).randint(2**31))

    def _check_features(self, X: Any) -> None:
        if not self.looks_at_rows:
            super()._check_features(X)
            return
        from skprune.heads.reading import check_features
        from skprune.network.torch_model import is_network

        model = unwrapped(self.model)
        if not is_network(model):  # its rows are images, token ids ... as often as columns
            check_features(self, X, model)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.non_deterministic = self.random_state is None
        tags.target_tags.required = self.needs_labels
        if not self.looks_at_rows:
            tags.no_validation = tags.input_tags.allow_nan = True
        return tags


class ScoreStrategy(Strategy):
    """Base class of strategies that keep the rows of highest (or lowest) score.

    Ties are broken at random.
    A subclass writes ``score_rows(evidence)``.
    """

    #: Whether the rows of lowest score are kept.
    keeps_lowest: ClassVar[bool] = False

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        """The score of every row, shape (n,)."""
        raise NotImplementedError(f"{type(self).__name__} writes no score_rows.")

    def mean_score(self, evidence: Evidence) -> NDArray[np.float64]:
        """The mean of ``score_rows`` over the networks of a list, shape (n,)."""
        n, method = len(evidence), self._method("score_rows")
        scores = [checked_numbers(self.score_rows(e), n, method) for e in evidence.members]
        return np.asarray(np.mean(scores, axis=0))

    def rank(self, evidence: Evidence, rng: np.random.Generator) -> Rows:
        self.scores_ = self.mean_score(evidence)
        return ranked(self.scores_ if self.keeps_lowest else -self.scores_, rng)


class GroupStrategy(Strategy):
    """Base class of strategies that rank the rows of every class separately.

    Classes keep their proportions. A subclass writes ``order(evidence, rows, most, rng)``.
    """

    def order(self, evidence: Evidence, rows: Rows, most: int, rng: np.random.Generator) -> Rows:
        """Rank the best ``most`` of ``rows``, all of one class, as positions within ``rows``."""
        raise NotImplementedError(f"{type(self).__name__} writes no order.")

    def groups(self, evidence: Evidence, rng: np.random.Generator) -> list[Rows]:
        """The rows of every group."""
        return evidence.class_rows

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        share = size / len(evidence)
        orders, places = [], []
        for rows in self.groups(evidence, rng):
            most = min(len(rows), max(math.ceil(share * len(rows)) + 1, self.min_per_class))
            first = self.order(evidence, rows, most, rng)
            order = rows[checked_order(first, len(rows), most, self._method("order"))]
            orders.append(order)
            places.append((np.arange(len(order)) + 0.5) / len(rows))
        # Every beginning of this order holds every group in proportion.
        turn = np.argsort(np.concatenate(places), kind="stable")
        self.ranking_ = np.concatenate(orders)[turn]
        return self.ranking_


def ranked(costs: NDArray[Any], rng: np.random.Generator) -> Rows:
    """Rank rows from the lowest cost up, with ties broken at random."""
    return np.lexsort((rng.random(len(costs)), costs)).astype(np.int64)
