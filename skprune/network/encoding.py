"""The last linear layer of a network as a head: its features, targets, weights and penalty."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from skprune.data.content import UnknownContentError
from skprune.data.sources import RowSource
from skprune.heads.encoding import HeadEncoder
from skprune.heads.features import DenseFeatures, shared_tensor
from skprune.heads.linear_spec import DEFAULT_STRENGTH, HeadSpec
from skprune.heads.problem import HeadFit, HeadProblem, Penalty
from skprune.losses.base import HeadLoss
from skprune.losses.read import read_loss
from skprune.network.batches import for_batches
from skprune.network.fingerprint import module_content
from skprune.network.layers import DEPENDENT, agree
from skprune.network.module import LinearHead, TorchModel, linear_calls
from skprune.network.parameters import check_finite
from skprune.network.torch_model import Network
from skprune.utils.cache import ContentCache, digest
from skprune.utils.chunks import row_chunks
from skprune.utils.progress import Progress
from skprune.utils.store import FeatureStore

#: Features in memory, shared by all pruners of this process.
FEATURES = ContentCache(max_bytes=2**30)
#: The penalty treats features of a smaller spread as if they had this share of the largest one.
LEAST_SPREAD = 1e-3


@dataclass(frozen=True)
class SourceRows:
    """Some rows of a source by position, which a table holds in place of columns."""

    source: RowSource
    positions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.positions)

    def take_rows(self, indices: NDArray[np.int64]) -> SourceRows:
        """Some of these rows."""
        return SourceRows(self.source, self.positions[indices])

    def fingerprint(self) -> str | None:
        """A digest of the rows' inputs; None if the source has none."""
        every = self.source.fingerprint()
        return None if every is None else digest(every, self.positions)

    def batches(
        self, size: int, indices: NDArray[np.int64] | None = None
    ) -> Iterator[tuple[Any, NDArray[np.int64]]]:
        """Inputs and their positions among these rows, batch after batch."""
        places = np.arange(len(self)) if indices is None else np.asarray(indices)
        done = 0
        for inputs, found in self.source.batches(size, self.positions[places]):
            yield inputs, places[done : done + len(found)]
            done += len(found)


