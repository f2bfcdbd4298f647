"""`aibridge export`: writes records as lines of JSON, or a session as an HTML page."""

import json
from typing import Any

import click

from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.filters import db_option, filter_options, period_options, request_query
from aibridge_addon.report.as_json import as_json
from aibridge_addon.report.protocol import Reports, UnsupportedReportError
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.store.errors import StoreError


@click.command(short_help="Write records as lines of JSON.")
@period_options("all")
@filter_options
@click.option(
    "--after",
    "cursor",
    default="",
    metavar="CURSOR",
    help="Only requests that ended after this cursor, which every line has.",
)
@click.option("--limit", type=click.IntRange(1), help="Most requests. Default: all.")
@click.option(
    "--content", is_flag=True, help="Include the content of requests and responses, as recorded."
)
@db_option
def command(db: str | None, *, content: bool, **selected: Any) -> None:
    """Write ended requests as lines of JSON, in the order in which their ends were recorded.

    A later export with --after and the `cursor` of the last line writes exactly the requests that
    ended since, also those that other proxies recorded late.
    """
    try:
        _write_lines(open_records(db).reports(), request_query(**selected), content=content)
    except (StoreError, UnsupportedReportError) as error:
        raise click.ClickException(str(error)) from error


def _write_lines(reports: Reports, query: RequestQuery, *, content: bool) -> None:
    for row in reports.export(query, content=content):
        click.echo(json.dumps({"cursor": row.cursor} | as_json(row.detail)))
