"""A digest of any Python value, which covers its data and all code that it may run."""

from __future__ import annotations

import copyreg
import dis
import functools
import sys
import sysconfig
import types
import weakref
from collections.abc import Callable, Iterable, Iterator
from operator import attrgetter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.modules import module as torch_module

from skprune.data.sources import RowSource
from skprune.utils.cache import digest

#: Types that ``digest`` takes as they are.
PLAIN = (type(None), bool, int, float, complex, str, bytes, type(...), type(NotImplemented))
#: Types whose ``repr`` says all about a value.
SAID = (torch.dtype, torch.device, torch.layout, torch.memory_format, torch.Size, np.dtype)

#: Attributes of a module under which torch files hooks by numbers that differ between runs.
HOOKS = {"_forward_hooks", "_forward_pre_hooks", "_backward_hooks", "_backward_pre_hooks"}
#: Attributes of a module that say nothing of what it computes in evaluation mode.
SILENT = {
    "training",
    "_non_persistent_buffers_set",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
    "_forward_hooks_with_kwargs",
    "_forward_pre_hooks_with_kwargs",
    "_forward_hooks_always_called",
}
#: Attributes of a class that are made anew for every class, or for its readers alone.
DESCRIPTIVE = {
    "__dict__",
    "__weakref__",
    "__slotnames__",
    "__doc__",
    "__module__",
    "__annotations__",
    "__annotations_cache__",
    "__annotate__",
    "__annotate_func__",
    "__firstlineno__",
    "__static_attributes__",
    "__abstractmethods__",
    "_abc_impl",
    "__dataclass_fields__",
    "__dataclass_params__",
    "__orig_bases__",
    "__parameters__",
}
#: Builtins with which code reaches what its lines do not name.
REACHING = {"eval", "exec", "globals", "open", "input", "__import__"}

#: Operations of Python's machine that ask for something by its name.
USES = {
    "LOAD_GLOBAL": "global",
    "LOAD_NAME": "global",
    "LOAD_FROM_DICT_OR_GLOBALS": "global",
    "LOAD_ATTR": "attribute",
    "LOAD_METHOD": "attribute",
    "IMPORT_FROM": "attribute",
    "IMPORT_NAME": "import",
}

INSTALLED_FOLDERS = {"site-packages", "dist-packages"}
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib"))

CODED = (
    types.MethodDescriptorType,
    types.WrapperDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
)


