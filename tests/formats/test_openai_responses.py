import json
from typing import Any

import pytest

from aibridge_addon.facts import (
    ProviderError,
    RequestFacts,
    ResponseFacts,
    Thought,
    ToolCall,
    Usage,
)
from aibridge_addon.formats.openai_responses import FORMAT
from formats.helpers import prompt_of, read_request, read_stream, sse, three_ways


def user(*texts: str) -> dict[str, Any]:
    content = [{"type": "input_text", "text": text} for text in texts]
    return {"type": "message", "role": "user", "content": content}


def result(kind: str, call_id: Any) -> dict[str, Any]:
    return {"type": f"{kind}_call_output", "call_id": call_id, "output": "ok"}


CONTEXT = user("<environment_context>\n  <cwd>/srv</cwd>\n</environment_context>")
DEVELOPER = {"type": "message", "role": "developer", "content": "Write code."}
SYSTEM = {"role": "system", "content": "Be good."}
ANSWER = {"type": "message", "role": "assistant", "content": []}
CALL = {"type": "function_call", "call_id": "c0", "name": "f", "arguments": "{}"}
EASY = {"role": "user", "content": "hi"}
WITH_IMAGE = {
    "role": "user",
    "content": [{"type": "input_image"}, {"type": "input_text", "text": "what?"}],
}
AGENTS = user("# AGENTS.md instructions for /srv\n\n<INSTRUCTIONS>\nx\n</INSTRUCTIONS>")


@pytest.mark.parametrize(
    ("body", "system"),
    [
        ({"instructions": "Be good.", "input": [DEVELOPER, EASY]}, ("Be good.",)),
        ({"input": [DEVELOPER, EASY]}, ("Write code.",)),
        ({"input": [SYSTEM, DEVELOPER, EASY]}, ("Be good.",)),
        ({"input": [EASY, SYSTEM]}, ()),
        ({"input": "hi"}, ()),
    ],
)
def test_system_prompt_is_read_from_instructions_or_the_first_item(
    body: dict[str, Any], system: tuple[str, ...]
) -> None:
    assert read_request(FORMAT, body).system == system


@pytest.mark.parametrize(
    ("given", "prompt", "call_id"),
    [
        pytest.param("hi", "hi", None, id="a text"),
        pytest.param("half \ud83d", "half \ufffd", None, id="half a surrogate pair"),
        pytest.param("", None, None, id="an empty text"),
        pytest.param([user("a", "b")], "a\nb", None, id="text parts"),
        pytest.param([EASY], "hi", None, id="an item without a type"),
        pytest.param(
            [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "hi",
            None,
            id="a part named as in another API",
        ),
        pytest.param([user("a"), ANSWER, user("b")], "b", None, id="only the last turn"),
        pytest.param([user("a"), ANSWER], "a", None, id="a prefilled response"),
        pytest.param([user("a"), CALL], None, None, id="a call of the model"),
        pytest.param([user("a"), ANSWER, ANSWER], None, None, id="two responses"),
        pytest.param(
            [result("function", "c1"), ANSWER], None, "c1", id="a prefilled response after a result"
        ),
        pytest.param([user("a"), user("b")], "a\nb", None, id="trailing user messages"),
        pytest.param([DEVELOPER, CONTEXT, user("hi")], "hi", None, id="as Codex starts"),
        pytest.param([AGENTS, CONTEXT, user("hi")], "hi", None, id="with a folder's instructions"),
        pytest.param([DEVELOPER, CONTEXT], None, None, id="the program's words alone"),
        pytest.param([user("hi"), DEVELOPER, SYSTEM], "hi", None, id="instructions after it"),
        pytest.param([CALL, result("function", "c1")], None, "c1", id="a result alone"),
        pytest.param([result("custom_tool", "c1")], None, "c1", id="a custom tool's result"),
        pytest.param([result("local_shell", "c1")], None, "c1", id="a shell's result"),
        pytest.param(
            [{"type": "tool_search_output", "call_id": "c1"}], None, "c1", id="a search's result"
        ),
        pytest.param(
            [result("function", "c1"), result("custom_tool", "c2")], None, "c2", id="the last one"
        ),
        pytest.param([result("function", "c1"), user("no")], "no", "c1", id="words after a result"),
        pytest.param([user("a"), CALL, result("function", "c1")], None, "c1", id="an older prompt"),
        pytest.param([result("function", 7)], None, None, id="a result without an id"),
        pytest.param([user("a"), {"type": "item_reference"}], None, None, id="a reference"),
        pytest.param([WITH_IMAGE], "what?", None, id="an image"),
        pytest.param([{"role": "user", "content": 7}], None, None, id="content of another shape"),
        pytest.param([None, user("hi"), 7, "x"], "hi", None, id="what is no item"),
        pytest.param({"role": "user"}, None, None, id="an object"),
        pytest.param(7, None, None, id="a number"),
        pytest.param(None, None, None, id="null"),
        pytest.param([], None, None, id="nothing"),
    ],
)
def test_trailing_turn_has_the_prompt_and_the_call_of_its_result(
    given: Any, prompt: str | None, call_id: str | None
) -> None:
    facts = read_request(FORMAT, {"input": given})
    assert prompt_of(facts) == prompt
    assert facts.correlating_tool_call_id == call_id


@pytest.mark.parametrize("last", [ANSWER, CALL, user("b")])
def test_request_that_ends_with_the_beginning_of_the_response_is_prefilled(last: Any) -> None:
    assert read_request(FORMAT, {"input": [user("a"), last]}).prefilled is (last is ANSWER)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"input": "hi", "generate": False}, "warmup"),
        ({"input": "hi", "generate": True}, None),
        ({"input": [user("hi"), {"type": "compaction_trigger"}]}, "compaction"),
        ({"input": [{"type": "compaction_trigger"}, user("hi")]}, None),
    ],
)
def test_body_declares_a_warm_up_and_a_compaction(body: Any, kind: str | None) -> None:
    assert read_request(FORMAT, body).request_kind == kind


