"""What skprune uses of scikit-learn's private interface: the only module that imports it."""

from sklearn.utils import _safe_indexing as safe_indexing
from sklearn.utils._metadata_requests import RequestMethod
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils._param_validation import validate_parameter_constraints as validate_parameters
from sklearn.utils.metaestimators import _safe_split as safe_split
from sklearn.utils.validation import _check_sample_weight as check_sample_weight
from sklearn.utils.validation import _num_samples as num_samples

__all__ = [
    "HasMethods",
    "Interval",
    "RequestMethod",
    "StrOptions",
    "check_sample_weight",
    "num_samples",
    "safe_indexing",
    "safe_split",
    "validate_parameters",
]
