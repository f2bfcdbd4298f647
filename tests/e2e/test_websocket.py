"""Tests of OpenAI Responses over WebSocket, as Codex uses it, with every kind of end."""

import json
import signal
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import partial
from itertools import count
from typing import Any

import pytest
from locks import locked
from mitmproxy import io
from mitmproxy.http import HTTPFlow
from standin import Provider, Request, Reset, Response, Server, Upgrade, openai_responses

from e2e.asking import TOOL_SCHEMAS
from e2e.clients import Clients, Way
from e2e.conftest import StartProxy
from e2e.metrics import metric, metrics_text
from e2e.proxy import Proxy
from e2e.records import Records
from e2e.sockets import CODEX, LeftError, Socket, message, result
from e2e.test_secrets import HEADERS, PROMPT, everything, verbose

FORWARD, REVERSE = Way("forward"), Way("reverse")
each_way = pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)

TOOLS = [
    {"type": "function", "name": name, "parameters": schema, "strict": False}
    for name, schema in TOOL_SCHEMAS.items()
]

_numbers = count()


def have_ended(number: int) -> Callable[[Records], bool]:
    """Return True if there are so many interceptions, all of them ended."""
    return lambda found: (
        len(found.interceptions) == number and all(row["ended_at"] for row in found.interceptions)
    )


def connections(standin: Server) -> list[Request]:
    """Return the handshakes that reached the provider."""
    return [request for request in standin.requests if request.header("upgrade")]


def was_answered(request: Request) -> bool:
    """Return True once the stand-in has answered a request to its end."""
    return request.outcome == "answered"


def said_by(request: Request) -> Iterator[bytes]:
    """Yield the messages that the stand-in sent over a connection, without a warm-up."""
    for exchange in request.notes:
        rendered = openai_responses.render_stream(exchange.plan).numbered(int(exchange.response_id))
        yield from (event.partition(b"\ndata: ")[2].strip() for event in rendered)


# --- what is recorded


@each_way
def test_websocket_session_of_codex_is_recorded(clients: Clients, proxy: Proxy, way: Way) -> None:
    with proxy.recording() as records, Socket(clients, way) as codex:
        warmed = codex.warm_up()["response"]["id"]
        turn = [
            message("<environment_context>\n  <cwd>/home</cwd>\n</environment_context>"),
            message("What is the weather? THINK USE_TOOL:get_weather TOKENS:7,5,3,2"),
        ]
        called = codex.ask(turn, previous_response_id=warmed, tools=TOOLS)["response"]
        [call] = [item for item in called["output"] if item["type"] == "function_call"]
        told = codex.ask(
            [result(call["call_id"], "sunny")], previous_response_id=called["id"], tools=TOOLS
        )["response"]
    assert told["output"][0]["content"][0]["text"] == "The tool returned: sunny"
    warm_up, first, second = records.interceptions
    for row in records.interceptions:
        assert row["initiator_id"] == "anonymous"
        assert (row["provider"], row["provider_name"]) == ("openai", "openai")
        assert (row["api"], row["model"]) == ("openai_responses", "gpt-5")
        assert (row["client"], row["client_session_id"]) == ("Codex", CODEX["session-id"])
        assert row["user_agent"] == CODEX["user-agent"]
        assert (row["credential_kind"], row["credential_hint"]) == ("byok", "sk-p...ghij")
        assert (row["status"], row["http_status"]) == ("completed", 101)
        assert (row["streaming"], row["partial"]) == (1, 0)
        assert row["error_type"] is row["error_message"] is None
    for row in records.token_usages:
        assert row["upstream"] == 0
        assert 0 <= row["ttft_ms"] <= row["duration_ms"]
    [prompt] = records.user_prompts
    assert prompt["interception_id"] == first["id"]
    assert prompt["prompt"].startswith("What is the weather?")
    assert "environment_context" not in prompt["prompt"]
    [tool] = records.tool_usages
    assert tool["interception_id"] == first["id"]
    assert (tool["tool"], tool["tool_call_id"]) == ("get_weather", call["call_id"])
    assert tool["input"] == {"city": "text"}
    assert [row["interception_id"] for row in records.model_thoughts] == [first["id"]]
    correlating = [row["correlating_tool_call_id"] for row in records.interceptions]
    assert correlating == [None, None, call["call_id"]]
    usages = {row["interception_id"]: row for row in records.token_usages}
    assert len(records.token_usages) == 3
    assert usages[warm_up["id"]]["input_tokens"] == 0
    row = usages[first["id"]]
    assert row["provider_response_id"] == called["id"]
    assert (row["input_tokens"], row["output_tokens"]) == (7, 5)
    assert (row["cache_read_input_tokens"], row["cache_write_input_tokens"]) == (3, 2)
    assert usages[second["id"]]["provider_response_id"] == told["id"]


