"""Prune for whole networks: examine their layers, search, carry over to all rows, score, report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.exceptions import warn_user
from skprune.gap import Gap
from skprune.network.adapters import Network
from skprune.network.batches import first_size, smaller
from skprune.network.bench import DOUBT, FAR, NetworkBench
from skprune.network.curvature import FactorCache, build_curvature, choose_curvature
from skprune.network.curvature.base import NetworkCurvature
from skprune.network.curvature.ensemble import CurvatureEnsemble, Member
from skprune.network.encoding import SourceRows
from skprune.network.forward import read_model_loss
from skprune.network.layers import RowGradients
from skprune.network.module import TorchModel
from skprune.network.problem import NetworkProblem
from skprune.network.removal import removal_steps
from skprune.reading import Table
from skprune.regimes.base import Outcome, Settings, class_counts
from skprune.regimes.retrained import in_words, random_gap, search
from skprune.removal import Change, GroupInfluence
from skprune.report import PruningReport
from skprune.search import Trial, carry_over, outcome, path_table

#: Rows on which the last activation of a module is looked for.
LINK_ROWS = 8


@dataclass(frozen=True)
class NetworkStudy:
    """The curvatures of all rows, ready to say what removing some of them does."""

    models: Sequence[TorchModel]
    ensemble: CurvatureEnsemble
    unit: float

    def remove(self, removed: NDArray[np.bool_]) -> GroupInfluence:
        """Predicted effect of removing the rows where the mask is True.

        Predictions and loss are means over the members. Each has parameters of its own: their
        changes stand one after the other.
        """
        mask = torch.from_numpy(removed)[None]
        with _frozen(self.models):
            changes = (self._change(mask, method) for method in ("influence", "newton"))
            return GroupInfluence(*changes)

    def _change(self, mask: torch.Tensor, method: str) -> Change:
        weights = self.ensemble.weights / self.ensemble.weights.sum()
        steps, predictions, losses = [], [], []
        for member in self.ensemble.members:
            held = member.held_out
            step = removal_steps(member.predictor, mask, method)[0]
            if method == "newton" and float(step.norm()) > FAR * held.length:
                warn_user(DOUBT)
            steps.append(step)
            still = torch.zeros_like(step)
            outputs = held.outputs_after(torch.stack([still, step]))
            before, after = (held.loss.mean(Z) for Z in outputs)
            predictions.append(weights @ (after - before))
            before, after = held.losses_at(outputs)
            losses.append(weights @ (after - before))
        return Change(
            parameters=torch.cat(steps).cpu().numpy(),
            predictions=torch.stack(predictions).mean(0).cpu().numpy(),
            loss=self.unit * float(torch.stack(losses).mean()),
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
    modules = network.modules(train.X.source, train.X.positions, settings.seed)
    seconds = time.perf_counter() - begin if network.trains else None
    models = [TorchModel(module, settings.device) for module in modules]
    device = models[0].device
    size = first_size(settings.batch_size, device)
    while True:
        try:
            return _prune(settings, table, network, layers, validation, models, size, seconds)
        except (MemoryError, RuntimeError) as error:
            size = smaller(size, error, device)


def _prune(
    settings: Settings,
    table: Table,
    network: Network,
    layers: Any,
    validation: Table,
    models: Sequence[TorchModel],
    batch_size: int,
    training_seconds: float | None,
) -> Outcome:
    n, inner, outer = len(table), settings.inner, settings.outer
    train = table if outer is None else table.take(inner)
    with _frozen(models):
        _check(models, table.X)
        examiners = [
            _Examiner(settings, model, network, table, layers, validation, batch_size)
            for model in models
        ]
        bench = _bench(settings, examiners, train, inner)
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
            whole = _bench(settings, examiners, table, np.arange(n))
            size = settings.fixed
            if settings.retraining is not None and best is not None:
                size = round(best.size / len(bench) * n)
            best, kept = carry_over(bench, whole, inner, best, trials, size, settings.max_gap)
        own = None if outer is None else torch.from_numpy(outer).to(models[0].device)
        scores = whole.scores(own)
        doubts = tuple(dict.fromkeys(bench.doubts + whole.doubts))
        norm = float(np.mean([_gradient_norm(m.problem) for m in whole.ensemble.members]))
    nothing = Gap(0.0, 0.0, settings.level, "loss", len(validation))
    return Outcome(
        kept=kept,
        pruned=best is not None,
        scores=scores.cpu().numpy(),
        gap=nothing if best is None else best.gap,
        path=path_table(trials, best, random, len(bench), settings.max_gap),
        report=_report(
            settings,
            table,
            whole,
            len(bench),
            best,
            trials,
            kept,
            random,
            training_seconds,
            norm,
            doubts,
        ),
        study=NetworkStudy(models, whole.ensemble, whole.unit),
    )


@contextmanager
def _frozen(models: Sequence[TorchModel]) -> Iterator[None]:
    """All models in evaluation mode on their device; afterwards they are as they were."""
    with ExitStack() as stack:
        for model in models:
            stack.enter_context(model.frozen())
        yield


def _check(models: Sequence[TorchModel], rows: SourceRows) -> None:
    """Refuse rows that a member does not take, and members over which no mean can be taken."""
    inputs, _ = next(iter(rows.batches(1)))
    for model in models:
        model.check(inputs)
    with torch.no_grad():
        found: dict[str, list[Any]] = {
            "number of outputs": [model.forward(inputs).shape[1] for model in models],
            "precision": [model.dtype for model in models],
            "device": [model.device for model in models],
        }
    for what, values in found.items():
        if len(set(values)) > 1:
            raise ValueError(
                f"The networks of a list must agree in their {what}, as effects are means over "
                f"them; got {', '.join(map(str, values))}."
            )


class _Examiner:
    """One network: what the bench of the trial and that of all rows share of it."""

    def __init__(
        self,
        settings: Settings,
        model: TorchModel,
        network: Network,
        table: Table,
        layers: Any,
        validation: Table,
        batch_size: int,
    ) -> None:
        self.model, self.layers, self.curvature = model, layers, settings.curvature
        self.decay = network.weight_decay or 0.0
        self.validation, self.batch_size = validation, batch_size
        self.cache = FactorCache(settings.cache_dir)
        inputs, _ = next(iter(table.X.batches(LINK_ROWS)))
        self.loss, self.n_outputs = read_model_loss(model, network.loss, inputs, table.y)

    def examine(self, table: Table) -> Member:
        """The curvature of the rows of ``table``."""
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
        predictor = build_curvature(name, gradients, cache=self.cache)
        held = problem.on(
            self.validation.X,
            self._targets(self.validation),
            torch.from_numpy(self.validation.weights),
        )
        return Member(predictor.selector(), predictor, held)

    def unit(self, table: Table) -> float:
        """Factor from the model's loss to the reported one: squared errors are shares of Var(y)."""
        if self.loss.kind != "squared":
            return 1.0 / self._in_mean(self.validation)
        variance = float(np.var(table.y.reshape(len(table), -1), axis=0).mean())
        return 1.0 / variance if variance > 0 else 1.0

    def _targets(self, table: Table) -> torch.Tensor:
        return self.loss.encode_for(self.model.dtype, table.y, self.n_outputs)

    def _in_mean(self, table: Table) -> float:
        """What a unit of weight counts in the mean that torch divides the loss by."""
        shares = self.loss.shares(table.y, self.n_outputs).numpy()
        return float(table.weights @ shares / table.weights.sum())


