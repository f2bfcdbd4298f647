"""Health of a proxy while it works, while a dependency is unavailable, and after that."""

from collections.abc import Callable

import pytest
from locks import locked
from standin import Server

import aibridge_addon
from e2e.asking import APIS
from e2e.central import REVERSE, ToolServer
from e2e.clients import Clients
from e2e.conftest import StartProxy
from e2e.metrics import health, metric, served, wait_for_health
from e2e.proxy import Proxy

MESSAGES, *_ = APIS
TOKEN = "tok-h3h3h3h3h3h3h3h3h3h3"


def test_healthy_proxy_reports_ok_without_secrets(start_proxy: StartProxy, standin: Server) -> None:
    server = ToolServer("http", "--token", TOKEN)
    headers = {"Authorization": "Bearer ${TOOL_TOKEN}"}
    proxy = start_proxy(
        metrics=True,
        servers={"calc": {"url": server.url, "headers": headers}},
        env={"TOOL_TOKEN": TOKEN},
    )
    assert health(proxy) == (
        200,
        {
            "status": "ok",
            "database": "ok",
            "mcp_servers": {"calc": "up"},
            "prices": "ok",
            "version": aibridge_addon.__version__,
        },
    )
    text = served(proxy, "/healthz").text
    assert TOKEN not in text
    assert "127.0.0.1" not in text
    server.stop()


def test_mcp_server_that_is_down_degrades_health_with_status_200(
    start_proxy: StartProxy, standin: Server
) -> None:
    server = ToolServer("http")
    proxy = start_proxy(
        metrics=True,
        servers={
            "calc": {"url": server.url},
            "hangs": {"command": "sleep", "args": ["1000"]},
        },
        wait_for=["calc"],
    )
    status, body = health(proxy)
    assert (status, body["status"]) == (200, "ok")
    assert body["mcp_servers"] == {"calc": "up", "hangs": "starting"}
    assert metric(proxy, "aibridge_mcp_server_up", server="calc") == 1
    assert metric(proxy, "aibridge_mcp_server_up", server="hangs") == 0

    server.stop()
    proxy.wait_for_log("MCP server calc .* is down")
    status, body = wait_for_health(proxy, lambda found: found[1]["status"] == "degraded")
    assert status == 200
    assert body["database"] == "ok"
    assert body["mcp_servers"] == {"calc": "down", "hangs": "starting"}
    assert metric(proxy, "aibridge_mcp_server_up", server="calc") == 0


@pytest.mark.may_log_errors
def test_health_is_503_while_the_database_is_unavailable(
    start_proxy: StartProxy, clients_of: Callable[[Proxy], Clients]
) -> None:
    proxy = start_proxy(metrics=True)
    with locked(proxy.database):
        MESSAGES.ask(clients_of(proxy), REVERSE, "hi")  # relayed, but cannot be recorded
        status, body = health(proxy)
        assert (status, body["status"], body["database"]) == (503, "degraded", "away")
    status, body = wait_for_health(proxy, lambda found: found[0] == 200)
    assert (body["status"], body["database"]) == ("ok", "ok")
