"""A cache of what curvatures compute from rows, by the content of these, in memory or on disk."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from skprune.data.content import UnknownContentError
from skprune.network.problem import NetworkProblem
from skprune.utils.cache import ContentCache, digest
from skprune.utils.exceptions import warn_user
from skprune.utils.files import UnwritableError, make_folder, remove, write_whole
from skprune.version import __version__

#: Factors in memory, shared by all pruners of this process.
FACTORS = ContentCache(max_bytes=2**30)

State = dict[str, Any]


class FactorCache:
    """Results of fits, stored by a digest of everything that they depend on.

    On disk a result is one file, which gets its name only once it is complete. The name holds a
    digest of the content, so that damaged files are recognised.

    Parameters
    ----------
    directory : str or path-like, optional
        Created when the first result is stored. By default results are stored in memory.
    """

    def __init__(self, directory: str | os.PathLike[str] | None = None) -> None:
        self.directory = None if directory is None else Path(directory)

    def get(self, problem: NetworkProblem, about: str, fit: Callable[[], State]) -> State:
        """The result of ``fit`` for the rows of ``problem``; ``about`` identifies the fit.

        Raises
        ------
        ValueError
            If there is a directory, but the content of the rows cannot be known.
        """
        try:
            content = problem.content()
        except UnknownContentError as error:
            if self.directory is not None:
                raise ValueError(
                    "cache_dir stores curvatures by the content of rows, network and loss, which "
                    f"cannot be known here: {error}. Leave cache_dir=None, or change that: the "
                    "content is known of arrays, TensorDatasets, Hugging Face datasets, torch's "
                    "losses, tensors and plain values, and of code that uses no open files, locks "
                    "or the like."
                ) from error
            return fit()
        key = digest(__version__, about, content)
        if self.directory is None:
            found: State = FACTORS.get(key, fit, _nbytes)
            return found
        return self._from_disk(self.directory, key, problem.theta.device, fit)

    def _from_disk(
        self, directory: Path, key: str, device: torch.device, fit: Callable[[], State]
    ) -> State:
        state: State | None = None
        try:
            folder = make_folder(directory, key)
            for path in sorted(folder.glob("factors-*.pt")):
                state = _load(path, device)
                if state is not None:
                    return state
                remove(path)
            state = fit()
            _write(folder, state)
        except UnwritableError as error:
            warn_user(
                f"The factors of the curvature cannot be written to {directory} ({error}), so that "
                "another process will compute them again; make room there, or give another "
                "cache_dir."
            )
        return fit() if state is None else state


def _write(folder: Path, state: State) -> None:
    def write(file: BinaryIO) -> str:
        try:
            torch.save(state, file)
        except RuntimeError as error:  # how torch words a disk that is full
            raise OSError(str(error)) from error
        return f"{_name(state)}.pt"

    write_whole(folder, write)


def _load(path: Path, device: torch.device) -> State | None:
    """The content of a file; None if it does not agree with the file's name."""
    try:
        state: State = torch.load(path, map_location=device, weights_only=True)
        return state if path.stem == _name(state) else None
    except Exception:  # gone meanwhile, or damaged
        return None


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
