"""An accelerator that only pretends: CPU tensors elsewhere, that refuse what CUDA tensors refuse.

Machines without a GPU can then find the mistakes that only a GPU shows: operands on two devices,
a CPU tensor indexed from elsewhere, ``.numpy()`` of a tensor that is not in memory. Arithmetic is
done on the CPU, so that results can be compared as well.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map

#: "meta" rather than "cuda", since torch looks for the driver as soon as it hears of that.
DEVICE = torch.device("meta")

#: What may read CPU tensors on behalf of a tensor elsewhere: an index, or a copy.
MIXING = {
    torch.ops.aten.index.Tensor,
    torch.ops.aten.index_put_.default,
    torch.ops.aten.index_put.default,
    torch.ops.aten._index_put_impl_.default,
    torch.ops.aten.copy_.default,
}


class PretendedTensor(torch.Tensor):
    """A CPU tensor that says it is on ``DEVICE``."""

    @staticmethod
    def __new__(cls, held):
        return torch.Tensor._make_wrapper_subclass(
            cls,
            held.shape,
            strides=held.stride(),
            storage_offset=held.storage_offset(),
            dtype=held.dtype,
            device=DEVICE,
        )

    def __init__(self, held):
        self.held = held

    def __repr__(self):
        return f"PretendedTensor({self.held})"

    @classmethod
    def __torch_dispatch__(cls, func, types, args=(), kwargs=None):
        return dispatch(func, args, kwargs or {})


class PretendedDevice(TorchDispatchMode):
    """While it is entered, ``device=DEVICE`` makes ``PretendedTensor`` objects."""

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        return dispatch(func, args, kwargs or {})


def dispatch(func, args, kwargs):
    """Run ``func`` on the CPU; its results are where the operands or ``device=`` say."""
    operands = [a for a in tree_flatten((args, kwargs))[0] if isinstance(a, torch.Tensor)]
    here = [a for a in operands if isinstance(a, PretendedTensor)]
    there = [a for a in operands if not isinstance(a, PretendedTensor)]
    target = kwargs.get("device")
    result_is_here = bool(here) if target is None else torch.device(target) == DEVICE
    if here and any(a.ndim > 0 for a in there):
        first_is_here = isinstance(args[0], PretendedTensor)
        allowed = func is torch.ops.aten.copy_.default or (func in MIXING and first_is_here)
        if not allowed:
            raise RuntimeError(f"{func} has operands on two devices")
    plain = {k: v for k, v in kwargs.items() if k not in ("device", "pin_memory")}
    plain = tree_map(_held, plain)
    if "device" in kwargs:
        plain["device"] = torch.device("cpu")
    result = func(*tree_map(_held, args), **plain)
    if func._schema.name.endswith("_") or "out" in kwargs:
        return kwargs.get("out", args[0])
    return tree_map(_pretend, result) if result_is_here else result


def _held(value):
    return value.held if isinstance(value, PretendedTensor) else value


def _pretend(value):
    return PretendedTensor(value) if isinstance(value, torch.Tensor) else value
