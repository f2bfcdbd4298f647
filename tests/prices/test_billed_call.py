"""The model call that is billed for a usage."""

import pytest
from store.doubles import started, tokens

from aibridge_addon.formats import openai_usage
from aibridge_addon.formats.anthropic_messages import usage as messages_usage
from aibridge_addon.formats.openai_responses import usage as responses_usage
from aibridge_addon.prices import billed_call as checks
from aibridge_addon.prices.billed_call import UnpriceableError, billed_call


def test_served_model_is_billed() -> None:
    assert billed_call(tokens(started(model="asked"), model="served")).model == "served"


def test_requested_model_is_billed_if_the_response_names_none() -> None:
    assert billed_call(tokens(started(model="asked"), model=None)).model == "asked"


def test_call_that_the_provider_made_is_not_billed_as_the_requested_model() -> None:
    usage = tokens(started(model="asked"), model=None, call="advisor")
    assert billed_call(usage).model is None


def test_prompt_includes_what_was_read_from_and_written_to_caches() -> None:
    assert billed_call(tokens(started())).prompt_tokens == 10 + 30 + 40


@pytest.mark.parametrize(
    ("changes", "lacking"),
    [
        ({"input_tokens": None}, "input tokens"),
        ({"output_tokens": None}, "output tokens"),
        ({"cache_read_input_tokens": None}, "cache reads"),
        ({"input_tokens": None, "cache_write_input_tokens": None}, "input tokens and cache writes"),
    ],
)
def test_call_with_an_unknown_count_has_no_price(changes: dict[str, None], lacking: str) -> None:
    call = billed_call(tokens(started(), **changes))
    with pytest.raises(UnpriceableError, match=f"does not state its {lacking}$"):
        checks.check_usage(call)


def test_call_in_another_unit_lacks_no_tokens() -> None:
    call = billed_call(tokens(started(), input_tokens=None, output_tokens=None))
    assert call.unknown == ()


def test_every_count_that_a_wire_format_reads_has_a_decision() -> None:
    """A new count is priced, is known to be free or included elsewhere, or makes calls unpriced."""
    places = (*messages_usage._COUNTS, *responses_usage._TOOL_COUNTS)
    for of_names in openai_usage._PLACES.values():
        places += tuple(of_names)
    names = {name for name, _ in places} | set(responses_usage._BILLED_CALLS.values())
    known = checks._PRICED | checks._WITHOUT_PRICE_OF_THEIR_OWN

    without_price = {name for name in names - known if not name.startswith("image_gen_")}
    assert without_price == {
        "cache_write_12h_input_tokens",
        "citation_tokens",
        "code_interpreter_requests",
        "num_sources_used",
        "prompt_audio_seconds",
    }
