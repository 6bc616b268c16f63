"""A trained torch module that maps rows to outputs, and is left as it was."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.utils.hooks import RemovableHandle

from skprune.network.batches import is_short_of_memory
from skprune.network.operations import Untouched, not_compiled, own_precision
from skprune.utils.devices import check_device
from skprune.utils.threads import ALONE

#: Last activations, as functions of the outputs of the linear layer before them.
LINKS: dict[str, Callable[[Tensor], Tensor]] = {
    "identity": lambda Z: Z,
    "softmax": lambda Z: torch.softmax(Z, dim=1),
    "log_softmax": lambda Z: torch.log_softmax(Z, dim=1),
    "sigmoid": torch.sigmoid,
}
#: Keys of a dict, or attributes of an object, that hold the outputs of a module.
OUTPUT_NAMES = ("logits", "output", "prediction")
#: Beginnings of torch's names of operations that pass numbers on, and of products with weights.
PASSING = ("Mean", "View", "UnsafeView", "Reshape", "Squeeze", "Unsqueeze", "Select", "Permute")
PRODUCTS = ("Addmm", "Mm", "Bmm", "Convolution")


@dataclass(frozen=True)
class LinearHead:
    """The last linear layer of a module.

    Attributes
    ----------
    name : str
        Its name among the module's submodules.
    layer : nn.Linear
    link : {"identity", "softmax", "log_softmax", "sigmoid"}
        The activation that the module applies to its outputs.
    """

    name: str
    layer: nn.Linear
    link: str

    def theta(self) -> Tensor:
        """Weights and bias as (D [+ 1], K), float64 on the CPU; the bias is the last row."""
        rows = [self.layer.weight.detach().T]
        if self.layer.bias is not None:
            rows.append(self.layer.bias.detach()[None])
        return torch.cat(rows).to("cpu", torch.float64)

    def check(self, call: LinearCall, outputs: Tensor) -> None:
        """Refuse rows for which the module's outputs are not the link of x W' + b.

        Raises
        ------
        ValueError
            If the module computes something else for them than for the first rows.
        """
        if not (call.is_plain and call.makes(outputs, self.link)):
            raise not_linear(self.name, self.layer)


@dataclass(frozen=True)
class LinearCall:
    """Inputs and outputs of one call of a linear layer, including its hooks.

    Attributes
    ----------
    name : str
    layer : nn.Linear
    given, made : Tensor
    is_plain : bool
        Whether the outputs are x W' + b, which need not hold for subclasses of nn.Linear.
    """

    name: str
    layer: nn.Linear
    given: Tensor
    made: Tensor
    is_plain: bool

    def makes(self, outputs: Tensor, link: str) -> bool:
        """Whether the module's outputs are the link of the layer's outputs."""
        if self.made.numel() != outputs.numel():
            return False
        return _equal(LINKS[link](self.made.reshape(outputs.shape).to(outputs.dtype)), outputs)


def not_linear(name: str, layer: nn.Linear) -> ValueError:
    """The error for a last layer whose outputs are not x W' + b."""
    return ValueError(
        f"The last layer {name!r} ({type(layer).__name__}) is an nn.Linear whose outputs, as the "
        "network has them, are not x W' + b for all rows: its own forward, a hook or what follows "
        'it changes them. It is no linear head; use layers="all" or name the layers.'
    )


def written(name: str) -> str:
    """The name of a layer or parameter without what ``torch.compile`` adds to it."""
    return name.replace("_orig_mod.", "").removesuffix("_orig_mod")


