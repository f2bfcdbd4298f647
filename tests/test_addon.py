"""Tests of the addon's hooks as mitmproxy calls them: options, start, shutdown, and flows."""

import asyncio
import http.client as http_client
import json
import logging
import socket
import sys
import warnings
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn

import pytest
from ports import free_port
from store.doubles import rows

import aibridge_addon
from aibridge_addon.cli.serving import Bridge
from aibridge_addon.config.option import Option
from aibridge_addon.config.options import OPTIONS
from aibridge_addon.facts import Interception, InterceptionEnded
from aibridge_addon.formats import anthropic_messages
from aibridge_addon.store.recorder import Recorder

with warnings.catch_warnings():  # mitmproxy 12.2 uses names that pyparsing has renamed
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy import connection, exceptions, hooks
    from mitmproxy.addons.proxyserver import Proxyserver
    from mitmproxy.http import HTTPFlow, Response
    from mitmproxy.proxy import layer
    from mitmproxy.proxy.context import Context
    from mitmproxy.proxy.layers import http
    from mitmproxy.proxy.mode_specs import ProxyMode
    from mitmproxy.proxy.server_hooks import ServerConnectHook, ServerConnectionHookData
    from mitmproxy.test import taddons, tflow, tutils

    from aibridge_addon.access.admission import RefusedConnection
    from aibridge_addon.access.egress import Egress
    from aibridge_addon.addon import AIBridge
    from aibridge_addon.exchange import central_tools as central
    from aibridge_addon.exchange.head_reader import HeadReader
    from aibridge_addon.exchange.intake import Intake
    from aibridge_addon.exchange.recorded import RecordedExchange
    from aibridge_addon.exchange.stream_bridge import StreamBridge
    from aibridge_addon.relay.body_tap import BodyTap
    from aibridge_addon.relay.mitm_layers import AibridgeHeldHook

type Running = tuple[AIBridge, Any]
"""An addon, and the context that calls its hooks."""

MCP_SERVER = Path(__file__).with_name("mcp_server.py")
SECRET = "sk-ant-api03-0123456789abcdef"
QUESTION = {
    "model": "claude-opus-4-5",
    "max_tokens": 10,
    "messages": [{"role": "user", "content": "Hello"}],
}
ANSWER = {
    "type": "message",
    "id": "msg_1",
    "model": "claude-opus-4-5-20251101",
    "content": [{"type": "text", "text": "Hi"}],
    "usage": {"input_tokens": 3, "output_tokens": 5},
}
STREAM = [
    b'event: message_start\ndata: {"type":"message_start","message":{"id":"msg_1",'
    b'"model":"claude","usage":{"input_tokens":3,"output_tokens":1}}}\n\n',
    b'event: message_delta\ndata: {"type":"message_delta","usage":{"output_tokens":5}}\n\n',
    b'event: message_stop\ndata: {"type":"message_stop"}\n\n',
]


@pytest.fixture
def database(tmp_path: Path) -> Path:
    return tmp_path / "aibridge.sqlite3"


async def call(tctx: Any, addon: AIBridge, hook: hooks.Hook) -> None:
    await tctx.master.addons.invoke_addon(addon, hook)


@asynccontextmanager
async def started(
    addon: AIBridge | None = None, *, listens: bool = True, **options: object
) -> AsyncIterator[Running]:
    """Yield a running addon and its context; `listens`: the ports of mitmproxy are open."""
    addon = addon or AIBridge()
    with taddons.context(Proxyserver(), addon) as tctx:  # it declares `connection_strategy`
        tctx.configure(addon, listen_host="127.0.0.1", **options)
        if listens:
            await call(tctx, addon, hooks.RunningHook())
        try:
            yield addon, tctx
        finally:
            await call(tctx, addon, hooks.DoneHook())


@pytest.fixture
async def running(database: Path) -> AsyncIterator[Running]:
    """Yield a running addon and its context, with a database."""
    async with started(aibridge_db=str(database)) as pair:
        yield pair


