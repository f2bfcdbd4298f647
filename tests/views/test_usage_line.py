"""Tests of the line that shows the usage of one model call."""

from aibridge_addon.facts import Usage
from aibridge_addon.views.conversation_text import usage_line


def test_usage_in_another_unit_is_shown_with_its_unit_and_without_tokens() -> None:
    usage = Usage(input_tokens=None, output_tokens=None, extra={"input_audio_seconds": 9.5})
    assert usage_line(usage) == "usage: input_audio_seconds: 9.5"


def test_unknown_count_of_a_usage_is_not_shown_as_zero() -> None:
    given = Usage(input_tokens=5, output_tokens=None)
    assert usage_line(given) == "tokens: 5 in → unknown out"
    made = Usage(input_tokens=None, output_tokens=2, cache_read_input_tokens=3)
    assert usage_line(made) == "tokens: unknown in (3 from cache) → 2 out"


def test_usage_in_tokens_is_shown_with_its_caches() -> None:
    usage = Usage(input_tokens=5, output_tokens=2, cache_read_input_tokens=3)
    assert usage_line(usage) == "tokens: 8 in (3 from cache) → 2 out"
