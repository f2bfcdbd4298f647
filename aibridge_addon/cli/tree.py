"""A tree as lines of text: a title and a text for each branch, long texts folded."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import click

from aibridge_addon.cli.safe_text import printable_lines, wrap
from aibridge_addon.report.numbers import size

_MIN_WIDTH = 20
_SLACK = 3
"""Lines by which a text may be longer before it is folded."""


@dataclass(slots=True)
class Branch:
    """A title with a text and branches under it. Its texts may be hostile; titles too."""

    title: str
    text: str = ""
    branches: list["Branch"] = field(default_factory=list)
    color: str | None = None
    """Colour of the title."""


def lines(branch: Branch, width: int, fold: int | None) -> Iterator[str]:
    """Yield the lines of a tree, whose texts are folded to a number of lines; None: not at all."""
    yield from _titled(branch, width)
    yield from (line.rstrip() for line in _below(branch, "", width, fold))


def _below(branch: Branch, guide: str, width: int, fold: int | None) -> Iterator[str]:
    bar = "│  " if branch.branches else "   "
    if branch.text:
        yield from (guide + bar + line for line in _text(branch.text, width - len(guide) - 3, fold))
    for number, child in enumerate(branch.branches, 1):
        is_last = number == len(branch.branches)
        first, *more = _titled(child, width - len(guide) - 3)
        yield f"{guide}{'└─ ' if is_last else '├─ '}{first}"
        inner = guide + ("   " if is_last else "│  ")
        yield from (inner + line for line in more)
        yield from _below(child, inner, width, fold)


def _titled(branch: Branch, width: int) -> list[str]:
    wrapped = wrap(printable_lines(branch.title), max(width, _MIN_WIDTH))
    return [click.style(line, fg=branch.color) if branch.color else line for line in wrapped]


def _text(text: str, width: int, fold: int | None) -> Iterator[str]:
    width = max(width, _MIN_WIDTH)
    text = text.rstrip()
    if fold is None:
        yield from wrap(printable_lines(text), width)
        return
    most = width * (fold + _SLACK)  # a longer beginning cannot be shown
    shown = list(wrap(printable_lines(text[:most]), width))
    if len(shown) <= fold + _SLACK and len(text) <= most:
        yield from shown
        return
    yield from shown[:fold]
    yield click.style(f"… {size(len(text))} in all, --full shows it", dim=True)
