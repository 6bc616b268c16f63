"""``solve_subset`` and ``solve_path``: the subset problem as a function of its vectors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_random_state
from torch import Tensor

from skprune.influence import DenseInfluence, InfluenceOperator, RestrictedInfluence
from skprune.subset.bound import fewest_rows_bound, least_norm_bound
from skprune.subset.exact import ENUMERABLE
from skprune.subset.monitor import Callback, Monitor
from skprune.subset.most import fewest_rows
from skprune.subset.result import SubsetResult, relative_gap
from skprune.subset.select import SOLVERS, select_rows
from skprune.subset.start import Rows, group_minima
from skprune.subset.state import Selection

#: Rows a dimension up to which the relaxation finds a better start than a draw.
CROWDED = 4
#: Gap at which a result is called optimal.
OPTIMAL = 1e-6
#: The same relative to the sum of all rows' norms: what rounding may leave of an exact balance.
ROUNDING = 1e-12


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
    S : array-like or Tensor of shape (n, d), or InfluenceOperator
        One vector a row. float32 and float64 are used as they are, on their device; a read-only
        memory map is not copied. An operator brings its own offset.
    size : int, optional
        Rows to *keep*, from 0 to n.
    max_norm : float, optional
        Largest norm allowed. Exactly one of ``size`` and ``max_norm`` has to be given.
    max_removed : int, optional
        With ``max_norm``: how many rows may go. The vectors of influence sum to zero, so that
        removing all rows has norm 0 and would be the answer to any ``max_norm``; yet no model
        is left. The default keeps at least as many rows as there are dimensions, at most half
        of the rows: below that, the kept rows do not determine the model and a first-order
        norm says nothing.
    solver : {"auto", "swap", "relax", "anneal", "balance", "exact"}, default="auto"
        "auto" is "exact" for up to 26 rows in at most 4 groups, "relax" for up to 4 rows a
        dimension, else "swap". With ``max_norm`` only "auto", "swap" and "exact".
    offset : array-like of shape (d,), optional
        Constant part of the sum over the kept rows, such as the gradient of a penalty.
    prior : array-like of shape (n,), optional
        Non-negative odds of a row to be in the subset that the search starts from.
    start : array-like of int, optional
        Row numbers of a subset, of any size, to start from.
    groups : array-like of shape (n,), optional
        Group (such as the class) of every row.
    min_per_group : int, default=1
        With ``groups``: rows of each group to keep, or all that it has.
    random_state : int, RandomState or None, default=None
    time_limit : float, optional
        Seconds. "swap" uses what is left of it after it has converged for random restarts near
        the best subset; "anneal" cools over it; all others stop early if they have to.
    callback : callable, optional
        ``callback(iteration, norm, seconds)``; a true answer ends the search.

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
    operator = as_operator(S, offset)
    n = operator.n_rows
    codes, minima = _groups(groups, min_per_group, n)
    if (size is None) == (max_norm is None):
        raise ValueError(
            f"Exactly one of size and max_norm has to be given; got size={size!r} and "
            f"max_norm={max_norm!r}."
        )
    if solver not in ("auto", *SOLVERS):
        raise ValueError(f"solver must be one of {('auto', *SOLVERS)}; got {solver!r}.")
    options = {
        "prior": _prior(prior, n),
        "warm": _start(start, n),
        "rng": np.random.default_rng(check_random_state(random_state).randint(2**31 - 1)),
    }
    if size is not None:
        if max_removed is not None:
            raise ValueError("max_removed limits the form with max_norm; size= is the size.")
        _check_size(size, n, minima)
        return _least_norm(operator, int(size), solver, codes, minima, monitor, options)
    if solver not in ("auto", "swap", "exact"):
        raise ValueError(
            f"With max_norm, solver must be 'auto', 'swap' or 'exact'; got {solver!r}."
        )
    assert max_norm is not None
    if not 0 <= max_norm < math.inf:
        raise ValueError(f"max_norm must be a finite number of at least 0; got {max_norm!r}.")
    fewest = min(operator.dim, -(-n // 2)) if max_removed is None else n - int(max_removed)
    if not 0 <= fewest <= n:
        raise ValueError(f"max_removed must be between 0 and n = {n}; got {max_removed!r}.")
    fewest = max(fewest, int(minima.sum()))
    return _fewest_rows(operator, float(max_norm), fewest, solver, codes, minima, monitor)


def solve_path(
    S: ArrayLike | Tensor | InfluenceOperator, sizes: Sequence[int], **options: Any
) -> list[SubsetResult]:
    """Subsets of several sizes, each within the next larger one, all of small norm.

    The largest size is solved first and every smaller one within it: what fixed-sequence
    testing and a late choice of the budget need. Nesting costs a little of the norm.

    Parameters
    ----------
    S : array-like or Tensor of shape (n, d), or InfluenceOperator
    sizes : sequence of int
        Rows to keep, all different, in any order.
    **options
        Of ``solve_subset``, except ``size``, ``max_norm`` and ``max_removed``. ``time_limit``
        holds for each size.

    Returns
    -------
    list of SubsetResult
        In the order of ``sizes``; ``indices`` are row numbers of ``S``, and bounds hold among
        all subsets of that size, nested or not.
    """
    if len(set(sizes)) < len(sizes):
        raise ValueError(f"sizes must differ from one another; got {list(sizes)}.")
    for name in {"size", "max_norm", "max_removed"} & set(options):
        raise ValueError(f"solve_path takes no {name}; give sizes=.")
    operator = as_operator(S, options.pop("offset", None))
    n = operator.n_rows
    groups, prior, start = (options.pop(name, None) for name in ("groups", "prior", "start"))
    within = np.arange(n)
    found: dict[int, SubsetResult] = {}
    for size in sorted(sizes, reverse=True):
        inside = RestrictedInfluence(operator, torch.from_numpy(within).to(operator.offset.device))
        result = solve_subset(
            inside,
            size=size,
            groups=None if groups is None else np.asarray(groups)[within],
            prior=None if prior is None else np.asarray(prior)[within],
            start=None if start is None else np.flatnonzero(np.isin(within, np.asarray(start))),
            **options,
        )
        within = within[result.indices]
        if found:
            # What is proven among the rows of a larger subset says nothing about all rows.
            codes, minima = _groups(groups, options.get("min_per_group", 1), n)
            clock = Monitor(options.get("time_limit"))
            bound = least_norm_bound(operator, size, codes, minima, clock, result.norm)
            nested = Selection(within, result.norm, result.norm, result.iterations)
            words = f"nested in {inside.n_rows} rows; "
            result = replace(
                _certified(operator, nested, bound, words, clock), seconds=result.seconds
            )
        found[size] = replace(result, indices=within)
    return [found[size] for size in sizes]


def _least_norm(
    operator: InfluenceOperator,
    size: int,
    solver: str,
    groups: Rows,
    minima: Rows,
    monitor: Monitor,
    options: dict[str, Any],
) -> SubsetResult:
    if solver == "auto":
        small = operator.n_rows <= ENUMERABLE and len(minima) <= 4
        crowded = operator.n_rows <= CROWDED * operator.dim
        solver = "exact" if small else "relax" if crowded else "swap"
    selection = select_rows(
        operator, size, solver=solver, groups=groups, minima=minima, monitor=monitor, **options
    )
    if selection.bound is not None:
        bound = selection.bound
    else:
        norm = selection.norm
        bound = least_norm_bound(operator, size, groups, minima, monitor, norm)
    return _certified(operator, selection, bound, "", monitor)


def _certified(
    operator: InfluenceOperator, found: Selection, bound: float, status: str, monitor: Monitor
) -> SubsetResult:
    """The result in words; where the bound says nothing, the norm in units to judge it by."""
    norm = found.norm
    row = math.sqrt(float(operator.squared_norms().mean()))
    bound, gap = min(bound, norm), relative_gap(norm, bound)
    if gap <= OPTIMAL or norm - bound <= ROUNDING * row * operator.n_rows:
        gap, status = 0.0, status + "optimal: proven"
    elif bound > 0:
        status += f"within {norm / bound - 1:.2%} of the lower bound"
    else:
        floor = 0.5 * math.sqrt(operator.dim / (2 * math.log(max(2, operator.n_rows))))
        status += (
            "not proven optimal: fractional rows would cancel, so the lower bound is 0; the norm "
            f"is {norm / row:.3g} row norms (one-swap search ends near {floor:.2g} for isotropic "
            "rows in many dimensions)"
        )
    if monitor.reason:
        status = f"stopped by {monitor.reason}; {status}"
    return SubsetResult(found.indices, norm, bound, gap, status, found.n_iter, monitor.seconds)


def _fewest_rows(
    operator: InfluenceOperator,
    max_norm: float,
    fewest: int,
    solver: str,
    groups: Rows,
    minima: Rows,
    monitor: Monitor,
) -> SubsetResult:
    n = operator.n_rows
    if solver == "exact" or (solver == "auto" and n <= ENUMERABLE and len(minima) <= 4):
        best, bound = _fewest_exactly(operator, max_norm, fewest, groups, minima, monitor)
    else:
        bound, weights = fewest_rows_bound(operator, max_norm, fewest, groups, minima, monitor)
        bound = min(bound, n)
        best = fewest_rows(operator, max_norm, bound, weights, groups, minima, monitor)
    if best is None:
        every = np.arange(n)
        rows = torch.from_numpy(every).to(operator.offset.device)
        norm = float((operator.offset + operator.sum(rows)).norm())
        proof = "none exists" if bound > n else "none was found"
        status = f"no subset within max_norm={max_norm:g}: {proof}; all rows are kept"
        return SubsetResult(
            every, norm, float(bound), 1.0, status, monitor.iterations, monitor.seconds
        )
    m = len(best.indices)
    gap = relative_gap(m, bound)
    status = "optimal: proven" if m <= bound else f"within {gap:.2%} of the lower bound of rows"
    if monitor.reason:
        status = f"stopped by {monitor.reason}; {status}"
    return SubsetResult(
        best.indices, best.norm, float(bound), gap, status, monitor.iterations, monitor.seconds
    )


def _fewest_exactly(
    operator: InfluenceOperator,
    max_norm: float,
    fewest: int,
    groups: Rows,
    minima: Rows,
    monitor: Monitor,
) -> tuple[Selection | None, int]:
    """Sizes from the smallest up, each solved to optimality; the bound grows as long as it is."""
    bound, proven = fewest, True
    for size in range(fewest, operator.n_rows + 1):
        found = select_rows(
            operator,
            size,
            solver="exact",
            groups=groups,
            minima=minima,
            monitor=monitor,
            rng=np.random.default_rng(0),
        )
        if found.norm <= max_norm:
            return found, bound
        proven = proven and found.bound is not None and found.bound > max_norm
        bound = size + 1 if proven else bound
    return None, bound


def as_operator(
    S: ArrayLike | Tensor | InfluenceOperator, offset: ArrayLike | Tensor | None
) -> InfluenceOperator:
    """The vectors as an operator, checked."""
    if isinstance(S, InfluenceOperator):
        if offset is not None:
            raise ValueError("An InfluenceOperator brings its own offset; leave offset=None.")
        return S
    with warnings.catch_warnings():
        # torch warns of read-only memory; nothing here writes to it.
        warnings.filterwarnings("ignore", message="The given NumPy array is not writable")
        vectors = S.detach() if isinstance(S, Tensor) else torch.from_numpy(_array(S))
    if vectors.dtype in (torch.float16, torch.bfloat16):
        vectors = vectors.float()
    elif vectors.dtype not in (torch.float32, torch.float64):
        vectors = vectors.double()
    if vectors.ndim != 2 or 0 in vectors.shape:
        raise ValueError(
            f"S must be a matrix of shape (n, d), one vector a row, neither of them 0; got shape "
            f"{tuple(vectors.shape)}."
        )
    operator = DenseInfluence(vectors)
    squares = operator.squared_norms()
    if not bool(torch.isfinite(squares).all()):
        row = int(torch.nonzero(~torch.isfinite(squares))[0])
        raise ValueError(
            f"S must be finite and its squares representable in {vectors.dtype}; row {row} is "
            "the first that is not. Remove it or rescale all rows."
        )
    if offset is None:
        operator.offset = -operator.weighted_sum(vectors.new_ones(len(vectors)))
        return operator
    given = torch.as_tensor(np.asarray(offset) if not isinstance(offset, Tensor) else offset)
    given = given.to(operator.offset)
    if given.shape != (operator.dim,) or not bool(torch.isfinite(given).all()):
        raise ValueError(
            f"offset must be finite, of shape ({operator.dim},); got shape {tuple(given.shape)}."
        )
    operator.offset = given
    return operator


def _array(S: ArrayLike) -> NDArray[Any]:
    array = np.asarray(S)
    if array.dtype.kind not in "fiub":
        raise ValueError(f"S must hold real numbers; got dtype {array.dtype}.")
    if array.dtype.kind != "f" or array.dtype.itemsize > 8:
        array = array.astype(np.float64)
    return array if array.dtype.isnative else array.astype(array.dtype.newbyteorder("="))


def _groups(groups: ArrayLike | None, min_per_group: int, n: int) -> tuple[Rows, Rows]:
    if groups is None:
        return np.zeros(n, dtype=np.int64), np.zeros(1, dtype=np.int64)
    given = np.asarray(groups)
    if given.shape != (n,):
        raise ValueError(f"groups must have one entry a row, shape ({n},); got {given.shape}.")
    if min_per_group < 0:
        raise ValueError(f"min_per_group must be at least 0; got {min_per_group!r}.")
    codes = np.unique(given, return_inverse=True)[1].astype(np.int64)
    return codes, group_minima(codes, int(min_per_group))


def _check_size(size: int, n: int, minima: Rows) -> None:
    if size != int(size) or not 0 <= size <= n:
        raise ValueError(f"size must be an integer between 0 and n = {n}; got {size!r}.")
    if size < minima.sum():
        raise ValueError(
            f"size={size} is less than the {int(minima.sum())} rows that the groups' minima ask "
            "for; keep more rows or lower min_per_group."
        )


def _prior(prior: ArrayLike | None, n: int) -> NDArray[np.float64] | None:
    if prior is None:
        return None
    odds = np.asarray(prior, dtype=np.float64)
    if odds.shape != (n,) or not np.all(np.isfinite(odds)) or np.any(odds < 0):
        raise ValueError(f"prior must be {n} finite odds of at least 0; got shape {odds.shape}.")
    return odds


def _start(start: ArrayLike | None, n: int) -> Rows | None:
    if start is None:
        return None
    rows = np.asarray(start)
    if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "iu"):
        raise ValueError(f"start must be row numbers; got {rows.dtype} of shape {rows.shape}.")
    if rows.size and (rows.min() < 0 or rows.max() >= n):
        raise ValueError(f"start must be row numbers from 0 to {n - 1}.")
    return np.unique(rows).astype(np.int64)
