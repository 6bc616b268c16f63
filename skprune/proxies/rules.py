"""Checks of parameters that depend on each other, and the choices behind "auto"."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

from skprune.data.sources import is_dataset
from skprune.data.table import Table
from skprune.heads.linear_spec import HeadSpec, weight_name
from skprune.heads.weighting import takes_teaching, wants_weights
from skprune.network.torch_model import is_network
from skprune.proxies.balanced import MOST_NUMBERS
from skprune.proxies.base import Proxy
from skprune.proxies.linear import BalancedProxy
from skprune.proxies.shorthands import (
    as_verify,
    certificate_of_head,
    trained_model,
    unwrapped,
)
from skprune.proxies.torch_proxy import TorchProxy
from skprune.proxies.verify import DefaultBoosting, Retrain, Verify


def check_rows(model: Any, X: Any) -> None:
    """Refuse a dataset for a model of columns."""
    if is_dataset(X) and not is_network(model):
        raise ValueError(
            f"X is a {type(X).__name__}, and rows of a dataset are for torch models; pass a "
            f"network as model (got {model!r}), or arrays X and y."
        )


def how_verified(pruner: Any, proxy: Proxy, subject: Any, table: Table) -> Verify | None:
    """How gaps are measured beyond the proxy's own levels; None if they are not.

    A model whose head alone does not say what its ``fit`` makes of fewer rows is retrained unless
    the user says otherwise; where it is not linear, and its trainings may be dear, only for a
    budget. It is trained once on every set of rows: more seeds have to be asked for. A certificate
    of a head comes after the search, which goes on as if it were not asked for.

    Parameters
    ----------
    pruner : InfluencePruner
    proxy : Proxy
        The pruner's model.
    subject : HeadSpec or Network
        The model in the proxy's own terms.
    table : Table
        The rows.
    """
    verify, model = as_verify(pruner.verify), proxy.given
    of_head = certificate_of_head(verify, proxy) is not None
    auto = of_head or (isinstance(pruner.verify, str) and pruner.verify == "auto")
    if auto and is_for_every_model(proxy):
        # The later model is unknown, so the gap of a boosting must be allowed as well as the
        # head's.
        if pruner.keep is not None or np.size(table.X) > MOST_NUMBERS:
            return None
        numbers = table.classes is None
        return DefaultBoosting(
            HistGradientBoostingRegressor() if numbers else HistGradientBoostingClassifier()
        )
    if auto and isinstance(subject, HeadSpec):
        wanted = not subject.exact and (subject.own or pruner.keep is None)
        return Retrain(n_seeds=1) if wanted else None
    if of_head:
        return None
    own = isinstance(verify, Retrain) and verify.trained is None
    if own and (model is None or isinstance(model, str)):
        raise ValueError(
            f"verify={pruner.verify!r} trains the model anew, and model={model!r} is a head that "
            "verify='refit' trains anew already; pass the estimator to train, as model or in "
            "verify=Retrain(estimator)."
        )
    return verify


def is_for_every_model(proxy: Proxy) -> bool:
    """Whether the kept rows are for a model that is not known yet."""
    named = proxy.given is None or isinstance(proxy.given, str)
    return isinstance(proxy, BalancedProxy) and named


def weights_wanted(pruner: Any, proxy: Proxy, verify: Verify | None) -> str | bool:
    """Whether rows may get weights, or must: "auto", True or False.

    With "auto" they get weights if these are passed on to the trained model and it loses less with
    them. If no model is trained here, models of the same kind decide.

    Raises
    ------
    ValueError
        If weights are asked for, but the trained model takes none.
    """
    if pruner.weights is False or not isinstance(proxy, BalancedProxy):
        return False
    trained = [model for model in (proxy.given, unwrapped(verify)) if hasattr(model, "fit")]
    without = [model for model in trained if weight_name(model) is None]
    if pruner.weights is True and without:
        raise ValueError(
            f"weights=True gives rows weights, and {type(without[0]).__name__}.fit takes no "
            "sample_weight: on weighted rows it would do worse than on random ones. Leave "
            "weights='auto', or use an estimator that takes them."
        )
    if pruner.weights is True:
        return True
    if without or not pruner._hands_weights_on:
        return False
    return wants_weights(proxy.given) if verify is None else "auto"


def targets_wanted(pruner: Any, proxy: Proxy, verify: Verify | None, table: Table) -> str | None:
    """Whether rows may have teacher targets, or must: "auto", "teacher" or None.

    Rows that a network scores have none: they carry its logits, see ``logits_wanted``.

    Raises
    ------
    ValueError
        If they must, but the trained model does not take them, or none is trained.
    """
    if isinstance(proxy, TorchProxy):
        return None
    why_not = None if pruner.targets is None else _no_teaching(pruner, proxy, verify, table)
    if why_not is None or pruner.targets == "auto":
        return pruner.targets if why_not is None else None
    raise ValueError(f"targets={pruner.targets!r} {why_not}; else leave targets=None.")


def logits_wanted(pruner: Any, proxy: Proxy, table: Table) -> bool:
    """Whether the kept rows carry the logits of the network that scored them.

    "auto" takes them where they can be had: networks that are trained from scratch on few rows are
    mostly better for them (benchmarks/field.py).

    Raises
    ------
    ValueError
        If they are asked for, but the network predicts no classes, or nobody would use them.
    """
    if pruner.targets is None or not isinstance(proxy, TorchProxy):
        return False
    if pruner.targets == "auto":
        return table.classes is not None and pruner._hands_targets_on
    if table.classes is None:
        raise ValueError(
            "targets='teacher' gives rows the logits of a network for classes, and here it "
            "predicts numbers or several labels a row; leave targets=None."
        )
    if not pruner._hands_targets_on:
        raise ValueError(
            "targets='teacher' gives rows the logits of a network, teacher_logits_, and what "
            "trains on the kept rows here knows labels alone. Fit the pruner by itself, and train "
            "with skprune.torch.distilled; else leave targets=None."
        )
    return True


def _no_teaching(pruner: Any, proxy: Proxy, verify: Verify | None, table: Table) -> str | None:
    """Why rows cannot have teacher targets, and what to do; None if they can."""
    classes = table.classes is not None
    trained = trained_model(proxy, verify)
    if not isinstance(proxy, BalancedProxy):
        return (
            f"is for models of columns that are not linear, and model={proxy.given!r} is none: "
            "give the boosting, forest or other estimator that you train"
        )
    if not isinstance(verify, Retrain) or isinstance(verify, DefaultBoosting):
        return (
            "has to be judged by the model that is trained, and none is: give model= an estimator "
            "that is not linear, and a budget (max_gap=, without keep=) or verify='retrain'"
        )
    if is_network(trained) or not takes_teaching(trained, classes=classes):
        return (
            f"gives rows several labels with weights, and {type(trained).__name__} takes no "
            "sample_weight, or makes rows of its own: use an estimator whose fit takes them"
            if classes
            else f"replaces y by numbers, and {type(trained).__name__} is no estimator that takes "
            "them: use one, without a sampler that makes rows of its own"
        )
    if not pruner._hands_targets_on:
        return (
            "is not for what trains on the kept rows here, which gets true labels alone: use "
            "PrunedClassifier or PrunedRegressor with an estimator whose fit takes sample_weight"
        )
    return None