class TorchModel:
    """A module that maps inputs to outputs (b, K), in evaluation mode and on one device.

    Parameters
    ----------
    module : nn.Module
        Trained. Its forward takes a tensor, a tuple of tensors (as positional arguments) or a
        dict (as keyword arguments) and returns a tensor, a tuple that begins with one, or an
        object or dict with ``logits``.
    device : str or torch.device, default="auto"
        "auto" leaves a module on an accelerator where it is, and else takes CUDA if there is one.

    Raises
    ------
    ValueError
        If the module has no parameters, or some that are not initialised yet (lazy layers).
    """

    def __init__(self, module: nn.Module, device: str | torch.device = "auto") -> None:
        self.module = module
        parameters = list(module.parameters())
        if not parameters:
            raise ValueError(
                f"{type(module).__name__} has no parameters, so there is nothing that rows could "
                "influence; pass a trained network."
            )
        lazy = [n for n, p in module.named_parameters() if isinstance(p, nn.UninitializedParameter)]
        if lazy:
            raise ValueError(
                f"{type(module).__name__} has parameters that were never initialised ({lazy[0]}); "
                "run it once on a batch, and train it."
            )
        with ALONE:  # a fit in another thread may have moved it for a while
            self._homes = {p.device for p in parameters}
        self.device = self._choose(device)
        self.dtype = next((p.dtype for p in parameters if p.is_floating_point()), torch.float32)
        self._embeds = any(isinstance(m, (nn.Embedding, nn.EmbeddingBag)) for m in module.modules())

    def _choose(self, device: str | torch.device) -> torch.device:
        home = next(iter(self._homes))
        if len(self._homes) > 1:  # spread over several devices by its owner
            return home
        if str(device) == "auto":
            use_cuda = home.type == "cpu" and torch.cuda.is_available()
            return torch.device("cuda") if use_cuda else home
        return check_device(device)

    @contextmanager
    def frozen(self) -> Iterator[TorchModel]:
        """Evaluation mode on ``device``; afterwards the module is as it was.

        Dropout is off and BatchNorm uses its running statistics, so that the output of a row does
        not depend on the other rows of its batch. Modes, ``requires_grad``, gradients, buffers and
        the device are restored afterwards; hooks of the caller stay. Other threads wait, even with
        other modules, because torch's forward mode and choice of kernels are global.
        """
        with ALONE:
            yield from self._frozen()

    def _frozen(self) -> Iterator[TorchModel]:
        modes = [(m, m.training) for m in self.module.modules()]
        wanted = [(p, p.requires_grad, p.grad) for p in self.module.parameters()]
        home = next(iter(self._homes))
        moved = len(self._homes) == 1 and self.device != home
        buffers = [
            (m, name, buffer, buffer.detach().clone())
            for m in self.module.modules()
            for name, buffer in m.named_buffers(recurse=False)
        ]
        try:
            for parameter, _, _ in wanted:
                parameter.grad = None  # or it would move as well
            if moved:
                self.module.to(self.device)
            self._evaluate()
            with self._by_itself():
                yield self
        finally:
            for mode_module, training in modes:
                mode_module.training = training
            if moved:
                self.module.to(home)
            with torch.no_grad():
                for m, name, buffer, before in buffers:
                    if not torch.equal(buffer, before):  # what is written to no graph may use
                        buffer.copy_(before)
                    setattr(m, name, buffer)  # a move replaces it, and so may a forward pass
            for parameter, requires_grad, grad in wanted:
                if parameter.requires_grad != requires_grad:
                    parameter.requires_grad_(requires_grad)
                parameter.grad = grad

    @contextmanager
    def _by_itself(self) -> Iterator[None]:
        """Run with gradients, without autocast and uncompiled, whatever mode the caller is in."""
        grad, own = torch.enable_grad(), own_precision(self.device.type)
        with torch.inference_mode(False), grad, own, not_compiled():
            yield

    def _evaluate(self) -> None:
        try:
            self.module.eval()
        except NotImplementedError as error:
            raise ValueError(
                f"A {type(self.module).__name__} has no evaluation mode: {error} Pass the module "
                "that it was exported from."
            ) from error

    def prepare(self, inputs: Any) -> Any:
        """Inputs of one batch on the device, numbers in the module's own precision.

        Floating inputs and bytes (pixels) are numbers. Other integers and booleans are numbers if
        the module has no embeddings and no other inputs; else they may be indices or masks.
        """
        return self._prepare(inputs, whole=not self._embeds)

    def _prepare(self, inputs: Any, whole: bool) -> Any:
        if isinstance(inputs, Tensor):
            inputs = inputs.to(self.device, non_blocking=True)
            number = inputs.is_floating_point() or inputs.dtype == torch.uint8
            number = number or (whole and not inputs.is_complex())
            return inputs.to(self.dtype) if number else inputs
        if hasattr(inputs, "items"):
            return {name: self._prepare(value, False) for name, value in inputs.items()}
        if isinstance(inputs, (tuple, list)):
            return tuple(self._prepare(value, False) for value in inputs)
        return inputs

    def forward(self, inputs: Any) -> Tensor:
        """Outputs (b, K) of a batch of inputs, on the device."""
        inputs = self.prepare(inputs)
        return self.read(self.call(inputs), inputs)

    def read(self, returned: Any, inputs: Any) -> Tensor:
        """Outputs (b, K) in what the module returned for prepared inputs."""
        return as_outputs(returned, type(self.module).__name__, single=_first_length(inputs) == 1)

    def check(self, inputs: Any) -> None:
        """Run a few rows, and refuse rows that the module does not take with a clear error.

        Raises
        ------
        ValueError
            If its forward fails on them; the error is the cause.
        """
        prepared, name = self.prepare(inputs), type(self.module).__name__
        try:
            with watched(self.module) as (running, _), torch.no_grad():
                self.call(prepared)
        except Exception as error:
            if is_short_of_memory(error):
                raise
            layer = f", in its layer {written(running[-1])!r}" if running and running[-1] else ""
            raise ValueError(
                f"{name} fails on rows like these, {_in_words(prepared)} in a batch{layer}: "
                f"{type(error).__name__}: {error}. Give rows of the shape and type that it was "
                f"trained on{_signature(self.module)}."
            ) from error

    def call(self, inputs: Any) -> Any:
        """Whatever the module returns for prepared inputs."""
        with Untouched():
            if isinstance(inputs, dict):
                return self.module(**inputs)
            return self.module(*inputs) if isinstance(inputs, tuple) else self.module(inputs)

    def find_head(self, inputs: Any) -> LinearHead:
        """The linear layer whose outputs are the module's, found by running it on a batch.

        Call it within ``frozen``.

        Raises
        ------
        ValueError
            If the outputs are not those of one linear layer that sees every row once.
        """
        layers = [(n, m) for n, m in self.module.named_modules() if isinstance(m, nn.Linear)]
        with linear_calls(layers) as calls, torch.no_grad():
            outputs = self.forward(inputs)
        odd: LinearCall | None = None
        for call in reversed(calls):
            link = next((name for name in LINKS if call.makes(outputs, name)), None)
            if link is None:
                continue
            if not call.is_plain:
                odd = odd or call
                continue
            if call.given.ndim != 2 or sum(other.layer is call.layer for other in calls) > 1:
                break
            return LinearHead(call.name, call.layer, link)
        if odd is not None:
            raise not_linear(odd.name, odd.layer)
        name = type(self.module).__name__
        if any(isinstance(m, torch.jit.ScriptModule) for m in self.module.modules()):
            raise ValueError(
                f"{name} is scripted, or part of it is, which hides its layers, and none of those "
                "that are left makes its outputs; pass the module that was scripted or traced, or "
                'use layers="all".'
            )
        raise ValueError(
            f"The outputs of {name} are not those of one linear layer (or "
            "its softmax, log-softmax or sigmoid) that sees every row once, so there is no head "
            'to work with; use layers="all" or name the layers.'
        )


