"""HTTP/1.1 connections: framing of requests, malformed heads, trailers, informational responses."""

import itertools
import warnings
from collections.abc import Iterator
from typing import Any

import pytest
from h11 import Data, EndOfMessage, ProtocolError
from h11._receivebuffer import ReceiveBuffer
from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import connection, http
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layers.http import HTTPMode
from quiet_bridge import QuietBridge

from aibridge_addon.relay.http1 import (
    LARGEST_CHUNK_LINE,
    LARGEST_REQUEST_HEAD,
    LARGEST_RESPONSE_HEAD,
    LARGEST_TRAILERS,
    JoiningChunkedReader,
    framed,
    malformed,
    unfold,
    whole_chunks,
)
from aibridge_addon.relay.mitm_layers import BridgeLayer

with warnings.catch_warnings():  # mitmproxy 12.2 uses names that pyasn1 has renamed
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy.addons.proxyserver import Proxyserver
    from mitmproxy.test import taddons

GET = b"GET http://example.com/ HTTP/1.1\r\nhost: example.com\r\n\r\n"
POST = b"POST http://example.com/ HTTP/1.1\r\nhost: example.com\r\n"
OK = b"HTTP/1.1 200 OK\r\n"


def request(
    *,
    version: str = "HTTP/2.0",
    method: str = "POST",
    content: bytes | None = b"",
    headers: dict[str, str] | None = None,
    fields: list[tuple[bytes, bytes]] | None = None,
    path: str = "/v1/messages",
    authority: str = "api.example.com",
) -> http.Request:
    made = http.Request.make(method, "https://api.example.com/")
    given = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
    made.data.headers = http.Headers(given if fields is None else fields)
    made.data.http_version = version.encode()
    made.data.authority = authority.encode()
    made.data.path = path.encode()
    made.data.content = content
    return made


# Framing


def test_http2_body_without_a_length_gets_a_content_length() -> None:
    assert framed(request(content=b"12345"), has_body=True).headers["content-length"] == "5"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_http2_request_without_a_body_gets_no_content_length(method: str) -> None:
    head = framed(request(method=method), has_body=False)
    assert "content-length" not in head.headers
    assert "transfer-encoding" not in head.headers


@pytest.mark.parametrize("announced", ["0", "4", "6", "x"])
def test_wrong_content_length_is_replaced(announced: str) -> None:
    headers = {"content-length": announced}
    for has_body, content in ((True, b"12345"), (False, b"")):
        head = framed(request(content=content, headers=headers), has_body=has_body)
        assert head.headers.get_all("content-length") == [str(len(content))]


def test_several_content_lengths_become_one() -> None:
    fields = [(b"content-length", b"5"), (b"Content-Length", b"7")]
    head = framed(request(content=b"12345", fields=fields), has_body=True)
    assert head.headers.get_all("content-length") == ["5"]


@pytest.mark.parametrize("coding", ["chunked", "gzip, chunked", "identity"])
def test_transfer_encoding_of_an_http2_request_is_removed(coding: str) -> None:
    made = request(content=b"12345", headers={"transfer-encoding": coding})
    head = framed(made, has_body=True)
    assert "transfer-encoding" not in head.headers
    assert head.headers["content-length"] == "5"


def test_chunked_request_stays_chunked_and_loses_its_content_length() -> None:
    headers = {"transfer-encoding": "chunked", "content-length": "3"}
    made = request(version="HTTP/1.1", content=b"12345", headers=headers)
    head = framed(made, has_body=True)
    assert head.headers["transfer-encoding"] == "chunked"
    assert "content-length" not in head.headers


def test_transfer_encoding_without_chunked_is_replaced_by_a_content_length() -> None:
    made = request(version="HTTP/1.1", content=b"12345", headers={"transfer-encoding": "identity"})
    head = framed(made, has_body=True)
    assert dict(head.headers) == {"content-length": "5"}


def test_streamed_body_of_unknown_length_is_sent_chunked() -> None:
    assert dict(framed(request(content=None), has_body=True).headers) == {
        "transfer-encoding": "chunked"
    }
    made = request(content=None, headers={"content-length": "9"})
    assert dict(framed(made, has_body=True).headers) == {"content-length": "9"}


def test_well_framed_request_keeps_its_headers() -> None:
    fields = [(b"Host", b"a"), (b"Content-Length", b"5"), (b"X", b"1"), (b"x", b"2")]
    made = request(version="HTTP/1.1", content=b"12345", fields=fields)
    assert list(framed(made, has_body=True).headers.fields) == fields


