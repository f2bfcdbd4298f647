"""`aibridge run`: a program, by way of a proxy, and what it used."""

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
from aibridge_addon.cli import clients, running
from aibridge_addon.cli.clients import Client, NoWayError
from aibridge_addon.cli.env import login_option, marked, way_to
from aibridge_addon.cli.parameters import DatabasePath
from aibridge_addon.cli.running import OwnProxy
from aibridge_addon.cli.totals import (
    Total,
    UnreadableError,
    of_json,
    read_totals,
    summary,
)
from aibridge_addon.observe.announcement import RunningProxy

type TakeOver = Callable[["subprocess.Popen[bytes]"], None]

_NOT_FOUND, _NOT_EXECUTABLE = 127, 126
"""What shells say."""

_FROM_TERMINAL = ("SIGINT", "SIGQUIT")
"""What Ctrl-C and the like send to every process in the foreground, the program among them."""
_FORWARDED = ("SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2", *_FROM_TERMINAL)


@click.command(
    short_help="Run a program by way of the proxy.",
    context_settings={"allow_interspersed_args": False, "ignore_unknown_options": False},
)
@click.option("--reverse", is_flag=True, help="By a base URL instead of HTTPS_PROXY and a CA.")
@login_option
@click.option("-q", "--quiet", is_flag=True, help="Say nothing of what was used.")
@click.option("--new", is_flag=True, help="Start a proxy even if one runs.")
@click.option(
    "--config",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="A config file; implies --new.",
)
@click.option(
    "--db",
    type=DatabasePath(),
    metavar="FILE",
    help="The database to record in; implies --new.",
)
@click.option(
    "--set", "sets", multiple=True, metavar="NAME=VALUE", help="An option; implies --new."
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
    db: Path | None,
    sets: tuple[str, ...],
    program: tuple[str, ...],
) -> None:
    """Run PROGRAM by way of the proxy that runs, or else of one just for it.

    \b
    aibridge run -- claude
    aibridge run -- codex exec "say hello"
    aibridge run --reverse -- python my_agent.py

    The program gets the variables that `aibridge env` prints, every signal, and the last word: its
    exit code is that of this command. At the end, a line on stderr says what was used.
    """
    wanted = _Program(path=_find(program[0]), words=program, login=login, reverse=reverse)
    own = [word for spec in sets for word in ("--set", spec)]
    own += ["--config", str(config.absolute())] if config else []
    own += ["--db", str(db.absolute())] if db else []
    shared = None if new or own else running.find()
    code, said = _by_shared(shared, wanted) if shared else _by_own(own, wanted)
    if said and not quiet:
        click.echo(f"aibridge: {said}", err=True)
    ctx.exit(code)


class _CannotRunError(click.ClickException):
    def __init__(self, message: str, code: int) -> None:
        super().__init__(message)
        self._code = code

    def show(self, file: IO[Any] | None = None) -> None:
        """Say it, and end as a shell would."""
        super().show(file)
        raise SystemExit(self._code)


def _find(name: str) -> str:
    path = shutil.which(name)
    if path is None:
        if os.path.dirname(name) and Path(name).exists():
            raise _CannotRunError(f"{name} cannot be executed", _NOT_EXECUTABLE)
        raise _CannotRunError(f"{name}: no such program", _NOT_FOUND)
    return path


