"""A hyperparameter search whose candidates are trained on the rows that a pruner keeps.

A search takes its folds as pairs of positions, so rows are pruned by giving it shorter training
parts. Two searches are made: the given one on kept rows, and a GridSearchCV over its best
candidates on all rows, which refits the winner.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from copy import copy
from dataclasses import replace
from inspect import signature
from numbers import Integral
from time import perf_counter
from typing import Any, ClassVar, NamedTuple

import numpy as np
from scipy.stats import rankdata
from sklearn import get_config
from sklearn.base import BaseEstimator, MetaEstimatorMixin, clone, is_classifier, is_regressor
from sklearn.model_selection import GridSearchCV, check_cv
from sklearn.utils import get_tags, indexable
from sklearn.utils.metadata_routing import (
    MetadataRouter,
    MethodMapping,
    get_routing_for_object,
    process_routing,
)
from sklearn.utils.metaestimators import available_if

from skprune.base import FittedAttributes
from skprune.compose import PrunedClassifier, PrunedRegressor
from skprune.compose.base import hands_targets_on, share_out
from skprune.compose.estimators import teaching_of
from skprune.data.containers import is_row_wise, n_rows, plain, take_rows
from skprune.data.teaching import Teaching
from skprune.heads.linear_spec import weight_name
from skprune.heads.weighting import is_slower_with_weights
from skprune.pruner import InfluencePruner
from skprune.results import cv_results
from skprune.results.cv_results import Positions, Results
from skprune.results.search_report import SearchReport
from skprune.utils.documented import Documented
from skprune.utils.exceptions import PruningWarning
from skprune.utils.sklearn_private import HasMethods, Interval, safe_split

Folds = list[tuple[Positions, Positions]]


#: Share of the rows that is kept without a pruner, and the fewest rows a class.
SHARE, LEAST = 0.2, 5


class _Table(NamedTuple):
    """The data and folds of the search on kept rows."""

    X: Any
    y: Any
    params: dict[str, Any]
    folds: Folds


def _has(method: str) -> Callable[[Any], bool]:
    """Whether the search has the method, before or after ``fit``; raises its own error if not."""
    return lambda self: bool(getattr(getattr(self, "final_search_", self.search), method))


def _delegate(method: str, what: str) -> Any:
    """A method of the winner, there if the search has it."""

    def call(self: Any, X: Any) -> Any:
        return getattr(self.final_search_, method)(X)

    call.__name__ = method
    call.__doc__ = f"{what}, by the winner refitted on all rows."
    return available_if(_has(method))(call)


def _score(self: Any, X: Any, y: Any = None, **params: Any) -> float:
    """Score of the winner, by the scorer of the search."""
    return self.final_search_.score(X, y, **params)


def _found(name: str, what: str) -> Any:
    """An attribute of the search that compared the finalists on all rows."""
    return property(lambda self: getattr(self.final_search_, name), doc=what)


class PrunedSearchCV(FittedAttributes, Documented, MetaEstimatorMixin, BaseEstimator):
    """Search hyperparameters on the rows that a pruner keeps; decide and refit on all rows.

    In every fold of the search the training rows are pruned once for all candidates, and without
    using the validation rows. Candidates are trained on the kept rows and scored on
    the *whole* validation part. The best of them are then cross-validated on all rows, with the
    same folds and scorers, and the winner is refitted on all rows.

    Parameters
    ----------
    search : search
        ``GridSearchCV``, ``RandomizedSearchCV``, ``HalvingGridSearchCV``,
        ``HalvingRandomSearchCV``, Optuna's ``OptunaSearchCV``, or another with ``estimator``,
        ``cv``, ``scoring``, ``refit`` and ``cv_results_``. It is cloned. Its settings of scoring,
        refit, failing fits and jobs are used in all stages.
    pruner : pruner, default=None
        Cloned and fitted on the training rows of every fold; None is
        ``InfluencePruner(keep=0.2)``, or five rows a class if those are more. If its ``model`` is
        None, it is the search's estimator with its own parameters, as in ``PrunedClassifier``. With
        a budget ``max_gap`` that estimator is trained several times in every fold.
    finalists : int, default=3
        Number of the best candidates (of the last round of a halving search) that are compared on
        all rows.

    Attributes
    ----------
    cv_results_ : dict of ndarrays
        The results of the search, with scores after training on kept rows. Columns that end in
        ``_all_rows`` have the finalists' times, scores and ranks on all rows, and NaN for others.
    best_index_, best_params_, best_score_, best_estimator_, scorer_, refit_time_, n_splits_, \
