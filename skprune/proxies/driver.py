"""What ``InfluencePruner.fit`` does, in order: read, split, fit the proxy, search, tell."""

from __future__ import annotations

import numbers
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from sklearn.utils import check_consistent_length, check_random_state

from skprune.data.containers import natural, take_rows
from skprune.data.copies import is_new, numbered
from skprune.data.sources import is_dataset
from skprune.data.table import Apart, Split, Table, hold_out, number_groups, set_apart, split_rows
from skprune.evaluation.base import Evaluator, OnTrain
from skprune.evaluation.certified import Certifier, Strictest
from skprune.evaluation.retrained import Data, Seen
from skprune.heads.weighting import wants_weights
from skprune.network.encoding import SourceRows
from skprune.network.torch_model import Network, is_network
from skprune.proxies.base import FittedProxy, Reading
from skprune.proxies.known import search_once
from skprune.proxies.rules import check_rows, how_verified, targets_wanted, weights_wanted
from skprune.proxies.sampling import Sampling
from skprune.proxies.shorthands import (
    as_proxy,
    as_verify,
    certificate_of_head,
    name_of_own,
    trained_model,
)
from skprune.proxies.verify import Certify, DefaultBoosting, Retrain, Task, Verify
from skprune.search.all_rows import choose_among_all
from skprune.search.apart import measure_apart
from skprune.search.candidates import Candidates
from skprune.search.certified import certify
from skprune.search.outcome import class_counts, tell
from skprune.search.request import Budget, Choice, Outcome
from skprune.search.schemes import Scheme, beside_random, better_scheme, find_taught
from skprune.search.sizes import find
from skprune.subset import Rows
from skprune.utils.cache import check_folder, digest
from skprune.utils.devices import choose_device
from skprune.utils.progress import Progress
from skprune.utils.size import resolve_size
from skprune.utils.threads import threads


def prune(
    pruner: Any, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, groups: Any
) -> tuple[Outcome, Table]:
    """Decide which rows to keep; the arguments are those of ``InfluencePruner.fit``.

    Returns
    -------
    found : Outcome
        Its rows are numbered as the caller's.
    table : Table
        The caller's rows.
    """
    with Progress(pruner.verbose) as progress:
        return _prune(progress, pruner, X, y, sample_weight, X_val, y_val, groups)


def _prune(
    progress: Progress,
    pruner: Any,
    X: Any,
    y: Any,
    sample_weight: Any,
    X_val: Any,
    y_val: Any,
    groups: Any,
) -> tuple[Outcome, Table]:
    proxy = as_proxy(pruner.model)
    proxy.check()
    if isinstance(pruner.verify, Verify):
        pruner.verify.check()
    # Refuse an unknown device and an impossible folder before anything is trained.
    choose_device(proxy.device, 0)
    check_folder(proxy.cache_dir)
    y, y_val = natural(y), natural(y_val)
    proxy.check_task(pruner)
    check_rows(proxy.given, X)
    reading = proxy.read(pruner, X, y, sample_weight, X_val, y_val)
    whole = reading.table
    check_consistent_length(whole.y, groups)
    # Rows without weight say nothing of the model: they have no influence and are not kept.
    counted = np.flatnonzero(whole.weights > 0)
    table = whole.take(counted) if len(counted) < len(whole) else whole
    seed, size = seed_of(pruner.random_state, table), None
    groups = None if groups is None else np.asarray(groups)[counted]
    verify = how_verified(pruner, proxy, reading.subject, table)
    certificate, asked = None, as_verify(pruner.verify)
    if isinstance(asked, Certify):
        units = None
        if reading.validation is None:
            names = None if groups is None else number_groups(groups, len(table))
            rest, out = hold_out(table, pruner.validation_fraction, names, seed)
            aside = table.take(out)
            as_given = partial(data_of, X, y, aside, whole)
            if names is not None:  # whole groups are independent draws, their rows are not
                units, groups = numbered(names[out]), names[rest]
            table = table.take(rest)
        else:
            aside = new_rows(X, table, X_val, reading.validation)
            as_given = partial(data_of, X_val, y_val, aside, reading.validation)
            reading = replace(reading, validation=None)
        trained = None
        if isinstance(verify, Retrain):
            held_out = as_given(verify, proxy)
            held_out = held_out if units is None else replace(held_out, units=units)
            train = data_of(X, y, table, whole, verify, proxy)
            trained = asked.training(verify).certifier(
                Task(proxy, train, held_out, pruner.scoring, seed, progress)
            )
        of_head = certificate_of_head(asked, proxy)
        certificate = Certificate(of_head, trained, aside, units, pruner.scoring, seed)
    if pruner.keep is not None:
        minima = table.minima(pruner.min_per_class)
        size = min(len(table), resolve_size(pruner.keep, len(whole), minima))
    split = split_rows(table, reading.validation, pruner.validation_fraction, groups, seed)
    judge, apart = None, None
    if verify is not None:

        def task(train: Table, held_out: Table) -> Task:
            about = (X_val, y_val, held_out, split.validation)
            if not split.is_brought:
                about = (X, y, held_out, whole)
            rows = data_of(X, y, train, whole, verify, proxy), data_of(*about, verify, proxy)
            return Task(proxy, *rows, pruner.scoring, seed, progress)

        every = None
        if _tells_all(reading, verify):
            every = data_of(X, y, table, whole, verify, proxy)
        if pruner.keep is None and certificate is None and (every is None or split.is_brought):
            apart = set_apart(split, groups, seed)
        choosing = split.validation if apart is None else apart.chooses
        others = None if apart is None else task(apart.train, apart.held_out)
        judge = Judge(verify, task(split.train, choosing), every, others)
    budget = Budget(pruner.max_gap, pruner.keep, size)
    solver = "swap" if pruner.solver == "auto" else pruner.solver
    sampling = Sampling(pruner.sampling, len(whole))
    choice = Choice(solver, sampling, pruner.min_per_class, seed)
    # The precision of the arithmetic here is not that of the model around which fit is called.
    kinds = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    with ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(threads(pruner.n_jobs, _numbers(pruner, reading)))
        wanted = Wanted(
            pruner.verify is not None,
            isinstance(verify, DefaultBoosting),
            weights_wanted(pruner, proxy, verify),
            wants_weights(trained_model(proxy, verify)),
            targets_wanted(pruner, proxy, verify, table),
            name_of_own(proxy, linear=reading.linear),
        )
        parts = (split, apart, judge, certificate)
        search = partial(_search, budget, choice, *parts, wanted, progress)
        found = search_once(
            lambda: proxy.search(reading, split, pruner.scoring, seed, progress, search),
            (budget, choice, split, judge, certificate, wanted, pruner.scoring),
            proxy,
            reading,
            table,
            seed,
            progress,
        )
    return _as_the_caller(found, whole, table), whole


