"""`aibridge prices`: shows which prices the recorded calls have."""

import json
from dataclasses import asdict
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING

import click

from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.cli.tables import folded, make_table, print_table, printable, terminal_width
from aibridge_addon.prices import price_list
from aibridge_addon.report.money import usd
from aibridge_addon.report.numbers import count
from aibridge_addon.report.protocol import UnsupportedReportError
from aibridge_addon.store.errors import StoreError

if TYPE_CHECKING:
    from rich.table import Table

    from aibridge_addon.report.rows import PricedModelRow

_DAYS = 30
_GAPS = 15
"""Width of the number of calls and of the space between columns."""


@click.group(short_help="Show which prices the recorded calls have.")
def command() -> None:
    """Show which prices the recorded calls have."""


@command.command(short_help="List the models of the last 30 days with their prices.")
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="Database to read. Default: the one of the running proxy, or the default database.",
)
@click.option("--json", "as_json", is_flag=True, help="Print the models as JSON.")
def check(db: str | None, *, as_json: bool) -> None:
    """List the models of the last 30 days with the prices that were found, and the data's age.

    Calls without a price come with the reason. A source such as `openai/gpt-5.2 for gpt-5.2-codex`
    is the price of another model of the family. Amounts in parentheses are list prices that a
    subscription is not billed for.
    """
    since = datetime.now(UTC) - timedelta(days=_DAYS)
    try:
        store = open_records(db)
        rows = store.reports().priced_models(since.isoformat(timespec="microseconds"))
    except (StoreError, UnsupportedReportError) as error:
        raise click.ClickException(str(error)) from error
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows]))
        return
    if rows:
        print_table(_table(rows))
    else:
        click.echo(f"There are no calls of the last {_DAYS} days in {store.location}.")
    click.echo(_age(datetime.now(UTC).date()))


def _table(rows: "list[PricedModelRow]") -> "Table":
    table = make_table()
    table.collapse_padding = True
    for head in ("provider", "model"):
        table.add_column(head)
    for head in ("calls", "cost"):
        table.add_column(head, justify="right")
    table.add_column("price")
    longest = max(len(row.provider) + len(row.model or "none") for row in rows)
    widest = max(len(line) for row in rows for line in _cost(row).splitlines())
    room = terminal_width() - longest - widest - _GAPS
    for row in rows:
        names = (printable(row.provider), printable(row.model or "none"))
        numbers = (count(row.calls), _cost(row))
        table.add_row(*names, *numbers, folded(_price(row), room))
    return table


def _cost(row: "PricedModelRow") -> str:
    """Return the cost; the list price of calls on a subscription is in parentheses."""
    if row.list_price_nano_usd is None:
        return usd(row.cost_nano_usd)
    listed = f"({usd(row.list_price_nano_usd)})"
    return listed if row.cost_nano_usd is None else f"{usd(row.cost_nano_usd)}\n{listed}"


def _price(row: "PricedModelRow") -> str:
    return row.source or f"none: {row.reason or 'recorded without prices'}"


def _age(today: date) -> str:
    """Return the age of the price data, and what to do if it is old."""
    known = price_list.data_date()
    days = f", {(today - known).days} days old" if known else ""
    text = f"The price data is of {price_list.data_label()}{days}."
    if price_list.is_old(today):
        text += f" {UPDATE}"
    return text


UPDATE = (
    "Update it with `pip install --upgrade genai-prices`, restart the proxy, then run"
    " `aibridge reprice --since 30d`."
)
