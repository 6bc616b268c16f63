"""InfluencePruner: the smallest subset of the rows on which a head loses at most ``max_gap``."""

from __future__ import annotations

import numbers
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.utils import check_consistent_length, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted
from tqdm.auto import tqdm

from skprune.base import KEEP_CONSTRAINTS, BasePruner, resolve_size
from skprune.cache import ContentCache, digest
from skprune.curvature import CURVATURES, choose_curvature
from skprune.examine import Examination, cold_fit, examine
from skprune.exceptions import PruningWarning
from skprune.gap import Gap, HeldOut
from skprune.influence import HeadInfluence
from skprune.models.adapters import HeadSpec
from skprune.models.encoding import HeadEncoder
from skprune.models.head import HeadFit, HeadProblem, fit_head
from skprune.models.scoring import make_scorer
from skprune.prior import Prior
from skprune.reading import (
    Table,
    check_features,
    hold_out,
    read_removed,
    read_table,
    read_validation,
)
from skprune.removal import GroupInfluence, group_influence, leave_one_out
from skprune.report import ClassCount, PruningReport
from skprune.search import Bench, Trial, carry_over, outcome, path_table, smallest_size
from skprune.subset import SOLVERS, Rows
from skprune.threads import threads

#: Examinations kept in memory, shared by all pruners of this process.
EXAMINATIONS = ContentCache(max_bytes=2**30)


@dataclass(frozen=True)
class _Study:
    """What ``fit`` knows of the rows: too large to be pickled with the pruner."""

    rows: NDArray[np.int64]
    problem: HeadProblem
    fit: HeadFit
    examination: Examination
    held_out: HeldOut
    target_scale: float


