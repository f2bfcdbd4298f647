"""Budgets in front of a real provider: holds, charges, refusals, and their commands."""

import json
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import forked
import pytest
from locks import locked
from standin import Gate, Provider, Request, Response, Server, Wait

from e2e.actors import FORWARD, REVERSE, each_pair, post
from e2e.bodies import CHAT, MESSAGES, Api
from e2e.clients import Clients, Way
from e2e.conftest import StartProxy
from e2e.metrics import metric
from e2e.proxies import RunProxy
from e2e.proxy import Proxy, config_toml
from e2e.sockets import CODEX, Socket

BUDGETS = """
[[prices]]
match = "batched"
modifiers = { processing = "batch" }
input = 500
output = 500

[[prices]]
match = "*"
input = 1_000
output = 1_000
cache_read = 1_000
cache_write = 1_000
cache_write_1h = 1_000

[[budgets]]
name = "small"
actors = ["small-*"]
usd = 1.2
hold = "likely"
timezone = "UTC"
credentials = ["byok", "centralized"]
warn_at = [1]
wait_s = 0
show_remaining = true

[[budgets]]
name = "one"
actors = ["one-*"]
tokens = 5_000
credentials = ["byok", "centralized"]
wait_s = 30

[[budgets]]
name = "slice"
actors = ["slice-*"]
tokens = 600
hold = "worst"
credentials = ["byok"]
on_store_failure = "slice"

[[budgets]]
name = "batches in USD"
actors = ["usd-batch-*"]
usd = 1
batch = "allow"
credentials = ["byok", "centralized"]

[[budgets]]
name = "of a model"
actors = ["model-*"]
models = ["dear-*"]
usd = 1
credentials = ["byok", "centralized"]

[[budgets]]
name = "batches"
actors = ["batch-*"]
tokens = 1_000_000
batch = "allow"
credentials = ["byok", "centralized"]
"""


@pytest.fixture(scope="module")
def proxy(standin: Server, run_proxy: RunProxy) -> Iterator[Proxy]:
    """Run a proxy with budgets and prices of its own."""
    with run_proxy(standin.origin, more_config=BUDGETS, metrics=True) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_requests_yet(standin: Server) -> None:
    standin.requests.clear()


@each_pair
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "stream"])
def test_spent_budget_refuses_definitively_and_charges_equal_the_record(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, way: Way, stream: bool
) -> None:
    actor = f"small-{api}-{way}-{stream}"
    refused = None
    left = [1.2]
    for _ in range(60):
        refused = post(clients, way, api, actor, stream=stream)
        if refused.status_code != 200:
            break
        left.append(float(refused.headers["x-aibridge-budget-remaining"]))
    assert left == sorted(left, reverse=True)
    assert 0 <= left[-1] < left[1] < 1.2
    assert refused is not None
    assert (refused.status_code, refused.headers["x-should-retry"]) == (400, "false")
    assert "retry-after" not in refused.headers
    assert "x-aibridge-budget-remaining" not in refused.headers
    assert api.is_error(refused.json())
    text = refused.json()["error"]["message"]
    assert "budget 'small' " in text
    assert f"for {actor}; it opens again on" in text
    assert "UTC" in text


def test_request_waits_for_room_that_a_running_response_holds(
    clients: Clients, provider: Provider, standin: Server
) -> None:
    gate = Gate()
    head = [("content-type", "text/event-stream")]
    provider.canned["gated"] = lambda request: Response(200, head, [b": begun\n\n", Wait(gate)])
    body = MESSAGES.request("hi", stream=True, max_tokens=5_000)
    with clients.http(REVERSE) as http:
        url = clients.url(REVERSE, "anthropic", "/v1/messages")
        headers = {**MESSAGES.headers, "X-AIBridge-Actor": "one-a", "x-standin-canned": "gated"}
        with http.stream("POST", url, content=body, headers=headers) as running:
            assert running.status_code == 200
            assert post(clients, REVERSE, MESSAGES, "one-b").status_code == 200
            gate.open()
            running.read()
    assert post(clients, REVERSE, MESSAGES, "one-a").status_code == 200


