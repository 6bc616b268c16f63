"""A linear model of the columns as a proxy."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

from skprune.proxies.base import FittedProxy, Proxy, Reading, check_curvature

if TYPE_CHECKING:
    from skprune.data.table import Split
    from skprune.heads.encoding import HeadEncoder
    from skprune.proxies.head import FittedHead
    from skprune.utils.progress import Progress


class LinearProxy(Proxy):
    """A linear model of the columns: a convex head, for which the theory is exact.

    Parameters
    ----------
    estimator : None, "softmax", "ridge", or scikit-learn classifier, regressor or Pipeline, \
            default=None
        As ``model`` of ``InfluencePruner``. For None, and for a model that is not linear, the
        package's own softmax or ridge head chooses the rows.
    curvature : {"auto", "dense", "ekfac", "diagonal"}, default="auto"
        The Hessian of the head: exact, in its Kronecker-factored eigenbasis, or its diagonal.
        "auto" takes the first that is affordable for the number of parameters.
    device : str or torch.device, default="auto"
        Device of the computations. "auto" is CUDA if it is available and there are enough rows.

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

    def check(self) -> None:
        from skprune.network.torch_model import is_network

        super().check()
        if is_network(self.estimator):
            raise ValueError(
                f"LinearProxy takes an estimator on columns; got {self.estimator!r}, a torch "
                "model: give it to TorchProxy."
            )
        check_curvature(self.curvature, head=True)

    def encoder(self, reading: Reading, seed: int, progress: Progress) -> HeadEncoder:
        from skprune.heads.encoding import HeadEncoder

        return HeadEncoder(reading.subject, reading.table.classes, seed)

    def fit(
        self, reading: Reading, split: Split, scoring: Any, seed: int, progress: Progress
    ) -> FittedProxy:
        return self._fit_head(reading, split, scoring, seed, progress)

    def _fit_head(
        self, reading: Reading, split: Split, scoring: Any, seed: int, progress: Progress
    ) -> FittedHead:
        from skprune.proxies.head import fit_head_proxy

        encoder = self.encoder(reading, seed, progress)
        return fit_head_proxy(encoder, split, scoring, self.curvature, self.device, progress)


class BalancedProxy(LinearProxy):
    """A head and a small forest, for rows that serve linear models, trees and others.

    A ``model`` that is None or not linear is a shorthand for it. The sums of the whitened
    gradients of a head are balanced together with the counts of rows and classes (or the sums of
    the target) in the leaves of a small forest.

    Parameters
    ----------
    estimator : None, or scikit-learn classifier, regressor or Pipeline, default=None
        The model that will be trained, whose gap must be within the budget. With None it is
        unknown, and the gaps of both a head and a gradient boosting must be.
    curvature, device
        As in ``LinearProxy``.
    """

    def fit(
        self, reading: Reading, split: Split, scoring: Any, seed: int, progress: Progress
    ) -> FittedProxy:
        from skprune.proxies.balanced import FittedBalanced

        head = self._fit_head(reading, split, scoring, seed, progress)
        return FittedBalanced(head, seed, split.units)
