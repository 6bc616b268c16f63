"""InfluencePruner: the smallest subset of the rows on which a head loses at most ``max_gap``."""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from skprune.base import BasePruner
from skprune.proxies.memory import says_what_fits
from skprune.proxies.shorthands import unwrapped
from skprune.proxies.verify import Verify
from skprune.utils.exceptions import warn_user
from skprune.utils.size import KEEP_CONSTRAINTS

if TYPE_CHECKING:
    from skprune.cost.model import CostEstimate
    from skprune.influence.leave_out import GroupInfluence
    from skprune.results.gap import Gap
    from skprune.results.recheck import Recheck
    from skprune.results.report import PruningReport


class InfluencePruner(BasePruner):
    """Keep the fewest rows on which retraining costs at most ``max_gap``.

    Rows are chosen by a proxy: a convex head (the linear model given as ``model``, or the last
    layer of a torch network), such a head together with a small forest (for all other models of
    columns), or all layers of a network. They are chosen so that the influence vectors of what is
    removed cancel: then the optimum on the kept rows is the optimum on all of them. How many can go
    is found by fitting the model anew on the kept rows, and measuring its loss on rows that took no
    part in it.

    Parameters
    ----------
    max_gap : float, default=0.01
        Allowed gap, score on all rows minus score on the kept rows, in the unit of ``scoring``.
        The measured gap *plus its standard error* stays within it.
    keep : float in (0, 1], int or None, default=None
        Share (float) or number (int) of rows to keep. If given, ``max_gap`` is not used: the best
        subset of that size is chosen, and its gap measured and reported.
    model : None, "softmax", "ridge", classifier, regressor, Pipeline, torch model, LinearProxy or \
            TorchProxy, default=None
        What will be trained on the kept rows; its gap is what is promised. With None, which is for
        whatever comes next, a linear head and a gradient boosting both hold the budget. "softmax"
        is a head for classes alone, "ridge" one for numbers, on standardised columns, with 1e-3 of
        ridge penalty per row (whole numbers are classes if they have at most 30 values or are
        integer codes 0, 1, 2, ...; ``LinearProxy()`` is the head that suits y).
        Of a ``LogisticRegression``, ``RidgeClassifier``, ``Ridge``, ``LinearRegression``,
        ``SGDClassifier(loss="log_loss")`` or ``SGDRegressor``, or a Pipeline that ends in one, the
        penalty and the way it scales with the number of rows are read off, and rows are chosen in
        its own metric; a Pipeline is fitted whole on the kept rows. For any other classifier or
        regressor rows are chosen that serve heads and trees alike, and the model, trained anew on
        them, decides on a budget; where random rows do as well for it, those are kept, and the
        report says so. Let encoders ignore unknown categories.
        Torch models are a trained ``nn.Module``, a list of them, a skorch net, or a callable
        ``train(dataset, seed) -> nn.Module``. Options, such as ``layers="all"`` or a curvature, go
        into ``TorchProxy(net, ...)`` and ``LinearProxy(estimator, ...)``; estimators and networks
        are shorthands for them.
    scoring : str or callable, default="loss"
        "loss": cross-entropy in nats (the error rate of a classifier without ``predict_proba``), or
        squared error in units of the variance of y, with the model's own ``class_weight``. Or any
        scikit-learn scorer, which counts all rows that are measured on alike, whatever their
        weight.
    weights : "auto" or bool, default="auto"
        Whether kept rows may stand for several, in ``sample_weight_``: rows that a model finds hard
        are then kept more often and weigh less, which serves boosting best. Of no use to linear
        models, whose optimum stays where it was without. "auto" gives weights only where they are
        known to reach the model (``PrunedClassifier``, ``PrunedRegressor``, ``PrunedSearchCV``) and
        it loses less with them. With True, train on the kept rows with ``sample_weight_``, never
        without.
    targets : {None, "teacher", "auto"}, default=None
        What the kept rows are trained on. None: their own y. "teacher": what a gradient boosting
        that has not seen the row, the pilot, says of it: numbers, or the chances of the classes,
        for which a row stands once for every class and its weight is shared out. "auto" tries both
        on a tenth of the rows and takes the targets with which the model loses less; the report
        says what they gave. On noisy labels often the strongest lever, on clean ones harmful;
        the pilot takes two trainings, and has seen all rows. For models that are not linear and are
        trained by the pruner; elsewhere "auto" is None. Gaps are of true labels always, as are the
        rows handed out: ``PrunedClassifier`` and ``PrunedRegressor`` train on
        ``teacher_targets_``, others have to.
    solver : {"auto", "swap", "anneal", "relax", "balance"}, default="auto"
        How the subset is searched: batched one-swap search ("auto"), the paper's simulated
        annealing, its convex relaxation followed by swaps, or one pass in blocks.
    sampling : {"uniform", "loss", "el2n"} or array-like of shape (n_rows,), default="uniform"
        Initial sampling weights: the odds of a row to be in the subset that the search starts
        from. "uniform" is so within each class, the safe choice when another model is trained on
        the kept rows. "loss" (the square root of a row's loss) and "el2n" (the norm of its error
        p - y) prefer hard rows: right only where the trained model is the head itself.
    verify : {"auto", "refit", "retrain", "certify", None}, estimator, callable, Retrain or \
            Certify, default="auto"
        How gaps are measured. "refit" fits the head anew, None only predicts by one Newton step.
        "retrain" trains ``model`` anew on the kept rows; an estimator, a skorch net or a callable
        ``train(dataset, seed)`` is trained instead of it, and ``Retrain(estimator, n_seeds=)`` says
        how often. "certify", or ``Certify(estimator, confidence=)``, does the same and certifies
        what it hands out on rows that took part in nothing: ``X_val``, or a third part of the rows.
        "auto" is the first where the head is all of the model, one retraining where it
        is not (Pipelines, and, for a budget, models that are not linear), and None for whole
        networks.
    min_per_class : int, default=1
        Rows that every class keeps at least (or all it has). For torch models classes also keep
        their shares, unless there is a ``prior``: more than a head may be trained on the rows.
    validation_fraction : float, default=0.2
        Rows held out while the size is found, when ``fit`` is given no ``X_val``. As large a share
        of all rows is kept then. For a linear model the gap of these is measured on all rows; any
        other model is trained on those of them that are not held out, and measured on the rest,
        because only rows that it has not seen tell what it has lost.
    random_state : int, RandomState instance or None, default=None
        None derives the seed from y: the same data gives the same rows.
    n_jobs : int or None, default=None
        Threads for the products with the rows. None is one for small tables and torch's own
        number for others.
    verbose : int or "auto", default="auto"
        Progress on stderr: what is being done, how much of how much of it, and the last subset
        that was tried. 0 shows nothing, 1 shows it at once. "auto" shows it by itself to whoever
        waits for more than 5 s at a terminal or in a notebook; nothing goes into files, or comes
        from the workers of a search. For other layers than the head, the time that it should take
        is said before it begins.

    Attributes
    ----------
    sample_indices_ : ndarray of shape (n_kept,), int64
        Positions of the rows that are kept, sorted.
    keep_mask_ : ndarray of shape (n_rows,), bool
        True where a row is kept.
    scores_ : ndarray of shape (n_rows,)
        Predicted change of the mean held-out loss if that row alone is removed (unit of
        ``scoring="loss"``). Positive: the row helps. A row that was itself held out is scored on
        the other held-out rows.
    sample_weight_ : ndarray of shape (n_kept,) or None
        What every kept row counts for: the inverse of the chance that it is kept, which sums to
        the number of all rows, times its ``sample_weight``. None if the rows count as they did.
    teacher_targets_ : ndarray of shape (n_kept,) or (n_kept, n_classes), or None
        With ``targets``: the numbers, or the chances of ``classes_``, that ``gap_`` is of if the
        kept rows carry them in place of their labels. None if the labels stay.
    gap_ : Gap
        The gap of the rows in ``sample_indices_``: a float that knows its standard error, on which
        rows it was measured, and whether it was predicted, refit or retrained.
    path_ : dict of ndarray
        Every size tried: ``n_kept``, ``share``, ``predicted_gap``, ``refit_gap``,
        ``retrained_gap``, ``standard_error``, ``random_gap``, ``allowed``, ``seconds``. Sizes are
        of the trial, in which the held-out rows are not available; ``share`` carries over.
    report_ : PruningReport
        All of this in words; prints, and shows as a table in notebooks.
    subset_ : dataset
        After ``fit(dataset)``: a torch ``Subset`` of the kept rows, or a Hugging Face dataset.
    classes_ : ndarray of shape (n_classes,)
        Labels, for classification only.
    n_features_in_ : int
        Of tables; the rows of torch models need have no columns.
    feature_names_in_ : ndarray of shape (n_features,)
        If the columns have names.

    See Also
    --------
    PrunedClassifier, PrunedRegressor : Prune the training rows of any estimator.
    PruningSampler : A step of imbalanced-learn's Pipeline.

    Notes
    -----
    With a_i the gradient of row i at the optimum (and its share of a per-row penalty) and H the
    Hessian, removing a set T moves the optimum by about H^-1 sum_T a_i. The subset minimises
    the Newton decrement (sum_T a_i)' H^-1 (sum_T a_i). After [1]_, with the corrections of the
    theory page.

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
    gap_: Gap
    path_: dict[str, NDArray[Any]]
    report_: PruningReport
    classes_: NDArray[Any]
    _proxy: Any
    _dataset: Any
    _given: Any

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
        """Examine the rows and decide which to keep.

        Parameters
        ----------
        X : array-like, DataFrame, sparse matrix or tensor with n rows
            Blocks of rows (images) are flattened for the examination by a head on columns. A frame
            may hold words, categories, dates and gaps: for the package's own heads they are
            encoded, and whatever is trained on the rows gets them as they come. For
            torch models also a dict or tuple of arrays, a torch ``Dataset`` or ``DataLoader``
            (its dataset is what counts, in its order), or a Hugging Face dataset.
        y : array-like of shape (n,)
            Labels, or numbers for regression; (n, L) for several outputs of a torch model. A
            dataset may hold its own.
        sample_weight : array-like of shape (n,), optional
            Weights of the rows in the head's objective; kept rows keep theirs, and rows of
            weight 0 are not kept.
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
            For parameters, rows or targets that make no sense; the message says which.
        TypeError
            If ``model`` is not a supported one.
        """
        self._validate_params()
        from skprune.data.sources import is_dataset  # torch comes with the first fit
        from skprune.proxies.driver import prune

        found, table = prune(self, X, y, sample_weight, X_val, y_val, groups)
        self._dataset = X if is_dataset(X) else None
        self._proxy, self._given = found.proxy, (X, y, sample_weight)
        self._keep(found.kept, len(table), found.weights)
        self.teacher_targets_ = None if found.targets is None else found.targets.values
        if table.classes is not None:
            self.classes_ = table.classes
        elif hasattr(self, "classes_"):  # of an earlier fit
            del self.classes_
        self.scores_, self.gap_, self.path_ = found.scores, found.gap, found.path
        self.report_ = found.report
        self._warn()
        return self

    def _warn(self) -> None:
        """Say what a user has to know who does not read the report."""
        report = self.report_
        if report.beaten_by_random:
            warn_user(
                f"Retrained on as many random rows of each class, the model loses less "
                f"({report.random:+.4f}) than on the chosen ones ({self.gap_:+.4f}); take "
                "StratifiedRandom here."
            )
        for problem in report.diagnostics:
            warn_user(problem)
        if not report.met:
            warn_user(report.status)

    @property
    def subset_(self) -> Any:
        """The kept rows of the dataset that was fitted, as a dataset of its kind."""
        check_is_fitted(self)
        if self._dataset is None:
            raise AttributeError(
                "subset_ is there after fit(dataset), but not pickled with the pruner; else use "
                "take(dataset), and for arrays fit_transform(X, y)."
            )
        return self.take(self._dataset)

    def estimate_cost(self, X: Any, y: Any = None) -> CostEstimate:
        """What ``fit`` would take, from the shapes of the rows and a probe of the machine.

        Trainings (``verify="retrain"``, or of a model that is not trained yet) are not counted.

        Parameters
        ----------
        X, y : as in ``fit``

        Returns
        -------
        CostEstimate
            Seconds, step by step, and bytes; right to a factor of about three.

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
        """Predict what removing a set of rows does, without retraining.

        Parameters
        ----------
        rows : array-like of int, or mask of shape (n_rows,)
            The rows to *remove*.

        Returns
        -------
        GroupInfluence
            ``influence`` (influence function) and ``newton`` (Newton step on the kept rows), each
            with the change of ``parameters``, mean ``predictions`` and ``loss`` on the held-out
            rows. Without ``X_val`` those rows are among the fitted ones. Of a list of networks
            the last two are means, and ``parameters`` are those of one after the other.

        Raises
        ------
        ValueError
            If the rows are not rows of the fitted table, or are all of them.
        """
        check_is_fitted(self)
        if self._proxy is None:
            raise ValueError(
                "group_influence needs the training rows, which are not pickled with the pruner; "
                "fit it again in this process."
            )
        from skprune.data.table import read_removed

        removed = read_removed(rows, len(self.keep_mask_))[self._proxy.table.positions]
        if removed.all():
            raise ValueError("these are all rows that have a weight; leave out fewer.")
        return self._proxy.leave_out(removed)

    def recheck(self, X_new: Any, y_new: Any = None, *, certify: bool = False) -> Recheck:
        """Whether the kept rows still do as well as all of them, on rows that came later.

        The model is trained on all fitted rows and on the kept ones, as ``verify`` says or once,
        and the two are compared on the new rows. Where there is no model but the pruner's own head,
        or the head of a trained network, that is fitted.

        Parameters
        ----------
        X_new, y_new
            Rows that took part in nothing, as ``X_val`` and ``y_val`` of ``fit``. Copies of fitted
            rows among them are left out.
        certify : bool, default=False
            Whether the gap is to be certified, see ``Certify``. It takes a model that can be
            trained.

        Returns
        -------
        Recheck
            Prints as a sentence; has the ``gap``, its ``interval``, and ``holds``: True, False, or
            None where these rows do not tell.

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
        if self._given is None:
            raise ValueError(
                "recheck needs the training rows, which are not pickled with the pruner; fit it "
                "again in this process."
            )
        from skprune.proxies.recheck import recheck

        return recheck(self, self._given, X_new, y_new, certify)

    def _check_features(self, X: Any) -> None:
        from skprune.heads.reading import check_features
        from skprune.network.torch_model import is_network

        model = unwrapped(self.model)
        if is_network(model):  # its rows are images, token ids ... as often as columns
            return
        check_features(self, X, model)

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        for name in ("_proxy", "_dataset", "_given"):
            if name in state:
                state = {**state, name: None}
        return state
