"""Estimate the cost of a pruner's ``fit`` from the rows and a probe of the machine."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone

from skprune.cost.model import CostEstimate, ensemble_cost, head_cost
from skprune.cost.probe import probe_head, probe_layers
from skprune.heads.encoding import HeadEncoder
from skprune.heads.reading import read_table
from skprune.heads.span import spanned_width
from skprune.network.module import TorchModel
from skprune.network.reading import read_rows
from skprune.network.torch_model import Network
from skprune.proxies.shorthands import as_proxy
from skprune.proxies.torch_proxy import TorchProxy
from skprune.utils.devices import choose_device
from skprune.utils.threads import threads

#: Number of rows that are encoded to find the number of features.
ENCODED_ROWS = 2000


def estimate_cost(pruner: Any, X: Any, y: Any) -> CostEstimate:
    """Cost of ``fit`` of an ``InfluencePruner`` without trainings; the pruner is not changed."""
    proxy = as_proxy(pruner.model)
    proxy.check()

    def head(n: int, D: int, K: int) -> CostEstimate:
        if proxy.curvature != "diagonal":
            D = spanned_width(n, D)
        with threads(pruner.n_jobs, n * D):
            device = choose_device(proxy.device, n * D)
            return head_cost(n, D, K, 8, fixed=pruner.keep is not None, device=device)

    if not isinstance(proxy, TorchProxy):
        table, spec = read_table(clone(pruner), X, y, None, proxy.given)
        first = np.unique(table.codes, return_index=True)[1]
        few = table.take(np.union1d(first, np.arange(min(len(table), ENCODED_ROWS))))
        encoder = HeadEncoder(spec, table.classes).fit(few.X, few.y, few.weights)
        return head(len(table), *encoder.problem(few.X, few.y, few.weights).theta_shape)
    network = Network(proxy.given, proxy.loss, proxy.weight_decay)
    if network.trains:
        raise ValueError(
            "estimate_cost runs a few rows through the network, but this model is trained by "
            "fit; give a trained module or net."
        )
    table = read_rows(X, y, None, network.loss, network.model)
    about = (table.X.source, table.X.positions, 0)
    with threads(pruner.n_jobs, len(table) * network.n_parameters):
        if proxy.is_head:
            return probe_head(TorchModel(network.module(*about), proxy.device), table, head)
        return ensemble_cost(
            probe_layers(
                TorchModel(module, proxy.device), table, network, proxy.layers, proxy.curvature
            )
            for module in network.modules(*about)
        )