def test_cache_key_hints_at_the_session() -> None:
    assert read_request(FORMAT, {"prompt_cache_key": "t"}) == RequestFacts(session_hint="t")
    assert read_request(FORMAT, {"prompt_cache_key": 7}) == RequestFacts()


def read_events(*events: Any) -> ResponseFacts:
    return read_stream(FORMAT, [sse(*events)])


def event(kind: str, **fields: Any) -> dict[str, Any]:
    return {"type": f"response.{kind}", **fields}


def item(kind: str, index: Any = 0, /, **fields: Any) -> dict[str, Any]:
    return event("output_item.done", output_index=index, item={"type": kind, **fields})


def response(status: str, **fields: Any) -> dict[str, Any]:
    return event(status, response={"status": status, **fields})


@pytest.mark.parametrize("status", ["completed", "incomplete", "failed"])
def test_usage_is_read_from_every_terminal_event(status: str) -> None:
    usage = {"input_tokens": 10, "output_tokens": 4, "input_tokens_details": {"cached_tokens": 7}}
    facts = read_events(response(status, id="r", usage=usage))
    assert facts.usage == Usage(
        input_tokens=3, output_tokens=4, cache_read_input_tokens=7, raw=usage
    )
    assert facts.complete


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        ({"output_tokens": 4}, {"input_tokens": None, "output_tokens": 4}),
        ({"input_tokens": 4}, {"input_tokens": 4, "output_tokens": None}),
        (
            {"input_tokens": 9, "input_tokens_details": {"cache_write_tokens": 5}},
            {"input_tokens": 4, "output_tokens": None, "cache_write_input_tokens": 5},
        ),
        (
            {"input_tokens": 1, "input_tokens_details": {"cached_tokens": 5}},
            {"input_tokens": 1, "output_tokens": None, "cache_read_input_tokens": 5},
        ),
        (
            {"output_tokens": 9, "output_tokens_details": {"reasoning_tokens": 5}},
            {"input_tokens": None, "output_tokens": 9, "extra": {"reasoning_tokens": 5}},
        ),
    ],
)
def test_input_tokens_exclude_cached_tokens(usage: Any, expected: Any) -> None:
    assert read_events(response("completed", usage=usage)).usage == Usage(**expected, raw=usage)


@pytest.mark.parametrize("usage", [None, {}, [], "x"])
def test_usage_object_without_counts_is_ignored(usage: Any) -> None:
    assert read_events(response("completed", usage=usage)) == ResponseFacts(complete=True)


def test_members_of_the_first_event_stay_when_the_terminal_event_lacks_them() -> None:
    facts = read_events(
        response("created", id="r", model="m"), event("completed", response={"id": "r"})
    )
    assert facts == ResponseFacts(response_id="r", model="m", complete=True)


