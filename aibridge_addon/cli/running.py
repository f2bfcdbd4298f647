"""How a running proxy is found, and one started for as long as a program runs.

A proxy that `aibridge proxy` started leaves a small file in the data folder. The file alone says
nothing: a proxy that was killed leaves it behind. So it counts only if its process lives and its
ports take connections.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self
from urllib.parse import urlsplit

import click
from platformdirs import user_data_path

from aibridge_addon.store.token_table import TokensError, read_tokens

START_S = 60.0
"""For a proxy to come up: on a busy machine, importing mitmproxy alone takes seconds."""
CONNECT_S = 2.0
GRACE_S = "3"
"""For what a program has left open."""
_AT_HOME = (
    *("--set", "aibridge_private_networks=*"),
    *("--set", "aibridge_require_token=never"),
)
"""A proxy just for a program is where the program is: what that reaches without it, such as a git
server of its company, it must reach with it. And who made tokens made them for another proxy."""
MAX_LOG = 1024 * 1024
"""Bytes after which the log of proxies that `aibridge run` starts begins anew."""


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
    """Whether they need a gateway token, as the option `aibridge_require_token` has it."""
    tokens_in: str = ""
    """The database that gateway tokens stand in, also beside a recorder of the user's own."""
    providers: tuple[str, ...] = ()
    """The names of the provider instances."""
    open_on: str = ""
    """The address by which others than this machine reach it; empty if they do not."""

    @property
    def asks_for_token(self) -> bool:
        """Whether clients need a gateway token by now, as far as this user can tell."""
        match self.token_rule:
            case "always":
                return True
            case "auto" if self.tokens_in:
                with contextlib.suppress(TokensError):
                    return bool(read_tokens(Path(self.tokens_in)))
        return False

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
    lists = ("hosts", "plain_hosts", "providers")
    values |= {name: tuple(values[name]) for name in lists if name in values}
    return RunningProxy(**values)


def load(path: Path) -> RunningProxy | None:
    """Read what a proxy wrote; None if there is nothing, or nothing that makes sense."""
    try:
        return of_json(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, AttributeError):
        return None


def find() -> RunningProxy | None:
    """Return the proxy that runs on this machine for this user, if one does."""
    saved = load(state_path())
    return saved if saved and saved.answers else None


def default_database() -> Path:
    """Return the database of the running proxy, else the usual one."""
    proxy = find()
    return Path((proxy and proxy.database) or data_folder() / "aibridge.sqlite3")


def default_tokens() -> Path:
    """Return the database of the running proxy's tokens, else the usual one."""
    proxy = find()
    return Path((proxy and proxy.tokens_in) or data_folder() / "aibridge.sqlite3")


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


def take_line(lines: IO[str], process: subprocess.Popen[str], seconds: float) -> str:
    """Read a line of a process's output; it is ended if that takes too long, and gives ''."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        return lines.readline()
    finally:
        timer.cancel()


class OwnProxy:
    """A proxy of this process's own, on free ports; as a context, it ends with it.

    It ends too when this process is killed, since it then reads the end of a pipe. It has no part
    in the terminal: Ctrl-C is meant for the program.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self.log = data_folder() / "run.log"
        self.where: RunningProxy
        self._arguments = arguments
        self._mark = 0

    def __enter__(self) -> Self:
        """Start it.

        Raises:
            ClickException: it did not come up.
        """
        with self._opened_log() as log:
            self._process = subprocess.Popen(  # noqa: S603 ourselves
                [
                    *(sys.executable, "-P", "-m", "aibridge_addon.cli", "proxy", "--private"),
                    *("--port", "0", "--reverse-port", "0", "--metrics", "off", "--grace", GRACE_S),
                    *_AT_HOME,
                    *self._arguments,
                ],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                start_new_session=True,
            )
        try:
            self.where = self._read_where()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        """End it, if `end` has not."""
        self.end()

    def end(self) -> dict[str, Any]:
        """End it in good order; return what it says of what passed through it."""
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            line = take_line(self._process.stdout, self._process, START_S)
        except ValueError:  # it was read to its end before
            return {}
        self._process.wait()
        self._process.stdout.close()
        try:
            said: dict[str, Any] = json.loads(line)
        except ValueError:
            return {}
        return said

    def _read_where(self) -> RunningProxy:
        assert self._process.stdout
        line = take_line(self._process.stdout, self._process, START_S)
        try:
            return of_json(json.loads(line))
        except (ValueError, TypeError):
            raise click.ClickException(f"the proxy did not start:\n{self._logged()}") from None

    @contextlib.contextmanager
    def _opened_log(self) -> Iterator[IO[bytes]]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > MAX_LOG:
                self.log.unlink()
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            self._mark = log.seek(0, os.SEEK_END)
            yield log

    def _logged(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._mark)
            return log.read().decode(errors="replace").strip() or f"see {self.log}"
