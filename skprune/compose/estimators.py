"""An estimator behind a pruner: fitted to the kept rows, asked about all."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn import get_config
from sklearn.base import (
    BaseEstimator,
    ClassifierMixin,
    MetaEstimatorMixin,
    RegressorMixin,
    clone,
    is_classifier,
    is_regressor,
)
from sklearn.utils import get_tags
from sklearn.utils.metadata_routing import UNUSED, MetadataRouter, MethodMapping, process_routing
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted

from skprune.baselines import Strategy
from skprune.compose.base import HasPruner, hands_targets_on, share_out
from skprune.data.containers import is_row_wise, n_rows, natural, plain, take_rows
from skprune.data.teaching import Teaching
from skprune.heads.advice import advised_fit
from skprune.heads.linear_spec import sampler_in, takes_missing, weight_name
from skprune.pruner import InfluencePruner
from skprune.results.recheck import Recheck
from skprune.utils.sklearn_private import HasMethods

DELEGATED = ("predict", "predict_proba", "predict_log_proba", "decision_function", "transform")


def _has(method: str) -> Callable[[Any], bool]:
    """Whether the estimator, fitted or not, has the method; raises its own error if not."""
    return lambda self: bool(getattr(getattr(self, "estimator_", self.estimator), method))


def _delegate(method: str, what: str) -> Any:
    """A method of the fitted estimator, there if the estimator has it."""

    def call(self: Any, X: Any, **params: Any) -> Any:
        return self._ask(method, X, **params)

    call.__name__ = method
    call.__doc__ = f"{what}, by the fitted estimator for all rows of X."
    return available_if(_has(method))(call)


class _HasMethodsOnceFitted(HasMethods):
    """Accepts a class with the methods: StackingClassifier has ``predict`` only once fitted."""

    def is_satisfied_by(self, val: Any) -> bool:
        return super().is_satisfied_by(type(val)) or super().is_satisfied_by(val)


def _set_model(pruner: Any, estimator: Any, default: str) -> None:
    """Let a pruner without a model work for the estimator itself.

    If the estimator cannot be the ``model`` (it has a sampler, or is neither a classifier nor a
    regressor), a head chooses the rows, but the estimator's gap still decides on a budget.
    """
    if not isinstance(pruner, (InfluencePruner, Strategy)) or pruner.model is not None:
        return
    from skprune.network.torch_model import is_skorch  # torch comes with the first fit

    by_influence = isinstance(pruner, InfluencePruner)
    known = is_classifier(estimator) or is_regressor(estimator)
    if is_skorch(estimator):  # a score is that of a head
        known = by_influence
    if known and not sampler_in(estimator):
        pruner.set_params(model=clone(estimator))
        return
    pruner.set_params(model=default)
    if by_influence and pruner.keep is None and pruner.verify == "auto":
        pruner.set_params(verify=clone(estimator))


def _score(self: Any, X: Any, y: Any, **params: Any) -> float:
    """Score of the fitted estimator on all rows of X."""
    return self._ask("score", X, y, **params)


def _rechecks(self: Any) -> bool:
    """Whether the pruner measures gaps at all."""
    return bool(getattr(self, "pruner_", self._unfitted_pruner()).recheck)


def _recheck(self: Any, X_new: Any, y_new: Any = None, *, certify: bool = False) -> Recheck:
    """Check the kept rows on new rows, as ``InfluencePruner.recheck`` does."""
    check_is_fitted(self)
    found: Recheck = self.pruner_.recheck(X_new, y_new, certify=certify)
    return found


class _PrunedEstimator(HasPruner, MetaEstimatorMixin):
    """The base of ``PrunedClassifier`` and ``PrunedRegressor``."""

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": [_HasMethodsOnceFitted(["fit", "predict"])],
        "pruner": [None, HasMethods(["fit", "take"])],
    }
    #: A test for estimators of the other kind, the kind that is needed, and the class for the
    #: other.
    _other: ClassVar[tuple[Callable[[Any], bool], str, str]]
    # The class passes metadata on and has no use for them itself.
    __metadata_request__fit: ClassVar[dict[str, Any]] = {"sample_weight": UNUSED}

    def __init__(self, estimator: Any, pruner: Any = None) -> None:
        self.estimator = estimator
        self.pruner = pruner

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, **fit_params: Any) -> Any:
        """Prune the rows and fit the estimator on those that are kept.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix or tensor with n rows, or what a skorch net takes
        y : array-like of shape (n,)
            Not needed with a dataset that holds its targets.
        sample_weight : array-like of shape (n,), optional
            Weights for the pruner, if its ``fit`` takes them, and those of the kept rows for the
            estimator (the last step of a Pipeline).
        **fit_params
            With metadata routing, whatever pruner and estimator request. Without it, parameters of
            the pruner's ``fit`` (``groups``, ``X_val``, ``y_val``) go to the pruner and others to
            the estimator. Values with n rows are cut to the kept rows for the estimator.

        Returns
        -------
        object
            self
        """
        self._validate_params()
        estimator = clone(self.estimator)
        is_other, kind, other = self._other
        if is_other(estimator):
            raise ValueError(
                f"{type(self).__name__} needs a {kind}, and {self.estimator!r} is none; give it to "
                f"{other}."
            )
        y = natural(y)
        self._check_target(y)
        pruner = self._task_pruner()
        weights_as = weight_name(estimator)
        pruner._hands_weights_on = weights_as is not None and not sampler_in(estimator)
        numbers = isinstance(self, RegressorMixin)
        pruner._hands_targets_on = hands_targets_on(pruner, estimator, numbers=numbers)
        if sample_weight is not None:
            fit_params["sample_weight"] = sample_weight
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", **fit_params)
            for_pruner, for_estimator = routed.pruner.fit, routed.estimator.fit
        else:
            for_pruner, for_estimator = share_out(fit_params, pruner, estimator)
        self.pruner_ = pruner.fit(X, y, **for_pruner)
        n = n_rows(X if y is None else y)
        kept = {
            name: self.pruner_.take(value) if is_row_wise(value, n) else value
            for name, value in for_estimator.items()
        }
        weights = getattr(self.pruner_, "sample_weight_", None)
        if weights is not None and pruner._hands_weights_on:
            if weights_as in kept and "sample_weight" not in for_pruner:
                weights = weights * np.asarray(kept[weights_as])
            kept[weights_as] = weights
        kept_X, kept_y = self.pruner_.take(X), None if y is None else self.pruner_.take(y)
        teaching = teaching_of(self.pruner_, numbers=numbers)
        if teaching is not None:
            rows, kept_y, weights = teaching.unfolded(kept.pop(weights_as, None))
            row_wise = (name for name in kept if is_row_wise(for_estimator[name], n))
            kept.update({name: take_rows(kept[name], rows) for name in row_wise})
            if weights is not None:
                kept[weights_as] = weights
            kept_X = take_rows(kept_X, rows)
        with advised_fit(estimator, kept_X):
            self.estimator_ = estimator.fit(kept_X, kept_y, **kept)
        return self

    predict = _delegate("predict", "Predictions, shape (n,)")
    predict_proba = _delegate("predict_proba", "Class probabilities, shape (n, n_classes)")
    predict_log_proba = _delegate("predict_log_proba", "Their logarithms, shape (n, n_classes)")
    decision_function = _delegate("decision_function", "Decision values, (n,) or (n, n_classes)")
    transform = _delegate("transform", "The transformed rows")
    score = available_if(_has("score"))(_score)
    recheck = available_if(_rechecks)(_recheck)

    def get_metadata_routing(self) -> Any:
        """The routing of metadata to the pruner and the estimator."""
        to_pruner = MethodMapping().add(caller="fit", callee="fit")
        to_estimator = MethodMapping()
        for method in ("fit", "score", *DELEGATED):
            to_estimator.add(caller=method, callee=method)
        router = MetadataRouter(owner=self)
        router.add(pruner=self._unfitted_pruner(), method_mapping=to_pruner)
        return router.add(estimator=self.estimator, method_mapping=to_estimator)

    def _ask(self, method: str, *args: Any, **params: Any) -> Any:
        check_is_fitted(self)
        if get_config()["enable_metadata_routing"]:
            params = process_routing(self, method, **params).estimator[method]
        return getattr(self.estimator_, method)(*args, **params)

    def _task_pruner(self) -> Any:
        """A clone of the pruner for this class's kind of target."""
        raise NotImplementedError

    def _check_target(self, y: Any) -> None:
        """Refuse a target of the other kind."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        estimator, pruner = get_tags(self.estimator), get_tags(self._unfitted_pruner())
        tags.classifier_tags = estimator.classifier_tags or tags.classifier_tags
        tags.regressor_tags = estimator.regressor_tags or tags.regressor_tags
        if tags.classifier_tags is not None:
            tags.classifier_tags.multi_label = False
        tags.transformer_tags = estimator.transformer_tags
        tags.target_tags.required = True
        tags.target_tags.positive_only = estimator.target_tags.positive_only
        tags.input_tags.positive_only = estimator.input_tags.positive_only
        tags.input_tags.sparse = estimator.input_tags.sparse and pruner.input_tags.sparse
        tags.input_tags.allow_nan = pruner.input_tags.allow_nan and takes_missing(self.estimator)
        tags.non_deterministic = estimator.non_deterministic or pruner.non_deterministic
        return tags


def teaching_of(pruner: Any, *, numbers: bool) -> Teaching | None:
    """The teacher targets of the rows that a fitted pruner keeps, if there are any."""
    targets = getattr(pruner, "teacher_targets_", None)
    return None if targets is None else Teaching(targets, None if numbers else pruner.classes_)


class PrunedClassifier(_PrunedEstimator, ClassifierMixin, BaseEstimator):
    """Fit a classifier on the rows that a pruner keeps, and predict for all rows.

    Parameters
    ----------
    estimator : classifier
        Cloned and fitted on the kept rows. It need not be linear, nor the pruner's model.
    pruner : pruner, default=None
        Cloned and fitted in ``fit``; None is ``InfluencePruner()``. To search its parameters
        (``pruner__max_gap``, ``pruner__keep``), pass it. If its ``model`` is None, the estimator
        itself is the model, unless it has a sampler or is no classifier (then "softmax", whatever
        the labels look like). A budget is held by the estimator itself, trained
        on the kept rows. Where the pruner has ``keep``, nothing is trained but the models that
        ``LinearProxy`` takes: of others ``gap_`` is that of a linear head, unless the pruner's
        ``verify`` is "retrain".

    Attributes
    ----------
    pruner_ : pruner, fitted
        Its ``rows_`` (with the score, the weight and whether it was kept, for every row),
        ``removed_indices_`` and ``report_`` say what became of the rows.
    estimator_ : classifier, fitted on the kept rows
    sample_indices_ : ndarray of shape (n_kept,), positions of the kept rows, sorted
    classes_ : ndarray of shape (n_classes,), labels that ``estimator_`` knows
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,), if the columns have names

    Notes
    -----
    With metadata routing enabled, ask for weights on both sides:
    ``PrunedClassifier(estimator.set_fit_request(sample_weight=True),
    pruner.set_fit_request(sample_weight=True))``.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from skprune import InfluencePruner, PrunedClassifier
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pruned = PrunedClassifier(LogisticRegression(), InfluencePruner(keep=0.3))
    >>> pipeline = make_pipeline(StandardScaler(), pruned).fit(X, y)
    >>> len(pipeline[-1].sample_indices_)
    171
    >>> pipeline.predict(X).shape
    (569,)
    """

    _other = is_regressor, "classifier", "PrunedRegressor"

    @property
    def classes_(self) -> NDArray[Any]:
        """Labels the fitted estimator knows."""
        return self.estimator_.classes_

    def _task_pruner(self) -> Any:
        pruner = clone(self._unfitted_pruner())
        _set_model(pruner, self.estimator, "softmax")
        return pruner

    def _check_target(self, y: Any) -> None:
        if y is not None:
            check_classification_targets(plain(y))


class PrunedRegressor(_PrunedEstimator, RegressorMixin, BaseEstimator):
    """Fit a regressor on the rows that a pruner keeps, and predict for all rows.

    Parameters
    ----------
    estimator : regressor
        Cloned and fitted on the kept rows. It need not be linear, nor the pruner's model.
    pruner : pruner, default=None
        Cloned and fitted in ``fit``; None is ``InfluencePruner()``. To search its parameters
        (``pruner__max_gap``, ``pruner__keep``), pass it. If its ``model`` is None, the estimator
        itself is the model, unless it has a sampler or is no regressor (then "ridge", so that whole
        numbers are not taken for classes). A budget is held by the estimator itself, trained
        on the kept rows. Where the pruner has ``keep``, nothing is trained but the models that
        ``LinearProxy`` takes: of others ``gap_`` is that of a linear head, unless the pruner's
        ``verify`` is "retrain".
        ``StratifiedRandom`` does not stratify.

    Attributes
    ----------
    pruner_ : pruner, fitted
        Its ``rows_`` (with the score, the weight and whether it was kept, for every row),
        ``removed_indices_`` and ``report_`` say what became of the rows.
    estimator_ : regressor, fitted on the kept rows
    sample_indices_ : ndarray of shape (n_kept,), positions of the kept rows, sorted
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,), if the columns have names

    Examples
    --------
    >>> from sklearn.datasets import load_diabetes
    >>> from sklearn.linear_model import Ridge
    >>> from skprune import InfluencePruner, PrunedRegressor
    >>> X, y = load_diabetes(return_X_y=True)
    >>> pruned = PrunedRegressor(Ridge(alpha=0.1), InfluencePruner(keep=0.5)).fit(X, y)
    >>> len(pruned.sample_indices_)
    221
    """

    _other = is_classifier, "regressor", "PrunedClassifier"

    def _task_pruner(self) -> Any:
        pruner = clone(self._unfitted_pruner())
        _set_model(pruner, self.estimator, "ridge")
        return pruner
