"""An order of rows in which every batch is like all of them."""

from __future__ import annotations

import numpy as np

from skprune.data.strata import Rows
from skprune.torch.base import Numbers


def order_for_batches(
    groups: Rows, losses: Numbers, batch_size: int, rng: np.random.Generator
) -> Rows:
    """Order rows so that consecutive batches have the same groups and the same losses.

    Rows are sorted by group and, within it, by loss. As many neighbours as there are full batches
    go one into each, by lot. A last batch that is not full takes rows at equal distances first.
    Every row has the same chance to be in any place of the order.

    Parameters
    ----------
    groups, losses : ndarray of shape (m,)
    batch_size : int
    rng : numpy.random.Generator

    Returns
    -------
    ndarray of shape (m,), int64
        A permutation of 0 .. m - 1.
    """
    m = len(groups)
    # Every other group is sorted downwards, so that neighbours across groups are alike in loss.
    loss = np.where(np.unique(groups, return_inverse=True)[1] % 2, -losses, losses)
    line = np.lexsort((rng.random(m), loss, groups)).astype(np.int64)
    full, left = divmod(m, batch_size)
    last = np.zeros(m, dtype=bool)
    last[((np.arange(left) + rng.random()) * m / max(left, 1)).astype(np.int64)] = True
    batches = rng.permuted(line[~last].reshape(batch_size, full), axis=1).T
    return np.concatenate([*rng.permuted(batches, axis=1), rng.permutation(line[last])])
