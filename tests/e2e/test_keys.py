"""Key pools, retries and fallbacks in front of a provider that refuses, limits and stays silent."""

import dataclasses
import json
import socket
import sqlite3
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, Literal

import httpx2
import pytest
from standin import (
    Authority,
    Gate,
    Provider,
    Request,
    Reset,
    Response,
    Server,
    ServerThread,
    Unprocessed,
)
from standin.provider import Answer

from e2e.bodies import CHAT, MESSAGES, RESPONSES, Api
from e2e.central import program, wait_for_servers
from e2e.clients import WAYS, Clients, Way
from e2e.metrics import health, metric
from e2e.proxy import Proxy
from e2e.records import Row
from e2e.sockets import Socket
from e2e.tables import server_toml

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS
A, B = "sk-first-aaaaaaaaaaaaaaaa", "sk-second-bbbbbbbbbbbbbbb"
OTHER, OWN = "sk-other-cccccccccccccccccc", "sk-own-dddddddddddddddddddd"
HINTS = {A: "sk-f...aaaa", B: "sk-s...bbbb", OTHER: "sk-o...cccc", OWN: "sk-o...dddd"}

POOL = 'keys = [{ env = "KEY_A" }, { env = "KEY_B" }]\n'
RETRIES = 'max_sends = 3\nhead_timeout_s = 1.5\napi_key_env = "KEY_A"\n'
FALLBACK = (
    'api_key_env = "KEY_A"\ncircuit_breaker = true\nfallbacks = [{ provider = "elsewhere-KIND",'
    ' models = { "standin-1" = "served-1", "standin-2" = "denied-1" }, on = ["error",'
    ' "circuit_open"] }]\n'
)
UNREACHABLE = (
    'hosts = []\napi_key_env = "KEY_A"\nmax_sends = 2\ncircuit_breaker = true\nfallbacks ='
    ' [{ provider = "elsewhere-KIND", models = { "standin-1" = "served-1" } }]\n'
)
CHAIN = (
    'hosts = []\napi_key_env = "KEY_A"\ncircuit_breaker = true\nfallbacks = ['
    '{ provider = "middle-KIND", models = { "standin-1" = "middle-1", "standin-2" = "middle-1" },'
    ' on = ["circuit_open"] },'
    '{ provider = "elsewhere-KIND", models = { "standin-1" = "served-1", "standin-2" = "denied-1"'
    ' }, on = ["circuit_open"] }]\n'
)
POOLS = (
    "p401",
    "p402",
    "p429",
    "limited",
    "refused",
    "bound",
    "again",
    "loop",
    "socket",
    "count",
    "stored",
)
ORGANIZATIONS = ("org401", "org402", "org429")
"""Pools whose keys belong to one organization."""


class Scripted:
    """A provider that fails as told, by key; otherwise it answers by script."""

    def __init__(self) -> None:
        self.provider = Provider()
        self.failures: dict[str, list[Answer | Gate]] = defaultdict(list)
        """Responses to the next requests with a key."""
        self.seen: list[tuple[str, Request]] = []
        self.checks: list[str] = []
        """Keys of the requests for models."""
        self.fetched: list[tuple[str, str]] = []
        """Last segments of the paths of all GET requests, with their keys."""
        self.failed_fetches: dict[str, list[Answer]] = {}
        """Responses to the next GET requests by the last segments of their paths."""

    async def __call__(self, request: Request) -> Answer:
        key = key_of(request)
        if request.method == "GET" and request.header("upgrade") is None:
            self.checks.append(key)
            name = request.path.rpartition("/")[2]
            self.fetched.append((name, key))
            if failures := self.failed_fetches.get(name):
                return failures.pop(0)
        else:
            self.seen.append((key, request))
            if self.failures[key]:
                failure = self.failures[key].pop(0)
                if not isinstance(failure, Gate):
                    return failure
                await failure.wait()
                return Reset()
        return await self.provider(request)

    def keys(self) -> list[str]:
        """The keys of the requests, in their order."""
        return [key for key, _ in self.seen]

    def bodies(self) -> list[bytes]:
        """The bodies of the requests, in their order."""
        return [request.body for _, request in self.seen]


def key_of(request: Request) -> str:
    bearer = request.header("authorization") or ""
    return request.header("x-api-key") or bearer.removeprefix("Bearer ")


def refusal(status: int, message: str = "as the provider says it", **headers: str) -> Response:
    body = {"type": "error", "error": {"type": "x", "message": message}}
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]
    content = [("content-type", "application/json")]
    return Response(status, content + named, json.dumps(body, indent=1).encode())