multimetric_, classes_, n_features_in_, feature_names_in_
        As in the search, from the comparison on all rows; they exist if the search has them.
    finalist_indices_ : ndarray of int
        Rows of ``cv_results_`` that were compared on all rows, the best on kept rows first.
    pruners_ : list of pruners, fitted on the training rows of the folds
    candidate_search_ : search, fitted on kept rows, not refitted
    final_search_ : GridSearchCV over the finalists, fitted on all rows
    report_ : SearchReport
        The time of every stage, the time that was saved, and diagnostics of the ranking.

    Notes
    -----
    If the pruner has weights of the kept rows (``sample_weight_``), the candidates are trained with
    these weights, times those given to ``fit``. The kept rows of every fold are then appended to
    the table of the search, because a row's weight differs between folds.

    Without metadata routing ``fit`` passes ``groups`` to the splitter, and parameters of the
    pruner's ``fit`` to the pruner as well; others are for the estimator.

    Resources of a halving search over ``n_samples`` count kept rows.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from sklearn.model_selection import GridSearchCV
    >>> from sklearn.pipeline import make_pipeline
    >>> from sklearn.preprocessing import StandardScaler
    >>> from sklearn.svm import SVC
    >>> from skprune import InfluencePruner, PrunedSearchCV
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> model = make_pipeline(StandardScaler(), SVC())
    >>> grid = GridSearchCV(model, {"svc__C": [0.01, 0.1, 1, 10, 100]}, cv=3)
    >>> search = PrunedSearchCV(grid, InfluencePruner(keep=0.4, random_state=0)).fit(X, y)
    >>> [len(pruner.sample_indices_) for pruner in search.pruners_]
    [152, 152, 152]
    >>> sorted(search.best_params_)
    ['svc__C']
    >>> search.predict(X).shape
    (569,)
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "search": [HasMethods(["fit", "get_params", "set_params"])],
        "pruner": [None, HasMethods(["fit", "take"])],
        "finalists": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(self, search: Any, pruner: Any = None, finalists: int = 3) -> None:
        self.search = search
        self.pruner = pruner
        self.finalists = finalists

    def fit(self, X: Any, y: Any = None, **params: Any) -> PrunedSearchCV:
        """Search on kept rows, compare the finalists on all rows, and refit the winner.

        Parameters
        ----------
        X : array-like, DataFrame or sparse matrix with n rows
        y : array-like of shape (n,)
        **params
            Parameters of the search's ``fit``: ``groups``, ``sample_weight`` and whatever else the
            estimator takes. Values with n rows are cut to every fold, also for the pruner.

        Returns
        -------
        PrunedSearchCV
            self
        """
        self._validate_params()
        self._check_search()
        X, y = indexable(X, y)
        final = self._finals()
        final._get_scorers()  # a refit that does not fit the scoring is refused before all work
        split, for_pruner, for_search = self._routed(final, params)
        cv = check_cv(self.search.cv, y, classifier=is_classifier(self.search.estimator))
        every = np.arange(n_rows(X))
        folds = [(every[train], every[test]) for train, test in cv.split(X, y, **split)]
        final.set_params(cv=folds)
        if get_config()["enable_metadata_routing"]:  # pairs of positions ask for no groups
            asked = get_routing_for_object(final).consumes("fit", for_search)
            for_search = {name: for_search[name] for name in asked}

        begin = perf_counter()
        self.pruners_ = [self._prune(X, y, train, for_pruner) for train, _ in folds]
        weighted = for_pruner.get("sample_weight") is not None
        table = self._kept(_Table(X, y, for_search, folds), weighted)
        selected = perf_counter()
        kept = sum(len(pruner.sample_indices_) for pruner in self.pruners_)
        unit = n_rows(table.X) / (len(every) * kept / sum(len(train) for train, _ in folds))
        with _unwarned() if table.params.keys() - for_search.keys() else nullcontext():
            results = self._score_candidates(table, unit)
        scored = perf_counter()
        best = cv_results.best(results, self.search.refit, self.finalists)
        grid = [{name: [v] for name, v in results["params"][i].items()} for i in best]
        self.finalist_indices_ = best
        self.final_search_ = final.set_params(param_grid=grid).fit(X, y, **for_search)
        compared = perf_counter()

        self.cv_results_ = cv_results.joined(results, final.cv_results_, best)
        seconds = selected - begin, scored - selected, compared - scored
        self.report_ = self._report(len(every), *seconds)
        for diagnostic in self.report_.diagnostics:
            warnings.warn(diagnostic, PruningWarning, stacklevel=2)
        return self

    predict = _delegate("predict", "Predictions")
    predict_proba = _delegate("predict_proba", "Class probabilities")
    predict_log_proba = _delegate("predict_log_proba", "Their logarithms")
    decision_function = _delegate("decision_function", "Decision values")
    score_samples = _delegate("score_samples", "Scores of the rows")
    transform = _delegate("transform", "The transformed rows")
    inverse_transform = _delegate("inverse_transform", "The rows before they were transformed")
    score = available_if(_has("score"))(_score)

    best_params_ = _found("best_params_", "Parameters of the winner.")
    best_score_ = _found("best_score_", "Mean score of the winner, trained on all rows.")
    best_estimator_ = _found("best_estimator_", "The winner, refitted on all rows.")
    scorer_ = _found("scorer_", "The scorer, or the scorers by name.")
    refit_time_ = _found("refit_time_", "Seconds of fitting the winner on all rows.")
    n_splits_ = _found("n_splits_", "Number of folds.")
    multimetric_ = _found("multimetric_", "Whether there are several scorers.")
    classes_ = _found("classes_", "Labels that the winner knows.")
    n_features_in_ = _found("n_features_in_", "Number of columns of X.")
    feature_names_in_ = _found("feature_names_in_", "Names of the columns, if they have names.")

    @property
    def best_index_(self) -> int:
        """Row of ``cv_results_`` of the winner."""
        return int(self.finalist_indices_[self.final_search_.best_index_])

    def get_metadata_routing(self) -> Any:
        """The routing of metadata to the pruner and the search."""
        router = MetadataRouter(owner=self)
        to_pruner = MethodMapping().add(caller="fit", callee="fit")
        router.add(pruner=self._pruned()._unfitted_pruner(), method_mapping=to_pruner)
        to_search = MethodMapping().add(caller="fit", callee="fit")
        to_search.add(caller="score", callee="score")
        return router.add(search=self._finals(), method_mapping=to_search)

    def _check_search(self) -> None:
        missing = {"estimator", "cv", "scoring", "refit"} - set(self.search.get_params(deep=False))
        if missing:
            raise TypeError(
                f"search={self.search!r} is no search: it has no {', '.join(sorted(missing))}. "
                "Pass one with an estimator in it, such as GridSearchCV(SVC(), {'C': [0.1, 1]})."
            )
        estimator = self.search.estimator
        if not (is_classifier(estimator) or is_regressor(estimator)):
            raise ValueError(
                f"The estimator of the search, {estimator!r}, is neither classifier nor "
                "regressor, so that no rows can be chosen for it. If a placeholder stands in its "
                "last step, put one of the candidates there."
            )

    def _pruned(self) -> Any:
        """The search's estimator behind the pruner, for tags and the kind of target."""
        estimator = self.search.estimator
        kind = PrunedRegressor if is_regressor(estimator) else PrunedClassifier
        pruner = InfluencePruner(keep=SHARE) if self.pruner is None else self.pruner
        return kind(estimator, pruner)

    def _finals(self) -> GridSearchCV:
        """The search on all rows, still without candidates."""
        own = self.search.get_params(deep=False)
        shared = set(signature(GridSearchCV).parameters) - {"param_grid"}
        return GridSearchCV(param_grid={}, **{k: v for k, v in own.items() if k in shared})

    def _routed(
        self, final: GridSearchCV, params: dict[str, Any]
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        """Divide ``params`` between splitter, pruner and search."""
        if get_config()["enable_metadata_routing"]:
            routed = process_routing(self, "fit", **params)
            for_search = dict(routed.search.fit)
            split = process_routing(final, "fit", **for_search).splitter.split
            return split, routed.pruner.fit, for_search
        groups = params.pop("groups", None)
        pruner = self._pruned()._unfitted_pruner()
        for_pruner, for_search = share_out(params, pruner, self.search.estimator)
        if groups is not None and "groups" in signature(pruner.fit).parameters:
            for_pruner["groups"] = groups
        return {"groups": groups}, for_pruner, for_search

    def _prune(self, X: Any, y: Any, train: Positions, params: dict[str, Any]) -> Any:
        """A pruner fitted on the training rows of a fold."""
        n, estimator = n_rows(X), self.search.estimator
        pruner = self._pruned()._task_pruner()
        numbers, slower = is_regressor(estimator), is_slower_with_weights(estimator)
        pruner._hands_weights_on = weight_name(estimator) is not None and not slower
        pruner._hands_targets_on = hands_targets_on(pruner, estimator, numbers=numbers)
        if slower and not numbers and getattr(pruner, "targets", None) == "auto":
            pruner._hands_targets_on = False  # classes are taught by weights
        X, y = safe_split(estimator, X, y, train)
        if self.pruner is None and not numbers:
            least = LEAST * len(set(np.ravel(plain(y)).tolist())) / len(train)
            pruner.set_params(keep=min(1.0, max(SHARE, least)))
        return pruner.fit(X, y, **_cut(params, train, n))

    def _kept(self, table: _Table, weighted: bool) -> _Table:
        """The table with the kept rows of every fold, and their weights if there are any.

        ``weighted`` says whether the pruners had the given weights, so that theirs include them.
        """
        kept = [
            (train[pruner.sample_indices_], test)
            for pruner, (train, test) in zip(self.pruners_, table.folds, strict=True)
        ]
        table, numbers = table._replace(folds=kept), is_regressor(self.search.estimator)
        taught = [teaching_of(pruner, numbers=numbers) for pruner in self.pruners_]
        weights = [_weights(pruner) for pruner in self.pruners_]
        if all(found is None for found in (*taught, *weights)):
            return table
        return _appended(table, weights, taught, self.search.estimator, weighted)

    def _score_candidates(self, table: _Table, unit: float) -> Results:
        """Results of the given search on kept rows, each of which is ``unit`` rows of the table."""
        # A generator of folds cannot be cloned.
        search = copy(self.search).set_params(cv=table.folds, refit=False)
        self.candidate_search_ = _counting_kept_rows(clone(search), unit)
        self.candidate_search_.fit(table.X, table.y, **table.params)
        return _results(self.candidate_search_, unit)

    def _report(self, n: int, selection: float, candidates: float, finals: float) -> SearchReport:
        """The report, with the seconds of the three stages; the refit is part of the last."""
        folds = tuple((len(p.keep_mask_), len(p.sample_indices_)) for p in self.pruners_)
        results, final, refit = self.cv_results_, self.final_search_, self.search.refit
        agreement, diagnostics = cv_results.trust(results, self.finalist_indices_, refit)
        refit_seconds = getattr(final, "refit_time_", None)
        report = SearchReport(
            n_rows=n,
            folds=folds,
            weighted=any(_weights(pruner) is not None for pruner in self.pruners_),
            n_candidates=len(results["params"]),
            n_finalists=len(self.finalist_indices_),
            agreement=agreement,
            selection_seconds=selection,
            candidates_seconds=candidates,
            finalists_seconds=finals - (refit_seconds or 0.0),
            refit_seconds=refit_seconds,
            full_seconds=cv_results.seconds_on_all_rows(results, candidates, len(folds)),
            diagnostics=tuple(diagnostics),
        )
        own = self.search.estimator.get_params()
        notes = cv_results.counted(own, results["params"], report.share, report.weighted)
        weights = {getattr(pruner, "weights", None) for pruner in self.pruners_}
        without = all(getattr(p, "teacher_targets_", None) is None for p in self.pruners_)
        if weights == {"auto"} and without and is_slower_with_weights(self.search.estimator):
            notes.append(
                "The kept rows have no weights, with which this estimator takes several times as "
                "long to train; weights=True of the pruner gives them all the same."
            )
        return replace(report, notes=tuple(notes))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        pruned = get_tags(self._pruned())
        tags.estimator_type = pruned.estimator_type
        tags.classifier_tags, tags.regressor_tags = pruned.classifier_tags, pruned.regressor_tags
        tags.transformer_tags = pruned.transformer_tags
        tags.target_tags, tags.input_tags = pruned.target_tags, pruned.input_tags
        tags.input_tags.pairwise = get_tags(self.search.estimator).input_tags.pairwise
        tags.non_deterministic = pruned.non_deterministic
        return tags


def _weights(pruner: Any) -> Any:
    """Weights of the rows that a pruner keeps; None if all are equal."""
    return getattr(pruner, "sample_weight_", None)


def _cut(params: dict[str, Any], rows: Positions, n: int) -> dict[str, Any]:
    """The same parameters, with ``rows`` of those that have n rows."""
    return {k: take_rows(v, rows) if is_row_wise(v, n) else v for k, v in params.items()}


def _name_of_weights(estimator: Any) -> str:
    """The name of weights in an estimator's ``fit``, if it takes them or requests them."""
    name = weight_name(estimator)
    if name is not None and get_config()["enable_metadata_routing"]:
        asked = get_routing_for_object(estimator).consumes("fit", [name])
        name = name if asked else None
    if name is None:
        raise ValueError(
            "The pruner keeps rows that count differently (its sample_weight_), and fit of "
            f"{estimator!r} takes no sample_weight, or does not request it from scikit-learn's "
            "metadata routing: call its set_fit_request(sample_weight=True), or let the pruner "
            "choose rows that need no weights."
        )
    return name


def _appended(
    table: _Table,
    weights: list[Any],
    taught: list[Teaching | None],
    estimator: Any,
    weighted: bool,
) -> _Table:
    """A table to which the kept rows of every fold are appended, with its weights and targets."""
    n = n_rows(table.X)
    rows, folds = [np.arange(n)], Folds()
    factors, targets = list[tuple[slice, Any, bool]](), list[tuple[slice, Any]]()
    for (kept, test), w, teaching in zip(table.folds, weights, taught, strict=True):
        start, taken, target = sum(map(len, rows)), np.arange(len(kept)), None
        includes_given = weighted and w is not None
        if teaching is not None:  # a row is repeated for every class that it may be of
            taken, target, w = teaching.unfolded(w)
        part = slice(start, start + len(taken))
        folds.append((np.arange(part.start, part.stop), test))
        rows.append(kept[taken])
        if target is not None:
            targets.append((part, target))
        if w is not None:
            factors.append((part, w, includes_given))
    every = np.concatenate(rows)
    params = _cut(table.params, every, n)
    X, y = safe_split(estimator, table.X, table.y, every)
    if targets:
        y = np.asarray(y)
        y = y.astype(np.result_type(y, *(target for _, target in targets)))
        for part, target in targets:
            y[part] = target
    if factors:
        name, total = _name_of_weights(estimator), np.ones(len(every))
        given = params.get(name)
        if given is not None:
            total = np.array(given, dtype=np.float64)
        for part, w, includes_given in factors:
            total[part] = w if includes_given else total[part] * w
        params[name] = total
    return _Table(X, y, params, folds)


@contextmanager
def _unwarned() -> Iterator[None]:
    """Hide warnings of scorers about weights that the user has not given: these are 1."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*does not support sample_weight")
        yield


def _counting_kept_rows(search: Any, unit: float) -> Any:
    """A halving search whose numbers of rows are kept rows, each ``unit`` rows of its table."""
    given = search.get_params(deep=False)
    if given.get("resource") != "n_samples" or unit == 1:
        return search
    if given["min_resources"] == "smallest":
        raise ValueError(
            "min_resources='smallest' is worked out from the rows before they are pruned. Pass "
            "'exhaust', or the number of kept rows that the first round shall train on."
        )
    bounds = {name: given[name] for name in ("min_resources", "max_resources")}
    numbers = {k: int(unit * v) for k, v in bounds.items() if isinstance(v, (int, np.integer))}
    return search.set_params(**numbers)


def _results(search: Any, unit: float) -> Results:
    """``cv_results_`` with rounds in kept rows; for Optuna's search it is made of its trials."""
    if hasattr(search, "trials_"):  # its cv_results_ have no params and no ranks
        trials = [t for t in search.trials_ if "mean_test_score" in t.user_attrs]
        names = trials[0].user_attrs if trials else ()
        results: Results = {name: np.array([t.user_attrs[name] for t in trials]) for name in names}
        results["params"] = [t.params for t in trials]
        results["rank_test_score"] = rankdata(-results["mean_test_score"], "min")
        return results
    results = dict(search.cv_results_)
    if getattr(search, "resource", None) == "n_samples":
        results["n_resources"] = np.rint(results["n_resources"] / unit).astype(np.int64)
    return results
