"""Faults of MCP servers are reported to the model, and the loop continues."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from ports import free_port
from standin import EndEarly, Provider, Reset, Response, Server

from e2e.asking import API, APIS
from e2e.central import (
    FORWARD,
    FORWARD_H2,
    REVERSE,
    Central,
    Report,
    ToolServer,
    assert_untouched,
    program,
)
from e2e.clients import Clients, Way
from e2e.mcp_by_hand import JSON, Reply, ToolsByHand, reply_to, serving, text_reply
from e2e.proxies import RunProxy, Servers
from e2e.proxy import Proxy
from e2e.wire_formats import reader_of

MESSAGES, CHAT, RESPONSES = APIS

each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

TOKEN = "tok-n1n1n1n1n1n1n1n1n1n1"
NO_ARGUMENTS: JSON = {"type": "object", "properties": {}}


@pytest.fixture(scope="module")
def by_hand() -> Iterator[ToolsByHand]:
    """A server that responds to calls as the test decides."""
    with serving(ToolsByHand([{"name": "ask", "inputSchema": NO_ARGUMENTS}])) as app:
        yield app


@pytest.fixture(scope="module")
def locked_server() -> Iterator[ToolServer]:
    """A server that requires a token, and may require another."""
    server = ToolServer("http", "--token", TOKEN)
    yield server
    server.stop()


@pytest.fixture(scope="module")
def proxy(
    run_proxy: RunProxy,
    standin: Server,
    tool_server: ToolServer,
    by_hand: ToolsByHand,
    locked_server: ToolServer,
) -> Iterator[Proxy]:
    """Run the proxy of this module; some of its servers are faulty from the start."""
    known = {"Authorization": "Bearer ${TOOL_TOKEN}"}
    wrong = {"Authorization": "Bearer wrong"}
    up: Servers = {
        "mortal": program() | {"allow": "^(add|die)$"},
        "hang": {"url": tool_server.url, "timeout_s": 0.3, "allow": "^slow$"},
        "big": {"url": tool_server.url, "allow": "^big$"},
        "rude": {"url": by_hand.url},
        "locked": {"url": locked_server.url, "headers": known, "allow": "^(echo|revoke)$"},
    }
    faulty: Servers = {
        "wrong": {"url": locked_server.url, "headers": wrong},
        "down": {"url": f"http://127.0.0.1:{free_port()}/mcp"},
        "absent": {"command": "/no/such/program"},
    }
    env = {"TOOL_TOKEN": TOKEN}
    with run_proxy(standin.origin, servers={**up, **faulty}, wait_for=[*up], env=env) as made:
        yield made


def result_of(central: Central, api: API) -> str:
    """Return the last result that the model received."""
    return reader_of(api).transcript(central.received[-1])[-1]


def call(server: str, tool: str) -> str:
    """Make the model call a tool."""
    return f"USE_TOOL:bmcp_{server}_{tool} SAY"


# --- from the start


def test_unreachable_servers_are_logged_and_the_others_serve(
    central: Central,
) -> None:
    for name, why in (
        ("down", "it cannot be reached"),
        ("absent", "it cannot be started"),
        ("wrong", "login"),
    ):
        line = central.proxy.wait_for_log(f"MCP server {name} .* is down")
        assert why in line
        assert "trying again" in line
    central.see(MESSAGES, FORWARD, "hi")
    names = reader_of(MESSAGES).names(central.received[0])
    servers = {name.split("_")[1] for name in names}
    assert servers == {"mortal", "hang", "big", "rude", "locked"}


@pytest.fixture(scope="module")
def toolless_proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """Run a proxy with a server that is down, and a server without tools."""
    with serving(ToolsByHand()) as empty:
        down = f"http://127.0.0.1:{free_port()}/mcp"
        servers = {"empty": {"url": empty.url}, "down": {"url": down}}
        with run_proxy(standin.origin, servers=servers, wait_for=["empty"]) as made:
            yield made


@each_api
@each_delivery
@pytest.mark.parametrize("way", [REVERSE, FORWARD_H2], ids=str)
def test_request_is_unchanged_if_no_server_has_a_tool(
    toolless_proxy: Proxy,
    clients_of: Callable[[Proxy], Clients],
    provider: Provider,
    standin: Server,
    way: Way,
    api: API,
    stream: bool,
) -> None:
    toolless = Central(toolless_proxy, clients_of(toolless_proxy), provider, standin)
    assert_untouched(toolless, api, way, stream, {})


# --- in the middle


@each_api
@each_delivery
class TestCalls:
    def test_call_that_exceeds_the_timeout_is_cancelled(
        self, central: Central, api: API, stream: bool, tmp_path: Path
    ) -> None:
        report = Report(tmp_path / "slow")
        prompt = f"{call('hang', 'slow')} ARGS:{report.arguments}"
        with central.proxy.recording() as records:
            central.see(api, FORWARD, prompt, stream=stream)
        assert "no answer within 0.3 seconds" in result_of(central, api)
        report.wait_for("cancelled")
        report.close()
        assert "no answer within 0.3 seconds" in records.tool_usages[0]["invocation_error"]

    def test_huge_result_is_cut_with_a_note(self, central: Central, api: API, stream: bool) -> None:
        central.see(api, FORWARD, call("big", "big") + ' ARGS:{"size": 10000000}', stream=stream)
        result = result_of(central, api)
        assert result.startswith("gets xxxxxxxx")
        assert result.endswith("[cut: the result has 10000000 bytes, and 262144 are given]")
        assert len(central.requests[-1].body) < 300_000


@pytest.mark.parametrize(("api", "stream"), [(MESSAGES, True), (CHAT, False)])
def test_server_that_dies_is_restarted_for_the_next_call(
    central: Central, api: API, stream: bool
) -> None:
    with central.proxy.recording() as records:
        central.see(api, FORWARD, call("mortal", "die"), stream=stream)
    assert "the call was lost" in result_of(central, api)
    assert "the call was lost" in records.tool_usages[0]["invocation_error"]
    assert records.interception["status"] == "completed"
    central.see(api, FORWARD, f'{call("mortal", "add")} ARGS:{{"a": 2, "b": 40}}', stream=stream)
    assert result_of(central, api) == "gets 42"


def reset(message: JSON) -> Reply:
    """Break the connection."""
    return Reset()


def half(message: JSON) -> Reply:
    """Truncate the response."""
    return Response(
        200,
        [("content-type", "application/json")],
        [b'{"jsonrpc":', EndEarly()],
        announce_length=99,
    )


def garbage(message: JSON) -> Reply:
    """Respond with HTML."""
    return Response(200, [("content-type", "text/html")], b"<html>Log in!</html>")


def no_json(message: JSON) -> Reply:
    """Respond with invalid JSON."""
    return Response(200, [("content-type", "application/json")], b'{"jsonrpc": "2.0", "id')


def nothing(message: JSON) -> Reply:
    """Respond with an empty body."""
    return Response(200, [("content-type", "application/json")], b"")


def wrong_shape(message: JSON) -> Reply:
    """Respond with an invalid result."""
    return reply_to(message, {"content": 5})


def status(code: int) -> Callable[[JSON], Reply]:
    """Respond with an HTTP error."""

    def answer(message: JSON) -> Reply:
        return Response(code, [("www-authenticate", "Bearer")], b"secret details")

    answer.__name__ = f"status {code}"
    return answer


RUDE = (reset, half, garbage, no_json, nothing, wrong_shape, *map(status, (401, 403, 404, 500)))


@pytest.mark.parametrize("api", [MESSAGES, RESPONSES], ids=str)
@pytest.mark.parametrize("answer", RUDE, ids=lambda answer: answer.__name__)
def test_invalid_result_is_reported_to_the_model_and_the_next_call_works(
    central: Central, by_hand: ToolsByHand, api: API, answer: Callable[[JSON], Reply]
) -> None:
    by_hand.on_call = answer
    with central.proxy.recording() as records:
        story = central.see(api, FORWARD, call("rude", "ask"), stream=True)
    result = result_of(central, api)
    assert result.startswith(("gets error: bmcp_rude_ask: ", "gets Error: bmcp_rude_ask: "))
    assert "secret" not in result
    assert "because of a bug in the proxy" not in result
    assert story.lines[-1].startswith("says The tool returned: ")
    assert records.interception["status"] == "completed"
    assert records.tool_usages[0]["invocation_error"]
    by_hand.on_call = text_reply("fine")
    central.see(api, FORWARD, call("rude", "ask"), stream=True)
    assert result_of(central, api) == "gets fine"


def test_refused_login_is_reported_without_the_secret(
    central: Central,
) -> None:
    central.see(MESSAGES, FORWARD, call("locked", "revoke"))
    assert result_of(central, MESSAGES) == "gets revoked"
    central.see(MESSAGES, FORWARD, call("locked", "echo"))
    assert "requires a login (HTTP 401)" in result_of(central, MESSAGES)
    assert TOKEN not in central.proxy.log_text()


def test_other_calls_succeed_while_one_fails(central: Central, by_hand: ToolsByHand) -> None:
    by_hand.on_call = reset
    prompt = 'USE_TOOL:bmcp_rude_ask USE_TOOL:bmcp_mortal_add ARGS:{} ARGS:{"a": 1, "b": 2} SAY'
    central.see(MESSAGES, FORWARD, prompt, stream=True)
    [*_, failed, fine] = reader_of(MESSAGES).transcript(central.received[-1])
    assert failed.startswith("gets error: ")
    assert fine == "gets 3"


def test_no_server_program_outlives_the_proxy(
    start_proxy: Callable[..., Proxy], standin: Server, tmp_path: Path
) -> None:
    pid_file = tmp_path / "pid"
    script = tmp_path / "server.sh"
    keys = program(fork=False)
    script.write_text(f"echo $$ > {pid_file}\nexec {keys['command']} {' '.join(keys['args'])}\n")
    own = start_proxy(servers={"calc": {"command": "/bin/sh", "args": [str(script)]}})
    pid = int(pid_file.read_text())
    os.kill(pid, 0)
    assert own.stop() == 0
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)
