"""HTTP layers: each event causes as few writes as possible, and delays none."""

import warnings
from collections.abc import Iterable, Iterator
from typing import Any, cast

import pytest
from mitmproxy import connection, http
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HttpLayer, HTTPMode
from quiet_bridge import QuietBridge

from aibridge_addon.facts import ResponseFacts
from aibridge_addon.formats import Format as WireFormat
from aibridge_addon.relay.body_tap import BodyTap
from aibridge_addon.relay.joined_writes import LARGEST_JOINED
from aibridge_addon.relay.mitm_layers import AibridgeHeldHook, BridgeLayer
from aibridge_addon.relay.response_reader import ReaderOptions

with warnings.catch_warnings():  # mitmproxy 12.2 uses names that pyasn1 has renamed
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy.addons.proxyserver import Proxyserver
    from mitmproxy.test import taddons

CHUNKS = [b"data: %d\n\n" % number for number in range(20)]
REQUEST = b"GET http://example.com/ HTTP/1.1\r\nhost: example.com\r\n\r\n"
HEAD = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n"
LAST = b"0\r\n\r\n"


class Bridge(QuietBridge):
    """A bridge that fails on calls that the test does not expect."""

    def client_aborted(self, flow: http.HTTPFlow) -> None:
        raise AssertionError("the client does not disconnect here")

    def upstream_proxy_refusal(
        self, address: connection.Address, client: connection.Client
    ) -> str | None:
        raise AssertionError("there is no upstream proxy")

    def stream_response(self, flow: http.HTTPFlow) -> None:
        raise AssertionError("nothing is too large")


class Reader:
    """Treats `data: end` as the terminal event."""

    ended = False
    skippable = None

    def feed(self, event: Any) -> None:
        self.ended = self.ended or event.data == b"end"

    def facts(self) -> ResponseFacts:
        return ResponseFacts()


class Format:
    """A wire format that uses `Reader`."""

    reader = Reader


class Driver:
    """A layer without a proxy: records commands, and replies to hooks and connection requests."""

    def __init__(self, options: Any) -> None:
        client = connection.Client(
            peername=("127.0.0.1", 50000), sockname=("127.0.0.1", 8080), timestamp_start=0
        )
        client.state = ConnectionState.OPEN
        self.client = client
        self.server: connection.Server | None = None
        self.layer = BridgeLayer(Context(client, options), HTTPMode.regular)
        self.layer.bridge = Bridge()

    def client_says(self, data: bytes) -> list[commands.Command]:
        return list(self._handle(events.DataReceived(self.client, data)))

    def server_says(self, data: bytes) -> list[commands.Command]:
        assert self.server
        return list(self._handle(events.DataReceived(self.server, data)))

    def asked(self) -> "Driver":
        """Advance until the request has reached the server."""
        list(self._handle(events.Start()))
        self.client_says(REQUEST)
        return self

    def _handle(self, event: events.Event) -> Iterator[commands.Command]:
        for command in list(self.layer.handle_event(event)):
            yield command
            if isinstance(command, commands.OpenConnection):
                self.server = command.connection
                self.server.state = ConnectionState.OPEN
                yield from self._handle(events.OpenConnectionCompleted(command, None))
            elif isinstance(command, commands.StartHook):
                self._on_hook(command)
                yield from self._handle(events.HookCompleted(command))

    def _on_hook(self, hook: commands.StartHook) -> None:
        if hook.name == "responseheaders":
            (flow,) = hook.args()
            flow.response.stream = BodyTap(
                flow.id,
                "interception-1",
                ReaderOptions(
                    wire_format=cast("WireFormat", Format()),
                    announces_stream=True,
                    content_encoding="",
                    max_bytes=10**6,
                ),
            )


@pytest.fixture
def driver() -> Iterator[Driver]:
    with taddons.context(Proxyserver()) as context:
        yield Driver(context.options).asked()


def chunked(parts: Iterable[bytes]) -> bytes:
    return b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)


def writes(of: Iterable[commands.Command], to: connection.Connection) -> list[bytes]:
    return [c.data for c in of if isinstance(c, commands.SendData) and c.connection is to]


def test_data_of_one_read_is_sent_in_one_write(driver: Driver) -> None:
    driver.server_says(HEAD)

    came = driver.server_says(chunked(CHUNKS))

    assert writes(came, driver.client) == [chunked([b"".join(CHUNKS)])]


def test_data_of_a_read_does_not_wait_for_the_next_read(driver: Driver) -> None:
    driver.server_says(HEAD)

    for chunk in CHUNKS:
        assert writes(driver.server_says(chunked([chunk])), driver.client) == [chunked([chunk])]


def test_writes_before_a_hook_are_sent_before_it_waits(driver: Driver) -> None:
    driver.server_says(HEAD)

    came = driver.server_says(chunked([*CHUNKS, b"data: end\n\n"]) + LAST)

    relevant = [
        command.data if isinstance(command, commands.SendData) else type(command)
        for command in came
        if isinstance(command, commands.SendData | AibridgeHeldHook)
    ]
    assert relevant == [
        chunked([b"".join(CHUNKS)]),
        AibridgeHeldHook,
        chunked([b"data: end\n\n"]),
        LAST,
    ]


def test_only_the_terminal_event_waits_for_the_hook(driver: Driver) -> None:
    driver.server_says(HEAD)

    came = driver.server_says(chunked([b"".join(CHUNKS) + b"data: end\n\n"]))

    relevant = [
        command.data if isinstance(command, commands.SendData) else type(command)
        for command in came
        if isinstance(command, commands.SendData | AibridgeHeldHook)
    ]
    assert relevant == [
        chunked([b"".join(CHUNKS)]),
        AibridgeHeldHook,
        chunked([b"data: end\n\n"]),
    ]


