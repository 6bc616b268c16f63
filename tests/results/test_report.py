"""The report says of what its numbers are, and can be looked at, saved and read again."""

from __future__ import annotations

import json
import pickle
import re
import sys
import xml.etree.ElementTree as ET
from dataclasses import replace
from html.parser import HTMLParser

import numpy as np
import pytest
from cases.pruners import head_pruner
from sklearn.datasets import load_breast_cancer, load_diabetes, make_classification
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from skprune import InfluencePruner, PruningWarning, Retrain
from skprune.evaluation.certified import CertifiedGap
from skprune.results.gap import Gap, Learned, mean_gap, plus_minus
from skprune.results.report import ClassCount, PruningReport
from skprune.results.search_report import SearchReport

LINEAR = make_pipeline(StandardScaler(), LogisticRegression())


@pytest.fixture(scope="module")
def table():
    X, y = load_breast_cancer(return_X_y=True)
    return StandardScaler().fit_transform(X), y


@pytest.fixture(scope="module")
def pruner(table):
    return head_pruner(max_gap=0.05, random_state=0).fit(*table)


def report_of(level="retrained", error=0.002, held_out=True, **changes):
    """A report of 100 of 1,000 rows, on which the model loses 0.007."""
    gap = Gap(0.007, error, level, "loss", 200, held_out)
    random = Gap(0.021, 0.003, level, "loss", 200, held_out)
    path = {
        "n_kept": np.array([400, 80, 40]),
        "share": np.array([0.5, 0.1, 0.05]),
        f"{level}_gap": np.array([0.001, 0.006, np.nan]),
        "standard_error": np.array([0.001, 0.002, np.inf]),
        "random_gap": np.array([0.002, np.nan, 0.3]),
        "allowed": np.array([True, True, False]),
        "seconds": np.ones(3),
    }
    fields = {
        "status": "pruned",
        "met": True,
        "n_rows": 1000,
        "n_kept": 100,
        "classes": (ClassCount(np.int64(0), 600, 60), ClassCount("<b>", 400, 40)),
        "gaps": {level: gap},
        "random": random,
        "random_is_kept": False,
        "trial": gap,
        "learned": Learned(-0.3, Gap(0.4, 0.01, level, "loss", 200)),
        "refused": "",
        "max_gap": 0.01,
        "sampling": "uniform",
        "model": "a model",
        "gradient_norm": 0.0,
        "selection_seconds": 1.0,
        "full_fit_seconds": None,
        "pruned_fit_seconds": None,
        "full_fit_rows": 800,
        "pruned_fit_rows": 80,
        "models": {level: "Boosting"},
        "apart": True,
        "path": path,
    }
    return PruningReport(**{**fields, **changes})


SHARE = "Boosting retrained on as large a share of the other rows loses 0.007 ± 0.002 nats"
PART = "Boosting retrained on those of them that are not held out loses 0.007 ± 0.002 nats"
LOSES = "Boosting retrained on them loses 0.007 ± 0.002 nats"
NOTHING = Gap(0.001, 0.01, "retrained", "loss", 200)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {},
            f"kept 100 of 1,000 rows; {SHARE} (0.01 allowed), on 200 rows that had no part in the "
            "search; on as many random rows (one draw) it loses 0.021 ± 0.003 nats",
        ),
        (
            {"max_gap": None, "apart": False, "trial": None, "random": None},
            f"kept 100 of 1,000 rows; {PART}, on 200 held-out rows",
        ),
        (
            {"gaps": {"retrained": Gap(0.007, 0.002, "retrained", "loss", 1000, False)}},
            f"kept 100 of 1,000 rows; {LOSES} (0.01 allowed), on all 1,000 rows; on as many random "
            "rows (one draw) it loses 0.021 ± 0.003 nats",
        ),
        (
            {"apart": False, "trial": None, "random": None},
            f"kept 100 of 1,000 rows; {LOSES} (0.01 allowed), on the 200 held-out rows by which "
            "the size was chosen",
        ),
        (
            {"random_is_kept": True},
            "kept 100 of 1,000 rows, drawn at random, which do as well as chosen ones; "
            f"{SHARE} (0.01 allowed), on 200 rows that had no part in the search",
        ),
        (
            {"n_kept": 1000, "met": False, "gaps": {}, "random": None},
            "kept all 1,000 rows: no smaller set was found on which Boosting loses at most 0.01 "
            "nats",
        ),
        (
            {"n_kept": 1000, "met": False, "learned": Learned(-0.6, NOTHING)},
            "kept all 1,000 rows: the allowed gap of 0.01 nats is more than all that the model has "
            "learned",
        ),
        (
            {
                "n_kept": 1000,
                "met": False,
                "gaps": {},
                "random": None,
                "models": {"refit": "a head", "retrained": "Boosting"},
            },
            "kept all 1,000 rows: no smaller set was found on which a head and Boosting both lose "
            "at most 0.01 nats",
        ),
        ({"n_kept": 1000, "max_gap": None}, "kept all 1,000 rows, as asked"),
        (
            {"untrained": "Boosting", "models": {"retrained": "a head"}, "random": None}
            | {"max_gap": None, "apart": False, "full_fit_rows": 1000},
            "kept 100 of 1,000 rows; Boosting was not trained on them (verify='retrain' does it); "
            "a head retrained on them loses 0.007 ± 0.002 nats, on 200 held-out rows",
        ),
    ],
    ids=[
        "apart",
        "fixed",
        "on all rows",
        "by X_val",
        "random",
        "all",
        "all, for two models",
        "nothing to lose",
        "as asked",
        "not trained",
    ],
)
def test_headline(changes, said):
    report = report_of(**changes)
    assert report.headline == said
    assert " ".join(str(report).split()).startswith(f"Pruning report: {said} status")


