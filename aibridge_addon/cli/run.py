"""`aibridge run`: a program, by way of a proxy, and what it used."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import IO, Any

import click

from aibridge_addon.cli import clients, running
from aibridge_addon.cli.clients import NoWayError
from aibridge_addon.cli.env import login_option, way_to
from aibridge_addon.cli.running import OwnProxy, RunningProxy
from aibridge_addon.cli.totals import (
    Total,
    UnreadableError,
    of_json,
    read_totals,
    summary,
)

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
    type=click.Path(dir_okay=False, path_type=Path),
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
    path = _find(program[0])
    own = [word for spec in sets for word in ("--set", spec)]
    own += ["--config", str(config.absolute())] if config else []
    own += ["--db", str(db.absolute())] if db else []
    shared = None if new or own else running.find()
    say = (lambda text: None) if quiet else (lambda text: click.echo(f"aibridge: {text}", err=True))
    if shared is not None:
        code = _by_shared(shared, path, program, say, login=login, reverse=reverse)
    else:
        code = _by_own(own, path, program, say, login=login, reverse=reverse)
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


type _Say = Callable[[str], None]


def _by_shared(
    proxy: RunningProxy,
    path: str,
    program: Sequence[str],
    say: _Say,
    *,
    login: str | None,
    reverse: bool,
) -> int:
    begin = datetime.now(UTC).isoformat(timespec="microseconds")
    code = _run(proxy, path, program, login=login, reverse=reverse)
    if proxy.database:
        with contextlib.suppress(UnreadableError):
            totals = read_totals(Path(proxy.database), since=begin, by="model")
            say(f"{summary(totals)} (all that the running proxy recorded meanwhile)")
    return code


def _by_own(
    arguments: Sequence[str],
    path: str,
    program: Sequence[str],
    say: _Say,
    *,
    login: str | None,
    reverse: bool,
) -> int:
    with OwnProxy(arguments) as proxy:
        code = _run(proxy.where, path, program, login=login, reverse=reverse)
        totals: list[Total] = of_json(proxy.end().get("totals", ()))
    say(summary(totals))
    return code


def _run(
    proxy: RunningProxy, path: str, program: Sequence[str], *, login: str | None, reverse: bool
) -> int:
    """Run the program to its end; return its exit code, as a shell would."""
    client, way = clients.client_of(path), way_to(proxy, login)
    try:
        variables = clients.variables(client, way, os.environ, reverse=reverse)
    except NoWayError as error:
        raise click.ClickException(str(error)) from error
    words = [*program[:1], *clients.arguments(client, way, reverse=reverse), *program[1:]]
    with _signals() as take_over:
        try:
            process = subprocess.Popen(words, executable=path, env=os.environ | variables)  # noqa: S603 asked for
        except OSError as error:
            raise _CannotRunError(f"{path}: {error.strerror}", _NOT_EXECUTABLE) from error
        take_over(process)
        code = process.wait()
    return 128 - code if code < 0 else code


@contextlib.contextmanager
def _signals() -> Iterator[Callable[["subprocess.Popen[bytes]"], None]]:
    """Hand signals on to a process; those that come before there is one wait for it."""
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