@pytest.fixture(scope="module")
def scripted() -> Scripted:
    return Scripted()


@pytest.fixture(scope="module")
def upstream(scripted: Scripted, authority: Authority) -> Iterator[Server]:
    with ServerThread(Server(scripted, tls=authority.server_context())) as server:
        yield server


@pytest.fixture(scope="module")
def unreachable() -> Iterator[Mapping[str, str]]:
    """Origins of hosts that cannot be reached, by the reason."""
    with (
        socket.socket() as closed,
        ServerThread(Server(Provider())) as plain,
    ):
        closed.bind(("127.0.0.1", 0))  # and does not listen
        yield {
            "closed": f"https://127.0.0.1:{closed.getsockname()[1]}",
            "dns": "https://nowhere.invalid",
            "tls": plain.origin.replace("http://", "https://"),
        }


def instances(origin: str, unreachable: Mapping[str, str]) -> str:
    """Return instances of both types: a pool for each test, since refused keys stay refused."""
    made = []
    for kind, suffix in (("anthropic", ""), ("openai", "/v1")):
        keys = {f"{name}-{kind}": "hosts = []\n" + POOL for name in POOLS}
        of_one = POOL.replace('" }', '", organization = "eu" }')
        keys |= {f"{name}-{kind}": "hosts = []\n" + of_one for name in ORGANIZATIONS}
        keys[f"loop-{kind}"] += "head_timeout_s = 1.5\n"
        keys[kind] = f'hosts = ["api.{kind}.com"]\n' + RETRIES
        keys[f"falling-{kind}"] = "hosts = []\n" + FALLBACK.replace("KIND", kind)
        keys[f"chain-{kind}"] = CHAIN.replace("KIND", kind)
        keys[f"middle-{kind}"] = 'hosts = []\napi_key_env = "KEY_B"\ncircuit_breaker = true\n'
        keys[f"elsewhere-{kind}"] = 'hosts = []\napi_key_env = "OTHER"\n'
        keys |= {f"{name}-{kind}": UNREACHABLE.replace("KIND", kind) for name in unreachable}
        made += [
            f'[[providers]]\nname = "{name}"\ntype = "{kind}"\n'
            f'base_url = "{unreachable.get(name.split("-")[0], origin)}{suffix}"\n{more}'
            for name, more in keys.items()
        ]
    return "\n".join(made)


@pytest.fixture(scope="module")
def proxy(
    upstream: Server,
    unreachable: Mapping[str, str],
    authority: Authority,
    confdir: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Proxy]:
    """Run a proxy whose instances have pools, retries and fallbacks."""
    injection = '\n[injection]\nproviders = ["loop-*"]\n'
    injection += '[[model_rules]]\naliases = { "alias-of-standin-1" = "standin-1" }\n'
    injection += '[[model_rules]]\ndeny = ["denied-1"]\n'
    injection += '[[budgets]]\nname = "all"\nper = "total"\ntokens = 10000000\nwindow = "day"\n'
    made = Proxy(
        tmp_path_factory.mktemp("keys"),
        config=instances(upstream.origin, unreachable)
        + injection
        + server_toml("local", **program()),
        confdir=confdir,
        upstream_ca=authority.path,
        metrics=True,
        env={"KEY_A": A, "KEY_B": B, "OTHER": OTHER},
        script=Path(__file__).with_name("quick_keys.py"),
    )
    made.start()
    wait_for_servers(made, "local")
    yield made
    assert made.stop() == 0, made.log_text()


@pytest.fixture(autouse=True)
def _fresh(scripted: Scripted) -> None:
    scripted.failures.clear()
    scripted.seen.clear()
    scripted.checks.clear()
    scripted.fetched.clear()
    scripted.failed_fetches.clear()


@pytest.fixture
def clients(proxy: Proxy, upstream: Server, authority: Authority) -> Clients:
    return Clients(upstream.origin, (authority.path, proxy.ca_path), proxy)


class Asked:
    """A response, its bytes and the body that was sent."""

    def __init__(self, response: httpx2.Response, raw: bytes, body: bytes) -> None:
        self.status = response.status_code
        self.headers = response.headers
        self.raw = raw
        self.body = body


