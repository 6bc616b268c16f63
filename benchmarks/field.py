"""The field: networks trained from scratch on what every strategy keeps of images.

    python -m benchmarks.field --preset cpu --data-root DATA --minutes 60
    python -m benchmarks.field --preset gpu --data-root DATA --minutes 9

The experiments of the paper (Yang et al., 2023), each a set of trainings and a table of them:

a  accuracy against the share that is pruned, all strategies
b  rows chosen by one architecture, other architectures trained on them
c  the observed gap beside what was predicted before the training
d  epochs, steps and seconds to a given accuracy with 40 % pruned, for as many epochs as all rows
e  architecture search on a tenth of the rows: do they rank architectures as all rows do
f  20 and 40 % of the training labels are wrong

One recipe for all. Strategies that look at the rows see one scoring run of the data set and seed,
whose passes stand beside those of the training. Random rows, stratified random rows, rows drawn
anew for every epoch, and all rows, for the same number of steps, are in every table.

A training is stored when it is finished, one that two experiments need is made once, and the same
command goes on where it stopped: with ``--minutes 9`` a table grows over several short stretches.
Choosing rows takes no GPU: ``--until scored`` on a machine that has one, ``--until chosen`` on one
that has not, with the same ``--cache-dir``, and then the trainings.
"""

from __future__ import annotations

import argparse
import math
import warnings
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from benchmarks import field_tables
from benchmarks.choosers import Chooser
from benchmarks.harness import RESULTS, collect
from benchmarks.images import DRAWN, IMAGES, load_images
from benchmarks.nets import SPACES
from benchmarks.recipe import Pixels, Recipe, train
from benchmarks.scoring import CACHE, Choice, Predictor, Scored, chooser, score, stem_of
from skprune.baselines import STRATEGIES

ALL_ROWS, ANEW = "all rows", "random anew"
OURS = ("skprune", "skprune, hard")
#: What was tried for networks beside these; the last three learn from the scoring run's logits.
DISTILLED = ", distilled"
TRIED = (
    "skprune, levels", "skprune, means", "skprune from ccs", "skprune from dual",
    "skprune from least confidence", "drawn by loss", "drawn by loss, weighted",
    "random" + DISTILLED, "skprune" + DISTILLED, "dual" + DISTILLED,
)  # fmt: skip
#: These know nothing of the rows but their number and their classes.
UNSCORED = ("random", "stratified random")
EXPERIMENTS = "abcdef"


@dataclass(frozen=True)
class Preset:
    """The size of the tables. ``few`` strategies are in all experiments but the first."""

    datasets: tuple[str, ...]
    rows: int
    test_rows: int
    net: str
    others: tuple[str, ...]  # architectures of b
    space: str  # architectures of e
    recipe: Recipe
    seeds: int
    pruned: tuple[float, ...]
    noise: tuple[float, ...]
    few: tuple[str, ...]
    strategies: tuple[str, ...] = (*TRIED, *STRATEGIES, "ccs, drop 0.3")
    gpu: bool = False


