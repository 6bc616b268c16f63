"""Files of a comparison's cells, so that an interrupted comparison continues."""

from __future__ import annotations

import hashlib
import json
import re
from contextlib import suppress
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from skprune.data.strata import Rows
from skprune.utils.files import make_folder, write_whole


@dataclass(frozen=True)
class Selected:
    """Rows that a strategy chose, their weights, and the seconds it took."""

    rows: Rows
    weights: NDArray[np.float64] | None
    seconds: float

    @property
    def checksum(self) -> str:
        """A checksum of rows and weights."""
        total = hashlib.sha256(np.asarray(self.rows, dtype="<i8").tobytes())
        if self.weights is not None:
            total.update(np.asarray(self.weights, dtype="<f8").tobytes())
        return total.hexdigest()


class Cells:
    """Selections and scores of a comparison on disk; without a folder nothing is kept.

    Parameters
    ----------
    folder : Path or None
        The folder of the compared rows; None keeps nothing.
    training : str
        A digest of estimator and scoring.
    """

    def __init__(self, folder: Path | None = None, training: str = "") -> None:
        self.folder, self.training = folder, training

    def digest(self, value: Any) -> str:
        """A digest of a value; an empty string without a folder."""
        return "" if self.folder is None else _digest(value)

    def selection(self, cell: dict[str, Any], about: str) -> Selected | None:
        """The selection of a cell, or None if it is missing or damaged."""
        content = self._content(_name(cell, about, "npz"))
        with suppress(Exception), np.load(BytesIO(content)) as file:  # zipfile raises many kinds
            weights = file["weights"] if len(file["weights"]) else None
            found = Selected(file["rows"], weights, float(file["seconds"]))
            if str(file["checksum"]) == found.checksum:
                return found
        return None

    def keep_selection(self, cell: dict[str, Any], about: str, found: Selected) -> None:
        """Write the index file of a cell."""
        if self.folder is None:
            return
        name = _name(cell, about, "npz")

        def write(file: Any) -> str:
            weights = np.empty(0) if found.weights is None else found.weights
            about = {"seconds": found.seconds, "checksum": found.checksum}
            np.savez(file, rows=found.rows, weights=weights, **about)  # type: ignore[arg-type]
            return name

        write_whole(self.folder, write)

    def result(self, cell: dict[str, Any], found: Selected) -> dict[str, float] | None:
        """The result of training on exactly these rows, or None if it is missing or damaged."""
        content = self._content(_name(cell, self._training(found), "json"))
        with suppress(ValueError, KeyError, TypeError):
            result = json.loads(content)["result"]
            return {name: float(result[name]) for name in ("score", "training_seconds")}
        return None

    def keep_result(self, cell: dict[str, Any], found: Selected, result: dict[str, float]) -> None:
        """Write the result of a cell with the checksum of its rows."""
        if self.folder is None:
            return
        name = _name(cell, self._training(found), "json")
        content = {**cell, "n_kept": len(found.rows), "rows": found.checksum, "result": result}

        def write(file: Any) -> str:
            file.write(json.dumps(content, indent=1).encode())
            return name

        write_whole(self.folder, write)

    def _content(self, name: str) -> bytes:
        """The content of a file, empty if there is none."""
        with suppress(FileNotFoundError):
            return b"" if self.folder is None else (self.folder / name).read_bytes()
        return b""

    def _training(self, found: Selected) -> str:
        return hashlib.sha256((self.training + found.checksum).encode()).hexdigest()


def cells_in(cache_dir: Any, task: Any) -> Cells:
    """The cells of a task in ``cache_dir``; None keeps nothing.

    Raises
    ------
    ValueError
        If the folder cannot be used, or the content of rows or estimator cannot be determined.
    """
    from skprune.utils.cache import check_folder

    check_folder(cache_dir)
    if cache_dir is None:
        return Cells()
    rows = _digest((task.X, task.y, task.candidates, task.X_val, task.y_val))
    return Cells(make_folder(Path(cache_dir), rows), _digest((task.estimator, task.scoring)))


def _digest(value: Any) -> str:
    from skprune.data.content import UnknownContentError, content

    try:
        return content(value)
    except UnknownContentError as error:
        raise ValueError(
            "cache_dir keeps cells by the content of rows, strategy and estimator, which nobody "
            f"can know here: {error}. Leave cache_dir=None, or change that."
        ) from error


def _name(cell: dict[str, Any], digest: str, kind: str) -> str:
    words = re.sub(r"[^a-z0-9]+", "-", str(cell["strategy"]).lower())
    return f"{words}_{cell['keep']}_{cell['seed']}_{digest[:16]}.{kind}"