@each_way
def test_websocket_requests_are_recorded_before_the_client_sees_their_ends(
    clients: Clients, proxy: Proxy, way: Way
) -> None:
    with Socket(clients, way) as client:
        previous = None
        for number in range(20):
            with proxy.recording() as records:
                asked = f"question {number} TOKENS:{number},1"
                previous = client.ask(asked, previous_response_id=previous)["response"]["id"]
            assert records.prompts == [asked]
            assert records.counts == (number, 1, 0, 0)
            assert records.interception["status"] == "completed"


@each_way
def test_websocket_close_after_the_responses_does_not_change_their_records(
    clients: Clients, proxy: Proxy, standin: Server, way: Way
) -> None:
    before = proxy.mark()
    for leave in (Socket.close, Socket.reset, lambda client: client.__exit__(None, None, None)):
        with Socket(clients, way) as client:
            client.ask("hi")
            leave(client)
        request = connections(standin)[-1]
        standin.wait_until(partial(was_answered, request))
    records = proxy.wait_for_records(have_ended(3), after=before)
    assert {row["status"] for row in records.interceptions} == {"completed"}


def test_rate_limits_of_a_handshake_are_recorded(
    clients: Clients, proxy: Proxy, provider: Provider
) -> None:
    async def limited(request: Request) -> Upgrade:
        headers = [pair for pair in request.headers if pair[0] != "x-standin-canned"]
        plain = replace(request, headers=headers)
        upgrade = await provider(plain)
        assert isinstance(upgrade, Upgrade)
        request.notes = plain.notes
        upgrade.headers.append(("x-codex-primary-used-percent", "12"))
        return upgrade

    provider.canned["limited"] = limited
    with Socket(clients, FORWARD, headers=CODEX | {"x-standin-canned": "limited"}) as client:
        client.ask("hi")

    with closing(sqlite3.connect(f"{proxy.database.as_uri()}?mode=ro", uri=True)) as connection:
        [(value,)] = connection.execute(
            "SELECT value FROM aibridge_rate_limits WHERE header = 'x-codex-primary-used-percent'"
        )
    assert value == "12"


@each_way
def test_websocket_lanes_are_recorded_separately(
    clients: Clients, proxy: Proxy, provider: Provider, way: Way
) -> None:
    gate = provider.gate(name := f"lane_{next(_numbers)}")
    with proxy.recording() as records, Socket(clients, way) as client:
        client.request(f"slow GATE:{name} TOKENS:1,1", stream_id="a")
        assert client.event()["stream_id"] == "a"
        assert client.ask("quick TOKENS:2,2", stream_id="b")["stream_id"] == "b"
        gate.open()
        assert list(client.events())[-1]["stream_id"] == "a"
    counts = {row["interception_id"]: row["input_tokens"] for row in records.token_usages}
    prompts = {row["interception_id"]: row["prompt"].split()[0] for row in records.user_prompts}
    told = {prompts[interception]: tokens for interception, tokens in counts.items()}
    assert told == {"slow": 1, "quick": 2}


def test_queued_websocket_requests_are_recorded_one_by_one(clients: Clients, proxy: Proxy) -> None:
    with proxy.recording() as records, Socket(clients, FORWARD) as client:
        for number in range(5):
            client.request(f"TOKENS:{number},1")
        ids = [list(client.events())[-1]["response"]["id"] for _ in range(5)]
    assert {row["status"] for row in records.interceptions} == {"completed"}
    usages = {row["interception_id"]: row for row in records.token_usages}
    rows = [usages[row["id"]] for row in records.interceptions]
    assert [row["input_tokens"] for row in rows] == [0, 1, 2, 3, 4]
    assert [row["provider_response_id"] for row in rows] == ids


