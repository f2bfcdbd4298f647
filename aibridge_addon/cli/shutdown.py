"""Graceful shutdown: stop listening, let open requests complete, then stop mitmproxy."""

import asyncio
import contextlib
import logging
import signal
import sys
import threading
from collections.abc import Callable
from typing import Protocol

from mitmproxy.addons import proxyserver
from mitmproxy.master import Master

logger = logging.getLogger(__name__)

POLL_S = 0.05
"""Interval between checks for open requests."""
SILENCE_S = 1.0
"""Time without an open request in which a connected client may send its next request."""


class Busy(Protocol):
    """Anything that knows whether requests are open."""

    @property
    def is_busy(self) -> bool:
        """True if a request to a provider is open."""


class GracefulShutdown:
    """Shuts a master down: first its listening ports, and the rest once no request is open."""

    def __init__(
        self,
        master: Master,
        bridge: Busy,
        *,
        grace_s: float,
        drain_s: float = 0.0,
        on_begin: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare the shutdown.

        Args:
            master: The master to shut down.
            bridge: Reports open requests.
            grace_s: Seconds after which open requests are given up.
            drain_s: Seconds in which a load balancer notices `/readyz`, and new requests still
                pass.
            on_begin: Called when the shutdown begins.
        """
        self._master = master
        self._bridge = bridge
        self._grace_s = grace_s
        self._drain_s = drain_s
        self._on_begin = on_begin
        self._task: asyncio.Task[None] | None = None

    def begin(self) -> None:
        """Begin the shutdown; a second call stops everything at once."""
        if self._task is not None:
            self._master.shutdown()
            return
        self._task = asyncio.get_running_loop().create_task(self._run(), name="aibridge shutdown")

    async def _run(self) -> None:
        self._on_begin()
        try:
            if self._drain_s:
                logger.info(
                    "aibridge: not ready any more; closing the ports in %g s", self._drain_s
                )
                await asyncio.sleep(self._drain_s)
            self._master.options.update(server=False)
            await self._wait()
        finally:
            self._master.shutdown()

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._grace_s
        if self._is_open():
            logger.info(
                "aibridge: ending once open requests are complete; a second signal ends now"
            )
        quiet = 0
        while quiet < self._checks_to_pass() and loop.time() < deadline:
            quiet = 0 if self._is_open() else quiet + 1
            await asyncio.sleep(POLL_S)

    def _is_open(self) -> bool:
        return self._bridge.is_busy or _has_unsent_bytes(self._server)

    def _checks_to_pass(self) -> int:
        """Return the number of checks in a row that must find no open request.

        Two, since between a hook and the bytes that follow from it, nothing seems open. More while
        clients are connected: a request may be on its way. A response to it ends the connection.
        """
        return round(SILENCE_S / POLL_S) if self._server.connections else 2

    @property
    def _server(self) -> proxyserver.Proxyserver:
        server: proxyserver.Proxyserver = self._master.addons.get("proxyserver")
        return server


def _has_unsent_bytes(server: proxyserver.Proxyserver) -> bool:
    """Return True if a peer has not yet received everything that was written to it."""
    return any(
        io.writer.transport.get_write_buffer_size()
        for handler in server.connections.values()
        for io in handler.transports.values()
        if isinstance(io.writer, asyncio.StreamWriter)
    )


def handle_signals(shutdown: GracefulShutdown, reload: Callable[[], None]) -> None:
    """Let signals begin the shutdown, or a reload of the config files."""
    # SIGHUP comes from a terminal that is closed; without a terminal, it asks for a reload.
    on_hangup = shutdown.begin if sys.stdin and sys.stdin.isatty() else reload
    handlers = {"SIGINT": shutdown.begin, "SIGTERM": shutdown.begin, "SIGHUP": on_hangup}
    loop = asyncio.get_running_loop()
    for name, handler in handlers.items():
        if (number := getattr(signal, name, None)) is None:
            continue
        try:
            loop.add_signal_handler(number, handler)
        except NotImplementedError:  # Windows
            signal.signal(number, lambda *_, call=handler: loop.call_soon_threadsafe(call))
    if hasattr(signal, "SIGPIPE"):
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)


def follow_stdin(shutdown: GracefulShutdown, *, on_line: Callable[[], None] = lambda: None) -> None:
    """Begin the shutdown when the parent process closes our stdin, or ends.

    `on_line` is called for each line before that.
    """
    loop = asyncio.get_running_loop()

    def read() -> None:
        # Unbuffered: a thread that holds the lock of a buffer would block the interpreter's exit.
        with contextlib.suppress(OSError), open(0, "rb", buffering=0, closefd=False) as stdin:
            while stdin.readline():
                with contextlib.suppress(RuntimeError):
                    loop.call_soon_threadsafe(on_line)
        with contextlib.suppress(RuntimeError):  # the loop is closed: we have ended already
            loop.call_soon_threadsafe(shutdown.begin)

    threading.Thread(target=read, name="aibridge stdin", daemon=True).start()