def ask(
    clients: Clients,
    way: Way,
    api: Api,
    name: str = "",
    *,
    text: str = "hi",
    stream: bool = False,
    members: dict[str, Any] | None = None,
    **headers: str,
) -> Asked:
    """Send a request to an instance; without a key, unless one is given."""
    body = api.request(text, stream=stream, **(members or {}))
    own = {header: value for header, value in api.headers.items() if header.startswith("anthropic")}
    url = clients.url(way, api.provider, api.path)
    if name:
        url = url.replace(f"/{api.provider}", f"/{name}-{api.provider}", 1)
    sent = {**own, **{header.replace("_", "-"): value for header, value in headers.items()}}
    with (
        clients.http(way) as http,
        http.stream("POST", url, content=body, headers=sent) as response,
    ):
        return Asked(response, b"".join(response.iter_raw()), body)


def latest(proxy: Proxy) -> tuple[Row, list[Row]]:
    """Return the row of the newest request, and those of its usage."""
    records = proxy.records
    row = records.interceptions[-1]
    usages = [usage for usage in records.token_usages if usage["interception_id"] == row["id"]]
    return row, usages


@pytest.mark.parametrize(
    ("api", "way", "stream", "status", "failure"),
    [
        (MESSAGES, REVERSE, True, 401, "credential"),
        (CHAT, REVERSE_H2, False, 429, "rate"),
        (RESPONSES, REVERSE, True, 402, "quota"),
    ],
    ids=str,
)
def test_next_key_serves_before_the_client_sees_the_failure(
    clients: Clients,
    scripted: Scripted,
    proxy: Proxy,
    api: Api,
    way: Way,
    stream: bool,
    status: int,
    failure: str,
) -> None:
    hint = {"retry_after": "30"} if status == 429 else {}
    for key in (A, B):
        scripted.failures[key] = [refusal(status, **hint)]
    name = f"p{status}"
    first = ask(clients, way, api, name)
    [home, other] = scripted.keys()
    assert (first.status, {home, other}) == (status, {A, B})  # both fail: the last real answer
    scripted.seen.clear()
    proxy_wide = ask(clients, way, api, name)
    assert proxy_wide.status == (429 if failure == "rate" else 503)
    assert scripted.seen == []


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_key_that_serves_in_place_of_another_is_recorded_and_stays(
    clients: Clients, scripted: Scripted, proxy: Proxy, stream: bool
) -> None:
    api = MESSAGES if stream else CHAT
    scripted.failures[A] = [refusal(429, retry_after="40")]
    scripted.failures[B] = []
    for number in range(20):  # until a conversation that begins with the limited key
        found = ask(clients, REVERSE, api, "limited", x_aibridge_actor=f"a{number}", stream=stream)
        assert found.status == 200
        if len(scripted.seen) > number + 1:
            break
    assert scripted.keys()[-2:] == [A, B]
    assert scripted.bodies()[-2:] == [found.body, found.body]
    row, usages = latest(proxy)
    assert (row["status"], row["http_status"]) == ("completed", 200)
    assert row["credential_hint"] == HINTS[B]
    [attempt] = row["metadata"]["attempts"]
    assert (attempt["failure"], attempt["http_status"]) == ("rate", 429)
    assert attempt["credential_hint"] == HINTS[A]
    assert len(usages) == 1
    sent = len(scripted.seen)
    ask(clients, REVERSE, api, "limited", x_aibridge_actor=f"a{number}")
    assert scripted.keys()[sent:] == [B]
    labels = {"provider": f"limited-{api.provider}", "failure": "rate", "to": "other_key"}
    assert metric(proxy, "aibridge_resends_total", **labels) == 1


def test_all_keys_limited_or_refused_is_an_error_in_the_providers_shape(
    clients: Clients, scripted: Scripted
) -> None:
    for key in (A, B):
        scripted.failures[key] = [refusal(429, retry_after="200")]
    assert ask(clients, REVERSE, RESPONSES, "again").headers["retry-after"] == "200"
    limited = ask(clients, REVERSE, RESPONSES, "again")
    assert (limited.status, limited.headers["retry-after"]) == (429, "60")
    for key in (A, B):
        scripted.failures[key] = [refusal(401)]
    assert ask(clients, REVERSE, MESSAGES, "refused").status == 401
    refused = ask(clients, REVERSE, MESSAGES, "refused")
    assert (refused.status, refused.headers["x-should-retry"]) == (503, "false")
    error = json.loads(refused.raw)["error"]
    assert error["type"] == "api_error"
    assert "operator" in error["message"]


