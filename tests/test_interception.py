"""Tests of interception records: published facts, their order, and the single end."""

import itertools
from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import pytest
from store.doubles import started

from aibridge_addon.background_record import BackgroundRecord
from aibridge_addon.config.capture import CAPTURABLE
from aibridge_addon.facts import (
    BackgroundResponse,
    Interception,
    InterceptionEnded,
    ModelThought,
    ProviderError,
    RateLimitsSeen,
    ResponseBegan,
    ResponseFacts,
    Status,
    Thought,
    TokenUsage,
    TokenUsageSoFar,
    ToolCall,
    ToolUsage,
    Usage,
    UserPrompt,
)
from aibridge_addon.interception import InterceptionRecord

RESPONSE = ResponseFacts(
    response_id="msg_1",
    model="claude-opus-4-5-20251101",
    usage=Usage(
        input_tokens=1,
        output_tokens=2,
        cache_read_input_tokens=3,
        cache_write_input_tokens=4,
        extra={"web_search_requests": 1},
        raw={"input_tokens": 1},
    ),
    tool_calls=(
        ToolCall(tool="Read", call_id="t-1", input={"path": "/x"}),
        ToolCall(tool="web_search", call_id="t-2", input={"query": "q"}, server_side=True),
        ToolCall(tool="Write", call_id="t-3", input="no JSON"),
    ),
    thoughts=(
        Thought(content="Hm.", source="thinking"),
        Thought(content="So.", source="commentary"),
    ),
    complete=True,
    unreadable=2,
    unknown=("new_event",),
)


def record(
    capture: Iterable[str] = CAPTURABLE, **changes: Any
) -> tuple[InterceptionRecord, list[Any]]:
    """Return a record and the list of facts that it publishes."""
    published: list[Any] = []
    interception = started(**changes)
    return (
        InterceptionRecord(interception, publish=published.append, capture=frozenset(capture)),
        published,
    )


def test_start_and_prompt_are_published_before_the_response() -> None:
    subject, published = record()

    subject.begin("Hello", digest="d")

    start, prompt = published
    assert start is subject.interception
    assert prompt == UserPrompt(
        id=prompt.id, interception=start, prompt="Hello", digest="d", created_at=start.started_at
    )


def test_request_without_typed_text_has_no_prompt() -> None:
    subject, published = record()

    subject.begin(None)

    assert published == [subject.interception]


def test_record_that_ends_without_a_start_publishes_its_start_first() -> None:
    subject, published = record()

    assert not subject.begun
    assert subject.end(Status.REFUSED)

    assert [type(fact) for fact in published] == [Interception, InterceptionEnded]


def test_facts_of_a_response_are_published_before_the_end() -> None:
    subject, published = record()

    assert subject.end(Status.COMPLETED, response=RESPONSE, http_status=200)

    assert published.pop(0) is subject.interception
    assert [type(fact) for fact in published] == [
        *(TokenUsage, ToolUsage, ToolUsage, ModelThought, ModelThought, InterceptionEnded)
    ]
    usage, read, write, *thoughts, end = published
    assert usage == TokenUsage(
        id=usage.id,
        interception=subject.interception,
        provider_response_id="msg_1",
        model="claude-opus-4-5-20251101",
        input_tokens=1,
        output_tokens=2,
        cache_read_input_tokens=3,
        cache_write_input_tokens=4,
        extra={"web_search_requests": 1},
        raw={"input_tokens": 1},
        created_at=usage.created_at,
        started_at=usage.started_at,
        duration_ms=usage.duration_ms,
    )
    assert [(call.tool, call.tool_call_id, call.input) for call in (read, write)] == [
        ("Read", "t-1", {"path": "/x"}),
        ("Write", "t-3", "no JSON"),
    ]
    assert (read.injected, read.server_url, read.invocation_error) == (False, None, None)
    assert [(thought.content, thought.source) for thought in thoughts] == [
        ("Hm.", "thinking"),
        ("So.", "commentary"),
    ]
    assert (end.status, end.http_status, end.provider_response_id) == ("completed", 200, "msg_1")
    assert (end.usage_reported, end.unreadable, end.unknown) == (True, 2, ("new_event",))
    assert (end.error_type, end.error_message, end.partial) == (None, None, False)
    assert end.seconds >= 0
    assert end.seconds_to_first_byte is None


def test_server_side_tool_calls_are_in_the_metadata_only() -> None:
    subject, published = record(metadata={"team": "search"})

    subject.end(Status.COMPLETED, response=RESPONSE)

    assert published[-1].metadata == {
        "team": "search",
        "server_tools": [
            {"tool": "web_search", "tool_call_id": "t-2", "input": {"query": "q"}},
        ],
    }
    assert subject.interception.metadata == {"team": "search"}


