"""Whether the kept rows still do as well as all of them, on rows that came later."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from skprune.data.table import set_aside
from skprune.evaluation.certified import CertifiedGap, Certifier
from skprune.network.torch_model import is_network
from skprune.proxies.driver import as_data, candidates_for_copies, seed_of
from skprune.proxies.shorthands import as_proxy, as_verify
from skprune.proxies.verify import Certify, Retrain, Task
from skprune.results.gap import Gap
from skprune.results.recheck import Recheck
from skprune.subset import Selection
from skprune.utils.progress import Progress


def recheck(pruner: Any, given: tuple[Any, Any, Any], X: Any, y: Any, certify: bool) -> Recheck:
    """Measure the gap of what a fitted pruner kept on new rows.

    Parameters
    ----------
    pruner : InfluencePruner
    given : tuple
        X, y and sample_weight of its ``fit``.
    X, y
        The new rows.
    certify : bool
        Whether a certificate is wanted.
    """
