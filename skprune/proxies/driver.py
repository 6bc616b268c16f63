"""What ``InfluencePruner.fit`` does, in order: read, split, fit the proxy, search, tell."""

from __future__ import annotations

import numbers
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_consistent_length, check_random_state

from skprune.data.containers import natural
from skprune.data.table import Apart, Split, Table, set_apart, split_rows
from skprune.evaluation.base import Evaluator
from skprune.heads.weighting import wants_weights
from skprune.network.torch_model import Network
from skprune.proxies.base import FittedProxy, Reading
from skprune.proxies.certificates import Certificate, set_aside
from skprune.proxies.given import Given
from skprune.proxies.judge import Judge, make_judge
from skprune.proxies.known import search_once
from skprune.proxies.rules import (
    check_rows,
    how_verified,
    logits_wanted,
    targets_wanted,
    weights_wanted,
)
from skprune.proxies.sampling import Sampling
from skprune.proxies.shorthands import (
    as_proxy,
    as_verify,
    name_of_own,
    name_of_untrained,
    trained_model,
)
from skprune.proxies.verify import Certify, DefaultBoosting, Retrain, Verify
from skprune.search.all_rows import choose_among_all
from skprune.search.apart import measure_apart
from skprune.search.candidates import Candidates
from skprune.search.certified import certify
from skprune.search.outcome import class_counts, tell
from skprune.search.request import Budget, Choice, Outcome
from skprune.search.schemes import Scheme, beside_random, better_scheme, find_taught
from skprune.search.sizes import find
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
    proxy.check_task(pruner, retrained=verify is not None)
    with_logits = logits_wanted(pruner, proxy, table)
    given = Given(X, y, X_val, y_val, whole, reading.validation)
    certificate, asked = None, as_verify(pruner.verify)
    if isinstance(asked, Certify):
        about = (pruner.scoring, pruner.validation_fraction, seed, progress)
        aside = set_aside(asked, verify, proxy, given, table, groups, *about)
        certificate, table, groups = aside
        reading = replace(reading, validation=None)
    if pruner.keep is not None:
        minima = table.minima(pruner.min_per_class)
        size = min(len(table), resolve_size(pruner.keep, len(whole), minima))
    split = split_rows(table, reading.validation, pruner.validation_fraction, groups, seed)
    judge = apart = None
    if verify is not None:
        # The excess loss on all rows tells the gap of a linear model that is retrained, no other's.
        linear = reading.linear and isinstance(verify, Retrain) and verify.trained is None
        searches = pruner.keep is None and certificate is None
        if searches and (split.is_brought or not linear):
            apart = set_apart(split, groups, seed)
        about = (linear, pruner.scoring, seed, progress)
        judge = make_judge(verify, proxy, given, split, apart, *about)
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
            name_of_untrained(proxy, verify, linear=reading.linear),
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
        found = _as_the_caller(found, whole, table)
        if with_logits:
            progress.phase("running the kept rows through the network")
            found = _with_logits(found, whole)
    return found, whole


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
    untrained : str
        The name of the model that the rows are for, if nothing trains it; else empty.
    """

    refit: bool
    both_hold: bool
    weights: str | bool
    favours_weights: bool
    targets: str | None
    own: str
    untrained: str


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
        same = split.is_brought or found.best is None  # what was not found is not measured
        measured = proxy if same else train.proxy.on(apart.train)
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
    names = (wanted.own, wanted.untrained)
    return tell(budget, choice, split, found, notes, diagnostics, progress, *names)


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


def _with_logits(found: Outcome, whole: Table) -> Outcome:
    """The same with the logits of the kept rows, in half precision."""
    logits = found.proxy.logits(whole.take(found.kept)).cpu().numpy()
    most = np.finfo(np.float16).max
    said = "those of the network that scored the rows, which has seen what it was trained on"
    report = replace(found.report, notes=(*found.report.notes, ("teacher logits", said)))
    return replace(found, logits=logits.clip(-most, most).astype(np.float16), report=report)


def _numbers(pruner: Any, reading: Reading) -> int:
    """Numbers that the rows hold, or meet on their way through a network."""
    if isinstance(reading.subject, Network):
        return len(reading.table) * reading.subject.n_parameters
    return len(reading.table) * int(getattr(pruner, "n_features_in_", 1))


def seed_of(random_state: Any, table: Table) -> int:
    """The seed of a fit, which follows from the targets unless there is another."""
    if random_state is None:
        return int(digest(table.codes if table.classes is not None else table.y)[:8], 16)
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))
