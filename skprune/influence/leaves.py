"""What trees make of the rows: sums over the leaves of a small forest, as an influence operator.

A tree of given structure is told all it learns by the number and the mean target of the rows in
each leaf. Kept rows whose (weighted) counts by leaf and by leaf and class, or whose sums of the
target by leaf, are those of all rows teach it the same; a forest stands for the trees to come.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from skprune.influence.operator import SparseInfluence

#: The forest. What boosting loses on the rows differs little between 20 trees and 60; 25 leaves and
#: 150 are no better (docs/theory.rst, "Balanced sampling", has the figures).
TREES, LEAVES = 40, 60
#: Numbers held at most: of very many rows a smaller forest is grown.
HELD_NUMBERS, FEWEST_TREES = 2**25, 5
#: Rows of a leaf at least: fewer cannot be matched by a share of them.
LEAF_ROWS = 10
#: Rows that a tree is grown from at most.
TREE_ROWS = 50_000
#: Sums that are balanced at most: of many classes the rarest pairs of leaf and class, which few
#: kept rows cannot match anyway, are left out.
MOST_COLUMNS = 2**14
#: How much a linear head's whitened gradients count beside the leaves, in mean squares. Between 0
#: and 1 boosting does not notice; the head gains up to here, and further with many classes.
HEAD_SHARE = 0.3


def leaf_influence(
    X: NDArray[np.floating],
    y: NDArray[Any],
    n_classes: int | None,
    *,
    seed: int,
    weights: NDArray[np.float64] | None = None,
) -> SparseInfluence:
    """Indicators of the leaves that rows fall into, and of leaf and class (or leaf times target).

    Columns are divided by the fourth root of their mean square: halfway between counting rows and
    counting each leaf alike.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Numbers, NaN where they are missing.
    y : ndarray of shape (n,)
        Codes 0 .. n_classes - 1, or numbers if ``n_classes`` is None.
    n_classes : int or None
    seed : int
    weights : ndarray of shape (n,), optional
        Factors of the rows, in the forest and in the sums.

    Returns
    -------
    SparseInfluence
        With one row for every row of X.
    """
    n = len(X)
    w = np.ones(n) if weights is None else weights
    grow = RandomForestRegressor if n_classes is None else RandomForestClassifier
    trees = max(FEWEST_TREES, min(TREES, HELD_NUMBERS // (2 * n)))
    forest = grow(
        trees,
        max_leaf_nodes=LEAVES,
        min_samples_leaf=LEAF_ROWS,
        max_features="sqrt" if n_classes else 0.5,
        max_samples=min(n, TREE_ROWS),
        random_state=seed % 2**32,
    )
    # Trees work in float32.
    largest = np.finfo(np.float32).max
    X = np.clip(X, -largest, largest)
    if n_classes is None:
        mean = np.average(y, weights=w)
        deviation = np.sqrt(np.average((y - mean) ** 2, weights=w))
        y = (y - mean) / (deviation or 1.0)
    leaves = forest.fit(X, y, sample_weight=w).apply(X)
    nodes = np.array([tree.tree_.node_count for tree in forest.estimators_])
    leaves = leaves + (np.cumsum(nodes) - nodes)
    # Behind a column for every node one for every node and class, or node times target.
    cells = leaves if n_classes is None else leaves * n_classes + y[:, None]
    columns = np.hstack([leaves, nodes.sum() + cells])
    second = y * w if n_classes is None else w
    values = np.repeat(np.column_stack([w, second]), trees, axis=1)
    squares = np.bincount(columns.ravel(), np.square(values).ravel()) / n
    kept = np.argsort(-squares, kind="stable")[:MOST_COLUMNS]
    kept = kept[squares[kept] > 0.0]
    scale = np.zeros(len(squares))
    scale[kept] = squares[kept] ** -0.25
    scaled = (values * scale[columns]).astype(np.float32)
    ends = np.arange(0, columns.size + 1, columns.shape[1])
    every = sp.csr_array((scaled.ravel(), columns.ravel(), ends), shape=(n, len(squares)))
    return SparseInfluence(every[:, kept])
