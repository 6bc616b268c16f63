"""Objects that print as a headline and lines, show as a page in notebooks, and can be saved."""

from __future__ import annotations

import json
import math
import os
import textwrap
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any, ClassVar

from skprune.results.gap import Gap
from skprune.results.page import Table, html_block, html_page
from skprune.utils.frames import data_frame

#: Columns of the terminal within which headlines are wrapped.
WIDTH = 100


class Printed(ABC):
    """The base class of reports, which are dataclasses."""

    title: ClassVar[str]
    #: Width of the column of names, in characters.
    width: ClassVar[int]

    #: Reasons why numbers of the report may be wrong.
    diagnostics: tuple[str, ...]

    @property
    @abstractmethod
    def headline(self) -> str:
        """The result in a sentence."""

    @abstractmethod
    def lines(self) -> Iterator[tuple[str, str]]:
        """(name, value) of every line of the report, without doubts."""

    @abstractmethod
    def columns(self) -> dict[str, Any]:
        """The columns of ``to_frame``."""

    @property
    def doubts(self) -> tuple[str, ...]:
        """Reasons why numbers of the report may be wrong, or the result is no good one."""
        return self.diagnostics

    def tables(self) -> Sequence[Table]:
        """Further tables, which stand below the lines."""
        return ()

    def picture(self) -> str:
        """An SVG image for notebooks and pages; empty if there is nothing to draw."""
        return ""

    def to_dict(self) -> dict[str, Any]:
        """The headline and all fields, as what JSON has: numbers that are not finite are None."""
        # That a subclass is a dataclass is not known to mypy.
        values = {field.name: getattr(self, field.name) for field in fields(self)}  # type: ignore[arg-type]
        plain: dict[str, Any] = _plain({"headline": self.headline, **values})
        return plain

    def to_frame(self) -> Any:
        """The steps of the search as a pandas DataFrame, one row each.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return data_frame(
            self.columns(), "to_frame()", "to_dict() has the same as dicts and lists."
        )

    def to_html(self) -> str:
        """A page of HTML that needs no other file."""
        return html_page(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the report to a file.

        Parameters
        ----------
        path : str or path
            A name that ends in ``.html`` (a page that needs no other file), ``.json``
            (``to_dict``) or ``.txt`` (what prints). An existing file is replaced.
        """
        makers = {
            ".html": self.to_html,
            ".json": lambda: json.dumps(self.to_dict(), indent=1, ensure_ascii=False) + "\n",
            ".txt": lambda: f"{self}\n",
        }
        suffix = Path(path).suffix.lower()
        if suffix not in makers:
            raise ValueError(
                f"a report is saved as {', '.join(makers)}, by the name of the file; got "
                f"{os.fspath(path)!r}."
            )
        Path(path).write_text(makers[suffix](), encoding="utf-8")

    def __str__(self) -> str:
        first = textwrap.fill(f"{self.title}: {self.headline}", WIDTH, subsequent_indent="  ")
        named = [*(("diagnostic", doubt) for doubt in self.doubts), *self.lines()]
        lines = [f"  {name:<{self.width}} {value}" for name, value in named]
        return "\n".join([first, *lines, *(table.text() for table in self.tables())])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        return html_block(self)


def _plain(value: Any) -> Any:
    """The value in terms of JSON."""
    if isinstance(value, Gap):
        return {"value": _plain(float(value)), **_plain(vars(value))}
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(getattr(value, name)) for name in value.__dataclass_fields__}
    if hasattr(value, "tolist"):  # arrays and numbers of numpy
        return _plain(value.tolist())
    if isinstance(value, (tuple, list)):
        return [_plain(item) for item in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)
