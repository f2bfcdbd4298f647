"""Tables on a terminal. Lines may be longer than the terminal: names and numbers are not broken.

Names come from clients and may contain control characters, which are never printed.
"""

import textwrap
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from rich.table import Table

_FAR = 100_000
"""Width that no table reaches."""
_LEAST_WIDTH = 30
"""Width of folded texts on a narrow terminal."""


def printable(text: str) -> str:
    """Return a text with each unprintable character replaced by U+FFFD."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def folded(text: str, room: int) -> str:
    """Wrap a text between words: paths stay in one piece, so that they can be copied."""
    width = max(room, _LEAST_WIDTH)
    lines = textwrap.wrap(text, width, break_long_words=False, break_on_hyphens=False)
    return "\n".join(map(printable, lines))


def terminal_width() -> int:
    """Return the width of the terminal in columns."""
    from rich.console import Console

    return Console().width


def make_table(*, show_footer: bool = False) -> "Table":
    """Return a table without rows, in the style of all our tables."""
    from rich import box
    from rich.table import Table

    return Table(box=box.SIMPLE_HEAD, show_footer=show_footer, pad_edge=False)


def print_table(table: "Table") -> None:
    """Print a table at its full width."""
    from rich.console import Console
    from rich.measure import Measurement

    far = Console(markup=False, width=_FAR)
    wide = Measurement.get(far, far.options, table).maximum
    console = Console(highlight=False, markup=False, width=max(wide, terminal_width()))
    with console.capture() as printed:
        console.print(table)
    for line in printed.get().splitlines():  # trailing blanks would wrap
        click.echo(line.rstrip())