@pytest.mark.parametrize(
    ("level", "changes", "said"),
    [
        ("refit", {"own": "a head"}, "(a head; 200 held-out rows)"),
        ("refit", {"own": "Boosting"}, "(200 held-out rows)"),
        ("refit", {"own": "Boosting", "untrained": "Forest"}, "(Boosting; 200 held-out rows)"),
        ("retrained", {"own": "a head"}, "(200 held-out rows)"),
    ],
)
def test_a_gap_of_another_model_than_the_one_that_counts_says_so(level, changes, said):
    lines = dict(report_of(level, **changes).lines())
    assert lines[f"gap, {level}"].endswith(said)
    assert lines[f"random, {level}"].endswith(said)


@pytest.mark.parametrize(("timed", "said"), [("Boosting", "Boosting"), ("", "this model")])
def test_the_saving_is_that_of_the_model_whose_trainings_are_timed(timed, said):
    report = report_of(timed=timed, full_fit_seconds=2.0, pruned_fit_seconds=1.5)
    line = dict(report.lines())["net saving"]
    assert line.startswith(f"0.500 s a training of {said}; ")
    assert line.endswith("after 2.0 trainings")


@pytest.mark.parametrize(
    ("level", "said"),
    [
        ("certified", "loses at most 0.009 nats with 95% confidence (0.01 allowed), on 200 rows "),
        ("interval", "loses at most 0.009 nats by a 95% bootstrap interval, which is no certif"),
    ],
)
def test_headline_of_certificates(level, said):
    gap = CertifiedGap(0.004, 0.002, level, "loss", 200, 0.009, 0.95)
    report = report_of(level, gaps={level: gap}, random=None)
    assert f"Boosting retrained on them {said}" in report.headline
    assert report.headline.endswith("rows that took part in nothing")
    refused = report_of(level, gaps={}, random=None, n_kept=1000, met=False)
    assert "no smaller set is certified on which Boosting loses at most 0.01" in refused.headline


@pytest.mark.parametrize(
    ("value", "failure", "level", "said"),
    [
        (-0.007, "", "refit", "Boosting fitted to them gains 0.007 ± 0.002 nats"),
        (0.007, "", "predicted", "Boosting is predicted to lose 0.007 ± 0.002 nats"),
        (0.007, "", "nearest", "Boosting (nearest) loses 0.007 ± 0.002 nats"),
        (np.nan, "", "retrained", "; Boosting diverged in training"),
        (np.inf, "one class", "retrained", "; Boosting cannot be trained on them"),
    ],
)
def test_verbs(value, failure, level, said):
    gap = Gap(value, 0.002, level, "loss", 200)
    gap.failure = failure
    assert said in report_of(level, gaps={level: gap}).headline


@pytest.mark.parametrize(
    ("value", "error", "said"),
    [
        (0.00643, 0.00098, "0.0064 ± 0.0010"),
        (0.0064, 0.0026, "0.006 ± 0.003"),
        (12.3, 4.0, "12 ± 4"),
        (0.5, 0.0, "0.5 ± 0"),
        (3e-8, 6e-8, "3e-08 ± 6e-08"),
        (np.inf, np.inf, "inf"),
    ],
)
def test_digits_follow_the_error(value, error, said):
    assert plus_minus(value, error) == said


def test_doubts_stand_above_numbers():
    better = Gap(0.001, 0.001, "retrained", "loss", 200)
    report = report_of(random=better, diagnostics=("the tails are heavy",))
    assert report.beaten_by_random
    text, page = str(report), report._repr_html_()
    for shown in (text, page):
        for doubt in ("the tails are heavy", "take StratifiedRandom here"):
            assert 0 < shown.index(doubt) < shown.index("status")


