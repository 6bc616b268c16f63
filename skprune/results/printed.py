"""Objects that print as a title and lines, and show as a table in notebooks."""

from __future__ import annotations

import html
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import ClassVar


class Printed(ABC):
    """The base class of reports."""

    title: ClassVar[str]
    #: Width of the column of names, in characters.
    width: ClassVar[int]

    @abstractmethod
    def lines(self) -> Iterator[tuple[str, str]]:
        """(name, value) of every line of the report."""

    def __str__(self) -> str:
        lines = (f"  {name:<{self.width}} {value}" for name, value in self.lines())
        return "\n".join([self.title, *lines])

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th style='text-align:left'>{html.escape(name)}</th>"
            f"<td style='text-align:left'>{html.escape(value)}</td></tr>"
            for name, value in self.lines()
        )
        return f"<table><caption>{self.title}</caption>{rows}</table>"
