"""One spelling for the parameters of a pruner and of its model, for tests of many of them."""

from __future__ import annotations

from skprune import InfluencePruner, LinearProxy, Retrain, TorchProxy
from skprune.network.torch_model import is_network

OWN = ("layers", "curvature", "loss", "weight_decay", "device", "batch_size", "cache_dir")


def make_pruner(*args, model=None, verify="auto", n_seeds=None, **options):
    """An ``InfluencePruner``, of a head by default; what belongs to the model goes there."""
    own = {name: options.pop(name) for name in OWN if name in options}
    if own:
        model = (TorchProxy if is_network(model) else LinearProxy)(model, **own)
    if model is None:
        model = LinearProxy()
    if n_seeds is not None:
        verify = Retrain(None if verify == "retrain" else verify, n_seeds=n_seeds)
    return InfluencePruner(*args, model=model, verify=verify, **options)


def head_pruner(*args, **options):
    """An ``InfluencePruner`` of the package's own head alone."""
    return InfluencePruner(*args, model=LinearProxy(), **options)