FEW = (
    "el2n", "forgetting", "dataset pruning", "class centre", "herding", "least confidence", "ccs",
    "dual",
)  # fmt: skip
PRESETS = {
    "smoke": Preset(
        datasets=(DRAWN,),
        rows=600,
        test_rows=300,
        net="tiny",
        others=("tiny plain",),
        space="tiny",
        recipe=Recipe(steps=40, batch=64, rate=0.1, looks=5),
        seeds=1,
        pruned=(0.4, 0.9),
        noise=(0.2,),
        few=("el2n",),
        strategies=("el2n", "dataset pruning", "dual", *TRIED[-3:]),
    ),
    "slim": Preset(
        datasets=("fashion_mnist", "cifar10"),
        rows=6000,
        test_rows=5000,
        net="slim",
        others=("slim plain", "slim deep", "slim shallow"),
        space="tiny",
        recipe=Recipe(steps=600, batch=64, rate=0.1),
        seeds=3,
        pruned=(0.4, 0.7, 0.9),
        noise=(0.2, 0.4),
        few=FEW,
    ),
    "cpu": Preset(
        datasets=("fashion_mnist", "cifar10"),
        rows=12_000,
        test_rows=4000,
        net="small",
        others=("small plain", "small shallow", "resnet18, width 8"),
        space="small",
        recipe=Recipe(steps=1400, batch=128, rate=0.1),
        seeds=3,
        pruned=(0.4, 0.7, 0.9),
        noise=(0.2, 0.4),
        few=FEW,
    ),
    "gpu": Preset(
        datasets=("cifar10", "cifar100"),
        rows=50_000,
        test_rows=10_000,
        net="fast",
        others=("resnet18",),
        space="full",
        recipe=Recipe(
            steps=1000, batch=512, rate=0.4, smoothing=0.2, cutout=8, half=True, muon=0.24
        ),
        seeds=5,
        pruned=(0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.9),
        noise=(0.2, 0.4),
        few=FEW,
        gpu=True,
    ),
}


class Training(NamedTuple):
    """A cell: a network that is trained once. ``epochs`` as with all rows, or as many steps."""

    dataset: str
    strategy: str
    pruned: float
    seed: int
    net: str
    noise: float = 0.0
    protocol: str = "steps"


class Prediction(NamedTuple):
    """A cell: what is predicted for chosen rows, without a training of the network."""

    dataset: str
    strategy: str
    pruned: float
    seed: int


def cells_of(letter: str, preset: Preset, seed: int) -> Iterator[Training | Prediction]:
    """The cells of an experiment. Those of all rows and at random come first."""
    first = preset.datasets[0]
    always, few = (*UNSCORED, ANEW), (*OURS, *preset.few)
    main, most = 0.4, 0.9
    if letter == "a":
        for dataset in preset.datasets:
            yield Training(dataset, ALL_ROWS, 0.0, seed, preset.net)
            names = dict.fromkeys((*always, *OURS, *preset.strategies))
            for pruned, name in product(preset.pruned, names):
                yield Training(dataset, name, pruned, seed, preset.net)
    elif letter == "b":
        for net in preset.others:
            yield Training(first, ALL_ROWS, 0.0, seed, net)
            for name in (*always, *few):
                yield Training(first, name, main, seed, net)
    elif letter == "c":
        yield Training(first, ALL_ROWS, 0.0, seed, preset.net)
        for pruned, name in product(preset.pruned, (*UNSCORED, *few)):
            yield Prediction(first, name, pruned, seed)
            yield Training(first, name, pruned, seed, preset.net)
    elif letter == "d":
        yield Training(first, ALL_ROWS, 0.0, seed, preset.net)
        yield Training(first, ALL_ROWS, main, seed, preset.net, protocol="epochs")
        for name in (*always, *few):
            yield Training(first, name, main, seed, preset.net, protocol="epochs")
    elif letter == "e":
        for net in SPACES[preset.space]:
            yield Training(first, ALL_ROWS, 0.0, seed, net)
            for name in (*always, *few[:4]):
                yield Training(first, name, most, seed, net)
    else:
        for noise in preset.noise:
            yield Training(first, ALL_ROWS, 0.0, seed, preset.net, noise)
            for name in (*always, *few):
                yield Training(first, name, main, seed, preset.net, noise)


