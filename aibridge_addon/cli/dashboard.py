"""The web page inside the process of `aibridge proxy --dashboard`, on a thread of its own."""

import socket
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import click

from aibridge_addon.cli import page
from aibridge_addon.cli.databases import open_records_of, open_tokens_of
from aibridge_addon.cli.listening_ports import listen
from aibridge_addon.observe.announcement import RunningProxy
from aibridge_addon.store.errors import StoreError

if TYPE_CHECKING:
    from aibridge_addon.web.server import WebServer

DEFAULT_ADDRESS = f"127.0.0.1:{page.PORT}"


class Dashboard:
    """Listens from the start, so that a port in use is reported; serves once the proxy is up."""

    def __init__(self, address: str) -> None:
        host, _, port = address.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise click.UsageError(f"--dashboard {address}: write it as HOST:PORT")
        self._host = host
        self._listener: socket.socket = listen(host, int(port), "--dashboard")
        self._server: WebServer | None = None

    def start(self, proxy: RunningProxy) -> RunningProxy:
        """Serve the records of a proxy; return its description with the address of the page."""
        if self._server is None and proxy.database:
            self._server = self._make_server(proxy)
        return replace(proxy, dashboard_url=page.page_url(self._listener) if self._server else None)

    def close(self) -> None:
        """Stop serving."""
        if self._server:
            self._server.close()
            self._server = None
        self._listener.close()

    def _make_server(self, proxy: RunningProxy) -> "WebServer | None":
        try:
            server = page.make_server(
                open_records_of(proxy),
                open_tokens_of(proxy),
                self._listener,
                page.names_of(self._host),
            )
        except (StoreError, click.ClickException) as error:
            click.echo(f"The page cannot be served: {error}", err=True)
            return None
        server.start()
        return server


def announced_link(url: str) -> str:
    """Return the address of the page; on a terminal, a link that signs in."""
    return page.sign_in_link(url) if sys.stdout.isatty() else url