def test_request_head_and_body_are_sent_in_one_write(driver: Driver) -> None:
    driver.server_says(HEAD + LAST)
    head = b"POST http://example.com/ HTTP/1.1\r\nhost: example.com\r\ncontent-length: 4\r\n\r\n"

    came = driver.client_says(head + b"body")

    assert driver.server
    up = head.replace(b"http://example.com/", b"/")
    assert writes(came, driver.server) == [up + b"body"]


def test_connection_is_closed_after_pending_writes(driver: Driver) -> None:
    head = HEAD.replace(b"transfer", b"connection: close\r\ntransfer")

    came = driver.server_says(head + chunked(CHUNKS) + LAST)

    outward = [
        command
        for command in came
        if isinstance(command, commands.ConnectionCommand) and command.connection is driver.client
    ]
    whole = head + chunked([b"".join(CHUNKS)]) + LAST
    assert b"".join(writes(outward, driver.client)) == whole
    assert isinstance(outward[-1], commands.CloseConnection)


# A body that is too large


class Refusing(Driver):
    """A bridge that responds to bodies that are too large."""

    def _on_hook(self, hook: commands.StartHook) -> None:
        if hook.name == "error":
            (flow,) = hook.args()
            flow.response = http.Response.make(413, b"too large")


@pytest.mark.parametrize("announced", [True, False])
def test_request_that_is_too_large_gets_a_response_and_its_rest_is_dropped(
    announced: bool,
) -> None:
    body = chunked([bytes(1000)] * 5)
    framing = b"content-length: %d" % len(body) if announced else b"transfer-encoding: chunked"
    head = b"POST http://example.com/ HTTP/1.1\r\nhost: example.com\r\n" + framing + b"\r\n\r\n"
    with taddons.context(Proxyserver()) as context:
        context.options.update(body_size_limit="2k")
        driver = Refusing(context.options)
        list(driver._handle(events.Start()))

        came = driver.client_says(head + body[:3000])

        [answer] = writes(came, driver.client)
        assert answer.startswith(b"HTTP/1.1 413 ")
        assert answer.endswith(b"\r\n\r\ntoo large")
        assert driver.layer.streams == {}
        assert not any(isinstance(command, commands.CloseConnection) for command in came)
        [*_, last] = driver.client_says(body[3000:] + (b"" if announced else LAST))
        assert isinstance(last, commands.CloseConnection)
        assert last.connection is driver.client


# Whatever mitmproxy's layer yields

TCP = connection.Server(address=("127.0.0.1", 1))
OTHER = connection.Server(address=("127.0.0.1", 2))
UDP = connection.Server(address=("127.0.0.1", 3), transport_protocol="udp")
LARGE = bytes(LARGEST_JOINED)


class OurBugError(Exception):
    """An error that the code under test never raises itself."""


def send(data: bytes, to: connection.Connection = TCP) -> commands.SendData:
    return commands.SendData(to, data)


def joined(original: Iterable[commands.Command]) -> Iterator[commands.Command]:
    """Return the commands that are sent if the original layer yields these."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(HttpLayer, "handle_event", lambda layer, event: original)
        return BridgeLayer.handle_event(BridgeLayer.__new__(BridgeLayer), events.Start())


def shown(of: Iterable[commands.Command]) -> list[Any]:
    return [(c.connection, c.data) if isinstance(c, commands.SendData) else c for c in of]


LOG = commands.Log("a command that is not for a connection")
CLOSE = commands.CloseTcpConnection(TCP, half_close=True)
WAKE = commands.RequestWakeup(1.0)


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ([], []),
        ([send(b"1")], [(TCP, b"1")]),
        ([send(b"1"), send(b"2"), send(b"3")], [(TCP, b"123")]),
        ([send(b"1"), LOG, send(b"2")], [(TCP, b"1"), LOG, (TCP, b"2")]),
        ([send(b"1"), send(b"2"), CLOSE], [(TCP, b"12"), CLOSE]),
        ([WAKE, send(b"1"), send(b"2")], [WAKE, (TCP, b"12")]),
        (
            [send(b"1"), send(b"2", OTHER), send(b"3", OTHER), send(b"4")],
            [(TCP, b"1"), (OTHER, b"23"), (TCP, b"4")],
        ),
        ([send(b"1", UDP), send(b"2", UDP)], [(UDP, b"1"), (UDP, b"2")]),
        (
            [send(b"1"), send(LARGE), send(b"2"), send(b"3")],
            [(TCP, b"1"), (TCP, LARGE), (TCP, b"23")],
        ),
    ],
)
def test_only_consecutive_writes_to_the_same_peer_are_joined(given: Any, sent: Any) -> None:
    assert shown(joined(iter(given))) == sent


def test_error_does_not_lose_pending_writes() -> None:
    def fails() -> Iterator[commands.Command]:
        yield send(b"1")
        yield send(b"2")
        raise OurBugError

    came = joined(fails())

    assert shown([next(came)]) == [(TCP, b"12")]
    with pytest.raises(OurBugError):
        next(came)


def test_closing_an_unfinished_handler_raises_nothing() -> None:
    came = joined(iter([send(b"1"), LOG, send(b"2")]))
    next(came)

    came.close()  # type: ignore[attr-defined]

    assert list(came) == []
