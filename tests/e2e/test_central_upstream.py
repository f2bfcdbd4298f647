"""Failures of the provider during an inner loop become errors in the client's wire format.

An error event ends a stream that has begun. The provider's error replaces a buffered response. The
record has one failed interception, with the usage until then.
"""

import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import anthropic
import openai
import pytest
from standin import Response, Server

from e2e.asking import API, APIS
from e2e.central import (
    ADD,
    FORWARD,
    FORWARD_H2,
    REVERSE,
    SUM,
    SUM_LINE,
    Central,
    program,
    reworked,
)
from e2e.clients import WAYS, Clients, Way
from e2e.proxies import RunProxy
from e2e.proxy import Proxy
from e2e.records import Row
from e2e.wire_formats import JSON, data_of, reader_of

MESSAGES, CHAT, RESPONSES = APIS

each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

_numbers = count()


def first() -> str:
    """Make the model call a tool in a unique request; a repeated one would continue an attempt."""
    return f"{SUM} TOKENS:10,2,0,0 (request {next(_numbers)})"


@pytest.fixture
def proxy(central_proxy: Proxy) -> Proxy:
    """The proxy that offers tools."""
    return central_proxy


def error_of(api: API, raw: bytes) -> JSON:
    """Return the error that ends a stream, in its wire format."""
    data = data_of(raw)
    if api is CHAT:
        data = [event for event in data if event != "[DONE]"]
    last: JSON = json.loads(data[-1])
    if api is MESSAGES:
        assert last["type"] == "error"
        assert raw.count(b"event: error\n") == 1
        error: JSON = last["error"]
        assert error["type"]
    elif api is CHAT:
        error = last["error"]
        assert "choices" not in last
    else:
        assert last["type"] == "error"
        numbers = [json.loads(event)["sequence_number"] for event in data]
        assert numbers == list(range(len(data)))
        error = last
    assert isinstance(error["message"], str)
    return error


def ended(row: Row) -> tuple[str, int | None, bool]:
    """Return how an interception ended."""
    return row["status"], row["http_status"], bool(row["partial"])


FAULTS = {
    "STATUS:529": ("The script asked for 529.", None),
    "STATUS:400": ("The script asked for 400.", None),
    "RESET LONG:9": (None, "upstream_error"),
    "END_EARLY LONG:9": (None, "upstream_error"),
    "DROP": (None, "upstream_error"),
}
"""Faults of the second response, with the error's message and recorded type, if known."""


@each_api
@pytest.mark.parametrize("way", [FORWARD_H2, REVERSE], ids=str)
@pytest.mark.parametrize("fault", FAULTS)
def test_stream_ends_with_an_error_event_if_a_later_response_fails(
    central: Central, way: Way, api: API, fault: str
) -> None:
    message, kind = FAULTS[fault]
    with central.proxy.recording() as records:
        seen = central.post(api, way, f"{first()} NEXT {fault}", stream=True)
    assert (seen.status, seen.whole) == (200, True)
    assert b"Moment" in seen.raw
    error = error_of(api, seen.raw)
    assert message is None or message in error["message"]
    assert ended(records.interception) == ("failed", 200, True)
    assert kind is None or records.interception["error_type"] == kind
    assert records.interception["error_message"] == error["message"]
    counted = [row["provider_response_id"] for row in records.token_usages]
    assert records.token_usages[0]["input_tokens"] == 10
    assert len(counted) == len(set(counted)), "an answer is counted once"
    assert len(records.tool_usages) == 1
    assert not any(word in seen.raw for word in (b"message_stop", b"response.completed"))


@each_api
def test_error_event_of_a_later_response_is_relayed(central: Central, api: API) -> None:
    with central.proxy.recording() as records:
        seen = central.post(api, FORWARD, f"{first()} NEXT ERROR_EVENT LONG:9", stream=True)
    told = {
        "anthropic_messages": "Overloaded",
        "openai_chat": "The server had an error.",
        "openai_responses": "The server had an error.",
    }
    assert error_of(api, seen.raw)["message"] == told[api.name]
    assert ended(records.interception) == ("failed", 200, True)
    assert records.interception["error_message"] == told[api.name]


