"""A small HTTP server for one application, scriptable down to the part of a body.

Not a web server: no routing, no time-outs, no limits. It records every request exactly as it came,
speaks HTTP/1.1, HTTP/2 and WebSocket, with or without TLS, and breaks off where a script says so.
"""

import asyncio
import ssl
import sys
import threading
import traceback
from collections.abc import Callable
from typing import Self

from standin.connections import Link
from standin.messages import App, Request

WAIT_S = 10.0
"""Seconds after which every wait on a stand-in fails."""


class Server:
    """Serves an application on one port."""

    def __init__(
        self,
        app: App,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        tls: ssl.SSLContext | None = None,
        http2: bool = True,
        record: bool = True,
    ) -> None:
        self.app = app
        self.host = host
        self.port = port
        """The port; after the start, the actual port."""
        self.requests: list[Request] = []
        """Every request, in the order of their completion."""
        self.errors: list[BaseException] = []
        """Faults of the application and of the server itself; tests expect none."""
        self.links: set[Link] = set()
        self._tls = tls
        self._record = record
        self._changed = threading.Condition()
        if tls:
            tls.set_alpn_protocols(["h2", "http/1.1"] if http2 else ["http/1.1"])

    @property
    def origin(self) -> str:
        """`https://127.0.0.1:PORT`."""
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    async def start(self) -> None:
        """Listen."""
        loop = asyncio.get_running_loop()
        self._listener = await loop.create_server(
            lambda: Link(self), self.host, self.port, ssl=self._tls, backlog=1024
        )
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening, and drop every connection."""
        self._listener.close()
        tasks = [task for link in self.links for task in link.tasks]
        for link in list(self.links):
            link.transport.abort()
        await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.sleep(0)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def received(self, request: Request) -> None:
        """Record a request."""
        if self._record:
            with self._changed:
                self.requests.append(request)
                self._changed.notify_all()

    def heard(self, request: Request, frames: list[bytes]) -> None:
        """Record a message that came over a WebSocket."""
        if self._record:
            with self._changed:
                request.messages.append(frames)
                self._changed.notify_all()

    def ended(self, request: Request, outcome: str) -> None:
        """Record how an answer ended."""
        if self._record:
            with self._changed:
                request.outcome = outcome
                self._changed.notify_all()

    def failed(self, error: BaseException) -> None:
        """Record a fault of the application or of the server itself."""
        self.errors.append(error)
        traceback.print_exception(error, file=sys.stderr)

    def wait_until(self, condition: Callable[[], bool], timeout_s: float = WAIT_S) -> None:
        """Wait in a thread other than the server's until a condition on `requests` holds.

        Raises:
            TimeoutError: the condition did not hold in time.
        """
        with self._changed:
            if not self._changed.wait_for(condition, timeout_s):
                seen = [
                    (request.method, request.target, request.outcome) for request in self.requests
                ]
                raise TimeoutError(f"not within {timeout_s} s; requests so far: {seen}")


class ServerThread:
    """A server on a thread and an event loop of its own, for synchronous callers."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="standin", daemon=True)

    def __enter__(self) -> Server:
        self._thread.start()
        asyncio.run_coroutine_threadsafe(self.server.start(), self._loop).result(WAIT_S)
        return self.server

    def __exit__(self, *_: object) -> None:
        asyncio.run_coroutine_threadsafe(self.server.stop(), self._loop).result(WAIT_S)
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(WAIT_S)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_forever()
