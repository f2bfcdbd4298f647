"""Servers: connections to real MCP servers, calls, results and faults."""

import asyncio
import gc
import logging
import math
import re
import socket
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import psutil
import pytest
import pytest_asyncio

from aibridge_addon.config.mcp_file import ServerEntry, ServerFile, servers_of_file
from aibridge_addon.formats.central_tool import CentralTool, ResultPart, ToolResult, error_result
from aibridge_addon.tools.server_config import ServerConfig, Transport
from aibridge_addon.tools.servers import ToolServers
from tools.running import (
    BOUND,
    LISTING,
    Connect,
    Program,
    Report,
    StartProgram,
    StartScripted,
    by_command,
    by_url,
    http,
    offered,
    tool_of,
)

pytestmark = [pytest.mark.asyncio(loop_scope="module"), pytest.mark.e2e]

SPOKEN = ["http", "http-legacy", "http-json", "sse", "sse-legacy", "stdio", "stdio-legacy"]
PIXEL_HEAD = "iVBORw0KGgo"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def everything(eager: None, programs: dict[str, Program]) -> AsyncIterator[ToolServers]:
    """Connections to servers over every transport; tests must not change them."""
    configs = [
        by_url(name, "sse" if name.startswith("sse") else "http", program.url)
        for name, program in programs.items()
    ]
    configs += [by_command("stdio"), by_command("stdio-legacy", "--legacy", "--page", "2")]
    servers = ToolServers(configs)
    servers.start()
    assert await servers.ready(BOUND)
    yield servers
    await servers.stop()


