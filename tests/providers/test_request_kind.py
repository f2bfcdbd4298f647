"""The purpose of a request, and what was typed in it, by client."""

import json

import pytest

from aibridge_addon.facts import RequestFacts, RequestKind
from aibridge_addon.providers.request_kind import Purpose, purpose_of

CLAUDE = "Claude Code"
REMINDER = "<system-reminder>\nUse plain words.\n</system-reminder>"
BILLING = "x-anthropic-billing-header: cc_version=2.1.332.8bc; cc_entrypoint=cli;"
TITLE = "<session>\nhello\n</session>\n\nWrite the title in the predominant language."
COMPACTION = "CRITICAL: Respond with TEXT ONLY. Do NOT call any tools.\n\n- Do NOT use Read."
SUMMARY = (
    "Another language model started to solve this problem and produced a summary of its thinking"
    " process. You also have access to the state of the tools …"
)
NAMING = "You are naming a coding session so the user can pick it out of a long list."


def request_of(*parts: str, system: tuple[str, ...] = ()) -> RequestFacts:
    """A request whose only message has these texts."""
    return RequestFacts(user_texts=(parts,), system=system)


def claude_class(name: str, **others: str) -> dict[str, str]:
    return {"x-claude-code-request-class": name, **others}


@pytest.mark.parametrize(
    ("headers", "kind"),
    [
        (claude_class("main"), "turn"),
        (claude_class("auxiliary"), "side"),
        (claude_class("side_reply"), "side"),
        (claude_class("compaction"), "compaction"),
        (claude_class("main", **{"x-claude-code-compaction": "auto"}), "compaction"),
        (claude_class("subagent"), "subagent"),
        (claude_class("workflow"), "subagent"),
        (claude_class("of-the-future"), "turn"),
        ({"x-claude-code-agent-id": "a-1"}, "subagent"),
        ({}, "turn"),
    ],
)
def test_claude_code_declares_the_kind_in_headers(headers: dict[str, str], kind: str) -> None:
    assert purpose_of(CLAUDE, headers, RequestFacts()).kind == kind


def test_claude_code_names_prompt_and_agent_in_headers() -> None:
    ids = {"x-claude-code-prompt-id": " p-1 ", "x-claude-code-agent-id": "a-1"}
    purpose = purpose_of(
        CLAUDE, claude_class("subagent", **ids), request_of("hello from the parent")
    )
    assert purpose == Purpose(kind="subagent", prompt_id="p-1", agent_id="a-1")


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (request_of(TITLE), "title"),
        (request_of("quota"), "side"),
        (request_of("x", system=(NAMING,)), "title"),
    ],
)
def test_auxiliary_request_of_claude_code_is_classified_by_its_text(
    facts: RequestFacts, kind: str
) -> None:
    assert purpose_of(CLAUDE, claude_class("auxiliary"), facts).kind == kind


@pytest.mark.parametrize(
    "text",
    ["Warmup exercises for a class", "<session>a</session>", "<session>a</session> explain this"],
)
def test_text_that_begins_like_one_of_claude_code_is_typed(text: str) -> None:
    purpose = purpose_of(CLAUDE, {}, request_of(REMINDER, text))
    assert (purpose.kind, purpose.typed) == ("turn", (text,))


@pytest.mark.parametrize(
    ("messages", "typed"),
    [
        ((("one",), ("two",), (SUMMARY,), ("three",)), ("three",)),
        ((("one",), (SUMMARY,)), ()),
        (((REMINDER, f"\n{SUMMARY}", "two"), ("three",)), ("two", "three")),
        ((("one",), ("two",)), ("one", "two")),
    ],
)
def test_prompts_before_the_summary_of_a_compaction_were_sent_before(
    messages: tuple[tuple[str, ...], ...], typed: tuple[str, ...]
) -> None:
    assert purpose_of("Codex", {}, RequestFacts(user_texts=messages)).typed == typed


@pytest.mark.parametrize(
    ("facts", "kind"),
    [
        (request_of("quota"), "side"),
        (request_of("quota", system=(BILLING,)), "turn"),
        (request_of("quota?"), "turn"),
    ],
)
def test_quota_probe_of_claude_code_without_headers_has_no_system_prompt(
    facts: RequestFacts, kind: str
) -> None:
    assert purpose_of(CLAUDE, {}, facts).kind == kind


def test_header_of_claude_code_wins_over_a_text_that_a_person_typed() -> None:
    purpose = purpose_of(CLAUDE, claude_class("main"), request_of(COMPACTION))
    assert (purpose.kind, purpose.typed) == ("turn", (COMPACTION,))


@pytest.mark.parametrize(("origin", "typed"), [("human", ("hi",)), ("sdk", ("hi",)), ("", ("hi",))])
def test_turn_that_a_person_or_a_script_began_has_a_prompt(
    origin: str, typed: tuple[str, ...]
) -> None:
    billing = BILLING + (f" cc_turn_origin={origin};" if origin else "")
    facts = request_of(REMINDER, "hi", system=(billing,))
    assert purpose_of(CLAUDE, claude_class("main"), facts).typed == typed


def test_notification_of_a_background_task_has_no_prompt() -> None:
    facts = request_of(
        "A task has ended.", system=(f"{BILLING} cc_turn_origin=task_notification;",)
    )
    purpose = purpose_of(CLAUDE, claude_class("main"), facts)
    assert (purpose.kind, purpose.typed) == ("turn", ())


