"""Traces: spans of interceptions, upstream requests and tool calls by the GenAI conventions."""

import json
import threading
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from opentelemetry.trace import SpanKind, StatusCode
from store.doubles import ended, prompt, started, tokens, tool

from aibridge_addon.facts import (
    Fact,
    Interception,
    InterceptionEnded,
    Price,
    RequestContent,
    ResponseContent,
    Status,
    TokenUsage,
    UsagePriced,
)
from aibridge_addon.telemetry import tracing as tracing_module
from aibridge_addon.telemetry.messages import MAX_TEXT, Messages
from aibridge_addon.telemetry.otel import SpanSender
from aibridge_addon.telemetry.span import Span
from aibridge_addon.telemetry.trace import Trace
from aibridge_addon.telemetry.traces import MAX_OPEN, PRICE_SECONDS, Traces
from aibridge_addon.telemetry.tracing import Tracing
from telemetry.spans import attributes, export, named

BEGIN = datetime(2026, 11, 28, 12, tzinfo=UTC)
USAGE = ("gen_ai.usage.", "aibridge.cost", "aibridge.list_price", "aibridge.price_source")


def at(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).isoformat(timespec="microseconds")


def nanoseconds(seconds: float) -> int:
    return int((BEGIN + timedelta(seconds=seconds)).timestamp() * 1_000_000_000)


def interception(**changes: Any) -> Interception:
    return started(started_at=at(0), **changes)


def priced(usage: TokenUsage, cost: int | None = 12_300_000, **changes: Any) -> UsagePriced:
    return UsagePriced(usage=usage, price=Price(cost_nano_usd=cost, **changes))


def loop(one: Interception) -> list[Fact]:
    """Return the facts of an inner loop with one tool call."""
    first = tokens(one, upstream=0, started_at=at(0.1), duration_ms=900, created_at=at(1))
    second = tokens(one, upstream=1, started_at=at(2), duration_ms=500, created_at=at(2.5))
    call = tool(one, injected=True, duration_ms=700, created_at=at(1.8), metadata={"server": "s"})
    return [
        *(one, first, call, second, ended(one, ended_at=at(3))),
        *(priced(first), priced(second)),
    ]


def usage_attributes(spans: list[ReadableSpan]) -> list[str]:
    return [name for span in spans for name in attributes(span) if name.startswith(USAGE)]


def test_inner_loop_has_a_span_for_each_upstream_request_and_tool_call() -> None:
    one = interception()

    spans = export(loop(one))

    assert [span.name for span in spans] == [
        "interception claude-opus-4-5",
        "chat claude-opus-4-5",
        "execute_tool Read",
        "chat claude-opus-4-5",
    ]
    root, first, call, second = spans
    assert root.parent is None
    assert [span.parent and span.parent.span_id for span in (first, call, second)] == [
        root.context.span_id
    ] * 3
    assert [span.kind for span in spans] == [
        *(SpanKind.SERVER, SpanKind.CLIENT, SpanKind.INTERNAL, SpanKind.CLIENT)
    ]
    assert [(span.start_time, span.end_time) for span in spans] == [
        (nanoseconds(begin), nanoseconds(end))
        for begin, end in ((0, 3), (0.1, 1), (1.1, 1.8), (2, 2.5))
    ]
    assert {span.status.status_code for span in spans} == {StatusCode.UNSET}


def test_id_of_the_trace_is_the_id_of_the_interception() -> None:
    one = interception()

    spans = export(loop(one))

    assert {str(uuid.UUID(int=span.context.trace_id)) for span in spans} == {one.id}


def test_usage_and_cost_are_on_upstream_requests_only() -> None:
    spans = export(loop(interception()))

    assert usage_attributes(named(spans, "interception")) == []
    assert usage_attributes(named(spans, "execute_tool")) == []
    for span in named(spans, "chat"):
        found = attributes(span)
        assert found["gen_ai.usage.input_tokens"] == 10 + 30 + 40
        assert found["gen_ai.usage.cache_read.input_tokens"] == 30
        assert found["gen_ai.usage.cache_creation.input_tokens"] == 40
        assert found["gen_ai.usage.output_tokens"] == 20
        assert found["gen_ai.usage.cost"] == 0.0123
        assert found["aibridge.cost_nano_usd"] == 12_300_000


