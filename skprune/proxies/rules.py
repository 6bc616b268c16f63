"""Which parameters of a pruner go together: what is asked for must be knowable."""

from __future__ import annotations

from typing import Any

from skprune.curvature import CURVATURES
from skprune.data.sources import is_dataset
from skprune.heads.linear_spec import HeadSpec
from skprune.network.torch_model import as_members, is_network
from skprune.proxies.parameters import LinearProxy, Proxy, Retrain, TorchProxy, unwrapped


def names_layers(proxy: Proxy) -> bool:
    """Whether layers of a network are examined, and not a head.

    Raises
    ------
    ValueError
        If there is no network, or no such curvature.
    """
    named = not (isinstance(proxy.layers, str) and proxy.layers == "head")
    if isinstance(proxy, TorchProxy) and not is_network(proxy.net):
        raise ValueError(
            f"TorchProxy takes a trained nn.Module, a list of them, a skorch net or a callable "
            f"train(dataset, seed); got {proxy.net!r}. Of an estimator it is LinearProxy."
        )
    if isinstance(proxy, LinearProxy) and is_network(proxy.estimator):
        raise ValueError(
            f"LinearProxy takes an estimator on columns; got {proxy.estimator!r}, a torch model: "
            "give it to TorchProxy."
        )
    _check_curvature(proxy.curvature, head=not named)
    return named


def examines_head(pruner: Any, proxy: Proxy) -> bool:
    """Whether an ``InfluencePruner`` examines a head, or layers of a network.

    Raises
    ------
    ValueError
        If parameters do not go together; the message says which.
    """
    named = names_layers(proxy)
    if named:
        _check_network_budget(pruner, proxy)
    return not named


def check_rows(model: Any, X: Any) -> None:
    """Refuse a dataset for a model of columns."""
    if is_dataset(X) and not is_network(model):
        raise ValueError(
            f"X is a {type(X).__name__}, and rows of a dataset are for torch models; pass a "
            f"network as model (got {model!r}), or arrays X and y."
        )


def what_is_retrained(pruner: Any, proxy: Proxy, subject: Any = None) -> Any:
    """What is retrained to measure a gap; None if nothing is.

    Parameters
    ----------
    pruner : InfluencePruner
    proxy : Proxy
        Its model.
    subject : HeadSpec or Network, optional
        What the model was read as. A model whose head alone does not say what its ``fit`` makes
        of fewer rows is retrained unless the user says otherwise; where it is not linear, and
        its trainings may be dear, only for a budget.
    """
    verify, model = pruner.verify, proxy.given
    if isinstance(verify, str) and verify == "auto" and isinstance(subject, HeadSpec):
        wanted = not subject.exact and (subject.own or pruner.keep is None)
        return model if wanted else None
    if verify is None or (isinstance(verify, str) and verify in ("auto", "refit")):
        return None
    estimator = verify if not isinstance(verify, (str, Retrain)) else None
    if isinstance(verify, Retrain):
        estimator = unwrapped(verify)
    if estimator is not None:
        return estimator
    if model is None or isinstance(model, str):
        raise ValueError(
            f"verify='retrain' trains the model anew, and model={model!r} is a head that "
            "verify='refit' trains anew already; pass the estimator to retrain as verify."
        )
    return as_members(model)[0]


def _check_curvature(curvature: str, *, head: bool) -> None:
    known = CURVATURES["head" if head else "layers"]
    if curvature != "auto" and curvature not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(
            f"curvature={curvature!r} is not one of {'a head' if head else 'layers'}; use 'auto', "
            f"{names}{', or layers=' + repr('all') + ' of a TorchProxy' if head else ''}."
        )


def _check_network_budget(pruner: Any, proxy: Proxy) -> None:
    """Refuse what cannot be known of a whole network without training it."""
    if pruner.verify == "refit":
        raise ValueError(
            "verify='refit' fits a head anew; for other layers use verify='retrain', or None."
        )
    if pruner.keep is None and what_is_retrained(pruner, proxy) is None:
        raise ValueError(
            "Without retraining the gap of a whole network is a prediction, good for comparing "
            "subsets but no ground to choose a size on. Fix the size with keep=..., give "
            "verify='retrain' with a model that can be trained (a skorch net or a callable "
            "train(dataset, seed)), or examine the last layer with layers='head'."
        )
    if pruner.scoring != "loss" and what_is_retrained(pruner, proxy) is None:
        raise ValueError(
            f"scoring={pruner.scoring!r} of a whole network is not predicted, only the loss is; "
            "use scoring='loss', verify='retrain', or layers='head'."
        )
