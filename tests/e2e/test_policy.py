"""Actors, credentials, routes, usage of chat streams, and configuration mistakes."""

import gzip
import hashlib
import json
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from forked import MITMDUMP, command
from standin import Provider, Response, Server

from e2e.bodies import APIS, CHAT, MESSAGES, RESPONSES, Api
from e2e.clients import ANTHROPIC_KEY, OPENAI_KEY, WAYS, Clients, Way
from e2e.conftest import StartProxy
from e2e.metrics import metric
from e2e.proxies import RunProxy
from e2e.proxy import SCRIPT, START_S, Proxy
from e2e.wire import connect

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS

each_pair = pytest.mark.parametrize(
    ("api", "way"),
    [(CHAT, FORWARD), (MESSAGES, FORWARD_H2), (MESSAGES, REVERSE), (RESPONSES, REVERSE_H2)],
    ids=str,
)
each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_reverse_way = pytest.mark.parametrize("way", [REVERSE, REVERSE_H2], ids=str)
each_forward_way = pytest.mark.parametrize("way", [FORWARD, FORWARD_H2], ids=str)

CENTRAL_ANTHROPIC = "sk-ant-central-0123456789"
CENTRAL_OPENAI = "sk-central-0123456789"

KNOWN_KEY = "sk-ant-known-0123456789"
FINGERPRINT = "sha256:" + hashlib.sha256(KNOWN_KEY.encode()).hexdigest()

ACTORS = f"""
[[actors]]
match = "{FINGERPRINT}"
id = "carol"
metadata = {{ team = "search", level = 3 }}

[[actors]]
match = "d.smith"
id = "dave"
metadata = {{ team = "ads" }}
"""

ACTOR = {"X-AIBridge-Actor": "alice"}


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """Run a proxy that requires an actor, has central keys and requests usage."""
    with run_proxy(
        standin.origin,
        more_config=ACTORS,
        options={"aibridge_require_actor": True, "aibridge_ask_chat_usage": True},
        env={"ANTHROPIC_API_KEY": CENTRAL_ANTHROPIC, "OPENAI_API_KEY": CENTRAL_OPENAI},
        metrics=True,
    ) as made:
        yield made


def post(
    clients: Clients,
    way: Way,
    api: Api,
    headers: dict[str, str],
    *,
    stream: bool = False,
    content: bytes | None = None,
) -> httpx2.Response:
    """Send a request with these headers only."""
    with clients.http(way) as http:
        return http.post(
            clients.url(way, api.provider, api.path),
            content=api.request("hi", stream=stream) if content is None else content,
            headers=headers,
        )


# --- actors


@each_pair
def test_anonymous_request_is_refused_and_never_reaches_the_provider(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, way: Way
) -> None:
    before = metric(proxy, "aibridge_refused_total", reason="no_actor")
    with proxy.recording() as records:
        refusal = post(clients, way, api, api.headers, stream=True)
    assert refusal.status_code == 400
    assert refusal.headers["content-type"] == "application/json"
    assert api.is_error(refusal.json())
    assert "x-aibridge-actor" in refusal.text.lower()
    assert standin.requests == []
    row = records.interception
    assert (row["status"], row["http_status"], row["error_type"]) == ("refused", 400, "no_actor")
    assert (row["initiator_id"], row["partial"]) == ("anonymous", 0)
    assert row["ended_at"]
    assert records.token_usages == []
    assert metric(proxy, "aibridge_refused_total", reason="no_actor") == before + 1


@each_way
def test_passthrough_request_needs_no_actor(clients: Clients, standin: Server, way: Way) -> None:
    with clients.http(way) as http:
        answer = http.get(clients.url(way, "anthropic", "/v1/models"), headers=MESSAGES.headers)
    assert answer.status_code == 200
    assert [request.path for request in standin.requests] == ["/v1/models"]


