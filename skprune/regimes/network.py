"""Prune for a whole network: examine its layers, search, carry over to all rows, score, report."""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.gap import Gap
from skprune.network.adapters import Network
from skprune.network.batches import first_size, smaller
from skprune.network.bench import HeldOutRows, NetworkBench
from skprune.network.curvature import build_curvature, choose_curvature
from skprune.network.curvature.base import NetworkCurvature, WhiteningCurvature
from skprune.network.layers import RowGradients
from skprune.network.losses import RowLoss, read_loss
from skprune.network.module import TorchModel, find_link
from skprune.network.problem import NetworkProblem
from skprune.network.removal import removal_steps
from skprune.reading import Table
from skprune.regimes.base import Outcome, Settings, class_counts
from skprune.regimes.retrained import in_words, random_gap, search
from skprune.removal import Change, GroupInfluence
from skprune.report import PruningReport
from skprune.search import Trial, carry_over, outcome, path_table

#: In whose metric rows are chosen if the curvature asked for has no root.
SELECTOR = "ekfac"
#: Rows on which the last activation of a module is looked for.
LINK_ROWS = 8


@dataclass(frozen=True)
class NetworkStudy:
    """The curvature of all rows, ready to say what removing some of them does."""

    model: TorchModel
    curvature: NetworkCurvature
    held_out: HeldOutRows

    def remove(self, removed: NDArray[np.bool_]) -> GroupInfluence:
        """Predicted effect of removing the rows where the mask is True."""
        mask = torch.from_numpy(removed)[None]
        with self.model.frozen():
            changes = (self._change(mask, method) for method in ("influence", "newton"))
            return GroupInfluence(*changes)

    def _change(self, mask: torch.Tensor, method: str) -> Change:
        held = self.held_out.problem
        step = removal_steps(self.curvature, mask, method)[0]
        theta = held.theta + step
        difference = _predictions(held, theta) - _predictions(held, held.theta)
        weights = held.weights / held.weights.sum()
        losses = held.losses(theta) - held.losses()
        return Change(
            parameters=step.cpu().numpy(),
            predictions=(weights @ difference).cpu().numpy(),
            loss=self.held_out.unit * float(weights @ losses),
        )


def prune_network(
    settings: Settings, table: Table, network: Network, layers: Any, validation: Table
) -> Outcome:
    """Find the rows of ``table`` to keep.

    Parameters
    ----------
    settings : Settings
    table : Table
        Rows that have a weight, as positions.
    network : Network
    layers : "all", or list of str or nn.Module
    validation : Table
        Rows to predict the gap on.
    """
    if not isinstance(layers, str) and len(layers) == 0:
        raise ValueError("layers=[] names no layer; name some, or use layers='all' or 'head'.")
    train = table if settings.outer is None else table.take(settings.inner)
    begin = time.perf_counter()
    module = network.module(train.X.source, train.X.positions, settings.seed)
    seconds = time.perf_counter() - begin if network.trains else None
    model = TorchModel(module, settings.network_device)
    size = first_size(settings.batch_size, model.device)
    while True:
        try:
            return _prune(settings, table, network, layers, validation, model, size, seconds)
        except (MemoryError, RuntimeError) as error:
            size = smaller(size, error, model.device)


def _prune(
    settings: Settings,
    table: Table,
    network: Network,
    layers: Any,
    validation: Table,
    model: TorchModel,
    batch_size: int,
    training_seconds: float | None,
) -> Outcome:
    n, inner, outer = len(table), settings.inner, settings.outer
    train = table if outer is None else table.take(inner)
    with model.frozen():
        loss = _loss(model, network, table)
        pruning = _Pruning(settings, model, network, loss, layers, validation, batch_size)
        bench = pruning.bench(train, inner)
        smallest, fixed = max(1, int(bench.minima.sum())), None
        if settings.fixed is not None:
            fixed = min(len(bench), max(smallest, round(settings.fixed / n * len(bench))))
        best, trials = search(settings, bench, fixed, smallest)
        random = None if best is None else best.random
        if best is not None and settings.retraining is not None:
            random = random_gap(settings, bench, best.size)
        elif best is not None and random is None:
            random = bench.random_gap(best.size)
        whole, kept = bench, np.arange(n) if best is None else best.selection.indices
        if outer is not None:
            whole = pruning.bench(table, np.arange(n))
            size = settings.fixed
            if settings.retraining is not None and best is not None:
                size = round(best.size / len(bench) * n)
            best, kept = carry_over(bench, whole, inner, best, trials, size, settings.max_gap)
        scores = whole.scores(None if outer is None else torch.from_numpy(outer).to(model.device))
        problem = whole.predictor.problem
        pull = problem.gradients() / problem.total + problem.penalty * problem.theta
        norm = float(pull.norm())
    nothing = Gap(0.0, 0.0, settings.level, "loss", len(validation))
    return Outcome(
        kept=kept,
        pruned=best is not None,
        scores=scores.cpu().numpy(),
        gap=nothing if best is None else best.gap,
        path=path_table(trials, best, random, len(bench), settings.max_gap),
        report=_report(
            settings, table, whole, len(bench), best, trials, kept, random, training_seconds, norm
        ),
        study=NetworkStudy(model, whole.predictor, whole.held_out),
    )