def test_attributes_follow_the_genai_conventions() -> None:
    one = interception()
    usage = tokens(one, ttft_ms=250, extra={"reasoning_tokens": 7})

    spans = export([one, usage, ended(one), priced(usage, price_source="opus, 2026-10-14")])

    [root] = map(attributes, named(spans, "interception"))
    assert root["gen_ai.conversation.id"] == "s-1"
    assert root["user.id"] == "alice"
    assert root["aibridge.interception.id"] == one.id
    assert root["http.response.status_code"] == 200
    assert "gen_ai.operation.name" not in root
    [chat] = map(attributes, named(spans, "chat"))
    assert chat["gen_ai.operation.name"] == "chat"
    assert chat["gen_ai.provider.name"] == "anthropic"
    assert chat["gen_ai.request.model"] == "claude-opus-4-5"
    assert chat["gen_ai.response.model"] == "claude-opus-4-5-20251101"
    assert chat["gen_ai.response.id"] == "msg_1"
    assert chat["gen_ai.request.stream"] is True
    assert chat["gen_ai.response.time_to_first_chunk"] == 0.25
    assert chat["aibridge.price_source"] == "opus, 2026-10-14"
    assert "gen_ai.usage.reasoning.output_tokens" not in chat


def test_experimental_conventions_are_used_on_opt_in(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SEMCONV_STABILITY_OPT_IN", "http,gen_ai_latest_experimental")
    one = interception()
    usage = tokens(one, extra={"reasoning_tokens": 7})

    [chat] = map(attributes, named(export([one, usage, ended(one)]), "chat"))

    assert chat["gen_ai.usage.cache_write.input_tokens"] == 40
    assert chat["gen_ai.usage.reasoning.output_tokens"] == 7
    assert "gen_ai.usage.cache_creation.input_tokens" not in chat


@pytest.mark.parametrize(
    ("instance", "expected"),
    [("openai", "openai"), ("mistral", "mistral_ai"), ("xai", "x_ai"), ("our-vllm", "anthropic")],
)
def test_provider_is_named_as_the_conventions_name_it(instance: str, expected: str) -> None:
    one = interception(provider_name=instance)

    spans = export([one, tokens(one), ended(one)])

    assert {attributes(span)["gen_ai.provider.name"] for span in spans} == {expected}


def test_unknown_usage_and_price_have_no_attributes() -> None:
    one, two = interception(), interception()
    usage = tokens(two)

    without_usage = export([one, ended(one, usage_reported=False)])
    unpriced = export([two, usage, ended(two), priced(usage, None, unpriced_reason="no seller")])

    assert usage_attributes(without_usage) == []
    assert len(named(without_usage, "chat")) == 1
    [chat] = map(attributes, named(unpriced, "chat"))
    assert "gen_ai.usage.cost" not in chat
    assert chat["aibridge.unpriced_reason"] == "no seller"


def test_list_price_of_a_subscription_is_no_cost() -> None:
    one = interception(credential_kind="subscription")
    usage = tokens(one)

    [chat] = map(attributes, named(export([one, usage, ended(one), priced(usage)]), "chat"))

    assert "gen_ai.usage.cost" not in chat
    assert chat["aibridge.list_price_usd"] == 0.0123


def test_call_that_the_provider_made_by_itself_has_its_own_span() -> None:
    one = interception()
    own, hidden = tokens(one), tokens(one, call="compaction", model="haiku")

    found = [attributes(span) for span in named(export([one, own, hidden, ended(one)]), "chat")]

    assert [span.get("aibridge.call") for span in found] == [None, "compaction"]
    assert sum(span["gen_ai.usage.output_tokens"] for span in found) == 40


def test_failure_is_an_error_of_the_interception_and_its_last_upstream_request() -> None:
    one = interception()
    first, second = tokens(one, upstream=0), tokens(one, upstream=1)
    end = ended(one, status=Status.FAILED, error_type="overloaded_error", error_message="secret")

    spans = export([one, first, second, end])

    failed = {
        (span.name.split()[0], attributes(span).get("aibridge.upstream"))
        for span in spans
        if span.status.status_code is StatusCode.ERROR
    }
    assert failed == {("interception", None), ("chat", 1)}
    [root] = named(spans, "interception")
    assert attributes(root)["error.type"] == "overloaded_error"
    assert "secret" not in json.dumps([attributes(span) for span in spans])


def test_client_that_disconnects_is_no_error() -> None:
    one = interception()

    spans = export([one, tokens(one), ended(one, status=Status.CANCELLED)])

    assert {span.status.status_code for span in spans} == {StatusCode.UNSET}


def test_refused_request_has_no_upstream_request() -> None:
    one = interception()

    spans = export([one, ended(one, status=Status.REFUSED, error_type="no_actor")])

    assert [span.name for span in spans] == ["interception claude-opus-4-5"]


def hide_me(interception_id: str, text: str) -> str:
    assert interception_id
    return text.replace("me", "▒▒")


def test_content_is_exported_only_on_opt_in() -> None:
    one = interception()
    facts: list[Fact] = [one, prompt(one, "Tell me"), tool(one)]
    facts += [tokens(one, upstream=0), ended(one)]

    plain, full = export(facts), export(facts, redact=hide_me)

    texts = "".join(json.dumps(attributes(span)) for span in plain)
    assert "Tell" not in texts
    assert "/x" not in texts
    [chat], [call] = named(full, "chat"), named(full, "execute_tool")
    assert json.loads(attributes(chat)["gen_ai.input.messages"]) == [
        {"role": "user", "parts": [{"type": "text", "content": "Tell ▒▒"}]}
    ]
    assert json.loads(attributes(call)["gen_ai.tool.call.arguments"]) == {"path": "/x"}


EVERYTHING = frozenset({"answers", "prompts", "requests", "results", "system", "thoughts", "tools"})


def body(**members: Any) -> bytes:
    return json.dumps(members).encode()


def test_messages_of_bodies_are_exported_for_each_upstream_request() -> None:
    one = interception()
    call = {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {"path": "/me"}}
    outcome = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "about me"}
    asked = [{"role": "user", "content": "Tell me"}]
    again = [
        *asked,
        {"role": "assistant", "content": [call]},
        {"role": "user", "content": [outcome]},
    ]
    request: dict[str, Any] = {
        "interception": one,
        "created_at": one.started_at,
        "capture": EVERYTHING,
    }
    response: dict[str, Any] = {**request, "provider_response_id": "msg_1", "status": 200}
    text = [{"type": "thinking", "thinking": "Hm, me"}, {"type": "text", "text": "It is me."}]
    facts: list[Fact] = [
        one,
        RequestContent(upstream=0, body=body(system="Be mean", messages=asked), **request),
        ResponseContent(
            upstream=0,
            body=body(type="message", role="assistant", content=[call], stop_reason="tool_use"),
            **response,
        ),
        tokens(one, upstream=0),
        RequestContent(upstream=1, body=body(messages=again), **request),
        ResponseContent(
            upstream=1,
            body=body(type="message", role="assistant", content=text, stop_reason="end_turn"),
            **response,
        ),
        tokens(one, upstream=1),
        ended(one),
    ]

    chats = [attributes(span) for span in named(export(facts, redact=hide_me), "chat")]
    first, second = sorted(chats, key=lambda chat: chat["aibridge.upstream"])

    assert json.loads(first["gen_ai.system_instructions"]) == [
        {"type": "text", "content": "Be ▒▒an"}
    ]
    assert json.loads(first["gen_ai.output.messages"]) == [
        {
            "role": "assistant",
            "parts": [
                {
                    "type": "tool_call",
                    "id": "toolu_1",
                    "name": "Read",
                    "arguments": json.loads(first["gen_ai.output.messages"])[0]["parts"][0][
                        "arguments"
                    ],
                }
            ],
            "finish_reason": "tool_use",
        }
    ]
    assert first["gen_ai.response.finish_reasons"] == ("tool_use",)
    assert [message["role"] for message in json.loads(second["gen_ai.input.messages"])] == [
        *("user", "assistant", "user")
    ]
    assert json.loads(second["gen_ai.input.messages"])[2]["parts"] == [
        {"type": "tool_call_response", "id": "toolu_1", "response": "about ▒▒"}
    ]
    assert json.loads(second["gen_ai.output.messages"])[0]["parts"] == [
        {"type": "reasoning", "content": "Hm, ▒▒"},
        {"type": "text", "content": "It is ▒▒."},
    ]
    assert not any("messages" in name for chat in map(attributes, export(facts)) for name in chat)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("requests", {"a-instruction", "a-question", "a-result"}),
        ("system", {"a-instruction"}),
        ("results", {"a-result"}),
        ("answers", {"a-reply"}),
        ("answers thoughts", {"a-reply", "a-thought"}),
        ("answers tools", {"a-reply", "a-argument"}),
        ("prompts tools thoughts", set()),
    ],
)
def test_only_captured_content_is_exported(words: str, expected: set[str]) -> None:
    one = interception()
    capture = frozenset(words.split())
    common: dict[str, Any] = {
        "interception": one,
        "created_at": one.started_at,
        "upstream": 0,
        "capture": capture,
    }
    outcome = {"type": "tool_result", "tool_use_id": "t", "content": "a-result"}
    asked = [
        {"role": "user", "content": "a-question"},
        {"role": "user", "content": [outcome]},
    ]
    said = [
        {"type": "thinking", "thinking": "a-thought"},
        {"type": "text", "text": "a-reply"},
        {"type": "tool_use", "id": "t", "name": "n", "input": {"a": "a-argument"}},
    ]
    facts: list[Fact] = [
        one,
        RequestContent(body=body(system="a-instruction", messages=asked), **common),
        ResponseContent(
            body=body(type="message", role="assistant", content=said),
            status=200,
            provider_response_id="msg_1",
            **common,
        ),
        tokens(one, upstream=0),
        ended(one),
    ]

    [chat] = map(attributes, named(export(facts, redact=lambda _, text: text), "chat"))

    texts = json.dumps(chat)
    words_of_all = ("a-instruction", "a-question", "a-result", "a-reply", "a-thought", "a-argument")
    found = {word for word in words_of_all if word in texts}
    assert found == expected


