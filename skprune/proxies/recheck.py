"""Check on new rows whether the kept rows still do as well as all rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from skprune.data.table import Table
from skprune.data.teaching import Teaching
from skprune.evaluation.certified import CertifiedGap, Certifier
from skprune.proxies.driver import seed_of
from skprune.proxies.given import Given, new_rows
from skprune.proxies.shorthands import (
    as_proxy,
    as_verify,
    certificate_of_head,
    is_trainable,
)
from skprune.proxies.verify import Certify, Retrain, Task, Verify
from skprune.results.gap import Gap
from skprune.results.recheck import Recheck
from skprune.subset import Selection
from skprune.utils.progress import Progress


def recheck(
    pruner: Any, given: tuple[Any, Any, Any], X_new: Any, y_new: Any, certify: bool
) -> Recheck:
    """Measure the gap of the rows that a fitted pruner kept, on new rows.

    Parameters
    ----------
    pruner : InfluencePruner
    given : tuple
        X, y and sample_weight of its ``fit``.
    X_new, y_new
        The new rows.
    certify : bool
        Whether to certify the gap.
    """
    X, y, sample_weight = given
    proxy = as_proxy(pruner.model)
    verify = _verified(pruner, proxy.given, certify)
    reading = proxy.read(pruner, X, y, sample_weight, X_new, y_new)
    whole = reading.table
    table = whole.take(np.flatnonzero(whole.weights > 0))
    if reading.validation is None:
        raise ValueError("recheck measures on new rows; pass X_new and y_new.")
    new = new_rows(X, table, X_new, reading.validation)
    seed = seed_of(pruner.random_state, table)
    of_head = certificate_of_head(verify, proxy)
    if verify is None or of_head is not None:
        fitted, certifier = pruner._proxy, None
        if of_head is not None:
            certifier = of_head.of_head(fitted, new, pruner.scoring, seed)
        evaluator = fitted.on_new(new) if certifier is None else certifier
        return _told(pruner, evaluator.gap(kept_rows(pruner, fitted.table)), certifier)
    with Progress(pruner.verbose) as progress:
        rows = Given(X, y, X_new, y_new, whole, reading.validation)
        data = rows.rows(table, verify, proxy), rows.brought(new, verify, proxy)
        task = Task(proxy, *data, pruner.scoring, seed, progress)
        certifier = verify.certifier(task) if isinstance(verify, Certify) else None
        evaluator = verify.evaluator(task) if certifier is None else certifier
        return _told(pruner, evaluator.gap(kept_rows(pruner, table)), certifier)


def _verified(pruner: Any, model: Any, certify: bool) -> Verify | None:
    """What measures the gap; None if a head is fitted, without a certificate."""
    verify = as_verify(pruner.verify)
    if verify is not None and not isinstance(verify, Retrain):  # a level that was defined elsewhere
        if not certify:
            return verify
        verify = None
    estimator = None if verify is None else verify.estimator
    n_seeds = 1 if verify is None else verify.n_seeds
    if certify:
        confidence = verify.confidence if isinstance(verify, Certify) else 0.95
        return Certify(estimator, confidence=confidence, n_seeds=n_seeds)
    trained = None if verify is None else verify.trained
    trainable = is_trainable(model if trained is None else trained)
    return Retrain(estimator, n_seeds=n_seeds) if trainable else None


def kept_rows(pruner: Any, table: Table) -> Selection:
    """What was kept, by position in a table that may lack rows without weight."""
    places = table.places(pruner.sample_indices_)
    known = places >= 0
    places, weights, targets = places[known], pruner.sample_weight_, None
    own = table.given_weights(places)
    if weights is not None:  # its own are those of the table
        weights = weights[known] / (1.0 if own is None else own)
    if pruner.teacher_targets_ is not None:
        targets = Teaching(pruner.teacher_targets_[known], table.classes)
    return Selection(places, weights=weights, targets=targets)


def _told(pruner: Any, gap: Gap, certifier: Certifier | None = None) -> Recheck:
    """The result with its status in words."""
    allowed = pruner.max_gap
    if pruner.keep is not None:
        allowed = float(pruner.gap_) + 2 * pruner.gap_.standard_error
    low, high = gap.interval()
    # A bound from above refutes nothing; the interval of the same differences may.
    least = Gap.interval(gap)[0] if isinstance(gap, CertifiedGap) else low
    holds = True if high <= allowed else False if least > allowed else None
    on = f"on {gap.n_rows:,} new rows"
    if gap.failure:
        said = f"the model cannot be trained on the kept rows: {gap.failure}"
    elif certifier is not None and isinstance(gap, CertifiedGap):
        sure = f"the {gap.level} gap is {float(gap):+.2g}, at most {high:+.2g} with "
        said = f"{sure}{gap.confidence:.0%} confidence, {on}"
        if holds is None:
            said += f"; {certifier.needed(allowed)}"
    else:
        said = f"the {gap.level} gap is {float(gap):+.2g}, from {low:+.2g} to {high:+.2g}, {on}"
    word = {True: "holds", False: "does not hold", None: "is not settled"}[holds]
    advice = {True: "", False: "; fit again with these rows", None: "; bring more rows"}[holds]
    status = f"the allowed gap of {allowed:.2g} {word}: {said}{advice}"
    return Recheck(gap, (low, high), allowed, holds, status)
