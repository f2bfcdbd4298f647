import json
from typing import Any

import pytest

from aibridge_addon.facts import (
    ProviderError,
    ResponseFacts,
    Thought,
    ToolCall,
    Usage,
)
from aibridge_addon.formats.decoders.sse import Event
from aibridge_addon.formats.openai_chat import FORMAT
from aibridge_addon.raw_json import members
from formats.helpers import prompt_of, read_request, read_stream, sse


def message(role: str, content: Any = "…", **fields: Any) -> dict[str, Any]:
    return {"role": role, "content": content, **fields}


def parts(*texts: str) -> list[dict[str, Any]]:
    return [{"type": "text", "text": text} for text in texts]


def result(call_id: Any) -> dict[str, Any]:
    return message("tool", "ok", tool_call_id=call_id)


ANSWER = message("assistant", None, tool_calls=[{"id": "call_0"}])
PREFILL = message("assistant", "Once", prefix=True)
IMAGE = {"type": "image_url", "image_url": {"url": "data:,"}}


@pytest.mark.parametrize(
    ("messages", "prompt", "call_id"),
    [
        pytest.param([message("user", "hi")], "hi", None, id="a text"),
        pytest.param([message("user", parts("a", "b"))], "a\nb", None, id="text parts"),
        pytest.param([message("user", [IMAGE, *parts("a")])], "a", None, id="an image"),
        pytest.param(
            [message("user", "a"), ANSWER, message("user", "b")], "b", None, id="only the last turn"
        ),
        pytest.param(
            [message("user", "a"), message("user", "b")], "a\nb", None, id="trailing user messages"
        ),
        pytest.param(
            [message("user", "hi"), message("system")], "hi", None, id="a system message after it"
        ),
        pytest.param(
            [message("user", "hi"), message("developer")], "hi", None, id="a developer's after it"
        ),
        pytest.param([ANSWER, result("c1")], None, "c1", id="a result alone"),
        pytest.param([ANSWER, result("c1"), result("c2")], None, "c2", id="the last result"),
        pytest.param(
            [ANSWER, result("c1"), message("user", "no")], "no", "c1", id="words after a result"
        ),
        pytest.param(
            [message("user", "a"), ANSWER, result("c1")], None, "c1", id="an older prompt"
        ),
        pytest.param([message("user", "a"), PREFILL], "a", None, id="a prefilled response"),
        pytest.param([message("user", "a"), ANSWER], None, None, id="a call of the model"),
        pytest.param(
            [ANSWER, result("c1"), PREFILL], None, "c1", id="a prefilled response after a result"
        ),
        pytest.param([message("user", "a"), PREFILL, PREFILL], None, None, id="two responses"),
        pytest.param([message("function", "ok", name="f")], None, None, id="a legacy result"),
        pytest.param([result(7)], None, None, id="a result without an id"),
        pytest.param(
            [message("user", "<system-reminder>x</system-reminder>")], None, None, id="a wrapper"
        ),
        pytest.param([message("user", "half \ud83d")], "half \ufffd", None, id="half a pair"),
        pytest.param(
            [message("user", [{"type": "input_text", "text": "hi"}])],
            "hi",
            None,
            id="a part named as in another API",
        ),
        pytest.param([message("user", None)], None, None, id="no content"),
        pytest.param([message("user", [None, 7, "x", {}])], None, None, id="what is no part"),
        pytest.param(
            [None, 7, message("user", "hi"), None, "x"], "hi", None, id="what is no message"
        ),
        pytest.param({"role": "user", "content": "hi"}, None, None, id="not a list"),
        pytest.param([], None, None, id="nothing"),
    ],
)
def test_trailing_turn_has_the_prompt_and_the_call_of_its_result(
    messages: Any, prompt: str | None, call_id: str | None
) -> None:
    facts = read_request(FORMAT, {"messages": messages})
    assert prompt_of(facts) == prompt
    assert facts.correlating_tool_call_id == call_id


@pytest.mark.parametrize("last", [PREFILL, ANSWER, message("user", "b")])
def test_request_that_ends_with_the_beginning_of_the_response_is_prefilled(last: Any) -> None:
    facts = read_request(FORMAT, {"messages": [message("user", "a"), last]})
    assert facts.prefilled is (last is PREFILL)


def read_chunks(*chunks: Any) -> ResponseFacts:
    return read_stream(FORMAT, [sse(*chunks)])


