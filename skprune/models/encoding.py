"""From rows of the user's table to the head's features, targets and weights."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp
import torch
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.preprocessing import StandardScaler
from sklearn.utils import check_array
from sklearn.utils.class_weight import compute_class_weight
from torch import Tensor

from skprune.losses import Loss, Sigmoid, Softmax, Squared
from skprune.models.adapters import HeadSpec
from skprune.models.features import DenseFeatures, Features, SparseFeatures
from skprune.models.head import HeadProblem, Penalty


class HeadEncoder:
    """Turns rows into ``HeadProblem`` objects that share one feature map.

    Parameters
    ----------
    spec : HeadSpec
    classes : ndarray or None
        The labels, sorted, for classification.

    Attributes
    ----------
    target_scale : float
        Regression targets are divided by it (their standard deviation on the fitted rows), so
        that losses are in units of their variance. 1 for classification.
    """

    def __init__(self, spec: HeadSpec, classes: NDArray[Any] | None) -> None:
        self.spec, self.classes = spec, classes
        self.target_scale = 1.0
        self._transformer: Any = None
        self._class_weight = np.ones(0 if classes is None else len(classes))

    @property
    def loss(self) -> Loss:
        """The loss of a row."""
        if self.spec.loss == "squared":
            return Squared()
        multinomial = self.spec.loss == "softmax" and self.n_classes > 2
        return Softmax() if multinomial else Sigmoid()

    @property
    def n_classes(self) -> int:
        """Number of classes, 0 for regression."""
        return 0 if self.classes is None else len(self.classes)

    def fit(
        self, X: Any, y: NDArray[Any], weights: NDArray[np.float64] | None = None
    ) -> HeadEncoder:
        """Learn the feature map, the class weights and the unit of the target."""
        transformer = self.spec.transformer
        if isinstance(transformer, str):
            scaler = StandardScaler(with_mean=not sp.issparse(X))
            self._transformer = scaler.fit(X, sample_weight=weights)
        elif transformer is not None:
            self._transformer = clone(transformer).fit(X, y)
        if self.classes is None:
            scale, rounding = float(np.std(y)), 1e-14 * float(np.abs(y).max())
            self.target_scale = scale if scale > rounding else 1.0
        elif self.spec.class_weight is not None:
            by_weight = {"sample_weight": weights} if self.spec.balance_by_weight else {}
            if self.spec.loss == "sigmoid" and self.n_classes > 2:
                raise ValueError(
                    "class_weight of a one-versus-rest classifier weighs a row differently in "
                    "every output, which a head cannot; use LogisticRegression() or sample_weight."
                )
            self._class_weight = compute_class_weight(
                self.spec.class_weight, classes=self.classes, y=y, **by_weight
            )
        return self

    def problem(self, X: Any, y: NDArray[Any], weights: NDArray[np.float64]) -> HeadProblem:
        """The head's objective on the given rows; ``weights`` are sample weights (n,)."""
        features = self._features(X)
        if self.classes is not None:
            codes = np.searchsorted(self.classes, y)
            weights = weights * self._class_weight[codes]
            targets = self._encode_labels(codes)
        else:
            targets = (np.asarray(y, dtype=np.float64) / self.target_scale)[:, None]
        mask = torch.ones(features.shape[1], 1, dtype=torch.float64)
        if self.spec.fit_intercept:
            scaling = self.spec.intercept_scaling
            mask[-1] = 1.0 / scaling if self.spec.penalise_intercept else 0.0
        w = torch.from_numpy(np.ascontiguousarray(weights))
        shares = {"total": None, "weight": w, "count": torch.ones_like(w)}[self.spec.convention]
        penalty = Penalty(self.spec.strength, mask, shares)
        return HeadProblem(features, torch.from_numpy(targets), w, self.loss, penalty)

    def loss_unit(self, problem: HeadProblem) -> float:
        """Factor from the head's loss to the reported one: nats, or the share of Var(y).

        The variance is that of the weighted rows, so that a row without weight has no say.
        """
        if not isinstance(problem.loss, Squared):
            return 1.0
        weights = problem.weights / problem.weights.sum()
        centred = problem.targets - weights @ problem.targets
        variance = float((weights @ centred.square()).sum())
        rounding = 1e-28 * float((weights @ problem.targets.square()).sum())
        return 2.0 / variance if variance > rounding else 2.0

    def _encode_labels(self, codes: NDArray[np.int64]) -> NDArray[np.float64]:
        binary = self.n_classes == 2
        targets = codes[:, None].astype(float) if binary else np.eye(self.n_classes)[codes]
        return 2.0 * targets - 1.0 if self.spec.loss == "squared" else targets

    def _features(self, X: Any) -> Features:
        if self._transformer is not None:
            X = self._transformer.transform(X)
        X = check_array(X, accept_sparse="csr", dtype=np.float64, input_name="X")
        ones = np.ones((X.shape[0], int(self.spec.fit_intercept)))
        if sp.issparse(X):
            return SparseFeatures(sp.csr_matrix(sp.hstack([X, ones], format="csr")))
        return DenseFeatures(torch.from_numpy(np.hstack([X, ones])))


def predict_labels(encoder: HeadEncoder, Z: Tensor) -> NDArray[Any]:
    """What the head predicts from its outputs Z (n, K): labels, or targets in their own unit."""
    outputs = Z.numpy()
    if encoder.classes is None:
        return outputs[:, 0] * encoder.target_scale
    codes = outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(int)
    return encoder.classes[codes]


def predict_probabilities(encoder: HeadEncoder, Z: Tensor) -> NDArray[np.float64]:
    """Class probabilities (n, C) of a head trained by cross-entropy."""
    P = encoder.loss.mean(Z).numpy()
    if P.shape[1] == 1:
        return np.hstack([1.0 - P, P])
    return P / P.sum(1, keepdims=True)