def test_framing_does_not_change_the_flow() -> None:
    made = request(version="HTTP/1.1", content=b"12345")
    framed(made, has_body=True)
    assert "content-length" not in made.headers
    assert made.authority == "api.example.com"


def test_absolute_target_becomes_origin_form_unless_a_proxy_needs_it() -> None:
    made = request(version="HTTP/1.1")
    assert framed(made, has_body=False).authority == ""
    assert framed(made, has_body=False, absolute=True).authority == "api.example.com"


def test_host_of_an_http2_request_is_its_authority() -> None:
    fields = [(b"host", b"other.example.com"), (b"host", b"third.example.com")]
    head = framed(request(fields=fields), has_body=False)
    assert head.headers.get_all("host") == ["api.example.com"]


# Malformed heads


@pytest.mark.parametrize("value", [b"a\rb", b"a\nb", b"a\r\nb: c", b"a\0b", b"\r"])
@pytest.mark.parametrize("version", ["HTTP/1.1", "HTTP/2.0"])
def test_control_characters_in_a_header_value_are_malformed(value: bytes, version: str) -> None:
    problem = malformed(
        HTTPMode.transparent, request(version=version, fields=[(b"x-secret", value)])
    )
    assert problem
    assert "x-secret" in problem


@pytest.mark.parametrize(
    "path", ["", "v1", "http://a/b", "/a HTTP/1.1", "/a\r\nb: c", "/a\tb", "/a\0", "/\x7f", "*x"]
)
def test_ambiguous_request_target_is_malformed(path: str) -> None:
    assert malformed(HTTPMode.transparent, request(path=path))


@pytest.mark.parametrize("path", ["/", "*", "/a?b=c#d", "/\xfc", "/%00%20", "//a/../b;c=d"])
def test_request_target_without_spaces_and_controls_is_allowed(path: str) -> None:
    assert malformed(HTTPMode.transparent, request(path=path)) is None


@pytest.mark.parametrize("method", ["", "GET /x", "G\rT", "G:T", "GET\0"])
def test_invalid_request_method_is_malformed(method: str) -> None:
    made = request()
    made.data.method = method.encode()
    assert malformed(HTTPMode.transparent, made)


def test_folded_header_value_is_joined_into_one_line() -> None:
    made = request(version="HTTP/1.1", fields=[(b"a", b"1\r\n 2\r\n 3"), (b"b", b"4")])
    unfold(made)
    assert made.headers.fields == ((b"a", b"1 2 3"), (b"b", b"4"))
    assert malformed(HTTPMode.transparent, made) is None


# Connections


class Driver:
    """A layer without a proxy: collects commands, and replies to hooks and connection requests."""

    def __init__(self, options: Any) -> None:
        self.client = connection.Client(
            peername=("127.0.0.1", 50000), sockname=("127.0.0.1", 8080), timestamp_start=0
        )
        self.client.state = ConnectionState.OPEN
        self.server: connection.Server | None = None
        self.sent: dict[connection.Connection, bytes] = {}
        self.closed: set[connection.Connection] = set()
        self.flows: list[http.HTTPFlow] = []
        self.layer = BridgeLayer(Context(self.client, options), HTTPMode.regular)
        self.layer.bridge = QuietBridge()
        self._handle(events.Start())

    def client_says(self, data: bytes) -> bytes:
        return self._says(self.client, data)

    def server_says(self, data: bytes) -> bytes:
        assert self.server
        return self._says(self.server, data)

    @property
    def to_client(self) -> bytes:
        return self.sent.get(self.client, b"")

    @property
    def to_server(self) -> bytes:
        return self.sent.get(self.server, b"") if self.server else b""

    def _says(self, peer: connection.Connection, data: bytes) -> bytes:
        before = len(self.to_client)
        self._handle(events.DataReceived(peer, data))
        return self.to_client[before:]

    def _handle(self, event: events.Event) -> None:
        for command in list(self.layer.handle_event(event)):
            match command:
                case commands.SendData():
                    sent = self.sent.get(command.connection, b"")
                    self.sent[command.connection] = sent + command.data
                case commands.CloseConnection():
                    self.closed.add(command.connection)
                case commands.OpenConnection():
                    self.server = command.connection
                    self.server.state = ConnectionState.OPEN
                    self._handle(events.OpenConnectionCompleted(command, None))
                case commands.StartHook():
                    if command.name in ("response", "error"):
                        self.flows.append(command.args()[0])
                    self._handle(events.HookCompleted(command))


@pytest.fixture
def driver() -> Iterator[Driver]:
    with taddons.context(Proxyserver()) as context:
        yield Driver(context.options)