def choice(index: int = 0, finish: str | None = None, **delta: Any) -> dict[str, Any]:
    return {"choices": [{"index": index, "delta": delta, "finish_reason": finish}]}


def call(**fields: Any) -> dict[str, Any]:
    return choice(tool_calls=[fields])


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (
            {"prompt_tokens": 10, "completion_tokens": 2},
            {"input_tokens": 10, "output_tokens": 2},
        ),
        (
            {"prompt_tokens": 10, "prompt_tokens_details": {"cached_tokens": 8}},
            {"input_tokens": 2, "output_tokens": None, "cache_read_input_tokens": 8},
        ),
        (
            {"prompt_tokens": 10, "prompt_cache_hit_tokens": 8},
            {"input_tokens": 2, "output_tokens": None, "cache_read_input_tokens": 8},
        ),
        (
            {"prompt_tokens": 10, "prompt_tokens_details": {"cache_write_tokens": 7}},
            {"input_tokens": 3, "output_tokens": None, "cache_write_input_tokens": 7},
        ),
        (
            {"prompt_tokens": 5, "prompt_tokens_details": {"cached_tokens": 8}},
            {"input_tokens": 5, "output_tokens": None, "cache_read_input_tokens": 8},
        ),
        ({"completion_tokens": 2}, {"input_tokens": None, "output_tokens": 2}),
    ],
)
def test_input_tokens_exclude_cached_tokens(usage: Any, expected: Any) -> None:
    assert read_chunks({"choices": [], "usage": usage}).usage == Usage(**expected, raw=usage)


@pytest.mark.parametrize("usage", [None, {}, [], "x", 7])
def test_usage_object_without_counts_is_ignored(usage: Any) -> None:
    chunk = {"choices": [{"usage": usage}], "usage": usage, "x_groq": {"usage": usage}}
    assert read_chunks(chunk) == ResponseFacts()


def test_last_usage_counts_and_null_does_not_undo_it() -> None:
    usages = [{"completion_tokens": 1}, {"completion_tokens": 2}, None]
    facts = read_chunks(*({"choices": [], "usage": usage} for usage in usages))
    assert facts.usage == Usage(input_tokens=None, output_tokens=2, raw={"completion_tokens": 2})


def test_finish_reason_completes_a_stream_that_has_no_last_line() -> None:
    assert not read_chunks(choice(content="a")).complete
    assert read_chunks(choice(content="a"), choice(finish="stop")).complete


def test_last_line_completes_a_stream_that_has_no_finish_reason() -> None:
    reader = FORMAT.reader()
    reader.feed(Event(b"", b"[DONE]", b""))
    assert reader.ended
    assert reader.facts() == ResponseFacts(complete=True)


def test_first_id_and_model_of_a_chat_stream_count() -> None:
    facts = read_chunks({"id": "", "model": None}, {"id": "a", "model": "m"}, {"id": "b"})
    assert facts == ResponseFacts(response_id="a", model="m")


def test_choices_have_calls_of_their_own() -> None:
    facts = read_chunks(
        choice(0, tool_calls=[{"index": 0, "id": "a", "function": {"name": "f"}}]),
        choice(1, tool_calls=[{"index": 0, "id": "b", "function": {"name": "g"}}]),
        choice(0, tool_calls=[{"index": 0, "function": {"arguments": "[0]"}}]),
        choice(1, tool_calls=[{"index": 0, "function": {"arguments": "[1]"}}]),
    )
    assert facts == ResponseFacts(
        tool_calls=(
            ToolCall(tool="f", call_id="a", input=[0]),
            ToolCall(tool="g", call_id="b", input=[1]),
        )
    )


def test_repeated_name_with_an_index_does_not_begin_a_call() -> None:
    facts = read_chunks(
        call(index=0, id="a", function={"name": "f", "arguments": "["}),
        call(index=0, function={"name": "f", "arguments": "1]"}),
    )
    assert facts.tool_calls == (ToolCall(tool="f", call_id="a", input=[1]),)


def test_repeated_id_without_an_index_does_not_begin_a_call() -> None:
    facts = read_chunks(
        call(id="a", function={"name": "f", "arguments": "["}),
        call(id="a", function={"name": "f", "arguments": "1]"}),
    )
    assert facts.tool_calls == (ToolCall(tool="f", call_id="a", input=[1]),)


