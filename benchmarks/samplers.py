"""Samplers that draw other rows every epoch, by accuracy and by the passes they really take.

    python -m benchmarks.samplers --preset cpu --data-root DATA --minutes 9

A network is trained for the same number of epochs with every sampler; the learning rate follows
the progress of the training, so that it ends at zero however many steps an epoch has. Beside
every run stands one of all rows that ends after as many passes. What a sampler saves is the share
of passes, forward and back, that it did without; what it is worth is its accuracy less that of
all rows with equal passes. A run that was cut off goes on where it stopped.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product
from time import perf_counter
from typing import Any

import numpy as np
import torch
from torch import nn

from benchmarks.harness import collect, markdown
from benchmarks.images import DRAWN, load_images
from benchmarks.nets import NETS
from benchmarks.recipe import RISING, Pixels, Recipe, measure
from skprune.torch import (
    UCB,
    BalancedSampler,
    EpochSampler,
    InfoBatch,
    OrderDP,
    RandomSubset,
    RePB,
    SeTa,
)
from skprune.utils.seeds import seeded

ALL = "all rows"
#: Share of OrderDP's pool that is drawn.
TOP = 0.6
Maker = Callable[[np.ndarray, float, "Preset", int], EpochSampler]
#: Makes a sampler of labels, the share that is to be kept, the preset, and a seed. Samplers that
#: cannot be told what to keep are told to leave out the rest where they leave out anything.
SAMPLERS: dict[str, Maker] = {
    ALL: lambda y, keep, preset, seed: RandomSubset(y, 1.0, seed=seed),
    "random anew": lambda y, keep, preset, seed: RandomSubset(y, keep, seed=seed),
    "balanced": lambda y, keep, preset, seed: BalancedSampler(y, keep, seed=seed),
    "balanced by class": lambda y, keep, preset, seed: BalancedSampler(y, keep, y, seed=seed),
    "balanced by class, in batches": lambda y, keep, preset, seed: BalancedSampler(
        y, keep, y, batch_size=preset.recipe.batch, seed=seed
    ),
    "balanced, no weights": lambda y, keep, preset, seed: BalancedSampler(
        y, keep, weighted=False, seed=seed
    ),
    "InfoBatch": lambda y, keep, preset, seed: InfoBatch(y, preset.epochs, 1 - keep, seed=seed),
    "RePB": lambda y, keep, preset, seed: RePB(y, 1 - keep, seed=seed),
    "SeTa": lambda y, keep, preset, seed: SeTa(y, preset.epochs, 1 - keep, seed=seed),
    "OrderDP": lambda y, keep, preset, seed: OrderDP(y, min(1.0, keep / TOP), TOP, seed=seed),
    "UCB": lambda y, keep, preset, seed: UCB(y, keep, seed=seed),
}


@dataclass(frozen=True)
class Preset:
    """Data, network and extent of a run. The recipe's steps are those of all rows."""

    images: str
    rows: int
    test_rows: int
    net: str
    recipe: Recipe
    keep: tuple[float, ...]
    seeds: int
    device: str = "cpu"

    @property
    def epochs(self) -> int:
        """How often all rows are seen in the recipe's steps."""
        return round(self.recipe.steps * self.recipe.batch / self.rows)


PRESETS = {
    "smoke": Preset(DRAWN, 1000, 400, "tiny", Recipe(160, 64, 0.1), (0.3, 0.6), 1),
    "slim": Preset("cifar10", 6000, 5000, "slim", Recipe(1200, 64, 0.1), (0.3, 0.5, 0.7), 3),
    # So many epochs that more of them hardly help.
    "long": Preset("cifar10", 6000, 5000, "slim", Recipe(5600, 64, 0.1), (0.5, 0.6), 4),
    "cpu": Preset(
        "fashion_mnist", 12_000, 10_000, "small", Recipe(1400, 128, 0.1), (0.3, 0.5, 0.7), 3
    ),
    "gpu": Preset(
        "cifar10",
        50_000,
        10_000,
        "fast",
        Recipe(1000, 512, 0.4, smoothing=0.2, cutout=8),
        (0.3, 0.5, 0.7),
        5,
        "cuda",
    ),
}