def test_refused_keys_are_checked_and_come_back(
    clients: Clients, scripted: Scripted, proxy: Proxy
) -> None:
    for key in (A, B):
        scripted.failures[key] = [refusal(401)]
    assert ask(clients, REVERSE, CHAT, "refused").status == 401
    gone = {"provider": "refused-openai"}
    _, report = health(proxy)
    states = {key["key"]: key for key in report["keys"] if key["provider"] == "refused-openai"}
    assert {key["state"] for key in states.values()} == {"set aside"}
    assert states["KEY_A"]["reason"] == "credential (HTTP 401)"
    assert A not in json.dumps(report)
    assert metric(proxy, "aibridge_keys_usable", **gone) == 0
    proxy.wait_for_log("the key KEY_A of refused-openai is in use again")
    proxy.wait_for_log("the key KEY_B of refused-openai is in use again")
    assert set(scripted.checks) >= {A, B}
    assert ask(clients, REVERSE, CHAT, "refused").status == 200
    assert metric(proxy, "aibridge_keys_usable", **gone) == 2


def test_state_bound_request_gets_the_answer_of_its_own_organization(
    clients: Clients, scripted: Scripted
) -> None:
    for key in (A, B):
        scripted.failures[key] = [refusal(429, key, retry_after="9")] * 2
    state = {"previous_response_id": "resp_of_one_key"}
    for _ in range(2):
        answer = ask(clients, REVERSE, RESPONSES, "bound", members=state)
        assert answer.status == 429
        [key] = scripted.keys()
        assert json.loads(answer.raw)["error"]["message"] == key
        scripted.seen.clear()


def test_response_is_continued_with_the_key_that_made_it(
    clients: Clients, scripted: Scripted
) -> None:
    made = [ask(clients, REVERSE, RESPONSES, "loop", x_aibridge_actor=str(n)) for n in range(4)]
    keys = scripted.keys()
    for answer, key in zip(made, keys, strict=True):
        scripted.seen.clear()
        state = {"previous_response_id": json.loads(answer.raw)["id"]}
        ask(clients, REVERSE, RESPONSES, "loop", members=state, x_aibridge_actor="another")
        assert scripted.keys() == [key]


@pytest.mark.parametrize(
    ("api", "way", "own"),
    [(MESSAGES, FORWARD, OWN), (CHAT, FORWARD_H2, OWN), (RESPONSES, REVERSE, "")],
    ids=str,
)
def test_burst_of_529_is_retried_with_the_same_key_and_bytes(
    clients: Clients, scripted: Scripted, proxy: Proxy, api: Api, way: Way, own: str
) -> None:
    key = own or A
    scripted.failures[key] = [refusal(529), refusal(503, retry_after="0")]
    header = "x_api_key" if api is MESSAGES else "authorization"
    value = own if api is MESSAGES else f"Bearer {own}"
    sent: dict[str, Any] = {header: value} if own else {}
    answer = ask(clients, way, api, stream=True, **sent)
    assert answer.status == 200
    assert scripted.keys() == [key] * 3
    assert scripted.bodies() == [answer.body] * 3
    row, usages = latest(proxy)
    assert [attempt["http_status"] for attempt in row["metadata"]["attempts"]] == [529, 503]
    assert row["credential_hint"] == HINTS[key]
    assert len(usages) == 1


@pytest.mark.parametrize("by", ["REFUSED_STREAM", "GOAWAY"])
@pytest.mark.parametrize(
    ("way", "name"),
    [(FORWARD_H2, ""), (REVERSE_H2, ""), (REVERSE_H2, "elsewhere")],
    ids=["forward", "reverse", "without-retries"],
)
def test_request_that_an_http2_provider_did_not_process_is_sent_again(
    clients: Clients,
    scripted: Scripted,
    proxy: Proxy,
    way: Way,
    by: Literal["REFUSED_STREAM", "GOAWAY"],
    name: str,
) -> None:
    scripted.failures[OWN] = [Unprocessed(by)]
    answer = ask(clients, way, MESSAGES, name, stream=True, x_api_key=OWN)
    assert answer.status == 200
    assert scripted.bodies() == [answer.body] * 2
    row, usages = latest(proxy)
    assert (row["status"], len(usages)) == ("completed", 1)
    [attempt] = row["metadata"]["attempts"]
    assert (attempt["http_status"], attempt["failure"]) == (None, "unprocessed")


@pytest.mark.parametrize("by", ["REFUSED_STREAM", "GOAWAY"])
def test_request_that_a_provider_never_processes_fails_without_retries(
    clients: Clients, scripted: Scripted, proxy: Proxy, by: Literal["REFUSED_STREAM", "GOAWAY"]
) -> None:
    scripted.failures[OWN] = [Unprocessed(by) for _ in range(3)]
    answer = ask(clients, REVERSE_H2, CHAT, "elsewhere", authorization=f"Bearer {OWN}")
    assert answer.status == 502
    assert b"before it processed the request" in answer.raw
    assert len(scripted.seen) == 2
    row, usages = latest(proxy)
    assert (row["status"], row["error_type"], usages) == ("failed", "upstream_error", [])


