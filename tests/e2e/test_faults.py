"""Faults: the client receives the provider's bytes or an error in its wire format.

The record has one interception with its status, and the next request works.
"""

import asyncio
import gzip
import json
import resource
import socket
import sqlite3
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import brotli
import httpx2
import pytest
import zstandard
from locks import locked
from standin import (
    Authority,
    EndEarly,
    Gate,
    Part,
    Provider,
    Request,
    Reset,
    Response,
    Server,
    Wait,
)
from standin.codings import encode

from e2e.bodies import APIS, CHAT, MESSAGES, RESPONSES, Api, Tokens
from e2e.clients import WAYS, Clients, Way
from e2e.conftest import StartProxy
from e2e.load import Load, ask_all
from e2e.metrics import metric, wait_for_health
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.records import Records, Row, read_records
from e2e.wire import HTTP2Client, connect

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS

PAIRS = ((MESSAGES, FORWARD_H2), (CHAT, REVERSE), (RESPONSES, FORWARD), (MESSAGES, REVERSE_H2))

each_pair = pytest.mark.parametrize(("api", "way"), PAIRS, ids=str)
each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

MIB = 1024 * 1024
SSE = [("content-type", "text/event-stream; charset=utf-8"), ("request-id", "req_1")]
JSON = [("content-type", "application/json"), ("request-id", "req_1")]

type Answer = Response | Reset | EndEarly
type Canned = Callable[[Request], Any]


