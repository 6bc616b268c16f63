"""Shorthands: estimators, networks and strings in place of proxies and of ``Verify`` objects."""

from __future__ import annotations

from typing import Any

from skprune.proxies.base import Proxy
from skprune.proxies.linear import BalancedProxy, LinearProxy
from skprune.proxies.torch_proxy import TorchProxy
from skprune.proxies.verify import Certify, Retrain, Verify


def as_proxy(model: Any) -> Proxy:
    """The proxy for ``model``, which may be a shorthand."""
    if isinstance(model, Proxy):
        return model
    from skprune.heads.linear_spec import is_head
    from skprune.network.torch_model import is_network  # torch comes with the first fit

    if is_network(model):
        return TorchProxy(model)
    return LinearProxy(model) if is_head(model) else BalancedProxy(model)


def as_verify(verify: Any) -> Verify | None:
    """The ``Verify`` for a shorthand; "auto", "refit" and None are returned unchanged."""
    if isinstance(verify, Verify):
        return verify
    if verify is None or (isinstance(verify, str) and verify in ("auto", "refit")):
        return None
    if isinstance(verify, str):
        return Certify() if verify == "certify" else Retrain()
    return Retrain(verify)


def is_trainable(model: Any) -> bool:
    """Whether ``model`` says how it is trained, as None, names and trained modules do not."""
    from torch import nn

    from skprune.network.torch_model import as_members

    return not (model is None or isinstance(as_members(model)[0], (str, nn.Module)))


def certificate_of_head(verify: Verify | None, proxy: Proxy) -> Certify | None:
    """The certificate that is wanted where nothing but the proxy's head can be fitted anew."""
    if not isinstance(verify, Certify) or verify.trained is not None:
        return None
    is_head = not isinstance(proxy, TorchProxy) or proxy.is_head
    return verify if is_head and not is_trainable(proxy.given) else None


def trained_model(proxy: Proxy, verify: Verify | None) -> Any:
    """The model to train on the kept rows: that of ``verify`` if it has one, or the proxy's."""
    own = None if verify is None else verify.trained
    return proxy.given if own is None else own


def unwrapped(model: Any) -> Any:
    """The estimator, network or name in a proxy or a ``Verify``."""
    if isinstance(model, Verify):
        return model.trained
    return model.given if isinstance(model, Proxy) else model


def name_of_own(proxy: Proxy, *, linear: bool) -> str:
    """The name of what the proxy's own levels fit; ``linear`` if that is the whole model."""
    from skprune.evaluation.retrained.measures import name_of

    given = proxy.given
    if isinstance(proxy, TorchProxy):
        network = name_of(given[0] if isinstance(given, list) else given)
        return f"the last layer of {network}" if proxy.is_head else network
    return name_of(given) if linear and hasattr(given, "fit") else "a linear head"


def name_of_untrained(proxy: Proxy, verify: Verify | None, *, linear: bool) -> str:
    """The name of the caller's model if neither the proxy nor ``verify`` trains it; else empty."""
    from skprune.evaluation.retrained.measures import name_of

    known = hasattr(proxy.given, "fit") and not isinstance(proxy, TorchProxy)
    return name_of(proxy.given) if known and verify is None and not linear else ""
