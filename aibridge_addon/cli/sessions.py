"""`aibridge sessions`: lists recorded sessions, those with the newest requests first."""

import json
from datetime import datetime
from typing import Any

import click

from aibridge_addon.cli.columns import Column, fitting, lines
from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.filters import db_option, filter_options, period_options, request_query
from aibridge_addon.cli.request_lines import tokens
from aibridge_addon.cli.safe_text import fit
from aibridge_addon.cli.tables import terminal_width
from aibridge_addon.cli.usage_table import cost_text
from aibridge_addon.report.as_json import as_json
from aibridge_addon.report.numbers import short_count
from aibridge_addon.report.periods import short_time
from aibridge_addon.report.protocol import UnsupportedReportError
from aibridge_addon.report.rows import Page, SessionRow
from aibridge_addon.store.errors import StoreError

SHORT_SESSION = 13
"""Characters at the beginning of an id that name a session: of a UUIDv7, its milliseconds."""
_NARROW = 80
_NAME = 12
_PROMPT = 16


@click.command(short_help="List recorded sessions.")
@period_options("7d")
@filter_options
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, help="Most sessions. Default: 20."
)
@click.option("--after", "cursor", default="", metavar="CURSOR", help="Continue after a page.")
@db_option
@click.option("--json", "is_json", is_flag=True, help="Print the sessions as JSON.")
def command(db: str | None, *, is_json: bool, **selected: Any) -> None:
    """List sessions, those with the newest requests first.

    A session is a conversation as its client program identifies it, of one actor. The beginning of
    its id is enough for `aibridge show`.
    """
    try:
        store = open_records(db)
        page = store.reports().sessions(request_query(**selected))
    except (StoreError, UnsupportedReportError) as error:
        raise click.ClickException(str(error)) from error
    if is_json:
        click.echo(json.dumps(as_json(page)))
    elif not page.rows:
        click.echo(f"There are no sessions of this period in {store.location}.")
    else:
        click.echo("\n".join([*lines(_columns(page), footer=False), *_more(page)]))


def _more(page: Page[SessionRow]) -> list[str]:
    return [f"… more: --after '{page.next_cursor}'"] if page.next_cursor else []


def _columns(page: Page[SessionRow]) -> list[Column]:
    rows, now = page.rows, datetime.now()
    latest = [short_time(datetime.fromisoformat(r.latest_at).astimezone(), now) for r in rows]
    columns = [
        Column(head="latest", cells=latest, right=False, rank=3),
        Column(head="session", cells=[r.id[:SHORT_SESSION] for r in rows], right=False),
        Column(head="actor", cells=[_cut(r.actor, _NAME) for r in rows], right=False),
        Column(head="client", cells=[_cut(r.client, _NAME) for r in rows], right=False, rank=2),
        Column(head="requests", cells=[short_count(r.figures.requests) for r in rows], rank=1),
        Column(head="tokens", cells=[tokens(r.figures) for r in rows], rank=4),
        Column(head="cost", cells=[cost_text(r.figures) for r in rows]),
    ]
    width = max(terminal_width(), _NARROW)
    columns = fitting(columns, width - _PROMPT)
    room = width - sum(column.width + column.gap for column in columns)
    prompts = [_cut(" ".join((r.prompt or "").split()), room) for r in rows]
    return [*columns, Column(head="first prompt", cells=prompts, right=False)]


def _cut(text: str, width: int) -> str:
    return fit(text, width).rstrip()