@pytest.fixture(scope="module")
def nobody() -> Iterator[str]:
    """An origin that refuses connections: its port is bound without a listener."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"https://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server, nobody: str) -> Iterator[Proxy]:
    """Run the proxy of this module, with instances of unreachable providers."""
    down = "".join(
        f'[[providers]]\nname = "down-{kind}"\ntype = "{kind}"\nbase_url = "{nobody}{path}"\n'
        f'hosts = ["down.{kind}.test"]\n'
        for kind, path in (("anthropic", ""), ("openai", "/v1"))
    )
    with run_proxy(standin.origin, more_config=down, metrics=True) as made:
        yield made


def open_rows(database: Path) -> int:
    """Count the interceptions that have not ended."""
    connection = sqlite3.connect(f"{database.as_uri()}?mode=ro", uri=True)
    try:
        query = "select count(*) from aibridge_interceptions where ended_at is null"
        return int(connection.execute(query).fetchone()[0])
    finally:
        connection.close()


def read(response: httpx2.Response) -> tuple[bytes, bool]:
    """Return the body on the wire, and True if it is complete."""
    got = bytearray()
    try:
        for chunk in response.iter_raw():
            got += chunk
    except httpx2.TransportError:
        return bytes(got), False
    return bytes(got), True


@dataclass(frozen=True, slots=True)
class Seen:
    """A response as the client received it."""

    status: int
    headers: httpx2.Headers
    body: bytes
    whole: bool


class Asker:
    """Sends requests to a provider with scripted responses."""

    def __init__(
        self,
        proxy: Proxy,
        clients: Clients,
        shared: "SharedClients",
        provider: Provider,
        server: Server,
    ) -> None:
        self.proxy = proxy
        self.server = server
        self._clients = clients
        self._shared = shared
        self._provider = provider
        self._mark = proxy.mark()

    @contextmanager
    def asking(
        self,
        way: Way,
        api: Api,
        answer: Canned,
        *,
        client: httpx2.Client | None = None,
        stream: bool = True,
        content: bytes | None = None,
        headers: dict[str, str] | None = None,
        url: str | None = None,
    ) -> Iterator[httpx2.Response]:
        """Yield a response while it arrives, on a connection after earlier faults."""
        self._provider.canned["fault"] = answer
        with (client or self._shared[way]).stream(
            "POST",
            url or self._clients.url(way, api.provider, api.path),
            content=api.request("hi", stream=stream) if content is None else content,
            headers={**api.headers, "x-standin-canned": "fault", **(headers or {})},
        ) as response:
            yield response

    @contextmanager
    def leaving(
        self,
        way: Way,
        api: Api,
        answer: Canned,
    ) -> Iterator[httpx2.Response]:
        """Yield a response while it arrives; the client disconnects at the end of the block."""
        with (
            self._clients.http(way) as client,
            self.asking(way, api, answer, client=client) as response,
        ):
            yield response
            client.close()

    async def leave_before_response(self, way: Way, api: Api, *, stream: bool) -> None:
        """Send a request, and disconnect once the provider has it."""
        arrived = threading.Event()

        async def never(request: Request) -> Response:
            arrived.set()
            await Gate().wait()
            raise AssertionError

        self._provider.canned["fault"] = never
        async with self._clients.async_http(way) as client:
            sending = client.post(
                self._clients.url(way, api.provider, api.path),
                content=api.request("hi", stream=stream),
                headers={**api.headers, "x-standin-canned": "fault"},
            )
            asking = asyncio.ensure_future(sending)
            assert await asyncio.to_thread(arrived.wait, 30)
            asking.cancel()
            await asyncio.wait([asking])

    def ask(self, way: Way, api: Api, answer: Canned, **options: Any) -> Seen:
        """Read a response as far as it arrives."""
        with self.asking(way, api, answer, **options) as response:
            body, whole = read(response)
            return Seen(response.status_code, response.headers, body, whole)

    @property
    def request(self) -> Request:
        """The last request of the provider."""
        return self.server.requests[-1]

    def wait_for_outcome(self, outcome: str) -> None:
        """Wait until the provider has finished its last response."""
        self.server.wait_until(lambda: self.request.outcome == outcome)

    def recorded(self) -> Records:
        """Wait until the only interception has ended; return its records."""
        return self.proxy.wait_for_records(
            lambda records: [row for row in records.interceptions if row["ended_at"]],
            after=self._mark,
        )

    @property
    def recorded_at_once(self) -> Records:
        """The records without a wait, for responses whose end the client has received."""
        return self.proxy.wait_for_records(lambda _: True, after=self._mark)


type SharedClients = dict[Way, httpx2.Client]


@pytest.fixture(scope="module")
def shared_clients(proxy: Proxy, standin: Server, authority: Authority) -> Iterator[SharedClients]:
    """A client for each mode that is used by all tests of this module."""
    clients = Clients(standin.origin, (authority.path, proxy.ca_path), proxy)
    with ExitStack() as stack:
        yield {way: stack.enter_context(clients.http(way)) for way in WAYS}


@pytest.fixture
def asker(
    proxy: Proxy,
    clients: Clients,
    shared_clients: SharedClients,
    provider: Provider,
    standin: Server,
) -> Iterator[Asker]:
    """Sends requests; asserts afterwards that the proxy still works."""
    yield Asker(proxy, clients, shared_clients, provider, standin)
    mark = proxy.mark()
    proxy.wait_for_records(lambda _: not open_rows(proxy.database), after=mark)
    for way in (FORWARD_H2, REVERSE):
        url = clients.url(way, "anthropic", "/v1/messages")
        content = MESSAGES.request("Still there?", stream=False)
        answer = shared_clients[way].post(url, content=content, headers=MESSAGES.headers)
        assert answer.status_code == 200
    statuses = [row["status"] for row in read_records(proxy.database, mark).interceptions]
    assert statuses == ["completed", "completed"]
    standin.requests.clear()


def outcome(row: Row) -> tuple[str, int | None, str | None, bool]:
    """Return how an interception ended."""
    return row["status"], row["http_status"], row["error_type"], bool(row["partial"])


def tokens(records: Records) -> Tokens | None:
    """Return the tokens of the only usage row, if any."""
    return records.counts if records.token_usages else None


# --- the table of broken answers


@dataclass(frozen=True, slots=True)
class Fault:
    """A faulty response, and its expected record."""

    name: str
    answer: Callable[[Api], Answer]
    status: Literal["completed", "failed"] = "failed"
    error_type: str | None = None
    whole: bool = True
    """True if the client receives a proper end."""
    usage: Literal["all", "first", "none"] = "none"

    def __str__(self) -> str:
        return self.name


def half(api: Api) -> list[bytes]:
    """Return the first half of the events."""
    events = api.events()
    return events[: len(events) // 2]


def with_event(api: Api, event: bytes) -> list[bytes]:
    """Return the events with one more in the middle."""
    return [*half(api), event, *api.events()[len(half(api)) :]]


def sse(*parts: Part) -> Response:
    """Return a streamed response."""
    return Response(200, [*SSE], list(parts))


def announced(parts: Sequence[Part], headers: list[tuple[str, str]], length: int) -> Response:
    """Return a response with a `content-length`, which may be wrong."""
    return Response(200, [*headers], list(parts), announce_length=length)


STREAM_FAULTS = (
    Fault(
        "is_reset_in_mid_stream",
        lambda api: sse(*half(api), Reset()),
        error_type="upstream_error",
        whole=False,
        usage="first",
    ),
    Fault(
        "closes_a_chunked_stream_early",
        lambda api: sse(*half(api), EndEarly()),
        error_type="upstream_error",
        whole=False,
        usage="first",
    ),
    Fault(
        "closes_an_announced_stream_early",
        lambda api: announced([*half(api), EndEarly()], SSE, len(b"".join(api.events()))),
        error_type="upstream_error",
        whole=False,
        usage="first",
    ),
    Fault(
        "ends_without_its_last_event",
        lambda api: sse(*half(api)),
        error_type="stream_broken_off",
        usage="first",
    ),
    Fault(
        "ends_without_any_event",
        lambda api: Response(200, [*SSE], b""),
        error_type="stream_broken_off",
    ),
    Fault(
        "has_an_event_that_is_not_JSON",
        lambda api: sse(*with_event(api, b'data: {"type":"content_block_delta", oops\n\n')),
        status="completed",
        usage="all",
    ),
    Fault(
        "has_an_event_that_is_not_UTF-8",
        lambda api: sse(*with_event(api, b'data: {"type":"ping","x":"\xff\xfe"}\n\n')),
        status="completed",
        usage="all",
    ),
    Fault(
        "has_an_event_of_the_wrong_shape",
        lambda api: sse(*with_event(api, b"data: [1, 2, 3]\n\n")),
        status="completed",
        usage="all",
    ),
    Fault(
        "has_an_unknown_content_coding",
        lambda api: Response(200, [*SSE, ("content-encoding", "rot13")], b"Jryy, jryy, jryy."),
        status="completed",
    ),
    Fault(
        "is_not_in_the_coding_that_it_says",
        lambda api: Response(200, [*SSE, ("content-encoding", "gzip")], b"".join(api.events())),
        status="completed",
    ),
)

HTML = b"<html><body>Please log in to the airport's network.</body></html>"

WHOLE_FAULTS = (
    Fault(
        "is_not_JSON",
        lambda api: Response(200, [*JSON], api.answer()[:-1]),
        status="completed",
    ),
    Fault(
        "is_not_UTF-8",
        lambda api: Response(200, [*JSON], api.answer().replace(b"Well", b"W\xe9ll")),
        status="completed",
    ),
    Fault(
        "is_HTML",
        lambda api: Response(200, [("content-type", "text/html")], HTML),
        status="completed",
    ),
    Fault(
        "is_some_other_JSON",
        lambda api: Response(200, [*JSON], b'[{"type": "message"}]'),
        status="completed",
    ),
    Fault("is_empty", lambda api: Response(200, [*JSON], b""), status="completed"),
    Fault(
        "has_an_unknown_content_coding",
        lambda api: Response(200, [*JSON, ("content-encoding", "rot13")], b"Jryy."),
        status="completed",
    ),
    Fault(
        "is_not_in_the_coding_that_it_says",
        lambda api: Response(200, [*JSON, ("content-encoding", "br")], api.answer()),
        status="completed",
    ),
)


def sent_bytes(answer: Answer) -> bytes:
    """Return the bytes of a body up to its fault."""
    assert isinstance(answer, Response)
    if isinstance(answer.body, bytes):
        return answer.body
    return b"".join(part for part in answer.body if isinstance(part, bytes))  # type: ignore[union-attr]


@pytest.mark.both_ways
@each_pair
@pytest.mark.parametrize("fault", STREAM_FAULTS, ids=str)
def test_faulty_stream_is_relayed_and_recorded(
    asker: Asker, api: Api, way: Way, fault: Fault
) -> None:
    seen = asker.ask(way, api, lambda request: fault.answer(api))
    records = asker.recorded_at_once if seen.whole else asker.recorded()
    assert seen.status == 200
    assert seen.whole == fault.whole
    assert seen.body == sent_bytes(fault.answer(api))
    assert outcome(records.interception) == (fault.status, 200, fault.error_type, True)
    expected = {"all": api.tokens, "first": api.first_tokens, "none": None}[fault.usage]
    assert tokens(records) == expected
    assert records.prompts == ["hi"]


@each_pair
@pytest.mark.parametrize("fault", WHOLE_FAULTS, ids=str)
def test_faulty_buffered_response_is_relayed_and_recorded(
    asker: Asker, api: Api, way: Way, fault: Fault
) -> None:
    seen = asker.ask(way, api, lambda request: fault.answer(api), stream=False)
    records = asker.recorded_at_once
    assert (seen.status, seen.whole) == (200, True)
    assert seen.body == sent_bytes(fault.answer(api))
    assert outcome(records.interception) == (fault.status, 200, fault.error_type, True)
    assert tokens(records) is None


@each_pair
@pytest.mark.parametrize("fault", [Reset(), EndEarly()], ids=["reset", "closed"])
def test_truncated_response_becomes_an_error_of_the_clients_wire_format(
    asker: Asker, api: Api, way: Way, fault: Part
) -> None:
    answer = api.answer()
    parts = [answer[: len(answer) // 2], fault]
    seen = asker.ask(way, api, lambda request: announced(parts, JSON, len(answer)), stream=False)
    records = asker.recorded()
    assert seen.status == 502
    assert api.is_error(json.loads(seen.body))
    assert outcome(records.interception) == ("failed", 200, "upstream_error", True)
    assert tokens(records) is None


@each_pair
@each_delivery
def test_reset_before_the_response_becomes_an_error_of_the_clients_wire_format(
    asker: Asker, api: Api, way: Way, stream: bool
) -> None:
    seen = asker.ask(way, api, lambda request: Reset(), stream=stream)
    records = asker.recorded_at_once
    assert (seen.status, seen.whole) == (502, True)
    assert seen.headers["content-type"] == "application/json"
    assert api.is_error(json.loads(seen.body))
    assert outcome(records.interception) == ("failed", None, "upstream_error", False)
    assert records.prompts == ["hi"]


@each_pair
@each_delivery
def test_unreachable_provider_becomes_an_error_of_the_clients_wire_format(
    asker: Asker, clients: Clients, way: Way, api: Api, stream: bool
) -> None:
    url = clients.url(way, api.provider, api.path).replace(
        f"api.{api.provider}.com", f"down.{api.provider}.test"
    )
    url = url.replace(f"/{api.provider}/", f"/down-{api.provider}/")
    seen = asker.ask(way, api, lambda request: Reset(), stream=stream, url=url)
    records = asker.recorded_at_once
    assert (seen.status, seen.whole) == (502, True)
    body = json.loads(seen.body)
    assert api.is_error(body)
    assert f"down-{api.provider}" in body["error"]["message"]
    row = records.interception
    assert outcome(row) == ("failed", None, "upstream_error", False)
    assert row["provider_name"] == f"down-{api.provider}"
    assert asker.server.requests == []


@each_pair
def test_error_event_in_a_stream_is_relayed_and_recorded(asker: Asker, api: Api, way: Way) -> None:
    parts = [*half(api), api.module.error_event()]
    seen = asker.ask(way, api, lambda request: sse(*parts))
    records = asker.recorded_at_once
    assert seen.body == b"".join(parts)
    assert seen.whole
    assert outcome(records.interception) == ("failed", 200, api.error_event_type, True)
    assert tokens(records) == api.first_tokens


ERRORS = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    500: "api_error",
    529: "overloaded_error",
}


@each_way
@pytest.mark.parametrize(("status", "kind"), ERRORS.items())
def test_error_of_the_provider_reaches_the_client_unchanged(
    asker: Asker, way: Way, status: int, kind: str
) -> None:
    api, stream = APIS[status % 3], way in (FORWARD, REVERSE_H2)
    # Neither its spaces nor its unknown fields are ours to tidy up.
    error = b'{"type" : "error",  "error":{"type":"%b","message":"No\\u002e","x":[1.0]} }\r\n'
    body = error % kind.encode()
    headers = [
        *JSON,
        ("retry-after", "7"),
        ("x-should-retry", "true"),
        ("set-cookie", "a=1"),
        ("set-cookie", "b=2"),
    ]
    seen = asker.ask(way, api, lambda request: Response(status, headers, body), stream=stream)
    records = asker.recorded_at_once
    assert (seen.status, seen.body, seen.whole) == (status, body, True)
    assert [
        pair for pair in seen.headers.multi_items() if pair[0] not in ("content-length", "date")
    ] == headers
    assert outcome(records.interception) == ("failed", status, kind, False)
    assert records.interception["error_message"] == "No."
    assert records.token_usages == []
    assert records.prompts == ["hi"]


def test_error_page_of_a_gateway_is_recorded_by_its_status(
    asker: Asker,
) -> None:
    page = [("content-type", "text/html")]
    seen = asker.ask(FORWARD, MESSAGES, lambda request: Response(503, page, HTML))
    assert (seen.status, seen.body) == (503, HTML)
    records = asker.recorded_at_once
    assert outcome(records.interception)[:3] == ("failed", 503, "http_503")


# --- clients that leave


@pytest.mark.both_ways
@each_pair
def test_disconnect_during_a_stalled_stream_is_recorded_and_cancels_upstream(
    asker: Asker, api: Api, way: Way
) -> None:
    def stall(request: Request) -> Response:
        return sse(*half(api), Wait(Gate()))

    expected = b"".join(half(api))
    with asker.leaving(way, api, stall) as response:
        body, chunks = b"", response.iter_raw()
        while len(body) < len(expected):
            body += next(chunks)
    assert body == expected
    records = asker.recorded()
    assert outcome(records.interception) == ("cancelled", 200, "client_left", True)
    assert tokens(records) == api.first_tokens
    asker.wait_for_outcome("abandoned")


@each_way
@each_delivery
async def test_disconnect_before_the_response_is_recorded_and_cancels_upstream(
    asker: Asker, way: Way, stream: bool
) -> None:
    await asker.leave_before_response(way, MESSAGES, stream=stream)
    records = asker.recorded()
    assert outcome(records.interception) == ("cancelled", None, "client_left", True)
    assert records.prompts == ["hi"]
    asker.wait_for_outcome("abandoned")


@pytest.mark.both_ways
@each_pair
def test_disconnect_during_a_stream_is_recorded_and_cancels_upstream(
    asker: Asker, api: Api, way: Way
) -> None:
    def endless(request: Request) -> Response:
        return sse(*half(api), Wait(Gate()))

    with asker.leaving(way, api, endless) as response:
        next(response.iter_raw())
    records = asker.recorded()
    assert outcome(records.interception) == ("cancelled", 200, "client_left", True)
    asker.wait_for_outcome("abandoned")


@each_pair
def test_disconnect_after_the_last_event_is_recorded_as_completed(
    asker: Asker, api: Api, way: Way
) -> None:
    def unending(request: Request) -> Response:
        return sse(*api.events(), Wait(Gate()))

    with asker.leaving(way, api, unending) as response:
        body = b""
        for chunk in response.iter_raw():
            body += chunk
            if api.end in body:
                break
        records = asker.recorded_at_once
    assert outcome(records.interception) == ("completed", 200, None, False)
    assert tokens(records) == api.tokens
    asker.wait_for_outcome("abandoned")
    assert asker.recorded() == records


@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
def test_disconnect_before_the_request_is_complete_is_not_recorded(
    asker: Asker, clients: Clients, way: Way
) -> None:
    with connect(clients, way) as sock:
        path = httpx2.URL(clients.url(way, "anthropic", "/v1/messages")).path
        sock.sendall(
            f"POST {path} HTTP/1.1\r\nHost: api.anthropic.com\r\n"
            'x-api-key: sk-ant-1\r\nContent-Length: 1000\r\n\r\n{"model": '.encode()
        )
    assert asker.ask(way, MESSAGES, lambda request: sse(*MESSAGES.events())).status == 200
    assert asker.recorded_at_once.interception["status"] == "completed"


def by_prompt(records: Records) -> dict[str, Row]:
    """Return the interceptions by their prompts."""
    rows = {row["id"]: row for row in records.interceptions}
    return {row["prompt"]: rows[row["interception_id"]] for row in records.user_prompts}


@pytest.mark.parametrize("way", [FORWARD_H2, REVERSE_H2], ids=str)
def test_reset_of_one_http2_stream_does_not_affect_the_others(
    asker: Asker, clients: Clients, provider: Provider, way: Way
) -> None:
    gate = Gate()
    provider.canned["gated"] = lambda request: sse(
        *half(MESSAGES), Wait(gate), *MESSAGES.events()[len(half(MESSAGES)) :]
    )
    with HTTP2Client(clients, way) as client:
        streams = [
            client.post(
                "/v1/messages",
                {**MESSAGES.headers, "x-standin-canned": "gated"},
                MESSAGES.request(f"stream {number}", stream=True),
            )
            for number in range(3)
        ]
        begun = len(b"".join(half(MESSAGES)))
        client.read_until(lambda: all(len(client.bodies[stream]) == begun for stream in streams))
        client.reset(streams[1])
        left = by_prompt(asker.recorded())  # requests may be recorded in another order than sent
        assert outcome(left["stream 1"]) == ("cancelled", 200, "client_left", True)
        assert left["stream 0"]["ended_at"] is left["stream 2"]["ended_at"] is None
        gate.open()
        client.read_until(lambda: {streams[0], streams[2]} <= client.ended)
        assert client.bodies[streams[0]] == b"".join(MESSAGES.events())
        assert client.bodies[streams[2]] == b"".join(MESSAGES.events())
        records = asker.recorded_at_once
    statuses = {prompt: row["status"] for prompt, row in by_prompt(records).items()}
    assert statuses == {"stream 0": "completed", "stream 1": "cancelled", "stream 2": "completed"}
    assert sorted(row["output_tokens"] for row in records.token_usages) == [1, 20, 20]
    outcomes = sorted(str(request.outcome) for request in asker.server.requests)
    assert outcomes == ["abandoned", "answered", "answered"]


# --- requests that are odd


@each_pair
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_compressed_request_is_relayed_unchanged_and_read(
    asker: Asker, api: Api, way: Way, coding: str
) -> None:
    content = encode(api.request("How are you?", stream=True), coding)
    seen = asker.ask(
        way,
        api,
        lambda request: sse(*api.events()),
        content=content,
        headers={"content-encoding": coding, "content-type": "application/json"},
    )
    assert seen.body == b"".join(api.events())
    assert asker.request.body == content
    assert asker.request.header("content-encoding") == coding
    records = asker.recorded_at_once
    assert outcome(records.interception) == ("completed", 200, None, False)
    assert records.prompts == ["How are you?"]
    assert tokens(records) == api.tokens


@each_way
@pytest.mark.parametrize(
    ("coding", "content"),
    [
        ("gzip", b"this is no gzip"),
        ("zstd", b"this is no zstd"),
        ("rot13", MESSAGES.request("hi", stream=True)),
    ],
    ids=["no gzip", "no zstd", "unknown coding"],
)
def test_request_with_a_broken_coding_is_relayed_and_counted(
    asker: Asker, proxy: Proxy, way: Way, coding: str, content: bytes
) -> None:
    before = metric(proxy, "aibridge_unreadable_total", what="request")
    seen = asker.ask(
        way,
        MESSAGES,
        lambda request: Response(200, [*JSON], MESSAGES.answer()),
        content=content,
        headers={"content-encoding": coding},
    )
    assert seen.body == MESSAGES.answer()
    assert asker.request.body == content
    records = asker.recorded_at_once
    assert outcome(records.interception) == ("completed", 200, None, True)
    assert tokens(records) == MESSAGES.tokens
    assert metric(proxy, "aibridge_unreadable_total", what="request") == before + 1


@each_pair
@pytest.mark.parametrize(
    "content", [b"", b"not JSON", b"[1, 2]", b'{"model": "m"', b"\xff\xfe"], ids=repr
)
def test_request_that_is_no_json_object_is_relayed_and_counted(
    asker: Asker, proxy: Proxy, way: Way, api: Api, content: bytes
) -> None:
    before = metric(proxy, "aibridge_unreadable_total", what="request")
    error = api.module.error_body(400, "That is no JSON object.")
    seen = asker.ask(way, api, lambda request: Response(400, [*JSON], error), content=content)
    assert (seen.status, seen.body) == (400, error)
    assert asker.request.body == content
    assert asker.recorded_at_once == Records()
    assert metric(proxy, "aibridge_unreadable_total", what="request") == before + 1


@each_pair
def test_request_that_is_not_utf_8_is_relayed_and_recorded(
    asker: Asker, api: Api, way: Way
) -> None:
    content = api.request("W-ll", stream=True).replace(b"W-ll", b"W\xe9ll")
    seen = asker.ask(way, api, lambda request: sse(*api.events()), content=content)
    assert seen.body == b"".join(api.events())
    assert asker.request.body == content
    assert tokens(asker.recorded_at_once) == api.tokens


@each_pair
def test_truncated_compressed_request_is_relayed_and_counted(
    asker: Asker, proxy: Proxy, api: Api, way: Way
) -> None:
    before = metric(proxy, "aibridge_unreadable_total", what="request")
    content = encode(api.request("hi", stream=True), "gzip")[:-30]
    error = api.module.error_body(400, "That is no gzip.")
    seen = asker.ask(
        way,
        api,
        lambda request: Response(400, [*JSON], error),
        content=content,
        headers={"content-encoding": "gzip"},
    )
    assert (seen.status, seen.body) == (400, error)
    assert asker.request.body == content
    assert metric(proxy, "aibridge_unreadable_total", what="request") == before + 1


# --- large bodies


def pad(body: bytes, size: int) -> bytes:
    """Return a JSON object with an additional long member."""
    return body[:-1] + b',"padding":"' + b"x" * size + b'"}'


@pytest.mark.parametrize(("way", "size"), [(FORWARD, 50_000_000), (REVERSE_H2, 10_000_000)])
def test_large_request_is_relayed_and_read(asker: Asker, way: Way, size: int) -> None:
    content = pad(MESSAGES.request("How are you?", stream=False), size)
    seen = asker.ask(
        way,
        MESSAGES,
        lambda request: Response(200, [*JSON], MESSAGES.answer()),
        content=content,
        stream=False,
    )
    assert seen.body == MESSAGES.answer()
    assert asker.request.body == content
    records = asker.recorded_at_once
    assert outcome(records.interception) == ("completed", 200, None, False)
    assert records.prompts == ["How are you?"]


@pytest.mark.parametrize(("way", "size"), [(REVERSE, 50_000_000), (FORWARD_H2, 10_000_000)])
def test_large_response_is_relayed_and_read(asker: Asker, way: Way, size: int) -> None:
    body = pad(CHAT.answer(), size)
    seen = asker.ask(way, CHAT, lambda request: Response(200, [*JSON], body), stream=False)
    assert seen.body == body
    records = asker.recorded_at_once
    assert outcome(records.interception) == ("completed", 200, None, False)
    assert tokens(records) == CHAT.tokens


@pytest.mark.parametrize(("api", "way"), [(MESSAGES, FORWARD), (RESPONSES, REVERSE_H2)], ids=str)
def test_event_of_10_megabytes_is_relayed_and_read(asker: Asker, api: Api, way: Way) -> None:
    event = b'data: {"type":"ping","padding":"' + b"x" * 10_000_000 + b'"}\n\n'
    parts = with_event(api, event)
    seen = asker.ask(way, api, lambda request: sse(*parts))
    assert seen.body == b"".join(parts)
    records = asker.recorded_at_once
    assert tokens(records) == api.tokens
    assert records.interception["status"] == "completed"


def test_event_that_is_too_large_to_read_is_relayed(asker: Asker) -> None:
    parts = [*half(MESSAGES), b": " + b"x" * (17 * MIB), b"\n\n", *MESSAGES.events()[-2:]]
    seen = asker.ask(FORWARD, MESSAGES, lambda request: sse(*parts))
    assert seen.body == b"".join(parts)
    records = asker.recorded_at_once
    assert outcome(records.interception) == ("completed", 200, None, True)
    assert tokens(records) == MESSAGES.first_tokens


# --- decompression bombs

BOMB_BYTES = 2048 * MIB
ROOM_BYTES = 400 * MIB
"""Memory for reading: a few times the limit of 64 MiB, and far less than the bomb."""


def bomb_of(coding: str) -> bytes:
    """Return a small body that decodes to a huge one."""
    block = bytes(64 * MIB)
    if coding == "gzip":
        return gzip.compress(block, 1) * (BOMB_BYTES // len(block))
    if coding == "zstd":
        return zstandard.compress(block) * (BOMB_BYTES // len(block))
    compressor = brotli.Compressor(quality=1)
    pieces = [compressor.process(block) for _ in range(BOMB_BYTES // len(block))]
    return b"".join([*pieces, compressor.finish()])


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
@each_delivery
def test_decompression_bomb_is_relayed_within_a_memory_limit(
    asker: Asker, proxy: Proxy, coding: str, stream: bool
) -> None:
    bomb = bomb_of(coding)
    assert len(bomb) < 12 * MIB
    status = Path(f"/proc/{proxy.pid}/status")
    Path(f"/proc/{proxy.pid}/clear_refs").write_text("5")  # forget the peak so far
    before = _peak_bytes(status)
    headers = [*(SSE if stream else JSON), ("content-encoding", coding)]
    seen = asker.ask(FORWARD, MESSAGES, lambda request: Response(200, headers, bomb), stream=stream)
    assert seen.body == bomb
    assert outcome(asker.recorded_at_once.interception) == ("completed", 200, None, True)
    assert _peak_bytes(status) - before < ROOM_BYTES


@pytest.mark.skipif(sys.platform != "linux", reason="peak memory is read from /proc")
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd", "gzip, gzip", "br, zstd"])
def test_request_with_a_decompression_bomb_is_relayed_within_a_memory_limit(
    asker: Asker, proxy: Proxy, coding: str
) -> None:
    inner, _, outer = coding.partition(", ")
    bomb = bomb_of(inner)
    if outer:
        bomb = gzip.compress(bomb) if outer == "gzip" else zstandard.compress(bomb)
    status = Path(f"/proc/{proxy.pid}/status")
    Path(f"/proc/{proxy.pid}/clear_refs").write_text("5")  # forget the peak so far
    before = _peak_bytes(status)
    seen = asker.ask(
        FORWARD,
        MESSAGES,
        lambda request: Response(200, JSON, MESSAGES.answer()),
        stream=False,
        content=bomb,
        headers={"content-encoding": coding},
    )
    assert seen.body == MESSAGES.answer()
    assert asker.request.body == bomb
    assert outcome(asker.recorded_at_once.interception) == ("completed", 200, None, True)
    assert _peak_bytes(status) - before < ROOM_BYTES


def _peak_bytes(status: Path) -> int:
    line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


# --- the database is away


def limit_file_size(proxy: Proxy, size: int) -> None:
    """Limit the size of files that the process writes, which simulates a full disk."""
    resource.prlimit(proxy.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def spools(proxy: Proxy) -> list[Path]:
    """Return the existing spool files."""
    return sorted(proxy.directory.glob(f"{proxy.database.name}.spool-*"))


def wait_for_all(proxy: Proxy, load: Load) -> Records:
    """Wait until all requests are in the database and no spool file exists."""
    return proxy.wait_for_records(
        lambda records: len(records.interceptions) >= len(load.asked) and not spools(proxy),
        timeout_s=20.0,
    )


def test_requests_during_a_database_lock_are_served_and_recorded_later(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy(metrics=True)
    with locked(proxy.database):
        load = ask_all(clients_of(proxy), 20)
        assert proxy.records.interceptions == []
        [spool] = spools(proxy)
        assert spool.stat().st_mode & 0o077 == 0  # it holds prompts
    assert load.check(wait_for_all(proxy, load)) == {"completed": 20}
    assert metric(proxy, "aibridge_records_total", event="spooled") > 0
    assert metric(proxy, "aibridge_records_total", event="recovered") == metric(
        proxy, "aibridge_records_total", event="spooled"
    )
    assert metric(proxy, "aibridge_commit_timeouts_total") == 0


def test_spool_of_a_killed_proxy_is_recorded_once_by_the_next_one(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy()
    with locked(proxy.database):
        load = ask_all(clients_of(proxy), 20)
        proxy.kill()
    assert len(spools(proxy)) == 1
    proxy.start()
    assert load.check(wait_for_all(proxy, load)) == {"completed": 20}
    proxy.restart()
    assert load.check(proxy.records) == {"completed": 20}


def test_proxy_starts_while_another_process_holds_its_database_and_recovers_a_broken_spool(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy()
    with locked(proxy.database):
        load = ask_all(clients_of(proxy), 5)
        proxy.kill()
        [spool] = spools(proxy)
        with spool.open("a") as file:
            file.write('{"statement": "user_prompt", "values": {"id": "x"}}\n')
        proxy.start()
        proxy.wait_for_log("the database is unavailable, facts are spooled: database is locked")
        load.asked |= (later := ask_all(clients_of(proxy), 5)).asked
        load.seen |= later.seen
    assert load.check(wait_for_all(proxy, load)) == {"completed": 10}


def test_database_overwritten_while_running_is_reported_by_health_and_loses_nothing(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy(metrics=True)
    with proxy.database.open("r+b") as file:
        file.write(b"no database " * 100)
    assert wait_for_health(proxy, lambda found: found[0] == 503)[1]["database"] == "away"
    load = ask_all(clients_of(proxy), 5)
    assert len(spools(proxy)) == 1
    proxy.database.unlink()
    assert wait_for_health(proxy, lambda found: found[0] == 200)[1]["database"] == "ok"
    assert load.check(wait_for_all(proxy, load)) == {"completed": 5}


@pytest.mark.parametrize("suffixes", [("", "-wal", "-shm"), ("",)], ids=["all", "main file"])
def test_deleted_database_is_recreated_and_records_later_requests(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    suffixes: tuple[str, ...],
) -> None:
    proxy = start_proxy()
    clients = clients_of(proxy)
    before = ask_all(clients, 5)
    assert before.check(proxy.records) == {"completed": 5}
    gate = Gate()
    provider.canned["fault"] = lambda request: sse(
        *half(MESSAGES), Wait(gate), *MESSAGES.events()[len(half(MESSAGES)) :]
    )
    with (
        clients.http(FORWARD) as client,
        client.stream(
            "POST",
            clients.url(FORWARD, "anthropic", "/v1/messages"),
            content=MESSAGES.request("Begun before.", stream=True),
            headers={**MESSAGES.headers, "x-standin-canned": "fault"},
        ) as response,
    ):
        proxy.wait_for_records(lambda records: "Begun before." in records.prompts)
        for suffix in suffixes:
            proxy.database.with_name(proxy.database.name + suffix).unlink()
        after = ask_all(clients, 5)
        gate.open()
        read(response)
    records = proxy.records
    begun = [row for row in records.interceptions if row["id"] not in _asked_ids(records)]
    assert [outcome(row) for row in begun] == [("completed", 200, None, False)]
    usage = [row for row in records.token_usages if row["interception_id"] == begun[0]["id"]]
    assert [row["output_tokens"] for row in usage] == [20]
    records.interceptions.remove(begun[0])
    records.token_usages.remove(usage[0])
    assert after.check(records) == {"completed": 5}


def _asked_ids(records: Records) -> set[str]:
    return {row["interception_id"] for row in records.user_prompts}


@pytest.mark.skipif(sys.platform != "linux", reason="needs prlimit")
@pytest.mark.parametrize("room", ["for a spool", "for a torn spool", "for nothing"])
def test_requests_while_the_disk_is_full_are_served_and_recorded_later(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], room: str
) -> None:
    proxy = start_proxy(metrics=True)
    clients = clients_of(proxy)
    before = ask_all(clients, 5)
    assert before.check(proxy.records) == {"completed": 5}
    wal = proxy.database.with_name(proxy.database.name + "-wal")
    size = {"for a spool": wal.stat().st_size, "for a torn spool": 3000, "for nothing": 0}[room]
    limit_file_size(proxy, size)
    load = ask_all(clients, 20)
    assert len(proxy.records.interceptions) == 5
    unsafe = metric(proxy, "aibridge_commit_timeouts_total")
    assert (unsafe == 0) == (room == "for a spool")
    limit_file_size(proxy, resource.RLIM_INFINITY)
    for text, question in before.asked.items():
        load.asked[text] = load.seen[text] = question
    assert load.check(wait_for_all(proxy, load)) == {"completed": 25}
    assert metric(proxy, "aibridge_records_total", event="lost") == 0


def test_proxy_that_must_record_refuses_requests_while_it_cannot(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    proxy = start_proxy(options={"aibridge_on_record_failure": "refuse"})
    clients = clients_of(proxy)

    def post(api: Api, way: Way) -> httpx2.Response:
        with clients.http(way) as client:
            url = clients.url(way, api.provider, api.path)
            content = api.request("hi", stream=api is CHAT)
            return client.post(url, content=content, headers=api.headers)

    with locked(proxy.database):
        assert post(MESSAGES, FORWARD).status_code == 200  # it tells the proxy that it cannot
        asked = len(standin.requests)
        for api, way in PAIRS:
            refusal = post(api, way)
            assert refusal.status_code == 503
            assert api.is_error(refusal.json())
        assert len(standin.requests) == asked
    proxy.wait_for_log("the database is available again")
    assert post(MESSAGES, FORWARD).status_code == 200
    rows = proxy.records.interceptions
    assert [row["status"] for row in rows] == ["completed", *["refused"] * 4, "completed"]
    assert {outcome(row)[1:] for row in rows[1:-1]} == {(503, "not_recorded", False)}


def test_requests_of_clients_that_disconnect_at_once_are_recorded(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy()
    clients = clients_of(proxy)
    body = MESSAGES.request("hi", stream=True)
    head = b"POST /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\ncontent-length: %d\r\n\r\n" % len(
        body
    )
    for _ in range(100):
        with connect(clients, WAYS[2]) as sock:
            sock.sendall(head + body)
    records = proxy.wait_for_records(
        lambda found: (
            len(found.interceptions) == 100 and all(r["ended_at"] for r in found.interceptions)
        )
    )
    assert {outcome(row)[0] for row in records.interceptions} <= {"cancelled", "completed"}
    assert records.prompts == ["hi"] * 100
