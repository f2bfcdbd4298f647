"""`aibridge show`: a request or a session as a tree."""

import json
import sys
from collections.abc import Iterator
from typing import Any

import click

from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.filters import db_option
from aibridge_addon.cli.safe_text import printable_lines, wrap
from aibridge_addon.cli.tables import printable, terminal_width
from aibridge_addon.cli.timeline_tree import request_tree, session_title
from aibridge_addon.cli.tree import Branch, lines
from aibridge_addon.report.as_json import as_json
from aibridge_addon.report.loading import TimelineLoader
from aibridge_addon.report.protocol import Reports, UnsupportedReportError
from aibridge_addon.report.rows import RequestRow, SessionDetail
from aibridge_addon.report.session_tree import SessionNode, nest
from aibridge_addon.report.timeline import Timeline
from aibridge_addon.store.errors import StoreError

_FOLD, _SESSION_FOLD = 12, 4
"""Lines that are shown of a long text."""
_WIDTHS = (60, 120)


@click.command(short_help="Show a request or a session as a tree.")
@click.argument("id_", metavar="ID")
@click.option("--full", is_flag=True, help="Show long texts completely.")
@click.option("--json", "is_json", is_flag=True, help="Print JSON, with all that is recorded.")
@db_option
def command(id_: str, db: str | None, *, full: bool, is_json: bool) -> None:
    """Show what was said in a request or a session, what it used and what it cost.

    ID is the id of a request, or its beginning or end, as `aibridge tail` shows it; or the id of a
    session, or its beginning. The tree has the prompt, changes of the system prompt, and each
    upstream request with its thoughts, answer and tool calls. Content is shown as far as it is
    recorded (option aibridge_capture).
    """
    try:
        output = _output(open_records(db).reports(), id_, full=full, is_json=is_json)
        for line in output:
            click.echo(line)
    except (StoreError, UnsupportedReportError) as error:
        raise click.ClickException(str(error)) from error


def _output(reports: Reports, id_: str, *, full: bool, is_json: bool) -> Iterator[str]:
    loader = TimelineLoader(reports)
    if timeline := loader.load(id_):
        yield from _request(timeline, full=full, is_json=is_json)
    elif session := reports.session(id_):
        write = _session_json(session, loader) if is_json else _session(session, loader, full=full)
        yield from write
    else:
        raise click.ClickException(
            f"{printable(id_)!r} is not the id of a request or session, or stands for several"
        )


def _request(timeline: Timeline, *, full: bool, is_json: bool) -> Iterator[str]:
    if is_json:
        yield json.dumps(timeline_json(timeline))
        return
    yield from lines(request_tree(timeline), _width(), None if full else _FOLD)


def timeline_json(timeline: Timeline) -> dict[str, Any]:
    """Return a timeline as JSON: the fields of the request, its rows and its content."""
    fields: dict[str, Any] = as_json(timeline)
    detail: dict[str, Any] = fields.pop("detail")
    return detail | fields


def _session(session: SessionDetail, loader: TimelineLoader, *, full: bool) -> Iterator[str]:
    width = _width()
    yield from wrap(printable_lines(session_title(session.session)), width)
    for node in nest(session.requests):
        yield ""
        yield from lines(_node(node, loader), width, None if full else _SESSION_FOLD)
    if session.more:
        yield f"… {session.more:,} more requests: aibridge export --session has them"


def _node(node: SessionNode, loader: TimelineLoader) -> Branch:
    branch = _tree(node.request, loader)
    for run in node.agents:
        branches = [_tree(request, loader) for request in run.requests]
        branch.branches.append(Branch(f"Sub-agent {run.agent_id}", branches=branches))
    return branch


def _tree(row: RequestRow, loader: TimelineLoader) -> Branch:
    timeline = loader.load(row.id)
    if timeline is None:  # deleted meanwhile
        return Branch(f"Request {row.id} was deleted")
    return request_tree(timeline, in_session=True)


def _session_json(session: SessionDetail, loader: TimelineLoader) -> Iterator[str]:
    """Yield a JSON object in lines, a request in each."""
    head = {"session": as_json(session.session), "more": session.more}
    yield json.dumps(head)[:-1] + ', "requests": ['
    separator = ""
    for row in session.requests:
        if timeline := loader.load(row.id):
            yield separator + json.dumps(timeline_json(timeline))
            separator = ","
    yield "]}"


def _width() -> int:
    narrow, wide = _WIDTHS
    return max(narrow, min(terminal_width(), wide)) if sys.stdout.isatty() else 80
