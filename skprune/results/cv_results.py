"""Work on ``cv_results_`` of a hyperparameter search, on kept rows and on all rows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

from skprune.data.containers import take_rows

Positions = NDArray[np.int64]
#: Columns by name, each with an entry a candidate.
Results = dict[str, Any]
#: The ``refit`` of a search: whether, by which metric, or a function of the results.
Refit = bool | str | Callable[[Results], int]

#: Ends the names of the columns that only the finalists have.
ALL_ROWS = "_all_rows"

#: Parameters that are compared with numbers of rows, and with sums of their weights.
COUNTS = (
    "min_samples_leaf",
    "min_samples_split",
    "min_child_samples",
    "min_data_in_leaf",
    "n_neighbors",
)
SUMS = ("min_child_weight", "min_sum_hessian_in_leaf")


def best(results: Results, refit: Refit, count: int) -> Positions:
    """Positions of the best candidates, best first, as the search's own ``refit`` judges them.

    If there is no metric to refit by, candidates that are good at any metric come first. Only the
    last round of a halving search counts.
    """
    left = _last_round(results)
    if callable(refit):
        chosen: list[Any] = []
        while len(left) and len(chosen) < count:
            at = refit({name: take_rows(column, left) for name, column in results.items()})
            chosen.append(left[at])
            left = np.delete(left, at)
        return np.array(chosen)
    metrics = [refit] if refit in _metrics(results) else _metrics(results)
    ranks = np.min([results[f"rank_test_{metric}"][left] for metric in metrics], axis=0)
    return left[np.argsort(ranks, kind="stable")[:count]]


def joined(results: Results, final: Results, finalists: Positions) -> Results:
    """The results with further columns: those of the finalists on all rows, else NaN."""
    columns = dict(results)
    for name, values in final.items():
        if name != "params" and not name.startswith("param_"):
            columns[name + ALL_ROWS] = np.full(len(results["params"]), np.nan)
            columns[name + ALL_ROWS][finalists] = values
    return columns


def trust(results: Results, finalists: Positions, refit: Refit) -> tuple[float | None, list[str]]:
    """Rank correlation of the finalists' scores on kept and on all rows, and diagnostics.

    There are no diagnostics if every candidate is a finalist: all were compared on all rows.
    """
    metrics = _metrics(results)
    metric = refit if refit in metrics else metrics[0]
    scores = _folds(results, f"test_{metric}")
    final = _folds(results, f"test_{metric}{ALL_ROWS}")[finalists]
    short, whole = scores[finalists].mean(axis=1), final.mean(axis=1)
    ordered = min(len(set(short)), len(set(whole))) > 1 and np.isfinite([short, whole]).all()
    agreement = float(spearmanr(short, whole).statistic) if ordered else None
    scores = scores[_last_round(results)]
    scores = scores[np.isfinite(scores).all(axis=1)]
    diagnostics: list[str] = []
    if len(scores) <= len(finalists):
        return agreement, diagnostics
    spread, error = _spread(scores)
    if spread < error:
        diagnostics.append(
            f"On the kept rows the candidates' scores differ by {spread:.2g} (standard deviation), "
            f"less than the {error:.2g} that is left to chance (standard error over the folds): "
            "their order there says nothing. Keep more rows, or raise finalists."
        )
    if agreement is None:
        return None, diagnostics
    # Only the better half has to be told apart.
    means = np.sort(scores.mean(axis=1))
    better = float(means[min(len(means) // 2, len(means) - 2) :].std(ddof=1))
    moved = float((whole - short).std(ddof=1))
    if moved > better / 2:
        diagnostics.append(
            f"From the kept rows to all rows the finalists' scores move by {moved:.2g} against one "
            f"another (standard deviation), where the better half of the candidates differ by "
            f"{better:.2g}: so much of their order depends on the subset, and better candidates "
            "may have been left out. Keep more rows, or raise finalists."
        )
    return agreement, diagnostics


def seconds_on_all_rows(results: Results, seconds: float, n_splits: int) -> float | None:
    """What scoring the candidates would have taken if all fits were as slow as the finalists'.

    ``seconds`` is what it took on kept rows. Fits are scaled, side by side as they were; scoring
    and the start of worker processes are not.
    """
    fits, whole = results["mean_fit_time"], results[f"mean_fit_time{ALL_ROWS}"]
    finalists = np.isfinite(fits) & np.isfinite(whole)
    before = fits[finalists].sum()
    if before == 0:
        return None
    fitting = n_splits * np.nansum(fits)
    work = fitting + n_splits * np.nansum(results["mean_score_time"])
    further = fitting * (whole[finalists].sum() / before - 1)
    return float(seconds + further * min(1.0, seconds / work))


def counted(
    own: dict[str, Any], candidates: Sequence[dict[str, Any]], share: float, weighted: bool
) -> list[str]:
    """A sentence on every parameter, set or searched, that means something else on fewer rows."""
    names = COUNTS if weighted else COUNTS + SUMS
    notes = []
    for name in sorted({*own, *(name for params in candidates for name in params)}):
        leaf = name.rpartition("__")[2]
        if share == 1 or leaf not in names:
            continue
        values = {params[name] for params in candidates if name in params} or {own[name]}
        values = {v for v in values if isinstance(v, (int, float, np.number)) and v > 2}
        if values:
            of = "rows" if leaf in COUNTS else "weights of rows"
            notes.append(
                f"{name} counts {of}, of which {share:.0%} were kept: {max(values):g} of them "
                f"stand for {max(values) / share:.0f}. The candidates are not scaled; the "
                "finalists were compared on all rows as they are."
            )
    return notes


def _last_round(results: Results) -> Positions:
    """Positions of the candidates, or of those in the last round of a halving search."""
    rounds = np.asarray(results.get("iter", np.zeros(len(results["params"]))))
    return np.flatnonzero(rounds == rounds.max())


def _metrics(results: Results) -> list[str]:
    start = "mean_test_"
    return [k.removeprefix(start) for k in results if k.startswith(start) and ALL_ROWS not in k]


def _folds(results: Results, name: str) -> NDArray[np.float64]:
    """A score of every candidate in every fold, shape (candidates, folds)."""
    columns: list[Any] = []
    while f"split{len(columns)}_{name}" in results:
        columns.append(results[f"split{len(columns)}_{name}"])
    return np.stack(columns, axis=1)


def _spread(scores: NDArray[np.float64]) -> tuple[float, float]:
    """Standard deviation of the candidates' mean scores, and the standard error of one of them.

    A fold that is easy or hard for all candidates alike adds no error to their order.
    """
    candidates, folds = scores.shape
    scores = scores - scores.mean(axis=0)
    means = scores.mean(axis=1)
    rest = np.sum((scores - means[:, None]) ** 2) / max((candidates - 1) * (folds - 1), 1)
    return float(means.std(ddof=1)), float(np.sqrt(rest / folds))
