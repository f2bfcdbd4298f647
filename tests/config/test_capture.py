"""The option `aibridge_capture`: its words, and what `auto` stands for."""

import pytest

from aibridge_addon.config.capture import (
    CAPTURABLE,
    OF_SHARED_PROXY,
    describe_capture,
    read_capture,
    resolve_capture,
)


def test_all_stands_for_every_word() -> None:
    assert read_capture("all") == read_capture("prompts, all") == set(CAPTURABLE)


def test_auto_beside_other_words_is_refused() -> None:
    with pytest.raises(ValueError, match="auto must be alone"):
        read_capture("auto,answers")


def test_auto_records_everything_only_at_a_private_proxy() -> None:
    auto = read_capture("auto")

    assert resolve_capture(auto, is_private=True) == set(CAPTURABLE)
    assert resolve_capture(auto, is_private=False) == OF_SHARED_PROXY
    assert {"prompts", "tools", "thoughts"} == OF_SHARED_PROXY


@pytest.mark.parametrize("is_private", [True, False])
def test_listed_words_hold_at_every_proxy(is_private: bool) -> None:
    for value in ("", "answers", "system,results"):
        assert resolve_capture(read_capture(value), is_private=is_private) == read_capture(value)


@pytest.mark.parametrize(
    ("value", "is_private", "expected"),
    [
        (
            *("auto", True),
            "everything that is said"
            " (to record less: --set aibridge_capture=prompts,tools,thoughts)",
        ),
        ("auto", False, "prompts, tools, thoughts (to record nothing: --set aibridge_capture=)"),
        ("results,answers", True, "answers, results (to record nothing: --set aibridge_capture=)"),
        ("", True, "token counts only"),
    ],
)
def test_description_says_what_is_recorded_and_how_to_record_less(
    value: str, is_private: bool, expected: str
) -> None:
    assert describe_capture(read_capture(value), is_private=is_private) == expected