def train(
    preset: Preset, pixels: Pixels, sampler: EpochSampler, seed: int, passes: float = math.inf
) -> dict[str, float]:
    """Train a network for the preset's epochs, or for fewer passes; accuracy, passes, seconds."""
    recipe, device = preset.recipe, preset.device
    with seeded(seed):
        net = NETS[preset.net](pixels.plain(slice(0, 2000)).cpu(), pixels.n_classes).to(device)
    learned = [p for p in net.parameters() if p.requires_grad]
    optimizer = torch.optim.SGD(
        learned, recipe.rate, recipe.momentum, weight_decay=recipe.decay, nesterov=True
    )
    generator = torch.Generator(device).manual_seed(seed)
    start = perf_counter()
    for epoch in range(preset.epochs):
        order = torch.tensor(list(sampler))
        # Whole batches only, but for an epoch that has none.
        batches = [b for b in order.split(recipe.batch) if len(b) == min(recipe.batch, len(order))]
        for step, rows in enumerate(batches):
            progress = max((epoch + step / len(batches)) / preset.epochs, sampler.passes / passes)
            if progress >= 1.0:
                break
            rate = recipe.rate * min(progress / RISING, (1.0 - progress) / (1.0 - RISING))
            optimizer.param_groups[0]["lr"] = rate
            rows = rows.to(device)
            losses = nn.functional.cross_entropy(
                net(pixels.augmented(rows, recipe, generator)),
                pixels.y[rows],
                label_smoothing=recipe.smoothing,
                reduction="none",
            )
            optimizer.zero_grad(set_to_none=True)
            sampler.weigh(losses, rows).backward()
            optimizer.step()
    accuracy = measure(net, pixels, recipe)["accuracy"]  # waits for the device
    return {
        "accuracy": accuracy,
        "passes": sampler.passes / (preset.rows * preset.epochs),
        "seconds": perf_counter() - start,
    }


class Run:
    """The cells of a preset, on the same images. All rows are trained once for equal passes."""

    def __init__(self, preset: Preset, data_root: str | None) -> None:
        self.preset = preset
        x, y, x_test, y_test = load_images(preset.images, data_root)
        rows = np.sort(np.random.default_rng(0).permutation(len(y))[: preset.rows])
        images, self.y = (x[rows], x_test[: preset.test_rows]), y[rows]
        labels = self.y, y_test[: preset.test_rows]
        n_classes, pad = int(y.max()) + 1, preset.recipe.shift
        self.pixels = Pixels.of(images, labels, n_classes, pad, preset.device)

    @cache  # noqa: B019 - there is one run
    def full(self, seed: int, passes: float) -> dict[str, float]:
        """All rows, for a number of passes."""
        sampler = SAMPLERS[ALL](self.y, 1.0, self.preset, seed)
        return train(self.preset, self.pixels, sampler, seed, passes)

    def __call__(self, method: str, keep: float, seed: int) -> Iterator[dict[str, Any]]:
        """One sampler, and all rows with as many passes."""
        preset = self.preset
        if method == ALL:
            found = full = self.full(seed, math.inf)
        else:
            sampler = SAMPLERS[method](self.y, keep, preset, seed)
            found = train(preset, self.pixels, sampler, seed)
            full = self.full(seed, sampler.passes)
        about = {"method": method, "keep": keep, "seed": seed}
        yield about | found | {"full_accuracy": full["accuracy"], "full_seconds": full["seconds"]}


def summarise(records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Means over seeds; the standard error is that of the difference to all rows."""
    found = []
    for method, keep in dict.fromkeys((r["method"], r["keep"]) for r in records):
        own = [r for r in records if (r["method"], r["keep"]) == (method, keep)]
        lead = np.array([r["accuracy"] - r["full_accuracy"] for r in own])
        error = lead.std(ddof=1) / math.sqrt(len(lead)) if len(lead) > 1 else math.nan
        names = ("accuracy", "passes", "seconds", "full_accuracy")
        means = {name: float(np.mean([r[name] for r in own])) for name in names}
        about = {"method": method, "keep": keep, "seeds": len(own)}
        found.append(about | means | {"lead": float(lead.mean()), "standard_error": float(error)})
    return found


def show(records: list[dict[str, Any]]) -> str:
    """A row a share and sampler."""
    header = ("asked to keep", "sampler", "passes", "accuracy", "all rows, equal passes", "lead")
    rows = [
        (
            f"{s['keep']:.0%}",
            s["method"],
            f"{s['passes']:.1%}",
            f"{s['accuracy']:.2%}",
            f"{s['full_accuracy']:.2%}",
            f"{100 * s['lead']:+.2f}"
            + (f" ± {100 * s['standard_error']:.2f}" if s["seeds"] > 1 else ""),
        )
        for s in sorted(summarise(records), key=lambda s: -s["keep"])
    ]
    return markdown(header, rows)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of images; default: download")
    parser.add_argument("--preset", choices=[*PRESETS], default="cpu")
    parser.add_argument("--samplers", nargs="+", choices=[*SAMPLERS], default=[*SAMPLERS])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no cell after these")
    parser.add_argument("--out", help="a run that was cut off goes on where it stopped")
    args = parser.parse_args()
    preset = PRESETS[args.preset]
    warnings.simplefilter("ignore")
    cells = [
        (method, keep, seed)
        for seed, keep in product(range(args.seeds or preset.seeds), (1.0, *preset.keep))
        for method in args.samplers
        if (method == ALL) == (keep == 1.0)
    ]
    name = f"samplers_{args.preset}"
    run = Run(preset, args.data_root)
    print(show(collect(name, cells, run, summarise, args.out, args.minutes)))


if __name__ == "__main__":
    main()
