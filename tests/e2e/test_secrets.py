"""No secret is written anywhere, and the provider gets every one unchanged.

Known keys go by every path through a proxy that writes all it can: logs with whole flows, saved
flows, metrics, database, spool. Then all of that is searched.
"""

import base64
import json
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import httpx2
import pytest
from locks import locked
from standin import Part, Provider, Reset, Response, Server, Upgrade

from aibridge_addon.access.tokens import AccessToken
from e2e.bodies import APIS, CHAT, MESSAGES, Api
from e2e.clients import WAYS, Clients, Way
from e2e.conftest import StartProxy
from e2e.contents import contents_of
from e2e.metrics import metrics_text
from e2e.places import HOSTS, PLACES, Place, more_providers
from e2e.proxy import Proxy, config_toml
from e2e.sockets import Socket
from e2e.wire import connect, open_tunnel

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS

HEADERS = {
    "x-api-key": "sk-ant-api03-k1k1k1k1k1k1k1k1k1k1",
    "authorization": "Bearer sk-proj-k2k2k2k2k2k2k2k2k2k2",
    "api-key": "azure-k3k3k3k3k3k3k3k3k3k3",
    "x-goog-api-key": "AIza-k4k4k4k4k4k4k4k4k4k4",
    "cookie": "session=k5k5k5k5k5k5k5k5k5k5; other=k6k6k6k6k6k6k6k6k6k6",
}
CENTRAL = {
    "ANTHROPIC_API_KEY": "sk-ant-central-k7k7k7k7k7k7k7k7",
    "OPENAI_API_KEY": "sk-central-k8k8k8k8k8k8k8k8k8k8",
}
USER, PASSWORD = "alice", "k9k9k9k9k9k9k9k9k9k9"
WRONG_PASSWORD = "k0k0k0k0k0k0k0k0k0k0"

SECRETS = tuple(
    f"k{number}" * 4 for number in range(10)
)  # a part of each, longer than any hint shows
PROMPT = "p1p1p1p1p1p1p1p1p1p1"


def basic(password: str) -> str:
    """Return basic credentials as a header value."""
    return "Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode()


ENCODED = tuple(basic(password).split()[1] for password in (PASSWORD, WRONG_PASSWORD))


RECEIVED = {
    "set-cookie": f"__cf_bm={SECRETS[1]}{SECRETS[2]}; Path=/",
    "location": f"/files/1?X-Amz-Signature={SECRETS[3]}{SECRETS[4]}",
    "x-goog-upload-url": f"https://x.example/up?upload_id={SECRETS[5]}{SECRETS[6]}&a=1",
    "openai-ephemeral-user-key": f"{SECRETS[7]}{SECRETS[8]}",
}
"""Headers of responses."""
HANDLE = f"{SECRETS[1]}{SECRETS[9]}"

SPOKEN = frozenset({"anthropic_messages", "openai_chat"})
"""APIs in which each kind of response and fault is tried; the others are used once."""


def _echo(place: Place, stream: bool, said: str, request: Any) -> Response:
    """Answer with a text, in an event or in an error."""
    error = {"error": {"message": said, "status": "UNAUTHENTICATED"}}
    if not stream:
        head = [("content-type", "application/json"), *RECEIVED.items()]
        return Response(401, head, json.dumps(error).encode())
    events = place.events(b"event: x\ndata: " + json.dumps({"text": said} | error).encode())
    return Response(200, [("content-type", place.media_type), *RECEIVED.items()], [*events])


async def _reply(message: bytes) -> AsyncIterator[Part]:
    """Answer a message of a WebSocket with a handle, and with its size as an error."""
    yield json.dumps({"sessionResumptionUpdate": {"newHandle": HANDLE, "resumable": True}}).encode()
    yield json.dumps({"type": "error", "error": {"message": f"{len(message)} bytes"}}).encode()


@dataclass(slots=True)
class Written:
    """Everything that a proxy wrote, by place."""

    places: dict[str, bytes]

    def where(self, text: str) -> list[str]:
        """Return the places that hold a text."""
        return [name for name, content in self.places.items() if text.encode() in content]

    def assert_no_secrets(self) -> None:
        """Assert that there is no secret in any place."""
        found = {text: places for text in (*SECRETS, *ENCODED) if (places := self.where(text))}
        assert found == {}


