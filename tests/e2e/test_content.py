"""Contents of requests and responses, recorded end to end, and byte-identical on the way."""

import json
from typing import Any

import pytest
from standin import Provider, Reset, Response

from aibridge_addon.formats import FORMATS
from aibridge_addon.store.content import RESPONSE_POSITION
from e2e.bodies import CHAT, MESSAGES, RESPONSES, Api
from e2e.clients import WAYS, Clients, Way
from e2e.contents import answer_of, contents
from e2e.proxy import Proxy
from e2e.sockets import Socket, message

FORWARD, _, REVERSE, _ = WAYS
KEY = "sk-ant-api03-9876543210zyxwvutsrq"


@pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])
@pytest.mark.parametrize("api", [MESSAGES, CHAT, RESPONSES], ids=str)
def test_request_and_response_are_recorded_before_the_client_has_the_end(
    proxy: Proxy, clients: Clients, api: Api, stream: bool
) -> None:
    sent = api.request(f"Say it with {KEY}", stream=stream, metadata={"user_id": "u"})
    with proxy.recording() as records, clients.http(FORWARD) as http:
        url = clients.url(FORWARD, api.provider, api.path)
        answer = http.post(url, content=sent, headers=api.headers)
    assert answer.status_code == 200
    stored = contents(proxy, records.interception["id"])
    view = FORMATS[api.name].view
    assert view
    parts = [stored[0, position] for position in range(len(stored) - 1)]
    redacted = sent.replace(KEY.encode(), b"[redacted: Anthropic key]")
    assert parts == [(part.role, part.kind, part.content) for part in view.split_request(redacted)]
    expected = "".join(
        part.text for part in view.read_response(answer.content).message.parts if part.text
    )
    assert answer_of(api.name, stored) == expected != ""


def test_what_arrived_of_a_stream_that_broke_off_is_recorded(
    proxy: Proxy, clients: Clients, provider: Provider
) -> None:
    head, *rest = MESSAGES.events()
    begun = b"".join([head, *rest[:2]])
    provider.canned["cut"] = lambda request: Response(
        200, [("content-type", "text/event-stream")], [begun, Reset()]
    )
    with proxy.recording() as records, clients.http(REVERSE) as http:
        url = clients.url(REVERSE, "anthropic", MESSAGES.path)
        headers = {**MESSAGES.headers, "x-standin-canned": "cut"}
        content = MESSAGES.request("Hello", stream=True)
        with (
            pytest.raises(Exception, match=r"."),
            http.stream("POST", url, content=content, headers=headers) as response,
        ):
            response.read()
    stored = contents(proxy, records.interception["id"])
    document = json.loads(stored[0, RESPONSE_POSITION][2])
    assert document["aibridge_partial"] is True
    assert document["content"]


@pytest.mark.parametrize("way", WAYS[:1], ids=str)
def test_requests_in_a_websocket_are_recorded_one_by_one(
    clients: Clients, proxy: Proxy, way: Way
) -> None:
    with proxy.recording() as records, Socket(clients, way) as codex:
        for said in ("one", "two"):
            codex.ask([message(f"Say {said}")])
    for row, said in zip(records.interceptions, ("one", "two"), strict=True):
        stored = contents(proxy, row["id"])
        texts = [content for (_, at), (_, _, content) in stored.items() if at < RESPONSE_POSITION]
        assert any(f"Say {said}".encode() in text for text in texts)
        assert answer_of("openai_responses", stored)


def test_contents_are_recorded_as_far_as_the_option_says(start_proxy: Any, clients_of: Any) -> None:
    proxy = start_proxy(options={"aibridge_capture": "answers"})
    clients = clients_of(proxy)
    with proxy.recording() as records, clients.http(FORWARD) as http:
        url = clients.url(FORWARD, "anthropic", MESSAGES.path)
        http.post(url, content=MESSAGES.request("Hi", stream=True), headers=MESSAGES.headers)
    stored = contents(proxy, records.interception["id"])
    assert list(stored) == [(0, RESPONSE_POSITION)]
    assert records.prompts == []
