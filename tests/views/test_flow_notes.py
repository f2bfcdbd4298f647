"""Comments and marks of flows."""

import gc
from dataclasses import replace
from typing import Any

import pytest
from mitmproxy import http
from mitmproxy.test import tflow

from aibridge_addon.fact_bus import FactBus
from aibridge_addon.facts import (
    Interception,
    InterceptionEnded,
    Price,
    Status,
    TokenUsage,
    UsagePriced,
)
from aibridge_addon.views.flow_notes import FlowNotes, notes_of

INTERCEPTION = Interception(
    id="0192f3c4-0000-7000-8000-00001a2b3c4d",
    initiator_id="alice",
    metadata={},
    provider="anthropic",
    provider_name="anthropic",
    api="anthropic_messages",
    route="/v1/messages",
    method="POST",
    model="claude-sonnet-4-5",
    client="Claude Code",
    user_agent=None,
    client_session_id=None,
    request_kind="turn",
    prompt_id=None,
    agent_id=None,
    correlating_tool_call_id=None,
    credential_kind="byok",
    credential_hint=None,
    streaming=True,
    started_at="2026-11-28T12:00:00.000000+00:00",
)


def usage(number: int = 0, **changes: Any) -> TokenUsage:
    values: dict[str, Any] = {
        "id": f"u{number}",
        "interception": INTERCEPTION,
        "provider_response_id": None,
        "model": "claude-sonnet-4-5",
        "input_tokens": 100,
        "output_tokens": 60,
        "cache_read_input_tokens": 700,
        "cache_write_input_tokens": 100,
        "extra": {},
        "raw": {},
        "created_at": "",
        "upstream": number,
    }
    return TokenUsage(**values | changes)


def ended(status: Status = Status.COMPLETED, **changes: Any) -> InterceptionEnded:
    values: dict[str, Any] = {
        "interception": INTERCEPTION,
        "provider_response_id": None,
        "metadata": {},
        "ended_at": "",
        "status": status,
        "http_status": 200,
        "error_type": None,
        "error_message": None,
        "partial": False,
        "prompted": True,
        "usage_reported": True,
        "in_background": False,
        "unreadable": 0,
        "unknown": (),
        "seconds": 1.0,
        "seconds_to_first_byte": None,
    }
    return InterceptionEnded(**values | changes)


def priced(number: int = 0, nano: int | None = 12_300_000, **changes: Any) -> UsagePriced:
    reason = "no price for this model" if nano is None else None
    source = None if nano is None else "anthropic claude-sonnet-4-5 of 2026-11-01"
    price = Price(cost_nano_usd=nano, price_source=source, unpriced_reason=reason, **changes)
    return UsagePriced(usage=usage(number), price=price)


class Shown:
    """A flow, its notes, and how often mitmproxy was told of a change."""

    def __init__(self) -> None:
        self.updates: list[http.HTTPFlow] = []
        self.notes = FlowNotes(self.updates.append)
        self.bus = FactBus()
        self.bus.subscribe(self.notes.handlers)
        self.flow = tflow.tflow(resp=True)
        self.notes.attach(self.flow, INTERCEPTION)

    def publish(self, *facts: Any) -> str:
        for fact in facts:
            self.bus.publish(fact)
        return self.flow.comment


@pytest.fixture
def shown() -> Shown:
    return Shown()


def test_first_characters_of_a_comment_say_most(shown: Shown) -> None:
    comment = shown.publish(usage(), usage(1), usage(2), ended(), priced(), priced(1), priced(2))
    assert comment.startswith("$0.037 2,700→180 ↻2 alice")
    assert comment.endswith(" · claude-sonnet-4-5 · turn")


def test_comment_is_written_at_the_end_and_again_after_pricing(shown: Shown) -> None:
    assert shown.publish(usage()) == ""
    assert shown.publish(ended()).startswith("900→60 alice")
    assert shown.publish(priced()).startswith("$0.012 900→60 alice")
    assert shown.updates == [shown.flow, shown.flow]


def test_comment_says_when_part_of_the_money_is_unknown(shown: Shown) -> None:
    comment = shown.publish(usage(), usage(1), ended(), priced(), priced(1, None))
    assert comment.startswith("$0.012+ 1,800→120 ↻1 alice")


def test_comment_shows_no_money_where_nothing_is_priced(shown: Shown) -> None:
    assert shown.publish(usage(), ended(), priced(0, None)).startswith("900→60 alice")