@pytest.fixture(params=SPOKEN)
def spoken(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def tool(servers: ToolServers, server: str, name: str) -> CentralTool:
    (found,) = [t for t in servers.catalogue if (t.server, t.original_name) == (server, name)]
    return found


def text(*parts: str, is_error: bool = False) -> ToolResult:
    found = tuple(ResultPart(kind="text", text=part) for part in parts)
    return ToolResult(parts=found, is_error=is_error)


def state(servers: ToolServers, name: str) -> str:
    (found,) = [status for status in servers.status() if status.name == name]
    return found.state


# What works, over every transport


async def test_all_tools_of_all_pages_are_in_the_catalogue(
    everything: ToolServers, spoken: str
) -> None:
    found = {t.original_name: t for t in everything.catalogue if t.server == spoken}

    assert len(found) >= 16
    assert found["add"].name == f"bmcp_{spoken}_add"
    assert found["add"].description == "Add two numbers."
    assert found["add"].input_schema["required"] == ["a", "b"]
    assert found["odd/name.of a tool"].name.startswith(f"bmcp_{spoken}_odd_name_of_a_tool_")
    assert all(len(t.name) <= 64 for t in found.values())


async def test_call_returns_the_result_of_the_tool(everything: ToolServers, spoken: str) -> None:
    call = everything.call(tool(everything, spoken, "add"), {"a": 1, "b": 2})

    assert await call == text("3")


async def test_tool_with_an_illegal_name_is_called_by_its_original_name(
    everything: ToolServers, spoken: str
) -> None:
    found = tool(everything, spoken, "odd/name.of a tool")

    assert await everything.call(found, {"text": "Grüße 🌍"}) == text("Grüße 🌍")


async def test_failing_tool_gives_an_error_with_its_message(
    everything: ToolServers, spoken: str
) -> None:
    found = await everything.call(tool(everything, spoken, "fail"), {"message": "no paper"})

    assert found.is_error
    assert "no paper" in found.as_text


async def test_calls_of_a_server_run_in_parallel(everything: ToolServers, spoken: str) -> None:
    """Each call returns only once all have started."""
    meet = tool(everything, spoken, "meet")
    async with asyncio.timeout(BOUND):
        found = await asyncio.gather(*(everything.call(meet, {"count": 5}) for _ in range(5)))

    assert found == [text("met")] * 5


async def test_image_is_returned_with_its_text(everything: ToolServers, spoken: str) -> None:
    found = await everything.call(tool(everything, spoken, "image"), {})

    assert [part.kind for part in found.parts] == ["text", "image"]
    assert found.parts[1].media_type == "image/png"
    assert found.parts[1].data.startswith(PIXEL_HEAD)


@pytest.mark.parametrize(
    # A server that answers with JSON does not look whether anybody still waits.
    "spoken",
    [name for name in SPOKEN if name != "http-json"],
)
async def test_cancelling_the_caller_cancels_the_tool(
    everything: ToolServers, spoken: str, report: Report
) -> None:
    arguments = {"report": report.path}
    call = asyncio.create_task(everything.call(tool(everything, spoken, "slow"), arguments))
    assert await report.next() == "started"
    call.cancel()

    with pytest.raises(asyncio.CancelledError):
        await call
    assert await report.next() == "cancelled"
    assert await everything.call(tool(everything, spoken, "add"), {"a": 1, "b": 1}) == text("2")


@pytest.mark.parametrize("spoken", [name for name in SPOKEN if not name.startswith("sse")])
async def test_result_of_10_mb_is_cut_with_a_note(everything: ToolServers, spoken: str) -> None:
    found = await everything.call(tool(everything, spoken, "big"), {})

    assert [len(part.text) for part in found.parts[:1]] == [256 * 1024]
    assert (
        found.parts[1:] == text("[cut: the result has 10000000 bytes, and 262144 are given]").parts
    )
    assert not found.is_error


# Changes


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
async def test_added_tool_appears_in_the_catalogue(
    connect: Connect, start_program: StartProgram, transport: Transport, legacy: bool
) -> None:
    arguments = ["--legacy"] if legacy else []
    if transport == "stdio":
        config = by_command("s", *arguments)
    else:
        config = by_url("s", transport, start_program(transport, *arguments).url)
    servers, heard = await connect(config)
    before = servers.catalogue

    assert await servers.call(tool(servers, "s", "grow"), {}) == text("grown_1")
    await heard.until(lambda: "bmcp_s_grown_1" in servers.catalogue)

    assert "bmcp_s_grown_1" not in before
    assert ("s", "changed") in heard.events
    grown = offered(servers, "bmcp_s_grown_1")
    assert await servers.call(grown, {"text": "new"}) == text("new")


async def test_filtered_tools_are_not_in_the_catalogue(connect: Connect) -> None:
    config = by_command("s", allow=re.compile("^(add|echo)$"), deny=re.compile("echo"))
    servers, _ = await connect(config)

    assert [t.name for t in servers.catalogue] == ["bmcp_s_add"]
    assert servers.status()[0].tools == 1


# Servers that are down, die, hang, or are restarted


async def test_server_that_was_down_at_the_start_is_reached_by_the_next_call(
    connect: Connect, start_program: StartProgram, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as placeholder:
        port = placeholder.getsockname()[1]
    config = by_url("late", "http", f"http://127.0.0.1:{port}/mcp")
    servers, heard = await connect(config, by_command("here"))
    assert (state(servers, "late"), state(servers, "here")) == ("down", "up")
    assert "bmcp_here_add" in servers.catalogue

    down = await servers.call(tool_of("late", "add"), {"a": 1, "b": 2})
    assert down == error_result(
        "bmcp_late_add: the tool server is not available: it cannot be reached:"
        " All connection attempts failed; go on without it"
    )

    start_program("http", port=port)
    assert await servers.call(tool_of("late", "add"), {"a": 1, "b": 2}) == text("3")
    assert "bmcp_late_add" in servers.catalogue
    assert [event for event in heard.events if event[0] == "late"] == [
        ("late", "down"),
        ("late", "changed"),
        ("late", "up"),
    ]
    assert [r.message for r in caplog.records if "late (" in r.message] == [
        "aibridge: MCP server late (the late) is down: it cannot be reached:"
        " All connection attempts failed; trying again"
    ]


async def test_server_that_stays_down_is_logged_once(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    servers, heard = await connect(by_command("gone", "x", command="/no/such/program"))
    for _ in range(3):
        found = await servers.call(tool_of("gone", "add"), {})
        assert "it cannot be started: No such file or directory" in found.as_text

    assert heard.events == [("gone", "down")]
    assert len([r for r in caplog.records if "gone" in r.message]) == 1


@pytest.mark.parametrize("transport", ["http", "sse", "stdio"])
async def test_server_that_dies_in_a_call_serves_the_next_one(
    connect: Connect, start_program: StartProgram, report: Report, transport: Transport
) -> None:
    if transport == "stdio":
        config, program = by_command("s"), None
    else:
        program = start_program(transport)
        config = by_url("s", transport, program.url)
    servers, heard = await connect(config)
    catalogue = servers.catalogue
    slow = asyncio.create_task(servers.call(tool(servers, "s", "slow"), {"report": report.path}))
    assert await report.next() == "started"

    async with asyncio.timeout(BOUND):
        died = await servers.call(tool(servers, "s", "die"), {})
        lost = await slow
    for found in (died, lost):
        assert found.is_error
        assert "may have had its effect" in found.as_text
    await heard.until(lambda: ("s", "down") in heard.events)
    assert servers.catalogue is catalogue, "a conversation may rely on its tools"

    if program:
        program.kill()
        program.start()
        program.wait()
    assert await servers.call(tool(servers, "s", "add"), {"a": 1, "b": 2}) == text("3")


@pytest.mark.parametrize("arguments", [[], ["--legacy"]])
async def test_restart_of_a_server_between_calls_fails_no_call(
    connect: Connect, start_program: StartProgram, arguments: Any
) -> None:
    program = start_program("http", *arguments)
    servers, _ = await connect(by_url("s", "http", program.url))
    counter = tool(servers, "s", "counter")
    assert await servers.call(counter, {}) == text("1")
    program.kill()
    program.start()
    program.wait()

    assert await servers.call(counter, {}) == text("1")


async def test_silent_program_is_ended_after_the_connect_timeout(connect: Connect) -> None:
    hanging = by_command("s", "-c", "import sys; sys.stdin.read()")
    servers, _ = await connect(hanging, connect_timeout=0.5)

    assert servers.status()[0].last_error == "it was not ready within 0.5 seconds"
    assert state(servers, "s") == "down"


async def test_tool_that_exceeds_the_timeout_is_cancelled(connect: Connect, report: Report) -> None:
    servers, _ = await connect(by_command("s", timeout_s=1.5))
    found = await servers.call(tool(servers, "s", "slow"), {"report": report.path})

    assert found == error_result(
        "bmcp_s_slow: no answer within 1.5 seconds; the call was cancelled"
    )
    assert await report.next() == "started"
    assert await report.next() == "cancelled"


@pytest.mark.parametrize("spoken", ["http", "http-legacy", "sse", "stdio"], indirect=True)
async def test_tool_that_reports_progress_may_take_longer(
    connect: Connect, programs: dict[str, Program], spoken: str
) -> None:
    timeout = 2.0
    if spoken == "stdio":
        config = by_command("s", timeout_s=timeout)
    else:
        transport: Transport = "sse" if spoken == "sse" else "http"
        config = by_url("s", transport, programs[spoken].url, timeout_s=timeout)
    servers, _ = await connect(config)
    found = await servers.call(tool(servers, "s", "steps"), {"count": 30, "seconds": 0.1})
    assert found == text("there")


async def test_call_with_progress_is_cancelled_at_the_total_limit(
    connect: Connect, programs: dict[str, Program]
) -> None:
    config = by_url("s", "http", programs["http"].url, timeout_s=0.5)
    servers, _ = await connect(config, call_seconds_in_all=0.6)
    found = await servers.call(tool(servers, "s", "steps"), {"count": 9999, "seconds": 0.05})
    assert "seconds" in found.as_text
    assert found.is_error


async def test_hanging_server_is_reconnected(connect: Connect) -> None:
    before = set(psutil.Process().children())
    servers, heard = await connect(by_command("s", fork=False, timeout_s=2))
    (process,) = set(psutil.Process().children()) - before
    process.suspend()
    found = await servers.call(tool(servers, "s", "add"), {"a": 1, "b": 2})
    assert "no answer within 2 seconds" in found.as_text

    await heard.until(lambda: ("s", "down") in heard.events)
    assert servers.status()[0].last_error == "it does not answer any more"
    assert not process.is_running()


async def test_stderr_of_a_program_that_ends_at_once_is_reported(connect: Connect) -> None:
    code = "import sys; sys.exit('no configuration found')"
    servers, _ = await connect(by_command("s", "-c", code))

    assert "no configuration found" in servers.status()[0].last_error


async def test_other_output_of_a_program_is_ignored(
    connect: Connect, capfd: pytest.CaptureFixture[str], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "aibridge_addon")
    noisy = by_command("s", "--say", "on stderr", "--say-on-stdout", "on stdout")
    servers, _ = await connect(noisy)

    assert await servers.call(tool(servers, "s", "add"), {"a": 1, "b": 2}) == text("3")
    assert "on stderr" in caplog.text
    assert "on stderr" not in "".join(capfd.readouterr())


# Answers that are none


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (http(b"no json"), "Failed to parse JSON response"),
        (http(b'{"jsonrpc":"2.0","id":1}'), "Failed to parse JSON response"),
        (http(b"<html>", kind="text/html"), "Unexpected content type"),
        (http(b"oops", status="500 Internal Server Error"), "the server answered with HTTP 500"),
        (http(b"", status="401 Unauthorized"), "the server requires a login (HTTP 401)"),
        (http(b"", status="403 Forbidden"), "the server requires a login (HTTP 403)"),
        (http(b"", status="202 Accepted"), "202 Accepted"),
        (http(b"", status="307 Temporary Redirect\r\nlocation: http://evil/"), "not followed"),
        (http(b"event: x\ndata: {\n\n", kind="text/event-stream"), "lost"),
        (http(b"data: {]\n\n", kind="text/event-stream"), "Failed to parse SSE message"),
        (b"", "may have had its effect"),
        (b"garbage\r\n\r\n", "may have had its effect"),
    ],
)
async def test_response_without_a_result_is_reported_as_an_error(
    connect: Connect, scripted: StartScripted, answer: Any, said: str
) -> None:
    servers, _ = await connect(by_url("s", "http", await scripted(answer), timeout_s=10))
    async with asyncio.timeout(BOUND):
        found = await servers.call(tool(servers, "s", "tool"), {})

    assert found.is_error
    assert said in found.as_text


@pytest.mark.parametrize(
    "value", [{"content": "text"}, {"content": [{"type": "text"}]}, [], {"content": [{"type": 5}]}]
)
async def test_invalid_result_is_reported_as_an_error(
    connect: Connect, scripted: StartScripted, value: Any
) -> None:
    servers, _ = await connect(by_url("s", "http", await scripted(value), timeout_s=10))
    found = await servers.call(tool(servers, "s", "tool"), {})

    assert found.is_error
    assert "no answer" not in found.as_text


async def test_invalid_listing_leaves_the_server_down(
    connect: Connect, scripted: StartScripted
) -> None:
    url = await scripted(listing={"tools": None})
    servers, _ = await connect(by_url("s", "http", url))

    assert servers.status()[0].last_error == "it answers with something that is not MCP"
    assert state(servers, "s") == "down"
    assert servers.catalogue.tools == ()


async def test_listing_with_endless_pages_is_cut(
    connect: Connect, scripted: StartScripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("aibridge_addon.tools.listings.MAX_PAGES", 3)
    url = await scripted(listing=LISTING | {"nextCursor": "again"})
    servers, _ = await connect(by_url("s", "http", url))

    assert [t.name for t in servers.catalogue] == ["bmcp_s_tool"]


async def test_result_too_large_for_sse_is_an_error_and_the_server_reconnects(
    connect: Connect, start_program: StartProgram
) -> None:
    servers, _ = await connect(by_url("s", "sse", start_program("sse").url))
    found = await servers.call(tool(servers, "s", "big"), {})

    assert found.is_error
    assert "over SSE, a result has at most 1 MiB" in found.as_text
    assert await servers.call(tool(servers, "s", "add"), {"a": 1, "b": 2}) == text("3")


# Arguments and tools that are none


@pytest.mark.parametrize(
    "arguments", [None, [], "text", 5, {"a": math.nan}, {"text": "\ud800"}, {"a": object()}]
)
async def test_arguments_other_than_a_json_object_are_an_error(
    everything: ToolServers, arguments: Any
) -> None:
    add = tool(everything, "stdio", "add")

    assert await everything.call(add, arguments) == error_result(
        "The arguments of bmcp_stdio_add must be a JSON object."
    )
    assert await everything.call(add, {"a": 1, "b": 2}) == text("3"), "the connection is whole"


async def test_arguments_that_violate_the_schema_are_refused_by_the_server(
    everything: ToolServers, spoken: str
) -> None:
    found = await everything.call(tool(everything, spoken, "add"), {"a": "one"})

    assert found.is_error


async def test_call_of_an_unknown_tool_is_an_error(everything: ToolServers, spoken: str) -> None:
    unknown = await everything.call(tool_of(spoken, "nothing"), {})
    elsewhere = await everything.call(tool_of("nowhere", "nothing"), {})

    assert unknown.is_error
    assert "nothing" in unknown.as_text
    assert elsewhere == error_result("There is no tool server 'nowhere' any more.")


# Logins and secrets


SECRET = "t0k3n-of-somebody"


def server_file(entries: dict[str, ServerEntry]) -> ServerFile:
    return ServerFile.model_validate({"mcpServers": entries})


def with_secret(url: str, **more: Any) -> ServerConfig:
    """Return the configuration of a server whose header and query hold the secret."""
    entry = ServerEntry(
        url=f"{url}?key=${{SECRET}}", headers={"Authorization": "Bearer ${SECRET}"}, **more
    )
    (config,) = servers_of_file(server_file({"s": entry}), {"SECRET": SECRET})
    return config


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_configured_credentials_are_sent_to_a_server(
    connect: Connect,
    start_program: StartProgram,
    caplog: pytest.LogCaptureFixture,
    transport: Transport,
) -> None:
    caplog.set_level(logging.DEBUG)
    program = start_program(transport, "--token", SECRET)
    servers, _ = await connect(with_secret(program.url, type=transport))
    assert await servers.call(tool(servers, "s", "add"), {"a": 1, "b": 2}) == text("3")
    assert tool(servers, "s", "add").server_url == program.url

    await servers.call(tool(servers, "s", "revoke"), {})
    found = await servers.call(tool(servers, "s", "add"), {"a": 1, "b": 2})

    assert found.is_error
    assert "the server requires a login (HTTP 401)" in found.as_text
    for shown in (
        caplog.text,
        found.as_text,
        repr(servers.status()),
        repr(servers.catalogue.tools),
    ):
        assert SECRET not in shown


@pytest.mark.parametrize("transport", ["http", "sse"])
async def test_server_that_refuses_the_credentials_is_down(
    connect: Connect,
    start_program: StartProgram,
    caplog: pytest.LogCaptureFixture,
    transport: Transport,
) -> None:
    caplog.set_level(logging.DEBUG)
    program = start_program(transport, "--token", "another")
    servers, _ = await connect(with_secret(program.url, type=transport))

    assert servers.status()[0].last_error == (
        "the server requires a login (HTTP 401), which its operator has to configure"
    )
    found = await servers.call(tool_of("s", "add"), {})
    for shown in (caplog.text, found.as_text, repr(servers.status())):
        assert SECRET not in shown


async def test_secret_in_the_stderr_of_a_program_is_hidden(
    connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    code = "import os, sys; sys.exit('bad token ' + os.environ['KEY'])"
    entry = ServerEntry(command=sys.executable, args=["-c", code], env={"KEY": "${S}"})
    (config,) = servers_of_file(server_file({"s": entry}), {"S": SECRET})
    servers, _ = await connect(config)
    found = await servers.call(tool_of("s", "add"), {})

    assert "bad token ***" in found.as_text
    assert SECRET not in caplog.text
    assert SECRET not in repr(servers.status())


async def test_secret_in_an_error_of_a_tool_is_hidden(connect: Connect) -> None:
    entry = ServerEntry(
        command=by_command("s").command, args=list(by_command("s").args), env={"KEY": "${S}"}
    )
    (config,) = servers_of_file(server_file({"s": entry}), {"S": SECRET})
    servers, _ = await connect(config)
    found = await servers.call(tool(servers, "s", "fail"), {"message": f"bad {SECRET}"})

    assert found.is_error
    assert SECRET not in found.as_text


async def test_proxies_of_the_environment_are_not_used(
    connect: Connect, programs: dict[str, Program], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy of the environment may be this proxy."""
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    for name in ("NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    servers, _ = await connect(
        by_url("a", "http", programs["http"].url), by_url("b", "sse", programs["sse"].url)
    )

    assert [status.state for status in servers.status()] == ["up", "up"]


# Start and stop


async def test_start_returns_at_once_and_stop_ends_all_programs(
    connect: Connect, programs: dict[str, Program]
) -> None:
    gc.collect()
    tasks, processes = asyncio.all_tasks(), set(psutil.Process().children())
    configs = [by_url(name, "http", programs["http"].url) for name in ("a", "b")]
    configs += [
        by_url("c", "sse", programs["sse"].url),
        by_command("d"),
        by_command("e", fork=False),
    ]
    servers, _ = await connect(*configs, wait=False)
    assert {status.state for status in servers.status()} == {"starting"}
    assert await servers.ready(BOUND)
    mine = set(psutil.Process().children()) - processes
    assert len(mine) == 2
    slow = tool(servers, "a", "meet")
    call = asyncio.create_task(servers.call(slow, {"count": 1000}))

    async with asyncio.timeout(BOUND):
        await servers.stop()
        found = await call

    assert found.is_error
    assert {status.state for status in servers.status()} == {"stopped"}
    assert not [process for process in mine if process.is_running()]
    assert asyncio.all_tasks() - tasks == set()
    stopped = await servers.call(slow, {"count": 1})
    assert stopped.as_text.endswith(
        "the tool server is not available: it is stopped; go on without it"
    )


async def test_stop_while_connecting_ends_programs_that_ignore_signals(connect: Connect) -> None:
    code = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); signal.pause()"
    before = set(psutil.Process().children())
    servers, _ = await connect(by_command("s", "-c", code), wait=False)
    assert not await servers.ready(0.5)
    (process,) = set(psutil.Process().children()) - before

    async with asyncio.timeout(BOUND):
        await servers.stop()

    assert not process.is_running()
    assert state(servers, "s") == "stopped"


def run_without_eager_tasks() -> ToolResult:
    async def run() -> ToolResult:
        servers = ToolServers([by_command("s")])
        servers.start()
        assert await servers.ready(BOUND)
        found = await servers.call(tool(servers, "s", "add"), {"a": 1, "b": 2})
        await servers.stop()
        return found

    return asyncio.run(run())


async def test_servers_run_without_eager_tasks() -> None:
    """Tasks are started lazily, as outside mitmproxy."""
    assert await asyncio.to_thread(run_without_eager_tasks) == text("3")


async def test_no_servers_are_ready_at_once(connect: Connect) -> None:
    servers, _ = await connect()

    assert servers.catalogue.tools == ()
    assert servers.status() == ()
    await servers.stop()


# Another list of servers


@pytest.fixture
def programs_of_mine() -> Callable[[], set[psutil.Process]]:
    """Return the programs that were started by the test."""
    before = set(psutil.Process().children())
    return lambda: set(psutil.Process().children()) - before


async def ended(process: psutil.Process) -> None:
    """Wait until a program has ended."""
    await asyncio.to_thread(process.wait, BOUND)


def only(name: str, tool: str, **more: Any) -> ServerConfig:
    """Return the configuration of a program of which one tool is offered."""
    return by_command(name, allow=re.compile(f"^{tool}$"), **more)


async def test_update_adds_and_removes_servers_and_keeps_others_connected(
    connect: Connect, programs_of_mine: Callable[[], set[psutil.Process]]
) -> None:
    servers, heard = await connect(only("goes", "add"))
    (process,) = programs_of_mine()
    before = servers.catalogue
    servers.update([only("goes", "add"), only("stays", "counter")])
    await heard.until(lambda: "bmcp_stays_counter" in servers.catalogue)
    assert await servers.call(tool(servers, "stays", "counter"), {}) == text("1")
    assert "bmcp_goes_add" in servers.catalogue
    assert process.is_running()

    servers.update([only("comes", "echo"), only("stays", "counter")])

    assert [status.name for status in servers.status()] == ["comes", "stays"]
    assert [t.name for t in servers.catalogue] == ["bmcp_stays_counter"]
    await heard.until(lambda: "bmcp_comes_echo" in servers.catalogue)
    assert await servers.call(tool(servers, "comes", "echo"), {"text": "hi"}) == text("hi")
    assert await servers.call(tool(servers, "stays", "counter"), {}) == text("2"), (
        "it stayed connected"
    )
    await ended(process)
    assert "bmcp_goes_add" in before, "a catalogue does not change"
    removed = before.get("bmcp_goes_add")
    assert removed
    gone = await servers.call(removed, {"a": 1, "b": 2})
    assert gone == error_result("There is no tool server 'goes' any more.")


async def test_update_can_replace_all_servers(
    connect: Connect, programs_of_mine: Callable[[], set[psutil.Process]]
) -> None:
    servers, heard = await connect(only("a", "add"))
    (process,) = programs_of_mine()

    servers.update([])
    assert servers.catalogue.tools == ()
    assert servers.status() == ()
    assert await servers.ready(BOUND)
    await ended(process)

    servers.update([only("a", "add")])
    await heard.until(lambda: "bmcp_a_add" in servers.catalogue)
    assert await servers.call(tool(servers, "a", "add"), {"a": 1, "b": 2}) == text("3")


async def test_changed_server_is_reconnected(
    connect: Connect, programs_of_mine: Callable[[], set[psutil.Process]]
) -> None:
    servers, _ = await connect(by_command("s", allow=re.compile("^(add|counter)$")))
    (process,) = programs_of_mine()
    assert await servers.call(tool(servers, "s", "counter"), {}) == text("1")

    servers.update([only("s", "counter")])
    assert await servers.ready(BOUND)

    assert [t.name for t in servers.catalogue] == ["bmcp_s_counter"]
    assert await servers.call(tool(servers, "s", "counter"), {}) == text("1")
    await ended(process)


@pytest.mark.parametrize("stays", [True, False])
async def test_call_on_a_removed_server_completes(
    connect: Connect,
    report: Report,
    tmp_path: Path,
    programs_of_mine: Callable[[], set[psutil.Process]],
    stays: bool,
) -> None:
    servers, heard = await connect(only("s", "slow"))
    (process,) = programs_of_mine()
    until = tmp_path / "until"
    arguments = {"report": report.path, "until": str(until)}
    slow = asyncio.create_task(servers.call(tool(servers, "s", "slow"), arguments))
    assert await report.next() == "started"

    servers.update([only("s", "add")] if stays else [])
    if stays:  # the new one serves while the old one works
        await heard.until(lambda: "bmcp_s_add" in servers.catalogue)
        assert await servers.call(tool(servers, "s", "add"), {"a": 1, "b": 2}) == text("3")
    assert process.is_running()
    until.touch()

    async with asyncio.timeout(BOUND):
        assert await slow == text("done")
    await ended(process)


async def test_endless_call_on_a_removed_server_times_out(
    connect: Connect, report: Report, programs_of_mine: Callable[[], set[psutil.Process]]
) -> None:
    servers, _ = await connect(only("s", "slow", timeout_s=1.5))
    (process,) = programs_of_mine()
    slow = asyncio.create_task(servers.call(tool(servers, "s", "slow"), {"report": report.path}))
    assert await report.next() == "started"
    servers.update([])

    async with asyncio.timeout(BOUND):
        found = await slow
    assert found.as_text.endswith("no answer within 1.5 seconds; the call was cancelled")
    await ended(process)


async def test_stop_ends_running_calls_on_removed_servers(
    connect: Connect, report: Report, programs_of_mine: Callable[[], set[psutil.Process]]
) -> None:
    tasks = asyncio.all_tasks()
    servers, _ = await connect(only("s", "slow"))
    (process,) = programs_of_mine()
    slow = asyncio.create_task(servers.call(tool(servers, "s", "slow"), {"report": report.path}))
    assert await report.next() == "started"
    servers.update([])

    async with asyncio.timeout(BOUND):
        await servers.stop()
        found = await slow

    assert found.is_error
    assert not process.is_running()
    assert asyncio.all_tasks() - tasks == set()


async def test_events_of_a_replaced_server_are_not_reported_for_its_successor(
    connect: Connect, report: Report, programs_of_mine: Callable[[], set[psutil.Process]]
) -> None:
    servers, heard = await connect(only("s", "slow"))
    (process,) = programs_of_mine()
    slow = asyncio.create_task(servers.call(tool(servers, "s", "slow"), {"report": report.path}))
    assert await report.next() == "started"
    servers.update([only("s", "add")])
    await heard.until(lambda: heard.events.count(("s", "up")) == 2)

    process.kill()

    async with asyncio.timeout(BOUND):
        assert "may have had its effect" in (await slow).as_text
    await ended(process)
    assert ("s", "down") not in heard.events
    assert state(servers, "s") == "up"
    assert [t.name for t in servers.catalogue] == ["bmcp_s_add"]


async def test_server_removed_while_connecting_is_not_awaited(connect: Connect) -> None:
    hanging = by_command("s", "-c", "import sys; sys.stdin.read()")
    servers, _ = await connect(hanging, wait=False)
    ready = asyncio.create_task(servers.ready(BOUND))
    call = asyncio.create_task(servers.call(tool_of("s", "add"), {}))

    servers.update([])

    async with asyncio.timeout(BOUND):
        assert await ready
        found = await call
    assert "the tool server is not available: it is stopped" in found.as_text


# Results


async def test_result_parts_that_models_cannot_receive_are_described(
    everything: ToolServers,
) -> None:
    found = {
        name: await everything.call(tool(everything, "http", name), {})
        for name in ("audio", "resource", "link", "structured")
    }

    assert found["audio"].as_text == "[audio/wav audio, 4 characters of base64]"
    assert [part.text for part in found["resource"].parts] == [
        "[text/plain test://text]\ninside",
        "[application/pdf test://bytes, 4 characters of base64]",
    ]
    assert '"uri":"test://far"' in found["link"].as_text
    assert '"name":"far away"' in found["link"].as_text
    assert [part.kind for part in found["structured"].parts] == ["text"]
    assert '"Kraków"' in found["structured"].as_text


async def test_result_is_cut_between_characters_and_parts(connect: Connect) -> None:
    servers, _ = await connect(by_command("s"), max_result_bytes=5)
    found = await servers.call(tool(servers, "s", "echo"), {"text": "äöü"})
    pixel = await servers.call(tool(servers, "s", "image"), {})

    assert found == text("äö", "[cut: the result has 6 bytes, and 5 are given]")
    assert [part.kind for part in pixel.parts] == ["text", "image", "text"]
    assert pixel.parts[0].text == "a pix"
    assert pixel.parts[2].text == "[cut: the result has 7 bytes, and 5 are given]"
