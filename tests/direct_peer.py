"""A connection handler between a client and a server in memory, with real layers and a real tap."""

import asyncio
import contextlib
import ssl
import warnings
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, cast

from h11 import Data
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from mitmproxy.connection import Connection, ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.proxy.server import ConnectionIO
from OpenSSL import SSL
from quiet_bridge import QuietBridge

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import Format as WireFormat
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.mitm_layers import BridgeLayer
from aibridge_addon.relay.response_reader import ReaderOptions

with warnings.catch_warnings():  # mitmproxy 12.2 uses names that pyasn1 has renamed
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy.addons.proxyserver import Proxyserver
    from mitmproxy.test import taddons

    from aibridge_addon.relay.connection_handlers import deliver_every_event

HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"


class Bridge(QuietBridge):
    """Lets bodies take the direct way, or not."""

    def __init__(self, *, direct: bool) -> None:
        self.relays_directly = direct


class Reader:
    """Records events; `data: end` is the terminal one."""

    skippable = None

    def __init__(self) -> None:
        self.ended = False
        self.read: list[bytes] = []

    def feed(self, event: Event) -> None:
        self.read.append(event.raw)
        self.ended = self.ended or event.data == b"end"

    def facts(self) -> ResponseFacts:
        return ResponseFacts()


class Format:
    """A wire format that uses a `Reader`."""

    def __init__(self) -> None:
        self.made = Reader()

    def reader(self) -> Reader:
        return self.made

    def decoder(self, head: object) -> None:
        return None


class Transport(asyncio.Transport):
    """Collects what is written, and may be slow."""

    def __init__(self) -> None:
        super().__init__()
        self.written = bytearray()
        self.waiting = 0
        """Bytes that a slow peer has not taken."""
        self.closed = False
        self.is_paused = False

    def write(self, data: Any) -> None:
        self.written += data

    def get_write_buffer_size(self) -> int:
        return self.waiting

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    def pause_reading(self) -> None:
        self.is_paused = True

    def resume_reading(self) -> None:
        self.is_paused = False


class TlsServer:
    """Encrypts what the server sends."""

    def __init__(self, context: ssl.SSLContext, side: "Side") -> None:
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._side = side
        self._seen = 0
        self._tls = context.wrap_bio(self._incoming, self._outgoing, server_side=True)

    async def shake_hands(self) -> None:
        """Complete the handshake."""
        while not self._tls.version() or self._seen < len(self._side.transport.written):
            self._incoming.write(bytes(self._side.transport.written[self._seen :]))
            self._seen = len(self._side.transport.written)
            with contextlib.suppress(ssl.SSLWantReadError):
                self._tls.do_handshake()
            self._side.receive(self._outgoing.read())
            await settle()

    def encrypted(self, data: bytes) -> bytes:
        """Return a record."""
        self._tls.write(data)
        return self._outgoing.read()