@pytest.mark.parametrize(("requested", "model"), [(None, RESPONSE.model), ("m", "m")])
def test_model_that_only_the_response_names_is_recorded_at_the_end(
    requested: str | None, model: str
) -> None:
    made, facts = record(model=requested)
    made.end(Status.COMPLETED, response=RESPONSE)
    *_, end = facts
    assert isinstance(end, InterceptionEnded)
    assert end.interception.model == model


def test_response_without_usage_has_no_token_usage() -> None:
    subject, published = record()

    subject.end(Status.COMPLETED, response=ResponseFacts(complete=True))

    _, end = published
    assert not end.usage_reported


@pytest.mark.parametrize("count", range(4))
def test_only_captured_contents_are_published_and_tokens_always(count: int) -> None:
    kinds = {"prompts": UserPrompt, "tools": ToolUsage, "thoughts": ModelThought}
    for capture in itertools.combinations(kinds, count):
        subject, published = record(capture)

        subject.begin("Hello")
        subject.end(Status.COMPLETED, response=RESPONSE)

        found = {type(fact) for fact in published}
        assert found & set(kinds.values()) == {kinds[name] for name in capture}
        assert TokenUsage in found
        assert ("server_tools" in published[-1].metadata) == ("tools" in capture)


def test_error_of_the_proxy_replaces_the_error_of_the_provider() -> None:
    theirs = ResponseFacts(error=ProviderError(type="overloaded_error", message="Busy"))
    ours = ProviderError(type="client_left", message="gone")

    for error, expected in ((None, "overloaded_error"), (ours, "client_left")):
        subject, published = record()
        subject.end(Status.FAILED, response=theirs, error=error, partial=True)
        assert (published[-1].error_type, published[-1].partial) == (expected, True)


def test_time_to_first_byte_is_measured_from_the_start() -> None:
    subject, published = record()

    subject.end(Status.COMPLETED, first_byte_at=subject.started + 0.5)

    assert published[-1].seconds_to_first_byte == pytest.approx(0.5)


@pytest.mark.parametrize("order", list(itertools.permutations(Status, 2)))
def test_interception_ends_only_once(order: tuple[Status, Status]) -> None:
    subject, published = record()
    subject.begin("Hello")
    first, second = order

    assert subject.end(first, response=RESPONSE)
    first_facts = list(published)
    assert not subject.end(second, response=RESPONSE, http_status=500)

    assert published == first_facts
    assert subject.ended
    ends = [fact for fact in published if isinstance(fact, InterceptionEnded)]
    assert [end.status for end in ends] == [first]


def test_interception_has_ended_for_a_subscriber_that_ends_it_again() -> None:
    results: list[bool] = []  # of ending the record again at its start and at its end
    subject = InterceptionRecord(
        started(),
        publish=lambda fact: results.append(subject.end(Status.FAILED)),
        capture=frozenset(CAPTURABLE),
    )

    assert subject.end(Status.COMPLETED)

    assert results == [False, False]


def test_hidden_model_call_has_token_usage_with_its_own_model() -> None:
    subject, published = record()
    advised = Usage(input_tokens=5, output_tokens=6, call="advisor_message", model="claude-dear")
    unnamed = Usage(input_tokens=7, output_tokens=8, call="advisor_message")
    response = ResponseFacts(
        response_id="msg_1",
        model="claude-cheap",
        usage=Usage(input_tokens=1, output_tokens=2),
        hidden_usages=(advised, unnamed),
        complete=True,
    )

    subject.end(Status.COMPLETED, response=response)

    rows = [fact for fact in published if isinstance(fact, TokenUsage)]
    assert [(row.model, row.call, row.input_tokens, row.output_tokens) for row in rows] == [
        ("claude-cheap", None, 1, 2),
        ("claude-dear", "advisor_message", 5, 6),
        (None, "advisor_message", 7, 8),
    ]
    assert {row.provider_response_id for row in rows} == {"msg_1"}
    assert len({row.id for row in rows}) == 3


SO_FAR = replace(
    RESPONSE,
    usage=Usage(input_tokens=1, output_tokens=0, raw={"input_tokens": 1}),
    tool_calls=(),
    thoughts=(),
    complete=False,
)


def usages(published: list[Any]) -> list[TokenUsage]:
    return [fact for fact in published if isinstance(fact, TokenUsage)]


