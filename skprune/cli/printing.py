"""Print to stdout and stderr without ever failing, and format messages."""

from __future__ import annotations

import difflib
import io
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from typing import Any


class Outlet:
    """A stream for ``print`` that drops text that its target does not take.

    If the disk is full, the reader of a pipe has gone or a letter cannot be encoded, then only the
    message is lost and not the work.

    Attributes
    ----------
    lost : OSError or None
        The reason why nothing more was printed.
    """

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self.lost: OSError | None = None
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    def write(self, text: str) -> int:
        """Write text, like any text stream, but never fail."""
        self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        """Flush the stream, like any other, but never fail."""
        self._try(self._stream.flush)

    def _try(self, act: Callable[[], Any]) -> None:
        if self.lost is None:
            try:
                act()
            except OSError as error:
                self.lost = error
                with suppress(OSError):  # what is left in the buffer is not tried again at exit
                    os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


@contextmanager
def printing_never_fails() -> Iterator[Outlet]:
    """Replace stdout, which is the value, and stderr by outlets."""
    stdout = Outlet(sys.stdout or io.StringIO())  # a process may have been started without
    stderr: Any = Outlet(sys.stderr or io.StringIO())
    redirected: Any = stdout
    with redirect_stdout(redirected), redirect_stderr(stderr):
        yield stdout


@contextmanager
def warnings_on_stderr(command: str) -> Iterator[None]:
    """Print every warning once and on one line."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield
    for message in dict.fromkeys(one_line(w.message) for w in caught if _is_for_users(w)):
        print(f"skprune {command}: warning: {message}", file=sys.stderr)


def _is_for_users(warning: warnings.WarningMessage) -> bool:
    developers = (DeprecationWarning, PendingDeprecationWarning, FutureWarning, ImportWarning)
    return not issubclass(warning.category, developers)


def did_you_mean(name: str, names: Sequence[str]) -> str:
    """A hint at the closest name, or nothing."""
    folded = {other.lower(): other for other in names}
    close = difflib.get_close_matches(name.lower(), folded, n=1)
    return f"; did you mean {folded[close[0]]!r}?" if close else ""


def one_line(error: object) -> str:
    """An error message on one line."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split())
