"""Turn rows of the user's table into the features, targets and weights of a head."""

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

from skprune.data.containers import take_rows
from skprune.data.matrix import FLOATS, MatrixRows
from skprune.heads.features import DenseFeatures, Features, SparseFeatures, shared_tensor
from skprune.heads.linear_spec import HeadSpec
from skprune.heads.problem import HeadFit, HeadProblem, Penalty
from skprune.heads.span import Span
from skprune.losses.base import HeadLoss
from skprune.losses.binary import BinaryCrossEntropy
from skprune.losses.read import HEADS
from skprune.utils.exceptions import advised
from skprune.utils.seeds import seeded, set_random_states

#: Words of scikit-learn's error about rows that a model does not take, and advice about it.
IMPUTE = (
    "contains NaN",
    "The head of model=None fills gaps by itself, but a linear model, and any other estimator "
    "that takes no missing values, has to impute: model=make_pipeline(SimpleImputer("
    "add_indicator=True), StandardScaler(), LogisticRegression()), or Ridge() for numbers.",
)
UNKNOWN_CATEGORIES = (
    "unknown categor",
    "Rows that are held out or left out may have categories that no other row has; let the "
    'encoder take them: OneHotEncoder(handle_unknown="ignore") or "infrequent_if_exist", '
    'OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1).',
)


class HeadEncoder:
    """Turns rows into ``HeadProblem`` objects that share one feature map.

    Parameters
    ----------
    spec : HeadSpec
    classes : ndarray or None
        The labels, sorted, for classification.
    seed : int, default=0
        Seed of the steps of the model's Pipeline whose ``random_state`` is None.

    Attributes
    ----------
    target_scale : float
        Regression targets are divided by it (their standard deviation on the fitted rows), so
        that losses are in units of their variance. 1 for classification.
    stratify : bool
        Whether classes keep their shares, because a larger model may be trained on the rows.
    given : Tensor of shape (D, K) or None
        theta as the model came; None if it is not trained yet.
    """

    stratify = False
    given: Tensor | None = None

    def __init__(self, spec: HeadSpec, classes: NDArray[Any] | None, seed: int = 0) -> None:
        self.spec, self.classes, self.seed = spec, classes, seed
        self.target_scale = 1.0
        self._span: Span | None = None
        self._transformer: Any = None
        self._affine: dict[str, Tensor] = {}
        self._class_weight = np.ones(0 if classes is None else len(classes))

    @property
    def loss(self) -> HeadLoss:
        """The loss of a row."""
        kind = HEADS[self.spec.loss]
        # Of two classes one output is enough.
        return BinaryCrossEntropy() if kind.exclusive and self.n_classes <= 2 else kind()

    @property
    def n_classes(self) -> int:
        """Number of classes, 0 for regression."""
        return 0 if self.classes is None else len(self.classes)

    def fit(
        self, X: Any, y: NDArray[Any], weights: NDArray[np.float64] | None = None
    ) -> HeadEncoder:
        """Learn the feature map, the class weights and the unit of the target."""
        transformer = self.spec.transformer
        if transformer == "standardise":
            if sp.issparse(X):
                self._transformer = StandardScaler(with_mean=False).fit(X, sample_weight=weights)
            else:
                self._affine = column_moments(_matrix_rows(X), weights)
        elif transformer is not None:
            self._transformer = clone(transformer)
            set_random_states(self._transformer, self.seed, unset=True)
            with seeded(self.seed):
                self._transformer.fit(X, y)
        if self.classes is None:
            self.target_scale = self.loss.target_scale(y)
        elif self.spec.class_weight is not None:
            by_weight = {"sample_weight": weights} if self.spec.balance_by_weight else {}
            if self.loss.predicts_classes and not self.loss.exclusive and self.n_classes > 2:
                raise ValueError(
                    "class_weight of a one-versus-rest classifier weighs a row differently in "
                    "every output, which a head cannot; use LogisticRegression() or sample_weight."
                )
            self._class_weight = compute_class_weight(
                self.spec.class_weight, classes=self.classes, y=y, **by_weight
            )
        return self

    def problem(
        self,
        X: Any,
        y: NDArray[Any],
        weights: NDArray[np.float64],
        device: torch.device | str = "cpu",
    ) -> HeadProblem:
        """The head's objective on the given rows, on ``device``.

        Parameters
        ----------
        X : MatrixRows, array, sparse matrix, or what the model's Pipeline encodes, n rows
        y : ndarray of shape (n,)
        weights : ndarray of shape (n,)
            Sample weights.
        device : torch.device or str
            Where all products are made; ``Features.to`` says which rows move there.
        """
        device = torch.device(device)
        features = self._features(X).to(device)
        if self.classes is not None:
            codes = np.searchsorted(self.classes, y)
            weights = weights * self._class_weight[codes]
            targets = self.loss.label_targets(torch.from_numpy(codes), self.n_classes)
        else:
            targets = self.loss.encode(y, 1) / self.target_scale
        mask = torch.ones(features.shape[1], 1, dtype=torch.float64)
        if self.spec.fit_intercept:
            scaling = self.spec.intercept_scaling
            mask[-1] = 1.0 / scaling if self.spec.penalise_intercept else 0.0
        w = torch.from_numpy(np.ascontiguousarray(weights)).to(device)
        shares = {"total": None, "weight": w, "count": torch.ones_like(w)}[self.spec.convention]
        penalty = Penalty(self.spec.strength, mask.to(device), shares)
        return self._spanned(HeadProblem(features, targets.to(device), w, self.loss, penalty))

    def reduce(
        self,
        X: Any,
        y: NDArray[Any],
        weights: NDArray[np.float64],
        device: torch.device | str = "cpu",
    ) -> HeadEncoder:
        """Make all later problems in the span of the given rows, where that pays.

        Give all rows that may ever be fitted; rows to measure on need not be among them.
        """
        # One row tells how wide the features of all are: they are made for wide tables only.
        row = np.zeros(1, dtype=np.int64)
        if Span.pays(self.problem(take_rows(X, row), y[row], weights[row]), len(y)):
            self._span = Span(self.problem(X, y, weights, device))
        return self

    def _spanned(self, problem: HeadProblem) -> HeadProblem:
        return problem if self._span is None else self._span.of(problem)

    def logits(self, X: Any) -> Tensor:
        """What the model says of rows as it came, before any softmax, (n, K).

        Raises
        ------
        ValueError
            If it came untrained.
        """
        if self.given is None:
            raise ValueError("The model came untrained, and says nothing of rows.")
        return self._features(X).forward(self.given)

    def loss_unit(self, problem: HeadProblem) -> float:
        """Factor from the head's loss to the reported one."""
        return problem.loss.unit(problem.targets, problem.weights)

    def predict(self, Z: Tensor) -> NDArray[Any]:
        """What the head predicts from its outputs Z (n, K): labels, or targets in their unit."""
        outputs = Z.cpu().numpy()
        if self.classes is None:
            return outputs[:, 0] * self.target_scale
        codes = outputs.argmax(1) if outputs.shape[1] > 1 else (outputs[:, 0] > 0).astype(int)
        return self.classes[codes]

    def predict_proba(self, Z: Tensor) -> NDArray[np.float64]:
        """Class probabilities (n, C) of a head trained by cross-entropy."""
        if not self.loss.predicts_classes:
            raise AttributeError("a ridge classifier has no predict_proba")
        P = np.asarray(self.loss.probabilities(Z).cpu())
        return P / P.sum(1, keepdims=True)

    def notes(self, problem: HeadProblem, fit: HeadFit) -> tuple[tuple[str, str], ...]:
        """Lines for the report."""
        return self.spec.notes

    def _features(self, X: Any) -> Features:
        if self._transformer is not None:
            with advised(*UNKNOWN_CATEGORIES):
                X = self._transformer.transform(X)
        intercept = self.spec.fit_intercept
        if not sp.issparse(X):
            return features_of(_matrix_rows(X), ones=intercept, **self._affine)
        with advised(*IMPUTE):
            X = check_array(X, accept_sparse="csr", dtype=np.float64, input_name="X")
        ones = np.ones((X.shape[0], int(intercept)))
        return SparseFeatures(sp.csr_matrix(sp.hstack([X, ones], format="csr")))


