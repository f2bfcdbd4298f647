"""`aibridge tail`: shows requests as they end, of all processes that write to the database."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import click

from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.filters import STATUSES, db_option, filter_options, request_query
from aibridge_addon.cli.request_lines import heading, request_line
from aibridge_addon.cli.tables import terminal_width
from aibridge_addon.report.as_json import as_json
from aibridge_addon.report.protocol import Reports, UnsupportedReportError
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.rows import RequestRow
from aibridge_addon.store.errors import NothingRecordedError, StoreError

POLL_SECONDS = 0.3
MOST_FAILURES = 30
"""Failed readings in a row after which the command gives up."""
_WIDE = 120
"""Width of the lines if the output is not a terminal."""


@click.command(short_help="Show requests live, one line each.")
@click.option(
    "-n",
    "--lines",
    type=click.IntRange(0, 10_000),
    default=10,
    help="Begin with this many requests that have ended already. Default: 10.",
)
@filter_options
@db_option
@click.option("--json", "as_lines_of_json", is_flag=True, help="Print a JSON object per line.")
def command(lines: int, db: str | None, *, as_lines_of_json: bool, **filters: Any) -> None:
    """Show requests as they end, one line each, until you press Ctrl+C.

    Shows the requests of all proxies that record in the database. Columns: time of the end, status,
    actor, client program, requested model, input and output tokens, cost, and time to the first
    byte of a stream (else the duration). A wide terminal also has the end of each id, which
    `aibridge show` accepts. An amount in parentheses is a list price that a subscription is not
    billed for.
    """
    query = request_query(**filters)
    write = _write_json if as_lines_of_json else _line_writer()
    try:
        for row in follow(open_records(db).reports(), query, lines):
            write(row)
    except (StoreError, UnsupportedReportError) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        return


def follow(
    reports: Reports,
    query: RequestQuery,
    lines: int,
    wait: Callable[[float], object] = time.sleep,
) -> Iterator[RequestRow]:
    """Yield the last requests that have ended, then each that ends, without end.

    Raises:
        StoreError: the store could not be read many times in a row.
    """
    cursor, earlier = _begin(reports, query, lines)
    yield from earlier
    shown = {row.id for row in earlier}
    failures = 0
    while True:
        try:
            live = reports.ended_since(cursor, query)
            failures = 0
        except StoreError as error:
            failures += not isinstance(error, NothingRecordedError)
            if failures > MOST_FAILURES:
                raise
            wait(POLL_SECONDS)
            continue
        yield from (row for row in live.rows if row.id not in shown)
        shown = set()
        if live.cursor == cursor:
            wait(POLL_SECONDS)
        cursor = live.cursor


def _begin(reports: Reports, query: RequestQuery, lines: int) -> tuple[str, list[RequestRow]]:
    """Return the cursor of now, and the last requests that have ended, oldest first."""
    try:
        cursor = reports.ended_since(None, query).cursor
    except NothingRecordedError as error:
        click.echo(f"{error}; waiting for the first request", err=True)
        return "0", []
    if not lines:
        return cursor, []
    chosen = tuple(s for s in query.statuses or STATUSES if s != "open")
    if not chosen:
        return cursor, []
    page = reports.requests(replace(query, limit=lines, statuses=chosen))
    return cursor, list(page.rows[::-1])


def _line_writer() -> Callable[[RequestRow], None]:
    is_terminal = sys.stdout.isatty()
    width = terminal_width() if is_terminal else _WIDE
    if is_terminal:
        click.echo(heading(width), err=True)
    return lambda row: click.echo(request_line(row, width))


def _write_json(row: RequestRow) -> None:
    click.echo(json.dumps(as_json(row)))
