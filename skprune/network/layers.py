"""Per-row gradients of a whole network, and products with those of all rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.func import grad, vmap

from skprune.network.batches import is_short_of_memory
from skprune.network.factors import Block, Factor, RowFactor, joined
from skprune.network.forward import map_tensors, no_batching_advice
from skprune.network.module import written
from skprune.network.problem import Batch, NetworkProblem
from skprune.network.trace import NotByRowError, Trace, read_layers
from skprune.utils.krylov import Product

#: Factors of all rows are stored if they have at most so many numbers.
CACHED_NUMBERS = 1 << 28
#: Number of rows on which factored gradients are compared with automatic differentiation.
CHECKED_ROWS = 3
#: Relative difference at which a factored form is rejected, in units of the root of epsilon.
DISAGREEMENT = 10.0
#: The error if a row's outputs depend on other rows.
DEPENDENT = (
    "The outputs of a row depend on the other rows of its batch, or change from one time to the "
    "next, so that no row has a gradient of its own: look for normalisation by batch statistics "
    "(track_running_stats=False), operations across the first dimension, quantisation by the range "
    "of a batch, dropout that evaluation mode does not switch off, and random augmentation in the "
    "dataset."
)


@dataclass(frozen=True)
class Treatment:
    """How the per-row gradients of one parameter are computed: "factored", "row by row" ..."""

    parameter: str
    how: str


class RowGradients:
    """The gradients g_i of all rows in the chosen parameters, never stored at full width.

    Products with all rows are products with their factors, if these fit into memory, and otherwise
    forward- and reverse-mode products of the network. Every factored form is first compared on a
    few rows with automatic differentiation, one row at a time. A layer whose form disagrees (its
    weights are used elsewhere too, or its rows lie along another dimension) is differentiated row
    by row.

    Parameters
    ----------
    problem : NetworkProblem
    cached_numbers : int
        Bound on the numbers that the stored factors may hold.

    Attributes
    ----------
    treatments : list of Treatment
        One for every chosen parameter.
    blocks : list of Block
        A partition of theta: layers, then the parameters without a factored form.

    Raises
    ------
    ValueError
        If a parameter has no gradients row by row, because rows of a batch influence each other.
    """

    convex = False
    #: Number of sets of rows for which systems are solved side by side.
    systems = 32

    def __init__(self, problem: NetworkProblem, cached_numbers: int = CACHED_NUMBERS) -> None:
        self.problem = problem
        self._cached_numbers = cached_numbers
        self._layers = read_layers(problem)
        self._by_loop = False
        with problem.explained():
            self._find_treatments()
        self._cache: list[tuple[Tensor, list[Factor]]] | None = None
        self._too_large = False

    # How gradients are formed -------------------------------------------------------------------

    @property
    def blocks(self) -> list[Block]:
        """A partition of theta, in the order of the factors."""
        return [layer.block for layer in self._layers] + self._others

    @property
    def treatments(self) -> list[Treatment]:
        """How the gradient of every chosen parameter is formed, in theta's order."""
        how = {(s.start, s.stop): layer.how for layer in self._layers for s in layer.block.slices}
        rest = "by automatic differentiation, row by row" + " in a loop" * self._by_loop
        return [
            Treatment(name, how.get((s.start, s.stop), rest))
            for name, s in self.problem.slices.items()
        ]

    def _find_treatments(self) -> None:
        problem = self.problem
        rows = torch.linspace(0, len(problem) - 1, min(CHECKED_ROWS, len(problem))).long()
        batch = next(iter(problem.batches(rows)))
        self._check_independence(rows[: len(batch)], batch)
        truth, C = _one_by_one(problem, batch)
        bad = True
        while bad:
            self._set_others()
            try:
                trace = Trace(problem, self._layers, batch)
            except NotByRowError as error:
                self._layers.remove(error.layer)
                continue
            found = self._factors(trace, batch, C, last=True)
            bad = False
            layers = {layer.block.name: layer for layer in self._layers}
            for block, factor in zip(self.blocks, found, strict=True):
                layer = layers.get(block.name)
                expected = block.take(truth)
                # Where all gradients vanish any form agrees: then none is believed.
                silent = layer in trace.called and not bool(expected.any())
                if agree(factor.rows(), expected) and not silent:
                    continue
                if layer is not None:
                    self._layers.remove(layer)
                elif not self._by_loop:
                    self._by_loop = True
                else:
                    raise ValueError(
                        f"The gradient of parameter {written(block.name)!r} cannot be computed "
                        "row by row: the module does not use its current value when it is called. "
                        "Name the layers to use, without this one."
                    )
                bad = True

    def _check_independence(self, rows: Tensor, batch: Batch) -> None:
        with torch.no_grad():
            together = self.problem.outputs(batch.inputs)
            alone = [
                self.problem.outputs(single.inputs)
                for row in rows
                for single in self.problem.batches(row[None])
            ]
        if not agree(torch.cat(alone), together):
            raise ValueError(DEPENDENT)

    def _set_others(self) -> None:
        covered = {s.start for layer in self._layers for s in layer.block.slices}
        self._others = [
            Block(name, (where,))
            for name, where in self.problem.slices.items()
            if where.start not in covered
        ]

    @property
    def penalty(self) -> float:
        """The penalty lam of the mean objective."""
        return self.problem.penalty

    # The factors of a batch ---------------------------------------------------------------------

    def factors(self, batch: Batch) -> list[Factor]:
        """Gradients of the loss of every row, one factor a block."""
        trace = self._trace(batch)
        C = self.problem.cotangents(batch, trace.outputs)
        return self._factors(trace, batch, C, last=True)

    def pull(self, batch: Batch, cotangents: Callable[[Tensor], Tensor]) -> Iterator[list[Factor]]:
        """Per-row gradients of <z_i, c_i> for R cotangents, one list of factors each.

        Parameters
        ----------
        batch : Batch
        cotangents : callable
            Outputs (b, K) -> c, shape (R, b, K).
        """
        trace = self._trace(batch)
        C = cotangents(trace.outputs.detach())
        for r, c in enumerate(C):
            yield self._factors(trace, batch, c, last=r + 1 == len(C))

    def _trace(self, batch: Batch) -> Trace:
        try:
            return Trace(self.problem, self._layers, batch)
        except NotByRowError as error:
            raise ValueError(
                f"Layer {written(error.layer.block.name)!r} is called on other shapes in some "
                "batches than on the first rows; make the module treat all batches alike."
            ) from error

    def _factors(self, trace: Trace, batch: Batch, C: Tensor, *, last: bool) -> list[Factor]:
        factors = trace.pull(C, last=last)
        if self._others:
            rows = self._functional(batch, C)
            factors += [RowFactor(rows[block.name]) for block in self._others]
        return factors

    def _functional(self, batch: Batch, C: Tensor) -> dict[str, Tensor]:
        """Per-row gradients of <z_i, c_i> in the parameters without a factored form."""
        problem = self.problem
        every = problem.split(problem.theta)
        others = {block.name: every[block.name] for block in self._others}
        if not self._by_loop:

            def along(parameters: dict[str, Tensor], x: Any, c: Tensor) -> Tensor:
                one = map_tensors(lambda value: value.unsqueeze(0), x)
                outputs = problem.call(one, {**every, **parameters})
                return (outputs[0] * c).sum()

            try:
                with no_batching_advice():
                    rows = vmap(grad(along), in_dims=(None, 0, 0))(others, batch.inputs, C)
                return {name: r.flatten(1) for name, r in rows.items()}
            except (RuntimeError, ValueError, TypeError, NotImplementedError) as error:
                if is_short_of_memory(error):
                    raise
                self._by_loop = True
        leaves = {name: value.detach().requires_grad_() for name, value in others.items()}
        with torch.enable_grad():
            along_all = (problem.call(batch.inputs, {**every, **leaves}) * C).sum(1)
        if not along_all.requires_grad:  # as where the network detaches what they make
            return {name: v.new_zeros(len(C), v.numel()) for name, v in others.items()}
        found = [
            torch.autograd.grad(
                one,
                list(leaves.values()),
                retain_graph=True,
                allow_unused=True,
                materialize_grads=True,
            )
            for one in along_all
        ]
        return {name: torch.stack([f[k].flatten() for f in found]) for k, name in enumerate(leaves)}

    # Products with all rows ---------------------------------------------------------------------

    def cached(self) -> list[tuple[Tensor, list[Factor]]] | None:
        """Positions and factors of all rows, batch after batch, if they fit into memory."""
        if self._cache is None and not self._too_large:
            cache = []
            for batch in self.problem.batches():
                factors = self.factors(batch)
                size = sum(f.numbers() for f in factors)
                if size / len(batch) * len(self.problem) > self._cached_numbers:
                    self._too_large = True
                    return None
                cache.append((batch.positions, factors))
            self._cache = cache
        return self._cache

    def scores(self, U: Tensor) -> Tensor:
        """The products <g_i, u> of all rows, shape (n,) for U (p,), (B, n) for U (B, p)."""
        many = U.reshape(-1, U.shape[-1])
        cache = self.cached()
        if cache is None:
            scores = self.problem.scores(many)
        else:
            scores = many.new_empty(len(many), len(self.problem))
            for positions, factors in cache:
                scores[:, positions] = self._scores(factors, many)
        return scores.reshape(*U.shape[:-1], -1)

    def weighted_sum(self, weights: Tensor) -> Tensor:
        """The sums of c_i g_i, shape (p,) for weights (n,), (G, p) for weights (G, n)."""
        many = weights.reshape(-1, weights.shape[-1]).to(self.problem.theta.dtype)
        cache = self.cached()
        if cache is None:
            total = self.problem.gradients(many)
        else:
            total = many.new_zeros(len(many), self.problem.dim)
            for positions, factors in cache:
                total += self._sums(factors, many[:, positions])
        return total.reshape(*weights.shape[:-1], -1)

    def sum(self, indices: Tensor, weights: Tensor | None = None) -> Tensor:
        """Sum of w_i g_i over some rows, each times its own of ``weights``, shape (p,)."""
        problem = self.problem
        factors = problem.weights[indices]
        if weights is not None:
            factors = factors * weights.to(factors)
        every = torch.zeros_like(problem.weights).index_add_(0, indices, factors)
        # Rows that are picked are read anew, while all of them may lie on the device already.
        if self.cached() is not None or 2 * len(indices) > len(problem):
            return self.weighted_sum(every)
        total = problem.theta.new_zeros(problem.dim)
        for batch in problem.batches(indices.unique()):
            linear = problem.linearise(batch)
            c = problem.cotangents(batch, linear.outputs)
            total += linear.pull((every[batch.positions, None] * c)[None])[0]
        return total

    def of(self, indices: Tensor) -> Iterator[list[Factor]]:
        """Factors of some rows, in their order, batch after batch."""
        for batch in self.problem.batches(indices):
            yield self.factors(batch)

    def hessian(self, kept: Tensor) -> Product:
        """A function that multiplies the rows of (G, p), each by M_K + lam I of its kept rows.

        M_K is the mean Gauss-Newton matrix of the rows where the mask ``kept`` (G, n) is True.
        """
        weights = kept * self.problem.weights
        shares = weights / weights.sum(1, keepdim=True)
        return lambda V: self.problem.gauss_newton(V, shares) + self.penalty * V

    def project(self, V: Tensor) -> Tensor:
        """Return ``V`` itself: no direction is known in which a network's losses never change."""
        return V

    def each(self) -> Iterator[tuple[Tensor, list[Factor]]]:
        """Positions and factors of all rows, batch after batch."""
        cache = self.cached()
        if cache is not None:
            yield from cache
            return
        for batch in self.problem.batches():
            yield batch.positions, self.factors(batch)

    def _scores(self, factors: list[Factor], U: Tensor) -> Tensor:
        parts = (f.scores(b.take(U)) for b, f in zip(self.blocks, factors, strict=True))
        total = next(parts)
        for part in parts:
            total = total + part
        return total

    def _sums(self, factors: list[Factor], weights: Tensor) -> Tensor:
        return joined(self.blocks, [f.weighted_sum(weights) for f in factors], self.problem.dim)


