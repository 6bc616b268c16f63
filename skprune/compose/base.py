"""What estimators around a pruner share."""

from __future__ import annotations

from inspect import Parameter, signature
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

from skprune.base import FittedAttributes
from skprune.heads.linear_spec import weight_name
from skprune.heads.weighting import takes_teaching
from skprune.proxies.shorthands import unwrapped
from skprune.pruner import InfluencePruner
from skprune.utils.documented import Documented


class HasPruner(FittedAttributes, Documented):
    """The base of the three classes: a pruner, and its fitted attributes."""

    pruner: Any
    pruner_: Any

    @property
    def sample_indices_(self) -> NDArray[np.int64]:
        """Positions of the rows that were kept, sorted."""
        return self.pruner_.sample_indices_

    @property
    def n_features_in_(self) -> int:
        """Number of columns of X."""
        return self.pruner_.n_features_in_

    @property
    def feature_names_in_(self) -> NDArray[Any]:
        """Names of the columns of X, if they have names."""
        return self.pruner_.feature_names_in_

    def _unfitted_pruner(self) -> Any:
        return InfluencePruner() if self.pruner is None else self.pruner


def hands_targets_on(pruner: Any, estimator: Any, *, numbers: bool) -> bool:
    """Whether teacher targets of the pruner, if there are any, can be handed to the estimator."""
    from skprune.network.torch_model import is_network  # torch comes with the first fit

    by_network = is_network(unwrapped(getattr(pruner, "model", None)))  # which gives logits
    return takes_teaching(estimator, classes=not numbers) and not by_network


def share_out(
    params: dict[str, Any], pruner: Any, estimator: Any
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Divide ``params`` between the pruner's and the estimator's ``fit``."""
    of_pruner, of_estimator = (signature(e.fit).parameters for e in (pruner, estimator))
    takes_any = any(p.kind is Parameter.VAR_KEYWORD for p in of_estimator.values())
    for_pruner, for_estimator = {}, {}
    for name, value in params.items():
        if name in of_pruner:
            for_pruner[name] = value
        for_both = name == "sample_weight"
        own = weight_name(estimator) if for_both and isinstance(estimator, Pipeline) else name
        wanted = takes_any and (for_both or name not in of_pruner)
        if own is not None and (own in of_estimator or wanted):
            for_estimator[own] = value
        elif for_both or name not in of_pruner:
            raise TypeError(
                f"{type(estimator).__name__}.fit takes no {name!r}: leave it out, use an estimator "
                "that takes it, or enable scikit-learn's metadata routing to send it to the "
                "pruner only."
            )
    return for_pruner, for_estimator
