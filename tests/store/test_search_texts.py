"""Texts of content for the search, in every wire format."""

import json
from typing import Any

import pytest
from report.test_timeline import FORMATS as BODIES
from store.doubles import started

from aibridge_addon.facts import Interception
from aibridge_addon.formats import FORMATS
from aibridge_addon.store.search_texts import MAX_CHARACTERS, search_texts

each_format = pytest.mark.parametrize("api", BODIES)


def found(
    api: str, kind: str, content: Any, fact: Interception | None = None
) -> list[tuple[object, object, object]]:
    view = FORMATS[api].view
    assert view
    body = json.dumps(content).encode()
    made = search_texts(fact or started(id="r-1"), view, 0, kind, body)
    return [(s.values["kind"], s.values["text"], s.values["source"]) for s in made]


@each_format
def test_answer_is_found_without_thoughts_and_calls(api: str) -> None:
    assert found(api, "response", BODIES[api][1]) == [
        ("answer", "I read it.", "r-1/0/answer"),
    ]


@each_format
def test_results_are_found_and_other_messages_are_not(api: str) -> None:
    request, _, member, result = BODIES[api]
    ((kind, text, _),) = found(api, "message", result)
    assert (kind, text) == ("result", "lines of /x")
    assert found(api, "message", request[member][-1]) == []
    assert found(api, "parameters", request) == []


def test_result_that_is_sent_again_is_the_same_text() -> None:
    result = BODIES["anthropic_messages"][3]
    (block,) = result["content"]
    marked = result | {"content": [block | {"cache_control": {"type": "ephemeral"}}]}
    one, two = started(), started()
    first = found("anthropic_messages", "message", result, one)
    assert found("anthropic_messages", "message", marked, two) == first
    other = started(initiator_id="bob")
    assert found("anthropic_messages", "message", result, other) != first


def test_long_text_is_cut() -> None:
    long = {"role": "tool", "tool_call_id": "t", "content": "x" * 2 * MAX_CHARACTERS}
    ((_, text, _),) = found("openai_chat", "message", long)
    assert text == "x" * MAX_CHARACTERS
