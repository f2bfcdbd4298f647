"""Last resort: if a provider refuses an edited request, the original request is sent once."""

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from standin import Provider, Request, Response

from e2e.asking import API, APIS, user
from e2e.central import (
    ADD,
    FORWARD,
    FORWARD_H2,
    REVERSE,
    SUM,
    Central,
    key_headers,
    scripted_bytes,
)
from e2e.clients import Way
from e2e.metrics import metric
from e2e.proxy import Proxy

MESSAGES, CHAT, RESPONSES = APIS

each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

CANNED = {"x-standin-canned": "picky"}


@pytest.fixture
def proxy(central_proxy: Proxy) -> Proxy:
    """The proxy that offers tools."""
    return central_proxy


def refusing(
    provider: Provider, status: int, is_refused: Callable[[Request], bool], reason: str = "no"
) -> Callable[[Request], Any]:
    """Return a response that refuses some requests."""

    async def answer(asked: Request) -> Any:
        if is_refused(asked):
            body = {"error": {"type": "invalid_request_error", "message": reason}}
            head = [("content-type", "application/json")]
            return Response(status, head, json.dumps(body).encode())
        headers = [pair for pair in asked.headers if pair[0].lower() != "x-standin-canned"]
        by_script = replace(asked, headers=headers)
        response = await provider(by_script)
        asked.notes = by_script.notes
        return response

    return answer


def has_our_tools(asked: Request) -> bool:
    return b'"bmcp_' in asked.body


def has_our_results(asked: Request) -> bool:
    return b'"42"' in asked.body


def ask(
    central: Central, api: API, model: str, *, way: Way = FORWARD, stream: bool = False
) -> tuple[int, bytes, bytes]:
    """Send a request for a unique model; return status, response, and the body sent."""
    body = json.dumps(api.body("hi THINK", stream=stream) | {"model": model}, indent=1).encode()
    sent = {**key_headers(api), **CANNED, "accept-encoding": "br;q=0.5"}
    url = central.clients.url(way, api.provider, api.path)
    with (
        central.clients.http(way) as client,
        client.stream("POST", url, content=body, headers=sent) as response,
    ):
        return response.status_code, b"".join(response.iter_raw()), body


@pytest.mark.parametrize("way", [FORWARD, FORWARD_H2, REVERSE], ids=str)
@each_api
@each_delivery
def test_refused_edit_is_followed_by_the_original_request_and_remembered(
    central: Central, provider: Provider, way: Way, api: API, stream: bool
) -> None:
    provider.canned["picky"] = refusing(provider, 400, has_our_tools)
    model = f"refuses-tools-{way}-{api}-{stream}"
    with central.proxy.recording() as records:
        status, raw, body = ask(central, api, model, way=way, stream=stream)

    refused, own = central.requests
    assert has_our_tools(refused)
    assert own.body == body
    assert own.header("accept-encoding") == "br;q=0.5"
    assert status == 200
    assert raw == scripted_bytes(api, own, stream=stream)
    assert (records.interception["status"], records.interception["http_status"]) == (
        "completed",
        200,
    )
    assert records.usage["output_tokens"]

    ask(central, api, model, way=way, stream=stream)
    assert [request.body for request in central.requests[2:]] == [body]


@pytest.mark.parametrize("status", [404, 413, 422])
def test_other_refusals_of_an_edited_request_are_retried_and_counted(
    central: Central, provider: Provider, status: int
) -> None:
    provider.canned["picky"] = refusing(provider, status, has_our_tools)
    labels = {"provider": "openai", "http_status": str(status)}
    before = metric(central.proxy, "aibridge_edits_refused_total", **labels)

    assert ask(central, CHAT, f"refuses-with-{status}")[0] == 200
    assert metric(central.proxy, "aibridge_edits_refused_total", **labels) == before + 1


@pytest.mark.parametrize("status", [401, 403, 429, 500, 529])
def test_refusals_for_credentials_or_limits_reach_the_client(
    central: Central, provider: Provider, status: int
) -> None:
    provider.canned["picky"] = refusing(provider, status, lambda asked: True)

    assert ask(central, MESSAGES, f"refuses-with-{status}")[0] == status
    assert len(central.requests) == 1


def test_refusal_of_the_original_request_reaches_the_client(
    central: Central, provider: Provider
) -> None:
    provider.canned["picky"] = refusing(provider, 400, lambda asked: True, "your fault")
    status, raw, _ = ask(central, CHAT, "refuses-all")
    assert status == 400
    assert b"your fault" in raw

    provider.canned["picky"] = refusing(provider, 400, lambda asked: False)
    ask(central, CHAT, "refuses-all")
    assert [has_our_tools(asked) for asked in central.requests] == [True, False, True]


def test_refusal_for_the_length_of_a_conversation_is_not_remembered(
    central: Central, provider: Provider
) -> None:
    provider.canned["picky"] = refusing(provider, 400, has_our_tools, "prompt is too long: 9 > 8")
    for _ in range(2):
        assert ask(central, MESSAGES, "has-a-short-context")[0] == 200
    assert [has_our_tools(asked) for asked in central.requests] == [True, False] * 2


def test_response_to_the_second_attempt_is_streamed(central: Central, provider: Provider) -> None:
    provider.canned["picky"] = refusing(provider, 400, has_our_tools)
    gate = provider.gate("second-attempt")
    members = {"model": "refuses-tools-slowly"}
    with central.asking(
        CHAT, REVERSE, "GATE:second-attempt", stream=True, members=members, headers=CANNED
    ) as response:
        chunks = response.iter_raw()
        assert next(chunks)  # while the provider waits
        gate.open()
        assert b"[DONE]" in b"".join(chunks)


def test_disconnect_during_the_second_attempt_cancels_it(
    central: Central, provider: Provider
) -> None:
    provider.canned["picky"] = refusing(provider, 400, has_our_tools)
    mark = central.proxy.mark()
    members = {"model": "refuses-tools-and-waits"}
    with central.asking(
        RESPONSES, FORWARD, "GATE:left-alone", stream=True, members=members, headers=CANNED
    ) as response:
        assert next(response.iter_raw())
    records = central.recorded(
        lambda found: [row for row in found.interceptions if row["ended_at"]], mark
    )
    assert records.interception["status"] == "cancelled"
    provider.gate("left-alone").open()


@each_api
def test_refused_hidden_turns_are_left_out_and_tools_stay_offered(
    central: Central, provider: Provider, api: API
) -> None:
    first = central.ask(api, FORWARD, SUM)
    conversation = [user(SUM), *first.turn, user("And now?")]
    provider.canned["picky"] = refusing(provider, 400, has_our_results)
    before = len(central.requests)
    for _ in range(2):
        seen = central.post(api, FORWARD, conversation, headers=CANNED)
        assert seen.status == 200
    refused, own, next_one = central.requests[before:]
    assert has_our_results(refused)
    assert not has_our_tools(own)
    assert has_our_tools(next_one)
    assert ADD.encode() in next_one.body
    assert not has_our_results(next_one)
