"""The parameters of a network whose gradients count, chosen by layer, and checks of them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from skprune.network.module import written


def choose_parameters(
    module: nn.Module, layers: str | Sequence[str | nn.Module]
) -> dict[str, nn.Parameter]:
    """The parameters of the given layers by name, in the module's order.

    Raises
    ------
    ValueError
        If a name is that of no module and no parameter, or no parameter is left.
    """
    inference = [
        n for n, p in (*module.named_parameters(), *module.named_buffers()) if p.is_inference()
    ]
    if inference:
        raise ValueError(
            f"{written(inference[0])!r} was made in torch.inference_mode(), where tensors have no "
            "gradients; make or load the network outside of it, or take layers='head'."
        )
    every = {n: p for n, p in module.named_parameters() if p.is_floating_point()}
    if isinstance(layers, str):
        if layers != "all":
            raise ValueError(f"layers must be 'all' or a list of names or modules; got {layers!r}.")
        trained = {n: p for n, p in every.items() if p.requires_grad}
        return trained or every
    wanted: set[int] = set()
    modules = {written(n): m for n, m in module.named_modules(remove_duplicate=False)}
    by_name = {written(n): p for n, p in every.items()}
    for layer in layers:
        if isinstance(layer, nn.Module):
            found = list(layer.parameters())
        elif written(layer) in modules:
            found = list(modules[written(layer)].parameters())
        elif written(layer) in by_name:
            found = [by_name[written(layer)]]
        else:
            names = ", ".join(repr(n) for n in list(modules)[1:9])
            raise ValueError(f"The model has no layer named {layer!r}; it has {names}, ...")
        found = [p for p in found if p.is_floating_point()]
        if not found:
            raise ValueError(f"The layer {layer!r} has no parameters that are floating numbers.")
        wanted |= {id(p) for p in found}
    chosen = {n: p for n, p in every.items() if id(p) in wanted}
    if len(chosen) < len(wanted):
        raise ValueError(
            "A given layer is not part of the model (clone, and so every search, copies modules); "
            "give the names of layers."
        )
    return chosen


def check_finite(parameters: dict[str, nn.Parameter]) -> None:
    """Refuse parameters that are not finite, by name."""
    for name, parameter in parameters.items():
        if not bool(torch.isfinite(parameter.detach()).all()):
            raise FloatingPointError(
                f"Parameter {written(name)!r} holds values that are not finite: the training "
                "diverged. Train the network again with a smaller learning rate."
            )
