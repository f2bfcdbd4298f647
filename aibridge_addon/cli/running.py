"""Finds the running proxy, or starts a temporary one for as long as a program runs."""

import contextlib
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import IO, Any, Self

import click

from aibridge_addon.observe.announcement import (
    RunningProxy,
    data_folder,
    from_json,
    load,
    state_path,
)

START_S = 60.0
"""Time limit for the start of a proxy: on a busy machine, importing mitmproxy takes seconds."""
GRACE_S = "3"
"""Time that requests get to complete after the program has ended."""
_AT_HOME = (
    *("--set", "aibridge_private_networks=*"),
    *("--set", "aibridge_require_token=never"),
)
"""A temporary proxy runs where the program runs. It must reach every host that the program can
reach without it, such as a git server of its company; and access tokens are for another proxy."""
MAX_LOG = 1024 * 1024
"""Size in bytes at which the log of temporary proxies is started anew."""


def find() -> RunningProxy | None:
    """Return this user's running proxy on this machine; None if there is no such proxy."""
    saved = load(state_path())
    return saved if saved and saved.is_up else None


def read_line(lines: IO[str], process: subprocess.Popen[str], seconds: float) -> str:
    """Read a line of a process's output; after a time limit, kill the process and return ''."""
    timer = threading.Timer(seconds, process.kill)
    timer.start()
    try:
        return lines.readline()
    finally:
        timer.cancel()


class OwnProxy:
    """A temporary proxy on free ports, as a context manager.

    The proxy also ends when this process is killed, because its stdin is then closed. It runs in a
    session of its own, so that Ctrl-C reaches only the program.
    """

    def __init__(self, arguments: Sequence[str] = ()) -> None:
        self.log = data_folder() / "run.log"
        self.address: RunningProxy
        self._arguments = arguments
        self._mark = 0

    def __enter__(self) -> Self:
        """Start the proxy.

        Raises:
            ClickException: the proxy did not start; the message contains its log.
        """
        with self._open_log() as log:
            self._process = subprocess.Popen(  # noqa: S603 this package
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
            self.address = self._read_address()
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
        """End the proxy, unless `end` has been called."""
        self.end()

    def end(self) -> dict[str, Any] | None:
        """Shut the proxy down gracefully; return its report of the requests that it saw.

        None: it has ended without a report, or `end` has been called before.
        """
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(OSError):
            self._process.stdin.close()
        try:
            line = read_line(self._process.stdout, self._process, START_S)
        except ValueError:  # stdout is closed: `end` was called before
            return None
        self._process.wait()
        self._process.stdout.close()
        try:
            report: dict[str, Any] = json.loads(line)
        except ValueError:
            return None
        return report

    def _read_address(self) -> RunningProxy:
        assert self._process.stdout
        line = read_line(self._process.stdout, self._process, START_S)
        try:
            return from_json(json.loads(line))
        except (ValueError, TypeError):
            raise click.ClickException(
                f"the proxy did not start:\n{self._log_of_this_start()}"
            ) from None

    @contextlib.contextmanager
    def _open_log(self) -> Iterator[IO[bytes]]:
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(OSError):
            if self.log.stat().st_size > MAX_LOG:
                self.log.unlink()
        descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(descriptor, "ab") as log:
            self._mark = log.seek(0, os.SEEK_END)
            yield log

    def _log_of_this_start(self) -> str:
        with self.log.open("rb") as log:
            log.seek(self._mark)
            return log.read().decode(errors="replace").strip() or f"see {self.log}"
