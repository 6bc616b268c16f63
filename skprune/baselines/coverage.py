"""Rows that cover all others: farthest first, facility location, graph cuts, weighted medoids."""

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

#: A class of more rows is cut into parts at random, so that no matrix of pairs is larger.
PART = 4096


class KCenter(Strategy):
    """Keep rows so that the farthest other row is near one of them (Sener and Savarese, 2018).

    Beginning with a random row, the row is taken that is farthest from all rows taken before.
    Classes are not looked at.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

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
    """A strategy that looks at all pairs of rows of a class, of large ones of a random part."""

    def groups(self, evidence: Evidence, rng: np.random.Generator) -> list[Rows]:
        parts = []
        for rows in evidence.class_rows:
            rows = rng.permutation(rows) if len(rows) > PART else rows
            parts += np.array_split(rows, -(-len(rows) // PART))
        return parts


class FacilityLocation(PartStrategy):
    """Keep rows of every class that every other row is similar to one of.

    The sum over all rows of the similarity to the most similar kept row is made large, by a lazy
    greedy search, whose result is at least 1 - 1/e of the best (Minoux, 1978). Similarity is the
    largest distance in the class less the distance of the two.

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def order(self, evidence: Evidence, rows: Rows, most: int, rng: np.random.Generator) -> Rows:
        return facility_location(similarities(distances_of(evidence.features[rows])), most)


class GraphCut(PartStrategy):
    """Keep rows of every class that are similar to all rows, and not to one another.

    The similarity of the kept rows to all rows, less half of that among themselves, is made large
    by a greedy search (Iyer and Bilmes, 2013).

    Parameters
    ----------
    keep, model, min_per_class, random_state
        As in ``Strategy``.
    """

    def order(self, evidence: Evidence, rows: Rows, most: int, rng: np.random.Generator) -> Rows:
        return graph_cut(similarities(distances_of(evidence.features[rows])), most)


class CRAIG(PartStrategy):
    """Keep rows whose gradients stand for those of the others, with weights (Mirzasoleiman, 2020).

    Medoids of the gradients of every class by facility location; each counts for the rows that it
    is nearest to. Gradients are those of the last layer.

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

    That of a row is the outer product of its inputs and errors, so that no gradient is made.
    """
    X, E = evidence.inputs, evidence.errors
    products = (X[some] @ X[others].T) * (E[some] @ E[others].T)
    norms = np.einsum("ij,ij->i", X, X) * np.einsum("ij,ij->i", E, E)
    return np.sqrt(np.maximum(norms[some, None] + norms[others] - 2 * products, 0))


def _distances(products: NDArray[Any]) -> NDArray[Any]:
    squares = np.diagonal(products)
    return np.sqrt(np.maximum(squares[:, None] + squares - 2 * products, 0))


def similarities(distances: NDArray[Any]) -> NDArray[Any]:
    """The largest distance less each distance."""
    return distances.max() - distances


def facility_location(S: NDArray[Any], most: int) -> Rows:
    """The lazy greedy order of the rows of a similarity matrix (n, n), the first ``most``.

    Gains only become smaller, so that a row whose gain is still the largest once it is computed
    anew is the best one.
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
    """The greedy order of sum_ij S_ij over all i and kept j, less half of it over kept i and j."""
    gains = S.sum(1) - 0.5 * np.diagonal(S)
    order = np.empty(most, dtype=np.int64)
    for k in range(most):
        order[k] = best = int(gains.argmax())
        gains -= S[best]
        gains[best] = -np.inf
    return order
