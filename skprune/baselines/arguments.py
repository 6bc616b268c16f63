"""The arguments of ``compare``: what they may be, and the form in which they are used."""

from __future__ import annotations

import numbers
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from skprune.baselines import STRATEGIES
from skprune.baselines.base import Strategy
from skprune.utils.size import KEEP_CONSTRAINTS
from skprune.utils.sklearn_private import validate_parameters

#: Strategies that are part of every comparison, and the name of the reference.
ALWAYS = ("random", "stratified random")
ALL_ROWS = "all rows"


def read_sizes(keep: Any) -> list[float | int]:
    """The sizes to compare; a single one is a list of one."""
    sizes = list(keep) if np.ndim(keep) else [keep]
    for size in sizes:
        validate_parameters({"keep": KEEP_CONSTRAINTS}, {"keep": size}, caller_name="compare")
    found = [int(size) if isinstance(size, numbers.Integral) else float(size) for size in sizes]
    # A single row would stand in the column of all rows: 1 == 1.0.
    alone = any(isinstance(size, int) and size == 1 for size in found)
    if alone or not 0 < len(found) == len(set(found)):
        raise ValueError(
            f"keep={found} must hold at least one size, none twice, and not the number 1; give "
            "shares or numbers of rows, such as keep=[0.05, 0.2]."
        )
    return found


def read_seeds(seeds: Any) -> list[int]:
    """The seeds; a number of them stands for 0, 1, 2, ..."""
    found = range(int(seeds)) if isinstance(seeds, numbers.Integral) else seeds
    found = list(found) if np.ndim(found) == 1 else []
    if (
        not all(isinstance(seed, numbers.Integral) for seed in found)
        or not 0 < len(found) == len(set(found))
        or not 0 <= min(found) <= max(found) < 2**32
    ):
        raise ValueError(
            f"seeds={seeds!r} must be the number of seeds, at least 1, or the seeds themselves: "
            "different whole numbers from 0 to 2**32 - 1, such as seeds=[0, 1, 2]."
        )
    return [int(seed) for seed in found]


def read_strategies(strategies: Sequence[Any] | Mapping[str, Any]) -> dict[str, Any]:
    """The strategies by name, after the random ones."""
    if isinstance(strategies, str) or hasattr(strategies, "fit"):
        strategies = [strategies]
    if not isinstance(strategies, Mapping):
        kinds = [s if isinstance(s, (str, type)) else type(s) for s in strategies]
        names = [kind if isinstance(kind, str) else kind.__name__ for kind in kinds]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"{twice} come twice; give a dict of names to strategies.")
        strategies = dict(zip(names, strategies, strict=True))
    found: dict[str, Any] = {name: STRATEGIES[name]() for name in ALWAYS}
    for name, strategy in strategies.items():
        if isinstance(strategy, str):
            if strategy not in STRATEGIES:
                raise ValueError(
                    f"There is no strategy {strategy!r}; there are {sorted(STRATEGIES)}."
                )
            strategy = STRATEGIES[strategy]()
        _check(name, strategy)
        found[name] = strategy
    return found


def _check(name: str, strategy: Any) -> None:
    kind = type(strategy).__name__
    if isinstance(strategy, type):
        raise ValueError(
            f"{name!r}: {strategy.__name__} is a class; give an instance of it, such as "
            f"{strategy.__name__}()."
        )
    if name == ALL_ROWS or not hasattr(strategy, "fit") or not hasattr(strategy, "get_params"):
        raise ValueError(f"{name!r}: {strategy!r} is no strategy under a name of its own.")
    if name in ALWAYS and type(strategy) is not STRATEGIES[name]:
        raise ValueError(
            f"{name!r} is the name of a baseline that is part of every comparison, and "
            f"{kind} would take its place; give {kind} another name."
        )
    known = strategy.get_params(deep=False)
    needed = ("keep", "model", "random_state") if isinstance(strategy, Strategy) else ("keep",)
    missing = [parameter for parameter in needed if parameter not in known]
    if missing:
        raise ValueError(
            f"{name!r}: {kind} has the parameters {sorted(known)}, and compare also sets "
            f"{missing}. Let its __init__ take them, and pass them on to super().__init__ if it "
            "is a Strategy."
        )
