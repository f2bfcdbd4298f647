"""Timelines: rows joined with content, in every wire format, and missing content."""

from dataclasses import replace
from typing import Any

import pytest
from report.rows import call_row, detail, request_row, stored, tool_row

from aibridge_addon.report.figures import Figures
from aibridge_addon.report.rows import InterceptionDetail, TextRow
from aibridge_addon.report.timeline import Timeline, timeline

type Body = dict[str, Any]

USAGE: Body = {"input_tokens": 10, "output_tokens": 5}
ANTHROPIC_REQUEST: Body = {
    "model": "opus",
    "max_tokens": 9,
    "system": "Be brief.",
    "messages": [{"role": "user", "content": "Read /x"}],
}
ANTHROPIC_ANSWER: Body = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "opus-1",
    "content": [
        {"type": "thinking", "thinking": "Hm.", "signature": "x"},
        {"type": "text", "text": "I read it."},
        {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "/x"}},
    ],
    "stop_reason": "tool_use",
    "usage": USAGE,
}
ANTHROPIC_RESULT: Body = {
    "role": "user",
    "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "lines of /x"}],
}
CHAT_REQUEST: Body = {
    "model": "gpt",
    "messages": [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Read /x"},
    ],
}
CHAT_CALL: Body = {
    "id": "toolu_1",
    "type": "function",
    "function": {"name": "Read", "arguments": '{"path": "/x"}'},
}
CHAT_ANSWER: Body = {
    "id": "msg_1",
    "object": "chat.completion",
    "model": "gpt-1",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "I read it.", "tool_calls": [CHAT_CALL]},
            "finish_reason": "tool_calls",
        }
    ],
    "usage": {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15},
}
CHAT_RESULT: Body = {"role": "tool", "tool_call_id": "toolu_1", "content": "lines of /x"}
RESPONSES_REQUEST: Body = {
    "model": "gpt",
    "instructions": "Be brief.",
    "input": [{"role": "user", "content": "Read /x"}],
}
RESPONSES_CALL: Body = {
    "type": "function_call",
    "id": "fc_1",
    "call_id": "toolu_1",
    "name": "Read",
    "arguments": '{"path": "/x"}',
}
RESPONSES_ANSWER: Body = {
    "id": "msg_1",
    "object": "response",
    "status": "completed",
    "model": "gpt-1",
    "output": [
        {
            "type": "message",
            "id": "m",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "I read it.", "annotations": []}],
        },
        RESPONSES_CALL,
    ],
    "usage": USAGE | {"total_tokens": 15},
}
RESPONSES_RESULT: Body = {
    "type": "function_call_output",
    "call_id": "toolu_1",
    "output": "lines of /x",
}
FORMATS = {
    "anthropic_messages": (ANTHROPIC_REQUEST, ANTHROPIC_ANSWER, "messages", ANTHROPIC_RESULT),
    "openai_chat": (CHAT_REQUEST, CHAT_ANSWER, "messages", CHAT_RESULT),
    "openai_responses": (RESPONSES_REQUEST, RESPONSES_ANSWER, "input", RESPONSES_RESULT),
}
each_format = pytest.mark.parametrize("api", FORMATS)


def asked(api: str, **changes: Any) -> InterceptionDetail:
    """Return a request that called a client tool."""
    request, answer, *_ = FORMATS[api]
    row = request_row(api=api)
    made = detail(row=row, tools=(tool_row(),), messages=stored(api, request, answer))
    return replace(made, **changes)


def answered(api: str) -> InterceptionDetail:
    """Return the next request, which contains the result of the tool."""
    request, _, member, result = FORMATS[api]
    body = request | {member: [*request[member], result]}
    row = request_row(api=api, id="r-2")
    return detail(row=row, messages=stored(api, body), correlating_tool_call_id="toolu_1")


def shape(found: Timeline) -> list[tuple[str, str]]:
    return [(step.part.kind, step.part.text) for r in found.requests for step in r.steps]


@each_format
def test_captured_request_is_shown_with_its_answer_call_and_result(api: str) -> None:
    found = timeline(asked(api), None, answered(api))

    assert found.prompts == ("Read /x",)
    assert found.system == "Be brief."
    assert found.missing == ()
    (request,) = found.requests
    texts = [step.part.text for step in request.steps if step.part.kind == "text"]
    assert texts == ["I read it."]
    (call,) = [step.call for step in request.steps if step.call]
    assert (call.name, call.call_id, call.central, call.missing) == ("Read", "toolu_1", False, None)
    assert call.result
    assert (call.result.part.text, call.result.request_id) == ("lines of /x", "r-2")
    assert (request.missing, request.cut) == (None, False)


@each_format
def test_next_request_shows_its_changes(api: str) -> None:
    found = timeline(answered(api), asked(api))
    assert found.prompts == ()
    assert found.diff
    assert found.diff.kept == 1
    ((change),) = found.diff.messages
    assert [part.kind for part in change.message.parts] == ["tool_result"]


