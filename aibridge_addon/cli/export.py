"""`aibridge export`: writes records as lines of JSON, or a session as an HTML page."""

import json
from typing import Any

import click

from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.filters import db_option, filter_options, period_options, request_query
from aibridge_addon.cli.tables import printable
from aibridge_addon.report.as_json import as_json
from aibridge_addon.report.loading import TimelineLoader
from aibridge_addon.report.protocol import Reports, UnsupportedReportError
from aibridge_addon.report.queries import RequestQuery
from aibridge_addon.report.session_html import render
from aibridge_addon.report.session_tree import in_order, nest
from aibridge_addon.store.errors import StoreError

_NEIGHBOURS = {"previous_id", "next_id", "same_prompt"}
"""Fields that exports do not have."""


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
@click.option(
    "--html",
    "html_session",
    metavar="SESSION",
    help="Write one session (its id, or the beginning) as an HTML file that needs no other file.",
)
@db_option
def command(db: str | None, html_session: str | None, *, content: bool, **selected: Any) -> None:
    """Write ended requests as lines of JSON, in the order in which their ends were recorded.

    A later export with --after and the `cursor` of the last line writes exactly the requests that
    ended since, also those that other proxies recorded late.
    """
    try:
        reports = open_records(db).reports()
        if html_session is not None:
            _write_html(reports, html_session)
        else:
            _write_lines(reports, request_query(**selected), content=content)
    except (StoreError, UnsupportedReportError) as error:
        raise click.ClickException(str(error)) from error


def _write_lines(reports: Reports, query: RequestQuery, *, content: bool) -> None:
    left_out = _NEIGHBOURS if content else {*_NEIGHBOURS, "messages"}
    for row in reports.export(query, content=content):
        fields = {k: v for k, v in as_json(row.detail).items() if k not in left_out}
        click.echo(json.dumps({"cursor": row.cursor} | fields))


def _write_html(reports: Reports, id_: str) -> None:
    session = reports.session(id_)
    if session is None:
        raise click.ClickException(
            f"{printable(id_)!r} is not the id of a session, or stands for several"
        )
    loader = TimelineLoader(reports)
    timelines = (loader.load(row.id) for row in in_order(nest(session.requests)))
    for piece in render(session.session, (found for found in timelines if found)):
        click.echo(piece, nl=False)
