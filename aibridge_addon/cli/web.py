"""`aibridge web`: serves the record as a web page."""

import signal
from pathlib import Path

import click

from aibridge_addon.cli import page, running
from aibridge_addon.cli.databases import open_records, open_tokens
from aibridge_addon.cli.listening_ports import Port, listen
from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.observe.announcement import RunningProxy, accepts_connections
from aibridge_addon.store.errors import StoreError


@click.command(short_help="Show the record in a browser.")
@click.option(
    "--port",
    type=Port(),
    default=str(page.PORT),
    metavar="PORT",
    help=f"Port of the page. 0: any free port. Default: {page.PORT}.",
)
@click.option(
    "--listen-host",
    default="127.0.0.1",
    metavar="HOST",
    help="Address to listen on. Default: 127.0.0.1.",
)
@click.option(
    "--allowed-host",
    "allowed_hosts",
    multiple=True,
    metavar="NAME",
    help="Host name under which browsers may open the page. Repeatable.",
)
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="Database to show. Default: the one of the running proxy, or the default database.",
)
@click.option("--open", "opens", is_flag=True, help="Open the page in the default browser.")
def command(
    port: int | None,
    listen_host: str,
    allowed_hosts: tuple[str, ...],
    db: str | None,
    *,
    opens: bool,
) -> None:
    """Serve a page that shows requests, conversations, tokens and money, until Ctrl-C.

    Prints a link that signs you in, once. Other people sign in with their access token and see
    their own requests; owners of a token made with `aibridge token create --admin` see all.

    If the running proxy serves the page already (`aibridge proxy --dashboard`), only prints a link.
    """
    if port is None:
        raise click.UsageError("--port off: there is nothing to serve")
    try:
        records, tokens = open_records(db), open_tokens(db)
    except StoreError as error:
        raise click.ClickException(str(error)) from error
    if served := _served_by_proxy(running.find(), records.location):
        _show(page.sign_in_link(served), opens=opens)
        return
    listener = listen(listen_host, port, "--port")
    names = {*allowed_hosts, *page.names_of(listen_host)}
    server = page.make_server(records, tokens, listener, names)
    # From before the link is printed: a signal that comes while uvicorn starts ends it in order.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: server.stop())
    click.echo(f"The page shows {records.location} until Ctrl-C.")
    _show(page.sign_in_link(page.page_url(listener)), opens=opens)
    server.run()


def _served_by_proxy(proxy: RunningProxy | None, location: str) -> str | None:
    """Return the URL of the page that the running proxy serves for a database."""
    if proxy is None or proxy.dashboard_url is None:
        return None
    is_same = Path(proxy.database).resolve() == Path(location).resolve()
    return proxy.dashboard_url if is_same and accepts_connections(proxy.dashboard_url) else None


def _show(link: str, *, opens: bool) -> None:
    click.echo(link)
    if opens:
        click.launch(link)