@pytest.mark.parametrize(
    ("options", "name", "level"),
    [
        ({"model": LogisticRegression()}, "LogisticRegression fitted to", "refit"),
        ({"model": LINEAR}, "LogisticRegression retrained on", "retrained"),
        ({"model": "softmax"}, "a linear head fitted to", "refit"),
        (
            {
                "model": HistGradientBoostingClassifier(max_iter=5),
                "verify": Retrain(n_seeds=1),
            },
            "HistGradientBoostingClassifier retrained on",
            "retrained",
        ),
    ],
    ids=["head", "pipeline", "proxy", "boosting"],
)
def test_numbers_name_their_model(table, options, name, level):
    report = InfluencePruner(keep=0.5, random_state=0, **options).fit(*table).report_
    assert f"; {name} " in report.headline
    assert list(report.models) == [level]
    assert f"{report.gaps[level].n_rows:,} " in report.headline


def test_every_model_of_the_budget_has_its_number(table):
    report = InfluencePruner(0.2, random_state=0).fit(*table).report_
    assert list(report.models) == ["refit", "retrained"]
    for name in report.models.values():
        assert f"{name} " in report.headline


def test_the_line_of_trainings_where_all_rows_are_kept():
    """Nothing is trained on other rows then."""
    X, y = make_classification(300, flip_y=0.2, random_state=0)
    lines = dict(InfluencePruner(0.2, random_state=0).fit(X, y).report_.lines())
    assert re.search(r", 1 training \(.* on 240 rows, \d+\.\d\d s each$", lines["retraining"])


def test_unit_of_numbers():
    X, y = load_diabetes(return_X_y=True)
    report = InfluencePruner(keep=0.8, model=Ridge(), random_state=0).fit(X, y).report_
    assert report.unit == "of Var(y)"
    assert report_of(gaps={"refit": Gap(0.1, 0.1, "refit", "accuracy", 9)}).unit == "accuracy"


def test_random_rows_beside_a_head_are_several_draws(pruner):
    random = pruner.report_.random
    assert (random.n_draws, "mean of 5 draws" in pruner.report_.headline) == (5, True)
    assert "5 draws, penalty tuned" in pruner.report_.headline
    assert "which spread by" in str(pruner.report_)


def test_mean_of_draws():
    """The error of the rows is the same in every draw; that of the draws becomes smaller."""
    draws = [Gap(value, 0.3, "refit", "loss", 50) for value in (1.0, 2.0, 6.0)]
    mean = mean_gap(draws)
    assert float(mean) == 3.0
    assert mean.spread == pytest.approx(7**0.5)
    assert mean.standard_error == pytest.approx((0.09 + 7 / 3) ** 0.5)
    assert (mean.level, mean.n_rows, mean.n_draws) == ("refit", 50, 3)
    assert mean_gap(draws[:1]) is draws[0]
    assert pickle.loads(pickle.dumps(mean)).n_draws == 3


def test_figures_are_aligned(pruner):
    lines = [line for line in str(pruner.report_).splitlines() if " ± " in line]
    rows = [line for line in lines if line.startswith(("  gap, ", "  random, "))]
    assert len({line.index("±") for line in rows}) == 1
    head, *classes = str(pruner.report_).splitlines()[-3:]
    assert len({len(head), *map(len, classes)}) == 1


class Balanced(HTMLParser):
    """Every tag is closed in order."""

    VOID = ("meta", "circle", "polyline")

    def __init__(self):
        super().__init__()
        self.open = []

    def handle_starttag(self, tag, attrs):
        if tag not in self.VOID or tag == "circle":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        pass

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def svg_of(page):
    return ET.fromstring(page[page.index("<svg") : page.index("</svg>") + len("</svg>")])


@pytest.mark.parametrize("keep", [None, 0.5])
def test_page(table, tmp_path, keep):
    fitted = head_pruner(max_gap=0.05, keep=keep, random_state=0).fit(*table)
    path = tmp_path / "report.html"
    fitted.report_.save(path)
    page = path.read_text(encoding="utf-8")
    parser = Balanced()
    parser.feed(page.replace("<!DOCTYPE html>", "").replace('<meta charset="utf-8">', ""))
    assert "://" not in page.replace("http://www.w3.org/2000/svg", "")  # nothing is fetched
    assert fitted.report_.headline in page
    assert "prefers-color-scheme: dark" in page
    if keep:  # a single size is no curve
        assert "<svg" not in page
        return
    kept = [e for e in svg_of(page).iter() if e.get("class") == "kept" and e.tag.endswith("circle")]
    assert len(kept) == len(fitted.path_["n_kept"]) + 1  # one in the legend


