"""An influence operator for tree models: sums over the leaves of a small forest.

What a tree of given structure learns depends only on the number of rows and the mean target in each
leaf. So kept rows teach it the same as all rows if their (weighted) counts by leaf and by leaf and
class, or their sums of the target by leaf, agree. The forest stands for the trees of later models.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
from numpy.typing import NDArray
from sklearn.ensemble import RandomForestClassifier, RandomForestRegressor

from skprune.influence.operator import SparseInfluence

#: Size of the forest. Gaps of boosting differ little between 20 and 60 trees; 25 and 150 leaves are
#: no better (docs/theory.rst, "Balanced sampling", has the figures).
TREES, LEAVES = 40, 60
#: Bound on the stored numbers, and the fewest trees: many rows get a smaller forest.
HELD_NUMBERS, FEWEST_TREES = 2**25, 5
#: Fewest rows of a leaf: the kept share of fewer rows could not match them.
LEAF_ROWS = 10
#: Most rows that a tree is grown from. With 10,000 instead of 50,000, boosting loses .49 instead of
#: .47 of what random rows lose (10 % kept; adult, bank_full and a drawn table of 42,000 rows).
TREE_ROWS = 20_000
#: Most sums that are balanced. With many classes the rarest pairs of leaf and class are left out,
#: because few kept rows could not match them anyway.
MOST_COLUMNS = 2**14
#: Mean square of a linear head's whitened gradients beside that of the leaves. Between 0 and 1 it
#: makes no difference to boosting; the head gains up to this value, and beyond with many classes.
HEAD_SHARE = 0.3


def grow_forest(
    X: NDArray[np.floating],
    y: NDArray[Any],
    n_classes: int | None,
    *,
    seed: int,
    weights: NDArray[np.float64] | None = None,
) -> Any:
    """The small forest whose leaves are balanced.

    Parameters
    ----------
    X : ndarray of shape (n, d)
        Numbers, NaN where they are missing.
    y : ndarray of shape (n,)
        Codes 0 .. n_classes - 1, or numbers if ``n_classes`` is None.
    n_classes : int or None
    seed : int
    weights : ndarray of shape (n,), optional

    Returns
    -------
    fitted forest
    """
    n = len(X)
    grow = RandomForestRegressor if n_classes is None else RandomForestClassifier
    forest = grow(
        max(FEWEST_TREES, min(TREES, HELD_NUMBERS // (2 * n))),
        max_leaf_nodes=LEAVES,
        min_samples_leaf=LEAF_ROWS,
        max_features="sqrt" if n_classes else 0.5,
        max_samples=min(n, TREE_ROWS),
        random_state=seed % 2**32,
    )
    return forest.fit(_in_float32(X), _scaled(y, n_classes, weights), sample_weight=weights)


def leaf_influence(
    forest: Any,
    X: NDArray[np.floating],
    y: NDArray[Any],
    n_classes: int | None,
    *,
    weights: NDArray[np.float64] | None = None,
) -> SparseInfluence:
    """Indicators of the leaves that rows fall into, and of leaf and class (or leaf times target).

    Columns are divided by the fourth root of their mean square: halfway between counting rows and
    counting each leaf alike.

    Parameters
    ----------
    forest : fitted forest
    X, y, n_classes
        As in ``grow_forest``; the rows need not be those that the forest grew from.
    weights : ndarray of shape (n,), optional
        Weights of the rows in the sums.

    Returns
    -------
    SparseInfluence
        With one row for every row of X.
    """
    n, trees = len(X), len(forest.estimators_)
    w = np.ones(n) if weights is None else weights
    y = _scaled(y, n_classes, weights)
    leaves = forest.apply(_in_float32(X))
    nodes = np.array([tree.tree_.node_count for tree in forest.estimators_])
    leaves = leaves + (np.cumsum(nodes) - nodes)
    # Columns for every node come first, then those for node and class, or node times target.
    cells = leaves if n_classes is None else leaves * n_classes + y[:, None]
    columns = np.hstack([leaves, nodes.sum() + cells])
    second = y * w if n_classes is None else w
    values = np.repeat(np.column_stack([w, second]), trees, axis=1)
    squares = np.bincount(columns.ravel(), np.square(values).ravel()) / n
    kept = np.argsort(-squares, kind="stable")[:MOST_COLUMNS]
    kept = kept[squares[kept] > 0.0]
    scale, place = np.zeros(len(squares)), np.full(len(squares), -1, dtype=np.int32)
    scale[kept], place[kept] = squares[kept] ** -0.25, np.arange(len(kept))
    scaled, placed = (values * scale[columns]).astype(np.float32), place[columns]
    held = placed >= 0
    ends = np.concatenate([[0], np.cumsum(held.sum(axis=1))])
    found = sp.csr_array((scaled[held], placed[held], ends), shape=(n, len(kept)))
    return SparseInfluence(found)


def _in_float32(X: NDArray[np.floating]) -> NDArray[np.floating]:
    """Columns within the range of float32, in which trees work."""
    largest = np.finfo(np.float32).max
    return np.clip(X, -largest, largest)


def _scaled(
    y: NDArray[Any], n_classes: int | None, weights: NDArray[np.float64] | None
) -> NDArray[Any]:
    """Numbers of mean 0 and deviation 1; codes as they are."""
    if n_classes is not None:
        return y
    mean = np.average(y, weights=weights)
    deviation = np.sqrt(np.average((y - mean) ** 2, weights=weights))
    return (y - mean) / (deviation or 1.0)
