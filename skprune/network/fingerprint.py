"""A digest of a network, made of its content and of some of its results."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skprune.data.content import content
from skprune.utils.cache import digest
from skprune.utils.threads import ALONE

#: Number of rows whose results are part of the digest.
LOOKED_AT = 8


def module_content(
    module: nn.Module, n: int, results: Callable[[NDArray[np.int64]], Tensor]
) -> str:
    """A digest of all that a module's results depend on.

    It covers the module's numbers and code, and everything that the code uses. Some results are
    part of it as well, because they may depend on more: compiled functions with a state, files,
    the environment. They are rounded to four digits, as machines differ in the last ones.

    Parameters
    ----------
    module : nn.Module
    n : int
        Number of rows.
    results : callable (positions) -> Tensor of shape (b, D)
        Results of the module for some rows.

    Raises
    ------
    UnknownContentError
        If the content of a part of it cannot be known.
    """
    some = np.unique(np.linspace(0, n - 1, LOOKED_AT).astype(np.int64))
    with ALONE:  # a fit in another thread may have put hooks of its own into it
        found, known = results(some).double().cpu(), content(module)
    sums = found @ torch.linspace(1.0, 2.0, found.shape[1], dtype=torch.float64)
    return digest(known, tuple(f"{number:.3e}" for number in sums.tolist()))
