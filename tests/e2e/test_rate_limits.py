"""Rate limits in response heads are recorded and relayed unchanged; `test_websocket` has more."""

import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from itertools import count

import pytest
from standin import Provider, Request, Response, Upgrade

from e2e.asking import APIS
from e2e.central import FORWARD, FORWARD_H2, REVERSE, SUM, Central, key_headers
from e2e.clients import Clients, Way
from e2e.metrics import metric
from e2e.proxy import Proxy

MESSAGES, _, _ = APIS
CANNED = {"x-standin-canned": "limited"}
_numbers = count(1)


@pytest.fixture
def proxy(central_proxy: Proxy) -> Proxy:
    """The proxy that offers tools."""
    return central_proxy


@pytest.fixture
def limited(provider: Provider) -> Callable[[], int]:
    """Make the provider number its responses in a header; return the last number."""
    last = 0

    async def answer(request: Request) -> Response | Upgrade:
        nonlocal last
        last = next(_numbers)
        headers = [pair for pair in request.headers if pair[0].lower() not in CANNED]
        plain = replace(request, headers=headers)
        response = await provider(plain)
        assert isinstance(response, Response | Upgrade)
        request.notes = plain.notes
        response.headers.append(("X-RateLimit-Remaining-Tests", str(last)))
        return response

    provider.canned["limited"] = answer
    return lambda: last


def recorded(proxy: Proxy) -> Iterator[tuple[str, ...]]:
    with closing(sqlite3.connect(f"{proxy.database.as_uri()}?mode=ro", uri=True)) as connection:
        yield from connection.execute(
            "SELECT provider_name, credential_kind, credential_hint, value FROM"
            " aibridge_rate_limits WHERE header = 'x-ratelimit-remaining-tests'"
        )


@pytest.mark.parametrize("way", [FORWARD, FORWARD_H2, REVERSE], ids=str)
@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
def test_rate_limits_are_recorded_and_relayed(
    proxy: Proxy, clients: Clients, limited: Callable[[], int], way: Way, stream: bool
) -> None:
    asked = MESSAGES.body("Hello", stream=stream)
    with clients.http(way) as client:
        url = clients.url(way, "anthropic", MESSAGES.path)
        response = client.post(url, json=asked, headers=key_headers(MESSAGES) | CANNED)

    assert response.headers["x-ratelimit-remaining-tests"] == str(limited())
    assert response.headers["anthropic-ratelimit-unified-5h-utilization"] == "0.42"
    [(provider, kind, hint, value)] = [row for row in recorded(proxy) if row[0] == "anthropic"]
    assert (provider, kind, value) == ("anthropic", "byok", str(limited()))
    assert "..." in hint
    used = metric(
        proxy, "aibridge_rate_limit_used_ratio", provider="anthropic", credential=hint, limit="5h"
    )
    assert used == 0.42


def test_rate_limits_of_a_follow_up_request_are_recorded(
    proxy: Proxy, central: Central, limited: Callable[[], int]
) -> None:
    before = next(_numbers)

    central.see(MESSAGES, FORWARD, SUM, stream=True, headers=CANNED)

    assert limited() == before + 2
    assert ("anthropic", str(limited())) in [(row[0], row[-1]) for row in recorded(proxy)]
