"""`aibridge status`: lists the proxy processes that write to a database."""

import json
from collections.abc import Iterator
from dataclasses import asdict
from datetime import datetime, timedelta

import click

from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.cli.tables import printable
from aibridge_addon.report.limits import span
from aibridge_addon.report.numbers import count
from aibridge_addon.report.processes import ProcessRow
from aibridge_addon.report.protocol import UnsupportedReportError
from aibridge_addon.store.errors import StoreError

SILENT_AFTER = timedelta(seconds=60)
"""A process that is silent for longer counts as ended."""


@click.command(short_help="List the proxy processes that write to a database.")
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="Database to read. Default: the one of the running proxy, or the default database.",
)
@click.option("--all", "show_all", is_flag=True, help="List processes that have ended, too.")
@click.option("--json", "as_json", is_flag=True, help="Print the processes as JSON.")
def command(db: str | None, *, show_all: bool, as_json: bool) -> None:
    """List the proxy processes that write to a database, on all machines.

    Each process reports every 5 seconds. One that is silent for a minute counts as ended, and the
    others close the records of requests that it left open. Processes are listed for a week.
    """
    try:
        store = open_records(db)
        processes = store.reports().processes()
    except (StoreError, UnsupportedReportError) as error:
        raise click.ClickException(str(error)) from error
    shown = [row for row in processes if show_all or _state(row) == "up"]
    if as_json:
        click.echo(json.dumps([asdict(row) | {"state": _state(row)} for row in shown]))
        return
    if not shown:
        click.echo(f"No proxy process writes to {store.location}.")
        return
    click.echo("\n".join(_lines(shown)))
    up = sum(_state(row) == "up" for row in shown)
    if up > 1:
        line = f"\nLimits of the config file: each process enforces 1/{up} of them"
        click.echo(f"{line}, unless they are shared.")


def _state(row: ProcessRow) -> str:
    if row.ended_at:
        return "ended"
    return "up" if row.silence < SILENT_AFTER else "silent"


_COLUMNS = (
    *(("host", "<20"), ("process", ">8"), ("version", ">8"), ("state", ">7")),
    *(("up for", ">8"), ("open", ">6"), ("requests", ">10"), ("CPU", ">6")),
)


def _lines(rows: list[ProcessRow]) -> Iterator[str]:
    head = "".join(f"{name:{form}}" for name, form in _COLUMNS)
    yield head
    yield "─" * len(head)
    for row in rows:
        values = _values(row)
        yield "".join(
            f"{value:{form}}" for value, (_, form) in zip(values, _COLUMNS, strict=True)
        ).rstrip()


def _values(row: ProcessRow) -> tuple[str, ...]:
    state = _state(row)
    until = datetime.fromisoformat(row.read_at if state == "up" else row.ended_at or row.seen_at)
    load = (str(row.open_requests), count(row.requests), f"{row.cpu_percent:.0f} %")
    return (
        printable(row.host)[:19],
        *(str(row.pid), printable(row.version), state),
        span(until - datetime.fromisoformat(row.started_at)),
        *(load if state == "up" else ("", load[1], "")),
    )