@each_api
@pytest.mark.parametrize("fault", ["STATUS:529", "ERROR_EVENT LONG:9", "RESET LONG:9"])
def test_sdk_raises_the_error_of_a_later_response(central: Central, api: API, fault: str) -> None:
    # OpenAI's accumulator of responses notices no more than that the end is missing.
    errors = (anthropic.APIError, openai.APIError, RuntimeError)
    with pytest.raises(errors):
        central.ask(api, FORWARD, f"{first()} NEXT {fault}", stream=True)
    with pytest.raises(errors):
        central.ask(api, FORWARD, f"{first()} NEXT {fault}", stream=False)


@each_way
@each_api
def test_buffered_response_is_replaced_by_the_providers_error(
    central: Central, way: Way, api: API
) -> None:
    with central.proxy.recording() as records:
        seen = central.post(api, way, f"{first()} NEXT STATUS:429")
    direct = central.post(api, way, "STATUS:429")
    assert seen.status == direct.status == 429
    assert seen.headers["retry-after"] == "1"
    assert _without_numbers(seen.json) == _without_numbers(direct.json)
    assert records.interception["status"] == "failed"
    assert records.interception["http_status"] == 429
    assert "The script asked for 429." in records.interception["error_message"]
    assert [row["input_tokens"] for row in records.token_usages] == [10]


def _without_numbers(value: Any) -> str:
    return "".join(letter for letter in json.dumps(value) if not letter.isdigit())


@each_api
@pytest.mark.parametrize("way", [FORWARD, REVERSE], ids=str)
@pytest.mark.parametrize("fault", ["DROP", "RESET", "END_EARLY"])
def test_buffered_response_becomes_a_bad_gateway_if_a_later_one_is_truncated(
    central: Central, way: Way, api: API, fault: str
) -> None:
    with central.proxy.recording() as records:
        seen = central.post(api, way, f"{first()} NEXT {fault}")
    assert (seen.status, seen.whole) == (502, True)
    assert seen.json["error"]["message"].startswith("aibridge: ")
    assert records.interception["status"] == "failed"
    assert records.interception["error_type"] == "upstream_error"
    assert [row["input_tokens"] for row in records.token_usages] == [10]


ODD = {
    "no stream": Response(200, [("content-type", "application/json")], b"{}"),
    "no JSON": Response(200, [("content-type", "text/html")], b"<html>Log in!</html>"),
    "nothing": Response(200, [("content-type", "text/event-stream")], b""),
    "no coding": Response(
        200, [("content-type", "text/event-stream"), ("content-encoding", "gzip")], b"not gzip"
    ),
    "no known coding": Response(
        200, [("content-type", "application/json"), ("content-encoding", "rot13")], b"{}"
    ),
    "no redirect": Response(302, [("location", "https://elsewhere.test/")], b""),
}


@each_api
@each_delivery
@pytest.mark.parametrize("odd", ODD)
def test_later_response_that_cannot_be_read_is_an_error(
    central: Central, api: API, stream: bool, odd: str
) -> None:
    after_the_first(central, lambda: ODD[odd])
    headers = {"x-standin-canned": "after-the-first"}
    with central.proxy.recording() as records:
        seen = central.post(api, FORWARD, first(), stream=stream, headers=headers)
    assert records.interception["status"] == "failed"
    if stream:
        assert error_of(api, seen.raw)
    elif odd == "no redirect":
        assert seen.status == 302
    else:
        assert seen.status == 502
        assert seen.json["error"]["message"].startswith("aibridge: ")
    assert [row["input_tokens"] for row in records.token_usages] == [10]


def after_the_first(central: Central, answer: Callable[[], Response]) -> None:
    """Make the provider respond once by script, and then with the given response."""
    scripted = reworked(central.provider, lambda events: events)
    asked = 0

    async def canned(request: Any) -> Any:
        nonlocal asked
        asked += 1
        if asked == 1:
            return await scripted(request)
        made = answer()
        return Response(made.status, list(made.headers), made.body)

    central.provider.canned["after-the-first"] = canned


