"""What is known of the rows, found once and only when it is asked for, for all strategies alike."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.decomposition import TruncatedSVD
from sklearn.neighbors import NearestNeighbors
from sklearn.utils import check_consistent_length
from sklearn.utils.validation import validate_data
from torch import Tensor

from skprune.baselines.dynamics import TrainingDynamics, train_for_dynamics
from skprune.curvature import HeadGradients, build_curvature, choose_curvature
from skprune.data.arrays import is_columns
from skprune.data.containers import n_rows, natural
from skprune.data.sources import as_source, is_dataset
from skprune.data.strata import Rows
from skprune.data.table import Table, read_target, read_weights
from skprune.heads.encoding import HeadEncoder
from skprune.heads.features import SparseFeatures
from skprune.heads.problem import HeadFit, HeadProblem
from skprune.heads.reading import is_continuous
from skprune.influence.gradients import HeadInfluence
from skprune.network.torch_model import is_network
from skprune.proxies.head import cold_fit, difficulty
from skprune.proxies.rules import check_rows
from skprune.proxies.shorthands import as_proxy, unwrapped
from skprune.utils.cache import check_folder
from skprune.utils.progress import Progress

T = TypeVar("T")

#: Sparse rows become dense up to this many numbers, and else so many principal components.
DENSE_NUMBERS, COMPONENTS = 2**26, 128


class found(cached_property[T]):
    """A property of an evidence that is found once, and whose seconds are noted."""

    def __get__(self, evidence: Any, owner: Any = None) -> Any:
        if evidence is None:
            return self
        with evidence.timed(self.attrname):
            return super().__get__(evidence, owner)


class Evidence:
    """Rows, and all that strategies look at; every property is found when it is first asked for.

    Parameters
    ----------
    table : Table
    encoder : HeadEncoder, optional
        Fitted. Without one nothing but the targets is known.
    seed : int, default=0
        Of the training whose dynamics are recorded.
    dynamics : TrainingDynamics, optional
        Of the caller's own training.

    Attributes
    ----------
    seconds : dict of str to float
        What it took to find each of the properties, without the others that it needed.
    """

    def __init__(
        self,
        table: Table,
        encoder: HeadEncoder | None = None,
        seed: int = 0,
        dynamics: TrainingDynamics | None = None,
    ) -> None:
        self.table, self.seed = table, seed
        self._encoder, self._dynamics = encoder, dynamics
        self._neighbours: dict[int, tuple[NDArray[np.float64], Rows]] = {}
        self.seconds: dict[str, float] = {}

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Note the seconds of what is done within, but for those that are noted meanwhile."""
        start, known = time.perf_counter(), sum(self.seconds.values())
        yield
        others = sum(self.seconds.values()) - known
        spent = time.perf_counter() - start - others
        self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def __len__(self) -> int:
        return len(self.table)

    @property
    def codes(self) -> Rows:
        """The class of every row as 0 .. C - 1, shape (n,); zeros of numbers."""
        return self.table.codes

    @found
    def class_rows(self) -> list[Rows]:
        """The rows of each class; of numbers, all rows."""
        return [np.flatnonzero(self.codes == c) for c in range(int(self.codes.max()) + 1)]

    @property
    def encoder(self) -> HeadEncoder:
        """What makes problems of rows."""
        if self._encoder is None:
            raise ValueError(
                "The rows themselves were not read: a strategy that looks at them has "
                "looks_at_rows = True."
            )
        return self._encoder

    @found
    def problem(self) -> HeadProblem:
        """The rows as the head sees them: its features, targets and loss."""
        return self.encoder.problem(self.table.X, self.table.y, self.table.weights)

    @found
    def head(self) -> tuple[HeadProblem, HeadFit]:
        """The head, as the network gives it or at its optimum, in what coordinates it has."""
        problem, given = self.problem, self.encoder.given
        if given is not None:
            outputs = problem.features.forward(given)
            norm = float(problem.gradient(given, outputs).norm()) / problem.total
            return problem, HeadFit(given, outputs, norm, 0, False)
        rows = (self.table.X, self.table.y, self.table.weights)
        problem = self.encoder.reduce(*rows).problem(*rows)
        return problem, cold_fit(problem)[0]

    @property
    def outputs(self) -> Tensor:
        """What the head makes of the rows, (n, K); two classes have one column."""
        return self.head[1].outputs

    @property
    def theta(self) -> Tensor:
        """The coefficients of the head, (D, K); those of an intercept are the last row."""
        problem, fit = self.head
        return problem.coefficients(fit.theta)

    @found
    def features(self) -> NDArray[np.floating[Any]]:
        """What enters the head, (n, d), without a column of ones."""
        features, n = self.problem.features, len(self)
        width = features.shape[1] - int(self.encoder.spec.fit_intercept)
        if isinstance(features, SparseFeatures) and n * width > DENSE_NUMBERS:
            components = TruncatedSVD(min(COMPONENTS, width - 1), random_state=self.seed)
            return components.fit_transform(features.matrix[:, :width])
        rows = np.empty((n, width), dtype=np.float32 if features.dtype == torch.float32 else None)
        for part in features.chunks():
            rows[part] = features.rows(part, features.dtype)[:, :width].cpu().numpy()
        return rows

    @found
    def directions(self) -> NDArray[np.floating[Any]]:
        """``features``, each of length 1 (but for rows of zeros)."""
        lengths = np.linalg.norm(self.features, axis=1, keepdims=True)
        return self.features / np.where(lengths > 0, lengths, 1)

    @found
    def errors(self) -> NDArray[np.float64]:
        """The gradient of the loss in the outputs, p - y, (n, K)."""
        return self.problem.loss.residual(self.outputs, self.problem.targets).cpu().numpy()

    @found
    def inputs(self) -> NDArray[np.floating[Any]]:
        """What the coefficients multiply, (n, D): features and, with an intercept, ones.

        The gradient of row i in the coefficients is ``outer(inputs[i], errors[i])``.
        """
        if not self.encoder.spec.fit_intercept:
            return self.features
        return np.hstack([self.features, np.ones((len(self), 1), self.features.dtype)])

    def difficulty(self, name: str) -> NDArray[np.float64]:
        """How hard every row is for the head, by "loss" or "el2n", shape (n,)."""
        return difficulty(name, *self.head)

    @found
    def probabilities(self) -> NDArray[np.float64]:
        """Of the classes that the head knows, (n, C)."""
        self.check_classes()
        if not self.problem.loss.predicts_classes:
            raise ValueError(
                "This strategy looks at the probabilities of classes, which a head of squared "
                "errors, such as RidgeClassifier, has not; take model=LogisticRegression()."
            )
        return self.encoder.predict_proba(self.outputs)

    @found
    def labels(self) -> Rows:
        """The column of ``probabilities`` that is the row's own class, shape (n,)."""
        self.check_classes()
        return np.searchsorted(np.asarray(self.encoder.classes), self.table.y)

    @found
    def influence(self) -> HeadInfluence:
        """The influence operator of the head, penalties among it."""
        problem, fit = self.head
        name = choose_curvature(problem)
        curvature = build_curvature(name, HeadGradients(problem, fit.outputs)).selector()
        return HeadInfluence(problem, fit.theta, fit.outputs, curvature)

    @found
    def dynamics(self) -> TrainingDynamics:
        """Of the caller's training; else of a perceptron that is trained on ``features``."""
        if self._dynamics is not None:
            return self._dynamics
        n_classes = self.probabilities.shape[1]
        return train_for_dynamics(self.features, self.labels, n_classes, self.seed)

    def neighbours(self, k: int) -> tuple[NDArray[np.float64], Rows]:
        """Distances (n, k) and rows (n, k) of the nearest in ``directions``, but the row itself."""
        k = min(k, len(self) - 1)
        if k not in self._neighbours:
            with self.timed("neighbours"):
                index = NearestNeighbors(n_neighbors=k).fit(self.directions)
                self._neighbours[k] = index.kneighbors()
        return self._neighbours[k]

    def check_classes(self) -> None:
        """Refuse targets that are numbers."""
        if self.table.classes is None:
            raise ValueError(
                "This strategy looks at the probabilities of classes, and y holds numbers. Take "
                "one that looks at features or losses, such as KCenter, Herding or EL2N."
            )


