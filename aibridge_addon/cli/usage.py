"""`aibridge usage`: shows totals of recorded requests and tokens."""

import json
from dataclasses import asdict
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.parameters import DatabaseLocation, Since
from aibridge_addon.cli.tables import make_table, print_table, printable
from aibridge_addon.cli.totals import unknown_usage
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.usage import GROUPINGS, Grouping, UsageQuery, UsageTotal

if TYPE_CHECKING:
    from rich.table import Table

_COUNTS = ("requests", "failed")
_TOKENS = ("input", "cache_read", "cache_write", "output")
_UNKNOWN = "—"


@click.command(short_help="Show recorded requests and tokens.")
@click.option(
    "--since",
    type=Since(),
    default="7d",
    metavar="SPAN|DATE|today|yesterday|all",
    help=(
        "Start of the period: a span such as 30m, 12h, 7d or 4w; a date such as 2026-01-31; 'today'"
        " or 'yesterday' (local time); or 'all'. Default: 7d."
    ),
)
@click.option(
    "--by", type=click.Choice(GROUPINGS), default="model", help="Group by this. Default: model."
)
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="Database to read. Default: the one of the running proxy, or the default database.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the totals as JSON.")
def command(since: datetime | None, by: Grouping, db: str | None, *, as_json: bool) -> None:
    """Show totals of recorded requests and tokens.

    Input tokens do not include tokens read from or written to a cache. The database is only read,
    also while a proxy writes to it.
    """
    begin = since.isoformat(timespec="microseconds") if since else ""
    try:
        store = open_records(db)
        totals = store.read_usage(UsageQuery(since=begin, by=by))
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([_record(total) for total in totals]))
        return
    if not totals:
        click.echo(f"There are no records of this period in {store.location}.")
        return
    print_table(_table(totals, by))
    if unknown := unknown_usage(totals):
        click.echo(f"{unknown}: their tokens are not included.")


def _record(total: UsageTotal) -> dict[str, Any]:
    """Return a total as a JSON object; unknown tokens are null."""
    unknown = dict.fromkeys(_TOKENS) if total.is_unknown else {}
    return asdict(total) | unknown


def _table(totals: list[UsageTotal], by: str) -> "Table":
    overall = UsageTotal("total")
    for name in (*_COUNTS, *_TOKENS, "without_usage"):
        setattr(overall, name, sum(getattr(total, name) for total in totals))
    has_unknown = overall.without_usage > 0
    table = make_table(show_footer=len(totals) > 1)
    table.collapse_padding = True  # fits into 80 columns
    table.add_column(by, footer=overall.name)
    heads = ["requests", "failed", "input", "cache\nread", "cache\nwrite", "output"]
    heads += ["no usage"] * has_unknown
    for head, footer in zip(heads, _cells(overall, "0", has_unknown=has_unknown), strict=True):
        table.add_column(head, footer=footer, justify="right")
    table.add_column("latest")
    for total in totals:
        numbers = _cells(total, "·", has_unknown=has_unknown)
        latest = datetime.fromisoformat(total.latest).astimezone()
        table.add_row(printable(total.name) or "none", *numbers, short_time(latest, datetime.now()))
    return table


def short_time(moment: datetime, now: datetime) -> str:
    """Return a local time to the minute; the year is left out if it is the current year."""
    return f"{moment:%m-%d %H:%M}" if moment.year == now.year else f"{moment:%Y-%m-%d %H:%M}"


def _cells(total: UsageTotal, zero: str, *, has_unknown: bool) -> list[str]:
    """Return the numbers of a total as text; unknown tokens are not zero."""
    counts = [_number(getattr(total, name), zero) for name in _COUNTS]
    tokens = [
        _UNKNOWN if total.is_unknown else _number(getattr(total, name), zero) for name in _TOKENS
    ]
    return [*counts, *tokens, *[_number(total.without_usage, zero)] * has_unknown]


def _number(number: int, zero: str) -> str:
    return f"{number:,}" if number else zero
