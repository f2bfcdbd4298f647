"""`aibridge usage`: what was recorded, summed up for a person."""

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aibridge_addon.cli.parameters import DatabasePath, Since
from aibridge_addon.cli.running import default_database
from aibridge_addon.cli.tables import make_table, print_table, printable
from aibridge_addon.cli.totals import GROUPS, Total, UnreadableError, read_totals

if TYPE_CHECKING:
    from rich.table import Table


@click.command(short_help="Show what was used: requests and tokens.")
@click.option(
    "--since",
    type=Since(),
    default="7d",
    metavar="SPAN|DATE|today|yesterday|all",
    help=(
        "A span such as 30m, 12h, 7d or 4w; a date such as 2026-01-31; 'today' or 'yesterday' (from"
        " its midnight on, local time); or 'all'. Default: 7d."
    ),
)
@click.option("--by", type=click.Choice(list(GROUPS)), default="model", help="Default: model.")
@click.option(
    "--db",
    type=DatabasePath(),
    metavar="FILE",
    help="The database. Default: that of the running proxy, else the usual one.",
)
def command(since: datetime | None, by: str, db: Path | None) -> None:
    """Show what was used: requests and tokens, summed up.

    Input is without what came from a cache or went into one. Nothing is changed, and a proxy may
    write at the same time.
    """
    database = db or default_database()
    if not database.expanduser().exists():
        raise click.ClickException(f"nothing was recorded yet: there is no {database}")
    begin = since.isoformat(timespec="microseconds") if since else ""
    try:
        totals = read_totals(database, since=begin, by=by)
    except UnreadableError as error:
        raise click.ClickException(str(error)) from error
    if not totals:
        click.echo(f"Nothing was recorded in this time in {database}.")
        return
    print_table(_table(totals, by))


def _table(totals: list[Total], by: str) -> "Table":
    whole = Total("total", *(sum(values) for values in zip(*map(_numbers, totals), strict=True)))
    table = make_table(show_footer=len(totals) > 1)
    heads = ("requests", "failed", "input", "cache read", "cache write", "output")
    table.add_column(by, footer=whole.name)
    for head, sum_ in zip(heads, _numbers(whole), strict=True):
        table.add_column(head, footer=f"{sum_:,}", justify="right")
    table.add_column("latest")
    for total in totals:
        numbers = (f"{number:,}" if number else "·" for number in _numbers(total))
        latest = datetime.fromisoformat(total.latest).astimezone()
        table.add_row(printable(total.name) or "none", *numbers, f"{latest:%Y-%m-%d %H:%M}")
    return table


def _numbers(total: Total) -> tuple[int, ...]:
    return (
        total.requests,
        total.failed,
        total.input,
        total.cache_read,
        total.cache_write,
        total.output,
    )
