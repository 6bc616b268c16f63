"""What a fit shows of itself, to whom, and that it changes nothing."""

import io
import re
import threading
import time
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from cases.modules import trained_mlp
from cases.pruners import make_pruner
from sklearn.datasets import load_iris
from sklearn.tree import DecisionTreeClassifier

from skprune import PruningWarning
from skprune.cli import main
from skprune.data.content import content
from skprune.proxies import layers as network
from skprune.utils import progress
from skprune.utils.progress import Progress

X, y = load_iris(return_X_y=True)
BEGIN = ["reading the rows", "fitting the proxy", "measuring the model on all rows"]
END = ["fitting the proxy to all rows", "choosing among all rows", "comparing with random rows"]
SCORES = "scoring every row"
THROUGH = "running rows through the network"
APART = "measuring on other rows"
INNER, EVERY = "fitting the curvature of 120 rows", "fitting the curvature of 150 rows"
MLP = trained_mlp(X.astype("f4"), y)


class Stream(io.StringIO):
    """Stands for stderr: a terminal, or a file."""

    terminal = True

    def isatty(self):
        return self.terminal

    def lines(self):
        """All that was to be seen, one after the other."""
        return [line.strip() for line in re.split("[\r\n]", self.getvalue()) if line.strip()]


@pytest.fixture
def stderr(monkeypatch):
    stream = Stream()
    monkeypatch.setattr(progress, "sys", SimpleNamespace(stderr=stream))
    monkeypatch.setattr(progress, "LEAST", 0.0)
    return stream


def fitted(**options):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", PruningWarning)
        return make_pruner(random_state=0, **options).fit(X.astype("f4"), y)


@pytest.mark.parametrize(
    ("verbose", "terminal", "delay", "shown"),
    [
        ("auto", True, 0.0, True),
        ("auto", True, 60.0, False),
        ("auto", False, 0.0, False),
        (0, True, 0.0, False),
        (1, False, 60.0, True),
    ],
)
def test_who_sees_it(verbose, terminal, delay, shown, stderr, monkeypatch):
    stderr.terminal = terminal
    monkeypatch.setattr(progress, "DELAY", delay)
    fitted(keep=0.3, verbose=verbose)
    assert bool(stderr.getvalue()) == shown


def test_workers_show_nothing_by_themselves(stderr):
    assert Progress("auto").shown
    with ThreadPoolExecutor(1) as pool:
        assert not pool.submit(lambda: Progress("auto").shown).result()


def test_it_comes_while_nothing_can_be_counted_and_goes_at_the_end(stderr, monkeypatch):
    monkeypatch.setattr(progress, "DELAY", 0.05)
    before, end = threading.active_count(), time.monotonic() + 20

    def think():
        with Progress("auto") as shown:
            shown.phase("thinking")
            assert stderr.getvalue() == ""
            while "thinking" not in stderr.getvalue() and time.monotonic() < end:
                time.sleep(0.01)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        think()
    assert "thinking" in stderr.getvalue()
    assert stderr.getvalue().endswith("\r")
    # What is left is at most the thread that tqdm keeps for all its bars.
    assert threading.active_count() <= before + 1


@pytest.mark.parametrize(
    ("options", "phases"),
    [
        ({"keep": 0.3}, [*BEGIN, "choosing the rows", *END, SCORES]),
        ({}, [*BEGIN, "searching the size", *END, SCORES]),
        (
            {"max_gap": 0.2, "verify": DecisionTreeClassifier(max_depth=3), "n_seeds": 2},
            [*BEGIN, "searching the size", "retraining", END[0], END[2], APART, SCORES],
        ),
        (
            {"keep": 0.3, "model": MLP},
            [BEGIN[0], THROUGH, *BEGIN[1:], "choosing the rows", *END, SCORES],
        ),
        (
            {"keep": 0.3, "model": MLP, "layers": "all"},
            [BEGIN[0], INNER, BEGIN[2], "choosing the rows", END[0], EVERY, *END[1:], SCORES],
        ),
    ],
)
def test_all_phases_are_named_and_counted(options, phases, stderr):
    pruner = fitted(verbose=1, **options)
    lines, seen = stderr.lines(), stderr.getvalue()
    silent = fitted(verbose=0, **options)
    assert stderr.getvalue() == seen
    named = [re.match(r"skprune \d+ s, ([^:,|]+)", line)[1].strip() for line in lines]
    assert list(dict.fromkeys(named)) == phases
    counts = [re.search(r": ([\d,]+) of (?:about |at most )?([\d,]+) \w", line) for line in lines]
    counts = [[int(n.replace(",", "")) for n in found.groups()] for found in counts if found]
    assert all(done <= total for done, total in counts)
    level = pruner.gap_.level
    assert re.search(rf"\d rows kept, {level} gap [+-]\d\.\d{{4}}", lines[-1])
    np.testing.assert_array_equal(pruner.sample_indices_, silent.sample_indices_)


def test_trainings_are_those_of_the_report(stderr):
    pruner = fitted(max_gap=0.2, verify=DecisionTreeClassifier(max_depth=3), verbose=1)
    made = {}
    for line in stderr.lines():
        if found := re.match(
            r"skprune \d+ s, ([^:]+): (\d+) of (?:at most|about) \d+ trainings", line
        ):
            made[found[1]] = int(found[2])
    assert f", {sum(made.values())} trainings" in str(pruner.report_)


@pytest.mark.parametrize(("least", "said"), [(0.0, 1), (1e6, 0)])
def test_layers_say_first_how_long_they_take(least, said, stderr, monkeypatch):
    monkeypatch.setattr(network, "DELAY", least)
    state = torch.get_rng_state()
    fitted(keep=0.3, model=MLP, layers="all", verbose=1)
    assert torch.equal(state, torch.get_rng_state())
    lines = stderr.lines()
    found = [i for i, line in enumerate(lines) if re.match(r"skprune: about [\d,]+ s", line)]
    assert len(found) == said
    assert all("fitting" not in line for line in lines[: sum(found)])


def test_a_digest_does_not_see_it(stderr):
    with Progress(1) as shown:
        shown.phase("thinking", 3)
        assert content(shown) == content(Progress())


@pytest.mark.parametrize("option", [[], ["--quiet"]])
def test_command_line(option, stderr, monkeypatch, tmp_path):
    monkeypatch.setattr(progress, "DELAY", 0.0)
    data = tmp_path / "rows.csv"
    np.savetxt(data, np.c_[X, y], delimiter=",", header="a,b,c,d,y", comments="")
    out = tmp_path / "kept.csv"
    command = ["prune", str(data), "--target", "y", "--keep", "0.5", "--out", str(out)]
    assert main(command + option) == 0
    assert ("reading the rows" in stderr.getvalue()) == (not option)
