"""Claude Code: with a key or a token, with tools and sub-agents, resumed, and after a break."""

import json

import pytest
from e2e.central import ADD
from e2e.metrics import metric

from clients.asking import claude
from clients.places import Desk, Mode

each_mode = pytest.mark.parametrize("mode", ["forward", "reverse"])

TOKEN = "sk-ant-oat01-0123456789abcdefghij"


@each_mode
def test_claude_code_question_is_recorded(desk: Desk, mode: Mode) -> None:
    with desk.proxy.recording() as records:
        ran, output = claude(desk, "-p", "hello there TOKENS:11,7,5,3", mode=mode)
    assert ran.code == 0
    assert output["result"] == "Hello from the stand-in."
    row = records.interception
    assert (row["provider"], row["provider_name"]) == ("anthropic", "anthropic")
    assert (row["api"], row["streaming"]) == ("anthropic_messages", 1)
    assert (row["status"], row["http_status"], row["partial"]) == ("completed", 200, 0)
    assert row["client"] == "Claude Code"
    assert row["client_session_id"] == output["session_id"]
    assert (row["credential_kind"], row["credential_hint"]) == ("byok", "sk-a...ghij")
    assert records.prompts == ["hello there TOKENS:11,7,5,3"]
    assert records.counts == (11, 7, 5, 3)
    assert records.usage["model"] == row["model"]


@each_mode
@pytest.mark.parametrize("variable", ["ANTHROPIC_AUTH_TOKEN", "CLAUDE_CODE_OAUTH_TOKEN"])
def test_claude_code_bearer_token_is_recorded_masked(desk: Desk, mode: Mode, variable: str) -> None:
    with desk.proxy.recording() as records:
        ran, output = claude(desk, "-p", "hello", mode=mode, env={variable: TOKEN})
    assert ran.code == 0
    assert output["result"] == "Hello from the stand-in."
    row = records.interception
    assert (row["credential_kind"], row["credential_hint"]) == ("subscription", "sk-a...ghij")
    assert row["status"] == "completed"
    assert records.prompts == ["hello"]


@each_mode
def test_claude_code_tool_call_is_recorded(desk: Desk, mode: Mode) -> None:
    typed = 'USE_TOOL:Bash ARGS:{"command": "echo tool-ran", "description": "d"}'
    with desk.proxy.recording() as records:
        ran, output = claude(desk, "-p", typed, "--dangerously-skip-permissions", mode=mode)
    assert ran.code == 0
    assert output["result"] == "The tool returned: tool-ran"
    asked, answered = records.interceptions
    [call] = records.tool_usages
    assert (call["interception_id"], call["tool"]) == (asked["id"], "Bash")
    assert call["input"]["command"] == "echo tool-ran"
    assert call["injected"] == 0
    assert answered["correlating_tool_call_id"] == call["tool_call_id"]
    assert asked["client_session_id"] == answered["client_session_id"] == output["session_id"]
    assert records.prompts == [typed]
    assert len(records.token_usages) == 2


@each_mode
def test_claude_code_sub_agent_is_recorded(desk: Desk, mode: Mode) -> None:
    given = {
        "description": "d",
        "prompt": "hello from the parent",
        "subagent_type": "general-purpose",
        "run_in_background": False,
    }
    typed = f"USE_TOOL:Agent ARGS:{json.dumps(given)}"
    with desk.proxy.recording() as records:
        ran, output = claude(desk, "-p", typed, "--dangerously-skip-permissions", mode=mode)
    assert ran.code == 0
    assert "Hello from the stand-in." in output["result"]
    [of_agent] = [row for row in records.interceptions if "claude_code_agent_id" in row["metadata"]]
    assert of_agent["metadata"]["claude_code_agent_id"]
    assert {row["client_session_id"] for row in records.interceptions} == {output["session_id"]}
    assert {row["status"] for row in records.interceptions} == {"completed"}
    assert (of_agent["request_kind"], of_agent["agent_id"]) == (
        "subagent",
        of_agent["metadata"]["claude_code_agent_id"],
    )
    assert records.prompts == [typed]
    assert [row["tool"] for row in records.tool_usages] == ["Agent"]


@each_mode
def test_claude_code_resumed_session_is_recorded(desk: Desk, mode: Mode) -> None:
    with desk.proxy.recording() as records:
        _, first = claude(desk, "-p", "the first", mode=mode)
        ran, second = claude(desk, "-p", "the second", "--resume", first["session_id"], mode=mode)
    assert ran.code == 0
    assert second["session_id"] == first["session_id"]
    assert {row["client_session_id"] for row in records.interceptions} == {first["session_id"]}
    assert records.prompts == ["the first", "the second"]


@each_mode
def test_claude_code_retry_of_a_broken_stream_records_one_prompt(desk: Desk, mode: Mode) -> None:
    with desk.proxy.recording() as records:
        ran, output = claude(desk, "-p", "hello CUT TOKENS:11,7", mode=mode)
    assert ran.code == 0
    assert output["result"] == "Hello from the stand-in."
    *broken, whole = records.interceptions
    assert {(row["streaming"], row["status"], row["partial"]) for row in broken} == {
        (1, "failed", 1)
    }
    assert (whole["streaming"], whole["status"], whole["partial"]) == (0, "completed", 0)
    [usage] = [row for row in records.token_usages if row["interception_id"] == whole["id"]]
    assert (usage["input_tokens"], usage["output_tokens"]) == (11, 7)
    assert records.prompts == ["hello CUT TOKENS:11,7"]


@each_mode
def test_claude_code_shows_a_refusal_and_one_prompt_is_recorded(desk: Desk, mode: Mode) -> None:
    with desk.proxy.recording() as records:
        ran, output = claude(desk, "-p", "STATUS:400", mode=mode)
    assert ran.code != 0
    assert "The script asked for 400" in output["result"]
    # At a base URL it asks several times.
    assert len(records.interceptions) == 1 or mode == "reverse"
    for row in records.interceptions:
        assert (row["status"], row["http_status"]) == ("failed", 400)
        assert row["error_type"] == "invalid_request_error"
    assert records.prompts == ["STATUS:400"]


@each_mode
def test_claude_code_gets_results_of_a_central_tool(central_desk: Desk, mode: Mode) -> None:
    typed = f'USE_TOOL:{ADD} ARGS:{{"a": 2, "b": 40}} SAY:Moment'
    with central_desk.proxy.recording() as records:
        ran, output = claude(central_desk, "-p", typed, mode=mode)
    assert ran.code == 0
    assert output["result"].endswith("The tool returned: 42")
    assert output["num_turns"] == 1
    row = records.interception
    assert (row["status"], row["client"]) == ("completed", "Claude Code")
    [call] = records.tool_usages
    assert (call["tool"], call["injected"], call["input"]) == ("add", 1, {"a": 2, "b": 40})
    assert call["invocation_error"] is None
    assert len(records.token_usages) == 2
    assert records.prompts == [typed]


def test_claude_code_other_requests_pass_and_are_counted(desk: Desk) -> None:
    name = "aibridge_passthrough_total"
    before = metric(desk.proxy, name, provider="anthropic")
    claude(desk, "-p", "hello", mode="forward")
    assert metric(desk.proxy, name, provider="anthropic") > before