@each_pair
@pytest.mark.parametrize(
    ("named", "actor", "metadata"),
    [("alice", "alice", {}), ("d.smith", "dave", {"team": "ads"})],
)
def test_actor_header_names_the_actor_and_is_not_sent_to_the_provider(
    proxy: Proxy,
    clients: Clients,
    standin: Server,
    api: Api,
    way: Way,
    named: str,
    actor: str,
    metadata: dict[str, Any],
) -> None:
    with proxy.recording() as records:
        assert post(clients, way, api, api.headers | {"X-AIBridge-Actor": named}).status_code == 200
    assert records.interception["initiator_id"] == actor
    assert records.interception["metadata"] == metadata
    assert standin.requests[-1].header("x-aibridge-actor") is None


@each_way
@pytest.mark.parametrize("header", ["x-api-key", "authorization"])
def test_key_fingerprint_names_the_actor(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, header: str
) -> None:
    value = KNOWN_KEY if header == "x-api-key" else f"Bearer {KNOWN_KEY}"
    with proxy.recording() as records:
        assert post(clients, way, MESSAGES, {header: value}).status_code == 200
    assert records.interception["initiator_id"] == "carol"
    assert records.interception["metadata"] == {"team": "search", "level": 3}
    assert standin.requests[-1].header(header) == value


