"""Measure on a few rows how long a network takes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

from skprune.cost.model import CostEstimate, features_cost, network_cost, seconds_per_row
from skprune.curvature import choose_curvature
from skprune.curvature.layers.columns import random_columns
from skprune.data.table import Table
from skprune.influence.gradients import STORED_NUMBERS
from skprune.network.forward import read_model_loss
from skprune.network.layers import RowGradients
from skprune.network.module import TorchModel
from skprune.network.problem import NetworkProblem
from skprune.network.torch_model import Network

#: Rows that are run through the network.
PROBE_ROWS = 64


def probe_head(
    model: TorchModel, table: Table, head_cost: Callable[[int, int, int], CostEstimate]
) -> CostEstimate:
    """Cost of pruning the rows of ``table`` for the last layer.

    ``head_cost(n, D, K)`` is the cost for a head on given features.
    """
    n = len(table)
    inputs, positions = next(iter(table.X.batches(PROBE_ROWS)))
    with model.frozen(), torch.no_grad():
        model.check(inputs)
        layer, prepared = model.find_head(inputs).layer, model.prepare(inputs)
        seconds = seconds_per_row(lambda: model.call(prepared), len(positions))
    D, K = layer.in_features, layer.out_features
    features, head = features_cost(n, D, seconds), head_cost(n, D + 1, K)
    return CostEstimate({**features.steps, **head.steps}, features.bytes + head.bytes)


def probe_layers(
    model: TorchModel, table: Table, network: Network, layers: Any, curvature: str
) -> CostEstimate:
    """Cost of pruning the rows of ``table`` for some layers of a network, or all."""
    n, few = len(table), table.take(np.arange(min(len(table), PROBE_ROWS)))
    inputs, _ = next(iter(few.X.batches(PROBE_ROWS)))
    with model.frozen():
        model.check(inputs)
        loss, K = read_model_loss(model, network.loss, inputs, table.y)
        problem = NetworkProblem(
            model,
            loss,
            few.X,
            loss.encode_for(model.dtype, few.y, K),
            layers=layers,
            batch_size=len(few),
            penalty=0.0,
        )
        gradients, batch = RowGradients(problem), next(iter(problem.batches()))
        name = choose_curvature(problem, n) if curvature == "auto" else curvature
        return network_cost(
            n,
            problem.dim,
            K if name == "dense" else random_columns(n, K) or K,
            curvature=name,
            gradients=seconds_per_row(lambda: gradients.factors(batch), len(few)),
            product=seconds_per_row(lambda: problem.gauss_newton(problem.theta[None]), len(few)),
            stored=n * problem.dim <= STORED_NUMBERS,
        )
