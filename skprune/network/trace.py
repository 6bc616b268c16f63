"""Per-row gradients by hooks, from a layer's inputs and the gradients in its outputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from skprune.network.batches import is_short_of_memory
from skprune.network.factors import Block, Factor, LookupFactor, MatrixFactor, RowFactor
from skprune.network.module import first_input
from skprune.network.problem import Batch, NetworkProblem


class NotByRowError(Exception):
    """A layer is called in a way that its factored form does not cover."""

    def __init__(self, layer: Layer) -> None:
        super().__init__(layer.block.name)
        self.layer = layer


class Layer:
    """A layer whose gradient has a factored form: a linear one, with any number of positions.

    Parameters
    ----------
    module : nn.Module
    block : Block
    """

    #: How the gradients of the layer are formed, for the report.
    how = "factored"

    def __init__(self, module: nn.Module, block: Block) -> None:
        self.module, self.block = module, block

    @staticmethod
    def layout(module: Any, has_weight: bool, has_bias: bool) -> dict[str, Any]:
        """``shape`` and ``has_bias`` of the layer's block."""
        inputs = module.in_features * has_weight + has_bias
        return {"shape": (1, module.out_features, inputs), "has_bias": has_bias}

    def inputs(self, x: Tensor) -> Tensor:
        """The factors of the parameters, shape (N, t, ...) for t positions."""
        return self._homogeneous(x.reshape(len(x), -1, x.shape[-1]))

    def gradient(self, d: Tensor) -> Tensor:
        """The gradient ``d`` in the output, arranged as ``inputs`` is."""
        return d.reshape(len(d), -1, d.shape[-1])

    def factor(self, X: Tensor, E: Tensor) -> Factor:
        """The factor of b rows at t positions: X (b, t, ...), E (b, t, ...)."""
        return MatrixFactor(X.unsqueeze(2), E.unsqueeze(2))

    def empty(self, b: int, like: Tensor) -> Factor:
        """The factor of b rows if the layer was not called."""
        assert self.block.shape is not None
        groups, outputs, inputs = self.block.shape
        return MatrixFactor(
            like.new_zeros(b, 0, groups, inputs), like.new_zeros(b, 0, groups, outputs)
        )

    def _homogeneous(self, x: Tensor) -> Tensor:
        assert self.block.shape is not None
        ones = x.new_ones(*x.shape[:-1], 1)
        if self.block.has_bias:
            return ones if self.block.shape[2] == 1 else torch.cat([x, ones], dim=-1)
        return x.clone()  # the network may go on to change it in place