class InfluencePruner(BasePruner):
    """Keep the fewest rows on which retraining costs at most ``max_gap`` on held-out rows.

    The rows are examined by a convex head (softmax or ridge regression on the columns, or the
    linear model given as ``model``). Rows are chosen so that the influence vectors of what is
    removed cancel: then the optimum on the kept rows is the optimum on all of them. How many can
    go is found by refitting the head on the kept rows and measuring its loss on rows that took
    no part in fitting or selecting.

    Parameters
    ----------
    max_gap : float, default=0.01
        Allowed gap, score on all rows minus score on the kept rows, in the unit of ``scoring``.
        The measured gap *plus its standard error* stays within it.
    keep : float in (0, 1], int or None, default=None
        Share (float) or number (int) of rows to keep. If given, ``max_gap`` is not used: the best
        subset of that size is chosen, and its gap measured and reported.
    model : None, "softmax", "ridge", or a scikit-learn linear model or Pipeline, default=None
        What examines the rows. None is a softmax head for classes and a ridge head for numbers,
        on standardised columns, with 1e-3 of ridge penalty per row; "softmax" and "ridge" say
        which if y leaves doubt (whole numbers are classes if they have at most 30 values or are
        integer codes 0, 1, 2, ...). A ``LogisticRegression``,
        ``RidgeClassifier``, ``Ridge``, ``LinearRegression``, ``SGDClassifier(loss="log_loss")``
        or ``SGDRegressor`` is read (not fitted): its own penalty and the way it scales with the
        number of rows are respected. A Pipeline that ends in one may encode raw columns; it is
        fitted without the held-out rows, so let encoders ignore unknown categories.
    scoring : str or callable, default="loss"
        "loss": cross-entropy in nats, or squared error in units of the variance of y. Or any
        scikit-learn scorer, which counts all held-out rows alike, whatever their weight.
    curvature : {"auto", "dense", "ekfac", "diagonal"}, default="auto"
        The Hessian: exact, its Kronecker-factored eigenbasis, or its diagonal. "auto" takes the
        first that is affordable for the number of parameters.
    solver : {"auto", "swap", "anneal", "relax", "balance"}, default="auto"
        How the subset is searched: batched one-swap search ("auto"), the paper's simulated
        annealing, its convex relaxation followed by swaps, or one pass in blocks.
    prior : None, "loss", "el2n" or array-like of shape (n_rows,), default=None
        Odds of a row to be in the subset the search starts from. None is uniform within each
        class, the safe choice when another model is trained on the kept rows. "loss" (the square
        root of a row's loss) and "el2n" (the norm of its error p - y) prefer hard rows: right
        only where the trained model is the examining head itself.
    verify : {"refit", None}, default="refit"
        Measure gaps by refitting the head, or only predict them by one Newton step.
    min_per_class : int, default=1
        Rows that every class keeps at least (or all it has).
    validation_fraction : float, default=0.2
        Rows held out to measure the gap when ``fit`` is given no ``X_val``. The size is found
        without them; then all rows are examined and that share of them is kept.
    random_state : int, RandomState instance or None, default=None
        None derives the seed from y: the same data gives the same rows.
    n_jobs : int or None, default=None
        Threads for the products with the rows. None is one for small tables and torch's own
        number for others.
    verbose : int, default=0
        1 shows a progress bar.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,), int64
        Positions of the rows that are kept, sorted.
    keep_mask_ : ndarray of shape (n_rows,), bool
        True where a row is kept.
    scores_ : ndarray of shape (n_rows,)
        Predicted change of the mean held-out loss if that row alone is removed (unit of
        ``scoring="loss"``). Positive: the row helps. A row that was itself held out is scored on
        the other held-out rows.
    gap_ : Gap
        The gap at the chosen size: a float that knows its standard error and whether it was
        predicted or refit.
    path_ : dict of ndarray
        Every size tried: ``n_kept``, ``share``, ``predicted_gap``, ``refit_gap``,
        ``standard_error``, ``random_gap``, ``allowed``, ``seconds``. Sizes are of the trial, in
        which the held-out rows are not available; ``share`` carries over.
    report_ : PruningReport
        All of this in words; prints, and shows as a table in notebooks.
    classes_ : ndarray of shape (n_classes,)
        Labels, for classification only.
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,)
        If the columns have names.

    See Also
    --------
    PrunedClassifier, PrunedRegressor : Prune the training rows of any estimator.
    PruningSampler : A step of imbalanced-learn's Pipeline.

    Notes
    -----
    With a_i the gradient of row i at the optimum (and its share of a per-row penalty) and H the
    Hessian, removing a set T moves the optimum by about H^-1 sum_T a_i. The subset minimises
    the Newton decrement (sum_T a_i)' H^-1 (sum_T a_i). After [1]_, with the corrections of the
    theory page.

    References
    ----------
    .. [1] Yang et al., "Dataset Pruning: Reducing Training Data by Examining Generalization
       Influence", ICLR 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skprune import InfluencePruner
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pruner = InfluencePruner(keep=0.5)
    >>> X_kept, y_kept = pruner.fit_transform(X, y)
    >>> X_kept.shape
    (284, 30)
    >>> pruner.gap_.level
    'refit'
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "max_gap": [Interval(numbers.Real, 0, None, closed="neither")],
        "keep": [None, *KEEP_CONSTRAINTS],
        "model": "no_validation",
        "scoring": [str, callable],
        "curvature": [StrOptions({"auto", *CURVATURES})],
        "solver": [StrOptions({"auto", *SOLVERS} - {"exact"})],
        "prior": [None, StrOptions({"loss", "el2n"}), "array-like"],
        "verify": [None, StrOptions({"refit"})],
        "min_per_class": [Interval(numbers.Integral, 0, None, closed="left")],
        "validation_fraction": [Interval(numbers.Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        "n_jobs": [None, numbers.Integral],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        max_gap: float = 0.01,
        *,
        keep: float | int | None = None,
        model: Any = None,
        scoring: str | Callable[..., float] = "loss",
        curvature: str = "auto",
        solver: str = "auto",
        prior: Any = None,
        verify: str | None = "refit",
        min_per_class: int = 1,
        validation_fraction: float = 0.2,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int = 0,
    ) -> None:
        self.max_gap = max_gap
        self.keep = keep
        self.model = model
        self.scoring = scoring
        self.curvature = curvature
        self.solver = solver
        self.prior = prior
        self.verify = verify
        self.min_per_class = min_per_class
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    def fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        groups: Any = None,
    ) -> InfluencePruner:
        """Examine the rows and decide which to keep.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix or tensor with n rows
            Blocks of rows (images) are flattened for the examination.
        y : array-like of shape (n,)
            Labels, or numbers for regression.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows in the head's objective; kept rows keep theirs, and rows of
            weight 0 are not kept.
        X_val, y_val : optional
            Rows to measure the gap on; without them a share of X is held out.
        groups : array-like of shape (n,), optional
            Rows of one group are held out together.

        Returns
        -------
        InfluencePruner
            self

        Raises
        ------
        ValueError
            For parameters, rows or targets that make no sense; the message says which.
        TypeError
            If ``model`` is not a supported one.
        """
        self._validate_params()
        begin = time.perf_counter()
        table, spec = read_table(self, X, y, sample_weight, self.model)
        with threads(self.n_jobs, len(table) * getattr(self, "n_features_in_", 1)):
            self._fit(begin, table, spec, X_val, y_val, groups)
        return self

    def _fit(
        self, begin: float, table: Table, spec: HeadSpec, X_val: Any, y_val: Any, groups: Any
    ) -> None:
        # Rows without weight say nothing of the head: they are neither examined nor kept.
        check_consistent_length(table.y, groups)
        counted, whole_table = np.flatnonzero(table.weights > 0), table
        if len(counted) < len(table):
            table = table.take(counted)
        groups = None if groups is None else np.asarray(groups)[counted]
        n, minima = len(table), table.minima(self.min_per_class)
        fixed = None
        if self.keep is not None:
            fixed = min(n, resolve_size(self.keep, len(whole_table), minima))
        prior = Prior(self.prior, len(whole_table), counted)
        seed = self._seed(table)

        if X_val is None and y_val is None:
            inner, outer = hold_out(table, self.validation_fraction, groups, seed)
            train, validation = table.take(inner), table.take(outer)
        else:
            inner, outer = np.arange(n), None
            train, validation = table, read_validation(self, X_val, y_val, table, spec)
        encoder = HeadEncoder(spec, table.classes).fit(train.X, train.y, train.weights)
        problem = encoder.problem(train.X, train.y, train.weights)
        held_out = self._held_out(encoder, problem, validation)

        examination = self._examine(problem)
        bench = Bench(
            problem,
            examination.fit.theta,
            examination.influence(problem),
            held_out,
            groups=train.codes,
            minima=train.minima(self.min_per_class),
            solver=self._solver,
            prior=prior.of(problem, examination.fit, inner),
            refit=self.verify is not None,
            seed=seed,
        )
        best, trials = self._search(bench, fixed, n)

        if outer is None:
            everything, final, operator = problem, examination.fit, bench.operator
            indices = np.arange(n) if best is None else best.selection.indices
        else:
            everything = encoder.problem(table.X, table.y, table.weights)
            final = fit_head(everything, examination.curvature.solve, start=examination.fit.theta)
            operator = HeadInfluence(everything, final.theta, final.outputs, examination.curvature)
            whole = Bench(
                everything,
                final.theta,
                operator,
                held_out,
                groups=table.codes,
                minima=minima,
                solver=self._solver,
                prior=prior.of(everything, final, np.arange(n)),
                refit=bench.refit,
                seed=seed,
            )
            best, indices = carry_over(bench, whole, inner, best, trials, fixed, self.max_gap)
        kept = np.arange(len(whole_table)) if best is None else counted[indices]
        self._keep(kept, len(whole_table))
        scale = encoder.target_scale
        self._study = _Study(counted, everything, final, examination, held_out, scale)
        self.scores_: NDArray[np.float64] = np.zeros(len(whole_table))
        self.scores_[counted] = leave_one_out(
            everything,
            final.theta,
            operator,
            held_out,
            examination.fit.theta,
            None if outer is None else torch.from_numpy(outer),
        ).numpy()
        if table.classes is not None:
            self.classes_ = table.classes
        elif hasattr(self, "classes_"):  # of an earlier fit
            del self.classes_
        self._summarise(begin, whole_table, spec, prior, problem, examination, bench, best, trials)

    @property
    def _solver(self) -> str:
        return "swap" if self.solver == "auto" else self.solver

    def group_influence(self, rows: Any) -> GroupInfluence:
        """Predict what removing a set of rows does, without retraining.

        Parameters
        ----------
        rows : array-like of int, or mask of shape (n_rows,)
            The rows to *remove*.

        Returns
        -------
        GroupInfluence
            ``influence`` (influence function) and ``newton`` (Newton step on the kept rows), each
            with the change of ``parameters``, mean ``predictions`` and ``loss`` on the held-out
            rows. Without ``X_val`` those rows are among the fitted ones.

        Raises
        ------
        ValueError
            If the rows are not rows of the fitted table, or are all of them.
        """
        check_is_fitted(self)
        if self._study is None:
            raise ValueError(
                "group_influence needs the training rows, which are not pickled with the pruner; "
                "fit it again in this process."
            )
        study, n = self._study, len(self.keep_mask_)
        removed = read_removed(rows, n)[study.rows]
        if removed.all():
            raise ValueError("these are all rows that have a weight; leave out fewer.")
        return group_influence(
            study.problem,
            study.fit.theta,
            study.examination.curvature,
            study.held_out,
            torch.from_numpy(removed),
            study.target_scale,
        )

    def _check_features(self, X: Any) -> None:
        check_features(self, X, self.model)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        if "_study" in state:
            state = {**state, "_study": None}
        return state

    def _seed(self, table: Table) -> int:
        if self.random_state is None:
            return int(digest(table.codes if table.classes is not None else table.y)[:8], 16)
        if isinstance(self.random_state, numbers.Integral):
            return int(self.random_state)
        return int(check_random_state(self.random_state).randint(2**31))

    def _held_out(self, encoder: HeadEncoder, problem: HeadProblem, rows: Table) -> HeldOut:
        scorer, name = None, "loss"
        if self.scoring != "loss":
            scorer = make_scorer(self.scoring, encoder, rows.X, rows.y)
            name = self.scoring if isinstance(self.scoring, str) else "callable"
        held = encoder.problem(rows.X, rows.y, rows.weights)
        return HeldOut(held, encoder.loss_unit(problem), name, scorer)

    def _examine(self, problem: HeadProblem) -> Examination:
        """The examination of these rows, from memory if they were examined before."""
        name = choose_curvature(problem) if self.curvature == "auto" else self.curvature
        features = getattr(problem.features, "matrix", None)
        penalty = problem.penalty
        key = digest(
            name,
            features,
            problem.targets,
            problem.weights,
            type(problem.loss).__name__,
            penalty.strength,
            penalty.mask,
            "total" if penalty.shares is None else penalty.shares,
        )
        result: Examination = EXAMINATIONS.get(
            key, lambda: examine(problem, name), Examination.nbytes
        )
        if not result.fit.converged:
            warnings.warn(
                f"The head did not reach its optimum (mean gradient norm "
                f"{result.fit.gradient_norm:.1e}); without a penalty, separable classes have "
                "none. Influence is taken where the fit stopped; give the model a ridge penalty.",
                PruningWarning,
                stacklevel=5,
            )
        return result

    def _search(self, bench: Bench, fixed: int | None, n: int) -> tuple[Trial | None, list[Trial]]:
        """The trial of the fixed size, or the smallest allowed one."""
        n_train = len(bench.problem)
        smallest = max(1, int(bench.minima.sum()))
        if bench.problem.penalty.strength == 0.0:  # fewer rows do not determine the head
            smallest = min(n_train, max(smallest, bench.problem.theta_shape[0]))
        if fixed is not None:
            size = min(n_train, max(smallest, round(fixed / n * n_train)))
            trial = bench.trial(size)
            return trial, [trial]
        with tqdm(desc="skprune", unit=" sizes", disable=not self.verbose) as bar:

            def attempt(size: int, warm: Rows | None, with_random: bool) -> Trial:
                trial = bench.trial(size, warm, with_random=with_random)
                bar.set_postfix(rows=size, gap=f"{float(trial.gap):+.4f}")
                bar.update()
                return trial

            return smallest_size(attempt, largest=n_train, smallest=smallest, max_gap=self.max_gap)

    def _summarise(
        self,
        begin: float,
        table: Table,
        spec: HeadSpec,
        prior: Prior,
        problem: HeadProblem,
        examination: Examination,
        bench: Bench,
        best: Trial | None,
        trials: list[Trial],
    ) -> None:
        """Set ``gap_``, ``path_`` and ``report_``."""
        refit = self.verify is not None
        n, kept, n_train = len(table), len(self.sample_indices_), len(problem)
        level = "refit" if refit else "predicted"
        nothing = Gap(0.0, 0.0, level, bench.held_out.scoring, len(bench.held_out.problem))
        self.gap_: Gap = nothing if best is None else best.gap
        random = best.random if best is not None else None
        if best is not None and refit and random is None:
            random = bench.random_gap(best.size)
        self.path_: dict[str, NDArray[Any]] = path_table(
            trials, best, random, n_train, self.max_gap
        )
        selection_seconds = time.perf_counter() - begin
        pruned_seconds = None
        if best is not None and refit:
            rows = torch.from_numpy(best.selection.indices)
            pruned_seconds = cold_fit(problem.subset(rows))[1]
        counts = []
        if table.classes is not None:
            before = np.bincount(table.codes, minlength=len(table.classes))
            after = np.bincount(table.codes[self.sample_indices_], minlength=len(before))
            counts = [
                ClassCount(label, int(b), int(a))
                for label, b, a in zip(table.classes, before, after, strict=True)
            ]
        D, K = problem.theta_shape
        curvature = type(examination.curvature).__name__.removesuffix("Curvature").lower()
        self.report_ = PruningReport(
            status=outcome(self.keep, self.max_gap, level, best, trials),
            met=self.keep is not None or best is not None,
            n_rows=n,
            n_kept=kept,
            classes=tuple(counts),
            predicted=None if best is None else best.predicted,
            refit=None if best is None else best.measured,
            random=random,
            max_gap=self.max_gap if self.keep is None else None,
            prior=prior.in_words(),
            model=f"{spec.loss} head, {D} x {K} parameters, {curvature} curvature",
            gradient_norm=examination.fit.gradient_norm,
            selection_seconds=selection_seconds,
            full_fit_seconds=examination.fit_seconds,
            pruned_fit_seconds=pruned_seconds,
            full_fit_rows=n_train,
            pruned_fit_rows=n_train if best is None else best.size,
        )
        if not self.report_.met:
            warnings.warn(self.report_.status, PruningWarning, stacklevel=4)
