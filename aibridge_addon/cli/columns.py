"""Columns of text: aligned, with a rule under the head, and as many of them as fit.

Names and numbers are never cut: columns that matter less are left out on a narrow terminal.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import click

from aibridge_addon.cli.safe_text import fit, width_of
from aibridge_addon.cli.tables import printable

_RULE = "─"


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One column: its head, its cells, and at last the cell of the footer."""

    head: str
    """May have two lines."""
    cells: Sequence[str]
    footer: str = ""
    right: bool = True
    rank: int = 0
    """Columns with the highest rank are left out first; 0: never."""
    color: str | None = None
    gap: int = 1
    """Blanks before the column."""

    @property
    def width(self) -> int:
        """Width of the widest line."""
        texts = [*self.head.split("\n"), *map(printable, self.cells), self.footer]
        return max(map(width_of, texts))


def fitting(columns: Sequence[Column], width: int) -> list[Column]:
    """Return the columns that fit into a width, in their order."""
    chosen = list(columns)
    while _total(chosen) > width and any(column.rank for column in chosen):
        chosen.remove(max(chosen, key=lambda column: column.rank))
    return chosen


def lines(columns: Sequence[Column], *, footer: bool) -> Iterator[str]:
    """Yield the head, a rule, the rows and, if there is one, the footer."""
    widths = [column.width for column in columns]
    heads = [column.head.split("\n") for column in columns]
    for level in range(max(map(len, heads)) - 1, -1, -1):
        cells = [head[-1 - level] if level < len(head) else "" for head in heads]
        yield _joined(columns, widths, cells)
    yield _RULE * _total(columns)
    for row in zip(*(column.cells for column in columns), strict=True):
        yield _joined(columns, widths, row, colored=True)
    if footer:
        yield ""
        yield _joined(columns, widths, [column.footer for column in columns])


def _joined(
    columns: Sequence[Column], widths: list[int], cells: Sequence[str], *, colored: bool = False
) -> str:
    parts = []
    for index, (column, width, cell) in enumerate(zip(columns, widths, cells, strict=True)):
        text = " " * (column.gap * (index > 0)) + fit(cell, width, right=column.right)
        parts.append(click.style(text, fg=column.color) if colored and column.color else text)
    return "".join(parts).rstrip()


def _total(columns: Sequence[Column]) -> int:
    return sum(column.width + column.gap for column in columns) - columns[0].gap
