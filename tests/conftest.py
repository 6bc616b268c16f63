"""What holds in every test: one thread a worker, and nothing kept between fits."""

from __future__ import annotations

import os

# A worker a core: threads beside them would only be in each other's way.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

import skprune.proxies.known as known
from skprune.utils.cache import ContentCache


@pytest.fixture
def rng():
    """A generator of this test's own."""
    return np.random.default_rng(20230501)


@pytest.fixture(autouse=True)
def nothing_known(monkeypatch):
    """Every fit searches, so that tests of what two fits find compare two searches."""
    monkeypatch.setattr(known, "OUTCOMES", ContentCache(0))
