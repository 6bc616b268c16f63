"""What a network will take, from a few rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from skprune.cost import CostEstimate, features_cost, network_cost, seconds_per_row
from skprune.network.encoding import SourceRows
from skprune.network.module import TorchModel
from skprune.network.problem import choose_parameters

#: Rows that are run through the network.
PROBE_ROWS = 32


def probe_network(
    model: TorchModel,
    rows: SourceRows,
    layers: Any,
    head_cost: Callable[[int, int, int], CostEstimate],
) -> CostEstimate:
    """Cost of pruning ``rows``; ``head_cost(n, D, K)`` is that of a head on given features."""
    inputs, positions = next(iter(rows.batches(PROBE_ROWS)))
    with model.frozen(), torch.no_grad():
        model.check(inputs)
        prepared = model.prepare(inputs)
        seconds = seconds_per_row(lambda: model.call(prepared), len(positions))
        if isinstance(layers, str) and layers == "head":
            layer = model.find_head(inputs).layer
            D, K = layer.in_features, layer.out_features
            features, head = features_cost(len(rows), D, seconds), head_cost(len(rows), D + 1, K)
            return CostEstimate({**features.steps, **head.steps}, features.bytes + head.bytes)
        chosen = choose_parameters(model.module, layers)
        p, K = sum(v.numel() for v in chosen.values()), model.forward(inputs).shape[1]
    return network_cost(len(rows), p, K, seconds)
