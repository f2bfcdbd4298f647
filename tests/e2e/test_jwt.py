"""JWTs end to end: an issuer that serves its keys, and clients that send its tokens."""

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import httpx2
import pytest
from access.jwt.signing import ISSUER, public_key, token
from standin import Server

from e2e.bodies import CHAT, MESSAGES, RESPONSES, Api
from e2e.clients import WAYS, Clients, Way
from e2e.conftest import StartProxy
from e2e.metrics import metric
from e2e.proxies import RunProxy
from e2e.proxy import Proxy, config_toml
from e2e.sockets import CODEX, Socket
from e2e.test_secrets import everything, verbose
from e2e.test_tokens import CENTRAL, refused

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS
TOKEN_HEADER = "X-AIBridge-Token"


@dataclass
class Issuer:
    """Serves the keys of a login service."""

    url: str
    keys: list[dict[str, object]] = field(default_factory=lambda: [public_key("RSA")])
    fetches: int = 0

    @property
    def config(self) -> str:
        """Its table of the config file."""
        return f"""
[[identity.jwt]]
issuer = "{ISSUER}"
audience = ["aibridge"]
jwks_url = "{self.url}"
claims = {{ actor = "email", teams = "groups" }}
teams = {{ "g-1" = "search" }}
"""


@pytest.fixture(scope="module")
def issuer() -> Iterator[Issuer]:
    """Run the key server of the issuer."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.fetches += 1
            body = json.dumps({"keys": made.keys}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Issuer(f"http://127.0.0.1:{server.server_port}/keys")
        Thread(target=server.serve_forever).start()
        yield made
        server.shutdown()


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server, issuer: Issuer) -> Iterator[Proxy]:
    """Run a proxy with central keys that logs and saves everything."""
    with run_proxy(
        standin.origin,
        more_config=issuer.config,
        options=verbose(),
        env=CENTRAL,
        metrics=True,
    ) as made:
        yield made


@pytest.fixture(autouse=True)
def _no_requests_yet(standin: Server) -> None:
    standin.requests.clear()


def jwt_of(name: str = "alice", **changes: Any) -> str:
    """Return a valid token of a person."""
    return token(**{"email": f"{name}@example.com", "groups": ["g-1", "g-9"], **changes})


def login(text: str) -> str:
    """Return a login with a token as its password."""
    return "Basic " + base64.b64encode(f"user:{text}".encode()).decode()


def ask(clients: Clients, way: Way, api: Api, headers: dict[str, str]) -> httpx2.Response:
    """Send a request with these headers only."""
    with clients.http(way) as http:
        return http.post(
            clients.url(way, api.provider, api.path),
            content=api.request("hi", stream=False),
            headers=headers,
        )


@pytest.mark.parametrize("api", [MESSAGES, CHAT, RESPONSES], ids=str)
@pytest.mark.parametrize("way", WAYS, ids=str)
def test_jwt_in_our_header_names_actor_and_team_and_never_reaches_the_provider(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, way: Way
) -> None:
    text = jwt_of()
    spoofed = {"X-AIBridge-Actor": "mallory", TOKEN_HEADER: text}
    with proxy.recording() as records:
        assert ask(clients, way, api, api.headers | spoofed).status_code == 200
    row = records.interception
    assert row["initiator_id"] == "alice@example.com"
    assert row["metadata"] == {"teams": ["search"], "team": "search"}
    assert row["credential_kind"] == "byok"
    (sent,) = standin.requests
    assert text not in str(sent.headers)
    for name, value in api.headers.items():
        assert sent.header(name) == value


@pytest.mark.parametrize("way", [REVERSE, REVERSE_H2], ids=str)
def test_jwt_as_bearer_at_the_reverse_proxy_is_replaced_by_the_central_key(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    text = jwt_of()
    with proxy.recording() as records:
        assert ask(clients, way, CHAT, {"authorization": f"Bearer {text}"}).status_code == 200
    assert records.interception["credential_kind"] == "centralized"
    assert standin.requests[0].header("authorization") == f"Bearer {CENTRAL['OPENAI_API_KEY']}"


@pytest.mark.parametrize(
    ("way", "headers"),
    [
        (FORWARD, lambda text: {"authorization": f"Bearer {text}"}),
        (REVERSE, lambda text: {"x-api-key": text}),
        (REVERSE, lambda text: {"cookie": f"session={text}"}),
        (REVERSE, lambda text: {}),
        (FORWARD_H2, lambda text: {TOKEN_HEADER: text[:-6] + "AAAAAA"}),
        (REVERSE, lambda text: {TOKEN_HEADER: jwt_of(aud="other")}),
        (REVERSE, lambda text: {TOKEN_HEADER: text, "authorization": f"Bearer {jwt_of('eve')}"}),
    ],
)
def test_jwt_in_another_place_or_a_forged_one_is_refused_and_stays_here(
    proxy: Proxy,
    clients: Clients,
    standin: Server,
    way: Way,
    headers: Callable[[str], dict[str, str]],
) -> None:
    with proxy.recording() as records:
        refused(proxy, MESSAGES, ask(clients, way, MESSAGES, headers(jwt_of())), "")
    assert standin.requests == []
    row = records.interception
    assert (row["status"], row["initiator_id"]) == ("refused", "anonymous")


@pytest.mark.parametrize("way", [FORWARD_H2, REVERSE], ids=str)
@pytest.mark.parametrize(
    ("place", "status"),
    [
        (lambda text: {"query": f"?key={text}"}, 400),
        (lambda text: {"x-goog-api-key": text}, 400),
        (lambda text: {"x_aibridge_token": text}, 400),
        (lambda text: {"proxy-authorization": f"Bearer {text}"}, 400),
        (lambda text: {"authorization": f"Bearer {jwt_of(groups=['g' * 20_000])}"}, 400),
        (lambda text: {"AUTHORIZATION": f"bEaReR   {text}"}, None),
        (lambda text: {"authorization": login(text)}, None),
    ],
)
def test_jwt_beside_a_valid_one_stays_here_too(
    clients: Clients,
    standin: Server,
    way: Way,
    place: Callable[[str], dict[str, str]],
    status: int | None,
) -> None:
    text = jwt_of()
    headers = {TOKEN_HEADER: text, **place(text)}
    query = headers.pop("query", "")
    api = replace(CHAT, path=CHAT.path + query)
    answer = ask(clients, way, api, headers)
    # As a bearer, it stands for the central key of the reverse proxy.
    assert answer.status_code == (status or (200 if way is REVERSE else 400))
    for sent in standin.requests:
        assert sent.header("authorization") == f"Bearer {CENTRAL['OPENAI_API_KEY']}"
        assert text not in sent.target + str(sent.headers)


def test_jwt_as_the_login_of_the_proxy_is_refused_unless_one_comes_in_the_header(
    clients: Clients, standin: Server
) -> None:
    login_of_alice = login(jwt_of())
    with Socket(clients, FORWARD, headers=CODEX, credentials=login_of_alice) as socket:
        assert socket.status == 400
        assert b"cannot be the password in the proxy's URL" in socket.refusal
    headers = CODEX | {TOKEN_HEADER: jwt_of()}
    with Socket(clients, FORWARD, headers=headers, credentials=login_of_alice) as socket:
        assert socket.ask("hi")["type"] == "response.completed"
    assert jwt_of().split(".")[1] not in str([request.headers for request in standin.requests])


def test_provider_login_that_is_a_jwt_passes_untouched(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    for login in (
        token(iss="https://auth.openai.com", aud="https://api.openai.com/v1"),
        token(aud="https://cognitiveservices.azure.com"),
    ):
        headers = {"authorization": f"Bearer {login}", TOKEN_HEADER: jwt_of()}
        for way in (FORWARD, REVERSE):
            assert ask(clients, way, CHAT, headers).status_code == 200
            assert standin.requests[-1].header("authorization") == f"Bearer {login}"


def test_jwt_admits_the_requests_of_a_websocket(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    with (
        proxy.recording() as records,
        Socket(clients, FORWARD, headers=CODEX | {TOKEN_HEADER: jwt_of()}) as socket,
    ):
        socket.request("hi")
        assert list(socket.events())[-1]["type"] == "response.completed"
    assert {row["initiator_id"] for row in records.interceptions} == {"alice@example.com"}


def test_flood_of_tokens_with_unknown_keys_does_not_fetch_the_keys_again(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    standin: Server,
    issuer: Issuer,
) -> None:
    proxy = start_proxy(
        config=config_toml(standin.origin) + issuer.config, env=CENTRAL, metrics=True
    )
    clients, headers = clients_of(proxy), {TOKEN_HEADER: jwt_of()}
    assert ask(clients, REVERSE, MESSAGES, headers).status_code == 200
    before = issuer.fetches
    for number in range(20):
        answer = ask(clients, REVERSE, MESSAGES, {TOKEN_HEADER: jwt_of(kid=f"k{number}")})
        assert answer.status_code == 400
    assert ask(clients, REVERSE, MESSAGES, headers).status_code == 200
    assert issuer.fetches == before
    assert metric(proxy, "aibridge_jwks_fetches_total", url=issuer.url, outcome="ok") == 1


def test_revoked_actor_is_refused_after_the_config_file_has_changed(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    standin: Server,
    issuer: Issuer,
) -> None:
    config = config_toml(standin.origin) + issuer.config
    proxy = start_proxy(config=config, env=CENTRAL)
    clients, headers = clients_of(proxy), {TOKEN_HEADER: jwt_of()}
    assert ask(clients, REVERSE, MESSAGES, headers).status_code == 200
    proxy.config_path.write_text(config + '\n[identity]\nrevoked_actors = ["alice@*"]\n')
    proxy.wait_for_log("the configuration was read again")
    error = refused(proxy, MESSAGES, ask(clients, REVERSE, MESSAGES, headers), "")
    assert "the access of alice@example.com to this proxy was revoked" in error["message"]
    others = {TOKEN_HEADER: jwt_of("bob")}
    assert ask(clients, REVERSE, MESSAGES, others).status_code == 200


def test_no_jwt_is_written_anywhere(proxy: Proxy, clients: Clients) -> None:
    text = jwt_of()
    for way, headers in (
        (FORWARD, {TOKEN_HEADER: text, **MESSAGES.headers}),
        (REVERSE, {"authorization": f"Bearer {text}"}),
        (FORWARD, {"authorization": f"Bearer {text}"}),
        (REVERSE, {"cookie": f"session={text}"}),
        (REVERSE, {TOKEN_HEADER: text[:-6] + "AAAAAA"}),
    ):
        ask(clients, way, MESSAGES, headers)
    written = everything(proxy)
    assert written.where("alice@example.com")
    for part in text.split("."):
        assert written.where(part[10:60]) == []
