"""The benchmark's client: as cheap as possible, with exact times of arrival.

Not an HTTP client: it sends prepared bytes over keep-alive connections and knows only as much of
HTTP/1.1 as the end of a 200 requires. Clocks are the system's monotonic one, which the
upstream stamps events with.
"""

import asyncio
import itertools
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

WAIT_S = 60.0
"""Seconds after which a response is given up."""

_STAMP = re.compile(rb"@(\d+)@")
_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
_LAST_CHUNK = b"\r\n0\r\n\r\n"
"""Bodies of the stand-in have no CR, so nothing else looks like it."""


class WrongAnswerError(Exception):
    """A response is not the expected one, so that the measurement is worthless."""


@dataclass(slots=True)
class Answer:
    """A response and the arrival times of its parts, in seconds."""

    body: bytes
    first_byte: float
    """Seconds from the request to the first byte of the body."""
    total: float
    """Seconds from the request to the end."""
    lags: list[float] = field(default_factory=list)
    """Seconds from sending to arrival of each stamped event."""


class Connection(asyncio.Protocol):
    """A keep-alive connection, one request at a time."""

    def __init__(self) -> None:
        self._answer: asyncio.Future[list[tuple[int, bytes]]] | None = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def connection_lost(self, error: Exception | None) -> None:
        if self._answer and not self._answer.done():
            self._answer.set_exception(WrongAnswerError(f"the connection was closed: {error}"))

    async def ask(self, request: bytes) -> Answer:
        """Send a request; return its response.

        Raises:
            WrongAnswerError: the response is not a complete 200.
        """
        self._answer = asyncio.get_running_loop().create_future()
        self._came: list[tuple[int, bytes]] = []
        self._left: int | None = None
        self._tail = b""
        self._in_body = False
        start = time.monotonic_ns()
        self._transport.write(request)
        came = await asyncio.wait_for(self._answer, WAIT_S)
        return _answer(came, start, chunked=self._left is None)

    def close(self) -> None:
        """Close the connection."""
        self._transport.abort()

    def data_received(self, data: bytes) -> None:
        now = time.monotonic_ns()
        if not self._in_body:
            data = self._take_head(data)
            if not self._in_body:
                return
        if data:
            self._came.append((now, data))
        if self._left is None:
            self._tail = (self._tail + data)[-len(_LAST_CHUNK) :]
            ended = self._tail == _LAST_CHUNK
        else:
            self._left -= len(data)
            ended = self._left <= 0
        if ended and self._answer and not self._answer.done():
            self._answer.set_result(self._came)

    def _take_head(self, data: bytes) -> bytes:
        """Read the head; return the part of the body that has arrived."""
        self._tail += data
        head, blank, rest = self._tail.partition(b"\r\n\r\n")
        if not blank:
            return b""
        self._in_body = True
        self._tail = b""
        length = _LENGTH.search(head)
        if not head.startswith(b"HTTP/1.1 200 ") or not (length or _CHUNKED.search(head)):
            if self._answer and not self._answer.done():
                self._answer.set_exception(WrongAnswerError((head + blank + rest).decode()))
            return b""
        self._left = int(length[1]) if length else None
        return rest


def _answer(came: list[tuple[int, bytes]], start: int, *, chunked: bool) -> Answer:
    body = b"".join(data for _, data in came)
    lags = [(at - int(sent)) / 1e9 for at, data in came for sent in _STAMP.findall(data)]
    return Answer(
        body=b"".join(_chunks(body)) if chunked else body,
        first_byte=(came[0][0] - start) / 1e9,
        total=(came[-1][0] - start) / 1e9,
        lags=lags,
    )


def _chunks(body: bytes) -> Iterator[bytes]:
    start = 0
    while True:
        line_end = body.index(b"\r\n", start)
        size = int(body[start:line_end], 16)
        if not size:
            return
        yield body[line_end + 2 : line_end + 2 + size]
        start = line_end + 2 + size + 2


async def connect(port: int) -> Connection:
    """Open a connection to a port of this machine."""
    _, connection = await asyncio.get_running_loop().create_connection(
        Connection, "127.0.0.1", port
    )
    return connection


async def ask_once(port: int, request: bytes) -> Answer:
    """Send one request over a connection of its own."""
    connection = await connect(port)
    try:
        return await connection.ask(request)
    finally:
        connection.close()


NUMBER = b"#000000#"
"""Part of a request that differs each time."""
_numbers = itertools.count()


async def ask_many(port: int, request: bytes, *, count: int, connections: int) -> list[Answer]:
    """Send a request many times over a number of connections, one at a time on each.

    Each time, the next number stands in place of `NUMBER`.
    """
    numbers = iter(range(count))

    async def work() -> list[Answer]:
        connection = await connect(port)
        try:
            return [
                await connection.ask(request.replace(NUMBER, b"#%06d#" % next(_numbers)))
                for _ in numbers
            ]
        finally:
            connection.close()

    lists = await asyncio.gather(*(work() for _ in range(connections)))
    return [answer for answers in lists for answer in answers]


async def ask_at_once(port: int, request: bytes, *, streams: int, spread_s: float) -> list[Answer]:
    """Send a request over a number of connections at once, evenly spread over a time."""

    async def work(number: int) -> Answer:
        await asyncio.sleep(number * spread_s / streams)
        return await ask_once(port, request)

    return list(await asyncio.gather(*(work(number) for number in range(streams))))


async def open_streams(port: int, request: bytes, *, streams: int) -> list[Connection]:
    """Send a request over a number of connections without waiting for responses."""
    opened = []
    for number in range(streams):
        connection = await connect(port)
        task = asyncio.get_running_loop().create_task(connection.ask(request))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        opened.append(connection)
        if number % 20 == 19:
            await asyncio.sleep(0.02)  # the proxy's queue of new connections is short
    return opened
