"""SIGTERM during inner loops: all end and are recorded, and no error is logged."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
from standin import Provider, Server

from e2e.asking import API, APIS
from e2e.central import (
    FORWARD,
    FORWARD_H2,
    REVERSE,
    SUM,
    Central,
    Report,
    ToolServer,
)
from e2e.clients import Clients, Way
from e2e.conftest import StartProxy
from e2e.proxy import Proxy


def test_sigterm_in_inner_loops_records_them_as_interrupted_and_logs_no_error(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
    tool_server: ToolServer,
    tmp_path: Path,
) -> None:
    proxy = start_proxy(servers={"calc": {"url": tool_server.url}})
    central = Central(proxy, clients_of(proxy), provider, standin)
    report = Report(tmp_path / "slow")
    slow = f"USE_TOOL:bmcp_calc_slow ARGS:{report.arguments}"
    answering = f"{SUM} NEXT PACE:1 LONG:5000"
    asks = [(api, way, answering, True) for api in APIS for way in (FORWARD, FORWARD_H2)]
    asks += [(APIS[0], REVERSE, slow, stream) for stream in (True, False)]

    with ThreadPoolExecutor(len(asks)) as pool:
        asked = [
            pool.submit(broken, central, api, way, prompt, stream)
            for api, way, prompt, stream in asks
        ]
        standin.wait_until(lambda: len(central.requests) == 2 * 6 + 2)
        report.wait_for("started")
        assert proxy.stop() == 0
        assert all(future.result() for future in asked)

    report.close()
    assert [row["status"] for row in proxy.records.interceptions] == ["interrupted"] * len(asks)
    assert "generator" not in proxy.log_text()


def broken(central: Central, api: API, way: Way, prompt: str, stream: bool) -> bool:
    """Send a request; return True if the response is truncated."""
    try:
        return not central.post(api, way, prompt, stream=stream).whole
    except httpx2.TransportError:
        return True