def flow_to(
    host: str = "api.anthropic.com",
    path: str = "/v1/messages",
    *,
    mode: str = "",
    headers: Mapping[str, str] | None = None,
    body: object = QUESTION,
) -> HTTPFlow:
    """Return a flow with a request and no response."""
    fields = {"user-agent": "claude-cli/2", "x-api-key": SECRET} | dict(headers or {})
    request = tutils.treq(
        host=host,
        port=443,
        scheme=b"https",
        method=b"POST",
        path=path.encode(),
        headers=tuple((name.encode(), value.encode()) for name, value in fields.items() if value),
        content=body if isinstance(body, bytes) else json.dumps(body).encode(),
    )
    flow = tflow.tflow(req=request)
    if mode:
        flow.client_conn.proxy_mode = ProxyMode.parse(mode)
    return flow


def answered(
    flow: HTTPFlow,
    body: object = ANSWER,
    *,
    status: int = 200,
    content_type: str = "application/json",
) -> HTTPFlow:
    """Set the response of a flow."""
    flow.response = tutils.tresp(
        status_code=status,
        headers=((b"content-type", content_type.encode()),),
        content=body if isinstance(body, bytes) else json.dumps(body).encode(),
    )
    return flow


def response_of(flow: HTTPFlow) -> Response:
    """Return the response of a flow that has one."""
    assert flow.response
    return flow.response


def bridge_of(addon: AIBridge) -> StreamBridge:
    """Return the bridge that the addon's streams use."""
    assert addon._components
    return addon._components.bridge


async def ask(
    tctx: Any, addon: AIBridge, flow: HTTPFlow, body: object = ANSWER, **answer: Any
) -> None:
    """Call all hooks of a flow with this response."""
    await call(tctx, addon, hook_of("request", flow))
    if flow.response is None:
        answered(flow, body, **answer)
    await call(tctx, addon, hook_of("responseheaders", flow))
    await call(tctx, addon, hook_of("response", flow))


def hook_of(name: str, flow: HTTPFlow) -> hooks.Hook:
    return {
        "request": http.HttpRequestHook,
        "responseheaders": http.HttpResponseHeadersHook,
        "response": http.HttpResponseHook,
        "error": http.HttpErrorHook,
    }[name](flow)


def metric(addon: AIBridge, name: str, labels: dict[str, str] | None = None) -> float | None:
    """Return the value of a metric."""
    assert addon.metrics
    return addon.metrics.registry.get_sample_value(name, labels)


