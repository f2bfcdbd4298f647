"""While a central tool runs, the client has all earlier text; its disconnect cancels everything.

The tool returns only once the client has received the text, so that a proxy that waited for it
would wait for ever.
"""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path

import httpx2
import pytest
from standin import Server

from e2e.asking import API, APIS
from e2e.central import (
    FORWARD,
    FORWARD_H2,
    REVERSE,
    REVERSE_H2,
    SUM,
    Central,
    Report,
    ToolServer,
    key_headers,
)
from e2e.clients import WAYS, Clients, Way
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.records import Records
from e2e.wire import HTTP2Client, connect
from e2e.wire_formats import reader_of

MESSAGES, CHAT, RESPONSES = APIS

each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)

QUICK_PINGS = Path(__file__).with_name("quick_pings.py")

_numbers = count()


@pytest.fixture
def proxy(central_proxy: Proxy) -> Proxy:
    """The proxy that offers tools."""
    return central_proxy


@pytest.fixture
def report(tmp_path: Path) -> Iterator[Report]:
    """A call of the tool `slow`."""
    made = Report(tmp_path / "slow")
    yield made
    made.close()


def slow(report: Report) -> str:
    """Make the model call `slow`."""
    return f"USE_TOOL:bmcp_calc_slow ARGS:{report.arguments}"


def read_until(chunks: Iterator[bytes], text: bytes, times: int = 1) -> bytes:
    """Read until a text has arrived a number of times."""
    got = b""
    while got.count(text) < times:
        got += next(chunks)
    return got


# --- the client has what there is


@each_way
@each_api
def test_text_reaches_the_client_before_the_tool_returns(
    central: Central, way: Way, api: API, report: Report
) -> None:
    prompt = f"{slow(report)} SAY:Moment"
    with central.asking(api, way, prompt, stream=True) as response:
        chunks = response.iter_raw()
        got = read_until(chunks, b"Moment")
        report.wait_for("started")
        assert len(central.requests) == 1
        report.release()
        got += b"".join(chunks)
    story = reader_of(api).streamed_story(got)
    assert story.lines[-1].endswith("The tool returned: done")


@each_api
@pytest.mark.parametrize("delivery", ["PIECES:one", "PIECES:sized", "PIECES:one MEDIA:none"])
def test_text_of_a_response_in_one_chunk_reaches_the_client_before_the_tool_returns(
    central: Central, api: API, delivery: str, report: Report
) -> None:
    prompt = f"{slow(report)} SAY:Moment {delivery}"
    with central.asking(api, REVERSE, prompt, stream=True) as response:
        chunks = response.iter_raw()
        got = read_until(chunks, b"Moment")
        report.wait_for("started")
        report.release()
        got += b"".join(chunks)
    assert reader_of(api).streamed_story(got).lines[-1].endswith("The tool returned: done")


@each_api
def test_start_of_the_message_reaches_the_client_even_if_it_only_has_a_call(
    central: Central, api: API, report: Report
) -> None:
    with central.asking(api, FORWARD, f"{slow(report)} SAY", stream=True) as response:
        assert response.status_code == 200
        chunks = response.iter_raw()
        got = next(chunks)
        report.wait_for("started")
        report.release()
        got += b"".join(chunks)
    assert reader_of(api).streamed_story(got).lines == ("says The tool returned: done",)


BEFORE_THE_TEXT = {"anthropic_messages": 3, "openai_chat": 1, "openai_responses": 4}
"""Number of events between the first one and the first words."""


@each_way
@each_api
def test_each_event_of_a_later_response_reaches_the_client_before_the_next_is_sent(
    central: Central, way: Way, api: API
) -> None:
    gate = central.provider.gate(name := f"inner_{next(_numbers)}")
    prompt = f"{SUM} NEXT GATE:{name} LONG:5"
    with central.asking(api, way, prompt, stream=True) as response:
        chunks = response.iter_raw()
        got = read_until(chunks, b"Moment")
        for _ in range(BEFORE_THE_TEXT[api.name]):
            gate.release()
        for number in range(5):
            got += read_until(chunks, b"word%04d" % number)
            gate.release()
        gate.open()
        got += b"".join(chunks)
    assert reader_of(api).streamed_story(got).lines[-1].endswith("word0003 word0004 ")