@pytest.mark.parametrize("status", [b"100 Continue", b"102 Processing", b"103 Early Hints", b"199"])
@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
def test_informational_responses_are_skipped(driver: Driver, status: bytes, whole: bool) -> None:
    driver.client_says(GET)
    interim = b"HTTP/1.1 " + status + b"\r\nlink: </a>\r\n\r\n"
    answer = interim * 3 + OK + b"content-length: 5\r\n\r\nhello"
    for piece in [answer] if whole else [answer[i : i + 1] for i in range(len(answer))]:
        driver.server_says(piece)
    assert driver.to_client == OK + b"content-length: 5\r\n\r\nhello"


def test_switching_protocols_response_is_not_skipped(driver: Driver) -> None:
    driver.client_says(GET.replace(b"\r\n\r\n", b"\r\nupgrade: x\r\n\r\n"))
    driver.server_says(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n")
    assert driver.to_client.startswith(b"HTTP/1.1 101 ")


TRAILERS = b"x-checksum: 1\r\nx-y: 2\r\n"


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
def test_trailers_of_a_response_are_dropped(driver: Driver, whole: bool) -> None:
    for _ in range(2):  # the connection stays usable
        before = len(driver.to_client)
        driver.client_says(GET)
        body = b"5\r\nhello\r\n0\r\n"
        answer = OK + b"transfer-encoding: chunked\r\n\r\n" + body + TRAILERS + b"\r\n"
        for piece in [answer] if whole else [answer[i : i + 1] for i in range(len(answer))]:
            driver.server_says(piece)
        assert driver.to_client[before:].endswith(b"\r\n\r\n" + body + b"\r\n")
    assert not driver.closed


@pytest.mark.parametrize("whole", [True, False], ids=["whole", "byte by byte"])
def test_trailers_of_a_request_are_dropped(driver: Driver, whole: bool) -> None:
    said = POST + b"transfer-encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n" + TRAILERS + b"\r\n"
    for piece in [said] if whole else [said[i : i + 1] for i in range(len(said))]:
        driver.client_says(piece)
    assert driver.to_server.endswith(b"\r\n\r\n5\r\nhello\r\n0\r\n\r\n")
    driver.server_says(OK + b"content-length: 2\r\n\r\nok")
    assert driver.to_client.endswith(b"ok")
    assert not driver.closed


def test_absolute_target_is_sent_upstream_in_origin_form(driver: Driver) -> None:
    driver.client_says(GET)
    assert driver.to_server.startswith(b"GET / HTTP/1.1\r\n")


@pytest.mark.parametrize("field", [b"x: a\rb", b"x: a\0b"])
def test_bare_carriage_return_in_a_header_is_refused_with_400(driver: Driver, field: bytes) -> None:
    driver.client_says(GET.replace(b"\r\n\r\n", b"\r\n" + field + b"\r\n\r\n"))
    assert driver.to_client.startswith(b"HTTP/1.1 400 ")
    assert driver.to_server == b""


def test_folded_header_value_is_sent_upstream_in_one_line(driver: Driver) -> None:
    driver.client_says(GET.replace(b"\r\n\r\n", b"\r\nx: a\r\n  b\r\n\r\n"))
    assert b"\r\nx: a b\r\n" in driver.to_server


# Limits


def test_request_head_that_is_too_large_is_refused_with_431(driver: Driver) -> None:
    head = GET[:-2] + b"x: " + b"a" * (LARGEST_REQUEST_HEAD - len(GET) - 1)
    assert len(head) == LARGEST_REQUEST_HEAD
    assert driver.client_says(head) == b""
    assert driver.client_says(b"a").startswith(b"HTTP/1.1 431 ")
    assert driver.closed
    for _ in range(100):  # what still comes is neither kept nor answered
        assert driver.client_says(b"a" * 64 * 1024) == b""
    assert driver.to_server == b""


def test_request_head_below_the_limit_is_relayed(driver: Driver) -> None:
    head = GET[:-2] + b"x: " + b"a" * (LARGEST_REQUEST_HEAD - len(GET) - 10) + b"\r\n\r\n"
    driver.client_says(head)
    assert driver.to_server.endswith(b"aaa\r\n\r\n")


def test_response_head_that_is_too_large_is_an_error(driver: Driver) -> None:
    driver.client_says(GET)
    driver.server_says(OK + b"x: " + b"a" * LARGEST_RESPONSE_HEAD)
    assert driver.to_client.startswith(b"HTTP/1.1 502 ")
    assert driver.server in driver.closed


@pytest.mark.parametrize(
    ("start", "limit"),
    [
        (b"5;x=", LARGEST_CHUNK_LINE),
        (b"5\r\nhello\r\n1;", LARGEST_CHUNK_LINE),
        (b"0\r\nx: ", LARGEST_TRAILERS),
    ],
    ids=["first chunk", "second chunk", "trailers"],
)
def test_chunk_line_that_is_too_large_closes_the_connection(
    driver: Driver, start: bytes, limit: int
) -> None:
    driver.client_says(POST + b"transfer-encoding: chunked\r\n\r\n" + start)
    for _ in range(limit // 1024 - 1):
        driver.client_says(b"a" * 1024)
    assert not driver.closed
    driver.client_says(b"a" * 2048)
    assert driver.client in driver.closed
    assert driver.to_server == b""


def data_of(event: object) -> bytes:
    assert isinstance(event, Data)
    return bytes(event.data)


def test_chunks_that_arrive_together_are_joined() -> None:
    read, buffer = JoiningChunkedReader(), ReceiveBuffer()
    buffer += b"1\r\na\r\n" * 1000 + b"2\r\nb"
    assert data_of(read(buffer)) == b"a" * 1000 + b"b"
    assert read(buffer) is None
    buffer += b"c\r\n0\r\nx: y\r\n\r\n"
    assert data_of(read(buffer)) == b"c"
    assert read(buffer) == EndOfMessage()


def test_chunks_before_a_malformed_one_are_read_first() -> None:
    read, buffer = JoiningChunkedReader(), ReceiveBuffer()
    buffer += b"1\r\na\r\n1;x=y\r\nb\r\n0x1\r\nc\r\n"
    assert data_of(read(buffer)) == b"ab"
    for _ in range(2):
        with pytest.raises(ProtocolError):
            read(buffer)


@given(
    pieces=st.lists(st.binary(min_size=1, max_size=40), max_size=6),
    extension=st.sampled_from([b"", b";x=y"]),
    cuts=st.lists(st.integers(0, 300), max_size=6),
)
def test_body_is_the_same_however_its_chunks_arrive(
    pieces: list[bytes], extension: bytes, cuts: list[int]
) -> None:
    framed_body = b"".join(b"%X%s\r\n%s\r\n" % (len(piece), extension, piece) for piece in pieces)
    framed_body += b"0\r\n\r\n"
    borders = sorted({0, len(framed_body), *(cut for cut in cuts if cut < len(framed_body))})
    read, buffer, body, ended = JoiningChunkedReader(), ReceiveBuffer(), b"", False
    for start, end in itertools.pairwise(borders):
        buffer += framed_body[start:end]
        while isinstance(event := read(buffer), Data):
            body += event.data
        ended = isinstance(event, EndOfMessage)
    assert ended
    assert body == b"".join(pieces)


@pytest.mark.parametrize(
    "size", [b"0x1", b"1_0", b" 1", b"1 ", b"+1", b"-1", b"", b"1;x", b"123456789", b"0"]
)
@pytest.mark.parametrize("first", [b"a", b"a" * 2000])
def test_chunk_sizes_that_are_not_plain_are_left_to_h11(first: bytes, size: bytes) -> None:
    whole = b"%x\r\n%b\r\n" % (len(first), first)
    assert whole_chunks(whole + size + b"\r\na\r\n") == ([first], len(whole))


@pytest.mark.parametrize("end", [b"", b"\r", b"\n\n", b"aa"])
@pytest.mark.parametrize("first", [b"a", b"a" * 2000])
def test_chunk_without_its_line_end_is_left_to_h11(first: bytes, end: bytes) -> None:
    whole = b"%x\r\n%b\r\n" % (len(first), first)
    assert whole_chunks(whole + b"2\r\nbc" + end) == ([first], len(whole))


@given(
    contents=st.lists(
        st.sampled_from([b"a", b"a\r\nb", b"\r\n", b"2\r\nab\r\n", b"x" * 700, b"\n\r\n\r" * 300])
    ),
    rest=st.sampled_from(
        [b"", b"0\r\n\r\n", b"0\r\nx: y\r\n\r\n", b"5\r\nab", b"5", b"5\r\nab\r\n\r\n"]
    ),
)
def test_whole_chunks_are_found_whatever_their_contents_and_what_follows(
    contents: list[bytes], rest: bytes
) -> None:
    whole = b"".join(b"%x\r\n%b\r\n" % (len(content), content) for content in contents)
    assert whole_chunks(bytearray(whole + rest)) == (contents, len(whole))
