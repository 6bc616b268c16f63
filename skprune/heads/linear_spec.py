"""From what the user hands in as ``model=`` to the head that serves as the proxy.

The penalty convention is read off the model: see ``HeadSpec``.
"""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from inspect import signature
from typing import Any

from sklearn import get_config
from sklearn.base import is_classifier, is_regressor
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.linear_model import (
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
)
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags
from sklearn.utils.class_weight import compute_class_weight
from sklearn.utils.metadata_routing import get_routing_for_object
from sklearn.utils.validation import has_fit_parameter

#: lam of the package's own heads, per row, on standardised columns.
DEFAULT_STRENGTH = 1e-3

#: Steps of a Pipeline after which no value is missing.
IMPUTERS = (SimpleImputer, KNNImputer)

#: Linear models that are read as heads.
SMOOTH = (
    LogisticRegression,
    Ridge,
    RidgeClassifier,
    LinearRegression,
    SGDClassifier,
    SGDRegressor,
)


@dataclass(frozen=True)
class HeadSpec:
    """The objective of a linear model.

    Attributes
    ----------
    task : {"classification", "regression"}
    loss : {"softmax", "sigmoid", "squared"}
        ``name`` of a ``HeadLoss``, which is not imported here because that would import torch.
    strength : float
        lam, where the other term is the sum of losses of scale 1.
    convention : {"total", "weight", "count"}
        "total": sum_K w l + lam/2 |theta|^2. Per row: sum_K (w l + lam c/2 |theta|^2) with c the
        row's weight ("weight") or 1 ("count", as SGD does).
    penalise_intercept, intercept_scaling : bool, float
        Whether the intercept b is penalised, as (b / intercept_scaling)^2 (liblinear).
    class_weight : None, "balanced" or dict
    balance_by_weight : bool
        Whether "balanced" sums sample weights or counts rows.
    transformer : estimator, "standardise" or None
        Turns the rows into features.
    exact : bool
        Whether ``fit`` of the model does nothing but find the head's optimum: no earlier steps are
        fitted, class weights do not depend on the rows, and it does not stop before the optimum.
    own : bool
        Whether the head is the model's own last step. If not, it is a proxy that chooses rows for
        a model that is not linear.
    notes : tuple of (str, str)
        Lines of the report on the rows that the head sees.
    """

    task: str
    loss: str
    strength: float
    convention: str
    fit_intercept: bool = True
    penalise_intercept: bool = False
    intercept_scaling: float = 1.0
    class_weight: Any = None
    balance_by_weight: bool = False
    transformer: Any = None
    exact: bool = True
    own: bool = True
    notes: tuple[tuple[str, str], ...] = ()


def read_model(model: Any, task: str) -> HeadSpec:
    """Read the objective of a linear model.

    For any other classifier or regressor, and for a Pipeline that ends in one, it is that of the
    package's own head, on the output of the steps before the last.

    Parameters
    ----------
    model : None, str or estimator
    task : {"classification", "regression"}
        The task that the target suggests; it decides on a model of None.

    Raises
    ------
    TypeError
        If the model is neither a classifier nor a regressor.
    ValueError
        If it is a classifier and the target is continuous.
    """
    if model is None:
        model = "softmax" if task == "classification" else "ridge"
    if isinstance(model, str):
        if model not in ("softmax", "ridge"):
            raise ValueError(
                f"model={model!r} is not known; use 'softmax', 'ridge', None or an estimator."
            )
        own_task, loss = (
            ("classification", "softmax") if model == "softmax" else ("regression", "squared")
        )
        spec = HeadSpec(own_task, loss, DEFAULT_STRENGTH, "weight", transformer="standardise")
    elif isinstance(model, Pipeline):
        sampler = sampler_in(model)
        if sampler is not None:
            raise ValueError(
                f"model={type(model).__name__} holds the sampler {sampler}, which trains on rows "
                "that are not those of the table, so that it cannot choose among these. Leave the "
                "sampler out of model, and train the whole Pipeline on the kept rows: "
                "PrunedClassifier(pipeline, pruner), or verify=pipeline to measure with it."
            )
        last = model.steps[-1][1]
        if isinstance(last, Pipeline):  # a Pipeline in a Pipeline
            flat = [*model.steps[:-1], *last.steps]
            return read_model(make_pipeline(*(step for _, step in flat)), task)
        spec = read_model(last, task)
        if len(model) > 1:
            encode: Any = model[:-1]
            if not spec.own:
                # The model may take NaN; the package's own penalty is for columns of unit spread.
                fill = SimpleImputer(strategy="median", add_indicator=True)
                encode = make_pipeline(encode, fill, StandardScaler(with_mean=False))
            spec = replace(spec, transformer=encode, exact=False)
    else:
        spec = _read_linear_model(model) or _stand_in(model)
    if spec.task == "classification" and task == "regression":
        raise ValueError(
            f"model={model!r} is a classifier and y is continuous; use a regressor such as "
            "Ridge(), or model=None."
        )
    return spec


