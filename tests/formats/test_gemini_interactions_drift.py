"""An alarm: Google's SDK knows an event, a step or a count of interactions that we do not."""

import typing
from typing import Any

import pytest
from google.genai._gaos.types import interactions
from google.genai._gaos.types.interactions import interactionsseevent, step, stepdeltadata

from aibridge_addon.formats.gemini_interactions.reader import InteractionReader
from aibridge_addon.formats.gemini_interactions.usage import read_usage

OF_CONTENT = {"text", "image", "audio", "video", "document"}
"""Kinds of content, whose deltas continue a step with content."""
OF_THEIR_OWN = {"arguments_delta", "thought_summary", "thought_signature", "text_annotation_delta"}


def kinds(module: Any, table: str) -> set[str]:
    return set(getattr(module, table))


def test_every_event_has_a_handler() -> None:
    known = kinds(interactionsseevent, "_INTERACTION_SSE_EVENT_VARIANTS")
    assert known == set(InteractionReader().handlers)


def test_every_step_is_a_call_a_result_or_known_by_name() -> None:
    others = {
        kind for kind in kinds(step, "_STEP_VARIANTS") if not kind.endswith(("_call", "_result"))
    }
    assert others == {"model_output", "user_input", "thought"}


def test_every_delta_continues_a_step_or_its_content() -> None:
    steps = kinds(step, "_STEP_VARIANTS")
    deltas = kinds(stepdeltadata, "_STEP_DELTA_DATA_VARIANTS")
    assert deltas - steps == OF_CONTENT | OF_THEIR_OWN


@pytest.mark.parametrize("name", sorted(interactions.Usage.model_fields))
def test_every_member_of_a_usage_object_has_a_place_in_the_record(name: str) -> None:
    fields = sorted(interactions.Usage.model_fields)
    usage = {field: value_of(field, 1000 + 7**number) for number, field in enumerate(fields)}
    whole = read_usage(usage, None)
    less = read_usage({field: usage[field] for field in fields if field != name}, None)
    assert whole
    assert less is None or facts(less) != facts(whole)


def value_of(field: str, number: int) -> Any:
    if field == "grounding_tool_count":
        return [{"type": "google_search", "count": number}]
    return [{"modality": "audio", "tokens": number}] if "_by_" in field else number


def facts(usage: Any) -> tuple[Any, ...]:
    return usage.extra, usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens


def test_every_status_is_running_or_ends_an_interaction() -> None:
    stated = typing.get_args(typing.get_args(interactions.InteractionStatusUpdateStatus)[0])
    assert set(stated) == {
        *("in_progress", "queued"),  # it goes on
        *("completed", "requires_action", "incomplete", "budget_exceeded", "idle"),
        *("failed", "cancelled", "requires_continuation"),
    }
