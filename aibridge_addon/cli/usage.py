"""`aibridge usage`: shows totals of recorded requests, tokens and money."""

import csv
import io
import json
from dataclasses import asdict, fields, replace
from typing import Any

import click
from click.shell_completion import CompletionItem

from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.filters import db_option, filter_options, period_options, request_query
from aibridge_addon.cli.known_actors import KnownActors
from aibridge_addon.cli.own import mine_option, own_name
from aibridge_addon.cli.tables import printable
from aibridge_addon.cli.unread_traffic import HOST, print_tunnels
from aibridge_addon.cli.usage_table import name_of, totals_lines
from aibridge_addon.report.as_json import as_json
from aibridge_addon.report.figures import TOKENS, Figures
from aibridge_addon.report.money import exact_usd
from aibridge_addon.report.periods import Period
from aibridge_addon.report.protocol import UnsupportedReportError
from aibridge_addon.report.queries import (
    GROUPINGS,
    MAX_GROUPINGS,
    METADATA_PREFIX,
    grouped,
)
from aibridge_addon.report.rows import GroupRow, Totals, TunnelRow
from aibridge_addon.store.errors import NothingRecordedError, StoreError

_MONEY = "_nano_usd"
_FORMULA = ("=", "+", "-", "@")
"""Beginnings of a cell that spreadsheets take for a formula."""
_NAMES = (*GROUPINGS, HOST)
_ROWS = 40
"""Rows of the table, unless `--limit` states another number."""


class By(click.ParamType[tuple[str, ...]]):
    """Names to group by, separated by commas."""

    name = "by"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[str, ...]:
        """Return the names; fail if one is unknown."""
        names = tuple(dict.fromkeys(name.strip() for name in str(value).split(",")))
        if len(names) > MAX_GROUPINGS:
            self.fail(f"at most {MAX_GROUPINGS} names, separated by a comma", param, ctx)
        for name in names:
            if name not in _NAMES and not name.startswith(METADATA_PREFIX):
                known = ", ".join(_NAMES)
                self.fail(f"{name!r} is not one of {known}, {METADATA_PREFIX}NAME", param, ctx)
        if HOST in names and not set(names) <= {HOST, "actor"}:
            self.fail(f"{HOST} can be combined with actor only", param, ctx)
        return names

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """Return the names that begin with what was typed."""
        done, comma, last = incomplete.rpartition(",")
        found = (name for name in _NAMES if name.startswith(last))
        return [CompletionItem(f"{done}{comma}{name}") for name in found]


@click.command(short_help="Show recorded requests, tokens and money.")
@period_options("7d")
@click.option(
    "--by",
    type=By(),
    default="model",
    metavar="NAME[,NAME]",
    help=f"Group by one or two of {', '.join(GROUPINGS)}, or {HOST}: AI traffic outside of what is"
    f" recorded; or {METADATA_PREFIX}NAME: another"
    " member of the actors' metadata. Default: model.",
)
@filter_options
@mine_option
@click.option(
    "--limit",
    type=click.IntRange(0),
    help=f"Most rows. Default: {_ROWS} in the table, all with --json and --csv.",
)
@db_option
@click.option("--json", "as_objects", is_flag=True, help="Print the rows as JSON.")
@click.option("--csv", "as_csv", is_flag=True, help="Print the rows as CSV.")
def command(
    by: tuple[str, ...],
    limit: int | None,
    db: str | None,
    *,
    mine: bool,
    as_objects: bool,
    as_csv: bool,
    **selected: Any,
) -> None:
    """Show totals of recorded requests, tokens and money.

    Input tokens do not include tokens read from or written to a cache. Costs are list prices; a
    plus after a cost says that a part is unknown, parentheses that a subscription pays for it. The
    database is only read, also while a proxy writes to it.
    """
    is_table = not (as_objects or as_csv)
    period = Period(selected["since"], selected["until"]).text()
    for_actor = KnownActors().find(own_name(db)).id if mine else None
    requests = replace(request_query(**selected), for_actor=for_actor)
    limit = _ROWS if is_table and limit is None else limit
    query = grouped(requests, by, limit)
    try:
        store = open_records(db)
        if HOST in by:
            rows = store.reports().tunnels(requests, by_actor="actor" in by)
            _print_tunnels(rows, period, limit, as_objects=as_objects, as_csv=as_csv)
            return
        totals = store.reports().totals(query)
    except NothingRecordedError as error:
        raise click.ClickException(f"{error}; begin with: aibridge run -- PROGRAM") from error
    except (StoreError, UnsupportedReportError) as error:
        raise click.ClickException(str(error)) from error
    if as_objects:
        click.echo(json.dumps([_record(by, row) for row in totals.rows]))
    elif as_csv:
        click.echo(_csv(by, totals), nl=False)
    elif not totals.overall.requests:
        click.echo(f"There are no records of this period in {store.location}.")
    else:
        click.echo("\n".join(totals_lines(by, totals, period)))


def _print_tunnels(
    rows: list[TunnelRow], period: str, limit: int | None, *, as_objects: bool, as_csv: bool
) -> None:
    records = [asdict(row) for row in rows[:limit]]
    if as_objects:
        click.echo(json.dumps(records))
    elif as_csv:
        file = io.StringIO()
        names = [field.name for field in fields(TunnelRow)]
        writer = csv.DictWriter(file, names, lineterminator="\n")
        writer.writeheader()
        writer.writerows({k: _safe(str(v)) for k, v in record.items()} for record in records)
        click.echo(file.getvalue(), nl=False)
    elif rows:
        print_tunnels(rows, period, limit)
    else:
        click.echo("No tunnels to AI services that are not read were recorded in this period.")


def _record(by: tuple[str, ...], row: GroupRow) -> dict[str, Any]:
    """Return a row as a JSON object; unknown tokens and amounts are null."""
    names = [name_of(grouping, name) for grouping, name in zip(by, row.names, strict=True)]
    figures = row.figures
    return {
        "name": " / ".join(names),
        "group": dict(zip(by, row.names, strict=True)),
        **as_json(figures),
        "cache_hit_rate": figures.cache_hit_rate,
    }


def _csv(by: tuple[str, ...], totals: Totals) -> str:
    """Return the rows as CSV; unknown tokens and amounts are empty, amounts are in dollars."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator="\n")
    names = [field.name.replace(_MONEY, "_usd") for field in fields(Figures)]
    writer.writerow([*by, *names, "cache_hit_rate"])
    for row in totals.rows:
        groups = [name_of(grouping, name) for grouping, name in zip(by, row.names, strict=True)]
        values = [_csv_value(row.figures, field.name) for field in fields(Figures)]
        rate = row.figures.cache_hit_rate
        writer.writerow([*map(_safe, groups), *values, "" if rate is None else f"{rate:.4f}"])
    return file.getvalue()


def _csv_value(figures: Figures, name: str) -> str:
    value = getattr(figures, name)
    if name.endswith(_MONEY):
        return exact_usd(value)
    if name in TOKENS and figures.known(value) is None:
        return ""
    return _safe("; ".join(value) if isinstance(value, tuple) else str(value))


def _safe(text: str) -> str:
    """Return a cell that neither a spreadsheet nor a terminal executes."""
    text = printable(text)
    return f"'{text}" if text.startswith(_FORMULA) else text