def test_early_usage_is_published_and_the_final_usage_has_the_same_id() -> None:
    subject, published = record()
    subject.begin(None)

    subject.usage_so_far(SO_FAR)
    subject.end(Status.COMPLETED, response=RESPONSE)

    early, final = usages(published)
    assert (type(early), type(final)) == (TokenUsageSoFar, TokenUsage)
    assert early.id == final.id
    assert (early.input_tokens, early.output_tokens) == (1, 0)
    assert (final.output_tokens, final.cache_read_input_tokens) == (2, 3)


def test_each_response_of_an_inner_loop_completes_its_own_early_usage() -> None:
    subject, published = record()
    subject.begin(None)
    responses = [replace(RESPONSE, response_id=f"msg_{number}") for number in (1, 2)]

    for response in responses:
        subject.usage_so_far(replace(SO_FAR, response_id=response.response_id))
    subject.response_ended(responses[0])
    subject.end(Status.COMPLETED, response=responses[1])

    first, second, *final = usages(published)
    assert first.id != second.id
    assert [fact.id for fact in final] == [first.id, second.id]


def test_early_usage_of_an_unfinished_stream_becomes_final() -> None:
    subject, published = record()
    subject.begin(None)
    subject.usage_so_far(replace(SO_FAR, response_id="msg_broken"))

    subject.end(Status.COMPLETED, response=RESPONSE)

    early, _, left = usages(published)
    assert (type(left), left.id) == (TokenUsage, early.id)
    assert left.provider_response_id == "msg_broken"


def test_early_usage_without_tokens_or_after_the_end_is_not_published() -> None:
    subject, published = record()
    subject.begin(None)

    subject.usage_so_far(replace(SO_FAR, usage=None))
    subject.end(Status.COMPLETED)
    subject.usage_so_far(SO_FAR)

    assert usages(published) == []


def test_usage_has_the_number_and_the_times_of_its_upstream_request() -> None:
    subject, published = record()
    subject.begin(None)
    subject.upstream.note_first_byte()
    subject.usage_so_far(SO_FAR)
    subject.upstream.note_end()
    subject.response_ended(RESPONSE)
    follow_up = subject.begin_upstream()
    follow_up.note_end()

    subject.end(Status.COMPLETED, response=RESPONSE)

    early, first, second = usages(published)
    assert [early.upstream, first.upstream, second.upstream] == [0, 0, 1]
    assert early.started_at == first.started_at <= second.started_at  # type: ignore[operator]
    assert [fact.duration_ms is None for fact in (early, first, second)] == [True, False, False]
    assert [fact.ttft_ms is None for fact in (early, first, second)] == [False, False, True]


PENDING = ResponseFacts(response_id="resp_1", pending=True, complete=True)
FINAL = replace(RESPONSE, response_id="resp_1")


def in_background() -> tuple[BackgroundRecord, BackgroundResponse]:
    """Return the record of a background response, and the list of facts that it publishes."""
    subject, published = record()
    subject.in_background = True
    subject.begin("Hello")
    assert not subject.end(Status.COMPLETED, response=PENDING, http_status=200)
    fact = published.pop()
    assert isinstance(fact, BackgroundResponse)
    published.clear()
    return BackgroundRecord(fact, publish=published.append, capture=frozenset(CAPTURABLE)), fact


def polled(*ends: tuple[Status, ResponseFacts]) -> tuple[list[Any], BackgroundResponse]:
    """End a record by polls, each given as status and response; return facts and their start."""
    subject, fact = in_background()
    published: list[Any] = []
    subject._publish = published.append
    for status, response in ends:
        subject.end(status, response=response, http_status=200)
    return published, fact


def test_queued_response_leaves_its_interception_open() -> None:
    _, fact = in_background()
    assert (fact.provider_response_id, fact.prompted) == ("resp_1", True)


@pytest.mark.parametrize(
    ("background", "response", "stays_open"),
    [
        (True, replace(PENDING, complete=False), True),  # a stream that broke off
        (False, replace(PENDING, complete=False), False),
        (False, PENDING, True),  # the response itself says that it is not complete
        (True, replace(PENDING, response_id=None), False),
        (True, FINAL, False),
    ],
)
def test_only_an_unfinished_background_response_stays_open(
    background: bool, response: ResponseFacts, stays_open: bool
) -> None:
    subject, published = record()
    subject.in_background = background
    subject.begin(None)

    subject.end(Status.CANCELLED, response=response)

    assert isinstance(published[-1], BackgroundResponse) == stays_open
    assert any(isinstance(fact, InterceptionEnded) for fact in published) != stays_open


