"""Reported gaps beside what was lost in truth, as a picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skprune.results.display import pyplot
from skprune.results.gap import Gap

#: The label of the diagonal, which several displays on the same axes share.
DIAGONAL = "as reported"


class GapCalibrationDisplay:
    """Plot of observed gaps against reported ones, with the share of intervals that hold them.

    A reported gap is an estimate, and whether estimates can be believed shows over many of them:
    prune many tables, or many draws of one, train on all rows and on the kept ones, and observe the
    gap on rows that nothing has seen. Of intervals with 95 % confidence about 95 % should hold it,
    and points above the diagonal lost more than was said.

    Make one with :meth:`from_gaps`; the arguments below are stored as attributes.

    Parameters
    ----------
    reported : array-like of shape (n,)
        Reported gaps, or bounds.
    observed : array-like of shape (n,)
        What was lost on rows that nothing has seen. They should be so many that their own error
        is small beside the intervals.
    interval : (array-like, array-like), default=None
        Lower and upper ends of the intervals. None takes ``reported`` for upper bounds, which hold
        what is not above them.
    confidence : float, default=0.95
        That of the intervals, for the label.
    unit : str, default="nats"
        Unit of the gaps, for the labels of the axes.
    name : str, default=None
        Label of the points.

    Attributes
    ----------
    coverage_ : float
        Share of the observed gaps that the intervals, or bounds, hold.
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    errorbar_ : matplotlib ErrorbarContainer
        The points, with their intervals.
    diagonal_ : matplotlib Line2D
        Where the observed gap is the reported one.

    See Also
    --------
    PruningCurveDisplay : The gaps of one pruner, by size.

    Examples
    --------
    >>> from sklearn.datasets import make_classification
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.metrics import log_loss
    >>> from skprune import GapCalibrationDisplay, InfluencePruner
    >>> X, y = make_classification(30_000, flip_y=0.2, random_state=0)
    >>> model, unseen = LogisticRegression(), slice(10_000, None)
    >>> gaps, observed = [], []
    >>> for start in range(0, 10_000, 1000):
    ...     rows = X[start : start + 1000], y[start : start + 1000]
    ...     pruner = InfluencePruner(keep=0.1, model=model, random_state=0).fit(*rows)
    ...     losses = [
    ...         log_loss(y[unseen], model.fit(*some).predict_proba(X[unseen]))
    ...         for some in (rows, (pruner.take(rows[0]), pruner.take(rows[1])))
    ...     ]
    ...     gaps.append(pruner.gap_)
    ...     observed.append(losses[1] - losses[0])
    >>> display = GapCalibrationDisplay.from_gaps(gaps, observed)
    >>> display.ax_.get_xlabel()
    'Reported gap (nats)'
    """

    def __init__(
        self,
        *,
        reported: ArrayLike,
        observed: ArrayLike,
        interval: tuple[ArrayLike, ArrayLike] | None = None,
        confidence: float = 0.95,
        unit: str = "nats",
        name: str | None = None,
    ) -> None:
        self.reported = reported
        self.observed = observed
        self.interval = interval
        self.confidence = confidence
        self.unit = unit
        self.name = name

    @classmethod
    def from_gaps(
        cls,
        reported: Sequence[Gap] | ArrayLike,
        observed: ArrayLike,
        *,
        standard_error: ArrayLike | None = None,
        confidence: float = 0.95,
        unit: str = "nats",
        name: str | None = None,
        ax: Any = None,
        **points_kwargs: Any,
    ) -> GapCalibrationDisplay:
        """Draw reported gaps against observed ones.

        Parameters
        ----------
        reported : sequence of n ``gap_`` of pruners, or array-like of shape (n,)
            ``gap_`` brings its own interval. Other numbers without a standard error are upper
            bounds, such as ``gap_.upper_bound`` of certificates.
        observed : array-like of shape (n,)
            What was lost on rows that nothing has seen.
        standard_error : array-like of shape (n,), default=None
            Standard errors of other numbers; their intervals are those of the normal distribution.
        confidence : float, default=0.95
            That of the intervals.
        unit : str, default="nats"
            Unit of the gaps, for the labels of the axes.
        name : str, default=None
            Label of the points; None is "gaps", or "bounds".
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        **points_kwargs
            Passed to ``Axes.errorbar``.

        Returns
        -------
        GapCalibrationDisplay

        Raises
        ------
        ValueError
            If there are not as many of one as of the other.
        ImportError
            If matplotlib is not installed.
        """
        gaps: list[Any] = list(reported)  # type: ignore[arg-type]
        if standard_error is not None:
            errors = np.broadcast_to(np.asarray(standard_error, dtype=np.float64), len(gaps))
            gaps = [Gap(g, e, "", "", 0) for g, e in zip(gaps, errors, strict=True)]
        interval, known = None, {isinstance(gap, Gap) for gap in gaps}
        if len(known) > 1:
            raise ValueError(
                "reported mixes gaps that know their standard error with numbers that do not; give "
                "a list of one kind, or standard_error= for all."
            )
        if gaps and all(isinstance(gap, Gap) for gap in gaps):
            low, high = np.array([gap.interval(confidence) for gap in gaps]).T
            interval = low, high
        shapes = np.shape(gaps), np.shape(observed)
        if shapes[0] != shapes[1] or len(shapes[0]) != 1:
            raise ValueError(
                "reported and observed are as many numbers, one of each for every fit; got the "
                f"shapes {shapes[0]} and {shapes[1]}."
            )
        display = cls(
            reported=np.asarray(gaps, dtype=np.float64),
            observed=observed,
            interval=interval,
            confidence=confidence,
            unit=unit,
            name=name,
        )
        return display.plot(ax, **points_kwargs)

    def plot(
        self, ax: Any = None, *, name: str | None = None, **points_kwargs: Any
    ) -> GapCalibrationDisplay:
        """Draw the points, their intervals and the diagonal.

        Several can be drawn on the same axes; each takes the next colour.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        name : str, default=None
            Label of the points; None is the one the display was made with.
        **points_kwargs
            Passed to ``Axes.errorbar``.

        Returns
        -------
        GapCalibrationDisplay
            self

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if ax is None:
            ax = pyplot(type(self).__name__).subplots(figsize=(5.6, 5.2), layout="constrained")[1]
        reported, observed, low, high = self._arrays()
        held = (low <= observed) & (observed <= high)
        self.coverage_ = float(held.mean()) if len(held) else float("nan")
        kind = "bounds" if self.interval is None else "gaps"
        intervals = f"in {100 * self.confidence:.3g}% intervals"
        what = "at most the bound" if self.interval is None else intervals
        label = f"{name or self.name or kind}: {held.sum()} of {len(held)} {what}"

        lines = {line.get_label(): line for line in ax.lines}
        self.diagonal_ = lines.get(DIAGONAL) or ax.axline(
            (0.0, 0.0), slope=1.0, color="0.6", linewidth=1, zorder=1, label=DIAGONAL
        )
        style = {"fmt": "o", "markersize": 4, "elinewidth": 0.8, "zorder": 3, "label": label}
        bars = None if self.interval is None else (reported - low, high - reported)
        self.errorbar_ = ax.errorbar(reported, observed, xerr=bars, **{**style, **points_kwargs})
        for bar in self.errorbar_.lines[2]:
            bar.set_alpha(0.35)
        said = "Bound" if self.interval is None else "Reported gap"
        ax.set_xlabel(f"{said} ({self.unit})")
        ax.set_ylabel(f"Gap on rows that nothing has seen ({self.unit})")
        ax.margins(y=0.2)  # room for the legend
        ax.legend(fontsize="small", frameon=False, loc="best")
        self.ax_, self.figure_ = ax, ax.figure
        return self

    def _arrays(self) -> tuple[NDArray[np.float64], ...]:
        """Reported and observed gaps, and the ends of the intervals."""
        reported = np.asarray(self.reported, dtype=np.float64)
        observed = np.asarray(self.observed, dtype=np.float64)
        low, high = (np.full(len(reported), -np.inf), reported)
        if self.interval is not None:
            low, high = (np.asarray(end, dtype=np.float64) for end in self.interval)
        return reported, observed, low, high