@each_api
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_calls_of_a_turn_run_in_parallel(
    central: Central, api: API, stream: bool, report: Report, tmp_path: Path
) -> None:
    other = Report(tmp_path / "other")
    prompt = f"{slow(report)} {slow(other)} SAY"

    def release_once_both_run() -> None:
        report.wait_for("started")
        other.wait_for("started")
        report.release()
        other.release()

    with ThreadPoolExecutor(1) as pool:
        releasing = pool.submit(release_once_both_run)
        story = central.see(api, FORWARD, prompt, stream=stream)
        releasing.result()
    other.close()
    assert story.lines == ("says The tool returned: done | done",)


def test_running_tool_delays_no_other_request(central: Central, report: Report) -> None:
    with central.asking(MESSAGES, FORWARD, slow(report), stream=True) as response:
        chunks = response.iter_raw()
        report.wait_for("started")
        for api in APIS:
            central.see(api, FORWARD, SUM, stream=True)
        report.release()
        assert b"done" in b"".join(chunks)


@pytest.fixture(scope="module")
def pinging(run_proxy: RunProxy, standin: Server, tool_server: ToolServer) -> Iterator[Proxy]:
    """Run a proxy with pings after a short time."""
    servers = {"calc": {"url": tool_server.url}}
    with run_proxy(standin.origin, servers=servers, script=QUICK_PINGS) as made:
        yield made


@pytest.mark.parametrize("way", [FORWARD_H2, REVERSE], ids=str)
@each_api
def test_client_receives_pings_while_a_tool_runs(
    pinging: Proxy,
    clients_of: Callable[[Proxy], Clients],
    central: Central,
    way: Way,
    api: API,
    report: Report,
) -> None:
    asking = Central(pinging, clients_of(pinging), central.provider, central.standin)
    ping = b"event: ping\n" if api is MESSAGES else b": waiting"
    with asking.asking(api, way, f"{slow(report)} SAY:Moment", stream=True) as response:
        chunks = response.iter_raw()
        got = read_until(chunks, ping, 3)
        report.wait_for("started")
        assert "finished" not in report.lines
        report.release()
        got += b"".join(chunks)
    assert reader_of(api).streamed_story(got).lines[-1].endswith("The tool returned: done")


class _WatchedStream(httpx2.SyncByteStream):
    def __init__(self, stream: httpx2.SyncByteStream, watch: Callable[[bytes], None]) -> None:
        self._stream = stream
        self._watch = watch

    def __iter__(self) -> Iterator[bytes]:
        for chunk in self._stream:
            self._watch(chunk)
            yield chunk

    def close(self) -> None:
        self._stream.close()


def watching(client: httpx2.Client, watch: Callable[[bytes], None]) -> httpx2.Client:
    """Make a client report each chunk before its user receives it."""

    def wrap(response: httpx2.Response) -> None:
        assert isinstance(response.stream, httpx2.SyncByteStream)
        response.stream = _WatchedStream(response.stream, watch)

    client.event_hooks["response"].append(wrap)
    return client


@each_api
def test_sdk_ignores_pings(
    pinging: Proxy,
    clients_of: Callable[[Proxy], Clients],
    central: Central,
    api: API,
    report: Report,
) -> None:
    asking = Central(pinging, clients_of(pinging), central.provider, central.standin)
    ping = b"event: ping\n" if api is MESSAGES else b": waiting"
    pings = 0

    def watch(chunk: bytes) -> None:
        nonlocal pings
        pings += chunk.count(ping)
        if pings >= 3:
            report.release()

    answer = asking.ask(
        api,
        FORWARD,
        f"{slow(report)} SAY:Moment",
        stream=True,
        client_options={"http_client": watching(asking.clients.http(FORWARD), watch)},
    )
    assert pings >= 3
    assert answer.text.endswith("The tool returned: done")


# --- the client leaves


def cancelled_once(central: Central, before: str) -> Records:
    """Wait for the end of the only record."""
    records = central.recorded(
        lambda found: [r for r in found.interceptions if r["ended_at"]], before
    )
    interception = records.interception
    assert (interception["status"], interception["error_type"]) == ("cancelled", "client_left")
    return records


