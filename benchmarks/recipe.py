"""The training recipe of all networks that are compared: data on the device, few steps.

All images lie on the device, padded. One gather takes a batch, turns and shifts its images, and a
mask cuts a square out of them. Batches are full and run on over the ends of epochs. Stochastic
gradient descent with Nesterov's momentum or Muon, a triangular rate, smoothed labels.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from benchmarks.nets import NETS
from skprune.baselines import TrainingDynamics
from skprune.torch import distilled
from skprune.utils.seeds import seeded

#: Share of the steps in which the rate rises.
RISING = 0.2
#: Momentum of Muon.
MUON_MOMENTUM = 0.6


@dataclass(frozen=True)
class Recipe:
    """How networks are trained."""

    steps: int
    batch: int
    rate: float
    momentum: float = 0.9
    decay: float = 5e-4
    smoothing: float = 0.1
    shift: int = 2
    cutout: int = 0
    mirror: bool = True
    half: bool = False  # bfloat16 where torch's autocast takes it
    looks: int = 10  # how often the network is measured in training
    muon: float | None = None  # rate of Muon for convolutions; None leaves them to the gradient


@dataclass
class Pixels:
    """Images on a device, normalised: for training (n, side, side, channels), padded."""

    padded: Tensor
    y: Tensor
    test: Tensor
    y_test: Tensor
    n_classes: int
    pad: int

    @classmethod
    def of(cls, images: Any, labels: Any, n_classes: int, pad: int, device: str) -> Pixels:
        """From pairs (training, test) of uint8 images (n, side, side, channels) and labels."""
        train, test = (torch.from_numpy(x).to(device).float() / 255 for x in images)
        mean, deviation = train.mean((0, 1, 2)), train.std((0, 1, 2))
        train, test = ((x - mean) / deviation for x in (train, test))
        # Edges are repeated by reflection.
        padded = nn.functional.pad(train.permute(0, 3, 1, 2), (pad,) * 4, mode="reflect")
        y, y_test = (torch.from_numpy(v.astype(np.int64)).to(device) for v in labels)
        return cls(
            padded.permute(0, 2, 3, 1).contiguous(),
            y,
            test.permute(0, 3, 1, 2),
            y_test,
            n_classes,
            pad,
        )

    @property
    def side(self) -> int:
        """Pixels of an image's side."""
        return self.padded.shape[1] - 2 * self.pad

    def plain(self, rows: Tensor | slice) -> Tensor:
        """Training images as they are, (b, channels, side, side)."""
        inside = slice(self.pad, self.pad + self.side)
        return self.padded[rows, inside, inside].permute(0, 3, 1, 2)

    def augmented(self, rows: Tensor, recipe: Recipe, generator: torch.Generator) -> Tensor:
        """Training images turned, shifted and cut at random, (b, channels, side, side)."""
        b, side, device = len(rows), self.side, rows.device
        along = torch.arange(side, device=device)

        def drawn(most: int) -> Tensor:
            return torch.randint(most, (b, 1), generator=generator, device=device)

        down, across = (
            self.pad - recipe.shift + drawn(2 * recipe.shift + 1) + along for _ in range(2)
        )
        if recipe.mirror:
            across = torch.where(drawn(2) == 1, across.flip(1), across)
        x = self.padded[rows[:, None, None], down[:, :, None], across[:, None, :]]
        if recipe.cutout:
            top, left = (drawn(side - recipe.cutout + 1) for _ in range(2))
            inside = [(a <= along) & (along < a + recipe.cutout) for a in (top, left)]
            x = x.masked_fill((inside[0][:, :, None] & inside[1][:, None, :])[..., None], 0.0)
        return x.permute(0, 3, 1, 2)


@dataclass
class Trained:
    """A trained network, what it did on test rows on the way, and what that took."""

    net: nn.Sequential
    seconds: float
    forward: int  # images passed forward in training, and back
    backward: int
    curve: list[dict[str, float]] = field(default_factory=list)


def batches(
    rows_of: Callable[[int], Tensor], size: int, generator: torch.Generator
) -> Iterator[tuple[int, Tensor]]:
    """Full batches without end, and how many epochs have been begun; each is a permutation."""
    epoch, left = 0, torch.empty(0, dtype=torch.int64, device=generator.device)
    while True:
        while len(left) < size:
            rows = rows_of(epoch)
            order = torch.randperm(len(rows), generator=generator, device=rows.device)
            left, epoch = torch.cat([left, rows[order]]), epoch + 1
        yield epoch, left[:size]
        left = left[size:]