@dataclass(frozen=True)
class Wanted:
    """What is asked of the search beside the budget.

    Attributes
    ----------
    refit : bool
        Whether the proxy's levels that fit anything are wanted, or its predictions only.
    both_hold : bool
        Whether the proxy's dearest level holds the budget as well as the judge.
    weights : "auto" or bool
        Whether rows may get weights, or must.
    favours_weights : bool
        Whether models of the kind that is trained are better for weights.
    targets : "auto", "teacher" or None
        Whether rows may carry a teacher's targets, or must.
    own : str
        The name of what the proxy's own levels fit, for the report.
    """

    refit: bool
    both_hold: bool
    weights: str | bool
    favours_weights: bool
    targets: str | None
    own: str


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


def _search(
    budget: Budget,
    choice: Choice,
    split: Split,
    apart: Apart | None,
    judge: Judge | None,
    certificate: Certificate | None,
    wanted: Wanted,
    progress: Progress,
    proxy: FittedProxy,
) -> Outcome:
    """From a fitted proxy to what is kept."""

    def candidates(proxy: FittedProxy, judged: Evaluator | None) -> Candidates:
        levels = [e for e in proxy.evaluators() if wanted.refit or e.level == "predicted"]
        if not levels and judged is None:
            raise ValueError(
                f"{proxy.describe()} measures no gap itself; give verify= an estimator to retrain."
            )
        held_by = [e.level for e in (*levels[-1:], judged) if e] if wanted.both_hold else ()
        return Candidates(proxy, choice, levels, judged, held_by)

    judged = None if judge is None else judge.on_train
    scheme = Scheme(candidates(proxy, judged))
    weighted = proxy.weighted() if wanted.weights and choice.is_default else None
    if weighted is not None:
        tried = Scheme(candidates(weighted, judged))
        likely, other = (tried, scheme) if wanted.favours_weights else (scheme, tried)
        both = wanted.weights == "auto" and judge is not None
        scheme = better_scheme(likely, other, progress) if both else tried
    taught = scheme.candidates.proxy.taught() if wanted.targets else None
    must, n, found = wanted.targets == "teacher", len(split.table), None
    notes: tuple[tuple[str, str], ...] = ()
    if taught is None and must:
        raise ValueError(
            "targets='teacher' needs a pilot, which is grown on a dense copy of the columns, and "
            "this table is too large for one; leave targets=None, or give fewer columns."
        )
    if taught is not None:
        with_teacher = candidates(taught, judged)
        found, said = find_taught(budget, scheme, with_teacher, n, must, progress)
        notes = (("teacher targets", said),)
    if found is None:
        found = find(budget, scheme.candidates, n, progress)
    train = found.candidates
    proxy = train.proxy
    if not split.is_brought:
        progress.phase("fitting the proxy to all rows")
        proxy = proxy.on(split.table)
    others = None if judge is None else judge.on_others()
    if apart is not None and others is not None:
        found = beside_random(budget, found, progress, before=True)
        measured = proxy if split.is_brought else train.proxy.on(apart.train)
        sides = (candidates(measured, others), candidates(proxy, others))
        found = measure_apart(budget, found, *sides, progress)
    else:
        if not split.is_brought:
            judged = None if judge is None else judge.on_all(split, proxy.seen())
            found = choose_among_all(budget, found, candidates(proxy, judged), progress)
        found = beside_random(budget, found, progress)
    if certificate is not None:
        certifier = certificate.of(found.final_candidates.proxy)
        found = certify(budget, found, certifier, progress)
    diagnostics = train.proxy.diagnostics()
    for evaluator in [*train.evaluators, *found.final_candidates.evaluators]:
        if judge is None or judge.knows_head:
            diagnostics += evaluator.diagnostics()
    diagnostics = tuple(dict.fromkeys(diagnostics))
    return tell(budget, choice, split, found, notes, diagnostics, progress, wanted.own)


