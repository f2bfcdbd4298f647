"""Tables on a terminal. A line may be longer than the terminal: no name or number is broken.

Names come from clients, so that they may hold what makes a terminal act; that is never printed.
"""

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

_FAR = 100_000
"""Columns; no table is as wide."""


def printable(text: str) -> str:
    """Return a text with a mark in place of each character that cannot be printed."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def terminal_width() -> int:
    """Return how many columns the terminal has."""
    from rich.console import Console

    return Console().width


def make_table(*, show_footer: bool = False) -> "Table":
    """Return a table without rows, as all of ours look."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_footer=show_footer, pad_edge=False)


def print_table(table: "Table") -> None:
    """Print a table as wide as it is."""
    from rich.console import Console
    from rich.measure import Measurement

    far = Console(markup=False, width=_FAR)
    wide = Measurement.get(far, far.options, table).maximum
    console = Console(highlight=False, markup=False, width=max(wide, terminal_width()))
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():  # the blanks at its end would wrap
        click.echo(line.rstrip())
