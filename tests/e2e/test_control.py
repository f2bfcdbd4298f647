"""Rate and concurrency limits, and model rules, in front of a real provider."""

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import httpx2
import pytest
from standin import Gate, Provider, Response, Server, Wait

from e2e.actors import FORWARD, REVERSE, REVERSE_H2, each_pair, post
from e2e.bodies import CHAT, MESSAGES, RESPONSES, Api
from e2e.clients import WAYS, Clients, Way
from e2e.conftest import StartProxy
from e2e.metrics import metric
from e2e.proxies import RunProxy
from e2e.proxy import Proxy, config_toml
from e2e.sockets import CODEX, Socket
from e2e.wire import HTTP2Client, connect

RULES = """
[[limits]]
name = "calm"
actors = ["hasty-*"]
requests_per_minute = 1

[[limits]]
name = "alone"
actors = ["busy"]
open_requests = 1

[[limits]]
name = "patient"
actors = ["patient"]
open_requests = 1
queue = 2
queue_wait_s = 60

[[model_rules]]
actors = ["intern"]
allow = ["cheap-*"]
aliases = { fast = "cheap-1" }
max_output_tokens = 500
"""


@pytest.fixture(scope="module")
def proxy(standin: Server, run_proxy: RunProxy) -> Iterator[Proxy]:
    """Run a proxy with limits and model rules."""
    with run_proxy(standin.origin, more_config=RULES, metrics=True) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_requests_yet(standin: Server) -> None:
    standin.requests.clear()


@each_pair
def test_request_above_the_rate_gets_429_with_the_time_to_wait(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, way: Way
) -> None:
    actor = f"hasty-{api}-{way}"
    body = api.request("hi", stream=False)
    before = metric(proxy, "aibridge_limited_total", limit="calm", bound="requests")
    assert post(clients, way, api, actor, body).status_code == 200
    with proxy.recording() as records:
        refused = post(clients, way, api, actor, body)
    assert refused.status_code == 429
    assert api.is_error(refused.json())
    assert 1 <= int(refused.headers["retry-after"]) <= 60
    assert refused.headers["x-should-retry"] == "true"
    assert "'calm' allows 1 requests per minute" in refused.json()["error"]["message"]
    assert len(standin.requests) == 1
    row = records.interception
    assert (row["status"], row["error_type"]) == ("refused", "rate_limit_exceeded")
    assert metric(proxy, "aibridge_limited_total", limit="calm", bound="requests") == before + 1


def test_slot_is_occupied_while_a_response_runs_and_free_after_it(
    clients: Clients, provider: Provider, standin: Server
) -> None:
    gate = Gate()
    head = [("content-type", "text/event-stream")]
    provider.canned["gated"] = lambda request: Response(200, head, [b": begun\n\n", Wait(gate)])
    body = MESSAGES.request("hi", stream=False)
    with clients.http(REVERSE) as http:
        url = clients.url(REVERSE, "anthropic", "/v1/messages")
        headers = {**MESSAGES.headers, "X-AIBridge-Actor": "busy", "x-standin-canned": "gated"}
        with http.stream("POST", url, content=body, headers=headers) as running:
            assert running.status_code == 200
            refused = post(clients, REVERSE, MESSAGES, "busy", body)
            assert refused.status_code == 429
            assert post(clients, REVERSE, MESSAGES, "other", body).status_code == 200
            gate.open()
            running.read()
    assert post(clients, REVERSE, MESSAGES, "busy", body).status_code == 200


