"""A conversation that a fallback serves returns to it from another proxy with the same database."""

import json
from collections.abc import Callable
from typing import Any

from databases import Database
from standin import Provider, Request, Response
from standin.provider import Answer

from e2e.bodies import RESPONSES
from e2e.clients import WAYS, Clients
from e2e.conftest import StartProxy, StartStandin
from e2e.proxy import Proxy

REVERSE = WAYS[2]
FIRST, OTHER = "sk-first-aaaaaaaaaaaaaaaa", "sk-other-cccccccccccccccccc"
CONFIG = """
[[providers]]
name = "first"
type = "openai"
base_url = "ORIGIN/v1"
api_key_env = "FIRST"
fallbacks = [{ provider = "other", models = { "standin-1" = "served-1" }, on = ["error"] }]

[[providers]]
name = "other"
type = "openai"
base_url = "ORIGIN/v1"
hosts = []
api_key_env = "OTHER"
"""


class Failing:
    """A provider that fails once for the first key, and answers by script otherwise."""

    def __init__(self) -> None:
        self.provider = Provider()
        self.keys: list[str] = []
        self.fails = True

    async def __call__(self, request: Request) -> Answer:
        self.keys.append((request.header("authorization") or "").removeprefix("Bearer "))
        if self.keys[-1] == FIRST and self.fails:
            self.fails = False
            return Response(500, [("content-type", "application/json")], b"{}")
        return await self.provider(request)


def test_state_of_a_fallback_returns_to_it_from_another_proxy_and_after_a_restart(
    start_standin: StartStandin,
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    database: Database,
) -> None:
    failing = Failing()
    origin = start_standin(failing).origin
    proxies = [
        start_proxy(
            config=CONFIG.replace("ORIGIN", origin),
            options={"aibridge_db": database.location},
            env={"FIRST": FIRST, "OTHER": OTHER},
        )
        for _ in range(2)
    ]

    def say(proxy: Proxy, *items: Any, **members: Any) -> dict[str, Any]:
        said = [{"role": "user", "content": "one"}, *items]
        clients = clients_of(proxy)
        with clients.http(REVERSE) as http:
            url = clients.url(REVERSE, "first", f"/v1{RESPONSES.path}")
            body = RESPONSES.request("", stream=False, input=said, **members)
            found = http.post(url, content=body)
        assert found.status_code == 200, found.text
        made: dict[str, Any] = json.loads(found.content)
        return made

    one, two = proxies
    reasoning = {"type": "reasoning", "encrypted_content": "of-the-fallback", "summary": []}
    made = say(one)
    say(two, reasoning)
    say(two, previous_response_id=made["id"])
    one.stop()
    one.start()
    say(one, reasoning)
    say(one, previous_response_id="resp_of_the_first")
    assert failing.keys == [FIRST, OTHER, OTHER, OTHER, OTHER, FIRST]
