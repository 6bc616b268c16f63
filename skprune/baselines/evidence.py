"""Evidence: everything strategies use of the rows, computed at most once and on demand."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
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
#: Dynamics of one training, or of several.
Recorded = TrainingDynamics | Sequence[TrainingDynamics]

#: Sparse rows with more numbers are reduced to so many components; others are made dense.
DENSE_NUMBERS, COMPONENTS = 2**26, 128


class found(cached_property[T]):
    """A property of ``Evidence`` that is computed once and whose computing time is recorded."""

    def __get__(self, evidence: Any, owner: Any = None) -> Any:
        if evidence is None:
            return self
        with evidence.timed(self.attrname):
            return super().__get__(evidence, owner)


class Evidence:
    """Features, predictions, gradients and training dynamics of rows, computed on demand.

    Parameters
    ----------
    table : Table
    encoder : HeadEncoder, optional
        A fitted encoder. Without it only the targets are available.
    seed : int, default=0
        Seed of the network that is trained to record dynamics.
    dynamics : TrainingDynamics or list of them, optional
        Dynamics of the caller's own training, or of several.
    members : list of Evidence, default=()
        What every one of several networks says of the rows; ``encoder`` is then None.

    Attributes
    ----------
    members : list of Evidence
        The evidence itself, if there is one model.
    seconds : dict of str to float
        Seconds spent on each property, excluding other properties that it needed.
    """

    def __init__(
        self,
        table: Table,
        encoder: HeadEncoder | None = None,
        seed: int = 0,
        dynamics: Recorded | None = None,
        members: Sequence[Evidence] = (),
    ) -> None:
        self.table, self.seed = table, seed
        self._encoder, self._dynamics = encoder, dynamics
        self._neighbours: dict[int, tuple[NDArray[np.float64], Rows]] = {}
        self.seconds: dict[str, float] = {}
        self.members: list[Evidence] = list(members) or [self]
        for member in members:
            member.seconds = self.seconds

    @contextmanager
    def timed(self, name: str) -> Iterator[None]:
        """Record the seconds of the block, excluding what is recorded inside it."""
        start, known = time.perf_counter(), sum(self.seconds.values())
        yield
        others = sum(self.seconds.values()) - known
        spent = time.perf_counter() - start - others
        self.seconds[name] = self.seconds.get(name, 0.0) + spent

    def __len__(self) -> int:
        return len(self.table)

    @property
    def codes(self) -> Rows:
        """The class of every row as 0 .. C - 1, shape (n,); zeros for regression."""
        return self.table.codes

    @found
    def class_rows(self) -> list[Rows]:
        """The rows of each class; for regression, one group of all rows."""
        return [np.flatnonzero(self.codes == c) for c in range(int(self.codes.max()) + 1)]

    @property
    def encoder(self) -> HeadEncoder:
        """The encoder that makes the head's problem."""
        if len(self.members) > 1:
            raise ValueError(
                "This strategy looks at the rows through one network, and model holds "
                f"{len(self.members)}; give one of them. Scores alone are means over several."
            )
        if self._encoder is None:
            raise ValueError(
                "The rows themselves were not read: a strategy that looks at them has "
                "looks_at_rows = True."
            )
        return self._encoder

    @found
    def problem(self) -> HeadProblem:
        """The head's problem on all rows: features, targets, weights, loss and penalty."""
        return self.encoder.problem(self.table.X, self.table.y, self.table.weights)

    @found
    def head(self) -> tuple[HeadProblem, HeadFit]:
        """The head and its problem: a network's own last layer, or a head at its optimum.

        The problem of a wide table is in the span of its rows.
        """
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
        """Outputs of the head, (n, K); K is 1 for two classes."""
        return self.head[1].outputs

    @property
    def theta(self) -> Tensor:
        """Coefficients of the head, (D, K); an intercept is the last row."""
        problem, fit = self.head
        return problem.coefficients(fit.theta)

    @found
    def features(self) -> NDArray[np.floating[Any]]:
        """Inputs of the head, (n, d), without a column of ones."""
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
        """``features`` scaled to length 1; rows of zeros stay zeros."""
        lengths = np.linalg.norm(self.features, axis=1, keepdims=True)
        return self.features / np.where(lengths > 0, lengths, 1)

    @found
    def errors(self) -> NDArray[np.float64]:
        """Gradients p - y of the loss with respect to the outputs, (n, K)."""
        return self.problem.loss.residual(self.outputs, self.problem.targets).cpu().numpy()

    @found
    def inputs(self) -> NDArray[np.floating[Any]]:
        """``features`` and, if there is an intercept, a column of ones, (n, D).

        The gradient of row i with respect to the coefficients is ``outer(inputs[i], errors[i])``.
        """
        if not self.encoder.spec.fit_intercept:
            return self.features
        return np.hstack([self.features, np.ones((len(self), 1), self.features.dtype)])

    def difficulty(self, name: str) -> NDArray[np.float64]:
        """The difficulty of every row for the head, "loss" or "el2n", shape (n,)."""
        return difficulty(name, *self.head)

    @found
    def probabilities(self) -> NDArray[np.float64]:
        """Probabilities of the head's classes, (n, C)."""
        self.check_classes()
        if not self.problem.loss.predicts_classes:
            raise ValueError(
                "This strategy looks at the probabilities of classes, which a head of squared "
                "errors, such as RidgeClassifier, has not; take model=LogisticRegression()."
            )
        return self.encoder.predict_proba(self.outputs)

    @found
    def labels(self) -> Rows:
        """The column of ``probabilities`` that belongs to the row's class, shape (n,)."""
        self.check_classes()
        return np.searchsorted(np.asarray(self.encoder.classes), self.table.y)

    @found
    def influence(self) -> HeadInfluence:
        """The influence operator of the head, with its penalty."""
        problem, fit = self.head
        name = choose_curvature(problem)
        curvature = build_curvature(name, HeadGradients(problem, fit.outputs)).selector()
        return HeadInfluence(problem, fit.theta, fit.outputs, curvature)

    @found
    def dynamics(self) -> Recorded:
        """Dynamics of the caller's training, else of a perceptron trained on ``features``."""
        if self._dynamics is not None:
            return self._dynamics
        n_classes = self.probabilities.shape[1]
        return train_for_dynamics(self.features, self.labels, n_classes, self.seed)

    def neighbours(self, k: int) -> tuple[NDArray[np.float64], Rows]:
        """Distances (n, k) and numbers (n, k) of the nearest other rows in ``directions``."""
        k = min(k, len(self) - 1)
        if k not in self._neighbours:
            with self.timed("neighbours"):
                # faiss takes half the time (22 s and not 49 on a core, for 50,000 rows of 512
                # numbers), but beside torch its packages crash on macOS.
                index = NearestNeighbors(n_neighbors=k).fit(self.directions)
                self._neighbours[k] = index.kneighbors()
        return self._neighbours[k]

    def check_classes(self) -> None:
        """Raise a ValueError if the targets are not classes."""
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
    dynamics: Recorded | None = None,
) -> Evidence:
    """Check the caller's rows, and set ``n_features_in_`` on ``pruner``.

    Parameters
    ----------
    pruner : estimator
    X, y, sample_weight
        As in ``Strategy.fit``.
    model : as in ``Strategy``
    look : bool, default=True
        Whether the rows themselves are read, or only their number and targets.
    seed : int, default=0
        Seed of everything that is trained on the rows.
    dynamics : TrainingDynamics or list of them, optional
        Dynamics of the caller's own training, or of several.
    """
    if not look:
        return Evidence(_read_targets(pruner, X, y, sample_weight, unwrapped(model)), None, seed)
    proxy = as_proxy(model)
    proxy.check()
    check_folder(proxy.cache_dir)
    y = natural(y)
    check_rows(proxy.given, X)
    reading = proxy.read(pruner, X, y, sample_weight, None, None)
    table = reading.table
    networks = reading.subject.alone() if is_network(proxy.given) else [reading.subject]
    found = []
    for subject in networks:
        encoder = proxy.encoder(replace(reading, subject=subject), seed, Progress())
        encoder.fit(table.X, table.y, table.weights)
        found.append(Evidence(table, encoder, seed, dynamics))
    return found[0] if len(found) == 1 else Evidence(table, None, seed, dynamics, found)


def _read_targets(pruner: Any, X: Any, y: Any, sample_weight: Any, model: Any) -> Table:
    """A table of targets whose rows are not read."""
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