def test_retried_request_is_charged_once_and_leaves_no_hold(
    clients: Clients, scripted: Scripted, proxy: Proxy
) -> None:
    scripted.failures[OWN] = []
    scripted.failures[A] = [refusal(529), refusal(529)]
    assert ask(clients, REVERSE, CHAT).status == 200
    assert len(scripted.seen) == 3
    row, [usage] = latest(proxy)
    counted = ("input_tokens", "output_tokens", "cache_write_input_tokens")
    used = sum(usage[name] for name in counted)
    with closing(sqlite3.connect(proxy.database)) as connection:
        charges = connection.execute(
            "SELECT charge, how FROM aibridge_budget_entries WHERE interception_id = ?",
            (row["id"],),
        ).fetchall()
        [(holds,)] = connection.execute(
            "SELECT count(*) FROM aibridge_budget_holds WHERE interception_id = ?", (row["id"],)
        )
    assert sum(charge for charge, _ in charges) == used
    assert {how for _, how in charges} == {"told"}
    assert holds == 0


def test_client_gets_the_last_real_answer_if_every_send_fails(
    clients: Clients, scripted: Scripted
) -> None:
    last = refusal(503, "the second", x_trace="2")
    scripted.failures[OWN] = [refusal(529, "the first"), last, Reset()]
    answer = ask(clients, FORWARD, MESSAGES, x_api_key=OWN)
    assert (answer.status, answer.raw) == (503, last.body)
    assert answer.headers["x-trace"] == "2"
    assert len(scripted.seen) == 3


def test_silent_provider_is_given_up_in_time_and_asked_again(
    clients: Clients, scripted: Scripted
) -> None:
    gate = Gate()
    scripted.failures[OWN] = [gate]
    answer = ask(clients, FORWARD, CHAT, authorization=f"Bearer {OWN}")
    gate.release()
    assert answer.status == 200
    assert scripted.bodies() == [answer.body] * 2


def test_nothing_is_sent_again_once_the_client_has_received_a_byte(
    clients: Clients, scripted: Scripted
) -> None:
    with pytest.raises(httpx2.RemoteProtocolError):
        ask(clients, FORWARD, MESSAGES, text="CUT", stream=True, x_api_key=OWN)
    assert len(scripted.seen) == 1


@pytest.mark.parametrize("api", [MESSAGES, CHAT, RESPONSES], ids=str)
def test_fallback_serves_with_its_own_model_and_key_and_says_so(
    clients: Clients, scripted: Scripted, proxy: Proxy, api: Api
) -> None:
    scripted.failures[A] = [refusal(500)]
    answer = ask(clients, REVERSE, api, "falling", stream=True)
    assert answer.status == 200
    served = f"elsewhere-{api.provider}"
    assert answer.headers["x-aibridge-served-by"] == f"{served}/served-1"
    assert scripted.keys() == [A, OTHER]
    assert scripted.bodies() == [answer.body, answer.body.replace(b"standin-1", b"served-1")]
    row, [usage] = latest(proxy)
    assert (row["provider_name"], row["credential_hint"]) == (served, HINTS[OTHER])
    assert (row["model"], usage["model"]) == ("standin-1", "served-1")
    assert metric(proxy, "aibridge_interceptions_inflight", provider=served, model="standin-1") == 0


@pytest.mark.parametrize("model", ["standin-1", "standin-2"])
def test_answer_names_the_first_instance_if_the_fallback_is_refused_or_does_not_respond(
    clients: Clients, scripted: Scripted, proxy: Proxy, model: str
) -> None:
    scripted.failures[A] = [refusal(500, "the first")]
    scripted.failures[OTHER] = [Reset()]
    answer = ask(clients, REVERSE, RESPONSES, "falling", members={"model": model})
    assert (answer.status, b"the first" in answer.raw) == (500, True)
    assert "x-aibridge-served-by" not in answer.headers
    assert scripted.keys() == ([A, OTHER] if model == "standin-1" else [A])
    row, _ = latest(proxy)
    assert (row["provider_name"], row["credential_hint"]) == ("falling-openai", HINTS[A])
    for name in ("falling-openai", "elsewhere-openai"):
        labels = {"provider": name, "model": model}
        assert metric(proxy, "aibridge_interceptions_inflight", **labels) == 0


