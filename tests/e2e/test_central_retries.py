"""A client sends the same request again: it goes on from what the tools have done for it."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from standin import Response

from e2e.asking import API, APIS
from e2e.central import FORWARD, SUM, SUM_LINE, Central, Report, reworked
from e2e.dialects import dialect_of
from e2e.proxy import Proxy

MESSAGES, CHAT, RESPONSES = APIS

each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

INTERRUPTED = "The call was interrupted before it gave a result"

_numbers = count()


@pytest.fixture
def proxy(central_proxy: Proxy) -> Proxy:
    """The proxy that offers tools."""
    return central_proxy


@pytest.fixture
def report(tmp_path: Path) -> Iterator[Report]:
    """A call of the tool `slow`."""
    made = Report(tmp_path / "slow")
    yield made
    made.close()


def overloaded(central: Central, answers: range) -> None:
    """Have the provider refuse those of its answers."""
    scripted = reworked(central.provider, lambda events: events)
    asked = count()

    async def canned(request: Any) -> Any:
        if next(asked) in answers:
            return Response(529, [("content-type", "application/json")], b'{"error": {}}')
        return await scripted(request)

    central.provider.canned["overloaded"] = canned


@each_api
@each_delivery
def test_a_tool_runs_once_though_the_client_has_to_send_its_request_again(
    central: Central, api: API, stream: bool
) -> None:
    overloaded(central, range(1, 6))
    said = f"{SUM} (retry {next(_numbers)})"
    headers = {"x-standin-canned": "overloaded"}
    with central.proxy.recording() as records:
        failed = central.post(api, FORWARD, said, stream=stream, headers=headers)
    assert failed.status == (200 if stream else 529)
    assert len(central.requests) == 6
    assert len(records.tool_usages) == 1
    with central.proxy.recording() as records:
        story = central.see(api, FORWARD, said, stream=stream, headers=headers)
    assert story.lines[-1].endswith("The tool returned: 42")
    assert records.tool_usages == []
    assert len(central.requests) == 7
    assert dialect_of(api).transcript(central.received[-1])[1:] == [
        "says Moment",
        SUM_LINE,
        "gets 42",
    ]


def test_a_call_that_the_client_left_is_not_run_again(central: Central, report: Report) -> None:
    before = central.proxy.mark()
    said = f"USE_TOOL:bmcp_calc_slow ARGS:{report.arguments} SAY"
    with central.asking(MESSAGES, FORWARD, said, stream=True):
        report.wait_for("started")
    report.wait_for("cancelled")
    central.recorded(lambda found: [r for r in found.interceptions if r["ended_at"]], before)
    story = central.see(MESSAGES, FORWARD, said, stream=True)
    assert INTERRUPTED in story.lines[-1]
    assert report.said == ["started", "cancelled"]
