"""Responses with central tools: the client receives one response, and the provider each result.

In every mode and wire format, streaming and not: the view of the SDKs, the bytes on the wire, and
the requests that the provider received.
"""

import asyncio
import json
import re
from itertools import pairwise
from typing import Any

import pytest
from standin import Exchange
from standin.plan import THOUGHT

from e2e.asking import API, APIS, ChatCompletions
from e2e.central import ADD, FORWARD, FORWARD_H2, REVERSE, SUM, SUM_LINE, Central, scripted_bytes
from e2e.clients import WAYS, Way
from e2e.proxy import Proxy
from e2e.wire_formats import reader_of

each_way = pytest.mark.parametrize("way", WAYS, ids=str)
each_api = pytest.mark.parametrize("api", APIS, ids=str)
each_delivery = pytest.mark.parametrize("stream", [False, True], ids=["whole", "streamed"])

PIXEL_START = "iVBORw0K"


@pytest.fixture
def proxy(central_proxy: Proxy) -> Proxy:
    """The proxy that offers tools."""
    return central_proxy


def says(api: API, *texts: str) -> list[str]:
    """Return the client's view of several turns, whose texts Chat joins."""
    joined = ["".join(texts)] if isinstance(api, ChatCompletions) else texts
    return [f"says {text}" for text in joined]


@each_way
@each_api
class TestEveryWay:
    @each_delivery
    def test_result_reaches_the_model_and_the_response_the_client(
        self, central: Central, way: Way, api: API, stream: bool
    ) -> None:
        story = central.see(api, way, SUM, stream=stream)
        assert list(story.lines) == says(api, "Moment", "The tool returned: 42")
        asked = f"user: {SUM}"
        assert central.transcripts(api) == [
            [asked],
            [asked, "says Moment", SUM_LINE, "gets 42"],
        ]

    def test_sdk_reads_the_same_message_from_a_stream_and_a_buffered_response(
        self, central: Central, way: Way, api: API
    ) -> None:
        tokens = "TOKENS:100,20,30,5"
        prompt = f"THINK {SUM} {tokens} NEXT {SUM} {tokens} NEXT {tokens}"
        whole, streamed = (central.ask(api, way, prompt, stream=stream) for stream in (False, True))
        assert whole.text.replace("\n", "") == "MomentMomentThe tool returned: 42"
        assert streamed.calls == whole.calls == ()
        assert comparable(streamed.item) == comparable(whole.item)


def comparable(item: Any) -> Any:
    """Return an SDK's object without ids, and without what its helpers add."""
    dumped = item.model_dump(mode="json", exclude_none=True, by_alias=True)
    return _comparable(json.loads(re.sub(r"\d{20}", "ID", json.dumps(dumped))))


def _comparable(value: Any) -> Any:
    if isinstance(value, dict):
        return {
            key: _comparable(member)
            for key, member in value.items()
            if not key.startswith("parsed") and member != []
        }
    return [_comparable(member) for member in value] if isinstance(value, list) else value


