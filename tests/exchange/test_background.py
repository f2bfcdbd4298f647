"""Tests of background responses: polls find the record of their response, and end it once."""

import warnings

import pytest
from mitmproxy import http
from store.doubles import started

from aibridge_addon.facts import BackgroundResponse, Fact, ResponseFacts, Status, TokenUsage, now
from aibridge_addon.interception import InterceptionRecord
from aibridge_addon.providers.builtin import DEFAULT_PROVIDERS
from aibridge_addon.providers.routing import Route

with warnings.catch_warnings():  # of libraries that mitmproxy's addons import
    warnings.simplefilter("ignore", DeprecationWarning)
    from mitmproxy.test import tflow
    from mitmproxy.websocket import WebSocketMessage

    from aibridge_addon.exchange import background
    from aibridge_addon.exchange.background import BackgroundResponses
    from aibridge_addon.exchange.client_request import ClientRequest
    from aibridge_addon.exchange.exchange import Exchange
    from aibridge_addon.exchange.passing import CountUsage, PassingExchange, ignore_usage
    from aibridge_addon.exchange.polls import is_list_of_batches, poll_of
    from aibridge_addon.exchange.recorded import RecordedExchange
    from aibridge_addon.formats import openai_chat

OPENAI = next(provider for provider in DEFAULT_PROVIDERS if provider.name == "openai")
ROUTE = Route(provider=OPENAI, label="/v1/responses/*", api=None, upstream=None)
FINAL = ResponseFacts(response_id="resp_1", complete=True)


def pending(response_id: str = "resp_1") -> BackgroundResponse:
    return BackgroundResponse(
        interception=started(provider_name="openai"),
        provider_response_id=response_id,
        prompted=False,
        token_usage_id="u-1",
        created_at=now(),
    )


def request(path: str, method: str = "GET") -> http.Request:
    return http.Request.make(method, f"https://api.openai.com{path}")


def poll(
    path: str = "/v1/responses/resp_1", count_usage: CountUsage = ignore_usage
) -> PassingExchange:
    flow = tflow.tflow(req=request(path))
    polled = ClientRequest(flow=flow, route=ROUTE, max_bytes=1000)
    return PassingExchange(polled, openai_chat.FORMAT, count_usage=count_usage)


async def committed() -> None:
    """Return at once."""


class Store:
    """Store with one background response, or none."""

    def __init__(
        self, fact: BackgroundResponse | None = None, error: Exception | None = None
    ) -> None:
        self.asked = 0
        self.published: list[Fact] = []
        self.hints: list[str | None] = []
        self._fact = fact
        self._error = error
        self.responses = BackgroundResponses(
            find=self._find,
            publish=self.published.append,
            commit=committed,
            return_to=lambda _, hint: self.hints.append(hint),
        )

    async def _find(self, provider: str, response_id: str) -> BackgroundResponse | None:
        self.asked += 1
        if self._error:
            raise self._error
        fact = self._fact
        is_it = fact and (provider, response_id) == ("openai", fact.provider_response_id)
        return fact if is_it else None

    async def attached(self, exchange: Exchange) -> InterceptionRecord | None:
        attached = await self.responses.attach(exchange)
        return attached.record if isinstance(attached, RecordedExchange) else None


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/responses/resp_1", "resp_1"),
        ("GET", "/v1/responses/resp_1?stream=true&starting_after=5", "resp_1"),
        ("GET", "/api/v2/responses/resp_1/", "resp_1"),
        ("GET", "/v1/responses/resp%5F1", "resp_1"),
        ("POST", "/v1/responses/resp_1/cancel", "resp_1"),
        ("GET", "/v1/responses/resp_1/input_items", None),
        ("GET", "/v1/responses/resp_1/cancel", None),
        ("POST", "/v1/responses/resp_1", None),
        ("DELETE", "/v1/responses/resp_1", None),
        ("GET", "/v1/responses", None),
        ("GET", "/v1/models/responses", None),
    ],
)
def test_response_id_is_found_in_polls_and_cancellations(
    method: str, path: str, expected: str | None
) -> None:
    poll = poll_of(request(path, method), "openai")
    assert (poll and poll.id) == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/batches/batch_1", ("batch_1", "openai_batches")),
        ("GET", "/v1/interactions/i1", None),
        ("POST", "/v1/batches/batch_1/cancel", ("batch_1", "openai_batches")),
        ("GET", "/v1/files/file-1/content?x", ("file-1", "openai_batch_results")),
        (
            "GET",
            "/v1/messages/batches/msgbatch_1/results?beta=true",
            ("msgbatch_1", "anthropic_batch_results"),
        ),
        ("GET", "/v1/messages/batches/msgbatch_1", None),
        ("POST", "/v1/messages/batches/msgbatch_1/cancel", None),
        ("POST", "/v1/batches", None),
        ("GET", "/v1/files/file-1", None),
    ],
)
def test_batch_id_is_found_in_polls_and_results(
    method: str, path: str, expected: tuple[str, str] | None
) -> None:
    poll = poll_of(request(path, method), "openai")
    assert (poll and (poll.id, poll.wire_format.name)) == expected


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("GET", "/v1/batches/b1", ("batches/b1", "gemini_batches")),
        ("GET", "/v1beta/batches/b1?$alt=json", ("batches/b1", "gemini_batches")),
        ("POST", "/v1beta/batches/b1:cancel", None),
        (
            "GET",
            "/download/v1beta/files/f1:download?alt=media",
            ("files/f1", "gemini_batch_results"),
        ),
        ("GET", "/v1/files/f1%3Adownload", ("files/f1", "gemini_batch_results")),
        ("GET", "/v1beta/files/f1", None),
        ("GET", "/v1beta/interactions/i1?stream=true", ("i1", "gemini_interactions")),
        ("POST", "/v1beta/interactions/i1/cancel", ("i1", "gemini_interactions")),
        ("DELETE", "/v1beta/interactions/i1", None),
        ("GET", "/v1beta/openai/batches/b1", ("b1", "openai_batches")),
    ],
)
def test_google_batch_or_interaction_is_found_in_polls_and_results(
    method: str, path: str, expected: tuple[str, str] | None
) -> None:
    poll = poll_of(request(path, method), "gemini")
    assert (poll and (poll.id, poll.wire_format.name)) == expected


