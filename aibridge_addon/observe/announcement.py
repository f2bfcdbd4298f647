"""Announces a running proxy to the `aibridge` commands of this user.

A proxy leaves a small file in the data folder. The file alone says nothing: a proxy that was killed
leaves it behind. So it counts only if its process lives and its ports take connections.
"""

import json
import os
import socket
import tempfile
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from platformdirs import user_data_path

CONNECT_S = 2.0


def data_folder() -> Path:
    """Return where our data lives."""
    return user_data_path("aibridge", appauthor=False)


def state_path() -> Path:
    """Return where a running proxy says where it is."""
    return data_folder() / "proxy.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class RunningProxy:
    """Where a proxy is, and what a client of it must know."""

    pid: int
    forward_url: str | None
    """What `HTTPS_PROXY` is set to; None if it is no forward proxy."""
    reverse_url: str | None
    """What base URLs begin with; None if it is no reverse proxy."""
    ca: str
    """The path of the certificate that clients must trust."""
    database: str
    """The path; empty if a recorder of the user's own is used."""
    config: str
    """The path of the config file; empty if there is none."""
    metrics_url: str | None
    hosts: tuple[str, ...]
    """What the forward proxy intercepts."""
    plain_hosts: tuple[str, ...]
    """Those of them that are reached without TLS."""
    started_at: str
    needs_login: bool = False
    """Whether clients must say who they are, in the proxy's URL."""
    token_rule: str = "never"  # noqa: S105 a rule
    """Whether they need an access token, as the option `aibridge_require_token` has it."""
    tokens_in: str = ""
    """The database that access tokens stand in, also beside a recorder of the user's own."""
    providers: tuple[str, ...] = ()
    """The names of the provider instances."""
    knows_runs: bool = False
    """Whether it takes the marks of `aibridge run`."""
    plugins: tuple[str, ...] = ()
    """Modules that it imported: they may register the store that `database` names."""
    open_on: str = ""
    """The address by which others than this machine reach it; empty if they do not."""

    def save(self, path: Path) -> None:
        """Write it down for others to find."""
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(asdict(self), file, indent=1)
        Path(name).replace(path)

    def forget(self, path: Path) -> None:
        """Remove what `save` wrote, unless another proxy has written since."""
        if (saved := load(path)) and saved.pid == self.pid:
            path.unlink(missing_ok=True)

    @property
    def urls(self) -> tuple[str, ...]:
        """The URLs that it listens on."""
        return tuple(url for url in (self.forward_url, self.reverse_url) if url)

    @property
    def answers(self) -> bool:
        """Whether it lives and takes connections."""
        return _lives(self.pid) and bool(self.urls) and all(map(takes_connections, self.urls))


def of_json(values: dict[str, Any]) -> RunningProxy:
    """Return what `asdict` was made of.

    Raises:
        TypeError: other members than expected.
    """
    lists = ("hosts", "plain_hosts", "providers", "plugins")
    values |= {name: tuple(values[name]) for name in lists if name in values}
    return RunningProxy(**values)


def load(path: Path) -> RunningProxy | None:
    """Read what a proxy wrote; None if there is nothing, or nothing that makes sense."""
    try:
        return of_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def takes_connections(url: str) -> bool:
    """Whether somebody listens there."""
    parts = urlsplit(url)
    try:
        with socket.create_connection((parts.hostname or "", parts.port or 80), CONNECT_S):
            return True
    except OSError:
        return False


def _lives(pid: int) -> bool:
    if os.name != "posix":
        return True  # there, asking by signal would end it; the ports say enough
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True  # another user's
    return True


class Announcement:
    """The announcement of this process's proxy, from its start to its end."""

    def __init__(self) -> None:
        self._made: RunningProxy | None = None

    @property
    def is_made(self) -> bool:
        """Whether other processes find the proxy by it."""
        return self._made is not None

    def make(self, where: RunningProxy) -> None:
        """Make it, or renew it with other settings; a proxy that listens nowhere has none.

        Raises:
            OSError: it cannot be written.
        """
        if not where.urls:
            return
        if self._made:
            where = replace(where, started_at=self._made.started_at)
        where.save(state_path())
        self._made = where

    def end(self) -> None:
        """Remove it: nobody should come any more."""
        if self._made:
            self._made.forget(state_path())
            self._made = None
