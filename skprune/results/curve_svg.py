"""The pruning curve as a small SVG image, for reports where there may be no matplotlib."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from html import escape
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from skprune.results.report import PruningReport

WIDTH, HEIGHT = 640, 280
#: Empty margins of the image, for labels: left, right, top, bottom.
LEFT, RIGHT, TOP, BOTTOM = 74, 16, 34, 46
#: The shares that have ticks.
SHARES = [b / 10**k for k in range(1, 6) for b in (10, 5, 2)]
#: The least distance of the labels of gaps, and the width of a letter in the legend.
LEAST, LETTER = 15, 6.2


def curve_svg(report: PruningReport) -> str:
    """The gap at every size that was tried, beside random rows.

    Shares have a logarithmic axis, and gaps one that is linear within a typical standard error.
    Colours are those of the page's style; axes take the colour of its text.

    Parameters
    ----------
    report : PruningReport

    Returns
    -------
    str
        Empty if no size was tried, or a single one, which is no curve.
    """
    path, level = report.path, _level(report)
    if level is None:
        return ""
    gap = np.asarray(path[f"{level}_gap"], dtype=np.float64)
    known = np.isfinite(gap)
    if known.sum() < 2:
        return ""
    gap, share, error, random = (
        np.asarray(column, dtype=np.float64)[known]
        for column in (gap, path["share"], path["standard_error"], path["random_gap"])
    )
    chosen = report.met & (np.asarray(path["n_kept"])[known] == report.pruned_fit_rows)
    error = np.where(np.isfinite(error), error, 0.0)
    place = _Places(share, [*(gap - error), *(gap + error), *random, report.max_gap or 0.0], error)
    x, y = place.x, place.y
    parts = [*place.axes(f"rows kept (100% = {report.n_rows:,})")]
    legend = [("kept", f"kept rows, {level} gap ({report.unit})")]
    if report.max_gap is not None:
        at = y(report.max_gap)
        parts.append(_line(LEFT, at, WIDTH - RIGHT, at, "allowed", "stroke-dasharray='6 4'"))
        legend.append(("allowed", f"allowed, {report.max_gap:g}"))
    beside = [(s, r) for s, r in zip(share, random, strict=True) if math.isfinite(r)]
    if beside:
        parts.append(_path([(x(s), y(r)) for s, r in beside], "random", "stroke-dasharray='2 4'"))
        legend.append(("random", "random rows"))
    parts.append(_path([(x(s), y(g)) for s, g in zip(share, gap, strict=True)], "kept"))
    for s, r in beside:
        parts.append(_dot(x(s), y(r), 3, "random", f"{s:.1%}, random rows: {r:+.4f}"))
    for s, g, e in zip(share, gap, error, strict=True):
        parts.append(_line(x(s), y(g - e), x(s), y(g + e), "kept"))
        parts.append(_dot(x(s), y(g), 4, "kept", f"{s:.1%} kept: {g:+.4f} ± {e:.4f}"))
    for s, g in zip(share[chosen], gap[chosen], strict=True):
        ring = f"<circle cx='{x(s):.1f}' cy='{y(g):.1f}' r='9' class='chosen' "
        parts.append(f"{ring}stroke='currentColor' stroke-width='2'/>")
        legend.append(("chosen", f"chosen, {report.n_kept:,} rows"))
    return (
        f"<svg viewBox='0 0 {WIDTH} {HEIGHT}' width='{WIDTH}' height='{HEIGHT}' role='img' "
        f"xmlns='http://www.w3.org/2000/svg' fill='none'><title>The pruning curve</title>"
        f"{''.join(parts)}{_legend(legend)}</svg>"
    )


def _level(report: PruningReport) -> str | None:
    """The dearest level at which sizes were measured."""
    columns = [name for name in reversed(report.path) if name.endswith("_gap")]
    levels = [name.removesuffix("_gap") for name in columns if name != "random_gap"]
    # A certificate comes after the sizes, and has no column.
    for level in [*reversed(report.models), *levels]:
        if np.isfinite(report.path.get(f"{level}_gap", np.nan)).any():
            return level
    return None


class _Places:
    """Where shares and gaps are drawn.

    Parameters
    ----------
    share : ndarray
    values : sequence of float
        The gaps that have to be seen.
    error : ndarray
        Their standard errors.
    """

    def __init__(
        self, share: NDArray[np.float64], values: Sequence[float], error: NDArray[np.float64]
    ) -> None:
        seen = np.array([0.0, *values])
        seen = seen[np.isfinite(seen)]
        largest = float(np.abs(seen).max()) or 1.0
        self.linear = float(np.median(error[error > 0])) if (error > 0).any() else largest
        self.limits = float(seen.min()), float(seen.max()) or largest
        self.low, self.high = (math.asinh(limit / self.linear) for limit in self.limits)
        self.left, self.right = math.log(float(share.min()) / 1.15), math.log(1.1)

    def x(self, share: float) -> float:
        """The place of a share."""
        along = (math.log(share) - self.left) / (self.right - self.left)
        return LEFT + along * (WIDTH - LEFT - RIGHT)

    def y(self, gap: float) -> float:
        """The place of a gap."""
        up = (math.asinh(gap / self.linear) - self.low) / (self.high - self.low)
        return HEIGHT - BOTTOM - up * (HEIGHT - TOP - BOTTOM)

    def axes(self, below: str) -> Iterator[str]:
        """Axes, ticks and their labels."""
        bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
        yield _line(LEFT, bottom, right, bottom, "", "opacity='.5'")
        yield _line(LEFT, TOP, LEFT, bottom, "", "opacity='.5'")
        yield _text(right, HEIGHT - 8, below, "end")
        for share in SHARES:
            if math.log(share) > self.left:
                yield _line(self.x(share), bottom, self.x(share), bottom + 5)
                yield _text(self.x(share), bottom + 18, f"{100 * share:g}%", "middle")
        taken: list[float] = []
        for gap in self._ticks():
            at = self.y(gap)
            if all(abs(other - at) >= LEAST for other in taken):
                yield _line(LEFT, at, right, at, "", "opacity='.15'")
                yield _text(LEFT - 8, at + 4, f"{gap:g}", "end")
                taken.append(at)

    def _ticks(self) -> list[float]:
        """Zero, and the powers of ten that are seen, the most important first."""
        low, high = self.limits
        largest = max(abs(low), abs(high))
        smallest = math.floor(math.log10(self.linear))
        powers = [10.0**k for k in range(smallest, math.floor(math.log10(largest)) + 1)]
        ticks = [0.0, *reversed(powers), *(-power for power in reversed(powers))]
        return [round(tick, 12) for tick in ticks if low <= tick <= high]


def _line(x1: float, y1: float, x2: float, y2: float, kind: str = "", more: str = "") -> str:
    return _path([(x1, y1), (x2, y2)], kind, more)


def _path(points: Sequence[tuple[float, float]], kind: str, more: str = "") -> str:
    at = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
    return f"<polyline points='{at}' class='{kind}' stroke='currentColor' {more}/>"


def _dot(x: float, y: float, radius: float, kind: str, said: str) -> str:
    """A point that says what it is where the mouse is."""
    at = f"cx='{x:.1f}' cy='{y:.1f}' r='{radius}'"
    return f"<circle {at} class='{kind}' fill='currentColor'><title>{escape(said)}</title></circle>"


def _text(x: float, y: float, text: str, anchor: str = "start", kind: str = "") -> str:
    at = f"x='{x:.1f}' y='{y:.1f}' text-anchor='{anchor}'"
    return f"<text {at} class='{kind}' fill='currentColor'>{escape(text)}</text>"


def _legend(entries: Sequence[tuple[str, str]]) -> str:
    """The names of the lines, in their colours, above the curve."""
    place, parts = float(LEFT), []
    for kind, text in entries:
        parts.append(f"{_dot(place + 4, 12, 4, kind, text)}{_text(place + 13, 16, text)}")
        place += 28 + LETTER * len(text)
    return "".join(parts)
