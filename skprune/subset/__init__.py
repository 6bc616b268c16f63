"""Which rows to keep: the subset problem, its bounds and its solvers, one file each.

A solver knows nothing but an ``InfluenceOperator``: it looks for a subset whose influence
vectors nearly cancel.
"""

from __future__ import annotations

from skprune.data.strata import Rows
from skprune.subset.result import SubsetResult
from skprune.subset.select import SOLVERS, select_rows
from skprune.subset.solve import solve_path, solve_subset
from skprune.subset.state import Selection

__all__ = [
    "SOLVERS",
    "Rows",
    "Selection",
    "SubsetResult",
    "select_rows",
    "solve_path",
    "solve_subset",
]
