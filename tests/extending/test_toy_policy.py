"""A policy is added by one file from outside the package, and holds for every kind of request."""

from collections.abc import Callable
from pathlib import Path

import pytest
from e2e.asking import APIS
from e2e.central import FORWARD, REVERSE, Central, program
from e2e.clients import Clients
from e2e.conftest import (  # noqa: F401 fixtures
    StartProxy,
    authority,
    clients_of,
    confdir,
    provider,
    proxies,
    standin,
    start_proxy,
)
from e2e.metrics import metric
from e2e.proxy import Proxy
from e2e.sockets import Socket
from standin import Provider, Server

pytestmark = pytest.mark.e2e

MODULE = "toy_policy"
PLUGIN = '''
"""Refuses to send a number that must not leave the house."""

from aibridge_addon.access import policies
from aibridge_addon.access.policies import Asked, PolicyContext, Refusal

SECRET = b"770002"


class NoSecretNumber:
    def check(self, asked: Asked) -> Refusal | None:
        if SECRET not in (asked.content() or b""):
            return None
        return Refusal(status=400, reason="secret_number", message="aibridge: a secret number")


policies.register(lambda context: NoSecretNumber())
'''
SUM_IS_SECRET = 'USE_TOOL:bmcp_calc_add ARGS:{"a": 700001, "b": 70001}'


@pytest.fixture
def central(
    start_proxy: StartProxy,  # noqa: F811
    clients_of: Callable[[Proxy], Clients],  # noqa: F811
    provider: Provider,  # noqa: F811
    standin: Server,  # noqa: F811
    tmp_path: Path,
) -> Central:
    """Send requests through a proxy with central tools and the toy policy."""
    plugins = tmp_path / "plugins"
    plugins.mkdir()
    (plugins / f"{MODULE}.py").write_text(PLUGIN)
    proxy = start_proxy(
        servers={"calc": program() | {"allow": "^add$"}},
        # WebSockets are refused where central tools are offered.
        more_config='[injection]\nproviders = ["anthropic"]\n',
        options={"aibridge_plugins": MODULE},
        env={"PYTHONPATH": str(plugins)},
        metrics=True,
    )
    return Central(proxy, clients_of(proxy), provider, standin)


def test_registered_policy_refuses_client_requests_websocket_messages_and_inner_loop_requests(
    central: Central,
) -> None:
    for api in APIS:
        assert central.post(api, FORWARD, "hello").status == 200
        refused = central.post(api, REVERSE, "770002")
        assert refused.status == 400
        assert "a secret number" in refused.json["error"]["message"]
    assert not any(b"770002" in request.body for request in central.requests)

    with Socket(central.clients, FORWARD) as codex:
        assert codex.ask("770002")["error"]["message"] == "aibridge: a secret number"
        assert codex.ask("hello")["type"] == "response.completed"

    before = len(central.requests)
    looped = central.post(APIS[0], FORWARD, SUM_IS_SECRET)
    assert "a secret number" in looped.json["error"]["message"]
    assert len(central.requests) == before + 1, "the result of the tool was not sent"

    refused_rows = [
        row["error_type"]
        for row in central.proxy.records.interceptions
        if row["error_type"] is not None
    ]
    assert refused_rows == ["secret_number"] * 5
    assert metric(central.proxy, "aibridge_refused_total", reason="secret_number") == 5
