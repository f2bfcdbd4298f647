"""Web pages and rebound hosts at a proxy with central keys and central tools; inner-loop policies.

Access tokens are known, and not required.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx2
import pytest
from standin import Server

from aibridge_addon.store import open_store
from e2e.asking import API
from e2e.asking import APIS as SDK_APIS
from e2e.bodies import APIS, MESSAGES, Api
from e2e.central import Central, Report, program
from e2e.clients import TIMEOUT_S, WAYS, Clients, Way
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.sockets import Socket
from e2e.test_tokens import CENTRAL, token
from e2e.wire import connect

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS

APP = "https://app.example.com"
FOREIGN = {"origin": "https://evil.example"}

each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_reverse_way = pytest.mark.parametrize("way", [REVERSE, REVERSE_H2], ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)


@pytest.fixture(scope="module")
def proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """Run a proxy with central keys and central tools that allows one origin."""
    options = {
        "aibridge_allowed_origins": APP,
        "aibridge_allowed_hosts": "proxy.example.com",
        "aibridge_require_token": "never",
    }
    servers = {"calc": program() | {"allow": "^slow$"}}
    with run_proxy(standin.origin, servers=servers, env=CENTRAL, options=options) as made:
        yield made


def post(
    clients: Clients, way: Way, api: Api, headers: dict[str, str], **options: Any
) -> httpx2.Response:
    with clients.http(way) as http:
        url = clients.url(way, api.provider, api.path)
        return http.post(url, content=api.request("hi", stream=False), headers=headers, **options)


@each_way
@each_api
def test_foreign_page_is_refused_and_its_prompt_is_not_recorded(
    proxy: Proxy, clients: Clients, standin: Server, api: Api, way: Way
) -> None:
    own_key = api.headers if way.mode == "forward" else {}
    with proxy.recording() as records:
        answer = post(clients, way, api, own_key | FOREIGN | {"content-type": "text/plain"})
    assert answer.status_code == 403
    assert api.is_error(answer.json())
    assert "aibridge_allowed_origins" in answer.json()["error"]["message"]
    assert "access-control-allow-origin" not in answer.headers
    assert standin.requests == []
    row = records.interception
    assert (row["status"], row["error_type"]) == ("refused", "foreign_origin")
    assert row["credential_kind"] is None
    assert records.user_prompts == []


@each_reverse_way
def test_rebound_host_is_refused(proxy: Proxy, clients: Clients, standin: Server, way: Way) -> None:
    """Check `Host`, and `:authority` in HTTP/2; mitmproxy shows neither to its addons."""
    answer = post(clients, way, MESSAGES, {"host": "evil.example:8081"})
    assert answer.status_code == 403
    assert "aibridge_allowed_hosts" in answer.json()["error"]["message"]
    assert standin.requests == []
    assert post(clients, way, MESSAGES, {"host": "proxy.example.com"}).status_code == 200


def test_rebound_host_in_an_absolute_target_is_refused(
    proxy: Proxy, clients: Clients, standin: Server
) -> None:
    head = (
        "POST http://evil.example/anthropic/v1/messages HTTP/1.1\r\nhost: 127.0.0.1\r\n"
        "connection: close\r\ncontent-length: 2\r\n\r\n{}"
    )
    with connect(clients, REVERSE) as sock:
        sock.settimeout(TIMEOUT_S)
        sock.sendall(head.encode())
        assert sock.recv(64 * 1024).split(b" ", 2)[1] == b"403"
    assert standin.requests == []


@pytest.mark.parametrize("way", [REVERSE, FORWARD], ids=str)
def test_websocket_of_a_foreign_page_is_refused(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    with Socket(clients, way, headers=FOREIGN) as page:
        assert page.status == 403
        assert b"aibridge_allowed_origins" in page.refusal
    assert standin.requests == []


@each_reverse_way
def test_access_token_replaces_the_origin_and_host_checks(
    proxy: Proxy, clients: Clients, way: Way
) -> None:
    text = token(proxy)
    headers = FOREIGN | {"host": "team.example:8081", "x-api-key": text}
    assert post(clients, way, MESSAGES, headers).status_code == 200


def test_page_with_its_own_key_and_no_tools_is_not_refused(proxy: Proxy, clients: Clients) -> None:
    with clients.http(REVERSE) as http:
        url = clients.url(REVERSE, "anthropic", "/v1/models")
        assert http.get(url, headers=FOREIGN | MESSAGES.headers).status_code == 200
        assert http.get(url, headers=FOREIGN).status_code == 403


@each_reverse_way
def test_preflight_and_responses_for_an_allowed_origin_have_cors_headers(
    proxy: Proxy, clients: Clients, standin: Server, way: Way
) -> None:
    url = clients.url(way, "anthropic", "/v1/messages")
    asked = {
        "origin": APP,
        "access-control-request-method": "POST",
        "access-control-request-headers": "content-type,x-api-key",
    }
    with clients.http(way) as http:
        preflight = http.options(url, headers=asked)
        foreign = http.options(url, headers=asked | FOREIGN)
        error = http.post(f"{url}/nowhere", headers={"origin": APP})
    assert preflight.status_code == 204
    assert preflight.headers["access-control-allow-origin"] == APP
    assert preflight.headers["access-control-allow-methods"] == "POST"
    assert preflight.headers["access-control-allow-headers"] == "content-type,x-api-key"
    assert foreign.status_code == 404
    assert "access-control-allow-origin" not in foreign.headers
    assert error.status_code == 404
    assert error.headers["access-control-allow-origin"] == APP
    assert standin.requests == []
    answer = post(clients, way, MESSAGES, {"origin": APP, "sec-fetch-site": "cross-site"})
    assert answer.status_code == 200
    assert answer.headers["access-control-allow-origin"] == APP
    assert "Origin" in answer.headers["vary"]


# --- inner loop


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("api", SDK_APIS, ids=str)
def test_revoked_access_token_stops_further_upstream_requests_of_an_inner_loop(
    central: Central, proxy: Proxy, tmp_path: Path, api: API, stream: bool
) -> None:
    text, report = token(proxy, "ivan"), Report(tmp_path / "slow")
    said = f"USE_TOOL:bmcp_calc_slow ARGS:{report.arguments}"
    headers = {"X-AIBridge-Token": text}
    mark = proxy.mark()
    with ThreadPoolExecutor() as pool:
        asking = pool.submit(central.post, api, REVERSE, said, stream=stream, headers=headers)
        report.wait_for("started")
        open_store(proxy.database).revoke_access_tokens(text.split("_")[1])
        report.release()
        seen = asking.result()
    report.close()
    assert seen.status == (200 if stream else 400)
    assert b"was revoked" in seen.raw
    assert len(central.requests) == 1
    records = central.recorded(lambda records: records.interceptions[0]["ended_at"], mark)
    row = records.interception
    assert (row["status"], row["error_type"]) == ("failed", "revoked_token")