def test_id_may_come_after_the_name() -> None:
    facts = read_chunks(
        call(index=0, function={"name": "f", "arguments": "["}),
        call(index=0, id="a", function={"arguments": "1]"}),
    )
    assert facts.tool_calls == (ToolCall(tool="f", call_id="a", input=[1]),)


def test_arguments_given_as_an_object_are_unchanged() -> None:
    arguments = {"a": [1, "\ud83d"], "b": 2**70}
    facts = read_chunks(call(index=0, id="a", function={"name": "f", "arguments": arguments}))
    assert facts.tool_calls == (
        ToolCall(tool="f", call_id="a", input={"a": [1, "\ufffd"], "b": 2**70}),
    )


def test_surrogate_pair_that_two_chunks_share_is_made_whole() -> None:
    facts = read_chunks(choice(reasoning="moon \ud83c"), choice(reasoning="\udf15"))
    assert facts.thoughts == (Thought(content="moon 🌕", source="thinking"),)


@pytest.mark.parametrize(
    ("delta", "thought"),
    [
        ({"reasoning_content": "a"}, "a"),
        ({"reasoning": "a"}, "a"),
        ({"reasoning_content": "a", "reasoning": "a"}, "a"),
        ({"reasoning_content": "", "reasoning": "a"}, "a"),
        ({"reasoning_content": None, "reasoning": {"effort": "low"}}, None),
        ({"content": "a"}, None),
    ],
)
def test_reasoning_under_two_names_is_recorded_once(
    delta: dict[str, Any], thought: str | None
) -> None:
    expected = (Thought(content=thought, source="thinking"),) if thought else ()
    assert read_chunks(choice(**delta)).thoughts == expected
    answer = json.dumps({"choices": [{"message": delta}]}).encode()
    assert FORMAT.read_whole(answer) == ResponseFacts(thoughts=expected, complete=True)


@pytest.mark.parametrize(
    "chunk",
    [
        {"choices": 7},
        {"choices": ["x"]},
        {"choices": [None]},
        {"choices": [{"delta": "x"}]},
        {"choices": [{"delta": {"tool_calls": 7}}]},
        {"choices": [{"delta": {"tool_calls": ["x"]}}]},
        {"choices": [{"delta": {"tool_calls": [{"index": [1]}]}}]},
        {"choices": [{"index": [1], "delta": {"tool_calls": [{}]}}]},
    ],
    ids=range(8),
)
def test_chunk_of_another_shape_is_counted_and_changes_nothing(chunk: Any) -> None:
    assert read_chunks(chunk) == ResponseFacts(unreadable=1)


def test_choices_may_be_null_and_deltas_missing() -> None:
    facts = read_chunks({"choices": None}, {"choices": [{}]}, {"choices": [{"delta": None}]})
    assert facts == ResponseFacts()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        ("Boom", ProviderError(type=None, message="Boom")),
        ({"message": "Boom"}, ProviderError(type=None, message="Boom")),
        ({"type": "a", "code": "b"}, ProviderError(type="b", message=None)),
        ({"type": "a", "code": None}, ProviderError(type="a", message=None)),
        ({"code": 429, "message": "m"}, ProviderError(type="429", message="m")),
        ({"code": ["x"], "message": 7}, ProviderError(type=None, message=None)),
    ],
)
def test_error_is_read_from_every_shape(error: Any, expected: ProviderError) -> None:
    assert read_chunks({"error": error}) == ResponseFacts(error=expected)
    assert FORMAT.read_whole(json.dumps({"error": error}).encode()) == ResponseFacts(
        error=expected, complete=True
    )


def test_error_ends_a_stream_even_where_nothing_can_be_read_from_it() -> None:
    reader = FORMAT.reader()
    reader.feed(Event(b"", b'{"error":true}', b""))
    assert reader.ended


def test_error_under_x_groq_is_read_and_usage_there_is_no_error() -> None:
    told = {"prompt_tokens": 1, "completion_tokens": 2}
    facts = read_chunks({"x_groq": {"id": "r", "usage": told}}, {"x_groq": {"error": "Busy"}})
    assert facts.error == ProviderError(type=None, message="Busy")
    assert facts.usage is not None
    assert read_chunks({"x_groq": {"id": "r", "usage": told}}).error is None


