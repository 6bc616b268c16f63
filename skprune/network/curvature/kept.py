"""What a curvature has found out of the rows, kept by their content: in memory or on disk."""

from __future__ import annotations

import os
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from skprune.cache import ContentCache, digest
from skprune.network.problem import NetworkProblem
from skprune.version import __version__

#: Factors kept in memory, shared by all pruners of this process.
FACTORS = ContentCache(max_bytes=2**30)

State = dict[str, Any]


class FactorCache:
    """Results of fits, by everything that they depend on.

    On disk a result is one file, which appears under its name only once it is whole, and whose
    name holds a digest of its content: a file that agrees with its name is right, whoever wrote it.

    Parameters
    ----------
    directory : str or path-like, optional
        Made when something is kept. Default: in memory, for pruners of this process.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self.directory = None if directory is None else Path(directory)

    def get(self, problem: NetworkProblem, about: str, fit: Callable[[], State]) -> State:
        """What ``fit`` finds for the rows of ``problem``; ``about`` tells what is fitted.

        Raises
        ------
        ValueError
            If there is a directory, and rows whose content nobody can tell.
        """
        content = problem.content()
        if content is None:
            if self.directory is not None:
                raise ValueError(
                    "cache_dir keeps curvatures by the content of rows, network and loss, which "
                    "one of these does not tell; leave cache_dir=None, or give arrays, a "
                    "TensorDataset or a Hugging Face dataset, one of torch's losses, and a module "
                    "that can be pickled."
                )
            return fit()
        key = digest(__version__, about, content)
        if self.directory is None:
            found: State = FACTORS.get(key, fit, _nbytes)
            return found
        return self._from_disk(self.directory / key, problem.theta.device, fit)

    def _from_disk(self, folder: Path, device: torch.device, fit: Callable[[], State]) -> State:
        for path in sorted(folder.glob("factors-*.pt")):
            # A file that is damaged, or gone meanwhile, is as none.
            with suppress(OSError, RuntimeError, ValueError, EOFError, UnpicklingError):
                state: State = torch.load(path, map_location=device, weights_only=True)
                if path.stem == _name(state):
                    return state
            path.unlink(missing_ok=True)
        state = fit()
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f"{uuid.uuid4().hex}.tmp"
        try:
            torch.save(state, temporary)
            os.replace(temporary, folder / f"{_name(state)}.pt")
        finally:
            temporary.unlink(missing_ok=True)
        return state


def _name(state: State) -> str:
    return f"factors-{digest(*_leaves(state))}"


def _nbytes(state: State) -> int:
    return sum(leaf.nbytes for leaf in _leaves(state) if isinstance(leaf, Tensor))


def _leaves(value: Any) -> list[Any]:
    """Tensors and plain values in nested lists, tuples and dicts, in order."""
    if isinstance(value, dict):
        value = [part for item in value.items() for part in item]
    if isinstance(value, (list, tuple)):
        return [leaf for part in value for leaf in _leaves(part)]
    return [value]