class ConvLayer(Layer):
    """A convolution over one or two dimensions: a linear layer that sees patches."""

    @staticmethod
    def layout(module: Any, has_weight: bool, has_bias: bool) -> dict[str, Any]:
        weight = module.weight
        inputs = weight[0].numel() * has_weight + has_bias
        return {
            "shape": (module.groups, len(weight) // module.groups, inputs),
            "has_bias": has_bias,
        }

    def inputs(self, x: Tensor) -> Tensor:
        assert self.block.shape is not None
        module: Any = self.module
        n_dims = len(module.kernel_size)
        x = functional.pad(x, _padding(module), mode=_mode(module))
        if n_dims == 1:
            x = x.unsqueeze(2)
        # A one-dimensional convolution is a two-dimensional one over a single line.
        kernel, stride, dilation = (
            (1, *value) if n_dims == 1 else value
            for value in (module.kernel_size, module.stride, module.dilation)
        )
        patches = functional.unfold(x, kernel, dilation=dilation, stride=stride)
        N, _, positions = patches.shape
        patches = patches.reshape(N, self.block.shape[0], -1, positions).permute(0, 3, 1, 2)
        return self._homogeneous(patches)

    def gradient(self, d: Tensor) -> Tensor:
        assert self.block.shape is not None
        groups, outputs, _ = self.block.shape
        return d.reshape(len(d), groups, outputs, -1).permute(0, 3, 1, 2)

    def factor(self, X: Tensor, E: Tensor) -> Factor:
        return MatrixFactor(X, E)


class LookupLayer(Layer):
    """An embedding."""

    @staticmethod
    def layout(module: Any, has_weight: bool, has_bias: bool) -> dict[str, Any]:
        return {}

    def inputs(self, x: Tensor) -> Tensor:
        return x.reshape(len(x), -1).clone()

    def factor(self, X: Tensor, E: Tensor) -> Factor:
        module: Any = self.module
        if module.padding_idx is not None:
            E = E * (module.padding_idx != X).unsqueeze(-1)
        return LookupFactor(X, E, module.num_embeddings)

    def empty(self, b: int, like: Tensor) -> Factor:
        module: Any = self.module
        ids = torch.zeros(b, 0, dtype=torch.int64, device=like.device)
        return LookupFactor(ids, like.new_zeros(b, 0, module.embedding_dim), module.num_embeddings)


class BagLayer(LookupLayer):
    """Bags of embeddings, in which every id has its share of the bag's gradient."""

    def inputs(self, x: Tensor) -> Tensor:
        if x.ndim != 2:
            raise ValueError("The bags of embeddings are not one for each row.")
        return super().inputs(x)

    def factor(self, X: Tensor, E: Tensor) -> Factor:
        module: Any = self.module
        ids = X.reshape(*E.shape[:2], -1)
        share = torch.ones_like(ids, dtype=E.dtype)
        if module.padding_idx is not None:
            share = (module.padding_idx != ids).to(E.dtype)
        if module.mode == "mean":
            share = share / share.sum(-1, keepdim=True).clamp_min(1.0)
        return super().factor(X, (share.unsqueeze(-1) * E.unsqueeze(2)).flatten(1, 2))


class AffineLayer(Layer):
    """Scale and shift of a normalisation; the gradient of a row is as small as the layer."""

    how = "row by row"

    @staticmethod
    def layout(module: Any, has_weight: bool, has_bias: bool) -> dict[str, Any]:
        return {}

    def __init__(self, module: nn.Module, block: Block) -> None:
        super().__init__(module, block)
        #: Whether each of the chosen parameters is the scale; the other is the shift.
        self.scales: list[bool] = []

    def inputs(self, x: Tensor) -> Tensor:
        m: Any = self.module
        if isinstance(m, nn.LayerNorm):
            normal = functional.layer_norm(x, m.normalized_shape, None, None, m.eps)
            return normal.reshape(len(x), -1, self._width())
        if isinstance(m, nn.GroupNorm):
            normal = functional.group_norm(x, m.num_groups, None, None, m.eps)
        else:
            normal = functional.batch_norm(x, m.running_mean, m.running_var, eps=m.eps)
        return normal.movedim(1, -1).reshape(len(x), -1, self._width())

    def gradient(self, d: Tensor) -> Tensor:
        channels = d if isinstance(self.module, nn.LayerNorm) else d.movedim(1, -1)
        return channels.reshape(len(d), -1, self._width())

    def _width(self) -> int:
        return self.block.size // len(self.scales)

    def factor(self, X: Tensor, E: Tensor) -> Factor:
        parts = [((E * X) if scale else E).sum(1) for scale in self.scales]
        return RowFactor(torch.cat(parts, dim=1))

    def empty(self, b: int, like: Tensor) -> Factor:
        return RowFactor(like.new_zeros(b, self.block.size))


#: Layers with a factored form, by the exact class or a subclass with the same forward.
KINDS: tuple[tuple[tuple[type[nn.Module], ...], type[Layer]], ...] = (
    ((nn.Linear,), Layer),
    ((nn.Conv1d, nn.Conv2d), ConvLayer),
    ((nn.Embedding,), LookupLayer),
    ((nn.EmbeddingBag,), BagLayer),
    (
        (nn.LayerNorm, nn.GroupNorm, nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d),
        AffineLayer,
    ),
)


def read_layers(problem: NetworkProblem) -> list[Layer]:
    """The layers with a factored form that have chosen parameters."""
    layers: list[Layer] = []
    for name, module in problem.model.module.named_modules():
        kind = next((kind for types, kind in KINDS if isinstance(module, types)), None)
        prefix = f"{name}." if name else ""
        own = [n for n in ("weight", "bias") if prefix + n in problem.slices]
        if kind is None or not own or set(dict(module.named_parameters())) - {"weight", "bias"}:
            continue
        slices = tuple(problem.slices[prefix + n] for n in own)
        block = Block(name, slices, **kind.layout(module, "weight" in own, "bias" in own))
        layer = kind(module, block)
        if isinstance(layer, AffineLayer):
            layer.scales = [n == "weight" for n in own]
        layers.append(layer)
    return layers


class Trace:
    """One forward pass that records the inputs and outputs of the layers.

    Attributes
    ----------
    outputs : Tensor of shape (b, K)
        Outputs with their graph, through which ``pull`` differentiates.
    """

    def __init__(self, problem: NetworkProblem, layers: list[Layer], batch: Batch) -> None:
        self._layers, self._b = list(layers), len(batch)
        self._inputs: list[list[Tensor]] = [[] for _ in layers]
        self._made: list[list[Tensor]] = [[] for _ in layers]
        with _hooked(self, layers), torch.enable_grad():
            self.outputs = problem.outputs(batch.inputs)

    @property
    def called(self) -> set[Layer]:
        """The layers that the network used."""
        return {layer for layer, made in zip(self._layers, self._made, strict=True) if made}

    def record(self, k: int, x: Any, made: Any) -> Any:
        """Note one call of layer k; returns what the network goes on with."""
        if not isinstance(x, Tensor) or not isinstance(made, Tensor) or len(made) % self._b:
            raise NotByRowError(self._layers[k])
        # Where nothing before has gradients, the graph begins here.
        made = made if made.requires_grad else made.detach().requires_grad_()
        try:
            X = self._by_row(self._layers[k].inputs(x.detach()))
        except (RuntimeError, ValueError) as error:
            if is_short_of_memory(error):
                raise
            raise NotByRowError(self._layers[k]) from error
        self._inputs[k].append(X)
        self._made[k].append(made)
        # A copy, so that what follows may work in place.
        return made.clone()

    def pull(self, cotangents: Tensor, *, last: bool = True) -> list[Factor]:
        """Per-row gradients of <z_i, c_i> for cotangents c (b, K), one factor a layer.

        ``last`` says that the graph is not needed again.
        """
        made = [output for outputs in self._made for output in outputs]
        found: list[Tensor | None] = [None] * len(made)
        if made and self.outputs.requires_grad:
            found = list(
                torch.autograd.grad(
                    self.outputs, made, cotangents, retain_graph=not last, allow_unused=True
                )
            )
        factors, start = [], 0
        for layer, X, outputs in zip(self._layers, self._inputs, self._made, strict=True):
            stop = start + len(outputs)
            if not outputs:
                factors.append(layer.empty(self._b, self.outputs))
                continue
            E = [
                self._by_row(layer.gradient(torch.zeros_like(o) if d is None else d))
                for o, d in zip(outputs, found[start:stop], strict=True)
            ]
            start = stop
            factors.append(layer.factor(_together(X), _together(E)))
        return factors

    def _by_row(self, values: Tensor) -> Tensor:
        """Reshape (N, t, ...) to (b, t N / b, ...), as some networks merge positions with rows."""
        per_row = len(values) // self._b * values.shape[1]
        return values.reshape(self._b, per_row, *values.shape[2:])


def _together(parts: list[Tensor]) -> Tensor:
    """Join several calls of a layer, whose positions add up."""
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


@contextmanager
def _hooked(trace: Trace, layers: list[Layer]) -> Iterator[None]:
    def hook(k: int) -> Callable[..., Any]:
        def record(module: nn.Module, args: Any, kwargs: Any, made: Any) -> Any:
            # What else a layer is given may play a part that its factored form does not know.
            alone = len(args) + len(kwargs) == 1
            return trace.record(k, first_input(args, kwargs) if alone else None, made)

        return record

    handles = [
        layer.module.register_forward_hook(hook(k), with_kwargs=True)
        for k, layer in enumerate(layers)
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _padding(module: Any) -> list[int]:
    """The padding as arguments of ``functional.pad``, the last dimension first."""
    pairs: list[int] = []
    for d in reversed(range(len(module.kernel_size))):
        if module.padding == "same":
            total = module.dilation[d] * (module.kernel_size[d] - 1)
            pairs += [total // 2, total - total // 2]
        elif module.padding == "valid":
            pairs += [0, 0]
        else:
            pairs += [module.padding[d]] * 2
    return pairs


def _mode(module: Any) -> str:
    return "constant" if module.padding_mode == "zeros" else module.padding_mode
