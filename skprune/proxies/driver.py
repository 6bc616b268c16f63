"""What ``InfluencePruner.fit`` does, in order: read, split, search, number rows as the caller."""

from __future__ import annotations

import numbers
import time
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
from sklearn.utils import check_consistent_length, check_random_state

from skprune.data.containers import natural, take_rows
from skprune.data.copies import numbered
from skprune.data.sources import is_dataset
from skprune.data.table import Table, hold_out
from skprune.evaluation.retrained import Data, Retraining, Seen, make_retraining
from skprune.heads.encoding import HeadEncoder
from skprune.heads.linear_spec import HeadSpec
from skprune.heads.reading import read_table, read_validation
from skprune.network.encoding import NetworkEncoder, SourceRows
from skprune.network.reading import read_rows, read_validation_rows
from skprune.network.torch_model import Network, is_network
from skprune.proxies.known import prune_head_once
from skprune.proxies.layers import prune_network
from skprune.proxies.parameters import Proxy, Retrain, TorchProxy, as_proxy
from skprune.proxies.rules import check_rows, examines_head, what_is_retrained
from skprune.proxies.sampling import Prior
from skprune.search.outcome import class_counts
from skprune.search.request import Outcome, Settings
from skprune.subset import Rows
from skprune.utils.cache import check_folder, digest
from skprune.utils.devices import choose_device
from skprune.utils.progress import Progress
from skprune.utils.size import resolve_size
from skprune.utils.threads import threads


def prune(
    pruner: Any, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any, groups: Any
) -> tuple[Outcome, Table, Rows]:
    """Decide which rows to keep; the arguments are those of ``InfluencePruner.fit``.

    Returns
    -------
    found : Outcome
        Its rows are numbered as the caller's.
    table : Table
        The caller's rows.
    counted : ndarray of int64
        Those that have a weight, among which was chosen.
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
) -> tuple[Outcome, Table, Rows]:
    proxy = as_proxy(pruner.model)
    proxy.check()
    verify = pruner.verify if isinstance(pruner.verify, Retrain) else Retrain()
    verify.check()
    # Refuse an unknown device and an impossible folder before anything is trained.
    choose_device(proxy.device, 0)
    check_folder(proxy.cache_dir)
    begin, y, y_val = time.perf_counter(), natural(y), natural(y_val)
    head_only = examines_head(pruner, proxy)
    check_rows(proxy.given, X)
    read = _read_network if isinstance(proxy, TorchProxy) else _read_table
    whole, validation, subject = read(pruner, proxy, X, y, sample_weight, X_val, y_val)
    check_consistent_length(whole.y, groups)
    # Rows without weight say nothing of the model: they are neither examined nor kept.
    counted = np.flatnonzero(whole.weights > 0)
    table = whole.take(counted) if len(counted) < len(whole) else whole
    seed, fixed = _seed(pruner.random_state, table), None
    if pruner.keep is not None:
        minima = table.minima(pruner.min_per_class)
        fixed = min(len(table), resolve_size(pruner.keep, len(whole), minima))
    retrained = what_is_retrained(pruner, proxy, subject)
    # The excess loss on all rows tells the gap of linear models, and of no others.
    linear = isinstance(subject, HeadSpec) and subject.own and retrained is proxy.given
    inner, outer = np.arange(len(table)), None
    if validation is None:
        groups = None if groups is None else np.asarray(groups)[counted]
        inner, outer = hold_out(table, pruner.validation_fraction, groups, seed)
        validation = table.take(outer)
        held_out = _data(X, y, whole, counted[outer], retrained)
    else:
        held_out = _data(X_val, y_val, validation, np.arange(len(validation)), retrained)
    retraining = confirm = None
    if retrained is not None:
        # Only a proxy of a network tells how another network is scored.
        judged = verify.estimator if isinstance(verify.estimator, Proxy) else proxy
        retrain = partial(
            make_retraining,
            retrained,
            scoring=pruner.scoring,
            loss=judged.loss,
            n_seeds=verify.n_seeds,
            seed=seed,
            device=judged.device,
            batch_size=judged.batch_size,
            on_training=lambda training: progress.step(),
            on_trial=progress.tried,
        )
        retraining = retrain(_data(X, y, whole, counted[inner], retrained), held_out)
        if linear:
            every = _data(X, y, whole, counted, retrained)
            confirm = partial(_on_all_rows, retrain, every)
    settings = Settings(
        max_gap=pruner.max_gap,
        keep=pruner.keep,
        fixed=fixed,
        scoring=pruner.scoring,
        curvature=proxy.curvature,
        solver="swap" if pruner.solver == "auto" else pruner.solver,
        prior=Prior(pruner.sampling, len(whole), counted),
        refit=head_only and pruner.verify is not None,
        retraining=retraining,
        confirm=confirm,
        retrained=type(retrained).__name__,
        min_per_class=pruner.min_per_class,
        inner=inner,
        outer=outer,
        seed=seed,
        device=proxy.device,
        batch_size=proxy.batch_size,
        cache_dir=proxy.cache_dir,
        progress=progress,
        begin=begin,
    )
    # The precision of the arithmetic here is not that of the model around which fit is called.
    kinds = ["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"]
    with ExitStack() as stack:
        for kind in kinds:
            stack.enter_context(torch.autocast(kind, enabled=False))
        stack.enter_context(threads(pruner.n_jobs, _numbers(pruner, subject, table)))
        if isinstance(subject, Network) and not head_only:
            found = prune_network(settings, table, subject, proxy.layers, validation)
        else:
            encoder = _encoder(proxy, subject, table, seed, progress)
            found = prune_head_once(settings, table, encoder, validation)
    return _as_the_caller(found, whole, counted), whole, counted


def _on_all_rows(retrain: Callable[..., Retraining], every: Data, seen: Seen) -> Retraining:
    return retrain(every, every, seen=seen)


def _as_the_caller(found: Outcome, whole: Table, counted: Rows) -> Outcome:
    """The same with the caller's numbers of the rows, those without weight among them."""
    # Where nothing is pruned, rows without weight stay as well.
    kept = counted[found.kept] if found.report.met else np.arange(len(whole))
    scores = np.zeros(len(whole))
    scores[counted] = found.scores
    report = replace(
        found.report,
        notes=found.report.notes + (() if whole.copies is None else (whole.copies.note(),)),
        n_rows=len(whole),
        n_kept=len(kept),
        classes=class_counts(whole, kept),
    )
    return replace(found, kept=kept, scores=scores, report=report)