@dataclass(frozen=True, slots=True, kw_only=True)
class _Program:
    """What is to be run, and how it gets to a proxy."""

    path: str
    words: Sequence[str]
    login: str | None
    reverse: bool
    mark: str = ""
    """Tells its requests from others; empty: it has a proxy of its own."""

    @property
    def may_go_past(self) -> bool:
        """Whether it is not known to honour what it is given."""
        return not self.reverse and _client_of(self.path) is clients.ANY

    def is_marked(self, proxy: RunningProxy) -> bool:
        """Return whether its requests bear its mark; a login to mitmproxy leaves no room for it."""
        return bool(self.mark) and proxy.knows_runs and not proxy.needs_login

    def run(self, proxy: RunningProxy, take_over: TakeOver) -> int:
        """Run it to its end; return its exit code, as a shell would."""
        words, variables = self._prepared(proxy)
        try:
            process = subprocess.Popen(  # noqa: S603 asked for
                words, executable=self.path, env=os.environ | variables
            )
        except OSError as error:
            raise _CannotRunError(f"{self.path}: {error.strerror}", _NOT_EXECUTABLE) from error
        take_over(process)
        code = process.wait()
        return 128 - code if code < 0 else code

    def _prepared(self, proxy: RunningProxy) -> tuple[list[str], dict[str, str]]:
        client, way = _client_of(self.path), way_to(proxy, self.login)
        if self.is_marked(proxy):
            way = marked(way, proxy, self.login, self.mark)
        try:
            variables = clients.variables(client, way, os.environ, reverse=self.reverse)
        except NoWayError as error:
            raise click.ClickException(str(error)) from error
        name, *others = self.words
        return [name, *clients.arguments(client, way, reverse=self.reverse), *others], variables


def _client_of(path: str) -> Client:
    """Return the client that a program is: by its name, or as a script that Node runs."""
    known = clients.client_of(path)
    runner = clients.client_of(_interpreter(path)) if known is clients.ANY else known
    return runner if runner.needs_base_url else known


def _interpreter(path: str) -> str:
    """Return the program that a script's first line names; empty if it is no script."""
    try:
        with open(path, "rb") as file:
            line = file.readline(256).decode(errors="replace")
    except OSError:
        return ""
    words = line[2:].split() if line.startswith("#!") else []
    # As in `#!/usr/bin/env -S A=b node --flag`.
    named = (word for word in words if not re.match(r"-|.*=|.*\benv$", word))
    return next(named, "")


def _by_shared(proxy: RunningProxy, program: _Program) -> tuple[int, str]:
    """Return the exit code, and what there is to say."""
    program = replace(program, mark=new_mark())
    begin = datetime.now(UTC).isoformat(timespec="microseconds")
    with _signals() as take_over:
        code = program.run(proxy, take_over)
    if proxy.database:
        with contextlib.suppress(UnreadableError):
            run = program.mark if program.is_marked(proxy) else None
            totals = read_totals(Path(proxy.database), since=begin, by="model", run=run)
            rest = "" if run else " (all that the running proxy recorded meanwhile)"
            return code, _said(totals, program) + rest
    return code, ""


def _by_own(arguments: Sequence[str], program: _Program) -> tuple[int, str]:
    # Its end takes a moment; an impatient Ctrl-C then must not cost the program's exit code.
    with OwnProxy(arguments) as proxy, _signals() as take_over:
        code = program.run(proxy.where, take_over)
        passed = proxy.end()
    return code, _said(of_json(passed.get("totals", ())), program, passed.get("unrecorded", 0))


def _said(totals: list[Total], program: _Program, unrecorded: int = 0) -> str:
    hint = "; if it made some, they went past the proxy: try --reverse"
    went_past = not totals and not unrecorded and program.may_go_past
    return summary(totals, unrecorded) + hint * went_past


@contextlib.contextmanager
def _signals() -> Iterator[TakeOver]:
    """Hand signals on to a process; those that come before there is one wait for it.

    Once it has ended, they are lost.
    """
    process: subprocess.Popen[bytes] | None = None
    waiting: list[int] = []

    def hand_on(number: int) -> None:
        if process is None:
            waiting.append(number)
        elif process.poll() is None and not _has_it_already(number):
            process.send_signal(number)

    def take_over(started: "subprocess.Popen[bytes]") -> None:
        nonlocal process
        process = started
        for number in waiting:
            hand_on(number)

    numbers = [getattr(signal, name) for name in _FORWARDED if hasattr(signal, name)]
    before = {number: signal.signal(number, lambda got, _: hand_on(got)) for number in numbers}
    try:
        yield take_over
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _has_it_already(number: int) -> bool:
    """Whether the terminal, which has sent this to us, has sent it to the program too."""
    if signal.Signals(number).name not in _FROM_TERMINAL:
        return False
    if os.name != "posix":
        return True
    with contextlib.suppress(OSError), open("/dev/tty", "rb", buffering=0) as terminal:
        return os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    return False
