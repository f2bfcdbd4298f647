"""`aibridge run`: runs a program through a proxy, and prints what it used."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import click

from aibridge_addon.access.runs import new_mark
from aibridge_addon.cli import client_setup, running
from aibridge_addon.cli.client_setup import SetupError
from aibridge_addon.cli.connection import connect_to, login_option, mark_run
from aibridge_addon.cli.databases import open_records_of
from aibridge_addon.cli.parameters import DatabaseLocation
from aibridge_addon.cli.plugins import import_plugins_for
from aibridge_addon.cli.running import OwnProxy
from aibridge_addon.cli.totals import of_json, summary
from aibridge_addon.config.capture import EVERYTHING
from aibridge_addon.config.mistakes import SettingsError
from aibridge_addon.observe.announcement import RunningProxy
from aibridge_addon.providers import clients
from aibridge_addon.providers.clients import ClientProgram
from aibridge_addon.report.protocol import UnsupportedReportError
from aibridge_addon.report.queries import TotalsQuery
from aibridge_addon.report.rows import GroupRow
from aibridge_addon.store.errors import StoreError

type TakeOver = Callable[["subprocess.Popen[bytes]"], None]

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
"""Exit codes of shells."""

_FROM_TERMINAL = ("SIGINT", "SIGQUIT")
"""Signals that a terminal sends to every process in the foreground, the program included."""
_FORWARDED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", *_FROM_TERMINAL)


@click.command(
    short_help="Run a program through the proxy.",
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False},
)
@click.option(
    "--reverse",
    is_flag=True,
    help="Use base URLs of the reverse proxy instead of HTTPS_PROXY and CA variables.",
)
@login_option
@click.option("-q", "--quiet", is_flag=True, help="Do not print the summary at the end.")
@click.option("--new", is_flag=True, help="Start a temporary proxy even if a proxy is running.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Config file of the temporary proxy. Implies --new.",
)
@click.option(
    "--db",
    type=DatabaseLocation(),
    metavar="FILE",
    help="Database of the temporary proxy. Implies --new.",
)
@click.option(
    "--set",
    "sets",
    multiple=True,
    metavar="NAME=VALUE",
    help="Set an option of the temporary proxy. Repeatable. Implies --new.",
)
@click.argument("program", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_context
def command(
    ctx: click.Context,
    *,
    reverse: bool,
    login: str | None,
    quiet: bool,
    new: bool,
    config: Path | None,
    db: str | None,
    sets: tuple[str, ...],
    program: tuple[str, ...],
) -> None:
    """Run PROGRAM through the running proxy, or start a temporary one.

    \b
    aibridge run -- claude
    aibridge run -- codex exec "say hello"
    aibridge run --reverse -- python my_agent.py

    PROGRAM gets the variables that `aibridge env` prints, and every signal. Prints a summary of the
    usage to stderr at the end. Returns PROGRAM's exit code.
    """
    wanted = _Program(
        path=_find(program[0]), words=program, login=login, reverse=reverse, quiet=quiet
    )
    own = [word for spec in sets for word in ("--set", spec)]
    own += ["--config", str(config.absolute())] if config else []
    own += ["--db", db] if db else []
    shared = None if new or own else running.find()
    code, text = _run_through(shared, wanted) if shared else _run_with_own_proxy(own, wanted)
    if text and not quiet:
        _say(text)
    ctx.exit(code)


def _say(text: str) -> None:
    """Print a message, unless the terminal is closed: the exit code stays the program's."""
    with contextlib.suppress(OSError):
        click.echo(f"aibridge: {text}", err=True)


class _CannotRunError(click.ClickException):
    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self._code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Print the message, and exit with the code that a shell would return."""
        super().show(file)
        raise SystemExit(self._code)


def _find(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        if os.path.dirname(name) and Path(name).exists():
            raise _CannotRunError(f"{name} is not executable", _NOT_EXECUTABLE)
        raise _CannotRunError(f"{name}: no such program", _NOT_FOUND)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """A program to run, and the kind of connection that it gets."""

    path: str
    words: Sequence[str]
    login: str | None
    reverse: bool
    quiet: bool = False
    """True if nothing is printed."""
    mark: str = ""
    """Mark of `access.runs` that identifies its requests; empty if it has a proxy of its own."""

    @property
    def may_bypass_proxy(self) -> bool:
        """True if the program is not known to honour the variables that it gets."""
        return not self.reverse and _client_of(self.path) is clients.ANY_PROGRAM

    def is_marked(self, proxy: RunningProxy) -> bool:
        """Return True if its requests carry its mark, which takes the place of a user's name."""
        return bool(self.mark) and proxy.knows_runs and not proxy.needs_login

    def run(self, proxy: RunningProxy, take_over: TakeOver) -> int:
        """Run the program to its end; return its exit code as a shell would."""
        words, variables = self._prepared(proxy)
        if proxy.records.startswith(EVERYTHING) and not self.quiet:
            _say(f"records {proxy.records}")
        try:
            process = subprocess.Popen(  # noqa: S603 the user's own command
                words, executable=self.path, env=os.environ | variables
            )
        except OSError as error:
            raise _CannotRunError(f"{self.path}: {error.strerror}", _NOT_EXECUTABLE) from error
        take_over(process)
        code = process.wait()
        return 128 - code if code < 0 else code

    def _prepared(self, proxy: RunningProxy) -> tuple[list[str], dict[str, str]]:
        """Return the command line and the variables."""
        try:
            import_plugins_for(proxy)
        except SettingsError as error:
            raise click.ClickException(str(error)) from error
        client, connection = _client_of(self.path), connect_to(proxy, self.login)
        if self.is_marked(proxy):
            connection = mark_run(connection, proxy, self.login, self.mark)
        try:
            variables = client_setup.variables(client, connection, os.environ, reverse=self.reverse)
        except SetupError as error:
            raise click.ClickException(str(error)) from error
        arguments = client_setup.arguments(client, connection, reverse=self.reverse)
        return [self.words[0], *arguments, *self.words[1:]], variables