def test_curve_leaves_out_what_is_no_number():
    svg = svg_of(report_of()._repr_html_())
    points = [e for e in svg if e.tag.endswith("circle")]
    drawn = [e.get("class") for e in points if len(e) and "%" in (e[0].text or "")]
    assert sorted(drawn) == ["kept", "kept", "random"]
    for element in svg:
        for value in element.attrib.values():
            assert "nan" not in value
            assert "inf" not in value
    (ring,) = [e for e in points if e.get("class") == "chosen" and not len(e)]
    (dot,) = [e for e in points if len(e) and e[0].text.startswith("10.0% kept")]
    assert (ring.get("cx"), ring.get("cy")) == (dot.get("cx"), dot.get("cy"))


@pytest.mark.parametrize("gap", [[np.nan] * 3, [0.0] * 3, [1e-12, -1e-12, 0.0]])
def test_curves_at_the_edge(gap):
    path = {**report_of().path, "retrained_gap": np.array(gap), "standard_error": np.zeros(3)}
    path["random_gap"] = np.full(3, np.nan)
    page = report_of(path=path, max_gap=None)._repr_html_()
    assert ("<svg" in page) == np.isfinite(gap).any()
    assert "<svg" not in report_of(path={})._repr_html_()


def test_markup_is_escaped():
    page = report_of(status="a <script>", notes=(("<i>", "&"),)).to_html()
    assert "<b>" not in page
    assert "<script>" not in page
    assert "<i>" not in page


def test_dict_is_json(pruner, tmp_path):
    path = tmp_path / "report.JSON"
    report = replace(pruner.report_, trial=Gap(np.nan, np.inf, "refit", "loss", 3))
    report.save(path)
    found = json.loads(path.read_text(encoding="utf-8"))
    assert found == json.loads(json.dumps(report.to_dict(), allow_nan=False))
    assert found["headline"] == report.headline
    assert found["gaps"]["refit"]["value"] == pytest.approx(float(pruner.gap_))
    assert (found["trial"]["value"], found["trial"]["standard_error"]) == (None, None)
    assert [c["kept"] for c in found["classes"]] == [c.kept for c in report.classes]
    assert found["path"]["n_kept"] == pruner.path_["n_kept"].tolist()


def test_text_and_other_files(pruner, tmp_path):
    pruner.report_.save(tmp_path / "report.txt")
    assert (tmp_path / "report.txt").read_text(encoding="utf-8") == f"{pruner.report_}\n"
    with pytest.raises(ValueError, match=r"\.html, \.json, \.txt.*got 'report\.pdf'"):
        pruner.report_.save("report.pdf")


def test_frame_has_a_line_for_every_size(pruner):
    frame = pruner.report_.to_frame()
    assert frame["n_kept"].tolist() == pruner.path_["n_kept"].tolist()
    (chosen,) = frame.loc[frame["chosen"], "refit_gap"]
    assert chosen == float(pruner.report_.trial)


def test_no_size_is_chosen_where_all_rows_are_kept(table):
    with pytest.warns(PruningWarning):
        report = head_pruner(max_gap=1e-9, random_state=0).fit(*table).report_
    assert not report.to_frame()["chosen"].any()
    assert "'chosen'" not in report.picture()


def test_report_of_a_search(tmp_path):
    report = SearchReport(100, ((66, 20), (67, 20)), False, 5, 2, 0.5, 1.0, 2.0, 3.0, 1.0, 20.0)
    assert report.headline == (
        "compared 5 candidates on 30% of the rows, and the best 2 of them on all, in 6.0 s instead "
        "of about 20.0 s"
    )
    assert report.to_frame()["kept"].tolist() == [20, 20]
    assert report.to_dict()["folds"] == [[66, 20], [67, 20]]
    report.save(tmp_path / "report.html")
    assert "Search report" in (tmp_path / "report.html").read_text(encoding="utf-8")
    alone = replace(report, full_seconds=None, n_finalists=0, diagnostics=("noise",))
    assert alone.headline == "compared 5 candidates on 30% of the rows"
    assert str(alone).index("noise") < str(alone).index("candidates  ")


def test_missing_pandas_names_the_extra(pruner, monkeypatch):
    monkeypatch.setitem(sys.modules, "pandas", None)
    for frame in (pruner.report_.to_frame, lambda: pruner.rows_):
        with pytest.raises(ImportError, match=r'pip install "skprune\[cli\]"'):
            frame()