CODEX = [
    ({"request_kind": "turn", "thread_source": "user", "turn_id": "t"}, "turn", "t"),
    ({"request_kind": "turn", "turn_id": "t", "root_turn_id": "r"}, "turn", "r"),
    ({"request_kind": "turn", "thread_source": "thread_title", "turn_id": "t"}, "title", "t"),
    ({"request_kind": "turn", "thread_source": "memory_consolidation"}, "memory", None),
    ({"request_kind": "turn", "thread_source": "subagent", "turn_id": "t"}, "subagent", "t"),
    ({"request_kind": "turn", "subagent_kind": "review", "turn_id": "t"}, "subagent", "t"),
    ({"request_kind": "prewarm", "turn_id": ""}, "warmup", None),
    ({"request_kind": "prewarm", "thread_source": "thread_title"}, "warmup", None),
    ({"request_kind": "compaction", "turn_id": "t"}, "compaction", "t"),
    ({"request_kind": "of-the-future", "turn_id": "t"}, "turn", "t"),
    ({"request_kind": 7, "turn_id": ["t"]}, "turn", None),
]


@pytest.mark.parametrize(("metadata", "kind", "prompt_id"), CODEX)
def test_codex_declares_the_kind_in_a_header(
    metadata: dict[str, str], kind: str, prompt_id: str | None
) -> None:
    headers = {"x-codex-turn-metadata": json.dumps(metadata)}
    purpose = purpose_of("Codex", headers, RequestFacts())
    assert (purpose.kind, purpose.prompt_id) == (kind, prompt_id)


def test_codex_metadata_of_a_websocket_message_wins_over_its_handshake() -> None:
    handshake = {"x-codex-turn-metadata": json.dumps({"request_kind": "prewarm", "turn_id": ""})}
    metadata = json.dumps({"request_kind": "turn", "turn_id": "t"})
    message = RequestFacts(client_metadata={"x-codex-turn-metadata": metadata})
    assert purpose_of("Codex", handshake, message) == Purpose(kind="turn", prompt_id="t")


@pytest.mark.parametrize(
    ("subagent", "kind"),
    [
        ("collab_spawn", "subagent"),
        ("review", "subagent"),
        ("compact", "compaction"),
        ("memory_consolidation", "memory"),
    ],
)
def test_codex_names_a_sub_agent_in_a_header_or_over_websocket(subagent: str, kind: str) -> None:
    metadata = json.dumps({"request_kind": "turn", "thread_id": "child"})
    described = {"x-codex-turn-metadata": metadata}
    named = {"x-openai-subagent": subagent}
    for headers, facts in (
        (described | named, RequestFacts()),
        (described, RequestFacts(client_metadata=named)),
    ):
        purpose = purpose_of("Codex", headers, facts)
        assert purpose.kind == kind
        assert purpose.agent_id == ("child" if kind == "subagent" else None)


@pytest.mark.parametrize("value", ["", "no JSON", "{", "[]", "null", '{"turn_id": "\\ud800"}'])
def test_codex_metadata_of_another_shape_is_a_turn(value: str) -> None:
    assert purpose_of("Codex", {"x-codex-turn-metadata": value}, RequestFacts()).kind == "turn"


@pytest.mark.parametrize(
    ("interaction", "kind"),
    [
        ("conversation-user", "turn"),
        ("conversation-agent", "turn"),
        ("conversation-subagent", "subagent"),
        ("conversation-compaction", "compaction"),
        ("of-the-future", "turn"),
    ],
)
def test_copilot_declares_the_kind_in_a_header(interaction: str, kind: str) -> None:
    headers = {"x-interaction-type": interaction}
    assert purpose_of("GitHub Copilot (CLI)", headers, RequestFacts()).kind == kind


BY_TEXT = [
    (CLAUDE, request_of(TITLE), "title"),
    (CLAUDE, request_of("hello", system=(BILLING, "You are Claude Code.", NAMING)), "title"),
    (CLAUDE, request_of(COMPACTION), "compaction"),
    (CLAUDE, request_of(REMINDER, COMPACTION), "compaction"),
    (CLAUDE, request_of("Warmup"), "warmup"),
    (CLAUDE, request_of("hello", system=(f"{BILLING} cc_is_subagent=true;",)), "subagent"),
    (
        "Codex",
        request_of("You are performing a CONTEXT CHECKPOINT COMPACTION. Create …"),
        "compaction",
    ),
    ("OpenCode", request_of("Generate a title for this conversation:\n", '"hello"'), "title"),
    (
        "OpenCode",
        RequestFacts(user_texts=(("Generate a title for this conversation:\n",), ("hello",))),
        "title",
    ),
    ("Qwen Code", request_of("Managed memory directory: `/home/dev`\n\nScan …"), "memory"),
    ("Unknown", request_of("hello"), "turn"),
    ("Unknown", request_of(TITLE), "turn"),
    ("Unknown", RequestFacts(request_kind="warmup"), "warmup"),
]


@pytest.mark.parametrize(("client", "facts", "kind"), BY_TEXT)
def test_request_kind_is_decided_by_a_text_prefix_without_headers(
    client: str, facts: RequestFacts, kind: RequestKind
) -> None:
    purpose = purpose_of(client, {}, facts)
    assert purpose.kind == kind
    assert bool(purpose.typed) == (kind == "turn")


def test_every_typed_message_is_returned() -> None:
    facts = RequestFacts(
        user_texts=(
            (REMINDER, "the first"),
            ("[Request interrupted by user]",),
            ("<ide_selection>a</ide_selection>", "the second"),
        )
    )
    assert purpose_of(CLAUDE, {}, facts).typed == ("the first", "the second")


@pytest.mark.parametrize("client", ["Cline", "Roo Code", "Kilo Code"])
def test_text_that_an_editor_puts_into_a_tag_is_typed(client: str) -> None:
    assert purpose_of(client, {}, request_of("<task>\nhello\n</task>")).typed == ("hello",)
