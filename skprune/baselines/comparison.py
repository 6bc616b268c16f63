"""Compare strategies: the same estimator, sizes and seeds for all of them."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import clone
from sklearn.metrics import check_scoring
from sklearn.model_selection import train_test_split

from skprune.baselines.arguments import ALL_ROWS, read_seeds, read_sizes, read_strategies
from skprune.baselines.base import Strategy
from skprune.baselines.cells import Cells, Selected, cells_in
from skprune.data.containers import n_rows, take_rows
from skprune.data.strata import Rows
from skprune.heads.linear_spec import weight_name
from skprune.results.comparison import Comparison
from skprune.utils.seeds import seeded, set_random_states

if TYPE_CHECKING:
    from skprune.baselines.evidence import Evidence


@dataclass(frozen=True)
class Task:
    """An estimator, the rows it may be trained on (``candidates``), and the rows for scoring."""

    estimator: Any
    scoring: Any
    X: Any
    y: Any
    candidates: Rows
    X_val: Any
    y_val: Any

    def train(self, rows: Rows, weights: Any, seed: int) -> tuple[float, float]:
        """Train the estimator on some rows; returns its score and the seconds of training."""
        estimator = clone(self.estimator)
        set_random_states(estimator, seed)
        options, name = {}, weight_name(estimator)
        if weights is not None and name is not None:
            options[name] = weights
        with seeded(seed):
            start = time.perf_counter()
            estimator.fit(_take(self.X, rows), self.y[rows], **options)
            seconds = time.perf_counter() - start
            scorer = check_scoring(estimator, self.scoring)
            return float(scorer(estimator, self.X_val, self.y_val)), seconds


def compare(
    X: Any,
    y: Any = None,
    strategies: Sequence[Any] | Mapping[str, Any] = ("el2n", "herding"),
    keep: float | int | Sequence[float | int] = (0.05, 0.1, 0.2, 0.4),
    *,
    estimator: Any,
    model: Any = None,
    seeds: int | Sequence[int] = 5,
    X_val: Any = None,
    y_val: Any = None,
    test_size: float = 0.25,
    scoring: Any = None,
    dynamics: Any = None,
    n_jobs: int | None = None,
    cache_dir: Any = None,
) -> Comparison:
    """Choose rows by several strategies, train a model on each choice, and score it.

    Uniformly random and stratified random rows are always among the strategies, and so is the
    estimator trained on all rows. Features, predictions, gradients and training dynamics are
    computed once for all strategies.

    Parameters
    ----------
    X : array-like, DataFrame, sparse matrix or tensor with n rows, or a dataset
        With a dataset a torch network stands as ``model``, unless only random rows are compared.
    y : array-like of shape (n,)
        Not needed with a dataset that holds its targets.
    strategies : sequence of str or pruners, or dict of name to either
        Names are those of ``skprune.baselines.STRATEGIES``. A pruner is any estimator with a
        parameter ``keep`` that has ``sample_indices_`` once it is fitted, such as
        ``InfluencePruner``.
    keep : float, int or sequence of them
        Shares or numbers of the training rows.
    estimator : estimator
        Trained on the kept rows, with their weights where a strategy gives them and ``fit`` takes
        ``sample_weight``.
    model : see InfluencePruner, default=None
        The model behind features and predictions, for strategies without a ``model`` of their own.
    seeds : int or sequence of int, default=5
        Number of seeds, or the seeds themselves. They seed strategies and estimator.
    X_val, y_val : optional
        Rows to score on; without them ``test_size`` of X is held out, the same for all seeds.
    test_size : float, default=0.25
    scoring : str or callable, default=None
        As scikit-learn has it; None is the score of the estimator.
    dynamics : TrainingDynamics or list of them, default=None
        Dynamics of your own training on the rows that may be kept, or of several, for strategies
        that use them.
    n_jobs : int, default=None
        Trainings that run at once, as joblib has it.
    cache_dir : str or path-like, default=None
        Folder for every choice of rows and every score, each in a file of its own. An interrupted
        comparison continues, and one with more strategies, sizes or seeds computes only what is
        missing or damaged.

    Returns
    -------
    Comparison
        With ``to_frame()`` and ``plot()``.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skprune.baselines import compare
    >>> X, y = load_iris(return_X_y=True)
    >>> found = compare(X, y, ["el2n"], [0.2], estimator=LogisticRegression(), seeds=2)
    >>> sorted({cell["strategy"] for cell in found.cells})
    ['all rows', 'el2n', 'random', 'stratified random']
    """
    named, keep, seeds = read_strategies(strategies), read_sizes(keep), read_seeds(seeds)
    task = _split(estimator, scoring, X, y, X_val, y_val, test_size, seeds[0])
    cells = cells_in(cache_dir, task)
    chooser = _Chooser(task, model, dynamics, seeds[0], cells)
    jobs = [
        (name, share, seed, selected)
        for name, strategy in named.items()
        for seed, share, selected in chooser.selections(name, strategy, keep, seeds)
    ]
    every = Selected(task.candidates, None, 0.0)
    jobs += [(ALL_ROWS, 1.0, seed, every) for seed in seeds]
    found = Parallel(n_jobs=n_jobs)(delayed(_run)(task, cells, *job) for job in jobs)
    kept = {(name, share, seed): selected.rows for name, share, seed, selected in jobs}
    measure = scoring if isinstance(scoring, str) else "score"
    return Comparison(found, kept, len(task.candidates), measure, chooser.seconds)


def _run(
    task: Task, cells: Cells, name: str, keep: float | int, seed: int, found: Selected
) -> dict[str, Any]:
    """The result of one cell, from disk or from a new training."""
    cell = {"strategy": name, "keep": keep, "seed": seed}
    known = cells.result(cell, found)
    if known is None:
        score, seconds = task.train(found.rows, found.weights, seed)
        known = {"score": score, "training_seconds": seconds}
        cells.keep_result(cell, found, known)
    return {
        **cell,
        "n_kept": len(found.rows),
        "score": known["score"],
        "selection_seconds": found.seconds,
        "training_seconds": known["training_seconds"],
    }


class _Chooser:
    """Selects the rows of all cells; strategies with the same model share one evidence."""

    def __init__(self, task: Task, model: Any, dynamics: Any, seed: int, cells: Cells) -> None:
        self.X, self.y = _take(task.X, task.candidates), task.y[task.candidates]
        self.candidates, self.model, self.dynamics = task.candidates, model, dynamics
        self.seed, self.cells = seed, cells
        self._evidence: dict[tuple[bool, str | None], Evidence] = {}

    @property
    def seconds(self) -> dict[str, float]:
        """Seconds spent on evidence, by property."""
        found: dict[str, float] = {}
        for evidence in self._evidence.values():
            for name, seconds in evidence.seconds.items():
                found[name] = found.get(name, 0.0) + seconds
        return found

    def selections(
        self, name: str, strategy: Any, keep: Sequence[float | int], seeds: Sequence[int]
    ) -> Iterator[tuple[int, float | int, Selected]]:
        """Select the rows of every seed and size, starting from the largest size."""
        n = len(self.y)
        about = self.cells.digest((strategy, self.model, self.dynamics))
        for seed in seeds:
            ranking = None
            for share in sorted(keep, key=lambda k: k * n if isinstance(k, float) else k)[::-1]:
                cell = {"strategy": name, "keep": share, "seed": seed}
                selected = self.cells.selection(cell, about)
                if selected is None:
                    pruner = clone(strategy).set_params(keep=share)
                    set_random_states(pruner, seed)
                    selected, ranking = self._select(name, pruner, ranking)
                    self.cells.keep_selection(cell, about, selected)
                yield seed, share, selected

    def _select(self, name: str, pruner: Any, ranking: tuple[Rows, float] | None) -> Any:
        """Select the rows of one size; returns a ranking for smaller sizes too, if any."""
        if not isinstance(pruner, Strategy):
            start = time.perf_counter()
            pruner.fit(self.X, self.y)
            return self._selected(pruner, time.perf_counter() - start), None
        evidence = self._evidence_of(name, pruner)
        order, before = ranking or (None, 0.0)
        start, known = time.perf_counter(), sum(evidence.seconds.values())
        pruner.fit_evidence(evidence, order)
        spent = time.perf_counter() - start - (sum(evidence.seconds.values()) - known)
        selected = self._selected(pruner, before + spent)
        if ranking is None and "ranking_" in vars(pruner):
            ranking = pruner.ranking_, spent
        return selected, ranking

    def _selected(self, pruner: Any, seconds: float) -> Selected:
        weights = getattr(pruner, "sample_weight_", None)
        return Selected(self.candidates[pruner.sample_indices_], weights, seconds)

    def _evidence_of(self, name: str, pruner: Strategy) -> Evidence:
        from skprune.baselines.evidence import read_evidence

        shared = pruner.model is None
        key = pruner.looks_at_rows, None if shared else name
        if key not in self._evidence:
            model = self.model if shared else pruner.model
            reader = clone(pruner).set_params(model=None)
            start = time.perf_counter()
            self._evidence[key] = evidence = read_evidence(
                reader,
                self.X,
                self.y,
                model=model,
                look=pruner.looks_at_rows,
                seed=self.seed,
                dynamics=self.dynamics,
            )
            evidence.seconds["reading"] = time.perf_counter() - start
        return self._evidence[key]


def _split(
    estimator: Any, scoring: Any, X: Any, y: Any, X_val: Any, y_val: Any, size: float, seed: int
) -> Task:
    """Split the rows into candidates and rows for scoring."""
    y = _targets(X, y)
    if X_val is not None:
        y_val = _targets(X_val, y_val, "_val")
        return Task(estimator, scoring, X, y, np.arange(len(y)), X_val, y_val)
    if y_val is not None:
        raise ValueError("y_val was given without X_val, the rows to score on; give both.")
    from skprune.heads.reading import is_continuous

    strata = y if y.ndim == 1 and not is_continuous(y, None) else None
    try:
        parts = train_test_split(
            np.arange(len(y)), test_size=size, random_state=seed, stratify=strata
        )
    except ValueError:  # a class of one row
        parts = train_test_split(np.arange(len(y)), test_size=size, random_state=seed)
    train, test = map(np.sort, parts)
    return Task(estimator, scoring, X, y, train, _take(X, test), y[test])


def _targets(X: Any, y: Any, of: str = "") -> Any:
    """The targets of X, one a row; ``of`` ends the names of both in a message."""
    from skprune.data.source import as_numpy
    from skprune.data.sources import as_source, is_dataset

    source = as_source(X) if is_dataset(X) else None
    if source is None and y is None:
        raise ValueError(
            f"X{of} was given without y{of}, and {type(X).__name__} holds no targets; give both."
        )
    n = n_rows(X) if source is None else len(source)
    targets = source.targets() if source is not None and y is None else as_numpy(y)
    if not 0 < n == len(targets):
        raise ValueError(
            f"X{of} has {n} rows and y{of} {len(targets)}; give one target for each row, and at "
            "least one row."
        )
    return targets


def _take(X: Any, rows: Rows) -> Any:
    from skprune.data.sources import as_source, is_dataset

    return as_source(X).take(rows) if is_dataset(X) else take_rows(X, rows)