def test_list_price_of_a_subscription_stands_in_brackets(shown: Shown) -> None:
    subscribed = replace(INTERCEPTION, credential_kind="subscription")
    shown.notes.attach(shown.flow, subscribed)
    assert shown.publish(usage(), ended(), priced()).startswith("($0.012) 900→60 alice")
    assert "list price, not billed: $0.0123" in notes_of(shown.flow)[1]


def test_unknown_usage_is_a_dash(shown: Shown) -> None:
    assert shown.publish(ended(usage_reported=False)).startswith("— alice")


def test_failure_is_marked_and_named(shown: Shown) -> None:
    failed = ended(
        Status.FAILED, http_status=529, error_type="overloaded_error", usage_reported=False
    )
    assert shown.publish(failed) == "alice · failed overloaded_error · claude-sonnet-4-5 · turn"
    assert shown.flow.marked == ":x:"


def test_comment_is_short_and_printable_whatever_a_provider_sends(shown: Shown) -> None:
    failed = ended(Status.FAILED, error_type="\x1b[2J\u202e" + "x" * 10_000)
    comment = shown.publish(failed)
    assert comment.isprintable()
    assert len(comment) <= 300


def test_refusal_is_marked(shown: Shown) -> None:
    shown.publish(ended(Status.REFUSED, http_status=400, error_type="no_actor"))
    assert shown.flow.marked == ":no_entry:"


def test_completed_request_is_not_marked(shown: Shown) -> None:
    shown.publish(usage(), ended())
    assert shown.flow.marked == ""


def test_mark_of_a_person_stays(shown: Shown) -> None:
    shown.flow.marked = ":star:"
    shown.publish(ended(Status.FAILED))
    assert shown.flow.marked == ":star:"


def test_comment_of_a_person_stays(shown: Shown) -> None:
    shown.publish(usage(), ended())
    shown.flow.comment = "mine"
    assert shown.publish(priced()) == "mine"


def test_flow_of_the_inner_loop_is_marked_and_names_its_interception(shown: Shown) -> None:
    inner = shown.flow.copy()
    shown.notes.attach(inner, INTERCEPTION, 1)
    assert inner.marked == ":repeat:"
    assert inner.comment.startswith("↻1 of 1a2b3c4d alice")
    shown.publish(usage(), usage(1), priced(1))
    assert inner.comment.startswith("$0.012 900→60 ↻1 of 1a2b3c4d alice")
    shown.publish(ended(), priced())
    assert shown.flow.comment.startswith("$0.025 1,800→120 ↻1 alice")
    assert inner.comment.startswith("$0.012 900→60 ↻1 of 1a2b3c4d alice")


def test_requests_of_one_websocket_are_summed_up(shown: Shown) -> None:
    shown.publish(usage(), ended(), priced())
    shown.flow.websocket = tflow.twebsocketflow().websocket
    second = replace(INTERCEPTION, id="0192f3c4-0000-7000-8000-00005e6f7a8b", model="gpt-5.2")
    shown.notes.attach(shown.flow, second)
    again = usage(interception=second, id="w1")
    price = Price(cost_nano_usd=1_000_000_000)
    comment = shown.publish(
        again, ended(interception=second), UsagePriced(usage=again, price=price)
    )
    assert comment == "$1.01 1,800→120 alice · gpt-5.2 · turn"


def test_flow_that_is_sent_again_has_the_cost_of_its_last_request(shown: Shown) -> None:
    shown.publish(usage(), ended(), priced())
    second = replace(INTERCEPTION, id="0192f3c4-0000-7000-8000-00005e6f7a8b")
    shown.notes.attach(shown.flow, second)
    again = usage(interception=second, id="w1", output_tokens=7)
    assert shown.publish(again, ended(interception=second)).startswith("900→7 alice")


def test_notes_hold_tokens_and_what_was_priced(shown: Shown) -> None:
    shown.publish(usage(), ended(), priced(provider_cost_nano_usd=13_000_000))
    assert notes_of(shown.flow) == [
        "tokens: 900 in (700 from cache, 100 written to cache) → 60 out",
        "cost: $0.0123 (anthropic claude-sonnet-4-5 of 2026-11-01) · the provider states $0.0130",
    ]


def test_notes_name_the_reason_of_an_unknown_price(shown: Shown) -> None:
    shown.publish(usage(), ended(), priced(0, None))
    assert notes_of(shown.flow)[1] == "cost: unknown (no price for this model)"


def test_nothing_is_remembered_of_a_flow_that_is_gone(shown: Shown) -> None:
    shown.publish(usage(), ended())
    shown.updates.clear()
    del shown.flow
    gc.collect()
    shown.bus.publish(priced())
    assert shown.updates == []