def test_output_that_only_the_terminal_event_has_is_recorded() -> None:
    call = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "[1]"}
    assert read_events(response("completed", output=[call])) == ResponseFacts(
        tool_calls=(ToolCall(tool="f", call_id="c", input=[1]),), complete=True
    )


def test_items_are_recorded_in_the_order_of_the_output() -> None:
    facts = read_events(
        item("function_call", 1, call_id="b", name="g"),
        item("function_call", 0, call_id="a", name="f"),
    )
    assert [call.call_id for call in facts.tool_calls] == ["a", "b"]


def test_interrupted_call_has_the_input_received_so_far() -> None:
    facts = read_events(
        event("output_item.added", output_index=2, item={"type": "custom_tool_call", "name": "f"}),
        event("custom_tool_call_input.delta", output_index=2, delta="ab"),
        event("custom_tool_call_input.delta", output_index=2, delta="c"),
    )
    assert facts == ResponseFacts(tool_calls=(ToolCall(tool="f", call_id=None, input="abc"),))


def test_fragments_of_an_item_without_input_are_ignored() -> None:
    facts = read_events(
        event("output_item.added", output_index=0, item={"type": "message"}),
        event("function_call_arguments.delta", output_index=0, delta="ab"),
        event("function_call_arguments.delta", output_index=1, delta="ab"),
    )
    assert facts == ResponseFacts()


def test_reasoning_with_a_summary_is_recorded_as_the_summary() -> None:
    summary = [{"type": "summary_text", "text": "a"}, {"type": "summary_text", "text": "b"}]
    content = [{"type": "reasoning_text", "text": "c"}]
    facts = read_events(item("reasoning", summary=summary, content=content))
    assert facts.thoughts == (Thought(content="a\nb", source="reasoning_summary"),)


@pytest.mark.parametrize(
    "fields",
    [
        {"summary": [], "content": None},
        {"summary": [{"type": "summary_text", "text": ""}]},
        {"summary": [{"type": "x", "text": "a"}, None, 7]},
        {"summary": [{"type": "summary_text", "text": 7}], "content": "x"},
        {},
    ],
)
def test_reasoning_without_text_is_not_recorded(fields: dict[str, Any]) -> None:
    assert read_events(item("reasoning", **fields)) == ResponseFacts()


@pytest.mark.parametrize("phase", [None, "final_answer", 7])
def test_message_is_a_thought_only_as_commentary(phase: Any) -> None:
    content = [{"type": "output_text", "text": "a"}]
    assert read_events(item("message", phase=phase, content=content)) == ResponseFacts()
    assert read_events(item("message", phase="commentary", content=[])) == ResponseFacts()


@pytest.mark.parametrize(
    "broken",
    [
        event("created"),
        response("created") | {"response": None},
        event("completed", response="x"),
        event("output_item.added", output_index=0),
        item("message", "0"),
        item("message", None),
        event("function_call_arguments.delta", output_index=0),
        event("function_call_arguments.delta", output_index=0, delta=7),
        event("function_call_arguments.delta", output_index=[], delta="x"),
        {"type": ["response.completed"]},
        {"type": None},
        {"type": 7},
        {},
    ],
    ids=range(13),
)
def test_known_event_of_another_shape_is_counted_and_changes_nothing(broken: Any) -> None:
    assert read_events(broken) == ResponseFacts(unreadable=1)


def test_events_of_unknown_provider_tools_are_not_counted_as_unknown() -> None:
    assert read_events(event("telepathy_call.in_progress")) == ResponseFacts()
    assert read_events(event("telepathy.started")) == ResponseFacts(
        unknown=("response.telepathy.started",)
    )


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"error": {"code": "a", "message": "b"}}, ProviderError(type="a", message="b")),
        ({"error": None}, ProviderError(type=None, message=None)),
        ({}, ProviderError(type=None, message=None)),
    ],
)
def test_failed_response_is_an_error_whatever_its_shape(
    fields: dict[str, Any], error: ProviderError
) -> None:
    expected = ResponseFacts(response_id="r", error=error, complete=True)
    assert read_events(event("failed", response={"id": "r", **fields})) == expected
    answer = {"object": "response", "id": "r", "status": "failed", **fields}
    assert FORMAT.read_whole(json.dumps(answer).encode()) == expected


