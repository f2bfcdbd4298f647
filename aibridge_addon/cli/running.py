"""How a running proxy is found, and one started for as long as a program runs."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import IO, Any, Self

import click

from aibridge_addon.observe.announcement import (
    RunningProxy,
    data_folder,
    load,
    of_json,
    state_path,
)

START_S = 60.0
"""For a proxy to come up: on a busy machine, importing mitmproxy alone takes seconds."""
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
