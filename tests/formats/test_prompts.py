import pytest
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats.prompts import CLIENT_WRAPPERS, typed_text
from formats.helpers import thorough


@pytest.mark.parametrize(
    ("parts", "prompt"),
    [
        (["hello"], "hello"),
        (["one", "two"], "one\ntwo"),
        (["  one \n", "\ttwo"], "one\ntwo"),
        (["one\n\n  two"], "one\n\n  two"),
        ([], None),
        ([""], None),
        (["", " \n", "x", ""], "x"),
        (["<system-reminder>a</system-reminder>"], None),
        (["<system-reminder>\na\n</system-reminder>\n", "hello"], "hello"),
        (["hello <system-reminder>a</system-reminder>"], "hello"),
        (
            ["hello<ide_selection>a</ide_selection>\n<current_datetime>b</current_datetime>"],
            "hello",
        ),
        (["<command-name>/x</command-name> <command-args>y</command-args> hello"], "hello"),
        (
            ["<system-reminder>a <system-reminder>b</system-reminder></system-reminder>hello"],
            "hello",
        ),
        (["<system-reminder>a `<system-reminder>`\n</system-reminder>\nhello"], "hello"),
        (["<system-reminder>a</system-reminder>b<system-reminder>c</system-reminder>"], "b"),
        (["<command-name>/x</command-name>\n<command-args>y</command-args>"], None),
        (["<permissions instructions>\na\n</permissions instructions>\nhello"], "hello"),
        (['<attached_files count="1"\n>a</attached_files>hello'], "hello"),
        (["# AGENTS.md instructions for /srv\n\n<INSTRUCTIONS>\na\n</INSTRUCTIONS>"], None),
        (["# AGENTS.md instructions for /srv\n<INSTRUCTIONS>a</INSTRUCTIONS>\nhello"], "hello"),
        (["<current_datetime>2026</current_datetime>\n\nhello"], "hello"),
        (["<ide_opened_file>a.py</ide_opened_file>", "hello"], "hello"),
        (["<ide_selection>a.py</ide_selection>\nhello"], "hello"),
        (["hello\n\n# *SEARCH/REPLACE block* Rules:\n\nEvery block …"], "hello"),
        (["hello\n\n# File editing rules:\n\nReturn edits …"], "hello"),
        (["This session is being continued from a previous conversation …", "hello"], "hello"),
        (["[Request interrupted by user for tool use]", "hello"], "hello"),
        (["<context>a</context><userRequest>\nhello\n</userRequest>"], "hello"),
        (["<user_query>\nhello\n</user_query>"], "hello"),
        (["[SYSTEM NOTIFICATION - NOT USER INPUT]\nA task has ended."], None),
    ],
)
def test_text_of_the_client_program_is_not_typed(parts: list[str], prompt: str | None) -> None:
    assert typed_text(parts) == prompt


QUEUED = "The user sent a new message while you were working:\nhello\n\nand more"


@pytest.mark.parametrize(
    "text",
    [
        QUEUED,
        f"{QUEUED}\n\nThis is how Claude Code surfaces messages the user sends mid-turn …",
        f"<system-reminder>\n{QUEUED}\n\nIMPORTANT: After completing your current task, you MUST"
        " address the user's message above.\n</system-reminder>",
    ],
)
def test_message_queued_while_claude_code_works_is_typed_without_its_explanation(text: str) -> None:
    assert typed_text(["<system-reminder>a</system-reminder>", text]) == "hello\n\nand more"


SURFACED = "\n\nThis is how Claude Code surfaces messages the user sends mid-turn.\n\nGo on."
IMPORTANT = "\n\nIMPORTANT: After completing your current task, you MUST address it."
HEADER = "The user sent a new message while you were working:\n"


