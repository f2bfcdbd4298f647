"""Model and provider limits of access tokens, also for models in unusual places of a request."""

import gzip
import json
import socket
from collections.abc import Iterator
from typing import Any

import httpx2
import pytest
from standin import Server

from e2e.bodies import CHAT, MESSAGES, RESPONSES
from e2e.clients import OPENAI_KEY, TIMEOUT_S, WAYS, Clients, Way
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.sockets import CODEX, Socket
from e2e.tables import provider_toml
from e2e.test_tokens import CENTRAL, basic, connect, token

FORWARD, _, REVERSE, _ = WAYS

each_way = pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """Run a proxy with central keys and a provider instance that only the reverse proxy serves."""
    local = provider_toml(f"{standin.origin}/v1", "openai", name="local")
    with run_proxy(standin.origin, more_config=local, env=CENTRAL, before_start=token) as made:
        yield made


def ask(
    proxy: Proxy,
    clients: Clients,
    way: Way,
    method: str,
    path: str,
    content: bytes,
    *,
    provider: Any = "openai",
    headers: dict[str, str] | None = None,
) -> httpx2.Response:
    """Send a request with an access token that is limited to cheap models."""
    said = {"X-AIBridge-Token": token(proxy, models=("cheap*",)), "x-api-key": OPENAI_KEY}
    with clients.http(way) as http:
        url = clients.url(way, provider, path)
        return http.request(method, url, content=content, headers=said | (headers or {}))


def refusal(answer: httpx2.Response) -> str:
    """Return the message of a refusal."""
    assert answer.status_code == 400, answer.text
    return str(answer.json()["error"]["message"])


# --- models

CHEAP = b'{"model":"cheap-1","messages":[{"role":"user","content":"x"}]%b}'
EVASIONS = {
    "twice": b'{"model":"dear","model":"cheap-1","messages":[]}',
    "twice, the other way": b'{"model":"cheap-1","model":"cheap-2","messages":[]}',
    "in capitals too": CHEAP % b',"Model":"dear"',
    "escaped": CHEAP % b',"\\u006dodel":"dear"',
    "in what only lenient readers take": CHEAP % b',"x":NaN,"Model":"dear"',
    "as what else to ask": CHEAP % b',"models":["cheap-2","dear"]',
    "as a fallback": CHEAP % b',"fallbacks":[{"model":"dear"}]',
    "as a fallback by name": CHEAP % b',"fallbacks":["dear"]',
    "deeper": CHEAP % b',"extra_body":{"model":"dear"}',
    "by a preset": CHEAP % b',"preset":"x"',
    "as a tool": CHEAP % b',"tools":[{"type":"advisor_20260301","model":"dear"}]',
}


@each_way
@pytest.mark.parametrize("evasion", EVASIONS)
@pytest.mark.parametrize("api", [CHAT, MESSAGES, RESPONSES], ids=str)
def test_hidden_model_is_refused_under_model_limits(
    proxy: Proxy, clients: Clients, standin: Server, api: Any, way: Way, evasion: str
) -> None:
    with proxy.recording() as records:
        answer = ask(
            proxy, clients, way, "POST", api.path, EVASIONS[evasion], provider=api.provider
        )
    assert "model" in refusal(answer)
    assert api.is_error(answer.json())
    assert standin.requests == []
    assert records.interception["error_type"] == "token_scope"