def test_request_waits_for_a_slot_and_gives_up_its_place_when_its_client_leaves(
    proxy: Proxy, clients: Clients, provider: Provider, standin: Server
) -> None:
    gate = Gate()
    head = [("content-type", "text/event-stream")]
    provider.canned["gated"] = lambda request: Response(200, head, [b": begun\n\n", Wait(gate)])
    body = MESSAGES.request("hi", stream=False)
    url = clients.url(REVERSE, "anthropic", "/v1/messages")
    headers = {**MESSAGES.headers, "X-AIBridge-Actor": "patient", "x-standin-canned": "gated"}

    def wait_for_queue(length: int) -> None:
        for _ in range(600):
            if metric(proxy, "aibridge_limit_queue_length", provider="anthropic") == length:
                return
            threading.Event().wait(0.05)
        raise AssertionError(f"the queue never had {length} requests")

    with ThreadPoolExecutor(2) as pool, clients.http(REVERSE) as http:
        with http.stream("POST", url, content=body, headers=headers) as running:
            assert running.status_code == 200
            with connect(clients, REVERSE) as leaving:
                lines = [f"{name}: {value}" for name, value in headers.items()]
                path = httpx2.URL(url).path
                start = f"POST {path} HTTP/1.1", "host: localhost", f"content-length: {len(body)}"
                leaving.sendall("\r\n".join([*start, *lines, "", ""]).encode() + body)
                wait_for_queue(1)
            wait_for_queue(0)
            with HTTP2Client(clients, REVERSE_H2) as resetting:
                stream = resetting.post("/v1/messages", headers, body)
                wait_for_queue(1)
                resetting.reset(stream)
                wait_for_queue(0)
            waits = pool.submit(post, clients, REVERSE, MESSAGES, "patient", body)
            wait_for_queue(1)
            assert len(standin.requests) == 1
            gate.open()
            running.read()
        assert waits.result().status_code == 200
    assert len(standin.requests) == 2


@each_pair
def test_denied_model_is_refused_and_an_alias_and_a_ceiling_change_only_their_values(
    clients: Clients, standin: Server, api: Api, way: Way
) -> None:
    member = {"openai_responses": "max_output_tokens"}.get(api.name, "max_tokens")
    template = json.loads(api.request("hi", stream=False)) | {member: 64000}
    dear, fast = (
        json.dumps(template | {"model": model}, indent=1).encode() for model in ("dear", "fast")
    )
    refused = post(clients, way, api, "intern", dear)
    assert (refused.status_code, refused.headers["x-should-retry"]) == (400, "false")
    assert "'dear' is not allowed for intern" in refused.json()["error"]["message"]
    assert standin.requests == []
    assert post(clients, way, api, "intern", fast).status_code == 200
    expected = fast.replace(b'"fast"', b'"cheap-1"').replace(b"64000", b"500")
    assert standin.requests[-1].body == expected
    assert post(clients, way, api, "senior", dear).status_code == 200
    assert standin.requests[-1].body == dear


@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
def test_rules_hold_for_token_counts_compaction_and_batches(
    clients: Clients, standin: Server, way: Way
) -> None:
    counting = replace(MESSAGES, path="/v1/messages/count_tokens")
    compacting = replace(RESPONSES, path="/responses/compact")
    batches = replace(MESSAGES, path="/v1/messages/batches")

    def ask(api: Api, actor: str, model: str) -> httpx2.Response:
        body = json.loads(MESSAGES.request("hi", stream=False, max_tokens=9_000)) | {"model": model}
        if api is compacting:
            body = {"model": model, "input": "hi"}
        if api is batches:
            body = {"requests": [{"custom_id": "1", "params": body}]}
        return post(clients, way, api, actor, json.dumps(body).encode())

    for api in (counting, compacting, batches):
        refused = ask(api, "intern", "dear")
        assert (refused.status_code, refused.headers["x-should-retry"]) == (400, "false")
        assert "'dear' is not allowed for intern" in refused.json()["error"]["message"]
    assert ask(batches, "intern", "fast").status_code == 400, "no alias is applied in a batch"
    assert standin.requests == []
    ask(batches, "intern", "cheap-2")
    (sent,) = json.loads(standin.requests[-1].body)["requests"]
    assert (sent["params"]["model"], sent["params"]["max_tokens"]) == ("cheap-2", 500)
    assert ask(counting, "intern", "fast").status_code == 200
    assert json.loads(standin.requests[-1].body)["model"] == "cheap-1"
    actor = f"hasty-other-{way}"
    assert [ask(counting, actor, "m").status_code for _ in range(3)] == [200] * 3
    assert ask(compacting, actor, "m").status_code != 429, "counts of tokens are free"
    assert ask(batches, actor, "m").status_code == 429


