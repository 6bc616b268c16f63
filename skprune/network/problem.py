"""A network's objective on given rows, and its products with derivatives.

Over the chosen parameters theta, flat and of length p,

    F(theta) = (1 / W) sum_i w_i l_i(theta) + (lam / 2) |theta|^2,    W = sum_i w_i.

Row i contributes a_i = w_i (g_i + lam theta), its gradient with its share of the penalty.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call

from skprune.data.content import UnknownContentError
from skprune.data.source import RowSource
from skprune.losses.base import Loss
from skprune.losses.hessian import OutputHessian
from skprune.network.batches import is_short_of_memory
from skprune.network.fingerprint import module_content
from skprune.network.forward import Logits, first_not_finite, nbytes
from skprune.network.jacobian import Linearised, Way, choose_way, no_derivatives
from skprune.network.module import TorchModel, written
from skprune.network.operations import plain_operations
from skprune.network.parameters import check_finite, choose_parameters
from skprune.utils.cache import digest

#: Inputs of at most so many bytes stay on the device between passes.
CACHED_BYTES = 1 << 30
#: Number of rows on which it is checked whether a network is linear in its parameters.
LINEAR_ROWS = 8


@dataclass(frozen=True)
class Batch:
    """A batch of rows on the device: inputs, positions (b,), targets and weights (b,)."""

    inputs: Any
    positions: Tensor
    targets: Tensor
    weights: Tensor

    def __len__(self) -> int:
        return len(self.positions)


class NetworkProblem:
    """Rows, targets, weights, loss, penalty and the chosen parameters of a network.

    Everything but the constructor must run within ``model.frozen()``, where the output of a row
    does not depend on the other rows.

    Parameters
    ----------
    model : TorchModel
    loss : Loss
    rows : RowSource
    targets : Tensor of shape (n, ...)
        As ``loss`` takes them; moved to the device.
    weights : Tensor of shape (n,), optional
        w_i; default: ones.
    penalty : float, default=0.0
        lam, per row (weight decay).
    layers : "all", or list of str or nn.Module
        The chosen parameters: all that are trained, or those of the named modules (of a single
        parameter too, by its name).
    batch_size : int
        Rows that go through the network together.

    Attributes
    ----------
    theta : Tensor of shape (p,)
        The chosen parameters, in the order of ``slices``.
    slices : dict of str to slice
        The place of each parameter in ``theta``.
    net : nn.Module
        A module that maps prepared inputs to logits.
    """

    def __init__(
        self,
        model: TorchModel,
        loss: Loss,
        rows: RowSource,
        targets: Tensor,
        *,
        weights: Tensor | None = None,
        penalty: float = 0.0,
        layers: str | Sequence[str | nn.Module] = "all",
        batch_size: int = 256,
    ) -> None:
        self.model, self.loss, self.penalty, self.batch_size = model, loss, penalty, batch_size
        self.parameters = choose_parameters(model.module, layers)
        check_finite(self.parameters)
        self.slices: dict[str, slice] = {}
        self.dim = 0
        for name, parameter in self.parameters.items():
            self.slices[name] = slice(self.dim, self.dim + parameter.numel())
            self.dim += parameter.numel()
        with torch.no_grad():
            flat = [p.detach().reshape(-1).to(model.device) for p in self.parameters.values()]
            self.theta = torch.cat(flat)
        # The Gauss-Newton matrix is taken in the logits: in probabilities, on which some modules
        # end, it would be the product of the loss gradients.
        self.net = Logits(model, loss)
        self._way: Way | None = None
        self._n_outputs: int | None = None
        self._set_rows(rows, targets, weights)

    def _set_rows(self, rows: RowSource, targets: Tensor, weights: Tensor | None) -> None:
        if len(targets) != len(rows):
            raise ValueError(f"There are {len(targets)} targets for {len(rows)} rows.")
        device, dtype = self.theta.device, self.theta.dtype
        self.rows, self.targets = rows, targets.to(device)
        if weights is None:
            weights = torch.ones(len(rows))
        self.weights = weights.to(device=device, dtype=dtype)
        self.total = float(self.weights.sum(dtype=torch.float64))
        self._kept_inputs: list[Batch] | None = None
        self._content: str | None = None

    def __len__(self) -> int:
        return len(self.rows)

    def on(self, rows: RowSource, targets: Tensor, weights: Tensor | None = None) -> NetworkProblem:
        """The same network and parameters on other rows, such as held-out ones.

        Raises
        ------
        ValueError
            If the network does not take these rows.
        """
        self.model.check(next(iter(rows.batches(1)))[0])
        other = copy.copy(self)
        other._set_rows(rows, targets, weights)
        return other

    @property
    def length(self) -> float:
        """Norm of all parameters of the modules that have a chosen one; 1 if that is 0."""
        owners = {name.rpartition(".")[0] for name in self.parameters}
        named = self.model.module.named_parameters()
        parts = [
            p.detach().norm()
            for name, p in named
            if p.is_floating_point() and name.rpartition(".")[0] in owners
        ]
        return float(torch.stack(parts).norm()) or 1.0

    @property
    def is_linear(self) -> bool:
        """Whether outputs are linear in the chosen parameters, judged by a few rows."""
        batch = next(iter(self.batches(np.arange(min(len(self), LINEAR_ROWS)))))
        generator = torch.Generator().manual_seed(0)
        step = torch.randn(self.dim, generator=generator).to(self.theta)
        step = step * (self.theta.norm().clamp_min(1.0) / step.norm())
        with torch.no_grad():
            a, b, c = (self.outputs(batch.inputs, self.theta + k * step) for k in range(3))
        bend, change = (c - 2 * b + a).norm(), (c - a).norm()
        rounding = min(100 * torch.finfo(bend.dtype).eps, 1e-3)
        return float(bend) <= rounding * float(change + a.norm())

    def content(self) -> str:
        """A digest of all that F depends on.

        Raises
        ------
        UnknownContentError
            If the content of rows, loss or module cannot be known.
        """
        if self._content is None:
            rows, loss = self.rows.fingerprint(), self.loss.content()
            if rows is None:
                raise UnknownContentError("the dataset computes its rows")
            if loss is None:
                raise UnknownContentError("the loss is your own")
            module = module_content(self.model.module, len(self), self._outputs_of)
            numbers = (self.targets, self.weights, self.penalty, str(self.theta.device))
            self._content = digest(rows, loss, module, tuple(self.slices), *numbers)
        return self._content

    def _outputs_of(self, indices: NDArray[np.int64]) -> Tensor:
        with torch.no_grad():
            return torch.cat([self.outputs(batch.inputs) for batch in self.batches(indices)])

    @property
    def n_outputs(self) -> int:
        """The number K of outputs."""
        if self._n_outputs is None:
            with torch.no_grad():
                batch = next(iter(self.batches(np.arange(1))))
                self._n_outputs = self.outputs(batch.inputs).shape[1]
        return self._n_outputs

    def batches(self, indices: Tensor | NDArray[np.int64] | None = None) -> Iterator[Batch]:
        """The rows, or those at ``indices`` in their order, batch after batch on the device."""
        if indices is None and self._kept_inputs is not None:
            yield from self._kept_inputs
            return
        if isinstance(indices, Tensor):
            indices = indices.detach().cpu().numpy()
        kept: list[Batch] | None = [] if indices is None else None
        for inputs, where in self.rows.batches(self.batch_size, indices):
            inputs = self.model.prepare(inputs)
            positions = torch.from_numpy(np.asarray(where)).to(self.theta.device)
            batch = Batch(inputs, positions, self.targets[positions], self.weights[positions])
            if kept is not None:
                if not kept and nbytes(inputs) / len(batch) * len(self) > CACHED_BYTES:
                    kept = None
                else:
                    kept.append(batch)
            yield batch
        if kept is not None:
            self._kept_inputs = kept

    def split(self, theta: Tensor) -> dict[str, Tensor]:
        """A flat vector (p,) as parameters by name."""
        return {
            name: theta[where].view(self.parameters[name].shape)
            for name, where in self.slices.items()
        }

    def join(self, parameters: dict[str, Tensor]) -> Tensor:
        """Parameters by name, each with leading dimensions, as vectors (..., p)."""
        parts = []
        for name, parameter in self.parameters.items():
            given = parameters[name]
            parts.append(given.reshape(*given.shape[: given.ndim - parameter.ndim], -1))
        return torch.cat(parts, dim=-1)

    def outputs(self, inputs: Any, theta: Tensor | None = None) -> Tensor:
        """Logits (b, K) of prepared inputs, as a differentiable function of ``theta`` (p,)."""
        return self.call(inputs, self.split(self.theta if theta is None else theta))

    def call(self, inputs: Any, parameters: dict[str, Tensor]) -> Tensor:
        """Logits (b, K) with some parameters replaced; gradients exist for these only."""
        with self._plainly():
            # Torch's own way to keep ties would not put back a layer that has two names.
            return functional_call(self.net, self._state(parameters), (inputs,), tie_weights=False)

    def _state(self, parameters: dict[str, Tensor]) -> dict[str, Tensor]:
        """All parameters and buffers by name; copies of those that forward may write to."""
        module, state = self.model.module, {}
        given = {b: b.clone() for b in module.buffers()}
        given.update({p: p.detach() for p in module.parameters()})
        given.update({self.parameters[n]: value.clone() for n, value in parameters.items()})
        for prefix, m in module.named_modules(prefix="module"):
            own = (*m._parameters.items(), *m._buffers.items())
            state.update({f"{prefix}.{n}": given[t] for n, t in own if t is not None})
        return state

    def _plainly(self) -> AbstractContextManager[None]:
        return plain_operations(self.model.module, self.theta.device.type)

    def direct(self, inputs: Any) -> Tensor:
        """Logits (b, K) of prepared inputs by the module with its own parameters."""
        with self._plainly():
            return self.net(inputs)

    def losses(self, theta: Tensor | None = None) -> Tensor:
        """The losses l_i of all rows, shape (n,)."""
        values = []
        with torch.no_grad():
            for batch in self.batches():
                with self.explained():
                    outputs = self.outputs(batch.inputs, theta)
                if len(outputs) != len(batch):
                    raise ValueError(
                        f"{type(self.model.module).__name__} returned outputs of shape "
                        f"{tuple(outputs.shape)} for {len(batch)} rows; one vector a row is needed."
                    )
                values.append(self.loss.value(outputs, batch.targets))
        losses = torch.cat(values)
        if not bool(torch.isfinite(losses).all()) and theta is None:
            raise FloatingPointError(self._blame(losses))
        return losses

    def linearise(self, batch: Batch) -> Linearised:
        """Outputs of a batch, and the two products with its Jacobian."""

        def f(theta: Tensor) -> Tensor:
            return self.outputs(batch.inputs, theta)

        if self._way is None:
            with self.explained():
                self._way = choose_way(f, self.theta, forward_mode=not self._pads())
        return self._way(f, self.theta)

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn torch's errors about derivatives into one that names the layer.

        Raises
        ------
        ValueError
            If a layer has no derivatives.
        """
        try:
            yield
        except (RuntimeError, TypeError) as error:
            if is_short_of_memory(error):
                raise
            batch = next(iter(self.batches(np.arange(min(len(self), 2)))))
            raise no_derivatives(
                self.model.module,
                lambda theta: self.outputs(batch.inputs, theta),
                self.theta,
                str(error),
            ) from error

    def _pads(self) -> bool:
        """Whether a padded embedding is chosen: only reverse mode leaves its padding out."""
        names = {id(p) for p in self.parameters.values()}
        return any(
            getattr(m, "padding_idx", None) is not None and id(m.weight) in names
            for m in self.model.module.modules()
            if isinstance(m, (nn.Embedding, nn.EmbeddingBag))
        )

    def outputs_after(self, steps: Tensor) -> Tensor:
        """Logits z_i + J_i d of all rows for steps d (G, p), shape (G, n, K)."""
        parts = []
        for batch in self.batches():
            linear = self.linearise(batch)
            parts.append(linear.outputs.detach() + linear.push(steps))
        return torch.cat(parts, dim=1)

    def losses_at(self, outputs: Tensor) -> Tensor:
        """The losses l_i of all rows at logits (G, n, K), shape (G, n)."""
        return torch.stack([self.loss.value(Z, self.targets) for Z in outputs])

    def predictions_at(self, outputs: Tensor) -> Tensor:
        """Predictions of the network at logits (n, K)."""
        return self.loss.mean(outputs)

    def coefficients(self, step: Tensor) -> Tensor:
        """A step (p,) in theta, in the user's own units."""
        return step

    def cotangents(self, batch: Batch, outputs: Tensor) -> Tensor:
        """The c_i = dl_i / dz of every row, shape (b, K); the gradient of row i is J_i' c_i."""
        return self.loss.residual(outputs.detach(), batch.targets)

    def hessian_of(self, batch: Batch, outputs: Tensor) -> OutputHessian:
        """The Hessians of the loss in the outputs of a batch."""
        return self.loss.hessian(outputs.detach(), batch.targets)

    def gradients(self, weights: Tensor | None = None) -> Tensor:
        """The sum of c_i g_i over all rows, without the penalty.

        Parameters
        ----------
        weights : Tensor of shape (G, n), optional
            c_i of G sums; default: one sum, with the weights w_i.

        Returns
        -------
        Tensor of shape (G, p), or (p,) by default
        """
        every = self.weights[None] if weights is None else weights
        total = self.theta.new_zeros(len(every), self.dim)
        for batch in self.batches():
            linear = self.linearise(batch)
            c = self.cotangents(batch, linear.outputs)
            total += linear.pull(every[:, batch.positions, None] * c)
        self._check_gradient(total)
        return total[0] if weights is None else total

    def scores(self, U: Tensor) -> Tensor:
        """The products <g_i, u> of all rows for U (B, p), shape (B, n)."""
        scores = U.new_empty(len(U), len(self))
        for batch in self.batches():
            linear = self.linearise(batch)
            c = self.cotangents(batch, linear.outputs)
            scores[:, batch.positions] = (linear.push(U) * c).sum(2)
        return scores

    def gauss_newton(self, V: Tensor, weights: Tensor | None = None) -> Tensor:
        """The Gauss-Newton products sum_i c_i J_i' h_i J_i v, without penalty and damping.

        Parameters
        ----------
        V : Tensor of shape (B, p)
        weights : Tensor of shape (n,) or (B, n), optional
            c_i, the same or another for every vector; default: w_i.

        Returns
        -------
        Tensor of shape (B, p)
        """
        every = self.weights if weights is None else weights
        if every.ndim == 1:
            every = every[None]
        total = torch.zeros_like(V)
        for batch in self.batches():
            total += self.gauss_newton_of(batch, V, every[:, batch.positions])
        return total

    def gauss_newton_of(self, batch: Batch, V: Tensor, weights: Tensor) -> Tensor:
        """The part of one batch in ``gauss_newton``, for weights (1 or B, b)."""
        linear = self.linearise(batch)
        bent = self.hessian_of(batch, linear.outputs).product(linear.push(V))
        return linear.pull(weights[:, :, None] * bent)

    def hessian(self, V: Tensor) -> Tensor:
        """The exact products sum_i w_i d^2 l_i v for V (B, p), without the penalty, (B, p).

        They are computed by reverse mode twice, vector by vector, because forward mode and
        vectorised maps lack the second derivatives of some layers.
        """
        total = torch.zeros_like(V)
        for batch in self.batches():
            theta = self.theta.clone().requires_grad_()
            with self.explained(), torch.enable_grad():
                losses = self.loss.value(self.outputs(batch.inputs, theta), batch.targets)
                objective = batch.weights @ losses
                (first,) = torch.autograd.grad(objective, theta, create_graph=True)
                for v, out in zip(V, total, strict=True):
                    out += torch.autograd.grad(first, theta, v, retain_graph=True)[0]
        return total

    def _check_gradient(self, gradient: Tensor) -> None:
        if bool(torch.isfinite(gradient).all()):
            return
        for name, where in self.slices.items():
            if not bool(torch.isfinite(gradient[..., where]).all()):
                raise FloatingPointError(
                    f"The gradient in parameter {written(name)!r} is not finite. Look for overflow "
                    "in the network on these rows, or run the module in float32 or float64."
                )

    def _blame(self, losses: Tensor) -> str:
        """Say in words which row and which layer make losses that are not finite."""
        row = int((~torch.isfinite(losses)).nonzero()[0])
        batch = next(iter(self.batches(np.array([row]))))
        name = first_not_finite(self.model.module, lambda: self.outputs(batch.inputs))
        where = "the loss makes them" if name is None else f"layer {written(name)!r} makes them"
        # Rows that are some of the user's are named as the user counts them.
        row = int(getattr(self.rows, "positions", np.arange(len(self)))[row])
        return (
            f"The loss of row {row} is not finite: {where}. Look for missing or huge values in the "
            "row, or run the module in float32 or float64."
        )