@pytest.mark.parametrize(
    "text",
    [
        f"{HEADER}one{SURFACED}\n\n{HEADER}two\n\nmore{SURFACED}",
        f"{HEADER}one{SURFACED}\n{HEADER}two\n\nmore",
        f"<system-reminder>\n{HEADER}one{IMPORTANT}\n</system-reminder>\n"
        f"<system-reminder>\n{HEADER}two\n\nmore{IMPORTANT}\n</system-reminder>",
        f"<system-reminder>\n{HEADER}one\n</system-reminder>\n\n"
        f"<system-reminder>{HEADER}two\n\nmore\n</system-reminder>",
        f"<system-reminder>a</system-reminder>\n<system-reminder>\n{HEADER}one{IMPORTANT}\n"
        "</system-reminder>\n<system-reminder>b</system-reminder>\ntwo\n\nmore",
    ],
)
def test_messages_queued_together_are_typed_without_the_explanations_between(text: str) -> None:
    assert typed_text([text]) == "one\ntwo\n\nmore"


@pytest.mark.parametrize(
    ("text", "typed"),
    [
        (f"Why do you say\n{HEADER}one", f"Why do you say\n{HEADER}one"),
        (f"<system-reminder>\nA file:\n<system-reminder>\n{HEADER}one\n</system-reminder>", None),
    ],
)
def test_quoted_header_of_a_queued_message_does_not_make_one(text: str, typed: str | None) -> None:
    assert typed_text([text]) == typed


def test_tags_of_one_client_are_removed_only_for_that_client() -> None:
    text = "<task>\nhello\n</task>\n<environment_details>a</environment_details>"
    assert typed_text([text], inside=("task",)) == "hello"
    assert typed_text([text]) == "<task>\nhello\n</task>"


@pytest.mark.parametrize("tag", CLIENT_WRAPPERS)
def test_every_client_wrapper_is_removed_from_a_prompt(tag: str) -> None:
    assert typed_text([f"before\n<{tag}>\n  inside\n</{tag}>\nafter"]) == "before\n\nafter"


@pytest.mark.parametrize(
    "text",
    [
        "a < b and b > c",
        "<div>mine</div>",
        "<system-reminders>mine</system-reminders>",
        "<system-reminder-x>mine</system-reminder>",
        "what does <system-reminder> do?",
        "<system-reminder",
        "</system-reminder>",
        "how do I write\n# AGENTS.md instructions for a folder?",
        "why does <system-reminder>a</system-reminder> show up?",
        "`<system-reminder>a</system-reminder>`",
        "<system-reminder> what is this?",
    ],
)
def test_tag_that_resembles_a_wrapper_stays_in_the_prompt(text: str) -> None:
    assert typed_text([text]) == text


def test_reminder_after_a_typed_tag_is_removed_and_the_typed_tag_stays() -> None:
    text = "what is <system-reminder>?\n\n<system-reminder>a</system-reminder>"
    assert typed_text([text]) == "what is <system-reminder>?"


def test_wrapper_after_a_tag_with_a_similar_name_is_removed() -> None:
    text = "<system-reminders/> a <system-reminder>b</system-reminder>"
    assert typed_text([text]) == "<system-reminders/> a"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "opening",
    [
        "<system-reminder>",
        "\n<system-reminder>",
        "<system-reminder",
        "<system-reminder>x</system-reminder>",
        "a<system-reminder>x</system-reminder>",
        "</system-reminder>",
    ],
)
def test_many_tags_take_linear_time(opening: str) -> None:
    typed_text([opening * 100_000 + "</system-reminder>"])


@thorough
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="<#"))))
def test_text_without_tags_is_typed(parts: list[str]) -> None:
    prompt = "\n".join(part.strip() for part in parts if part.strip())
    assert typed_text(parts) == (prompt or None)


@thorough
@given(st.lists(st.sampled_from(["<", "</", "system-reminder", ">", " ", "a", "\n"])))
def test_any_shape_of_tags_can_be_read(tokens: list[str]) -> None:
    prompt = typed_text(["".join(tokens)])
    assert prompt is None or prompt == prompt.strip() != ""