def read_evidence(
    pruner: Any,
    X: Any,
    y: Any,
    sample_weight: Any = None,
    model: Any = None,
    *,
    look: bool = True,
    seed: int = 0,
    dynamics: TrainingDynamics | None = None,
) -> Evidence:
    """Check the caller's rows, and set what ``pruner`` knows of their columns.

    Parameters
    ----------
    pruner : estimator
    X, y, sample_weight
        As in ``Strategy.fit``.
    model : as in ``Strategy``
    look : bool, default=True
        Whether rows are looked at, or only counted.
    seed : int, default=0
        For what is trained on the rows.
    dynamics : TrainingDynamics, optional
        Of the caller's own training.
    """
    if not look:
        return Evidence(_count(pruner, X, y, sample_weight, unwrapped(model)), None, seed)
    proxy = as_proxy(model)
    proxy.check()
    check_folder(proxy.cache_dir)
    y = natural(y)
    check_rows(proxy.given, X)
    reading = proxy.read(pruner, X, y, sample_weight, None, None)
    table = reading.table
    encoder = proxy.encoder(reading, seed, Progress()).fit(table.X, table.y, table.weights)
    return Evidence(table, encoder, seed, dynamics)


def _count(pruner: Any, X: Any, y: Any, sample_weight: Any, model: Any) -> Table:
    """The targets of rows that are not looked at."""
    source = as_source(X, y) if is_dataset(X) or is_columns(X, y) else None
    if y is None and source is not None:
        y = source.targets()
        y = y[:, 0] if y.shape[1:] == (1,) else y  # as losses of numbers have it
    target = read_target(y, pruner)
    n = n_rows(X) if source is None else len(source)
    if source is None:
        validate_data(pruner, X, skip_check_array=True)
        check_consistent_length(X, target)
    codes, classes = np.zeros(n, dtype=np.int64), None
    if not is_continuous(target, None if is_network(model) else model):
        classes, codes = np.unique(target, return_inverse=True)
    weights, unit = read_weights(sample_weight, np.empty((n, 0)))
    return Table(None, target, codes.astype(np.int64), classes, weights, unit)
