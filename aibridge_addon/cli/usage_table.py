"""Totals as a table of a terminal, in columns that fit into 80 characters."""

from collections.abc import Callable, Iterator
from datetime import datetime

import click

from aibridge_addon.cli.columns import Column, fitting, lines
from aibridge_addon.cli.tables import printable, terminal_width
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.money import UNKNOWN, usd
from aibridge_addon.report.notes import at_least, headline, notes
from aibridge_addon.report.numbers import bar, percent, short_count
from aibridge_addon.report.periods import short_time
from aibridge_addon.report.queries import METADATA_PREFIX
from aibridge_addon.report.rows import GroupRow, Totals

_NONE = {"model": "unknown"}
"""Name of a group that has none, where `none` would be wrong."""
_OUTCOMES = {
    "failed": ("failed", 0),
    "cancelled": ("can-\ncelled", 2),
    "refused": ("re-\nfused", 1),
    "interrupted": ("broken\noff", 3),
}
"""Head and rank of the columns of requests that did not complete; shown if there are any."""
_ZERO = "·"
_BAR_WIDTH = 6
_NARROW = 80


def name_of(grouping: str, name: str | None) -> str:
    """Return the name of a group; `none` or `unknown` if it has none."""
    return name if name is not None else _NONE.get(grouping, "none")


def totals_lines(by: tuple[str, ...], totals: Totals, period: str) -> Iterator[str]:
    """Yield the period, the sums in one line, the table, and notes on what the sums leave out."""
    yield click.style(period, dim=True)
    yield click.style(headline(totals.overall), bold=True)
    if totals.rows:
        yield ""
        yield from lines(_columns(by, totals), footer=len(totals.rows) > 1 or totals.more > 0)
    if totals.more:
        yield f"… {totals.more:,} more"
    remarks = [printable(note) for note in notes(totals.overall)]
    if remarks:
        yield ""
        yield from remarks


def _columns(by: tuple[str, ...], totals: Totals) -> list[Column]:
    width = max(terminal_width(), _NARROW)
    return fitting([*_names(by, totals.rows), *_numbers(totals)], width)


def _names(by: tuple[str, ...], rows: tuple[GroupRow, ...]) -> Iterator[Column]:
    """Yield a column of names for each grouping; a repeated first name is shown once."""
    for index, grouping in enumerate(by):
        cells = [name_of(grouping, row.names[index]) for row in rows]
        if index == 0 and len(by) > 1:
            befores = ["", *cells]
            cells = [cell * (cell != before) for before, cell in zip(befores, cells, strict=False)]
        head = grouping.removeprefix(METADATA_PREFIX)
        yield Column(
            head=printable(head), cells=cells, footer="" if index else "total", right=False, gap=2
        )


def _numbers(totals: Totals) -> Iterator[Column]:
    overall, figures = totals.overall, [row.figures for row in totals.rows]

    def column(head: str, text: Callable[[Figures], str], rank: int = 0) -> Column:
        cells = [text(row) for row in figures]
        return Column(head=head, cells=cells, footer=text(overall), rank=rank)

    yield column("cost", cost_text)
    yield _bars(figures)
    yield column("requests", lambda row: _count(row.requests))
    for kind, (head, rank) in _OUTCOMES.items():
        if getattr(overall, kind) or kind == "failed":
            yield column(head, _counter(kind), rank=rank)
    yield column("input", lambda row: _tokens(row, row.input))
    if overall.cache_read or overall.cache_write:
        yield column("cache\nread", lambda row: _tokens(row, row.cache_read), rank=5)
        yield column("cache\nwrite", lambda row: _tokens(row, row.cache_write), rank=7)
        yield column("cache\nhit", lambda row: percent(row.cache_hit_rate), rank=4)
    yield column("output", lambda row: _tokens(row, row.output))
    if overall.without_usage:
        yield column("no\nusage", lambda row: _count(row.without_usage), rank=8)
    yield column("latest", _latest, rank=9)


def _bars(figures: list[Figures]) -> Column:
    """Return bars of the cost; of the output if nothing is priced."""
    values = [(row.cost_nano_usd or 0) + (row.list_price_nano_usd or 0) for row in figures]
    if not any(values):
        values = [row.output for row in figures]
    largest = max(values, default=0)
    cells = [bar(value, largest, _BAR_WIDTH) for value in values]
    return Column(head="", cells=cells, right=False, rank=6, color="cyan")


def _counter(kind: str) -> Callable[[Figures], str]:
    return lambda figures: _count(getattr(figures, kind))


def cost_text(figures: Figures) -> str:
    """Return the cost, with a plus if a part is unknown; a list price is in parentheses."""
    more = "+" * bool(figures.unpriced)
    if figures.cost_nano_usd is None and figures.list_price_nano_usd is not None:
        return f"({usd(figures.list_price_nano_usd)}){more}"
    return f"{usd(figures.cost_nano_usd)}{more * (figures.cost_nano_usd is not None)}"


def _count(number: int) -> str:
    return short_count(number) if number else _ZERO


def _tokens(figures: Figures, number: int) -> str:
    known = figures.known(number)
    return UNKNOWN if known is None else at_least(figures, _count(known))


def _latest(figures: Figures) -> str:
    if not figures.latest:
        return ""
    return short_time(datetime.fromisoformat(figures.latest).astimezone(), datetime.now())
