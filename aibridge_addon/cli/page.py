"""Builds the web page for a store: its address, its sign-in link and its state of health."""

import secrets
import socket
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from aibridge_addon.addresses import url_here
from aibridge_addon.budgets.accounts import Account
from aibridge_addon.cli import running
from aibridge_addon.cli.budget_state import read_budget_state
from aibridge_addon.cli.checks.health import check_health
from aibridge_addon.cli.checks.installation import Installation
from aibridge_addon.cli.known_actors import KnownActors
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.findings import Finding
from aibridge_addon.observe.announcement import data_folder
from aibridge_addon.store.errors import StoreError
from aibridge_addon.store.protocol import Store

if TYPE_CHECKING:
    from aibridge_addon.web.server import WebServer

PORT = 8083
_SECRET_NAME = "web.key"  # noqa: S105 a file name
_ALL_ADDRESSES = ("", "0.0.0.0", "::")  # noqa: S104 to be compared with


def make_server(
    records: Store, tokens: Store, listener: socket.socket, allowed_hosts: Iterable[str] = ()
) -> "WebServer":
    """Return a server of the page, which does not serve yet.

    Args:
        records: Store with the records.
        tokens: Store with the access tokens.
        listener: Socket that listens.
        allowed_hosts: Host names of the page, besides loopback names and addresses.
    """
    from aibridge_addon.web.app import make_app
    from aibridge_addon.web.server import WebServer
    from aibridge_addon.web.site import make_site

    known = KnownActors()
    site = make_site(
        records.reports(),
        tokens,
        secret=read_secret(),
        inspect=lambda: _inspect(records),
        read_budgets=lambda name: _read_budgets(records, name),
        actor_of=lambda name: known.find(name).id,
    )
    return WebServer(make_app(site, allowed_hosts), listener)


def sign_in_link(url: str) -> str:
    """Return a new link that signs in the operator, once."""
    from aibridge_addon.web.links import make_key

    return f"{url}/link?key={make_key(read_secret())}"


def read_secret() -> bytes:
    """Return the secret that signs links of this user; creates it at the first call.

    Raises:
        ClickException: its file can be neither read nor created.
    """
    path = data_folder() / _SECRET_NAME
    try:
        return _read_or_create(path)
    except OSError as error:
        raise click.ClickException(f"{path}: {error.strerror}") from error


def page_url(listener: socket.socket) -> str:
    """Return where browsers of this machine find the page."""
    host, port = listener.getsockname()[:2]
    return url_here(host, port)


def names_of(host: str) -> frozenset[str]:
    """Return the host names under which other machines find a page that listens on `host`."""
    return frozenset({socket.gethostname() if host in _ALL_ADDRESSES else host})


def _read_or_create(path: Path) -> bytes:
    from aibridge_addon.web.links import SECRET_BYTES

    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with path.open("xb") as file:
            path.chmod(0o600)
            file.write(secrets.token_bytes(SECRET_BYTES))
    except FileExistsError:
        pass
    return path.read_bytes()


def _read_budgets(records: Store, name: str | None) -> Sequence[Account]:
    """Return the budgets of the owner of an access token, or all; none if they are unreadable."""
    try:
        state = read_budget_state(records)
        return state.read(name) if state.rules else ()
    except (SettingsError, StoreError):
        return ()


def _inspect(records: Store) -> Sequence[Finding]:
    """Return the state of the running proxy and of the store."""
    proxy = running.find()
    what = f"process {proxy.pid} on {' and '.join(proxy.urls)}" if proxy else "no proxy is running"
    to_do = "" if proxy else "start it: aibridge proxy, or aibridge run -- claude"
    found = [Finding(about="proxy", level="ok" if proxy else "note", what=what, to_do=to_do)]
    found += check_health(Installation(proxy=proxy))
    try:
        return [*found, *records.inspect()]
    except StoreError as error:
        return [*found, Finding(about="database", level="bad", what=str(error))]
