"""Timelines of recorded requests, with content: inner loops and client tools."""

import pytest

from aibridge_addon.report.loading import TimelineLoader
from aibridge_addon.report.timeline import Timeline, ToolCall, UpstreamRequest
from aibridge_addon.store import open_store
from e2e.asking import API, APIS, user
from e2e.central import FORWARD, SUM, Central
from e2e.proxy import Proxy

each_api = pytest.mark.parametrize("api", APIS, ids=str)
WEATHER = 'USE_TOOL:get_weather ARGS:{"city": "Oslo"} SAY'


@pytest.fixture
def proxy(central_proxy: Proxy) -> Proxy:
    """The proxy that offers tools and, since only this machine can use it, records everything."""
    return central_proxy


def load(proxy: Proxy, id_: str) -> Timeline:
    found = TimelineLoader(open_store(str(proxy.database)).reports()).load(id_)
    assert found
    return found


def calls(request: UpstreamRequest) -> list[ToolCall]:
    return [step.call for step in request.steps if step.call]


def texts(request: UpstreamRequest) -> list[str]:
    return [step.part.text for step in request.steps if step.part.kind == "text"]


@each_api
def test_inner_loop_is_shown_with_the_results_of_its_calls(central: Central, api: API) -> None:
    with central.proxy.recording() as records:
        central.see(api, FORWARD, SUM, stream=True)
    found = load(central.proxy, records.interception["id"])

    first, second = found.requests
    assert (first.number, second.number) == (0, 1)
    assert first.own
    assert second.own
    assert texts(second) == ["The tool returned: 42"]
    (call,) = calls(first)
    assert (call.name, call.central, call.error) == ("add", True, None)
    assert call.result
    assert call.result.part.text == "42"
    assert call.duration_ms is not None
    assert found.missing == ()


@each_api
def test_result_of_a_client_tool_is_shown_with_its_call(central: Central, api: API) -> None:
    with central.proxy.recording() as records:
        first = central.ask(api, FORWARD, WEATHER, tools=["get_weather"])
        [call] = first.calls
        conversation = [user(WEATHER), *first.turn, api.result(call, "12 degrees")]
        central.ask(api, FORWARD, conversation, tools=["get_weather"])
    asked, answered = (load(central.proxy, row["id"]) for row in records.interceptions)

    (shown,) = calls(asked.requests[0])
    assert shown.result
    assert (shown.name, shown.central, shown.result.part.text) == (
        *("get_weather", False, "12 degrees"),
    )
    assert answered.diff
    assert not answered.diff.of_kind("removed")
    assert answered.diff.kept == 1