@each_api
@each_delivery
@pytest.mark.parametrize("coding", ["gzip", "br", "zstd"])
def test_responses_in_an_unrequested_coding_are_read(
    central: Central, api: API, stream: bool, coding: str
) -> None:
    prompt = f"{SUM} CODING:{coding} NEXT CODING:{coding}"
    story = central.see(api, FORWARD, prompt, stream=stream)
    assert story.lines[-1].endswith("The tool returned: 42")


@each_api
def test_error_of_the_first_response_is_relayed_unchanged(central: Central, api: API) -> None:
    for stream in (False, True):
        seen = central.post(api, FORWARD, f"{SUM} STATUS:429", stream=stream)
        assert (seen.status, seen.headers["retry-after"]) == (429, "1")
        assert "The script asked for 429." in seen.json["error"]["message"]


@each_api
@pytest.mark.parametrize("fault", ["RESET", "END_EARLY"])
def test_truncated_first_response_is_truncated_for_the_client(
    central: Central, api: API, fault: str
) -> None:
    before = central.proxy.mark()
    seen = central.post(api, FORWARD, f"{SUM} {fault}", stream=True)
    assert not seen.whole
    records = central.recorded(lambda r: [x for x in r.interceptions if x["ended_at"]], before)
    assert records.interception["status"] == "failed"
    assert records.tool_usages == []
    assert len(central.requests) == 1


# --- a model that never stops


@pytest.fixture(scope="module")
def bounded_proxy(run_proxy: RunProxy, standin: Server) -> Iterator[Proxy]:
    """Run a proxy with a limit of two responses with calls."""
    servers = {"calc": program() | {"allow": "^add$"}}
    options = {"aibridge_tool_iterations": 2}
    with run_proxy(standin.origin, servers=servers, options=options) as made:
        yield made


@pytest.fixture
def bounded(
    bounded_proxy: Proxy, clients_of: Callable[[Proxy], Clients], central: Central
) -> Central:
    """Sends requests through the proxy with limits."""
    return Central(bounded_proxy, clients_of(bounded_proxy), central.provider, central.standin)


@each_api
@each_delivery
class TestLimits:
    def test_model_that_reaches_the_limit_is_told_to_respond(
        self, bounded: Central, api: API, stream: bool
    ) -> None:
        with bounded.proxy.recording() as records:
            story = bounded.see(api, FORWARD, f"{first()} TURNS:99", stream=stream)
        assert "No more tool calls are allowed" in story.lines[-1]
        last = bounded.received[3]
        turn = ["says Moment", SUM_LINE]
        refused = "No more tool calls are allowed. Answer with what you have."
        error = f"gets error: {refused}" if api is MESSAGES else f"gets Error: {refused}"
        assert reader_of(api).transcript(last)[1:] == [
            *(*turn, "gets 42"),
            *(*turn, "gets 42"),
            *(*turn, error),
        ]
        assert len(bounded.received) == 4
        assert last["tool_choice"] == ({"type": "none"} if api is MESSAGES else "none")
        assert all("tool_choice" not in body for body in bounded.received[:3])
        assert ADD in reader_of(api).names(last)
        assert records.interception["status"] == "completed"
        errors = [row["invocation_error"] for row in records.tool_usages]
        assert errors == [None, None, refused]

    def test_model_that_calls_beyond_the_limit_ends_with_an_error(
        self, bounded: Central, api: API, stream: bool
    ) -> None:
        def heedless(body: JSON) -> JSON:
            return {name: value for name, value in body.items() if name != "tool_choice"}

        bounded.provider.canned["heedless"] = reworked(
            bounded.provider, lambda events: events, request=heedless
        )
        headers = {"x-standin-canned": "heedless"}
        with bounded.proxy.recording() as records:
            seen = bounded.post(api, FORWARD, f"{first()} TURNS:99", stream=stream, headers=headers)
        assert len(bounded.received) == 4
        message = error_of(api, seen.raw)["message"] if stream else seen.json["error"]["message"]
        assert "tool-call limit reached: 4 responses in a row called tools" in message
        assert seen.status == (200 if stream else 400)
        assert records.interception["status"] == "failed"
        assert records.interception["error_type"] == "tool_loop_limit"
        assert len(records.token_usages) == 4
