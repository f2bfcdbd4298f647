"""Stream detection: the request and the first bytes decide, whatever the content type."""

import pytest
from standin import Gate, Provider, Response, Server, Wait
from standin.codings import CODINGS
from standin.delivery import MEDIA

from e2e.asking import API, APIS
from e2e.central import SUM, Central, scripted_bytes
from e2e.clients import WAYS, Clients, Way
from e2e.proxy import Proxy
from e2e.wire_formats import reader_of

each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)

PATIENCE_S = 10.0
"""Seconds after which a client stops waiting for bytes."""


@each_way
@each_api
def test_stream_with_any_content_type_is_recorded_and_relayed_unchanged(
    proxy: Proxy, clients: Clients, standin: Server, way: Way, api: API
) -> None:
    cases = [f"MEDIA:{media}" for media in MEDIA]
    cases += [f"MEDIA:none CODING:{coding} PIECES:one" for coding in CODINGS]
    cases += ["MEDIA:none PIECES:bytes", "MEDIA:json PIECES:sized", "MEDIA:none BOM"]
    url = clients.url(way, api.provider, api.path)
    with clients.http(way) as client:
        for case in cases:
            prompt = f"THINK USE_TOOL TOKENS:100,20,30,5 {case}"
            body = api.body(prompt, stream=True, tools=["get_weather"])
            with proxy.recording() as records, client.stream("POST", url, json=body) as response:
                raw = b"".join(response.iter_raw())
            assert records.interception["status"] == "completed", case
            assert records.interception["partial"] == 0, case
            assert records.counts == api.counts(100, 20, 30, 5), case
            assert len(records.tool_usages) == len(records.model_thoughts) == 1, case
            sent = scripted_bytes(api, standin.requests[-1], stream=True)
            coded = "CODING" in case and "identity" not in case
            assert coded or raw.removeprefix(b"\xef\xbb\xbf") == sent, case


@each_way
@each_api
@pytest.mark.parametrize("begin", [b"\xef\xbb\xbfevent: x", b"data: x", b": x", b"{}", b" \n<p>"])
def test_head_and_each_first_byte_reach_the_client_before_the_next_is_sent(
    clients: Clients, provider: Provider, way: Way, api: API, begin: bytes
) -> None:
    gate = Gate()
    parts = [part for byte in begin for part in (Wait(gate), bytes([byte]))]
    provider.canned["first-bytes"] = lambda request: Response(200, [], parts)
    url = clients.url(way, api.provider, api.path)
    got = b""
    with (
        clients.http(way, headers={"x-standin-canned": "first-bytes"}) as client,
        client.stream(
            "POST", url, json=api.body("hi", stream=True), timeout=PATIENCE_S
        ) as response,
    ):
        gate.release()
        for chunk in response.iter_raw():
            got += chunk
            gate.release()
    assert got == begin


@each_api
def test_response_in_another_shape_than_requested_is_recorded(
    proxy: Proxy, clients: Clients, api: API
) -> None:
    prompt = "OTHER_SHAPE THINK USE_TOOL TOKENS:100,20,30,5"
    for way in WAYS:
        for stream, media in [(True, "json"), (True, "none"), (True, "events"), (False, "events")]:
            body = api.body(f"{prompt} MEDIA:{media}", stream=stream, tools=["get_weather"])
            with proxy.recording() as records, clients.http(way) as client:
                client.post(clients.url(way, api.provider, api.path), json=body)
            assert records.interception["status"] == "completed"
            assert records.interception["partial"] == 0
            if stream or api.name != "openai_chat":  # nobody asks a stream for usage here
                assert records.counts == api.counts(100, 20, 30, 5)
            assert len(records.tool_usages) == 1


class TestCentralTools:
    """The inner loop runs, so that no client receives an unknown call."""

    @pytest.fixture
    @staticmethod
    def proxy(central_proxy: Proxy) -> Proxy:
        """The proxy that offers tools."""
        return central_proxy

    @each_way
    @each_api
    def test_calls_in_a_stream_of_any_content_type_are_run_and_hidden(
        self, central: Central, way: Way, api: API
    ) -> None:
        deliveries = [f"MEDIA:{media}" for media in MEDIA]
        deliveries += ["MEDIA:none CODING:gzip", "MEDIA:json PIECES:sized", "MEDIA:none BOM"]
        for delivery in deliveries:
            with central.proxy.recording() as records:
                prompt = f"{SUM} {delivery} NEXT {delivery}"
                seen = central.post(api, way, prompt, stream=True)
            assert seen.whole
            assert b"bmcp_" not in seen.raw, delivery
            assert b"42" in seen.raw, delivery
            assert records.interception["status"] == "completed", delivery
            assert len(records.token_usages) == 2, delivery
            assert records.interception["partial"] == 0, delivery

    @each_api
    @pytest.mark.parametrize("stream", [True, False], ids=["asked-to-stream", "asked-for-whole"])
    def test_calls_in_a_response_of_another_shape_are_run_and_hidden(
        self, central: Central, api: API, stream: bool
    ) -> None:
        reader = reader_of(api)
        deliveries = ["OTHER_SHAPE"]
        if stream:
            deliveries += ["OTHER_SHAPE MEDIA:none", "OTHER_SHAPE MEDIA:events"]
            deliveries += ["OTHER_SHAPE MEDIA:events CODING:gzip"]
        for delivery in deliveries:
            for way in WAYS[:2]:
                with central.proxy.recording() as records:
                    seen = central.post(
                        api, way, f"{SUM} {delivery} NEXT {delivery}", stream=stream
                    )
                story = reader.story(seen.json) if stream else reader.streamed_story(seen.raw)
                assert story.lines[-1].endswith("The tool returned: 42"), delivery
                assert records.interception["status"] == "completed", delivery

    @each_api
    def test_later_response_in_another_shape_is_an_error_with_its_usage_recorded(
        self, central: Central, api: API
    ) -> None:
        for stream in (True, False):
            with central.proxy.recording() as records:
                prompt = f"Streamed: {stream}. {SUM} NEXT OTHER_SHAPE"
                seen = central.post(api, WAYS[0], prompt, stream=stream)
            assert b"aibridge: the provider" in seen.raw
            assert records.interception["status"] == "failed"
            assert records.interception["error_type"] == "upstream_error"
            tells_usage = stream or api.name != "openai_chat"  # nobody asks a stream for it here
            assert len(records.token_usages) == 1 + tells_usage
