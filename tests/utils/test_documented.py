"""The link in an estimator's HTML box leads to a page that docs/api.rst makes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV

import skprune
from skprune.baselines import STRATEGIES, Strategy

API = (Path(__file__).parents[2] / "docs" / "api.rst").read_text(encoding="utf-8")


def pages():
    """The names of the pages, read as Sphinx reads the file."""
    module = ""
    for line in API.splitlines():
        if found := re.match(r"\.\. currentmodule:: (\S+)", line):
            module = found[1]
        elif found := re.fullmatch(r"   (\w[\w.]*)", line):
            yield f"{module}.{found[1]}"


ESTIMATORS = [
    skprune.InfluencePruner(),
    skprune.LinearProxy(),
    skprune.TorchProxy(None),
    skprune.Retrain(),
    skprune.Certify(),
    skprune.PrunedClassifier(LogisticRegression()),
    skprune.PrunedRegressor(LogisticRegression()),
    skprune.PrunedSearchCV(GridSearchCV(LogisticRegression(), {})),
    skprune.PruningSampler(),
    *(strategy() for strategy in STRATEGIES.values()),
]


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=lambda estimator: type(estimator).__name__)
def test_every_estimator_links_to_its_page(estimator):
    link = estimator._get_doc_link()
    page = re.fullmatch(r"https://skprune\.readthedocs\.io/en/stable/generated/(.+)\.html", link)
    assert page[1] in set(pages())
    assert link in estimator._repr_html_()


def test_a_subclass_of_somebody_else_has_no_link():
    class Mine(Strategy):
        pass

    assert Mine()._get_doc_link() == ""
