"""A program that speaks MCP on its stdin and stdout: started, bounded, and ended with all of its.

What it writes to stderr is told line by line.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TextIO

import anyio
import mcp_types as types
from anyio.abc import Process
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.client.stdio import get_default_environment
from mcp.os.posix.utilities import terminate_posix_process_tree
from mcp.shared.message import SessionMessage

from aibridge_addon.tools.connection.bounds import MessageTooLargeError, lines
from aibridge_addon.tools.server_config import ServerConfig

FLUSH_SECONDS = 0.5
"""For what was sent to a program to be written, once its connection ends."""
EXIT_SECONDS = 2.0
"""For a program to exit once its stdin is closed, and once more after SIGTERM."""
STDERR_SECONDS = 2.0
"""For the last words of a program."""
MAX_LINE = 2000
"""Bytes of a line that a program writes to stderr."""
_POLL_SECONDS = 0.01

_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)
"""What reading from and writing to a program raise once it, or we, have ended."""


@asynccontextmanager
async def program(
    config: ServerConfig, *, on_stderr: Callable[[str], None], on_problem: Callable[[str], None]
) -> AsyncIterator[tuple[Any, Any]]:
    """Run a program; give the streams of its messages.

    Raises:
        OSError: it cannot be started.
    """
    async with _lines_of(on_stderr) as stderr:
        process = await anyio.open_process(
            [config.command, *config.args],
            env=get_default_environment() | dict(config.env),
            stderr=stderr,
            cwd=config.cwd,
            start_new_session=True,
        )
        async with _messages(process, on_problem) as streams:
            yield streams


@asynccontextmanager
async def _messages(
    process: Process, on_problem: Callable[[str], None]
) -> AsyncIterator[tuple[Any, Any]]:
    given, heard = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    said, taken = anyio.create_memory_object_stream[SessionMessage](0)
    written = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(_read, process, given, on_problem)
        group.start_soon(_write, process, taken, given, written)
        try:
            yield heard, said
        finally:
            with anyio.CancelScope(shield=True):  # every wait in it is bounded
                heard.close()
                said.close()
                with anyio.move_on_after(FLUSH_SECONDS):
                    await written.wait()
                await _end(process)
            group.cancel_scope.cancel()


async def _read(
    process: Process,
    given: MemoryObjectSendStream[SessionMessage | Exception],
    on_problem: Callable[[str], None],
) -> None:
    assert process.stdout
    with suppress(*_GONE):
        try:
            async with given:
                async for line in lines(process.stdout):
                    await given.send(_message(line))
        except MessageTooLargeError as error:
            on_problem(str(error))
            return
        finally:
            with anyio.CancelScope(shield=True):  # or it waits for a reader, and does not exit
                await _drain(process)


def _message(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error


async def _drain(process: Process) -> None:
    """Read what nobody wants, until the pipe is closed."""
    assert process.stdout
    with suppress(*_GONE):
        while True:
            await process.stdout.receive()


async def _write(
    process: Process,
    taken: MemoryObjectReceiveStream[SessionMessage],
    given: MemoryObjectSendStream[SessionMessage | Exception],
    written: anyio.Event,
) -> None:
    assert process.stdin
    try:
        async with taken:
            async for message in taken:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(f"{text}\n".encode())
    except _GONE:
        await given.aclose()  # or a request would wait for ever
    finally:
        written.set()


async def _end(process: Process) -> None:
    """Have a program exit, and whatever it has started."""
    assert process.stdin
    assert process.stdout
    with suppress(*_GONE):
        await process.stdin.aclose()
    if not await _has_exited(process):
        await terminate_posix_process_tree(process, EXIT_SECONDS)
        await _has_exited(process)
    with suppress(*_GONE):
        await process.stdout.aclose()


async def _has_exited(process: Process) -> bool:
    """Wait a moment for a program's exit; not for its pipes, which something else may hold."""
    with anyio.move_on_after(EXIT_SECONDS):
        while process.returncode is None:  # noqa: ASYNC110
            await anyio.sleep(_POLL_SECONDS)
    return process.returncode is not None


class _Lines(asyncio.Protocol):
    """Takes a pipe's lines apart; what is too long of one is cut."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:MAX_LINE]
        for line in lines:
            self._take(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._take(self._rest)
        self.ended.set()

    def _take(self, line: bytes) -> None:
        text = line[:MAX_LINE].decode(errors="replace").strip()
        if text:
            self._on_line(text)


@asynccontextmanager
async def _lines_of(on_line: Callable[[str], None]) -> AsyncIterator[TextIO]:
    """Give a file to be a program's stderr, whose lines are told."""
    read_end, write_end = os.pipe()
    loop = asyncio.get_running_loop()
    with os.fdopen(write_end, "w") as program_side:
        pipe, lines = await loop.connect_read_pipe(
            lambda: _Lines(on_line), os.fdopen(read_end, "rb", buffering=0)
        )
        try:
            yield program_side
        finally:
            program_side.close()
            # What it said last is worth a moment, unless something that it started lives on.
            with anyio.move_on_after(STDERR_SECONDS, shield=True):
                await lines.ended.wait()
            pipe.close()
