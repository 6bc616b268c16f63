"""What the outputs of a module depend on, for a digest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import nn

from skprune.cache import digest


def module_content(module: nn.Module) -> Iterator[Any]:
    """Its layers, their options and code, its numbers."""
    for name, m in module.named_modules():
        # Plain attributes only: others have no repr that is the same in another process.
        options = {k: v for k, v in sorted(vars(m).items()) if _is_plain(v) and k != "training"}
        hooks = [m._forward_hooks, m._forward_pre_hooks]
        code = [_code(f) for f in (m.forward, *(h for kind in hooks for h in kind.values()))]
        yield (name, type(m).__module__, type(m).__qualname__, m.extra_repr(), str(options), *code)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        yield (name, tensor)


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))


def _code(function: Any) -> str:
    """A digest of what a function does, as far as its own lines say it."""
    code = getattr(getattr(function, "__func__", function), "__code__", None)
    if code is None:
        return type(function).__qualname__
    return digest(code.co_code, code.co_names, *(c for c in code.co_consts if _is_plain(c)))
