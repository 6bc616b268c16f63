"""A torch network as a proxy: its last layer as a head, or all its layers."""

from __future__ import annotations

import numbers
import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

from skprune.proxies.base import FittedProxy, Proxy, Reading, check_curvature
from skprune.utils.sklearn_private import Interval, StrOptions

if TYPE_CHECKING:
    from skprune.data.table import Split
    from skprune.heads.encoding import HeadEncoder
    from skprune.search.request import Outcome
    from skprune.utils.progress import Progress


class TorchProxy(Proxy):
    """A torch network: its last layer as a convex head, or the gradients of all its layers.

    Parameters
    ----------
    net : nn.Module, skorch net, callable ``train(dataset, seed) -> nn.Module``, or list of modules
        A trained module is not changed. A callable, and a net that is not fitted, is trained on the
        rows that are not held out. A list of trained modules (checkpoints, or several seeds; not
        for ``layers="head"``) is used as an ensemble, over whose members effects are averaged.
    layers : "head", "all" or list of str or nn.Module, default="head"
        The layers whose gradients are used. "head" is the last linear layer; its optimum is found
        first, so that the theory is exact. "all" are all parameters that are trained, and a list
        names layers or parameters. Without retraining, the gap of other layers than the head is
        only predicted, and ``keep`` must be given.
    curvature : {"auto", "dense", "ekfac", "kfac", "diagonal", "lowrank", "hessian", "cg", \
            "lissa"}, default="auto"
        The approximation of the Hessian. A head has "dense", "ekfac" and "diagonal", as in
        ``LinearProxy``. For layers "dense" is the Gauss-Newton matrix. "cg" and "lissa" have no
        matrix root, so rows are chosen by "ekfac" and only gaps are predicted by them. "auto" takes
        the most exact one that is affordable.
    loss : nn.Module or callable, default=None
        The loss that the network was trained with: ``nn.CrossEntropyLoss`` (with label smoothing
        and class weights), ``nn.NLLLoss``, ``nn.BCEWithLogitsLoss``, ``nn.BCELoss``,
        ``nn.MSELoss``, or ``loss(outputs, targets)`` with one value for each row (not for
        ``layers="head"``). The classes of these modules, and torch's functions of the same names,
        mean their defaults. None takes the criterion of a skorch net, or decides by the targets.
    weight_decay : float, default=None
        lam of the penalty lam/2 theta'theta, which is added to the mean loss. None takes that of a
        skorch net's optimizer. Otherwise a head is penalised like the package's own heads, by 1e-3
        on features of unit spread, and other layers are not penalised.
    device : str or torch.device, default="auto"
        Device of the network and the computations. "auto" is CUDA if it is available and there are
        enough rows.
    batch_size : int or "auto", default="auto"
        Number of rows that go through the network together; it is halved if memory runs out.
    cache_dir : str or path-like, default=None
        Folder in which features, or the factors of the layers' curvature, are stored for other
        processes, by the content of rows and network. If an extraction of features is killed, the
        next one continues where it stopped.

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
        "curvature": [str],  # one that is registered: see check_curvature
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

    @property
    def is_head(self) -> bool:
        """Whether only the last layer is used."""
        return isinstance(self.layers, str) and self.layers == "head"

    def check(self) -> None:
        from skprune.network.torch_model import is_network

        super().check()
        if not is_network(self.net):
            raise ValueError(
                "TorchProxy takes a trained nn.Module, a list of them, a skorch net or a callable "
                f"train(dataset, seed); got {self.net!r}. For an estimator use LinearProxy."
            )
        check_curvature(self.curvature, head=self.is_head)

    def check_task(self, pruner: Any, *, retrained: bool) -> None:
        """Refuse tasks for which a whole network would have to be trained."""
        if self.is_head:
            return
        if pruner.verify == "refit":
            raise ValueError(
                "verify='refit' fits a head anew; for other layers use verify='retrain', or None."
            )
        if pruner.keep is None and not retrained:
            raise ValueError(
                "Without retraining the gap of a whole network is a prediction, good for comparing "
                "subsets but no ground to choose a size on. Fix the size with keep=..., give "
                "verify='retrain' with a model that can be trained (a skorch net or a callable "
                "train(dataset, seed)), or take the last layer with layers='head'."
            )
        if pruner.scoring != "loss" and not retrained:
            raise ValueError(
                f"scoring={pruner.scoring!r} of a whole network is not predicted, only the loss "
                "is; use scoring='loss', verify='retrain', or layers='head'."
            )

    def read(
        self, pruner: Any, X: Any, y: Any, sample_weight: Any, X_val: Any, y_val: Any
    ) -> Reading:
        from skprune.network.reading import read_rows, read_validation_rows
        from skprune.network.torch_model import Network

        network = Network(self.net, self.loss, self.weight_decay)
        table = read_rows(X, y, sample_weight, network.loss, network.model)
        validation = None
        if X_val is not None or y_val is not None:
            validation = read_validation_rows(X_val, y_val, table, network.loss, network.model)
        return Reading(table, validation, network)

    def encoder(self, reading: Reading, seed: int, progress: Progress) -> HeadEncoder:
        from skprune.network.encoding import NetworkEncoder

        where = (self.device, self.batch_size, seed, self.cache_dir)
        return NetworkEncoder(reading.subject, *where, progress)

    def fit(
        self, reading: Reading, split: Split, scoring: Any, seed: int, progress: Progress
    ) -> FittedProxy:
        from skprune.proxies.head import fit_head_proxy

        encoder = self.encoder(reading, seed, progress)
        return fit_head_proxy(encoder, split, scoring, self.curvature, self.device, progress)

    def search(
        self,
        reading: Reading,
        split: Split,
        scoring: Any,
        seed: int,
        progress: Progress,
        find: Callable[[FittedProxy], Outcome],
    ) -> Outcome:
        """Fit the proxy and search with it, with smaller batches if memory runs out."""
        if self.is_head:
            return super().search(reading, split, scoring, seed, progress, find)
        from skprune.network.batches import first_size, smaller
        from skprune.proxies.layers import FittedLayers, TrainedNetworks, train_networks

        if not isinstance(self.layers, str) and len(self.layers) == 0:
            raise ValueError("layers=[] names no layer; name some, or use layers='all' or 'head'.")
        models, seconds = train_networks(reading.subject, split, self.device, seed, progress)
        about = (self.layers, self.curvature, self.cache_dir, seconds)
        networks = TrainedNetworks(reading.subject, models, *about)
        networks.say_seconds(split.table, seed, progress)
        size = first_size(self.batch_size, models[0].device)
        while True:
            try:
                with networks.frozen():
                    networks.check(split.table.X)
                    return find(FittedLayers(networks, split.train, split, size, progress))
            except (MemoryError, RuntimeError) as error:
                size = smaller(size, error, models[0].device)
