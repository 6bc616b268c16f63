"""Prune for whole networks: examine their layers, search, carry over to all rows, score, report."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from skprune.cost.model import ensemble_cost
from skprune.cost.probe import probe_layers
from skprune.curvature import Curvature, FactorCache, build_curvature, choose_curvature
from skprune.data.table import Table
from skprune.influence.ensemble import CurvatureEnsemble, Member
from skprune.influence.leave_out import GroupInfluence
from skprune.network.batches import first_size, smaller
from skprune.network.encoding import SourceRows
from skprune.network.forward import read_model_loss
from skprune.network.layers import RowGradients
from skprune.network.module import TorchModel
from skprune.network.problem import NetworkProblem
from skprune.network.torch_model import Network
from skprune.proxies.layers_bench import NetworkBench
from skprune.search.outcome import find, on_all_rows, report
from skprune.search.request import Outcome, Settings
from skprune.search.retrained import judged
from skprune.utils.progress import DELAY
from skprune.utils.seeds import seeded

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
        with _frozen(self.models):
            return self.ensemble.group_influence(torch.from_numpy(removed), self.unit)


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
    if network.trains:
        settings.progress.phase("training the networks")
    modules = network.modules(train.X.source, train.X.positions, settings.seed)
    seconds = time.perf_counter() - begin if network.trains else None
    models = [TorchModel(module, settings.device) for module in modules]
    device = models[0].device
    _say_seconds(settings, table, network, layers, models)
    size = first_size(settings.batch_size, device)
    while True:
        try:
            return _prune(settings, table, network, layers, validation, models, size, seconds)
        except (MemoryError, RuntimeError) as error:
            size = smaller(size, error, device)


def _say_seconds(
    settings: Settings, table: Table, network: Network, layers: Any, models: Sequence[TorchModel]
) -> None:
    """To whom progress is shown: how long it will take, if that is long."""
    if not settings.progress.shown:
        return
    # What is wrong with the rows, the examination says; the probe may need more memory than it.
    with suppress(Exception), seeded(settings.seed):
        curvature = settings.curvature
        cost = ensemble_cost(
            probe_layers(model, table, network, layers, curvature) for model in models
        )
        if cost.seconds > DELAY:
            settings.progress.say(
                f"about {cost.seconds:,.0f} s for these layers, right to a factor of about three"
            )


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
        smallest = max(1, int(bench.minima.sum()))
        found = find(settings, judged(bench, settings.retraining), smallest, n)
        whole = bench if outer is None else _bench(settings, examiners, table, np.arange(n))
        if not settings.keeps_trial:
            found = on_all_rows(settings, found, judged(whole, settings.retraining, inner))
        own = None if outer is None else torch.from_numpy(outer).to(models[0].device)
        settings.progress.phase("scoring every row")
        return report(
            settings,
            table,
            found,
            scores=whole.scores(own).cpu().numpy(),
            study=NetworkStudy(models, whole.ensemble, whole.unit),
            model=_distinct(_description(m.predictor) for m in whole.ensemble.members),
            gradient_norm=float(
                np.mean([_gradient_norm(m.problem) for m in whole.ensemble.members])
            ),
            seconds=(training_seconds, None),
            with_random=True,
            notes=_notes(whole.ensemble),
            doubts=tuple(dict.fromkeys(bench.doubts + whole.doubts)),
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
    progress, members = settings.progress, []
    progress.phase(f"examining {len(table):,} rows", len(examiners), unit="network(s)")
    for examiner in examiners:
        members.append(examiner.examine(table))
        progress.step()
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


def _notes(ensemble: CurvatureEnsemble) -> tuple[tuple[str, str], ...]:
    """Lines of the report on how the layers were treated."""
    curvatures = [member.predictor for member in ensemble.members]
    damping = _distinct(
        f"{c.ridge:.2g}, mean eigenvalue {c.mean_eigenvalue:.2g}" for c in curvatures
    )
    notes = (("layers", _distinct(_treatments(c) for c in curvatures)), ("damping", damping))
    if len(curvatures) == 1:
        return notes
    return (("members", f"{len(curvatures)} networks; effects are means over them"), *notes)


def _description(curvature: Curvature) -> str:
    problem = curvature.problem
    name = type(problem.model.module).__name__
    return f"{name}, {problem.dim:,} parameters, {curvature.name} curvature"


def _treatments(curvature: Curvature) -> str:
    hows = Counter(treatment.how for treatment in curvature.treatments)
    return "; ".join(f"{count} parameters {how}" for how, count in hows.items())


def _distinct(texts: Iterable[str]) -> str:
    """What is said of the members, once where they are the same."""
    return " | ".join(dict.fromkeys(texts))
