"""The pruning curve: the gap at every size that was tried, and that of random rows."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.pipeline import Pipeline
from sklearn.utils.validation import check_is_fitted

from skprune.results.gap import plus_minus

if TYPE_CHECKING:
    from skprune.results.report import PruningReport

#: Orders of magnitude, at most, between the largest gap drawn and where the axis turns linear.
DECADES = 5

#: Empty shares of the height of the axes below and above what is drawn, and for a row of the
#: legend, which is above, and of the notes, which are below.
MARGIN, LEGEND_ROW, NOTE_ROW = 0.07, 0.09, 0.05

#: The group id of the notes.
NOTE = "skprune-refused"


class PruningCurveDisplay:
    """Plot of the gap against the rows kept, beside stratified random rows of the same size.

    Make one with :meth:`from_estimator`; the arguments below are stored as attributes.

    Parameters
    ----------
    share : array-like of shape (n_sizes,)
        Sizes that were tried, as shares of the rows that could be kept.
    gap : array-like of shape (n_sizes,)
        Score on all rows minus score on the kept ones: positive is worse.
    standard_error : array-like of shape (n_sizes,), default=None
        Standard error of the gap; None draws no error bars.
    random_gap : array-like of shape (n_sizes,), default=None
        Gap of a stratified random subset of each size, NaN where it was not measured.
    level : str, default="refit"
        How the gaps were found: "predicted", "refit", "retrained" or another level.
    unit : str, default="loss"
        Unit of the gaps, or what is scored, for the label of the axis.
    max_gap : float, default=None
        The allowed gap; None if the size was fixed.
    chosen : tuple of (float, float), default=None
        Share and gap of the size that was chosen.
    refused : tuple of (float, str), default=None
        The largest size below the chosen one, in per cent of the rows, and why it was refused.
    n_rows : int, default=None
        Rows that were given, for the labels.
    n_kept : int, default=None
        Rows that were kept, for the labels.
    name : str, default=None
        Label of the curve.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    line_ : matplotlib Line2D
        The gaps.
    errorbar_ : matplotlib ErrorbarContainer
        The gaps (``line_``) with a standard error up and down.
    random_line_ : matplotlib Line2D or None
        The gaps of random rows; None if none were measured.
    allowed_line_ : matplotlib Line2D or None
        The allowed gap; None if the size was fixed.
    chosen_line_ : matplotlib Line2D or None
        The mark at the chosen size.
    refused_note_ : matplotlib Text or None
        Why fewer rows were refused; None if no fewer were tried.

    See Also
    --------
    InfluencePruner : Its ``path_`` is what is drawn.

    Examples
    --------
    >>> from sklearn.datasets import load_breast_cancer
    >>> from skprune import InfluencePruner, LinearProxy, PruningCurveDisplay
    >>> X, y = load_breast_cancer(return_X_y=True)
    >>> pruner = InfluencePruner(max_gap=0.05, model=LinearProxy(), random_state=0).fit(X, y)
    >>> display = PruningCurveDisplay.from_estimator(pruner)
    >>> display.ax_.get_ylabel()
    'Refit gap on held-out rows (nats)'
    """

    def __init__(
        self,
        *,
        share: ArrayLike,
        gap: ArrayLike,
        standard_error: ArrayLike | None = None,
        random_gap: ArrayLike | None = None,
        level: str = "refit",
        unit: str = "loss",
        max_gap: float | None = None,
        chosen: tuple[float, float] | None = None,
        refused: tuple[float, str] | None = None,
        n_rows: int | None = None,
        n_kept: int | None = None,
        name: str | None = None,
    ) -> None:
        self.share = share
        self.gap = gap
        self.standard_error = standard_error
        self.random_gap = random_gap
        self.level = level
        self.unit = unit
        self.max_gap = max_gap
        self.chosen = chosen
        self.refused = refused
        self.n_rows = n_rows
        self.n_kept = n_kept
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        *,
        ax: Any = None,
        name: str | None = None,
        curve_kwargs: dict[str, Any] | None = None,
        random_kwargs: dict[str, Any] | None = None,
    ) -> PruningCurveDisplay:
        """Draw the sizes that a fitted pruner tried.

        Parameters
        ----------
        estimator : InfluencePruner, PrunedClassifier, PrunedRegressor, PruningSampler or Pipeline
            Fitted; of a Pipeline, the last step is taken.
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Label of the curve; None is the pruner's class name.
        curve_kwargs, random_kwargs : dict, default=None
            Passed to ``Axes.errorbar`` for the gaps and to ``Axes.plot`` for random rows.

        Returns
        -------
        PruningCurveDisplay

        Raises
        ------
        NotFittedError
            If the estimator has not been fitted.
        TypeError
            If there is no InfluencePruner in it.
        ImportError
            If matplotlib is not installed.
        """
        pruner = _find_pruner(estimator)
        path, report = pruner.path_, pruner.report_
        level = pruner.gap_.level
        searched = f"{level}_gap" in path
        if not searched:  # a certificate comes after the search, which trains the model
            level = "retrained"
        gaps = path[f"{level}_gap"]
        if not report.met:
            chosen = (1.0, 0.0)
        elif not searched:
            chosen = (report.n_kept / report.n_rows, float(pruner.gap_))
        else:
            at = int(np.flatnonzero(path["n_kept"] == report.pruned_fit_rows)[0])
            chosen = (float(path["share"][at]), float(gaps[at]))
        unit = report.unit.replace("of Var", "share of Var")
        display = cls(
            share=path["share"],
            gap=gaps,
            standard_error=path["standard_error"],
            random_gap=path["random_gap"],
            level=level,
            unit=unit,
            max_gap=report.max_gap,
            chosen=chosen,
            refused=_refused(path, gaps, report),
            n_rows=report.n_rows,
            n_kept=report.n_kept,
            name=type(pruner).__name__ if name is None else name,
        )
        return display.plot(ax, curve_kwargs=curve_kwargs, random_kwargs=random_kwargs)

    def plot(
        self,
        ax: Any = None,
        *,
        name: str | None = None,
        curve_kwargs: dict[str, Any] | None = None,
        random_kwargs: dict[str, Any] | None = None,
    ) -> PruningCurveDisplay:
        """Draw the curve.

        The gap has a logarithmic axis that turns linear around zero, within a typical standard
        error: differences below it mean nothing. Several curves can be drawn on the same axes;
        each takes the next colour.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Label of the curve; None is the one the display was made with.
        curve_kwargs, random_kwargs : dict, default=None
            Passed to ``Axes.errorbar`` for the gaps and to ``Axes.plot`` for random rows.

        Returns
        -------
        PruningCurveDisplay
            self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if ax is None:
            ax = pyplot(type(self).__name__).subplots(figsize=(7.2, 4.6), layout="constrained")[1]
        share, gap, errors, random = self._arrays()
        order = np.argsort(share, kind="stable")
        share, gap, errors, random = share[order], gap[order], errors[order], random[order]
        name = self.name if name is None else name
        label = f"{name or 'kept rows'}, {self.level} gap"
        label += " ± 1 standard error" if np.any(errors > 0) else ""

        self.allowed_line_ = None
        earlier = ax.get_legend_handles_labels()[1]
        if self.max_gap is not None:
            said = f"allowed gap, {self.max_gap:g}"
            said = "_same" if said in earlier else said
            self.allowed_line_ = ax.axhline(self.max_gap, color="C2", linestyle="--", label=said)
        style = {"marker": "o", "capsize": 3, "label": label, "zorder": 3}
        self.errorbar_ = ax.errorbar(share, gap, yerr=errors, **{**style, **(curve_kwargs or {})})
        self.line_ = self.errorbar_.lines[0]
        self.random_line_ = None
        measured = np.isfinite(random)
        if measured.any():
            said, colour = f"stratified random rows, {self.level} gap", "0.45"
            if said in earlier:
                said, colour = f"random rows beside {name or 'these'}", self.line_.get_color()
            (self.random_line_,) = ax.plot(
                share[measured],
                random[measured],
                **{
                    "color": colour,
                    "marker": "x",
                    "linestyle": ":",
                    "label": said,
                    **(random_kwargs or {}),
                },
            )
        self.chosen_line_ = None
        if self.chosen is not None:
            (self.chosen_line_,) = ax.plot(
                *([value] for value in self.chosen),
                marker="o",
                markersize=13,
                color="C3",  # else it would take the next one of the cycle
                markerfacecolor="none",
                markeredgewidth=2,
                linestyle="none",
                zorder=4,
                label=self._chosen_in_words(),
            )
        named = sorted(
            zip(*ax.get_legend_handles_labels(), strict=True),
            key=lambda entry: not hasattr(entry[0], "has_yerr"),  # the curves first
        )
        below = MARGIN + NOTE_ROW * self._note(ax, name)
        self._scale(ax, errors, below, MARGIN + LEGEND_ROW * math.ceil(len(named) / 2))
        of = "" if self.n_rows is None else f" (100% = {self.n_rows:,})"
        ax.set_xlabel(f"Rows kept{of}")
        ax.set_ylabel(f"{self.level.capitalize()} gap on held-out rows ({self.unit})")
        # In the headroom that _scale leaves above the curves.
        ax.legend(
            *zip(*named, strict=True),
            loc="upper center",
            ncols=2,
            fontsize="small",
            frameon=False,
        )
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _arrays(self) -> tuple[NDArray[np.float64], ...]:
        """The arrays that are drawn: share, gap, standard error (NaN if unknown), random gap."""
        share = np.asarray(self.share, dtype=np.float64)
        none = np.full(share.shape, np.nan)

        def read(values: ArrayLike | None) -> NDArray[np.float64]:
            return none if values is None else np.asarray(values, dtype=np.float64)

        errors = read(self.standard_error)
        return (
            share,
            read(self.gap),
            np.where(np.isfinite(errors), errors, np.nan),
            read(self.random_gap),
        )

    def _chosen_in_words(self) -> str:
        if self.n_rows is None or self.n_kept is None:
            return "chosen"
        if self.n_kept == self.n_rows:
            return f"all {self.n_rows:,} rows kept"
        return f"chosen, {self.n_kept:,} of {self.n_rows:,} rows"

    def _note(self, ax: Any, name: str | None) -> int:
        """Say why fewer rows were refused, below all curves; return the number of such notes."""
        notes = [text for text in ax.texts if text.get_gid() == NOTE]
        self.refused_note_ = None
        if self.refused is None:
            return len(notes)
        share, reason = self.refused
        self.refused_note_ = ax.text(
            0.015,
            0.02 + NOTE_ROW * len(notes),
            f"{f'{name}: ' if name else ''}{share:.3g}% refused: {reason}",
            color=self.line_.get_color(),
            fontsize="small",
            transform=ax.transAxes,
            gid=NOTE,
        )
        return len(notes) + 1

    def _scale(self, ax: Any, errors: NDArray[np.float64], below: float, above: float) -> None:
        """Set a logarithmic axis of shares, and an axis of gaps that is linear around zero.

        Both hold whatever is drawn there, earlier curves as well.
        """
        from matplotlib.ticker import (
            FuncFormatter,
            LogLocator,
            NullFormatter,
            NullLocator,
            SymmetricalLogLocator,
        )

        shares, gaps = ax.dataLim.intervalx, ax.dataLim.intervaly
        smallest = float(shares[0]) if np.isfinite(shares).all() else 0.5
        ax.set_xscale("log")
        ax.set_xlim(smallest / 1.15, 1.12)
        every = [1, 2, 5] if smallest < 0.1 else [1, 2, 3, 4, 5, 7]
        ax.xaxis.set_major_locator(LogLocator(subs=every, numticks=20))
        ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{100 * x:g}%"))
        ax.xaxis.set_minor_locator(NullLocator())
        ax.xaxis.set_minor_formatter(NullFormatter())

        drawn = np.append(gaps[np.isfinite(gaps)], 0.0)
        largest = float(np.abs(drawn).max())
        if largest == 0.0:
            return
        noise = errors[errors > 0] if np.any(errors > 0) else np.abs(drawn[drawn != 0.0])
        linear = float(np.median(noise)) if len(noise) else largest
        # A power of ten, so that the ticks 10^k fall on the ends of the linear part.
        exponent = np.round(np.log10(np.clip(linear, largest / 10**DECADES, largest)))
        ax.set_yscale("symlog", linthresh=float(10.0**exponent))
        ax.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:g}"))
        scale = ax.yaxis.get_transform()
        ax.yaxis.set_minor_locator(SymmetricalLogLocator(scale, subs=list(range(2, 10))))
        low, high = scale.transform(np.array([drawn.min(), drawn.max()]))
        height = high - low
        limits = np.array([low - below * height, high + above * height])
        ax.set_ylim(*scale.inverted().transform(limits))
        ax.axhline(0.0, color="0.8", linewidth=0.8, zorder=0)


