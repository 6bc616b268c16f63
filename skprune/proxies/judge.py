"""The evaluator that is believed most: of the search, of other rows, and of all rows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from skprune.data.table import Apart, Split, Table
from skprune.evaluation.base import Evaluator, OnTrain
from skprune.evaluation.retrained import Data, Seen
from skprune.proxies.base import Proxy
from skprune.proxies.given import Given
from skprune.proxies.verify import Task, Verify
from skprune.utils.progress import Progress


class Judge:
    """The evaluator that is believed most, for the training rows and for all rows.

    Parameters
    ----------
    verify : Verify
    task : Task
    every : Data or None
        All rows, if the gap on the very rows that a linear model is fitted to tells its gap.
    others : Task or None
        To measure on rows that have no part in the search.
    """

    def __init__(self, verify: Verify, task: Task, every: Data | None, others: Task | None) -> None:
        self._verify, self._task, self._every, self._others = verify, task, every, others
        self.on_train = verify.evaluator(task)

    def on_others(self) -> Evaluator | None:
        """Measures on rows that have no part in the search, if there are any."""
        task = self._others
        if task is None:
            return None
        return self._verify.evaluator(replace(task, searched=self.on_train))

    def on_all(self, split: Split, seen: Seen | None) -> Evaluator:
        """A linear model is measured on all rows, any other on those that it has not seen."""
        if self._every is None or seen is None:
            return OnTrain(self.on_train, split.table, split.train)
        task = replace(self._task, train=self._every, held_out=self._every)
        return self._verify.evaluator(task, seen)

    @property
    def knows_head(self) -> bool:
        """Whether what the proxy's own levels say may be believed of the judged model."""
        return self._every is not None


def make_judge(
    verify: Verify,
    proxy: Proxy,
    given: Given,
    split: Split,
    apart: Apart | None,
    linear: bool,
    scoring: Any,
    seed: int,
    progress: Progress,
) -> Judge:
    """The judge of a split.

    Parameters
    ----------
    verify : Verify
    proxy : Proxy
    given : Given
    split : Split
    apart : Apart or None
        Rows that choose, and others that measure the result.
    linear : bool
        Whether the excess loss on all rows tells the gap: of linear models, and of no others.
    scoring, seed, progress
        As in ``Task``.
    """

    def task(train: Table, held_out: Table) -> Task:
        take = given.brought if split.is_brought else given.rows
        data = given.rows(train, verify, proxy), take(held_out, verify, proxy)
        return Task(proxy, *data, scoring, seed, progress)

    every = given.rows(split.table, verify, proxy) if linear else None
    if apart is None:
        return Judge(verify, task(split.train, split.validation), every, None)
    others = task(apart.train, apart.held_out)
    return Judge(verify, task(split.train, apart.chooses), every, others)