def assert_nothing_goes_on(central: Central, before: int) -> None:
    """Assert that the provider receives no further request of the loop."""
    central.see(MESSAGES, FORWARD, "Still there?")
    assert len(central.requests) == before + 1
    assert central.proxy.faults() == ""


@each_way
@each_api
def test_disconnect_during_a_stream_cancels_the_running_tool(
    central: Central, way: Way, api: API, report: Report
) -> None:
    before = central.proxy.mark()
    with central.asking(api, way, f"{slow(report)} SAY:Moment", stream=True) as response:
        chunks = response.iter_raw()
        read_until(chunks, b"Moment")
        report.wait_for("started")
    report.wait_for("cancelled")
    records = cancelled_once(central, before)
    assert len(records.token_usages) == 1
    assert_nothing_goes_on(central, 1)
    assert "finished" not in report.lines


@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
@each_api
def test_disconnect_before_a_buffered_response_cancels_the_running_tool(
    central: Central, way: Way, api: API, report: Report
) -> None:
    before = central.proxy.mark()
    url = httpx2.URL(central.clients.url(way, api.provider, api.path))
    body = json.dumps(api.body(f"{slow(report)} SAY")).encode()
    headers = {
        **key_headers(api),
        "host": url.netloc.decode(),
        "content-type": "application/json",
        "content-length": str(len(body)),
    }
    head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    with connect(central.clients, way, url.host) as sock:
        sock.sendall(f"POST {url.path} HTTP/1.1\r\n{head}\r\n".encode() + body)
        report.wait_for("started")
    report.wait_for("cancelled")
    records = cancelled_once(central, before)
    assert len(records.token_usages) == 1
    assert_nothing_goes_on(central, 1)


@pytest.mark.parametrize("way", [FORWARD_H2, REVERSE_H2], ids=str)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_reset_of_one_http2_stream_cancels_only_its_tool(
    central: Central, way: Way, stream: bool, report: Report, tmp_path: Path
) -> None:
    other = Report(tmp_path / "other")
    before = central.proxy.mark()
    with HTTP2Client(central.clients, way) as client:
        headers = {**key_headers(MESSAGES), "content-type": "application/json"}
        given_up, kept = (
            client.post(
                "/v1/messages",
                headers,
                json.dumps(MESSAGES.body(f"{slow(call)} SAY", stream=stream)).encode(),
            )
            for call in (report, other)
        )
        report.wait_for("started")
        other.wait_for("started")
        client.reset(given_up)
        report.wait_for("cancelled")
        other.release()
        client.read_until(lambda: kept in client.ended)
        assert b"done" in client.bodies[kept]
    other.wait_for("finished")
    records = central.recorded(
        lambda found: len([r for r in found.interceptions if r["ended_at"]]) == 2, before
    )
    assert sorted(row["status"] for row in records.interceptions) == ["cancelled", "completed"]
    other.close()


@each_way
@each_api
def test_disconnect_during_a_later_response_cancels_it_upstream(
    central: Central, way: Way, api: API
) -> None:
    before = central.proxy.mark()
    gate = central.provider.gate(name := f"left_{next(_numbers)}")
    prompt = f"{SUM} TOKENS:1,2,0,0 NEXT GATE:{name} LONG:5 TOKENS:10,20,0,0"
    with central.asking(api, way, prompt, stream=True) as response:
        chunks = response.iter_raw()
        read_until(chunks, b"Moment")
        for _ in range(BEFORE_THE_TEXT[api.name]):
            gate.release()
        read_until(chunks, b"word0000")
    inner = central.requests[1]
    central.standin.wait_until(lambda: inner.outcome == "abandoned")
    records = cancelled_once(central, before)
    counted = [(row["input_tokens"], row["output_tokens"]) for row in records.token_usages]
    assert counted[0] == (1, 2)
    assert counted[1:] in ([], [(10, 1)]), "of the second, what it told at its start"
    assert len({row["provider_response_id"] for row in records.token_usages}) == len(counted)
    assert_nothing_goes_on(central, 2)