@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
def test_rules_hold_for_each_request_in_a_websocket(
    clients: Clients, standin: Server, way: Way
) -> None:
    headers = CODEX | {"X-AIBridge-Actor": "intern"}
    with Socket(clients, way, headers=headers) as socket:
        socket.send({"type": "response.create", "model": "dear", "input": "hi"})
        refused = list(socket.events())[-1]
        assert (refused["type"], refused["status"]) == ("error", 400)
        assert "not allowed for intern" in refused["error"]["message"]
        fast = {"model": "fast", "max_output_tokens": 64000}
        socket.send({"type": "response.create", "input": "hi", **fast})
        assert list(socket.events())[-1]["type"] == "response.completed"
    sent = json.loads(b"".join(standin.requests[-1].messages[-1]))
    assert (sent["model"], sent["max_output_tokens"]) == ("cheap-1", 500)
    headers = CODEX | {"X-AIBridge-Actor": f"hasty-socket-{way}"}
    with Socket(clients, way, headers=headers) as socket:
        socket.request("hi")
        assert list(socket.events())[-1]["type"] == "response.completed"
        socket.request("hi")
        assert list(socket.events())[-1]["status"] == 429


def test_circuit_breaker_stops_requests_to_an_overloaded_provider(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
) -> None:
    config = config_toml(standin.origin).replace(
        'type = "anthropic"', 'type = "anthropic"\ncircuit_breaker = true'
    )
    proxy = start_proxy(config=config, metrics=True)
    clients = clients_of(proxy)
    provider.canned["overloaded"] = lambda request: Response(529, [], b"{}")
    body = MESSAGES.request("hi", stream=False)
    for _ in range(5):
        headers = {"x-standin-canned": "overloaded"}
        assert post(clients, REVERSE, MESSAGES, "alice", body, headers=headers).status_code == 529
    refused = post(clients, FORWARD, MESSAGES, "alice", body)
    assert refused.status_code == 503
    assert 1 <= int(refused.headers["retry-after"]) <= 30
    assert MESSAGES.is_error(refused.json())
    assert len(standin.requests) == 5
    labels = {"provider": "anthropic", "route": "/v1/messages"}
    assert metric(proxy, "aibridge_circuit_breaker_state", **labels) == 2


@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
def test_actor_is_named_upstream_only_where_the_provider_wants_it(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    standin: Server,
    way: Way,
) -> None:
    config = config_toml(standin.origin).replace(
        'type = "anthropic"', 'type = "anthropic"\nsend_actor = true'
    )
    clients = clients_of(start_proxy(config=config))
    spoofed = {"x-ai-bridge-actor-id": "mallory"}
    for api in (MESSAGES, CHAT):
        body = api.request("hi", stream=False)
        assert post(clients, way, api, "alice", body, headers=spoofed).status_code == 200
    ours, theirs = standin.requests
    assert ours.header("x-ai-bridge-actor-id") == "alice"
    assert theirs.header("x-ai-bridge-actor-id") == "mallory", "nothing is removed otherwise"


def test_front_proxy_names_the_actor_and_its_headers_never_reach_the_provider(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    standin: Server,
) -> None:
    table = '[[front_proxies]]\nnetworks = ["{}"]\nactor_header = "X-Forwarded-User"\n'
    headers = {"X-Forwarded-User": "alice"}
    for network, actor in (("127.0.0.0/8", "alice"), ("192.0.2.0/24", "mallory")):
        proxy = start_proxy(config=config_toml(standin.origin) + table.format(network))
        clients = clients_of(proxy)
        with proxy.recording() as records:
            body = CHAT.request("hi", stream=False)
            for way in WAYS:
                post(clients, way, CHAT, "mallory", body, headers=headers)
            spoofed = CODEX | headers | {"X-AIBridge-Actor": "mallory"}
            with Socket(clients, REVERSE, headers=spoofed) as socket:
                socket.ask("hi")
        assert {row["initiator_id"] for row in records.interceptions} == {actor}
        assert len(records.interceptions) == len(WAYS) + 1
    assert all(not request.header("x-forwarded-user") for request in standin.requests)
