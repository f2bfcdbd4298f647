"""Records of an inner loop: rows, metrics, and separate flows, all without secrets."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from mitmproxy import http
from mitmproxy.io import FlowReader
from standin import Server
from standin.plan import THOUGHT

from e2e.asking import API, APIS, user
from e2e.central import (
    ADD,
    FORWARD,
    FORWARD_H2,
    REVERSE,
    SUM,
    Central,
    ToolServer,
)
from e2e.clients import ANTHROPIC_KEY, OPENAI_KEY, Clients
from e2e.conftest import StartProxy
from e2e.contents import answer_of, contents
from e2e.mcp_by_hand import ToolsByHand, serving
from e2e.metrics import metric
from e2e.proxy import Proxy

each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

MIXED = f'USE_TOOL:{ADD} USE_TOOL:get_weather ARGS:{{"a": 2, "b": 40}} ARGS:{{"city": "Oslo"}} SAY'


@pytest.fixture
def proxy(central_proxy: Proxy) -> Proxy:
    """The proxy that offers tools."""
    return central_proxy


def response_ids(central: Central, api: API) -> list[str]:
    """Return the ids of the upstream responses of this test."""
    prefix = {"anthropic_messages": "msg_", "openai_chat": "chatcmpl-"}.get(api.name, "resp_")
    return [f"{prefix}{request.notes.response_id}" for request in central.requests]


@each_api
@each_delivery
class TestRows:
    def test_each_upstream_response_has_a_usage_row(
        self, central: Central, api: API, stream: bool
    ) -> None:
        tokens = [(100, 7, 30, 5), (200, 11, 130, 6), (300, 13, 230, 9)]
        scripts = ["TOKENS:" + ",".join(map(str, counts)) for counts in tokens]
        prompt = f" {SUM} NEXT ".join(scripts)
        with central.proxy.recording() as records:
            central.see(api, FORWARD, prompt, stream=stream)
        assert [
            (
                row["provider_response_id"],
                row["input_tokens"],
                row["output_tokens"],
                row["cache_read_input_tokens"],
                row["cache_write_input_tokens"],
            )
            for row in records.token_usages
        ] == [
            (response_id, *api.counts(*counts))
            for response_id, counts in zip(response_ids(central, api), tokens, strict=True)
        ]
        assert {row["interception_id"] for row in records.token_usages} == {
            records.interception["id"]
        }
        assert [row["upstream"] for row in records.token_usages] == [0, 1, 2]
        starts = [row["started_at"] for row in records.token_usages]
        assert starts == sorted(starts)
        assert {row["duration_ms"] is None for row in records.token_usages} == {False}
        assert {row["ttft_ms"] is None for row in records.token_usages} == {not stream}
        assert records.interception["status"] == "completed"
        assert records.interception["partial"] == 0
        assert records.prompts == [prompt]

    def test_each_call_has_a_row_with_the_server_and_the_tool(
        self, central: Central, tool_server: ToolServer, api: API, stream: bool
    ) -> None:
        prompt = f'{SUM} USE_TOOL:bmcp_local_echo ARGS:{{"text": "é"}} NEXT {SUM}'
        with central.proxy.recording() as records:
            central.see(api, FORWARD_H2, prompt, stream=stream)
        ids = response_ids(central, api)
        rows = [
            (
                *(row["provider_response_id"], row["tool"], row["input"]),
                *(row["metadata"]["server"], row["metadata"]["injected_name"]),
            )
            for row in records.tool_usages
        ]
        summed = ("add", {"a": 2, "b": 40}, "calc", ADD)
        assert sorted(rows, key=str) == sorted(
            [
                (ids[0], *summed),
                (ids[0], "echo", {"text": "é"}, "local", "bmcp_local_echo"),
                (ids[1], *summed),
            ],
            key=str,
        )
        urls = {row["metadata"]["server"]: row["server_url"] for row in records.tool_usages}
        assert urls["calc"] == tool_server.url
        assert urls["local"].startswith("stdio:")
        assert {row["injected"] for row in records.tool_usages} == {1}
        sizes = {row["tool"]: row["result_bytes"] for row in records.tool_usages}
        assert sizes["echo"] == len("é".encode())
        assert None not in {row["duration_ms"] for row in records.tool_usages}
        assert {row["invocation_error"] for row in records.tool_usages} == {None}
        assert len({row["tool_call_id"] for row in records.tool_usages}) == 3

    def test_error_of_a_call_is_recorded(self, central: Central, api: API, stream: bool) -> None:
        prompt = 'USE_TOOL:bmcp_calc_fail ARGS:{"message": "no luck"} SAY'
        with central.proxy.recording() as records:
            central.see(api, REVERSE, prompt, stream=stream)
        [row] = records.tool_usages
        assert row["invocation_error"] == "Error executing tool fail: no luck"
        assert records.interception["status"] == "completed"

    def test_central_and_client_calls_have_a_row_each(
        self, central: Central, api: API, stream: bool
    ) -> None:
        with central.proxy.recording() as records:
            central.see(api, FORWARD, MIXED, stream=stream, tools=["get_weather"])
        rows = {row["tool"]: (row["injected"], row["input"]) for row in records.tool_usages}
        assert rows == {"add": (1, {"a": 2, "b": 40}), "get_weather": (0, {"city": "Oslo"})}
        assert len(records.tool_usages) == 2
        assert len(records.token_usages) == 1

    def test_client_results_are_linked_to_their_call_and_are_not_prompts(
        self, central: Central, api: API, stream: bool
    ) -> None:
        first = central.ask(api, FORWARD, MIXED, stream=stream, tools=["get_weather"])
        [call] = first.calls
        conversation = [user(MIXED), *first.turn, api.result(call, "12 degrees")]
        with central.proxy.recording() as records:
            central.ask(api, FORWARD, conversation, stream=stream, tools=["get_weather"])
        assert records.interception["correlating_tool_call_id"] == call.id
        assert records.prompts == []
        assert records.tool_usages == []

    def test_thoughts_of_all_turns_are_recorded_once(
        self, central: Central, api: API, stream: bool
    ) -> None:
        with central.proxy.recording() as records:
            central.see(api, FORWARD, f"THINK {SUM} NEXT THINK {SUM}", stream=stream)
        assert [row["content"] for row in records.model_thoughts] == [THOUGHT] * 2


@each_api
def test_calls_are_counted_by_server_and_tool(central: Central, api: API) -> None:
    labels = {
        "provider": api.provider,
        "model": api.model,
        "server": "calc",
        "name": "add",
    }

    def counted() -> float:
        return metric(central.proxy, "aibridge_injected_tool_invocations_total", **labels)

    before = counted()
    central.see(api, FORWARD, f"{SUM} NEXT {SUM}", stream=True)
    assert counted() - before == 2


# --- flows

TOKEN = "tok-m1m1m1m1m1m1m1m1m1m1"


@pytest.fixture
def by_hand() -> Iterator[ToolsByHand]:
    """A server with one tool."""
    with serving(ToolsByHand([{"name": "ask", "inputSchema": {"type": "object"}}])) as app:
        yield app


def test_each_inner_request_is_a_separate_flow_without_secrets(
    start_proxy: StartProxy,
    clients_of: Callable[[Proxy], Clients],
    central: Central,
    standin: Server,
    by_hand: ToolsByHand,
) -> None:
    headers = {"Authorization": "Bearer ${TOOL_TOKEN}"}
    own = start_proxy(
        servers={"hand": {"url": by_hand.url, "headers": headers}},
        env={"TOOL_TOKEN": TOKEN},
        options={"save_stream_file": "flows", "flow_detail": 4, "termlog_verbosity": "debug"},
    )
    asking = Central(own, clients_of(own), central.provider, standin)
    prompt = "USE_TOOL:bmcp_hand_ask SAY NEXT USE_TOOL:bmcp_hand_ask SAY"
    for api in APIS:
        for stream in (False, True):
            asking.see(api, FORWARD, prompt, stream=stream)
    assert own.stop() == 0
    asked = own.records.interceptions
    flows = read_flows(own.directory / "flows")
    assert len(flows) == 3 * len(asked) == 18
    for row in asked:
        of_one = [f for f in flows if f.metadata["aibridge_interception_id"] == row["id"]]
        assert [flow.is_replay for flow in sorted(of_one, key=started)] == [
            None,
            "request",
            "request",
        ]
        assert all(flow.response and flow.response.status_code == 200 for flow in of_one)
    for path in own.directory.rglob("*"):
        if path.is_file():
            written = path.read_bytes()
            assert not [s for s in (ANTHROPIC_KEY, OPENAI_KEY, TOKEN) if s.encode() in written]
    assert not [s for s in (ANTHROPIC_KEY, OPENAI_KEY, TOKEN) if s in own.log_text()]
    keys = {request.header("x-api-key") for request in asking.requests} - {None}
    assert keys == {ANTHROPIC_KEY}, "the provider got it, in each request"


def read_flows(path: Path) -> list[http.HTTPFlow]:
    """Read a file of saved flows."""
    with path.open("rb") as file:
        return [flow for flow in FlowReader(file).stream() if isinstance(flow, http.HTTPFlow)]


def started(flow: http.HTTPFlow) -> float:
    """Return the start of a flow's response; inner flows copy the start of the request."""
    assert flow.response
    return flow.response.timestamp_start


@each_api
@each_delivery
def test_each_upstream_request_of_an_inner_loop_is_recorded_with_its_response(
    central: Central, api: API, stream: bool
) -> None:
    with central.proxy.recording() as records:
        central.see(api, FORWARD_H2, f"{SUM} NEXT SAY", stream=stream)
    stored = contents(central.proxy, records.interception["id"])
    assert {upstream for upstream, _ in stored} == {0, 1}
    own, follow_up = (
        [part for (number, _), part in sorted(stored.items()) if number == upstream]
        for upstream in (0, 1)
    )
    assert {"tools"} == {kind for _, kind, _ in follow_up} - {kind for _, kind, _ in own}
    assert b"42" in b"".join(content for _, _, content in follow_up[:-1]), "the tool's result"
    assert b"bmcp_calc_add" in own[-1][2], "the call"
    assert answer_of(api.name, stored, 1)
