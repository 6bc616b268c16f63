"""What the outputs of a module depend on, for a digest."""

from __future__ import annotations

import functools
import pickle
from collections.abc import Iterator
from types import BuiltinFunctionType, CodeType, FunctionType, MethodType
from typing import Any

import torch
from torch import nn

from skprune.cache import digest

#: Attributes that every module has, which say nothing of what it computes, or are looked at apart.
OWN = {*vars(nn.Module()), "training"}


class _UnknownError(Exception):
    """Nobody can say what a value holds."""


def module_content(module: nn.Module) -> str | None:
    """A digest of its layers, their options and code, and its numbers; None if they do not tell."""
    try:
        return digest(*_modules(module))
    except (_UnknownError, RecursionError):
        return None


def _modules(module: nn.Module) -> Iterator[Any]:
    for name, m in module.named_modules():
        options = tuple((k, _value(v)) for k, v in sorted(vars(m).items()) if k not in OWN)
        hooks = [m._forward_hooks, m._forward_pre_hooks]
        code = [_value(f) for f in (type(m).forward, *(h for kind in hooks for h in kind.values()))]
        yield (name, type(m).__module__, type(m).__qualname__, m.extra_repr(), *options, *code)
    for name, tensor in (*module.named_parameters(), *module.named_buffers()):
        yield (name, tensor)


def _value(value: Any) -> Any:
    """Something that ``digest`` takes, equal for equal values and in every process."""
    if value is None or isinstance(value, (bool, int, float, str, bytes, torch.Tensor)):
        return value
    if isinstance(value, (tuple, list)):
        return (type(value).__name__, *(_value(v) for v in value))
    if isinstance(value, dict):
        return ("dict", *((_value(k), _value(v)) for k, v in value.items()))
    if isinstance(value, nn.Module):
        return ("module", *_modules(value))
    if isinstance(value, functools.partial):
        return ("partial", _value(value.func), _value(value.args), _value(value.keywords))
    if isinstance(value, MethodType):
        return ("method", _value(value.__func__), _value(value.__self__))
    if isinstance(value, FunctionType):
        return ("function", *_function(value))
    if isinstance(value, (type, BuiltinFunctionType)):
        return ("named", value.__module__, value.__qualname__)
    try:
        return pickle.dumps(value, protocol=4)
    except Exception as error:
        raise _UnknownError from error


def _function(function: FunctionType) -> Iterator[Any]:
    """What a function does, as far as its own lines, defaults and captured values say it."""
    yield from _code(function.__code__)
    yield _value(function.__defaults__)
    yield _value(function.__kwdefaults__)
    for cell in function.__closure__ or ():
        try:
            captured = cell.cell_contents
        except ValueError:  # not bound yet
            continue
        # ``super()`` captures the class, which is known by its name; a function may capture itself.
        yield "itself" if captured is function else _value(captured)


def _code(code: CodeType) -> Iterator[Any]:
    yield from (code.co_code, code.co_names)
    for constant in code.co_consts:
        yield from _code(constant) if isinstance(constant, CodeType) else (_value(constant),)