class Side:
    """The stream reader and writer of one side."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self.transport = Transport()
        self.reader = asyncio.StreamReader(loop=loop)
        self.protocol = asyncio.StreamReaderProtocol(self.reader, loop=loop)
        self.protocol.connection_made(self.transport)
        self.writer = asyncio.StreamWriter(self.transport, self.protocol, self.reader, loop)

    def receive(self, data: bytes) -> None:
        """Receive bytes, as from a socket."""
        if data:
            self.protocol.data_received(data)


class Addon:
    """Taps each response; holds its end until `may_end`."""

    def __init__(self) -> None:
        self.format = Format()
        self.errors: list[str] = []
        self.may_end = asyncio.Event()
        self.may_end.set()

    def responseheaders(self, flow: Any) -> None:
        flow.response.stream = BodyTap(
            flow.id,
            "interception-1",
            ReaderOptions(
                wire_format=cast("WireFormat", self.format),
                announces_stream=True,
                content_encoding="",
                max_bytes=10**6,
            ),
        )

    def error(self, flow: Any) -> None:
        self.errors.append(flow.error.msg)

    def tls_start_server(self, data: Any) -> None:
        data.ssl_conn = SSL.Connection(SSL.Context(SSL.TLS_CLIENT_METHOD))
        data.ssl_conn.set_connect_state()

    async def aibridge_held(self, tap: BodyTap) -> None:
        await self.may_end.wait()


class Peer:
    """A client and a server, whose bytes the test sends."""

    def __init__(self, addon: Addon, master: Any, *, direct: bool, scheme: str) -> None:
        self.addon = addon
        self.client = Side()
        self.server = Side()
        writer = self.client.writer
        self.handler = ProxyConnectionHandler(
            master, self.client.reader, writer, master.options, ProxyMode.parse("regular")
        )
        deliver_every_event(self.handler)
        self.handler.open_connection = self._open  # type: ignore[method-assign]
        layer = BridgeLayer(Context(self.handler.client, master.options), HTTPMode.regular)
        layer.bridge = Bridge(direct=direct)
        self.handler.layer = layer
        self.task = asyncio.get_running_loop().create_task(self.handler.handle_client())
        self._scheme = scheme
        self.tls: TlsServer | None = None
        self.layered = 0
        """Number of reads of the server that the layers have handled."""
        self._count_reads(layer)

    async def close(self) -> None:
        """Close the client's side."""
        self.client.transport.waiting = 0
        self.client.protocol.eof_received()
        for io in list(self.handler.transports.values()):
            if io.handler:
                io.handler.cancel()
        await asyncio.wait([self.task], timeout=10)

    def _count_reads(self, layer: BridgeLayer) -> None:
        handle = layer.handle_event

        def counted(event: events.Event) -> Any:
            if (
                isinstance(event, events.DataReceived)
                and event.connection is not layer.context.client
            ):
                self.layered += 1
            return handle(event)

        layer.handle_event = counted  # type: ignore[method-assign]

    async def _open(self, command: commands.OpenConnection) -> None:
        await asyncio.sleep(0)  # as a real connection takes a while
        connection: Connection = command.connection
        connection.state = ConnectionState.OPEN
        self.handler.transports[connection] = ConnectionIO(
            handler=asyncio.current_task(), reader=self.server.reader, writer=self.server.writer
        )
        await self.handler.server_event(events.OpenConnectionCompleted(command, None))
        await self.handler.handle_connection(connection)

    def ask(self) -> None:
        """Send a request."""
        head = f"GET {self._scheme}://example.com/ HTTP/1.1\r\nhost: example.com\r\n\r\n"
        self.client.receive(head.encode())

    def send(self, *pieces: bytes) -> None:
        """Send bytes to the proxy in one read; with TLS, each piece in a record of its own."""
        self.server.receive(b"".join(map(self.tls.encrypted, pieces) if self.tls else pieces))

    def end(self) -> None:
        """Close the server's side."""
        self.server.protocol.eof_received()

    @property
    def received(self) -> bytes:
        """The part of the body that the client has, in chunks."""
        return bytes(self.client.transport.written).partition(b"\r\n\r\n")[2]

    @property
    def body(self) -> tuple[bytes, bool]:
        """The part of the body that the client has, and True if it has ended."""
        read, buffer, body = ChunkedReader(), ReceiveBuffer(), b""
        buffer += self.received
        while isinstance(event := read(buffer), Data):
            body += event.data
        return body, event is not None


async def settle() -> None:
    """Let everything happen that can."""
    for _ in range(8):
        await asyncio.sleep(0)


@asynccontextmanager
async def asked(
    *, direct: bool = True, tls: ssl.SSLContext | None = None, head: bytes = HEAD
) -> AsyncIterator[Peer]:
    """Send a request, and have the head of its response relayed."""
    loop = asyncio.get_running_loop()
    loop.set_task_factory(asyncio.eager_task_factory)
    addon, proxyserver = Addon(), Proxyserver()
    with taddons.context(proxyserver, addon) as context:
        peer = Peer(addon, context.master, direct=direct, scheme="https" if tls else "http")
        proxyserver.connections[peer.handler.client.id] = peer.handler
        peer.ask()
        await settle()
        if tls:
            peer.tls = TlsServer(tls, peer.server)
            await peer.tls.shake_hands()
        peer.send(head)
        await settle()
        assert peer.layered
        try:
            yield peer
        finally:
            peer.addon.may_end.set()
            await peer.close()
            loop.set_task_factory(None)
