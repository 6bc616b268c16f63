"""A pruner as a step of imbalanced-learn's Pipeline."""

from __future__ import annotations

from typing import Any, ClassVar

from sklearn.base import BaseEstimator, clone
from sklearn.utils import get_tags

from skprune.compose.base import HasPruner
from skprune.utils.sklearn_private import HasMethods, RequestMethod


class PruningSampler(HasPruner, BaseEstimator):
    """A pruner as a sampler: a step of imbalanced-learn's Pipeline.

    That Pipeline treats classes with ``fit_transform``, such as all pruners, as transformers; a
    sampler has ``fit_resample`` and neither ``fit_transform`` nor ``transform``. It prunes while
    the Pipeline is fitted and is skipped in predictions.

    Parameters
    ----------
    pruner : pruner, default=None
        Cloned and fitted in ``fit_resample``; None is ``InfluencePruner()``. To search its
        parameters (``pruningsampler__pruner__keep``), pass it.

    Attributes
    ----------
    pruner_ : pruner, fitted
        Its ``rows_`` (with the score, the weight and whether it was kept, for every row),
        ``removed_indices_`` and ``report_`` say what became of the rows.
    sample_indices_ : ndarray of shape (n_kept,), positions of the kept rows, sorted
    n_features_in_ : int
    feature_names_in_ : ndarray of shape (n_features,), if the columns have names

    Notes
    -----
    imbalanced-learn's Pipeline gives its last step the metadata of *all* rows, and rows keep their
    labels. With ``sample_weight``, or a pruner with ``targets``, use ``PrunedClassifier`` or
    ``PrunedRegressor``.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skprune import InfluencePruner, PruningSampler
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> X_kept, y_kept = PruningSampler(InfluencePruner(keep=0.3)).fit_resample(X, y)
    >>> X_kept.shape
    (171, 30)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "pruner": [None, HasMethods(["fit", "take"])],
    }

    def __init__(self, pruner: Any = None) -> None:
        self.pruner = pruner

    def fit(self, X: Any, y: Any, **fit_params: Any) -> PruningSampler:
        """Decide which rows to keep; ``fit_params`` are passed to the pruner."""
        self._validate_params()
        pruner = clone(self._unfitted_pruner())
        pruner._hands_targets_on = False
        self.pruner_ = pruner.fit(X, y, **fit_params)
        return self

    def fit_resample(
        self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None
    ) -> tuple[Any, Any]:
        """Decide which rows to keep, and take them.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix or tensor with n rows
        y : array-like of shape (n,)
        sample_weight, groups : array-like of shape (n,), optional
            Passed to the pruner.

        Returns
        -------
        X_kept, y_kept
            In containers of the given kinds.
        """
        given = {"sample_weight": sample_weight, "groups": groups}
        self.fit(X, y, **{name: value for name, value in given.items() if value is not None})
        X_kept, y_kept = self.pruner_.take(X, y)
        return X_kept, y_kept

    def set_fit_resample_request(self, **requests: bool | str | None) -> PruningSampler:
        """Request ``sample_weight`` or ``groups`` in ``fit_resample``, as in ``set_fit_request``.

        imbalanced-learn adds this method only to classes that are defined after its import.
        """
        try:
            import imblearn.base  # noqa: F401 - the import registers fit_resample
        except ImportError as error:
            raise ImportError(
                "Metadata of fit_resample are routed by imbalanced-learn's Pipeline, which is not "
                "installed: pip install skprune[imblearn]"
            ) from error
        method = RequestMethod("fit_resample", ["groups", "sample_weight"])
        sampler: PruningSampler = method.__get__(self, type(self))(**requests)
        return sampler

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        pruner = get_tags(self._unfitted_pruner())
        tags.target_tags.required = True
        tags.input_tags.sparse = pruner.input_tags.sparse
        tags.input_tags.allow_nan = pruner.input_tags.allow_nan
        tags.non_deterministic = pruner.non_deterministic
        tags.no_validation = pruner.no_validation
        return tags