@pytest.mark.parametrize(
    ("fields", "error"),
    [
        ({"code": "a", "message": "b"}, ProviderError(type="a", message="b")),
        ({"code": None, "message": "b"}, ProviderError(type=None, message="b")),
        ({"error": {"type": "a", "message": "b"}}, ProviderError(type="a", message="b")),
        ({"error": "b"}, ProviderError(type=None, message="b")),
        ({}, ProviderError(type=None, message=None)),
    ],
)
def test_error_event_is_read_from_every_shape(fields: dict[str, Any], error: ProviderError) -> None:
    assert read_events({"type": "error", **fields}) == ResponseFacts(error=error)


def test_done_event_of_other_hosts_is_ignored() -> None:
    assert read_stream(FORMAT, [b"data: [DONE]\n\n"]) == ResponseFacts()


@pytest.mark.parametrize("status", ["completed", "incomplete", "cancelled", "queued", None])
def test_response_that_did_not_fail_has_no_error(status: str | None) -> None:
    answer = {"object": "response", "id": "r", "status": status, "error": None}
    assert FORMAT.read_whole(json.dumps(answer).encode()) == ResponseFacts(
        response_id="r",
        complete=True,
        pending=status == "queued",
        cancelled=status == "cancelled",
    )


# Items that are told in unusual ways


def whole_and_streamed(items: list[Any], **fields: Any) -> ResponseFacts:
    """The facts of a response that must be the same whole and streamed, however it is cut."""
    answer = {"id": "r", "model": "m", "status": "completed", "output": items, **fields}
    events = [
        event("created", response={"id": "r", "model": "m", "output": []}),
        *(event("output_item.done", output_index=n, item=each) for n, each in enumerate(items)),
        event("completed", response=answer),
    ]
    facts = three_ways(lambda chunks: read_stream(FORMAT, chunks), sse(*events))
    assert facts == FORMAT.read_whole(json.dumps({"object": "response", **answer}).encode())
    assert facts == FORMAT.read_whole(json.dumps(answer).encode()), "without object"
    return facts


def calls(*items: Any) -> list[tuple[Any, ...]]:
    found = whole_and_streamed(list(items)).tool_calls
    return [(call.tool, call.call_id, call.input, call.server_side) for call in found]


CLICKS = [{"type": "click", "x": 1, "y": 2}, {"type": "wait"}]


@pytest.mark.parametrize(
    ("told", "expected"),
    [
        (
            {"type": "computer_call", "call_id": "c", "actions": CLICKS},
            ("computer", "c", CLICKS, False),
        ),
        (
            {"type": "computer_call", "call_id": "c", "action": CLICKS[0], "actions": None},
            ("computer", "c", CLICKS[0], False),
        ),
        (
            {"type": "tool_search_call", "id": "t", "arguments": {"q": 1}, "execution": "client"},
            ("tool_search", "t", {"q": 1}, False),
        ),
        (
            {"type": "tool_search_call", "id": "t", "arguments": {"q": 1}, "execution": "server"},
            ("tool_search", "t", {"q": 1}, True),
        ),
        (
            {"type": "image_generation_call", "id": "i", "revised_prompt": "A cat."},
            ("image_generation", "i", "A cat.", True),
        ),
        (
            {"type": "web_search_call", "id": "w", "queries": ["a", "b"]},
            ("web_search", "w", ["a", "b"], True),
        ),
        (
            {
                "type": "shell_call",
                "call_id": "s",
                "action": {"commands": ["ls"]},
                "environment": {"type": "container_reference", "container_id": "cntr_1"},
            },
            ("shell", "s", {"commands": ["ls"]}, True),
        ),
        (
            {
                "type": "shell_call",
                "call_id": "s",
                "action": {"commands": ["ls"]},
                "environment": {"type": "local"},
            },
            ("shell", "s", {"commands": ["ls"]}, False),
        ),
        (
            {"type": "new_tool_call", "call_id": "n", "operation": {"x": 1}},
            ("new_tool", "n", {"x": 1}, False),
        ),
        (
            {"type": "new_hosted_call", "id": "n", "queries": ["a"]},
            ("new_hosted", "n", ["a"], True),
        ),
        ({"type": "new_hosted_call", "id": "n"}, ("new_hosted", "n", {}, True)),
    ],
)
def test_input_of_a_call_is_read_from_the_member_of_its_type(told: Any, expected: Any) -> None:
    assert calls(told) == [expected]