def everything(proxy: Proxy, **more: bytes | str) -> Written:
    """Return everything that a proxy has written so far."""
    places = {
        path.name: path.read_bytes()
        for path in proxy.directory.rglob("*")
        if path.is_file() and path != proxy.config_path
    }
    places["log"] = proxy.log_text().encode()
    places |= {
        name: text.encode() if isinstance(text, str) else text for name, text in more.items()
    }
    return Written(places)


def everything_spooled(proxy: Proxy) -> Written:
    """Return likewise, once facts are in the spool: a response waits for them only so long."""
    proxy.wait_for_log("facts are spooled")
    spooled = everything(proxy, metrics=metrics_text(proxy))
    assert any("spool" in name for name in spooled.places)
    return spooled


def verbose(directory: str = "flows") -> dict[str, Any]:
    """Return options that make mitmdump log and save everything."""
    return {
        "flow_detail": 4,
        "termlog_verbosity": "debug",
        "save_stream_file": directory,  # in its working directory
        "aibridge_capture": "",
    }


def arrived(server: Server, names: tuple[str, ...] = tuple(HEADERS)) -> list[dict[str, str]]:
    """Return those headers of every request that reached the provider."""
    return [
        {name: value for name in names if (value := request.header(name)) is not None}
        for request in server.requests
    ]