def train(
    name: str,
    pixels: Pixels,
    rows_of: Callable[[int], Tensor],
    recipe: Recipe,
    seed: int,
    *,
    steps: int | None = None,
    weights: Tensor | None = None,
    teacher: Tensor | None = None,
    dynamics: TrainingDynamics | None = None,
) -> Trained:
    """Train a network on the rows that an epoch has.

    Parameters
    ----------
    name : str
        One of ``NETS``.
    rows_of : callable
        The rows of an epoch, by its number; they may differ from epoch to epoch.
    steps : int, optional
        Instead of those of the recipe.
    weights : Tensor of shape (n,), optional
        What a row counts for in the loss.
    teacher : Tensor of shape (n, n_classes), optional
        Logits that are half of what the network learns, labels being the other half.
    dynamics : TrainingDynamics, optional
        Records the predictions of all epochs.
    """
    device, steps = str(pixels.y.device), steps or recipe.steps
    with seeded(seed):
        net = NETS[name](pixels.plain(slice(0, 2000)).cpu(), pixels.n_classes).to(device)
    net = net.to(memory_format=torch.channels_last)
    learning = optimizers(net, recipe)
    generator = torch.Generator(device).manual_seed(seed)
    looks = {round(steps * (i + 1) / recipe.looks) for i in range(recipe.looks)}
    rising = max(1, round(RISING * steps))
    found = Trained(net, 0.0, 0, 0)
    stream, epoch, start = batches(rows_of, recipe.batch, generator), 1, _now(device)
    for step in range(1, steps + 1):
        begun, rows = next(stream)
        share = min(step / rising, (steps - step + 1) / (steps - rising))
        for group in (group for optimizer in learning for group in optimizer.param_groups):
            group["lr"] = group["rate"] * share
        with _precision(recipe, device):
            logits = net(pixels.augmented(rows, recipe, generator)).float()
        if teacher is None:
            losses = nn.functional.cross_entropy(
                logits, pixels.y[rows], label_smoothing=recipe.smoothing, reduction="none"
            )
        else:
            losses = distilled(logits, pixels.y[rows], teacher[rows])
        net.zero_grad(set_to_none=True)
        (losses if weights is None else losses * weights[rows]).mean().backward()
        for optimizer in learning:
            optimizer.step()
        found.forward += len(rows)
        found.backward += len(rows)
        if dynamics is not None:
            dynamics.record(rows, logits, pixels.y[rows])
            if begun > epoch:  # the batch had the last rows of the epoch
                dynamics.end_epoch()
        epoch = begun
        if step in looks:
            found.seconds += _now(device) - start
            look = {"step": step, "epoch": epoch, "seconds": found.seconds}
            found.curve.append(look | measure(net, pixels, recipe))
            start = _now(device)
    return found


def optimizers(net: nn.Module, recipe: Recipe) -> list[torch.optim.Optimizer]:
    """What trains a network; the highest rate of a group of parameters is its ``rate``.

    Muon (Jordan et al., 2024) moves the kernels of convolutions, as matrices with a row a channel,
    by orthogonal steps; the gradient moves the rest. In 600 steps on 6,000 images (slim network, a
    rate of 0.2 and no other was better for the gradient, three to six seeds that chose no rate),
    0.24 gives 65.6 % on CIFAR-10 and 86.1 on Fashion-MNIST, and the gradient alone 63.2 and 85.6.
    """
    learned = [p for p in net.parameters() if p.requires_grad]
    kernels = [p for p in learned if p.ndim == 4 and recipe.muon is not None]
    others = [p for p in learned if all(p is not kernel for kernel in kernels)]
    groups = [
        {"params": [p for p in others if p.ndim > 1], "weight_decay": recipe.decay},
        {"params": [p for p in others if p.ndim <= 1], "weight_decay": 0.0},
    ]
    groups = [group | {"rate": recipe.rate} for group in groups]
    found = [torch.optim.SGD(groups, recipe.rate, momentum=recipe.momentum, nesterov=True)]
    if kernels:
        group = {"params": [_matrix(kernel) for kernel in kernels], "rate": recipe.muon}
        found.append(
            torch.optim.Muon([group], recipe.muon, momentum=MUON_MOMENTUM, weight_decay=0.0)
        )
    return found


def _matrix(kernel: Tensor) -> nn.Parameter:
    """The numbers of a kernel, channels last, as a matrix that gets its gradients as well."""

    def flat(numbers: Tensor) -> Tensor:
        return numbers.permute(0, 2, 3, 1).flatten(1)

    matrix = nn.Parameter(flat(kernel.detach()))
    assert matrix.data_ptr() == kernel.data_ptr()  # the same memory

    def hand_on(given: Tensor) -> None:
        matrix.grad = flat(given.grad)

    kernel.register_post_accumulate_grad_hook(hand_on)
    return matrix


def measure(net: nn.Module, pixels: Pixels, recipe: Recipe) -> dict[str, float]:
    """Accuracy and loss on the test images, seen once and as they are."""
    logits = outputs(net, pixels.test.split(1000), recipe)
    loss = nn.functional.cross_entropy(logits, pixels.y_test)
    right = (logits.argmax(1) == pixels.y_test).float().mean()
    return {"accuracy": float(right), "loss": float(loss)}


@torch.no_grad()
def outputs(net: nn.Module, batches: Any, recipe: Recipe) -> Tensor:
    """What a network, in evaluation mode, makes of batches of images."""
    net.eval()
    with _precision(recipe, str(next(net.parameters()).device)):
        found = torch.cat([net(x).float() for x in batches])
    net.train()
    return found


def _precision(recipe: Recipe, device: str) -> Any:
    return torch.autocast(device.partition(":")[0], torch.bfloat16, enabled=recipe.half)


def _now(device: str) -> float:
    if device.startswith("cuda"):
        torch.cuda.synchronize()
    return time.perf_counter()
