"""InfluencePruner: the smallest subset of the rows on which a model loses at most ``max_gap``."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from skprune.base import BasePruner
from skprune.proxies.memory import says_what_fits
from skprune.proxies.shorthands import unwrapped
from skprune.proxies.verify import Verify
from skprune.utils.exceptions import warn_user
from skprune.utils.size import KEEP_CONSTRAINTS
from skprune.utils.sklearn_private import HasMethods, Interval, StrOptions

if TYPE_CHECKING:
    from skprune.cost.model import CostEstimate
    from skprune.influence.leave_out import GroupInfluence
    from skprune.results.bounds import PredictionBounds
    from skprune.results.gap import Gap
    from skprune.results.recheck import Recheck
    from skprune.results.report import PruningReport


class InfluencePruner(BasePruner):
    """Keep the fewest rows on which retraining costs at most ``max_gap``.

    Rows are chosen by a proxy: a convex head (the linear model given as ``model``, or the last
    layer of a torch network), such a head together with a small forest (for all other models of
    columns), or all layers of a network. They are chosen so that the influence vectors of the
    removed rows cancel, because then the optimum on the kept rows is the optimum on all rows. The
    number of rows is found by fitting the model anew on kept rows and measuring its loss on
    held-out rows.

    Parameters
    ----------
    max_gap : float, default=0.01
        Allowed gap, score on all rows minus score on the kept rows, in the unit of ``scoring``.
        The measured gap *plus its standard error* must be within it.
    keep : float in (0, 1], int or None, default=None
        Share (float) or number (int) of rows to keep. If given, ``max_gap`` is not used: the best
        subset of that size is chosen, and its gap measured and reported.
    model : None, "softmax", "ridge", classifier, regressor, Pipeline, torch model, LinearProxy or \
            TorchProxy, default=None
        The model that will be trained on the kept rows, whose gap is measured. With None the rows
        are for any model, and the gaps of both a linear head and a gradient boosting must be within
        the budget. "softmax" is a head for classes and "ridge" one for numbers, on standardised
        columns, with a ridge penalty of 1e-3 per row (whole numbers are classes if they have at
        most 30 values or are integer codes 0, 1, 2, ...; ``LinearProxy()`` chooses by y).
        For a ``LogisticRegression``, ``RidgeClassifier``, ``Ridge``, ``LinearRegression``,
        ``SGDClassifier(loss="log_loss")`` or ``SGDRegressor``, or a Pipeline that ends in one, the
        penalty and its scaling with the number of rows are read from the model, and rows are chosen
        in its own metric; the whole Pipeline is fitted on the kept rows. For any other classifier
        or regressor, rows are chosen that serve heads and trees, and the model is trained on them
        to decide on a budget. If random rows do as well for it, those are kept, and the report says
        so. Let encoders ignore unknown categories.
        Torch models are a trained ``nn.Module``, a list of them, a skorch net, or a callable
        ``train(dataset, seed) -> nn.Module``. Options, such as ``layers="all"`` or a curvature, go
        into ``TorchProxy(net, ...)`` and ``LinearProxy(estimator, ...)``; estimators and networks
        are shorthands for them.
    scoring : str or callable, default="loss"
        "loss" is cross-entropy in nats (the error rate of a classifier without ``predict_proba``),
        or squared error in units of the variance of y, with the model's own ``class_weight``. Any
        scikit-learn scorer can be given; it counts all held-out rows equally, whatever their
        weights.
    weights : "auto" or bool, default="auto"
        Whether kept rows get weights, ``sample_weight_``, by which each stands for several rows.
        Hard rows are then kept more often and weigh less, which is best for boosting. Rows for a
        linear model or a network get none, whatever is asked. "auto" gives weights only if they are
        passed on to the model (``PrunedClassifier``, ``PrunedRegressor``, ``PrunedSearchCV``) and
        it loses less with them. With True, always train on the kept rows with ``sample_weight_``.
    targets : {None, "teacher", "auto"}, default=None
        The targets on which models are trained on the kept rows. None means their own y. "teacher"
        means out-of-fold predictions of a gradient boosting, the pilot: numbers, or class
        probabilities, for which a row is repeated with every class and its weight is divided.
        "auto" tries both on a tenth of the rows and takes the targets with which the model loses
        less; the report gives the gain. Teacher targets help most if labels are noisy, and harm if
        they are clean. The pilot takes the time of two trainings, and it uses all rows. They are
        for models that are not linear and are trained by the pruner; otherwise "auto" is None. With
        a torch network for classes, "teacher" and "auto" hand out its own predictions,
        ``teacher_logits_``, for you to train with: ``gap_`` is then that of training with labels.
        Gaps are always measured on true labels, and the returned rows have true labels:
        ``PrunedClassifier`` and ``PrunedRegressor`` train on ``teacher_targets_``, and so must you.
    solver : {"auto", "swap", "anneal", "relax", "balance"}, default="auto"
        The search for a subset: batched one-swap search ("auto" and "swap"), the paper's simulated
        annealing, its convex relaxation followed by swaps, or one pass in blocks.
    sampling : {"uniform", "loss", "el2n"} or array-like of shape (n_rows,), default="uniform"
        Initial sampling weights: the odds of a row to be in the subset at which the search starts.
        "uniform" draws uniformly within each class, which is the safe choice if another model is
        trained on the kept rows. "loss" (the square root of a row's loss) and "el2n" (the norm of
        its error p - y) prefer hard rows, which is right only if the head itself is trained.
    verify : {"auto", "refit", "retrain", "certify", None}, estimator, callable, Retrain or \
            Certify, default="auto"
        How gaps are measured. "refit" fits the head anew, and None only predicts by one Newton
        step. "retrain" trains ``model`` anew on the kept rows. An estimator, a skorch net or a
        callable ``train(dataset, seed)`` is trained in its place, and
        ``Retrain(estimator, n_seeds=)`` sets the number of trainings. "certify", or
        ``Certify(estimator, confidence=)``, also certifies the result on rows that are used for
        nothing else: ``X_val``, or a third part of the rows; if ``model`` cannot be trained, it is
        the head that is certified. "auto" is "refit" if the head is the whole model, one retraining
        if it is not (Pipelines; for a budget, all that is not linear), and None for whole networks.
    min_per_class : int, default=1
        The fewest rows that every class keeps (or all it has). For torch models classes also keep
        their shares, unless ``sampling`` is given, as more than a head may be trained on them; with
        the default ``solver`` easy and hard rows of a class keep theirs for a last layer.
    validation_fraction : float, default=0.2
        Share of the rows that is held out while the size is found, if ``fit`` has no ``X_val``. The
        same share of all rows is then kept as of the others. The gap of a linear model on the final
        rows is measured on all rows. For any other model with a budget as many other rows are held
        out: the model is trained on the same share of the remaining rows, and measured on rows that
        had no part in the search. Rows of a fixed number are measured on the held-out rows.
    random_state : int, RandomState instance or None, default=None
        None derives the seed from y, so that the same data gives the same rows.
    n_jobs : int or None, default=None
        Number of threads for products with the rows. None means one thread for small tables and
        torch's own number for others.
    verbose : int or "auto", default="auto"
        Whether to show progress on stderr. 0 shows nothing, and 1 shows it at once. "auto" shows it
        after 5 s at a terminal or in a notebook, but never in files or in worker processes. For
        other layers than the head, the expected duration is shown at the beginning.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,), int64
        Positions of the rows that are kept, sorted.
    keep_mask_ : ndarray of shape (n_rows,), bool
        True where a row is kept.
    removed_indices_ : ndarray of shape (n_rows - n_kept,), int64
        Positions of the other rows, sorted.
    rows_ : pandas.DataFrame
        A line for every row: its label and position, target, score, whether it is kept, and its
        weight. It is made when it is asked for.
    scores_ : ndarray of shape (n_rows,)
        Predicted change of the mean held-out loss if that row alone is removed (unit of
        ``scoring="loss"``). It is positive if the row helps. A row that was itself held out is
        scored on the other held-out rows.
    sample_weight_ : ndarray of shape (n_kept,) or None
        Weights of the kept rows: the inverse of the probability to be kept, times the row's
        ``sample_weight``. They sum to the number of all rows if no weights were given. None if
        rows keep their own weights.
    teacher_targets_ : ndarray of shape (n_kept,) or (n_kept, n_classes), or None
        Teacher targets of the kept rows, with which ``gap_`` was measured: numbers, or
        probabilities of ``classes_``. None if rows keep their labels.
    teacher_logits_ : ndarray of shape (n_kept, n_outputs), float16, or None
        With ``targets="teacher"`` or "auto", the logits of the network that scored the rows (of
        several, their mean) for the kept rows. They are not out of fold: the network has seen the
        rows that it was trained on. ``skprune.torch.distilled`` is a loss for them.
    gap_ : Gap
        The gap of the rows in ``sample_indices_``: a float with its standard error, the rows it
        was measured on, and its level ("predicted", "refit" or "retrained").
    path_ : dict of ndarray
        All sizes that were tried: ``n_kept``, ``share``, ``predicted_gap``, ``refit_gap``,
        ``retrained_gap``, ``standard_error``, ``random_gap``, ``allowed``, ``seconds``. ``n_kept``
        counts rows that are not held out; ``share`` applies to all rows.
    report_ : PruningReport
        The result in words and numbers; it prints, shows as a page in notebooks, and can be saved.
    subset_ : dataset
        After ``fit(dataset)``: a torch ``Subset`` of the kept rows, or a Hugging Face dataset.
    classes_ : ndarray of shape (n_classes,)
        Labels, for classification only.
    n_features_in_ : int
        Number of columns of a table; torch models need have none.
    feature_names_in_ : ndarray of shape (n_features,)
        Names of the columns, if they have names.

    See Also
    --------
    PrunedClassifier, PrunedRegressor : Prune the training rows of any estimator.
    PruningSampler : A step of imbalanced-learn's Pipeline.

    Notes
    -----
    With a_i the gradient of row i at the optimum (and its share of a per-row penalty) and H the
    Hessian, removing a set T moves the optimum by about H^-1 sum_T a_i. The subset minimises
    the Newton decrement (sum_T a_i)' H^-1 (sum_T a_i). The method follows [1]_, with corrections
    that the theory page explains.

    References
    ----------
    .. [1] Yang et al., "Dataset Pruning: Reducing Training Data by Examining Generalization
       Influence", ICLR 2023.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skprune import InfluencePruner
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pruner = InfluencePruner(keep=0.5)
    >>> X_kept, y_kept = pruner.fit_transform(X, y)
    >>> X_kept.shape
    (284, 30)
    >>> pruner.gap_.level
    'refit'
    """

    scores_: NDArray[np.float64]
    teacher_targets_: NDArray[np.float64] | None
    teacher_logits_: NDArray[np.float16] | None
    gap_: Gap
    path_: dict[str, NDArray[Any]]
    report_: PruningReport
    classes_: NDArray[Any]
    _proxy: Any
    _dataset: Any

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "max_gap": [Interval(numbers.Real, 0, None, closed="neither")],
        "keep": [None, *KEEP_CONSTRAINTS],
        "model": "no_validation",
        "scoring": [str, callable],
        "weights": [StrOptions({"auto"}), "boolean"],
        "targets": [None, StrOptions({"teacher", "auto"})],
        "solver": [StrOptions({"auto", "swap", "anneal", "relax", "balance"})],
        "sampling": [StrOptions({"uniform", "loss", "el2n"}), "array-like"],
        "verify": [
            None,
            StrOptions({"auto", "refit", "retrain", "certify"}),
            Verify,
            HasMethods(["fit"]),
            callable,
        ],
        "min_per_class": [Interval(numbers.Integral, 0, None, closed="left")],
        "validation_fraction": [Interval(numbers.Real, 0, 1, closed="neither")],
        "random_state": ["random_state"],
        "n_jobs": [None, numbers.Integral],
        "verbose": ["verbose", StrOptions({"auto"})],
    }

    def __init__(
        self,
        max_gap: float = 0.01,
        *,
        keep: float | int | None = None,
        model: Any = None,
        scoring: str | Callable[..., float] = "loss",
        weights: str | bool = "auto",
        targets: str | None = None,
        solver: str = "auto",
        sampling: Any = "uniform",
        verify: Any = "auto",
        min_per_class: int = 1,
        validation_fraction: float = 0.2,
        random_state: Any = None,
        n_jobs: int | None = None,
        verbose: int | str = "auto",
    ) -> None:
        self.max_gap = max_gap
        self.keep = keep
        self.model = model
        self.scoring = scoring
        self.weights = weights
        self.targets = targets
        self.solver = solver
        self.sampling = sampling
        self.verify = verify
        self.min_per_class = min_per_class
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.n_jobs = n_jobs
        self.verbose = verbose

    @says_what_fits
    def fit(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        X_val: Any = None,
        y_val: Any = None,
        groups: Any = None,
    ) -> InfluencePruner:
        """Fit the proxy to the rows and decide which to keep.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix or tensor with n rows
            Blocks of rows (images) are flattened for a head on columns. A frame may hold words,
            categories, dates and missing values: they are encoded for the package's own heads, and
            models that are trained on the rows get them unchanged. For torch models X may also be a
            dict or tuple of arrays, a torch ``Dataset`` or ``DataLoader`` (whose dataset is used,
            in its own order), or a Hugging Face dataset.
        y : array-like of shape (n,)
            Labels, or numbers for regression; (n, L) for several outputs of a torch model. A
            dataset may hold its own.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows in the objective. Kept rows keep their weights, and rows of weight 0
            are not kept.
        X_val, y_val : optional
            Rows to measure the gap on; without them a share of X is held out.
        groups : array-like of shape (n,), optional
            Rows of one group are held out together.

        Returns
        -------
        InfluencePruner
            self

        Raises
        ------
        ValueError
            For invalid parameters, rows or targets; the message says which.
        TypeError
            If ``model`` is not a supported one.
        """
        self._validate_params()
        from skprune.data.sources import is_dataset  # torch comes with the first fit
        from skprune.proxies.driver import prune

        found, table = prune(self, X, y, sample_weight, X_val, y_val, groups)
        self._dataset = X if is_dataset(X) else None
        self._proxy = found.proxy
        self._keep(found.kept, len(table), found.weights)
        self._given = (X, y, sample_weight)
        self.teacher_targets_ = None if found.targets is None else found.targets.values
        self.teacher_logits_ = found.logits
        if table.classes is not None:
            self.classes_ = table.classes
        elif hasattr(self, "classes_"):  # of an earlier fit
            del self.classes_
        self.scores_, self.gap_, self.path_ = found.scores, found.gap, found.path
        self.report_ = found.report
        unmet = () if found.report.met else (found.report.status,)
        for doubt in (*found.report.doubts, *unmet):  # for users who do not read the report
            warn_user(doubt)
        return self

    @property
    def subset_(self) -> Any:
        """The kept rows of the dataset that was fitted, as a dataset of its kind."""
        check_is_fitted(self)
        if self._dataset is None:
            raise AttributeError(
                "subset_ exists after fit(dataset), and is not pickled with the pruner; otherwise "
                "use take(dataset), or fit_transform(X, y) for arrays."
            )
        return self.take(self._dataset)

    def estimate_cost(self, X: Any, y: Any = None) -> CostEstimate:
        """Estimate the cost of ``fit``, from the shapes of the rows and a probe of the machine.

        Trainings (by ``verify="retrain"``, or of an untrained model) are not included.

        Parameters
        ----------
        X, y : as in ``fit``

        Returns
        -------
        CostEstimate
            Seconds of every step, and bytes, accurate to a factor of about three.

        Examples
        --------
        >>> import numpy as np
        >>> from skprune import InfluencePruner
        >>> X = np.random.default_rng(0).normal(size=(1000, 20))
        >>> InfluencePruner().estimate_cost(X, X[:, 0] > 0).bytes > 0
        True
        """
        self._validate_params()
        from skprune.proxies.estimate import estimate_cost

        return estimate_cost(self, X, y)

    def group_influence(self, rows: Any) -> GroupInfluence:
        """Predict the effect of removing a set of rows, without retraining.

        Parameters
        ----------
        rows : array-like of int, or mask of shape (n_rows,)
            The rows to *remove*.

        Returns
        -------
        GroupInfluence
            ``influence`` (influence function) and ``newton`` (Newton step on the kept rows), each
            with the change of ``parameters``, mean ``predictions`` and ``loss`` on the held-out
            rows. Without ``X_val`` these are some of the fitted rows. For a list of networks
            predictions and loss are means, and the changes of parameters are concatenated.

        Raises
        ------
        ValueError
            If the rows are not rows of the fitted table, or are all of them.
        """
        check_is_fitted(self)
        self._needs_rows("group_influence")
        from skprune.data.table import read_removed

        removed = read_removed(rows, len(self.keep_mask_))[self._proxy.table.positions]
        if removed.all():
            raise ValueError("these are all rows that have a weight; leave out fewer.")
        return self._proxy.leave_out(removed)

    def recheck(self, X_new: Any, y_new: Any = None, *, certify: bool = False) -> Recheck:
        """Check on new rows whether the kept rows still do as well as all rows.

        The model is trained on all fitted rows and on the kept ones, as often as ``verify`` says
        or once, and the two are compared on the new rows. If the only model is the pruner's own
        head, or a trained network, then the head is fitted.

        Parameters
        ----------
        X_new, y_new
            Rows that were not used so far, in the form of ``X_val`` and ``y_val`` of ``fit``.
            Copies of fitted rows among them are left out.
        certify : bool, default=False
            Whether the gap is to be certified, see ``Certify``.

        Returns
        -------
        Recheck
            The ``gap``, its ``interval``, and ``holds``, which is None if there are too few rows to
            tell. It prints as a sentence.

        Examples
        --------
        >>> from sklearn.datasets import make_classification
        >>> from sklearn.linear_model import LogisticRegression
        >>> from skprune import InfluencePruner
        >>> X, y = make_classification(4000, random_state=0)
        >>> pruner = InfluencePruner(model=LogisticRegression()).fit(X[:2000], y[:2000])
        >>> pruner.recheck(X[2000:], y[2000:]).holds
        True
        """
        check_is_fitted(self)
        self._needs_rows("recheck")
        from skprune.proxies.recheck import recheck

        return recheck(self, self._given, X_new, y_new, certify)

    def prediction_bounds(self, X: Any, y: Any = None) -> PredictionBounds:
        """Bounds of what the head of the kept rows says of any rows.

        For linear models, ``LinearProxy()`` and the last layer of a network: the objective on the
        kept rows is convex and its curvature changes no faster than is known, so that its optimum
        surely lies in a ball around where a Newton step or a few end (exactly there, for squared
        errors). No row has to be held out for that. If the condition for it fails, nothing is
        sure, and the status says what to do.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix, tensor or dataset
            Rows of the kind that was fitted, from anywhere.
        y : array-like of shape (n,), optional
            Their targets, for bounds of the loss gap.

        Returns
        -------
        PredictionBounds

        Raises
        ------
        ValueError
            If the rows were chosen for a model that is no head.

        Examples
        --------
        >>> from sklearn.datasets import load_breast_cancer
        >>> from skprune import InfluencePruner, LinearProxy
        >>> X, y = load_breast_cancer(return_X_y=True)
        >>> pruner = InfluencePruner(keep=0.8, model=LinearProxy(), random_state=0).fit(X, y)
        >>> bounds = pruner.prediction_bounds(X, y)
        >>> bounds.holds, bool((bounds.low < bounds.high).all())
        (True, True)
        """
        check_is_fitted(self)
        self._needs_rows("prediction_bounds")
        from skprune.proxies.bounds import prediction_bounds

        return prediction_bounds(self, self._given, X, y)

    def _needs_rows(self, what: str) -> None:
        """Refuse what takes the training rows, if they are gone."""
        if self._given is None:
            raise ValueError(
                f"{what} needs the training rows, which are not pickled with the pruner; fit it "
                "again in this process."
            )

    def _check_features(self, X: Any) -> None:
        from skprune.heads.reading import check_features
        from skprune.network.torch_model import is_network

        model = unwrapped(self.model)
        if is_network(model):  # its rows are images, token ids ... as often as columns
            return
        check_features(self, X, model)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        for name in ("_proxy", "_dataset"):
            if name in state:
                state = {**state, name: None}
        return state
