"""`aibridge reprice`: prices recorded calls again, after an update of the prices."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aibridge_addon.cli.configured_prices import read_prices
from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.parameters import DatabaseLocation, Since
from aibridge_addon.cli.tables import make_table, print_table, printable
from aibridge_addon.report.money import usd
from aibridge_addon.report.numbers import count
from aibridge_addon.store.errors import StoreError

if TYPE_CHECKING:
    from rich.table import Table

    from aibridge_addon.facts import Price
    from aibridge_addon.prices.billed_call import BilledCall
    from aibridge_addon.store.repriced import Repriced


@dataclass(slots=True)
class _Change:
    """Changed costs of a model."""

    calls: int = 0
    before: int | None = None
    after: int | None = None

    def add(self, before: int | None, after: int | None) -> None:
        self.calls += 1
        self.before = _sum(self.before, before)
        self.after = _sum(self.after, after)


@click.command(short_help="Price recorded calls again.")
@click.option(
    "--since",
    type=Since(),
    required=True,
    metavar="SPAN|DATE|today|yesterday|all",
    help="Start of the period, as of `aibridge usage`.",
)
@click.option(
    "--config",
    type=click.Path(dir_okay=False, exists=True, path_type=Path),
    metavar="FILE",
    help="Config file with prices. Default: the one of the running proxy.",
)
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="Database to change. Default: the one of the running proxy, or the default database.",
)
@click.option("--dry-run", is_flag=True, help="Show what would change, and change nothing.")
def command(since: datetime | None, config: Path | None, db: str | None, *, dry_run: bool) -> None:
    """Price recorded calls again, after an update of the price data or of [[prices]].

    A proxy may run meanwhile; its metrics do not change. Running it twice changes nothing more.
    Without --config and without a running proxy, only list prices are known.
    """
    from aibridge_addon.prices.recorded_price import recorded_price

    book = read_prices(config)
    removed: set[str] = set()

    def price(call: "BilledCall") -> "Price | None":
        if call.provider_name in book.sellers:
            return recorded_price(book, call)
        removed.add(call.provider_name)
        return None

    begin = since.isoformat(timespec="microseconds") if since else ""
    try:
        found = open_records(db).reprice(begin, price, write=not dry_run)
        total, sources, changes = _changes(found)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if changes:
        print_table(_table(changes))
    changed = sum(change.calls for change in changes.values())
    would = "would change" if dry_run else "changed"
    calls = "1 call" if total == 1 else f"{count(total)} calls"
    click.echo(f"{calls}: the cost of {count(changed)} {would}.")
    if sources:
        click.echo(f"The source or the reason of {count(sources)} further calls {would}.")
    if removed:
        names = ", ".join(map(printable, sorted(removed)))
        click.echo(f"Calls to {names} keep their prices: the configuration has no such provider.")


type _Changes = dict[tuple[str, str], _Change]


def _changes(found: "Iterable[Repriced]") -> tuple[int, int, _Changes]:
    """Return the number of calls, of those whose source changed only, and the changed costs."""
    total = sources = 0
    changes: _Changes = {}
    for one in found:
        total += 1
        before, after = one.before.cost_nano_usd, one.after.cost_nano_usd
        if before != after:
            key = (one.call.provider_name, one.call.model or "")
            changes.setdefault(key, _Change()).add(before, after)
        elif one.before != one.after:
            sources += 1
    return total, sources, changes


def _sum(amount: int | None, added: int | None) -> int | None:
    """Add amounts; None stands for no amount yet."""
    return amount if added is None else (amount or 0) + added


def _table(changes: _Changes) -> "Table":
    table = make_table()
    for head in ("provider", "model"):
        table.add_column(head)
    for head in ("calls", "before", "after"):
        table.add_column(head, justify="right")
    for (provider, model), change in sorted(changes.items()):
        amounts = (usd(change.before), usd(change.after))
        name = printable(model) or "none"
        table.add_row(printable(provider), name, count(change.calls), *amounts)
    return table
