"""skprune: the smallest subset of the training rows with a constrained generalisation gap."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from skprune.utils.exceptions import PruningWarning
from skprune.version import __version__

if TYPE_CHECKING:
    from skprune import subset
    from skprune.baselines.comparison import compare
    from skprune.compose import PrunedClassifier, PrunedRegressor, PruningSampler
    from skprune.data.sources import PrunedSubset
    from skprune.proxies.linear import LinearProxy
    from skprune.proxies.torch_proxy import TorchProxy
    from skprune.proxies.verify import Certify, Retrain
    from skprune.pruner import InfluencePruner
    from skprune.results.calibration import GapCalibrationDisplay
    from skprune.results.display import PruningCurveDisplay
    from skprune.results.kept_rows import KeptRowsDisplay
    from skprune.search_cv import PrunedSearchCV

__all__ = [
    "Certify",
    "GapCalibrationDisplay",
    "InfluencePruner",
    "KeptRowsDisplay",
    "LinearProxy",
    "PrunedClassifier",
    "PrunedRegressor",
    "PrunedSearchCV",
    "PrunedSubset",
    "PruningCurveDisplay",
    "PruningSampler",
    "PruningWarning",
    "Retrain",
    "TorchProxy",
    "__version__",
    "compare",
    "subset",
]

# torch and scikit-learn take seconds to import: every name is fetched when it is first asked for.
_HOMES = {
    "Certify": "skprune.proxies.verify",
    "InfluencePruner": "skprune.pruner",
    "LinearProxy": "skprune.proxies.linear",
    "Retrain": "skprune.proxies.verify",
    "TorchProxy": "skprune.proxies.torch_proxy",
    "PrunedClassifier": "skprune.compose",
    "PrunedRegressor": "skprune.compose",
    "PrunedSearchCV": "skprune.search_cv",
    "PrunedSubset": "skprune.data.sources",
    "GapCalibrationDisplay": "skprune.results.calibration",
    "KeptRowsDisplay": "skprune.results.kept_rows",
    "PruningCurveDisplay": "skprune.results.display",
    "PruningSampler": "skprune.compose",
    "compare": "skprune.baselines.comparison",
}


def __getattr__(name: str) -> Any:
    if name in ("subset", "torch"):
        return import_module(f"skprune.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = globals()[name] = getattr(import_module(_HOMES[name]), name)
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