def test_list_of_batches_repeats_usage_and_is_no_poll() -> None:
    assert is_list_of_batches(request("/v1/batches?limit=2"))
    assert not is_list_of_batches(request("/v1/batches/batch_1"))
    assert not is_list_of_batches(request("/v1/batches", "POST"))


def recorded_usage(response_id: str) -> TokenUsage:
    return TokenUsage(
        id="u-1",
        interception=started(provider_name="openai"),
        provider_response_id=response_id,
        model=None,
        input_tokens=1,
        output_tokens=1,
        cache_read_input_tokens=0,
        cache_write_input_tokens=0,
        extra={},
        raw={},
        created_at=now(),
    )


async def test_usage_of_a_recorded_response_is_not_counted_again_when_it_is_fetched() -> None:
    counted: list[Route] = []
    usage = WebSocketMessage(1, False, b'{"usage": {"input_tokens": 1}}')
    store = Store()
    store.responses.handlers[TokenUsage](recorded_usage("resp_1"))

    for path in ("/v1/responses/resp_1", "/v1/responses/resp_2"):
        fetch = await store.responses.attach(poll(path, counted.append))
        assert isinstance(fetch, PassingExchange)
        await fetch.on_message(usage)

    assert counted == [ROUTE]  # of the second, which nobody recorded


async def test_number_of_remembered_recorded_responses_is_limited(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "MOST_REMEMBERED", 1)
    store = Store()
    for response_id in ("resp_1", "resp_2"):
        store.responses.handlers[TokenUsage](recorded_usage(response_id))

    first, second = poll("/v1/responses/resp_1"), poll("/v1/responses/resp_2")
    assert await store.responses.attach(first) is first
    assert await store.responses.attach(second) is not second


async def test_polls_of_a_response_share_its_record() -> None:
    store = Store()
    store.responses.remember(pending())

    first, second = await store.attached(poll()), await store.attached(poll())

    assert first is second is not None
    assert store.asked == 0


async def test_poll_after_a_restart_finds_the_response_in_the_store() -> None:
    store = Store(pending())

    record = await store.attached(poll())

    assert record
    assert record.end(Status.COMPLETED, response=FINAL)
    assert await store.attached(poll()) is None  # though the store may not have it written yet
    assert len(store.published) == 1


async def test_poll_of_an_unknown_response_is_not_recorded() -> None:
    store = Store(pending())
    assert await store.attached(poll("/v1/responses/resp_2")) is None


async def test_polls_pass_unrecorded_while_the_store_is_unavailable(
    caplog: pytest.LogCaptureFixture,
) -> None:
    store = Store(error=OSError("away"))
    assert await store.attached(poll()) is None
    assert "cannot be looked up" in caplog.text


async def test_number_of_remembered_background_responses_is_bounded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(background, "MOST_REMEMBERED", 2)
    store = Store(pending("resp_0"))
    for number in range(3):
        store.responses.remember(pending(f"resp_{number}"))

    await store.attached(poll("/v1/responses/resp_2"))
    assert store.asked == 0
    assert await store.attached(poll("/v1/responses/resp_0")) is not None
    assert store.asked == 1