class NetworkEncoder(HeadEncoder):
    """Turns rows into problems of the network's last linear layer.

    Parameters
    ----------
    network : Network
        Without a known ``weight_decay`` the penalty per row is 1e-3 on features of unit spread,
        without the bias; with one it is on all weights of the layer.
    device, batch_size, cache_dir
        As in ``InfluencePruner``.
    seed : int
        Seed of the training, for a network that is not trained yet.
    progress : Progress, optional
        Shows the training, and counts the rows that have gone through the network.

    Attributes
    ----------
    model : TorchModel
    head : LinearHead
    given : Tensor of shape (D, K)
        theta of the trained layer.
    """

    stratify = True
    model: TorchModel
    head: LinearHead
    row_loss: HeadLoss
    given: Tensor

    def __init__(
        self,
        network: Network,
        device: Any,
        batch_size: int | str,
        seed: int,
        cache_dir: Any = None,
        progress: Progress | None = None,
    ) -> None:
        super().__init__(HeadSpec("classification", "softmax", 0.0, "weight"), None)
        self.network, self.device, self.batch_size, self.seed = network, device, batch_size, seed
        self._progress = progress or Progress()
        self._store = None if cache_dir is None else FeatureStore(cache_dir)
        self._features_of: dict[int, Tensor] = {}

    def fit(
        self, X: SourceRows, y: NDArray[Any], weights: NDArray[np.float64] | None = None
    ) -> NetworkEncoder:
        """Train the network if need be, and find its last layer, its loss and its penalty."""
        if self.network.trains:
            self._progress.phase("training the network")
        module = self.network.module(X.source, X.positions, self.seed)
        self.model = TorchModel(module, self.device)
        check_finite(dict(module.named_parameters()))
        inputs, _ = next(X.source.batches(min(8, len(X)), X.positions[:8]))
        with self.model.frozen():
            self.model.check(inputs)
            self._check_independence(X)
            self.head = self.model.find_head(inputs)
            given = self.head.theta()  # of parametrised weights another one in training mode
        n_outputs = self.head.layer.out_features
        row_loss = read_loss(self.network.loss, self.head.link, y, n_outputs)
        if not isinstance(row_loss, HeadLoss):
            raise ValueError(
                "layers='head' knows cross-entropy, binary cross-entropy and the squared error; "
                f"with a loss of your own, name the layer: layers=[{self.head.name!r}]."
            )
        self.row_loss = row_loss
        undone, link = row_loss.activation, self.head.link
        logits = isinstance(self.network.loss, nn.NLLLoss) and link == "identity"
        if logits or (undone != link and (undone, link) != ("identity", "log_softmax")):
            raise ValueError(
                f"The module returns the {link} of its last layer {self.head.name!r}, with which "
                f"{type(self.network.loss).__name__} does not go. If it was trained with another "
                f"loss, give that (loss=...), else name the layer: "
                f"layers=[{self.head.name!r}]."
            )
        self.classes = row_loss.classes(n_outputs)
        self.target_scale = row_loss.target_scale(y)
        self._mask = self._penalised(self._spread(X), y)
        decay = DEFAULT_STRENGTH if self.network.weight_decay is None else self.network.weight_decay
        self.spec = HeadSpec(
            "classification" if row_loss.predicts_classes else "regression",
            row_loss.name,
            decay / row_loss.scale,
            "weight",
            fit_intercept=self.head.layer.bias is not None,
            penalise_intercept=self.network.weight_decay is not None,
        )
        self.given = given / self.target_scale
        return self

    def _check_independence(self, X: SourceRows) -> None:
        """Refuse outputs that depend on other rows. Pairs are run, as modules may squeeze a row."""
        rows = np.arange(min(4, len(X)) // 2 * 2)
        if len(rows) == 0:
            return
        with torch.no_grad():
            four, pairs = (
                torch.cat([self.model.forward(inputs) for inputs, _ in X.batches(size, rows)])
                for size in (len(rows), 2)
            )
        # Numbers that are not finite are named with their row later on.
        if bool(torch.isfinite(four).all()) and not agree(pairs, four):
            raise ValueError(DEPENDENT)

    @property
    def loss(self) -> HeadLoss:
        """The loss of a row."""
        return type(self.row_loss)()

    def problem(
        self,
        X: Any,
        y: NDArray[Any],
        weights: NDArray[np.float64],
        device: torch.device | str = "cpu",
    ) -> HeadProblem:
        """The objective of the layer on the rows ``X``, SourceRows; the rest as in the parent."""
        features = self._features(X).to(torch.device(device))
        n_outputs, w = self.head.layer.out_features, torch.from_numpy(np.ascontiguousarray(weights))
        targets, factor = self._soft_targets(y)
        # torch's penalty stands beside a mean, which counts a row by its share.
        shares = (w * self.row_loss.shares(y, n_outputs)).to(device)
        penalty = Penalty(self.spec.strength, self._mask.to(device), shares)
        targets = (targets / self.target_scale).to(device)
        w = (w * factor).to(device)
        return self._spanned(HeadProblem(features, targets, w, self.loss, penalty))

    def predict(self, Z: Tensor) -> NDArray[Any]:
        """Class numbers, (n, L) zeros and ones of several labels, or targets in their unit."""
        found = np.asarray(self.loss.predict(Z).cpu())
        return found * self.target_scale if self.classes is None else found

    def predict_proba(self, Z: Tensor) -> NDArray[np.float64]:
        """Class probabilities (n, C), or that of every label (n, L)."""
        return np.asarray(self.loss.probabilities(Z).cpu())

    def loss_unit(self, problem: HeadProblem) -> float:
        """Factor from the head's loss to the reported one of the network."""
        assert problem.penalty.shares is not None
        in_mean = float(problem.weights.sum() / problem.penalty.shares.sum())
        unit = self.row_loss.unit(problem.targets, problem.weights)
        return unit * self.row_loss.scale * in_mean

    def notes(self, problem: HeadProblem, fit: HeadFit) -> tuple[tuple[str, str], ...]:
        """How far the layer was from its optimum, at which influence is computed."""
        given = self.given.to(fit.theta)
        outputs = problem.features.forward(problem.coordinates(given))
        total, unit = float(problem.weights.sum()), self.loss_unit(problem)
        before = unit * float(problem.weights @ problem.loss.value(outputs, problem.targets))
        after = unit * float(problem.weights @ problem.loss.value(fit.outputs, problem.targets))
        moved = problem.coefficients(fit.theta) - given
        distance = float(moved.norm()) / max(float(given.norm()), 1e-300)
        text = (
            f"{self.head.name or 'the module'}, fitted to its optimum: mean loss "
            f"{before / total:.4f} as given, {after / total:.4f} there; weights moved by "
            f"{distance:.0%} of their norm"
        )
        if self.classes is not None:
            same = (self.loss.predict(outputs) == self.loss.predict(fit.outputs)).double().mean()
            text += f"; {float(same):.1%} of the predictions stay"
        text += "; refits and their gaps are of this layer on fixed features, not of the network"
        return (("layer", text),)

    def _features(self, X: SourceRows) -> DenseFeatures:
        rows = torch.from_numpy(X.positions)
        return DenseFeatures(self._all_features(X.source), rows, ones=self.spec.fit_intercept)

    def _soft_targets(self, y: NDArray[Any]) -> tuple[Tensor, Tensor]:
        """Targets (n, K), and factors (n,) by which the loss multiplies the rows' weights."""
        K = self.head.layer.out_features
        targets, factor = self.row_loss.soften(self.row_loss.encode(y, K), K, torch.float64)
        if factor.shape[1] > 1:
            raise ValueError(
                "weight and pos_weight of several outputs weigh a row differently in every one, "
                "which a head cannot; name the layer (layers=[...]) or leave them out."
            )
        return targets, factor[:, 0]

    def _spread(self, X: SourceRows) -> Tensor:
        """Standard deviation of every input of the layer, shape (D,)."""
        matrix, rows = self._all_features(X.source), torch.from_numpy(X.positions)
        total = torch.zeros(2, matrix.shape[1], dtype=torch.float64)
        for part in row_chunks(len(rows), matrix.shape[1]):
            block = matrix[rows[part]].double()
            total += torch.stack([block.sum(0), block.square().sum(0)])
        mean, square = total / len(rows)
        return (square - mean.square()).clamp_min(0.0).sqrt()

    def _penalised(self, spread: Tensor, y: NDArray[Any]) -> Tensor:
        """P's diagonal: torch's weight decay penalises weights equally, the default scales them.

        A class of the model without rows has no finite optimal bias. To have one, the default
        penalises its bias like the weight of a feature of the least spread.
        """
        bias = self.head.layer.bias is not None
        if self.network.weight_decay is not None:
            return torch.ones(len(spread) + bias, 1, dtype=torch.float64)
        least = LEAST_SPREAD * float(spread.max())
        mask = spread.clamp_min(least if least > 0 else 1.0)
        T, _ = self._soft_targets(y)
        empty = self.classes is not None and bool(((T == 0).all(0) | (T == 1).all(0)).any())
        return torch.cat([mask, mask.new_full((int(bias),), LEAST_SPREAD * empty)])[:, None]

    def _all_features(self, source: RowSource) -> Tensor:
        """Inputs of the layer for all rows of ``source``, (n, D), in the module's precision."""
        if id(source) not in self._features_of:
            self._features_of[id(source)] = self._find_features(source)
        return self._features_of[id(source)]

    def _find_features(self, source: RowSource) -> Tensor:
        everything = np.arange(len(source))
        try:
            key = self._content(source)
        except UnknownContentError as error:  # it cannot be known whether stored features are right
            if self._store is not None:
                raise ValueError(
                    "cache_dir stores features by the content of rows and network, which cannot be "
                    f"known here: {error}. Leave cache_dir=None, or change that: the content is "
                    "known of arrays, TensorDatasets, Hugging Face datasets, tensors and plain "
                    "values, and of code that uses no open files, locks or the like."
                ) from error
            return self._finite(source, everything)
        if self._store is None:
            return FEATURES.get(
                key, lambda: self._finite(source, everything), lambda kept: kept.nbytes
            )
        shape = (len(source), self.head.layer.in_features)
        dtype = "float64" if self.model.dtype == torch.float64 else "float32"
        return shared_tensor(
            self._store.array(key, shape, dtype, lambda a, b: self._finite(source, everything[a:b]))
        )

    def _content(self, source: RowSource) -> str:
        """A digest of all that the features depend on."""
        rows = source.fingerprint()
        if rows is None:
            raise UnknownContentError(f"this {type(source.original).__name__} computes its rows")
        module = module_content(
            self.model.module, len(source), lambda some: self._extract(source, some)
        )
        return digest(rows, self.head.name, module)

    def _finite(self, source: RowSource, rows: NDArray[np.int64]) -> Tensor:
        """``_extract``, or an error that names a row whose features are not finite."""
        self._progress.phase(
            "running rows through the network", len(source), unit="rows", done=int(rows[0])
        )
        features = self._extract(source, rows)
        finite = torch.isfinite(features).all(1)
        if not bool(finite.all()):
            row = int(rows[int(torch.nonzero(~finite)[0])])
            raise ValueError(
                f"The inputs of the layer {self.head.name!r} hold NaN or infinity, first in row "
                f"{row}; look for it in that row, or in the weights before the layer."
            )
        return features

    def _extract(self, source: RowSource, rows: NDArray[np.int64]) -> Tensor:
        """The inputs of the layer for some rows."""
        dtype = torch.float64 if self.model.dtype == torch.float64 else torch.float32
        with self.model.frozen(), torch.no_grad():
            features = torch.empty(len(rows), self.head.layer.in_features, dtype=dtype)
            self.model.check(next(iter(source.batches(1)))[0])
            with linear_calls([(self.head.name, self.head.layer)]) as calls:

                def work(inputs: Any, places: NDArray[np.int64]) -> None:
                    calls.clear()
                    prepared = self.model.prepare(inputs)
                    outputs = self.model.read(self.model.call(prepared), prepared)
                    self.head.check(calls[-1], outputs)
                    features[torch.from_numpy(places)] = calls[-1].given.to("cpu", dtype)
                    self._progress.step(len(places))

                for_batches(source, rows, self.batch_size, work, self.model.device)
        return features
