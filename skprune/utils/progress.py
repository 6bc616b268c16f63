"""A progress line on stderr that says what a long fit is doing."""

from __future__ import annotations

import multiprocessing
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Protocol

from tqdm.auto import tqdm

if TYPE_CHECKING:
    from skprune.results.gap import Gap


#: Seconds after which a fit shows its progress without being asked to.
DELAY = 5.0
#: Seconds between two drawings: while nothing is counted, and at least while much is.
BEAT, LEAST = 1.0, 0.1


class Sized(Protocol):
    """A subset that was tried."""

    @property
    def size(self) -> int:
        """Number of rows kept."""

    @property
    def gap(self) -> Gap:
        """Gap of the subset."""


class Progress:
    """A line on stderr with the phase, a count of its steps and the seconds since ``fit`` began.

    A thread draws it, because most of the time is spent where nothing can be counted. It is a
    context manager that removes the line at the end.

    Parameters
    ----------
    verbose : int or "auto", default=0
        As in ``InfluencePruner``.

    Attributes
    ----------
    shown : bool
        Whether a line is shown, now or later.
    """

    def __init__(self, verbose: int | str = 0) -> None:
        auto = verbose == "auto"
        self.shown = _is_watched() if auto else bool(verbose)
        self._delay = DELAY if auto else 0.0
        self._begin, self._drawn = time.perf_counter(), 0.0
        self._lock, self._ended = threading.RLock(), threading.Event()
        self._bar: Any = None
        self._tried = ""
        self.phase("reading the rows")

    @property
    def seconds(self) -> float:
        """Seconds since the fit began."""
        return time.perf_counter() - self._begin

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as a hidden line, so that progress never changes a digest."""
        return Progress, ()

    def __enter__(self) -> Progress:
        if self.shown:
            self._thread = threading.Thread(target=self._watch, daemon=True)
            self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        if self.shown:
            self._ended.set()
            self._thread.join()
            self._close()

    def phase(self, name: str, total: int = 0, of: str = "", unit: str = "", done: int = 0) -> None:
        """Begin a phase.

        Parameters
        ----------
        name : str
        total : int, default=0
            Number of its steps; 0 if they cannot be counted.
        of : str
            Words before the total: "about " or "at most ".
        unit : str
            The name of the steps, in the plural.
        done : int
            Number of steps that are done already.
        """
        with self._lock:
            self._close()
            self._name, self._total, self._of, self._unit = name, total, of, unit
            self._done = done
            self._draw()

    def step(self, steps: int = 1) -> None:
        """Count ``steps`` more as done."""
        with self._lock:
            self._done += steps
            if self._total and time.perf_counter() - self._drawn >= LEAST:
                self._draw()

    def tried(self, trial: Sized) -> None:
        """Show the subset that was tried last."""
        gap = trial.gap
        self._tried = f", {trial.size:,} rows kept, {gap.level} gap {float(gap):+.4f}"

    def say(self, text: str) -> None:
        """Write a permanent line above the progress line."""
        if self.shown:
            tqdm.write(f"skprune: {text}", file=sys.stderr)

    def __str__(self) -> str:
        text = f"skprune {time.perf_counter() - self._begin:.0f} s, {self._name}"
        if self._total:
            total = max(self._total, self._done)
            text += f": {self._done:,} of {self._of}{total:,} {self._unit}"
        return text + self._tried

    def _watch(self) -> None:
        wait = self._delay
        while not self._ended.wait(wait):
            with self._lock:
                self._draw()
            wait = BEAT

    def _draw(self) -> None:
        if not self.shown or time.perf_counter() - self._begin < self._delay:
            return
        if self._bar is None:
            # A new one for every phase: in a notebook its length is that of its first total.
            self._bar = tqdm(
                total=self._total or None,
                file=sys.stderr,
                leave=False,
                dynamic_ncols=True,
                bar_format="{desc} |{bar}|" if self._total else "{desc}",
                desc=str(self),
                initial=self._done,
            )
        else:
            self._bar.n = self._done
            self._bar.set_description_str(str(self))
        self._drawn = time.perf_counter()

    def _close(self) -> None:
        if self._bar is not None:
            self._draw()  # what it has come to
            self._bar.close()
            self._bar = None


def _is_watched() -> bool:
    """Whether somebody may see the line: stderr is no file, and this is no worker process."""
    first = multiprocessing.current_process().name == "MainProcess"
    if not first or threading.current_thread() is not threading.main_thread():
        return False
    terminal = sys.stderr is not None and sys.stderr.isatty()
    return terminal or any(kind.__name__ == "tqdm_notebook" for kind in tqdm.__mro__)