class UnknownContentError(Exception):
    """The content of a value cannot be known; ``trail`` names the part of it that is unknown."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.trail: list[str] = []

    def __str__(self) -> str:
        trail = ".".join(reversed(self.trail))
        return f"{trail} {self.args[0]}" if trail else str(self.args[0])


def content(value: Any) -> str:
    """A digest of a value: its numbers, its code, and all that the code can reach.

    Values with equal digests, in this process or another, compute the same. Code of installed
    packages is identified by their version. Other code is digested itself, together with the
    methods, global and captured values and modules that it uses.

    Raises
    ------
    UnknownContentError
        If the content of a part cannot be known: open files, locks, generators, extensions that
        are not installed, code that finds its values by ``eval``.
    """
    try:
        return digest(_Reader().value(value))
    except RecursionError as error:
        raise UnknownContentError(f"{type(value).__name__} is nested too deeply") from error
    except UnknownContentError as error:
        error.trail.append(type(value).__name__)
        raise
    except Exception as error:
        # Of code of the value's own, or of something that pretends to be of another type.
        raise UnknownContentError(f"{type(value).__name__} cannot be read ({error!r})") from error


class _Reader:
    """Reads values into nested tuples of what ``digest`` takes, each of them once."""

    def __init__(self) -> None:
        # The values themselves are held, as another may get the id of one that is gone.
        self.seen: dict[int, tuple[int, Any]] = {}

    def value(self, value: Any) -> Any:
        if isinstance(value, SAID):
            return ("said", repr(value))
        if type(value) in PLAIN:
            return value
        if type(value) is tuple:
            return ("tuple", *map(self.value, value))
        if type(value) in (set, frozenset):  # in no order
            return ("set", *sorted(content(element) for element in value))
        if id(value) in self.seen:
            return ("again", self.seen[id(value)][0])
        self.seen[id(value)] = (len(self.seen), value)
        return (type(value).__name__, *self._parts(value))

    def _parts(self, value: Any) -> Iterable[Any]:
        if isinstance(value, Tensor):
            return self._tensor(value)
        if type(value) in (np.ndarray, np.memmap) and not value.dtype.hasobject:
            return (value,)
        if type(value) is list:
            return map(self.value, value)
        if isinstance(value, (dict, types.MappingProxyType)) and type(value).__module__ in (
            "builtins",
            "collections",
        ):
            return [(self.value(k), self._named(k, v)) for k, v in value.items()]
        if isinstance(value, RowSource):
            return self._rows(value)
        if isinstance(value, nn.Module):
            return self._module(value)
        if isinstance(value, types.FunctionType):
            return self._function(value)
        if isinstance(value, types.MethodType):
            return (self.value(value.__func__), self.value(value.__self__))
        if isinstance(value, (staticmethod, classmethod)):
            return (self.value(value.__func__),)
        if isinstance(value, property):
            return map(self.value, (value.fget, value.fset, value.fdel))
        if isinstance(value, functools.cached_property):
            return (self.value(value.func),)
        if isinstance(value, weakref.ReferenceType):
            return (self.value(value()),)
        if isinstance(value, types.ModuleType):
            return self._python_module(value)
        if isinstance(value, type):
            return self._class(value)
        return self._object(value)

    def _named(self, name: Any, value: Any) -> Any:
        """Read a part under its name, which an error about it then mentions."""
        try:
            return self.value(value)
        except UnknownContentError as error:
            error.trail.append(str(name))
            raise

    def _tensor(self, tensor: Tensor) -> Iterator[Any]:
        try:
            yield digest(tensor)
        except (RuntimeError, TypeError) as error:
            raise UnknownContentError("is a tensor whose numbers cannot be read") from error

    def _rows(self, rows: RowSource) -> Iterator[Any]:
        fingerprint = rows.fingerprint()
        if fingerprint is None:
            raise UnknownContentError(f"of type {type(rows.original).__name__} computes its rows")
        yield (fingerprint, digest(rows.targets()))

    def _module(self, module: nn.Module) -> Iterator[Any]:
        yield self.value(type(module))
        for name, part in sorted(vars(module).items()):
            if name in HOOKS:
                yield from self._hooks(name, part, vars(module))
            elif name not in SILENT:
                yield (name, self._named(name, part))
        for name in ("_global_forward_hooks", "_global_forward_pre_hooks"):
            yield from self._hooks(name, getattr(torch_module, name), {})

    def _hooks(self, name: str, hooks: Any, others: dict[str, Any]) -> Iterator[Any]:
        """Hooks in their order, and which of them take arguments by name."""
        with_kwargs = others.get(f"{name}_with_kwargs", {})
        for number, hook in hooks.items():
            yield (name, number in with_kwargs, self._named(name, hook))

    def _class(self, cls: type) -> Iterator[Any]:
        installed = is_installed(cls.__module__)
        yield (cls.__module__, cls.__qualname__, version(cls.__module__))
        if cls in (object, type):
            return
        kinds = [type(cls)] if isinstance(type(cls).__module__, str) else []  # not of Cython
        yield from map(self.value, [*kinds, *cls.__bases__])
        for name, part in vars(cls).items():
            if name not in DESCRIPTIVE and (not installed or _is_patched(part)):
                yield (name, self._named(name, part))

    def _function(self, function: types.FunctionType) -> Iterator[Any]:
        used = function.__globals__
        if is_installed(used.get("__name__", "")):
            line = function.__code__.co_firstlineno  # there are many lambdas
            yield (used["__name__"], function.__qualname__, line, version(used["__name__"]))
        else:
            yield from self._code(function.__code__)
            yield from self._used(function)
            yield self.value(vars(function))
        yield (self.value(function.__defaults__), self.value(function.__kwdefaults__))
        names = function.__code__.co_freevars
        for name, cell in zip(names, function.__closure__ or (), strict=True):
            try:
                captured = cell.cell_contents
            except ValueError:  # not bound yet
                continue
            yield (name, self._named(name, captured))

    def _code(self, code: types.CodeType) -> Iterator[Any]:
        yield (code.co_code, code.co_names, code.co_flags, getattr(code, "co_exceptiontable", b""))
        for constant in code.co_consts:
            if isinstance(constant, types.CodeType):
                yield from self._code(constant)
            else:
                yield self.value(constant)

    def _used(self, function: types.FunctionType) -> Iterator[Any]:
        """The global values and the modules that the code uses, by their names in it."""
        used, uses = function.__globals__, dict.fromkeys(_uses(function.__code__))
        package = used.get("__package__") or ""
        modules: list[Any] = []
        for kind, name in uses:
            if kind == "import":
                modules += _imported(name, package)
            elif kind == "global" and name in used:
                yield (name, self._named(name, used[name]))
                modules.append(used[name])
            elif kind == "global" and name in REACHING:
                raise UnknownContentError(f"uses {name}(), which may reach anything")
        attributes = [name for kind, name in uses if kind == "attribute"]
        for module in modules:
            if isinstance(module, types.ModuleType):
                yield self._named(module.__name__, module)
                yield from self._patched(module, attributes, set())

    def _patched(
        self, module: types.ModuleType, attributes: list[str], done: set[int]
    ) -> Iterator[Any]:
        """Functions that somebody has put into an installed module and that the code may call."""
        done.add(id(module))
        for name in attributes:
            part = vars(module).get(name)
            if isinstance(part, types.ModuleType):
                if id(part) not in done:
                    yield from self._patched(part, attributes, done)
            elif _is_patched(part):
                yield (name, self._named(name, part))

    def _python_module(self, module: types.ModuleType) -> Iterator[Any]:
        yield (module.__name__, version(module.__name__))
        if not is_installed(module.__name__):
            for name, part in vars(module).items():
                if not name.startswith("__"):
                    yield (name, self._named(name, part))

    def _object(self, value: Any) -> Iterator[Any]:
        """Read any other object as pickle would; of a user's class, read all attributes."""
        kind = type(value)
        if isinstance(value, CODED):
            if not is_installed(value.__objclass__.__module__):
                raise UnknownContentError("is compiled code that is not of an installed package")
            yield (value.__objclass__.__module__, value.__objclass__.__qualname__, value.__name__)
            return
        reduce: Callable[[Any], Any] | None = copyreg.dispatch_table.get(kind)
        try:
            how = value.__reduce_ex__(4) if reduce is None else reduce(value)
        except Exception as error:
            name = f"{kind.__module__}.{kind.__qualname__}"
            raise UnknownContentError(f"is of type {name} and does not tell its content") from error
        yield self.value(kind)
        if isinstance(how, str):
            yield from self._global(value, how)
            return
        yield from map(self.value, how[:3])
        yield from (self.value(list(items)) for items in how[3:5] if items is not None)
        if not is_installed(kind.__module__) and hasattr(value, "__dict__"):
            yield self.value(vars(value))  # what is pickled may leave out some

    def _global(self, value: Any, name: str) -> Iterator[Any]:
        """A value that is pickled as a name; it is known if the name belongs to something known."""
        if hasattr(value, "__wrapped__"):  # functools.lru_cache
            yield self.value(value.__wrapped__)
            return
        owner = getattr(value, "__module__", None) or type(value).__module__
        module = getattr(value, "__self__", None)  # None for functions that Cython has compiled
        module = sys.modules.get(owner) if module is None else module
        try:
            known = is_installed(owner) and attrgetter(name)(module) is value
        except AttributeError:
            known = False
        if not known:
            raise UnknownContentError(f"is {name}, whose code cannot be read")
        yield (owner, name, version(owner))


