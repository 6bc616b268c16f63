"""The arguments of ``fit``, checked once and held in one object."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.model_selection import GroupShuffleSplit
from sklearn.utils import check_array, check_consistent_length, column_or_1d

from skprune.data.containers import (
    is_missing,
    natural,
    plain,
    refuse_masked,
    take_rows,
)
from skprune.data.copies import Copies, numbered
from skprune.data.strata import group_minima, stratified_quotas
from skprune.utils.sklearn_private import check_sample_weight

if TYPE_CHECKING:
    from skprune.data.encode.rows import RowEncoder

#: Whole numbers with more distinct values are a quantity, unless they are codes 0, 1, 2 ... of
#: classes that have two rows or more, one of which may be held out.
MANY_VALUES = 30
#: Largest number that is taken: curvatures multiply squares of columns, and 1e308 is the end.
LARGEST = 1e50


@dataclass(frozen=True)
class Table:
    """Rows that were checked, with their targets, classes and weights.

    Attributes
    ----------
    X : MatrixRows (n, d), csr_matrix (n, d), or the caller's own object
        Numbers, which ``encoder`` made if the caller's rows were none; the caller's own object if
        the model encodes raw rows itself.
    y : ndarray (n,)
    codes : ndarray (n,), int64
        Class of every row as 0 .. C - 1; zeros for regression.
    classes : ndarray (C,) or None
    weights : ndarray (n,), float64
        In units of ``unit``: the largest is between 1 and 2, so that no sum of them overflows.
    unit : float or None
        A power of two, so that no digit changes; None if the caller gave no weights.
    copies : Copies or None
        Rows with equal columns, as the caller gave them; None if there are none.
    encoder : RowEncoder or None
        Encodes the caller's rows as X, and other rows likewise; None if they were numbers.
    given : ndarray (n,), int64, or None
        ``positions`` of the rows; None if they are all rows of the caller.
    """

    X: Any
    y: NDArray[Any]
    codes: NDArray[np.int64]
    classes: NDArray[Any] | None
    weights: NDArray[np.float64]
    unit: float | None = None
    copies: Copies | None = None
    encoder: RowEncoder | None = None
    given: NDArray[np.int64] | None = None

    @property
    def positions(self) -> NDArray[np.int64]:
        """Which of the caller's rows these are: the one numbering that parts of a table share."""
        return np.arange(len(self)) if self.given is None else self.given

    def __len__(self) -> int:
        return len(self.y)

    def units(self) -> NDArray[np.int64] | None:
        """Numbers that are equal for copies held out together; None if there are no copies."""
        return None if self.copies is None else numbered(self.copies.units)

    def minima(self, min_per_class: int) -> NDArray[np.int64]:
        """The number of rows that every class must keep; a regression has one class."""
        return group_minima(self.codes, 0 if self.classes is None else min_per_class)

    def given_weights(self, rows: NDArray[np.int64]) -> NDArray[np.float64] | None:
        """The caller's own weights of some rows; None if there were none."""
        return None if self.unit is None else self.weights[rows] * self.unit

    def take(self, indices: NDArray[np.int64]) -> Table:
        """Some of the rows."""
        return replace(
            self,
            X=take_rows(self.X, indices),
            y=self.y[indices],
            codes=self.codes[indices],
            weights=self.weights[indices],
            copies=None if self.copies is None else self.copies.take(indices),
            given=self.positions[indices],
        )

    def places(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Positions of the caller's ``rows`` in this table, whose rows are sorted; else -1."""
        own = self.positions
        places = np.minimum(np.searchsorted(own, rows), len(self) - 1)
        return np.where(own[places] == rows, places, -1)


@dataclass(frozen=True)
class Split:
    """The rows that may be kept, and those that gaps are measured on.

    Attributes
    ----------
    table : Table
        All rows that may be kept.
    train : Table
        The rows of ``table`` that are not held out, on which the size is searched.
    validation : Table
        The rows that gaps are measured on.
    held_out : ndarray of int64 or None
        Positions of the validation rows in ``table``; None if the caller brought them.
    units : ndarray of int64 or None
        Equal for rows of ``train`` that belong together: those of one group, or copies.
    """

    table: Table
    train: Table
    validation: Table
    held_out: NDArray[np.int64] | None
    units: NDArray[np.int64] | None = None

    @property
    def is_brought(self) -> bool:
        """Whether the caller brought the validation rows."""
        return self.held_out is None


def split_rows(
    table: Table, validation: Table | None, fraction: float, groups: Any, seed: int
) -> Split:
    """Hold out a share of the rows, unless the caller brought rows to measure on.

    Parameters
    ----------
    table : Table
    validation : Table or None
    fraction : float
        Share of the rows to hold out.
    groups : array-like of shape (n,) or None
        Rows of one group are held out together.
    seed : int
    """
    names = None if groups is None else number_groups(groups, len(table))
    units = table.units() if names is None else names
    if validation is not None:
        return Split(table, table, validation, None, units)
    train, held_out = hold_out(table, fraction, names, seed)
    units = None if units is None else numbered(units[train])
    return Split(table, table.take(train), table.take(held_out), held_out, units)


@dataclass(frozen=True)
class Apart:
    """Rows that choose a size, and others to measure what was chosen.

    Attributes
    ----------
    chooses : Table
        Held-out rows by which the size is chosen.
    held_out : Table
        Rows that have no part in that.
    train : Table
        The rows that may be kept, but for ``held_out``.
    """

    chooses: Table
    held_out: Table
    train: Table


def set_apart(split: Split, groups: Any, seed: int) -> Apart | None:
    """Find rows to measure on that have no part in the choice of a size.

    They are as many as those that choose, among the rows that are trained on until then. Rows that
    the caller brought may be of another kind than these: one half of them chooses.

    Parameters
    ----------
    split : Split
    groups : array-like of shape (n,) or None
        Of ``split.table``, as in ``split_rows``.
    seed : int

    Returns
    -------
    apart : Apart or None
        None if there are too few rows.
    """
    table, train, validation = split.table, split.train, split.validation
    try:
        if split.is_brought:
            choosing, out = hold_out(validation, 0.5, None, seed)
            return Apart(validation.take(choosing), validation.take(out), table)
        names = None if groups is None else np.asarray(groups)[table.places(train.positions)]
        _, out = hold_out(train, min(0.5, len(validation) / len(train)), names, seed)
    except ValueError:
        return None
    held_out = train.take(out)
    rest = np.flatnonzero(~np.isin(table.positions, held_out.positions))
    return Apart(validation, held_out, table.take(rest))


def read_weights(sample_weight: Any, X: Any) -> tuple[NDArray[np.float64], float | None]:
    """``weights`` and ``unit`` of a ``Table``, for the rows of X.

    Weights that are negligible beside the largest one, in floating-point precision, become 0.
    """
    weights = check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if sample_weight is None:
        return weights, None
    if not weights.any():
        raise ValueError("sample_weight is zero for all rows; at least one must be positive.")
    mantissas, exponents = np.frexp(weights)
    exponent = int(exponents[mantissas > 0].max()) - 1
    weights = np.ldexp(weights, -exponent)
    weights[weights < np.finfo(np.float64).tiny] = 0.0
    return weights, float(np.ldexp(1.0, exponent))


def number_classes(
    y: NDArray[Any], weights: NDArray[np.float64]
) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """The sorted classes, and the number of the class of every row.

    Raises
    ------
    ValueError
        If all rows of positive weight are of one class.
    """
    classes, codes = np.unique(y, return_inverse=True)
    codes = codes.reshape(len(y)).astype(np.int64)
    present = classes[np.unique(codes[weights > 0])]
    if len(present) < 2:
        where = "y" if len(classes) < 2 else "the rows that have a weight"
        raise ValueError(
            f"Pruning a classification needs at least 2 classes in {where}; got 1 class: "
            f"{present[0]}."
        )
    return classes, codes


def read_numbers(y: NDArray[Any], name: str) -> NDArray[np.float64]:
    """The target of a regression."""
    try:
        numbers = check_array(y, ensure_2d=False, dtype=np.float64, input_name=name)
        check_magnitude(numbers, name)
        return numbers
    except ValueError as error:
        if "could not convert string" not in str(error):
            raise
        raise ValueError(
            f"The model is a regressor, but {name} holds labels such as {y[0]!s}; use a classifier "
            "or numbers."
        ) from error


def check_magnitude(values: NDArray[Any], name: str) -> None:
    """Refuse numbers whose fourth powers would overflow."""
    # NaN is left aside.
    largest = float(np.fmax.reduce(values, axis=None, initial=0.0))
    largest = max(largest, -float(np.fmin.reduce(values, axis=None, initial=0.0)))
    if largest > LARGEST:
        raise ValueError(
            f"{name} holds numbers as large as {largest:.1e}, and the largest that is supported is "
            f"{LARGEST:.0e}; change its unit."
        )


def hold_out(
    table: Table, fraction: float, groups: Any, seed: int
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Split rows into (training, held out), stratified by class, or along whole groups.

    Every class keeps at least one training row. Without groups, copies of a row are held out
    together (``skprune.data.copies`` says which are), and the classes keep their shares as well as
    whole sets of copies allow. A row that two groups have in common is one that new groups will
    have as well.

    Raises
    ------
    ValueError
        If no row can be held out.
    """
    n = len(table)
    fraction = max(fraction, 1 / n)
    counts = np.bincount(table.codes)
    minima = group_minima(table.codes, 1)
    rng = np.random.default_rng([seed, 2])
    units = np.arange(n) if table.copies is None else table.copies.units
    if groups is not None:
        names = number_groups(groups, n)
        if names.max() < 1:
            raise ValueError(
                "groups has 1 group, and whole groups are held out; pass at least 2, or X_val and "
                "y_val."
            )
        splitter = GroupShuffleSplit(1, test_size=fraction, random_state=seed % 2**32)
        _, test = next(splitter.split(np.zeros(n), table.y, names))
        out = names[test]
    else:
        names = units
        size = round(fraction * n)
        quotas = stratified_quotas(table.codes, np.zeros(len(counts), dtype=np.int64), size)
        quotas = np.minimum(quotas, counts - minima)
        order = rng.permutation(n)
        leaders = order[np.sort(np.unique(units[order], return_index=True)[1])]
        n_copies = np.bincount(units)
        chosen = []
        for code, quota in enumerate(quotas):
            sets = units[leaders[table.codes[leaders] == code]]
            middle = np.cumsum(n_copies[sets]) - n_copies[sets] / 2
            chosen.append(sets[middle <= quota])
        out = np.concatenate(chosen)
    held = np.isin(names, out)
    missing = np.flatnonzero(np.bincount(table.codes[~held], minlength=len(counts)) < minima)
    held &= ~np.isin(names, names[np.isin(table.codes, missing)])
    if not held.any():
        raise ValueError(
            f"No validation rows can be held out of {n} rows with a weight without losing a class; "
            "pass X_val and y_val."
        )
    # The held-out side is shuffled: the jackknife deletes every k-th row.
    return np.flatnonzero(~held), rng.permutation(np.flatnonzero(held))


def number_groups(groups: Any, n: int) -> NDArray[np.int64]:
    """The number of the group of every row."""
    names = np.asarray(groups)
    check_consistent_length(np.empty(n), names)
    if names.size != n:
        raise ValueError(
            f"groups must hold one name for every row, got an array of shape {names.shape}; join "
            "the parts of a name into one word."
        )
    names = names.ravel()
    unnamed = sum(map(is_missing, names))
    if unnamed:
        raise ValueError(
            f"groups holds None or NaN in {unnamed} rows; name the group of every row, or "
            "give a row that belongs to none a group of its own."
        )
    try:
        numbers = np.unique(names, return_inverse=True)[1]
    except TypeError:  # names of several types have no order
        found: dict[Any, int] = {}
        numbers = np.array([found.setdefault(name, len(found)) for name in names])
    return numbers


def read_target(y: Any, estimator: BaseEstimator) -> NDArray[Any]:
    """The target as a checked one-dimensional array."""
    if y is None:
        raise ValueError(
            f"{type(estimator).__name__} requires y to be passed, but the target y is None."
        )
    refuse_masked(y, "y")
    y = natural(column_or_1d(plain(y), warn=True))
    if y.dtype.kind in "OUST":
        missing = sum(is_missing(v) for v in y)
        if missing:
            raise ValueError(f"Input y contains NaN or None in {missing} rows; drop them.")
        return np.asarray(y)
    if y.dtype.kind in "mM":
        raise ValueError(f"y holds dates or durations ({y.dtype}); give labels or numbers.")
    return check_array(y, ensure_2d=False, dtype=None, input_name="y")


def read_removed(rows: Any, n: int) -> NDArray[np.bool_]:
    """Rows to remove, given by position or by mask, as a mask of shape (n,)."""
    rows = np.asarray(rows)
    if rows.ndim != 1:
        raise ValueError(f"rows must be one-dimensional, got shape {rows.shape}.")
    mask = np.zeros(n, dtype=bool)
    if rows.dtype == bool:
        if len(rows) != n:
            raise ValueError(f"the mask has {len(rows)} entries, but {n} rows were fitted.")
        mask = rows.copy()
    elif rows.size:
        if rows.dtype.kind not in "iu":
            raise ValueError(f"rows must be integers or a mask, got dtype {rows.dtype}.")
        if rows.min() < -n or rows.max() >= n:
            raise ValueError(f"rows must be within 0 .. {n - 1}, got {rows.min()} .. {rows.max()}.")
        mask[rows] = True
    if mask.all():
        raise ValueError("removing all rows leaves nothing to fit; leave out fewer.")
    return mask
