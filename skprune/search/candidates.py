"""Subsets of any size of some rows: chosen by what a proxy knows, measured at every level."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import torch

from skprune.evaluation.base import Evaluator
from skprune.results.gap import Gap, Learned, mean_gap
from skprune.search.trial import Trial
from skprune.subset import Rows, Selection, select_rows
from skprune.subset.balanced import balanced_rows
from skprune.subset.start import difficulty_cells, starting_subset, stratified_minima
from skprune.subset.swap import swap

if TYPE_CHECKING:
    from skprune.proxies.base import FittedProxy
    from skprune.search.request import Choice

#: Up to this many kept rows a parameter, the search goes on in the metric of the kept rows.
KEPT_METRIC = 3


class Candidates:
    """Chooses subsets of the rows that a proxy is fitted to, and measures them.

    Parameters
    ----------
    proxy : FittedProxy
    choice : Choice
        How rows are chosen.
    evaluators : sequence of Evaluator
        Cheap ones, each of which is asked for every trial.
    judge : Evaluator, optional
        A dear one, which the search asks for few sizes.
    held_by : sequence of str, optional
        Levels that the budget holds for; the dearest by default.
    """

    def __init__(
        self,
        proxy: FittedProxy,
        choice: Choice,
        evaluators: Sequence[Evaluator],
        judge: Evaluator | None = None,
        held_by: Sequence[str] = (),
    ) -> None:
        self.proxy, self.choice = proxy, choice
        self.evaluators, self.judge = list(evaluators), judge
        self.held_by = tuple(held_by) or (self.dearest.level,)
        self.groups = proxy.table.codes
        self.minima = proxy.table.minima(choice.min_per_class)
        self._odds = choice.sampling.of(proxy.table.positions, proxy.difficulty)

    def __len__(self) -> int:
        return len(self.groups)

    @property
    def dearest(self) -> Evaluator:
        """The evaluator that is believed most."""
        return self.evaluators[-1] if self.judge is None else self.judge

    def choose(self, size: int, warm: Rows | None = None) -> Selection:
        """``size`` rows whose influences cancel, starting within the rows ``warm``.

        They cancel in the metric of all rows; if they are few, then in their own. The Newton step
        on the kept rows has H_K in it, not H. With many rows a parameter they differ by a factor;
        with few, H_K lacks whole directions, in which the sum must be small.
        """
        return self._with_targets(self._chosen(size, warm))

    def _chosen(self, size: int, warm: Rows | None) -> Selection:
        balance = self.proxy.balance
        if balance is not None and self.choice.is_default:
            return balanced_rows(
                balance,
                size,
                groups=self.groups,
                minima=self.minima,
                rng=self._rng(size),
                weights=self.proxy.table.weights,
            )
        operator, groups = self.proxy.influence.for_size(size), self.groups
        minima = self._minima_for(size)
        if self.proxy.keeps_difficulty and self.choice.is_default:
            groups, minima = difficulty_cells(groups, minima, self.proxy.difficulty("loss"))
        selection = select_rows(
            operator,
            size,
            solver=self.choice.solver,
            groups=groups,
            minima=minima,
            rng=self._rng(size),
            prior=self._odds,
            start=warm,
            thorough=False,
        )
        if self.choice.solver != "swap" or size > KEPT_METRIC * operator.dim:
            return selection
        kept = operator.in_metric_of(torch.from_numpy(selection.indices))
        return selection if kept is None else swap(kept, selection.indices, groups, minima)

    def random(self, size: int, draw: int = 0) -> Selection:
        """A stratified random subset of ``size`` rows; every ``draw`` is another one."""
        rng = self._rng(size, 1 + draw)
        return self._with_targets(Selection(starting_subset(size, self.groups, self.minima, rng)))

    def trial(
        self, size: int, warm: Rows | None = None, *, with_random: bool = False, judged: bool = True
    ) -> Trial:
        """Choose rows and measure them, at all levels or at the cheap ones only."""
        begin = time.perf_counter()
        trial = self.measure(self.choose(size, warm), judged=judged)
        trial = replace(trial, seconds=time.perf_counter() - begin)
        return replace(trial, random=self.random_gap(size)) if with_random else trial

    def measure(self, kept: Selection, *, judged: bool = True) -> Trial:
        """The trial of rows that were chosen, at all levels or at the cheap ones only."""
        gaps = {e.level: e.gap(kept) for e in self.evaluators}
        trial = Trial(kept, gaps, self.held_by, None, 0.0)
        return self.judged(trial) if judged else trial

    def judged(self, trial: Trial, limit: float | None = None) -> Trial:
        """The trial with the judge's gap, if there is a judge."""
        if self.judge is None:
            return trial
        begin = time.perf_counter()
        gaps = {**trial.gaps, self.judge.level: self.judge.gap(trial.selection, limit)}
        return replace(trial, gaps=gaps, seconds=trial.seconds + time.perf_counter() - begin)

    def random_gap(self, size: int, draws: int = 1) -> Gap:
        """The mean gap of stratified random subsets at the dearest level."""
        # Rows that are chosen for more than a head would gain by another penalty of it as well.
        one_model = self.proxy.balance is None
        measure = self.dearest.random_gap if one_model else self.dearest.gap
        return mean_gap([measure(self.random(size, draw)) for draw in range(draws)])

    def learned(self) -> Learned | None:
        """What the model on all rows has learned, if it can be told."""
        return self.dearest.learned()

    def _with_targets(self, kept: Selection) -> Selection:
        targets = self.proxy.targets
        return kept if targets is None else replace(kept, targets=targets.take(kept.indices))

    def _minima_for(self, size: int) -> Rows:
        """How many rows of each class stay among ``size``; initial weights go before shares."""
        if self.proxy.stratify and self._odds is None:
            return stratified_minima(self.groups, self.minima, size)
        return self.minima

    def _rng(self, *key: int) -> np.random.Generator:
        return np.random.default_rng([self.choice.seed, *key])
