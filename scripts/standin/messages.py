"""Requests, responses and the parts of a body, between the server and its application.

A part of a body is bytes, or an event at that point: a wait, a pause, a fault. `play` sends it or
makes it happen.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

from standin.codings import StreamCoder


class Waitable(Protocol):
    """`asyncio.Event`, `Gate`, …"""

    async def wait(self) -> Any:
        """Return when the body may go on."""


@dataclass(frozen=True, slots=True)
class Wait:
    """Withholds the rest of the body until an event is set."""

    event: Waitable


@dataclass(frozen=True, slots=True)
class Pause:
    """Delays the rest of the body by this many seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reset:
    """The body breaks off: RST of the connection (HTTP/1) or of the stream (HTTP/2)."""


@dataclass(frozen=True, slots=True)
class EndEarly:
    """The connection closes, politely, before the body is whole.

    A WebSocket closes with a close frame.
    """


@dataclass(frozen=True, slots=True)
class Unprocessed:
    """The request is not processed, and may be sent again (HTTP/2 only)."""

    by: Literal["REFUSED_STREAM", "GOAWAY"]
    """The frame that says so; GOAWAY names an earlier stream as the last one."""


type Part = bytes | Wait | Pause | Reset | EndEarly | Unprocessed
type Body = bytes | Iterable[Part] | AsyncIterable[Part]


@dataclass(slots=True)
class Request:
    """A request exactly as it came."""

    method: str
    target: str
    """The path with its query, as it was on the wire."""
    headers: list[tuple[str, str]]
    """Header fields in order, names in their original case; without HTTP/2's pseudo-headers."""
    body: bytes
    http_version: str
    """`1.1` or `2`."""
    authority: str | None = None
    """HTTP/2's `:authority`."""
    notes: Any = None
    """Notes of the application: the provider stores its reading of the request here."""
    outcome: str | None = None
    """End of the response: `answered`, `broken` (scripted) or `abandoned` (by the peer)."""
    messages: list[list[bytes]] = field(default_factory=list)
    """WebSocket messages that arrived, each as its frames."""
    close_code: int | None = None
    """Close code and reason of the peer's close frame."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """Return the first value of a header; case does not matter."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(slots=True)
class Response:
    """A response of the application."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Body = b""
    """Bytes are announced by `content-length`; parts are chunked (HTTP/1)."""
    coding: str = "identity"
    """The server compresses the body and adds `content-encoding`."""
    announce_length: int | None = None
    """A `content-length` for a body of parts, true or not (for `EndEarly`)."""


@dataclass(slots=True)
class Upgrade:
    """A response that turns the connection into a WebSocket (HTTP/1 only)."""

    answer: Callable[[bytes], Body]
    """Reply to a message; every part of bytes is a message."""
    headers: list[tuple[str, str]] = field(default_factory=list)
    greeting: bytes = b""
    """A message that comes before the client has sent any."""


type Fault = Reset | EndEarly | Unprocessed
type App = Callable[[Request], Awaitable[Response | Upgrade | Fault]]
"""A fault instead of a response happens before any header is out."""


class Broken(Exception):  # noqa: N818
    """A fault of the script ended the body."""


class Sink(Protocol):
    """Receives the parts of a body."""

    async def data(self, data: bytes) -> None:
        """Send some bytes."""

    def reset(self) -> None:
        """Break off."""

    def end_early(self) -> None:
        """Close before the end."""

    def leave_unprocessed(self, by: str) -> None:
        """Say that the request is not processed."""


async def play(response: Response, sink: Sink) -> None:
    """Send the parts of a body.

    Raises:
        Broken: a fault ended it.
    """
    coder = StreamCoder(response.coding) if response.coding != "identity" else None
    body = response.body
    if isinstance(body, bytes):
        body = (body,) if body else ()
    if isinstance(body, AsyncIterable):
        async for part in body:
            await play_part(part, coder, sink)
    else:
        for part in body:
            if part.__class__ is bytes and coder is None:
                await sink.data(part)
            else:
                await play_part(part, coder, sink)
    if coder:
        await sink.data(coder.end())


async def play_part(part: Part, coder: StreamCoder | None, sink: Sink) -> None:
    """Send a part of a body, or make its event happen.

    Raises:
        Broken: the part is a fault.
    """
    match part:
        case bytes():
            await sink.data(coder.part(part) if coder else part)
        case Wait(event):
            await event.wait()
        case Pause(seconds):
            await asyncio.sleep(seconds)
        case Reset():
            sink.reset()
            raise Broken
        case EndEarly():
            sink.end_early()
            raise Broken
        case Unprocessed(by):
            sink.leave_unprocessed(by)
            raise Broken


class Gate:
    """A turnstile that any thread may operate: each `release` lets one `wait` pass.

    A test holds it between events. That proves that the proxy relays what it has received, because
    nothing else arrives until the client has seen it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._permits = 0
        self._open = False
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    def release(self) -> None:
        """Let one `wait` pass."""
        with self._lock:
            self._permits += 1
            self._admit()

    def open(self) -> None:
        """Let every `wait` pass from now on."""
        with self._lock:
            self._open = True
            self._admit()

    async def wait(self) -> None:
        """Wait for a `release`."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[None] = loop.create_future()
        with self._lock:
            self._waiting.append((loop, future))
            self._admit()
        await future

    def _admit(self) -> None:
        while self._waiting and (self._open or self._permits):
            loop, future = self._waiting.popleft()
            if not self._open:
                self._permits -= 1
            loop.call_soon_threadsafe(_settle, future)


def _settle(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)
