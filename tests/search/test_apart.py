"""What was found is measured on rows that had no part in the search."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from skprune.data.table import Table
from skprune.results.gap import Gap
from skprune.search.apart import _stand_themselves
from skprune.search.request import Budget
from skprune.subset import Selection


class Judge:
    """Finds a gap of one tenth with a standard error, and notes the rows."""

    def __init__(self, error, affordable=True):
        self.error, self.affordable = error, affordable
        self.level, self.name, self.searched = "retrained", "it", None
        self.trainings_a_set, self.draws = 1, 1

    def affords(self, size):
        return self.affordable

    def gap(self, kept, limit=None):
        self.seen = kept.indices
        return Gap(0.1, self.error, "retrained", "loss", 50)


@pytest.mark.parametrize(
    ("error", "affordable", "stands"), [(0.01, True, False), (0.2, True, True), (0.01, False, True)]
)
def test_rows_on_which_the_model_fails_are_not_handed_out(error, affordable, stands):
    judge = Judge(error, affordable)
    zeros = np.zeros(10, dtype=np.int64)
    table = Table(np.zeros((10, 1)), zeros, zeros, None, np.ones(10))
    rest = table.take(np.array([0, 2, 4, 6, 8, 9]))
    apart = SimpleNamespace(dearest=judge, proxy=SimpleNamespace(table=rest))
    everything = SimpleNamespace(proxy=SimpleNamespace(table=table))
    final = SimpleNamespace(size=4, selection=Selection(np.array([1, 2, 4, 9])))
    assert _stand_themselves(final, apart, everything, Budget(0.02, None, None)) is stands
    if affordable:
        np.testing.assert_array_equal(judge.seen, [1, 2, 5])  # those that are not held out