def is_installed(name: str) -> bool:
    """Whether a Python module is of the standard library or of an installed package."""
    root = name.partition(".")[0]
    if root == "__main__":  # the user's, whatever has started it
        return False
    if root == "skprune" or root.startswith("_cython_"):  # which its extensions share
        return True
    for part in (name, root):  # a package may make modules of its own that are no files
        file = getattr(sys.modules.get(part), "__file__", None)
        if file is not None and Path(file).is_absolute():
            return _is_in(file)
    return root in sys.stdlib_module_names


@functools.cache
def _is_in(file: str) -> bool:
    path = Path(file)
    return bool(INSTALLED_FOLDERS & set(path.parts)) or STANDARD_LIBRARY in path.parents


def version(name: str) -> str:
    """The version of the package that a Python module is of; empty if it does not tell."""
    return str(getattr(sys.modules.get(name.partition(".")[0]), "__version__", ""))


def _is_patched(part: Any) -> bool:
    """Whether it is a function that no installed package has defined."""
    function = getattr(part, "__func__", part)
    function = function.fget if isinstance(function, property) else function
    if not isinstance(function, types.FunctionType):
        return False
    return not is_installed(function.__globals__.get("__name__", ""))


def _uses(code: types.CodeType) -> Iterator[tuple[str, str]]:
    """The names, each with its kind, that some code and the code within it look up."""
    for step in dis.get_instructions(code):
        if step.opname in USES:
            yield USES[step.opname], step.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _uses(constant)


def _imported(name: str, package: str) -> Iterator[types.ModuleType]:
    """Loaded modules that an import may mean: it may be relative to the package or one above."""
    parts = package.split(".") if package else []
    for above in ("", *(".".join(parts[:k]) for k in range(1, len(parts) + 1))):
        module = sys.modules.get(f"{above}.{name}".strip("."))
        if module is not None:
            yield module
