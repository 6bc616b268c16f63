"""``solve_subset`` and ``solve_path``: the subset problem as a function of its vectors."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike
from torch import Tensor

from skprune.influence.operator import InfluenceOperator
from skprune.subset.bound import fewest_rows_bound, least_norm_bound, rounding
from skprune.subset.exact import enumerable
from skprune.subset.monitor import Callback, Monitor
from skprune.subset.most import fewest_rows
from skprune.subset.perturb import perturb
from skprune.subset.problem import Problem, read_problem, whole
from skprune.subset.result import SubsetResult, relative_gap
from skprune.subset.select import SOLVERS, select_rows
from skprune.subset.state import Selection

#: Rows a dimension up to which the relaxation finds a better start than a draw.
CROWDED = 4
#: Numbers in S up to which a search starts twice: from any rows, and from short ones.
TWO_STARTS = 2**22
#: Norm, in row norms, at which a search has nothing left to do.
BALANCED = 1e-9
#: Gap at which a result is called optimal, and distance from the bound in row norms.
OPTIMAL, NEAR = 1e-6, 1e-5
PROVEN = "optimal: proven"


def solve_subset(
    S: ArrayLike | Tensor | InfluenceOperator,
    *,
    size: int | None = None,
    max_norm: float | None = None,
    max_removed: int | None = None,
    solver: str = "auto",
    offset: ArrayLike | Tensor | None = None,
    prior: ArrayLike | None = None,
    start: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    min_per_group: int = 1,
    random_state: int | np.random.RandomState | None = None,
    time_limit: float | None = None,
    callback: Callback | None = None,
) -> SubsetResult:
    r"""Keep rows whose vectors nearly cancel: least norm at a size, or fewest rows at a norm.

    With r(K) = offset + sum of s_i over the kept rows K, either

    - ``size=m``: minimise \|r(K)\| over subsets of m rows (cardinality-guaranteed), or
    - ``max_norm=eps``: minimise the number of rows with \|r(K)\| <= eps, that is, remove as many
      as possible (generalisation-guaranteed).

    Without an ``offset``, r(K) is minus the sum of the *removed* vectors: removing nothing has
    norm 0.

    Parameters
    ----------
    S : array-like, scipy sparse matrix or Tensor of shape (n, d), or InfluenceOperator
        One vector a row. float32 and float64 are used as they are, on their device; a read-only
        memory map is not copied, and of a sparse matrix only a few rows at a time become dense. An
        operator brings its own offset.
    size : int, optional
        Rows to *keep*, from 0 to n.
    max_norm : float, optional
        Largest norm allowed, up to rounding. Exactly one of ``size`` and ``max_norm`` has to be
        given.
    max_removed : int, optional
        With ``max_norm``: how many rows may go. The vectors of influence sum to zero, so that
        removing all rows has norm 0 and would be the answer to any ``max_norm``; yet no model
        is left. The default keeps at least as many rows as there are dimensions, at most half
        of the rows: below that, the kept rows do not determine the model and a first-order
        norm says nothing.
    solver : {"auto", "swap", "relax", "anneal", "balance", "exact"}, default="auto"
        "auto" is "exact" for up to 26 rows (fewer in many groups), "relax" for up to 4 rows a
        dimension, else "swap". With ``max_norm`` only "auto", "swap" and "exact".
    offset : array-like of shape (d,), optional
        Constant part of the sum over the kept rows, such as the gradient of a penalty. The
        default is minus the sum of all rows; for the plain sum of the kept rows pass zeros.
    prior : array-like of shape (n,), optional
        Non-negative odds of a row to be in the subset that the search starts from. Without
        it and ``start`` rows are drawn alike; small problems with ``size`` are also searched
        from short rows (in proportion to 1 / \|s_i|) and the better subset is returned. **To
        choose training rows give a prior** (of ones, say): the norm alone favours rows of
        little influence, which say little about the model.
    start : array-like of int, optional
        Row numbers of a subset, of any size, to start from.
    groups : array-like of shape (n,), optional
        Group (such as the class) of every row.
    min_per_group : int, default=1
        With ``groups``: rows of each group to keep, or all that it has.
    random_state : int, RandomState or None, default=None
        As scikit-learn's; a numpy ``Generator`` is not taken.
    time_limit : float, optional
        Seconds. "swap" and "relax" use what is left after they have converged for kicks and new
        searches from there; "anneal" cools over it; "balance" and "exact" stop early if they
        have to. A tenth more may go into the lower bound.
    callback : callable, optional
        ``callback(iteration, norm, seconds)``; a true answer ends the search. The norm is NaN
        while the bound of the form with ``max_norm`` is sought.

    Returns
    -------
    SubsetResult
        Indices kept, norm, lower bound, optimality gap, status, iterations and seconds.

    Raises
    ------
    ValueError
        If the vectors are not a finite (n, d) matrix, sizes or minima do not fit, or not
        exactly one of ``size`` and ``max_norm`` is given.

    See Also
    --------
    solve_path : Subsets of several sizes inside one another.

    Examples
    --------
    >>> import numpy as np
    >>> from skprune.subset import solve_subset
    >>> S = np.random.default_rng(0).normal(size=(1000, 5))
    >>> found = solve_subset(S - S.mean(0), size=100, random_state=0)
    >>> len(found.indices), bool(found.norm < 1.0)
    (100, True)
    >>> S = np.array([[3.0], [1.0], [2.0], [-3.0], [-2.0], [-1.0]])
    >>> solve_subset(S, size=2, random_state=0).status
    'optimal: proven'
    """
    monitor = Monitor(time_limit, callback)
    problem = read_problem(S, offset, prior, start, groups, min_per_group, random_state)
    if (size is None) == (max_norm is None):
        raise ValueError(
            f"Exactly one of size and max_norm has to be given; got size={size!r} and "
            f"max_norm={max_norm!r}."
        )
    _check_solver(solver, ("auto", *SOLVERS))
    if size is not None:
        if max_removed is not None:
            raise ValueError("max_removed limits the form with max_norm; size= is the size.")
        return _least_norm(problem, problem.check_size(size), solver, monitor, problem)
    _check_solver(solver, ("auto", "swap", "exact"), "With max_norm, ")
    if not isinstance(max_norm, (int, float, np.number)) or not 0 <= max_norm < math.inf:
        raise ValueError(f"max_norm must be a finite number of at least 0; got {max_norm!r}.")
    n = len(problem)
    fewest = min(problem.operator.dim, -(-n // 2))
    if max_removed is not None:
        fewest = n - whole("max_removed", max_removed, 0, n)
    fewest = max(fewest, int(problem.minima.sum()))
    return _fewest_rows(problem, float(max_norm), fewest, solver, monitor)


def solve_path(
    S: ArrayLike | Tensor | InfluenceOperator,
    sizes: Sequence[int],
    *,
    solver: str = "auto",
    offset: ArrayLike | Tensor | None = None,
    prior: ArrayLike | None = None,
    start: ArrayLike | None = None,
    groups: ArrayLike | None = None,
    min_per_group: int = 1,
    random_state: int | np.random.RandomState | None = None,
    time_limit: float | None = None,
    callback: Callback | None = None,
) -> list[SubsetResult]:
    """Subsets of several sizes, each within the next larger one, all of small norm.

    The largest size is solved first and every smaller one within it: what fixed-sequence
    testing and a late choice of the budget need. Nesting costs a little of the norm.

    Parameters
    ----------
    S : array-like, scipy sparse matrix or Tensor of shape (n, d), or InfluenceOperator
    sizes : sequence of int
        Rows to keep, all different, in any order.
    solver, offset, prior, start, groups, min_per_group, random_state, callback
        As in ``solve_subset``.
    time_limit : float, optional
        Seconds for each size.

    Returns
    -------
    list of SubsetResult
        In the order of ``sizes``; ``indices`` are row numbers of ``S``, and bounds hold among
        all subsets of that size, nested or not.

    Raises
    ------
    ValueError
        As ``solve_subset``, and if a size comes twice.
    """
    Monitor(time_limit)  # to refuse a bad limit before any work
    problem = read_problem(S, offset, prior, start, groups, min_per_group, random_state)
    _check_solver(solver, ("auto", *SOLVERS))
    wanted = [problem.check_size(size) for size in np.atleast_1d(np.asarray(sizes, dtype=object))]
    if len(set(wanted)) < len(wanted):
        raise ValueError(f"sizes must differ from one another; got {wanted}.")
    within = np.arange(len(problem))
    found: dict[int, SubsetResult] = {}
    for size in sorted(wanted, reverse=True):
        inside = problem.within(within) if found else problem
        clock = Monitor(time_limit, callback)
        result = _least_norm(inside, size, solver, clock, problem)
        within = within[result.indices]
        found[size] = replace(result, indices=within)
    return [found[size] for size in wanted]


def _check_solver(solver: str, known: tuple[str, ...], when: str = "") -> None:
    if solver not in known:
        raise ValueError(f"{when}solver must be one of {known}; got {solver!r}.")


def _least_norm(
    problem: Problem, size: int, solver: str, monitor: Monitor, everything: Problem
) -> SubsetResult:
    """The form with a size; bounds hold for ``everything``, which ``problem`` is a part of."""
    operator, groups, minima = problem.operator, problem.groups, problem.minima
    if solver == "auto":
        crowded = operator.n_rows <= CROWDED * operator.dim
        solver = "exact" if enumerable(groups, minima) else "relax" if crowded else "swap"
    priors, enough = [problem.prior], BALANCED * operator.typical_norm()
    free = problem.prior is None and problem.start is None
    if free and solver in ("swap", "relax") and operator.n_rows * operator.dim <= TWO_STARTS:
        # Single exchanges cannot take out long rows that cancel one another; they had better
        # be left out from the beginning.
        squares = operator.squared_norms().double().cpu().numpy()
        priors.append(1.0 / np.sqrt(squares + (1e-3 * squares.mean() or 1.0)))
    selections = [
        select_rows(
            operator,
            size,
            solver=solver,
            groups=groups,
            minima=minima,
            rng=problem.rng,
            prior=prior,
            start=problem.start,
            target=enough,
            monitor=monitor,
        )
        for prior in priors
    ]
    selection = min(selections, key=lambda found: found.norm)
    if selection.bound is not None and everything is problem:
        bound, final = selection.bound, True
    else:
        bound, final = least_norm_bound(
            everything.operator, size, everything.groups, minima, monitor, selection.norm
        )
    if solver in ("swap", "relax") and monitor.time_limit is not None:
        enough = max(enough, bound * (1 + OPTIMAL))
        selection = perturb(
            operator, selection, groups, minima, target=enough, monitor=monitor, rng=problem.rng
        )
    gap, words = _quality(operator, selection, bound, final)
    if everything is not problem:
        words = f"nested in {len(problem)} rows; {words}"
    return _result(selection, min(bound, selection.norm), gap, words, monitor)


def _quality(
    operator: InfluenceOperator, found: Selection, bound: float, final: bool
) -> tuple[float, str]:
    """Optimality gap, and words; where the bound says nothing, units to judge the norm by."""
    norm, row = found.norm, operator.typical_norm()
    gap = relative_gap(norm, bound)
    if gap <= OPTIMAL or norm - bound <= rounding(operator, found.indices):
        return 0.0, PROVEN
    if norm - bound <= NEAR * row:
        return gap, f"optimal up to {NEAR:g} row norms"
    if bound > 0:
        return gap, f"within {norm / bound - 1:.2%} of the lower bound"
    floor = 0.5 * math.sqrt(operator.dim / (2 * math.log(max(2, operator.n_rows))))
    why = "fractional rows would cancel, so the lower bound is 0"
    if not final:
        why = "no lower bound was found in time"
    return gap, (
        f"not proven optimal: {why}; the norm is {norm / row:.3g} row norms (one-swap search ends "
        f"near {floor:.2g} for isotropic rows in many dimensions)"
    )


def _result(
    found: Selection, bound: float, gap: float, words: str, monitor: Monitor
) -> SubsetResult:
    if monitor.reason and gap > 0:
        words = f"stopped by {monitor.reason}; {words}"
    return SubsetResult(
        found.indices, found.norm, bound, gap, words, monitor.iterations, monitor.seconds
    )


def _fewest_rows(
    problem: Problem, max_norm: float, fewest: int, solver: str, monitor: Monitor
) -> SubsetResult:
    """The form with a norm."""
    n, operator = len(problem), problem.operator
    if solver == "exact" or (solver == "auto" and enumerable(problem.groups, problem.minima)):
        best, bound = _fewest_exactly(problem, max_norm, fewest, monitor)
    else:
        bound, weights = fewest_rows_bound(
            operator, max_norm, fewest, problem.groups, problem.minima, monitor
        )
        best = None
        if bound <= n:
            best = fewest_rows(problem, max_norm, bound, weights, monitor)
    if best is None:
        every = np.arange(n)
        norm = float(operator.residual(every).norm())
        proof = "none exists" if bound > n else "none was found"
        status = f"no subset within max_norm={max_norm:g}: {proof}; all rows are kept"
        nothing = Selection(every, norm, norm, monitor.iterations)
        return _result(nothing, bound, 1.0, status, monitor)
    m = len(best.indices)
    words = PROVEN if m <= bound else f"within {m / max(1, bound) - 1:.2%} of the bound of {bound}"
    return _result(best, bound, relative_gap(m, bound), words, monitor)


def _fewest_exactly(
    problem: Problem, max_norm: float, fewest: int, monitor: Monitor
) -> tuple[Selection | None, int]:
    """Sizes from the smallest up, each solved to optimality; the bound grows as long as it is."""
    bound, proven = fewest, True
    for size in range(fewest, len(problem) + 1):
        found = select_rows(
            problem.operator,
            size,
            solver="exact",
            groups=problem.groups,
            minima=problem.minima,
            monitor=monitor,
            rng=problem.rng,
        )
        if found.norm <= max_norm + rounding(problem.operator, found.indices):
            return found, bound
        proven = proven and found.bound is not None and found.bound > max_norm
        bound = size + 1 if proven else bound
    return None, bound