def _refused(
    path: dict[str, NDArray[Any]], gaps: NDArray[np.float64], report: PruningReport
) -> tuple[float, str] | None:
    """The largest size below the chosen one, in per cent, and why it was refused."""
    if report.max_gap is None:
        return None
    fewer = np.flatnonzero(path["n_kept"] < report.pruned_fit_rows) if report.met else None
    places = np.arange(len(gaps)) if fewer is None else fewer
    if not len(places):
        return None
    at = int(places[np.argmax(path["n_kept"][places])])
    share = 100 * float(path["share"][at])
    if path["allowed"][at]:
        return share, "as large a share of all rows loses more than is allowed"
    # The budget holds for the worst of several models.
    held = [path[f"{level}_gap"][at] for level in report.models if f"{level}_gap" in path]
    lost = float(np.max(held or gaps[at]))
    if not math.isfinite(lost):
        return share, "the model could not be trained on them"
    said = plus_minus(lost, float(path["standard_error"][at]))
    return share, f"{said}, which with its error is more than {report.max_gap:g}"


def _find_pruner(estimator: Any) -> Any:
    """The fitted InfluencePruner in ``estimator``."""
    found = estimator
    if isinstance(found, Pipeline) or type(found).__name__ == "Pipeline":  # imbalanced-learn's too
        found = found.steps[-1][1]
    if hasattr(found, "pruner"):
        check_is_fitted(found, "pruner_")
        found = found.pruner_
    if not hasattr(found, "estimate_cost"):  # no other pruner tries sizes
        got = type(estimator).__name__
        where = "" if found is estimator else f" with {type(found).__name__} in it"
        raise TypeError(
            "A pruning curve needs the sizes that an InfluencePruner tried: pass a fitted "
            "InfluencePruner, PrunedClassifier, PrunedRegressor or a Pipeline that ends in one "
            f"(of a search, its best_estimator_); got {got}{where}."
        )
    check_is_fitted(found, "path_")
    return found


def pyplot(display: str) -> Any:
    """matplotlib's, for the display of that name; an ImportError that says how to install it."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as exc:
        raise ImportError(
            f'{display} draws with matplotlib, which is not installed: pip install "skprune[plot]"'
        ) from exc
    return plt