def features_of(X: MatrixRows, **affine: Any) -> DenseFeatures:
    """The rows as a matrix that multiplies; ``affine`` is what ``DenseFeatures`` takes."""
    index = None if X.positions is None else torch.from_numpy(X.positions)
    return DenseFeatures(shared_tensor(X.matrix), index, **affine).held()


def _matrix_rows(X: Any) -> MatrixRows:
    if isinstance(X, MatrixRows):
        return X
    with advised(*IMPUTE):
        return MatrixRows(check_array(X, dtype=FLOATS, input_name="X"))


def column_moments(X: MatrixRows, weights: NDArray[np.float64] | None) -> dict[str, Tensor]:
    """``mean`` and ``scale`` of the weighted columns (d,), as ``StandardScaler`` has them.

    The scale of a column that is constant to rounding is 1.
    """
    w = torch.ones(len(X)) if weights is None else torch.from_numpy(weights)
    w = w.to(torch.float64)[:, None]
    total, rounding = float(w.sum()), torch.finfo(torch.float64).eps
    mean = features_of(X).adjoint(w)[:, 0] / total
    variance = features_of(X, mean=mean).adjoint_squared(w)[:, 0] / total
    noise = total * rounding * variance + (total * mean * rounding).square()
    return {"mean": mean, "scale": torch.where(variance <= noise, 1.0, variance.sqrt())}
