"""Seeds for trainings, which leave the global random generators as they were."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from skprune.utils.threads import ALONE


def child_seeds(seed: int, count: int) -> list[int]:
    """Seeds of ``count`` trainings, below 2**31; the first ones do not depend on ``count``."""
    return [
        int(np.random.SeedSequence([seed % 2**32, s]).generate_state(1)[0] >> 1)
        for s in range(count)
    ]


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed the global generators of Python, numpy and torch, and restore them afterwards.

    A user's training then gives the same model for equal seeds, whichever generator it uses. The
    generators belong to the process, so other threads wait until they are restored.
    """
    # The devices are named because torch warns of forking all of several unasked.
    devices = range(torch.cuda.device_count()) if torch.cuda.is_available() else ()
    with ALONE, torch.random.fork_rng(devices):
        python, numpy = random.getstate(), np.random.get_state()  # noqa: NPY002 - put back below
        try:
            random.seed(seed)
            np.random.seed(seed % 2**32)  # noqa: NPY002 - user code may draw from it
            torch.manual_seed(seed)
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)  # noqa: NPY002 - as it was


def set_random_states(estimator: Any, seed: int, *, unset: bool = False) -> None:
    """Give every ``random_state`` of an estimator, nested ones as well, a seed of its own.

    With ``unset=True`` only those that are None are set, so that what the user has fixed stays. A
    string, such as the "deprecated" of an old parameter, is no seed and is never replaced.
    """
    names = [
        name
        for name, value in sorted(estimator.get_params(deep=True).items())
        if (name == "random_state" or name.endswith("__random_state"))
        and not isinstance(value, str)
        and not (unset and value is not None)
    ]
    if names:
        seeds = child_seeds(seed, len(names))
        estimator.set_params(**dict(zip(names, seeds, strict=True)))