def _as_the_caller(found: Outcome, whole: Table, table: Table) -> Outcome:
    """The same with the caller's numbers of the rows, those without weight among them."""
    # Where nothing is pruned, rows without weight stay as well.
    kept = table.positions[found.kept] if found.report.met else np.arange(len(whole))
    scores = np.zeros(len(whole))
    scores[table.positions] = found.scores
    own, weights, targets = whole.given_weights(kept), found.weights, found.targets
    if weights is not None:
        weights = weights * (1.0 if own is None else own)
    if targets is not None:
        targets = replace(targets, values=targets.values.copy())
    report = replace(
        found.report,
        notes=found.report.notes + (() if whole.copies is None else (whole.copies.note(),)),
        n_rows=len(whole),
        n_kept=len(kept),
        classes=class_counts(whole, kept),
    )
    return replace(
        found,
        kept=kept,
        weights=weights,
        targets=targets,
        scores=scores,
        report=report,
    )


def _tells_all(reading: Reading, verify: Verify) -> bool:
    """Whether the excess loss on all rows tells the gap: of linear models, and of no others."""
    return reading.linear and verify.trained is None


def _numbers(pruner: Any, reading: Reading) -> int:
    """Numbers that the rows hold, or meet on their way through a network."""
    if isinstance(reading.subject, Network):
        return len(reading.table) * reading.subject.n_parameters
    return len(reading.table) * int(getattr(pruner, "n_features_in_", 1))


def data_of(X: Any, y: Any, table: Table, whole: Table, verify: Verify, proxy: Any) -> Data:
    """The rows of ``table``, of X and y whose rows are ``whole``, as what is trained takes them."""
    trained = trained_model(proxy, verify)
    estimator = hasattr(trained, "fit") and not is_network(trained)
    every = np.arange(len(table))
    units = None if table.copies is None else numbered(table.copies.units)
    about = (table.given_weights(every), units)
    if isinstance(verify, DefaultBoosting):
        rows = table.X.toarray() if sp.issparse(table.X) else np.asarray(table.X)
        return Data(rows, table.y, *about)
    if isinstance(table.X, SourceRows) and not (estimator and not is_dataset(X)):
        return Data(table.X, None, *about)
    if len(table) == len(whole):  # all of them: no copy
        return Data(X, y, *about)
    return Data(take_rows(X, table.positions), take_rows(y, table.positions), *about)


def new_rows(X: Any, table: Table, X_new: Any, new: Table) -> Table:
    """The rows of X_new, read as ``new``, that are no copies of rows of X, read as ``table``."""
    compared = (X, X_new) if isinstance(table.X, SourceRows) else (table.X, new.X)
    places = np.flatnonzero(is_new(*compared, len(new)))
    if not len(places):
        raise ValueError(
            f"All {len(new):,} rows to measure on are copies of fitted rows, and say nothing of "
            "rows that no model has seen; bring others."
        )
    return new.take(places)


def seed_of(random_state: Any, table: Table) -> int:
    """The seed of a fit, which follows from the targets unless there is another."""
    if random_state is None:
        return int(digest(table.codes if table.classes is not None else table.y)[:8], 16)
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))