@pytest.mark.parametrize(
    ("call", "output"),
    [
        ({"type": "shell_call", "call_id": "c"}, {"type": "shell_call_output", "call_id": "c"}),
        (
            {"type": "apply_patch_call", "call_id": "c"},
            {"type": "apply_patch_call_output", "call_id": "c", "id": "o"},
        ),
        (
            {"type": "function_call", "name": "f", "call_id": "c", "arguments": "{}"},
            {"type": "function_call_output", "id": "o"},
        ),
        (
            {"type": "local_shell_call", "id": "lsh_1", "call_id": "c"},
            {"type": "local_shell_call_output", "id": "lsh_1"},
        ),
        (
            {"type": "local_shell_call", "id": "lsh_1", "call_id": "c"},
            {"type": "local_shell_call_output", "id": "c"},
        ),
        (
            {"type": "tool_search_call", "id": "t", "execution": "client"},
            {"type": "tool_search_output", "call_id": None},
        ),
    ],
)
def test_call_whose_output_is_in_the_same_response_is_the_providers(call: Any, output: Any) -> None:
    [(*_, server_side)] = calls(call, output)
    assert server_side
    [(*_, server_side)] = calls(call)
    assert not server_side
    other = {**call, "id": "other", "call_id": "other"}
    assert [is_server for *_, is_server in calls(other, call, output)] == [False, True]


def test_approval_request_is_recorded_as_one() -> None:
    asked = {"type": "mcp_approval_request", "id": "a", "name": "roll", "arguments": '{"n": 6}'}
    [call] = whole_and_streamed([asked]).tool_calls
    assert call == ToolCall(
        tool="roll", call_id="a", input={"n": 6}, server_side=True, asks_approval=True
    )


@pytest.mark.parametrize(
    ("answer", "call_id"),
    [
        ({"type": "mcp_approval_response", "approval_request_id": "a", "approve": True}, "a"),
        ({"type": "local_shell_call_output", "id": "lsh_1", "output": "{}"}, "lsh_1"),
        ({"type": "tool_search_output", "call_id": None, "tools": []}, None),
        ({"type": "function_call_output", "id": "o", "output": ""}, None),
    ],
)
def test_result_of_a_call_links_the_request_to_the_call(answer: Any, call_id: str | None) -> None:
    spoken = {"type": "message", "role": "user", "content": "Earlier."}
    facts = read_request(FORMAT, {"input": [spoken, answer]})
    assert (prompt_of(facts), facts.correlating_tool_call_id) == (None, call_id)


def test_thinking_parts_of_a_message_are_thoughts() -> None:
    content = [
        {"type": "reasoning_text", "text": "Hm."},
        {"type": "thinking", "thinking": "So."},
        {"type": "output_text", "text": "91 = 7 * 13."},
    ]
    facts = whole_and_streamed([{"type": "message", "role": "assistant", "content": content}])
    assert facts.thoughts == (Thought(content="Hm.\nSo.", source="thinking"),)


def test_tool_that_uses_a_model_of_its_own_has_a_usage_of_its_own() -> None:
    svg = {"model": "gpt-svg", "input_tokens": 5, "output_tokens": 9, "reasoning_tokens": 4}
    usage = {"input_tokens": 1, "output_tokens": 2, "total_tokens": 3}
    facts = whole_and_streamed(
        [{"type": "image_generation_call", "id": "i", "svg_usage": svg}],
        usage=usage,
        service_tier="priority",
        tool_usage={
            "web_search": {"num_requests": 2},
            "image_gen": {"input_tokens": 6, "output_tokens": 7, "total_tokens": 13},
        },
    )
    assert facts.usage == Usage(
        input_tokens=1,
        output_tokens=2,
        extra={
            "image_gen_requests": 1,
            "service_tier": "priority",
            "web_search_requests": 2,
            "image_gen_input_tokens": 6,
            "image_gen_output_tokens": 7,
        },
        raw=usage,
    )
    assert facts.hidden_usages == (
        Usage(
            input_tokens=5,
            output_tokens=9,
            extra={"reasoning_tokens": 4},
            raw=svg,
            call="image_generation_call",
            model="gpt-svg",
        ),
    )


def test_events_with_their_type_in_the_event_name_only_are_read() -> None:
    stream = (
        b'event: response.created\ndata: {"response": {"id": "r", "model": "m"}}\n\n'
        b'event: response.completed\ndata: {"response": {"usage": {"output_tokens": 2}}}\n\n'
    )
    facts = three_ways(lambda chunks: read_stream(FORMAT, chunks), stream)
    assert (facts.response_id, facts.complete, facts.unreadable) == ("r", True, 0)