@contextmanager
def linear_calls(layers: Iterable[tuple[str, nn.Linear]]) -> Iterator[list[LinearCall]]:
    """The calls of some layers, by name, in their order."""
    calls: list[LinearCall] = []

    def record(name: str) -> Callable[..., None]:
        def hook(layer: nn.Linear, args: Any, kwargs: Any, made: Any) -> None:
            given = first_input(args, kwargs)
            if isinstance(given, Tensor) and isinstance(made, Tensor):
                given, made = given.detach(), made.detach()
                calls.append(
                    LinearCall(written(name), layer, given, made, _is_plain(layer, given, made))
                )

        return hook

    hooks = [layer.register_forward_hook(record(n), with_kwargs=True) for n, layer in layers]
    try:
        yield calls
    finally:
        for handle in hooks:
            handle.remove()


@contextmanager
def watched(module: nn.Module) -> Iterator[tuple[list[str], list[tuple[str, Any]]]]:
    """Names of the layers that are running, and the outputs of those that have ended."""
    running: list[str] = []
    ended: list[tuple[str, Any]] = []

    def begin(name: str, m: nn.Module, args: Any) -> None:
        running.append(name)

    def end(m: nn.Module, args: Any, made: Any) -> None:
        ended.append((running.pop(), made))

    hooks: list[RemovableHandle] = []
    for name, m in module.named_modules():
        if not isinstance(m, torch.jit.ScriptModule):  # whose layers call no hooks
            hooks.append(m.register_forward_pre_hook(functools.partial(begin, name)))
            hooks.append(m.register_forward_hook(end))
    try:
        yield running, ended
    finally:
        for hook in hooks:
            hook.remove()


def _is_plain(layer: nn.Linear, given: Tensor, made: Tensor) -> bool:
    """Whether a layer's outputs are x W' + b in the precision in which it runs."""
    try:
        return _equal(functional.linear(given, layer.weight, layer.bias), made)
    except (RuntimeError, TypeError) as error:  # such as weights that are packed or of bytes
        if is_short_of_memory(error):
            raise
        return False


