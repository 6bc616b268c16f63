"""PruningCurveDisplay draws what the pruner tried."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from cases.pruners import head_pruner
from sklearn.datasets import load_breast_cancer, load_diabetes
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprune import InfluencePruner, PrunedClassifier, PruningCurveDisplay, PruningWarning
from skprune.baselines import StratifiedRandom
from skprune.results.display import _refused
from skprune.results.gap import plus_minus

matplotlib = pytest.importorskip("matplotlib")
pytestmark = pytest.mark.usefixtures("no_windows")


@pytest.fixture(scope="module")
def table():
    return load_breast_cancer(return_X_y=True)


@pytest.fixture(scope="module")
def pruner(table):
    return head_pruner(max_gap=0.05, random_state=0).fit(*table)


def handles(display):
    return [text.get_text() for text in display.ax_.get_legend().get_texts()]


def test_curve_is_the_path(pruner):
    display = PruningCurveDisplay.from_estimator(pruner)
    order = np.argsort(pruner.path_["share"])
    x, y = display.line_.get_data()
    np.testing.assert_allclose(x, pruner.path_["share"][order])
    np.testing.assert_allclose(y, pruner.path_["refit_gap"][order])
    (bars,) = display.errorbar_.lines[2]
    heights = np.array([segment[1, 1] - segment[0, 1] for segment in bars.get_segments()])
    np.testing.assert_allclose(heights, 2 * pruner.path_["standard_error"][order])
    assert display.figure_ is display.ax_.figure


def test_random_rows_are_drawn_where_they_were_measured(pruner):
    display = PruningCurveDisplay.from_estimator(pruner)
    measured = np.isfinite(pruner.path_["random_gap"])
    assert 0 < measured.sum() < len(measured)
    assert len(display.random_line_.get_xdata()) == measured.sum()
    assert np.all(np.isfinite(display.random_line_.get_ydata()))


def test_allowed_gap_and_chosen_size_are_marked(pruner):
    display = PruningCurveDisplay.from_estimator(pruner)
    assert set(display.allowed_line_.get_ydata()) == {0.05}
    (share,), (gap,) = display.chosen_line_.get_data()
    assert gap == pytest.approx(float(pruner.report_.trial))  # by which the size was chosen
    assert share == pytest.approx(len(pruner.sample_indices_) / pruner.report_.n_rows, abs=0.01)
    assert f"chosen, {len(pruner.sample_indices_):,} of 569 rows" in handles(display)
    assert "allowed gap, 0.05" in handles(display)


def test_labels(pruner):
    display = PruningCurveDisplay.from_estimator(pruner, name="mine")
    assert display.ax_.get_xlabel() == "Rows kept (100% = 569)"
    assert display.ax_.get_ylabel() == "Refit gap on held-out rows (nats)"
    assert handles(display)[0] == "mine, refit gap ± 1 standard error"
    assert handles(PruningCurveDisplay.from_estimator(pruner))[0].startswith("InfluencePruner, ")


def test_unit_of_other_scores(table):
    by_accuracy = head_pruner(keep=0.5, scoring="accuracy", random_state=0).fit(*table)
    display = PruningCurveDisplay.from_estimator(by_accuracy)
    assert display.ax_.get_ylabel().endswith("(accuracy)")
    regression = head_pruner(keep=0.8, random_state=0).fit(*load_diabetes(return_X_y=True))
    display = PruningCurveDisplay.from_estimator(regression)
    assert display.ax_.get_ylabel().endswith("(share of Var(y))")


def test_fixed_size_has_no_allowed_gap(table):
    fixed = head_pruner(keep=0.5, random_state=0).fit(*table)
    display = PruningCurveDisplay.from_estimator(fixed)
    assert display.allowed_line_ is None
    assert len(display.line_.get_xdata()) == 1
    assert display.chosen_line_.get_xdata()[0] == pytest.approx(0.5, abs=0.01)


def test_predicted_gaps_without_verification(table):
    unverified = head_pruner(max_gap=0.05, verify=None, random_state=0).fit(*table)
    display = PruningCurveDisplay.from_estimator(unverified)
    np.testing.assert_allclose(
        np.sort(display.line_.get_ydata()), np.sort(unverified.path_["predicted_gap"])
    )
    assert display.ax_.get_ylabel().startswith("Predicted gap")
    assert display.random_line_.get_label() == "stratified random rows, predicted gap"


def test_budget_that_cannot_be_met_marks_all_rows(table):
    with pytest.warns(PruningWarning):
        kept_all = head_pruner(max_gap=1e-9, random_state=0).fit(*table)
    display = PruningCurveDisplay.from_estimator(kept_all)
    assert [*display.chosen_line_.get_xdata(), *display.chosen_line_.get_ydata()] == [1.0, 0.0]
    assert "all 569 rows kept" in handles(display)


def test_small_gaps_and_large_ones_can_both_be_read():
    display = PruningCurveDisplay(
        share=[0.5, 0.1, 0.02],
        gap=[1e-4, -2e-4, 3e-3],
        standard_error=[1e-4, 1e-4, 1e-4],
        random_gap=[0.01, 0.2, 1.0],
        max_gap=0.01,
    ).plot()
    transform = display.ax_.transData.transform
    height = display.ax_.bbox.height
    places = [transform((0.1, gap))[1] / height for gap in (0.0, 1e-4, 3e-3, 1.0)]
    assert np.all(np.diff(places) > 0.05)
    assert display.ax_.get_xscale() == "log"
    low, high = display.ax_.get_ylim()
    assert low < -3e-4
    assert high > 1.0


def test_undefined_values_do_no_harm():
    display = PruningCurveDisplay(
        share=[0.5, 0.25], gap=[np.nan, 0.01], standard_error=[np.inf, np.inf]
    ).plot()
    display.figure_.canvas.draw()
    assert handles(display) == ["kept rows, refit gap"]
    for empty in ([], [0.5]):
        PruningCurveDisplay(share=empty, gap=np.zeros(len(empty))).plot().figure_.canvas.draw()


def test_given_axes_and_styles(pruner):
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots()
    display = PruningCurveDisplay.from_estimator(
        pruner, ax=ax, curve_kwargs={"color": "C4"}, random_kwargs={"linestyle": "-"}
    )
    assert display.ax_ is ax
    assert display.figure_ is figure
    assert display.line_.get_color() == "C4"
    assert display.random_line_.get_linestyle() == "-"
    again = display.plot(name="again")
    assert again is display
    assert display.ax_ is not ax
    assert handles(display)[0].startswith("again, ")


def test_curves_on_the_same_axes(pruner, table):
    import matplotlib.pyplot as plt

    other = head_pruner(max_gap=0.05, validation_fraction=0.3, random_state=1).fit(*table)
    ax = plt.subplots()[1]
    one, two = (
        PruningCurveDisplay.from_estimator(fitted, ax=ax, name=name)
        for fitted, name in ((pruner, "one"), (other, "two"))
    )
    for display, colour in ((one, "C0"), (two, "C1")):
        assert matplotlib.colors.same_color(display.line_.get_color(), colour)
    labels = handles(two)
    assert [label.split(",")[0] for label in labels[:2]] == ["one", "two"]
    assert labels.count("allowed gap, 0.05") == 1
    assert len(set(labels)) == len(labels)
    assert one.random_line_.get_label() in labels
    assert two.random_line_.get_label() in labels
    low, high = ax.get_ylim()
    for fitted in (pruner, other):  # no curve is cut off by the other
        random = fitted.path_["random_gap"]
        assert low < np.nanmin(fitted.path_["refit_gap"])
        assert high > np.nanmax(random)
        assert ax.get_xlim()[0] < fitted.path_["share"].min()


def test_why_fewer_rows_were_refused(pruner, table):
    note = PruningCurveDisplay.from_estimator(pruner).refused_note_
    path = pruner.path_
    (at,) = np.flatnonzero(path["n_kept"] == pruner.report_.pruned_fit_rows) + 1
    lost = plus_minus(path["refit_gap"][at], path["standard_error"][at])
    said = f"{100 * path['share'][at]:.3g}% refused: {lost}, which with its error is more than 0.05"
    assert note.get_text() == f"InfluencePruner: {said}"
    report = replace(pruner.report_, pruned_fit_rows=path["n_kept"][0])
    both = {**path, "retrained_gap": path["refit_gap"] + 1}  # the worse of two models
    held = replace(pruner.report_, models={"refit": "", "retrained": ""})
    assert _refused(both, path["refit_gap"], held)[1].startswith("1.39 ± ")
    untrained = _refused(
        {**both, "retrained_gap": both["refit_gap"] + np.inf}, both["n_kept"], held
    )
    assert untrained[1] == "the model could not be trained on them"
    found = _refused(path, path["refit_gap"], report)
    assert found[1] == "as large a share of all rows loses more than is allowed"
    assert _refused(path, path["refit_gap"], replace(report, met=False))[0] == pytest.approx(
        49.9, abs=0.1
    )
    fixed = head_pruner(keep=0.5, random_state=0).fit(*table)
    assert PruningCurveDisplay.from_estimator(fixed).refused_note_ is None


def test_pruner_inside_other_estimators(table, pruner):
    expected = pruner.path_["n_kept"].size
    wrapped = PrunedClassifier(
        LogisticRegression(max_iter=2000),
        InfluencePruner(max_gap=0.05, model="softmax", random_state=0),
    )
    in_a_pipeline = make_pipeline(StandardScaler(), wrapped)
    last = make_pipeline(StandardScaler(), head_pruner(max_gap=0.05, random_state=0))
    for estimator in (in_a_pipeline, last):
        estimator.fit(*table)
        display = PruningCurveDisplay.from_estimator(estimator)
        assert len(display.line_.get_xdata()) == expected
    assert len(PruningCurveDisplay.from_estimator(in_a_pipeline[-1]).line_.get_xdata()) == expected


@pytest.mark.parametrize(
    "unfitted",
    [
        head_pruner(),
        make_pipeline(StandardScaler(), head_pruner()),
        PrunedClassifier(LogisticRegression(), InfluencePruner()),
    ],
    ids=["pruner", "pipeline", "wrapped"],
)
def test_unfitted_estimators(unfitted):
    with pytest.raises(NotFittedError, match="not fitted yet"):
        PruningCurveDisplay.from_estimator(unfitted)


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        (LogisticRegression(), "got LogisticRegression"),
        (StratifiedRandom(), "got StratifiedRandom"),
        (make_pipeline(StandardScaler(), LogisticRegression()), "LogisticRegression in it"),
        ("pruner", "got str"),
        (None, "got NoneType"),
    ],
)
def test_estimators_without_a_curve(wrong, named):
    with pytest.raises(TypeError, match="fitted InfluencePruner.*" + named):
        PruningCurveDisplay.from_estimator(wrong)


def test_missing_matplotlib_names_the_extra(pruner, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    with pytest.raises(ImportError, match=r'pip install "skprune\[plot\]"'):
        PruningCurveDisplay.from_estimator(pruner)


def test_the_package_does_not_import_matplotlib():
    code = "import sys, skprune.cli; sys.exit(any(m.startswith('matplotlib') for m in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
