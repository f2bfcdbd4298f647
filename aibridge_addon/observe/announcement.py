"""Announces a running proxy to the `aibridge` commands of this user, by a file in the data folder.

A proxy that was killed does not remove the file, so the file counts only while its process lives
and its ports accept connections.
"""

import json
import os
import socket
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from platformdirs import user_data_path

from aibridge_addon.replaced_files import replace_file

CONNECT_S = 2.0
_PIDS = 2**31


def data_folder() -> Path:
    """Return the folder of the database, the logs and the announcement."""
    return user_data_path("aibridge", appauthor=False)


def state_path() -> Path:
    """Return the path of the announcement."""
    return data_folder() / "proxy.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProxy:
    """Description of a running proxy: its addresses, and what its clients need."""

    pid: int
    forward_url: str | None
    """Value for `HTTPS_PROXY`; None without a forward proxy."""
    reverse_url: str | None
    """Beginning of base URLs; None without a reverse proxy."""
    ca: str
    """Path of the CA certificate that clients must trust."""
    database: str
    """Location of the store with the records; empty with a third-party recorder."""
    config: str
    """Path of the config file; empty without a config file."""
    metrics_url: str | None
    hosts: tuple[str, ...]
    """Hosts that the forward proxy intercepts."""
    plain_hosts: tuple[str, ...]
    """Intercepted hosts that are reached without TLS."""
    started_at: str
    needs_login: bool = False
    """True if mitmproxy's `proxyauth` requires a login in the proxy's URL."""
    token_rule: str = "never"  # noqa: S105 a rule
    """Value of the option `aibridge_require_token`."""
    tokens_in: str = ""
    """Location of the store with the access tokens, also with a third-party recorder."""
    providers: tuple[str, ...] = ()
    """Names of the provider instances."""
    knows_runs: bool = False
    """True if it understands the marks of `aibridge run`."""
    plugins: tuple[str, ...] = ()
    """Modules of the option `aibridge_plugins`, which may register the store at `database`."""
    open_on: str = ""
    """Address at which other machines reach it; empty if it listens on loopback only."""

    records: str = ""
    """Contents that it records, for people."""
    dashboard_url: str | None = None
    """Address of the web page in its process; None without the page."""

    def save(self, path: Path) -> None:
        """Write it to a file, atomically."""
        replace_file(path, json.dumps(asdict(self), indent=1).encode())

    def forget(self, path: Path) -> None:
        """Delete the file, unless another proxy has written it since."""
        if (saved := load(path)) and saved.pid == self.pid:
            path.unlink(missing_ok=True)

    @property
    def urls(self) -> tuple[str, ...]:
        """URLs that it listens on."""
        return tuple(url for url in (self.forward_url, self.reverse_url) if url)

    @property
    def is_up(self) -> bool:
        """True if its process lives and its ports accept connections."""
        return _lives(self.pid) and bool(self.urls) and all(map(accepts_connections, self.urls))


def from_json(values: dict[str, Any]) -> RunningProxy:
    """Return the description in an announcement's JSON; members of newer versions are ignored.

    Raises:
        TypeError: a member is missing or has another type, as an older version may have written.
        ValueError: a value is impossible.
    """
    lists = ("hosts", "plain_hosts", "providers", "plugins")
    values |= {name: tuple(values[name]) for name in lists if name in values}
    known = {field.name for field in fields(RunningProxy)}
    proxy = RunningProxy(**{name: value for name, value in values.items() if name in known})
    if not (isinstance(proxy.pid, int) and 0 < proxy.pid < _PIDS):
        raise ValueError(proxy.pid)
    for url in proxy.urls:
        _ = urlsplit(url).port
    return proxy


def load(path: Path) -> RunningProxy | None:
    """Read an announcement; None if there is no file, or no valid content."""
    try:
        return from_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError, RecursionError):
        return None


def accepts_connections(url: str) -> bool:
    """Return True if a server accepts connections at a URL."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), CONNECT_S):
            return True
    except (OSError, UnicodeError):
        return False


def _lives(pid: int) -> bool:
    if os.name != "posix":
        return True  # a signal would end the process; the ports suffice
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # a process of another user
    return True


class Announcement:
    """The announcement of this process's proxy."""

    def __init__(self) -> None:
        self._made: RunningProxy | None = None
        self._before: RunningProxy | None = None
        """The proxy that was announced before."""

    @property
    def is_made(self) -> bool:
        """True if other processes can find the proxy."""
        return self._made is not None

    def make(self, proxy: RunningProxy) -> None:
        """Write the announcement, also after a reload. Does nothing without listeners.

        Raises:
            OSError: the file cannot be written.
        """
        if not proxy.urls:
            return
        if self._made:
            proxy = replace(proxy, started_at=self._made.started_at)
        else:
            self._before = load(state_path())
        proxy.save(state_path())
        self._made = proxy

    def end(self) -> None:
        """Delete the announcement; a proxy that was announced before and runs gets its place."""
        if self._made is None:
            return
        is_newest = (saved := load(state_path())) is None or saved.pid == self._made.pid
        self._made.forget(state_path())
        if is_newest and self._before and self._before.pid != self._made.pid and self._before.is_up:
            self._before.save(state_path())
        self._made = None