def _one_by_one(problem: NetworkProblem, batch: Batch) -> tuple[Tensor, Tensor]:
    """Gradients of <z_i, c_i> by autograd on the module itself, and the random c."""
    generator = torch.Generator().manual_seed(0)
    wanted = [(p, p.requires_grad) for p in problem.model.module.parameters()]
    chosen = list(problem.parameters.values())
    numbers: list[Tensor] = []

    def follow(value: Tensor) -> Tensor:
        if value.is_floating_point():
            numbers.append(value.detach().requires_grad_())
            return numbers[-1]
        return value

    try:
        for p in chosen:
            p.requires_grad_()
        with torch.enable_grad():
            outputs = problem.direct(map_tensors(follow, batch.inputs))
        if not outputs.requires_grad:
            raise RuntimeError(
                "its outputs have no graph, as in torch.no_grad() or torch.inference_mode(), or "
                "after detach()"
            )
        C = torch.randn(outputs.shape, generator=generator).to(outputs)
        rows = []
        for z, c in zip(outputs, C, strict=True):
            # A parameter that plays no part has a gradient of zeros instead of None.
            parts = torch.autograd.grad(
                (z * c).sum(), chosen, retain_graph=True, allow_unused=True, materialize_grads=True
            )
            rows.append(torch.cat([part.reshape(-1) for part in parts]))
        truth = torch.stack(rows).detach()
        if numbers and not all(bool(truth[:, s].any()) for s in problem.slices.values()):
            # Reentrant checkpoints hide the parameters that they use from this way of asking for
            # gradients; that says so only on the way to the inputs.
            torch.autograd.grad(outputs.sum(), numbers, allow_unused=True)
        return truth, C
    finally:
        for p, requires_grad in wanted:
            p.requires_grad_(requires_grad)


def agree(found: Tensor, truth: Tensor) -> bool:
    """Whether two tensors are equal up to the rounding of several steps."""
    if found.shape != truth.shape:
        return False
    tolerance = DISAGREEMENT * torch.finfo(truth.dtype).eps ** 0.5
    return float((found - truth).norm()) <= tolerance * float(truth.norm()) + 1e-10