def _equal(found: Tensor, truth: Tensor) -> bool:
    """Whether two tensors are equal up to rounding.

    NaN equals NaN, because the caller reports rows that make NaN.
    """
    if found.shape != truth.shape or not truth.is_floating_point():
        return False
    tolerance = max(1e-5, 2 * torch.finfo(truth.dtype).eps)
    largest = truth.abs().nan_to_num(0.0, posinf=0.0).amax() if truth.numel() else 0.0
    return torch.allclose(
        found.to(truth.dtype),
        truth,
        rtol=tolerance,
        atol=tolerance * float(largest),
        equal_nan=True,
    )


def _signature(module: nn.Module) -> str:
    """The arguments of a module's forward, as the end of a sentence; empty for traced ones."""
    try:
        return f"; its forward is forward{inspect.signature(module.forward)}"
    except (TypeError, ValueError):
        return ""


def _in_words(inputs: Any) -> str:
    """Types and shapes of the inputs of a batch."""
    if isinstance(inputs, Tensor):
        return f"{str(inputs.dtype).removeprefix('torch.')} {tuple(inputs.shape)}"
    if isinstance(inputs, dict):
        return ", ".join(f"{name}= {_in_words(value)}" for name, value in inputs.items())
    if isinstance(inputs, tuple):
        return ", ".join(map(_in_words, inputs))
    return type(inputs).__name__


def _first_length(inputs: Any) -> int | None:
    """Length of the first tensor among the inputs of a batch."""
    if isinstance(inputs, Tensor):
        return len(inputs) if inputs.ndim else None
    parts = inputs.values() if isinstance(inputs, dict) else inputs
    found = map(_first_length, parts if isinstance(inputs, (dict, tuple)) else ())
    return next((length for length in found if length is not None), None)


def first_input(args: Any, kwargs: Any) -> Any:
    """The first input of a layer, by position or by name."""
    return args[0] if args else next(iter(kwargs.values()))


def find_link(model: TorchModel, inputs: Any) -> str:
    """The activation at the end of a module, as far as it can be recognised.

    If the last layer is not linear, probabilities are recognised by range and sum. (Of
    log-probabilities and their logits the cross-entropy is the same.)
    """
    try:
        return model.find_head(inputs).link
    except ValueError:
        pass
    with torch.enable_grad():
        outputs = model.forward(inputs)
    Z = outputs.detach().double()
    if _are_of_any_size(outputs) or not bool(((Z >= 0) & (Z <= 1)).all()):
        return "identity"
    sums = Z.sum(1)
    is_one = torch.allclose(sums, torch.ones_like(sums), atol=1e-4)
    return "softmax" if Z.shape[1] > 1 and is_one else "sigmoid"


def _are_of_any_size(outputs: Tensor) -> bool:
    """Whether, by their graph, the outputs come from a product with weights.

    Otherwise logits that all lie between 0 and 1 would be taken for probabilities. Without a graph
    the answer is False.
    """
    node = outputs.grad_fn
    while node is not None and node.name().startswith(PASSING):
        node = node.next_functions[0][0]
    return node is not None and node.name().startswith(PRODUCTS)


def as_outputs(returned: Any, name: str, *, single: bool = False) -> Tensor:
    """The (b, K) tensor in what a module returned, of a ``single`` row or several.

    Raises
    ------
    ValueError
        If there is none.
    """
    for key in OUTPUT_NAMES:
        if isinstance(returned, dict) and key in returned:
            returned = returned[key]
        elif not isinstance(returned, (Tensor, dict)) and hasattr(returned, key):
            returned = getattr(returned, key)
    if isinstance(returned, (tuple, list)) and returned:
        returned = returned[0]
    if not isinstance(returned, Tensor):
        raise ValueError(
            f"{name} returned a {type(returned).__name__}; its forward must return a tensor of "
            "outputs, a tuple that begins with one, or an object or dict with `logits`."
        )
    if returned.ndim < 2 and single:  # modules that squeeze lose the axis of the rows
        returned = returned.reshape(1, -1)
    if returned.ndim == 1:
        returned = returned[:, None]
    if returned.ndim != 2:
        raise ValueError(
            f"{name} returned outputs of shape {tuple(returned.shape)}; one vector a row, shape "
            "(rows, outputs), is needed. Wrap the module in one that pools or selects."
        )
    return returned
