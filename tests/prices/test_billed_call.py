"""The model call that is billed for a usage."""

from store.doubles import started, tokens

from aibridge_addon.prices.billed_call import billed_call


def test_served_model_is_billed() -> None:
    assert billed_call(tokens(started(model="asked"), model="served")).model == "served"


def test_requested_model_is_billed_if_the_response_names_none() -> None:
    assert billed_call(tokens(started(model="asked"), model=None)).model == "asked"


def test_call_that_the_provider_made_is_not_billed_as_the_requested_model() -> None:
    usage = tokens(started(model="asked"), model=None, call="advisor")
    assert billed_call(usage).model is None


def test_prompt_includes_what_was_read_from_and_written_to_caches() -> None:
    assert billed_call(tokens(started())).prompt_tokens == 10 + 30 + 40