@pytest.mark.parametrize(
    ("reason", "api"), [("closed", MESSAGES), ("dns", CHAT), ("tls", RESPONSES)], ids=str
)
def test_unreachable_host_is_tried_again_falls_back_and_opens_the_breaker(
    clients: Clients, scripted: Scripted, proxy: Proxy, reason: str, api: Api
) -> None:
    for number in range(3):
        answer = ask(clients, REVERSE, api, reason, stream=number == 1)
        assert answer.status == 200
        row, [_] = latest(proxy)
        attempts = row["metadata"]["attempts"]
        assert {each["failure"] for each in attempts} == {"overload"}
        assert {each["http_status"] for each in attempts} == {None}
        assert len(attempts) == (2 if number < 2 else 1), "the fifth failure opens the breaker"
        assert row["provider_name"] == f"elsewhere-{api.provider}"
    assert scripted.keys() == [OTHER] * 3
    name = f"{reason}-{api.provider}"
    assert metric(proxy, "aibridge_circuit_breaker_state", provider=name) == 2
    own: dict[str, Any] = {"x_api_key": OWN} if api is MESSAGES else {"authorization": OWN}
    refused = ask(clients, REVERSE, api, reason, **own)
    assert refused.status == 503, "the breaker is open, and nobody's own key goes elsewhere"


def test_refused_handshake_leads_the_next_websocket_to_another_key(
    clients: Clients, scripted: Scripted, proxy: Proxy
) -> None:
    headers = {"x-aibridge-actor": "socket"}
    url = clients.url(REVERSE, "openai", "/responses").replace("/openai", "/socket-openai", 1)

    def connected() -> tuple[int, str]:
        with Socket(clients, REVERSE, headers=headers, url=url) as socket:
            if socket.status == 101:
                for text in ("hi", "and again"):
                    socket.request(text)
                    assert list(socket.events())[-1]["type"] == "response.completed"
        return socket.status, scripted.keys()[-1]

    status, home = connected()
    assert status == 101
    scripted.failures[home] = [refusal(401)]
    assert connected() == (401, home), "a handshake gets its real answer"
    status, other = connected()
    assert (status, {home, other}) == (101, {A, B})
    row, _ = latest(proxy)
    assert row["credential_hint"] == HINTS[other]
    assert len(scripted.seen) == 3, "a connection keeps its key"


def test_token_count_is_made_with_the_next_key(clients: Clients, scripted: Scripted) -> None:
    counting = dataclasses.replace(MESSAGES, path="/v1/messages/count_tokens")
    assert ask(clients, REVERSE, counting, "count").status == 200
    [home] = scripted.keys()
    scripted.failures[home] = [refusal(429, retry_after="30")]
    answer = ask(clients, REVERSE, counting, "count")
    assert answer.status == 200
    assert scripted.keys()[1] == home
    assert set(scripted.keys()) == {A, B}
    assert scripted.bodies()[1:] == [answer.body] * 2


def test_stored_objects_are_found_with_the_key_that_made_them(
    clients: Clients, scripted: Scripted
) -> None:
    queued = {**json.loads(RESPONSES.answer()), "status": "queued", "output": [], "usage": None}

    def canned(request: Request) -> Response:
        body = json.dumps(queued | {"id": f"resp_{len(scripted.seen)}"}).encode()
        return Response(200, [("content-type", "application/json")], body)

    scripted.provider.canned["queued"] = canned
    members = {"background": True}
    ask(clients, REVERSE, RESPONSES, "stored", members=members, x_standin_canned="queued")
    [home] = scripted.keys()
    scripted.failures[home] = [refusal(429, retry_after="30")]
    ask(clients, REVERSE, RESPONSES, "stored", members=members, x_standin_canned="queued")
    other = B if home == A else A
    assert scripted.keys() == [home, home, other]
    url = clients.url(REVERSE, "openai", "").replace("/openai", "/stored-openai", 1)
    with clients.http(REVERSE) as http:
        for path in ("responses/resp_1", "responses/resp_3", "responses/resp_1/input_items"):
            http.get(f"{url}/{path}")
        http.post(f"{url}/files", files={"file": b"{}"}, data={"purpose": "batch"})
        http.get(f"{url}/files/file-1")
    assert scripted.fetched[:3] == [("resp_1", home), ("resp_3", other), ("input_items", home)]
    uploaded = scripted.keys()[-1]
    assert scripted.fetched[3:] == [("file-1", uploaded)]
    file = [{"role": "user", "content": [{"type": "input_file", "file_id": "file-1"}]}]
    ask(clients, REVERSE, RESPONSES, "stored", members={"input": file})
    assert scripted.keys()[-1] == uploaded


