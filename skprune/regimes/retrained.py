"""The search by retraining: subsets are chosen by influence, and measured by training anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from tqdm.auto import tqdm

from skprune.gap import Gap
from skprune.regimes.base import Settings
from skprune.retraining import Retraining, smallest_retrained
from skprune.search import Trial, Trials, smallest_size
from skprune.subset import Rows


def search(
    settings: Settings, bench: Trials, size: int | None, smallest: int
) -> tuple[Trial | None, list[Trial]]:
    """The trial of a given size, or the smallest allowed one.

    Without retraining every trial is measured by the bench. With it the bench's own gaps are the
    guess that the search by retraining starts from.

    Parameters
    ----------
    settings : Settings
    bench : Trials
    size : int or None
        Rows to keep, if their number is fixed.
    smallest : int
        The fewest rows that could be kept.
    """
    retraining, largest = settings.retraining, len(bench)
    with tqdm(desc="skprune", unit=" sizes", disable=not settings.verbose) as bar:

        def show(trial: Trial) -> Trial:
            bar.set_postfix({"rows": trial.size, trial.gap.level: f"{float(trial.gap):+.4f}"})
            bar.update()
            return trial

        def attempt(size: int, warm: Rows | None, with_random: bool) -> Trial:
            return show(bench.trial(size, warm, with_random=with_random and retraining is None))

        if size is not None:
            trial = bench.trial(size, with_random=retraining is None)
            if retraining is not None:
                measured = retraining.trial(trial.selection.indices)
                seconds = trial.seconds + measured.seconds
                trial = replace(trial, retrained=measured.gap, seconds=seconds)
            return show(trial), [trial]
        best, trials = smallest_size(
            attempt, largest=largest, smallest=smallest, max_gap=settings.max_gap
        )
        if retraining is None:
            return best, trials
        return _retrained(settings.max_gap, retraining, attempt, largest, smallest, trials)


def _retrained(
    max_gap: float,
    retraining: Retraining,
    attempt: Callable[[int, Rows | None, bool], Trial],
    largest: int,
    smallest: int,
    guess: list[Trial],
) -> tuple[Trial | None, list[Trial]]:
    chosen: dict[int, Trial] = {}

    def select(size: int) -> Rows:
        chosen[size] = attempt(size, None, False)
        return chosen[size].selection.indices

    best, trials = smallest_retrained(
        retraining,
        select,
        largest=largest,
        smallest=smallest,
        max_gap=max_gap,
        guess=([t.size for t in guess], [float(t.gap) for t in guess]),
    )
    done = {
        t.size: replace(chosen[t.size], retrained=t.gap, seconds=chosen[t.size].seconds + t.seconds)
        for t in trials
    }
    return None if best is None else done[best.size], list(done.values())


def random_gap(settings: Settings, bench: Trials, size: int) -> Gap:
    """The retrained gap of a stratified random subset."""
    assert settings.retraining is not None
    return settings.retraining.random_trial(size, bench.groups, bench.minima, settings.seed).gap


def in_words(retraining: Retraining, name: str) -> tuple[tuple[str, str], ...]:
    """A line of the report: what was retrained, how often, and how long it took."""
    largest = max(retraining.trainings, key=lambda training: training.n_rows)
    seconds = np.sum([training.seconds for training in retraining.trainings])
    seeds = "its seed has no say" if retraining.deterministic else f"{retraining.n_seeds} seeds"
    text = (
        f"{name}, {retraining.n_trainings} trainings ({seeds}) in {seconds:.1f} s, "
        f"{retraining.seconds_per_training(largest.n_rows):.2f} s on {largest.n_rows:,} rows"
    )
    return (("retraining", text),)
