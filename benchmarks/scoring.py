"""The one scoring run of a data set and seed: what every strategy knows of a trained network.

A network is trained on all rows by the common recipe, and its predictions are recorded in every
epoch. Its last features, its last layer, its logits (half precision) and the dynamics are kept in
a file, and so are the rows that strategies choose from them: a table that grows over several runs
of the script has the same evidence in all of them, and rows can be chosen where there is no GPU.
"""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor, nn

from benchmarks.choosers import Chooser, Chosen
from benchmarks.harness import Judge, write_arrays
from benchmarks.recipe import Pixels, Recipe, outputs, train
from benchmarks.tried import BalancedFrom, DrawnByLoss
from skprune import InfluencePruner, LinearProxy
from skprune.baselines import CCS, DUAL, EL2N, LeastConfidence, TrainingDynamics
from skprune.baselines.parameters import ParameterInfluence
from skprune.influence.gradients import GradientInfluence

CACHE = Path(__file__).parent / ".cache"
#: Part of the key: raise it with every change of the recipe or of a strategy.
VERSION = 2
#: A head whose errors are those of a constant: the mean features of every class are balanced.
NEARLY_CONSTANT = LinearProxy(make_pipeline(StandardScaler(), LogisticRegression(C=1e-5)))
#: Added to the seed, so that the network that scores rows is none of those trained on them.
OTHER_SEED = 1000


@dataclass(frozen=True)
class Scored:
    """A scoring run: its features and last layer, and what it took.

    ``levels`` are the means over pixels of what the groups of layers before the features give.
    """

    features: np.ndarray
    levels: np.ndarray
    test_features: np.ndarray
    logits: np.ndarray
    dynamics: TrainingDynamics
    forward: int
    backward: int
    seconds: float
    layer: nn.Linear

    @property
    def took(self) -> dict[str, float]:
        """Passes and seconds, as the records of strategies have them."""
        return {
            "scoring_forward": self.forward,
            "scoring_backward": self.backward,
            "scoring_seconds": self.seconds,
        }


def stem_of(folder: Path, net: str, recipe: Recipe, seed: int, about: tuple[Any, ...]) -> Path:
    """Where a scoring run is kept, without an ending; ``about`` says which rows it scores."""
    # What a recipe does without is not in the key, so that new options leave old keys.
    given = {name: value for name, value in asdict(recipe).items() if value is not None}
    key = repr((VERSION, net, given, seed, about))
    return folder / f"field_{hashlib.sha256(key.encode()).hexdigest()[:16]}"


def score(net: str, pixels: Pixels, recipe: Recipe, seed: int, stem: Path) -> Scored:
    """The scoring run of these rows, from its file if there is one."""
    file, recorded = stem.with_suffix(".npz"), Path(f"{stem}_dynamics.npz")
    if not file.exists():
        recorded.unlink(missing_ok=True)  # of a run that was cut off
        stem.parent.mkdir(parents=True, exist_ok=True)
        dynamics = TrainingDynamics(len(pixels.y), recorded)
        every = torch.arange(len(pixels.y), device=pixels.y.device)
        trained = train(net, pixels, lambda _: every, recipe, seed + OTHER_SEED, dynamics=dynamics)
        dynamics.end_epoch()
        body, layer = trained.net[:-1], trained.net[-1]
        rows = every.split(1000)
        arrays = {
            "features": outputs(body, (pixels.plain(part) for part in rows), recipe),
            "levels": outputs(Levels(body), (pixels.plain(part) for part in rows), recipe),
            "test_features": outputs(body, pixels.test.split(1000), recipe),
            "weight": layer.weight.detach().float(),
            "bias": layer.bias.detach().float(),
        }
        logits = arrays["features"] @ arrays["weight"].T + arrays["bias"]
        write_arrays(
            file,
            forward=trained.forward + len(every),
            backward=trained.backward,
            seconds=trained.seconds,
            logits=logits.half().cpu().numpy(),
            **{name: array.half().cpu().numpy() for name, array in arrays.items()},
        )
    with np.load(file) as z:
        weight, bias = (torch.from_numpy(z[name]).float() for name in ("weight", "bias"))
        layer = nn.Linear(weight.shape[1], len(weight))
        layer.weight.data, layer.bias.data = weight, bias
        return Scored(
            z["features"].astype(np.float32),
            z["levels"].astype(np.float32),
            z["test_features"].astype(np.float32),
            z["logits"],
            TrainingDynamics(len(pixels.y), recorded),
            int(z["forward"]),
            int(z["backward"]),
            float(z["seconds"]),
            layer.eval(),
        )


