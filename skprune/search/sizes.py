"""The smallest subset whose gap is allowed: from mild to severe pruning, then bisection."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from skprune.curvature import Curvature
from skprune.evaluation.held_out import HeldOut
from skprune.heads.problem import HeadFit, HeadProblem, fit_head, newton_step
from skprune.influence.gradients import HeadInfluence
from skprune.results.gap import Gap, Learned
from skprune.search.choose import Chooser
from skprune.subset import Rows, Selection
from skprune.subset.swap import swap

#: Up to this many kept rows a parameter, the search goes on in the metric of the kept rows.
KEPT_METRIC = 3
#: Mean gradient norm of a refit: its loss is then right to 1e-9 or so.
REFIT_TOLERANCE = 1e-6
#: Ratio of neighbouring sizes at which the bisection stops.
RESOLUTION = 1.06

#: Factor by which a subset grows that did not carry over from the trial to all rows.
GROWTH = 1.25


@dataclass(frozen=True)
class Trial:
    """One size that was tried.

    Attributes
    ----------
    selection : Selection
    predicted : Gap
        By one Newton step on the kept rows.
    measured : Gap or None
        By refitting the head on the kept rows.
    random : Gap or None
        The same for a stratified random subset of this size.
    seconds : float
        Selection and measurement, without the random baseline.
    retrained : Gap or None
        By retraining the whole model on the kept rows.
    failure : str
        What the model said where it could not be trained on these rows; else empty.
    """

    selection: Selection
    predicted: Gap
    measured: Gap | None
    random: Gap | None
    seconds: float
    retrained: Gap | None = None
    failure: str = ""

    @property
    def size(self) -> int:
        """Rows kept."""
        return len(self.selection.indices)

    @property
    def gap(self) -> Gap:
        """The gap of the highest level reached."""
        if self.retrained is not None:
            return self.retrained
        return self.predicted if self.measured is None else self.measured


class Trials(Protocol):
    """What chooses subsets and says what it thinks of them: the bench of a regime."""

    minima: Rows

    def trial(self, size: int, warm: Rows | None = None, *, with_random: bool = True) -> Trial:
        """Choose ``size`` rows, starting within the rows ``warm``, and measure their gap."""

    def random_rows(self, size: int) -> Rows:
        """A stratified random subset of ``size`` rows."""

    def random_gap(self, size: int) -> Gap:
        """The gap of these random rows."""

    def learned(self) -> Learned | None:
        """What the model on all rows has learned, if it can be told."""

    def __len__(self) -> int: ...


class Bench(Chooser):
    """Selects subsets of any size and measures their gap.

    Parameters
    ----------
    problem : HeadProblem
        Rows that may be kept or removed.
    theta : Tensor of shape (D, K)
        The head of all of them.
    operator : HeadInfluence
    held_out : HeldOut
    refit : bool
        Whether gaps are measured by refitting or only predicted.
    groups, minima, solver, prior, seed, represent
        As in ``Chooser``.
    """

    def __init__(
        self,
        problem: HeadProblem,
        theta: Tensor,
        operator: HeadInfluence,
        held_out: HeldOut,
        *,
        groups: Rows,
        minima: Rows,
        solver: str,
        prior: NDArray[np.float64] | None,
        refit: bool,
        seed: int,
        represent: bool = False,
    ) -> None:
        super().__init__(
            groups=groups,
            minima=minima,
            solver=solver,
            prior=prior,
            seed=seed,
            represent=represent,
        )
        self.problem, self.theta, self.operator = problem, theta, operator
        self.held_out, self.refit = held_out, refit

    def __len__(self) -> int:
        return len(self.problem)

    @property
    def curvature(self) -> Curvature:
        """The curvature of all rows."""
        return self.operator.curvature

    def trial(self, size: int, warm: Rows | None = None, *, with_random: bool = True) -> Trial:
        """Select ``size`` rows, starting within the rows ``warm``, and measure their gap."""
        begin = time.perf_counter()
        selection = self.select(size, warm)
        kept = self.problem.subset(torch.from_numpy(selection.indices))
        newton = self.theta + newton_step(kept, self.theta, self.curvature.solve)
        predicted = self.held_out.gap(self.theta, newton, "predicted")
        fit = self._refit(kept, newton) if self.refit else None
        measured = None if fit is None else self.held_out.gap(self.theta, fit.theta, "refit")
        seconds = time.perf_counter() - begin
        random = self.random_gap(size) if self.refit and with_random else None
        return Trial(selection, predicted, measured, random, seconds)

    def learned(self) -> Learned | None:
        """What the head of all rows has learned."""
        return self.held_out.learned(self.theta, self.problem)

    def select(self, size: int, warm: Rows | None) -> Selection:
        """Rows that cancel in the metric of all rows; if they are few, then in their own.

        The Newton step on the kept rows has H_K in it, not H. With many rows a parameter they
        differ by a factor; with few, H_K lacks whole directions, in which the sum must be small.
        """
        operator = self.operator.for_size(size)
        selection = self.choose(operator, size, warm)
        if self.solver != "swap" or size > KEPT_METRIC * operator.dim:
            return selection
        operator = operator.in_metric_of(torch.from_numpy(selection.indices))
        return swap(operator, selection.indices, self.groups, self.minima_for(size))

    def random_gap(self, size: int) -> Gap:
        """The refitted gap of a stratified random subset of ``size`` rows."""
        rows = torch.from_numpy(self.random_rows(size))
        fit = self._refit(self.problem.subset(rows), self.theta)
        return self.held_out.gap(self.theta, fit.theta, "refit")

    def _refit(self, kept: HeadProblem, start: Tensor) -> HeadFit:
        """Fit the head on kept rows from ``start``, or from the full head if that is better.

        A head without penalty starts from nothing: what its rows leave open would stay as it was.
        """
        if self.problem.penalty.strength == 0.0:
            return fit_head(kept, self.curvature.solve, tol=REFIT_TOLERANCE)
        here, there = (kept.value(t, kept.features.forward(t)) for t in (start, self.theta))
        best = start if here < there else self.theta
        return fit_head(kept, self.curvature.solve, start=best, tol=REFIT_TOLERANCE)


def smallest_size(
    trial: Callable[[int, Rows | None, bool], Trial],
    *,
    largest: int,
    smallest: int,
    max_gap: float,
) -> tuple[Trial | None, list[Trial]]:
    """The smallest size whose gap, with one standard error, is allowed.

    Sizes are halved from ``largest`` until one is refused; between it and the last one allowed
    the size is bisected on a log scale. Every trial starts within the rows of the last one that
    was allowed.

    Parameters
    ----------
    trial : callable
        ``trial(size, warm, with_random)``.
    largest, smallest : int
        All rows, and the fewest that could be kept.
    max_gap : float

    Returns
    -------
    best : Trial or None
        None if no size below ``largest`` was allowed.
    trials : list of Trial
        In the order they were made.
    """
    trials: list[Trial] = []
    best: Trial | None = None
    upper, lower = largest, 0  # allowed, refused
    while lower == 0 or upper / lower > RESOLUTION:
        size = max(smallest, upper // 2) if lower == 0 else round((upper * lower) ** 0.5)
        if size in (upper, lower):
            break
        attempt = trial(size, None if best is None else best.selection.indices, lower == 0)
        trials.append(attempt)
        if attempt.gap.within(max_gap):
            best, upper = attempt, size
        else:
            lower = size
    return best, trials


def carry_over(
    bench: Trials,
    whole: Trials,
    best: Trial | None,
    trials: list[Trial],
    fixed: int | None,
    max_gap: float,
) -> tuple[Trial | None, Trial | None]:
    """Keep the trial's share of all rows, and measure the rows that are kept.

    A subset found at the edge of what is allowed need not carry over, and its gap, by which the
    size was chosen, is too small. Therefore the rows that are handed out are measured themselves.
    For a linear model it is by the difference of the mean loss, over *all* rows, of the model
    fitted on them and the model fitted on all rows. This is unbiased where the difference of the
    two models is independent of the sampling error of the second one: with g the population's
    gradient at the optimum of all rows and D the difference of the parameters, the true gap is
    g'D + D'HD/2, and only the first term, whose mean is then zero, is not seen in the rows. It
    does not hold for models that fit every row by itself, such as trees: those are trained on the
    kept rows that are not held out, beside all that are not, and measured on those that are. If
    the gap is too large, the trial's size grows.

    Parameters
    ----------
    bench, whole : Trials
        Of the trial, and of all rows.
    best : Trial or None
        What the search found; None keeps all rows.
    trials : list of Trial
        Further trials are appended.
    fixed : int or None
        Rows to keep if their number is given; then they are measured, and kept anyway.
    max_gap : float

    Returns
    -------
    best : Trial or None
        The trial whose size was kept.
    final : Trial or None
        The rows that are handed out, as positions among all rows, and their gap.
    """
    n, n_train = len(whole), len(bench)
    while best is not None:
        size = max(fixed or round(best.size / n_train * n), int(whole.minima.sum()))
        final = whole.trial(size, None, with_random=False)
        if fixed or (best.gap.within(max_gap) and final.gap.within(max_gap)):
            return best, final
        larger = math.ceil(GROWTH * best.size)
        if larger >= n_train:
            break
        best = bench.trial(larger)
        trials.append(best)
    return None, None


def path_table(
    trials: list[Trial], best: Trial | None, random: Gap | None, n_train: int, max_gap: float
) -> dict[str, NDArray[Any]]:
    """The trials as columns, largest size first; ``random`` is the baseline of ``best``."""
    order = sorted(trials, key=lambda t: -t.size)
    randoms = [random if t is best else t.random for t in order]

    def column(gaps: list[Gap | None]) -> NDArray[np.float64]:
        return np.array([math.nan if gap is None else gap for gap in gaps], dtype=np.float64)

    return {
        "n_kept": np.array([t.size for t in order], dtype=np.int64),
        "share": np.array([t.size / n_train for t in order]),
        "predicted_gap": column([t.predicted for t in order]),
        "refit_gap": column([t.measured for t in order]),
        "retrained_gap": column([t.retrained for t in order]),
        "standard_error": np.array([t.gap.standard_error for t in order]),
        "random_gap": column(randoms),
        "allowed": np.array([t.gap.within(max_gap) for t in order]),
        "seconds": np.array([t.seconds for t in order]),
    }


def outcome(
    keep: float | int | None,
    max_gap: float,
    level: str,
    final: Trial | None,
    trials: list[Trial],
    learned: Learned | None,
) -> str:
    """What came of the request, in words; ``level`` is that of the gaps."""
    if keep is not None:
        if final is not None and final.failure:
            return f"the size was fixed (keep={keep!r}); the model cannot be trained on these rows"
        failed = final is not None and math.isnan(final.gap)
        said = "is no number: a training diverged" if failed else "is a result"
        return f"the size was fixed (keep={keep!r}); its {level} gap {said}"
    if final is not None:
        return f"pruned: the {level} gap, with its standard error, is within {max_gap:g}"
    beginning = f"cannot be pruned within max_gap={max_gap:g}, all rows are kept: "
    if learned is not None and not learned.covers(max_gap):
        return beginning + _nothing_to_lose(learned)
    reason = "there are too few rows to remove any"
    if trials:
        mildest = max(trials, key=lambda t: t.size)
        reason = f"keeping {mildest.size:,} of the rows that are not held out {refusal(mildest)}"
        if mildest.gap.within(max_gap):
            reason = "what was found without the held-out rows did not carry over to all rows"
    return (
        f"{beginning}{reason}; allow a larger gap, fix the size with keep=, or bring more held-out "
        "rows as X_val"
    )


def refusal(trial: Trial) -> str:
    """Why a size was not allowed, in words."""
    if trial.failure:
        return f"leaves too few to train the model ({trial.failure})"
    gap = trial.gap
    return f"already has a {gap.level} gap of {float(gap):+.2g} +- {gap.standard_error:.1g}"


def _nothing_to_lose(learned: Learned) -> str:
    gap = learned.gap
    measured = f"{float(gap):+.2g} +- {gap.standard_error:.1g} {gap.scoring}, {gap.measured_on}"
    if float(gap) <= gap.standard_error:
        return (
            f"the model on all rows is no better than a constant prediction ({measured}), so that "
            "any rows would do; mend it first (outliers, the scale of the columns, too strong a "
            "penalty), score it by what it is good at (scoring=), or fix the size with keep="
        )
    return (
        f"the budget is more than all that the model on all rows has learned over a constant "
        f"prediction ({measured}), so that any rows would do; a tenth of it, "
        f"max_gap={float(gap) / 10:.1g}, would mean something"
    )
