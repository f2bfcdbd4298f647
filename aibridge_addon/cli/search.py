"""`aibridge search`: finds prompts, answers, thoughts and tool calls by their words."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import click

from aibridge_addon.cli.databases import open_records
from aibridge_addon.cli.filters import db_option, filter_options, period_options, request_query
from aibridge_addon.cli.request_lines import SHORT_ID
from aibridge_addon.cli.safe_text import fit, printable_lines, wrap
from aibridge_addon.cli.tables import printable, terminal_width
from aibridge_addon.report.as_json import as_json
from aibridge_addon.report.protocol import UnsupportedReportError
from aibridge_addon.report.rows import Page, SearchHit
from aibridge_addon.report.search_text import SearchTextError, fragments
from aibridge_addon.store.errors import StoreError

_NARROW = 80
_INDENT = "    "


@click.command(short_help="Find prompts, answers and tool calls by their words.")
@click.argument("words", nargs=-1, required=True, metavar="TEXT...")
@period_options("all")
@filter_options
@click.option(
    "--limit", type=click.IntRange(1, 10_000), default=20, help="Most results. Default: 20."
)
@click.option("--after", "cursor", default="", metavar="CURSOR", help="Continue after a page.")
@db_option
@click.option("--json", "is_json", is_flag=True, help="Print the results as JSON.")
def command(words: tuple[str, ...], db: str | None, *, is_json: bool, **selected: Any) -> None:
    """Find recorded texts that contain all words of TEXT, newest first.

    Searches prompts, thoughts, tool arguments and, as far as they are recorded, answers and tool
    results. Put a phrase between double quotes, end the beginning of a word with *, and put -
    before a word that must not occur: aibridge search -- '"parse json" rust* -python'
    """
    try:
        page = open_records(db).reports().search(" ".join(words), request_query(**selected))
    except SearchTextError as error:
        raise click.BadParameter(printable(str(error)), param_hint="TEXT") from error
    except (StoreError, UnsupportedReportError) as error:
        raise click.ClickException(str(error)) from error
    if is_json:
        click.echo(json.dumps(as_json(page)))
        return
    for line in _lines(page):
        click.echo(line)
    if page.note:
        click.echo(f"Note: {page.note}.", err=True)


def _lines(page: Page[SearchHit]) -> Iterator[str]:
    if not page.rows:
        yield "No recorded text contains these words."
    for hit in page.rows:
        yield _title(hit)
        yield from _snippet(hit)
    if page.next_cursor:
        yield f"… more: --after {page.next_cursor}"


def _title(hit: SearchHit) -> str:
    row = hit.request
    when = datetime.fromisoformat(row.started_at).astimezone()
    facts = f"{when:%Y-%m-%d %H:%M} {row.id[-SHORT_ID:]} {hit.source}"
    rest = f"{row.actor} · {row.client} · {row.model or 'unknown'}"
    return click.style(facts, bold=True) + "  " + fit(rest, _NARROW - len(facts) - 2).rstrip()


def _snippet(hit: SearchHit) -> Iterator[str]:
    """Yield the snippet in lines, with the matches marked, also on a terminal without colours."""
    text = "".join(
        f"[{piece.text}]" if piece.is_match else piece.text for piece in fragments(hit.snippet)
    )
    lines = [line for line in printable_lines(text) if line.strip()]
    width = max(min(terminal_width(), 120), 40) - len(_INDENT)
    yield from (_INDENT + line for line in wrap(lines, width))
