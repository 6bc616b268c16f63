"""GapCalibrationDisplay counts what intervals hold, and draws it."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from skprune import GapCalibrationDisplay
from skprune.evaluation.retrained.gap import RetrainedGap
from skprune.results.gap import Gap

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("no_windows")

REPORTED, OBSERVED = [0.0, 0.01, 0.02, 0.03], [0.0, 0.013, 0.03, 0.021]


def labels(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


@pytest.mark.parametrize(("confidence", "held"), [(0.95, 2), (0.9999, 3), (0.5, 1)])
def test_intervals_are_counted_and_drawn(confidence, held):
    """The observed gaps are 0, 1.5, 2.5 and 4.5 standard errors from the reported ones."""
    error = [0.002, 0.002, 0.004, 0.002]
    display = GapCalibrationDisplay.from_gaps(
        REPORTED, OBSERVED, standard_error=error, confidence=confidence, name="mine"
    )
    assert display.coverage_ == held / 4
    assert f"mine: {held} of 4 in {confidence:.0%} intervals" in labels(display)
    x, y = display.errorbar_.lines[0].get_data()
    np.testing.assert_allclose((x, y), (REPORTED, OBSERVED))
    (bars,) = display.errorbar_.lines[2]
    widths = [segment[1, 0] - segment[0, 0] for segment in bars.get_segments()]
    half = stats.norm.ppf(0.5 + confidence / 2)
    np.testing.assert_allclose(widths, 2 * half * np.array(error))
    diagonal = display.diagonal_
    assert (diagonal.get_slope() if hasattr(diagonal, "get_slope") else diagonal._slope) == 1.0
    display.figure_.canvas.draw()


def test_gaps_bring_their_own_intervals():
    """Student's t for few trainings: 4 standard errors are inside with 2 degrees of freedom."""
    gaps = [Gap(0.0, 0.01, "refit", "loss", 9), RetrainedGap(0.0, 0.01, "loss", 9, 2, 2.0, False)]
    display = GapCalibrationDisplay.from_gaps(gaps, [0.04, 0.04])
    assert stats.t.ppf(0.975, 2.0) > 4 > stats.norm.ppf(0.975)
    assert display.coverage_ == 0.5


def test_bounds_hold_what_is_not_above_them():
    display = GapCalibrationDisplay.from_gaps(REPORTED, OBSERVED, unit="share of Var(y)")
    assert display.coverage_ == 0.5
    assert "bounds: 2 of 4 at most the bound" in labels(display)
    assert display.ax_.get_xlabel() == "Bound (share of Var(y))"


def test_several_share_the_axes():
    first = GapCalibrationDisplay.from_gaps(REPORTED, OBSERVED, name="one", standard_error=0.1)
    second = GapCalibrationDisplay.from_gaps(REPORTED, OBSERVED, name="two", ax=first.ax_)
    assert second.diagonal_ is first.diagonal_
    assert len(labels(second)) == 3
    colours = {display.errorbar_.lines[0].get_color() for display in (first, second)}
    assert len(colours) == 2


@pytest.mark.parametrize("reported", [[0.1], [[0.1, 0.2, 0.3, 0.4]]])
def test_as_many_of_both(reported):
    with pytest.raises(ValueError, match=r"got the shapes \(1.*\) and \(4,\)"):
        GapCalibrationDisplay.from_gaps(reported, OBSERVED)


def test_gaps_and_numbers_do_not_mix():
    gap = Gap(0.01, 0.002, "refit", "loss", 100)
    with pytest.raises(ValueError, match="mixes gaps"):
        GapCalibrationDisplay.from_gaps([gap, 0.02], [0.01, 0.02])
