"""A WebSocket client by hand, as Codex is one: it asks, reads events, and leaves how it likes."""

import json
import socket
import ssl
import struct
from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit

from wsproto import ConnectionType, WSConnection
from wsproto.events import (
    AcceptConnection,
    CloseConnection,
    Event,
    Message,
    Ping,
    Pong,
    RejectConnection,
    RejectData,
    Request,
    TextMessage,
)
from wsproto.extensions import PerMessageDeflate

from e2e.clients import OPENAI_KEY, TIMEOUT_S, Clients, Way
from e2e.wire import connect

type JSON = dict[str, Any]

ENDS = ("response.completed", "response.incomplete", "response.failed", "error")
"""Events after which a request has been answered."""

CODEX = {
    "authorization": f"Bearer {OPENAI_KEY}",
    "originator": "codex_exec",
    "user-agent": "codex_exec/0.169.0 (Debian 12.0.0; x86_64) dumb (codex_exec; 0.169.0)",
    "openai-beta": "responses_websockets=2026-02-06",
    "session-id": "01a207bc-0000-7000-8000-000000000001",
}
"""The headers of Codex that say who asks."""


class LeftError(Exception):
    """The other side has left."""


class Socket:
    """One connection to OpenAI Responses, or its refusal."""

    def __init__(
        self,
        clients: Clients,
        way: Way,
        *,
        headers: dict[str, str] = CODEX,
        host: str = "api.openai.com",
        url: str | None = None,
        compress: bool = True,
        credentials: str = "",
    ) -> None:
        self.status = 0
        """Of the handshake."""
        self.refusal = b""
        """The body of a refusal."""
        self.close_code: int | None = None
        """Close code of the other side."""
        self.pongs: list[bytes] = []
        target = urlsplit(url or clients.url(way, "openai", "/responses"))
        self._socket = _connected(clients, way, host, credentials)
        self._wire = WSConnection(ConnectionType.CLIENT)
        self._messages: list[list[bytes]] = []
        self._frames = [b""]
        self._refused = False
        self._send(
            Request(
                host=target.netloc,
                target=target.path + (f"?{target.query}" if target.query else ""),
                extensions=[PerMessageDeflate()] if compress else [],
                extra_headers=[(k.encode(), v.encode()) for k, v in headers.items()],
            )
        )
        while not self.status or (self.status != 101 and not self._refused):
            self._read()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._socket.close()

    # --- saying

    def send(self, message: JSON | bytes, *, frames: int = 1) -> bytes:
        """Send a message, in so many frames; return its bytes."""
        content = message if isinstance(message, bytes) else json.dumps(message).encode()
        text = content.decode()
        size = -(-len(text) // frames)
        for start in range(0, len(text), size):
            piece = text[start : start + size]
            self._send(TextMessage(piece, message_finished=start + size >= len(text)))
        return content

    def request(self, prompt: str | Sequence[JSON], **members: Any) -> JSON:
        """Send a request; return it."""
        given = [message(prompt)] if isinstance(prompt, str) else list(prompt)
        body = {"type": "response.create", "model": "gpt-5", "input": given, **members}
        self.send(body)
        return body

    def ping(self, payload: bytes) -> None:
        """Send a ping."""
        self._send(Ping(payload))

    def close(self, code: int = 1000) -> None:
        """Say goodbye, wait for its echo, and leave."""
        self._send(CloseConnection(code))
        while self.close_code is None:
            self._read()
        self._socket.close()

    def reset(self) -> None:
        """Leave with an RST, as a process that dies does."""
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self._socket.close()

    # --- hearing

    def hear(self) -> list[bytes]:
        """Return the next message, as its frames.

        Raises:
            LeftError: there will be none.
        """
        while not self._messages:
            self._read()
        return self._messages.pop(0)

    def event(self) -> JSON:
        """Return the next message, decoded."""
        decoded: JSON = json.loads(b"".join(self.hear()))
        return decoded

    def events(self) -> Iterator[JSON]:
        """Give out messages up to the one that ends an answer."""
        while True:
            event = self.event()
            yield event
            if event["type"] in ENDS:
                return

    def ask(self, prompt: str | Sequence[JSON], **members: Any) -> JSON:
        """Send a request; return the event that ends its answer."""
        self.request(prompt, **members)
        return list(self.events())[-1]

    def warm_up(self) -> JSON:
        """Ask as Codex does before anybody has said anything."""
        return self.ask([message("Be safe.", role="developer")], generate=False)

    def _read(self) -> None:
        if self.close_code is not None:
            raise LeftError(self.close_code)
        try:
            data = self._socket.recv(64 * 1024)
        except ConnectionError:
            data = b""
        self._wire.receive_data(data or None)
        for event in self._wire.events():
            self._on(event)
        if not data and self.status != 101:
            raise LeftError("in the handshake")

    def _on(self, event: Event) -> None:
        match event:
            case AcceptConnection():
                self.status = 101
            case RejectConnection():
                self.status = event.status_code
                self._refused = not event.has_body
            case RejectData():
                self.refusal += event.data
                self._refused = event.body_finished
            case Message():
                self._frames[-1] += (
                    event.data.encode() if isinstance(event.data, str) else bytes(event.data)
                )
                if event.message_finished:
                    self._messages.append(self._frames)
                    self._frames = [b""]
                elif event.frame_finished:
                    self._frames.append(b"")
            case Pong():
                self.pongs.append(bytes(event.payload))
            case CloseConnection():
                self.close_code = event.code

    def _send(self, event: Event) -> None:
        self._socket.sendall(self._wire.send(event))


def _connected(clients: Clients, way: Way, host: str, credentials: str) -> socket.socket:
    if way.mode != "direct":
        return connect(clients, way, host, credentials)
    origin = urlsplit(clients.origin)
    assert origin.hostname
    assert origin.port
    sock = socket.create_connection((origin.hostname, origin.port), timeout=TIMEOUT_S)
    context: ssl.SSLContext = clients.trust()
    return context.wrap_socket(sock, server_hostname=origin.hostname)


def message(text: str, role: str = "user") -> JSON:
    """Return an item of the input that says something."""
    return {
        "type": "message",
        "role": role,
        "content": [{"type": "input_text", "text": text}],
    }


def result(call_id: str, output: str) -> JSON:
    """Return an item of the input that gives a tool's result."""
    return {"type": "function_call_output", "call_id": call_id, "output": output}