@each_api
@each_delivery
class TestTurns:
    def test_calls_of_a_turn_reach_their_servers_over_every_transport(
        self, central: Central, api: API, stream: bool
    ) -> None:
        calls = [("calc", "one"), ("local", "two"), ("old", "three")]
        prompt = " ".join(
            f'USE_TOOL:bmcp_{server}_echo ARGS:{{"text": "{text}"}}' for server, text in calls
        )
        story = central.see(api, FORWARD, f"{prompt} SAY", stream=stream)
        assert story.lines == ("says The tool returned: one | two | three",)
        assert central.transcripts(api)[1][1:] == [
            *(f'calls bmcp_{server}_echo {{"text":"{text}"}}' for server, text in calls),
            *(f"gets {text}" for _, text in calls),
        ]

    def test_inner_loop_runs_several_turns(self, central: Central, api: API, stream: bool) -> None:
        prompt = f"{SUM} NEXT USE_TOOL:bmcp_calc_echo SAY:Again NEXT {SUM} NEXT LONG:3"
        story = central.see(api, FORWARD_H2, prompt, stream=stream)
        words = "word0000 word0001 word0002 "
        assert list(story.lines) == says(api, "Moment", "Again", "Moment", words)
        conversations = central.transcripts(api)
        assert conversations[3] == [
            f"user: {prompt}",
            *("says Moment", SUM_LINE, "gets 42"),
            *("says Again", 'calls bmcp_calc_echo {"text":"text"}', "gets text"),
            *("says Moment", SUM_LINE, "gets 42"),
        ]
        for shorter, longer in pairwise(conversations):
            assert longer[: len(shorter)] == shorter

    def test_thinking_is_sent_unchanged_in_the_next_request(
        self, central: Central, api: API, stream: bool
    ) -> None:
        story = central.see(api, REVERSE, f"THINK {SUM} NEXT THINK {SUM}", stream=stream)
        thoughts = [line for line in story.lines if line.startswith("thinks")]
        assert "".join(thoughts).replace("thinks ", "") == THOUGHT * 2
        last = central.transcripts(api)[-1]
        turn = [f"thinks {THOUGHT}", "says Moment", SUM_LINE, "gets 42"]
        assert last[1:] == [*turn, *turn]

    def test_final_usage_has_the_clients_context_and_the_total_output(
        self, central: Central, api: API, stream: bool
    ) -> None:
        prompt = f"{SUM} TOKENS:100,7,30,5 NEXT {SUM} TOKENS:200,11,130,6 NEXT TOKENS:300,13,230,9"
        story = central.see(api, REVERSE, prompt, stream=stream)
        assert story.tokens == _reported(api, 300, 7 + 11 + 13, 230, 9)

    def test_client_receives_no_injected_name_and_no_hidden_id(
        self, central: Central, api: API, stream: bool
    ) -> None:
        seen = central.post(api, FORWARD, f"THINK {SUM} NEXT {SUM}", stream=stream)
        assert seen.whole
        for word in (b"bmcp_", b"toolu_", b"call_", b"fc_", b'a\\":'):
            assert word not in seen.raw

    def test_response_has_the_id_of_the_first_upstream_response(
        self, central: Central, api: API, stream: bool
    ) -> None:
        story = central.see(api, FORWARD, SUM, stream=stream)
        first: Exchange = central.requests[0].notes
        assert story.id.endswith(first.response_id)

    def test_response_without_calls_is_relayed_unchanged(
        self, central: Central, api: API, stream: bool
    ) -> None:
        seen = central.post(api, FORWARD, "THINK", stream=stream)
        [request] = central.requests
        assert seen.raw == scripted_bytes(api, request, stream=stream)
        assert ADD in reader_of(api).names(central.received[0])

    def test_client_call_reaches_the_client(self, central: Central, api: API, stream: bool) -> None:
        answer = central.ask(
            api, FORWARD, "USE_TOOL:get_weather", stream=stream, tools=["get_weather"]
        )
        [call] = answer.calls
        assert (call.name, call.arguments) == ("get_weather", {"city": "text"})
        assert len(central.requests) == 1


def _reported(
    api: API, fresh: int, output: int, read: int, write: int
) -> tuple[int, int, int, int]:
    if isinstance(api, ChatCompletions):  # it does not tell what was written to a cache
        return fresh + write, output, read, 0
    return fresh, output, read, write


RESULTS: dict[str, dict[str, str]] = {
    "image": {
        "anthropic_messages": f"gets a pixel | [image/png {PIXEL_START}]",
        "openai_chat": "gets a pixel\n[image/png image, 96 characters of base64]",
        "openai_responses": f"gets a pixel | [data:image/png;base64 {PIXEL_START}]",
    },
    "resource": {
        "anthropic_messages": "gets [text/plain test://text]\ninside"
        " | [application/pdf test://bytes, 4 characters of base64]",
        "openai_chat": "gets [text/plain test://text]\ninside"
        "\n[application/pdf test://bytes, 4 characters of base64]",
    },
    "link": {
        "anthropic_messages": 'gets {"name":"far away","uri":"test://far","type":"resource_link"}',
    },
    "audio": {"anthropic_messages": "gets [audio/wav audio, 4 characters of base64]"},
    "fail": {
        "anthropic_messages": "gets error: Error executing tool fail: it did not work",
        "openai_chat": "gets Error: Error executing tool fail: it did not work",
    },
}
"""The result that the model receives, by wire format; None: the same as for the one before."""


@each_api
@pytest.mark.parametrize("tool", RESULTS)
def test_model_receives_all_parts_of_a_result(central: Central, api: API, tool: str) -> None:
    central.see(api, FORWARD, f"USE_TOOL:bmcp_calc_{tool} SAY", stream=True)
    lines = RESULTS[tool]
    names = [known.name for known in APIS[: APIS.index(api) + 1] if known.name in lines]
    assert central.transcripts(api)[1][2:] == [lines[names[-1]]]


@each_api
def test_structured_content_is_sent_once(central: Central, api: API) -> None:
    central.see(api, FORWARD, "USE_TOOL:bmcp_calc_structured SAY", stream=True)
    [result] = central.transcripts(api)[1][2:]
    assert json.loads(result.removeprefix("gets ")) == {"city": "Kraków", "degrees": [1, 2.5]}


@each_api
def test_parallel_requests_get_their_own_responses(central: Central, api: API) -> None:
    async def ask_many() -> list[str]:
        async with api.async_client(central.clients, FORWARD_H2) as client:
            answers = await asyncio.gather(
                *(
                    api.ask_async(
                        client,
                        f'USE_TOOL:{ADD} ARGS:{{"a": {number}, "b": 0}} SAY',
                        stream=bool(number % 2),
                    )
                    for number in range(20)
                )
            )
        return [answer.text for answer in answers]

    assert asyncio.run(ask_many()) == [f"The tool returned: {number}" for number in range(20)]
