"""Shows the record of the demo, on the terminal and as a web page."""

import contextlib
import os
import socket
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table

from aibridge_addon.cli.unread_traffic import print_tunnels
from aibridge_addon.report.figures import Figures
from aibridge_addon.report.money import usd
from aibridge_addon.report.numbers import bar, percent, short_count
from aibridge_addon.report.protocol import Reports
from aibridge_addon.report.queries import RequestQuery, TotalsQuery
from aibridge_addon.store import open_store
from aibridge_addon.web.app import make_app
from aibridge_addon.web.links import SECRET_BYTES, make_key
from aibridge_addon.web.server import WebServer
from aibridge_addon.web.site import make_site

console = Console(highlight=False)
BAR_WIDTH = 16
NUMBERS = {"requests", "input", "cached", "output"}
TABLES = (
    (
        "Requests (aibridge_interceptions, aibridge_token_usages)",
        ("who", "API", "stream", "input", "cached", "output", "units", "status"),
        """SELECT initiator_id, substr(api, instr(api, '_') + 1), iif(streaming, 'yes', 'no'),
                  input_tokens, cache_read_input_tokens, output_tokens,
                  coalesce(json_extract(extra, '$.input_audio_seconds') || ' s',
                           json_extract(extra, '$.search_units') || ' search'), status
           FROM aibridge_interceptions i
           LEFT JOIN aibridge_token_usages u ON u.interception_id = i.id
           ORDER BY i.id""",
    ),
    (
        "What people said (aibridge_user_prompts)",
        ("who", "prompt"),
        """SELECT initiator_id, prompt FROM aibridge_user_prompts p
           JOIN aibridge_interceptions i ON i.id = p.interception_id
           GROUP BY initiator_id, prompt ORDER BY min(p.id)""",
    ),
    (
        "Tool calls that models selected (aibridge_tool_usages)",
        ("who", "tool", "input", "run by"),
        """SELECT initiator_id, tool, input,
                  iif(injected, 'MCP server ' || json_extract(t.metadata, '$.server'), 'client')
           FROM aibridge_tool_usages t
           JOIN aibridge_interceptions i ON i.id = t.interception_id ORDER BY t.id""",
    ),
)


def show(database: Path) -> None:
    """Print the record."""
    connection = sqlite3.connect(database)
    for title, columns, query in TABLES:
        console.print(title, style="bold")
        table = Table(*columns, box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
        for column in table.columns:
            if column.header in NUMBERS:
                column.justify = "right"
        for row in connection.execute(query):
            table.add_row(*("" if value is None else str(value) for value in row))
        console.print(table)
    connection.close()


def show_spent(reports: Reports) -> None:
    """Print a picture of the money and the tokens, by actor and model."""
    totals = reports.totals(TotalsQuery(by=("actor", "model")))
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False)
    for name in ("who", "model", "", "money", "tokens in", "out", "cache"):
        table.add_column(name, justify="left" if name in ("who", "model", "") else "right")
    largest = max((row.figures.cost_nano_usd or 0 for row in totals.rows), default=0)
    for row in totals.rows:
        figures = row.figures
        line = bar(figures.cost_nano_usd or 0, largest, BAR_WIDTH)
        table.add_row(*map(str, row.names), f"[cyan]{line}[/cyan]", *spent_cells(figures))
    table.add_section()
    table.add_row("all", "", "", *spent_cells(totals.overall), style="bold")
    console.print("What was spent (list prices; the demo costs nothing)", style="bold")
    console.print(table)
    if totals.overall.unpriced:
        console.print("+n: requests whose price is not known:", style="dim")


def show_unpriced(database: Path) -> None:
    """Print why calls have no price."""
    with contextlib.closing(sqlite3.connect(database)) as connection:
        query = """SELECT i.model, coalesce(unpriced_reason, 'the response reports no usage')
                   FROM aibridge_interceptions i
                   LEFT JOIN aibridge_token_usages u ON i.id = u.interception_id
                   WHERE cost_nano_usd IS NULL GROUP BY 1, 2"""
        for model, reason in connection.execute(query):
            console.print(f"  {model}: {reason}", style="dim")
    console.print()


def show_unread(reports: Reports) -> None:
    """Print the tunnels to services that are not read."""
    print_tunnels(reports.tunnels(RequestQuery()), "as aibridge usage --by host prints it", None)
    console.print()


def spent_cells(figures: Figures) -> tuple[str, ...]:
    """Return money and tokens as text; unknown money is a dash."""
    more = f" +{figures.unpriced}" if figures.unpriced else ""
    return (
        f"{usd(figures.cost_nano_usd)}{more}",
        short_count(figures.known(figures.total_input)),
        short_count(figures.known(figures.output)),
        percent(figures.cache_hit_rate),
    )


@contextlib.contextmanager
def page(database: Path) -> Iterator[str]:
    """Serve the web page; yield a link that signs in."""
    secret = os.urandom(SECRET_BYTES)
    store = open_store(str(database))
    site = make_site(store.reports(), store, secret=secret, inspect=store.inspect)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = WebServer(make_app(site), listener)
        server.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/link?key={make_key(secret)}"
        server.close()
