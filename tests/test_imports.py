"""What is imported when: seconds that nobody should wait for before there is something to do."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import skprune

HEAVY = {"torch", "sklearn", "scipy"}
UNTRAINED = """\
from sklearn.base import clone
from {home} import {name}
pruner = clone({name}(keep=0.5)).set_params(keep=10)
assert "keep=10" in repr(pruner)"""
COMMAND = """\
from skprune.cli import main
try:
    main([{arguments}])
except SystemExit as done:
    assert done.code == 0"""


@pytest.mark.parametrize(
    ("program", "banned"),
    [
        ("dir(skprune), skprune.__version__, skprune.PruningWarning", HEAVY),
        (COMMAND.format(arguments="'--version'"), HEAVY),
        (COMMAND.format(arguments="'--help'"), HEAVY),
        (COMMAND.format(arguments="'prune', '--help'"), HEAVY),
        (UNTRAINED.format(home="skprune.baselines", name="StratifiedRandom"), {"torch"}),
        (UNTRAINED.format(home="skprune.baselines", name="EL2N"), {"torch"}),
        (UNTRAINED.format(home="skprune", name="InfluencePruner"), {"torch"}),
    ],
)
def test_torch_is_imported_on_first_use(program, banned):
    loaded = "import sys; print(*sys.modules, file=sys.stderr)"
    code = f"import skprune\n{program}\n{loaded}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    assert not banned & set(run.stderr.split())


def test_every_public_name_is_found():
    assert set(skprune.__all__) <= set(dir(skprune))
    for name in skprune.__all__:
        assert getattr(skprune, name) is getattr(skprune, name)
    assert callable(skprune.subset.solve_subset)
    assert callable(skprune.torch.BalancedSampler)
    with pytest.raises(AttributeError, match="has no attribute 'Pruner'"):
        skprune.Pruner  # noqa: B018


def test_private_parts_of_scikit_learn_are_imported_in_one_file():
    private = re.compile(r"\bsklearn[\w.]*\._|\bsklearn[\w.]* import (\([^)]*|.*)\b_")
    files = Path(skprune.__file__).parent.rglob("*.py")
    found = {path.name for path in files if private.search(path.read_text(encoding="utf-8"))}
    assert found == {"sklearn_private.py"}


@pytest.mark.parametrize(
    "path", sorted(Path(__file__).parents[1].glob("benchmarks/*.py")), ids=lambda path: path.stem
)
def test_scripts_of_benchmarks_can_be_imported(path):
    try:
        import_module(f"benchmarks.{path.stem}")
    except ModuleNotFoundError as error:
        if error.name is None or error.name.partition(".")[0] in ("benchmarks", "skprune"):
            raise
        pytest.skip(f"{error.name} is not installed")
