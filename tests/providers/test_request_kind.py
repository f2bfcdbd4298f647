"""The purpose of a request, from the client's own headers or body."""

import json

import pytest

from aibridge_addon.facts import RequestFacts
from aibridge_addon.providers.request_kind import Purpose, purpose_of


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        ({"x-claude-code-request-class": "main"}, "turn"),
        ({"x-claude-code-request-class": "auxiliary"}, "side"),
        ({"x-claude-code-request-class": "compaction"}, "compaction"),
        ({"x-claude-code-request-class": "main", "x-claude-code-compaction": "auto"}, "compaction"),
        ({"x-claude-code-request-class": "subagent"}, "subagent"),
        ({"x-claude-code-request-class": "of-the-future"}, "turn"),
        ({"x-claude-code-agent-id": "a-1"}, "subagent"),
        ({}, "turn"),
    ],
)
def test_claude_code_declares_the_kind_in_headers(headers: dict[str, str], kind: str) -> None:
    assert purpose_of(headers, RequestFacts()).kind == kind


def test_claude_code_names_prompt_and_agent_in_headers() -> None:
    headers = {
        "x-claude-code-request-class": "subagent",
        "x-claude-code-prompt-id": " p-1 ",
        "x-claude-code-agent-id": "a-1",
    }
    assert purpose_of(headers, RequestFacts()) == Purpose(
        kind="subagent", prompt_id="p-1", agent_id="a-1"
    )


CODEX = [
    ({"request_kind": "turn", "thread_source": "user", "turn_id": "t"}, "turn", "t"),
    ({"request_kind": "turn", "turn_id": "t", "root_turn_id": "r"}, "turn", "r"),
    ({"request_kind": "turn", "thread_source": "thread_title", "turn_id": "t"}, "title", "t"),
    ({"request_kind": "prewarm", "turn_id": ""}, "warmup", None),
    ({"request_kind": "compaction", "turn_id": "t"}, "compaction", "t"),
    ({"request_kind": "of-the-future", "turn_id": "t"}, "turn", "t"),
    ({"request_kind": 7, "turn_id": ["t"]}, "turn", None),
]


@pytest.mark.parametrize(("metadata", "kind", "prompt_id"), CODEX)
def test_codex_declares_the_kind_in_a_header(
    metadata: dict[str, str], kind: str, prompt_id: str | None
) -> None:
    purpose = purpose_of({"x-codex-turn-metadata": json.dumps(metadata)}, RequestFacts())
    assert (purpose.kind, purpose.prompt_id) == (kind, prompt_id)


def test_codex_metadata_of_a_websocket_message_wins_over_its_handshake() -> None:
    handshake = {"x-codex-turn-metadata": json.dumps({"request_kind": "prewarm", "turn_id": ""})}
    message = RequestFacts(
        client_metadata={
            "x-codex-turn-metadata": json.dumps({"request_kind": "turn", "turn_id": "t"})
        }
    )
    assert purpose_of(handshake, message) == Purpose(kind="turn", prompt_id="t")


@pytest.mark.parametrize("value", ["", "no JSON", "{", "[]", "null", '{"turn_id": "\\ud800"}'])
def test_codex_metadata_of_another_shape_is_a_turn(value: str) -> None:
    assert purpose_of({"x-codex-turn-metadata": value}, RequestFacts()).kind == "turn"