def test_websocket_handshake_without_a_key_gets_the_central_key(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    proxy = start_proxy(env={"OPENAI_API_KEY": "sk-central-0123456789abcdef"})
    with proxy.recording() as records, Socket(clients_of(proxy), REVERSE, headers={}) as client:
        client.ask("hi")
    arrived = connections(standin)[-1].header("authorization")
    assert arrived == "Bearer sk-central-0123456789abcdef"
    assert records.interception["credential_kind"] == "centralized"


# --- what passes


@each_way
@pytest.mark.parametrize("compress", [True, False], ids=["deflate", "plain"])
@pytest.mark.parametrize("frames", [1, 3])
def test_websocket_messages_are_relayed_byte_for_byte(
    clients: Clients, standin: Server, way: Way, compress: bool, frames: int
) -> None:
    sent_text = 'LONG:40 THINK "\\u00e9" ' + "äöü€😀 " * 2000
    body = {"model": "gpt-5", "type": "response.create", "input": sent_text, "unknown": [1.0, {}]}
    with Socket(clients, way, compress=compress) as client:
        sent = client.send(json.dumps(body, indent=1, ensure_ascii=False).encode(), frames=frames)
        heard: list[Any] = []
        while not heard or b'"response.completed"' not in heard[-1][0]:
            heard.append(client.hear())
    request = connections(standin)[-1]
    [came] = request.messages
    assert b"".join(came) == sent
    assert len(came) == frames
    assert heard == [[event] for event in said_by(request)]


@each_way
def test_websocket_messages_that_are_no_request_pass_unrecorded(
    clients: Clients, proxy: Proxy, standin: Server, way: Way
) -> None:
    sent_text = [b'{"type": "response.processed"}', b'{"type":"response.unheard_of"}']
    with proxy.recording() as records, Socket(clients, way) as client:
        for text in sent_text:
            client.send(text)
            assert client.event()["type"] == "error"
        client.ping(b"there?")
        client.ask("hi")
        assert client.pongs == [b"there?"]
    assert [b"".join(frames) for frames in connections(standin)[-1].messages[:2]] == sent_text[:2]
    assert records.interception["status"] == "completed"


@each_way
def test_websocket_handshake_headers_are_relayed(
    clients: Clients, standin: Server, way: Way
) -> None:
    ours = {"x-aibridge-actor": "alice", **CODEX, "x-codex-turn-metadata": '{"a":"é"}'}
    with Socket(clients, way, headers=ours) as client:
        assert client.status == 101
    headers = dict(connections(standin)[-1].headers)
    assert "x-aibridge-actor" not in headers
    assert headers["authorization"] == CODEX["authorization"]
    assert headers["openai-beta"] == CODEX["openai-beta"]
    assert headers["session-id"] == CODEX["session-id"]
    names = {name.lower() for name in headers}
    assert {"upgrade", "connection", "sec-websocket-key", "sec-websocket-extensions"} <= names


@each_way
def test_client_has_each_event_before_the_next_is_sent(
    clients: Clients, provider: Provider, proxy: Proxy, way: Way
) -> None:
    gate = provider.gate(name := f"socket_{next(_numbers)}")
    with proxy.recording() as records, Socket(clients, way) as client:
        client.request(f"GATE:{name} THINK USE_TOOL", tools=TOOLS)
        events = 0
        for _ in client.events():
            events += 1
            gate.release()
    assert events > 10
    assert records.interception["status"] == "completed"


# --- other ends


@each_way
@pytest.mark.parametrize("leave", [Socket.reset, Socket.close], ids=["reset", "goodbye"])
def test_client_disconnect_during_a_websocket_response_is_recorded_as_cancelled(
    clients: Clients,
    proxy: Proxy,
    standin: Server,
    way: Way,
    leave: Callable[[Socket], None],
) -> None:
    before = proxy.mark()
    with Socket(clients, way) as client:
        client.ask("whole")
        client.request(f"GATE:left_{next(_numbers)}")
        client.event()
        leave(client)
    request = connections(standin)[-1]
    standin.wait_until(lambda: request.outcome == "abandoned")
    records = proxy.wait_for_records(have_ended(2), after=before)
    whole, left = records.interceptions
    assert (whole["status"], whole["partial"]) == ("completed", 0)
    assert (left["status"], left["partial"]) == ("cancelled", 1)
    assert left["error_type"] == "client_left"
    assert len(records.token_usages) == 1


@each_way
@pytest.mark.parametrize(("how", "code"), [("RESET", 1000), ("END_EARLY", 1001)])
def test_provider_disconnect_during_a_websocket_response_is_recorded_as_failed(
    clients: Clients, proxy: Proxy, way: Way, how: str, code: int
) -> None:
    before = proxy.mark()
    with Socket(clients, way) as client:
        client.request(f"{how} USE_TOOL:get_time", tools=TOOLS)
        with pytest.raises(LeftError):
            list(client.events())
    assert client.close_code == code  # mitmproxy says goodbye where the provider did not
    records = proxy.wait_for_records(have_ended(1), after=before)
    row = records.interception
    assert (row["status"], row["error_type"], row["partial"]) == ("failed", "upstream_error", 1)


@each_way
def test_websocket_error_ends_the_request_and_not_the_connection(
    clients: Clients, proxy: Proxy, way: Way
) -> None:
    headers = CODEX | {"session-id": f"errors-{way}"}  # the same text there would be a retry
    with proxy.recording() as records, Socket(clients, way, headers=headers) as client:
        assert client.ask("STATUS:429")["status"] == 429
        assert client.ask("ERROR_EVENT LONG:9")["type"] == "error"
        assert client.ask("more", previous_response_id="resp_gone")["status"] == 400
        assert client.ask("STOP_SHORT TOKENS:3,4")["type"] == "response.incomplete"
    limited, broken, lost, short = records.interceptions
    assert (limited["status"], limited["http_status"]) == ("failed", 429)
    assert limited["error_type"] == "rate_limit_exceeded"
    assert "The script asked for 429" in limited["error_message"]
    assert (broken["status"], broken["http_status"], broken["partial"]) == ("failed", 500, 1)
    assert (lost["status"], lost["error_type"]) == ("failed", "previous_response_not_found")
    assert (short["status"], short["http_status"]) == ("completed", 101)
    assert records.counts == (3, 4, 0, 0)
    assert len(records.user_prompts) == 4


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM], ids=lambda how: how.name)
@each_way
def test_shutdown_during_a_websocket_response_is_recorded_as_interrupted(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    way: Way,
    how: signal.Signals,
) -> None:
    proxy = start_proxy()
    with Socket(clients_of(proxy), way) as client:
        seen = client.ask("whole")["response"]["id"]
        client.request(f"GATE:ended_{next(_numbers)}")
        client.event()
        proxy.wait_for_records(lambda found: len(found.interceptions) == 2)
        _ = proxy.kill() if how is signal.SIGKILL else proxy.stop()
        with pytest.raises(LeftError):
            list(client.events())
    proxy.start()
    records = proxy.records
    assert [row["status"] for row in records.interceptions] == ["completed", "interrupted"]
    assert [row["provider_response_id"] for row in records.token_usages] == [seen]


