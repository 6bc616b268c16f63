"""The version is the same wherever it stands, and so are the requirements of the conda recipe."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

import skprune

ROOT = Path(__file__).parents[1]


def text(name):
    return (ROOT / name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "pattern"),
    [
        ("pyproject.toml", r'^version = "(.+)"$'),
        ("CITATION.cff", r"^version: (.+)$"),
        ("README.md", r"badge/version-(.+?)-blue"),
        ("README.md", r"^  version = \{(.+)\},$"),
        ("docs/releases.rst", r"^ +version = \{(.+)\},$"),
        ("conda/meta.yaml", r'set version = "(.+?)"'),
    ],
)
def test_the_version_is_the_packages(name, pattern):
    assert re.findall(pattern, text(name), re.MULTILINE) == [skprune.__version__]


def test_the_switcher_has_one_preferred_version_and_it_is_the_packages():
    versions = json.loads(text("docs/_static/switcher.json"))
    preferred = [entry["version"] for entry in versions if entry.get("preferred")]
    assert preferred == [skprune.__version__]


def test_the_conda_recipe_needs_what_the_wheel_needs():
    listed = re.search(r"^dependencies = \[(.+?)^\]", text("pyproject.toml"), re.M | re.S)[1]
    wanted = {name.replace("torch>", "pytorch>") for name in re.findall(r'"(.+?)"', listed)}
    run = re.search(r"^  run:\n(.+?)\n\n", text("conda/meta.yaml"), re.M | re.S)[1]
    found = {line.strip("- ").replace(" ", "") for line in run.splitlines()}
    assert wanted == {name for name in found if not name.startswith("python>")}