def _bench(
    settings: Settings, examiners: Sequence[_Examiner], table: Table, rows: NDArray[np.int64]
) -> NetworkBench:
    """Examine the rows of ``table``, which are ``rows`` of the whole, by all networks."""
    members = [examiner.examine(table) for examiner in examiners]
    return NetworkBench(
        CurvatureEnsemble(members),
        examiners[0].unit(table),
        groups=table.codes,
        minima=table.minima(settings.min_per_class),
        solver=settings.solver,
        prior=settings.prior.of(
            rows, lambda score: np.mean([_difficulty(score, m.problem) for m in members], axis=0)
        ),
        seed=settings.seed,
    )


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


def _gradient_norm(problem: NetworkProblem) -> float:
    pull = problem.gradients() / problem.total + problem.penalty * problem.theta
    return float(pull.norm())


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
    doubts: tuple[str, ...],
) -> PruningReport:
    curvatures = [member.predictor for member in bench.ensemble.members]
    notes: tuple[tuple[str, str], ...] = (
        ("layers", _distinct(_treatments(c) for c in curvatures)),
        (
            "damping",
            _distinct(
                f"{c.ridge:.2g}, mean eigenvalue {c.mean_eigenvalue:.2g}" for c in curvatures
            ),
        ),
    )
    if len(curvatures) > 1:
        notes = (("members", f"{len(curvatures)} networks; effects are means over them"), *notes)
    full_seconds, pruned_seconds, retraining = training_seconds, None, settings.retraining
    if retraining is not None:
        notes += in_words(retraining, settings.retrained)
        full_seconds = retraining.seconds_per_training(n_train)
        if best is not None:
            pruned_seconds = retraining.seconds_per_training(best.size)
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
        model=_distinct(_description(c) for c in curvatures),
        gradient_norm=gradient_norm,
        selection_seconds=time.perf_counter() - settings.begin,
        full_fit_seconds=full_seconds,
        pruned_fit_seconds=pruned_seconds,
        full_fit_rows=n_train,
        pruned_fit_rows=n_train if best is None else best.size,
        notes=notes,
        doubts=doubts,
    )


def _description(curvature: NetworkCurvature) -> str:
    problem = curvature.problem
    name = type(problem.model.module).__name__
    return f"{name}, {problem.dim:,} parameters, {curvature.name} curvature"


def _treatments(curvature: NetworkCurvature) -> str:
    hows = Counter(treatment.how for treatment in curvature.treatments)
    return "; ".join(f"{count} parameters {how}" for how, count in hows.items())


def _distinct(texts: Iterable[str]) -> str:
    """What is said of the members, once where they are the same."""
    return " | ".join(dict.fromkeys(texts))