def _numbers(pruner: Any, subject: HeadSpec | Network, table: Table) -> int:
    """Numbers that the rows hold, or meet on their way through a network."""
    if isinstance(subject, Network):
        return len(table) * subject.n_parameters
    return len(table) * int(getattr(pruner, "n_features_in_", 1))


def _data(X: Any, y: Any, table: Table, rows: Rows, retrained: Any) -> Data:
    """Some rows as an estimator takes them; those of a network as positions."""
    estimator = hasattr(retrained, "fit") and not is_network(retrained)
    copies = None if table.copies is None else table.copies.take(rows)
    about = (table.given_weights(rows), None if copies is None else numbered(copies.units))
    if isinstance(table.X, SourceRows) and not (estimator and not is_dataset(X)):
        return Data(table.X.take_rows(rows), None, *about)
    if np.array_equal(rows, np.arange(len(table))):  # all of them: no copy
        return Data(X, y, *about)
    return Data(take_rows(X, rows), take_rows(y, rows), *about)


def _read_table(
    pruner: Any, proxy: Proxy, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any
) -> tuple[Table, Table | None, HeadSpec]:
    table, spec = read_table(pruner, X, y, sample_weight, proxy.given)
    if X_val is None and y_val is None:
        return table, None, spec
    return table, read_validation(pruner, X_val, y_val, table, spec), spec


def _read_network(
    pruner: Any, proxy: Proxy, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any
) -> tuple[Table, Table | None, Network]:
    network = Network(proxy.given, proxy.loss, proxy.weight_decay)
    table = read_rows(X, y, sample_weight, network.loss, network.model)
    if X_val is None and y_val is None:
        return table, None, network
    held_out = read_validation_rows(X_val, y_val, table, network.loss, network.model)
    return table, held_out, network


def _encoder(
    proxy: Proxy, subject: HeadSpec | Network, table: Table, seed: int, progress: Progress
) -> HeadEncoder:
    if isinstance(subject, Network):
        where = (proxy.device, proxy.batch_size, seed, proxy.cache_dir)
        return NetworkEncoder(subject, *where, progress)
    return HeadEncoder(subject, table.classes, seed)


def _seed(random_state: Any, table: Table) -> int:
    if random_state is None:
        return int(digest(table.codes if table.classes is not None else table.y)[:8], 16)
    if isinstance(random_state, numbers.Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31))
