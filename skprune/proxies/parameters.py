"""What a user may say of the model that chooses rows, and of the one that is trained on them.

Objects of parameters only: they clone, print and can be searched (``pruner__model__curvature``) as
scikit-learn's estimators do. A bare estimator, network or name is a shorthand for the defaults.
"""

from __future__ import annotations

import numbers
import os
from typing import Any, ClassVar

from sklearn.base import BaseEstimator
from sklearn.utils._param_validation import Interval, StrOptions


class Proxy(BaseEstimator):
    """What a pruner's ``model`` is, with the parameters that belong to it."""

    layers: Any = "head"
    loss: Any = None
    weight_decay: float | None = None
    curvature: str
    device: Any
    batch_size: int | str = "auto"
    cache_dir: Any = None

    @property
    def given(self) -> Any:
        """The estimator, network or name itself."""
        raise NotImplementedError

    def check(self) -> None:
        """Refuse parameters of a wrong kind, in scikit-learn's words."""
        self._validate_params()


class LinearProxy(Proxy):
    """A linear model of the columns: a convex head, of which the theory is exact.

    Parameters
    ----------
    estimator : None, "softmax", "ridge", or scikit-learn classifier, regressor or Pipeline, \
            default=None
        As ``model`` of ``InfluencePruner``. Of a model that is not linear, and for None, the
        package's own softmax or ridge head chooses the rows.
    curvature : {"auto", "dense", "ekfac", "diagonal"}, default="auto"
        The Hessian of the head: exact, in its Kronecker-factored eigenbasis, or its diagonal.
        "auto" takes the first that is affordable for the number of parameters.
    device : str or torch.device, default="auto"
        Where the products are made. "auto" is CUDA if there is one and the rows are worth it.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from skprune import InfluencePruner, LinearProxy
    >>> proxy = LinearProxy(LogisticRegression(), curvature="ekfac")
    >>> len(InfluencePruner(keep=0.3, model=proxy).fit(*load_iris(return_X_y=True)).sample_indices_)
    45
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": "no_validation",
        "curvature": [str],  # one that is registered: see rules.py
        "device": "no_validation",
    }

    def __init__(self, estimator: Any = None, *, curvature: str = "auto", device: Any = "auto"):
        self.estimator = estimator
        self.curvature = curvature
        self.device = device

    @property
    def given(self) -> Any:
        """The estimator or name itself."""
        return self.estimator


class TorchProxy(Proxy):
    """A torch network: its last layer as a convex head, or the gradients of all its layers.

    Parameters
    ----------
    net : nn.Module, skorch net, callable ``train(dataset, seed) -> nn.Module``, or list of modules
        A trained module comes back as it was. A net that is not fitted and a callable are trained
        on the rows that are not held out. A list of trained modules (checkpoints, or seeds;
        not for ``layers="head"``) is examined together: effects are means over its members.
    layers : "head", "all" or list of str or nn.Module, default="head"
        The last linear layer, whose optimum is found first, so that the theory holds; all
        parameters that are trained; or the layers or parameters of these names. Without
        retraining, the gap of other layers than the head is only predicted, and ``keep`` must be
        given.
    curvature : {"auto", "dense", "ekfac", "kfac", "diagonal", "lowrank", "hessian", "cg", \
            "lissa"}, default="auto"
        Of a head the first, second or fourth, as in ``LinearProxy``. Of layers "dense" is the
        Gauss-Newton matrix; with "cg" and "lissa", which have no root, rows are chosen by "ekfac"
        and gaps predicted by the one that is named. "auto" takes the most exact one that is
        affordable.
    loss : nn.Module or callable, default=None
        What the network was trained with: ``nn.CrossEntropyLoss`` (with label smoothing and
        class weights), ``nn.NLLLoss``, ``nn.BCEWithLogitsLoss``, ``nn.BCELoss``, ``nn.MSELoss``,
        or ``loss(outputs, targets)`` with one value a row (not for ``layers="head"``). Classes of
        these, and torch's functions of the same names, stand for their defaults. None takes the
        criterion of a skorch net, or tells by the targets.
    weight_decay : float, default=None
        lam of lam/2 theta'theta beside the mean loss. None takes that of a skorch net's
        optimizer; else a head is penalised as the package's own are, by 1e-3 on features of unit
        spread, and other layers not at all.
    device : str or torch.device, default="auto"
        Where the network runs and the products are made. "auto" is CUDA if there is one and the
        rows are worth it.
    batch_size : int or "auto", default="auto"
        Rows that go through the network together; halved where memory runs out.
    cache_dir : str or path-like, default=None
        Folder in which features, or the factors of the layers' curvature, are kept between
        processes, by the content of rows and network. An extraction of features that is killed
        goes on where it stopped.

    Examples
    --------
    >>> import torch
    >>> from torch import nn
    >>> from skprune import InfluencePruner, TorchProxy
    >>> _ = torch.manual_seed(0)
    >>> X, net = torch.randn(200, 5), nn.Sequential(nn.Linear(5, 4), nn.Tanh(), nn.Linear(4, 2))
    >>> proxy = TorchProxy(net, layers="all", weight_decay=0.01)
    >>> InfluencePruner(keep=0.5, model=proxy).fit(X, (X[:, 0] > 0).long()).gap_.level
    'predicted'
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "net": "no_validation",
        "layers": [StrOptions({"head", "all"}), list, tuple],
        "curvature": [str],
        "loss": [None, callable],
        "weight_decay": [None, Interval(numbers.Real, 0, None, closed="left")],
        "device": "no_validation",
        "batch_size": [StrOptions({"auto"}), Interval(numbers.Integral, 1, None, closed="left")],
        "cache_dir": [None, str, os.PathLike],
    }

    def __init__(
        self,
        net: Any,
        *,
        layers: Any = "head",
        curvature: str = "auto",
        loss: Any = None,
        weight_decay: float | None = None,
        device: Any = "auto",
        batch_size: int | str = "auto",
        cache_dir: Any = None,
    ) -> None:
        self.net = net
        self.layers = layers
        self.curvature = curvature
        self.loss = loss
        self.weight_decay = weight_decay
        self.device = device
        self.batch_size = batch_size
        self.cache_dir = cache_dir

    @property
    def given(self) -> Any:
        """The network itself."""
        return self.net


