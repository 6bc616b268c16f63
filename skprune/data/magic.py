"""A real table that travels with the package: the MAGIC gamma telescope data.

19,020 simulated events of an atmospheric Cherenkov telescope, ten numbers that describe the image
of each, and whether a gamma ray (signal) or a hadron (background) made it.

R. Bock (2004), MAGIC Gamma Telescope, UCI Machine Learning Repository,
https://doi.org/10.24432/C52C8B, licensed under CC BY 4.0
(https://creativecommons.org/licenses/by/4.0/). Changed: stored as whole numbers of
1/10,000, the precision of the original, and the classes' letters written out.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray


def load_magic() -> tuple[NDArray[np.float64], NDArray[np.str_]]:
    """Columns and classes of the MAGIC gamma telescope table.

    Returns
    -------
    X : ndarray of shape (19020, 10)
    y : ndarray of shape (19020,)
        "gamma" or "hadron".

    Examples
    --------
    >>> from skprune.data.magic import load_magic
    >>> X, y = load_magic()
    >>> X.shape, [str(label) for label in set(y[:100])]
    ((19020, 10), ['gamma'])
    """
    with np.load(Path(__file__).with_suffix(".npz")) as stored:
        columns = {name: stored[name] for name in stored.files}
    hadron = columns.pop("hadron")
    return np.column_stack(list(columns.values())) / 1e4, np.where(hadron, "hadron", "gamma")
