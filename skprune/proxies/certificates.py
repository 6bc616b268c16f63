"""What certifies in the end, on rows that are set aside before anything is fitted."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from numpy.typing import NDArray

from skprune.data.copies import numbered
from skprune.data.table import Table, hold_out, number_groups
from skprune.evaluation.certified import Certifier, Strictest
from skprune.proxies.base import FittedProxy, Proxy
from skprune.proxies.given import Given, new_rows
from skprune.proxies.shorthands import certificate_of_head
from skprune.proxies.verify import Certify, Retrain, Task, Verify
from skprune.subset import Rows
from skprune.utils.progress import Progress


@dataclass(frozen=True)
class Certificate:
    """What certifies in the end.

    Attributes
    ----------
    of_head : Certify or None
        If the proxy's own head is certified.
    trained : Certifier or None
        Of a model that is trained.
    aside : Table
        Rows that took part in nothing.
    units : ndarray or None
        Equal for those of them that count as one, if not only copies do.
    scoring : str or callable
    seed : int
    """

    of_head: Certify | None
    trained: Certifier | None
    aside: Table
    units: Rows | None
    scoring: Any
    seed: int

    def of(self, proxy: FittedProxy) -> Certifier:
        """The certifier, for a proxy that is fitted to the rows that may be kept."""
        every = [] if self.trained is None else [self.trained]
        if self.of_head is not None:
            about = (self.aside, self.scoring, self.seed, self.units)
            every.insert(0, self.of_head.of_head(proxy, *about))
        return every[0] if len(every) == 1 else Strictest(every)


def set_aside(
    asked: Certify,
    verify: Verify | None,
    proxy: Proxy,
    given: Given,
    table: Table,
    groups: NDArray[Any] | None,
    scoring: Any,
    fraction: float,
    seed: int,
    progress: Progress,
) -> tuple[Certificate, Table, NDArray[Any] | None]:
    """Set rows aside to certify on: those that the caller brought, or a part of the table.

    Parameters
    ----------
    asked : Certify
    verify : Verify or None
        How gaps are measured in the search: what is trained there is certified.
    proxy : Proxy
    given : Given
    table : Table
        The rows that have a weight.
    groups : ndarray of shape (n,) or None
        Rows of one group are set aside together, and count as one.
    scoring, seed, progress
        As in ``Task``.
    fraction : float
        Share of the table to set aside.

    Returns
    -------
    certificate : Certificate
    table : Table
        The rows that may be kept.
    groups : ndarray or None
        Their groups.
    """
    units = None
    if given.validation is None:
        names = None if groups is None else number_groups(groups, len(table))
        rest, out = hold_out(table, fraction, names, seed)
        aside, table = table.take(out), table.take(rest)
        if groups is not None and names is not None:
            # Whole groups are independent draws, their rows are not.
            units, groups = numbered(names[out]), groups[rest]
    else:
        aside = new_rows(given.X, table, given.X_val, given.validation)
    trained = None
    if isinstance(verify, Retrain):
        held_out = given.brought(aside, verify, proxy)
        held_out = held_out if units is None else replace(held_out, units=units)
        train = given.rows(table, verify, proxy)
        task = Task(proxy, train, held_out, scoring, seed, progress)
        trained = asked.training(verify).certifier(task)
    of_head = certificate_of_head(asked, proxy)
    return Certificate(of_head, trained, aside, units, scoring, seed), table, groups
