"""Strategies by distance to the centre of a class or cluster, and deduplication."""

from __future__ import annotations

import numbers
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans

from skprune.baselines.base import ScoreStrategy, Strategy, ranked
from skprune.data.strata import Rows
from skprune.utils.sklearn_private import Interval, StrOptions

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


#: Number of rows whose similarities are computed at once.
BLOCK = 1024


class ClassCentre(Strategy):
    """Keep rows by the distance of their features to the mean of their class.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    which : {"moderate", "near", "far"}, default="moderate"
        "moderate" keeps the rows whose distances are nearest to the median distance (Xia et al.,
        2023). As in the paper, the centre is the mean of the class; the published code uses the
        median.
    """

    needs_labels = False

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **Strategy._parameter_constraints,
        "which": [StrOptions({"moderate", "near", "far"})],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        which: str = "moderate",
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.which = which

    def rank(self, evidence: Evidence, rng: np.random.Generator) -> Rows:
        features, self.scores_ = evidence.features, np.empty(len(evidence))
        for rows in evidence.class_rows:
            own = features[rows]
            self.scores_[rows] = np.linalg.norm(own - own.mean(0), axis=1)
        if self.which == "moderate":
            return ranked(np.abs(self.scores_ - np.median(self.scores_)), rng)
        return ranked(self.scores_ if self.which == "near" else -self.scores_, rng)


class ClusterStrategy(ScoreStrategy):
    """Base class of strategies that cluster the directions of the features by k-means.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    n_clusters : int, default=None
        None takes the number of classes, or 10 for regression.
    """

    needs_labels = False

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ScoreStrategy._parameter_constraints,
        "n_clusters": [None, Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        n_clusters: int | None = None,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(keep, model=model, min_per_class=min_per_class, random_state=random_state)
        self.n_clusters = n_clusters

    def cluster(self, evidence: Evidence) -> tuple[Rows, NDArray[Any]]:
        """The cluster of every row, and its distance to the centre of it."""
        classes = evidence.table.classes
        wanted = self.n_clusters or (10 if classes is None else len(classes))
        means = KMeans(min(wanted, len(evidence)), n_init=3, random_state=self._draw_seed())
        distances = means.fit_transform(evidence.directions)
        return means.labels_, distances.min(1)


class Prototypes(ClusterStrategy):
    """Keep the rows that are far from the centre of their cluster (Sorscher et al., 2022).

    Labels are not used. The paper takes features of a self-supervised model, and recommends easy
    rows if only few are kept.

    Parameters
    ----------
    keep, n_clusters, model, min_per_class, random_state
        As in ``ClusterStrategy``.
    which : {"hard", "easy"}, default="hard"
        Whether rows far from their centre or near it are kept.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        **ClusterStrategy._parameter_constraints,
        "which": [StrOptions({"hard", "easy"})],
    }

    def __init__(
        self,
        keep: float | int = 0.5,
        *,
        which: str = "hard",
        n_clusters: int | None = None,
        model: Any = None,
        min_per_class: int = 1,
        random_state: Any = None,
    ) -> None:
        super().__init__(
            keep,
            n_clusters=n_clusters,
            model=model,
            min_per_class=min_per_class,
            random_state=random_state,
        )
        self.which = which

    def rank(self, evidence: Evidence, rng: np.random.Generator) -> Rows:
        self.scores_ = self.mean_score(evidence)
        return ranked(-self.scores_ if self.which == "hard" else self.scores_, rng)

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        return self.cluster(evidence)[1].astype(np.float64)


class SemDeDup(ClusterStrategy):
    """Drop near-duplicates, the nearest first (Abbas et al., 2023).

    Within each cluster, rows are visited from the farthest from the centre to the nearest. The
    score of a row is its largest cosine similarity to a row visited before. Keeping the lowest
    scores is dropping the duplicates above the threshold that leaves the wanted number of rows.

    Parameters
    ----------
    keep, n_clusters, model, min_per_class, random_state
        As in ``ClusterStrategy``.
    """

    keeps_lowest: ClassVar[bool] = True

    def score_rows(self, evidence: Evidence) -> NDArray[Any]:
        clusters, distances = self.cluster(evidence)
        directions, score = evidence.directions, np.full(len(evidence), -1.0)
        for c in range(int(clusters.max()) + 1):
            rows = np.flatnonzero(clusters == c)
            rows = rows[np.argsort(-distances[rows], kind="stable")]
            for start in range(0, len(rows), BLOCK):
                some = rows[start : start + BLOCK]
                similar = directions[some] @ directions[rows[: start + len(some)]].T
                later = np.arange(similar.shape[1]) >= start + np.arange(len(some))[:, None]
                similar[later] = -1.0
                score[some] = similar.max(1)
        return score
