"""Codex: over WebSocket by default, streaming over HTTP where it must, with a ChatGPT login."""

from typing import Any

import pytest
from e2e.central import ADD
from e2e.metrics import metric
from e2e.records import Records
from standin import Server

from clients.asking import codex, login, text_of, thread
from clients.places import Desk, Mode

each_mode = pytest.mark.parametrize("mode", ["forward", "reverse"])

OVER_HTTP = """\
model_provider = "plain"
[model_providers.plain]
name = "plain"
base_url = "{base_url}"
env_key = "CODEX_API_KEY"
wire_api = "responses"
"""


def over_websocket(records: Records) -> list[dict[str, Any]]:
    """Return the interceptions, all of which must have gone over a WebSocket."""
    rows = records.interceptions
    assert {(row["http_status"], row["streaming"]) for row in rows} == {(101, 1)}
    return rows


@each_mode
def test_codex_question_over_websocket_is_recorded(desk: Desk, mode: Mode) -> None:
    with desk.proxy.recording() as records:
        ran, events = codex(desk, "hello there TOKENS:11,7,5,3", mode=mode)
    assert ran.code == 0
    assert text_of(events) == "Hello from the stand-in."
    warm_up, asked = over_websocket(records)
    for row in (warm_up, asked):
        assert (row["provider_name"], row["api"]) == ("openai", "openai_responses")
        assert (row["status"], row["partial"]) == ("completed", 0)
        assert row["client"] == "Codex"
        assert row["client_session_id"] == thread(events)
        assert row["model"] == "gpt-5.2-codex"
        assert (row["credential_kind"], row["credential_hint"]) == ("byok", "sk-p...ghij")
    assert records.prompts == ["hello there TOKENS:11,7,5,3"]
    usages = {row["interception_id"]: row for row in records.token_usages}
    assert len(usages) == len(records.token_usages) == 2
    usage = usages[asked["id"]]
    assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)
    assert (usage["cache_read_input_tokens"], usage["cache_write_input_tokens"]) == (5, 3)
    [done] = [event for event in events if event["type"] == "turn.completed"]
    assert done["usage"]["output_tokens"] == 7


@each_mode
def test_codex_tool_call_is_recorded(desk: Desk, mode: Mode) -> None:
    asked = 'USE_TOOL:exec_command ARGS:{"cmd": "echo tool-ran"}'
    with desk.proxy.recording() as records:
        ran, events = codex(desk, "--dangerously-bypass-approvals-and-sandbox", asked, mode=mode)
    assert ran.code == 0
    assert "tool-ran" in text_of(events)
    _, calling, answered = over_websocket(records)
    [call] = records.tool_usages
    assert (call["interception_id"], call["tool"]) == (calling["id"], "exec_command")
    assert call["input"] == {"cmd": "echo tool-ran"}
    assert answered["correlating_tool_call_id"] == call["tool_call_id"]
    assert records.prompts == [asked]
    assert len(records.token_usages) == 3


@each_mode
def test_codex_resumed_session_is_recorded(desk: Desk, mode: Mode) -> None:
    with desk.proxy.recording() as records:
        _, first = codex(desk, "the first", mode=mode)
        ran, second = codex(desk, "resume", thread(first), "the second", mode=mode)
    assert ran.code == 0
    assert text_of(second) == "Hello from the stand-in."
    assert {row["client_session_id"] for row in records.interceptions} == {thread(first)}
    assert records.prompts == ["the first", "the second"]


@each_mode
def test_codex_stream_over_http_is_recorded(desk: Desk, mode: Mode) -> None:
    base_url = "https://api.openai.com/v1"
    if mode == "reverse":
        base_url = f"{desk.proxy.reverse_url}/openai/v1"
    config = OVER_HTTP.format(base_url=base_url)
    with desk.proxy.recording() as records:
        ran, events = codex(
            desk, "hello TOKENS:11,7", mode=mode, config=config, lead=mode == "forward"
        )
    assert ran.code == 0
    assert text_of(events) == "Hello from the stand-in."
    row = records.interception
    assert (row["http_status"], row["status"], row["streaming"]) == (200, "completed", 1)
    assert row["client_session_id"] == thread(events)
    assert records.prompts == ["hello TOKENS:11,7"]
    assert records.counts == (11, 7, 0, 0)


