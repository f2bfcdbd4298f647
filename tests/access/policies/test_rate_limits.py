"""Rate and concurrency limits."""

import dataclasses
import json
from typing import Any

import pytest
from effort import examples
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, rule

from aibridge_addon.access.limits.counters import LimitCounters
from aibridge_addon.access.limits.rules import Bound, Limit
from aibridge_addon.access.policies import Asked, RateLimits, Refusal, admit_or_refuse
from aibridge_addon.access.selection import Selection
from aibridge_addon.access.sender import Admission, Sender
from aibridge_addon.facts import (
    BackgroundResponse,
    Interception,
    InterceptionEnded,
    Status,
    TokenUsage,
    new_id,
    now,
)
from aibridge_addon.providers.identity import Actor

from .test_browser_origin import ASKED


class Clock:
    """A clock that tests move."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


def interception(**values: Any) -> Interception:
    given: dict[str, Any] = {
        "id": new_id(),
        "initiator_id": "alice",
        "metadata": {},
        "provider": "anthropic",
        "provider_name": "anthropic",
        "api": "anthropic_messages",
        "route": "/v1/messages",
        "method": "POST",
        "model": "claude-opus-5",
        "client": "claude_code",
        "user_agent": None,
        "client_session_id": None,
        "request_kind": "turn",
        "prompt_id": None,
        "agent_id": None,
        "correlating_tool_call_id": None,
        "credential_kind": "centralized",
        "credential_hint": None,
        "streaming": True,
        "started_at": now(),
    }
    return Interception(**given | values)


def asked_by(actor: str, *, team: str = "", body: bytes = b"{}", **values: Any) -> Asked:
    sender = Sender(
        actor=Actor(id=actor, metadata={"team": team} if team else {}),
        admission=Admission(headers={}),
    )
    return dataclasses.replace(
        ASKED,
        sender=sender,
        model="claude-opus-5",
        content=lambda: body,
        is_recorded=True,
        interception=interception(**values),
    )


def ended(asked: Asked, *, status: Status = Status.COMPLETED, known: bool = True) -> Any:
    assert asked.interception
    return InterceptionEnded(
        interception=asked.interception,
        provider_response_id=None,
        metadata={},
        ended_at=now(),
        status=status,
        http_status=200,
        error_type=None,
        error_message=None,
        partial=False,
        prompted=False,
        usage_reported=known,
        in_background=False,
        unreadable=0,
        unknown=(),
        seconds=1.0,
        seconds_to_first_byte=None,
    )


def usage(asked: Asked, **tokens: int | None) -> TokenUsage:
    assert asked.interception
    counts: dict[str, Any] = {
        "input_tokens": 0,
        "output_tokens": 0,
        "cache_read_input_tokens": 0,
        "cache_write_input_tokens": 0,
    }
    return TokenUsage(
        id=new_id(),
        interception=asked.interception,
        provider_response_id=None,
        model="claude-opus-5",
        **counts | tokens,
        extra={},
        raw={},
        created_at=now(),
    )


class Limited:
    """The policy with limits, a clock, and the limits that refused."""

    def __init__(self, *limits: Limit) -> None:
        self.clock = Clock()
        self.refused: list[tuple[str, Bound]] = []
        self.policy = RateLimits(
            lambda name, bound: self.refused.append((name, bound)), LimitCounters(self.clock)
        )
        self.policy.limits = limits

    def ask(self, asked: Asked) -> Refusal | None:
        return admit_or_refuse([self.policy], asked)

    def publish(self, fact: Any) -> None:
        self.policy.handlers[type(fact)](fact)


def limit(name: str = "l", *, select: Selection = Selection(), **bounds: Any) -> Limit:  # noqa: B008
    return Limit(name=name, selection=select, **bounds)


def test_requests_above_the_rate_are_refused_with_the_time_until_there_is_room() -> None:
    limited = Limited(limit(requests_per_minute=2))
    assert limited.ask(asked_by("alice")) is None
    assert limited.ask(asked_by("alice")) is None
    refusal = limited.ask(asked_by("alice"))
    assert refusal is not None
    assert (refusal.status, refusal.reason) == (429, "rate_limit_exceeded")
    assert refusal.headers["retry-after"] == "30"
    assert "'l' allows 2 requests per minute for actor alice" in refusal.message
    assert limited.refused == [("l", "requests")]
    limited.clock.now = 30
    assert limited.ask(asked_by("alice")) is None


@pytest.mark.parametrize(
    ("per", "other_has_room"),
    [("actor", True), ("team", False), ("token", False), ("instance", False), ("total", False)],
)
def test_each_scope_of_a_limit_is_counted_alone(per: Any, other_has_room: bool) -> None:
    limited = Limited(limit(per=per, requests_per_minute=1))
    assert limited.ask(asked_by("alice", team="ads")) is None
    assert limited.ask(asked_by("alice", team="ads")) is not None
    assert (limited.ask(asked_by("bob", team="ads")) is None) == other_has_room


def test_limit_is_only_for_the_requests_that_it_selects() -> None:
    limited = Limited(limit(select=Selection(teams=("ads",)), requests_per_minute=1))
    for _ in range(3):
        assert limited.ask(asked_by("alice", team="search")) is None
        assert limited.ask(asked_by("carol")) is None
    assert limited.ask(asked_by("alice", team="ads")) is None
    assert limited.ask(asked_by("alice", team="ads")) is not None


def test_limit_for_a_model_counts_a_batch_that_names_it() -> None:
    limited = Limited(limit(select=Selection(models=("big",)), requests_per_minute=1))
    body = json.dumps({"requests": [{"params": {"model": name}} for name in ("small", "big")]})
    route = dataclasses.replace(ASKED.route, api="anthropic_batches")
    asked = [asked_by("alice", body=body.encode()) for _ in range(2)]
    batch = [dataclasses.replace(each, route=route, model="small") for each in asked]
    assert limited.ask(batch[0]) is None
    assert limited.ask(asked_by("alice")) is None, "of another model"
    assert limited.ask(batch[1]) is not None


def test_batch_counts_as_one_request_and_leaves_the_tokens_of_a_minute_alone() -> None:
    limited = Limited(
        limit(requests_per_minute=2, input_tokens_per_minute=100, output_tokens_per_minute=2_000)
    )
    body = json.dumps({"requests": [{"params": {"model": "m", "system": "s" * 9_000}}]}).encode()
    route = dataclasses.replace(ASKED.route, api="anthropic_batches")
    batch = dataclasses.replace(asked_by("alice", body=body), route=route)
    assert limited.ask(batch) is None
    assert limited.ask(asked_by("alice", body=b"s" * 290)) is None
    refused = limited.ask(asked_by("alice", body=b""))
    assert refused
    assert "2 requests per minute" in refused.message


def test_limit_for_a_model_counts_requests_that_name_it_beside_another() -> None:
    limited = Limited(limit(select=Selection(models=("big",)), requests_per_minute=1))
    body = b'{"model": "small", "models": ["big"]}'
    asked = [
        dataclasses.replace(asked_by("alice", body=body), model="small"),
        dataclasses.replace(asked_by("alice", body=b'{"model": "small"}'), model="small"),
        dataclasses.replace(asked_by("alice", body=body), model="small"),
    ]
    assert [limited.ask(each) is None for each in asked] == [True, True, False]


def test_refused_request_consumes_nothing_of_any_limit() -> None:
    limited = Limited(
        limit("all", per="total", requests_per_minute=3), limit("slots", open_requests=1)
    )
    assert limited.ask(asked_by("alice")) is None
    for _ in range(10):
        assert limited.ask(asked_by("alice")) is not None
    assert limited.ask(asked_by("bob")) is None
    assert limited.ask(asked_by("carol")) is None


def unread(actor: str = "alice") -> Asked:
    """Return a call whose body nobody can read."""
    return dataclasses.replace(asked_by(actor), interception=None, is_recorded=False, model=None)


def test_call_that_is_not_read_takes_a_request_and_no_slot_for_ever() -> None:
    both = Limited(limit(requests_per_minute=9, open_requests=1))
    assert [both.ask(unread()) for _ in range(2)] == [None, None]
    assert both.ask(asked_by("alice")) is None
    assert both.ask(unread()), "the slot is taken"
    limited = Limited(limit(requests_per_minute=2))
    assert [limited.ask(unread()) is None for _ in range(3)] == [True, True, False]
    limited.policy.cancel(unread())
    assert limited.ask(unread()) is None


def test_request_that_costs_nothing_is_not_counted() -> None:
    limited = Limited(limit(requests_per_minute=1))
    listing = dataclasses.replace(unread(), method="GET")
    assert [limited.ask(listing) for _ in range(3)] == [None] * 3


def test_request_that_a_later_policy_refuses_consumes_nothing() -> None:
    limited = Limited(limit(requests_per_minute=1))

    class No:
        def check(self, asked: Asked) -> Refusal:
            return Refusal(status=400, reason="no", message="no")

    for _ in range(3):
        refusal = admit_or_refuse([limited.policy, No()], asked_by("alice"))
        assert refusal
        assert refusal.reason == "no"
    assert limited.ask(asked_by("alice")) is None


@pytest.mark.parametrize("status", list(Status))
def test_slot_is_free_after_every_kind_of_end(status: Status) -> None:
    limited = Limited(limit(open_requests=1))
    first = asked_by("alice")
    assert limited.ask(first) is None
    refusal = limited.ask(asked_by("alice"))
    assert refusal
    assert refusal.headers["x-should-retry"] == "true"
    limited.publish(ended(first, status=status))
    limited.publish(ended(first, status=status))
    assert limited.ask(asked_by("alice")) is None
    assert limited.ask(asked_by("alice")) is not None


def test_background_response_frees_the_slot_when_its_request_ends() -> None:
    limited = Limited(limit(open_requests=1))
    first = asked_by("alice")
    assert limited.ask(first) is None
    assert first.interception
    limited.publish(
        BackgroundResponse(
            interception=first.interception,
            provider_response_id="r",
            prompted=False,
            token_usage_id=new_id(),
            created_at=now(),
        )
    )
    assert limited.ask(asked_by("alice")) is None


def test_upstream_requests_of_an_admitted_interception_are_neither_counted_nor_refused() -> None:
    limited = Limited(limit(requests_per_minute=1, open_requests=1))
    asked = asked_by("alice")
    for _ in range(5):
        assert limited.ask(asked) is None


def test_tokens_are_estimated_at_first_and_replaced_by_those_of_the_response() -> None:
    limited = Limited(limit(input_tokens_per_minute=10_000))
    body = b"x" * 24_000
    first = asked_by("alice", body=body)
    assert limited.ask(first) is None
    refusal = limited.ask(asked_by("alice", body=body))
    assert refusal
    assert "10,000 input tokens per minute" in refusal.message
    limited.publish(usage(first, input_tokens=500, cache_read_input_tokens=7_500))
    limited.publish(ended(first))
    assert limited.ask(asked_by("alice", body=body)) is None, "cache reads do not count"


def test_tokens_above_the_estimate_are_owed() -> None:
    limited = Limited(limit(output_tokens_per_minute=2_000))
    first = asked_by("alice")
    assert limited.ask(first) is None
    limited.publish(usage(first, output_tokens=4_000))
    limited.publish(ended(first))
    refusal = limited.ask(asked_by("alice"))
    assert refusal
    assert int(refusal.headers["retry-after"]) == 60, "the longest that clients should wait"
    limited.clock.now = 119
    assert limited.ask(asked_by("alice")) is not None, (
        "the debt of 2,000 is paid, and the bucket is not full"
    )
    limited.clock.now = 120
    assert limited.ask(asked_by("alice")) is None


def test_estimate_stays_if_the_tokens_never_become_known() -> None:
    limited = Limited(limit(input_tokens_per_minute=10_000))
    first = asked_by("alice", body=b"x" * 24_000)
    assert limited.ask(first) is None
    limited.publish(ended(first, known=False))
    assert limited.ask(asked_by("alice", body=b"x" * 24_000)) is not None


def test_estimate_stays_if_the_response_does_not_state_these_tokens() -> None:
    limited = Limited(limit(input_tokens_per_minute=10_000))
    first = asked_by("alice", body=b"x" * 24_000)
    assert limited.ask(first) is None
    limited.publish(usage(first, input_tokens=None, output_tokens=5))
    limited.publish(ended(first))
    assert limited.ask(asked_by("alice", body=b"x" * 24_000)) is not None


def test_changed_limit_keeps_its_counters_and_a_removed_limit_refuses_nothing() -> None:
    limited = Limited(limit(requests_per_minute=2))
    for _ in range(2):
        assert limited.ask(asked_by("alice")) is None
    limited.policy.limits = (limit(requests_per_minute=4),)
    assert limited.ask(asked_by("alice")) is not None
    limited.policy.limits = ()
    assert limited.ask(asked_by("alice")) is None


class Slots(RuleBasedStateMachine):
    """Admissions and ends in any order, against sets of open requests."""

    MOST = 3
    requests: Bundle[Asked] = Bundle("requests")

    def __init__(self) -> None:
        super().__init__()
        self.limited = Limited(
            limit("actor", open_requests=self.MOST),
            limit("all", per="total", open_requests=self.MOST + 2),
        )
        self.open: dict[str, set[str]] = {"alice": set(), "bob": set(), "carol": set()}

    @rule(target=requests, actor=st.sampled_from(["alice", "bob", "carol"]))
    def ask(self, actor: str) -> Asked:
        asked = asked_by(actor)
        assert asked.interception
        in_all = sum(map(len, self.open.values()))
        has_room = len(self.open[actor]) < self.MOST and in_all < self.MOST + 2
        assert (self.limited.ask(asked) is None) == has_room
        if has_room:
            self.open[actor].add(asked.interception.id)
        return asked

    @rule(asked=consumes(requests), times=st.integers(1, 2))
    def end(self, asked: Asked, times: int) -> None:
        assert asked.interception
        for _ in range(times):
            self.limited.publish(ended(asked))
        self.open[asked.sender.actor.id].discard(asked.interception.id)

    @invariant()
    def nobody_has_more_than_allowed(self) -> None:
        assert all(len(ids) <= self.MOST for ids in self.open.values())


Slots.TestCase.settings = settings(max_examples=examples(30), stateful_step_count=30, deadline=None)
TestSlots = Slots.TestCase
