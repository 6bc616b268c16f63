"""Products with the Jacobian of a network's outputs, by whichever differentiation exists."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.func import jvp, vjp, vmap

from skprune.network.batches import is_short_of_memory
from skprune.network.forward import no_batching_advice
from skprune.network.module import watched, written

#: Number of directions that are pushed through a network side by side.
DIRECTIONS = 16


@dataclass(frozen=True)
class Linearised:
    """A function of theta (p,) at one theta, and the two products with its Jacobian J.

    Attributes
    ----------
    outputs : Tensor of shape (b, K)
    push : callable
        V (B, p) -> J v of every vector, shape (B, b, K).
    pull : callable
        C (B, b, K) -> J' c of every c, shape (B, p).
    """

    outputs: Tensor
    push: Callable[[Tensor], Tensor]
    pull: Callable[[Tensor], Tensor]


Function = Callable[[Tensor], Tensor]
Way = Callable[[Function, Tensor], Linearised]


def by_forward_mode(f: Function, theta: Tensor) -> Linearised:
    """The fastest way, which needs a forward mode of all operations in f."""
    load_forward_mode()
    outputs, adjoint = vjp(f, theta)[:2]
    return Linearised(
        outputs,
        lambda V: _each_row(lambda v: jvp(f, (theta,), (v,))[1], V),
        lambda C: _each_row(lambda c: adjoint(c)[0], C),
    )


def by_reverse_mode(f: Function, theta: Tensor) -> Linearised:
    """Reverse mode twice: J' c is linear in c, and the transposed derivative of it is J."""
    outputs, adjoint = vjp(f, theta)[:2]

    def push(V: Tensor) -> Tensor:
        zeros = torch.zeros_like(outputs)
        transposed = vjp(lambda c: vjp(f, theta)[1](c)[0], zeros)[1]
        return _each_row(lambda v: transposed(v)[0], V)

    return Linearised(outputs, push, lambda C: _each_row(lambda c: adjoint(c)[0], C))


def by_graph(f: Function, theta: Tensor) -> Linearised:
    """The same by ordinary autograd, vector by vector, for modules that allow no other way.

    Examples are an ``autograd.Function`` without ``setup_context``, packed sequences, and a
    forward that branches on its numbers.
    """
    leaf = theta.detach().requires_grad_()
    with torch.enable_grad():
        outputs = f(leaf)

    def push(V: Tensor) -> Tensor:
        zeros = torch.zeros_like(outputs).requires_grad_()
        pulled = _product(outputs, leaf, zeros, create_graph=True)
        return torch.stack([_product(pulled, zeros, v) for v in V])

    def pull(C: Tensor) -> Tensor:
        return torch.stack([_product(outputs, leaf, c) for c in C])

    return Linearised(outputs.detach(), push, pull)


def _product(made: Tensor, given: Tensor, c: Tensor, create_graph: bool = False) -> Tensor:
    if not made.requires_grad:
        return torch.zeros_like(given)
    (product,) = torch.autograd.grad(
        made, given, c, retain_graph=True, create_graph=create_graph, materialize_grads=True
    )
    return product


class NoDerivativesError(RuntimeError):
    """Torch cannot differentiate a function."""


def choose_way(f: Function, theta: Tensor, *, forward_mode: bool = True) -> Way:
    """The first way that exists for all that f does, and whose two products are adjoint.

    Raises
    ------
    NoDerivativesError
        If there is none; the message is torch's first error.
    """
    generator = torch.Generator().manual_seed(0)
    V = torch.randn(2, len(theta), generator=generator).to(theta)
    said = "its products with vectors contradict each other"
    for way in (by_graph, by_reverse_mode, by_forward_mode)[: 2 + forward_mode][::-1]:
        try:
            made = way(f, theta)
            c = torch.randn(made.outputs.shape, generator=generator).to(made.outputs)
            pushed, pulled = (made.push(V) * c).sum((1, 2)), made.pull(c[None])[0]
        except Exception as error:  # of many types, for all that torch does not do
            if is_short_of_memory(error):
                raise
            said = str(error)
            continue
        tolerance = 10.0 * torch.finfo(V.dtype).eps ** 0.5 * float(pulled.norm())
        if float((pushed - V @ pulled).abs().max()) <= tolerance + 1e-10:
            return way
    raise NoDerivativesError(said)


def no_derivatives(module: nn.Module, f: Function, theta: Tensor, said: str) -> ValueError:
    """The error for a module without derivatives, which names the layer at fault."""
    name = _first_without(module, f, theta)
    kind = type(module.get_submodule(name)).__name__
    where = f"the layer {written(name)!r}" if name else "the network itself"
    reason = said.partition("\n")[0].rstrip(".")
    return ValueError(
        f"There are no derivatives, row by row, of {where} ({kind}): {reason}. Leave out what has "
        "none (activation checkpointing is useful in training only), name layers that come after "
        "this one, layers=[...], or take layers='head', which only needs a linear last layer."
    )


def _first_without(module: nn.Module, f: Function, theta: Tensor) -> str:
    """The name of the layer at which f has no derivatives."""
    with watched(module) as (running, _):
        try:
            vjp(f, theta)
        except Exception:
            return running[-1] if running else ""
    with watched(module) as (_, ended), torch.no_grad():
        f(theta)
    for name, _ in ended:
        try:
            choose_way(functools.partial(_made_by, module, name, f), theta)
        except NoDerivativesError:
            return name
    return ""


def _made_by(module: nn.Module, name: str, f: Function, theta: Tensor) -> Tensor:
    """Outputs of a layer while f runs, as (b, K)."""
    with watched(module) as (_, ended):
        f(theta)
    for called, made in ended:
        if called == name and isinstance(made, Tensor) and made.is_floating_point() and made.ndim:
            return made.reshape(len(made), -1)
    return theta.new_zeros(1, 1)


@functools.cache
def load_forward_mode() -> None:
    """Load torch's forward mode, and hide a deprecation warning of torch's own."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        jvp(torch.sin, (torch.zeros(1),), (torch.zeros(1),))


def _each_row(product: Function, V: Tensor) -> Tensor:
    """``product`` of every row of V, some side by side."""
    with torch.no_grad():
        if len(V) == 1:
            return product(V[0])[None]
        with no_batching_advice():
            return vmap(product, chunk_size=DIRECTIONS)(V)
