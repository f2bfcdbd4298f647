"""Comparison of a request with the one before it."""

from dataclasses import replace

import pytest

from aibridge_addon.formats.content import Conversation, Message, Part, ToolDefinition
from aibridge_addon.report.diff import MAX_COMPARED, ConversationDiff, diff


def said(role: str, text: str) -> Message:
    return Message(role=role, parts=(Part(kind="text", text=text),))


def system(*texts: str) -> tuple[Part, ...]:
    return tuple(Part(kind="text", text=text) for text in texts)


FIRST = Conversation(
    model="opus",
    system=system("Be brief.\nBe kind.\nBe right."),
    messages=(said("user", "Hi"),),
    tools=(ToolDefinition(name="Read", description="Reads.", schema="{}"),),
    parameters={"max_tokens": 10, "stream": True},
)


def texts(found: ConversationDiff) -> list[tuple[str, str]]:
    return [(change.kind, change.message.parts[0].text) for change in found.messages]


def test_same_request_has_no_changes() -> None:
    found = diff(FIRST, replace(FIRST))
    assert found.is_empty
    assert found.kept == 1


def test_new_messages_of_a_continued_conversation_are_added() -> None:
    answered = (*FIRST.messages, said("assistant", "Hello"), said("user", "Bye"))
    found = diff(FIRST, replace(FIRST, messages=answered))
    assert texts(found) == [("added", "Hello"), ("added", "Bye")]
    assert (found.kept, found.system, found.tools, found.parameters) == (1, (), (), ())


def test_edited_message_is_removed_and_added_and_its_neighbours_are_kept() -> None:
    names = ["a", "b", "c", "d"]
    before = replace(FIRST, messages=tuple(said("user", name) for name in names))
    after = replace(FIRST, messages=tuple(said("user", name) for name in ("a", "B", "c", "d", "e")))
    found = diff(before, after)
    assert texts(found) == [("removed", "b"), ("added", "B"), ("added", "e")]
    assert found.kept == 3


def test_compacted_conversation_keeps_nothing() -> None:
    before = replace(FIRST, messages=tuple(said("user", str(number)) for number in range(5)))
    found = diff(before, replace(FIRST, messages=(said("user", "summary"),)))
    assert len(found.of_kind("removed")) == 5
    assert (found.kept, len(found.of_kind("added"))) == (0, 1)


@pytest.mark.parametrize("name", ["previous_response_id", "conversation"])
def test_request_that_continues_a_conversation_of_the_provider_has_only_new_messages(
    name: str,
) -> None:
    current = replace(FIRST, messages=(said("user", "Next"),))
    current = replace(current, parameters={**FIRST.parameters, name: "resp_1"})
    found = diff(FIRST, current)
    assert found.continues
    assert texts(found) == [("added", "Next")]
    assert found.parameters == ()


def test_changed_lines_of_the_system_prompt_are_found_with_their_neighbours() -> None:
    lines = [f"line {number}" for number in range(20)]
    before = replace(FIRST, system=system("\n".join(lines)))
    lines[10] = "another"
    found = diff(before, replace(before, system=system("\n".join(lines))))
    assert [(line.kind, line.text) for line in found.system] == [
        ("skipped", "8 unchanged lines"),
        ("same", "line 8"),
        ("same", "line 9"),
        ("removed", "line 10"),
        ("added", "another"),
        ("same", "line 11"),
        ("same", "line 12"),
        ("skipped", "7 unchanged lines"),
    ]


def test_billing_block_of_claude_code_is_no_change_of_the_system_prompt() -> None:
    one, other = (
        replace(FIRST, system=system(f"x-anthropic-billing-header: cch={hash_};", "Be brief."))
        for hash_ in ("aaa", "bbb")
    )
    assert diff(one, other).is_empty


def test_changed_tools_parameters_and_model_are_named() -> None:
    tools = (ToolDefinition(name="Write"), ToolDefinition(name="Read", schema='{"type":"object"}'))
    after = replace(FIRST, model="haiku", tools=tools, parameters={"stream": True, "top_k": 1})
    found = diff(FIRST, after)
    assert {(c.name, c.before, c.after) for c in found.parameters} == {
        ("model", '"opus"', '"haiku"'),
        ("max_tokens", "10", None),
        ("top_k", None, "1"),
    }
    assert [(c.name, c.before is None) for c in found.tools] == [("Read", False), ("Write", True)]


def test_comparison_of_thousands_of_equal_messages_is_bounded() -> None:
    number = MAX_COMPARED * 20
    before = replace(FIRST, messages=(said("user", "x"), *[said("user", "y")] * number))
    after = replace(
        FIRST, messages=(said("user", "z"), *[said("user", "y")] * number, said("a", ""))
    )
    found = diff(before, after)
    assert len(found.of_kind("added")) == number + 2
