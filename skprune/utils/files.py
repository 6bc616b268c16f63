"""Write files of a cache that several processes share, any of which may be killed."""

from __future__ import annotations

import os
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

try:
    import fcntl
except ImportError:  # Windows, where a file that is open cannot be removed anyway
    fcntl = None  # type: ignore[assignment]

#: The suffix of files that are being written.
UNFINISHED = ".tmp"

#: Younger files may belong to a writer that is about to lock or to rename them.
YOUNG_SECONDS = 60


class UnwritableError(OSError):
    """A file cannot be written to a folder; the message says why."""


def make_folder(cache: Path, *names: str) -> Path:
    """Make a folder of a cache, and remove what killed processes have left in it.

    Raises
    ------
    UnwritableError
        If it cannot be made, or a link leads elsewhere.
    """
    folder = cache.joinpath(*names)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if folder.resolve() != cache.resolve().joinpath(*names):
            raise OSError(f"{folder} is a link to another folder")
    except OSError as error:
        raise UnwritableError(str(error)) from error
    for path in folder.glob(f"*{UNFINISHED}"):
        with suppress(OSError):
            if time.time() - path.stat().st_mtime > YOUNG_SECONDS:
                with path.open("rb") as file:
                    _lock(file)  # an error if its writer lives
                path.unlink()
    return folder


def write_whole(folder: Path, write: Callable[[BinaryIO], str]) -> None:
    """Write a file that appears under its name only once it is whole.

    Parameters
    ----------
    folder : Path
    write : callable (file) -> str
        Writes the content and returns the name.

    Raises
    ------
    UnwritableError
        If the file cannot be written, because the disk is full for example.
    """
    path = folder / f"{uuid.uuid4().hex}{UNFINISHED}"
    try:
        with path.open("xb") as file:
            with suppress(OSError):  # not every file system has locks
                _lock(file)
            name = write(file)
        os.replace(path, folder / name)
    except OSError as error:
        raise UnwritableError(str(error)) from error
    finally:
        remove(path)


def remove(path: Path) -> None:
    """Remove a file; one that cannot be removed is no reason to stop."""
    with suppress(OSError):
        path.unlink()


def _lock(file: BinaryIO) -> None:
    if fcntl is not None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
