"""Stdio transport: starts an MCP server's program, limits its messages, and ends its processes.

Each line that the program writes to stderr is passed to a callback.
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
"""Time to write pending messages to a program, once its connection ends."""
EXIT_SECONDS = 2.0
"""Time for a program to exit once its stdin is closed, and again after SIGTERM."""
STDERR_SECONDS = 2.0
"""Time to read the last stderr output of a program."""
MAX_LINE = 2000
"""Bytes of a stderr line that are reported."""
_POLL_SECONDS = 0.01

_GONE = (anyio.BrokenResourceError, anyio.ClosedResourceError, anyio.EndOfStream, OSError)
"""Raised by reading from and writing to a program once either side has closed."""


@asynccontextmanager
async def program(
    config: ServerConfig, *, on_stderr: Callable[[str], None], on_problem: Callable[[str], None]
) -> AsyncIterator[tuple[Any, Any]]:
    """Run a program; yield the streams of its messages.

    Raises:
        OSError: the program cannot be started.
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
    to_client, received = anyio.create_memory_object_stream[SessionMessage | Exception](0)
    sent, to_program = anyio.create_memory_object_stream[SessionMessage](0)
    written = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(_read, process, to_client, on_problem)
        group.start_soon(_write, process, to_program, to_client, written)
        try:
            yield received, sent
        finally:
            with anyio.CancelScope(shield=True):  # every wait in it is bounded
                received.close()
                sent.close()
                with anyio.move_on_after(FLUSH_SECONDS):
                    await written.wait()
                await _end(process)
            group.cancel_scope.cancel()


async def _read(
    process: Process,
    to_client: MemoryObjectSendStream[SessionMessage | Exception],
    on_problem: Callable[[str], None],
) -> None:
    assert process.stdout
    with suppress(*_GONE):
        try:
            async with to_client:
                async for line in lines(process.stdout):
                    await to_client.send(_message(line))
        except MessageTooLargeError as error:
            on_problem(str(error))
            return
        finally:
            with anyio.CancelScope(shield=True):  # else the program may never exit
                await _drain(process)


def _message(line: bytes) -> SessionMessage | Exception:
    try:
        return SessionMessage(types.jsonrpc_message_adapter.validate_json(line, by_name=False))
    except ValueError as error:
        return error


async def _drain(process: Process) -> None:
    """Read and drop output until the pipe is closed."""
    assert process.stdout
    with suppress(*_GONE):
        while True:
            await process.stdout.receive()


async def _write(
    process: Process,
    to_program: MemoryObjectReceiveStream[SessionMessage],
    to_client: MemoryObjectSendStream[SessionMessage | Exception],
    written: anyio.Event,
) -> None:
    assert process.stdin
    try:
        async with to_program:
            async for message in to_program:
                text = message.message.model_dump_json(by_alias=True, exclude_unset=True)
                await process.stdin.send(f"{text}\n".encode())
    except _GONE:
        await to_client.aclose()  # else a request would wait for ever
    finally:
        written.set()


async def _end(process: Process) -> None:
    """End a program and all processes that it has started."""
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
    """Wait a limited time for a program's exit; another process may still hold its pipes."""
    with anyio.move_on_after(EXIT_SECONDS):
        while process.returncode is None:  # noqa: ASYNC110
            await anyio.sleep(_POLL_SECONDS)
    return process.returncode is not None


class _Lines(asyncio.Protocol):
    """Splits the output of a pipe into lines, and cuts long ones."""

    def __init__(self, on_line: Callable[[str], None]) -> None:
        self._on_line = on_line
        self._rest = b""
        self.ended = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        *lines, rest = (self._rest + data).split(b"\n")
        self._rest = rest[:MAX_LINE]
        for line in lines:
            self._report(line)

    def connection_lost(self, exc: Exception | None) -> None:
        self._report(self._rest)
        self.ended.set()

    def _report(self, line: bytes) -> None:
        text = line[:MAX_LINE].decode(errors="replace").strip()
        if text:
            self._on_line(text)


@asynccontextmanager
async def _lines_of(on_line: Callable[[str], None]) -> AsyncIterator[TextIO]:
    """Yield a file to use as a program's stderr; each line is passed to `on_line`."""
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
            # The last output is worth a wait, unless a child process still holds the pipe.
            with anyio.move_on_after(STDERR_SECONDS, shield=True):
                await lines.ended.wait()
            pipe.close()