def test_codex_shows_a_refusal_after_one_request(desk: Desk) -> None:
    with desk.proxy.recording() as records:
        ran, _ = codex(desk, "STATUS:400", mode="forward")
    assert ran.code != 0
    assert "The script asked for 400" in ran.out
    *_, row = records.interceptions
    assert len(records.interceptions) == 2  # with the warm-up
    assert (row["status"], row["http_status"]) == ("failed", 400)


@each_mode
def test_codex_gets_results_of_a_central_tool(central_desk: Desk, mode: Mode) -> None:
    asked = f'USE_TOOL:{ADD} ARGS:{{"a": 2, "b": 40}} SAY:Moment'
    labels = {"provider": "openai", "reason": "tools_need_http"}
    refused = metric(central_desk.proxy, "aibridge_refused_total", **labels)
    with central_desk.proxy.recording() as records:
        ran, events = codex(central_desk, asked, mode=mode)
    assert ran.code == 0
    assert text_of(events).endswith("The tool returned: 42")
    assert metric(central_desk.proxy, "aibridge_refused_total", **labels) > refused
    assert {row["http_status"] for row in records.interceptions} == {200}
    [call] = records.tool_usages
    assert (call["tool"], call["injected"], call["input"]) == ("add", 1, {"a": 2, "b": 40})
    assert records.prompts == [asked]


def test_codex_tools_work_beside_central_tools(central_desk: Desk) -> None:
    asked = 'USE_TOOL:exec_command ARGS:{"cmd": "echo tool-ran"}'
    with central_desk.proxy.recording() as records:
        ran, events = codex(
            central_desk, "--dangerously-bypass-approvals-and-sandbox", asked, mode="forward"
        )
    assert ran.code == 0
    assert "tool-ran" in text_of(events)
    [call] = records.tool_usages
    assert (call["tool"], call["injected"]) == ("exec_command", 0)
    assert records.interceptions[-1]["correlating_tool_call_id"] == call["tool_call_id"]


def at_chatgpt(desk: Desk, mode: Mode) -> dict[str, Any]:
    """Return how Codex is sent to the instance of ChatGPT: in reverse mode by its config."""
    if mode == "forward":
        return {"mode": mode, "env": {}}
    base_url = f"{desk.proxy.reverse_url}/chatgpt/v1"
    # What is none of a model's business would go straight there.
    config = f'openai_base_url = "{base_url}"\nchatgpt_base_url = "http://127.0.0.1:9/"\n'
    return {"mode": mode, "env": {}, "config": config, "lead": False}


@each_mode
def test_codex_with_a_chatgpt_login_is_recorded(desk: Desk, mode: Mode) -> None:
    login(desk)
    with desk.proxy.recording() as records:
        ran, events = codex(desk, "hello TOKENS:11,7", **at_chatgpt(desk, mode))
    assert ran.code == 0
    assert text_of(events) == "Hello from the stand-in."
    for row in over_websocket(records):
        assert (row["provider"], row["provider_name"]) == ("openai", "chatgpt")
        assert (row["status"], row["client_session_id"]) == ("completed", thread(events))
    assert records.prompts == ["hello TOKENS:11,7"]


@each_mode
def test_codex_with_a_chatgpt_login_works_beside_central_tools(
    central_desk: Desk, standin: Server, mode: Mode
) -> None:
    login(central_desk)
    asked = f'USE_TOOL:{ADD} ARGS:{{"a": 2, "b": 40}} SAY:Moment'
    before = len(standin.requests)
    with central_desk.proxy.recording() as records:
        ran, events = codex(central_desk, asked, **at_chatgpt(central_desk, mode))
    assert ran.code == 0
    assert text_of(events).endswith("The tool returned: 42")
    assert {row["provider_name"] for row in records.interceptions} == {"chatgpt"}
    assert [row["tool"] for row in records.tool_usages] == ["add"]
    assert records.prompts == [asked]
    path = "/backend-api/codex/responses"
    posted = [request for request in standin.requests[before:] if request.path == path]
    assert [request.header("content-encoding") for request in posted] == ["zstd", "zstd"]
