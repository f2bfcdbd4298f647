import pytest
from helpers import thorough
from hypothesis import given
from hypothesis import strategies as st

from aibridge_addon.formats.prompts import CLIENT_WRAPPERS, spoken


@pytest.mark.parametrize(
    ("parts", "said"),
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
        (["say <system-reminder>a</system-reminder>hello"], "say hello"),
        (["<system-reminder>a</system-reminder>b<system-reminder>c</system-reminder>"], "b"),
        (["<command-name>/x</command-name>\n<command-args>y</command-args>"], None),
        (["<permissions instructions>\na\n</permissions instructions>\nhello"], "hello"),
        (['<attached_files count="1"\n>a</attached_files>hello'], "hello"),
        (["# AGENTS.md instructions for /srv\n\n<INSTRUCTIONS>\na\n</INSTRUCTIONS>"], None),
        (["# AGENTS.md instructions for /srv\n<INSTRUCTIONS>a</INSTRUCTIONS>\nhello"], "hello"),
    ],
)
def test_what_the_client_program_put_there_is_not_said(parts: list[str], said: str | None) -> None:
    assert spoken(parts) == said


@pytest.mark.parametrize("tag", CLIENT_WRAPPERS)
def test_every_wrapper_is_taken_off(tag: str) -> None:
    assert spoken([f"before\n<{tag}>\n  inside\n</{tag}>\nafter"]) == "before\n\nafter"


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
    ],
)
def test_what_only_looks_like_a_wrapper_is_said(text: str) -> None:
    assert spoken([text]) == text


def test_a_wrapper_after_one_that_only_looks_like_it_is_taken_off() -> None:
    text = "<system-reminders/> a <system-reminder>b</system-reminder>"
    assert spoken([text]) == "<system-reminders/> a"


@pytest.mark.timeout(20)
@pytest.mark.parametrize(
    "opening", ["<system-reminder>", "<system-reminder", "<system-reminder>x</system-reminder>"]
)
def test_many_tags_take_linear_time(opening: str) -> None:
    spoken([opening * 100_000 + "</system-reminder>"])


@thorough
@given(st.lists(st.text(st.characters(codec="utf-8", exclude_characters="<#"))))
def test_a_text_without_tags_is_said_as_it_stands(parts: list[str]) -> None:
    said = "\n".join(part.strip() for part in parts if part.strip())
    assert spoken(parts) == (said or None)


@thorough
@given(st.lists(st.sampled_from(["<", "</", "system-reminder", ">", " ", "a", "\n"])))
def test_any_shape_of_tags_can_be_read(tokens: list[str]) -> None:
    said = spoken(["".join(tokens)])
    assert said is None or said == said.strip() != ""
