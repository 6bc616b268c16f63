"""What a network will take, from a few rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from skprune.cost import CostEstimate, features_cost, network_cost, seconds_per_row
from skprune.network.adapters import Network
from skprune.network.curvature import choose_curvature
from skprune.network.influence import STORED_NUMBERS
from skprune.network.layers import RowGradients
from skprune.network.losses import read_loss
from skprune.network.module import TorchModel, find_link
from skprune.network.problem import NetworkProblem
from skprune.reading import Table

#: Rows that are run through the network.
PROBE_ROWS = 64


def probe_network(
    model: TorchModel,
    table: Table,
    network: Network,
    layers: Any,
    curvature: str,
    head_cost: Callable[[int, int, int], CostEstimate],
) -> CostEstimate:
    """Cost of pruning the rows of ``table``.

    ``head_cost(n, D, K)`` is that of a head on given features.
    """
    n, few = len(table), table.take(np.arange(min(len(table), PROBE_ROWS)))
    inputs, positions = next(iter(few.X.batches(PROBE_ROWS)))
    with model.frozen():
        model.check(inputs)
        if isinstance(layers, str) and layers == "head":
            layer = model.find_head(inputs).layer
            prepared = model.prepare(inputs)
            with torch.no_grad():
                seconds = seconds_per_row(lambda: model.call(prepared), len(positions))
            D, K = layer.in_features, layer.out_features
            features, head = features_cost(n, D, seconds), head_cost(n, D + 1, K)
            return CostEstimate({**features.steps, **head.steps}, features.bytes + head.bytes)
        with torch.no_grad():
            n_outputs = model.forward(inputs).shape[1]
        loss = read_loss(network.loss, find_link(model, inputs), table.y, n_outputs)
        targets = loss.encode(few.y, n_outputs)
        if targets.is_floating_point():
            targets = targets.to(model.dtype)
        problem = NetworkProblem(
            model, loss, few.X, targets, layers=layers, batch_size=len(few), penalty=0.0
        )
        gradients, batch = RowGradients(problem), next(iter(problem.batches()))
        return network_cost(
            n,
            problem.dim,
            n_outputs,
            curvature=choose_curvature(problem, n) if curvature == "auto" else curvature,
            gradients=seconds_per_row(lambda: gradients.factors(batch), len(few)),
            product=seconds_per_row(lambda: problem.gauss_newton(problem.theta[None]), len(few)),
            stored=n * problem.dim <= STORED_NUMBERS,
        )
