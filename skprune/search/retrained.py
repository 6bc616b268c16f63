"""The search by retraining: subsets are chosen by influence, and measured by training anew."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skprune.cost.model import BUDGET_SIZES
from skprune.evaluation.retrained import RetrainedTrial, Retraining
from skprune.results.gap import Gap, Learned
from skprune.search.few_trainings import SIZES, smallest_retrained
from skprune.search.request import Settings
from skprune.search.sizes import Trial, Trials, smallest_size
from skprune.subset import Rows


class Retrained:
    """Subsets as a bench chooses them, measured by retraining a model on them.

    Parameters
    ----------
    bench : Trials
    retraining : Retraining
    inner : ndarray of int64, optional
        Rows of the bench that ``retraining`` knows, in its order; default: all. A choice is then
        measured by training on those of its rows that are not held out.
    """

    def __init__(self, bench: Trials, retraining: Retraining, inner: Rows | None = None) -> None:
        self.bench, self.retraining = bench, retraining
        self.minima = bench.minima
        self._places = np.arange(len(bench))
        if inner is not None:
            self._places = np.full(len(bench), -1)
            self._places[inner] = np.arange(len(inner))

    def __len__(self) -> int:
        return len(self.bench)

    def trial(self, size: int, warm: Rows | None = None, *, with_random: bool = True) -> Trial:
        """The bench's choice, measured by retraining; random rows are not."""
        trial = self.bench.trial(size, warm, with_random=False)
        return _with_retrained(trial, self._measured(trial.selection.indices))

    def random_rows(self, size: int) -> Rows:
        """Those of the bench."""
        return self.bench.random_rows(size)

    def random_gap(self, size: int) -> Gap:
        """The retrained gap of a stratified random subset."""
        return self._measured(self.random_rows(size)).gap

    def _measured(self, rows: Rows) -> RetrainedTrial:
        places = self._places[rows]
        return self.retraining.trial(places[places >= 0])

    def learned(self) -> Learned | None:
        """What the model has learned from all rows."""
        return self.retraining.learned()


def judged(bench: Trials, retraining: Retraining | None, inner: Rows | None = None) -> Trials:
    """The bench itself, or its choices measured by retraining."""
    return bench if retraining is None else Retrained(bench, retraining, inner)


def _with_retrained(trial: Trial, measured: RetrainedTrial) -> Trial:
    return replace(
        trial,
        retrained=measured.gap,
        seconds=trial.seconds + measured.seconds,
        failure=measured.failure,
    )


def search(
    settings: Settings, bench: Trials, size: int | None, smallest: int
) -> tuple[Trial | None, list[Trial]]:
    """The trial of a given size, or the smallest allowed one.

    Where a model is retrained, the gaps of what chooses the rows are the guess that the search by
    retraining starts from.

    Parameters
    ----------
    settings : Settings
    bench : Trials
        As ``judged`` gives it.
    size : int or None
        Rows to keep, if their number is fixed.
    smallest : int
        The fewest rows that could be kept.
    """
    retrained = bench if isinstance(bench, Retrained) else None
    chooser = bench if retrained is None else retrained.bench
    largest, max_gap = len(bench), settings.max_gap
    progress = settings.progress

    def attempt(size: int, warm: Rows | None, with_random: bool) -> Trial:
        trial = chooser.trial(size, warm, with_random=with_random and retrained is None)
        progress.tried(trial)
        progress.step()
        return trial

    if size is not None:
        begin_phase(settings, "choosing the rows", 1)
        trial = bench.trial(size)
        progress.tried(trial)
        return trial, [trial]
    progress.phase("searching the size", BUDGET_SIZES, "about ", "sizes")
    best, trials = smallest_size(attempt, largest=largest, smallest=smallest, max_gap=max_gap)
    if retrained is None:
        return best, trials
    begin_phase(settings, "retraining", SIZES + 1)
    return _retrained(retrained, trials, largest, smallest, max_gap)


def begin_phase(settings: Settings, name: str, sets: int, of: str = "at most ") -> None:
    """Begin a phase in which the model that is retrained, if any is, is so on ``sets`` of rows."""
    retraining = settings.retraining
    trainings = 0 if retraining is None else sets * retraining.n_seeds
    settings.progress.phase(name, trainings, of, "trainings")


def _retrained(
    judge: Retrained,
    guess: list[Trial],
    largest: int,
    smallest: int,
    max_gap: float,
) -> tuple[Trial | None, list[Trial]]:
    chosen: dict[int, Trial] = {}

    def select(size: int) -> Rows:
        chosen[size] = judge.bench.trial(size, None, with_random=False)
        return chosen[size].selection.indices

    best, trials = smallest_retrained(
        judge.retraining,
        select,
        largest=largest,
        smallest=smallest,
        max_gap=max_gap,
        guess=([t.size for t in guess], [float(t.gap) for t in guess]),
    )
    done = {t.size: _with_retrained(chosen[t.size], t) for t in trials}
    return None if best is None else done[best.size], list(done.values())


def in_words(retraining: Retraining, name: str) -> tuple[tuple[str, str], ...]:
    """A line of the report: what was retrained, how often, and how long it took."""
    largest = max(retraining.trainings, key=lambda training: training.n_rows)
    seconds = np.sum([training.seconds for training in retraining.trainings])
    seeds = "the same for every seed"
    if not retraining.deterministic:
        seeds = f"{retraining.n_seeds} seed" + "s" * (retraining.n_seeds > 1)
    text = (
        f"{name}, {retraining.n_trainings} trainings ({seeds}) in {seconds:.1f} s, "
        f"{retraining.seconds_per_training(largest.n_rows):.2f} s on {largest.n_rows:,} rows"
    )
    return (("retraining", text),)