def test_user_of_proxyauth_is_the_actor(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    proxy = start_proxy(options={"proxyauth": "erin:secret", "aibridge_require_actor": True})
    clients = clients_of(proxy)
    for way in (FORWARD, FORWARD_H2):
        with httpx2.Client(
            verify=clients.trust(),
            http2=way.http2,
            http1=not way.http2,
            trust_env=False,
            proxy=httpx2.Proxy(proxy.forward_url, auth=("erin", "secret")),
        ) as http:
            answer = http.post(
                clients.url(way, "anthropic", "/v1/messages"),
                content=MESSAGES.request("hi", stream=False),
                headers=MESSAGES.headers | ACTOR,  # who has proved it is who counts
            )
            assert answer.status_code == 200
    with clients.http(REVERSE) as http:
        answer = http.post(
            clients.url(REVERSE, "anthropic", "/v1/messages"),
            content=MESSAGES.request("hi", stream=False),
            headers=MESSAGES.headers,
            auth=("erin", "secret"),
        )
        assert answer.status_code == 200
    assert [row["initiator_id"] for row in proxy.records.interceptions] == ["erin"] * 3
    with clients.http(FORWARD) as http, pytest.raises(httpx2.ProxyError):
        http.get("https://api.anthropic.com/v1/models")
    assert len(standin.requests) == 3
    assert [request.header("proxy-authorization") for request in standin.requests] == [None] * 3
    assert standin.requests[-1].header("authorization") is None


# --- credentials


@each_reverse_way
@each_api
def test_central_key_is_used_for_clients_without_a_key(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, api: Api
) -> None:
    with proxy.recording() as records:
        assert post(clients, way, api, ACTOR).status_code == 200
    request = standin.requests[-1]
    central = (CENTRAL_ANTHROPIC, None) if api is MESSAGES else (None, f"Bearer {CENTRAL_OPENAI}")
    assert (request.header("x-api-key"), request.header("authorization")) == central
    row = records.interception
    assert row["credential_kind"] == "centralized"
    assert row["credential_hint"] == ("sk-a...6789" if api is MESSAGES else "sk-c...6789")


@each_reverse_way
@pytest.mark.parametrize(
    ("api", "own"),
    [
        (MESSAGES, {"x-api-key": "aibridge"}),
        (MESSAGES, {"authorization": "Bearer aibridge"}),
        (CHAT, {"authorization": "Bearer aibridge"}),
    ],
)
def test_placeholder_key_is_replaced_by_the_central_key(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, api: Api, own: dict[str, str]
) -> None:
    with proxy.recording() as records:
        assert post(clients, way, api, {**ACTOR, **own}).status_code == 200
    request = standin.requests[-1]
    central = (CENTRAL_ANTHROPIC, None) if api is MESSAGES else (None, f"Bearer {CENTRAL_OPENAI}")
    assert (request.header("x-api-key"), request.header("authorization")) == central
    assert records.interception["credential_kind"] == "centralized"


@each_forward_way
@each_api
def test_central_key_is_never_used_in_forward_mode(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, api: Api
) -> None:
    with proxy.recording() as records:
        assert post(clients, way, api, ACTOR).status_code == 200
    request = standin.requests[-1]
    assert (request.header("x-api-key"), request.header("authorization")) == (None, None)
    assert records.interception["credential_kind"] is None


@each_way
@pytest.mark.parametrize(
    "own",
    [
        (MESSAGES, {"x-api-key": ANTHROPIC_KEY}),
        (MESSAGES, {"authorization": "Bearer sk-ant-oat01-subscription"}),
        (CHAT, {"authorization": f"Bearer {OPENAI_KEY}"}),
        (CHAT, {"api-key": "azure-0123456789"}),
    ],
    ids=["key", "subscription", "bearer", "azure"],
)
def test_own_key_of_the_client_is_preferred_to_the_central_key(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, own: tuple[Api, dict[str, str]]
) -> None:
    api, credentials = own
    with proxy.recording() as records:
        assert post(clients, way, api, credentials | ACTOR).status_code == 200
    request = standin.requests[-1]
    names = ("x-api-key", "authorization", "api-key")
    assert {name: request.header(name) for name in names} == dict.fromkeys(names) | credentials
    is_login = "subscription" in credentials.get("authorization", "")
    kind = "subscription" if is_login else "byok"
    assert records.interception["credential_kind"] == kind


# --- routes

NO_ROUTES = (
    ("POST", "/anthropic/v1/agents"),
    ("PUT", "/anthropic/v1/messages/batches"),
    ("POST", "/anthropic/v1/messages/"),
    ("POST", "/anthropic/V1/Messages"),
    ("GET", "/anthropic/v1/organizations/usage?x=1"),
    ("GET", "/anthropic/"),
    ("GET", "/anthropic/v1/models/%2e%2e/organizations"),
    ("GET", "/anthropic/v1/models/..;/organizations"),
    ("GET", "/anthropic/v1/models/%252e%252e%252forganizations"),
    ("TRACE", "/anthropic/v1/messages"),
    ("OPTIONS", "/anthropic/v1/messages"),
    ("PUT", "/openai/v1/chat/completions"),
    ("QUERY", "/openai/v1/responses"),
    ("DELETE", "/openai/v1/models/ft:gpt-4.1:acme"),
    ("DELETE", "/openai/v1/uploads/upload-1"),
    ("POST", "/openai/v1/evals"),
    ("POST", "/openai/chat/completions"),
    ("POST", "/nobody/v1/messages"),
    ("GET", "/"),
    ("GET", "/v1/models"),
)


@each_reverse_way
@pytest.mark.parametrize(("method", "target"), NO_ROUTES, ids=lambda value: value)
def test_reverse_proxy_answers_other_routes_with_404(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, method: str, target: str
) -> None:
    scheme = "https" if way.http2 else "http"
    url = httpx2.URL(f"{scheme}://127.0.0.1:{proxy.reverse_port}")
    path, _, query = target.partition("?")
    url = url.copy_with(raw_path=target.encode())
    with proxy.recording() as records, clients.http(way) as http:
        answer = http.request(method, url, headers=MESSAGES.headers | ACTOR)
    assert answer.status_code == 404
    error = answer.json()["error"]
    assert f"{method} {path} is not a route" in error["message"]
    assert "x=1" not in answer.text or not query
    if target.startswith("/anthropic"):
        assert MESSAGES.is_error(answer.json())
    elif target.startswith("/openai"):
        assert CHAT.is_error(answer.json())
        assert "type" not in answer.json()
    assert standin.requests == []
    assert records.interceptions == []


def test_forward_proxy_relays_every_route(clients: Clients, standin: Server) -> None:
    with clients.http(FORWARD) as http:
        answer = http.post("https://api.anthropic.com/v1/skills?x=1", content=b"skill")
    assert answer.status_code == 404  # the provider's own
    assert [request.target for request in standin.requests] == ["/v1/skills?x=1"]


@pytest.mark.parametrize("method", [b"post", b"Post", b"PRI", b"\xff\xfe", b"P\xc3\x96ST"])
def test_reverse_proxy_matches_methods_case_sensitively(
    clients: Clients, standin: Server, method: bytes
) -> None:
    with connect(clients, REVERSE) as sock:
        sock.sendall(method + b" /anthropic/v1/messages HTTP/1.1\r\nhost: x\r\n\r\n")
        answer = sock.recv(64 * 1024)
    assert answer.startswith(b"HTTP/1.1 40"), answer
    assert standin.requests == []
    if method.isascii():
        assert b"aibridge: %b /anthropic/v1/messages is not a route" % method in answer


@pytest.mark.parametrize("method", ["TRACE", "OPTIONS", "PUT", "QUERY"])
def test_forward_proxy_relays_every_method(clients: Clients, standin: Server, method: str) -> None:
    with clients.http(FORWARD) as http:
        http.request(method, "https://api.anthropic.com/v1/messages", headers=MESSAGES.headers)
    assert [(request.method, request.path) for request in standin.requests] == [
        (method, "/v1/messages")
    ]


@pytest.mark.parametrize("name", ["Content-Encoding", "x-api-key", "anthropic-version"])
def test_connection_header_cannot_remove_headers_that_describe_the_request(
    clients: Clients, standin: Server, name: str
) -> None:
    content = gzip.compress(MESSAGES.request("hi", stream=False))
    headers = MESSAGES.headers | ACTOR | {"content-encoding": "gzip", "connection": name}
    assert post(clients, REVERSE, MESSAGES, headers, content=content).status_code == 200
    [request] = standin.requests
    assert request.header(name) == (MESSAGES.headers | {"content-encoding": "gzip"})[name.lower()]


def test_provider_host_with_a_final_dot_is_recognised(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    with proxy.recording() as records, connect(clients, FORWARD, "api.anthropic.com.") as sock:
        body = MESSAGES.request("hi", stream=False)
        head = "POST /v1/messages HTTP/1.1\r\nhost: api.anthropic.com.\r\nx-api-key: a\r\n"
        head += f"connection: close\r\nx-aibridge-actor: alice\r\ncontent-length: {len(body)}\r\n"
        sock.sendall(head.encode() + b"\r\n" + body)
        assert sock.recv(64 * 1024).startswith(b"HTTP/1.1 200 ")
    assert records.interception["status"] == "completed"
    assert [request.path for request in standin.requests] == ["/v1/messages"]


# --- usage of chat streams


def chat_request(**members: Any) -> bytes:
    """Return a streaming request that does not request usage, unless `members` do."""
    body = json.loads(CHAT.request("hi", stream=True))
    del body["stream_options"]
    return json.dumps(body | members, indent=1).encode()


@each_way
@pytest.mark.parametrize("coding", ["identity", "gzip"])
@pytest.mark.parametrize("announced", [False, True], ids=["chunked", "announced"])
def test_usage_chunk_of_a_chat_stream_is_recorded_and_removed_for_clients_that_did_not_request_it(
    proxy: Proxy,
    clients: Clients,
    provider: Provider,
    standin: Server,
    way: Way,
    coding: str,
    announced: bool,
) -> None:
    events = CHAT.events()

    def answer(request: Any) -> Response:
        # Compressed only for those who take it.
        accepted = (request.header("accept-encoding") or "").replace(" ", "").split(",")
        used = coding if coding in accepted else "identity"
        body = b"".join(events) if announced else list(events)
        return Response(200, [("content-type", "text/event-stream")], body, coding=used)

    provider.canned["chat"] = answer
    content = chat_request()
    with proxy.recording() as records:
        headers = CHAT.headers | ACTOR | {"x-standin-canned": "chat"}
        seen = post(clients, way, CHAT, headers, content=content)
    assert records.counts == CHAT.tokens
    assert records.interception["status"] == "completed"
    assert records.interception["partial"] == 0
    *others, usage, done = events
    assert b'"choices":[]' in usage
    assert seen.content == b"".join([*others, done])
    asked = json.loads(standin.requests[-1].body)
    assert asked == json.loads(content) | {"stream_options": {"include_usage": True}}


@each_way
@pytest.mark.parametrize("wanted", [True, False])
def test_chat_request_with_stream_options_is_relayed_unchanged(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, wanted: bool
) -> None:
    content = chat_request(stream_options={"include_usage": wanted})
    with proxy.recording() as records:
        seen = post(clients, way, CHAT, CHAT.headers | ACTOR, content=content)
    assert standin.requests[-1].body == content
    assert (b'"choices":[]' in seen.content) == wanted
    assert len(records.token_usages) == wanted


@each_way
def test_requests_other_than_chat_streams_are_relayed_unchanged(
    clients: Clients, standin: Server, way: Way
) -> None:
    whole = chat_request(stream=False)
    post(clients, way, CHAT, CHAT.headers | ACTOR, content=whole)
    assert standin.requests[-1].body == whole
    streamed = MESSAGES.request("hi", stream=True)
    post(clients, way, MESSAGES, MESSAGES.headers | ACTOR, content=streamed)
    assert standin.requests[-1].body == streamed


# --- mistakes

PROVIDER = '[[providers]]\nname = "x"\ntype = "openai"\nbase_url = "https://x.test"\n'

WRONG_TABLES = (
    (PROVIDER + 'base_ulr = "y"\n', "providers[0].base_ulr"),
    (PROVIDER.replace("openai", "oops"), "providers[1].type"),
    (PROVIDER.replace("https://", ""), "providers[2].base_url"),
    ('[[actors]]\nmatch = "sha256:12"\nid = "a"\n', "actors[0].match"),
    ("[servers]\n", "servers"),
)

MISTAKES: dict[str, tuple[str, dict[str, str], tuple[str, ...]]] = {
    "tables": (
        "".join(table for table, _ in WRONG_TABLES),
        {},
        tuple(key for _, key in WRONG_TABLES),
    ),
    "no address": (
        '[[providers]]\nname = "x"\ntype = "openai"\n',
        {},
        ("providers[0].base_url",),
    ),
    "a name twice": (PROVIDER + PROVIDER, {}, ("providers[1].name",)),
    "no TOML": ("[[providers\n", {}, ("aibridge_config",)),
    "an option": ("", {"aibridge_capture": "promts"}, ("aibridge_capture", "promts")),
}


@pytest.mark.parametrize("mistake", MISTAKES)
def test_configuration_mistake_stops_the_start_and_names_the_key(
    tmp_path: Path, confdir: Path, mistake: str
) -> None:
    config, options, keys = MISTAKES[mistake]
    path = tmp_path / "aibridge.toml"
    path.write_text(config)
    given = {
        "confdir": confdir,
        "listen_port": 0,
        "aibridge_config": path,
        "aibridge_db": tmp_path / "aibridge.sqlite3",
        **options,
    }
    arguments = [f"--set={name}={value}" for name, value in given.items()]
    ended = subprocess.run(
        [*command(MITMDUMP), "-s", SCRIPT, *arguments],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_S,
        check=False,
    )
    assert ended.returncode != 0
    assert [key for key in keys if key not in ended.stdout] == [], ended.stdout
    assert "Traceback" not in ended.stdout
    assert not Path(str(given["aibridge_db"])).exists()