class Retrain(BaseEstimator):
    """Measure gaps by training a model anew on the kept rows: a value of ``verify``.

    Parameters
    ----------
    estimator : estimator, skorch net, callable or TorchProxy, default=None
        What is trained; None is the pruner's ``model``. A callable is
        ``train(dataset, seed) -> nn.Module``; the loss that it trains with is told by
        ``TorchProxy(train, loss=...)``.
    n_seeds : int, default=3
        Trainings of every set of rows, if the model's result depends on its seed.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.ensemble import RandomForestClassifier
    >>> from skprune import InfluencePruner, Retrain
    >>> verify = Retrain(RandomForestClassifier(10), n_seeds=2)
    >>> pruner = InfluencePruner(keep=0.5, scoring="accuracy", verify=verify)
    >>> pruner.fit(*load_iris(return_X_y=True)).gap_.level
    'retrained'
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "estimator": "no_validation",
        "n_seeds": [Interval(numbers.Integral, 1, None, closed="left")],
    }

    def __init__(self, estimator: Any = None, *, n_seeds: int = 3) -> None:
        self.estimator = estimator
        self.n_seeds = n_seeds

    def check(self) -> None:
        """Refuse parameters of a wrong kind, in scikit-learn's words."""
        self._validate_params()


def as_proxy(model: Any) -> Proxy:
    """The proxy that ``model`` is, or is a shorthand for."""
    if isinstance(model, Proxy):
        return model
    from skprune.network.torch_model import is_network  # torch comes with the first fit

    return TorchProxy(model) if is_network(model) else LinearProxy(model)


def unwrapped(model: Any) -> Any:
    """The estimator, network or name in a proxy, or in what is retrained."""
    if isinstance(model, Retrain):
        return unwrapped(model.estimator)
    return model.given if isinstance(model, Proxy) else model
