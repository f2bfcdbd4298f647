"""Access tokens end to end: the headers that carry them, refusals, tunnels, and secrecy."""

import base64
import socket
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standin import Server

from aibridge_addon.access.tokens import AccessToken
from aibridge_addon.store import open_store
from e2e.bodies import APIS, CHAT, MESSAGES, RESPONSES, Api
from e2e.clients import TIMEOUT_S, WAYS, Clients, Way
from e2e.conftest import StartProxy
from e2e.metrics import metric
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.sockets import CODEX, Socket
from e2e.test_secrets import everything, verbose
from e2e.wire import connect as connect_to

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS

CENTRAL = {
    "ANTHROPIC_API_KEY": "sk-ant-central-0123456789",
    "OPENAI_API_KEY": "sk-central-0123456789",
}
PAST = (datetime.now(UTC) - timedelta(days=1)).isoformat(timespec="microseconds")
NEVER_MADE = AccessToken.make("mallory")[0]

each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)


def token(proxy: Proxy, name: str = "alice", **scope: Any) -> str:
    """Create an access token as the command does; return its text."""
    text, made = AccessToken.make(name, **scope)
    open_store(proxy.database).add_access_token(made)
    return text


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """Run a proxy with central keys and one access token that logs and saves everything."""
    options = verbose() | {"aibridge_private_networks": "127.0.0.1"}
    with run_proxy(
        standin.origin, options=options, env=CENTRAL, metrics=True, before_start=token
    ) as made:
        yield made


@dataclass(frozen=True)
class Place:
    """A place for the access token in a request."""

    name: str
    headers: Callable[[Api, str], dict[str, str]] = lambda api, text: {}
    login: Callable[[str], tuple[str, str] | None] = lambda text: None
    ways: tuple[Way, ...] = field(default=WAYS)
    as_key: bool = False

    def __str__(self) -> str:
        return self.name


