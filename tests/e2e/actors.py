"""Requests of named actors, in each API by another way: for budgets, limits and model rules."""

from collections.abc import Mapping

import httpx2
import pytest

from e2e.bodies import APIS, CHAT, MESSAGES, RESPONSES, Api
from e2e.clients import WAYS, Clients, Way

FORWARD, FORWARD_H2, REVERSE, REVERSE_H2 = WAYS
PAIRS = [(MESSAGES, FORWARD_H2), (CHAT, REVERSE), (RESPONSES, FORWARD), (MESSAGES, REVERSE_H2)]
each_pair = pytest.mark.parametrize(("api", "way"), PAIRS, ids=str)
assert {api for api, _ in PAIRS} == set(APIS)


def post(
    clients: Clients,
    way: Way,
    api: Api,
    actor: str,
    content: bytes | None = None,
    *,
    stream: bool = False,
    headers: Mapping[str, str] | None = None,
) -> httpx2.Response:
    """Send a request of an actor; without `content`, a small one."""
    with clients.http(way) as http:
        return http.post(
            clients.url(way, api.provider, api.path),
            content=api.request("hi", stream=stream) if content is None else content,
            headers={**api.headers, "X-AIBridge-Actor": actor, **(headers or {})},
        )