def fetch(clients: Clients, name: str, path: str) -> int:
    url = clients.url(REVERSE, "openai", "").replace("/openai", f"/{name}-openai", 1)
    with clients.http(REVERSE) as http:
        return http.get(f"{url}/{path}").status_code


@pytest.mark.parametrize(
    ("status", "path"),
    [
        (429, "models/m-1"),
        (429, "files/f-1"),
        (429, "responses/resp_1"),
        (429, "batches/batch_1"),
        (401, "files/f-1"),
        (402, "batches/batch_1"),
    ],
)
def test_request_that_is_not_a_call_is_made_with_the_next_key(
    clients: Clients, scripted: Scripted, status: int, path: str
) -> None:
    name = path.rpartition("/")[2]
    scripted.failed_fetches[name] = [refusal(status), refusal(200)]
    assert fetch(clients, f"org{status}", path) == 200
    first, second = (key for fetched, key in scripted.fetched if fetched == name)
    assert {first, second} == {A, B}


@pytest.mark.parametrize(
    ("pool", "path", "status"),
    [
        ("org429", "models/m-1", 403),
        ("org429", "models/m-1", 503),
        ("stored", "files/f-1", 401),
    ],
    ids=["of_the_caller", "of_the_provider", "of_the_only_key_of_its_organization"],
)
def test_failure_that_no_other_key_helps_is_passed_on(
    clients: Clients, scripted: Scripted, pool: str, path: str, status: int
) -> None:
    name = path.rpartition("/")[2]
    scripted.failed_fetches[name] = [refusal(status)]
    assert fetch(clients, pool, path) == status
    assert [fetched for fetched, _ in scripted.fetched].count(name) == 1


def test_nobodys_own_key_goes_to_another_provider(clients: Clients, scripted: Scripted) -> None:
    scripted.failures[OWN] = [refusal(500)]
    answer = ask(clients, REVERSE, MESSAGES, "falling", x_api_key=OWN)
    assert (answer.status, scripted.keys()) == (500, [OWN])


def test_refusal_of_a_clients_own_key_leaves_the_pool_alone(
    clients: Clients, scripted: Scripted, proxy: Proxy
) -> None:
    scripted.failures[OWN] = [refusal(401), refusal(429, retry_after="30"), refusal(402)]
    statuses = [ask(clients, REVERSE, MESSAGES, "again", x_api_key=OWN).status for _ in range(3)]
    assert (statuses, scripted.keys()) == ([401, 429, 402], [OWN] * 3)
    _, report = health(proxy)
    states = [key["state"] for key in report["keys"] if key["provider"] == "again-anthropic"]
    assert states == ["ok", "ok"]


@pytest.mark.parametrize("model", ["standin-1", "alias-of-standin-1"])
def test_open_circuit_breaker_leads_to_the_fallback(
    clients: Clients, scripted: Scripted, proxy: Proxy, model: str
) -> None:
    named = {"model": model}
    scripted.failures[A] = [refusal(529)] * 5
    for _ in range(5):
        assert ask(clients, REVERSE, CHAT, "falling", members=named).status == 529
    scripted.seen.clear()
    answer = ask(clients, REVERSE, CHAT, "falling", members=named)
    assert (answer.status, scripted.keys()) == (200, [OTHER])
    assert json.loads(scripted.bodies()[0])["model"] == "served-1"
    row, _ = latest(proxy)
    assert row["provider_name"] == "elsewhere-openai"
    scripted.failures[A] = [refusal(529)] * 5
    for _ in range(6):
        answer = ask(clients, REVERSE, CHAT, "falling", members={"model": "standin-2"})
    assert answer.status == 503
    assert "x-aibridge-served-by" not in answer.headers
    row, _ = latest(proxy)
    assert row["provider_name"] == "falling-openai"


