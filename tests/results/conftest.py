"""What tests of pictures share."""

from __future__ import annotations

import pytest


@pytest.fixture
def no_windows():
    """Figures are drawn without a screen, and closed after the test."""
    import matplotlib.pyplot as plt

    plt.switch_backend("agg")
    yield
    plt.close("all")