def test_long_conversations_are_cut_at_their_beginning() -> None:
    one = interception()
    messages = [{"role": "user", "content": f"{number} " + "x" * 50_000} for number in range(20)]
    request = RequestContent(
        interception=one,
        created_at=one.started_at,
        upstream=0,
        body=body(messages=messages),
        capture=EVERYTHING,
    )

    spans = export([one, request, tokens(one, upstream=0), ended(one)], redact=hide_me)

    [chat] = map(attributes, named(spans, "chat"))
    exported = json.loads(chat["gen_ai.input.messages"])
    assert 1 < len(exported) <= 6
    assert exported[-1]["parts"][0]["content"].startswith("19 ")


def test_secret_at_the_cut_of_a_text_is_redacted() -> None:
    secret = "sk-ant-secret"
    messages = Messages(lambda text: text.replace(secret, "[redacted]"))

    assert "sk-ant" not in messages.text("x" * (MAX_TEXT - 5) + secret)


def test_trace_does_not_wait_for_a_price_for_ever() -> None:
    one = interception()
    traces = Traces(lambda fact: Trace(fact, content=None, latest=False), pytest.fail)

    for fact in (one, tokens(one), ended(one)):
        assert traces.add(fact, now=0) is None

    assert list(traces.expired(PRICE_SECONDS - 1)) == []
    [trace] = traces.expired(PRICE_SECONDS)
    assert trace.interception is one
    assert traces.add(priced(tokens(one)), now=PRICE_SECONDS + 1) is None
    assert list(traces.expired(1e9)) == []