def test_stream_that_goes_on_after_an_error_is_not_complete() -> None:
    facts = read_chunks({"error": "Boom"}, choice(finish="error"))
    assert facts == ResponseFacts(error=ProviderError(type=None, message="Boom"))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid_request_error"),
        (401, "authentication_error"),
        (403, "permission_error"),
        (404, "invalid_request_error"),
        (429, "rate_limit_error"),
        (500, "server_error"),
        (502, "server_error"),
    ],
)
def test_error_body_has_the_documented_shape(status: int, kind: str) -> None:
    assert json.loads(FORMAT.error(status, "No.")) == {
        "error": {"message": "No.", "type": kind, "param": None, "code": None}
    }


def ask(body: bytes) -> dict[str, bytes] | None:
    parts = members(body)
    assert parts is not None
    asking = FORMAT.ask_for_usage(parts)
    return None if asking is None else {name: bytes(part) for name, part in asking.items()}


@pytest.mark.parametrize(
    ("body", "options"),
    [
        (b'{ "b":1.0,"a" : "\\u0041" }', b'{"include_usage":true}'),
        (b'{ "b":1.0,"a" : "\\u0041","stream_options":null }', b'{"include_usage":true}'),
        (
            b'{ "b":1.0,"a" : "\\u0041","stream_options":{"x":1} }',
            b'{"x":1,"include_usage":true}',
        ),
    ],
)
def test_usage_is_asked_for_and_all_else_stays_as_it_is(body: bytes, options: bytes) -> None:
    assert ask(body) == {"b": b"1.0", "a": b'"\\u0041"', "stream_options": options}


@pytest.mark.parametrize("decision", [b"true", b"false", b"null"])
def test_include_usage_set_by_the_client_is_unchanged(decision: bytes) -> None:
    assert ask(b'{"stream_options":{"include_usage":%b}}' % decision) is None


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b'{"choices":[],"usage":{"prompt_tokens":1}}', True),
        (b'{"choices":[],"usage":null}', False),
        (b'{"choices":null,"usage":{"prompt_tokens":1}}', True),
        (b'{"usage":{"prompt_tokens":1}}', True),
        (b'{"choices":[{"index":0}],"usage":{"prompt_tokens":1}}', False),
        (b'{"choices":[],"usage":{"prompt_tokens":1},"error":{"message":"x"}}', False),
        (b'{"choices":[],"usage":{"prompt_tokens":1},"x_groq":{"error":"x"}}', False),
        (b'{"choices":[],"usage":{"prompt_tokens":1},"x_groq":{"id":"x"}}', True),
        (b'{"choices":[]}', False),
        (b'["usage"]', False),
        (b'{"usage"', False),
        (b"[DONE]", False),
        (b"", False),
        (None, False),
    ],
)
def test_only_a_chunk_with_usage_and_no_choices_is_usage_only(
    data: bytes | None, expected: bool
) -> None:
    assert FORMAT.is_usage_only(Event(b"", data, b"")) is expected


@pytest.mark.parametrize(
    "pieces",
    [
        [
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "Let "}]}]},
            {"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "me."}]}]},
            {"content": [{"type": "text", "text": "91."}]},
        ],
        [{"content": [{"type": "thinking", "thinking": "Let me."}, {"type": "text", "text": "x"}]}],
        [{"content": [{"type": "reasoning", "text": "Let "}]}, {"reasoning_content": "me."}],
        [
            {"reasoning_details": [{"type": "reasoning.text", "text": "Let "}]},
            {"reasoning_details": [{"type": "reasoning.summary", "summary": "me."}]},
            {"reasoning_details": [{"type": "reasoning.encrypted", "data": "x"}]},
        ],
        [{"reasoning": "Let me.", "reasoning_details": [{"text": "Let me."}]}],
    ],
    ids=["Mistral", "a text", "mixed", "details", "twice"],
)
def test_thinking_parts_of_a_content_are_thoughts(pieces: list[Any]) -> None:
    facts = read_chunks(*(choice(**piece) for piece in pieces))
    assert facts.thoughts == (Thought(content="Let me.", source="thinking"),)


def test_thinking_parts_of_a_whole_message_are_thoughts() -> None:
    content = [
        {"type": "thinking", "thinking": [{"type": "text", "text": "Let me."}]},
        {"type": "text", "text": "91."},
    ]
    body = {"choices": [{"message": {"content": content}}]}
    facts = FORMAT.read_whole(json.dumps(body).encode())
    assert facts.thoughts == (Thought(content="Let me.", source="thinking"),)