class Levels(nn.Module):
    """Means over pixels of what every group of layers gives, the widest first of those alike."""

    def __init__(self, body: nn.Sequential) -> None:
        super().__init__()
        self.body = body

    def forward(self, x: Tensor) -> Tensor:
        """Of a batch of images."""
        found = []
        for layer in self.body:
            x = layer(x)
            if x.ndim == 4 and isinstance(layer, nn.Sequential):
                found.append(x.mean((2, 3)))
        return torch.cat([*found, x], 1)


def chooser(scored: Scored, y: np.ndarray, seed: int) -> Chooser:
    """What chooses rows from a scoring run; ours take its last layer as their model.

    The errors of EL2N are those of an early epoch, as published; CCS is there with the share of
    hardest rows that was published for CIFAR-10 with 90 % pruned, too.
    """
    layer, dynamics = scored.layer, scored.dynamics
    pruners = {
        "skprune": InfluencePruner(keep=0.5, model=layer),
        "skprune, hard": InfluencePruner(keep=0.5, model=layer, sampling="loss"),
        "skprune, levels": InfluencePruner(keep=0.5, verify=None),
        "skprune, means": InfluencePruner(keep=0.5, model=NEARLY_CONSTANT, verify=None),
        "skprune from ccs": BalancedFrom(CCS(dynamics=dynamics), model=layer),
        "skprune from dual": BalancedFrom(DUAL(dynamics=dynamics), model=layer),
        "skprune from least confidence": BalancedFrom(LeastConfidence(), model=layer),
        "drawn by loss": DrawnByLoss(dynamics=dynamics),
        "drawn by loss, weighted": DrawnByLoss(dynamics=dynamics, weighted=True),
        "el2n": EL2N(dynamics=dynamics),
        "ccs, drop 0.3": CCS(drop=0.3),
    }
    return Chooser(
        scored.features,
        y,
        seed,
        pruners,
        model=layer,
        dynamics=dynamics,
        inputs={"skprune, levels": scored.levels},
    )


@dataclass(frozen=True)
class Choice:
    """Rows that a strategy chose, and what the scoring run behind them took."""

    chosen: Chosen
    passes: dict[str, float]

    @classmethod
    def read(cls, file: Path) -> Choice:
        """From the file that ``write`` made."""
        with np.load(file) as z:
            found = dict(z)
        rows = np.flatnonzero(np.unpackbits(found.pop("mask")))
        weights = found.pop("weights", None)
        chosen = Chosen(rows, weights, float(found.pop("seconds")))
        return cls(chosen, {name: value.item() for name, value in found.items()})

    def write(self, file: Path, n_rows: int) -> None:
        """To a file of one bit a row, and the weights of the kept ones."""
        mask = np.zeros(n_rows, dtype=bool)
        mask[self.chosen.rows] = True
        weights = self.chosen.weights
        given = {} if weights is None else {"weights": weights}
        passes = self.passes
        write_arrays(file, mask=np.packbits(mask), seconds=self.chosen.seconds, **given, **passes)


class Predictor:
    """What keeping some rows costs by what is known before any training.

    ``movement`` is the published quantity, how far the parameters of the last layer move if the
    influence of rows were additive; ``refit`` is the loss of a head on fixed features that is
    trained on the kept rows, on test rows, less that of the head on all rows.
    """

    def __init__(self, scored: Scored, found: Chooser, y_test: np.ndarray) -> None:
        self.judge = Judge(scored.features, found.y, scored.test_features, y_test)
        curvature = found.evidence.influence.curvature
        self.vectors = ParameterInfluence(GradientInfluence(curvature))

    def __call__(self, rows: np.ndarray) -> dict[str, float]:
        """Both predictions for these kept rows."""
        dropped = np.setdiff1d(np.arange(self.vectors.n_rows), rows)
        movement = self.vectors.sum(torch.from_numpy(dropped)).norm()
        return {"movement": float(movement), "refit": self.judge(rows)["test_gap"]}