def test_open_interceptions_are_bounded() -> None:
    dropped = 0

    def drop() -> None:
        nonlocal dropped
        dropped += 1

    traces = Traces(lambda fact: Trace(fact, content=None, latest=False), drop)
    first = interception()
    for one in (first, *(interception() for _ in range(MAX_OPEN))):
        traces.add(one, now=0)

    assert dropped == 1
    completed = traces.add(ended(first), now=0)
    assert completed is not None


def test_interception_that_began_in_an_earlier_process_is_exported_at_its_end() -> None:
    one = interception()

    assert len(export([ended(one)])) == 2


class Blocked:
    """A sender that blocks until it is released."""

    def __init__(self) -> None:
        self.begun = threading.Event()
        self.release = threading.Event()
        self.sent: list[Span] = []

    def send(self, span: Span, trace_id: str) -> None:
        self.begun.set()
        self.release.wait(20)
        self.sent.append(span)

    def close(self) -> None:
        pass


def test_slow_export_neither_blocks_nor_grows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module, "MAX_QUEUED", 3)
    sender = Blocked()
    tracing = Tracing(sender)
    put = tracing.handlers[InterceptionEnded]

    put(ended(interception()))
    assert sender.begun.wait(20)
    for _ in range(5):
        put(ended(interception()))

    assert tracing.dropped == 2
    sender.release.set()
    tracing.close()
    assert len(sender.sent) == 4


def test_close_does_not_wait_for_an_endpoint_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing_module, "CLOSE_SECONDS", 0.05)
    sender = Blocked()
    tracing = Tracing(sender)
    tracing.handlers[InterceptionEnded](ended(interception()))

    tracing.close()

    assert sender.sent == []
    sender.release.set()


def test_failed_export_does_not_end_tracing() -> None:
    class Failing(SpanExporter):
        exported = 0

        def export(self, spans: Any) -> SpanExportResult:
            Failing.exported += len(spans)
            raise OSError("no route")

    tracing = Tracing(SpanSender(Failing()))
    for _ in range(2):
        tracing.handlers[InterceptionEnded](ended(interception()))
    tracing.close()

    assert Failing.exported == 4
