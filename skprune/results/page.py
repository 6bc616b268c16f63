"""Reports as HTML: a block for notebooks, and a page that needs no other file."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING

from skprune.version import __version__

if TYPE_CHECKING:
    from skprune.results.printed import Printed

# Text and lines take the colour of what is around them, and the other colours are read on white
# as on black: notebooks have dark themes that no media query knows.
STYLE = """
.skprune-report { font: 14px/1.5 system-ui, sans-serif; max-width: 60em }
.skprune-report h2 { font-size: 1.15em; line-height: 1.4; margin: 0 0 .6em; font-weight: 600 }
.skprune-report .doubt { border-left: 4px solid #d9822b; background: #d9822b22;
  margin: .4em 0; padding: .3em .8em }
.skprune-report table { border-collapse: collapse; margin: .8em 0; font-size: .93em }
.skprune-report th, .skprune-report td { text-align: left; vertical-align: top;
  padding: .15em 1em .15em 0; border: 0; border-bottom: 1px solid #8884;
  background: none; color: inherit }
.skprune-report th { font-weight: 600; white-space: nowrap }
.skprune-report td { font-variant-numeric: tabular-nums; white-space: pre-wrap }
.skprune-report .figures th + th, .skprune-report .figures td { text-align: right }
.skprune-report svg { max-width: 100%; height: auto; font-size: 12px }
.skprune-report .kept { color: #2f86d1 } .skprune-report .random { color: #8a8a8a }
.skprune-report .allowed { color: #2ca05a } .skprune-report .chosen { color: #d9443f }
"""

PAGE_STYLE = """
:root { color-scheme: light dark }
body { margin: 2em auto; padding: 0 1em; max-width: 62em; background: #fff; color: #1c1c1c }
@media (prefers-color-scheme: dark) { body { background: #16181c; color: #e6e6e6 } }
.notes { font: 13px/1.5 system-ui, sans-serif }
footer { color: #888; font: 12px system-ui, sans-serif }
"""


@dataclass(frozen=True)
class Table:
    """A table of figures whose first column has names.

    Attributes
    ----------
    head : sequence of str
    rows : sequence of sequence of str
    """

    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def text(self) -> str:
        """The table in aligned lines."""
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        widths = [max(widths[0], 5), *(max(width, 9) for width in widths[1:])]
        lines = []
        for name, *figures in (self.head, *self.rows):
            cells = (f"{f:>{width}}" for f, width in zip(figures, widths[1:], strict=True))
            lines.append(f"  {name:<{widths[0]}} {' '.join(cells)}")
        return "\n".join(lines)

    def html(self) -> str:
        """The table in HTML."""
        head = "".join(f"<th>{escape(name)}</th>" for name in self.head)
        rows = (
            f"<tr><th>{escape(name)}</th>{''.join(f'<td>{escape(f)}</td>' for f in figures)}</tr>"
            for name, *figures in self.rows
        )
        return f"<table class='figures'><tr>{head}</tr>{''.join(rows)}</table>"


def html_block(report: Printed) -> str:
    """The report for a notebook: headline, doubts, picture, lines, tables."""
    doubts = "".join(f"<p class='doubt'>{escape(doubt)}</p>" for doubt in report.doubts)
    lines = "".join(
        f"<tr><th>{escape(name)}</th><td>{escape(value)}</td></tr>"
        for name, value in report.lines()
    )
    return (
        f"<div class='skprune-report'><style>{STYLE}</style>"
        f"<h2>{escape(report.title)}: {escape(report.headline)}</h2>{doubts}{report.picture()}"
        f"<table>{lines}</table>{''.join(table.html() for table in report.tables())}</div>"
    )


def html_page(report: Printed, notes: Iterable[str] = ()) -> str:
    """A page of its own.

    Parameters
    ----------
    report : Printed
    notes : iterable of str
        Lines that stand below the report.
    """
    lines = "<br>\n".join(escape(line) for line in notes)
    below = f"<p class='notes'>{lines}</p>\n" if lines else ""
    return (
        '<!DOCTYPE html>\n<html lang="en">\n<head><meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>{PAGE_STYLE}</style></head>\n"
        f"<body>\n{html_block(report)}\n{below}<footer>skprune {__version__}</footer>\n"
        "</body>\n</html>\n"
    )
