"""Which parameters of a pruner go together: what is asked for must be knowable."""

from __future__ import annotations

from typing import Any

from skprune.curvature import CURVATURES
from skprune.curvature.layers import CURVATURES as NETWORK_CURVATURES
from skprune.data.sources import is_dataset
from skprune.network.torch_model import as_members, is_network
from skprune.proxies.linear_spec import HeadSpec


def names_layers(pruner: Any) -> bool:
    """Whether an ``InfluencePruner`` is to examine layers of a network, and not a head.

    Raises
    ------
    ValueError
        If its model is no network.
    """
    named = not (isinstance(pruner.layers, str) and pruner.layers == "head")
    if named and not is_network(pruner.model):
        raise ValueError(
            f"layers={pruner.layers!r} are those of a torch model, and model="
            f"{pruner.model!r} has none; pass a network as model, or leave layers='head'."
        )
    return named


def examines_head(pruner: Any) -> bool:
    """Whether an ``InfluencePruner`` examines a head, or layers of a network.

    Raises
    ------
    ValueError
        If parameters do not go together; the message says which.
    """
    named = names_layers(pruner)
    _check_training(pruner)
    _check_curvature(pruner.curvature, head=not named)
    if named:
        _check_network_budget(pruner)
    return not named


def check_rows(model: Any, X: Any) -> None:
    """Refuse a dataset for a model of columns."""
    if is_dataset(X) and not is_network(model):
        raise ValueError(
            f"X is a {type(X).__name__}, and rows of a dataset are for torch models; pass a "
            f"network as model (got {model!r}), or arrays X and y."
        )


def what_is_retrained(pruner: Any, subject: Any = None) -> Any:
    """What is retrained to measure a gap; None if nothing is.

    Parameters
    ----------
    pruner : InfluencePruner
    subject : HeadSpec or Network, optional
        What its model was read as. A model whose head alone does not say what its ``fit`` makes
        of fewer rows is retrained unless the user says otherwise; where it is not linear, and
        its trainings may be dear, only for a budget.
    """
    verify, model = pruner.verify, pruner.model
    if isinstance(verify, str) and verify == "auto" and isinstance(subject, HeadSpec):
        wanted = not subject.exact and (subject.own or pruner.keep is None)
        return model if wanted else None
    if verify is None or (isinstance(verify, str) and verify in ("auto", "refit")):
        return None
    if not isinstance(verify, str):
        return verify
    if model is None or isinstance(model, str):
        raise ValueError(
            f"verify='retrain' trains the model anew, and model={model!r} is a head that "
            "verify='refit' trains anew already; pass the estimator to retrain as verify."
        )
    return as_members(model)[0]


def _check_training(pruner: Any) -> None:
    """Refuse what a torch model was trained with where there is none."""
    given = [name for name in ("loss", "weight_decay") if getattr(pruner, name) is not None]
    if given and not (is_network(pruner.model) or is_network(what_is_retrained(pruner))):
        raise ValueError(
            f"{given[0]}={getattr(pruner, given[0])!r} is of a torch model, and here "
            f"model={pruner.model!r} examines a table, with a loss and a penalty of its own. Leave "
            f"{given[0]} out, choose the head by model (scoring= is what gaps are measured in), or "
            "pass a network as model."
        )


def _check_curvature(curvature: str, *, head: bool) -> None:
    known = CURVATURES if head else NETWORK_CURVATURES
    if curvature != "auto" and curvature not in known:
        names = ", ".join(map(repr, known))
        raise ValueError(
            f"curvature={curvature!r} is not one of {'a head' if head else 'layers'}; "
            f"use 'auto', {names}{', or layers=' + repr('all') if head else ''}."
        )


def _check_network_budget(pruner: Any) -> None:
    """Refuse what cannot be known of a whole network without training it."""
    if pruner.verify == "refit":
        raise ValueError(
            "verify='refit' fits a head anew; for other layers use verify='retrain', or None."
        )
    if pruner.keep is None and what_is_retrained(pruner) is None:
        raise ValueError(
            "Without retraining the gap of a whole network is a prediction, good for comparing "
            "subsets but no ground to choose a size on. Fix the size with keep=..., give "
            "verify='retrain' with a model that can be trained (a skorch net or a callable "
            "train(dataset, seed)), or examine the last layer with layers='head'."
        )
    if pruner.scoring != "loss" and what_is_retrained(pruner) is None:
        raise ValueError(
            f"scoring={pruner.scoring!r} of a whole network is not predicted, only the loss is; "
            "use scoring='loss', verify='retrain', or layers='head'."
        )