def test_fallback_whose_own_circuit_breaker_is_open_is_passed_over(
    clients: Clients, scripted: Scripted, proxy: Proxy
) -> None:
    def open_breaker(name: str, key: str, model: str) -> None:
        scripted.failures[key] = [refusal(529)] * 5
        for _ in range(5):
            assert ask(clients, REVERSE, CHAT, name, members={"model": model}).status == 529

    open_breaker("middle", B, "middle-1")
    for model in ("standin-1", "standin-2"):
        open_breaker("chain", A, model)
    scripted.seen.clear()
    found = ask(clients, REVERSE, CHAT, "chain")
    assert (found.status, scripted.keys()) == (200, [OTHER])
    assert json.loads(scripted.bodies()[0])["model"] == "served-1"
    assert found.headers["x-aibridge-served-by"] == "elsewhere-openai/served-1"
    row, [usage] = latest(proxy)
    assert (row["provider_name"], usage["model"]) == ("elsewhere-openai", "served-1")

    scripted.seen.clear()
    refused = ask(clients, REVERSE, CHAT, "chain", members={"model": "standin-2"})
    assert (refused.status, scripted.keys()) == (503, [])
    assert "x-aibridge-served-by" not in refused.headers
    row, usages = latest(proxy)
    assert (row["provider_name"], row["status"], usages) == ("chain-openai", "refused", [])


def test_conversation_that_a_fallback_serves_stays_with_its_state(
    clients: Clients, scripted: Scripted, proxy: Proxy
) -> None:
    def say(text: str, *items: Any, **members: Any) -> Asked:
        said = [{"role": "user", "content": text}, *items]
        return ask(clients, REVERSE, RESPONSES, "falling", members={"input": said, **members})

    scripted.failures[A] = [refusal(500)]
    first = json.loads(say("one").raw)
    assert scripted.keys() == [A, OTHER]
    reasoning = {"type": "reasoning", "encrypted_content": "of-the-fallback", "summary": []}
    further = [
        say("one", reasoning, {"role": "user", "content": "two"}),
        say("and three", previous_response_id=first["id"]),
    ]
    assert scripted.keys()[2:] == [OTHER, OTHER]
    assert [json.loads(body)["model"] for body in scripted.bodies()[2:]] == ["served-1"] * 2
    for found in further:
        assert found.headers["x-aibridge-served-by"] == "elsewhere-openai/served-1"
    assert latest(proxy)[0]["provider_name"] == "elsewhere-openai"
    labels = {"provider": "elsewhere-openai", "reason": "state"}
    assert metric(proxy, "aibridge_fallbacks_total", **labels) == 2

    fetch(clients, "falling", f"responses/{first['id']}/input_items?limit=5")
    fetch(clients, "falling", "responses/resp_of_nobody")
    assert scripted.fetched[-2:] == [("input_items", OTHER), ("resp_of_nobody", A)]

    say("one")  # without any state: the first instance is back
    say("another", reasoning)
    say("one", reasoning)
    assert scripted.keys()[4:] == [A, A, A]


@contextmanager
def failing_after_each_answer(scripted: Scripted, failures: list[Answer | Gate]) -> Iterator[None]:
    """Let each answer be followed by one of the failures, for its key."""

    async def answer(request: Request) -> Answer:
        made = await Provider.__call__(provider, request)
        if request.method == "POST":  # and not the check of a key that was set aside before
            scripted.failures[key_of(request)] = failures[:1]
            del failures[:1]
        return made

    provider = scripted.provider
    scripted.provider = answer  # type: ignore[assignment]
    try:
        yield
    finally:
        scripted.provider = provider


CALL = 'USE_TOOL:bmcp_local_echo ARGS:{"text":"once"}'


def injected_calls(proxy: Proxy) -> list[Row]:
    """Return the rows of all calls of central tools."""
    return [row for row in proxy.records.tool_usages if row["injected"]]


def test_follow_up_of_the_inner_loop_changes_the_key_and_runs_no_tool_twice(
    clients: Clients, scripted: Scripted, proxy: Proxy
) -> None:
    before = len(injected_calls(proxy))
    with failing_after_each_answer(scripted, [refusal(401)]):
        found = ask(clients, REVERSE, MESSAGES, "loop", text=CALL, stream=True)
    assert found.status == 200
    assert b"once" in found.raw
    first, second, third = scripted.keys()
    assert first == second != third
    row, _ = latest(proxy)
    assert len(injected_calls(proxy)) == before + 1
    assert row["credential_hint"] == HINTS[third]


def test_silent_follow_up_of_the_inner_loop_is_sent_again_with_the_same_bytes(
    clients: Clients, scripted: Scripted, proxy: Proxy
) -> None:
    before, gate = len(injected_calls(proxy)), Gate()
    with failing_after_each_answer(scripted, [gate]):
        found = ask(clients, REVERSE, CHAT, "loop", text=CALL)
    gate.release()
    assert found.status == 200
    assert b"once" in found.raw
    _, second, third = scripted.bodies()
    assert second == third
    assert len(injected_calls(proxy)) == before + 1
