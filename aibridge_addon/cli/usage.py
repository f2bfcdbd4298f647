"""`aibridge usage`: what was recorded, summed up for a person."""

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
@click.option("--by", type=click.Choice(GROUPINGS), default="model", help="Default: model.")
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="The database. Default: that of the running proxy, else the usual one.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the sums as JSON, for programs.")
def command(since: datetime | None, by: Grouping, db: str | None, *, as_json: bool) -> None:
    """Show what was used: requests and tokens, summed up.

    Input is without what came from a cache or went into one. Nothing is changed, and a proxy may
    write at the same time.
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
        click.echo(f"Nothing was recorded in this time in {store.location}.")
        return
    print_table(_table(totals, by))
    if unknown := unknown_usage(totals):
        click.echo(f"{unknown}: their tokens are not in the sums.")


def _record(total: UsageTotal) -> dict[str, Any]:
    """Return a total for programs; tokens that are not known are null."""
    unknown = dict.fromkeys(_TOKENS) if total.is_unknown else {}
    return asdict(total) | unknown


def _table(totals: list[UsageTotal], by: str) -> "Table":
    whole = UsageTotal("total")
    for name in (*_COUNTS, *_TOKENS, "without_usage"):
        setattr(whole, name, sum(getattr(total, name) for total in totals))
    has_unknown = whole.without_usage > 0
    table = make_table(show_footer=len(totals) > 1)
    table.add_column(by, footer=whole.name)
    heads = ["requests", "failed", "input", "cache read", "cache write", "output"]
    heads += ["no usage"] * has_unknown
    for head, sum_ in zip(heads, _cells(whole, "0", has_unknown=has_unknown), strict=True):
        table.add_column(head, footer=sum_, justify="right")
    table.add_column("latest")
    for total in totals:
        numbers = _cells(total, "·", has_unknown=has_unknown)
        latest = datetime.fromisoformat(total.latest).astimezone()
        table.add_row(printable(total.name) or "none", *numbers, f"{latest:%Y-%m-%d %H:%M}")
    return table


def _cells(total: UsageTotal, zero: str, *, has_unknown: bool) -> list[str]:
    """Return the numbers of a total; tokens that are not known are no zeros."""
    counts = [_number(getattr(total, name), zero) for name in _COUNTS]
    tokens = [
        _UNKNOWN if total.is_unknown else _number(getattr(total, name), zero) for name in _TOKENS
    ]
    return [*counts, *tokens, *[_number(total.without_usage, zero)] * has_unknown]


def _number(number: int, zero: str) -> str:
    return f"{number:,}" if number else zero
