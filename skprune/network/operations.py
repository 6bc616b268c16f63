"""Torch functions in a form that has all derivatives and never changes weights."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.overrides import TorchFunctionMode

#: Modes of embedding bags, and their names in ``scatter_reduce``.
REDUCTIONS = {"sum": "sum", "mean": "mean", "max": "amax"}


def embedding(
    ids: Tensor,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,
    scale_grad_by_freq: bool = False,
    sparse: bool = False,
) -> Tensor:
    """``functional.embedding`` that does not write to ``weight``, with its own dense gradient.

    Torch shortens vectors that are too long in the table itself, and differentiates the shortened
    ones. This does the same on a copy.
    """
    found = functional.embedding(ids, weight, padding_idx)
    if max_norm is None:
        return found
    norms = found.detach().norm(norm_type, dim=-1, keepdim=True)
    short = torch.where(norms > max_norm, max_norm / (norms + 1e-7), 1.0)
    return found + (found * short - found).detach()


def embedding_bag(
    ids: Tensor,
    weight: Tensor,
    offsets: Tensor | None = None,
    max_norm: float | None = None,
    norm_type: float = 2,
    scale_grad_by_freq: bool = False,
    mode: str = "mean",
    sparse: bool = False,
    per_sample_weights: Tensor | None = None,
    include_last_offset: bool = False,
    padding_idx: int | None = None,
) -> Tensor:
    """``functional.embedding_bag`` by operations that can be differentiated twice."""
    flat = ids.reshape(-1)
    found = embedding(flat, weight, padding_idx, max_norm, norm_type)
    if per_sample_weights is not None:
        found = found * per_sample_weights.reshape(-1, 1)
    places = torch.arange(len(flat), device=ids.device)
    if offsets is None:
        n_bags, bags = len(ids), places // max(1, ids.shape[1])
    else:
        n_bags = len(offsets) - include_last_offset
        bags = torch.bucketize(places, offsets[:n_bags], right=True) - 1
    if padding_idx is not None:  # goes into a bag of its own
        bags = torch.where(flat == padding_idx % len(weight), n_bags, bags)
    reduced = found.new_zeros(n_bags + 1, weight.shape[1]).scatter_reduce(
        0, bags[:, None].expand_as(found), found, REDUCTIONS[mode], include_self=False
    )
    return reduced[:n_bags]


#: Functions that are replaced by those of this file.
REPLACED: dict[Any, Callable[..., Tensor]] = {
    functional.embedding: embedding,
    functional.embedding_bag: embedding_bag,
}


class Untouched(TorchFunctionMode):
    """Shortens embedding vectors that are too long in a copy of the table."""

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        if kwargs.get("max_norm") is not None:
            func = REPLACED.get(func, func)
        return func(*args, **kwargs)


class PlainFunctions(TorchFunctionMode):
    """Replaces all embeddings as above, and turns autocast off.

    Parameters
    ----------
    device_type : str
    """

    def __init__(self, device_type: str) -> None:
        super().__init__()
        self._device_type = device_type

    def __torch_function__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        with own_precision(self._device_type):
            return REPLACED.get(func, func)(*args, **(kwargs or {}))


def own_precision(device_type: str) -> AbstractContextManager[Any]:
    """Turn autocast off, if the device has it."""
    try:
        casts = torch.is_autocast_enabled(device_type)
    except TypeError:  # before torch 2.4
        casts = torch.is_autocast_enabled() or torch.is_autocast_cpu_enabled()
    except RuntimeError:  # devices that have none
        casts = False
    return torch.autocast(device_type, enabled=False) if casts else nullcontext()


@contextmanager
def plain_operations(module: nn.Module, device_type: str) -> Iterator[None]:
    """Run attention, recurrent layers and embeddings by ordinary operations.

    Fused kernels of attention call no hooks and lack forward mode; cuDNN's recurrent layers have
    derivatives in training mode only.
    """
    sdp = torch.backends.cuda
    flags: list[tuple[Callable[[bool], Any], bool]] = [
        (sdp.enable_flash_sdp, sdp.flash_sdp_enabled()),
        (sdp.enable_mem_efficient_sdp, sdp.mem_efficient_sdp_enabled()),
        (sdp.enable_math_sdp, sdp.math_sdp_enabled()),
    ]
    if hasattr(torch.backends, "mha"):  # not in the oldest supported torch
        mha = torch.backends.mha
        flags.append((mha.set_fastpath_enabled, mha.get_fastpath_enabled()))
    if hasattr(sdp, "enable_cudnn_sdp"):
        flags.append((sdp.enable_cudnn_sdp, sdp.cudnn_sdp_enabled()))
    if any(isinstance(m, nn.RNNBase) for m in module.modules()):
        cudnn = torch.backends.cudnn
        flags.append((functools.partial(setattr, cudnn, "enabled"), bool(cudnn.enabled)))
    for switch, _ in flags:
        switch(switch is sdp.enable_math_sdp)
    try:
        with PlainFunctions(device_type):
            yield
    finally:
        for switch, before in flags:
            switch(before)


@contextmanager
def not_compiled() -> Iterator[None]:
    """Run compiled modules uncompiled, because compiled code calls no hooks."""
    compiler = torch.compiler
    # The compiler takes seconds to load, and it is not loaded if nothing was compiled.
    if "torch._dynamo" not in sys.modules or not hasattr(compiler, "set_stance"):
        yield
        return
    with compiler.set_stance("force_eager"):
        yield