class _Pruning:
    """What the bench of the trial and that of all rows share."""

    def __init__(
        self,
        settings: Settings,
        model: TorchModel,
        network: Network,
        loss: RowLoss,
        layers: Any,
        validation: Table,
        batch_size: int,
    ) -> None:
        self.settings, self.model, self.loss, self.layers = settings, model, loss, layers
        self.decay = network.weight_decay or 0.0
        self.validation, self.batch_size = validation, batch_size
        inputs, _ = next(iter(validation.X.batches(1)))
        with torch.no_grad():
            self.n_outputs = model.forward(inputs).shape[1]
        self.curvature = settings.curvature

    def bench(self, table: Table, rows: NDArray[np.int64]) -> NetworkBench:
        """Examine the rows of ``table``, which are ``rows`` of the whole."""
        settings = self.settings
        problem = NetworkProblem(
            self.model,
            self.loss,
            table.X,
            self._targets(table),
            weights=torch.from_numpy(table.weights),
            penalty=self.decay * self._in_mean(table),
            layers=self.layers,
            batch_size=self.batch_size,
        )
        problem.losses()  # names the row and the layer that make numbers which are not finite
        gradients = RowGradients(problem)
        name = choose_curvature(problem) if self.curvature == "auto" else self.curvature
        predictor = build_curvature(name, gradients)
        selector = predictor
        if not isinstance(selector, WhiteningCurvature):
            selector = build_curvature(SELECTOR, gradients)
        assert isinstance(selector, WhiteningCurvature)
        held = problem.on(
            self.validation.X,
            self._targets(self.validation),
            torch.from_numpy(self.validation.weights),
        )
        return NetworkBench(
            selector,
            predictor,
            HeldOutRows(held, self._unit(table)),
            groups=table.codes,
            minima=table.minima(settings.min_per_class),
            solver=settings.solver,
            prior=settings.prior.of(rows, lambda score: _difficulty(score, problem)),
            seed=settings.seed,
        )

    def _targets(self, table: Table) -> torch.Tensor:
        targets = self.loss.encode(table.y, self.n_outputs)
        single = targets.is_floating_point() and self.model.dtype != torch.float64
        return targets.float() if single else targets

    def _in_mean(self, table: Table) -> float:
        """What a unit of weight counts in the mean that torch divides the loss by."""
        shares = self.loss.shares(table.y, self.n_outputs).numpy()
        return float(table.weights @ shares / table.weights.sum())

    def _unit(self, table: Table) -> float:
        """Factor from the model's loss to the reported one: squared errors are shares of Var(y)."""
        if self.loss.kind != "squared":
            return 1.0 / self._in_mean(self.validation)
        variance = float(np.var(table.y.reshape(len(table), -1), axis=0).mean())
        return 1.0 / variance if variance > 0 else 1.0


def _difficulty(score: str, problem: NetworkProblem) -> NDArray[np.float64]:
    """How hard every row is: its loss, or the norm of the loss's gradient in the outputs."""
    if score == "loss":
        return problem.losses().double().cpu().numpy()
    norms = torch.empty(len(problem), dtype=torch.float64)
    for batch in problem.batches():
        with torch.no_grad():
            outputs = problem.outputs(batch.inputs)
        error = problem.cotangents(batch, outputs)
        norms[batch.positions.cpu()] = torch.linalg.vector_norm(error, dim=1).double().cpu()
    return norms.numpy()


def _predictions(problem: NetworkProblem, theta: torch.Tensor) -> torch.Tensor:
    """Class probabilities, or the outputs themselves, (n, K)."""
    with torch.no_grad():
        outputs = torch.cat([problem.outputs(b.inputs, theta) for b in problem.batches()])
    return problem.loss.mean(outputs)


def _report(
    settings: Settings,
    table: Table,
    bench: NetworkBench,
    n_train: int,
    best: Trial | None,
    trials: list[Trial],
    kept: NDArray[np.int64],
    random: Gap | None,
    training_seconds: float | None,
    gradient_norm: float,
) -> PruningReport:
    problem, predictor = bench.predictor.problem, bench.predictor
    hows = Counter(treatment.how for treatment in predictor.treatments)
    notes: tuple[tuple[str, str], ...] = (
        ("layers", "; ".join(f"{count} parameters {how}" for how, count in hows.items())),
        ("damping", f"{predictor.ridge:.2g}, mean eigenvalue {predictor.mean_eigenvalue:.2g}"),
    )
    full_seconds, pruned_seconds, retraining = training_seconds, None, settings.retraining
    if retraining is not None:
        notes += in_words(retraining, settings.retrained)
        full_seconds = retraining.seconds_per_training(n_train)
        if best is not None:
            pruned_seconds = retraining.seconds_per_training(best.size)
    name = type(problem.model.module).__name__
    return PruningReport(
        status=outcome(settings.keep, settings.max_gap, settings.level, best, trials),
        met=settings.keep is not None or best is not None,
        n_rows=len(table),
        n_kept=len(kept),
        classes=class_counts(table, kept),
        predicted=None if best is None else best.predicted,
        refit=None,
        retrained=None if best is None else best.retrained,
        random=random,
        max_gap=settings.max_gap if settings.keep is None else None,
        prior=settings.prior.in_words(),
        model=f"{name}, {problem.dim:,} parameters, {predictor.name} curvature",
        gradient_norm=gradient_norm,
        selection_seconds=time.perf_counter() - settings.begin,
        full_fit_seconds=full_seconds,
        pruned_fit_seconds=pruned_seconds,
        full_fit_rows=n_train,
        pruned_fit_rows=n_train if best is None else best.size,
        notes=notes,
    )


def _loss(model: TorchModel, network: Network, table: Table) -> RowLoss:
    inputs, _ = next(iter(table.X.batches(LINK_ROWS)))
    link = find_link(model, inputs)
    with torch.no_grad():
        n_outputs = model.forward(inputs).shape[1]
    return read_loss(network.loss, link, table.y, n_outputs)