# --- refusals


@each_way
@pytest.mark.parametrize("status", [401, 403, 426, 500])
def test_websocket_handshake_refused_by_the_provider_is_recorded_as_failed(
    clients: Clients, provider: Provider, proxy: Proxy, way: Way, status: int
) -> None:
    body = {"error": {"message": f"No: {status}.", "type": "invalid_request_error", "code": "no"}}
    provider.canned["refused"] = lambda request: Response(
        status, [("content-type", "application/json"), ("x-why", "so")], json.dumps(body).encode()
    )
    headers = {**CODEX, "x-standin-canned": "refused"}
    with proxy.recording() as records, Socket(clients, way, headers=headers) as client:
        assert client.status == status
        assert json.loads(client.refusal) == body
    row = records.interception
    assert (row["status"], row["http_status"]) == ("failed", status)
    assert (row["error_type"], row["error_message"]) == ("no", f"No: {status}.")
    assert (row["client"], row["client_session_id"]) == ("Codex", CODEX["session-id"])
    assert records.user_prompts == records.token_usages == []


@each_way
def test_websocket_handshake_to_an_unreachable_provider_is_recorded_as_failed(
    clients: Clients, provider: Provider, proxy: Proxy, way: Way
) -> None:
    provider.canned["away"] = lambda request: Reset()
    headers = {**CODEX, "x-standin-canned": "away"}
    with proxy.recording() as records, Socket(clients, way, headers=headers) as client:
        assert client.status == 502
        assert "did not respond" in json.loads(client.refusal)["error"]["message"]
    assert records.interception["status"] == "failed"


