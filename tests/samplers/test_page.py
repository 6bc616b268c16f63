"""The page on samplers, as a reader copies it: from top to bottom, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

from skprune.torch import UCB, BalancedSampler, InfoBatch, OrderDP, RandomSubset, RePB, SeTa

PAGE = Path(__file__).parents[2] / "docs" / "samplers.rst"
BLOCK = re.compile(r"^\.\. testcode::\n\n((?: {3}.*\n|\n)+)", re.MULTILINE)


def test_the_page_runs_and_makes_every_sampler():
    found = {}
    for block in BLOCK.findall(PAGE.read_text(encoding="utf-8")):
        exec(dedent(block), found)  # the page's own code
    made = {type(sampler) for sampler in [found["sampler"], *found["rivals"]]}
    assert made == {UCB, BalancedSampler, InfoBatch, OrderDP, RandomSubset, RePB, SeTa}