class Visitor:
    """A client that uses every route with all secrets in its headers."""

    def __init__(self, clients: Clients, provider: Provider) -> None:
        self._clients = clients
        self._provider = provider

    def visit(self, way: Way, api: Api, extra: dict[str, str] | None = None) -> int:
        """Go the paths that end at the provider; return how many they are."""
        self._provider.canned["cut"] = lambda request: Response(
            200, [("content-type", "text/event-stream")], [*api.events()[:2], Reset()]
        )
        self._provider.canned["reset"] = lambda request: Reset()
        paths: list[tuple[str, dict[str, str], bytes]] = [
            (api.path, {}, api.request(PROMPT, stream=False)),
            (api.path, {}, api.request(PROMPT, stream=True)),
            (api.path, {}, api.request(f"{PROMPT} STATUS:401", stream=False)),
            (api.path, {}, api.request(f"{PROMPT} ERROR_EVENT", stream=True)),
            (api.path, {"x-standin-canned": "cut"}, api.request(PROMPT, stream=True)),
            (api.path, {"x-standin-canned": "reset"}, api.request(PROMPT, stream=True)),
            (api.path, {}, b"this is no JSON"),
        ]
        with self._clients.http(way) as http:
            for path, headers, content in paths:
                url = self._clients.url(way, api.provider, path)
                self._post(http, url, headers | (extra or {}), content)
            url = self._clients.url(way, "anthropic", "/v1/models?key=none")
            http.get(url, headers=HEADERS)
        return len(paths) + 1

    def visit_other_apis(self, way: Way, said: str) -> int:
        """Use every other API with all secrets in headers and query; return how often.

        Requests and responses hold the text `said`.
        """
        sent = 0
        with self._clients.http(way) as http:
            for place in (place for api in PLACES.keys() - SPOKEN for place in PLACES[api]):
                for stream in (False, True):
                    path = place.path_of(stream=stream)
                    query = f"{'&' if '?' in path else '?'}key={HEADERS['x-goog-api-key']}"
                    url = self._clients.url(way, place.provider, path + query)
                    self._provider.canned["other"] = partial(_echo, place, stream, said)
                    content = json.dumps(
                        {"model": "m", "input": said, "prompt": said, "stream": stream}
                    )
                    headers = HEADERS | {"x-standin-canned": "other"}
                    answer = http.post(url, content=content, headers=headers)
                    assert answer.status_code == (200 if stream else 401), url
                    assert RECEIVED.items() <= dict(answer.headers).items()
                    sent += 1
        return sent

    def talk(self, way: Way) -> int:
        """Use the WebSockets of Realtime and Gemini Live; return how many."""
        self._provider.canned["talk"] = lambda request: Upgrade(_reply, [*RECEIVED.items()])
        live = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
        places = {"gemini": live, "openai": "/realtime?model=gpt-realtime"}
        setup = {"setup": {"model": "models/m", "sessionResumption": {"handle": HANDLE}}}
        created = {"type": "response.create", "response": {"instructions": PROMPT}}
        for provider, path in places.items():
            url = self._clients.url(way, provider, path)
            headers = HEADERS | {"x-standin-canned": "talk"}
            with Socket(
                self._clients, way, headers=headers, host=HOSTS[provider], url=url
            ) as socket:
                for message in (setup, created):
                    sent = socket.send(message)
                    assert socket.event()["sessionResumptionUpdate"]["newHandle"] == HANDLE
                    assert socket.event()["error"]["message"] == f"{len(sent)} bytes"
        return len(places)

    def create_keys(self, way: Way) -> int:
        """Have the provider create keys; return how many."""
        key = f"ek_{SECRETS[1]}{SECRETS[2]}"
        body = json.dumps({"value": key, "client_secret": {"value": key}}).encode()
        made = Response(200, [("content-type", "application/json")], [body])
        self._provider.canned["made"] = lambda request: made
        paths = {
            "openai": ("/realtime/client_secrets", "/realtime/sessions"),
            "gemini": ("/v1beta/auth_tokens",),
        }
        if way in (FORWARD, FORWARD_H2):  # no route of the reverse proxy
            paths["anthropic"] = ("/api/oauth/claude_cli/create_api_key",)
        places = [(provider, path) for provider, of in paths.items() for path in of]
        with self._clients.http(way) as http:
            for provider, path in places:
                url = self._clients.url(way, provider, path)
                headers = HEADERS | {"x-standin-canned": "made"}
                answer = http.post(url, json={"model": "m"}, headers=headers)
                assert answer.content == body, answer.text
        return len(places)

    def visit_what_is_refused(self, way: Way, headers: dict[str, str]) -> list[int]:
        """Go the paths that end at the proxy; return the statuses."""
        statuses = []
        with self._clients.http(way) as http:
            for path in ("/v1/messages", "/v1/secret/files"):
                content = MESSAGES.request(PROMPT, stream=True)
                url = self._clients.url(way, "anthropic", path)
                statuses.append(http.post(url, content=content, headers=headers).status_code)
        return statuses

    def leave(self, way: Way) -> None:
        """Leave while the request is on its way."""
        path = httpx2.URL(self._clients.url(way, "anthropic", "/v1/messages")).path
        lines = [f"{name}: {value}" for name, value in HEADERS.items()]
        head = [f"POST {path} HTTP/1.1", "host: api.anthropic.com", "content-length: 999", *lines]
        with connect(self._clients, way) as sock:
            sock.sendall("\r\n".join(head).encode() + b"\r\n\r\n{")

    def _post(self, http: httpx2.Client, url: str, headers: dict[str, str], content: bytes) -> None:
        try:
            http.post(url, content=content, headers=HEADERS | headers)
        except httpx2.RemoteProtocolError:
            assert headers.get("x-standin-canned") == "cut"


def test_no_route_writes_a_secret_and_the_provider_receives_them_all(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
) -> None:
    down = '[[providers]]\nname = "down"\ntype = "anthropic"\nbase_url = "https://127.0.0.1:1"\n'
    config = config_toml(standin.origin) + more_providers(standin.origin) + down
    proxy = start_proxy(config=config, options=verbose(), metrics=True)
    clients = clients_of(proxy)
    visitor = Visitor(clients, provider)
    standin.requests.clear()
    sent = 0
    for way, api in ((FORWARD, MESSAGES), (REVERSE_H2, CHAT)):
        sent += visitor.visit(way, api)
    for way in (FORWARD, REVERSE_H2):
        sent += visitor.visit_other_apis(way, PROMPT)
        sent += visitor.create_keys(way)
    for way in (FORWARD, REVERSE):
        sent += visitor.talk(way)
    with locked(proxy.database):
        for way, api in ((FORWARD_H2, CHAT), (REVERSE, MESSAGES)):
            sent += visitor.visit(way, api)
        spooled = everything_spooled(proxy)
        spooled.assert_no_secrets()
    assert arrived(standin) == [HEADERS] * sent
    standin.requests.clear()

    for way in (REVERSE, REVERSE_H2):
        statuses = visitor.visit_what_is_refused(way, HEADERS)
        assert statuses == [200, 404]
        with clients.http(way) as http:  # no such provider, and one that is down
            url = clients.url(way, "anthropic", "/v1/messages")
            content = MESSAGES.request(PROMPT, stream=True)
            for name, status in (("nobody", 404), ("down", 502)):
                other = url.replace("/anthropic/", f"/{name}/")
                answer = http.post(other, content=content, headers=HEADERS)
                assert answer.status_code == status
    for way in (FORWARD, REVERSE):
        visitor.leave(way)
        proxy.wait_for_log(r"<< .*[Cc]lient (closed|disconnected)|peer closed")
    everything(proxy, metrics=metrics_text(proxy)).assert_no_secrets()
    proxy.stop()
    written = everything(proxy)
    assert "x-api-key" in written.places["flows"].decode("latin-1")  # it is saved, sealed
    written.assert_no_secrets()
    assert "aibridge: a bug" not in proxy.log_text()


