"""Strategies that cover the rows: farthest first, facility location, graph cut, CRAIG."""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from skprune.baselines.base import GroupStrategy, Strategy
from skprune.data.strata import Rows
from skprune.utils.chunks import row_chunks

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence

#: A class with more rows is split at random into parts, which bounds the matrices of pairs.
PART = 4096


class KCenter(Strategy):
    """Keep rows so that no row is far from all kept ones (Sener and Savarese, 2018).

    Starting with a random row, the row that is farthest from all rows taken before is taken next.
    Classes are ignored.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    needs_labels = False

    def choose(self, evidence: Evidence, size: int, rng: np.random.Generator) -> Rows:
        features = evidence.features
        squares = np.einsum("ij,ij->i", features, features)
        nearest = np.full(len(features), np.inf)
        order = np.empty(size, dtype=np.int64)
        order[0] = rng.integers(len(features))
        for k in range(1, size):
            last = order[k - 1]
            distances = squares + squares[last] - 2 * features @ features[last]
            nearest = np.minimum(nearest, distances)
            nearest[last] = -np.inf
            order[k] = nearest.argmax()
        self.ranking_ = order
        return order


class PartStrategy(GroupStrategy):
    """Base class of strategies that use all pairs of rows of a class, or of its random parts."""

    def groups(self, evidence: Evidence, rng: np.random.Generator) -> list[Rows]:
        parts = []
        for rows in evidence.class_rows:
            rows = rng.permutation(rows) if len(rows) > PART else rows
            parts += np.array_split(rows, -(-len(rows) // PART))
        return parts


class FacilityLocation(PartStrategy):
    """Keep rows of every class such that every row is similar to a kept one.

    The sum over all rows of the similarity to the most similar kept row is maximised by a lazy
    greedy search, which reaches at least 1 - 1/e of the maximum (Minoux, 1978). The similarity of
    two rows is the largest distance in the class minus their distance.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    needs_labels = False

    def order(self, evidence: Evidence, rows: Rows, most: int, rng: np.random.Generator) -> Rows:
        return facility_location(similarities(distances_of(evidence.features[rows])), most)


class GraphCut(PartStrategy):
    """Keep rows of every class that are similar to all rows and dissimilar to each other.

    The similarity of the kept rows to all rows, minus half of that among themselves, is maximised
    by a greedy search (Iyer and Bilmes, 2013).

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    needs_labels = False

    def order(self, evidence: Evidence, rows: Rows, most: int, rng: np.random.Generator) -> Rows:
        return graph_cut(similarities(distances_of(evidence.features[rows])), most)


class CRAIG(PartStrategy):
    """Keep weighted medoids of the gradients (Mirzasoleiman et al., 2020).

    Medoids of every class are found by facility location on the gradients of the last layer. The
    weight of a medoid is the weight of the rows of its class that are nearest to it.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def order(self, evidence: Evidence, rows: Rows, most: int, rng: np.random.Generator) -> Rows:
        return facility_location(similarities(gradient_distances(evidence, rows, rows)), most)

    def weigh(self, evidence: Evidence, rows: Rows) -> NDArray[np.float64]:
        totals = np.zeros(len(evidence))
        own = evidence.table.weights * (evidence.table.unit or 1.0)
        for members in evidence.class_rows:
            medoids = np.intersect1d(rows, members)
            for part in row_chunks(len(members), len(medoids)) if len(medoids) else ():
                some = members[part]
                nearest = gradient_distances(evidence, some, medoids).argmin(1)
                np.add.at(totals, medoids[nearest], own[some])
        return totals[rows]


def distances_of(rows: NDArray[Any]) -> NDArray[Any]:
    """Euclidean distances of all pairs of rows."""
    return _distances(rows @ rows.T)


def gradient_distances(evidence: Evidence, some: Rows, others: Rows) -> NDArray[Any]:
    """Distances (len(some), len(others)) of the gradients of the last layer.

    A gradient is the outer product of inputs and errors, so that none has to be stored.
    """
    X, E = evidence.inputs, evidence.errors
    products = (X[some] @ X[others].T) * (E[some] @ E[others].T)
    norms = np.einsum("ij,ij->i", X, X) * np.einsum("ij,ij->i", E, E)
    return np.sqrt(np.maximum(norms[some, None] + norms[others] - 2 * products, 0))


def _distances(products: NDArray[Any]) -> NDArray[Any]:
    squares = np.diagonal(products)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * products, 0))


def similarities(distances: NDArray[Any]) -> NDArray[Any]:
    """The largest distance minus each distance."""
    return distances.max() - distances


def facility_location(S: NDArray[Any], most: int) -> Rows:
    """The first ``most`` rows of a similarity matrix (n, n) in greedy order.

    Gains never increase, so that a row whose updated gain is still the largest is the best one.
    """
    best = np.zeros(len(S), dtype=S.dtype)
    heap = [(-gain, j) for j, gain in enumerate(S.sum(1).tolist())]
    heapq.heapify(heap)
    order: list[int] = []
    while len(order) < most:
        _, j = heapq.heappop(heap)
        gain = float(np.maximum(S[j] - best, 0).sum())
        if heap and -gain > heap[0][0]:
            heapq.heappush(heap, (-gain, j))
            continue
        order.append(j)
        np.maximum(best, S[j], out=best)
    return np.array(order, dtype=np.int64)


def graph_cut(S: NDArray[Any], most: int) -> Rows:
    """Order rows greedily by sum_ij S_ij over all i and kept j, minus half of it over kept i, j."""
    gains = S.sum(1) - 0.5 * np.diagonal(S)
    order = np.empty(most, dtype=np.int64)
    for k in range(most):
        order[k] = best = int(gains.argmax())
        gains -= S[best]
        gains[best] = -np.inf
    return order