def basic(user: str, password: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()


LOGIN = Place("login", login=lambda text: ("anybody", text), ways=(FORWARD, FORWARD_H2))
HEADER = Place("header", lambda api, text: {"X-AIBridge-Token": text})
BEARER = Place(
    "bearer",
    lambda api, text: {"authorization": f"Bearer {text}"},
    ways=(REVERSE, REVERSE_H2),
    as_key=True,
)
PLACES = (
    LOGIN,
    Place("login without password", login=lambda text: (text, ""), ways=(FORWARD, FORWARD_H2)),
    HEADER,
    BEARER,
    Place("key", lambda api, text: {"x-api-key": text}, ways=(REVERSE, REVERSE_H2), as_key=True),
    Place(
        "both keys",
        lambda api, text: {"x-api-key": text, "authorization": f"Bearer {text}"},
        ways=(REVERSE,),
        as_key=True,
    ),
    Place(
        "base URL with a login",
        lambda api, text: {"authorization": basic("alice", text)},
        ways=(REVERSE,),
        as_key=True,
    ),
)
each_place = pytest.mark.parametrize(
    ("place", "way"),
    [(place, way) for place in PLACES for way in place.ways],
    ids=str,
)


def client(clients: Clients, way: Way, login: tuple[str, str] | None = None) -> httpx2.Client:
    """Return an HTTP client with an optional login to the forward proxy."""
    if way.mode == "reverse" or login is None:
        return clients.http(way)
    assert clients.proxy
    return httpx2.Client(
        verify=clients.trust(),
        http2=way.http2,
        http1=not way.http2,
        trust_env=False,
        timeout=TIMEOUT_S,
        proxy=httpx2.Proxy(clients.proxy.forward_url, auth=login),
    )


def ask(
    clients: Clients,
    way: Way,
    api: Api,
    place: Place,
    text: str,
    *,
    own_key: bool = True,
    stream: bool = True,
    **members: Any,
) -> httpx2.Response:
    """Send a request with an access token, and with a provider key unless the token is the key."""
    headers = api.headers if own_key and not place.as_key else {}
    with client(clients, way, place.login(text)) as http:
        return http.post(
            clients.url(way, api.provider, api.path),
            content=api.request("hi", stream=stream, **members),
            headers=headers | place.headers(api, text),
        )


def refused(proxy: Proxy, api: Api, answer: httpx2.Response, reason: str) -> dict[str, Any]:
    """Check that a response is a refusal in the provider's error format; return the error."""
    assert answer.status_code == 400, answer.text
    assert api.is_error(answer.json())
    return dict(answer.json()["error"])


# --- places


@each_place
@each_api
def test_access_token_is_accepted_in_every_place_and_names_its_owner(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, place: Place, way: Way
) -> None:
    text = token(proxy, "bob")
    with proxy.recording() as records:
        answer = ask(clients, way, api, place, text)
    assert answer.status_code == 200, answer.text
    row = records.interception
    assert (row["initiator_id"], row["status"]) == ("bob", "completed")
    assert row["access_token_id"] == text.split("_")[1]
    assert row["credential_kind"] == ("centralized" if place.as_key else "byok")
    [request] = standin.requests
    sent = dict(request.headers)
    assert text not in repr(sent) + repr(request.body)
    assert "x-aibridge-token" not in {name.lower() for name in sent}
    keys = api.headers
    if place.as_key:
        keys = {"x-api-key": CENTRAL["ANTHROPIC_API_KEY"]}
        if api.provider == "openai":
            keys = {"authorization": f"Bearer {CENTRAL['OPENAI_API_KEY']}"}
    for name in ("x-api-key", "authorization"):
        assert request.header(name) == keys.get(name)


@pytest.mark.parametrize(
    ("place", "way"), [(LOGIN, FORWARD), (HEADER, FORWARD), (BEARER, REVERSE)], ids=str
)
def test_websocket_accepts_an_access_token_in_every_place(
    proxy: Proxy, clients: Clients, standin: Server, place: Place, way: Way
) -> None:
    text = token(proxy, "carol")
    headers = CODEX | place.headers(RESPONSES, text)
    credentials = basic(*login) if (login := place.login(text)) else ""
    with (
        proxy.recording() as records,
        Socket(clients, way, headers=headers, credentials=credentials) as codex,
    ):
        codex.ask("hello")
    assert records.interception["initiator_id"] == "carol"
    assert text not in repr([dict(request.headers) for request in standin.requests])


def test_owner_of_an_access_token_wins_over_the_actor_header(
    proxy: Proxy, clients: Clients
) -> None:
    with proxy.recording() as records, clients.http(FORWARD) as http:
        http.post(
            clients.url(FORWARD, "anthropic", "/v1/messages"),
            content=MESSAGES.request("hi", stream=False),
            headers=MESSAGES.headers
            | {"X-AIBridge-Token": token(proxy, "dave"), "X-AIBridge-Actor": "alice"},
        )
    assert records.interception["initiator_id"] == "dave"


# --- refusals


@each_way
@each_api
def test_request_without_an_access_token_is_refused(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, way: Way
) -> None:
    before = metric(proxy, "aibridge_refused_total", provider=api.provider, reason="no_token")
    with proxy.recording() as records, clients.http(way) as http:
        answer = http.post(
            clients.url(way, api.provider, api.path),
            content=api.request("hi", stream=True),
            headers=api.headers,
        )
        passing = http.get(clients.url(way, api.provider) + "/v1/models", headers=api.headers)
    assert "requires an access token" in refused(proxy, api, answer, "no_token")["message"]
    assert passing.status_code in (400, 404)
    assert standin.requests == []
    row = records.interception
    assert (row["status"], row["http_status"], row["error_type"]) == ("refused", 400, "no_token")
    assert row["initiator_id"] == "anonymous"
    after = metric(proxy, "aibridge_refused_total", provider=api.provider, reason="no_token")
    assert after >= before + 1


@pytest.mark.parametrize(
    ("place", "way"),
    [(HEADER, FORWARD_H2), (HEADER, REVERSE), (BEARER, REVERSE_H2)],
    ids=str,
)
@pytest.mark.parametrize("state", ["unknown", "expired", "revoked"])
@each_api
def test_unknown_expired_or_revoked_access_token_is_refused(
    proxy: Proxy,
    clients: Clients,
    standin: Server,
    api: Api,
    place: Place,
    way: Way,
    state: str,
) -> None:
    text = NEVER_MADE
    if state != "unknown":
        text = token(proxy, f"owner-{state}", expires_at=PAST if state == "expired" else None)
    if state == "revoked":
        open_store(proxy.database).revoke_access_tokens(text.split("_")[1])
    with proxy.recording() as records:
        answer = ask(clients, way, api, place, text)
    message = refused(proxy, api, answer, f"{state}_token")["message"]
    assert {"unknown": "not known", "expired": "expired at", "revoked": "was revoked"}[
        state
    ] in message
    row = records.interception
    assert (row["status"], row["error_type"]) == ("refused", f"{state}_token")
    assert row["initiator_id"] == ("anonymous" if state == "unknown" else f"owner-{state}")
    assert standin.requests == []


@pytest.mark.parametrize(
    ("place", "way"), [(HEADER, FORWARD), (LOGIN, FORWARD_H2), (BEARER, REVERSE)], ids=str
)
@each_api
def test_access_token_is_refused_for_other_providers(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, place: Place, way: Way
) -> None:
    other = "openai" if api.provider == "anthropic" else "anthropic"
    with proxy.recording() as records:
        answer = ask(clients, way, api, place, token(proxy, "erin", providers=(other,)))
    message = refused(proxy, api, answer, "token_scope")["message"]
    assert f"is not for the provider {api.provider}" in message
    assert (records.interception["error_type"], records.interception["initiator_id"]) == (
        "token_scope",
        "erin",
    )
    assert standin.requests == []
    own = token(proxy, "erin", providers=(api.provider,))
    assert ask(clients, way, api, place, own).status_code == 200


@pytest.mark.parametrize(
    ("place", "way"), [(HEADER, FORWARD), (LOGIN, FORWARD_H2), (BEARER, REVERSE)], ids=str
)
@each_api
def test_access_token_is_refused_for_other_models(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, place: Place, way: Way
) -> None:
    text = token(proxy, "frank", models=("claude-haiku-*", "gpt-5"))
    answer = ask(clients, way, api, place, text, model="claude-opus-4-8")
    message = refused(proxy, api, answer, "token_scope")["message"]
    assert "is not for the model claude-opus-4-8" in message
    assert standin.requests == []
    assert ask(clients, way, api, place, text, model="claude-haiku-4-5").status_code == 200


def test_body_without_a_model_is_refused_under_model_limits(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    headers = {"x-api-key": token(proxy, models=("claude-haiku-*",))}
    with clients.http(REVERSE) as http:
        for content in (b"[]", b"not JSON", b"{}", b'{"model": 7}'):
            url = clients.url(REVERSE, "anthropic", "/v1/messages")
            answer = http.post(url, content=content, headers=headers)
            assert answer.status_code == 400, content
            assert "name one" in answer.json()["error"]["message"]
        for path, status in (("/v1/messages/count_tokens", 400), ("/v1/models", 200)):
            answer = http.request(
                "POST" if status == 400 else "GET",
                clients.url(REVERSE, "anthropic", path),
                json={"model": "claude-opus-4-8", "messages": []} if status == 400 else None,
                headers=headers,
            )
            assert answer.status_code == status, path
        answer = http.post(
            clients.url(REVERSE, "openai", "/responses/compact"),
            json={"model": "gpt-5.2-pro"},
            headers={"authorization": f"Bearer {headers['x-api-key']}"},
        )
        assert answer.status_code == 400
        assert "is not for the model gpt-5.2-pro" in answer.json()["error"]["message"]
    assert [request.path for request in standin.requests] == ["/v1/models"]


def test_model_limits_are_checked_for_each_websocket_request(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    text = token(proxy, "gina", models=("gpt-5",))
    headers = CODEX | {"authorization": f"Bearer {text}"}
    with proxy.recording() as records, Socket(clients, REVERSE, headers=headers) as codex:
        codex.ask("one")
        refusal = codex.ask("two", model="gpt-5.2-pro")
        assert (refusal["type"], refusal["status"]) == ("error", 400)
        assert "is not for the model gpt-5.2-pro" in refusal["error"]["message"]
        codex.ask("three")
        open_store(proxy.database).revoke_access_tokens(text.split("_")[1])
        wait_for_freshness()
        assert "was revoked" in codex.ask("four")["error"]["message"]
    statuses = [row["status"] for row in records.interceptions]
    assert statuses == ["completed", "refused", "completed", "refused"]


def wait_for_freshness() -> None:
    """Wait until the proxy reads the access tokens again; no event shows it."""
    from threading import Event

    from aibridge_addon.access.token_cache import FRESH_SECONDS

    Event().wait(FRESH_SECONDS * 1.5)


def test_websocket_without_an_access_token_is_refused(proxy: Proxy, clients: Clients) -> None:
    with proxy.recording() as records, Socket(clients, REVERSE, headers=CODEX) as codex:
        assert codex.status == 400
        assert b"requires an access token" in codex.refusal
    assert records.interception["error_type"] == "no_token"


@pytest.mark.parametrize("way", [FORWARD, FORWARD_H2], ids=str)
@each_api
def test_access_token_as_key_in_forward_mode_is_refused_and_never_sent(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, way: Way
) -> None:
    text = token(proxy)
    with clients.http(way) as http:
        for path in (api.path, "/v1/models"):
            answer = http.post(
                clients.url(way, api.provider, path),
                content=api.request("hi", stream=True),
                headers={"authorization": f"Bearer {text}"},
            )
            assert "is not a provider's API key" in refused(proxy, api, answer, "")["message"]
    assert standin.requests == []


def test_revoked_access_token_is_refused_on_an_open_connection(
    proxy: Proxy, clients: Clients
) -> None:
    text = token(proxy, "hank")
    url = clients.url(FORWARD, "anthropic", "/v1/messages")
    body = MESSAGES.request("hi", stream=False)
    with client(clients, FORWARD, ("hank", text)) as http:
        assert http.post(url, content=body, headers=MESSAGES.headers).status_code == 200
        assert open_store(proxy.database).revoke_access_tokens("hank")
        wait_for_freshness()
        answer = http.post(url, content=body, headers=MESSAGES.headers)
    assert "was revoked" in refused(proxy, MESSAGES, answer, "")["message"]


# --- connections


def connect(proxy: Proxy, host: str, headers: dict[str, str]) -> str:
    """Send a CONNECT; return head and body of the response."""
    lines = [f"CONNECT {host} HTTP/1.1", f"host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    with socket.create_connection(("127.0.0.1", proxy.forward_port), TIMEOUT_S) as sock:
        sock.sendall("\r\n".join([*lines, "", ""]).encode())
        return sock.recv(64 * 1024).decode()


def test_tunnel_requires_an_access_token(proxy: Proxy, standin: Server) -> None:
    host = f"127.0.0.1:{standin.port}"
    before = metric(proxy, "aibridge_refused_total", reason="no_token")
    answer = connect(proxy, host, {})
    assert answer.startswith("HTTP/1.1 407 ")
    assert 'Basic realm="aibridge"' in answer
    assert "requires an access token" in answer
    assert metric(proxy, "aibridge_refused_total", reason="no_token") == before + 1
    good = connect(proxy, host, {"proxy-authorization": basic("ida", token(proxy, "ida"))})
    assert good.startswith("HTTP/1.1 200 ")
    bearer = connect(proxy, host, {"Proxy-Authorization": f"Bearer {token(proxy, 'ida')}"})
    assert bearer.startswith("HTTP/1.1 200 ")


@pytest.mark.parametrize(
    "login",
    [basic("ida", NEVER_MADE), basic("ida", "a guess"), "Basic !!!", "Bearer nonsense"],
    ids=["unknown", "no token", "no login", "no bearer"],
)
def test_tunnel_to_another_host_with_a_wrong_login_is_refused(proxy: Proxy, login: str) -> None:
    answer = connect(proxy, "127.0.0.1:9", {"proxy-authorization": login})
    assert answer.startswith("HTTP/1.1 407 "), answer


@pytest.mark.parametrize("state", ["unknown", "expired", "revoked", "none"])
@pytest.mark.parametrize("way", [FORWARD, FORWARD_H2], ids=str)
def test_bad_access_token_at_connect_to_a_provider_is_answered_inside_the_tunnel(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, state: str
) -> None:
    text = {"unknown": NEVER_MADE, "none": "a guess"}.get(state) or token(
        proxy, "jack", expires_at=PAST if state == "expired" else None
    )
    if state == "revoked":
        open_store(proxy.database).revoke_access_tokens(text.split("_")[1])
    url = clients.url(way, "anthropic", "/v1/messages")
    body = MESSAGES.request("hi", stream=False)
    with proxy.recording() as records, client(clients, way, ("jack", text)) as http:
        answer = http.post(url, content=body, headers=MESSAGES.headers)
        assert standin.requests == []
        good = http.post(url, content=body, headers=MESSAGES.headers | in_header(proxy))
    message = refused(proxy, MESSAGES, answer, "")["message"]
    words = {"unknown": "not known", "none": "requires an access token"}
    assert words.get(state, state) in message
    assert good.status_code == 200, "an access token in a header stands for the login"
    first, _ = records.interceptions
    owner = "jack" if state in ("expired", "revoked") else "anonymous"
    reason = "no_token" if state == "none" else f"{state}_token"
    assert (first["initiator_id"], first["error_type"]) == (owner, reason)
    assert first["credential_kind"] is None


def test_websocket_after_a_bad_access_token_at_connect_is_refused(
    proxy: Proxy, clients: Clients
) -> None:
    with Socket(clients, FORWARD, credentials=basic("jack", NEVER_MADE)) as codex:
        assert codex.status == 400
        assert b"not known" in codex.refusal


def in_header(proxy: Proxy) -> dict[str, str]:
    return {"X-AIBridge-Token": token(proxy)}


@pytest.mark.parametrize("text", [NEVER_MADE, "aib_mistyped"], ids=["unknown", "mistyped"])
@each_api
def test_mistyped_access_token_as_key_is_recorded_without_a_credential(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, text: str
) -> None:
    with proxy.recording() as records:
        answer = ask(clients, REVERSE, api, BEARER, text)
    refused(proxy, api, answer, "unknown_token")
    row = records.interception
    assert (row["credential_kind"], row["credential_hint"]) == (None, None)
    assert standin.requests == []


def test_plain_request_to_another_host_requires_an_access_token_and_does_not_forward_it(
    proxy: Proxy, clients: Clients, start_standin: Any
) -> None:
    other = start_standin(tls=False)
    url = f"{other.origin}/v1/models"
    text = token(proxy)
    with clients.http(FORWARD) as http:
        assert http.get(url).status_code == 407
        assert http.get(url, headers={"X-AIBridge-Token": text}).status_code == 200
    with client(clients, FORWARD, ("alice", text)) as http:
        assert http.get(url).status_code == 200
    assert len(other.requests) == 2
    assert "aib_" not in repr([dict(request.headers) for request in other.requests])
    assert "proxy-authorization" not in repr([dict(r.headers) for r in other.requests]).lower()


# --- the rule that requires access tokens


def test_access_tokens_are_required_as_soon_as_the_first_one_exists(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy(env=CENTRAL)
    clients = clients_of(proxy)
    assert ask(clients, REVERSE, MESSAGES, HEADER_OFF, "").status_code == 200
    text = token(proxy)
    wait_for_freshness()
    assert ask(clients, REVERSE, MESSAGES, HEADER_OFF, "").status_code == 400
    assert ask(clients, REVERSE, MESSAGES, HEADER, text).status_code == 200
    open_store(proxy.database).revoke_access_tokens("alice")
    wait_for_freshness()
    answer = ask(clients, REVERSE, MESSAGES, HEADER_OFF, "")
    assert answer.status_code == 400, "a proxy that asked for tokens goes on to do so"


HEADER_OFF = Place("nowhere")


def test_rules_always_and_never_ignore_the_existence_of_access_tokens(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    strict = start_proxy(options={"aibridge_require_token": "always"})
    assert ask(clients_of(strict), FORWARD, CHAT, HEADER_OFF, "").status_code == 400
    lax = start_proxy(options={"aibridge_require_token": "never"}, started=False)
    text = token(lax, "kim")
    lax.start()
    with lax.recording() as records:
        assert ask(clients_of(lax), FORWARD, CHAT, HEADER_OFF, "").status_code == 200
    assert records.interception["initiator_id"] == "anonymous"
    with lax.recording() as records:
        assert ask(clients_of(lax), FORWARD, CHAT, HEADER, text).status_code == 200
    assert records.interception["initiator_id"] == "kim"
    assert ask(clients_of(lax), FORWARD, CHAT, HEADER, NEVER_MADE).status_code == 400


def test_login_of_proxyauth_replaces_an_access_token(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy(options={"proxyauth": "lena:secret", "aibridge_require_token": "always"})
    place = Place("mitmproxy's login", login=lambda text: ("lena", "secret"))
    with proxy.recording() as records:
        assert ask(clients_of(proxy), FORWARD, MESSAGES, place, "").status_code == 200
    assert records.interception["initiator_id"] == "lena"


def test_access_token_as_key_without_a_central_key_is_refused_with_the_reason(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    proxy = start_proxy()
    answer = ask(clients_of(proxy), REVERSE, CHAT, BEARER, token(proxy))
    assert "no key for openai (OPENAI_API_KEY is not set)" in answer.json()["error"]["message"]
    assert standin.requests == []


def test_access_tokens_are_read_from_the_database_with_a_third_party_recorder(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], tmp_path: Path
) -> None:
    proxy = start_proxy(
        options={"aibridge_recorder": "my_recorder:Mine"},
        env={"PYTHONPATH": str(tmp_path)},
        started=False,
    )
    (tmp_path / "my_recorder.py").write_text(
        "from aibridge_addon.recorder import Recorder\n\nclass Mine(Recorder):\n    pass\n"
    )
    text = token(proxy)
    proxy.start()
    assert ask(clients_of(proxy), FORWARD, MESSAGES, HEADER_OFF, "").status_code == 400
    assert ask(clients_of(proxy), FORWARD, MESSAGES, HEADER, text).status_code == 200


# --- secrecy


def test_access_tokens_are_written_to_no_log_record_or_flow(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    text = token(proxy, "mia")
    expired = token(proxy, "mia", expires_at=PAST)
    for place in PLACES:
        for way in place.ways:
            for prompt in (text, expired, NEVER_MADE):
                try:
                    ask(clients, way, MESSAGES, place, prompt)
                except httpx2.ProxyError:
                    assert place.login(prompt), "only a login is refused by the proxy itself"
    assert standin.requests
    sent = repr([(dict(request.headers), request.body) for request in standin.requests])
    written = everything(proxy)
    for prompt in (text, expired, NEVER_MADE):
        secret = prompt.split("_", 2)[2]
        assert secret not in sent
        assert written.where(secret) == []
        for login in (("anybody", prompt), (prompt, ""), ("alice", prompt)):
            assert written.where(basic(*login).split()[1]) == []


# --- clients that are refused


def test_refused_client_is_answered_before_its_large_body_is_buffered(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    half = b"x" * 512 * 1024
    for way in (FORWARD, REVERSE):
        with connect_to(clients, way) as sock:
            path = "/anthropic/v1/messages" if way.mode == "reverse" else "/v1/messages"
            head = f"POST {path} HTTP/1.1\r\nhost: api.anthropic.com\r\nx-api-key: sk-own\r\n"
            sock.sendall(head.encode() + b"content-length: %d\r\n\r\n" % (4 * len(half)) + half)
            answer = sock.recv(64 * 1024)  # although most of the body has not been sent
        assert answer.startswith(b"HTTP/1.1 400 "), answer
        assert b"requires an access token" in answer
    assert standin.requests == []


def test_prompts_of_refused_clients_are_not_recorded(proxy: Proxy, clients: Clients) -> None:
    with proxy.recording() as records:
        ask(clients, REVERSE, MESSAGES, HEADER_OFF, "", model="m\u001b]0;x\u0007" + "n" * 1000)
    assert records.user_prompts == []
    model = records.interception["model"]
    assert model.isprintable()
    assert len(model) <= 512


@pytest.mark.parametrize(
    "fields",
    [
        [("x-api-key", "sk-own"), ("x-api-key", "{}")],
        [("authorization", "Bearer sk-own"), ("Authorization", "Bearer {}")],
        [("x-api-key", "sk-own, {}")],
        [("authorization", "Token {}")],
        [("x-custom", "see {}")],
        [("cookie", "a=b; token={}")],
    ],
    ids=repr,
)
@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
def test_access_token_in_an_unexpected_header_is_refused_and_never_sent(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, fields: list[tuple[str, str]]
) -> None:
    text = token(proxy, "nina")
    headers = [("X-AIBridge-Token", text), *((name, value.format(text)) for name, value in fields)]
    with clients.http(way) as http:
        answer = http.post(
            clients.url(way, "anthropic", "/v1/messages"),
            content=MESSAGES.request("hi", stream=False),
            headers=headers,
        )
    assert answer.status_code in (200, 400)
    assert text not in repr([request.headers for request in standin.requests])
    assert text.encode() not in answer.content


def test_request_with_two_access_tokens_is_refused(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    with clients.http(REVERSE) as http:
        answer = http.post(
            clients.url(REVERSE, "anthropic", "/v1/messages"),
            content=MESSAGES.request("hi", stream=False),
            headers={"X-AIBridge-Token": token(proxy, "olga"), "x-api-key": token(proxy, "paul")},
        )
    assert "several access tokens" in refused(proxy, MESSAGES, answer, "")["message"]
    assert standin.requests == []


def test_refused_client_cannot_list_provider_instances(proxy: Proxy, clients: Clients) -> None:
    with clients.http(REVERSE) as http:
        answer = http.get(f"http://127.0.0.1:{proxy.reverse_port}/nobody/v1/models")
    assert answer.status_code == 400
    assert "chatgpt" not in answer.text


def test_placeholder_key_is_never_sent_to_a_provider(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    headers = {"X-AIBridge-Token": token(proxy), "x-api-key": "aibridge"}
    with clients.http(FORWARD) as http:
        answer = http.post(
            clients.url(FORWARD, "anthropic", "/v1/messages"),
            content=MESSAGES.request("hi", stream=False),
            headers=headers,
        )
    assert answer.status_code == 400
    assert standin.requests == []


@pytest.mark.parametrize("target", ["http://127.0.0.1:9/v1/messages", "http://api.anthropic.com/"])
def test_access_token_of_an_incomplete_request_is_hidden(proxy: Proxy, target: str) -> None:
    text, mark = token(proxy, "rita"), len(proxy.log)
    login = basic("rita", text)
    head = f"POST {target} HTTP/1.1\r\nhost: x\r\nX-AIBridge-Token: {text}\r\n"
    head += f"Proxy-Authorization: {login}\r\n"
    secrets = [text, login.split()[1]]
    if "api.anthropic.com" in target:  # keys for other hosts are none of ours
        secrets.append("sk-ant-rita-0123456789")
        head += f"x-api-key: {secrets[-1]}\r\n"
    with socket.create_connection(("127.0.0.1", proxy.forward_port), TIMEOUT_S) as sock:
        sock.sendall(head.encode() + b"content-length: 100\r\n\r\nhalf")
    proxy.wait_for_log("client disconnect", mark)
    written = everything(proxy)
    assert [secret for secret in secrets if written.where(secret)] == []
