"""The layers of one or several networks as a proxy, with their curvatures on some rows."""

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
from torch import Tensor

from skprune.cost.model import ensemble_cost
from skprune.cost.probe import probe_layers
from skprune.curvature import Curvature, FactorCache, build_curvature, choose_curvature
from skprune.data.table import Split, Table
from skprune.evaluation.base import Evaluator
from skprune.evaluation.layers_level import LayersPredicted
from skprune.influence.ensemble import CurvatureEnsemble, Member
from skprune.influence.leave_out import GroupInfluence, scored_on_others
from skprune.network.encoding import SourceRows
from skprune.network.forward import read_model_loss
from skprune.network.layers import RowGradients
from skprune.network.module import TorchModel
from skprune.network.problem import NetworkProblem
from skprune.network.torch_model import Network
from skprune.proxies.base import FittedProxy
from skprune.utils.progress import DELAY, Progress
from skprune.utils.seeds import seeded

#: Number of rows from which the last activation of a module is recognised.
LINK_ROWS = 8


@dataclass(frozen=True)
class TrainedNetworks:
    """The members of an ensemble of networks, and which of their layers count.

    Attributes
    ----------
    network : Network
    models : sequence of TorchModel
    layers : "all", or list of str or nn.Module
    curvature : str
    cache_dir : path-like or None
    seconds : float or None
        Time that their training took, if they were trained here.
    """

    network: Network
    models: Sequence[TorchModel]
    layers: Any
    curvature: str
    cache_dir: Any
    seconds: float | None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Set all models to evaluation mode on their device, and restore them afterwards."""
        with ExitStack() as stack:
            for model in self.models:
                stack.enter_context(model.frozen())
            yield

    def check(self, rows: SourceRows) -> None:
        """Refuse rows that a member does not take, and members that differ in what is averaged."""
        inputs, _ = next(iter(rows.batches(1)))
        for model in self.models:
            model.check(inputs)
        with torch.no_grad():
            found: dict[str, list[Any]] = {
                "number of outputs": [model.forward(inputs).shape[1] for model in self.models],
                "precision": [model.dtype for model in self.models],
                "device": [model.device for model in self.models],
            }
        for what, values in found.items():
            if len(set(values)) > 1:
                raise ValueError(
                    f"The networks of a list must agree in their {what}, as effects are means over "
                    f"them; got {', '.join(map(str, values))}."
                )

    def say_seconds(self, table: Table, seed: int, progress: Progress) -> None:
        """Show an estimate of the duration in the progress, if it is long."""
        if not progress.shown:
            return
        # The fit reports what is wrong with the rows; the probe may need more memory than the fit.
        with suppress(Exception), seeded(seed):
            cost = ensemble_cost(
                probe_layers(model, table, self.network, self.layers, self.curvature)
                for model in self.models
            )
            if cost.seconds > DELAY:
                progress.say(
                    f"about {cost.seconds:,.0f} s for these layers, accurate to a factor of "
                    "about three"
                )


def train_networks(
    network: Network, split: Split, device: Any, seed: int, progress: Progress
) -> tuple[list[TorchModel], float | None]:
    """The networks, trained on the training rows if necessary, and the seconds of that."""
    rows, begin = split.train.X, time.perf_counter()
    if network.trains:
        progress.phase("training the networks")
    modules = network.modules(rows.source, rows.positions, seed)
    seconds = time.perf_counter() - begin if network.trains else None
    return [TorchModel(module, device) for module in modules], seconds


class FittedLayers(FittedProxy):
    """The layers of trained networks on some rows, usable only while these are frozen.

    Parameters
    ----------
    networks : TrainedNetworks
    table : Table
        The rows, as positions.
    split : Split
    batch_size : int
    progress : Progress
    """

    def __init__(
        self,
        networks: TrainedNetworks,
        table: Table,
        split: Split,
        batch_size: int,
        progress: Progress,
    ) -> None:
        self.networks, self.table, self.split = networks, table, split
        self.batch_size, self.progress = batch_size, progress
        members = []
        progress.phase(
            f"fitting the curvature of {len(table):,} rows", len(networks.models), unit="network(s)"
        )
        for model in networks.models:
            members.append(self._member(model))
            progress.step()
        self.ensemble = CurvatureEnsemble(members)
        self.influence = self.ensemble.influence()
        self.gradient_norm = float(np.mean([_gradient_norm(m.problem) for m in members]))

    def on(self, table: Table) -> FittedLayers:
        return FittedLayers(self.networks, table, self.split, self.batch_size, self.progress)

    def evaluators(self) -> Sequence[Evaluator]:
        return (LayersPredicted(self.ensemble, len(self.table), self._unit()),)

    def difficulty(self, name: str) -> NDArray[np.float64]:
        """The mean over members of the loss, or of the norm of its gradient in the outputs."""
        found = [_difficulty(name, member.problem) for member in self.ensemble.members]
        return np.asarray(np.mean(found, axis=0))

    def scores(self) -> NDArray[np.float64]:
        """The ensemble's scores, where held-out rows are scored on other held-out rows."""
        scores = self.ensemble.row_scores().double()
        members, held_out = self.ensemble.members, self.split.held_out
        if held_out is not None:
            own = torch.from_numpy(held_out).to(scores.device)
            if any(m.selector is not m.predictor for m in members):
                scores[own] = self.ensemble.held_out_scores().double()
            else:
                # The effect of a row on itself is its norm in the metric of the selection.
                squares = self.influence.squared_norms()[own].double()
                weights = self.ensemble.weights.double()
                scores[own] = scored_on_others(scores[own], squares, weights)
        return (self._unit() * scores).cpu().numpy()

    def logits(self, table: Table) -> Tensor:
        """The mean of the logits of the members."""
        problems = [member.problem for member in self.ensemble.members]
        with self.networks.frozen(), torch.no_grad():
            batches = (
                torch.stack([p.outputs(p.model.prepare(inputs)) for p in problems]).mean(0).cpu()
                for inputs, _ in table.X.batches(self.batch_size)
            )
            return torch.cat(list(batches))

    def leave_out(self, removed: NDArray[np.bool_]) -> GroupInfluence:
        """The predicted effect of removing rows, where predictions and loss are means.

        The changes of the members' parameters are concatenated.
        """
        with self.networks.frozen():
            return self.ensemble.group_influence(torch.from_numpy(removed), self._unit())

    def fit_seconds(self, kept: Any = None) -> float | None:
        return self.networks.seconds if kept is None else None

    def describe(self) -> str:
        return _distinct(_description(m.predictor) for m in self.ensemble.members)

    def notes(self) -> tuple[tuple[str, str], ...]:
        """How the gradients of the layers were formed."""
        curvatures = [member.predictor for member in self.ensemble.members]
        damping = _distinct(
            f"{c.ridge:.2g}, mean eigenvalue {c.mean_eigenvalue:.2g}" for c in curvatures
        )
        notes = (("layers", _distinct(_treatments(c) for c in curvatures)), ("damping", damping))
        if len(curvatures) == 1:
            return notes
        return (("members", f"{len(curvatures)} networks; effects are means over them"), *notes)

    def _member(self, model: TorchModel) -> Member:
        """The curvature of one network on the rows, and the network on the validation rows."""
        networks, table, validation = self.networks, self.table, self.split.validation
        inputs, _ = next(iter(table.X.batches(LINK_ROWS)))
        loss, n_outputs = read_model_loss(model, networks.network.loss, inputs, table.y)
        # The mean by which torch divides the loss.
        in_mean = loss.in_mean(table.y, table.weights, n_outputs)
        problem = NetworkProblem(
            model,
            loss,
            table.X,
            loss.encode_for(model.dtype, table.y, n_outputs),
            weights=torch.from_numpy(table.weights),
            penalty=(networks.network.weight_decay or 0.0) * in_mean,
            layers=networks.layers,
            batch_size=self.batch_size,
        )
        problem.losses()  # names the row and the layer that make numbers which are not finite
        name = networks.curvature
        name = choose_curvature(problem) if name == "auto" else name
        cache = FactorCache(networks.cache_dir)
        predictor = build_curvature(name, RowGradients(problem), cache=cache)
        held = problem.on(
            validation.X,
            loss.encode_for(model.dtype, validation.y, n_outputs),
            torch.from_numpy(validation.weights),
        )
        return Member(predictor.selector(), predictor, held)

    def _unit(self) -> float:
        """Factor from the model's loss to the reported one."""
        held, rows = self.ensemble.members[0].held_out, self.split.validation
        train = self.table.y, self.table.weights
        return held.loss.reported_unit(rows.y, rows.weights, train, held.n_outputs)


def _difficulty(score: str, problem: NetworkProblem) -> NDArray[np.float64]:
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


def _description(curvature: Curvature) -> str:
    problem = curvature.problem
    name = type(problem.model.module).__name__
    return f"{name}, {problem.dim:,} parameters, {curvature.name} curvature"


def _treatments(curvature: Curvature) -> str:
    hows = Counter(treatment.how for treatment in curvature.treatments)
    return "; ".join(f"{count} parameters {how}" for how, count in hows.items())


def _distinct(texts: Iterable[str]) -> str:
    """Texts about the members, with equal ones only once."""
    return " | ".join(dict.fromkeys(texts))
