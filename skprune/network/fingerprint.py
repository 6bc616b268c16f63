"""What a network computes, for a digest: by its content, and by a look at what comes out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skprune.data.content import content
from skprune.utils.cache import digest
from skprune.utils.threads import ALONE

#: Rows whose results are part of what is known of a network.
LOOKED_AT = 8


def module_content(
    module: nn.Module, n: int, results: Callable[[NDArray[np.int64]], Tensor]
) -> str:
    """A digest of all that a module's results depend on.

    Its numbers, its code and what that reaches tell it. A look at some results is there for what
    no code tells: compiled functions that remember, files, the environment. It goes to four digits
    only, as other machines differ in the last ones.

    Parameters
    ----------
    module : nn.Module
    n : int
        Rows there are.
    results : callable (positions) -> Tensor of shape (b, D)
        What the module makes of some rows.

    Raises
    ------
    UnknownContentError
        If a part of it does not tell what it holds.
    """
    some = np.unique(np.linspace(0, n - 1, LOOKED_AT).astype(np.int64))
    with ALONE:  # a fit in another thread may have put hooks of its own into it
        found, known = results(some).double().cpu(), content(module)
    sums = found @ torch.linspace(1.0, 2.0, found.shape[1], dtype=torch.float64)
    return digest(known, tuple(f"{number:.3e}" for number in sums.tolist()))