def _stand_in(model: Any) -> HeadSpec:
    """The package's own head, which chooses rows for a model that is not linear."""
    if isinstance(model, type):
        raise TypeError(
            f"model is the class {model.__name__}; pass an instance of it, such as "
            f"{model.__name__}(), and of a torch nn.Module a trained one."
        )
    if hasattr(model, "fit") and (is_classifier(model) or is_regressor(model)):
        name = "softmax" if is_classifier(model) else "ridge"
        return replace(read_model(name, "classification"), exact=False, own=False)
    raise TypeError(
        "model must be None, 'softmax', 'ridge', a classifier or regressor of scikit-learn's kind, "
        f"a Pipeline that ends in one, or a torch model; got {model!r}."
    )


def is_head(model: Any) -> bool:
    """Whether ``model`` names a head, or is a linear model, or a Pipeline that ends in one."""
    while isinstance(model, Pipeline):
        model = model.steps[-1][1]
    return isinstance(model, str) or (isinstance(model, SMOOTH) and bool(_read_linear_model(model)))


def sampler_in(model: Any) -> str | None:
    """Name of the step of imbalanced-learn's Pipeline ``model`` that makes or drops rows."""
    steps = model.steps if isinstance(model, Pipeline) else []
    names = (type(s).__name__ if hasattr(s, "fit_resample") else sampler_in(s) for _, s in steps)
    return next(filter(None, names), None)


def takes_missing(model: Any) -> bool:
    """Whether a model takes rows with NaN, as the proxy and in its own ``fit``."""
    if model is None or isinstance(model, str):
        return True  # the package's own heads
    if not hasattr(model, "__sklearn_tags__"):
        return False
    if isinstance(model, Pipeline):
        for _, step in model.steps:
            if not takes_missing(step) or isinstance(step, IMPUTERS):
                return takes_missing(step)
        return True
    inner = getattr(model, "estimator", None)  # of a search, a calibration ...
    return bool(get_tags(model).input_tags.allow_nan) or (
        inner is not None and takes_missing(inner)
    )


def weight_name(estimator: Any) -> str | None:
    """The name of the weights of rows in an estimator's ``fit``; None if it takes none."""
    if not isinstance(estimator, Pipeline):
        return "sample_weight" if has_fit_parameter(estimator, "sample_weight") else None
    if get_config()["enable_metadata_routing"]:  # its steps say which of them get weights
        consumed = get_routing_for_object(estimator).consumes("fit", ["sample_weight"])
        return "sample_weight" if consumed else None
    name, last = estimator.steps[-1]
    inner = weight_name(last)
    return None if inner is None else f"{name}__{inner}"


def stops_early(model: Any) -> bool:
    """Whether a linear model's solver may stop early if columns have very different sizes."""
    second_order = ("newton-cholesky", "liblinear")
    return isinstance(model, LogisticRegression) and model.solver not in second_order


def _read_linear_model(model: Any) -> HeadSpec | None:
    """The objective of a linear model; None for any other model."""
    if isinstance(model, SMOOTH):
        model._validate_params()  # C > 0, alpha >= 0, ...: scikit-learn's own messages
    if _is_rough(model):
        return None
    balanced = getattr(model, "class_weight", None) == "balanced"
    if isinstance(model, LogisticRegression) and not isinstance(model, LogisticRegressionCV):
        unpenalised = model.penalty is None
        one_vs_rest = getattr(model, "multi_class", None) == "ovr" or model.solver == "liblinear"
        return HeadSpec(
            "classification",
            "sigmoid" if one_vs_rest else "softmax",
            0.0 if unpenalised else 1.0 / model.C,
            "total",
            fit_intercept=model.fit_intercept,
            penalise_intercept=model.solver == "liblinear",
            intercept_scaling=float(model.intercept_scaling),
            class_weight=model.class_weight,
            balance_by_weight="sample_weight" in signature(compute_class_weight).parameters,
            exact=not balanced,
        )
    if isinstance(model, (SGDClassifier, SGDRegressor)):
        is_classes = isinstance(model, SGDClassifier)
        if model.loss != ("log_loss" if is_classes else "squared_error"):
            return None
        return HeadSpec(
            "classification" if is_classes else "regression",
            "sigmoid" if is_classes else "squared",
            0.0 if model.penalty is None else float(model.alpha),
            "count",
            fit_intercept=model.fit_intercept,
            class_weight=model.class_weight if is_classes else None,
            exact=False,
        )
    if isinstance(model, (Ridge, RidgeClassifier, LinearRegression)):
        alpha = getattr(model, "alpha", 0.0)
        if not isinstance(alpha, numbers.Real):
            name = type(model).__name__
            raise ValueError(f"{name}(alpha=...) must be one number, got {alpha!r}.")
        is_classes = isinstance(model, RidgeClassifier)
        return HeadSpec(
            "classification" if is_classes else "regression",
            "squared",
            float(alpha),
            "total",
            fit_intercept=model.fit_intercept,
            class_weight=model.class_weight if is_classes else None,
            exact=not balanced,
        )
    return None


def _is_rough(model: Any) -> bool:
    """Whether the optimum has no Hessian: an l1 penalty, or coefficients that are held positive."""
    penalty, l1_ratio = getattr(model, "penalty", None), getattr(model, "l1_ratio", None)
    rough = penalty == "l1" or (penalty == "elasticnet" and l1_ratio != 0)
    # From scikit-learn 1.8 on LogisticRegression is told by l1_ratio alone.
    rough = rough or (isinstance(model, LogisticRegression) and l1_ratio not in (None, 0, 0.0))
    return bool(rough or getattr(model, "positive", False))