@each_format
def test_content_that_was_not_captured_is_named_with_its_option(api: str) -> None:
    thought = TextRow(kind="thinking", text="Hm.", response_id="msg_1", created_at="")
    found = timeline(asked(api, messages=(), texts=(thought,)), None, answered(api))

    assert [missing.option for missing in found.missing] == ["prompts", "requests"]
    assert (found.system, found.conversation, found.diff) == (None, None, None)
    (request,) = found.requests
    assert request.missing
    assert request.missing.text == "answer not recorded (aibridge_capture=answers records it)"
    assert shape(found) == [("thinking", "Hm."), ("tool_call", '{"path":"/x"}')]
    bare = timeline(asked(api, messages=()), None, replace(answered(api), messages=()))
    (step,) = bare.requests[0].steps
    assert step.call
    assert step.call.missing
    assert step.call.missing.option == "results"


def test_result_of_the_last_request_is_awaited_not_missing() -> None:
    (request,) = timeline(asked("openai_chat")).requests
    (call,) = [step.call for step in request.steps if step.call]
    assert (call.result, call.missing) == (None, None)


def test_system_prompt_alone_is_shown_without_a_conversation() -> None:
    messages = stored("anthropic_messages", ANTHROPIC_REQUEST, kinds=frozenset({"system"}))
    found = timeline(asked("anthropic_messages", messages=messages))
    assert found.system == "Be brief."
    assert found.conversation is None


def test_whole_conversation_that_ends_with_a_result_misses_no_prompt() -> None:
    found = timeline(replace(answered("openai_chat"), correlating_tool_call_id=None))
    assert (found.prompts, found.missing) == ((), ())


def test_tool_round_trip_misses_no_typed_prompt() -> None:
    found = timeline(replace(answered("openai_chat"), messages=()))
    assert [missing.option for missing in found.missing] == ["requests"]


@pytest.mark.parametrize(
    "changes",
    [
        {"status": "refused", "http_status": 400},
        {"status": "failed", "http_status": 529},
        {"status": None, "http_status": None},
        {"status": "cancelled", "http_status": None},
    ],
)
def test_request_without_an_answer_misses_none(changes: Body) -> None:
    row = request_row(**changes, figures=Figures(requests=1))
    (request,) = timeline(detail(row=row, calls=())).requests
    assert (request.missing, request.steps) == (None, ())


@pytest.mark.parametrize("api", ["openai_speech", "openai_batches", "anthropic_batches"])
def test_answer_that_is_never_stored_is_not_blamed_on_an_option(api: str) -> None:
    row = request_row(api=api, kind="turn", http_status=200)
    found = timeline(detail(row=row, calls=()))
    (request,) = found.requests
    assert request.missing
    assert "aibridge_capture" not in request.missing.text
    assert [missing.option for missing in found.missing] == ["requests"]


def test_inner_loop_shows_each_upstream_request_with_its_calls() -> None:
    first, second = (call_row(id=f"u-{n}", upstream=n, response_id=f"msg_{n}") for n in (0, 1))
    used = ANTHROPIC_ANSWER | {"id": "msg_0"}
    last = ANTHROPIC_ANSWER | {
        "id": "msg_1",
        "content": [{"type": "text", "text": "Done."}],
        "stop_reason": "end_turn",
    }
    follow_up = ANTHROPIC_REQUEST | {
        "messages": [*ANTHROPIC_REQUEST["messages"], ANTHROPIC_RESULT],
    }
    central = tool_row(
        injected=True, response_id="msg_0", server_url="http://tools", duration_ms=30, tool="read"
    )
    made = detail(
        calls=(first, second),
        tools=(central,),
        messages=(
            *stored("anthropic_messages", ANTHROPIC_REQUEST, used),
            *stored("anthropic_messages", follow_up, last, upstream=1),
        ),
    )
    one, two = timeline(made).requests
    assert [(request.number, request.own and request.own.id) for request in (one, two)] == [
        (0, "u-0"),
        (1, "u-1"),
    ]
    call = one.steps[-1].call
    assert call
    assert (call.name, call.central, call.duration_ms, call.server_url) == (
        *("read", True, 30, "http://tools"),
    )
    assert call.result
    assert (call.result.part.text, call.result.request_id) == ("lines of /x", made.row.id)
    assert [step.part.text for step in two.steps] == ["Done."]


def test_failed_call_of_a_central_tool_misses_no_result() -> None:
    failed = tool_row(injected=True, error="no luck")
    following = replace(answered("openai_chat"), messages=())
    (request,) = timeline(detail(tools=(failed,)), None, following).requests
    (call,) = [step.call for step in request.steps if step.call]
    assert (call.error, call.missing) == ("no luck", None)


def test_calls_that_the_provider_made_are_beside_the_own_call() -> None:
    made = detail(calls=(call_row(id="c", call="compaction"), call_row()))
    (request,) = timeline(made).requests
    assert [call.id for call in request.calls] == ["c", "u-1"]
    assert request.own
    assert request.own.id == "u-1"


def test_unknown_wire_format_is_shown_without_content() -> None:
    found = timeline(replace(asked("openai_chat"), row=request_row(api="of_a_plugin")))
    assert found.conversation is None
    assert found.requests[0].missing
