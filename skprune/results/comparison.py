"""Results of a comparison of strategies, as a table and a picture."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from skprune.results.display import pyplot
from skprune.utils.frames import data_frame


@dataclass(frozen=True)
class Comparison:
    """Scores of an estimator trained on the rows of several strategies.

    Attributes
    ----------
    cells : list of dict
        One dict for every strategy, size and seed, with "strategy", "keep", "seed", "n_kept",
        "score", "selection_seconds" (without the seconds of shared evidence) and
        "training_seconds". The strategy "all rows" is the reference.
    kept : dict of (str, float or int, int) to ndarray of int64
        For every (strategy, keep, seed), the positions of the kept rows in X.
    n_rows : int
        Number of rows that could be kept.
    scoring : str
        Name of the score; higher is better.
    evidence_seconds : dict of str to float
        Seconds spent on the evidence that the strategies share, by property.
    """

    cells: list[dict[str, Any]]
    kept: dict[tuple[str, float, int], NDArray[np.int64]]
    n_rows: int
    scoring: str
    evidence_seconds: dict[str, float]

    def __repr__(self) -> str:
        scores: dict[str, dict[float, list[float]]] = {}
        for cell in self.cells:
            by_size = scores.setdefault(cell["strategy"], {})
            by_size.setdefault(cell["keep"], []).append(cell["score"])
        rows = {cell["keep"]: cell["n_kept"] for cell in self.cells}
        sizes = sorted(rows, key=rows.__getitem__)
        lines = [f"{self.scoring}, {self.n_rows:,} rows"]
        lines.append(f"{'kept':<22}" + "".join(f"{size:>9g}" for size in sizes))
        for name, of in scores.items():
            means = [f"{np.mean(of[k]):>9.4f}" if k in of else " " * 9 for k in sizes]
            lines.append(f"{name:<22}" + "".join(means))
        return "\n".join(lines)

    def to_frame(self) -> Any:
        """The cells as a tidy pandas DataFrame, one row each.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return data_frame(
            self.cells, "to_frame()", "The attribute cells has the same as a list of dicts."
        )

    def curve(self, strategy: str) -> tuple[Any, Any, Any]:
        """Shares of the rows kept, mean scores over the seeds, and their standard errors."""
        cells = [cell for cell in self.cells if cell["strategy"] == strategy]
        sizes = np.unique([cell["n_kept"] for cell in cells])
        scores = [[c["score"] for c in cells if c["n_kept"] == size] for size in sizes]
        means = np.array([np.mean(some) for some in scores])
        errors = [np.std(some, ddof=1) / len(some) ** 0.5 if some[1:] else 0.0 for some in scores]
        return sizes / self.n_rows, means, np.array(errors)

    def plot(self, ax: Any = None) -> ComparisonDisplay:
        """Draw scores against rows kept; see ``ComparisonDisplay``."""
        return ComparisonDisplay.from_comparison(self, ax=ax)


class ComparisonDisplay:
    """Plot scores against rows kept, with bands of one standard error over seeds.

    Make one with :meth:`from_comparison`; the arguments below are stored as attributes.

    Parameters
    ----------
    curves : dict of str to (array-like, array-like, array-like)
        Shares of the rows, mean scores and their standard errors for every strategy.
    full : (float, float), default=None
        Mean score of the estimator trained on all rows, and its standard error.
    scoring : str, default="score"
        Label of the axis.
    n_rows : int, default=None
        Number of rows that could be kept, for the label.

    Attributes
    ----------
    ax_ : matplotlib Axes
    figure_ : matplotlib Figure
    lines_ : dict of str to matplotlib Line2D
    """

    def __init__(
        self,
        *,
        curves: dict[str, tuple[ArrayLike, ArrayLike, ArrayLike]],
        full: tuple[float, float] | None = None,
        scoring: str = "score",
        n_rows: int | None = None,
    ) -> None:
        self.curves = curves
        self.full = full
        self.scoring = scoring
        self.n_rows = n_rows

    @classmethod
    def from_comparison(cls, comparison: Comparison, *, ax: Any = None) -> ComparisonDisplay:
        """Draw a comparison.

        Parameters
        ----------
        comparison : Comparison
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.
        """
        names = list(dict.fromkeys(cell["strategy"] for cell in comparison.cells))
        curves = {name: comparison.curve(name) for name in names}
        _, means, errors = curves.pop("all rows")
        full = float(means[0]), float(errors[0])
        display = cls(
            curves=curves, full=full, scoring=comparison.scoring, n_rows=comparison.n_rows
        )
        return display.plot(ax)

    def plot(self, ax: Any = None) -> ComparisonDisplay:
        """Draw the curves, with random rows in grey.

        Parameters
        ----------
        ax : matplotlib Axes, default=None
            Where to draw; None makes a new figure.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        if ax is None:
            ax = pyplot(type(self).__name__).subplots(figsize=(7.2, 4.6), layout="constrained")[1]
        if self.full is not None:
            mean, error = self.full
            ax.axhline(mean, color="0.2", linewidth=0.8, label="all rows")
            ax.axhspan(mean - error, mean + error, color="0.2", alpha=0.1, linewidth=0)
        self.lines_ = {}
        for name, curve in self.curves.items():
            share, mean, error = np.asarray(curve, dtype=np.float64)
            grey = {"color": "0.5", "linestyle": ":"} if "random" in name else {}
            marker = "x" if name == "random" else "o"
            (line,) = ax.plot(share, mean, marker=marker, markersize=4, label=name, **grey)
            band = mean - error, mean + error
            ax.fill_between(share, *band, color=line.get_color(), alpha=0.15, linewidth=0)
            self.lines_[name] = line
        ax.set_xscale("log")
        ticks = np.unique(np.concatenate([np.asarray(c[0], float) for c in self.curves.values()]))
        ax.set_xticks(ticks, [f"{100 * share:.2g}%" for share in ticks])
        ax.set_xticks([], minor=True)
        of = "" if self.n_rows is None else f" (100% = {self.n_rows:,})"
        ax.set_xlabel(f"Rows kept{of}")
        ax.set_ylabel(f"{self.scoring} ± 1 standard error over seeds")
        ax.legend(fontsize="small", frameon=False, loc="center left", bbox_to_anchor=(1.0, 0.5))
        self.ax_, self.figure_ = ax, ax.figure
        return self