def test_central_key_reaches_only_the_provider(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients], standin: Server
) -> None:
    proxy = start_proxy(
        options=verbose() | {"aibridge_require_actor": True}, env=CENTRAL, metrics=True
    )
    clients = clients_of(proxy)
    standin.requests.clear()
    expected = []
    for way in (REVERSE, REVERSE_H2):
        with clients.http(way) as http:
            for api in APIS:
                url = clients.url(way, api.provider, api.path)
                for text in (PROMPT, f"{PROMPT} STATUS:401", f"{PROMPT} DROP"):
                    content = api.request(text, stream=True)
                    http.post(url, content=content, headers={"x-aibridge-actor": "alice"})
                    expected.append(
                        {"x-api-key": CENTRAL["ANTHROPIC_API_KEY"]}
                        if api is MESSAGES
                        else {"authorization": f"Bearer {CENTRAL['OPENAI_API_KEY']}"}
                    )
                assert http.post(url, content=content).status_code == 400  # no actor
    assert arrived(standin) == expected
    everything(proxy, metrics=metrics_text(proxy)).assert_no_secrets()
    proxy.stop()
    everything(proxy).assert_no_secrets()
    hints = {
        (row["status"] == "refused", row["credential_hint"]) for row in proxy.records.interceptions
    }
    assert hints == {(True, None), (False, "sk-a...k7k7"), (False, "sk-c...k8k8")}


def test_proxy_password_is_written_nowhere(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
) -> None:
    proxy = start_proxy(options=verbose() | {"proxyauth": f"{USER}:{PASSWORD}"}, metrics=True)
    clients = clients_of(proxy)
    standin.requests.clear()
    for password in (PASSWORD, WRONG_PASSWORD):
        for way in (FORWARD, FORWARD_H2):
            with httpx2.Client(
                verify=clients.trust(),
                http2=way.http2,
                http1=not way.http2,
                trust_env=False,
                proxy=httpx2.Proxy(proxy.forward_url, auth=(USER, password)),
            ) as http:
                for text in (PROMPT, f"{PROMPT} STATUS:401", f"{PROMPT} DROP"):
                    content = MESSAGES.request(text, stream=True)
                    try:
                        answer = http.post(
                            clients.url(way, "anthropic", "/v1/messages"),
                            content=content,
                            headers=MESSAGES.headers,
                        )
                    except httpx2.ProxyError:
                        assert password == WRONG_PASSWORD
                    else:
                        assert answer.status_code in (200, 401, 502)
        for way in (REVERSE, REVERSE_H2):
            with clients.http(way) as http:
                answer = http.post(
                    clients.url(way, "anthropic", "/v1/messages"),
                    content=MESSAGES.request(PROMPT, stream=True),
                    headers={"x-api-key": HEADERS["x-api-key"], "authorization": basic(password)},
                )
                assert answer.status_code == (200 if password == PASSWORD else 401)
    with pytest.raises(ConnectionRefusedError):
        open_tunnel(proxy.forward_port, "api.anthropic.com", credentials=basic(WRONG_PASSWORD))
    assert {request.header("proxy-authorization") for request in standin.requests} == {None}
    assert {row["initiator_id"] for row in proxy.records.interceptions} == {USER}
    everything(proxy, metrics=metrics_text(proxy)).assert_no_secrets()
    proxy.stop()
    everything(proxy).assert_no_secrets()


