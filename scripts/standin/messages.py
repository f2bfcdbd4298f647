"""What goes between the server and its application: requests, responses and the parts of a body.

A part of a body is bytes, or something that happens at that point: a wait, a pause, a fault.
"""

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterable, Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol


class Waitable(Protocol):
    """`asyncio.Event`, `Gate`, …"""

    async def wait(self) -> Any:
        """Return when the body may go on."""


@dataclass(frozen=True, slots=True)
class Wait:
    """The gate: what follows is withheld until the event comes."""

    event: Waitable


@dataclass(frozen=True, slots=True)
class Pause:
    """What follows comes this many seconds later."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reset:
    """The body breaks off: RST of the connection (HTTP/1) or of the stream (HTTP/2)."""


@dataclass(frozen=True, slots=True)
class EndEarly:
    """The connection closes, politely, before the body is whole."""


type Part = bytes | Wait | Pause | Reset | EndEarly
type Body = bytes | Iterable[Part] | AsyncIterable[Part]


@dataclass(slots=True)
class Request:
    """A request exactly as it came."""

    method: str
    target: str
    """The path with its query, as it was on the wire."""
    headers: list[tuple[str, str]]
    """In order, names in the case they had; without HTTP/2's pseudo-headers."""
    body: bytes
    http_version: str
    """`1.1` or `2`."""
    authority: str | None = None
    """HTTP/2's `:authority`."""
    notes: Any = None
    """For the application; the provider leaves here what it made of the request."""
    outcome: str | None = None
    """How the answer ended: `answered`, `broken` (a fault of ours), `abandoned` (the peer left)."""

    @property
    def path(self) -> str:
        """The target without its query."""
        return self.target.partition("?")[0]

    def header(self, name: str) -> str | None:
        """Return the first value of a header, in whatever case."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)


@dataclass(slots=True)
class Response:
    """What the application answers."""

    status: int = 200
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: Body = b""
    """Bytes are announced by `content-length`; parts are chunked (HTTP/1)."""
    coding: str = "identity"
    """The server compresses the body and adds `content-encoding`."""
    announce_length: int | None = None
    """A `content-length` for a body of parts, be it true or not (for `EndEarly`)."""


type App = Callable[[Request], Awaitable[Response | Reset | EndEarly]]
"""A fault instead of a response happens before any header is out."""


class Gate:
    """A turnstile that any thread may operate: each `release` lets one `wait` pass.

    A test holds it between events: it proves that the proxy gives out what it has, because nothing
    else comes until the client has that.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._permits = 0
        self._open = False
        self._waiting: deque[tuple[asyncio.AbstractEventLoop, asyncio.Future[None]]] = deque()

    def release(self) -> None:
        """Let one pass."""
        with self._lock:
            self._permits += 1
            self._admit()

    def open(self) -> None:
        """Let all pass from now on."""
        with self._lock:
            self._open = True
            self._admit()

    async def wait(self) -> None:
        """Pass, or wait to."""
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