def _client_of(path: str) -> ClientProgram:
    """Return the client program of an executable, by its name or because Node runs it."""
    known = clients.by_executable(path)
    if known is not clients.ANY_PROGRAM:
        return known
    interpreter = clients.by_executable(_interpreter(path))
    return interpreter if interpreter.needs_base_url else known


def _interpreter(path: str) -> str:
    """Return the interpreter named by a script's first line; empty if the file is not a script."""
    try:
        with open(path, "rb") as file:
            line = file.readline(256).decode(errors="replace")
    except OSError:
        return ""
    words = line[2:].split() if line.startswith("#!") else []
    # As in `#!/usr/bin/env -S A=b node --flag`.
    programs = (word for word in words if not re.match(r"-|.*=|.*\benv$", word))
    return next(programs, "")


def _run_through(proxy: RunningProxy, program: _Program) -> tuple[int, str]:
    """Run a program through a running proxy; return its exit code and the summary."""
    program = replace(program, mark=new_mark())
    begin = datetime.now(UTC).isoformat(timespec="microseconds")
    with _forwarded_signals() as take_over:
        code = program.run(proxy, take_over)
    if proxy.database:
        # An impatient Ctrl-C, while the database is slow, must not cost the exit code.
        with contextlib.suppress(StoreError, UnsupportedReportError, KeyboardInterrupt):
            run = program.mark if program.is_marked(proxy) else None
            query = TotalsQuery(since=begin, run=run)
            totals = open_records_of(proxy).reports().totals(query).rows
            note = "" if run else " (everything that the proxy recorded meanwhile)"
            return code, _summary(totals, program) + note
    return code, ""


def _run_with_own_proxy(arguments: Sequence[str], program: _Program) -> tuple[int, str]:
    """Run a program through a temporary proxy; return its exit code and the summary."""
    # The proxy takes a moment to end; an impatient Ctrl-C must not cost the exit code.
    with OwnProxy(arguments) as proxy, _forwarded_signals() as take_over:
        code = program.run(proxy.address, take_over)
        passed = proxy.end()
    if passed is None:
        return code, f"the temporary proxy ended before the program; see {proxy.log}"
    totals = of_json(passed.get("totals", ()))
    return code, _summary(totals, program, passed.get("unrecorded", 0))


def _summary(totals: Sequence[GroupRow], program: _Program, unrecorded: int = 0) -> str:
    hint = "; if it made some, they bypassed the proxy: try --reverse"
    bypassed = not totals and not unrecorded and program.may_bypass_proxy
    return summary(totals, unrecorded) + hint * bypassed


@contextlib.contextmanager
def _forwarded_signals() -> Iterator[TakeOver]:
    """Forward signals to a process, including those that arrive before it has started.

    Signals that arrive after it has ended are ignored.
    """
    process: subprocess.Popen[bytes] | None = None
    waiting: list[int] = []

    def forward(number: int) -> None:
        if process is None:
            waiting.append(number)
        elif process.poll() is None and not _terminal_sent(number):
            process.send_signal(number)

    def take_over(started: "subprocess.Popen[bytes]") -> None:
        nonlocal process
        process = started
        for number in waiting:
            forward(number)

    numbers = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda got, _: forward(got)) for number in numbers}
    try:
        yield take_over
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _terminal_sent(number: int) -> bool:
    """Return True if the terminal has sent this signal to the program as well."""
    if signal.Signals(number).name not in _FROM_TERMINAL:
        return False
    if os.name != "posix":
        return True
    with contextlib.suppress(OSError), open("/dev/tty", "rb", buffering=0) as terminal:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    return False