class Field:
    """Runs cells; what several of them need is kept."""

    def __init__(self, preset: Preset, device: str, data_root: str | None, folder: Path) -> None:
        self.preset, self.device, self.data_root, self.folder = preset, device, data_root, folder
        self.pixels = lru_cache(2)(self._pixels)
        self.scored = lru_cache(2)(self._scored)
        self.chosen = lru_cache(256)(self._chosen)
        self.predictor = lru_cache(1)(self._predictor)

    def __call__(self, kind: str, *cell: Any) -> Iterator[dict[str, Any]]:
        """The records of a cell: one."""
        if kind == "prediction":
            found = Prediction(*cell)
            yield found._asdict() | {"kind": kind} | self.predict(found)
        else:
            asked = Training(*cell)
            yield asked._asdict() | {"kind": kind} | self.train(asked)

    def train(self, cell: Training) -> dict[str, Any]:
        """Train a network on the rows of its strategy."""
        preset, pixels = self.preset, self.pixels(cell.dataset, cell.noise, cell.seed)
        n, device = len(pixels.y), pixels.y.device
        every = torch.arange(n, device=device)
        steps, size = preset.recipe.steps, round((1 - cell.pruned) * n)
        if cell.protocol == "epochs":
            steps = round(steps * (1 - cell.pruned))
        about: dict[str, Any] = {"kept": size, "steps": steps}
        rows, weights, teacher = every, None, None
        if cell.strategy == ALL_ROWS:
            about["kept"] = n
        elif cell.strategy != ANEW:
            name = cell.strategy.removesuffix(DISTILLED)
            choice = self.chosen(cell.dataset, cell.noise, cell.seed, name, cell.pruned)
            chosen = choice.chosen
            about |= {"selection_seconds": chosen.seconds, "rows": chosen.digest} | choice.passes
            rows = torch.from_numpy(chosen.rows).to(device)
            if chosen.weights is not None:
                weights = torch.zeros(n, device=device)
                given = torch.from_numpy(chosen.weights).to(weights)
                weights[rows] = given / given.mean()
        if cell.strategy.endswith(DISTILLED):
            scored, _ = self.scored(cell.dataset, cell.noise, cell.seed)
            about |= scored.took
            teacher = torch.from_numpy(scored.logits).to(device).float()
        generator = torch.Generator(device).manual_seed(cell.seed)

        def rows_of(epoch: int) -> torch.Tensor:
            if cell.strategy != ANEW:
                return rows
            return torch.randperm(n, generator=generator, device=device)[:size]

        found = train(
            cell.net,
            pixels,
            rows_of,
            preset.recipe,
            cell.seed,
            steps=steps,
            weights=weights,
            teacher=teacher,
        )
        return about | {
            "accuracy": found.curve[-1]["accuracy"],
            "loss": found.curve[-1]["loss"],
            "epochs": steps * preset.recipe.batch / about["kept"],
            "parameters": sum(p.numel() for p in found.net.parameters()),
            "forward": found.forward,
            "backward": found.backward,
            "seconds": found.seconds,
            "curve": found.curve,
        }

    def predict(self, cell: Prediction) -> dict[str, float]:
        """What is predicted for the rows of a strategy."""
        choice = self.chosen(cell.dataset, 0.0, cell.seed, cell.strategy, cell.pruned)
        return self.predictor(cell.dataset, cell.seed)(choice.chosen.rows)

    def prepare(self, cells: Iterable[Training | Prediction], until: str) -> None:
        """Make the scoring runs that cells need, and choose their rows if ``until`` says so."""
        for cell in cells:
            if cell.strategy in (ALL_ROWS, ANEW):
                continue
            run = cell.dataset, getattr(cell, "noise", 0.0), cell.seed
            if until == "scored":
                self.scored(*run)
            else:
                self.chosen(*run, cell.strategy.removesuffix(DISTILLED), cell.pruned)

    def _pixels(self, dataset: str, noise: float, seed: int) -> Pixels:
        """Images on the device. All seeds have the same ones; they differ in which labels lie."""
        preset, rng = self.preset, np.random.default_rng(0)
        x, y, x_test, y_test = load_images(dataset, self.data_root)
        n_classes = int(y.max()) + 1
        rows = np.sort(rng.permutation(len(y))[: preset.rows])
        y = y[rows].astype(np.int64)
        rng = np.random.default_rng(seed)
        wrong = rng.permutation(len(y))[: round(noise * len(y))]
        y[wrong] = (y[wrong] + rng.integers(1, n_classes, len(wrong))) % n_classes
        images, labels = (x[rows], x_test[: preset.test_rows]), (y, y_test[: preset.test_rows])
        return Pixels.of(images, labels, n_classes, preset.recipe.shift, self.device)

    def _stem(self, dataset: str, noise: float, seed: int) -> Path:
        preset = self.preset
        about = (dataset, noise, preset.rows, preset.test_rows)
        return stem_of(self.folder, preset.net, preset.recipe, seed, about)

    def _scored(self, dataset: str, noise: float, seed: int) -> tuple[Scored, Chooser]:
        preset, pixels = self.preset, self.pixels(dataset, noise, seed)
        stem = self._stem(dataset, noise, seed)
        if preset.gpu and self.device == "cpu" and not stem.with_suffix(".npz").exists():
            raise FileNotFoundError(
                f"There is no scoring run {stem}.npz; make it with --until scored where the GPU "
                "is, and hand it over in --cache-dir."
            )
        scored = score(preset.net, pixels, preset.recipe, seed, stem)
        return scored, chooser(scored, pixels.y.cpu().numpy(), seed)

    def _chosen(
        self, dataset: str, noise: float, seed: int, strategy: str, pruned: float
    ) -> Choice:
        stem = self._stem(dataset, noise, seed)
        file = Path(f"{stem}_{strategy.replace(' ', '_')}_{pruned}.npz")
        if not file.exists():
            scored, found = self.scored(dataset, noise, seed)
            chosen = next(found(strategy, [1 - pruned]))[1]
            took = {} if strategy in UNSCORED else scored.took
            Choice(chosen, took).write(file, len(scored.features))
        return Choice.read(file)

    def _predictor(self, dataset: str, seed: int) -> Predictor:
        y_test = self.pixels(dataset, 0.0, seed).y_test.cpu().numpy()
        return Predictor(*self.scored(dataset, 0.0, seed), y_test)


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-root", help="folder of images; default: download")
    parser.add_argument("--preset", choices=[*PRESETS], default="cpu")
    parser.add_argument("--datasets", nargs="+", choices=IMAGES, help="in place of the preset's")
    parser.add_argument("--experiment", nargs="+", choices=[*EXPERIMENTS], default=[*EXPERIMENTS])
    parser.add_argument("--seeds", type=int)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no cell after these")
    parser.add_argument("--until", choices=["scored", "chosen", "trained"], default="trained")
    parser.add_argument("--cache-dir", default=CACHE, help="of scoring runs and of chosen rows")
    parser.add_argument("--out", help="a run that was cut off goes on where it stopped")
    args = parser.parse_args()
    preset = PRESETS[args.preset]
    preset = replace(preset, datasets=tuple(args.datasets or preset.datasets))
    warnings.simplefilter("ignore")
    device = "cuda" if preset.gpu and args.until != "chosen" else "cpu"
    if device == "cuda" and not torch.cuda.is_available():
        parser.error("the preset gpu needs a CUDA device, and torch sees none; take --preset cpu")
    torch.backends.cudnn.benchmark = True  # all batches have one shape
    run = Field(preset, device, args.data_root, Path(args.cache_dir))
    # A training that two experiments need is one cell.
    found = dict.fromkeys(
        cell
        for seed in range(args.seeds or preset.seeds)
        for letter in args.experiment
        for cell in cells_of(letter, preset, seed)
    )
    if args.until != "trained":
        run.prepare(found, args.until)
        return
    cells = [(type(cell).__name__.lower(), *cell) for cell in found]
    name = f"field_{args.preset}"

    def summarise(records: list[dict[str, Any]]) -> list[field_tables.Table]:
        return field_tables.tables(records, preset.net, preset.others, SPACES[preset.space])

    records = collect(name, cells, run, summarise, args.out, args.minutes)
    print(field_tables.show(summarise(records)))
    target = Path(args.out or RESULTS / f"{name}.json").with_suffix(".png")
    print("drawn to", field_tables.draw(records, preset.net, str(target)))


if __name__ == "__main__":
    main()