@each_way
def test_request_with_allowed_models_only_is_relayed_unchanged(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    content = CHEAP % b',"models":["cheap-2"],"metadata":{"Model":"dear","model":"dear"}'
    answer = ask(proxy, clients, way, "POST", "/chat/completions?model=cheap-3", content)
    assert answer.status_code == 200, answer.text
    assert standin.requests[-1].body == content


def test_ambiguous_body_is_relayed_without_model_limits(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    headers = {"authorization": f"Bearer {token(proxy)}"}
    content = EVASIONS["twice"].replace(b"[]", b'[{"role":"user","content":"x"}]')
    with clients.http(REVERSE) as http:
        url = clients.url(REVERSE, "openai", "/chat/completions")
        assert http.post(url, content=content, headers=headers).status_code == 200
    assert standin.requests[-1].body == content


FORM = b'--b\r\nContent-Disposition: form-data; name="model"\r\n\r\ndear\r\n--b--\r\n'
PASSING = [
    ("POST", "/embeddings", b'{"model":"cheap-1"}', {"x-model": "dear"}),
    ("POST", "/audio/transcriptions", FORM, {"content-type": "multipart/form-data; boundary=b"}),
    ("POST", "/x", b'{"a":"&model=dear&"}', {"content-type": "application/x-www-form-urlencoded"}),
    ("POST", "/embeddings", b'{"model":"dear"}', {}),
    ("PUT", "/embeddings", b'{"model":"cheap-1","Model":"dear"}', {}),
    ("DELETE", "/embeddings", b'{"model":"dear"}', {}),
    (
        "POST",
        "/embeddings",
        gzip.compress(b'{"model":"dear"}', mtime=0),
        {"content-encoding": "gzip"},
    ),
    ("POST", "/embeddings", b'{"model":"cheap-1"}', {"content-encoding": "gzip"}),
    ("POST", "/embeddings", b'{"model":["dear"]}', {}),
    ("POST", "/messages/batches", b'{"requests":[{"params":{"model":"dear"}}]}', {}),
    ("POST", "/messages/batches", b'{"requests":[{"params":{"model":"cheap","model":"b"}}]}', {}),
    ("GET", "/realtime?model=dear", b"", {}),
    ("GET", "/realtime?model=cheap-1&MODEL=dear", b"", {}),
    ("POST", "/chat/completions?model=dear", CHEAP % b"", {}),
]


@pytest.mark.parametrize(("method", "path", "content", "headers"), PASSING)
def test_model_limits_apply_to_passthrough_requests(
    proxy: Proxy,
    clients: Clients,
    standin: Server,
    method: str,
    path: str,
    content: bytes,
    headers: dict[str, str],
) -> None:
    answer = ask(proxy, clients, FORWARD, method, path, content, headers=headers)
    assert "model" in refusal(answer)
    assert standin.requests == []


@pytest.mark.parametrize(
    ("way", "name", "method", "path", "content"),
    [
        (FORWARD, "openai", "POST", "/embeddings", b'{"model":"cheap-1"}'),
        (FORWARD, "openai", "GET", "/realtime?model=cheap-1", b""),
        (FORWARD, "openai", "GET", "/files", b"no JSON"),
        (FORWARD, "openai", "POST", "/files/1/cancel", b""),
        (FORWARD, "anthropic", "POST", "/api/event_logging/batch", b"no JSON"),
        (REVERSE, "anthropic", "POST", "/api/event_logging/batch", b'{"model":"dear"}'),
        (REVERSE, "openai", "POST", "/conversations", b'{"items":[]}'),
        (
            FORWARD,
            "anthropic",
            "POST",
            "/v1/messages/batches",
            b'{"requests":[{"custom_id":"1","params":{"model":"cheap-1"}}]}',
        ),
    ],
)
def test_passthrough_request_without_an_excluded_model_is_relayed(
    proxy: Proxy,
    clients: Clients,
    standin: Server,
    way: Way,
    name: str,
    method: str,
    path: str,
    content: bytes,
) -> None:
    answer = ask(proxy, clients, way, method, path, content, provider=name)
    assert answer.status_code != 400, answer.text
    assert [request.body for request in standin.requests] == [content]


@pytest.mark.parametrize(
    "message",
    [
        b'{"type":"response.create","model":"dear","model":"gpt-5","input":"x"}',
        b'{"type":"response.create","model":"gpt-5","Model":"dear","input":"x"}',
        b'{"type":"response.create","model":"gpt-5","models":["dear"],"input":"x"}',
        b'{"type":"response.create","model":"gpt-5","response":{"model":"dear"}}',
        b'{"type":"response.create","type":"x","model":"dear","input":"x"}',
        b'{"Type":"response.create","model":"gpt-5","input":"x"}',
        b'{"type":"session.update","model":"dear"}',
        b'{"type":"session.update","session":{"model":"dear"}}',
        b'{"type":"response.create","model":"gpt-5","preset":"model","input":"x"}',
        b"no JSON",
    ],
)
def test_websocket_message_with_a_hidden_model_is_refused_under_model_limits(
    proxy: Proxy, clients: Clients, standin: Server, message: bytes
) -> None:
    text = token(proxy, models=("gpt-5",))
    headers = CODEX | {"authorization": f"Bearer {text}"}
    with proxy.recording() as records, Socket(clients, REVERSE, headers=headers) as codex:
        codex.send(message)
        refused = codex.event()
        assert (refused["type"], refused["status"]) == ("error", 400)
        assert "model" in refused["error"]["message"]
        codex.ask("and this one goes on")
    assert all(b"dear" not in request.body for request in standin.requests)
    statuses = [row["status"] for row in records.interceptions]
    is_request = message.startswith(b'{"type":"response.create"')
    assert statuses == [*(["refused"] if is_request else []), "completed"]


def test_websocket_query_with_another_model_is_refused_under_model_limits(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    headers = {"upgrade": "websocket", "connection": "upgrade"}
    answer = ask(proxy, clients, REVERSE, "GET", "/responses?model=dear", b"", headers=headers)
    assert "is not for the model dear" in refusal(answer)
    assert standin.requests == []


# --- instances


@pytest.mark.parametrize(
    ("scope", "status"),
    [
        ({}, "200"),
        ({"providers": ("anthropic", "openai", "local")}, "200"),
        ({"providers": ("anthropic", "openai")}, "407"),
        ({"models": ("cheap*",)}, "407"),
    ],
)
def test_tunnel_to_a_provider_instance_outside_the_limits_is_refused(
    proxy: Proxy, clients: Clients, standin: Server, scope: dict[str, Any], status: str
) -> None:
    login = basic("anybody", token(proxy, **scope))
    answer = connect(proxy, f"127.0.0.1:{standin.port}", {"proxy-authorization": login})
    assert answer.startswith(f"HTTP/1.1 {status} "), answer
    assert ("some models only" in answer or "provider local" in answer) == (status == "407")
    elsewhere = connect(proxy, "api.openai.com:443", {"proxy-authorization": login})
    assert elsewhere.startswith("HTTP/1.1 200 "), "there it is looked at"


def test_plain_request_to_a_provider_instance_outside_the_limits_is_refused(
    proxy: Proxy, standin: Server
) -> None:
    login = basic("anybody", token(proxy, providers=("anthropic", "openai")))
    url = f"http://127.0.0.1:{standin.port}/v1/models"
    head = f"GET {url} HTTP/1.1\r\nhost: x\r\nproxy-authorization: {login}\r\n\r\n"
    with socket.create_connection(("127.0.0.1", proxy.forward_port), TIMEOUT_S) as sock:
        sock.sendall(head.encode())
        answer = sock.recv(64 * 1024).decode()
    assert answer.startswith("HTTP/1.1 407 ")
    assert "is not for the provider local" in answer
    assert standin.requests == []


# --- unknown routes


@pytest.mark.parametrize(
    "path", ["/", "/anthropic/v1/agents", "/nobody/v1/messages", "/local/v1/x"]
)
@pytest.mark.parametrize("text", ["", "aib_no_token"])
def test_client_without_an_access_token_cannot_list_provider_instances(
    proxy: Proxy, clients: Clients, path: str, text: str
) -> None:
    headers = {"x-api-key": text} if text else {}
    with clients.http(REVERSE) as http:
        answer = http.get(f"{proxy.reverse_url}{path}", headers=headers)
        assert "access token" in refusal(answer)
        assert "Paths begin" not in answer.text
        assert json.loads(answer.text).keys() == {"error"}, "one shape for all"
        known = http.get(f"{proxy.reverse_url}/", headers={"x-api-key": token(proxy)})
        assert known.status_code == 404
        assert "/local/v1" in known.text