@pytest.mark.parametrize("detail", [1, 4])
def test_prompts_without_capture_are_only_in_saved_flows(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
    detail: int,
) -> None:
    options = verbose() | {"flow_detail": detail}
    proxy = start_proxy(options=options, metrics=True)
    clients = clients_of(proxy)
    visitor = Visitor(clients, provider)
    with locked(proxy.database):
        visitor.visit(FORWARD, MESSAGES)
        visitor.visit(REVERSE_H2, CHAT)
        written = everything_spooled(proxy)
        assert set(written.where(PROMPT)) <= {"flows", *(["log"] if detail == 4 else [])}
    proxy.stop()
    shown = {"flows", *(["log"] if detail == 4 else [])}
    assert set(everything(proxy).where(PROMPT)) == shown
    assert proxy.records.prompts == []
    standin.requests.clear()


def in_every_place(api: Api, text: str) -> bytes:
    """Return a request that holds a text in its system prompt, history and tools."""
    body = json.loads(api.request(text, stream=True))
    if api is MESSAGES:
        body |= {"system": text, "tools": [{"name": "t", "description": text, "input_schema": {}}]}
        result = {"type": "tool_result", "tool_use_id": "c", "content": text}
        call = {"type": "tool_use", "id": "c", "name": "t", "input": {"key": text}}
        body["messages"] = [
            *({"role": "user", "content": text}, {"role": "assistant", "content": [call]}),
            {"role": "user", "content": [result, {"type": "text", "text": text}]},
        ]
    else:
        call = {"id": "c", "type": "function", "function": {"name": "t", "arguments": text}}
        body["messages"] = [
            *({"role": "system", "content": text}, {"role": "user", "content": text}),
            {"role": "assistant", "content": text, "tool_calls": [call]},
            *({"role": "tool", "tool_call_id": "c", "content": text},),
            {"role": "user", "content": text},
        ]
    return json.dumps(body | {"metadata": {"user_id": text}}).encode()


def echoing(api: Api, text: str) -> Callable[[Any], Response]:
    """Answer with a text in place of the first word of a stream, or in an error."""
    stated = {"type": "authentication_error", "message": f"Incorrect API key: {text}"}
    error = json.dumps({"type": "error", "error": stated}).encode()

    def answer(request: Any) -> Response:
        if json.loads(request.body).get("stream"):
            said = [event.replace(b"Well, ", text.encode(), 1) for event in api.events()]
            return Response(200, [("content-type", "text/event-stream")], said)
        return Response(401, [("content-type", "application/json")], [error])

    return answer


def test_secrets_in_bodies_reach_the_provider_and_no_record(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
) -> None:
    more = more_providers(standin.origin)
    proxy = start_proxy(
        more_config=more, options={"aibridge_capture": "all"}, env=CENTRAL, metrics=True
    )
    clients = clients_of(proxy)
    token = AccessToken.make("alice")[0]
    secrets = " ".join((*HEADERS.values(), *CENTRAL.values(), token))

    def visit() -> None:
        for way, api in ((FORWARD, MESSAGES), (REVERSE_H2, CHAT)):
            provider.canned["echo"] = echoing(api, secrets)
            with clients.http(way) as http:
                url = clients.url(way, api.provider, api.path) + f"?key={HEADERS['api-key']}"
                for body in (in_every_place(api, secrets), api.request(secrets, stream=False)):
                    headers = HEADERS | {"x-standin-canned": "echo"}
                    answer = http.post(url, content=body, headers=headers)
                    assert HEADERS["api-key"] in answer.text
                    assert standin.requests[-1].body == body

    visit()
    Visitor(clients, provider).visit_other_apis(FORWARD, secrets)
    with locked(proxy.database):
        visit()
        spooled = everything_spooled(proxy)
        spooled.assert_no_secrets()
    visit()
    proxy.stop()
    everything(proxy).assert_no_secrets()
    with closing(sqlite3.connect(proxy.database)) as connection:
        (number,) = connection.execute("select count(*) from aibridge_messages").fetchone()
    assert number >= 16  # of the first visit; the others may still be in the spool
    for content in contents_of(proxy):
        assert not [secret for secret in (*SECRETS, token) if secret.encode() in content]