def test_anonymous_websocket_is_refused_if_an_actor_is_required(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    proxy = start_proxy(options={"aibridge_require_actor": True}, metrics=True)
    clients = clients_of(proxy)
    before = len(connections(standin))
    with proxy.recording() as records:
        with Socket(clients, FORWARD) as client:
            assert client.status == 400
            assert "x-aibridge-actor" in json.loads(client.refusal)["error"]["message"]
        assert len(connections(standin)) == before
        with Socket(clients, REVERSE, headers={**CODEX, "X-AIBridge-Actor": "alice"}) as client:
            client.ask("hi")
    refused, asked = records.interceptions
    assert (refused["status"], refused["http_status"]) == ("refused", 400)
    assert (refused["error_type"], refused["client"]) == ("no_actor", "Codex")
    assert (asked["status"], asked["initiator_id"]) == ("completed", "alice")
    assert metric(proxy, "aibridge_refused_total", reason="no_actor") == 1


def test_websocket_handshake_is_refused_if_central_tools_are_offered(
    central_proxy: Proxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    before = len(connections(standin))
    labels = {"provider": "openai", "reason": "tools_need_http"}
    counted = metric(central_proxy, "aibridge_refused_total", **labels)
    with central_proxy.recording() as records:
        for way in (FORWARD, REVERSE):
            with Socket(clients_of(central_proxy), way) as client:
                assert client.status == 426
                assert "HTTP only" in json.loads(client.refusal)["error"]["message"]
    assert len(connections(standin)) == before
    assert metric(central_proxy, "aibridge_refused_total", **labels) == counted + 2
    assert records.interceptions == []


def test_websocket_requests_that_cannot_be_recorded_are_refused_one_by_one(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    proxy = start_proxy(options={"aibridge_on_record_failure": "refuse"}, metrics=True)
    with Socket(clients_of(proxy), FORWARD) as client:
        client.ask("before")
        with locked(proxy.database):
            while (answer := client.ask("meanwhile"))["type"] != "error":
                pass  # that it is locked is found out by writing
            assert answer["status"] == 503
            assert "recorded" in answer["error"]["message"]
        while client.ask("after")["type"] == "error":
            pass
    came = [json.loads(b"".join(frames)) for frames in connections(standin)[-1].messages]
    records = proxy.records
    assert {row["prompt"] for row in records.user_prompts} == {"before", "meanwhile", "after"}
    refused = [row for row in records.interceptions if row["status"] == "refused"]
    assert {(row["http_status"], row["error_type"]) for row in refused} == {(503, "not_recorded")}
    assert len(came) == len(records.interceptions) - len(refused)
    assert metric(proxy, "aibridge_refused_total", reason="not_recorded") == len(refused)


# --- what is written


@each_way
def test_saved_websocket_flow_has_no_secret_and_only_its_last_message(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server, way: Way
) -> None:
    proxy = start_proxy(options=verbose() | {"flow_detail": 1}, metrics=True)
    with Socket(clients_of(proxy), way, headers=HEADERS | {"user-agent": "codex"}) as client:
        for _ in range(3):
            client.ask(PROMPT)
    arrived = connections(standin)[-1]
    assert {name: arrived.header(name) for name in HEADERS} == HEADERS
    proxy.wait_for_records(have_ended(3))
    metrics = metrics_text(proxy)
    proxy.stop()
    everything(proxy, metrics=metrics).assert_no_secrets()
    with (proxy.directory / "flows").open("rb") as file:
        [flow] = io.FlowReader(file).stream()
    assert isinstance(flow, HTTPFlow)
    assert flow.websocket
    assert len(flow.websocket.messages) == 1
    assert proxy.records.prompts == []