@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
def test_budget_holds_for_each_request_in_a_websocket(
    clients: Clients, standin: Server, way: Way
) -> None:
    headers = CODEX | {"X-AIBridge-Actor": f"small-socket-{way}"}
    with Socket(clients, way, headers=headers) as socket:
        for _ in range(60):
            socket.request("hi")
            last = list(socket.events())[-1]
            if last["type"] == "error":
                break
            assert last["type"] == "response.completed"
        assert last["status"] == 400
        assert "budget 'small' " in last["error"]["message"]


def test_request_in_a_websocket_never_waits_for_the_response_before_it(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    headers = CODEX | {"X-AIBridge-Actor": "one-socket"}
    with proxy.recording() as records, Socket(clients, REVERSE, headers=headers) as socket:
        socket.request("GATE:before", max_output_tokens=4_900)
        events = [socket.event()]
        socket.request("hi", max_output_tokens=4_900)
        while events[-1]["type"] != "error":
            events.append(socket.event())
        assert events[-1]["status"] == 429
        provider.gate("before").open()
        assert list(socket.events())[-1]["type"] == "response.completed"
    statuses = sorted(row["status"] for row in records.interceptions)
    assert statuses == ["completed", "refused"]
    assert len(records.token_usages) == 1


def test_speech_is_refused_once_the_budget_of_a_session_is_spent(
    clients: Clients, standin: Server
) -> None:
    headers = CODEX | {"X-AIBridge-Actor": "small-speech"}
    url = f"{clients.url(REVERSE, 'openai', '/realtime')}?model=gpt-realtime"
    speech = {"type": "input_audio_buffer.append", "audio": "AAAA"}
    with Socket(clients, REVERSE, headers=headers, url=url) as socket:
        assert socket.event()["type"] == "session.created"
        socket.send(speech)
        for _ in range(60):
            socket.send({"type": "response.create"})
            while (event := socket.event())["type"] not in ("response.done", "error"):
                pass
            if event["type"] == "error":
                break
        relayed = [json.loads(b"".join(frames))["type"] for frames in standin.requests[-1].messages]
        assert relayed[0] == speech["type"]
        assert set(relayed[1:]) == {"response.create"}
        socket.send(speech)
        refused = socket.event()
    assert (refused["type"], refused["status"]) == ("error", 400)
    assert "budget 'small' " in refused["error"]["message"]
    assert len(standin.requests[-1].messages) == len(relayed)


@pytest.mark.parametrize("speech", ["input_audio_buffer.append", "input_audio_buffer.commit"])
def test_speech_is_refused_once_transcripts_have_spent_the_budget(
    clients: Clients, standin: Server, speech: str
) -> None:
    headers = CODEX | {"X-AIBridge-Actor": f"small-transcripts-{speech}"}
    url = f"{clients.url(REVERSE, 'openai', '/realtime')}?intent=transcription"
    transcription = {"model": "gpt-4o-transcribe"}
    session = {"type": "transcription", "audio": {"input": {"transcription": transcription}}}
    with Socket(clients, REVERSE, headers=headers, url=url) as socket:
        assert socket.event()["type"] == "session.created"
        socket.send({"type": "session.update", "session": session})
        for _ in range(100):
            socket.send({"type": "input_audio_buffer.commit"})
            while not (event := socket.event())["type"].endswith(("completed", "error")):
                pass
            if event["type"] == "error":
                break
        assert event["status"] == 400, event
        assert "budget 'small' " in event["error"]["message"]
        relayed = len(standin.requests[-1].messages)
        assert relayed > 10
        socket.send({"type": speech, "audio": "AAAA"})
        assert socket.event()["type"] == "error"
    assert len(standin.requests[-1].messages) == relayed


def test_unread_call_that_costs_money_is_refused_under_a_hard_budget(
    clients: Clients, standin: Server
) -> None:
    headers = CHAT.headers | {"X-AIBridge-Actor": "small-batch"}
    with clients.http(FORWARD) as http:
        for path, status in (("/batches", 400), ("/vector_stores", 400), ("/models", 200)):
            method = "GET" if path == "/models" else "POST"
            url = clients.url(FORWARD, "openai", path)
            response = http.request(method, url, headers=headers, content=b'{"model":"m"}')
            assert (response.status_code == 400) == (status == 400), response.text
    assert [request.method for request in standin.requests] == ["GET"]


FREE_CALLS = [
    ("/responses/resp_1/cancel", b"", True),
    ("/responses/resp_1/cancel", b"{}", True),
    ("/responses/resp_1/cancel", b'{"input":"x"}', False),
    ("/conversations", b'{"items":[],"metadata":{}}', True),
    ("/conversations", b'{"inputs":"x","agent_id":"a"}', False),  # of Mistral
    ("/conversations", b"[]", False),
    ("/conversations/conv_1/items", b'{"items":[]}', True),
    ("/vector_stores/vs_1/file_batches/b_1/cancel", b"", True),
    ("/vector_stores/vs_1/search", b'{"query":"x"}', False),
    ("/chat/completions", b"", False),
]


@pytest.mark.parametrize(("path", "content", "is_free"), FREE_CALLS)
def test_unread_call_that_costs_nothing_passes_a_hard_budget(
    clients: Clients, standin: Server, path: str, content: bytes, is_free: bool
) -> None:
    headers = CHAT.headers | {"X-AIBridge-Actor": "small-free"}
    with clients.http(FORWARD) as http:
        url = clients.url(FORWARD, "openai", path)
        response = http.post(url, headers=headers, content=content)
    assert ("budget 'small' cannot count" in response.text) is not is_free
    assert len(standin.requests) == is_free


UNREADABLE = [
    ("/chat/completions", {"content-encoding": "unknown"}),
    ("/audio/transcriptions", {"content-type": "multipart/form-data; boundary=a; boundary=b"}),
]


@pytest.mark.parametrize(("path", "headers"), UNREADABLE)
def test_refusal_of_a_body_that_cannot_be_read_says_so(
    clients: Clients, standin: Server, path: str, headers: dict[str, str]
) -> None:
    sent = CHAT.headers | {"X-AIBridge-Actor": "small-unreadable"} | headers
    with clients.http(FORWARD) as http:
        url = clients.url(FORWARD, "openai", path)
        refused = http.post(url, content=CHAT.request("hi", stream=False), headers=sent)
    assert refused.status_code == 400
    assert "its body cannot be read" in refused.json()["error"]["message"]
    assert standin.requests == []


DEAR = [
    ("/batches", b'{"input_file_id":"file-1"}'),
    ("/chat/completions", b'{"model":"dear-1","model":"cheap","messages":[]}'),
    ("/chat/completions", b'{"model":"cheap","models":["dear-1"],"messages":[]}'),
    ("/chat/completions?model=dear-1", b'{"model":"cheap","messages":[]}'),
    ("/images/generations", b'{"prompt":"a hat","n":1}'),
]


@pytest.mark.parametrize(("path", "content"), DEAR)
def test_spent_budget_of_a_model_refuses_what_may_be_served_by_it(
    clients: Clients, standin: Server, path: str, content: bytes
) -> None:
    actor = f"model-{path}"
    dear = b'{"model":"dear-1","max_tokens":2000,"messages":[{"role":"user","content":"x"}]}'
    while post(clients, FORWARD, CHAT, actor, dear).status_code == 200:
        pass
    standin.requests.clear()
    headers = CHAT.headers | {"X-AIBridge-Actor": actor}
    with clients.http(FORWARD) as http:
        url = clients.url(FORWARD, "openai", path)
        refused = http.post(url, headers=headers, content=content)
    assert refused.status_code == 400, refused.text
    assert "budget 'of a model' " in refused.text
    assert standin.requests == []
    assert post(clients, FORWARD, CHAT, actor).status_code == 200, "another model"


def test_websocket_whose_messages_are_not_read_is_refused_under_a_hard_budget(
    clients: Clients, standin: Server
) -> None:
    headers = CODEX | {"X-AIBridge-Actor": "small-unread-socket"}
    url = clients.url(FORWARD, "openai", "/realtime/translations?model=gpt-realtime-translate")
    with Socket(clients, FORWARD, headers=headers, url=url) as refused:
        assert refused.status == 400
        assert b"budget 'small' cannot count" in refused.refusal
    assert standin.requests == []


def test_batch_is_charged_to_a_budget_that_allows_it_once_its_usage_is_known(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    batch = {"object": "batch", "id": "batch_budget", "model": "gpt-5", "status": "validating"}
    usage = {"input_tokens": 1_000, "output_tokens": 300, "total_tokens": 1_300}

    def respond(request: Request) -> Response:
        ended = batch | {"status": "completed", "usage": usage}
        told = batch if request.method == "POST" else ended
        return Response(200, [("content-type", "application/json")], json.dumps(told).encode())

    provider.canned["budget-batch"] = respond
    asked = {"X-AIBridge-Actor": "batch-a", "x-standin-canned": "budget-batch"}
    url = clients.url(FORWARD, "openai", "/batches")
    with clients.http(FORWARD) as http:
        for method, path in (("POST", ""), ("GET", "/batch_budget"), ("GET", "/batch_budget")):
            body = b'{"input_file_id":"file-1"}' if method == "POST" else None
            headers = CHAT.headers | asked
            response = http.request(method, url + path, headers=headers, content=body)
            assert response.status_code == 200
    options = ["--config", str(proxy.config_path), "--db", str(proxy.database)]
    (account,) = json.loads(budget("list", "--json", "--scope", "batch-a", *options))
    assert (account["spent"], account["held"]) == (1_300, 0)


def test_batch_of_a_model_without_a_price_is_refused_by_a_budget_in_usd(
    clients: Clients, provider: Provider
) -> None:
    made = {"type": "message_batch", "id": "msgbatch_usd", "processing_status": "in_progress"}
    provider.canned["usd-batch"] = lambda request: Response(
        200, [("content-type", "application/json")], json.dumps(made).encode()
    )
    headers = MESSAGES.headers | {
        "X-AIBridge-Actor": "usd-batch-a",
        "x-standin-canned": "usd-batch",
    }
    statuses = {}
    with clients.http(FORWARD) as http:
        for named in ('"model":"batched"', '"model":"unbatched"', '"model":"x","model":"batched"'):
            one = f'{{"custom_id":"a","params":{{{named},"max_tokens":9,"messages":[]}}}}'
            url = clients.url(FORWARD, "anthropic", "/v1/messages/batches")
            response = http.post(url, headers=headers, content=f'{{"requests":[{one}]}}')
            statuses[named] = response.status_code
    assert list(statuses.values()) == [200, 400, 400]


def test_commands_show_reset_and_rebuild_budgets(proxy: Proxy, clients: Clients) -> None:
    actor = "small-shown"
    while post(clients, FORWARD, CHAT, actor).status_code == 200:
        pass
    assert metric(proxy, "aibridge_budget_warnings_total", budget="small", percent="1") >= 1
    options = ["--config", str(proxy.config_path), "--db", str(proxy.database)]
    listed = budget("list", "--scope", actor, *options)
    assert "small: $1.20 per actor and day (UTC), then refuse" in listed
    assert actor in listed
    (account,) = json.loads(budget("list", "--json", "--scope", actor, *options))
    assert account["held"] == 0
    assert account["spent"] == proxy_cost(proxy, actor)
    assert "told" in budget("show", "small", actor, *options)
    assert "0 of them were wrong" in budget("rebuild", *options[2:])
    budget("reset", "small", "--scope", actor, *options)
    assert post(clients, FORWARD, CHAT, actor).status_code == 200


def test_two_processes_on_one_database_never_admit_the_same_room_twice(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    standin: Server,
    tmp_path: Path,
) -> None:
    shared = """
[[prices]]
match = "*"
input = 1_000
output = 1_000
cache_read = 1_000

[[budgets]]
name = "shared"
per = "total"
usd = 3
hold = "likely"
credentials = ["byok"]
wait_s = 0
"""
    options = {"aibridge_db": str(tmp_path / "shared.sqlite3")}
    proxies = [
        start_proxy(config=config_toml(standin.origin) + shared, options=options) for _ in range(2)
    ]
    clients = [clients_of(proxy) for proxy in proxies]

    def ask(number: int) -> int:
        way = REVERSE if number % 3 else FORWARD
        response = post(clients[number % 2], way, CHAT, f"actor-{number}", stream=number % 5 == 0)
        return response.status_code

    with ThreadPoolExecutor(16) as pool:
        statuses = Counter(pool.map(ask, range(60)))
    assert statuses[200] >= 1
    assert statuses.keys() <= {200, 400, 429}
    with closing(sqlite3.connect(tmp_path / "shared.sqlite3")) as connection:

        def value(query: str) -> int:
            return int(connection.execute(query).fetchone()[0])

        spent = value("SELECT sum(spent) FROM aibridge_budget_counters")
        assert spent == value("SELECT sum(charge) FROM aibridge_budget_entries")
        assert spent == value("SELECT sum(cost_nano_usd) FROM aibridge_token_usages")
        assert spent <= 3 * 10**9, "each held more than it cost"
        assert value("SELECT count(*) FROM aibridge_budget_holds") == 0
        charged = value("SELECT count(*) FROM aibridge_budget_entries WHERE how = 'told'")
        assert charged == statuses[200]


def test_budget_uses_up_its_slice_while_the_database_is_locked_and_charges_calls_once_afterwards(
    proxy: Proxy, clients: Clients
) -> None:
    def status(actor: str) -> int:
        body = CHAT.request("hi", stream=False, max_tokens=100)
        return post(clients, REVERSE, CHAT, actor, body).status_code

    assert (status("slice-a"), status("one-a")) == (200, 200)
    with locked(proxy.database):
        statuses = [status("slice-a")]
        assert status("one-a") == 503, "it refuses unless told otherwise"
        while statuses[-1] == 200 and len(statuses) < 60:
            statuses.append(status("slice-a"))
    assert (statuses[0], statuses[-1]) == (200, 503)
    query = "SELECT charge FROM aibridge_budget_entries WHERE budget = 'slice' AND how = 'told'"
    proxy.wait_for_records(lambda records: len(charges(proxy, query)) >= len(statuses))
    assert len(charges(proxy, query)) == len(statuses), "the first call, and each without a store"
    assert sum(charges(proxy, query)) <= 600
    tokens = (
        "SELECT input_tokens + output_tokens + coalesce(cache_write_input_tokens, 0)"
        " FROM aibridge_token_usages u JOIN aibridge_interceptions i ON i.id = u.interception_id"
        " WHERE initiator_id = 'slice-a'"
    )
    assert sorted(charges(proxy, query)) == sorted(charges(proxy, tokens))


def charges(proxy: Proxy, query: str) -> list[int]:
    """Return the values of a query of one column."""
    with closing(sqlite3.connect(proxy.database)) as connection:
        return [int(value) for (value,) in connection.execute(query)]


def proxy_cost(proxy: Proxy, actor: str) -> int:
    """Return the sum of the recorded costs of an actor."""
    with closing(sqlite3.connect(proxy.database)) as connection:
        query = (
            "SELECT sum(cost_nano_usd) FROM aibridge_token_usages u JOIN aibridge_interceptions i"
            " ON i.id = u.interception_id WHERE initiator_id = ?"
        )
        return int(connection.execute(query, (actor,)).fetchone()[0])


def budget(*arguments: str) -> str:
    """Run `aibridge budget`."""
    command = [*forked.command(forked.AIBRIDGE), "budget", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout
