"""Statuses of refusals, as programs show and repeat them: the cells of the decision about them."""

import json
from collections.abc import Iterator, Mapping

import pytest
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from standin import Authority, Provider, Request, Response, Server, ServerThread
from standin.provider import Answer

from clients.asking import codex, opencode
from clients.conftest import MakeDesk, config_of
from clients.places import Desk, Mode

each_mode = pytest.mark.parametrize("mode", ["forward", "reverse"])
TEXT = "aibridge: the sentence that a person should read."
FINAL = {"x-should-retry": "false", "retry-after-ms": "1"}
"""As the proxy's own definitive refusals for opencode."""
SOON = {"retry-after": "1", "x-should-retry": "true"}


class Refusing:
    """A provider that refuses each call."""

    def __init__(self) -> None:
        self.provider = Provider()
        self.status = 400
        self.headers: Mapping[str, str] = {}

    async def __call__(self, request: Request) -> Answer:
        is_handshake = request.header("upgrade") is not None
        if request.method != "POST" and not is_handshake:
            return await self.provider(request)
        error = {"type": "x", "code": "x", "message": TEXT}
        body = json.dumps({"type": "error", "error": error}).encode()
        named = [("content-type", "application/json"), *self.headers.items()]
        return Response(self.status, named, body)


@pytest.fixture(scope="module")
def refusing() -> Refusing:
    return Refusing()


@pytest.fixture(scope="module")
def refused_proxy(run_proxy: RunProxy, refusing: Refusing, authority: Authority) -> Iterator[Proxy]:
    """A proxy before the provider that refuses."""
    with (
        ServerThread(Server(refusing, tls=authority.server_context())) as upstream,
        run_proxy(upstream.origin, config=config_of(upstream.origin)) as shared,
    ):
        yield shared


@pytest.fixture
def refused_desk(refused_proxy: Proxy, make_desk: MakeDesk) -> Desk:
    return make_desk(refused_proxy)


@each_mode
@pytest.mark.parametrize(
    ("status", "headers", "turns"),
    [(402, FINAL, 1), (403, FINAL, 1), (503, FINAL, 6), (429, SOON, 6), (503, SOON, 6)],
    ids=["402", "403", "503", "429_with_retry_after", "503_with_retry_after"],
)
def test_opencode_shows_a_refusal(
    refused_desk: Desk,
    refusing: Refusing,
    mode: Mode,
    status: int,
    headers: Mapping[str, str],
    turns: int,
) -> None:
    refusing.status, refusing.headers = status, headers
    with refused_desk.proxy.recording() as records:
        ran = opencode(refused_desk, "anthropic/claude-sonnet-4-5", "hello", mode=mode)
    assert TEXT in ran.out + ran.err
    kinds = [row["request_kind"] for row in records.interceptions]
    assert kinds.count("turn") == turns, kinds


@each_mode
def test_codex_repeats_a_forbidden_request_and_shows_the_refusal(
    refused_desk: Desk, refusing: Refusing, mode: Mode
) -> None:
    refusing.status, refusing.headers = 403, FINAL
    with refused_desk.proxy.recording() as records:
        _, events = codex(refused_desk, "hello", mode=mode)
    assert TEXT in json.dumps(events)
    # Handshakes of WebSockets, and then requests.
    assert len(records.interceptions) == 7 + 6