def test_first_poll_with_the_end_completes_the_record_and_later_ones_do_not() -> None:
    published, fact = polled(
        (Status.COMPLETED, PENDING),
        (Status.COMPLETED, FINAL),
        (Status.COMPLETED, FINAL),
    )

    (usage,) = usages(published)
    (end,) = (fact for fact in published if isinstance(fact, InterceptionEnded))
    assert usage.id == fact.token_usage_id
    assert (end.status, end.in_background, end.prompted) == (Status.COMPLETED, True, True)
    assert len([fact for fact in published if isinstance(fact, ToolUsage)]) == 2


@pytest.mark.parametrize(
    "end",
    [
        (Status.FAILED, ResponseFacts(error=ProviderError(type="x", message=None), complete=True)),
        (Status.CANCELLED, replace(FINAL, complete=False)),
        (Status.INTERRUPTED, ResponseFacts()),
        (Status.REFUSED, ResponseFacts()),
        (Status.COMPLETED, replace(FINAL, response_id="resp_2")),
        (Status.COMPLETED, ResponseFacts(unreadable=1)),
    ],
)
def test_poll_without_the_end_leaves_the_record_open(end: tuple[Status, ResponseFacts]) -> None:
    published, _ = polled(end)
    assert published == []


@pytest.mark.parametrize(
    ("response", "status"),
    [
        (replace(FINAL, cancelled=True, usage=None), Status.CANCELLED),
        (replace(FINAL, error=ProviderError(type="x", message=None)), Status.FAILED),
    ],
)
def test_background_response_is_recorded_with_its_own_status(
    response: ResponseFacts, status: str
) -> None:
    published, _ = polled((Status.COMPLETED, response))
    assert published[-1].status is status


def test_approval_request_is_marked_among_the_server_side_tools() -> None:
    subject, published = record()
    asked = ToolCall(tool="roll", call_id="a", input={}, server_side=True, asks_approval=True)

    subject.end(Status.COMPLETED, response=ResponseFacts(tool_calls=(asked,), complete=True))

    [ended] = [fact for fact in published if isinstance(fact, InterceptionEnded)]
    assert ended.metadata["server_tools"] == [
        {"tool": "roll", "tool_call_id": "a", "input": {}, "approval": "requested"}
    ]


def test_rate_limits_in_the_head_of_a_response_are_published() -> None:
    subject, published = record()

    subject.response_began(200, [(b"Retry-After", b"3"), (b"content-type", b"text/plain")])
    subject.response_began(200, [(b"content-type", b"text/plain")])

    began, seen, other = published
    assert began == ResponseBegan(
        interception=subject.interception, http_status=200, retry_after=3.0
    )
    assert isinstance(seen, RateLimitsSeen)
    assert seen.headers == {"retry-after": "3"}
    assert isinstance(other, ResponseBegan)
    assert other.retry_after is None


def test_headers_of_a_refusal_by_the_proxy_are_no_rate_limits() -> None:
    subject, published = record()
    subject.end(Status.REFUSED, http_status=429)
    published.clear()

    subject.response_began(200, [(b"retry-after", b"3")])

    assert published == []


def test_background_usage_has_a_start_and_no_duration_since_nobody_saw_its_end() -> None:
    facts, start = polled((Status.COMPLETED, FINAL))

    (usage,) = usages(facts)
    assert usage.started_at == start.interception.started_at
    assert (usage.upstream, usage.duration_ms, usage.ttft_ms) == (0, None, None)


def test_requested_labels_are_added_to_a_usage_that_does_not_report_them() -> None:
    labels = {"service_tier": "flex", "speed": "fast"}
    made, published = record(billing_labels=labels)
    reported = Usage(input_tokens=1, output_tokens=2, extra={"service_tier": "default"})

    made.end(Status.COMPLETED, response=replace(RESPONSE, usage=reported))

    [usage] = usages(published)
    assert usage.extra == {"service_tier": "default", "requested_speed": "fast"}


def test_hidden_call_has_the_labels_of_its_response() -> None:
    made, published = record(billing_labels={"service_tier": "auto"})
    own = Usage(input_tokens=1, output_tokens=2, extra={"service_tier": "batch"})
    hidden = Usage(input_tokens=3, output_tokens=4, call="compaction", model="m")

    made.end(Status.COMPLETED, response=replace(RESPONSE, usage=own, hidden_usages=(hidden,)))

    assert [usage.extra for usage in usages(published)] == [
        {"service_tier": "batch"},
        {"requested_service_tier": "batch"},
    ]
