"""Retries: a repeated request continues from the calls that were run for it."""

import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from standin import Provider, Response, Server

from e2e.asking import API, APIS
from e2e.central import (
    FORWARD,
    SUM,
    SUM_LINE,
    WAIT_S,
    Central,
    Report,
    ToolServer,
    reworked,
    wait_for_servers,
)
from e2e.clients import Clients
from e2e.proxy import Proxy
from e2e.wire_formats import reader_of

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


def overloaded(central: Central, answers: range, *, refused: int | None = None) -> None:
    """Make the provider overloaded for some requests, and refuse another."""
    scripted = reworked(central.provider, lambda events: events)
    asked = count()

    async def canned(request: Any) -> Any:
        number = next(asked)
        if number == refused:
            return Response(400, [("content-type", "application/json")], b'{"error": {}}')
        if number in answers:
            return Response(529, [("content-type", "application/json")], b'{"error": {}}')
        return await scripted(request)

    central.provider.canned["overloaded"] = canned


@each_api
@each_delivery
def test_tool_runs_once_if_the_client_repeats_its_request(
    central: Central, api: API, stream: bool
) -> None:
    overloaded(central, range(1, 6))
    prompt = f"{SUM} (retry {next(_numbers)})"
    headers = {"x-standin-canned": "overloaded"}
    with central.proxy.recording() as records:
        failed = central.post(api, FORWARD, prompt, stream=stream, headers=headers)
    assert failed.status == (200 if stream else 529)
    assert len(central.requests) == 6
    assert len(records.tool_usages) == 1
    with central.proxy.recording() as records:
        story = central.see(api, FORWARD, prompt, stream=stream, headers=headers)
    assert story.lines[-1].endswith("The tool returned: 42")
    assert records.tool_usages == []
    assert len(central.requests) == 7
    assert reader_of(api).transcript(central.received[-1])[1:] == [
        "says Moment",
        SUM_LINE,
        "gets 42",
    ]


def test_refusal_of_restored_steps_is_followed_by_the_original_request(
    central: Central,
) -> None:
    overloaded(central, range(1, 6), refused=6)
    prompt = f"{SUM} (retry {next(_numbers)})"
    headers = {"x-standin-canned": "overloaded"}
    assert central.post(MESSAGES, FORWARD, prompt, headers=headers).status == 529
    assert central.post(MESSAGES, FORWARD, prompt, headers=headers).status == 200
    assert reader_of(MESSAGES).names(central.received[-2])
    assert not reader_of(MESSAGES).names(central.received[-1])
    central.see(MESSAGES, FORWARD, "hi")
    assert reader_of(MESSAGES).names(central.received[-1]), "others are offered tools all the same"


def test_call_interrupted_by_a_disconnect_is_not_run_again(
    central: Central, report: Report
) -> None:
    before = central.proxy.mark()
    prompt = f"USE_TOOL:bmcp_calc_slow ARGS:{report.arguments} SAY"
    with central.asking(MESSAGES, FORWARD, prompt, stream=True):
        report.wait_for("started")
    report.wait_for("cancelled")
    central.recorded(lambda found: [r for r in found.interceptions if r["ended_at"]], before)
    story = central.see(MESSAGES, FORWARD, prompt, stream=True)
    assert INTERRUPTED in story.lines[-1]
    assert report.lines == ["started", "cancelled"]


def test_call_interrupted_by_a_killed_proxy_is_not_run_again(
    start_proxy: Callable[..., Proxy],
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
    tool_server: ToolServer,
    report: Report,
) -> None:
    own = start_proxy(servers={"calc": {"url": tool_server.url, "allow": "^slow$"}})
    prompt = f"USE_TOOL:bmcp_calc_slow ARGS:{report.arguments} SAY"
    central = Central(own, clients_of(own), provider, standin)
    with central.asking(CHAT, FORWARD, prompt, stream=True):
        report.wait_for("started")
        wait_until_stored(own, "attempts")
        own.kill()
    mark = len(own.log)
    own.start()
    wait_for_servers(own, "calc", mark=mark)
    central = Central(own, clients_of(own), provider, standin)
    story = central.see(CHAT, FORWARD, prompt, stream=True)
    assert INTERRUPTED in story.lines[-1]
    assert report.lines.count("started") == 1


def wait_until_stored(proxy: Proxy, scope: str) -> None:
    """Wait until the database has an entry in a scope."""
    deadline = time.monotonic() + WAIT_S
    found = "SELECT count(*) FROM aibridge_hidden_turns WHERE scope = ?"
    while time.monotonic() < deadline:
        with closing(sqlite3.connect(proxy.database)) as database:
            if database.execute(found, (scope,)).fetchone()[0]:
                return
        time.sleep(0.02)
    raise AssertionError("nothing was stored")