def complaints(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [r for r in caplog.records if r.levelno >= logging.ERROR]


# Options


def test_package_is_loaded_by_mitmdump_as_a_script() -> None:
    (addon,) = aibridge_addon.addons

    assert isinstance(addon, AIBridge)
    with pytest.raises(AttributeError, match="no attribute 'missing'"):
        _ = aibridge_addon.missing


async def test_all_options_are_declared_with_their_help() -> None:
    with taddons.context(AIBridge()) as tctx:
        for option in OPTIONS:
            declared = tctx.options._options[option.name]
            assert declared.help == option.help
            assert declared.default == option.default_value
            assert declared.choices == option.choices


async def test_invalid_options_at_the_start_are_logged_line_by_line_and_nothing_starts(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(
        aibridge_db=str(database), aibridge_capture="x", aibridge_max_body_mib=0
    ) as (addon, tctx):
        await ask(tctx, addon, flow_to())

    assert [r.getMessage() for r in complaints(caplog)] == [
        "aibridge_capture has 'x'; it may list prompts, tools, thoughts, answers, results, system,"
        " requests, all, or be auto",
        "aibridge_max_body_mib is 0; it must be at least 1",
    ]
    assert not database.exists()


@pytest.mark.parametrize("size", ["1m", None])
async def test_option_of_mitmproxy_with_which_requests_pass_unread_is_warned_of(
    database: Path, caplog: pytest.LogCaptureFixture, size: str | None
) -> None:
    async with started(aibridge_db=str(database), stream_large_bodies=size):
        pass
    assert ("stream_large_bodies is set" in caplog.text) == (size is not None)


async def test_misspelt_option_name_stops_the_start(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    addon = AIBridge()
    with taddons.context(Proxyserver(), addon) as tctx:
        tctx.options.set("aibridge_capure=x", "of_another_script=1", defer=True)
        tctx.configure(addon, listen_host="127.0.0.1", aibridge_db=str(database))
        await call(tctx, addon, hooks.DoneHook())

    assert [r.getMessage() for r in complaints(caplog)] == [
        "aibridge_capure is not known; did you mean aibridge_capture?"
    ]
    assert not database.exists()


async def test_invalid_option_at_run_time_raises_and_keeps_the_old_value(
    running: Running, database: Path
) -> None:
    addon, tctx = running

    with pytest.raises(exceptions.OptionsError, match="aibridge_capture has 'x'"):
        tctx.configure(addon, aibridge_capture="x")
    await ask(tctx, addon, flow_to())

    assert tctx.options.aibridge_capture == "auto"
    assert len(rows(database, "user_prompts")) == 1


@pytest.mark.parametrize("option", [option for option in OPTIONS if option.fixed])
async def test_fixed_option_cannot_change_at_run_time(running: Running, option: Option) -> None:
    addon, tctx = running
    other = {str: "x", int: 7, bool: not option.default_value}[option.type]
    before = getattr(tctx.options, option.name)

    with pytest.raises(exceptions.OptionsError) as caught:
        tctx.configure(addon, **{option.name: other})

    assert str(caught.value) == f"{option.name}: read at the start only; restart"
    assert getattr(tctx.options, option.name) == before


async def test_options_that_are_not_fixed_change_at_run_time(
    running: Running, database: Path
) -> None:
    addon, tctx = running

    tctx.configure(addon, aibridge_capture="tools")
    await ask(tctx, addon, flow_to())

    assert rows(database, "user_prompts") == []
    assert len(rows(database, "token_usages")) == 1


@pytest.mark.e2e  # starts an MCP server
async def test_mcp_config_can_be_set_and_removed_at_run_time(
    running: Running, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(central, "START_SECONDS", 60.0)  # for a busy machine
    addon, tctx = running
    path = tmp_path / "servers.json"
    program = {"command": sys.executable, "args": [str(MCP_SERVER), "stdio"]}
    path.write_text(json.dumps({"mcpServers": {"calc": program}}))

    tctx.configure(addon, aibridge_mcp_config=str(path))
    with_tools, without = flow_to(), flow_to()
    await call(tctx, addon, hook_of("request", with_tools))
    tctx.configure(addon, aibridge_mcp_config="")
    await call(tctx, addon, hook_of("request", without))

    assert "bmcp_calc_add" in (with_tools.request.text or "")
    assert without.request.text == json.dumps(QUESTION)


async def test_options_of_other_addons_are_ignored(running: Running) -> None:
    addon, tctx = running

    tctx.configure(addon, showhost=True)


async def test_upstream_connection_is_opened_only_after_the_request(running: Running) -> None:
    _, tctx = running

    assert tctx.options.connection_strategy == "lazy"


async def test_database_that_cannot_be_created_is_logged_and_requests_pass(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with started(aibridge_db=str(tmp_path)) as (addon, tctx):
        flow = flow_to()
        await ask(tctx, addon, flow)

    (record,) = complaints(caplog)
    assert record.getMessage() == f"aibridge_db: {tmp_path}: Is a directory"
    assert flow.request.headers["x-api-key"] == SECRET
    assert response_of(flow).json() == ANSWER


async def test_metrics_address_in_use_is_logged(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        async with started(aibridge_db=str(database), aibridge_metrics_listen=f"127.0.0.1:{port}"):
            pass

    (record,) = complaints(caplog)
    assert record.getMessage() == "aibridge_metrics_listen: Address already in use"


# Flows


async def test_response_is_recorded_before_the_response_hook_returns(
    running: Running, database: Path
) -> None:
    addon, tctx = running
    flow = flow_to()

    await ask(tctx, addon, flow)

    (row,) = rows(database, "interceptions")
    assert row["id"] == flow.metadata["aibridge_interception_id"]
    assert (row["status"], row["http_status"], row["client"]) == ("completed", 200, "Claude Code")
    assert (row["credential_kind"], row["credential_hint"]) == ("byok", "sk-a...cdef")
    assert [row["prompt"] for row in rows(database, "user_prompts")] == ["Hello"]
    (usage,) = rows(database, "token_usages")
    assert (usage["input_tokens"], usage["output_tokens"]) == (3, 5)


async def test_stream_is_recorded_before_its_end_is_relayed(
    running: Running, database: Path
) -> None:
    addon, tctx = running
    flow = flow_to(body=QUESTION | {"stream": True})
    await call(tctx, addon, hook_of("request", flow))
    answered(flow, b"", content_type="text/event-stream; charset=utf-8")
    await call(tctx, addon, hook_of("responseheaders", flow))
    tap = response_of(flow).stream
    assert isinstance(tap, BodyTap)

    assert [tap(chunk) for chunk in STREAM] == [[STREAM[0]], [STREAM[1]], []]
    assert tap.is_waiting
    assert rows(database, "token_usages") == []
    tap.is_waiting = False  # as the stream does before it asks
    await call(tctx, addon, AibridgeHeldHook(tap))
    recorded = rows(database, "interceptions"), rows(database, "token_usages")
    assert tap.release() == [STREAM[2]]
    await call(tctx, addon, hook_of("response", flow))

    assert (rows(database, "interceptions"), rows(database, "token_usages")) == recorded

    (usage,) = rows(database, "token_usages")
    assert usage["output_tokens"] == 5
    (row,) = rows(database, "interceptions")
    assert (row["status"], row["streaming"]) == ("completed", 1)


async def test_secrets_are_masked_in_the_flow_and_sent_upstream_unmasked(
    running: Running, database: Path
) -> None:
    addon, tctx = running
    flow = flow_to(headers={"x-aibridge-actor": "alice", "connection": "close"})

    await call(tctx, addon, hook_of("request", flow))

    assert SECRET not in repr(flow.get_state())
    assert flow.request.headers["x-api-key"] == "sk-a...cdef"
    head = bridge_of(addon).outgoing_request(flow)
    assert head.headers.fields == (
        (b"user-agent", b"claude-cli/2"),
        (b"x-api-key", SECRET.encode()),
    )
    await ask(tctx, addon, answered(flow))
    assert SECRET not in repr(rows(database, "interceptions"))


async def test_request_to_another_host_is_unchanged_and_unrecorded(
    running: Running, database: Path
) -> None:
    addon, tctx = running
    flow = flow_to(host="example.com")
    before = flow.request.get_state()

    await ask(tctx, addon, flow)

    assert flow.request.get_state() == before
    assert bridge_of(addon).outgoing_request(flow) is flow.request
    assert "aibridge_interception_id" not in flow.metadata
    assert rows(database, "interceptions") == []


async def test_reverse_proxy_adds_the_central_key_and_masks_it_in_the_flow(
    running: Running, database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    addon, tctx = running
    monkeypatch.setenv("ANTHROPIC_API_KEY", SECRET)
    flow = flow_to(
        host="127.0.0.1",
        path="/anthropic/v1/messages?beta=true",
        mode="reverse:http://127.0.0.1:1",
        headers={"x-api-key": ""},
    )

    await call(tctx, addon, hook_of("request", flow))

    head = bridge_of(addon).outgoing_request(flow)
    assert head.headers["x-api-key"] == SECRET
    assert SECRET not in repr(flow.get_state())
    assert flow.request.url == "https://api.anthropic.com/v1/messages?beta=true"
    await ask(tctx, addon, answered(flow))
    assert rows(database, "interceptions")[0]["credential_kind"] == "centralized"


async def test_reverse_proxy_refuses_an_unknown_route_in_the_wire_format(
    running: Running, database: Path
) -> None:
    addon, tctx = running
    flow = flow_to(path="/anthropic/v1/agents?x=1", mode="reverse:http://127.0.0.1:1")

    await ask(tctx, addon, flow)

    assert response_of(flow).status_code == 404
    assert response_of(flow).json() == {
        "type": "error",
        "error": {
            "type": "not_found_error",
            "message": "aibridge: POST /anthropic/v1/agents is not a route of this proxy.",
        },
    }
    assert SECRET not in repr(flow.get_state())
    assert rows(database, "interceptions") == []


async def test_anonymous_request_is_refused_with_400_if_an_actor_is_required(
    database: Path,
) -> None:
    async with started(aibridge_db=str(database), aibridge_require_actor=True) as (addon, tctx):
        flow = flow_to()
        await ask(tctx, addon, flow)

    assert response_of(flow).status_code == 400
    assert response_of(flow).json()["error"]["type"] == "billing_error"  # Claude Code stops at it
    (row,) = rows(database, "interceptions")
    assert (row["status"], row["http_status"], row["error_type"]) == ("refused", 400, "no_actor")


async def test_unreachable_upstream_is_a_502_in_the_wire_format(
    running: Running, database: Path
) -> None:
    addon, tctx = running
    flow = flow_to()
    await call(tctx, addon, hook_of("request", flow))
    flow.error = tflow.terr("connection refused")

    await call(tctx, addon, hook_of("error", flow))

    assert response_of(flow).status_code == 502
    assert response_of(flow).json()["error"]["type"] == "api_error"
    (row,) = rows(database, "interceptions")
    assert (row["status"], row["http_status"], row["partial"]) == ("failed", None, 0)


async def test_client_disconnect_cancels_the_interception(running: Running, database: Path) -> None:
    addon, tctx = running
    flow = flow_to()
    await call(tctx, addon, hook_of("request", flow))
    bridge_of(addon).client_aborted(flow)
    flow.error = tflow.terr("client disconnected")

    await call(tctx, addon, hook_of("error", flow))

    assert flow.response is None
    assert rows(database, "interceptions")[0]["status"] == "cancelled"


async def test_ended_interception_does_not_end_again(running: Running, database: Path) -> None:
    addon, tctx = running
    flow = flow_to()
    await ask(tctx, addon, flow)
    before = rows(database, "interceptions")

    flow.error = tflow.terr("late")
    await call(tctx, addon, hook_of("error", flow))
    await call(tctx, addon, hook_of("response", flow))
    bridge_of(addon).client_aborted(flow)

    assert rows(database, "interceptions") == before


async def test_open_interception_is_interrupted_at_shutdown(database: Path) -> None:
    async with started(aibridge_db=str(database)) as (addon, tctx):
        await call(tctx, addon, hook_of("request", flow_to()))

    (row,) = rows(database, "interceptions")
    assert (row["status"], row["error_type"], row["partial"]) == ("interrupted", "shut_down", 1)


async def test_proxy_is_ready_from_the_time_at_which_its_ports_listen(database: Path) -> None:
    port = free_port()

    async def readiness() -> int:
        connection = http_client.HTTPConnection("127.0.0.1", port, timeout=20)
        await asyncio.to_thread(connection.request, "GET", "/readyz")
        with await asyncio.to_thread(connection.getresponse) as response:
            return response.status

    options: dict[str, Any] = {
        "aibridge_db": str(database),
        "aibridge_metrics_listen": f"127.0.0.1:{port}",
    }
    async with started(listens=False, **options) as (addon, tctx):
        assert await readiness() == 503  # mitmproxy opens the ports before it calls `running`
        await call(tctx, addon, hooks.RunningHook())
        assert await readiness() == 200


async def test_shutdown_that_begins_before_the_ports_listen_leaves_the_proxy_unready(
    database: Path,
) -> None:
    addon = Bridge()
    async with started(addon, listens=False, aibridge_db=str(database)) as (_, tctx):
        addon.leave()
        await call(tctx, addon, hooks.RunningHook())
        assert not addon.is_ready


# Third-party recorders


class Raising(Recorder):
    """Recorder whose methods raise."""

    def _raise(self, *args: object) -> NoReturn:
        raise RuntimeError("a bug in the plug-in")

    record_interception = record_interception_ended = _raise  # type: ignore[assignment]
    record_token_usage = record_prompt_usage = kept = _raise  # type: ignore[assignment]


class Never(Recorder):
    """Recorder that never commits."""

    def kept(self) -> asyncio.Future[bool]:
        return asyncio.get_running_loop().create_future()


class Listening(Recorder):
    """Recorder that lists its calls."""

    made: "Listening"

    def __init__(self) -> None:
        Listening.made = self
        self.calls: list[str] = []

    def start(self) -> None:
        self.calls.append("start")

    def record_interception(self, fact: Interception) -> None:
        self.calls.append("begin")

    def record_interception_ended(self, fact: InterceptionEnded) -> None:
        self.calls.append(fact.status.value)

    def close(self) -> None:
        self.calls.append("close")


async def test_third_party_recorder_receives_all_facts_in_order(database: Path) -> None:
    async with started(aibridge_db=str(database), aibridge_recorder=f"{__name__}:Listening") as (
        addon,
        tctx,
    ):
        await ask(tctx, addon, flow_to())

    assert Listening.made.calls == ["start", "begin", "completed", "close"]
    assert not database.exists()


async def test_recorder_that_raises_does_not_affect_the_flow(
    caplog: pytest.LogCaptureFixture, database: Path
) -> None:
    async with started(aibridge_db=str(database), aibridge_recorder=f"{__name__}:Raising") as (
        addon,
        tctx,
    ):
        flow = flow_to()
        await ask(tctx, addon, flow)

    assert response_of(flow).json() == ANSWER
    interception_id = flow.metadata["aibridge_interception_id"]
    messages = [r.getMessage() for r in complaints(caplog)]
    assert messages == [
        *[f"aibridge: a fact of interception {interception_id} is lost"] * 4,
        f"aibridge: internal error in response; interception {interception_id}",
    ]


async def test_end_of_a_response_waits_for_the_commit_for_a_bounded_time(database: Path) -> None:
    async with started(
        aibridge_db=str(database), aibridge_recorder=f"{__name__}:Never", aibridge_commit_wait_ms=1
    ) as (
        addon,
        tctx,
    ):
        flow = flow_to()
        await ask(tctx, addon, flow)
        text = metric(addon, "aibridge_commit_timeouts_total")

    assert response_of(flow).json() == ANSWER
    assert text == 1


async def test_missing_recorder_module_is_logged_and_requests_pass(
    caplog: pytest.LogCaptureFixture, database: Path
) -> None:
    async with started(aibridge_db=str(database), aibridge_recorder="nowhere:Recorder") as (
        addon,
        tctx,
    ):
        await ask(tctx, addon, flow_to())

    (record,) = complaints(caplog)
    assert (
        "cannot create the recorder 'nowhere:Recorder': No module named 'nowhere'"
        in record.getMessage()
    )


# Bugs


def fail(*args: object, **kwargs: object) -> None:
    raise RuntimeError("a bug")


async def test_bug_in_reading_a_head_leaves_the_request_unchanged(
    running: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    addon, tctx = running
    monkeypatch.setattr(HeadReader, "read", fail)
    flow = flow_to()
    before = flow.request.get_state()

    await ask(tctx, addon, flow)

    assert flow.request.get_state() == before
    assert response_of(flow).json() == ANSWER
    (record,) = complaints(caplog)
    assert record.getMessage() == "aibridge: internal error in request; interception none"
    assert record.exc_info


async def test_bug_never_admits_a_request_if_access_tokens_are_required(
    database: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with started(aibridge_db=str(database), aibridge_require_token="always") as (addon, tctx):
        with monkeypatch.context() as patch:
            patch.setattr(HeadReader, "read", fail)
            killed = flow_to()
            await call(tctx, addon, hook_of("request", killed))
        monkeypatch.setattr(Intake, "_read", fail)
        refused = flow_to()
        await call(tctx, addon, hook_of("request", refused))

    assert killed.error
    assert response_of(refused).status_code == 400


async def test_bug_in_reading_a_request_sends_it_upstream_with_its_secrets(
    running: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    addon, tctx = running
    monkeypatch.setattr(anthropic_messages.FORMAT, "read_request", fail)
    flow = flow_to()

    await call(tctx, addon, hook_of("request", flow))

    assert bridge_of(addon).outgoing_request(flow).headers["x-api-key"] == SECRET
    assert SECRET not in repr(flow.get_state())
    await ask(tctx, addon, answered(flow))
    assert response_of(flow).json() == ANSWER
    assert len(complaints(caplog)) == 1


@pytest.mark.parametrize(
    ("method", "hook"), [("on_head", "responseheaders"), ("finish", "response")]
)
async def test_bug_in_a_hook_is_logged_once_with_the_interception_id_and_the_flow_continues(
    running: Running,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    method: str,
    hook: str,
) -> None:
    addon, tctx = running
    flow = flow_to()
    with monkeypatch.context() as patch:
        patch.setattr(RecordedExchange, method, fail)
        await ask(tctx, addon, flow)

    assert response_of(flow).json() == ANSWER
    (record,) = complaints(caplog)
    interception_id = flow.metadata["aibridge_interception_id"]
    assert record.getMessage() == (
        f"aibridge: internal error in {hook}; interception {interception_id}"
    )
    assert record.exc_info
    assert isinstance(record.exc_info[1], RuntimeError)


async def test_bug_in_the_egress_check_prevents_the_connection(
    running: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    addon, tctx = running
    monkeypatch.setattr(Egress, "bind", fail)
    server = connection.Server(address=("8.8.8.8", 443))

    await call(tctx, addon, connecting(server))

    assert (
        server.error
        == "aibridge: internal error in the egress check; the connection was not opened."
    )
    assert len(complaints(caplog)) == 1


async def test_bug_in_the_next_layer_closes_the_connection_and_is_logged_once(
    running: Running, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    addon, tctx = running
    monkeypatch.setattr("aibridge_addon.relay.next_layer.must_tunnel", fail)
    for _ in range(3):
        asked = layer.NextLayer(Context(tflow.tclient_conn(), tctx.options))
        await call(tctx, addon, layer.NextLayerHook(asked))
        assert isinstance(asked.layer, RefusedConnection)
    (record,) = complaints(caplog)
    assert record.getMessage().endswith("would bypass the records (internal error)")
    assert record.exc_info
    assert isinstance(record.exc_info[1], RuntimeError)
    counted = metric(addon, "aibridge_refused_total", {"provider": "", "reason": "bug"})
    assert counted == 3


async def test_connection_refused_by_another_addon_stays_refused(running: Running) -> None:
    addon, tctx = running
    server = connection.Server(address=("127.0.0.1", 443))
    server.error = "not by me"

    await call(tctx, addon, connecting(server))

    assert server.error == "not by me"


async def test_egress_rules_change_with_the_options(running: Running) -> None:
    addon, tctx = running
    for allowed, address, error in (
        ("", ("127.0.0.1", 1), True),
        ("127.1.0.0/16", ("127.0.0.1", 1), True),
        ("127.0.0.1", ("127.0.0.1", 1), False),
        ("*", ("10.0.0.1", 1), False),
        ("10.0.0.1", ("::ffff:10.0.0.1", 1), False),
        ("", ("10.0.0.1", 1), True),
    ):
        tctx.configure(addon, aibridge_private_networks=allowed)
        server = connection.Server(address=address)
        await call(tctx, addon, connecting(server))
        assert bool(server.error) is error


def connecting(server: connection.Server) -> ServerConnectHook:
    """Return the hook before a server connection opens."""
    client = tflow.tclient_conn()
    return ServerConnectHook(ServerConnectionHookData(client=client, server=server))


async def test_bug_in_reading_a_response_still_ends_its_interception(
    running: Running,
    database: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    addon, tctx = running
    monkeypatch.setattr(anthropic_messages.FORMAT, "read_whole", fail)
    flow = flow_to()

    await ask(tctx, addon, flow)

    assert response_of(flow).json() == ANSWER
    (row,) = rows(database, "interceptions")
    assert (row["status"], row["partial"]) == ("completed", 1)
    (record,) = complaints(caplog)
    assert row["id"] in record.getMessage()


async def test_ended_flow_leaves_no_exchange_behind(running: Running) -> None:
    addon, tctx = running

    for body in (ANSWER, b"no JSON", b""):
        flow = flow_to()
        await ask(tctx, addon, flow, body)
        assert bridge_of(addon).outgoing_request(flow) is flow.request


async def test_start_logs_what_is_recorded_and_how_to_record_less(
    database: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")

    async with started(aibridge_db=str(database)):
        pass

    assert (
        "aibridge: records everything that is said"
        " (to record less: --set aibridge_capture=prompts,tools,thoughts)" in caplog.text
    )
